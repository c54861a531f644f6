"""Spaces of networks that others have designed: existing ones, and the baselines."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial

from search_space.architecture import Backbone, Toy
from search_space.bounds import Bound, Trial, check_each, pick
from search_space.errors import ArchitectureError

BACKBONES = (
    *("resnet18", "resnet34", "resnet50", "vgg16", "densenet121", "alexnet", "efficientnet_b0", "convnext_tiny"),
    *("vit_tiny_patch16_224", "vit_small_patch16_224", "swin_tiny_patch4_window7_224", "mixer_s32_224"),
    *("resmlp_12_224", "maxvit_nano_rw_256", "coatnet_nano_rw_224"),
)


@dataclass(frozen=True)
class BackboneSpace:
    """Existing networks, with or without published weights; `checkpoints` maps names to local files of weights."""

    names: tuple[str, ...] = BACKBONES
    pretrained: Bound = (False,)
    checkpoints: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        check_each("names", self.names, Backbone)
        check_each("pretrained", self.pretrained, partial(Backbone, "resnet18"))
        if not isinstance(self.checkpoints, Mapping):
            raise ArchitectureError(f"checkpoints={self.checkpoints!r}: expected paths of files by network")

    def sample(self, trial: Trial, image_size: int = 64) -> Backbone:
        """Sample a network; `image_size` has no effect."""
        name = pick(trial, "backbone", self.names)
        return Backbone(name, pick(trial, "pretrained", self.pretrained), self.checkpoints.get(name))


@dataclass(frozen=True)
class ToySpace:
    """The baselines."""

    names: tuple[str, ...] = ("mlp", "lenet", "resnet2")

    def __post_init__(self) -> None:
        check_each("names", self.names, Toy)

    def sample(self, trial: Trial, image_size: int = 64) -> Toy:
        """Sample a network; `image_size` has no effect."""
        return Toy(pick(trial, "toy", self.names))
