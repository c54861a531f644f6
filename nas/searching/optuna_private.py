"""What we use of Optuna beyond its public interface. tests/test_private.py notices when Optuna changes any of it."""

from __future__ import annotations

from typing import Any

from optuna.distributions import BaseDistribution
from optuna.storages import InMemoryStorage
from optuna.storages._rdb import models
from optuna.trial import FrozenTrial, TrialState

__all__ = ["CONSTRAINT", "EditableStorage", "contains", "models", "storage_id"]

# `models` are the tables of Optuna's database; `storage.py` writes their rows itself.

CONSTRAINT = "constraints:"
"""How the system attributes begin in which `Trial.set_constraint` keeps constraints."""


def storage_id(trial: FrozenTrial) -> int:
    """The number by which a storage, not the study, knows the trial."""
    return trial._trial_id


def contains(distribution: BaseDistribution, value: Any) -> bool:
    try:
        return bool(distribution._contains(distribution.to_internal_repr(value)))
    except ValueError:  # of another type
        return False


class EditableStorage(InMemoryStorage):
    """A storage in memory whose finished trials may change."""

    def check_trial_is_updatable(self, trial_id: int, trial_state: TrialState) -> None:
        return None
