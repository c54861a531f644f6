"""Passes the workers' results to the work, and its jobs to the workers. Ray calls it, from one thread."""

from __future__ import annotations

import math
import sys
import time
from collections import Counter
from collections.abc import Callable
from typing import Any, Protocol, TypeVar

from nas.errors import SearchFailed
from nas.workers.failures import kills_for_memory
from nas.workers.nodes import Nodes
from nas.workers.ray_private import NotPickled, last_error, lost_for_good, short_of_memory  # before Ray
from nas.workers.stopping import Stop
from nas.workers.worker import CONTINUE, LEAVE, RELEASE, SAVE, Kind

from ray.tune.schedulers import FIFOScheduler, TrialScheduler  # isort: skip

J = TypeVar("J")
DEATH, OUT_OF_MEMORY = "the worker process died", "the worker process was killed because memory ran out"
NODE, LEAVING = "its node is gone", "its node is about to go"
PATIENCE = 20.0  # times the slowest item so far, until a job without an item counts as hung
SHORTEST, FIRST = 600.0, 7200.0  # seconds of patience: at least, and before there has been any item
STILLBORN = 3  # processes of one worker that die in a row before they are ready: no other will fare better
BREAKS = 3  # jobs in a row under which a worker loses its GPU, until others do its work as long as there are others


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

    def lost(self, job: J, reason: str, memory: bool | None) -> None:
        """Note that the job's worker died; `memory`: because memory ran out. The job may be handed out again.

        None: its node is gone or about to go, or something else outside hindered it, which says nothing of the job.
        """


