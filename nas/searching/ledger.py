"""The study's record. SQLite keeps everything; the sampler reads a mirror in memory.

Why a mirror: TPE treats a RUNNING trial as a bad one, but a trial paused at a rung is a result. In the mirror it is
PRUNED at its rung. It stays PRUNED while it trains on after a promotion, because its last rung is still a result, and
ends COMPLETE or PRUNED. Optuna itself does not allow these changes of state. Reading the mirror is also an order of
magnitude faster than reading SQLite.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal, TypeVar

import optuna
from optuna.distributions import BaseDistribution, check_distribution_compatibility
from optuna.storages import BaseStorage
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState, create_trial

from nas.errors import UserError
from nas.samplers import GIVEN, Proposer
from nas.searching.drafts import Draft
from nas.searching.optuna_private import CONSTRAINT, EditableStorage, storage_id

T = TypeVar("T")


class Ledger:
    """One Optuna study and its mirror, addressed by trial number. Nothing else writes to them."""

    def __init__(
        self,
        storage: BaseStorage,
        name: str,
        *,
        direction: Literal["maximize", "minimize"] = "maximize",
        sampler: optuna.samplers.BaseSampler,
    ):
        self.study = optuna.create_study(storage=storage, study_name=name, direction=direction, load_if_exists=True)
        if self.study.direction.name.lower() != direction:
            raise UserError(
                f"study {name!r} was set to {self.study.direction.name.lower()} its objective, not to {direction} it"
            )
        self._storage, self._sampler = storage, sampler
        self._study_id = storage.get_study_id_from_name(name)
        self._mirror_storage = EditableStorage()
        self._mirror = optuna.create_study(
            storage=self._mirror_storage, study_name=name, direction=direction, sampler=sampler
        )
        self._mirror_id = self._mirror_storage.get_study_id_from_name(name)
        self.history = self.study.get_trials()  # as it was when opened
        self._ids = {trial.number: storage_id(trial) for trial in self.history}
        self._distributions: dict[str, BaseDistribution] = {}  # of each parameter, as first seen
        for trial in self.history:
            self._mirror.add_trial(_as_mirrored(trial))
            self._distributions.update(trial.distributions)

    def ask(
        self, sample: Callable[[Any], T], given: Mapping[str, Any] | None = None, rungs: Sequence[int] = ()
    ) -> tuple[int, T] | None:
        """Return a new trial's number and what `sample` made of it. Call `start` or `skip` next to record it.

        Parameters in `given` are not sampled. None if the sampler has no untried configuration left. UserError if a
        `Proposer` leaves a parameter out.
        """
        if given is None and isinstance(self._sampler, Proposer):
            sign = 1.0 if self.study.direction == StudyDirection.MAXIMIZE else -1.0
            given = self._sampler.propose(self._mirror.get_trials(deepcopy=False), sample, rungs, sign)
            return None if given is None else self._decoded(given, sample)
        if given:
            self._mirror.enqueue_trial(dict(given))
        trial = self._mirror.ask()
        if given is not None:
            trial.set_user_attr(GIVEN, True)
        return trial.number, sample(trial)

    def _decoded(self, proposed: Mapping[str, Any], sample: Callable[[Any], T]) -> tuple[int, T]:
        """Create a trial from a whole configuration; Optuna would query sampler and storage for each parameter."""
        made = Draft(_not_proposed, proposed)
        config = sample(made)
        trial = create_trial(state=TrialState.RUNNING, params=made.params, distributions=made.distributions)
        trial_id = self._mirror_storage.create_new_trial(self._mirror_id, trial)
        return self._mirror_storage.get_trial_number_from_id(trial_id), config

    def start(self, number: int, attributes: Mapping[str, Any]) -> None:
        """Record an asked trial as RUNNING. UserError if a parameter's choices differ from those of earlier trials."""
        self._add(number, TrialState.RUNNING, attributes, {})

    def repeat(self, number: int, attributes: Mapping[str, Any]) -> int:
        """Record a new RUNNING trial with the parameters of trial `number`, and return its number."""
        original = self._mirror_storage.get_trial(self._mirror_trial(number))
        trial = create_trial(state=TrialState.RUNNING, params=original.params, distributions=original.distributions)
        trial_id = self._mirror_storage.create_new_trial(self._mirror_id, trial)
        repeated = self._mirror_storage.get_trial_number_from_id(trial_id)
        self.start(repeated, attributes)
        return repeated

    def skip(self, number: int, attributes: Mapping[str, Any], excess: Mapping[str, float]) -> None:
        """Record an asked trial as infeasible and untrained: PRUNED, with its violated constraints for the sampler."""
        constraints = {CONSTRAINT + name: value for name, value in excess.items()}
        self._add(number, TrialState.PRUNED, attributes, constraints)
        self._close_in_mirror(number, None, constraints)

    def report(self, number: int, epoch: int, value: float) -> None:
        self._storage.set_trial_intermediate_value(self._ids[number], epoch, value)
        self._mirror_storage.set_trial_intermediate_value(self._mirror_trial(number), epoch, value)

    def annotate(self, number: int, attributes: Mapping[str, Any]) -> None:
        for name, value in attributes.items():
            self._storage.set_trial_user_attr(self._ids[number], name, value)

    def pause(self, number: int, value: float) -> None:
        """Pause the trial at a rung: RUNNING in the study, a result at its rung for the sampler."""
        self._close_in_mirror(number, value, {})

    def complete(self, number: int, value: float) -> None:
        self._storage.set_trial_state_values(self._ids[number], TrialState.COMPLETE, [value])
        self._mirror_storage.set_trial_state_values(self._mirror_trial(number), TrialState.COMPLETE, [value])

    def prune(self, number: int, value: float) -> None:
        self._storage.set_trial_state_values(self._ids[number], TrialState.PRUNED, [value])
        self._close_in_mirror(number, value, {})

    def fail(self, number: int, reason: str, *, infeasible: bool = True) -> None:
        """Record FAIL in the study. An infeasible trial keeps the sampler from returning to the same region."""
        constraint = {CONSTRAINT + "failed": 1.0} if infeasible else {}
        self.annotate(number, {"error": reason})
        for name, value in constraint.items():
            self._storage.set_trial_system_attr(self._ids[number], name, value)
        self._storage.set_trial_state_values(self._ids[number], TrialState.FAIL)
        self._close_in_mirror(number, None, constraint)

    def _add(self, number: int, state: TrialState, attributes: Mapping[str, Any], system: Mapping[str, Any]) -> None:
        asked = self._mirror_storage.get_trial(self._mirror_trial(number))
        for name, distribution in asked.distributions.items():
            try:
                check_distribution_compatibility(self._distributions.setdefault(name, distribution), distribution)
            except ValueError as error:
                raise UserError(f"the parameter {name!r} differs from earlier trials of the study: {error}") from error
        trial = create_trial(
            state=state,
            params=asked.params,
            distributions=asked.distributions,
            user_attrs=dict(attributes),
            system_attrs=dict(system),
        )
        self._ids[number] = self._storage.create_new_trial(self._study_id, trial)

    def _close_in_mirror(self, number: int, value: float | None, system: Mapping[str, Any]) -> None:
        trial = self._mirror_trial(number)
        for name, constraint in system.items():
            self._mirror_storage.set_trial_system_attr(trial, name, constraint)
        self._mirror_storage.set_trial_state_values(trial, TrialState.PRUNED, None if value is None else [value])

    def _mirror_trial(self, number: int) -> int:
        return self._mirror_storage.get_trial_id_from_study_id_trial_number(self._mirror_id, number)


def _not_proposed(name: str, distribution: BaseDistribution) -> Any:
    raise UserError(f"the sampler proposed a configuration without {name!r}, or outside {distribution}")


def _as_mirrored(trial: FrozenTrial) -> FrozenTrial:
    """Return a stored trial as the sampler should see it."""
    failed = trial.state == TrialState.FAIL
    if trial.state == TrialState.COMPLETE:
        state, values = TrialState.COMPLETE, trial.values
    elif trial.state == TrialState.RUNNING and not trial.intermediate_values:
        state, values = TrialState.RUNNING, None
    else:
        state, values = TrialState.PRUNED, None
    return create_trial(
        state=state,
        values=values,
        params=trial.params,
        distributions=trial.distributions,
        intermediate_values={} if failed else {e: v for e, v in trial.intermediate_values.items() if math.isfinite(v)},
        user_attrs={name: value for name, value in trial.user_attrs.items() if name == GIVEN},
        system_attrs={name: value for name, value in trial.system_attrs.items() if name.startswith(CONSTRAINT)},
    )
