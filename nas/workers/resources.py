"""What each training gets of the machine."""

from __future__ import annotations

import os
from dataclasses import dataclass

from nas.errors import UserError
from trainers.data.cores import cores


@dataclass(frozen=True)
class Resources:
    device: str  # "cpu" or "cuda"
    workers: int  # trainings at once
    threads: int  # of torch, for each
    gpus: float  # for each; a fraction shares a GPU

    def describe(self) -> str:
        return f"{self.workers} worker{'s' * (self.workers != 1)} on {self.device}"


def divide(workers: int | None = None, gpus_per_trial: float | None = None) -> Resources:
    """Divide this machine, or the Ray cluster that RAY_ADDRESS names, among the workers.

    By default one worker a CPU, or a GPU each where there are any. UserError for what the machine does not have.
    """
    import torch

    if workers is not None and workers < 1:
        raise UserError(f"--workers is {workers}; expected at least 1")
    gpus = torch.cuda.device_count()
    each = gpus_per_trial if gpus_per_trial is not None else float(gpus > 0)
    if not 0 <= each <= gpus and not os.environ.get("RAY_ADDRESS"):
        raise UserError(f"--gpus-per-trial is {each:g}; expected 0 to {gpus}, the GPUs of this machine")
    if each > 1:
        raise UserError(f"--gpus-per-trial is {each:g}; a network trains on one GPU: expected at most 1")
    at_once = workers or (max(int(1 / each + 1e-9) * gpus, 1) if each else cores())
    return Resources("cuda" if each else "cpu", at_once, max(cores() // at_once, 1), each)
