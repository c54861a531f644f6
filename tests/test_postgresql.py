"""A study on a PostgreSQL server: the record of SQLite, one driver, and a password that nobody sees.

The engine's own tests run on the server too (test_engine.py, slow ones).
"""

import contextlib
import signal
import subprocess
import sys
import threading
import time

import optuna
import pytest
import sqlalchemy
from here import TOY
from optuna.trial import TrialState, create_trial
from sqlalchemy import make_url
from test_storage import record, told

import nas
from nas.__main__ import main as nas_main
from nas.commands.cli import main_of
from nas.commands.finding import find_results
from nas.errors import SearchFailed, UserError
from nas.reading import load_results
from nas.run_folder import RunFolder
from nas.searching import server as servers
from nas.searching.server import only_driver, place_study, recall, shown, without_password
from nas.searching.storage import explained, only_study, open_storage
from nas.searching.study import open_ledger

pytestmark = pytest.mark.usefixtures("own_cache")


def without_times(trials):
    for trial in trials:
        trial.datetime_start = trial.datetime_complete = None
    return told(trials)


def test_the_record_is_that_of_sqlite(postgresql, tmp_path):
    there, here = postgresql.place(tmp_path / "s"), tmp_path / "s.db"
    for path in (there, here):
        storage = open_storage(path)
        record(storage)
        storage.set_study_system_attr(1, "dashboard:1:note_str:0", "a \\ note\0")
        storage.set_study_system_attr(1, "dashboard:1:note_str:0", "another")
    one, other = only_study(there), only_study(here)
    assert len(one.trials) == 4
    assert without_times(one.get_trials()) == without_times(other.get_trials())
    assert one._storage.get_study_system_attrs(1) == other._storage.get_study_system_attrs(1)
    url = make_url(postgresql.address(there.read_text().split("/")[-1].split()[0], postgresql.password))
    plain = optuna.load_study(
        study_name="study", storage=url.set(drivername="postgresql+psycopg").render_as_string(hide_password=False)
    )
    assert without_times(plain.get_trials()) == without_times(one.get_trials()), "any Optuna can read it"
    assert all(
        t.datetime_start <= t.datetime_complete and abs(time.time() - t.datetime_start.timestamp()) < 600
        for t in plain.get_trials()
    )


def test_a_search_there_is_found_by_every_command_and_nothing_holds_the_password(
    postgresql, tmp_path, monkeypatch, without_ray, capfd
):
    secret, runs = postgresql.password, tmp_path / "runs"
    monkeypatch.delenv("PGPASSWORD")
    address = postgresql.address(postgresql.database("template1"), secret)
    monkeypatch.setattr("sys.argv", ["nas", "run", f"--storage={address}"])
    place_study(RunFolder(tmp_path / "early"), address, "toy")
    with pytest.raises(UserError, match=r"@127.0.0.1:\d+/\w+ holds no study yet; search first"):
        load_results(tmp_path / "early")
    results = nas.search(TOY, trials=5, runs=runs, storage=address)
    run = RunFolder(runs / "toy")
    assert sorted(p.name for p in run.path.glob("study*")) == ["study.url"]
    assert len(results.trials) == 5
    assert nas.search(TOY, trials=6, runs=runs, quiet=True).counts()["running"] == 0, "the folder remembers it"
    assert len(load_results(run.path).trials) == len(load_results(run.address).trials) == 6
    words = ["--study", "toy", "--runs", str(runs)]
    for command in ("report", "tables"):
        assert main_of(command, words) == 0
    elsewhere = ["--study", "toy", "--runs", str(tmp_path / "elsewhere"), "--storage", address]
    assert main_of("report", elsewhere) == 0
    assert len(load_results(tmp_path / "elsewhere" / "toy").trials) == 6
    held = [path for path in tmp_path.rglob("*") if path.is_file() and secret.encode() in path.read_bytes()]
    assert not held
    said = capfd.readouterr()
    assert f"@127.0.0.1:{postgresql.port}/" in said.out
    assert secret not in said.out + said.err


