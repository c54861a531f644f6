"""Optuna's SQLite storage, with fewer questions to the database.

Optuna looks a trial up before each of its parameters, attributes and values, and the parameter's former uses as well:
most of what it costs to record a trial. The search is the only writer of its study, and its mirror in memory checks the
same, so here each is one statement. What is written is the same, and any Optuna reads it.
"""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import Any

import optuna
import sqlalchemy.event
import sqlalchemy.exc
from optuna.distributions import BaseDistribution, distribution_to_json
from optuna.exceptions import StorageInternalError
from optuna.storages import RDBStorage
from optuna.storages._rdb import models
from sqlalchemy.dialects.sqlite import Insert, insert
from sqlalchemy.orm import Session


def open_storage(path: Path) -> RDBStorage:
    """The SQLite storage at `path`: a minute's patience with locks, and no disk flush for every single write.

    A write-ahead log with synchronous=NORMAL survives a killed process; a power cut loses at most the last moments.
    """
    storage = _Storage(f"sqlite:///{path}", engine_kwargs={"connect_args": {"timeout": 60}})

    @sqlalchemy.event.listens_for(storage.engine, "connect")
    def _(connection: Any, _record: Any) -> None:
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute("PRAGMA synchronous=NORMAL")

    storage.engine.dispose()  # so that the connection made by the constructor is opened again, with the pragmas
    return storage


def open_existing(path: Path) -> tuple[RDBStorage, list[str]]:
    """The storage in the file `path`, and the names of its studies. ValueError where it is no study database."""
    try:
        storage = open_storage(path)
        return storage, optuna.get_all_study_names(storage)
    except (sqlalchemy.exc.SQLAlchemyError, StorageInternalError, RuntimeError) as error:
        what = type(error).__name__
        raise ValueError(f"{path} is no study database ({what}): move it away, or name another") from error


class _Storage(RDBStorage):
    """The three steps that Optuna composes its writes of; should it call them otherwise one day, its own take over."""

    def _set_trial_param_without_commit(
        self,
        session: Session,
        trial_id: int,
        param_name: str,
        param_value_internal: float,
        distribution: BaseDistribution,
        previous_distribution: BaseDistribution | None = None,
    ) -> None:
        values = {"param_value": param_value_internal, "distribution_json": distribution_to_json(distribution)}
        session.add(models.TrialParamModel(trial_id=trial_id, param_name=param_name, **values))

    def _set_trial_attr_without_commit(
        self, session: Session, model_cls: Any, trial_id: int, key: str, value: Any
    ) -> None:
        session.execute(
            _upsert(model_cls, "key", "value_json"), {"trial_id": trial_id, "key": key, "value_json": json.dumps(value)}
        )

    def _set_trial_intermediate_value_without_commit(
        self, session: Session, trial_id: int, step: int, intermediate_value: float
    ) -> None:
        model = models.TrialIntermediateValueModel
        stored, kind = model.intermediate_value_to_stored_repr(intermediate_value)
        row = {"trial_id": trial_id, "step": step, "intermediate_value": stored, "intermediate_value_type": kind}
        session.execute(_upsert(model, "step", "intermediate_value", "intermediate_value_type"), row)


@cache
def _upsert(model: Any, key: str, *values: str) -> Insert:
    """Insert a row, or replace `values` in that of the same trial and `key`; made once, so that it is compiled once."""
    statement = insert(model)
    replaced = {name: statement.excluded[name] for name in values}
    return statement.on_conflict_do_update(index_elements=["trial_id", key], set_=replaced)
