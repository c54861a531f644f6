"""Write files and folders whole or not at all, even if the process is killed, and lock them."""

from __future__ import annotations

import json
import math
import os
import platform
import re
import shutil
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from nas.errors import UserError
from trainers.errors import NO_ROOM
from trainers.lock import acquire, locked

HERE = re.sub(r"\W", "_", platform.node())[:32] or "_"
"""This machine or container, in the names of half-written files."""
ABANDONED = 86400.0  # seconds
BESIDE = ("-wal", "-shm", "-journal")
"""How the files end that SQLite keeps beside a database."""


class Busy(UserError):
    """Another process holds the lock."""


@contextmanager
def replacing(folder: Path) -> Iterator[Path]:
    """Yield an empty folder to fill. It replaces `folder` at the end, or vanishes on an exception.

    The old folder or the new one is whole at every moment. If the process is killed between the two renames, `folder`
    is missing until the next call puts the old one back.
    """
    scratch, old = _scratch(folder), folder.with_name(f".{folder.name}.old")
    _put_back(old, folder)
    shutil.rmtree(scratch, ignore_errors=True)
    scratch.mkdir(parents=True)
    try:
        yield scratch
        _apply_umask(scratch)
        for file in scratch.rglob("*"):
            if file.is_file():
                to_disk(file)
        if folder.exists():
            os.replace(folder, old)
        os.replace(scratch, folder)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
        _put_back(old, folder)


def _put_back(old: Path, folder: Path) -> None:
    if old.exists() and not folder.exists():
        os.replace(old, folder)
    shutil.rmtree(old, ignore_errors=True)


def _apply_umask(folder: Path) -> None:
    """Give all files the usual permissions: safetensors lets only the owner read its own."""
    umask = os.umask(0)
    os.umask(umask)
    for path in folder.rglob("*"):
        path.chmod((0o777 if path.is_dir() else 0o666) & ~umask)


def _scratch(path: Path) -> Path:
    """A name beside `path` that no other process uses, here or on another machine."""
    return path.with_name(f".{path.name}.{os.getpid()}@{HERE}")


@contextmanager
def whole_file(path: Path) -> Iterator[Path]:
    """Yield where to write the file. It takes the place of `path` at the end, or vanishes on an exception."""
    scratch = _scratch(path)
    try:
        yield scratch
        to_disk(scratch)
        os.replace(scratch, path)
    except BaseException as error:
        for ending in ("", *BESIDE):
            scratch.with_name(scratch.name + ending).unlink(missing_ok=True)
        named = getattr(error, "filename", None)
        if isinstance(error, OSError) and (named == str(scratch) or (named is None and error.errno in NO_ROOM)):
            raise OSError(error.errno, error.strerror, str(path)) from error  # the file that its reader knows
        raise


def to_disk(file: Path) -> None:
    """Wait until the file is on the disk: a power cut may otherwise leave its new name and no contents."""
    with file.open("rb") as opened:
        os.fsync(opened.fileno())


def write_text(path: Path, text: str) -> None:
    """Write the file whole or not at all."""
    with whole_file(path) as scratch:
        scratch.write_text(text, encoding="utf-8", errors="backslashreplace")  # names of files are any bytes


def remove_left(folder: Path) -> None:
    """Remove what killed processes have left half-written in the folder and in those up to two levels below.

    Whether a process of another machine is alive is not known here: what it has not touched for a day is removed.
    """
    for path in [path for inside in ("", "*/", "*/*/") for path in folder.glob(f"{inside}.*.[0-9]*")]:
        found = re.fullmatch(rf"\..+\.(\d{{1,9}})(@\w+)?({'|'.join(BESIDE)})?", path.name)
        if not found:
            continue
        with suppress(FileNotFoundError):  # its process has just put it in its place
            here = found[2] in (None, f"@{HERE}")
            if not _alive(int(found[1])) if here else time.time() - path.stat().st_mtime > ABANDONED:
                shutil.rmtree(path) if path.is_dir() else path.unlink()