class Dispatcher(NotPickled, FIFOScheduler):
    """Knows what each worker is doing. It orders the next step through the mailbox."""

    def __init__(self, work: Work[Any], mailbox: Any, nodes: Nodes, stop: Stop, patience: float | None) -> None:
        super().__init__()
        self.work, self.mailbox, self.nodes, self.stop = work, mailbox, nodes, stop
        self.node_of: dict[int, str] = {}  # worker -> Ray's name of its node
        self.saving: set[int] = set()  # workers that make a last checkpoint, because their node leaves
        self.patience, self.slowest = patience, 0.0  # in seconds
        self.ordered: dict[int, tuple[float, float]] = {}  # worker -> when it had its order, how long it may take
        self.kills = kills_for_memory()
        self.left: set[int] = set()  # workers not lost for good
        self.refused: dict[int, str] = {}  # worker -> why it cannot work where it is
        self.addresses: dict[int, str] = {}  # worker -> the mailbox address of its process
        self.sent: Counter[str] = Counter()  # address -> number of orders
        self.jobs: dict[int, Any] = {}  # worker -> its current job
        self.ahead: Any = None  # a job for the next worker that is able
        self.idle: list[int] = []
        self.present: set[int] = set()  # workers that have started and not left
        self.broken: dict[int, list[Any]] = {}  # worker -> the last jobs, each once, under which it lost its GPU
        self.stillborn: Counter[int] = Counter()  # worker -> processes in a row that died before they were ready
        self.error: BaseException | None = None

    @property
    def over(self) -> bool:
        """Something raised, it is time to stop, or the work is done and every worker that started has left."""
        return self.error is not None or self.stop.asked or (self.work.done and not self.present)

    def on_trial_add(self, tune_controller: Any, trial: Any) -> None:
        self.left.add(trial.config["worker"])

    def on_trial_result(self, tune_controller: Any, trial: Any, result: dict[str, Any]) -> str:
        if result["kind"] == Kind.LEFT:
            self.present.discard(trial.config["worker"])
            return TrialScheduler.STOP
        return self._guarded(self._on_result, trial.config["worker"], result)

    def on_trial_error(self, tune_controller: Any, trial: Any) -> None:
        death = lost_for_good(trial), last_error(trial), short_of_memory(trial)
        self._guarded(self._on_death, trial.config["worker"], death)

    def _guarded(self, react: Callable[[int, Any], None], worker: int, what: Any) -> str:
        try:
            react(worker, what)
        except Exception as error:  # Ray would hide it in a TuneError; `work_through` raises it
            self.error = error
            return TrialScheduler.STOP
        return TrialScheduler.CONTINUE

    def _on_result(self, worker: int, result: dict[str, Any]) -> None:
        kind = result["kind"]
        self.ordered.pop(worker, None)
        if kind == Kind.READY:  # its process has just started, perhaps in place of one that died
            self.addresses[worker], self.node_of[worker] = result["address"], result["node"]
            if self._breaks(worker) and self.present - self.refused.keys():
                self._refuse(worker, {**result, "reason": f"a worker that lost its GPU under {BREAKS} jobs in a row"})
                return
            self.present.add(worker)
            del self.stillborn[worker]
        elif kind == Kind.REFUSED:
            self._refuse(worker, result)
            return
        elif kind == Kind.ITEM:
            self.slowest = max(self.slowest, result["seconds"])
            self.broken.pop(worker, None)
            if self.work.report(self.jobs[worker], result["item"].value):
                self._go_on(worker, result["saved"])
                return
            del self.jobs[worker]
            self._order(worker, RELEASE)
        elif kind == Kind.END:
            self.work.end(self.jobs.pop(worker))
        elif kind == Kind.HINDERED:
            self.work.lost(self.jobs.pop(worker), result["reason"], None)
        elif kind == Kind.BROKEN:
            job = self.jobs.pop(worker)
            jobs, name = self.broken.setdefault(worker, []), getattr(job, "name", getattr(job, "trial", job))
            jobs += [name] * (name not in jobs)  # one that breaks it again and again may itself be the reason
            self.work.lost(job, result["reason"], False)
        else:
            self._fail(worker, result["reason"])
        if kind != Kind.BROKEN:  # a broken worker is renewed, and then answers READY
            self.idle.append(worker)
        self._hand_out()

    def _on_death(self, worker: int, death: tuple[bool, str, bool]) -> None:
        """Ray restarts the worker's process, unless it is lost."""
        lost, error, memory = death
        self.stillborn[worker] += worker not in self.present
        if not self.present and all(self.stillborn[other] >= STILLBORN for other in self.left):
            raise SearchFailed(f"workers cannot start: {error}")
        if self.stillborn[worker] == STILLBORN:
            print(f"a worker cannot start: {error}", file=sys.stderr, flush=True)
        self.present.discard(worker)
        self.refused.pop(worker, None)
        self.saving.discard(worker)
        self._lose(worker, memory)
        self.idle = [other for other in self.idle if other != worker]
        if lost:
            self.left.discard(worker)
        if not self.left:
            raise SearchFailed(f"no worker is left; the last one ended with: {error}")
        self._check_refused()
        self._hand_out()  # its job may have been the last one running

    def _go_on(self, worker: int, saved: bool) -> None:
        """Let a job continue. If its node is about to go, it makes a checkpoint, and continues elsewhere.

        At its end it makes none, and ends where it is. `saved`: it has made the checkpoint that was asked for.
        """
        if not self.nodes.leaves(self.node_of[worker]):
            self._order(worker, CONTINUE)
        elif worker not in self.saving:
            self.saving.add(worker)
            self._order(worker, SAVE)
        elif not saved:
            self._order(worker, CONTINUE)
        else:
            self.saving.discard(worker)
            self.work.lost(self.jobs.pop(worker), LEAVING, None)
            self._order(worker, RELEASE)
            self.idle.append(worker)
            self._hand_out()

    def _refuse(self, worker: int, result: dict[str, Any]) -> None:
        """Leave a worker without work that cannot do it. It holds its place, so that no other is started there."""
        self.addresses[worker] = result["address"]
        if result["reason"] not in self.refused.values():
            print(f"no work for {result['reason']}", file=sys.stderr, flush=True)
        self.refused[worker] = result["reason"]
        self._check_refused()

    def _check_refused(self) -> None:
        """End the search if no worker can work. Those that lost their GPUs try again first."""
        if not self.left <= self.refused.keys():
            return
        again = [worker for worker in self.left if self._breaks(worker)]
        if not again:
            raise SearchFailed(f"no worker can work; {next(reversed(self.refused.values()))}")
        for worker in again:
            del self.refused[worker], self.broken[worker]
            self.present.add(worker)
            self.idle.append(worker)
        self._hand_out()

    def _breaks(self, worker: int) -> bool:
        return len(self.broken.get(worker, ())) >= BREAKS

    def _fail(self, worker: int, reason: str) -> None:
        if worker in self.jobs:
            self.work.fail(self.jobs.pop(worker), reason)

    def _lose(self, worker: int, memory: bool) -> None:
        """`memory`: Ray has ended it, because memory ran low."""
        begin, allowed = self.ordered.pop(worker, (math.inf, math.inf))
        before, self.kills = self.kills, kills_for_memory()
        if worker not in self.jobs:
            return
        if self.nodes.gone(self.node_of[worker]):  # first: Ray hears of it late
            self.work.lost(self.jobs.pop(worker), NODE, None)
            return
        if time.monotonic() - begin >= allowed:
            self._fail(worker, f"nothing came of it for {allowed:.0f} s, so its worker was ended")
            return
        memory = memory or (self.kills > before and self.node_of[worker] == self.nodes.own)
        self.work.lost(self.jobs.pop(worker), OUT_OF_MEMORY if memory else DEATH, memory)

    def _hand_out(self) -> None:
        able = [worker for worker in self.idle if not self.nodes.leaves(self.node_of[worker])]
        if self.ahead is None and not able and not self.jobs:
            self.ahead = self.work.next()  # the work finds out here that it is done, and no worker may be able again
        while able and (job := self._next()) is not None:
            worker = able.pop(0)
            self.idle.remove(worker)
            self.jobs[worker] = job
            self._order(worker, job)
        if self.work.done:
            self._dismiss()

    def _next(self) -> Any:
        job, self.ahead = self.ahead, None
        return self.work.next() if job is None else job

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
