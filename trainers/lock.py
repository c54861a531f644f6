"""A lock between processes: a file with flock on it."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


def acquire(file: Path, *, wait: bool = True) -> int:
    """Lock the file, which is created, and return its descriptor. The lock falls when it is closed or the process ends.

    The holder may remove the file: whoever has opened it by then finds it gone, and makes a new one. BlockingIOError if
    another holds it and `wait` is false.
    """
    while True:
        held = os.open(file, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o666)
        try:
            fcntl.flock(held, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
            if os.fstat(held).st_nlink:
                return held
        except BaseException:
            os.close(held)
            raise
        os.close(held)


@contextmanager
def locked(file: Path, *, wait: bool = True) -> Iterator[None]:
    """Hold the lock `file`, as `acquire` does."""
    held = acquire(file, wait=wait)
    try:
        yield
    finally:
        os.close(held)
