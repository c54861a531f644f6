"""A pool of warm worker processes on Ray Tune, for searches and for retrainings.

Ray only executes. The `Work` decides what to do next and takes the results. One Ray trial is one *worker*, which lives
until the work is done, so its process, imports, data set and device context are set up once. (A Ray trial per training
would cost 0.1 to 1.9 s each; Ray's cache of actors drops workers whenever two become free at once; and its bookkeeping
grows with the trials.) Tune places the workers on CPUs and GPUs, where they stay, renews those that die, and delivers
their results. Orders reach a worker through the mailbox.
"""

from __future__ import annotations

import math
import signal
import time
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any, Protocol, TypeVar

from nas.errors import SearchFailed
from nas.files import scratch_folder
from nas.workers.failures import kills_for_memory
from nas.workers.ray_private import NotPickled, last_error, lost_for_good  # before Ray
from nas.workers.ray_session import ray_session
from nas.workers.resources import Resources
from nas.workers.stopping import CODES, Stop, stopped_by_signals
from nas.workers.worker import CONTINUE, LEAVE, RELEASE, Kind, Mailbox, Worker

from ray import tune  # isort: skip
from ray.tune.schedulers import FIFOScheduler, TrialScheduler  # isort: skip
from ray.tune.search import Searcher  # isort: skip
from ray.tune.stopper import Stopper  # isort: skip

J = TypeVar("J")
DEATH, OUT_OF_MEMORY = "the worker process died", "the worker process was killed because memory ran out"
PATIENCE = 20.0  # times the slowest item so far, until a job without an item counts as hung
SHORTEST, FIRST = 600.0, 7200.0  # seconds of patience: at least, and before there has been any item
STILLBORN = 3  # processes of one worker that die in a row before they are ready: no other will fare better
RENEWALS = 50  # restarts of one worker


class Work(Protocol[J]):
    """Gives out jobs and takes their results. The pool calls it from one thread only."""

    @property
    def done(self) -> bool:
        """Whether nothing runs and no job is left."""

    def next(self) -> J | None:
        """The next job; None if there is none now. Once `done`, there never will be."""

    def report(self, job: J, item: Any) -> bool:
        """Take an item that the job yielded. Return False to stop the job."""

    def end(self, job: J) -> None:
        """Note that the job has yielded everything."""

    def fail(self, job: J, reason: str) -> None:
        """Note that the job raised an exception, or hung."""

    def lost(self, job: J, reason: str, memory: bool) -> None:
        """Note that the job's worker died; `memory`: because memory ran out. The job may be handed out again."""


