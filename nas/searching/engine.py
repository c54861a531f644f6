"""The search itself: which trial to train next, and how far. It knows the study, but neither Ray nor torch."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from optuna.trial import FrozenTrial, TrialState

from nas.errors import SearchFailed
from nas.samplers import GIVEN
from nas.schedulers import Decision, Scheduler
from nas.searching.ledger import Ledger
from trainers.metrics import SYMMETRIC

GIVE_UP_AFTER = 10, 30  # failed trials in a row: before the first success, and after it
SKIPS_IN_A_ROW = 200
LOSSES = 2  # workers that may die under a trial before it fails
REPEATS = "repeats"  # the attribute that names the trial whose configuration a trial of the finals trains again


@dataclass(frozen=True)
class Job:
    """A stretch of one trial's training: from `start` epochs done (0: from scratch) to epoch `stop`, inclusive."""

    trial: int
    config: dict[str, Any]
    start: int
    stop: int


@dataclass(frozen=True)
class Epoch:
    """One epoch of a job, as its worker reports it."""

    number: int
    metrics: Mapping[str, float]
    saved: bool = False  # it has a checkpoint


@dataclass(frozen=True)
class Admission:
    """What is known about a configuration before training. It is skipped if any of `excess` is above zero."""

    attributes: Mapping[str, Any] = field(default_factory=dict)
    excess: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Event:
    """News for a person.

    `kind` is started, resumed, epoch, paused, lost, complete, pruned, failed or skipped; finals when these begin, with
    the number of trainings left as `epoch`; final at the end of one of them.
    """

    kind: str
    trial: int
    epoch: int = 0
    value: float = math.nan
    reason: str = ""
    given: bool = False  # known when it starts
    metrics: Mapping[str, float] = field(default_factory=dict)  # of the last epoch of a full training


@dataclass
class _Running:
    job: Job
    history: list[dict[str, Any]]


