"""Optuna's storage with fewer database queries.

Before Optuna writes a parameter, attribute or value, it looks up the trial, and for a parameter also its former uses.
That is most of the cost of recording a trial. The search is the only writer of its study, and its ledger knows its
trials, so here each call is one transaction with one statement per table. Nothing is looked up first, so writing to an
ended or unknown trial is not refused. What is written is the same, and any Optuna can read it.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from functools import cache, partial, wraps
from typing import Any, ParamSpec, TypeVar

import sqlalchemy.exc
from optuna.distributions import distribution_to_json
from optuna.exceptions import StorageInternalError
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState
from sqlalchemy import Connection, Executable, UniqueConstraint, bindparam, func, insert, select, update
from sqlalchemy.dialects import postgresql, sqlite

from nas.searching.optuna_private import models
from nas.searching.reading import TRIALS, ReadingStorage

P = ParamSpec("P")
R = TypeVar("R")
Row = Mapping[str, Any]
PAST = TRIALS.alias()
# Statements are built once, so that they are compiled once. A trial's number counts the study's earlier trials.
EARLIER = select(func.count()).select_from(PAST).where(PAST.c.study_id == bindparam("study")).scalar_subquery()
NEW_TRIAL = insert(TRIALS).values(number=EARLIER).returning(TRIALS.c.trial_id)
END_TRIAL = update(TRIALS).where(TRIALS.c.trial_id == bindparam("trial"), TRIALS.c.state == TrialState.RUNNING)
PATIENCE = 600.0  # seconds to wait in all for another program's lock, or for a server that is started again
PAUSE = 0.5  # seconds between two tries


class Unreachable(sqlalchemy.exc.OperationalError):
    """No connection to the server, or the file cannot be opened: nothing has been written."""


def first_line(error: BaseException) -> str:
    """What the database said, without the statement and the layers around."""
    while error.__cause__ is not None:
        error = error.__cause__
    text = str(getattr(error, "orig", None) or error)
    return text.splitlines()[0] if text else type(error).__name__


def _passes(error: BaseException, reads: bool) -> str:
    """What to wait for, in words; empty for an error that does not pass, or that may have come after the commit."""
    if "locked" in first_line(error):
        return "the study is locked by another program"
    for cause in (error, error.__cause__):  # Optuna's own calls wrap it
        lost = isinstance(cause, sqlalchemy.exc.DBAPIError) and cause.connection_invalidated and cause.statement
        if lost or isinstance(cause, sqlalchemy.exc.OperationalError if reads else Unreachable):
            return "the study's database does not answer"
    return ""


def _patient(write: Callable[P, R], *, reads: bool = False) -> Callable[P, R]:
    """Repeat a transaction that another program's lock or a lost connection has undone. The workers train meanwhile.

    `reads`: it can be repeated, whenever the connection was lost.
    """

    @wraps(write)
    def call(*args: P.args, **kwargs: P.kwargs) -> R:
        begin, said = time.monotonic(), False
        while True:
            try:
                return write(*args, **kwargs)
            except (sqlalchemy.exc.OperationalError, StorageInternalError) as error:
                if not (what := _passes(error, reads)) or time.monotonic() - begin >= PATIENCE:
                    raise
                if not said:
                    print(f"{what}; waiting {PATIENCE:.0f} s for it", file=sys.stderr)
                    said = True
                time.sleep(PAUSE)

    return call


class StudyStorage(ReadingStorage):
    """Replaces the six calls that record a search's trials and the notes on them.

    Those that create and describe its study are Optuna's, but patient, as is reading (`ReadingStorage`).
    """

    @contextmanager
    def _transaction(self) -> Iterator[Connection]:
        try:
            connection = self.engine.connect()
        except sqlalchemy.exc.OperationalError as error:
            raise Unreachable(error.statement, error.params, error.orig or error) from error
        with connection, connection.begin():
            yield connection

    @_patient
    def create_new_study(self, directions: Sequence[StudyDirection], study_name: str | None = None) -> int:
        return super().create_new_study(directions, study_name)

    @partial(_patient, reads=True)
    def get_trial(self, trial_id: int) -> FrozenTrial:
        return super().get_trial(trial_id)

    @partial(_patient, reads=True)
    def get_all_trials(self, *args: Any, **kwargs: Any) -> list[FrozenTrial]:
        return super().get_all_trials(*args, **kwargs)

    @_patient
    def set_study_user_attr(self, study_id: int, key: str, value: Any) -> None:
        super().set_study_user_attr(study_id, key, value)

    @_patient
    def set_study_system_attr(self, study_id: int, key: str, value: Any) -> None:
        with self._transaction() as connection:
            row = {"study_id": study_id, "key": key, "value_json": json.dumps(value)}
            connection.execute(_upsert(models.StudySystemAttributeModel, connection.dialect.name), row)

    @_patient
    def create_new_trial(self, study_id: int, template_trial: FrozenTrial | None = None) -> int:
        if template_trial is None:
            return super().create_new_trial(study_id)
        row = {
            "study": study_id,
            "study_id": study_id,
            "state": template_trial.state,
            "datetime_start": _utc(template_trial.datetime_start),
            "datetime_complete": _utc(template_trial.datetime_complete),
        }
        with self._transaction() as connection:
            trial_id: int = connection.execute(NEW_TRIAL, row).scalar_one()
            _write(connection, models.TrialValueModel, trial_id, _values(template_trial.values))
            _write(connection, models.TrialParamModel, trial_id, _params(template_trial))
            _write(connection, models.TrialUserAttributeModel, trial_id, _attributes(template_trial.user_attrs))
            _write(connection, models.TrialSystemAttributeModel, trial_id, _attributes(template_trial.system_attrs))
            _write(connection, models.TrialIntermediateValueModel, trial_id, _steps(template_trial.intermediate_values))
        return trial_id

    @_patient
    def set_trial_intermediate_value(self, trial_id: int, step: int, intermediate_value: float) -> None:
        with self._transaction() as connection:
            _write(connection, models.TrialIntermediateValueModel, trial_id, _steps({step: intermediate_value}))

    @_patient
    def set_trial_user_attr(self, trial_id: int, key: str, value: Any) -> None:
        with self._transaction() as connection:
            _write(connection, models.TrialUserAttributeModel, trial_id, _attributes({key: value}))

    @_patient
    def set_trial_system_attr(self, trial_id: int, key: str, value: Any) -> None:
        with self._transaction() as connection:
            _write(connection, models.TrialSystemAttributeModel, trial_id, _attributes({key: value}))

    @_patient
    def set_trial_state_values(self, trial_id: int, state: TrialState, values: Sequence[float] | None = None) -> bool:
        if state.is_finished():
            with self._transaction() as connection:
                row = {"trial": trial_id, "state": state, "datetime_complete": _utc(datetime.now())}
                if connection.execute(END_TRIAL, row).rowcount:
                    _write(connection, models.TrialValueModel, trial_id, _values(values))
                    return True
        return super().set_trial_state_values(trial_id, state, values)  # raises if no such trial is running


@cache
def _upsert(model: Any, dialect: str) -> Executable:
    """Build the statement that inserts a row, or replaces the table's row for the same trial or study and key."""
    table = model.__table__
    (unique,) = (each.columns for each in table.constraints if isinstance(each, UniqueConstraint))
    statement = (postgresql if dialect == "postgresql" else sqlite).insert(table)
    replaced = {c.name: statement.excluded[c.name] for c in table.columns if not c.primary_key and c.name not in unique}
    return statement.on_conflict_do_update(index_elements=list(unique), set_=replaced)