def test_a_typed_password_is_in_no_list_of_processes_and_a_wrong_one_is_one_line(postgresql, tmp_path):
    script = "import sys; from pathlib import Path; from nas.commands.cli import run_command\n" + (
        "def show(argv):\n"
        "    import os\n"
        "    from nas.searching.server import without_password\n"
        "    without_password(argv[1])\n"
        "    print(Path('/proc/self/cmdline').read_text().replace(chr(0), ' '), os.environ['PGPASSWORD'])\n"
        "    return 0\n"
        "sys.exit(run_command(show))"
    )
    (tmp_path / "typed.py").write_text(script)
    address = postgresql.address("anything", "other-word-9")
    done = subprocess.run(
        [sys.executable, tmp_path / "typed.py", "--storage", address], capture_output=True, text=True, check=True
    )
    command, password = done.stdout.rsplit(maxsplit=1)
    assert password == "other-word-9"
    assert password not in command
    assert postgresql.address("anything") in command

    words = [sys.executable, "-m", "nas.report", "--study", "toy", "--runs", tmp_path, "--storage", address]
    refused = subprocess.run(words, capture_output=True, text=True)
    assert refused.returncode == 2
    assert refused.stderr.count("\n") == 1
    assert "password authentication failed" in refused.stderr
    assert "other-word-9" not in refused.stdout + refused.stderr


@pytest.mark.parametrize("program", [["-m", "nas", "report"], ["/bin/nas", "report"], ["-m", "nas.report"]])
def test_every_way_to_start_a_command_hides_a_typed_password(program, monkeypatch):
    started = []

    def execv(path, words):
        started.extend(words)
        raise SystemExit

    monkeypatch.setenv("PGPASSWORD", "")
    monkeypatch.setattr("os.execv", execv)
    words = ["--study", "toy", "--storage=postgresql://me:other-word-9@host/db"]
    monkeypatch.setattr(sys, "orig_argv", ["python", *program, *words])
    monkeypatch.setattr(sys, "argv", ["x", *program[2 if program[0] == "-m" else 1 :], *words])
    with pytest.raises(SystemExit):
        main_of("report") if program[-1] == "nas.report" else nas_main()
    assert started == ["python", *program, "--study", "toy", "--storage=postgresql://me@host/db"]
    assert servers.os.environ["PGPASSWORD"] == "other-word-9"
    started.clear()
    monkeypatch.setattr(sys, "orig_argv", ["python", *program, "--storage=postgres://me:other-word-9@host/db"])
    with pytest.raises(SystemExit):
        main_of("report") if program[-1] == "nas.report" else nas_main()
    assert started == ["python", *program, "--storage="], "an address that will be refused"


def test_what_is_no_address_is_refused_without_showing_it(tmp_path, monkeypatch):
    monkeypatch.setenv("PGPASSWORD", "")
    for address in ("mysql://me:secret@host/db", "postgresql://me:secret@host", "secret", "postgresql://me:secret@h:x/d",
                    "postgresql://me@host/db?sslpassword=secret"):  # fmt: skip
        with pytest.raises(UserError, match=r"postgresql://user@host/database") as error:
            without_password(address)
        assert "secret@" not in str(error.value)
        assert "=secret" not in str(error.value)
    assert without_password("postgresql://me:a%40b@host:5433/db?sslmode=require") == (
        "postgresql://me@host:5433/db?sslmode=require"
    )
    assert servers.os.environ["PGPASSWORD"] == "a@b"
    assert shown("--storage=postgresql://me:x@host/db") == "--storage=postgresql://me@host/db"
    assert shown("--storage=postgresql://me:x@host") == "--storage="
    assert shown("--storage=postgres://me:x@host/db") == "--storage="
    assert shown("--storage=postgresql://me:se@cret@host/db") == "--storage="
    with pytest.raises(UserError, match="write one in a password as %40"):
        without_password("postgresql://me:se@cret@host/db")
    assert shown("postgresql.md") == "postgresql.md"
    run = RunFolder(tmp_path)
    open_storage(run.database)
    with pytest.raises(UserError, match=r"study.db, not on a server"):
        place_study(run, "postgresql://me@host/db", "toy")


