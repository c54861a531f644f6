"""The study's record. The database keeps everything; the sampler reads a mirror in memory.

Why a mirror: TPE treats a RUNNING trial as a bad one, but a trial paused at a rung is a result. In the mirror it is
PRUNED at its rung. It stays PRUNED while it trains on after a promotion, because its last rung is still a result, and
ends COMPLETE or PRUNED. Optuna itself does not allow these changes of state. Reading the mirror is also an order of
magnitude faster than reading the database.

With a second objective, a cost that is known before training, the study has two directions and its trials two values.
Optuna's own `Trial.report` refuses such studies; the storage does not. The mirror has one value, and the cost beside it
as an attribute.
"""

from __future__ import annotations

import io
import json
import math
import mimetypes
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from typing import Any, Literal, TypeVar

import optuna
from optuna.artifacts import ArtifactMeta
from optuna.artifacts._protocol import ArtifactStore
from optuna.distributions import BaseDistribution, check_distribution_compatibility
from optuna.storages import BaseStorage
from optuna.trial import FrozenTrial, TrialState, create_trial

from nas.errors import UserError
from nas.samplers import COST, GIVEN, SECONDS, Proposer
from nas.searching.drafts import Draft
from nas.searching.histories import length
from nas.searching.optuna_private import (
    ARTIFACT,
    CONSTRAINT,
    PREFIX,
    EditableStorage,
    divided,
    note_attributes,
    note_version,
    storage_id,
)
from nas.searching.reading import brief_trials

T = TypeVar("T")


