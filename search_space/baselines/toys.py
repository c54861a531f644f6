"""Baselines for images of any size: an MLP, LeNet, a ResNet of two blocks and a plain CNN."""

from __future__ import annotations

from torch import Tensor, nn

from search_space.errors import ArchitectureError


def mlp(in_chans: int, image_size: int, num_outputs: int) -> nn.Module:
    return nn.Sequential(
        nn.Flatten(),
        nn.Linear(in_chans * image_size**2, 128),
        nn.ReLU(),
        nn.Linear(128, 64),
        nn.ReLU(),
        nn.Linear(64, num_outputs),
    )


def lenet(in_chans: int, image_size: int, num_outputs: int) -> nn.Module:
    """LeNet-5 (LeCun et al. 1998) with ReLU; the first linear layer fits the image size."""
    side = ((image_size - 4) // 2 - 4) // 2
    if side < 1:
        raise ArchitectureError(f"image_size={image_size} is too small for LeNet, expected at least 16 pixels")
    return nn.Sequential(
        nn.Conv2d(in_chans, 6, 5),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(6, 16, 5),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Flatten(),
        nn.Linear(16 * side * side, 120),
        nn.ReLU(),
        nn.Linear(120, 84),
        nn.ReLU(),
        nn.Linear(84, num_outputs),
    )


class BasicBlock(nn.Module):
    """Two 3 x 3 convolutions and a projected shortcut (arXiv 1512.03385)."""

    def __init__(self, c_in: int, c_out: int, stride: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(c_in, c_out, 3, stride=stride, padding=1, bias=False),
            nn.BatchNorm2d(c_out),
            nn.ReLU(),
            nn.Conv2d(c_out, c_out, 3, padding=1, bias=False),
            nn.BatchNorm2d(c_out),
        )
        self.shortcut = nn.Sequential(nn.Conv2d(c_in, c_out, 1, stride=stride, bias=False), nn.BatchNorm2d(c_out))

    def forward(self, x: Tensor) -> Tensor:
        return (self.body(x) + self.shortcut(x)).relu()


def resnet2(in_chans: int, image_size: int, num_outputs: int) -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(in_chans, 16, 3, stride=2, padding=1, bias=False),
        nn.BatchNorm2d(16),
        nn.ReLU(),
        BasicBlock(16, 32, stride=2),
        BasicBlock(32, 64, stride=2),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(64, num_outputs),
    )


def cnn(in_chans: int, image_size: int, num_outputs: int) -> nn.Module:
    """Four stages of two 3 x 3 convolutions; the first of each halves the grid."""
    layers: list[nn.Module] = []
    for c_in, c_out in ((in_chans, 16), (16, 32), (32, 64), (64, 128)):
        for chans, stride in ((c_in, 2), (c_out, 1)):
            layers += [nn.Conv2d(chans, c_out, 3, stride, 1, bias=False), nn.BatchNorm2d(c_out), nn.ReLU()]
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(128, num_outputs))


def build_toy(name: str, *, in_chans: int, image_size: int, num_outputs: int) -> nn.Module:
    """Build a network of (B, in_chans, S, S) -> (B, num_outputs)."""
    return {"mlp": mlp, "lenet": lenet, "resnet2": resnet2, "cnn": cnn}[name](in_chans, image_size, num_outputs)
