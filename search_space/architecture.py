"""Architectures as frozen, validated data that converts exactly to and from plain JSON dictionaries."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from numbers import Integral, Real
from typing import Any, ClassVar

from search_space.errors import ArchitectureError

STEMS = ("patch", "conv")
ABSOLUTE = ("none", "fixed_1d", "fixed_2d", "learnable", "learnable_2d", "conditional")  # added to the tokens
RELATIONAL = ("relative", "rotary")  # inside the attention of mixers that take it
PLACES = ("once", "blocks")
NORMS = ("pre", "post", "res_post")
NORM_LAYERS = ("layer", "batch")
HEADS = ("average", "class_token", "attention")
SYMMETRIES = ("none", "c4", "d4", "scrambled")  # of the weights, symmetry.py
ORDER = {"c4": 4, "d4": 8, "scrambled": 8}  # of the group: channels of a field
SYMMETRIC_POSITIONS = ("none", "conditional", "relative")
FRONT_ENDS = (  # parts/front_end.py
    "none", "source", "source_sham", "residual", "residual_sham", "gradient", "gradient_sham", "polar", "polar_sham",
)  # fmt: skip
SYMMETRIC_FRONT_ENDS = ("none", "source", "residual", "gradient", "polar")
NOT_POLAR = ("scrambled",)  # symmetries that polar coordinates cannot have
MOST_BLOCKS, MOST_CHANNELS, MOST_PIXELS = 1000, 65536, 4096  # of a network, of a block, of a patch's side
TOYS = ("mlp", "lenet", "resnet2", "cnn")


def _one_of(name: str, value: str, known: tuple[str, ...]) -> None:
    if value not in known:
        raise ArchitectureError(f"unknown {name} {value!r}, expected one of: {', '.join(known)}")


def _whole(name: str, value: Any, low: int, high: int) -> None:
    is_number = isinstance(value, Integral) and not isinstance(value, bool)
    if not is_number or not low <= value <= high:
        raise ArchitectureError(f"{name}={value!r}: expected a whole number from {low} to {high}")


def _number(name: str, value: Any, low: float, high: float) -> None:
    is_number = isinstance(value, Real) and not isinstance(value, bool)
    if not is_number or not low <= value <= high:
        raise ArchitectureError(f"{name}={value!r}: expected a number from {low:g} to {high:g}")


def _is_a(kind: type, what: str, **values: Any) -> None:
    for name, value in values.items():
        if not isinstance(value, kind):
            raise ArchitectureError(f"{name}={value!r}: expected {what}")


@dataclass(frozen=True)
class Stage:
    """Blocks of one width on one grid."""

    mixer: str  # a module of search_space/mixers, or any module of your own
    depth: int  # blocks
    width: int  # channels
    mlp_ratio: float = 4.0  # hidden channels of each block's MLP, as a multiple of the width
    downsample: bool = False  # halve the grid before this stage (never in the first)
    options: Mapping[str, Any] = field(default_factory=dict)  # of the mixer: {"heads": 4, "size": 8}
    first: str | None = None  # a different mixer for the first block
    first_options: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        _is_a(str, "the name of a mixer", mixer=self.mixer, **({} if self.first is None else {"first": self.first}))
        _is_a(Mapping, "options by name", options=self.options, first_options=self.first_options)
        _is_a(bool, "True or False", downsample=self.downsample)
        _whole("depth", self.depth, 1, MOST_BLOCKS)
        _whole("width", self.width, 1, MOST_CHANNELS)
        _number("mlp_ratio", self.mlp_ratio, 0, 1000)
        if not self.mlp_ratio * self.width >= 1:
            raise ArchitectureError(
                f"mlp_ratio={self.mlp_ratio!r} leaves no hidden channel at width {self.width}: raise it"
            )
        if self.first is not None and self.depth == 1:
            raise ArchitectureError(f"first={self.first!r} with depth=1 leaves no block to {self.mixer!r}: raise depth")
        if self.first is None and self.first_options:
            raise ArchitectureError(
                f"first_options={dict(self.first_options)!r} without first: name the first block's mixer"
            )

    def blocks(self) -> tuple[tuple[str, Mapping[str, Any]], ...]:
        """Return the mixer and options of every block."""
        rest = ((self.mixer, self.options),) * (self.depth - 1)
        return ((self.mixer, self.options) if self.first is None else (self.first, self.first_options), *rest)


@dataclass(frozen=True)
class Hybrid:
    """A stem, a position embedding, one or more stages of any mixers, and a head."""

    kind: ClassVar[str] = "hybrid"

    stages: tuple[Stage, ...]
    patch: int = 4  # pixels per token side
    stem: str = "patch"
    position: str = "none"
    position_place: str = "once"  # after the stem, or before each of the "blocks"; relational ones act in the blocks
    position_shared: bool = False  # whether the blocks of a stage share one embedding
    norm: str = "pre"  # x + f(norm(x)); "post": norm(x + f(x)); "res_post": x + norm(f(x))
    norm_layer: str = "layer"  # "layer" or "batch" normalisation
    layer_scale: float = 0.0  # initial factor per channel of every residual branch; 0: none
    head: str = "average"  # or "class_token", or "attention" of one learnt query over the grid
    drop_path: float = 0.0  # rate at the last block, growing linearly from 0 at the first
    symmetry: str = "none"  # quarter turns "c4", with mirrors "d4", that leave the outputs exactly as they are
    front_end: str = "none"  # what the stem sees in place of the image

    def __post_init__(self) -> None:
        _is_a(tuple, "a tuple of Stages", stages=self.stages)
        if not self.stages:
            raise ArchitectureError("stages is empty, expected at least one Stage")
        for index, stage in enumerate(self.stages):
            _is_a(Stage, "a Stage", **{f"stages[{index}]": stage})
        _whole("the number of blocks", sum(stage.depth for stage in self.stages), 1, MOST_BLOCKS)
        if self.stages[0].downsample:
            raise ArchitectureError(
                "stages[0].downsample is True: the first stage has the stem's grid; use a larger patch"
            )
        _whole("patch", self.patch, 1, MOST_PIXELS)
        _is_a(bool, "True or False", position_shared=self.position_shared)
        _one_of("stem", self.stem, STEMS)
        _one_of("position", self.position, ABSOLUTE + RELATIONAL)
        _one_of("position_place", self.position_place, PLACES)
        _one_of("norm", self.norm, NORMS)
        _one_of("norm_layer", self.norm_layer, NORM_LAYERS)
        _number("layer_scale", self.layer_scale, 0, 1000)
        _number("drop_path", self.drop_path, 0, 1)
        _one_of("head", self.head, HEADS)
        if self.drop_path == 1:
            raise ArchitectureError(f"drop_path={self.drop_path!r} is not a rate, expected 0 <= drop_path < 1")
        _one_of("symmetry", self.symmetry, SYMMETRIES)
        _one_of("front_end", self.front_end, FRONT_ENDS)
        if self.symmetry != "none":
            self._check_symmetric()
        if self.stem == "conv" and self.patch & (self.patch - 1):
            raise ArchitectureError(f"patch={self.patch} with stem='conv': strides of two only reach powers of two")
        if self.head == "class_token" and any(stage.downsample for stage in self.stages):
            raise ArchitectureError("head='class_token' needs a network without downsampling: use head='average'")
        if self.head == "class_token" and self.norm_layer == "batch":
            raise ArchitectureError(
                "head='class_token' with norm_layer='batch' would mix the token's statistics with the grid's"
            )

    def _check_symmetric(self) -> None:
        if self.head != "average":
            raise ArchitectureError(f"head={self.head!r} with symmetry={self.symmetry!r}: expected 'average'")
        if self.position not in SYMMETRIC_POSITIONS:
            raise ArchitectureError(
                f"position={self.position!r} with symmetry={self.symmetry!r}, expected one of: "
                f"{', '.join(SYMMETRIC_POSITIONS)}"
            )
        if self.front_end not in SYMMETRIC_FRONT_ENDS:
            raise ArchitectureError(
                f"front_end={self.front_end!r} with symmetry={self.symmetry!r}, expected one of: "
                f"{', '.join(SYMMETRIC_FRONT_ENDS)}"
            )
        if self.front_end == "polar" and (self.position == "relative" or self.symmetry in NOT_POLAR):
            raise ArchitectureError(
                f"front_end='polar' with symmetry={self.symmetry!r} and position={self.position!r}: expected 'c4' or "
                "'d4', and no relative position, since offsets between angles have no ends"
            )
        for stage in self.stages:
            if stage.width % ORDER[self.symmetry]:
                raise ArchitectureError(
                    f"width {stage.width} with symmetry={self.symmetry!r}: expected a multiple of "
                    f"{ORDER[self.symmetry]}, the channels of a field"
                )


@dataclass(frozen=True)
class Toy:
    """A baseline: an MLP, LeNet, a ResNet of two blocks, or a plain CNN."""

    kind: ClassVar[str] = "toy"

    name: str  # one of TOYS

    def __post_init__(self) -> None:
        _one_of("toy", self.name, TOYS)


@dataclass(frozen=True)
class Backbone:
    """An existing network."""

    kind: ClassVar[str] = "backbone"

    name: str  # a name of timm, such as "resnet18", or "alexnet"
    pretrained: bool = False  # start from the published weights
    checkpoint: str | None = None  # start from the weights in this file instead
    frozen: float = 0.0  # share of the layers, from the image on, that keep these weights; 1: all but the last

    def __post_init__(self) -> None:
        _is_a(str, "a network of timm, such as 'resnet18'", name=self.name)
        if not self.name:
            raise ArchitectureError("name is empty, expected a network of timm, such as 'resnet18'")
        _is_a(bool, "True or False", pretrained=self.pretrained)
        if self.checkpoint is not None:
            _is_a(str, "the path of a file of weights", checkpoint=self.checkpoint)
        _number("frozen", self.frozen, 0, 1)
        if self.frozen and not self.has_weights:
            raise ArchitectureError(
                f"frozen={self.frozen!r} without weights would keep random ones: set pretrained or give a checkpoint"
            )

    @property
    def has_weights(self) -> bool:
        """Whether training starts from weights that others have trained."""
        return self.pretrained or self.checkpoint is not None


Architecture = Hybrid | Toy | Backbone
_KINDS: Mapping[str, type[Hybrid | Toy | Backbone]] = {cls.kind: cls for cls in (Hybrid, Toy, Backbone)}


def to_dict(architecture: Architecture) -> dict[str, Any]:
    """Return a plain JSON dictionary that `from_dict` turns back into an equal architecture."""
    record = {"kind": architecture.kind, **asdict(architecture)}
    if "stages" in record:
        record["stages"] = [
            {**stage, "options": dict(stage["options"]), "first_options": dict(stage["first_options"])}
            for stage in record["stages"]
        ]
    return record


def from_dict(record: Mapping[str, Any]) -> Architecture:
    """Return the architecture of a record; optional keys take their defaults.

    Raises:
        ArchitectureError: unknown or missing kind, unknown or missing key, or a value that the architecture refuses.
    """
    if not isinstance(record, Mapping):
        raise ArchitectureError(f"architecture is {record!r}: expected its fields by name")
    content = dict(record)
    kind = content.pop("kind", None)
    if not isinstance(kind, str) or kind not in _KINDS:
        raise ArchitectureError(f"unknown kind of architecture {kind!r}, expected one of: {', '.join(_KINDS)}")
    if "stages" in content:
        _is_a(Sequence, "a list of stages", stages=content["stages"])
        content["stages"] = tuple(_construct(Stage, stage) for stage in content["stages"])
    return _construct(_KINDS[kind], content)


def _construct(cls: type, content: Mapping[str, Any]) -> Any:
    known = [f.name for f in fields(cls)]
    if not isinstance(content, Mapping):
        raise ArchitectureError(f"{cls.__name__} is {content!r}: expected its fields by name")
    if unknown := sorted(str(name) for name in content if name not in known):
        raise ArchitectureError(f"{cls.__name__} has no {', '.join(unknown)}; known: {', '.join(known)}")
    try:
        return cls(**content)
    except TypeError as error:
        raise ArchitectureError(f"{cls.__name__} is incomplete: {error}") from None
