"""End the work early and cleanly: Ctrl-C, a batch system's signal, or the end of the time that was granted."""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from types import FrameType

from nas.errors import Stopped

# Batch systems send SIGTERM shortly before they kill, and SIGUSR1, if asked, early enough to end in peace.
TIME_IS_UP = "the time limit is reached"
CODES: dict[int, int] = {signal.SIGINT: 130, signal.SIGTERM: 143, signal.SIGUSR1: 0}

LONGEST = 1e8  # seconds, three years: clocks and locks take no limits far above
RESERVE = 30.0  # seconds of a time limit that are kept for stopping and the report, but at most a tenth of it


def deadline_of(time_limit: float | None) -> float | None:
    """When to stop so that everything has ended `time_limit` seconds from now, by the monotonic clock."""
    return None if time_limit is None else time.monotonic() + time_limit - min(RESERVE, time_limit / 10)


class Stop:
    """Why the work is to end before it is done, if it is. `deadline`: in seconds of the monotonic clock."""

    def __init__(self, deadline: float | None = None) -> None:
        self.deadline, self._asked = deadline, False
        self.reason, self.code = "stopped", CODES[signal.SIGINT]

    @property
    def asked(self) -> bool:
        if not self._asked and self.deadline is not None and time.monotonic() >= self.deadline:
            self.ask(TIME_IS_UP, 0)
        return self._asked

    def ask(self, reason: str, code: int) -> None:
        """End the work for this reason, unless there is one already."""
        if not self._asked:
            self._asked, self.reason, self.code = True, reason, code

    def error(self) -> Stopped:
        return Stopped(self.reason, self.code)


@contextmanager
def stopped_by_signals(stop: Stop) -> Iterator[None]:
    """Let Ctrl-C, SIGTERM and SIGUSR1 ask `stop`; a second Ctrl-C ends the process at once.

    Enter this after Ray has started, since Ray sets a handler of its own.
    """

    def handle(number: int, frame: FrameType | None) -> None:
        if number == signal.SIGINT and stop.asked:
            os.write(2, b"\nended at once; the study is safe\n")
            os._exit(CODES[signal.SIGINT])
        stop.ask("stopped" if number == signal.SIGINT else f"stopped by {signal.Signals(number).name}", CODES[number])
        print("stopping the workers ... (Ctrl-C again: at once)", file=sys.stderr, flush=True)

    with _handled(handle, CODES):
        yield


@contextmanager
def interrupting_signals() -> Iterator[None]:
    """Let SIGTERM and SIGUSR1 raise `Stopped`, as Ctrl-C raises KeyboardInterrupt: whatever is open is closed."""

    def handle(number: int, frame: FrameType | None) -> None:
        raise Stopped(f"stopped by {signal.Signals(number).name}", CODES[number])

    with _handled(handle, (signal.SIGTERM, signal.SIGUSR1)):
        yield


@contextmanager
def _handled(handle: Callable[[int, FrameType | None], None], numbers: Iterable[int]) -> Iterator[None]:
    """Let `handle` take these signals, and give them back; only the main thread can."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    kept = {number: signal.signal(number, handle) for number in numbers}
    try:
        yield
    finally:
        for number, handler in kept.items():
            signal.signal(number, handler)
