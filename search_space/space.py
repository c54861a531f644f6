# ruff: noqa: RUF009
"""The hybrid space: any mixer in any stage. Sampling it is the only way from a trial's parameters to a network."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from . import mixers
from .architecture import Hybrid, Stage
from .bounds import Bound, Range, Trial, pick, values


@dataclass(frozen=True)
class HybridSpace:
    """Bounds: a `Range` of ordered values or a tuple of choices; a single value fixes a parameter.

    A parameter is asked for only where it has an effect. Some effects hang on the size of the grid: `image_size` is
    the smallest one the space is meant for; its architectures build at any size.
    """

    stages: Bound = Range(1, 4)
    mixers: tuple[str, ...] = ("conv", "attention", "window", "anisotropic", "fourier", "mlp")
    depth: Bound = Range(1, 3)  # blocks per stage
    width: Bound = Range(32, 64, 32)
    mlp_ratio: Bound = Range(1, 4)
    downsample: Bound = (False, True)
    patch: Bound = Range(4, 8, 4)  # pixels
    stem: Bound = ("patch", "conv")
    position: Bound = ("none", "fixed_1d", "fixed_2d", "learnable")
    head: Bound = ("average", "class_token")
    drop_path: Bound = Range(0.0, 0.2)
    options: Mapping[str, Mapping[str, Bound]] = field(default_factory=dict)  # {"window": {"size": (4, 8)}}
    image_size: int = 64  # pixels
    smallest_grid: int = 4  # tokens a side below which no stage downsamples

    def __post_init__(self) -> None:
        for name in self.mixers:
            mixers.load(name)
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
        return Hybrid(
            stages=tuple(stages),
            patch=patch,
            stem=pick(trial, "stem", self.stem),
            position=pick(trial, "position", self.position),
            head=self.sample_head(trial, stages),
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
        return Stage(
            mixer=mixer,
            depth=pick(trial, f"{prefix}.depth", self.depth),
            width=pick(trial, f"{prefix}.width", self.width),
            mlp_ratio=float(pick(trial, f"{prefix}.mlp_ratio", self.mlp_ratio)),
            downsample=downsample,
            options=mixers.sample(mixer, trial, prefix, side, self.options.get(mixer, {})),
        )

    def sample_head(self, trial: Trial, stages: list[Stage]) -> str:
        isotropic = not any(stage.downsample for stage in stages)
        token = isotropic and mixers.takes_token(stages[-1].mixer, stages[-1].options)
        if token or "class_token" not in values(self.head):
            head: str = pick(trial, "head", self.head)
            return head
        others = tuple(head for head in values(self.head) if head != "class_token")
        return others[0] if others else "average"
