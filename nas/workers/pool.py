"""A pool of warm worker processes on Ray Tune, for searches and for retrainings.

Ray only executes. The `Work` decides what to do next and takes the results. One Ray trial is one *worker*, which lives
until the work is done, so its process, imports, data set and device context are set up once. (A Ray trial per training
would cost 0.1 to 1.9 s each; Ray's cache of actors drops workers whenever two become free at once; and its bookkeeping
grows with the trials.) Tune places the workers on CPUs and GPUs, where they stay, renews those that die, and delivers
their results. Orders reach a worker through the mailbox.
"""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from typing import Any, TypeVar

from nas.files import scratch_folder
from nas.workers.dispatcher import Dispatcher, Work
from nas.workers.greeting import Home
from nas.workers.nodes import Nodes
from nas.workers.ray_private import NotPickled  # before Ray
from nas.workers.ray_session import here, ray_session
from nas.workers.resources import MOST, Resources, room
from nas.workers.stopping import CODES, Stop, stopped_by_signals
from nas.workers.worker import Hands, Mailbox, Worker

from ray import tune  # isort: skip
from ray.tune.search import Searcher  # isort: skip
from ray.tune.stopper import Stopper  # isort: skip

J = TypeVar("J")


def work_through(
    work: Work[J],
    run: Callable[[J], Iterator[Any]],
    resources: Resources,
    *,
    home: Home | None = None,
    deadline: float | None = None,
    patience: float | None = None,
) -> None:
    """Run `run(job)` in a worker for every job of `work`, until the work is done.

    `run`, the jobs and the items that it yields must pickle. `home`: what workers on a cluster must find. `deadline`:
    when to stop, by the monotonic clock. `patience`: seconds without an item after which a job has hung and fails
    (default: many times the slowest item).

    Raises Stopped after a signal or at the deadline, once the workers have stopped; SearchFailed if no worker is left;
    and any exception of `work`.
    """
    stop = Stop(deadline)
    with (
        ray_session(resources.workers * resources.threads, stop),
        stopped_by_signals(stop),
        scratch_folder("nas-ray") as scratch,
    ):
        mailbox = Mailbox.options(scheduling_strategy=here()).remote()  # type: ignore[attr-defined]
        hands = home and Hands.options(scheduling_strategy=here()).remote()  # type: ignore[attr-defined]
        nodes = Nodes()
        dispatcher = Dispatcher(work, mailbox, nodes, stop, patience)
        tune.Tuner(
            tune.with_resources(Worker, {"cpu": resources.threads, "gpu": resources.gpus}),
            tune_config=tune.TuneConfig(
                search_alg=_OneTrialPerWorker(
                    resources, dispatcher.nodes, mailbox=mailbox, run=run, home=home, hands=hands
                ),
                scheduler=dispatcher,
                num_samples=-1,
            ),
            run_config=tune.RunConfig(
                storage_path=str(scratch),
                verbose=0,
                failure_config=tune.FailureConfig(max_failures=-1),  # a trial fails that kills worker after worker
                stop=_WhenOver(dispatcher),
            ),
        ).fit()
    if dispatcher.error is not None:
        raise dispatcher.error
    if not work.done:
        if not stop.asked:  # Tune puts its own handler of SIGUSR1, which ends the run, in place of ours
            stop.ask("stopped by SIGUSR1", CODES[signal.SIGUSR1])
        raise stop.error()


class _OneTrialPerWorker(NotPickled, Searcher):
    """Suggests one Tune trial per worker, and more of them as nodes join a cluster."""

    def __init__(self, resources: Resources, nodes: Nodes, **config: Any) -> None:
        super().__init__()
        self.resources, self.nodes, self.config, self.suggested = resources, nodes, config, 0

    def suggest(self, trial_id: str) -> Any:
        if self.suggested >= self._wanted():
            return None if self.resources.grows else Searcher.FINISHED
        self.suggested += 1
        return {"worker": self.suggested - 1, **self.config}

    def _wanted(self) -> int:
        if not self.resources.grows:
            return self.resources.workers
        return min(room(self.nodes.alive(), self.resources.threads, self.resources.gpus), MOST)

    def on_trial_complete(self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False) -> None:
        return None

    def save(self, checkpoint_path: str) -> None:
        return None

    def restore(self, checkpoint_path: str) -> None:
        return None


class _WhenOver(NotPickled, Stopper):
    """Ends the run when the dispatcher needs it no more, without waiting for workers that never started."""

    def __init__(self, dispatcher: Dispatcher) -> None:
        self.dispatcher = dispatcher

    def __call__(self, trial_id: str, result: dict[str, Any]) -> bool:
        return False

    def stop_all(self) -> bool:
        return self.dispatcher.over
