"""The share of the machine that each training gets."""

from __future__ import annotations

import os
from dataclasses import dataclass

from nas.checks import check_number
from nas.errors import UserError
from trainers.data.cores import cores

MOST, MOST_PER_CORE = 4096, 16  # workers: of a cluster, of this machine; each takes some hundred MB


@dataclass(frozen=True)
class Resources:
    device: str  # "cpu" or "cuda"
    workers: int  # trainings at once
    threads: int  # of torch, per training
    gpus: float  # per training; a fraction shares a GPU

    def describe(self) -> str:
        return f"{self.workers} worker{'s' * (self.workers != 1)} on {self.device}"


def divide(workers: int | None = None, gpus_per_trial: float | None = None) -> Resources:
    """Divide this machine among the workers.

    By default there is one worker per GPU, or one per CPU without GPUs. OMP_NUM_THREADS sets the threads of each;
    without it, each has an equal part of the cores. UserError for more GPUs than the machine has.
    The machines of a Ray cluster are not counted: with RAY_ADDRESS, give both numbers.
    """
    import torch

    if cluster():
        from nas.workers.ray_session import check_cluster  # only now: Ray takes seconds to import

        check_cluster()
    most = MOST if cluster() else MOST_PER_CORE * cores()
    check_number("--workers", workers, 1, most, whole=True)
    check_number("--gpus-per-trial", gpus_per_trial, 0)
    gpus = torch.cuda.device_count()
    share = gpus_per_trial if gpus_per_trial is not None else float(gpus > 0)
    if not 0 <= share <= gpus and not cluster():
        raise UserError(f"--gpus-per-trial is {share:g}; expected 0 to {gpus}, the number of GPUs of this machine")
    if share > 1:
        raise UserError(f"--gpus-per-trial is {share:g}; expected at most 1, since a network trains on one GPU")
    fit = int(1 / share + 1e-9) * gpus if share else None
    if fit is not None and workers is not None and workers > fit and not cluster():
        raise UserError(f"workers is {workers}, but {gpus} GPUs hold {fit} at --gpus-per-trial {share:g}; give a share")
    at_once = workers or (max(int(1 / share + 1e-9) * gpus, 1) if share else cores())
    asked = os.environ.get("OMP_NUM_THREADS", "")
    threads = int(asked) if asked.isdigit() and int(asked) else max(cores() // at_once, 1)
    return Resources("cuda" if share else "cpu", at_once, threads, share)


def cluster() -> str:
    """The address of the Ray cluster that RAY_ADDRESS names; empty if Ray is to run on this machine only."""
    address = os.environ.get("RAY_ADDRESS", "")
    return "" if address == "local" else address
