"""What we use of Optuna beyond its public interface. tests/test_private.py notices when Optuna changes any of it."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

from optuna.distributions import BaseDistribution
from optuna.storages import InMemoryStorage
from optuna.storages._rdb import models
from optuna.trial import FrozenTrial, TrialState

from nas.searching.histories import unpacked

__all__ = [
    "ARTIFACT", "CONSTRAINT", "LONG", "PREFIX", "EditableStorage", "attributes_of", "brief", "contains", "divided",
    "has_constraints", "models", "note_attributes", "note_version", "storage_id",
]  # fmt: skip

# `models` are the tables of Optuna's database; `writing.py` writes their rows itself.

CONSTRAINT = "constraints:"
"""How the system attributes begin in which `Trial.set_constraint` keeps constraints."""


LONG, PREFIX = ("config", "history"), "nas:"
"""Attributes of a trial that are no reading for people: the dashboard shows user attributes, but not system ones."""

ARTIFACT = "artifacts:"
"""How the system attributes begin in which `optuna.artifacts` keeps what it knows of a file."""

PART = 2045  # characters of a note's part, as optuna_dashboard divides it


def divided(attributes: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """The user attributes and the system attributes that keep these attributes of a trial."""
    user = {name: value for name, value in attributes.items() if name not in LONG}
    return user, {PREFIX + name: value for name, value in attributes.items() if name in LONG}


def attributes_of(trial: FrozenTrial) -> dict[str, Any]:
    """All attributes of a trial. Earlier versions kept the long ones among the user attributes."""
    long = {name: trial.system_attrs[PREFIX + name] for name in LONG if PREFIX + name in trial.system_attrs}
    if "history" in long:
        long["history"] = unpacked(long["history"], trial.intermediate_values)
    return {**trial.user_attrs, **long}


def brief(trial: FrozenTrial) -> FrozenTrial:
    """The trial, without its long attributes if it has ended."""
    if not trial.state.is_finished():
        return trial
    shown = copy.copy(trial)
    shown._system_attrs = {name: v for name, v in trial.system_attrs.items() if not name.startswith(PREFIX)}
    return shown


def note_attributes(trial_id: int, text: str) -> dict[str, Any]:
    """The system attributes of a study that are the note on a trial in optuna-dashboard, in Markdown."""
    parts = [text[start : start + PART] for start in range(0, len(text), PART)]
    written = {f"dashboard:{trial_id}:note_str:{k}": part for k, part in enumerate(parts)}
    return {**written, note_version(trial_id): 1}  # last: whoever is killed before has written no note


def note_version(trial_id: int) -> str:
    """The attribute without which there is no note."""
    return f"dashboard:{trial_id}:note_ver"


def storage_id(trial: FrozenTrial) -> int:
    """The number by which a storage, not the study, knows the trial."""
    return trial._trial_id


def has_constraints(sampler: Any) -> bool:
    """Whether one of Optuna's samplers was given a `constraints_func`."""
    return getattr(sampler, "_constraints_func", None) is not None


def contains(distribution: BaseDistribution, value: Any) -> bool:
    try:
        return bool(distribution._contains(distribution.to_internal_repr(value)))
    except ValueError:  # of another type
        return False


class EditableStorage(InMemoryStorage):
    """A storage in memory whose finished trials may change. New ones are kept as they are given, not as a copy."""

    def check_trial_is_updatable(self, trial_id: int, trial_state: TrialState) -> None:
        return None

    def create_new_trial(self, study_id: int, template_trial: FrozenTrial | None = None) -> int:
        if template_trial is None:
            return super().create_new_trial(study_id)
        trial, trials = template_trial, self._studies[study_id].trials
        self._max_trial_id += 1
        trial._trial_id, trial.number = self._max_trial_id, len(trials)
        self._trial_id_to_study_id_and_number[trial._trial_id] = (study_id, trial.number)
        trials.append(trial)
        self._update_cache(trial._trial_id, study_id)
        return trial._trial_id
