"""Files and folders that are there whole or not at all, whenever the process is killed; and who may write them."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from nas.errors import UserError


@contextmanager
def replacing(folder: Path) -> Iterator[Path]:
    """An empty folder to be filled, which takes the place of `folder` in the end, or vanishes on an exception.

    At every moment the old folder or the new one is whole. Only if the process is killed between two renames is
    neither at its place; the next call puts the old one back.
    """
    scratch, old = (folder.with_name(f".{folder.name}.{what}") for what in (os.getpid(), "old"))
    _put_back(old, folder)
    shutil.rmtree(scratch, ignore_errors=True)
    scratch.mkdir(parents=True)
    try:
        yield scratch
        _readable_by_whom_the_umask_allows(scratch)
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


def _readable_by_whom_the_umask_allows(folder: Path) -> None:
    """safetensors writes its files for the owner alone."""
    umask = os.umask(0)
    os.umask(umask)
    for path in folder.rglob("*"):
        path.chmod((0o777 if path.is_dir() else 0o666) & ~umask)


def write_text(path: Path, text: str) -> None:
    scratch = path.with_name(f".{path.name}.{os.getpid()}")
    scratch.write_text(text, encoding="utf-8")
    os.replace(scratch, path)


def link(path: Path, target: str) -> None:
    """Make `path` a symbolic link to `target`, which is relative to its folder."""
    scratch = path.with_name(f".{path.name}.{os.getpid()}")
    scratch.unlink(missing_ok=True)
    scratch.symlink_to(target)
    os.replace(scratch, path)


@contextmanager
def exclusive(lock: Path, busy: str) -> Iterator[None]:
    """Hold the file `lock`, whose folder is made. UserError with the message `busy` where another process holds it."""
    lock.parent.mkdir(parents=True, exist_ok=True)
    held = FileLock(lock)
    try:
        held.acquire(timeout=0)
    except Timeout:
        raise UserError(busy) from None
    try:
        yield
    finally:
        held.release()