def test_a_folder_keeps_its_server_and_learns_none_that_does_not_answer(postgresql, tmp_path):
    run = RunFolder(tmp_path / "toy")
    with pytest.raises(UserError, match=r"cannot open postgresql://nas@127.0.0.1:1/"):
        place_study(run, f"postgresql://nas:{postgresql.password}@127.0.0.1:1/studies", "toy")
    assert not run.path.exists()
    there, other = (postgresql.address(postgresql.database()) for _ in range(2))
    place_study(run, there, "toy")
    place_study(run, there, "toy")
    with pytest.raises(UserError, match=f"its study 'toy' at {there}; leave --storage out"):
        place_study(run, other, "toy")


def test_a_mistyped_study_leaves_nothing_behind_and_one_that_others_made_is_not_taken_over(postgresql, tmp_path):
    address = postgresql.address(postgresql.database())
    place_study(RunFolder(tmp_path / "toy"), address, "toy")
    study = optuna.create_study(study_name="toy", storage=open_storage(RunFolder(tmp_path / "toy").database))
    study.add_trial(create_trial(value=1.0))
    with pytest.raises(UserError, match=r"has no study 'tyo'; it has toy"):
        find_results("tyo", tmp_path, None, address)
    assert not (tmp_path / "tyo").exists()
    with pytest.raises(UserError, match=r"was searched with other .* give this search a database of its own"):
        open_ledger(RunFolder(tmp_path / "toy").database, TOY)


def test_a_second_search_on_another_machine_waits_its_turn(postgresql, tmp_path, without_ray):
    address = postgresql.address(postgresql.database())
    place_study(RunFolder(tmp_path / "a" / "toy"), address, "toy")
    holder = subprocess.Popen(
        [
            sys.executable,
            "-c",
            "import sys, time; from pathlib import Path; from nas.searching.server import only_driver\n"
            "with only_driver(Path(sys.argv[1])): print('held', flush=True); time.sleep(600)",
            RunFolder(tmp_path / "a" / "toy").address,
        ],
        stdout=subprocess.PIPE,
    )
    assert holder.stdout.readline() == b"held\n"
    with pytest.raises(UserError, match="another search drives the study 'toy' at postgresql://nas@"):
        nas.search(TOY, trials=2, runs=tmp_path / "b", storage=address, quiet=True)
    holder.send_signal(signal.SIGKILL)
    holder.communicate()
    for _ in range(50):  # until the server has noticed
        with contextlib.suppress(UserError), only_driver(RunFolder(tmp_path / "b" / "toy").address):
            break
        time.sleep(0.1)
    else:
        pytest.fail("the lock of a killed search stays")


def test_a_search_takes_its_lock_again_after_a_restart_and_from_a_session_that_it_has_lost(postgresql, tmp_path):
    psycopg = pytest.importorskip("psycopg")
    path = postgresql.place(tmp_path / "s", "toy")
    database = recall(path)[0].split("/")[-1]
    with only_driver(path) as guard:
        storage = open_ledger(path, TOY, guard=guard)._storage
        postgresql.stop("immediate")
        postgresql.start()
        storage.set_study_user_attr(1, "written", 1)  # and so connected again
        with pytest.raises(UserError, match="another search drives the study 'toy'"), only_driver(path):
            pass
        holders = "FROM pg_stat_activity JOIN pg_locks USING (pid) WHERE locktype = 'advisory'"
        ((name, key),) = postgresql.sql(database, f"SELECT application_name, objid {holders}")
        address = postgresql.address(database, postgresql.password)
        with psycopg.connect(address, application_name=name, autocommit=True) as lost:
            postgresql.sql(database, f"SELECT pg_terminate_backend(pid) {holders}")
            lost.execute("SELECT pg_advisory_lock(%s::bigint)", [key])
            storage.engine.dispose()
            storage.set_study_user_attr(1, "written", 2)
            with pytest.raises(psycopg.OperationalError):
                lost.execute("SELECT 1")
    assert only_study(path).user_attrs["written"] == 2
    with only_driver(path):
        pass