def _write(connection: Connection, model: Any, trial_id: int, rows: list[Row]) -> None:
    if rows:
        statement = _upsert(model, connection.dialect.name)
        connection.execute(statement, [{"trial_id": trial_id, **row} for row in rows])


def _params(trial: FrozenTrial) -> list[Row]:
    return [
        {
            "param_name": name,
            "param_value": trial.distributions[name].to_internal_repr(value),
            "distribution_json": distribution_to_json(trial.distributions[name]),
        }
        for name, value in trial.params.items()
    ]


def _attributes(attributes: Mapping[str, Any]) -> list[Row]:
    return [{"key": key, "value_json": json.dumps(value)} for key, value in attributes.items()]


def _values(values: Sequence[float] | None) -> list[Row]:
    stored = map(models.TrialValueModel.value_to_stored_repr, values or ())
    return [{"objective": i, "value": value, "value_type": kind} for i, (value, kind) in enumerate(stored)]


def _steps(values: Mapping[int, float]) -> list[Row]:
    rows: list[Row] = []
    for step, given in values.items():
        value, kind = models.TrialIntermediateValueModel.intermediate_value_to_stored_repr(given)
        rows.append({"step": step, "intermediate_value": value, "intermediate_value_type": kind})
    return rows


def _utc(local: datetime | None) -> datetime | None:
    """Return a time as Optuna stores it: in UTC, but without a time zone."""
    return None if local is None else local.astimezone(UTC).replace(tzinfo=None)
