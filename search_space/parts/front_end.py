"""What the stem sees in place of the image: physics of a lens, and beside each a sham of equal size that has none.

(B, C, S, S) -> (B, C', S, S), or (B, C, S', S') of "polar". Lengths are in half sides of the image, whose centre is
the origin.

    source    the image, and both images of each point of the source plane behind a singular isothermal sphere
    residual  the image less the mean of each ring about the centre: most of the lens galaxy's light
    gradient  the image, and the length of its gradient (Sobel)
    polar     the image unrolled about the centre: a row is a radius, a column an angle. Turns of the image are shifts,
              to which convolutions are equivariant once the last angle is beside the first (`close`)

`source_sham` displaces by as much, in directions that a random field fixes; `residual_sham` and `polar_sham` have their
centre half way to a corner; the two filters of `gradient_sham` are random, of equal sum and norm.
"""

from __future__ import annotations

import math
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

ZOOM = 2  # the window of the source plane has half the side of the image
OFF_CENTRE = (0.5, 0.5)
PLANES = {"source": 3, "residual": 1, "gradient": 2}  # C' / C


def build_front_end(
    name: str, in_chans: int, side: int, cell: int = 1, *, symmetric: bool = False
) -> tuple[nn.Module, int, int]:
    """The front end for images of in_chans x side x side, and the channels and the side of what it returns.

    cell, symmetric: as in `unrolled_side`.
    """
    kind, sham = name.removesuffix("_sham"), name.endswith("_sham")
    if kind == "none":
        return nn.Identity(), in_chans, side
    if kind == "polar":
        unrolled = unrolled_side(side, cell, symmetric=symmetric)
        return Polar(unrolled, sham), in_chans, unrolled
    built = {"source": SourcePlane, "residual": RingsSubtracted, "gradient": Gradient}
    return built[kind](side, sham), in_chans * PLANES[kind], side


