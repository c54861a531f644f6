"""Scores of an untrained network from one batch, as published, for networks with any activation and norm.

Each score changes the state of its model, so give each its own copy. The search does not use them;
`benchmarks/fidelity.py` measures what they are worth.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from timm.layers import DropPath
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.overrides import TorchFunctionMode

ACTIVATIONS = {"relu", "relu_", "gelu", "silu", "silu_", "leaky_relu", "leaky_relu_"}


def gradient_norm(model: nn.Module, x: Tensor, y: Tensor) -> float:
    """Sum over all parameter tensors of the loss gradient's Euclidean norm (Abdelfattah et al., arXiv 2101.08134).

    x (B, C, H, W), y (B,) class indices. Batch norm uses the batch; drop path is off.
    """
    loss = F.cross_entropy(training_mode(model)(x), y)
    return float(sum(g.norm() for g in torch.autograd.grad(loss, list(model.parameters()), materialize_grads=True)))


def synflow(model: nn.Module, x: Tensor) -> float:
    """Logarithm of the sum over weights of |w dR/dw| (Tanaka et al., arXiv 2006.05467), in double precision.

    R is the sum of the outputs for an image of ones, with all weights at their absolute value and without norms, as in
    Abdelfattah et al. Only the shape of x (B, C, H, W) counts.
    """
    model.double().eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.abs_()
    norms = [m for m in model.modules() if isinstance(m, nn.LayerNorm | nn.modules.batchnorm._BatchNorm)]
    for norm in norms:
        norm.register_forward_hook(lambda module, inputs, output: inputs[0])
    parameters = list(model.parameters())
    with sdpa_kernel(SDPBackend.MATH):  # the fused kernel's exp(score - log sum) breaks for such large scores
        total = model(torch.ones_like(x[:1], dtype=torch.float64)).sum()
        gradients = torch.autograd.grad(total, parameters, materialize_grads=True)
    return math.log(sum(float((p.detach() * g).abs().sum()) for p, g in zip(parameters, gradients, strict=True)))


def naswot(model: nn.Module, x: Tensor) -> float:
    """log |det K|, where K_ij counts the activation units in which images i and j agree (Mellor et al., 2006.04647).

    A unit's bit is the sign of the input to its ReLU; here, to any activation. x (B, C, H, W).
    """
    with torch.no_grad(), Signs(len(x)) as signs:
        training_mode(model)(x)
    return float(torch.linalg.slogdet(signs.kernel).logabsdet)


class Signs(TorchFunctionMode):
    """Sums K over every activation called, as a module or as a function, on (B or B x windows, ...)."""

    def __init__(self, batch: int) -> None:
        super().__init__()
        self.kernel = torch.zeros(batch, batch, dtype=torch.float64)

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if getattr(func, "__name__", "") in ACTIVATIONS:
            bits = (args[0].reshape(len(self.kernel), -1) > 0).float()
            self.kernel += (bits @ bits.T + (1 - bits) @ (1 - bits).T).double()
        return func(*args, **(kwargs or {}))


def training_mode(model: nn.Module) -> nn.Module:
    """Switch to training mode, so that batch norm uses the batch, but drop no branch."""
    model.train()
    for module in model.modules():
        if isinstance(module, DropPath):
            module.eval()
    return model
