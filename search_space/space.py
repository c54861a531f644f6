# ruff: noqa: RUF009
"""Spaces of architectures. Sampling one is the only way from a trial's parameters to a network."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import product
from typing import Any

from search_space import mixers
from search_space.architecture import (
    ABSOLUTE,
    HEADS,
    NORM_LAYERS,
    NORMS,
    PLACES,
    RELATIONAL,
    TOYS,
    Backbone,
    Hybrid,
    Stage,
    Toy,
)
from search_space.bounds import Bound, Range, Trial, pick, values


@dataclass(frozen=True)
class HybridSpace:
    """Any mixer in any stage.

    Bounds are a `Range` of ordered values or a tuple of choices; a single value fixes a parameter.

    A parameter is asked for only where it has an effect. Some effects hang on the size of the grid: `image_size` is
    the smallest one the space is meant for; its architectures build at any size.
    """

    stages: Bound = Range(1, 4)
    mixers: tuple[str, ...] = ("conv", "attention", "window", "anisotropic", "fourier", "mlp")
    first: Bound = ("same", "conv")  # mixer of a stage's first block
    depth: Bound = Range(1, 3)  # blocks per stage
    width: Bound = Range(32, 64, 32)
    mlp_ratio: Bound = Range(1, 4)
    downsample: Bound = (False, True)
    patch: Bound = Range(4, 8, 4)  # pixels
    stem: Bound = ("patch", "conv")
    position: Bound = ABSOLUTE + RELATIONAL
    position_place: Bound = PLACES
    position_shared: Bound = (False, True)
    norm: Bound = NORMS
    norm_layer: Bound = NORM_LAYERS
    layer_scale: Bound = (0.0, 1e-4, 1e-1)
    head: Bound = HEADS
    drop_path: Bound = Range(0.0, 0.2)
    options: Mapping[str, Mapping[str, Bound]] = field(default_factory=dict)  # {"window": {"size": (4, 8)}}
    image_size: int = 64  # pixels
    smallest_grid: int = 4  # tokens a side below which no stage downsamples

    def __post_init__(self) -> None:
        for name in {*self.mixers, *values(self.first)} - {"same"}:
            mixers.load(name)
            if "heads" in mixers.bound_names(name):
                heads = values(self.options.get(name, {}).get("heads", mixers.load("attention").HEADS))
                for width, number in product(values(self.width), heads):
                    if width % number:
                        raise ValueError(
                            f"width {width} cannot be split into {number} heads of {name!r}: change either"
                        )
        for name, bounds in self.options.items():
            if unknown := sorted(set(bounds) - set(mixers.bound_names(name))):
                known = ", ".join(mixers.bound_names(name)) or "none"
                raise ValueError(f"options[{name!r}] bounds {unknown[0]!r}, no option of this mixer; known: {known}")

    def sample(self, trial: Trial) -> Hybrid:
        patch = pick(trial, "patch", self.patch)
        side = -(-self.image_size // patch)
        stages: list[Stage] = []
        for index in range(pick(trial, "stages", self.stages)):
            stage = self.sample_stage(trial, index, side)
            side = (side + 1) // 2 if stage.downsample else side
            stages.append(stage)
        norm_layer = pick(trial, "norm_layer", self.norm_layer)
        return Hybrid(
            stages=tuple(stages),
            patch=patch,
            stem=pick(trial, "stem", self.stem),
            **self.sample_position(trial, stages),
            norm=pick(trial, "norm", self.norm),
            norm_layer=norm_layer,
            layer_scale=pick(trial, "layer_scale", self.layer_scale),
            head=self.sample_head(trial, stages, norm_layer),
            drop_path=pick(trial, "drop_path", self.drop_path),
        )

    def sample_stage(self, trial: Trial, index: int, side: int) -> Stage:
        """Stage `index` after a grid of side x side tokens."""
        prefix = f"stages.{index}"
        downsample = False
        if index > 0 and (side + 1) // 2 >= self.smallest_grid:
            downsample = pick(trial, f"{prefix}.downsample", self.downsample)
        side = (side + 1) // 2 if downsample else side
        mixer = pick(trial, f"{prefix}.mixer", self.mixers)
        options = mixers.sample(mixer, trial, prefix, side, self.options.get(mixer, {}))
        depth = pick(trial, f"{prefix}.depth", self.depth)
        first, first_options = None, {}
        if depth > 1 and mixer not in values(self.first):
            choice = pick(trial, f"{prefix}.first", self.first)
            if choice != "same":
                bounds = self.options.get(choice, {})
                first, first_options = choice, mixers.sample(choice, trial, f"{prefix}.first", side, bounds)
        width = pick(trial, f"{prefix}.width", self.width)
        kinds = [(mixer, options)] if first is None else [(mixer, options), (first, first_options)]
        ratio = {}
        if not all(mixers.trait(*kind, "mixes_channels") for kind in kinds):
            ratio["mlp_ratio"] = float(pick(trial, f"{prefix}.mlp_ratio", self.mlp_ratio))
        return Stage(
            mixer=mixer,
            depth=depth,
            width=width,
            downsample=downsample,
            options=options,
            first=first,
            first_options=first_options,
            **ratio,
        )

    def sample_position(self, trial: Trial, stages: list[Stage]) -> dict[str, Any]:
        """Where no mixer takes a relational kind the choice is another one, and so has a name of its own."""
        attentions = max(sum(mixers.trait(*block, "takes_relation") for block in stage.blocks()) for stage in stages)
        kind = pick_among(trial, "position", self.position, "absolute", () if attentions else RELATIONAL)
        place, shared = "once", False
        if kind not in (*RELATIONAL, "none") and sum(stage.depth for stage in stages) > 1:
            place = pick(trial, "position.place", self.position_place)
        learnt = kind == "relative" or (place == "blocks" and kind not in ("fixed_1d", "fixed_2d"))
        users = attentions if kind == "relative" else max(stage.depth for stage in stages)
        if learnt and users > 1:  # blocks of one stage that could share
            shared = pick(trial, "position.shared", self.position_shared)
        return {"position": kind, "position_place": place, "position_shared": shared}

    def sample_head(self, trial: Trial, stages: list[Stage], norm_layer: str) -> str:
        isotropic = not any(stage.downsample for stage in stages)
        token = isotropic and norm_layer != "batch" and mixers.trait(*stages[-1].blocks()[-1], "takes_token")
        head: str = pick_among(trial, "head", self.head, "pooled", () if token else ("class_token",))
        return head


# One transformer of one stage, nothing left to sample: to vary with `dataclasses.replace`, one question at a time.
PLAIN = HybridSpace(
    stages=(1,),
    mixers=("attention",),
    first=("same",),
    depth=(3,),
    width=(48,),
    mlp_ratio=(2.0,),
    patch=(4,),
    stem=("patch",),
    position=("fixed_2d",),
    position_place=("once",),
    norm=("pre",),
    norm_layer=("batch",),
    layer_scale=(0.0,),
    head=("average",),
    drop_path=(0.0,),
    options={"attention": {"heads": (4,)}},
)

BACKBONES = (
    *("resnet18", "resnet34", "resnet50", "vgg16", "densenet121", "alexnet", "efficientnet_b0", "convnext_tiny"),
    *("vit_tiny_patch16_224", "vit_small_patch16_224", "swin_tiny_patch4_window7_224", "mixer_s32_224"),
    *("resmlp_12_224", "maxvit_nano_rw_256", "coatnet_nano_rw_224"),
)


@dataclass(frozen=True)
class BackboneSpace:
    """Existing networks, with published weights or without; `checkpoints` gives local files by name."""

    names: tuple[str, ...] = BACKBONES
    pretrained: Bound = (False,)
    checkpoints: Mapping[str, str] = field(default_factory=dict)

    def sample(self, trial: Trial) -> Backbone:
        name = pick(trial, "backbone", self.names)
        return Backbone(name, pick(trial, "pretrained", self.pretrained), self.checkpoints.get(name))


@dataclass(frozen=True)
class ToySpace:
    names: tuple[str, ...] = TOYS

    def sample(self, trial: Trial) -> Toy:
        return Toy(pick(trial, "toy", self.names))


def pick_among(trial: Trial, name: str, bound: Bound, suffix: str, excluded: tuple[str, ...]) -> Any:
    """`pick` without the excluded choices; where that leaves fewer, the parameter is called `name.suffix`.

    For a categorical's choices cannot change within a study: fewer choices are another parameter.
    """
    left = tuple(value for value in values(bound) if value not in excluded)
    if not left:
        raise ValueError(f"{name} can only be {values(bound)}, which a sampled network cannot have: add another choice")
    return pick(trial, name if len(left) == len(values(bound)) else f"{name}.{suffix}", left)
