"""Recognises trials that are copies of another one under other parameters.

A window larger than the image, a choice that has no effect, a number that is rounded: such configurations differ, and
their networks do not. A search for better ones finds many around a good one, since all of them look as good.
"""

from __future__ import annotations


class Copies:
    """Two trials are copies of each other for as long as their values are equal after every epoch, two at least."""

    def __init__(self) -> None:
        self._like: dict[int, int] = {}  # trial -> the first trial that had its values so far
        self._first: dict[tuple[int | None, int, float], int] = {}  # like whom until then, epoch, value -> first trial

    def report(self, trial: int, epoch: int, value: float) -> None:
        """Take the values of a trial in the order of its epochs; from 1 if it begins again."""
        before = self._like.get(trial) if epoch > 1 else None
        self._like[trial] = self._first.setdefault((before, epoch, value), trial)

    def is_copy(self, trial: int, epoch: int) -> bool:
        """Whether another trial had the same values up to `epoch`, which this one has just reported."""
        return epoch > 1 and self._like[trial] != trial

    def forget(self, trial: int) -> None:
        self._like.pop(trial, None)
        self._first = {key: first for key, first in self._first.items() if first != trial}
