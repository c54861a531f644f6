"""What is written whole or not at all, and read by whom the umask allows."""

import contextlib
import errno
import fcntl
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from nas.errors import UserError
from nas.files import HERE, exclusive, link, replacing, scratch_folder, whole_file, write_text
from nas.run_folder import run_folder


def test_a_folder_is_replaced_whole_or_not_at_all(tmp_path):
    for content, fails in (("old", False), ("new", True)):
        with contextlib.suppress(RuntimeError), replacing(tmp_path / "folder") as folder:
            (folder / "file").write_text(content)
            if fails:
                raise RuntimeError
    assert [p.name for p in tmp_path.iterdir()] == ["folder"]
    assert (tmp_path / "folder" / "file").read_text() == "old"


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt])
def test_a_file_is_written_whole_or_nothing_is_left_beside_it(tmp_path, error):
    """Nor what SQLite puts beside a database: a search whose study cannot be created leaves no folder."""
    lock = tmp_path / "run" / "lock"
    with contextlib.suppress(error), exclusive(lock, "busy"), whole_file(lock.with_name("study.db")) as scratch:
        for ending in ("", "-wal", "-shm", "-journal"):
            scratch.with_name(scratch.name + ending).write_text("half")
        raise error
    assert not list(tmp_path.iterdir())


def test_an_error_names_the_file_and_not_where_it_is_first_written(tmp_path):
    with pytest.raises(FileNotFoundError) as missing:
        write_text(tmp_path / "nowhere" / "page.html", "text")
    with pytest.raises(OSError, match="No space left") as full, whole_file(tmp_path / "page.html"):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))  # as a failing write has it: without a name
    with pytest.raises(OSError, match="No space left") as other, whole_file(tmp_path / "page.html"):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "/data/other.db")
    assert other.value.filename == "/data/other.db"
    assert missing.value.filename == str(tmp_path / "nowhere" / "page.html")
    assert full.value.filename == str(tmp_path / "page.html")


def test_the_old_folder_is_there_until_the_new_one_is(tmp_path, monkeypatch):
    """At each rename and removal the one or the other is at its place, or beside it, whole."""
    folder = tmp_path / "folder"
    with replacing(folder) as scratch:
        (scratch / "file").write_text("old")
    seen = []

    def watched(name):
        real = getattr(os, name)

        def call(*args, **kwargs):
            whole = [p.read_text() for p in tmp_path.glob("*/file")] + [p.read_text() for p in tmp_path.glob(".*/file")]
            seen.append("old" in whole or "new" in whole)
            return real(*args, **kwargs)

        return call

    for name in ("replace", "rmdir", "unlink"):
        monkeypatch.setattr(os, name, watched(name))
    with replacing(folder) as scratch:
        (scratch / "file").write_text("new")
    assert seen
    assert all(seen)
    assert (folder / "file").read_text() == "new"


def test_after_a_kill_between_the_renames_the_old_folder_comes_back(tmp_path, monkeypatch):
    folder = tmp_path / "folder"
    with replacing(folder) as scratch:
        (scratch / "file").write_text("old")
    os.replace(folder, tmp_path / ".folder.old")  # as a killed process leaves it
    with contextlib.suppress(RuntimeError), replacing(folder):
        raise RuntimeError
    assert (folder / "file").read_text() == "old"
    assert [p.name for p in tmp_path.iterdir()] == ["folder"]


@pytest.mark.parametrize("umask", [0o022, 0o077, 0o002])
def test_files_have_the_modes_that_the_umask_allows(tmp_path, umask):
    before = os.umask(umask)
    try:
        with replacing(tmp_path / "model") as scratch:
            save_file({"w": torch.ones(1)}, scratch / "model.safetensors")
            (scratch / "README.md").write_text("card")
        write_text(tmp_path / "page.html", "page")
    finally:
        os.umask(before)
    for path in (tmp_path / "model").iterdir():
        assert path.stat().st_mode & 0o777 == 0o666 & ~umask, path.name
    assert (tmp_path / "page.html").stat().st_mode & 0o777 == 0o666 & ~umask


