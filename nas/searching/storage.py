"""Optuna's SQLite storage with fewer database queries.

Optuna makes an object of each row. Before it writes a parameter, attribute or value, it looks up the trial, and for a
parameter also its former uses. That is most of the cost of recording a trial. The search is the only writer of its
study, and its ledger knows its trials, so here each call is one transaction with one statement per table. Nothing is
looked up first, so writing to an ended or unknown trial is not refused. What is written is the same, and any Optuna
can read it.
"""

from __future__ import annotations

import json
import logging
import sqlite3
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from datetime import UTC, datetime
from functools import cache, wraps
from pathlib import Path
from typing import Any, ParamSpec, TypeVar
from urllib.parse import quote, urlencode

import optuna
import sqlalchemy.event
import sqlalchemy.exc
from optuna.distributions import distribution_to_json
from optuna.exceptions import StorageInternalError
from optuna.storages import RDBStorage
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState
from sqlalchemy import URL, Connection, UniqueConstraint, bindparam, func, select, update
from sqlalchemy.dialects.sqlite import Insert, insert

from nas.errors import SearchFailed, UserError
from nas.searching.optuna_private import models

P = ParamSpec("P")
R = TypeVar("R")
Row = Mapping[str, Any]
TRIALS: Any = models.TrialModel.__table__
PAST = TRIALS.alias()
# Statements are built once, so that they are compiled once. A trial's number counts the study's earlier trials.
NEW_TRIAL = insert(TRIALS).values(
    number=select(func.count()).select_from(PAST).where(PAST.c.study_id == bindparam("study")).scalar_subquery()
)
AT_ONCE, PATIENCE = 10.0, 600.0  # seconds to wait for another program's lock: in SQLite, which hears no signal; in all
STUDY_TABLES = {"studies", "trials", "trial_params", "trial_values", "alembic_version"}
REMEDIES = {
    "locked": "another program holds a lock on it (a browser of databases, a backup); close it",
    "full": "make room on its disk",
    "readonly": "make it writable",
}
END_TRIAL = update(TRIALS).where(TRIALS.c.trial_id == bindparam("trial"), TRIALS.c.state == TrialState.RUNNING)


def open_storage(path: Path) -> RDBStorage:
    """Open the SQLite storage at `path`, or create it. It waits minutes to write while another program holds a lock.

    It does not flush every write to the disk. A write-ahead log with synchronous=NORMAL survives a killed process; a
    power cut loses at most the last moments.
    """
    storage = StudyStorage(_url(str(path)), engine_kwargs={"connect_args": {"timeout": AT_ONCE}})

    @sqlalchemy.event.listens_for(storage.engine, "connect")
    def _(connection: Any, _record: Any) -> None:
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute("PRAGMA synchronous=NORMAL")

    storage.engine.dispose()  # the constructor has connected without the pragmas; connect again
    return storage


@contextmanager
def quiet_optuna() -> Iterator[None]:
    """Silence Optuna, which would announce every study that it creates."""
    before = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    logging.getLogger("alembic").setLevel(logging.ERROR)
    try:
        yield
    finally:
        optuna.logging.set_verbosity(before)


def _url(database: str, **query: str) -> str:
    """The URL of an SQLite file, whatever characters its name has."""
    return URL.create("sqlite", database=database, query=query).render_as_string()


def open_reading(path: Path) -> tuple[RDBStorage, list[str]]:
    """Return the storage in the file `path`, which is only read, and the names of its studies.

    UserError if it is no study database: nothing is written to the files of other programs.
    """
    wanted = path.absolute()
    for how in ({"mode": "ro"}, {"mode": "ro", "immutable": "1"}):  # a log on a read-only disk can only be left out
        address = f"file:{quote(str(wanted))}?{urlencode(how)}"
        try:
            with closing(sqlite3.connect(address, uri=True, timeout=AT_ONCE)) as connection:
                tables = {name for (name,) in connection.execute("SELECT name FROM sqlite_master")}
            break
        except sqlite3.OperationalError as error:
            reason = error
        except sqlite3.DatabaseError as error:
            raise UserError(f"{path} is no study database ({error}); move it away or name another file") from error
    else:
        raise UserError(f"{path} cannot be read ({reason}); check its permissions and those of its folder") from reason
    if not tables >= STUDY_TABLES:
        raise UserError(f"{path} is a database of something else; move it away or name another file")
    url = _url(f"file:{quote(str(wanted))}", uri="true", **how)
    try:
        storage = RDBStorage(url, {"connect_args": {"timeout": AT_ONCE}}, skip_table_creation=True)
        return storage, optuna.get_all_study_names(storage)
    except RuntimeError as error:  # of another version of Optuna
        raise UserError(f"{path}: {error}".replace("$STORAGE_URL", _url(str(path)))) from error
    except (sqlalchemy.exc.SQLAlchemyError, StorageInternalError) as error:
        raise UserError(f"{path} is damaged ({_first_line(error)}); restore a copy, or move it away") from error