def work_through(
    work: Work[J],
    run: Callable[[J], Iterator[Any]],
    resources: Resources,
    *,
    deadline: float | None = None,
    patience: float | None = None,
) -> None:
    """Run `run(job)` in a worker for every job of `work`, until the work is done.

    `run`, the jobs and the items that it yields must pickle. `deadline`: when to stop, by the monotonic clock.
    `patience`: seconds without an item after which a job has hung and fails (default: many times the slowest item).

    Raises Stopped after a signal or at the deadline, once the workers have stopped; SearchFailed if no worker is left;
    and any exception of `work`.
    """
    stop = Stop(deadline)
    with (
        ray_session(resources.workers, stop),
        stopped_by_signals(stop),
        scratch_folder("nas-ray") as scratch,
    ):
        mailbox = Mailbox.remote()  # type: ignore[attr-defined]
        dispatcher = _Dispatcher(work, mailbox, resources.workers, stop, patience)
        tune.Tuner(
            tune.with_resources(Worker, {"cpu": 1, "gpu": resources.gpus}),
            tune_config=tune.TuneConfig(
                search_alg=_OneTrialPerWorker(resources.workers, mailbox=mailbox, run=run),
                scheduler=dispatcher,
                num_samples=-1,
            ),
            run_config=tune.RunConfig(
                storage_path=str(scratch),
                verbose=0,
                failure_config=tune.FailureConfig(max_failures=RENEWALS),
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
    """Suggests one Tune trial per worker."""

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


class _WhenOver(NotPickled, Stopper):
    """Ends the run when the dispatcher needs it no more, without waiting for workers that never started."""

    def __init__(self, dispatcher: _Dispatcher) -> None:
        self.dispatcher = dispatcher

    def __call__(self, trial_id: str, result: dict[str, Any]) -> bool:
        return False

    def stop_all(self) -> bool:
        return self.dispatcher.over


class _Dispatcher(NotPickled, FIFOScheduler):
    """Passes the workers' results to the work, and its jobs to the workers' mailboxes."""

    def __init__(self, work: Work[Any], mailbox: Any, workers: int, stop: Stop, patience: float | None) -> None:
        super().__init__()
        self.work, self.mailbox, self.stop = work, mailbox, stop
        self.patience, self.slowest = patience, 0.0  # in seconds
        self.ordered: dict[int, tuple[float, float]] = {}  # worker -> when it had its order, how long it may take
        self.kills = kills_for_memory()
        self.left = workers  # workers not lost for good
        self.addresses: dict[int, str] = {}  # worker -> the mailbox address of its process
        self.sent: Counter[str] = Counter()  # address -> number of orders
        self.jobs: dict[int, Any] = {}  # worker -> its current job
        self.idle: list[int] = []
        self.present: set[int] = set()  # workers that have started and not left
        self.stillborn: Counter[int] = Counter()  # worker -> processes in a row that died before they were ready
        self.error: BaseException | None = None

    @property
    def over(self) -> bool:
        """Something raised, it is time to stop, or the work is done and every worker that started has left."""
        return self.error is not None or self.stop.asked or (self.work.done and not self.present)

    def on_trial_result(self, tune_controller: Any, trial: Any, result: dict[str, Any]) -> str:
        if result["kind"] == Kind.LEFT:
            self.present.discard(trial.config["worker"])
            return TrialScheduler.STOP
        return self._guarded(self._on_result, trial.config["worker"], result)

    def on_trial_error(self, tune_controller: Any, trial: Any) -> None:
        self._guarded(self._on_death, trial.config["worker"], (lost_for_good(trial), last_error(trial)))

    def _guarded(self, react: Callable[[int, Any], None], worker: int, what: Any) -> str:
        try:
            react(worker, what)
        except Exception as error:  # Ray would hide it in a TuneError; `work_through` raises it
            self.error = error
            return TrialScheduler.STOP
        return TrialScheduler.CONTINUE

    def _on_result(self, worker: int, result: dict[str, Any]) -> None:
        kind = result["kind"]
        begin, _ = self.ordered.pop(worker, (math.nan, 0.0))
        if kind == Kind.READY:  # its process has just started, perhaps in place of one that died
            self.addresses[worker] = result["address"]
            self.present.add(worker)
            del self.stillborn[worker]
        elif kind == Kind.ITEM:
            self.slowest = max(self.slowest, time.monotonic() - begin)
            if self.work.report(self.jobs[worker], result["item"].value):
                self._order(worker, CONTINUE)
                return
            del self.jobs[worker]
            self._order(worker, RELEASE)
        elif kind == Kind.END:
            self.work.end(self.jobs.pop(worker))
        else:
            self._fail(worker, result["reason"])
        if kind != Kind.BROKEN:  # a broken worker is renewed, and then answers READY
            self.idle.append(worker)
        self._hand_out()

    def _on_death(self, worker: int, death: tuple[bool, str]) -> None:
        """Ray restarts the worker's process, unless it is lost."""
        lost, error = death
        self.stillborn[worker] += worker not in self.present
        if self.stillborn[worker] == STILLBORN:
            raise SearchFailed(f"workers cannot start: {error}")
        self.present.discard(worker)
        self._lose(worker)
        self.idle = [other for other in self.idle if other != worker]
        self.left -= lost
        if not self.left:
            raise SearchFailed(f"no worker is left; the last one ended with: {error}")
        self._hand_out()  # its job may have been the last one running

    def _fail(self, worker: int, reason: str) -> None:
        if worker in self.jobs:
            self.work.fail(self.jobs.pop(worker), reason)

    def _lose(self, worker: int) -> None:
        begin, allowed = self.ordered.pop(worker, (math.inf, math.inf))
        before, self.kills = self.kills, kills_for_memory()
        if worker not in self.jobs:
            return
        if time.monotonic() - begin >= allowed:
            self._fail(worker, f"nothing came of it for {allowed:.0f} s, so its worker was ended")
            return
        memory = self.kills > before
        self.work.lost(self.jobs.pop(worker), OUT_OF_MEMORY if memory else DEATH, memory)

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
        address, allowed = self.addresses[worker], self._allowed()
        self.ordered[worker] = (time.monotonic(), allowed)
        self.mailbox.put.remote(address, self.sent[address], (order, allowed))
        self.sent[address] += 1

    def _allowed(self) -> float:
        """The seconds after which a job without an item has hung."""
        if self.patience is not None:
            return self.patience
        return max(SHORTEST, PATIENCE * self.slowest) if self.slowest else FIRST
