"""Optuna's storage in a database, but trials are read with a few plain queries.

Optuna makes an object of each row, and of each parameter's distribution: 6 ms of processor time and 100 kB of memory a
trial. Here, whatever trials have in common (distributions, names, words) is kept once.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Container, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import lru_cache
from sys import intern
from typing import Any

from optuna.distributions import BaseDistribution, json_to_distribution
from optuna.storages import BaseStorage, RDBStorage
from optuna.trial import FrozenTrial, TrialState
from sqlalchemy import Connection, Row, Select, bindparam, func, select

from nas.searching.optuna_private import LONG, PREFIX, brief, models

BLOCK = 500  # trials in a query
TRIALS: Any = models.TrialModel.__table__


def _of_trials(model: Any, *columns: str) -> Select[Any]:
    """The statement that reads these columns of a table's rows for the trials `ids`, in the order of writing."""
    table = model.__table__
    (key,) = table.primary_key.columns
    wanted = table.c.trial_id.in_(bindparam("ids", expanding=True))
    return select(table.c.trial_id, *(table.c[name] for name in columns)).where(wanted).order_by(key)


PARAMS = _of_trials(models.TrialParamModel, "param_name", "param_value", "distribution_json")
VALUES = _of_trials(models.TrialValueModel, "objective", "value", "value_type")
STEPS = _of_trials(models.TrialIntermediateValueModel, "step", "intermediate_value", "intermediate_value_type")
USER = _of_trials(models.TrialUserAttributeModel, "key", "value_json")
SYSTEM = _of_trials(models.TrialSystemAttributeModel, "key", "value_json")
ATTRIBUTES = select(models.StudySystemAttributeModel.key, models.StudySystemAttributeModel.value_json).where(
    models.StudySystemAttributeModel.study_id == bindparam("study")
)
BRIEF = SYSTEM.where(models.TrialSystemAttributeModel.key.not_in([PREFIX + name for name in LONG]))

distribution_of: Callable[[str], BaseDistribution] = lru_cache(maxsize=4096)(json_to_distribution)


@dataclass
class _Parts:
    """What the tables hold for one trial."""

    row: Row[Any]
    values: dict[int, float] = field(default_factory=dict)
    params: dict[str, Any] = field(default_factory=dict)
    distributions: dict[str, BaseDistribution] = field(default_factory=dict)
    steps: dict[int, float] = field(default_factory=dict)
    user: dict[str, Any] = field(default_factory=dict)
    system: dict[str, Any] = field(default_factory=dict)

    def trial(self) -> FrozenTrial:
        return FrozenTrial(
            number=self.row.number,
            trial_id=self.row.trial_id,
            state=self.row.state,
            value=None,
            values=[self.values[i] for i in sorted(self.values)] or None,
            params=self.params,
            distributions=self.distributions,
            intermediate_values=self.steps,
            user_attrs=self.user,
            system_attrs=self.system,
            datetime_start=_local(self.row.datetime_start),
            datetime_complete=_local(self.row.datetime_complete),
        )


class ReadingStorage(RDBStorage):
    """Replaces the methods by which Optuna reads trials, and those that read everything else for a count or a name."""

    def study_names(self) -> list[str]:
        with self.engine.connect() as connection:
            return list(connection.scalars(select(models.StudyModel.study_name)))

    def get_n_trials(self, study_id: int, state: tuple[TrialState, ...] | TrialState | None = None) -> int:
        if state is not None:
            return super().get_n_trials(study_id, state)
        with self.engine.connect() as connection:
            return connection.scalar(select(func.count()).where(TRIALS.c.study_id == study_id)) or 0

    def get_study_system_attrs(self, study_id: int) -> dict[str, Any]:
        """Notes on ten thousand trials are among them."""
        self.get_study_name_from_id(study_id)  # KeyError if there is none
        with self.engine.connect() as connection:
            return {key: json.loads(text) for key, text in connection.execute(ATTRIBUTES, {"study": study_id})}

    def get_trial(self, trial_id: int) -> FrozenTrial:
        with self.engine.connect() as connection:
            rows = connection.execute(select(TRIALS).where(TRIALS.c.trial_id == trial_id)).all()
            for trial in _trials(connection, rows):
                return trial
        raise KeyError(f"no trial has the id {trial_id}")

    def _get_trials(
        self,
        study_id: int,
        states: Container[TrialState] | None,
        included_trial_ids: set[int],
        trial_id_greater_than: int,
        *,
        long: bool = True,
    ) -> list[FrozenTrial]:
        self.get_study_name_from_id(study_id)  # KeyError if there is none
        first = min([trial_id_greater_than + 1, *included_trial_ids])
        wanted = select(TRIALS).where(TRIALS.c.study_id == study_id, TRIALS.c.trial_id >= first)
        with self.engine.connect() as connection:
            rows = [
                row
                for row in connection.execute(wanted.order_by(TRIALS.c.trial_id))
                if (row.trial_id > trial_id_greater_than or row.trial_id in included_trial_ids)
                and (states is None or row.state in states)
            ]
            blocks = (rows[start : start + BLOCK] for start in range(0, len(rows), BLOCK))
            return [trial for block in blocks for trial in _trials(connection, block, long)]


def brief_trials(storage: BaseStorage, study_id: int) -> list[FrozenTrial]:
    """All trials of a study, those that have ended without their long attributes, which nobody trains further."""
    if isinstance(storage, ReadingStorage):
        return storage._get_trials(study_id, None, set(), -1, long=False)
    return [brief(trial) for trial in storage.get_all_trials(study_id, deepcopy=False)]


def _trials(connection: Connection, rows: Sequence[Row[Any]], long: bool = True) -> Iterator[FrozenTrial]:
    found = {row.trial_id: _Parts(row) for row in rows}
    ids = {"ids": list(found)}
    for trial_id, name, value, text in connection.execute(PARAMS, ids):
        parts, distribution, name = found[trial_id], distribution_of(text), intern(name)
        parts.params[name], parts.distributions[name] = distribution.to_external_repr(value), distribution
    for trial_id, objective, value, kind in connection.execute(VALUES, ids):
        found[trial_id].values[objective] = models.TrialValueModel.stored_repr_to_value(value, kind)
    decoded = models.TrialIntermediateValueModel.stored_repr_to_intermediate_value
    for trial_id, step, value, kind in connection.execute(STEPS, ids):
        found[trial_id].steps[step] = decoded(value, kind)
    for trial_id, key, text in connection.execute(USER, ids):
        found[trial_id].user[intern(key)] = json.loads(text)
    ended = set() if long else {row.trial_id for row in rows if row.state.is_finished()}
    for statement, some in ((BRIEF, ended), (SYSTEM, found.keys() - ended)):
        for trial_id, key, text in connection.execute(statement, {"ids": list(some)}) if some else ():
            found[trial_id].system[intern(key)] = json.loads(text, object_pairs_hook=_object)
    for parts in found.values():
        yield parts.trial()


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """A JSON object whose names and words are shared with all others."""
    return {intern(name): intern(value) if type(value) is str else value for name, value in pairs}


def _local(utc: datetime | None) -> datetime | None:
    """Return a time as Optuna does: it is stored in UTC, and read without a time zone in the machine's own."""
    return None if utc is None else utc.replace(tzinfo=UTC).astimezone().replace(tzinfo=None)
