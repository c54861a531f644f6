# ruff: noqa: RUF009
"""Spaces of architectures. Sampling from one is the only way from a trial's parameters to a network."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property, partial
from typing import Any

from search_space import mixers
from search_space.architecture import (
    ABSOLUTE,
    FRONT_ENDS,
    HEADS,
    NORM_LAYERS,
    NORMS,
    NOT_POLAR,
    ORDER,
    PLACES,
    RELATIONAL,
    SYMMETRIC_FRONT_ENDS,
    SYMMETRIC_POSITIONS,
    Hybrid,
    Stage,
)
from search_space.bounds import Bound, Range, Trial, pick, pick_allowed, pick_among, pick_up_to, values
from search_space.errors import ArchitectureError
from search_space.tying import Tying, tying
from search_space.validity import can_have, check_space


@dataclass(frozen=True)
class HybridSpace:
    """Any mixer in any stage.

    A bound is a `Range` of ordered values or a tuple of choices; a single value fixes the parameter.

    A parameter is asked for only if it has an effect. Which ones have depends on the size of the grid and so on that of
    the images: patches and halvings keep at least `smallest_grid` tokens a side, and no window exceeds its grid.
    """

    stages: Bound = Range(1, 4)
    mixers: tuple[str, ...] = ("conv", "attention", "window", "anisotropic", "fourier", "mlp")  # or modules of your own
    first: Bound = ("same", "conv")  # mixer of a stage's first block
    depth: Bound = Range(1, 3)  # blocks per stage
    width: Bound = Range(32, 64, 32)
    mlp_ratio: Bound = Range(1, 4)
    downsample: Bound = (False, True)
    patch: Bound = Range(4, 8, 4)  # pixels
    grid: Bound | None = None  # tokens a side after the stem, in place of `patch`: the same for images of any size
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
    smallest_grid: int = 4  # tokens a side
    symmetry: Bound = ("none",)  # asked for first, as few mixers can have one; without "none", all of them must
    front_end: Bound = ("none",)  # with a symmetry, those that keep it

    def __post_init__(self) -> None:
        check_space(self)

    @cached_property
    def tyings(self) -> dict[str, Tying]:
        """What is left of the bounds for each symmetry. Found once: a search decodes hundreds of configurations."""
        names, first = self.mixers, values(self.first)
        return {
            symmetry: tying(symmetry, names, first, self.width, self.mlp_ratio, self.options, not self.all_polar)
            for symmetry in dict.fromkeys(("none", *values(self.symmetry)))
        }

    @cached_property
    def all_polar(self) -> bool:
        """Whether every symmetric network is behind polar coordinates, where only shifts are symmetries."""
        return all(name == "polar" or name not in SYMMETRIC_FRONT_ENDS for name in values(self.front_end))

    @cached_property
    def _impossible(self) -> tuple[str, ...]:
        return tuple(name for name in values(self.symmetry) if name != "none" and not can_have(self, self.tyings[name]))

    def sample(self, trial: Trial, image_size: int = 64) -> Hybrid:
        """Sample an architecture for images of `image_size` pixels a side; it builds at any other size, too.

        Raises:
            ArchitectureError: no patch leaves `smallest_grid` tokens a side, or no choice suits a sampled network.
        """
        symmetry = self.sample_symmetry(trial)
        patch = self.sample_patch(trial, image_size)
        side = -(-image_size // patch)
        stages: list[Stage] = []
        for index in range(pick(trial, "stages", self.stages)):
            stage = self.sample_stage(trial, index, side, symmetry)
            side = (side + 1) // 2 if stage.downsample else side
            stages.append(stage)
        norm_layer = pick(trial, "norm_layer", self.norm_layer)
        position = self.sample_position(trial, stages, symmetry)
        return Hybrid(
            stages=tuple(stages),
            patch=patch,
            stem=pick_among(trial, "stem", self.stem, "any_stride", ("conv",) if patch & (patch - 1) else ()),
            **position,
            norm=pick(trial, "norm", self.norm),
            norm_layer=norm_layer,
            layer_scale=pick(trial, "layer_scale", self.layer_scale),
            head=self.sample_head(trial, stages, norm_layer, symmetry),
            drop_path=pick(trial, "drop_path", self.drop_path),
            symmetry=symmetry,
            front_end=self.sample_front_end(trial, stages, position["position"], symmetry),
        )

    def sample_symmetry(self, trial: Trial) -> str:
        """Sample among the symmetries that some mixer, position embedding, head and front end can have."""
        symmetry: str = pick_among(trial, "symmetry", self.symmetry, "fitting", self._impossible)
        return symmetry

    def sample_patch(self, trial: Trial, image_size: int) -> int:
        if self.grid is not None:
            # The nearest power of two, as the convolutional stem needs: at 150 pixels, 16 tokens a side become 19.
            patch = 1 << max(round(math.log2(image_size / pick(trial, "grid", self.grid))), 0)
            while patch > 1 and -(-image_size // patch) < self.smallest_grid:
                patch //= 2
            return patch
        fitting = [patch for patch in values(self.patch) if -(-image_size // patch) >= self.smallest_grid]
        if not fitting:
            raise ArchitectureError(
                f"no patch of {values(self.patch)} pixels leaves {self.smallest_grid} tokens a side of images of "
                f"{image_size} pixels: add a smaller patch, use larger images or lower smallest_grid"
            )
        return int(pick_up_to(trial, "patch", self.patch, max(fitting)))

    def sample_stage(self, trial: Trial, index: int, side: int, symmetry: str = "none") -> Stage:
        """Sample stage `index`, which follows a grid of side x side tokens."""
        prefix, tied = f"stages.{index}", self.tyings[symmetry]
        downsample = False
        if index > 0 and (side + 1) // 2 >= self.smallest_grid:
            downsample = pick(trial, f"{prefix}.downsample", self.downsample)
        side = (side + 1) // 2 if downsample else side

        def options_of(mixer: str, prefix: str) -> dict[str, Any]:
            bounds = tied.options[mixer]
            narrowed = bounds != self.options.get(mixer, {})
            return mixers.sample(mixer, trial, f"{prefix}.{symmetry}" if narrowed else prefix, side, bounds)

        unfit = tuple(name for name in self.mixers if name not in tied.options)
        mixer = pick_among(trial, f"{prefix}.mixer", self.mixers, symmetry, unfit)
        options = options_of(mixer, prefix)
        depth = pick(trial, f"{prefix}.depth", self.depth)
        first, first_options = None, {}
        if depth > 1 and mixer not in values(self.first):
            choice = pick_allowed(trial, f"{prefix}.first", self.first, partial(tied.can_begin, (mixer, options)))
            if choice != "same":
                first, first_options = choice, options_of(choice, f"{prefix}.first")
        blocks = [(mixer, options)] if first is None else [(mixer, options), (first, first_options)]
        width = pick_allowed(trial, f"{prefix}.width", self.width, tied.allows(*blocks))
        ratio = {}
        if not all(mixers.trait(*block, "mixes_channels") for block in blocks):
            allowed = partial(tied.allows_ratio, width)
            ratio["mlp_ratio"] = float(pick_allowed(trial, f"{prefix}.mlp_ratio", self.mlp_ratio, allowed))
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

    def sample_position(self, trial: Trial, stages: list[Stage], symmetry: str) -> dict[str, Any]:
        """Sample the position embedding; it is a choice only if some mixer does not know positions by itself.

        That is attention, which alone takes the relational kinds. A network of other mixers has none if the bound
        allows that: an embedding costs convolutions much (benchmarks/README.md).
        """
        attentions = max(sum(mixers.trait(*block, "takes_relation") for block in stage.blocks()) for stage in stages)
        if not attentions and "none" in values(self.position):
            return {"position": "none"}
        excluded: tuple[str, ...] = () if attentions else RELATIONAL
        suffix = "absolute"
        if symmetry != "none":
            able = [kind for kind in SYMMETRIC_POSITIONS if kind != "relative" or not self.all_polar]
            excluded += tuple(kind for kind in ABSOLUTE + RELATIONAL if kind not in able)
            suffix = "symmetric" if attentions else "symmetric_absolute"
        kind = pick_among(trial, "position", self.position, suffix, excluded)
        place, shared = "once", False
        if kind not in (*RELATIONAL, "none") and sum(stage.depth for stage in stages) > 1:
            place = pick(trial, "position.place", self.position_place)
        learnt = kind == "relative" or (place == "blocks" and kind not in ("fixed_1d", "fixed_2d"))
        users = attentions if kind == "relative" else max(stage.depth for stage in stages)
        if learnt and users > 1:  # blocks of one stage that could share
            shared = pick(trial, "position.shared", self.position_shared)
        return {"position": kind, "position_place": place, "position_shared": shared}

    def sample_front_end(self, trial: Trial, stages: list[Stage], position: str, symmetry: str) -> str:
        """Sample the front end; with a symmetry, among those that keep it."""
        excluded: tuple[str, ...] = ()
        suffix = "symmetric"
        if symmetry != "none":
            excluded = tuple(name for name in FRONT_ENDS if name not in SYMMETRIC_FRONT_ENDS)
            blocks = (block for stage in stages for block in stage.blocks())
            on_a_grid = position == "relative" or symmetry in NOT_POLAR
            if on_a_grid or any(mixers.trait(*block, "knows_centre") for block in blocks):
                excluded, suffix = (*excluded, "polar"), "symmetric_grid"
        front_end: str = pick_among(trial, "front_end", self.front_end, suffix, excluded)
        return front_end

    def sample_head(self, trial: Trial, stages: list[Stage], norm_layer: str, symmetry: str) -> str:
        if symmetry != "none":
            symmetric: str = pick_among(trial, "head", self.head, "symmetric", ("class_token", "attention"))
            return symmetric
        isotropic = not any(stage.downsample for stage in stages)
        token = isotropic and norm_layer != "batch" and mixers.trait(*stages[-1].blocks()[-1], "takes_token")
        head: str = pick_among(trial, "head", self.head, "pooled", () if token else ("class_token",))
        return head


OF_LAYOUT = re.compile(rf"(stages\.\d+\.(?:mixer|downsample))(?:\.(?:{'|'.join(ORDER)}))?$")


def layout(params: Mapping[str, Any]) -> tuple[tuple[str, Any], ...]:
    """The mixers of sampled stages with the places of halving, of a trial's parameters; with a symmetry or without.

    A mixer that is the only choice is no parameter and so not part of the layout.
    """
    found = ((OF_LAYOUT.match(name), value) for name, value in params.items())
    return tuple(sorted((match[1], value) for match, value in found if match))


# One transformer of one stage with nothing left to sample. A study varies what it asks about with `replace`.
PLAIN_TRANSFORMER = HybridSpace(
    stages=(1,),
    mixers=("attention",),
    first=("same",),
    depth=(3,),
    width=(48,),
    mlp_ratio=(2.0,),
    grid=(16,),
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
