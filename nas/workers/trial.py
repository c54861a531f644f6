"""One trial in a worker: a pure function of its configuration and the study's problem. No Ray here."""

from __future__ import annotations

import resource
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import torch

from nas.searching.jobs import Epoch, Job
from nas.workers import checkpoints
from nas.workers.answers import answers
from nas.workers.training import Problem, set_up
from trainers.fit import fit


def run_trial(job: Job, problem: Problem) -> Iterator[Epoch]:
    """Train one job and yield each epoch.

    A job that ends below the full budget saves a checkpoint, and so does one that has trained for a few minutes.
    """
    _reset_peak_memory(torch.device(problem.device))
    training = set_up(job.config, problem)
    folder = Path(problem.checkpoints)
    state = checkpoints.load(folder, job.trial, job.start) if job.start else None
    config, data, device = training.config, training.data, training.device
    clock = checkpoints.Clock()
    for epoch in fit(
        training.model, data.train, training.task, config.training, seed=config.seed, val=data.val, device=device,
        state=state, objective=problem.objective,
    ):  # fmt: skip
        saved = epoch.number < config.training.epochs and (epoch.number == job.stop or clock.due)
        if saved:
            with clock.saving():
                checkpoints.save(folder, job.trial, epoch.state())
        full = None
        if epoch.number == config.training.epochs:
            with suppress(Exception):  # pictures for the dashboard must not cost a finished training
                full = answers(training)
        yield Epoch(epoch.number, {**epoch.metrics, "peak_memory_mb": _peak_memory_mb(device)}, saved, full)
        if epoch.number == job.stop:
            return


def _reset_peak_memory(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats(device)
    elif Path("/proc/self/clear_refs").exists():
        with suppress(OSError):  # a statistic must not fail the trial
            Path("/proc/self/clear_refs").write_text("5")  # Linux: forget the process's high-water mark (man 5 proc)


def _peak_memory_mb(device: torch.device) -> float:
    """The trial's peak memory: of the device on an accelerator, otherwise the process's resident high-water mark."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / 2**20
    status = Path("/proc/self/status")
    if status.exists() and "VmHWM:" in (text := status.read_text()):
        return int(text.split("VmHWM:")[1].split()[0]) / 2**10
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20  # macOS counts bytes