class Ledger:
    """One Optuna study and its mirror, addressed by trial number. Nothing else writes to them."""

    def __init__(
        self,
        storage: BaseStorage,
        name: str,
        *,
        direction: Literal["maximize", "minimize"] = "maximize",
        sampler: optuna.samplers.BaseSampler | Proposer,
        cost: str = "",
    ):
        """`cost`: the attribute of trials that is their second objective, to be minimised; empty for one objective."""
        directions = [direction, "minimize"] if cost else [direction]
        self.study = optuna.create_study(storage=storage, study_name=name, directions=directions, load_if_exists=True)
        if (stored := [found.name.lower() for found in self.study.directions]) != directions:
            raise UserError(f"study {name!r} was set to {', '.join(stored)}, not to {', '.join(directions)}")
        self.sign = 1.0 if direction == "maximize" else -1.0  # sign * value is higher for better trials
        self.cost = cost
        self.costs: dict[int, float] = {}  # of every trial whose cost is known, if there is a second objective
        self._storage, self._sampler = storage, sampler
        self._study_id = storage.get_study_id_from_name(name)
        self._mirror_storage = EditableStorage()
        of_optuna = sampler if isinstance(sampler, optuna.samplers.BaseSampler) else optuna.samplers.RandomSampler(0)
        self._mirror = optuna.create_study(
            storage=self._mirror_storage, study_name=name, direction=direction, sampler=of_optuna
        )
        self._mirror_id = self._mirror_storage.get_study_id_from_name(name)
        self.history = brief_trials(storage, self._study_id)  # as it was when opened
        self._ids = {trial.number: storage_id(trial) for trial in self.history}
        self._distributions: dict[str, BaseDistribution] = {}  # of each parameter
        for trial in self.history:
            if trial.state == TrialState.RUNNING:
                self._forgive(trial)
            if cost in trial.user_attrs:
                self.costs[trial.number] = trial.user_attrs[cost]
            self._mirror_storage.create_new_trial(self._mirror_id, _as_mirrored(trial, cost))
            self._distributions.update(trial.distributions)

    def _forgive(self, trial: FrozenTrial) -> None:
        """Take back the blame on a trial that an earlier process was killed before it ended: it is tried again."""
        for name in [name for name in trial.system_attrs if name.startswith(CONSTRAINT)]:
            self._storage.set_trial_system_attr(storage_id(trial), name, 0.0)
            trial.system_attrs[name] = 0.0
        if "error" in trial.user_attrs:
            self._storage.set_trial_user_attr(storage_id(trial), "error", "")
            trial.user_attrs["error"] = ""

    def ask(
        self, sample: Callable[[Any], T], given: Mapping[str, Any] | None = None, rungs: Sequence[int] = ()
    ) -> tuple[int, T] | None:
        """Return a new trial's number and what `sample` made of it. Call `start` or `skip` next to record it.

        Parameters in `given` are not sampled. None if the sampler has no untried configuration left. UserError if a
        `Proposer` leaves a parameter out.
        """
        if given is None and isinstance(self._sampler, Proposer):
            given = self._sampler.propose(self._mirror.get_trials(deepcopy=False), sample, rungs, self.sign)
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
        self.start(repeated, {self.cost: self.costs[number], **attributes} if self.cost else attributes)
        return repeated

    def skip(self, number: int, attributes: Mapping[str, Any], excess: Mapping[str, float]) -> None:
        """Record an asked trial as infeasible and untrained: PRUNED, with its violated constraints for the sampler."""
        constraints = {CONSTRAINT + name: value for name, value in excess.items()}
        self._add(number, TrialState.PRUNED, attributes, constraints)
        for name, value in constraints.items():
            self._mirror_storage.set_trial_system_attr(self._mirror_trial(number), name, value)
        self._end_in_mirror(number, TrialState.PRUNED, None)

    def report(self, number: int, epoch: int, value: float) -> None:
        self._storage.set_trial_intermediate_value(self._ids[number], epoch, value)
        self._mirror_storage.set_trial_intermediate_value(self._mirror_trial(number), epoch, value)

    def annotate(self, number: int, attributes: Mapping[str, Any]) -> None:
        user, system = divided(attributes)
        for name, value in user.items():
            self._storage.set_trial_user_attr(self._ids[number], name, value)
        for name, value in system.items():
            self._storage.set_trial_system_attr(self._ids[number], name, value)
        if epochs := length(attributes.get("history")):
            pace = attributes["seconds"] / epochs
            self._mirror_storage.set_trial_user_attr(self._mirror_trial(number), SECONDS, pace)

    def trial(self, number: int) -> FrozenTrial:
        """The trial as it is stored."""
        return self._storage.get_trial(self._ids[number])

    def note(self, number: int, text: str) -> None:
        """Set the note on a trial, in Markdown, that optuna-dashboard shows."""
        for name, value in note_attributes(self._ids[number], text).items():
            self._storage.set_study_system_attr(self._study_id, name, value)

    def noted(self) -> set[int]:
        """The trials that have a note."""
        attributes = self._storage.get_study_system_attrs(self._study_id)
        return {number for number, trial_id in self._ids.items() if note_version(trial_id) in attributes}

    def attach(self, number: int, files: Mapping[str, str], store: ArtifactStore) -> None:
        """Keep text files, by name, as artifacts of a trial."""
        for name, text in files.items():
            key = uuid.uuid5(uuid.NAMESPACE_OID, f"{self.study.study_name}/{number}/{name}")  # again: in its place
            meta = ArtifactMeta(str(key), name, mimetypes.guess_type(name)[0] or "text/plain", None)
            store.write(meta.artifact_id, io.BytesIO(text.encode()))
            described = json.dumps(asdict(meta))
            self._storage.set_trial_system_attr(self._ids[number], ARTIFACT + meta.artifact_id, described)

    def pause(self, number: int, value: float) -> None:
        """Pause the trial at a rung: RUNNING in the study, a result at its rung for the sampler."""
        self._end_in_mirror(number, TrialState.PRUNED, value)

    def complete(self, number: int, value: float) -> None:
        self._storage.set_trial_state_values(self._ids[number], TrialState.COMPLETE, self._values(number, value))
        self._end_in_mirror(number, TrialState.COMPLETE, value)

    def prune(self, number: int, value: float) -> None:
        self._storage.set_trial_state_values(self._ids[number], TrialState.PRUNED, self._values(number, value))
        self._end_in_mirror(number, TrialState.PRUNED, value)

    def blame(self, number: int, reason: str, excess: Mapping[str, float]) -> None:
        """Record why a trial is about to end, and the constraints that it violates, for the sampler as in `skip`."""
        self.annotate(number, {"error": reason})
        for name, value in excess.items():
            self._storage.set_trial_system_attr(self._ids[number], CONSTRAINT + name, value)
            self._mirror_storage.set_trial_system_attr(self._mirror_trial(number), CONSTRAINT + name, value)

    def fail(self, number: int, reason: str, *, infeasible: bool = True) -> None:
        """Record FAIL in the study. An infeasible trial keeps the sampler from returning to the same region."""
        self.blame(number, reason, {"failed": 1.0} if infeasible else {})
        self._storage.set_trial_state_values(self._ids[number], TrialState.FAIL)
        self._end_in_mirror(number, TrialState.PRUNED if infeasible else TrialState.FAIL, None)  # which samplers ignore

    def _values(self, number: int, value: float) -> list[float]:
        return [value, self.costs[number]] if self.cost else [value]

    def _add(self, number: int, state: TrialState, attributes: Mapping[str, Any], system: Mapping[str, Any]) -> None:
        asked = self._mirror_storage.get_trial(self._mirror_trial(number))
        for name, distribution in asked.distributions.items():
            try:
                check_distribution_compatibility(self._distributions.setdefault(name, distribution), distribution)
            except ValueError as error:
                raise UserError(f"the parameter {name!r} differs from earlier trials of the study: {error}") from error
        user, long = divided(attributes)
        try:
            trial = create_trial(
                state=state,
                params=asked.params,
                distributions=asked.distributions,
                user_attrs=user,
                system_attrs={**system, **long},
            )
        except ValueError as error:  # Optuna does not look at what a sampler returns
            raise UserError(f"the sampler {type(self._sampler).__name__} left the bounds: {error}") from error
        self._ids[number] = self._storage.create_new_trial(self._study_id, trial)
        if self.cost in attributes:
            self.costs[number] = attributes[self.cost]
            self._mirror_storage.set_trial_user_attr(self._mirror_trial(number), COST, self.costs[number])

    def _end_in_mirror(self, number: int, state: TrialState, value: float | None) -> None:
        values = None if value is None else [value]
        self._mirror_storage.set_trial_state_values(self._mirror_trial(number), state, values)

    def _mirror_trial(self, number: int) -> int:
        return self._mirror_storage.get_trial_id_from_study_id_trial_number(self._mirror_id, number)


