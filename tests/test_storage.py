"""The storage against Optuna's own: the same rows, read by any Optuna."""

import json
import math
import shutil
import sqlite3
import threading
import time
from contextlib import closing
from datetime import datetime

import numpy as np
import optuna
import pytest
import sqlalchemy
from optuna.exceptions import StorageInternalError, UpdateFinishedTrialError
from optuna.storages import RDBStorage
from optuna.trial import TrialState, create_trial

from nas.errors import SearchFailed, UserError
from nas.searching.drafts import draft
from nas.searching.optuna_private import brief
from nas.searching.reading import brief_trials
from nas.searching.storage import _shared, explained, file_system, only_study, open_storage
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


def told(trials):
    """All of the trials as text, in which nan is itself; attributes in any order, parameters in theirs."""
    return [json.dumps([vars(t), [*t.params], [*t.distributions]], sort_keys=True, default=repr) for t in trials]


def test_trials_are_read_as_optuna_reads_them(tmp_path):
    """Also those that go on while a study is open, and only one of them."""
    ours, theirs = open_storage(tmp_path / "s.db"), RDBStorage(f"sqlite:///{tmp_path / 's.db'}")
    record(ours)
    readers = [optuna.load_study(study_name="study", storage=storage) for storage in (ours, theirs)]
    running = ours.create_new_trial(1, create_trial(state=TrialState.RUNNING, user_attrs={"a": {"b": ["c", None]}}))
    ours.set_study_system_attr(1, "dashboard:1:note_ver", 1)
    for step in range(3):
        one, other = (reader.get_trials() for reader in readers)
        assert len(one) == 5
        assert told(one) == told(other)
        assert told([ours.get_trial(running)]) == told([theirs.get_trial(running)])
        ours.set_trial_intermediate_value(running, step, math.nan)
        if step == 1:
            ours.set_trial_state_values(running, TrialState.COMPLETE, [0.5])
    for states in ((TrialState.FAIL,), (TrialState.COMPLETE, TrialState.PRUNED)):
        assert told(ours.get_all_trials(1, states=states)) == told(theirs.get_all_trials(1, states=states))
        assert ours.get_n_trials(1, states) == theirs.get_n_trials(1, states)
    assert ours.get_n_trials(1) == theirs.get_n_trials(1) == 5
    assert ours.get_study_system_attrs(1) == theirs.get_study_system_attrs(1)
    for call in (ours.get_all_trials, ours.get_study_system_attrs):
        with pytest.raises(KeyError):
            call(2)
    with pytest.raises(KeyError):
        ours.get_trial(running + 1)


def test_what_a_search_reads_when_it_is_resumed_lacks_only_the_records_of_what_has_ended(tmp_path):
    storage = open_storage(tmp_path / "s.db")
    study = storage.create_new_study([optuna.study.StudyDirection.MAXIMIZE], "study")
    for state, value in ((TrialState.COMPLETE, 0.5), (TrialState.RUNNING, None)):
        long = {"nas:config": {"seed": 1}, "nas:history": [{"epoch": 1}], "constraints:macs": 0.5}
        storage.create_new_trial(study, create_trial(state=state, value=value, system_attrs=long))
    in_full = storage.get_all_trials(study)
    ended, running = brief_trials(storage, study)
    assert told([running]) == told([in_full[1]])
    assert ended.system_attrs == {"constraints:macs": 0.5}
    assert told([ended]) == told([brief(in_full[0])])
    assert in_full[0].system_attrs == long


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


@pytest.mark.parametrize("name", ["is it good?v=2", "a%20b", "a#b", "ä b", "file:x"])
def test_a_path_of_any_characters_names_the_file_itself(tmp_path, name):
    path = tmp_path / name / "study.db"
    path.parent.mkdir()
    record(open_storage(path))
    assert path.is_file()
    assert sorted(p.name for p in tmp_path.iterdir()) == [name]
    assert len(only_study(path).trials) == 4


