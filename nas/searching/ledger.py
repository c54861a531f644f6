"""The study's record. SQLite keeps everything; a mirror in memory is what the sampler reads.

Why a mirror: TPE takes a trial in state RUNNING for a bad one, but a trial paused at a rung is a result. In the mirror
it is PRUNED at its rung, stays so while it trains on after a promotion (its last rung is a result still), and ends
COMPLETE or PRUNED, which Optuna's own states do not allow. Reading the mirror is also an order of magnitude faster
than reading SQLite.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, TypeVar

import optuna
from optuna.distributions import BaseDistribution, check_distribution_compatibility
from optuna.storages import BaseStorage, InMemoryStorage
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState, create_trial

from nas.samplers import Proposer
from nas.searching.drafts import Draft
from nas.searching.storage import open_existing

T = TypeVar("T")
CONSTRAINT = "constraints:"  # how Optuna 5 names the system attribute of Trial.set_constraint


def open_study(path: Path, name: str) -> optuna.Study:
    """The study `name` in the database at `path`. ValueError where there is none."""
    if not path.is_file():
        raise ValueError(
            f"no study at {path}: search first (python -m nas.run --study {name}), or give --runs and --name"
        )
    storage, names = open_existing(path)
    if name not in names:
        raise ValueError(f"{path} holds no study {name!r}; it holds: {', '.join(names) or 'none'}")
    return optuna.load_study(study_name=name, storage=storage)


class _Mirror(InMemoryStorage):
    """An in-memory storage whose finished trials may change."""

    def check_trial_is_updatable(self, trial_id: int, trial_state: TrialState) -> None:
        return None


class Ledger:
    """One Optuna study and its mirror, addressed by trial number; the only writer of both."""

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
            raise ValueError(
                f"study {name!r} was made to {self.study.direction.name.lower()} its objective, not to {direction} it"
            )
        self._storage, self._sampler = storage, sampler
        self._study_id = storage.get_study_id_from_name(name)
        self._mirror_storage = _Mirror()
        self._mirror = optuna.create_study(
            storage=self._mirror_storage, study_name=name, direction=direction, sampler=sampler
        )
        self._mirror_id = self._mirror_storage.get_study_id_from_name(name)
        self.history = self.study.get_trials()  # as it was when opened
        self._ids = {trial.number: trial._trial_id for trial in self.history}
        self._distributions: dict[str, BaseDistribution] = {}  # of each parameter, as first seen
        for trial in self.history:
            self._mirror.add_trial(_as_mirrored(trial))
            self._distributions.update(trial.distributions)

    def ask(
        self, sample: Callable[[Any], T], given: Mapping[str, Any] | None = None, rungs: Sequence[int] = ()
    ) -> tuple[int, T] | None:
        """A new trial's number and what `sample` made of it; recorded by `start` or `skip`, which must follow.

        Parameters in `given` are not sampled. None: the sampler has no configuration left that was not tried.
        ValueError where a `Proposer` leaves a parameter out.
        """
        if given is None and isinstance(self._sampler, Proposer):
            sign = 1.0 if self.study.direction == StudyDirection.MAXIMIZE else -1.0
            given = self._sampler.propose(self._mirror.get_trials(deepcopy=False), sample, rungs, sign)
            return None if given is None else self._decoded(given, sample)
        if given:
            self._mirror.enqueue_trial(dict(given))
        trial = self._mirror.ask()
        return trial.number, sample(trial)

    def _decoded(self, proposed: Mapping[str, Any], sample: Callable[[Any], T]) -> tuple[int, T]:
        """A trial of a whole configuration, without Optuna's questions to sampler and storage for each parameter."""
        made = Draft(_not_proposed, proposed)
        config = sample(made)
        trial = create_trial(state=TrialState.RUNNING, params=made.params, distributions=made.distributions)
        trial_id = self._mirror_storage.create_new_trial(self._mirror_id, trial)
        return self._mirror_storage.get_trial_number_from_id(trial_id), config

    def start(self, number: int, attributes: Mapping[str, Any]) -> None:
        """Record an asked trial as RUNNING. ValueError where a parameter's choices are not those of earlier trials."""
        self._add(number, TrialState.RUNNING, attributes, {})

    def skip(self, number: int, attributes: Mapping[str, Any], excess: Mapping[str, float]) -> None:
        """Record an asked trial as infeasible, never trained: PRUNED, with its violated constraints for the sampler."""
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
        """The trial rests at a rung: RUNNING in the study, a result at its rung for the sampler."""
        self._close_in_mirror(number, value, {})

    def complete(self, number: int, value: float) -> None:
        self._storage.set_trial_state_values(self._ids[number], TrialState.COMPLETE, [value])
        self._mirror_storage.set_trial_state_values(self._mirror_trial(number), TrialState.COMPLETE, [value])

    def prune(self, number: int, value: float) -> None:
        self._storage.set_trial_state_values(self._ids[number], TrialState.PRUNED, [value])
        self._close_in_mirror(number, value, {})

    def fail(self, number: int, reason: str) -> None:
        """FAIL in the study; infeasible for the sampler, which would otherwise come back to the same region."""
        self.annotate(number, {"error": reason})
        self._storage.set_trial_system_attr(self._ids[number], CONSTRAINT + "failed", 1.0)
        self._storage.set_trial_state_values(self._ids[number], TrialState.FAIL)
        self._close_in_mirror(number, None, {CONSTRAINT + "failed": 1.0})

    def _add(self, number: int, state: TrialState, attributes: Mapping[str, Any], system: Mapping[str, Any]) -> None:
        asked = self._mirror_storage.get_trial(self._mirror_trial(number))
        for name, distribution in asked.distributions.items():
            check_distribution_compatibility(self._distributions.setdefault(name, distribution), distribution)
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
    raise ValueError(f"the sampler proposed a configuration without {name!r}, or outside {distribution}")


def _as_mirrored(trial: FrozenTrial) -> FrozenTrial:
    """A stored trial as the sampler shall see it."""
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
        system_attrs={name: value for name, value in trial.system_attrs.items() if name.startswith(CONSTRAINT)},
    )
