"""Runs the engine in virtual time, with workers that read learning curves instead of training."""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from nas.schedulers import Decision
from nas.searching.engine import Engine
from nas.searching.jobs import Job


@dataclass(frozen=True)
class Step:
    """One trained epoch at virtual time `time`."""

    time: float
    trial: int
    epoch: int
    value: float


def simulate(
    engine: Engine,
    curve: Callable[[dict[str, Any]], Sequence[float]],
    *,
    workers: int,
    seconds_per_epoch: Callable[[dict[str, Any]], float] = lambda config: 1.0,
) -> Iterator[Step]:
    """Run `engine` on `workers` asynchronous virtual workers and yield every epoch as it ends.

    `curve(config)[e - 1]` is the objective after epoch e. A job pays only for its new epochs. To crash the search,
    stop iterating. A worker that finds nothing to do asks again when another worker ends an epoch.
    """
    clock: list[tuple[float, int, Job, int]] = []  # (end of the epoch, tie-break, job, epoch)
    now, idle, tick = 0.0, workers, 0

    while True:
        while idle and (job := engine.next()) is not None:
            heapq.heappush(clock, (now + seconds_per_epoch(job.config), tick, job, job.start + 1))
            idle, tick = idle - 1, tick + 1
        if not clock:
            assert engine.done
            return
        now, _, job, epoch = heapq.heappop(clock)
        value = float(curve(job.config)[epoch - 1])
        seconds = seconds_per_epoch(job.config)
        decision = engine.report(job.trial, epoch, {engine.objective: value, "seconds": seconds})
        yield Step(now, job.trial, epoch, value)
        if decision is Decision.CONTINUE:
            heapq.heappush(clock, (now + seconds, tick, job, epoch + 1))
            tick += 1
        else:
            idle += 1