def _not_proposed(name: str, distribution: BaseDistribution) -> Any:
    raise UserError(f"the sampler proposed a configuration without {name!r}, or outside {distribution}")


def _as_mirrored(trial: FrozenTrial, cost: str) -> FrozenTrial:
    """Return a stored trial as the sampler should see it: with one value, and its `cost` as an attribute."""
    blamed = any(excess > 0 for excess in trial.constraints.values())
    if trial.state == TrialState.COMPLETE:
        state, values = TrialState.COMPLETE, trial.values[:1]
    elif trial.state == TrialState.RUNNING or (trial.state == TrialState.FAIL and not blamed):
        state, values = trial.state, None
    else:
        state, values = TrialState.PRUNED, None
    attributes = {{cost: COST}.get(name, name): v for name, v in trial.user_attrs.items() if name in (GIVEN, cost)}
    history = trial.system_attrs.get(PREFIX + "history")  # of those that have not ended, which may have trained on
    epochs = max(trial.intermediate_values, default=0) if history is None else length(history)
    if epochs and "seconds" in trial.user_attrs:
        attributes[SECONDS] = trial.user_attrs["seconds"] / epochs
    return FrozenTrial(  # `create_trial` would look at every distribution
        number=trial.number,
        trial_id=storage_id(trial),
        state=state,
        value=None,
        values=values,
        datetime_start=trial.datetime_start,
        datetime_complete=trial.datetime_complete,
        params=trial.params,
        distributions=trial.distributions,
        intermediate_values={} if blamed else {e: v for e, v in trial.intermediate_values.items() if math.isfinite(v)},
        user_attrs=attributes,
        system_attrs={name: value for name, value in trial.system_attrs.items() if name.startswith(CONSTRAINT)},
    )
