"""The norms of a network's blocks, stem and head, each over the channels of (..., C)."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd.function import once_differentiable


class BatchNorm(nn.BatchNorm1d):
    """Batch normalisation (arXiv 1502.03167) of tokens: each channel over all tokens of all images of a batch.

    Layer normalisation sees one token at a time. Substructure shows as a deviation of a few per cent from arcs that all
    images share. A statistic over many images brings it out: batch norm scores higher at every learning rate that was
    tried (studies/README.md).
    """

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = super().forward(x.reshape(-1, x.shape[-1]))
        return out.view(x.shape)


class FieldBatchNorm(BatchNorm):
    """Batch normalisation of fields of `order` channels, each over all its channels, too (see symmetry.py)."""

    momentum: float
    running_mean: Tensor
    running_var: Tensor
    num_batches_tracked: Tensor

    def __init__(self, channels: int, order: int) -> None:
        super().__init__(channels // order)
        self.order = order

    def forward(self, x: Tensor) -> Tensor:
        tokens = x.reshape(-1, x.shape[-1])
        if not self.training:
            fields = (self.running_mean, self.running_var, self.weight, self.bias)
            mean, variance, weight, bias = (field.repeat_interleave(self.order) for field in fields)
            return F.batch_norm(tokens, mean, variance, weight, bias, eps=self.eps).view(x.shape)
        if x.device.type != "cpu":
            out: Tensor = nn.BatchNorm1d.forward(self, tokens.view(-1, self.num_features, self.order))
            return out.view(x.shape)
        normed, mean, variance = FieldStatistics.apply(tokens, self.weight, self.bias, self.order, self.eps)
        with torch.no_grad():
            n = tokens.shape[0] * self.order
            self.running_mean.lerp_(mean, self.momentum)
            self.running_var.lerp_(variance * (n / (n - 1)), self.momentum)
            self.num_batches_tracked.add_(1)
        return normed.view(x.shape)


class FieldStatistics(torch.autograd.Function):
    """Tokens (M, F order) normalised by field, and the means and variances of the fields, (F,).

    torch's own kernel for the CPU takes three to six times as long as that for single channels if a field has two. So
    the sums over the tokens are those of single channels, which are then added up within each field.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor, order: int, eps: float) -> tuple[Tensor, ...]:
        _, mean, inverse = torch.native_batch_norm(x, None, None, None, None, True, 0.0, eps)
        by_field, variances = mean.view(-1, order), (inverse**-2 - eps).view(-1, order)
        mean = by_field.mean(1)
        variance = (variances + (by_field - mean[:, None]) ** 2).mean(1)
        inverse = (variance + eps).rsqrt()
        ctx.save_for_backward(x, weight, mean, inverse)
        ctx.mark_non_differentiable(mean, variance)
        scale = weight * inverse
        offset = bias - mean * scale
        normed = torch.addcmul(offset.repeat_interleave(order), x, scale.repeat_interleave(order))
        return normed, mean, variance

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        x, weight, mean, inverse = ctx.saved_tensors
        grad, order = grads[0].contiguous(), x.shape[1] // len(mean)
        channels = [field.repeat_interleave(order) for field in (mean, inverse)]
        sums = torch.ops.aten.native_batch_norm_backward(
            grad, x, None, None, None, *channels, True, 0.0, [False, True, True]
        )
        of_weight, of_bias = (s.view(-1, order).sum(1) for s in sums[1:])  # of grad times normalised x, of grad
        # weight inverse (grad - mean of grad - normalised x times the mean of grad times it)
        scale, n = weight * inverse, x.shape[0] * order
        slope = -scale * inverse * of_weight / n
        offset = -scale * of_bias / n - slope * mean
        to_x = torch.addcmul(offset.repeat_interleave(order), x, slope.repeat_interleave(order))
        return to_x.addcmul_(grad, scale.repeat_interleave(order)), of_weight, of_bias, None, None


def norm_of(name: str) -> type[nn.Module]:
    """Return the class of norm called "layer" or "batch"; it is built with the number of channels."""
    return {"layer": nn.LayerNorm, "batch": BatchNorm}[name]
