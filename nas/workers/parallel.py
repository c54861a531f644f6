"""A generator function over many jobs on Ray's workers: plain tasks, nothing of Tune."""

from __future__ import annotations

import sys
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from nas.workers.ray_start import ray, start
from nas.workers.trial import describe_failure

J = TypeVar("J")


@dataclass(frozen=True)
class Failed:
    """The last item of a job that raised, or whose worker died."""

    reason: str


def in_parallel(
    function: Callable[[J], Iterator[Any]], jobs: Sequence[J], *, workers: int, gpus: float = 0.0
) -> Iterator[tuple[J, Any]]:
    """Run `function(job)` for all jobs, `workers` at once, yielding (job, item) as the items come.

    A job that fails yields a `Failed` and leaves the others alone. Workers stay warm from job to job. A caller who
    stops asking, or Ctrl-C, cancels what runs.
    """
    start(workers)
    task: Any = _stream.options(num_cpus=1, num_gpus=gpus, num_returns="streaming")  # Ray's types know no generators
    waiting = deque(jobs)
    running: dict[Any, J] = {}
    try:
        while waiting or running:
            while waiting and len(running) < workers:
                job = waiting.popleft()
                running[task.remote(function, job)] = job
            ready: list[Any] = ray.wait(list(running))[0]
            for items in ready:
                item: Any
                try:
                    item = ray.get(next(items))
                except StopIteration:
                    del running[items]
                    continue
                except ray.exceptions.RayTaskError as error:  # before the function could begin
                    item = Failed(describe_failure(error.cause))
                except ray.exceptions.RayError as error:
                    item = Failed(f"the worker died: {str(error).strip().splitlines()[0]}")
                yield running.pop(items) if isinstance(item, Failed) else running[items], item
    finally:
        for items in running:
            ray.cancel(items, force=True)


@ray.remote(max_retries=0, max_calls=0)  # 0: no worker is renewed, on GPUs neither
def _stream(function: Callable[[J], Iterator[Any]], job: J) -> Iterator[Any]:
    try:
        yield from function(job)
    except Exception as error:
        yield Failed(describe_failure(error))
        if "CUDA error" in str(error):
            sys.exit(1)  # the process's device context is lost: Ray starts another worker for the next job
