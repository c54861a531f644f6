"""One training set up in a worker, for search and retraining alike. No Ray here."""

from __future__ import annotations

import functools
import json
import sys
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import nn

from search_space import build_model
from studies import Configuration
from trainers import tasks
from trainers.data import Dataset, load, source_from_dict
from trainers.tasks import Task


@dataclass(frozen=True)
class Problem:
    """What all trainings of a study share."""

    data: Mapping[str, Any]  # a data source, as JSON data
    task: str
    objective: str = ""  # a metric to evaluate beside the task's usual ones
    device: str = "cpu"
    threads: int = 1
    gpus: float = 0.0  # the share of a GPU that each has
    import_path: tuple[str, ...] = ()  # folders of the user's own modules
    checkpoints: str = ""  # folder


@dataclass(frozen=True)
class Training:
    config: Configuration
    data: Dataset
    task: Task
    model: nn.Module  # its initial weights follow from the configuration's seed
    device: torch.device


def set_up(config: Mapping[str, Any], problem: Problem) -> Training:
    """The network, data and task of a `Configuration` in this process."""
    sys.path += [folder for folder in problem.import_path if folder not in sys.path]
    torch.set_num_threads(problem.threads)
    data = resident(json.dumps(problem.data, sort_keys=True), problem.device)
    task = tasks.load(problem.task, data)
    configuration = Configuration.from_dict(config)
    torch.manual_seed(configuration.seed)
    model = build_model(
        configuration.architecture, in_chans=data.in_chans, image_size=data.image_size, num_outputs=task.num_outputs
    )
    return Training(configuration, data, task, model, torch.device(problem.device))


@functools.lru_cache(maxsize=2)
def resident(source: str, device: str) -> Dataset:
    """The data set of a source in JSON, opened once per worker; copied once to an accelerator with room for it."""
    data = load(source_from_dict(json.loads(source)), progress=False)
    if torch.device(device).type != "cuda":
        return data
    free, _ = torch.cuda.mem_get_info()
    if data.train.nbytes + data.val.nbytes > free / 2:
        return data
    return replace(data, train=data.train.to(device), val=data.val.to(device))
