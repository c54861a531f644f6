"""Calibrate what a task predicts, by factors fitted to images that were not trained on.

For classes it is a temperature (Guo et al. 2017, section 4.2), for numbers a factor on the standard deviations of each.
It acts on the combined prediction of several views or networks, because the mean of calibrated probabilities is not
calibrated itself (Rahaman & Thiery 2021).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch
from scipy.optimize import minimize_scalar
from torch import Tensor

if TYPE_CHECKING:
    from trainers.tasks import Task

LARGEST = 20.0  # temperature, and one over the smallest
Factor = float | Sequence[float]  # one for each number, if there are several; earlier versions had one for all


def fit(predicted: Tensor, truth: Tensor, task: Task) -> Factor | None:
    """The factor for predictions (N, ...) of held-out images; None if the task has nothing to calibrate."""
    if task.classifies:
        return temperature(predicted, truth)
    if task.with_sigma:
        found = ratios(predicted, truth)
        return found if len(found) > 1 else found[0]
    return None


def ratios(predicted: Tensor, truth: Tensor) -> list[float]:
    """The root mean square error of each number, in units of its predicted standard deviation."""
    value, sigma = predicted.tensor_split(2, -1)
    return (((value - truth) / sigma) ** 2).mean(0).sqrt().tolist()


def apply(factor: Factor | None, predicted: Tensor, task: Task) -> Tensor:
    """Predictions (N, ...) as they are after calibration."""
    if factor is None:
        return predicted
    if task.classifies:
        assert not isinstance(factor, Sequence)
        return tempered(predicted, factor)
    value, sigma = predicted.tensor_split(2, -1)
    return torch.cat([value, sigma * predicted.new_tensor(factor)], -1)


def tempered(probabilities: Tensor, temperature: float) -> Tensor:
    """Probabilities (..., classes) as if their logits were divided by the temperature."""
    return (_logarithm(probabilities) / temperature).softmax(-1)


def temperature(probabilities: Tensor, labels: Tensor) -> float:
    """The temperature with the smallest log loss on probabilities (N, classes) and labels (N,).

    The labels are smoothed as if there had been one mistake more. Otherwise a network without a mistake in N images
    would be given certainty, and the first mistake would cost it dearly. (Platt's rule of 1999, one mistake more in
    each class for each other class, makes good networks far too cautious: see benchmarks/README.md.)
    """
    classes = probabilities.shape[-1]
    wrong = 1 / (len(labels) + 1)
    right = torch.nn.functional.one_hot(labels, classes).double()
    target = (1 - wrong) * right + wrong / (classes - 1) * (1 - right)
    logits = _logarithm(probabilities)

    def loss(log_temperature: float) -> float:
        return -float((target * (logits / np.exp(log_temperature)).log_softmax(-1)).sum(-1).mean())

    bounds = (-np.log(LARGEST), np.log(LARGEST))  # the loss is convex in 1 / temperature, so it has one minimum
    return float(np.exp(minimize_scalar(loss, bounds=bounds, method="bounded", options={"xatol": 1e-6}).x))


def _logarithm(probabilities: Tensor) -> Tensor:
    return probabilities.clamp_min(torch.finfo(torch.float32).tiny).log()