@contextmanager
def explained(path: Path) -> Iterator[None]:
    """Turn the errors of a database that cannot be written to, or not any more, into a `SearchFailed` of one line."""
    try:
        yield
    except (sqlalchemy.exc.DatabaseError, StorageInternalError) as error:
        reason = _first_line(error)
        remedy = next((what for word, what in REMEDIES.items() if word in reason), "look at its disk and permissions")
        raise SearchFailed(f"cannot write to {path} ({reason}): {remedy}, then run the same command again") from error


def _first_line(error: BaseException) -> str:
    """What SQLite said, without the statement and the layers around."""
    while error.__cause__ is not None:
        error = error.__cause__
    return str(getattr(error, "orig", None) or error).splitlines()[0]


def only_study(path: Path) -> optuna.Study:
    """Return the one study in the database at `path`, for reading. UserError if there is none, or more than one."""
    storage, names = open_reading(path)
    if len(names) != 1:
        raise UserError(f"{path} holds the studies {', '.join(names) or '(none)'}; expected exactly one")
    return optuna.load_study(study_name=names[0], storage=storage)


def _patient(write: Callable[P, R]) -> Callable[P, R]:
    """Repeat a transaction while another program holds a lock. The workers train their epochs to the end meanwhile."""

    @wraps(write)
    def call(*args: P.args, **kwargs: P.kwargs) -> R:
        begin, said = time.monotonic(), False
        while True:
            try:
                return write(*args, **kwargs)
            except (sqlalchemy.exc.OperationalError, StorageInternalError) as error:
                if "locked" not in _first_line(error) or time.monotonic() - begin >= PATIENCE:
                    raise
                if not said:
                    print(f"the study is locked by another program; waiting {PATIENCE:.0f} s for it", file=sys.stderr)
                    said = True

    return call


class StudyStorage(RDBStorage):
    """Replaces the five calls that record a search's trials; those that describe its study are Optuna's, but patient.

    All others, and other ways to create a trial, are Optuna's.
    """

    @_patient
    def create_new_study(self, directions: Sequence[StudyDirection], study_name: str | None = None) -> int:
        return super().create_new_study(directions, study_name)

    @_patient
    def set_study_user_attr(self, study_id: int, key: str, value: Any) -> None:
        super().set_study_user_attr(study_id, key, value)

    @_patient
    def set_study_system_attr(self, study_id: int, key: str, value: Any) -> None:
        super().set_study_system_attr(study_id, key, value)

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
        with self.engine.begin() as connection:
            trial_id: int = connection.execute(NEW_TRIAL, row).lastrowid
            _write(connection, models.TrialValueModel, trial_id, _values(template_trial.values))
            _write(connection, models.TrialParamModel, trial_id, _params(template_trial))
            _write(connection, models.TrialUserAttributeModel, trial_id, _attributes(template_trial.user_attrs))
            _write(connection, models.TrialSystemAttributeModel, trial_id, _attributes(template_trial.system_attrs))
            _write(connection, models.TrialIntermediateValueModel, trial_id, _steps(template_trial.intermediate_values))
        return trial_id

    @_patient
    def set_trial_intermediate_value(self, trial_id: int, step: int, intermediate_value: float) -> None:
        with self.engine.begin() as connection:
            _write(connection, models.TrialIntermediateValueModel, trial_id, _steps({step: intermediate_value}))

    @_patient
    def set_trial_user_attr(self, trial_id: int, key: str, value: Any) -> None:
        with self.engine.begin() as connection:
            _write(connection, models.TrialUserAttributeModel, trial_id, _attributes({key: value}))

    @_patient
    def set_trial_system_attr(self, trial_id: int, key: str, value: Any) -> None:
        with self.engine.begin() as connection:
            _write(connection, models.TrialSystemAttributeModel, trial_id, _attributes({key: value}))

    @_patient
    def set_trial_state_values(self, trial_id: int, state: TrialState, values: Sequence[float] | None = None) -> bool:
        if state.is_finished():
            with self.engine.begin() as connection:
                row = {"trial": trial_id, "state": state, "datetime_complete": _utc(datetime.now())}
                if connection.execute(END_TRIAL, row).rowcount:
                    _write(connection, models.TrialValueModel, trial_id, _values(values))
                    return True
        return super().set_trial_state_values(trial_id, state, values)  # raises if no such trial is running


@cache
def _upsert(model: Any) -> Insert:
    """Build the statement that inserts a row of a trial, or replaces the table's row for the same trial and key."""
    table = model.__table__
    (unique,) = (each.columns for each in table.constraints if isinstance(each, UniqueConstraint))
    statement = insert(table)
    replaced = {c.name: statement.excluded[c.name] for c in table.columns if not c.primary_key and c.name not in unique}
    return statement.on_conflict_do_update(index_elements=list(unique), set_=replaced)


def _write(connection: Connection, model: Any, trial_id: int, rows: list[Row]) -> None:
    if rows:
        connection.execute(_upsert(model), [{"trial_id": trial_id, **row} for row in rows])


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
