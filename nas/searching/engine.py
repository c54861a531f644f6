"""The search itself: which trial to train next, and how far. It knows the study, but neither Ray nor torch."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from optuna.trial import FrozenTrial, TrialState

from nas.errors import SearchFailed, UserError
from nas.samplers import GIVEN
from nas.schedulers import ByFront, Decision, Scheduler, Screening
from nas.searching import pace
from nas.searching.histories import record_of
from nas.searching.jobs import REPEATS, SCREENED, Admission, Event, Job
from nas.searching.ledger import Ledger
from nas.searching.losses import Losses
from nas.searching.optuna_private import attributes_of

GIVE_UP_AFTER = 10, 30  # failed trials in a row: before the first success, and after it
SKIPS_IN_A_ROW = 200


@dataclass
class _Running:
    job: Job
    history: list[dict[str, Any]]


class Engine:
    """Hands out jobs and takes their results until the study holds `trials` finished trials.

    `sample(trial)` decodes an Optuna trial, and `record` turns the result into a configuration, which is JSON data.
    `admit(config)` says what it costs and whether it may be trained. `first` holds the parameters of the first trials.
    A trial ends as soon as its full training would take longer than `max_seconds`.
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
        max_seconds: float | None = None,
        admit: Callable[[dict[str, Any]], Admission] = lambda config: Admission(),
        checkpoint: Callable[[int, int], int] = lambda number, at_most: 0,
        listen: Callable[[Event], None] = lambda event: None,
    ) -> None:
        self.ledger, self.scheduler, self.trials, self.objective = ledger, scheduler, trials, objective
        self._max_seconds = max_seconds
        self._first = first
        self._sample, self._record_of, self._admit, self.listen = sample, record, admit, listen
        self._sign = ledger.sign
        if ledger.cost and isinstance(scheduler, ByFront):
            scheduler.weigh(ledger.costs)
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
        # Of two copies, the one that was pruned came second, whatever their numbers.
        for trial in sorted(ledger.history, key=lambda trial: trial.state == TrialState.PRUNED):
            self._replay(trial)

    # -- what the workers call -----------------------------------------------------------------------------------

    def next(self) -> Job | None:
        """Return the next job; None if there is none now or, once `done`, ever. Promotions come before new trials."""
        if self._interrupted:
            return self._hand_out(self._interrupted.popleft())
        job = self._promotion(last=False)
        while job is None and self.started < self.trials and not self.broken:
            job = self._new()
        if job is None and not self.broken and self._all_to_the_end():
            job = self._promotion(last=True)
        self.done = job is None and not self.running
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
        reason = self._too_slow(number, running.history)
        decision = Decision.STOP if reason else self.scheduler.report(number, epoch, self._sign * value)
        if epoch >= self.scheduler.rungs[-1] and decision in (Decision.CONTINUE, Decision.PAUSE):
            name = f"{type(self.scheduler).__module__}.{type(self.scheduler).__name__}"
            raise UserError(f"{name} answers {decision.name} after epoch {epoch}, the last; expected COMPLETE or STOP")
        if saved or decision is not Decision.CONTINUE:
            self._record(running)  # first: an epoch in the study must have its record whenever we are killed
        self.ledger.report(number, epoch, value)
        self.listen(Event("epoch", number, epoch, value, metrics=metrics))
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
            self._end("pruned", number, epoch, reason)
        for trial in self.scheduler.hopeless(self.trials):
            self._prune(trial)
        return decision

    def lost(self, number: int, reason: str, *, memory: bool | None = False) -> None:
        """Go on with a trial whose worker died, from its newest checkpoint. It fails when too many have died under it.

        That says nothing of its configuration, unless memory ran out every time.
        """
        if self._losses.too_many(number, memory):
            self.fail(number, self._losses.reason(number, reason), infeasible=self._losses.of_memory(number))
            return
        running = self.running.pop(number)
        kept = self._checkpoint(number, len(running.history))
        self._open[number] = (running.job.config, running.history[:kept])
        self._interrupted.append(Job(number, running.job.config, kept, self.scheduler.target(number, kept)))
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

    def _all_to_the_end(self) -> bool:
        """Whether no running trial stops at a rung again, where it could change what is promoted."""
        return all(running.job.stop == self.scheduler.rungs[-1] for running in self.running.values())

    def _too_slow(self, number: int, history: Sequence[Mapping[str, Any]]) -> str:
        """Say so, also to the sampler, if the full training of a trial would take longer than the study allows."""
        if self._max_seconds is None or len(history) == self.scheduler.rungs[-1]:  # it is trained in full already
            return ""
        over = pace.excess([m.get("seconds", 0.0) for m in history], self.scheduler.rungs[-1], self._max_seconds)
        if over <= 0:
            return ""
        reason = f"a full training would take {(1 + over) * self._max_seconds:.0f} s, of {self._max_seconds:g} allowed"
        self.scheduler.fail(number)
        self.ledger.blame(number, reason, {"seconds": over})
        return reason

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
        if trial.state.is_finished() and any(trial.constraints.values()):  # it was too slow
            self._ever_succeeded = True
            return
        recorded = attributes_of(trial)
        if isinstance(self.scheduler, Screening) and SCREENED in recorded:
            self.scheduler.screens(trial.number, screened=True)
        values, history = trial.intermediate_values, recorded.get("history", [])
        last = max(values, default=0)
        kept = last if trial.state.is_finished() else self._checkpoint(trial.number, min(last, len(history)))
        decision = paused = Decision.CONTINUE
        for epoch in range(1, kept + 1):
            decision = self.scheduler.report(trial.number, epoch, self._sign * values[epoch])
            if decision is Decision.PAUSE and not trial.state.is_finished():
                paused = decision
        self._ever_succeeded |= kept > 0
        if trial.state.is_finished():
            self.scheduler.forget(trial.number)
            return
        config = recorded["config"]
        self._open[trial.number] = (config, history[:kept])
        if kept:
            self.last_values[trial.number] = values[kept]
        if paused is Decision.PAUSE:
            self.ledger.pause(trial.number, values[kept])
        if kept < last or decision is Decision.CONTINUE:  # it was running
            self.scheduler.resume(trial.number)
            self._interrupted.append(Job(trial.number, config, kept, self.scheduler.target(trial.number, kept)))

    def _record(self, running: _Running) -> None:
        self.ledger.annotate(running.job.trial, record_of(running.history, self.scheduler.rungs[-1], self.objective))

    def _promotion(self, *, last: bool) -> Job | None:
        number = self.scheduler.promote(last=last)
        if number is None:
            return None
        config, history = self._open[number]
        start = int(history[-1]["epoch"])
        return self._hand_out(Job(number, config, start, self.scheduler.target(number, start)))

    def _start(self, number: int, config: dict[str, Any], attributes: Mapping[str, Any]) -> Job:
        if isinstance(self.scheduler, Screening) and self.scheduler.screens(number):
            attributes = {**attributes, SCREENED: True}
        self.ledger.start(number, {"config": config, **attributes})
        self.started += 1
        job = Job(number, config, 0, self.scheduler.target(number, 0))
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
            self.listen(Event("skipped", number, reason=reason, given=given is not None))
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
