"""The norms of a network's blocks, stem and head, each over the channels of (..., C)."""

from __future__ import annotations

from torch import Tensor, nn


class BatchNorm(nn.BatchNorm1d):
    """Batch normalisation (arXiv 1502.03167) of tokens: each channel over all tokens of all images of a batch.

    Layer normalisation sees one token at a time. Substructure shows as a deviation of a few per cent from arcs that all
    images share. A statistic over many images brings it out: batch norm scores higher at every learning rate that was
    tried (studies/README.md).
    """

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = super().forward(x.reshape(-1, x.shape[-1]))
        return out.view(x.shape)


def norm_of(name: str) -> type[nn.Module]:
    """Return the class of norm called "layer" or "batch"; it is built with the number of channels."""
    return {"layer": nn.LayerNorm, "batch": BatchNorm}[name]
