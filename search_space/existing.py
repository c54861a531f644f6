"""Spaces of networks that others have designed: existing ones, and the baselines."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import partial

from search_space.architecture import Backbone, Toy
from search_space.baselines.backbones import check_known
from search_space.bounds import Bound, Trial, check_each, pick, values
from search_space.errors import ArchitectureError

BACKBONES = (
    *("resnet18", "resnet34", "resnet50", "vgg16", "densenet121", "alexnet", "efficientnet_b0", "convnext_tiny"),
    *("vit_tiny_patch16_224", "vit_small_patch16_224", "swin_tiny_patch4_window7_224", "mixer_s32_224"),
    *("resmlp_12_224", "maxvit_nano_rw_256", "coatnet_nano_rw_224"),
)


@dataclass(frozen=True)
class BackboneSpace:
    """Existing networks, with or without published weights; `checkpoints` maps names to local files of weights.

    The file of a network is used wherever `pretrained` is True, or always if it never is. `frozen` is asked for only
    with weights.
    """

    names: tuple[str, ...] = BACKBONES
    pretrained: Bound = (False,)
    checkpoints: Mapping[str, str] = field(default_factory=dict)
    frozen: Bound = (0.0,)  # share of the layers that keep their weights

    def __post_init__(self) -> None:
        check_each("names", self.names, lambda name: check_known(Backbone(name).name))
        check_each("pretrained", self.pretrained, partial(Backbone, "resnet18"))
        check_each("frozen", self.frozen, partial(Backbone, "resnet18", True, None))
        if not isinstance(self.checkpoints, Mapping):
            raise ArchitectureError(f"checkpoints={self.checkpoints!r}: expected paths of files by network")

    def sample(self, trial: Trial, image_size: int = 64) -> Backbone:
        """Sample a network; `image_size` has no effect."""
        name = pick(trial, "backbone", self.names)
        pretrained = pick(trial, "pretrained", self.pretrained)
        checkpoint = self.checkpoints.get(name) if pretrained or True not in values(self.pretrained) else None
        network = Backbone(name, pretrained, checkpoint)
        return replace(network, frozen=pick(trial, "frozen", self.frozen)) if network.has_weights else network


@dataclass(frozen=True)
class ToySpace:
    """The baselines."""

    names: tuple[str, ...] = ("mlp", "lenet", "resnet2")

    def __post_init__(self) -> None:
        check_each("names", self.names, Toy)

    def sample(self, trial: Trial, image_size: int = 64) -> Toy:
        """Sample a network; `image_size` has no effect."""
        return Toy(pick(trial, "toy", self.names))
