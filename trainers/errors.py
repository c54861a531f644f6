"""The error that users of `trainers` can mend."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager


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