def test_what_is_no_study_of_ours_is_refused_and_not_touched(tmp_path):
    with closing(sqlite3.connect(tmp_path / "notes.db")) as connection:
        connection.execute("CREATE TABLE notes (text)")
    (tmp_path / "text.db").write_text("no database at all " * 100)
    (tmp_path / "empty.db").touch()
    before = {path: path.read_bytes() for path in tmp_path.iterdir()}
    for path, says in (("notes.db", "something else"), ("text.db", "not a database"), ("empty.db", "something else")):
        with pytest.raises(UserError, match=says):
            only_study(tmp_path / path)
    assert {path: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_reading_a_study_changes_nothing_and_works_while_it_is_written(tmp_path):
    path = tmp_path / "study.db"
    record(open_storage(path))
    before = path.read_bytes()
    read = only_study(path)
    assert len(read.trials) == 4
    assert path.read_bytes() == before
    with pytest.raises(StorageInternalError):
        read.set_user_attr("note", "no")
    study = optuna.load_study(study_name=None, storage=open_storage(path))
    study.add_trial(create_trial(value=0.5))
    assert len(only_study(path).trials) == 5


def test_a_study_of_another_optuna_says_how_to_bring_it_up_to_date(tmp_path):
    path = tmp_path / "study.db"
    record(open_storage(path))
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("UPDATE alembic_version SET version_num = 'v2.6.0.a'")
    with pytest.raises(UserError, match=f"optuna storage upgrade --storage sqlite:///{path}"):
        only_study(path)


@pytest.mark.parametrize("name", [*OWN, "create_new_study", "set_study_user_attr", "set_study_system_attr"])
def test_a_write_waits_for_a_lock_and_says_so_once(name, tmp_path, monkeypatch, capsys):
    """Ten times as long as SQLite itself waits."""
    path = tmp_path / "study.db"
    monkeypatch.setattr("nas.searching.storage.AT_ONCE", 0.05)
    storage = open_storage(path)
    study = storage.create_new_study([optuna.study.StudyDirection.MAXIMIZE], "study")
    trial = storage.create_new_trial(study, create_trial(state=TrialState.RUNNING))
    words = {
        "create_new_trial": (study, create_trial(value=0.5)),
        "set_trial_intermediate_value": (trial, 1, 0.5),
        "set_trial_user_attr": (trial, "seconds", 1.0),
        "set_trial_system_attr": (trial, "constraints:failed", 1.0),
        "set_trial_state_values": (trial, TrialState.COMPLETE, [0.5]),
        "create_new_study": ([optuna.study.StudyDirection.MAXIMIZE], "another"),
        "set_study_user_attr": (study, "question", "why?"),
        "set_study_system_attr": (study, "metrics", ["auc"]),
    }
    other, begin = sqlite3.connect(path, isolation_level=None, check_same_thread=False), time.monotonic()
    other.execute("BEGIN IMMEDIATE")
    threading.Timer(0.5, lambda: (other.execute("ROLLBACK"), other.close())).start()
    before = rows(path)
    getattr(storage, name)(*words[name])
    assert time.monotonic() - begin >= 0.5
    assert rows(path) != before
    assert capsys.readouterr().err.count("the study is locked by another program; waiting 600 s for it\n") == 1


def test_a_lock_that_stays_and_a_full_disk_are_one_line_with_the_remedy(tmp_path, monkeypatch):
    path = tmp_path / "study.db"
    monkeypatch.setattr("nas.searching.writing.PATIENCE", 0.2)
    monkeypatch.setattr("nas.searching.storage.AT_ONCE", 0.1)
    storage = open_storage(path)
    record(storage)
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(SearchFailed, match=r"database is locked\): another program holds a lock"), explained(path):
            storage.set_trial_user_attr(1, "seconds", 1.0)
        other.execute("ROLLBACK")
    with storage.engine.connect() as connection:
        pages = connection.exec_driver_sql("PRAGMA page_count").scalar()

    @sqlalchemy.event.listens_for(storage.engine, "connect")
    def _(connection, _record):
        connection.execute(f"PRAGMA max_page_count={pages}")

    storage.engine.dispose()
    with pytest.raises(SearchFailed, match=r"full\): make room on its disk"), explained(path):
        storage.set_trial_user_attr(1, "large", "x" * 100_000)


def test_a_network_file_system_is_recognised_by_the_mount_that_holds_a_folder(tmp_path):
    mounts = tmp_path / "mounts"
    mounts.write_text(
        f"proc /proc proc rw 0 0\nserver:/a {tmp_path} nfs4 rw 0 0\n/dev/x {tmp_path}/own\\040disk ext4 rw 0 0\n"
    )
    assert file_system(tmp_path / "runs" / "night", mounts) == "nfs4"
    assert file_system(tmp_path / "own disk" / "night", mounts) == "ext4"
    assert file_system(tmp_path / "own disks", mounts) == "nfs4"
    assert file_system(tmp_path, tmp_path / "none") == ""


def test_on_a_network_file_system_there_is_no_log_in_shared_memory_and_one_line_says_so(tmp_path, monkeypatch, capsys):
    path = tmp_path / "study.db"
    local = open_storage(path)
    record(local)
    local.remove_session()
    local.engine.dispose()  # the log goes into the file
    monkeypatch.setattr("nas.searching.storage.file_system", lambda folder: "nfs4")
    monkeypatch.setattr("nas.searching.storage._shared", _shared.__wrapped__)
    there = tmp_path / "there"
    there.mkdir()
    shutil.copy(path, there)
    storage = open_storage(there / "study.db")
    storage.set_trial_user_attr(1, "seconds", 1.0)
    assert not [*there.glob("study.db-*")], "neither log nor memory beside it"
    assert storage.get_trial(1).user_attrs["seconds"] == 1.0
    assert len(only_study(there / "study.db").trials) == 4
    said = capsys.readouterr().err
    assert said.count("is on a network file system (nfs4): its study is written with a rollback journal") == 1
