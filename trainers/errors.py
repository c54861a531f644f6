"""The errors that users of `trainers` can mend."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from contextlib import contextmanager

NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
"""Numbers of an OSError: a full disk, or a limit on what a user may write."""


class TrainingError(ValueError):
    """Data, a task or a training that cannot be used as given; the message says what to do."""


@contextmanager
def named(what: str | None) -> Iterator[None]:
    """Begin the message of a TrainingError raised inside with `what`, if there is a name."""
    try:
        yield
    except TrainingError as error:
        if what is None:
            raise
        raise TrainingError(f"{what}: {error}") from error