def test_a_search_that_lost_its_lock_to_another_writes_nothing(postgresql, tmp_path):
    path = postgresql.place(tmp_path / "s", "toy")
    with only_driver(path) as guard:
        ledger = open_ledger(path, TOY, guard=guard)
        postgresql.stop("immediate")
        postgresql.start()
        with only_driver(path), pytest.raises(SearchFailed, match="another search drives the study 'toy'"):
            ledger.study.set_user_attr("written", 1)
    assert "written" not in only_study(path).user_attrs


def test_a_search_whose_idle_session_was_ended_alone_notices_before_it_writes(postgresql, tmp_path, monkeypatch):
    """As a time limit of idle sessions or a router on the way does it. The session that writes lives on."""
    monkeypatch.setattr(servers, "AGAIN", 0.0)
    path = postgresql.place(tmp_path / "s", "toy")
    database = recall(path)[0].split("/")[-1]
    with only_driver(path) as guard:
        ledger = open_ledger(path, TOY, guard=guard)
        ledger.study.set_user_attr("before", 1)
        holders = "FROM pg_stat_activity JOIN pg_locks USING (pid) WHERE locktype = 'advisory'"
        postgresql.sql(database, f"SELECT pg_terminate_backend(pid) {holders}")
        with only_driver(path), pytest.raises(SearchFailed, match="another search drives the study 'toy'"):
            ledger.study.set_user_attr("written", 1)
        ledger.study.set_user_attr("after", 1)
    assert {"before", "after"} < only_study(path).user_attrs.keys()
    assert "written" not in only_study(path).user_attrs


def test_a_search_may_begin_as_another_ends_before_the_server_has_noticed_the_end_of_its_session(
    postgresql, tmp_path, monkeypatch
):
    path = postgresql.place(tmp_path / "s", "toy")
    monkeypatch.setattr(sqlalchemy.Engine, "dispose", lambda self: None)
    for _ in range(2):
        with only_driver(path):
            pass


def test_a_server_that_is_started_again_is_waited_for_and_one_that_is_gone_is_one_line(
    postgresql, tmp_path, monkeypatch, capsys
):
    path = postgresql.place(tmp_path / "s")
    storage = open_storage(path)
    record(storage)
    running = storage.create_new_trial(1, create_trial(state=TrialState.RUNNING))
    postgresql.stop("immediate")
    starter = threading.Timer(1.0, postgresql.start)
    starter.start()
    storage.set_trial_intermediate_value(running, 1, 0.5)
    storage.set_trial_state_values(running, TrialState.COMPLETE, [0.5])
    starter.join()
    assert storage.get_trial(running).intermediate_values == {1: 0.5}
    assert len(only_study(path).trials) == 5
    assert capsys.readouterr().err.count("the study's database does not answer; waiting 600 s for it\n") == 1

    monkeypatch.setattr("nas.searching.writing.PATIENCE", 0.2)
    postgresql.stop("immediate")
    try:
        with pytest.raises(SearchFailed, match=r"postgresql://nas@.*see that its server runs"), explained(path):
            storage.set_trial_user_attr(1, "seconds", 1.0)
        with pytest.raises(UserError, match=r"cannot open postgresql://nas@.*check the address"):
            only_study(path)
    finally:
        postgresql.start()
