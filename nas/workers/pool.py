"""A pool of warm worker processes on Ray Tune, for searches and retrainings alike.

Ray only executes: what to do next, and what becomes of a result, is the `Work`'s to decide. One Ray trial is one
*worker*, alive until the work is done, so that a process, its imports, its data set and its device context are paid for
once. (A Ray trial for each training costs 0.1 to 1.9 s each, Ray's cache of actors drops workers whenever two become
free at once, and its bookkeeping grows with the trials.) Tune places the workers on CPUs and GPUs, where each stays,
renews those that die, and carries their results. Orders reach a worker through the mailbox.
"""

from __future__ import annotations

import signal
import tempfile
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Protocol, TypeVar

from nas.errors import SearchFailed
from nas.workers.ray_private import NotPickled, lost_for_good  # before Ray
from nas.workers.ray_session import ray_session
from nas.workers.resources import Resources
from nas.workers.worker import GO_ON, LEAVE, RELEASE, Kind, Mailbox, Worker

from ray import tune  # isort: skip
from ray.tune.schedulers import FIFOScheduler, TrialScheduler  # isort: skip
from ray.tune.search import Searcher  # isort: skip

J = TypeVar("J")
DEATH = "the worker process died (killed, perhaps for want of memory)"
RENEWALS = 50  # of one worker


class Work(Protocol[J]):
    """Jobs, and what becomes of their results. The pool calls it from one thread only."""

    @property
    def done(self) -> bool:
        """Nothing runs, and no job is left."""

    def next(self) -> J | None:
        """The next job, or None: there is none now or, once `done`, ever."""

    def report(self, job: J, item: Any) -> bool:
        """Take what the job has yielded. False: the job has nothing more to do."""

    def end(self, job: J) -> None:
        """The job has yielded everything."""

    def fail(self, job: J, reason: str) -> None:
        """The job raised an exception, or its worker died."""


def work_through(work: Work[J], run: Callable[[J], Iterator[Any]], resources: Resources) -> None:
    """Have `run(job)` yield in a worker for every job of `work`, until the work is done.

    Jobs, items and `run` must pickle. KeyboardInterrupt after Ctrl-C, when the workers have stopped; whatever `work`
    raises; SearchFailed when no worker is left.
    """
    with ray_session(resources.workers), restored_signals(), tempfile.TemporaryDirectory(prefix="nas-ray-") as scratch:
        mailbox = Mailbox.remote()  # type: ignore[attr-defined]
        dispatcher = _Dispatcher(work, mailbox, resources.workers)
        tune.Tuner(
            tune.with_resources(Worker, {"cpu": 1, "gpu": resources.gpus}),
            tune_config=tune.TuneConfig(
                search_alg=_OneTrialPerWorker(resources.workers, mailbox=mailbox, run=run),
                scheduler=dispatcher,
                num_samples=-1,
            ),
            run_config=tune.RunConfig(
                storage_path=scratch, verbose=0, failure_config=tune.FailureConfig(max_failures=RENEWALS)
            ),
        ).fit()
    if dispatcher.error is not None:
        raise dispatcher.error
    if not work.done:
        raise KeyboardInterrupt


class _OneTrialPerWorker(NotPickled, Searcher):
    """Suggests to Tune as many trials as there shall be workers, and no more."""

    def __init__(self, workers: int, **config: Any) -> None:
        super().__init__()
        self.workers, self.suggested, self.config = workers, 0, config

    def suggest(self, trial_id: str) -> Any:
        if self.suggested == self.workers:
            return Searcher.FINISHED
        self.suggested += 1
        return {"worker": self.suggested - 1, **self.config}

    def on_trial_complete(self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False) -> None:
        return None

    def save(self, checkpoint_path: str) -> None:
        return None

    def restore(self, checkpoint_path: str) -> None:
        return None


class _Dispatcher(NotPickled, FIFOScheduler):
    """Takes the workers' results to the work, and its jobs to the workers' mailboxes."""

    def __init__(self, work: Work[Any], mailbox: Any, workers: int) -> None:
        super().__init__()
        self.work, self.mailbox = work, mailbox
        self.left = workers  # neither lost nor dismissed
        self.addresses: dict[int, str] = {}  # worker -> where its process takes its orders
        self.sent: Counter[str] = Counter()  # orders, by address
        self.jobs: dict[int, Any] = {}  # worker -> what it is at
        self.idle: list[int] = []
        self.error: BaseException | None = None

    def on_trial_result(self, tune_controller: Any, trial: Any, result: dict[str, Any]) -> str:
        if result["kind"] == Kind.LEFT:
            return TrialScheduler.STOP
        return self._guarded(self._on_result, trial.config["worker"], result)

    def on_trial_error(self, tune_controller: Any, trial: Any) -> None:
        self._guarded(self._on_death, trial.config["worker"], lost_for_good(trial))

    def _guarded(self, react: Callable[[int, Any], None], worker: int, what: Any) -> str:
        try:
            react(worker, what)
        except Exception as error:  # Ray would bury it in a TuneError; `work_through` raises it
            self.error = error
            self._dismiss()
            return TrialScheduler.STOP
        return TrialScheduler.CONTINUE

    def _on_result(self, worker: int, result: dict[str, Any]) -> None:
        kind = result["kind"]
        if kind == Kind.READY:  # a process that has just started, perhaps in place of one that died
            self.addresses[worker] = result["address"]
        elif kind == Kind.ITEM:
            if self.work.report(self.jobs[worker], result["item"].value):
                self._order(worker, GO_ON)
                return
            del self.jobs[worker]
            self._order(worker, RELEASE)
        elif kind == Kind.END:
            self.work.end(self.jobs.pop(worker))
        else:
            self._fail(worker, result["reason"])
        if kind != Kind.BROKEN:  # else its process is about to be renewed, and will say so
            self.idle.append(worker)
        self._hand_out()

    def _on_death(self, worker: int, lost: str | None) -> None:
        """Ray starts the worker's process anew, unless it is lost for good."""
        self._fail(worker, DEATH)
        self.idle = [other for other in self.idle if other != worker]
        self.left -= lost is not None
        if not self.left:
            raise SearchFailed(f"no worker is left; the last one ended with: {lost}")
        self._hand_out()  # what it was at may have been the last thing running

    def _fail(self, worker: int, reason: str) -> None:
        if worker in self.jobs:
            self.work.fail(self.jobs.pop(worker), reason)

    def _hand_out(self) -> None:
        while self.idle and (job := self.work.next()) is not None:
            worker = self.idle.pop(0)
            self.jobs[worker] = job
            self._order(worker, job)
        if self.work.done:
            self._dismiss()

    def _dismiss(self) -> None:
        for worker in self.idle:
            self._order(worker, LEAVE)
        self.idle.clear()

    def _order(self, worker: int, order: Any) -> None:
        address = self.addresses[worker]
        self.mailbox.put.remote(address, self.sent[address], order)
        self.sent[address] += 1


@contextmanager
def restored_signals() -> Iterator[None]:
    """Tune takes Ctrl-C over and does not give it back."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    kept = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGUSR1)}
    try:
        yield
    finally:
        for number, handler in kept.items():
            signal.signal(number, handler)