def read_json(path: Path) -> Any:
    """The contents of a JSON file that we wrote. UserError if it is damaged."""
    try:
        return json.loads(path.read_text())
    except ValueError as error:
        raise UserError(f"{path} is damaged ({error}); remove it, or put back a copy") from error


def write_json(path: Path, record: Mapping[str, Any]) -> None:
    """Write plain data whole or not at all, with null for numbers that are not finite, which JSON does not have."""
    write_text(path, json.dumps(_known(record), indent=1, allow_nan=False) + "\n")


def _known(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _known(each) for key, each in value.items()}
    if isinstance(value, tuple | list):
        return [_known(each) for each in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def link(path: Path, target: str) -> None:
    """Make `path` a symbolic link to `target`, relative to the folder of `path`."""
    scratch = _scratch(path)
    scratch.unlink(missing_ok=True)
    scratch.symlink_to(target)
    if path.is_dir() and not path.is_symlink():  # in a run that was copied with its links followed
        shutil.rmtree(path)
    os.replace(scratch, path)


def check_writable(path: Path, option: str) -> None:
    """Raise UserError unless a file can be written to `path`, the value of `option`."""
    folder = path.absolute().parent
    if not folder.is_dir():
        raise UserError(f"{option} is {path}, but there is no folder {folder}; make it first")
    if path.is_dir():
        raise UserError(f"{option} is {path}, which is a folder; name a file in it")
    scratch = _scratch(path)
    try:
        scratch.touch()
        scratch.unlink()
    except OSError as error:
        raise UserError(f"{option} is {path}, which cannot be written ({error.strerror}); name another file") from error


@contextmanager
def exclusive(lock: Path, busy: str) -> Iterator[None]:
    """Lock the file `lock` and create its folder. `Busy`, a UserError, with this message if another process holds it.

    What killed processes have left half-written is removed. If an exception ends the work before it has written
    anything, the lock and the folders created for it vanish.
    """
    folder = lock.parent
    try:
        made = [parent for parent in lock.parents if not parent.exists()]
        before = set() if made else {*folder.iterdir()}
    except OSError as error:
        raise UserError(f"cannot use {folder} ({error.strerror}); name another folder or mend it") from error
    try:
        held = _acquire(lock, busy)
        try:
            remove_left(folder)
            yield
        except BaseException:
            written = {*folder.iterdir()} - before - {lock}
            # Reading an SQLite file leaves two more.
            if lock not in before and all(path.name.endswith(BESIDE) for path in written):
                lock.unlink()  # while it is held
            raise
        finally:
            os.close(held)
    except BaseException:
        with suppress(OSError):  # not empty
            for parent in made:
                parent.rmdir()
        raise


def _acquire(lock: Path, busy: str) -> int:
    """Lock the file and return its descriptor, as `acquire` does, or raise `Busy` or another UserError."""
    try:
        lock.parent.mkdir(parents=True, exist_ok=True)
        return acquire(lock, wait=False)
    except BlockingIOError:
        raise Busy(busy) from None
    except OSError as error:
        raise UserError(f"cannot write to {lock.parent} ({error.strerror}); name another folder or mend it") from error


@contextmanager
def scratch_folder(name: str, place: Path | None = None) -> Iterator[Path]:
    """A folder in the temporary one, or in `place`. Those that killed processes of ours have left there are removed.

    A container or machine that shares `place` does not see the process: while it works, it holds a lock in the folder.
    """
    place = place or Path(tempfile.gettempdir())
    for left in place.glob(f"{name}-[0-9]*-*"):
        found = re.fullmatch(rf"{re.escape(name)}-(\d{{1,9}})-[^-]+", left.name)
        with suppress(OSError):  # another user's, or another process holds or removes it
            if found and left.stat().st_uid == os.getuid() and not _alive(int(found[1])):
                with locked(left / "lock", wait=False):
                    shutil.rmtree(left)
    # What a dying process still writes stays behind until the next call.
    made = tempfile.TemporaryDirectory(prefix=f"{name}-{os.getpid()}-", dir=place, ignore_cleanup_errors=True)
    with made as folder, locked(Path(folder) / "lock"):
        yield Path(folder)


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass  # another user's
    return True
