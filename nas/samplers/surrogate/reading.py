"""Reads the trials of any Optuna study as the proposer wants them: values at rungs, and which trials are infeasible."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping

from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution
from optuna.trial import FrozenTrial, TrialState

from nas.samplers import GIVEN
from nas.searching.drafts import Number, Params, nearest, place_of, shared
from nas.searching.optuna_private import CONSTRAINT, contains, storage_id

FACTOR = 3  # from rung to rung
MOST_RUNGS = 5


class Ladder:
    """The rungs of a study, found from the steps at which its finished trials have reported.

    The highest is the last step of the longest COMPLETE trial. Each further one is a third of the one above, and the
    lowest is the lowest step at which a trial was pruned. Without reports there is one rung, the final value.
    """

    def __init__(self) -> None:
        self._last = self._last_pruned = -math.inf
        self._lowest = math.inf
        self.rungs: tuple[float, ...] = (math.inf,)

    def extend(self, trial: FrozenTrial) -> None:
        """Take a finished trial into account."""
        if steps := finite(trial.intermediate_values):
            if trial.state == TrialState.COMPLETE:
                self._last = max(self._last, *steps)
            elif trial.state == TrialState.PRUNED:
                self._last_pruned = max(self._last_pruned, *steps)
                self._lowest = min(self._lowest, max(steps))
            self.rungs = ladder(self._last if self._last >= 0 else self._last_pruned, self._lowest)

    def values(self, trial: FrozenTrial) -> dict[int, float]:
        """The value of a trial at the index of every rung that it has reached.

        It is the first one reported there or later; the final value where a COMPLETE trial has reported none.
        """
        steps = finite(trial.intermediate_values)
        found = {
            index: next((value for step, value in steps.items() if step >= rung), trial.value)
            for index, rung in enumerate(self.rungs)
        }
        if trial.state == TrialState.COMPLETE:
            found[len(self.rungs) - 1] = trial.value
        return {
            index: value
            for (index, value), rung in zip(found.items(), self.rungs, strict=True)
            if value is not None and (trial.state == TrialState.COMPLETE or max(steps, default=-1) >= rung)
        }


def ladder(last: float, lowest: float) -> tuple[float, ...]:
    if last < 0:
        return (math.inf,)
    rungs = [last]
    while len(rungs) < MOST_RUNGS - 1 and rungs[-1] / FACTOR > max(1.5 * lowest, 0.5):
        rungs.append(rungs[-1] / FACTOR)
    if lowest < rungs[-1]:
        rungs.append(lowest)
    return tuple(reversed(rungs))


def finite(values: Mapping[int, float]) -> dict[int, float]:
    return {step: value for step, value in sorted(values.items()) if math.isfinite(value)}


def retried(trial: FrozenTrial) -> set[int]:
    """The trials that failed for want of a worker and that this one repeats (Optuna's retry callbacks)."""
    attrs = trial.system_attrs
    return {*attrs.get("retry_history", ()), *([attrs["failed_trial"]] if "failed_trial" in attrs else ())}


def infeasible(trial: FrozenTrial) -> bool:
    """Whether a trial violated a constraint, failed, has no finite value, or was pruned without a report."""
    if any(excess > 0 for excess in trial.constraints.values()) or trial.state == TrialState.FAIL:
        return True
    if trial.state == TrialState.COMPLETE:
        return trial.value is None or not math.isfinite(trial.value)
    return trial.state == TrialState.PRUNED and not finite(trial.intermediate_values)


def whole(trial: FrozenTrial) -> bool:
    """Whether a trial has surely asked for all its parameters: it has a value or a constraint, and did not fail."""
    ended = trial.state in (TrialState.COMPLETE, TrialState.PRUNED)
    return ended and bool(trial.values or trial.intermediate_values or trial.constraints)


def internal(trial: FrozenTrial, relative: Collection[str] = ()) -> tuple[Params, dict[str, BaseDistribution]]:
    """Return parameters and distributions in the order of asking, each choice by its index.

    Numbers that are `relative` become their place in the trial's own range, from 0 to 1.
    """
    params, distributions = {}, {}
    for name, value in trial.params.items():
        distribution = trial.distributions[name]
        if isinstance(distribution, CategoricalDistribution):
            value = int(distribution.to_internal_repr(value))
            distribution = CategoricalDistribution(different(distribution))
        elif name in relative:
            value, distribution = place_of(distribution, value), FloatDistribution(0.0, 1.0)
        elif isinstance(distribution, Number) and distribution.step and contains(distribution, value):
            value = nearest(distribution, value)  # 0.3 by hand is 0.30000000000000004 by steps
        params[name], distributions[name] = value, shared(distribution)
    return params, distributions


def different(distribution: CategoricalDistribution) -> tuple[int, ...]:
    """The indices of its choices, but of equal ones, such as 0 and False, only the first: Optuna takes them for one."""
    choices = distribution.choices
    try:
        if len({*choices}) == len(choices):
            return tuple(range(len(choices)))
    except TypeError:  # lists have no hash
        pass
    return tuple(dict.fromkeys(int(distribution.to_internal_repr(choice)) for choice in choices))


def as_proposed(
    trial: FrozenTrial,
    known: Mapping[str, BaseDistribution],
    found: Ladder,
    retried: Collection[int] = (),
    relative: Collection[str] = (),
) -> FrozenTrial:
    """Return the trial as `proposer.Sampler.propose` takes it; parameters with the distributions in `known`, if any.

    `relative` as in `internal`. A trial that was `retried` says nothing of its configuration, whatever it died of: its
    repetition does.
    """
    params, distributions = internal(trial, relative)
    return FrozenTrial(
        number=trial.number,
        trial_id=storage_id(trial),
        state=trial.state,
        value=None,
        params=params,
        distributions=distributions | {name: known[name] for name in params if name in known},
        intermediate_values=found.values(trial),
        user_attrs={GIVEN: True} if params and "fixed_params" in trial.system_attrs else {},
        system_attrs={CONSTRAINT + "feasible": 1.0} if infeasible(trial) and trial.number not in retried else {},
        datetime_start=trial.datetime_start,
        datetime_complete=trial.datetime_complete,
    )
