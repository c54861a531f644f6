"""Compares forward and backward of each block with timm's at equal configuration: `python benchmarks/blocks.py`.

Both run in turn in one process on one thread, and the median of the paired ratios is reported. On a shared machine
single timings vary by half or more.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Iterator
from functools import partial
from typing import Any

import torch
from timm.layers import LayerNormAct2d, SqueezeExcite
from timm.models._efficientnet_blocks import InvertedResidual
from timm.models.convnext import ConvNeXtBlock
from timm.models.mambaout import GatedConvBlock
from timm.models.mlp_mixer import MixerBlock, ResBlock
from timm.models.swin_transformer import SwinTransformerBlock
from timm.models.swin_transformer_v2 import SwinTransformerV2Block
from timm.models.vision_transformer import Block as VitBlock
from torch import Tensor, nn

from search_space import mixers
from search_space.parts.block import Block


class Ours(nn.Module):
    """One of our blocks as a function of the grid alone."""

    def __init__(self, dim: int, side: int, mixer: str, index: int = 0, norm: str = "pre", **options: Any) -> None:
        super().__init__()
        built = mixers.build(mixer, dim, (side, side), index=index, options=options)
        self.block = Block(dim, built, mlp_ratio=4.0, norm=norm)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.block(x)[0]
        return out


def pairs(dim: int, side: int, heads: int, window: int) -> Iterator[tuple[str, nn.Module, nn.Module, str]]:
    """Yield the name, our block, timm's, and the layout that timm's works in."""
    ours, grid, tokens = partial(Ours, dim, side), (side, side), side * side
    swin: dict[str, Any] = {"num_heads": heads, "window_size": window, "mlp_ratio": 4.0}
    yield "attention", ours("attention", heads=heads), VitBlock(dim, heads, qkv_bias=True), "tokens"
    for name, index in (("window", 0), ("window, shifted", 1)):
        shift = index * window // 2
        mixer = ours("window", index, heads=heads, size=window, variant="v1")
        yield name, mixer, SwinTransformerBlock(dim, grid, shift_size=shift, **swin), "grid"
        mixer = ours("window", index, "res_post", heads=heads, size=window, variant="v2")
        yield f"{name} v2", mixer, SwinTransformerV2Block(dim, grid, shift_size=shift, **swin), "grid"
    mixing = MixerBlock(dim, tokens, mlp_ratio=(0.5 * tokens / dim, 4.0))
    yield "mlp mixer", ours("mlp", variant="mixer", ratio=0.5), mixing, "tokens"
    yield "resmlp", ours("mlp", variant="resmlp"), ResBlock(dim, tokens), "tokens"
    convnext = ConvNeXtBlock(dim, ls_init_value=None)
    yield "convnext", ours("conv", variant="convnext", kernel=7, expand=4), convnext, "channels"
    gated = GatedConvBlock(dim, expansion_ratio=2)
    yield "gated convolution", ours("conv", variant="gated", kernel=7, expand=2), gated, "grid"
    # timm has no linear attention: beside its softmax attention.
    yield "linear attention", ours("linear_attention", heads=heads), VitBlock(dim, heads, qkv_bias=True), "tokens"
    squeeze = partial(SqueezeExcite, rd_channels=dim // 4, act_layer=nn.SiLU)
    settings: dict[str, Any] = {"exp_ratio": 4, "act_layer": nn.SiLU, "norm_layer": LayerNormAct2d, "se_layer": squeeze}
    yield (
        "mbconv",
        ours("conv", variant="mbconv", kernel=3, expand=4),
        InvertedResidual(dim, dim, **settings),
        "channels",
    )


def seconds(module: nn.Module, x: Tensor) -> float:
    start = time.process_time()
    module(x).square().mean().backward()
    return time.process_time() - start


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--dim", type=int, default=64)
    parser.add_argument("--side", type=int, default=16, help="tokens per side")
    parser.add_argument("--heads", type=int, default=4)
    parser.add_argument("--window", type=int, default=8)
    parser.add_argument("--repeats", type=int, default=15)
    args = parser.parse_args()
    torch.set_num_threads(1)
    print(f"{args.batch} x {args.side} x {args.side} x {args.dim}, {args.heads} heads, windows of {args.window}")
    print(f"{'block':20s}{'ours [ms]':>12s}{'timm [ms]':>12s}{'ratio':>8s}")
    for name, ours, theirs, layout in pairs(args.dim, args.side, args.heads, args.window):
        x = torch.randn(args.batch, args.side, args.side, args.dim)
        native = {"grid": x, "tokens": x.flatten(1, 2), "channels": x.permute(0, 3, 1, 2).contiguous()}[layout]
        x, native = x.requires_grad_(), native.clone().requires_grad_()
        seconds(ours, x), seconds(theirs, native)
        times = [(seconds(ours, x), seconds(theirs, native)) for _ in range(args.repeats)]
        mine, other = (1e3 * min(column) for column in zip(*times, strict=True))
        ratio = statistics.median(a / b for a, b in times)
        print(f"{name:20s}{mine:12.1f}{other:12.1f}{ratio:8.2f}", flush=True)


if __name__ == "__main__":
    main()
