"""The share of the machine, or of the cluster, that each training gets."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass

from nas.checks import check_number
from nas.errors import UserError
from trainers.data.cores import cores

MOST, MOST_PER_CORE = 4096, 16  # workers: of a cluster, of this machine; each takes some hundred MB


@dataclass(frozen=True)
class Node:
    """What a machine of the cluster gives to Ray."""

    cpus: float
    gpus: float = 0.0
    name: str = ""  # Ray's own
    place: tuple[str, int] = ("", 0)  # the host and port at which its Ray answers
    leaving: bool = False  # it has announced its end, as a machine does that is taken back


@dataclass(frozen=True)
class Resources:
    device: str  # "cpu" or "cuda"
    workers: int  # trainings at once
    threads: int  # of torch, per training; on a cluster as many CPUs are reserved
    gpus: float  # per training; a fraction shares a GPU
    nodes: int = 1  # machines
    fit: int | None = None  # workers that find room at the start; None: all
    grows: bool = False  # more workers start when nodes join

    def describe(self) -> str:
        where = f", {self.nodes} nodes" if self.nodes > 1 else ""
        later = f" ({self.fit} now, the others when nodes join)" if self.fit is not None else ""
        return f"{self.workers} worker{'s' * (self.workers != 1)} on {self.device}{where}{later}"


def room(nodes: Sequence[Node], threads: int, share: float) -> int:
    """The number of workers that fit onto the nodes, each with `threads` CPUs and this share of one GPU."""
    per_gpu = int(1 / share + 1e-9) if share else 0
    return sum(min(int(n.cpus / threads), per_gpu * int(n.gpus) if share else MOST) for n in nodes)


def threads_of(nodes: Sequence[Node], workers: int, share: float) -> int:
    """The largest number of threads with which so many workers fit onto the nodes; 1 if they do not.

    It is the same on all nodes: torch rounds differently with another number, and a trial's values must not depend on
    where it ran.
    """
    most = max((int(n.cpus) for n in nodes), default=1)
    return next((t for t in range(most, 1, -1) if room(nodes, t, share) >= workers), 1)


def divide(workers: int | None = None, gpus_per_trial: float | None = None, *, here: bool = False) -> Resources:
    """Divide this machine, or the cluster that Ray is `attached` to, among the workers. `here`: this machine anyway.

    By default there is one worker per GPU, or one per CPU without GPUs; each needs a CPU of its node. OMP_NUM_THREADS
    sets the threads of each; without it, each has an equal part of the cores. UserError for what cannot be placed.
    """
    shared = attached() and not here
    most = MOST if shared else MOST_PER_CORE * cores()
    check_number("--workers", workers, 1, most, whole=True)
    check_number("--gpus-per-trial", gpus_per_trial, 0)
    if gpus_per_trial is not None and gpus_per_trial > 1:
        raise UserError(
            f"--gpus-per-trial is {gpus_per_trial:g}; expected at most 1, since a network trains on one GPU"
        )
    nodes = _cluster_nodes() if shared else [Node(cores(), _gpus())]
    gpus = int(sum(node.gpus for node in nodes))
    share = float(gpus > 0) if gpus_per_trial is None else float(gpus_per_trial)
    where = "the cluster" if shared else "this machine"
    if share and not gpus:
        raise UserError(f"--gpus-per-trial is {share:g}; expected 0, since {where} has no GPU")
    asked = os.environ.get("OMP_NUM_THREADS", "")
    given = int(asked) if asked.isdigit() else 0
    fit = room(nodes, given if shared and given else 1, share)
    if shared and not fit:
        raise UserError(
            f"no node of the cluster has {max(given, 1)} CPUs{f' and {share:g} GPU' if share else ''} for a worker; "
            "start Ray on a larger machine"
        )
    if workers is not None and share and not shared and workers > (held := room([Node(most, gpus)], 1, share)):
        raise UserError(
            f"workers is {workers}, but {gpus} GPUs hold {held} at --gpus-per-trial {share:g}; give a share"
        )
    at_once = workers or max(min(fit, MOST), 1)
    return Resources(
        "cuda" if share else "cpu",
        at_once,
        given or threads_of(nodes, at_once, share),
        share,
        nodes=sum(room([node], 1, share) > 0 for node in nodes),
        fit=fit if shared and fit < at_once else None,
        grows=shared and workers is None,
    )


def _cluster_nodes() -> Sequence[Node]:
    from nas.workers.ray_session import count_nodes  # only now: Ray takes seconds to import

    return count_nodes()


def _gpus() -> int:
    import torch

    return torch.cuda.device_count()


def attached() -> bool:
    """Whether workers run in a Ray that is there already: a cluster, or one that this process has started itself."""
    ray = sys.modules.get("ray")
    return bool(cluster()) or (ray is not None and ray.is_initialized())


def cluster() -> str:
    """The address of the Ray cluster that RAY_ADDRESS names; empty if Ray is to run on this machine only."""
    address = os.environ.get("RAY_ADDRESS", "")
    return "" if address == "local" else address
