"""Networks that are equivariant by construction: ordinary ones whose weights are tied over a group.

After Cohen & Welling (arXiv 1602.07576). The channels of a grid are fields of the regular representation: channel
f |G| + g is the value of field f at g in G. A symmetry u of the square moves the pixels, and the places in each field:

    (L_u x)(p, f, g) = x(u^-1 p, f, u^-1 g)

Linear maps and convolutions commute with every L_u if their weights W are tied to |G| times fewer free ones, w:

    from the image   W[(o, g), i](d)      = w[o, i](g^-1 d)
    between fields   W[(o, g), (i, h)](d) = w[o, i, g^-1 h](g^-1 d)
    to the outputs   W[o, (i, h)]         = w[o, i]

Biases, norms and scales are the same for all g, and what acts on single channels commutes anyway. The logits of a head
of whole fields, q . k, do not change under L_u, so attention commutes as well. A relative bias must then be that of all
its turned and mirrored offsets (Romero & Cordonnier, arXiv 2010.00977, share it over the group likewise).

The width counts all channels: a network costs as many operations as an ordinary one of its width, and has about |G|
times fewer parameters.

Behind polar coordinates (parts/front_end.py) turns are shifts along the angles. What acts on every place alike commutes
with them without any tie, and mirrors are what is left of d4: G has two elements.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from timm.layers import LayerScale
from torch import Tensor, nn

from search_space.architecture import ORDER
from search_space.errors import ArchitectureError
from search_space.parts.norm import BatchNorm, FieldBatchNorm
from search_space.parts.relation import RelativeBias

ORDERS = {**ORDER, "mirror": 2}


def tied_group(front_end: str, symmetry: str) -> str | None:
    """The group over which the weights of such a network are tied, if over any."""
    if front_end == "polar":
        return "mirror" if symmetry == "d4" else None
    return None if symmetry == "none" else symmetry


class Group:
    """The quarter turns ("c4"), also of the mirror image ("d4"), of the last two axes of an array.

    "mirror" is the reflection of the last axis alone.

    "scrambled" is a control: d4, acting on places that a fixed permutation has exchanged. The weights are tied as
    often, and to each other in the same pattern, but by what is no symmetry of an image (in filters of two pixels, by
    what is not one for half of the group; filters of one have none at all).
    """

    def __init__(self, name: str) -> None:
        self.name, self.order = name, ORDERS[name]
        turn, probe = self.turn, np.arange(9).reshape(3, 3)
        seen = [turn(probe, g).tobytes() for g in range(self.order)]
        # [g, h]: g^-1 h, the r with g r = h
        self.quotient = np.argsort(
            [[seen.index(turn(turn(probe, r), g).tobytes()) for r in range(self.order)] for g in range(self.order)]
        )

    def turn(self, x: np.ndarray, g: int) -> np.ndarray:
        return turned(x, 4 * g if self.name == "mirror" else g)

    def move(self, x: np.ndarray, g: int) -> np.ndarray:
        """x(g^-1 d) of a filter x(..., d)."""
        if self.name != "scrambled":
            return self.turn(x, g)
        places = np.random.default_rng(2).permutation(x.shape[-2] * x.shape[-1])
        flat = x.reshape(*x.shape[:-2], -1)
        moved = turned(flat[..., places].reshape(x.shape), g).reshape(flat.shape)
        return moved[..., np.argsort(places)].reshape(x.shape)

    def from_image(self, shape: tuple[int, ...]) -> np.ndarray:
        """Where each entry of a filter of this shape, (out, in, k, k), lies among the free ones."""
        w = np.arange(math.prod(shape) // self.order).reshape(-1, *shape[1:])
        return np.stack([self.move(w, g) for g in range(self.order)], axis=1).reshape(shape)

    def between_fields(self, shape: tuple[int, ...]) -> np.ndarray:
        out, in_, *kernel = (*shape, 1, 1)[:4]
        w = np.arange(math.prod(shape) // self.order).reshape(out // self.order, in_ // self.order, self.order, *kernel)
        return np.stack([self.move(w[:, :, self.quotient[g]], g) for g in range(self.order)], axis=1).reshape(shape)

    def same(self, shape: tuple[int, ...]) -> np.ndarray:
        """As `from_image`, of entries that do not depend on the last axis' place in its field."""
        return np.arange(math.prod(shape) // self.order).repeat(self.order).reshape(shape)

    def orbits(self, side: int) -> np.ndarray:
        """A number for each of side x side offsets, the same for all that the group moves to each other."""
        w = np.arange(side * side).reshape(side, side)
        lowest = np.min([self.move(w, g) for g in range(self.order)], axis=0)
        return np.unique(lowest, return_inverse=True)[1].reshape(-1)


def turned(x: np.ndarray, g: int) -> np.ndarray:
    return np.rot90(np.flip(x, -1) if g >= 4 else x, g % 4, (-2, -1))


class Tied(nn.Module):
    """Mixed into a layer: its weight is a free vector, whose entries the full weight repeats; its bias is by field."""

    index: Tensor
    weight: Any
    bias: Any

    def tie(self, layer: nn.Linear | nn.Conv2d, index: np.ndarray, repeats: int) -> None:
        """Take over the free weights among those of `layer`, and the biases of every `repeats`-th channel."""
        self.shape, self.repeats = index.shape, repeats
        self.register_buffer("index", torch.tensor(index.reshape(-1), dtype=torch.int32), persistent=False)
        first = np.full(index.max() + 1, index.size)  # place of each free weight; faster than by np.unique, which sorts
        np.minimum.at(first, index.reshape(-1), np.arange(index.size))
        self.weight = nn.Parameter(layer.weight.detach().flatten()[torch.tensor(first)])
        self.bias = None if layer.bias is None else nn.Parameter(layer.bias.detach()[::repeats].clone())

    def full(self) -> tuple[Tensor, Tensor | None]:
        weight = self.weight.index_select(0, self.index).view(self.shape)
        return weight, None if self.bias is None else self.bias.repeat_interleave(self.repeats)


class TiedLinear(Tied, nn.Linear):
    def __init__(self, layer: nn.Linear, index: np.ndarray, repeats: int) -> None:
        super().__init__(layer.in_features, layer.out_features)
        self.tie(layer, index, repeats)

    def forward(self, x: Tensor) -> Tensor:
        return F.linear(x, *self.full())


class TiedConv2d(Tied, nn.Conv2d):
    def __init__(self, layer: nn.Conv2d, index: np.ndarray, repeats: int) -> None:
        names = (
            "in_channels",
            "out_channels",
            "kernel_size",
            "stride",
            "padding",
            "dilation",
            "groups",
            "padding_mode",
        )
        super().__init__(**{name: getattr(layer, name) for name in names})
        self.tie(layer, index, repeats)

    def forward(self, x: Tensor) -> Tensor:
        return self._conv_forward(x, *self.full())


class FieldLayerNorm(nn.Module):
    """Layer normalisation of all channels, with a scale and an offset by field."""

    def __init__(self, channels: int, order: int) -> None:
        super().__init__()
        self.order = order
        self.weight = nn.Parameter(torch.ones(channels // order))
        self.bias = nn.Parameter(torch.zeros(channels // order))

    def forward(self, x: Tensor) -> Tensor:
        weight, bias = (free.repeat_interleave(self.order) for free in (self.weight, self.bias))
        return F.layer_norm(x, x.shape[-1:], weight, bias)


class FieldScale(nn.Module):
    def __init__(self, layer: LayerScale, order: int) -> None:
        super().__init__()
        self.order = order
        self.gamma = nn.Parameter(layer.gamma.detach()[::order].clone())

    def forward(self, x: Tensor) -> Tensor:
        return x * self.gamma.repeat_interleave(self.order)


def tie(net: nn.Module, first: nn.Module, last: nn.Module, name: str) -> None:
    """Tie the weights of a network, in place. `first` maps the image to fields, `last` fields to the outputs.

    Raises:
        ArchitectureError: some channels, or those of a head of attention, are not whole fields.
    """
    g = Group(name)
    parent: Any
    for parent in list(net.modules()):
        if hasattr(parent, "heads"):  # attention
            check(name, parent.proj.out_features // parent.heads, of=" of each head")
        for key, layer in list(parent.named_children()):
            match layer:
                case nn.Linear() if layer is last:
                    tied: nn.Module = TiedLinear(layer, g.same(tuple(layer.weight.shape)), 1)
                case nn.Linear():
                    check(name, layer.in_features, layer.out_features)
                    tied = TiedLinear(layer, g.between_fields(tuple(layer.weight.shape)), g.order)
                case nn.Conv2d():
                    check(name, layer.out_channels, *(() if layer is first else (layer.in_channels,)))
                    by_channel = layer is first or layer.groups == layer.in_channels  # no sum over the fields
                    index = (g.from_image if by_channel else g.between_fields)(tuple(layer.weight.shape))
                    tied = TiedConv2d(layer, index, g.order)
                case BatchNorm():
                    check(name, layer.num_features)
                    tied = FieldBatchNorm(layer.num_features, g.order)
                case nn.LayerNorm():
                    check(name, *layer.normalized_shape)
                    tied = FieldLayerNorm(layer.normalized_shape[0], g.order)
                case LayerScale():
                    tied = FieldScale(layer, g.order)
                case RelativeBias():
                    share(layer, g)
                    continue
                case _:
                    continue
            setattr(parent, key, tied)


def check(name: str, *channels: int, of: str = "") -> None:
    for number in channels:
        if number % ORDERS[name]:
            raise ArchitectureError(
                f"symmetry={name!r} with {number} channels{of}: they are fields of {ORDERS[name]}, so choose a width, "
                "mlp_ratio and heads that leave a multiple of it"
            )


def share(bias: RelativeBias, g: Group) -> None:
    """Give all offsets that the group moves to each other one number."""
    orbit = g.orbits(math.isqrt(bias.table.shape[1]))
    first = torch.tensor(np.unique(orbit, return_index=True)[1])
    bias.table = nn.Parameter(bias.table.detach()[:, first])
    bias.index = torch.tensor(orbit)[bias.index]
