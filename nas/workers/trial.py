"""One trial, as it runs in a worker: a pure function of its configuration and the study's problem. No Ray here."""

from __future__ import annotations

import functools
import resource
from collections.abc import Generator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from nas.searching.engine import Job
from nas.workers import checkpoints
from search_space import build_model
from studies import Configuration
from trainers import tasks
from trainers.data import Dataset, Split, load, source_from_dict
from trainers.fit import fit


@dataclass(frozen=True)
class Problem:
    """What all trials of a study share."""

    data: Mapping[str, Any]  # a data source, as JSON data
    task: str
    checkpoints: str  # folder
    objective: str = ""  # a metric to evaluate beside the task's usual ones
    device: str = "cpu"
    threads: int = 1


def run_trial(job: Job, problem: Problem) -> Generator[dict[str, float]]:
    """Train one job, yielding each epoch's metrics; keeps a checkpoint where it ends short of the full budget."""
    torch.set_num_threads(problem.threads)
    device = torch.device(problem.device)
    data = resident(tuple(sorted(problem.data.items())), problem.device)
    task = tasks.load(problem.task, data)
    config = Configuration.from_dict(job.config)
    folder = Path(problem.checkpoints)

    _reset_peak_memory(device)
    torch.manual_seed(config.seed)
    model = build_model(
        config.architecture, in_chans=data.in_chans, image_size=data.image_size, num_outputs=task.num_outputs
    )
    state = checkpoints.load(folder, job.trial, job.start) if job.start else None
    for epoch in fit(
        model, data.train, task, config.training, seed=config.seed, val=data.val, device=device, state=state,
        objective=problem.objective,
    ):  # fmt: skip
        if epoch.number == job.stop < config.training.epochs:
            checkpoints.save(folder, job.trial, epoch.state())
        yield {**epoch.metrics, "peak_memory_mb": _peak_memory_mb(device)}
        if epoch.number == job.stop:
            return


@functools.lru_cache(maxsize=2)
def resident(source: tuple[tuple[str, Any], ...], device: str) -> Dataset:
    """The data set, opened once per worker; on an accelerator with room for it, copied there once."""
    data = load(source_from_dict(dict(source)), progress=False)
    if torch.device(device).type != "cuda":
        return data
    free, _ = torch.cuda.mem_get_info()
    if sum(split.images.nbytes for split in (data.train, data.val)) > free / 2:
        return data

    def on_device(split: Split) -> Split:
        return Split(
            split.images.to(device), split.labels.to(device), {k: v.to(device) for k, v in split.targets.items()}
        )

    return Dataset(data.name, data.classes, on_device(data.train), on_device(data.val), data.test)


def describe_failure(error: BaseException) -> str:
    """One line for the study."""
    if isinstance(error, torch.OutOfMemoryError | MemoryError) or "can't allocate memory" in str(error):
        return f"out of memory: {str(error).splitlines()[0] if str(error) else type(error).__name__}"
    return f"{type(error).__name__}: {error}".splitlines()[0]


def _reset_peak_memory(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats(device)
    elif Path("/proc/self/clear_refs").exists():
        Path("/proc/self/clear_refs").write_text("5")  # Linux: forget the process's high-water mark (man 5 proc)


def _peak_memory_mb(device: torch.device) -> float:
    """Of the trial: device memory on an accelerator, otherwise the process's resident high-water mark."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / 2**20
    status = Path("/proc/self/status")
    if status.exists():
        return int(status.read_text().split("VmHWM:")[1].split()[0]) / 2**10
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20  # macOS counts bytes