def test_a_lock_that_another_process_holds_is_a_user_error_and_falls_with_the_process(tmp_path):
    lock = tmp_path / "lock"
    code = f"""
import time
from pathlib import Path
from nas.files import exclusive
from nas.run_folder import run_folder
with exclusive(Path({str(lock)!r}), "busy"):
    print("held", flush=True)
    time.sleep(60)
"""
    holder = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    assert holder.stdout.readline() == "held\n"
    with pytest.raises(UserError, match="another search is running"), exclusive(lock, "another search is running"):
        pass
    holder.send_signal(signal.SIGKILL)
    holder.wait()
    time.sleep(0.05)
    with exclusive(lock, "busy"):
        pass


def test_a_lock_that_its_holder_removes_is_not_held_by_whoever_had_opened_it(tmp_path, monkeypatch):
    """The holder fails, and removes it, between our opening of the file and our locking of it."""
    lock, locked = tmp_path / "lock", []

    def flock(held, how, real=fcntl.flock):
        if not locked:
            lock.unlink()
        locked.append(os.fstat(held).st_ino)
        real(held, how)

    monkeypatch.setattr("fcntl.flock", flock)
    with exclusive(lock, "busy"):
        assert len(locked) == 2
        assert lock.stat().st_ino == locked[1]


def test_what_killed_processes_left_half_written_goes_with_the_next_start(tmp_path):
    gone = subprocess.Popen(["true"])
    gone.wait()
    (tmp_path / "models").mkdir()
    left = [f".report.html.{gone.pid}", f".study.db.{gone.pid}@{HERE}", f".study.db.{gone.pid}@{HERE}-wal"]
    left.append(f".old.html.{gone.pid}@elsewhere")
    kept = [f".report.html.{os.getpid()}", "report.html", f"x.{gone.pid}", ".hidden.5.txt", f".t.{gone.pid}@elsewhere"]
    for name in (*left, *kept):
        (tmp_path / name).touch()
    os.utime(tmp_path / f".old.html.{gone.pid}@elsewhere", times=(time.time() - 90_000,) * 2)
    (tmp_path / "models" / f".trial-3.{gone.pid}").mkdir()
    with exclusive(tmp_path / "lock", "busy"):
        assert sorted(path.name for path in tmp_path.iterdir()) == sorted([*kept, "lock", "models"])
        assert not list((tmp_path / "models").iterdir())


@pytest.mark.parametrize("name", ["", ".", "..", "../x", "a/b", "/tmp/x", "n" * 300, "ä" * 120])
def test_a_name_that_is_no_folder_s_is_refused(name):
    with pytest.raises(UserError, match="expected the name of one folder"):
        run_folder("runs", name)


def test_a_folder_that_cannot_be_made_is_a_user_error_that_names_it(tmp_path):
    (tmp_path / "file").touch()
    with (
        pytest.raises(UserError, match=r"cannot write to .*file/x \(Not a directory\)"),
        exclusive(tmp_path / "file" / "x" / "lock", "busy"),
    ):
        pass


def test_the_scratch_folder_of_a_killed_process_goes_with_the_next_one(tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    code = """
import time
from nas.files import scratch_folder
with scratch_folder("nas-ray") as folder:
    (folder / "file").touch()
    print(folder, flush=True)
    time.sleep(60)
"""
    environment = {**os.environ, "TMPDIR": str(tmp_path)}
    killed = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True, env=environment)
    left = Path(killed.stdout.readline().strip())
    with scratch_folder("nas-ray") as folder:
        assert left.exists(), "its process is alive"
        assert sorted(tmp_path.iterdir()) == sorted([left, folder])
    killed.kill()
    killed.wait()
    with scratch_folder("nas-ray") as folder:
        assert list(tmp_path.iterdir()) == [folder]
    assert not list(tmp_path.iterdir())


def test_the_scratch_folder_of_a_live_process_in_another_container_stays(tmp_path, monkeypatch):
    monkeypatch.setattr("nas.files._alive", lambda pid: False)  # its number means nothing here
    with scratch_folder("nas-ray", tmp_path) as theirs:
        with scratch_folder("nas-ray", tmp_path) as ours:
            assert {*tmp_path.iterdir()} == {theirs, ours}
        assert list(tmp_path.iterdir()) == [theirs]


def test_a_link_takes_the_place_of_a_folder_that_a_copy_made_of_it(tmp_path):
    (tmp_path / "trial-1").mkdir()
    (tmp_path / "best").mkdir()
    (tmp_path / "best" / "old").touch()
    link(tmp_path / "best", "trial-1")
    assert (tmp_path / "best").resolve() == tmp_path / "trial-1"
