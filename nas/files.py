"""Write files and folders whole or not at all, even if the process is killed, and lock them."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from filelock import FileLock, Timeout

from nas.errors import UserError


@contextmanager
def replacing(folder: Path) -> Iterator[Path]:
    """Yield an empty folder to fill. It replaces `folder` at the end, or vanishes on an exception.

    The old folder or the new one is whole at every moment. If the process is killed between the two renames, `folder`
    is missing until the next call puts the old one back.
    """
    scratch, old = (folder.with_name(f".{folder.name}.{suffix}") for suffix in (os.getpid(), "old"))
    _put_back(old, folder)
    shutil.rmtree(scratch, ignore_errors=True)
    scratch.mkdir(parents=True)
    try:
        yield scratch
        _apply_umask(scratch)
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


def write_text(path: Path, text: str) -> None:
    """Write the file whole or not at all."""
    scratch = path.with_name(f".{path.name}.{os.getpid()}")
    scratch.write_text(text, encoding="utf-8")
    os.replace(scratch, path)


def link(path: Path, target: str) -> None:
    """Make `path` a symbolic link to `target`, relative to the folder of `path`."""
    scratch = path.with_name(f".{path.name}.{os.getpid()}")
    scratch.unlink(missing_ok=True)
    scratch.symlink_to(target)
    os.replace(scratch, path)


@contextmanager
def exclusive(lock: Path, busy: str) -> Iterator[None]:
    """Lock the file `lock` and create its folder. UserError with the message `busy` if another process holds it."""
    file_lock = FileLock(lock)
    try:
        lock.parent.mkdir(parents=True, exist_ok=True)
        file_lock.acquire(timeout=0)
    except Timeout:
        raise UserError(busy) from None
    except OSError as error:
        raise UserError(f"cannot write to {lock.parent} ({error.strerror}); name another folder or mend it") from error
    try:
        yield
    finally:
        file_lock.release()


@contextmanager
def scratch_folder(name: str) -> Iterator[Path]:
    """A temporary folder. Those that killed processes of ours have left behind are removed."""
    for left in Path(tempfile.gettempdir()).glob(f"{name}-[0-9]*-*"):
        with suppress(OSError):  # another user's, or another process removes it
            if left.stat().st_uid == os.getuid() and not _alive(int(left.name.split("-")[-2])):
                shutil.rmtree(left)
    with tempfile.TemporaryDirectory(prefix=f"{name}-{os.getpid()}-") as folder:
        yield Path(folder)


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True
