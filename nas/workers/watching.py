"""Notice that Ray itself has died: it would leave its driver waiting for minutes, without a word."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from nas.workers.stopping import Stop

EVERY = 1.0  # seconds
GRACE = 15.0  # seconds for the work to end by itself; Ray may never return


@contextmanager
def watched(dead: Callable[[], str], stop: Stop) -> Iterator[None]:
    """Ask `stop` once `dead()` names something. If the block has not ended soon after that, end the process."""
    over = threading.Event()

    def watch() -> None:
        while not over.wait(EVERY):
            if name := dead():
                stop.ask(f"stopped: Ray has lost {name}", 1)
                if not over.wait(GRACE):
                    os.write(2, f"{stop.reason}; run the same command again to resume\n".encode())
                    os._exit(stop.code)
                return

    thread = threading.Thread(target=watch, name="watch Ray", daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()
