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
from search_space import build_model


@dataclass(frozen=True)
class Start:
    """The network of an exported model whose weights a training starts from."""

    folder: str
    place: int  # of the network in the model
    keep_head: bool  # the model's last layer too
    content: str  # a hash of the model's weights


def head_of(model: LensModel, place: int) -> set[str]:
    """The names of the weights that depend on the number of outputs."""
    network, shape = architectures(model.config)[place], {"in_chans": model.in_chans, "image_size": model.image_size}
    with torch.device("meta"):
        few, more = (
            build_model(network, **shape, num_outputs=model.task.num_outputs + k).state_dict() for k in range(2)
        )
    return {name for name in few if few[name].shape != more[name].shape}


def begin(network: nn.Module, start: Start) -> None:
    """Give the fresh network the weights of the model's, all but a new head."""
    with far.borrowed(Path(start.folder)) as folder:
        model = load_model(folder)
    weights: Mapping[str, Tensor] = model.networks[start.place].state_dict()
    heads = set() if start.keep_head else head_of(model, start.place)
    network.load_state_dict({n: w for n, w in weights.items() if n not in heads}, strict=not heads)
