"""The storage against Optuna's own: the same rows, read by any Optuna."""

import math
import sqlite3

import numpy as np
import optuna
import pytest
from optuna.storages import RDBStorage
from optuna.trial import TrialState, create_trial

from nas.storage import open_storage
from nas.surrogate.drafts import draft
from studies import load as load_study

OWN = (
    "_set_trial_param_without_commit",
    "_set_trial_attr_without_commit",
    "_set_trial_intermediate_value_without_commit",
)


def record(storage):
    """One trial of everything that a search writes, some of it twice."""
    study = storage.create_new_study([optuna.study.StudyDirection.MAXIMIZE], "study")
    made = draft(load_study("hybrid").sample, np.random.default_rng(0))
    trial = storage.create_new_trial(
        study,
        create_trial(
            state=TrialState.RUNNING,
            params=made.params,
            distributions=made.distributions,
            user_attrs={"config": {"stages": [1, {"a": None}]}},
            system_attrs={"constraints:macs": 0.5},
        ),
    )
    for epoch, value in ((1, 0.5), (2, math.nan), (3, math.inf), (4, -math.inf), (1, 0.6)):
        storage.set_trial_intermediate_value(trial, epoch, value)
    for seconds in (1.0, 2.5):
        storage.set_trial_user_attr(trial, "seconds", seconds)
    storage.set_trial_system_attr(trial, "constraints:failed", 1.0)
    storage.set_trial_state_values(trial, TrialState.COMPLETE, [0.7])


def rows(path):
    """Everything in the database but its times."""
    with sqlite3.connect(path) as connection:
        tables = [name for (name,) in connection.execute("select name from sqlite_master where type = 'table'")]
        found = {}
        for table in sorted(tables):
            cursor = connection.execute(f"select * from {table}")
            kept = [i for i, column in enumerate(cursor.description) if not column[0].startswith("datetime")]
            found[table] = [tuple(row[i] for i in kept) for row in cursor]
    return found


def test_the_rows_are_those_that_optuna_writes(tmp_path):
    record(open_storage(tmp_path / "ours.db"))
    record(RDBStorage(f"sqlite:///{tmp_path / 'optuna.db'}"))
    ours, theirs = rows(tmp_path / "ours.db"), rows(tmp_path / "optuna.db")
    assert len(theirs["trial_params"]) > 10
    assert len(theirs["trial_intermediate_values"]) == 4
    for table in (ours, theirs):  # whatever the order in which they were inserted
        table["trial_params"] = sorted(row[1:] for row in table["trial_params"])
    assert ours == theirs


def test_numbers_count_on_from_what_another_optuna_wrote(tmp_path):
    path = tmp_path / "s.db"
    study = optuna.create_study(storage=RDBStorage(f"sqlite:///{path}"), study_name="study")
    study.add_trials([create_trial(value=float(i)) for i in range(3)])
    storage = open_storage(path)
    trial = storage.create_new_trial(storage.get_study_id_from_name("study"), create_trial(value=3.0))
    assert storage.get_trial(trial).number == 3
    assert [t.value for t in study.get_trials()] == [0.0, 1.0, 2.0, 3.0]


@pytest.mark.parametrize("name", OWN)
def test_optuna_still_writes_by_the_steps_that_are_replaced(name, tmp_path, monkeypatch):
    """Were they renamed, searches would stay right but become slow, and nothing else would tell."""
    storage, calls = open_storage(tmp_path / "s.db"), []
    step = getattr(storage, name)
    monkeypatch.setattr(storage, name, lambda *args, **kwargs: (calls.append(name), step(*args, **kwargs)))
    record(storage)
    assert hasattr(RDBStorage, name)
    assert calls
