"""A progress bar on a terminal and one plain line elsewhere, both on stderr, because stdout is for results."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from trainers.plain import plain


@contextmanager
def progress_bar(task: str, total: int, show: bool = True) -> Iterator[Callable[[int], None]]:
    """Yield `advance(count)`, which any thread may call."""
    task = plain(task)  # it may hold the name of a folder
    if not show:
        yield lambda count: None
    elif not sys.stderr.isatty():
        print(task, file=sys.stderr, flush=True)
        yield lambda count: None
    else:
        columns = TextColumn("{task.description}", markup=False), BarColumn(), MofNCompleteColumn()
        with Progress(*columns, TimeRemainingColumn(), console=Console(stderr=True)) as bar:
            handle = bar.add_task(task, total=total)
            yield lambda count: bar.advance(handle, count)