def unrolled_side(side: int, cell: int, *, symmetric: bool = False) -> int:
    """Rows and columns of the polar image: whole tokens on every grid of the network, so that its ends meet.

    cell: pixels a side of a token of the last grid. The polar image is at least as large as the image, whose grids the
    space has drawn windows for. For a symmetric network, which has none, it has nearly that size, and whole tokens in
    each quarter of the angles: a quarter turn is a shift by them.
    """
    return max(round(side / (4 * cell)), 1) * 4 * cell if symmetric else -(-side // cell) * cell


def pixels(side: int) -> Tensor:
    """The centre (x, y) of each pixel, (S, S, 2), as `grid_sample` counts."""
    at = (2 * torch.arange(side) + 1) / side - 1
    return torch.stack(torch.meshgrid(at, at, indexing="xy"), dim=-1)


def rings(side: int, centre: tuple[float, float]) -> Tensor:
    """What each pixel takes from each ring, (S^2, R): rings are a pixel apart, and weights linear between them."""
    farthest = math.hypot(*(1 - 1 / side + abs(c) for c in centre))
    radius = (pixels(side) - torch.tensor(centre)).norm(dim=-1).flatten() * side / 2
    return (1 - (radius[:, None] - torch.arange(math.ceil(farthest * side / 2) + 1)).abs()).clamp_min(0)


class SourcePlane(nn.Module):
    """The two images x = beta ± t beta/|beta| of each point beta behind a singular isothermal sphere.

    The second exists within its Einstein radius, |beta| < t. Behind a perfect sphere both have the brightness of the
    source (lensing conserves it), so their difference is what the sphere does not explain. t is learnt, as in
    Lensiformer and LensPINN: the mean radius of the image's rings, weighted by a softmax of `gain` times their
    brightness plus `prior`.
    """

    beta: Tensor
    length: Tensor
    direction: Tensor
    weights: Tensor
    radius: Tensor

    def __init__(self, side: int, sham: bool) -> None:
        super().__init__()
        beta = pixels(side) / ZOOM
        direction = F.normalize(beta, dim=-1)
        if sham:
            generator = torch.Generator().manual_seed(0)
            coarse = torch.randn(1, 2, 4, 4, generator=generator, device="cpu")
            field = F.interpolate(coarse, (side, side), mode="bicubic", align_corners=False)
            direction = F.normalize(field[0].permute(1, 2, 0), dim=-1).to(beta.device)
        weights = rings(side, (0.0, 0.0))
        radius = torch.arange(weights.shape[1]) * 2 / side
        self.register_buffer("beta", beta, persistent=False)
        self.register_buffer("length", beta.norm(dim=-1), persistent=False)
        self.register_buffer("direction", direction, persistent=False)
        self.register_buffer("weights", weights / weights.sum(0).clamp_min(1e-6), persistent=False)
        self.register_buffer("radius", radius, persistent=False)
        self.gain = nn.Parameter(torch.ones(()))
        self.prior = nn.Parameter(-0.5 * ((radius - 0.5) / 0.2) ** 2)

    def einstein_radius(self, image: Tensor) -> Tensor:
        """(B,), in half sides of the image."""
        profile = image.mean(1).flatten(1) @ self.weights
        return (self.gain * profile + self.prior).softmax(-1) @ self.radius

    def forward(self, image: Tensor) -> Tensor:
        t = self.einstein_radius(image)[:, None, None]
        shift = t[..., None] * self.direction
        near, far = (F.grid_sample(image, self.beta + sign * shift, align_corners=False) for sign in (1, -1))
        return torch.cat([image, near, far * (self.length < t)[:, None]], dim=1)


class RingsSubtracted(nn.Module):
    to_rings: Tensor
    to_pixels: Tensor

    def __init__(self, side: int, sham: bool) -> None:
        super().__init__()
        weights = rings(side, OFF_CENTRE if sham else (0.0, 0.0))
        self.register_buffer("to_rings", weights / weights.sum(0).clamp_min(1e-6), persistent=False)
        self.register_buffer("to_pixels", weights.T.contiguous(), persistent=False)

    def forward(self, image: Tensor) -> Tensor:
        return image - ((image.flatten(2) @ self.to_rings) @ self.to_pixels).view(image.shape)


class Gradient(nn.Module):
    filters: Tensor

    def __init__(self, side: int, sham: bool) -> None:
        super().__init__()
        sobel = torch.tensor([[-1.0, 0.0, 1.0], [-2.0, 0.0, 2.0], [-1.0, 0.0, 1.0]]) / 8
        filters = torch.stack([sobel, sobel.T])
        if sham:
            random = torch.randn(2, 3, 3, generator=torch.Generator().manual_seed(0), device="cpu").to(sobel.device)
            random = random - random.mean((1, 2), keepdim=True)
            filters = random * (sobel.norm() / random.norm(dim=(1, 2), keepdim=True))
        self.register_buffer("filters", filters[:, None], persistent=False)

    def forward(self, image: Tensor) -> Tensor:
        b, c, h, w = image.shape
        each = F.pad(image.reshape(b * c, 1, h, w), (1, 1, 1, 1), mode="replicate")
        length = (F.conv2d(each, self.filters).square().sum(1) + 1e-12).sqrt()
        return torch.cat([image, length.view(image.shape)], dim=1)


class Wrap(nn.Module):
    """Continues the columns at both ends by `columns` of the other end."""

    def __init__(self, columns: int) -> None:
        super().__init__()
        self.columns = columns

    def forward(self, x: Tensor) -> Tensor:
        x = x.permute(0, 2, 3, 1)  # as tokens lie in memory
        width = x.shape[2]
        if self.columns > width:  # a filter that reaches round more than once
            x = x[:, :, torch.arange(-self.columns, width + self.columns, device=x.device) % width]
        else:
            x = torch.cat([x[:, :, -self.columns :], x, x[:, :, : self.columns]], dim=2)
        return x.permute(0, 3, 1, 2)


class Closed(nn.Sequential):
    """`Wrap`, then a convolution, whose weight and bias are those of the whole."""

    @property
    def weight(self) -> Any:
        return self[1].weight

    @property
    def bias(self) -> Any:
        return self[1].bias


def close(net: nn.Module) -> None:
    """Let every convolution that pads by zeros see that the last column is beside the first; in place."""
    closed: dict[nn.Module, nn.Module] = {}  # a layer may have two places
    for parent in list(net.modules()):
        for key, layer in list(parent._modules.items()):
            if layer not in closed and isinstance(layer, nn.Conv2d) and layer.padding_mode == "zeros":
                rows, columns = padding(layer)
                if columns:
                    layer.padding = (rows, 0)
                    closed[layer] = Closed(Wrap(columns), layer)
            if layer is not None and layer in closed:
                setattr(parent, key, closed[layer])


def padding(layer: nn.Conv2d) -> tuple[int, int]:
    """Of both ends of rows and of columns; "same" is taken as for odd filters."""
    if not isinstance(layer.padding, str):
        return layer.padding[0], layer.padding[1]
    same = [
        d * (k - 1) // 2 if layer.padding == "same" else 0
        for k, d in zip(layer.kernel_size, layer.dilation, strict=True)
    ]
    return same[0], same[1]


class Polar(nn.Module):
    grid: Tensor

    def __init__(self, side: int, sham: bool) -> None:
        super().__init__()
        places = (torch.arange(side) + 0.5) / side
        radius, angle = torch.meshgrid(places, 2 * math.pi * places, indexing="ij")
        grid = torch.stack([radius * angle.cos(), radius * angle.sin()], dim=-1)
        self.register_buffer("grid", grid + torch.tensor(OFF_CENTRE if sham else (0.0, 0.0)), persistent=False)

    def forward(self, image: Tensor) -> Tensor:
        return F.grid_sample(image, self.grid.expand(image.shape[0], -1, -1, -1), align_corners=False)
