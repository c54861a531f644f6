"""The weights of an exported model that a training starts from. No Optuna here: workers import it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from nas.models.export import LensModel, load_model
from nas.models.record import architectures
from nas.workers import far
from search_space import Architecture, build_model
from trainers.regression import Regression
from trainers.tasks import Task


@dataclass(frozen=True)
class Start:
    """The network of an exported model whose weights a training starts from."""

    folder: str
    place: int  # of the network in the model
    keep_head: bool  # the model's last layer too
    content: str  # a hash of the model's weights


def head_of(model: LensModel, place: int) -> set[str]:
    """The names of the weights of a network that depend on the number of outputs."""
    shape = {"in_chans": model.in_chans, "image_size": model.image_size}
    return outputs_of(architectures(model.config)[place], shape, model.task.num_outputs)


def outputs_of(network: Architecture, shape: Mapping[str, int], count: int) -> set[str]:
    with torch.device("meta"):
        few, more = (build_model(network, **shape, num_outputs=count + k).state_dict() for k in range(2))
    return {name for name in few if few[name].shape != more[name].shape}


def begin(network: nn.Module, start: Start, task: Task) -> None:
    """Give the fresh network the weights of the model's, all but a new head. With the old one it answers as before."""
    with far.borrowed(Path(start.folder)) as folder:
        model = load_model(folder)
    weights: dict[str, Tensor] = dict(model.networks[start.place].state_dict())
    before = model.members[start.place].task
    if not start.keep_head:
        heads = head_of(model, start.place)
        weights = {name: weight for name, weight in weights.items() if name not in heads}
    elif isinstance(task, Regression) and isinstance(before, Regression):
        for name in head_of(model, start.place):
            weights[name] = in_units(weights[name], name.endswith("bias"), before, task)
    network.load_state_dict(weights, strict=start.keep_head)


def in_units(weight: Tensor, bias: bool, before: Regression, task: Regression) -> Tensor:
    """A weight of a head, (outputs, ...) or flat in this order, whose answers `task` reads as `before` read the old."""
    old, new = (torch.tensor([t.mean, t.sd]).to(weight) for t in (before, task))
    ratio = old[1] / new[1]
    by_output = weight.reshape(before.num_outputs, -1).clone()
    values, log_variances = by_output.split(len(ratio)) if before.with_sigma else (by_output, None)
    values *= ratio[:, None]
    if bias:
        values += ((old[0] - new[0]) / new[1])[:, None]
        if log_variances is not None:
            calibrated = torch.tensor(before.sigma_scale or (1.0,) * len(ratio)).to(weight)
            log_variances += 2 * (calibrated * ratio).log()[:, None]
    return by_output.view(weight.shape)
