"""Existing networks: any of timm's by name, and torchvision's AlexNet."""

from __future__ import annotations

import difflib
from functools import cache, partial
from pathlib import Path
from typing import Any

import timm
import torch
import torch.nn.functional as F
import torchvision
from timm.models import adapt_input_conv, load_state_dict
from torch import Tensor, nn

from search_space.architecture import Backbone
from search_space.errors import ArchitectureError


class BackboneNet(nn.Module):
    """(B, in_chans, S, S) -> (B, num_outputs); images too small for the network are padded with zeros.

    `frozen` is the share of its layers, from the image on and without the last, that training leaves as they are.
    """

    def __init__(self, net: nn.Module, in_chans: int, image_size: int, net_size: int, frozen: float = 0.0) -> None:
        super().__init__()
        self.net = net
        body = layers(net)
        self.frozen = body[: round(frozen * len(body))]
        for layer in self.frozen:
            for parameter in layer.parameters(recurse=False):
                parameter.requires_grad_(False)
        self.input_shape = (in_chans, image_size, image_size)
        missing = net_size - image_size
        self.pad = (missing // 2, missing - missing // 2) * 2

    def train(self, mode: bool = True) -> BackboneNet:
        """As usual, but frozen layers stay in evaluation: batch norms keep their statistics, too."""
        super().train(mode)
        for layer in self.frozen:
            layer.training = False
        return self

    def forward(self, image: Tensor) -> Tensor:
        if image.shape[1:] != self.input_shape:
            raise ArchitectureError(
                f"images of shape {tuple(image.shape[1:])}, but the network was built for {self.input_shape}"
            )
        out: Tensor = self.net(F.pad(image, self.pad) if any(self.pad) else image)
        return out


def build_backbone(architecture: Backbone, *, in_chans: int, image_size: int, num_outputs: int) -> nn.Module:
    """Build the network with exactly the weights asked for; on the meta device, without any.

    Raises:
        ArchitectureError: unknown name; images too small; weights that are missing, do not fit or cannot be downloaded.
    """
    name, checkpoint = architecture.name, architecture.checkpoint
    if checkpoint is not None and not Path(checkpoint).is_file():
        raise ArchitectureError(
            f"checkpoint {checkpoint!r} is not a file: give the path of a .safetensors or .pth file"
        )
    check_known(name)
    config = timm.get_pretrained_cfg(name) if name != "alexnet" else None
    settings: dict[str, Any] = {"in_chans": in_chans, "num_classes": num_outputs}
    own_size = config.input_size[-1] if config is not None and config.input_size else 224
    if config is not None and config.fixed_input_size:
        settings["img_size"] = net_size = rounded_up(image_size, own_size, name)
    else:
        net_size = size_that_runs(name, image_size, own_size)
    build = partial(alexnet, checkpoint=checkpoint) if name == "alexnet" else partial(timm.create_model, name)
    if checkpoint is not None and name != "alexnet":
        settings["pretrained_cfg_overlay"] = {"file": checkpoint}
    shape = (in_chans, image_size, net_size, architecture.frozen)
    if not architecture.has_weights or torch.get_default_device().type == "meta":
        return BackboneNet(build(pretrained=False, **settings), *shape)
    try:
        net = build(pretrained=True, **settings)
        if checkpoint is not None:
            check_loaded(net, checkpoint)
    except Exception as error:
        source = f"checkpoint {checkpoint!r}" if checkpoint else "pretrained weights"
        reason = (str(error).strip().splitlines() or [""])[0]
        raise ArchitectureError(
            f"{source} for {name!r} could not be used ({type(error).__name__}: {reason}): connect to the network, "
            f"give a file of weights (--checkpoint {name}=FILE), or set pretrained=False"
        ) from error
    return BackboneNet(net, *shape)


def layers(net: nn.Module) -> list[nn.Module]:
    """The modules with parameters of their own, in the order of the network, without those of its last layer."""
    last = net.classifier[6] if isinstance(net, torchvision.models.AlexNet) else net.get_classifier()  # type: ignore[operator]
    without = {id(module) for module in last.modules()}
    return [m for m in net.modules() if next(m.parameters(recurse=False), None) is not None and id(m) not in without]


def is_known(name: str) -> bool:
    return name == "alexnet" or bool(timm.is_model(name))


def check_known(name: str) -> None:
    """Raise ArchitectureError, with names that are close, for a network that neither timm nor torchvision has."""
    if not is_known(name):
        close = difflib.get_close_matches(name, ["alexnet", *timm.list_models()], n=5, cutoff=0.4)
        raise ArchitectureError(
            f"unknown backbone {name!r}, expected a name of timm or 'alexnet', such as: {', '.join(close)}"
        )


def check_loaded(net: nn.Module, checkpoint: str) -> None:
    """Raise ArchitectureError unless most matrices and filters, recognised by their sums, come from the file.

    timm only warns about missing weights. Not all must come from it: the first and last layers and tables of positions
    are adapted to the images and classes.
    """
    given = {tensor.double().sum().item() for tensor in load_state_dict(checkpoint).values()}
    loaded = [p.detach().double().sum().item() in given for p in net.parameters() if p.ndim > 1]
    if sum(loaded) < 0.75 * len(loaded):
        raise ArchitectureError(f"only {sum(loaded)} of {len(loaded)} weights are in the file")


def rounded_up(image_size: int, own_size: int, name: str = "") -> int:
    """The next size that patches and windows divide: a multiple of 32, or of 14 for networks with patches of 14.

    Patches that do not divide it would leave pixels at its edges unseen. 224 is a multiple of both.
    """
    steps = (14,) if "patch14" in name else (32, 14)
    step = next((step for step in steps if own_size % step == 0), own_size)
    return -(-image_size // step) * step


@cache
def size_that_runs(name: str, image_size: int, own_size: int) -> int:
    """The image's size, or the next multiple of 32 at which the network runs, up to its own size.

    There no feature map shrinks to nothing, and the network's windows divide its maps. Sizes are tried without a weight
    in memory and without a draw from torch's generator.
    """
    if image_size >= own_size:
        return image_size
    with torch.device("meta"):
        net = alexnet() if name == "alexnet" else timm.create_model(name)
        net.eval().requires_grad_(False)
        for size in (image_size, *range(rounded_up(image_size, 32), own_size + 1, 32)):
            try:
                net(torch.empty(1, 3, size, size))
                return size
            except (RuntimeError, ValueError, AssertionError) as error:
                reason = f"{type(error).__name__}: {(str(error).strip().splitlines() or [''])[0]}"
    raise ArchitectureError(
        f"backbone {name!r} cannot take images of {image_size} pixels, not even padded to its own "
        f"{own_size} ({reason}): give larger images (--image-size) or another backbone"
    )


def alexnet(
    *, in_chans: int = 3, num_classes: int = 1000, pretrained: bool = False, checkpoint: str | None = None
) -> nn.Module:
    """Build torchvision's AlexNet, its first filters adapted to the channels as timm does, its last layer new."""
    net = torchvision.models.alexnet(num_classes=num_classes)
    first = net.features[0]
    net.features[0] = nn.Conv2d(in_chans, first.out_channels, 11, stride=4, padding=2)
    if pretrained:
        state: dict[str, Any] = (
            load_state_dict(checkpoint)
            if checkpoint is not None
            else torchvision.models.AlexNet_Weights.DEFAULT.get_state_dict(progress=False)
        )
        state["features.0.weight"] = adapt_input_conv(in_chans, state["features.0.weight"])
        state["classifier.6.weight"], state["classifier.6.bias"] = net.classifier[6].weight, net.classifier[6].bias
        net.load_state_dict(state)
    return net
