"""Renew the report while a search runs, seldom enough to cost the search nothing."""

from __future__ import annotations

import time
from collections.abc import Callable

EVERY, SHARE = 180.0, 0.01  # seconds between two renewals, at least; of the search's time, at most


class Renewal:
    """Call it often: it calls `write` when it is time. A failure is said once and does not end a search of days."""

    def __init__(
        self, write: Callable[[], object], say: Callable[[str], None], clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._write, self._say, self._clock = write, say, clock
        self._due = clock() + EVERY

    def __call__(self) -> None:
        begin = self._clock()
        if begin < self._due:
            return
        try:
            self._write()
        except Exception as error:
            self._say(f"report not renewed until the search ends ({type(error).__name__}: {error})")
            self._due = float("inf")
            return
        end = self._clock()
        self._due = end + max(EVERY, (end - begin) / SHARE)
