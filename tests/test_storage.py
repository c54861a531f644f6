"""The storage against Optuna's own: the same rows, read by any Optuna."""

import math
import sqlite3
import time
from datetime import datetime

import numpy as np
import optuna
import pytest
from optuna.exceptions import UpdateFinishedTrialError
from optuna.storages import RDBStorage
from optuna.trial import TrialState, create_trial

from nas.searching.drafts import draft
from nas.searching.storage import open_storage
from studies import load as load_study

OWN = (
    "create_new_trial",
    "set_trial_intermediate_value",
    "set_trial_user_attr",
    "set_trial_system_attr",
    "set_trial_state_values",
)


def record(storage):
    """A trial of everything that a search writes, some of it twice, then one for each other way to end."""
    study = storage.create_new_study([optuna.study.StudyDirection.MAXIMIZE], "study")
    made = draft(load_study("hybrid").sample, np.random.default_rng(0))
    parameters = {"params": made.params, "distributions": made.distributions}
    trial = storage.create_new_trial(
        study,
        create_trial(
            state=TrialState.RUNNING,
            **parameters,
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
    for state, values in ((TrialState.PRUNED, [-math.inf]), (TrialState.FAIL, None)):
        trial = storage.create_new_trial(study, create_trial(state=TrialState.RUNNING, **parameters))
        storage.set_trial_state_values(trial, state, values)
    ended = {"values": [0.1], "intermediate_values": {2: 0.2, 4: math.inf}, "user_attrs": {"skipped": "too large"}}
    storage.create_new_trial(study, create_trial(state=TrialState.PRUNED, **parameters, **ended))


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


def times(path):
    """When each trial began and ended, as it stands in the database."""
    with sqlite3.connect(path) as connection:
        found = connection.execute("select datetime_start, datetime_complete from trials order by trial_id")
        return [time for row in found for time in row]


def test_the_rows_are_those_that_optuna_writes(tmp_path):
    record(open_storage(tmp_path / "ours.db"))
    record(RDBStorage(f"sqlite:///{tmp_path / 'optuna.db'}"))
    ours, theirs = rows(tmp_path / "ours.db"), rows(tmp_path / "optuna.db")
    assert len(theirs["trial_params"]) > 10
    assert len(theirs["trial_intermediate_values"]) == 6
    assert ours == theirs


def test_times_are_those_that_optuna_writes_wherever_the_clock_stands(tmp_path, monkeypatch):
    monkeypatch.setenv("TZ", "Asia/Kathmandu")
    time.tzset()
    try:
        record(open_storage(tmp_path / "ours.db"))
        record(RDBStorage(f"sqlite:///{tmp_path / 'optuna.db'}"))
    finally:
        monkeypatch.undo()
        time.tzset()
    ours, theirs = times(tmp_path / "ours.db"), times(tmp_path / "optuna.db")
    assert len(ours) == 8
    for one, other in zip(ours, theirs, strict=True):
        assert abs((datetime.fromisoformat(one) - datetime.fromisoformat(other)).total_seconds()) < 60


def test_numbers_count_on_from_what_another_optuna_wrote(tmp_path):
    path = tmp_path / "s.db"
    study = optuna.create_study(storage=RDBStorage(f"sqlite:///{path}"), study_name="study")
    study.add_trials([create_trial(value=float(i)) for i in range(3)])
    storage = open_storage(path)
    trial = storage.create_new_trial(storage.get_study_id_from_name("study"), create_trial(value=3.0))
    assert storage.get_trial(trial).number == 3
    assert [t.value for t in study.get_trials()] == [0.0, 1.0, 2.0, 3.0]


def test_each_study_of_a_database_counts_its_own_trials(tmp_path):
    storage = open_storage(tmp_path / "s.db")
    studies = [storage.create_new_study([optuna.study.StudyDirection.MAXIMIZE], name) for name in ("one", "other")]
    made = [storage.create_new_trial(studies[i], create_trial(value=0.0)) for i in (0, 1, 0, 1, 1)]
    assert [storage.get_trial(trial).number for trial in made] == [0, 0, 1, 1, 2]


def test_what_no_search_does_is_answered_as_by_optuna(tmp_path):
    storage = open_storage(tmp_path / "s.db")
    study = storage.create_new_study([optuna.study.StudyDirection.MAXIMIZE], "study")
    ended = storage.create_new_trial(study, create_trial(value=0.5))
    with pytest.raises(UpdateFinishedTrialError):
        storage.set_trial_state_values(ended, TrialState.PRUNED, [0.6])
    assert storage.get_trial(ended).value == 0.5
    with pytest.raises(KeyError):
        storage.set_trial_state_values(ended + 1, TrialState.COMPLETE, [0.6])
    waiting = storage.create_new_trial(study, create_trial(state=TrialState.WAITING))
    assert storage.set_trial_state_values(waiting, TrialState.RUNNING)
    assert not storage.set_trial_state_values(waiting, TrialState.RUNNING), "somebody else has begun it"
    assert storage.get_trial(storage.create_new_trial(study)).state == TrialState.RUNNING


@pytest.mark.parametrize("name", OWN)
def test_a_search_writes_without_the_calls_that_are_replaced(name, tmp_path, monkeypatch):
    """Fell one back on Optuna's, or were it renamed, searches would stay right but become slow: nothing else tells."""
    monkeypatch.setattr(RDBStorage, name, lambda *args, **kwargs: pytest.fail("Optuna's own was called"))
    record(open_storage(tmp_path / "s.db"))