class Engine:
    """Hands out jobs and takes their results until the study holds `trials` finished trials.

    `sample(trial)` decodes an Optuna trial, and `record` turns the result into a configuration, which is JSON data.
    `admit(config)` says what it costs and whether it may be trained. `first` holds the parameters of the first trials.
    `checkpoint(number, at_most)` returns the epoch, at most `at_most`, from which a trial can resume (0: nothing kept).
    All state is rebuilt from the ledger, so a killed search resumes where it was. When it is `done`, nothing runs and
    no job is left; `close` then settles what is still paused.
    """

    def __init__(
        self,
        ledger: Ledger,
        scheduler: Scheduler,
        *,
        sample: Callable[[Any], Any],
        trials: int,
        record: Callable[[Any], dict[str, Any]] = lambda made: made,
        first: Sequence[Mapping[str, Any]] = (),
        objective: str = "auc",
        admit: Callable[[dict[str, Any]], Admission] = lambda config: Admission(),
        checkpoint: Callable[[int, int], int] = lambda number, at_most: 0,
        listen: Callable[[Event], None] = lambda event: None,
    ) -> None:
        self.ledger, self.scheduler, self.trials, self.objective = ledger, scheduler, trials, objective
        self._first = first
        self._sample, self._record_of, self._admit, self.listen = sample, record, admit, listen
        self._sign = 1.0 if ledger.study.direction.name == "MAXIMIZE" else -1.0
        self.started = 0  # all trials but the skipped
        self.finished = 0
        self.skipped = 0
        self.failures: list[str] = []  # since the last success
        self.last_values: dict[int, float] = {}  # of every open trial
        self.running: dict[int, _Running] = {}
        self._open: dict[int, tuple[dict[str, Any], list[dict[str, Any]]]] = {}  # paused: configuration, history
        self._interrupted: deque[Job] = deque()
        self._checkpoint = checkpoint
        self._losses = Losses()
        self._ever_succeeded = False
        self.done = False  # nothing runs and no job is left
        for trial in ledger.history:
            self._replay(trial)

    # -- what the workers call -----------------------------------------------------------------------------------

    def next(self) -> Job | None:
        """Return the next job; None if there is none now or, once `done`, ever. Promotions come before new trials."""
        if self._interrupted:
            return self._hand_out(self._interrupted.popleft())
        job = self._promotion(last=False)
        while job is None and self.started < self.trials and not self.broken:
            job = self._new()
        if job is None and not self.running:
            job = None if self.broken else self._promotion(last=True)
            self.done = job is None
        return job

    def report(self, number: int, epoch: int, metrics: Mapping[str, float], *, saved: bool = False) -> Decision:
        """Record an epoch, then decide. Any decision but CONTINUE ends the job. `saved`: it has a checkpoint."""
        running = self.running[number]
        value = float(metrics[self.objective])
        if not math.isfinite(value):
            self.fail(number, f"{self.objective} is {value} at epoch {epoch}")
            return Decision.STOP
        self.last_values[number] = value
        running.history.append({"epoch": epoch, **metrics})
        decision = self.scheduler.report(number, epoch, self._sign * value)
        if saved or decision is not Decision.CONTINUE:
            self._record(running)  # first: an epoch in the study must have its record whenever we are killed
        self.ledger.report(number, epoch, value)
        self.listen(Event("epoch", number, epoch, value))
        if decision is Decision.CONTINUE:
            return decision
        self._ever_succeeded = True
        self.failures.clear()
        del self.running[number]
        if decision is Decision.PAUSE:
            self._open[number] = (running.job.config, running.history)
            self.ledger.pause(number, value)
            self.listen(Event("paused", number, epoch, value))
        elif decision is Decision.COMPLETE:
            self.ledger.complete(number, value)
            self._end("complete", number, epoch, metrics=metrics)
        else:
            self.ledger.prune(number, value)
            self._end("pruned", number, epoch)
        for trial in self.scheduler.hopeless(self.trials):
            self._prune(trial)
        return decision

    def lost(self, number: int, reason: str, *, memory: bool = False) -> None:
        """Train a trial whose worker died further, from its newest checkpoint. It fails when too many have died.

        That says nothing of its configuration, unless memory ran out every time.
        """
        if self._losses.too_many(number, memory):
            self.fail(number, self._losses.reason(number, reason), infeasible=self._losses.of_memory(number))
            return
        running = self.running.pop(number)
        kept = self._checkpoint(number, len(running.history))
        self._open[number] = (running.job.config, running.history[:kept])
        self._interrupted.append(Job(number, running.job.config, kept, self.scheduler.target(kept)))
        self.listen(Event("lost", number, kept, reason=reason))

    def fail(self, number: int, reason: str, *, infeasible: bool = True) -> None:
        """End a trial that raised, diverged, hung or ran out of memory as FAIL, with the reason.

        `infeasible`: its configuration is to blame, and the sampler avoids others like it.
        """
        running = self.running.pop(number)
        self._record(running)
        self.scheduler.fail(number)
        self.ledger.fail(number, reason, infeasible=infeasible)
        self.failures.append(reason)
        self._end("failed", number, running.history[-1]["epoch"] if running.history else 0, reason)

    @property
    def broken(self) -> bool:
        """Whether so many trials in a row failed that more of the same will not help."""
        return len(self.failures) >= GIVE_UP_AFTER[self._ever_succeeded]

    def close(self) -> None:
        """End a search that is `done`: trials still paused become PRUNED. SearchFailed if it is `broken`."""
        assert self.done
        if self.broken:
            raise SearchFailed(
                f"{len(self.failures)} trials in a row failed, the last with {self.failures[-1]!r}; "
                "fix that, then run the same command again to resume"
            )
        for number in list(self._open):
            self._prune(number)

    # -- inside --------------------------------------------------------------------------------------------------

    def _replay(self, trial: FrozenTrial) -> None:
        if REPEATS in trial.user_attrs:
            return
        if "skipped" in trial.user_attrs:
            self.skipped += 1
            return
        self.started += 1
        self.finished += trial.state.is_finished()
        if trial.state == TrialState.FAIL:
            return
        values, history = trial.intermediate_values, trial.user_attrs.get("history", [])
        last = max(values, default=0)
        kept = last if trial.state.is_finished() else self._checkpoint(trial.number, min(last, len(history)))
        for epoch in range(1, kept + 1):
            self.scheduler.report(trial.number, epoch, self._sign * values[epoch])
        self._ever_succeeded |= kept > 0
        if trial.state.is_finished():
            self.scheduler.forget(trial.number)
            return
        config = trial.user_attrs["config"]
        self._open[trial.number] = (config, history[:kept])
        if kept:
            self.last_values[trial.number] = values[kept]
        if kept < last or kept not in self.scheduler.rungs:  # it was running
            self.scheduler.resume(trial.number)
            self._interrupted.append(Job(trial.number, config, kept, self.scheduler.target(kept)))

    def _record(self, running: _Running) -> None:
        self.ledger.annotate(running.job.trial, record_of(running.history, self.scheduler.rungs[-1]))

    def _promotion(self, *, last: bool) -> Job | None:
        number = self.scheduler.promote(last=last)
        if number is None:
            return None
        config, history = self._open[number]
        start = int(history[-1]["epoch"])
        return self._hand_out(Job(number, config, start, self.scheduler.target(start)))

    def _start(self, number: int, config: dict[str, Any], attributes: Mapping[str, Any]) -> Job:
        self.ledger.start(number, {"config": config, **attributes})
        self.started += 1
        job = Job(number, config, 0, self.scheduler.target(0))
        self.running[number] = _Running(job, [])
        self.listen(Event("started", number, given=GIVEN in attributes))
        return job

    def _new(self) -> Job | None:
        for _ in range(SKIPS_IN_A_ROW):
            asked = self.started + self.skipped
            given = self._first[asked] if asked < len(self._first) else None
            asked_for = self.ledger.ask(self._sample, given, self.scheduler.rungs)
            if asked_for is None:
                self.trials = self.started  # every configuration of the space has been tried
                return None
            number, config = asked_for[0], self._record_of(asked_for[1])
            origin = {} if given is None else {GIVEN: True}
            try:
                admission = self._admit(config)
            except Exception as error:  # a network that cannot be built counts as a failed trial
                self._start(number, config, origin)
                self.fail(number, f"{type(error).__name__}: {error}")
                return None
            excess = {name: value for name, value in admission.excess.items() if value > 0}
            if not excess:
                return self._start(number, config, {**origin, **admission.attributes})
            reason = ", ".join(f"{name} {1 + value:.2g} times the limit" for name, value in excess.items())
            record = {"config": config, **origin, **admission.attributes, "skipped": reason}
            self.ledger.skip(number, record, excess)
            self.skipped += 1
            self.listen(Event("skipped", number, reason=reason))
        raise SearchFailed(
            f"{SKIPS_IN_A_ROW} configurations in a row were above the study's limits ({reason}); raise the limits "
            "and give that search a --name of its own"
        )

    def _hand_out(self, job: Job) -> Job:
        _, history = self._open.pop(job.trial)
        self.running[job.trial] = _Running(job, history)
        self.listen(Event("resumed", job.trial, job.start, self.last_values.get(job.trial, math.nan)))
        return job

    def _prune(self, number: int) -> None:
        _, history = self._open.pop(number)
        self.scheduler.forget(number)
        self.ledger.prune(number, self.last_values[number])
        self._end("pruned", number, int(history[-1]["epoch"]))

    def _end(
        self, kind: str, number: int, epoch: int, reason: str = "", metrics: Mapping[str, float] | None = None
    ) -> None:
        self.finished += 1
        value = self.last_values.pop(number, math.nan)
        self.listen(Event(kind, number, epoch, value, reason, metrics=metrics or {}))


class Losses:
    """Counts the workers that died under each training, by any key."""

    def __init__(self) -> None:
        self._of_memory: dict[Hashable, list[bool]] = {}

    def too_many(self, training: Hashable, memory: bool) -> bool:
        """Count one more. Whether the training must not be tried again."""
        found = self._of_memory.setdefault(training, [])
        found.append(memory)
        return len(found) > LOSSES

    def of_memory(self, training: Hashable) -> bool:
        """Whether memory had run out every time."""
        return all(self._of_memory[training])

    def reason(self, training: Hashable, last: str) -> str:
        return f"{last}; so did {len(self._of_memory[training]) - 1} before it"


def record_of(history: list[dict[str, Any]], epochs: int) -> dict[str, Any]:
    """The attributes of a trial that has been trained; a full training has `epochs`."""
    seconds = sum(m.get("seconds", 0.0) for m in history)
    memory = max((m.get("peak_memory_mb", 0.0) for m in history), default=0.0)
    record: dict[str, Any] = {"history": history, "seconds": seconds, "peak_memory_mb": memory}
    if history and history[-1]["epoch"] == epochs:  # by themselves too, where the dashboard shows them
        record |= {name: value for name, value in history[-1].items() if name.endswith(SYMMETRIC)}
    return record
