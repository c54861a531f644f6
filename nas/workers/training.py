"""Set up one training in a worker, for a search or a retraining. No Ray here."""

from __future__ import annotations

import functools
import json
import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import nn

from nas.workers import far
from search_space import build_model
from studies import Configuration
from trainers import tasks
from trainers.data import Dataset, load, opened, source_from_dict
from trainers.data.folds import fold
from trainers.tasks import Named, Task


@dataclass(frozen=True)
class Problem:
    """What all trainings of a study share."""

    data: Mapping[str, Any]  # a data source, as JSON data
    task: Named
    objective: str = ""  # a metric to evaluate besides the task's usual ones
    device: str = "cpu"
    threads: int = 1
    gpus: float = 0.0  # share of a GPU per training
    import_path: tuple[str, ...] = ()  # folders of the user's own modules
    checkpoints: str = ""  # folder
    images: str = ""  # the folder of the data set in the driver's cache; empty: found, or made, from `data`


@dataclass(frozen=True)
class Training:
    config: Configuration
    data: Dataset
    task: Task
    model: nn.Module  # initialised from the configuration's seed
    device: torch.device


def import_path() -> tuple[str, ...]:
    """The folders in which this process finds modules, for workers that are to find the same."""
    return tuple(os.path.abspath(folder) for folder in sys.path)


def find_alike(folders: Sequence[str]) -> None:
    """Make this process find modules where the driver does, whose `import_path` these folders are."""
    sys.path[:] = [*folders, *(folder for folder in sys.path if folder not in folders)]


def cached_in(data: Dataset) -> str:
    """The folder of a data set in the cache of this process; empty if it is not kept there."""
    return "" if data.folder is None else str(data.folder.absolute())


def open_problem(problem: Problem) -> tuple[Dataset, Task]:
    """Set up the data and the task in this process."""
    find_alike(problem.import_path)
    torch.set_num_threads(problem.threads)
    folder = str(far.found(Path(problem.images))) if problem.images else ""
    data = resident(json.dumps(problem.data, sort_keys=True), folder, problem.device, problem.gpus)
    return data, tasks.create(problem.task, data)


def set_up(config: Mapping[str, Any], problem: Problem) -> Training:
    """Set up the network, data and task of a `Configuration` in this process."""
    data, task = open_problem(problem)
    configuration = Configuration.from_dict(config)
    if configuration.fold is not None:
        data = fold(data, *configuration.fold, by_class=task.classifies)
    torch.manual_seed(configuration.seed)
    model = build_model(
        configuration.architecture, in_chans=data.in_chans, image_size=data.image_size, num_outputs=task.num_outputs
    )
    return Training(configuration, data, task, model, torch.device(problem.device))


@functools.lru_cache(maxsize=2)
def resident(source: str, folder: str, device: str, gpus: float = 1.0) -> Dataset:
    """Open the data set of a source in JSON, in this folder if there is one, once per worker.

    Its training and validation images are copied once to a GPU with room for them.

    `gpus` is the worker's share of its GPU. The copy takes at most half of that share, even if more is free now: other
    workers will need as much, and each needs the rest for its networks.
    """
    given = source_from_dict(json.loads(source))
    data = opened(given, Path(folder)) if folder else load(given, progress=False)
    if torch.device(device).type != "cuda":
        return data
    share = min(gpus, 1.0) or 1.0
    torch.cuda.set_per_process_memory_fraction(share)  # a network that is too large must not harm other workers
    _, total = torch.cuda.mem_get_info()
    if data.train.nbytes + data.val.nbytes > share * total / 2:
        return data
    try:
        return replace(data, train=data.train.to(device), val=data.val.to(device))
    except torch.OutOfMemoryError:  # another program uses the GPU; copy each batch instead
        torch.cuda.empty_cache()
        return data
