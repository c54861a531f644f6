"""The cost of a network, before a single weight is allocated."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch.utils.flop_counter import FlopCounterMode

from search_space.architecture import Architecture
from search_space.model import build_model


@dataclass(frozen=True)
class Cost:
    parameters: int
    macs: int  # multiply-accumulate operations of one image's forward pass


def cost(architecture: Architecture, *, in_chans: int, image_size: int, num_outputs: int) -> Cost:
    """Count a network on the meta device: matrix products, convolutions, attention and Fourier transforms.

    As is usual, norms, activations and additions do not count. Raises ArchitectureError as `build_model`.
    """
    with torch.device("meta"):
        model = build_model(architecture, in_chans=in_chans, image_size=image_size, num_outputs=num_outputs).eval()
        image = torch.empty(1, in_chans, image_size, image_size)
    # Frozen rather than under no_grad, where the counter's hooks trip over views of parameters.
    parameters = sum(p.numel() for p in model.requires_grad_(False).parameters())
    with FlopCounterMode(display=False, custom_mapping=_FFT) as counter:
        model(image)
    return Cost(parameters, counter.get_total_flops() // 2)


def fft_flops(shape: Sequence[int], dims: Sequence[int]) -> int:
    """5 n log2 n real operations for a complex transform of length n along each of `dims` (radix 2).

    A real transform takes half.
    """
    return round(5 * math.prod(shape) * sum(math.log2(shape[dim]) for dim in dims))


def _complex(shape: Sequence[int], dims: Sequence[int], *_: Any, **__: Any) -> int:
    return fft_flops(shape, dims)


def _real(shape: Sequence[int], dims: Sequence[int], *_: Any, out_shape: Sequence[int], **__: Any) -> int:
    return fft_flops(max(shape, out_shape, key=math.prod), dims) // 2


_FFT = {torch.ops.aten._fft_c2c: _complex, torch.ops.aten._fft_r2c: _real, torch.ops.aten._fft_c2r: _real}
