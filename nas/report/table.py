"""The best trials, for the end of a run."""

from __future__ import annotations

import optuna
from rich import box
from rich.table import Table

from nas.report.data import Search, Trial, read
from nas.report.words import count, duration, memory, objective_name, si, value


def headings(search: Search) -> list[str]:
    return ["trial", objective_name(search.objective), "architecture", "params", "MACs", "epochs", "time", "memory"]


def cells(trial: Trial) -> list[str]:
    """One trial's row below `headings`."""
    return [
        str(trial.number), value(trial.value), trial.description or "–", si(trial.parameters), si(trial.macs),
        str(trial.epochs), duration(trial.seconds), memory(trial.peak_memory_mb),
    ]  # fmt: skip


def top_table(study: optuna.Study, k: int = 5) -> Table:
    """The `k` best trials among those COMPLETE at full budget. ValueError for a study that nas.run did not make."""
    search = read(study)
    best = search.ranked()[:k]
    complete = f"the best of {count(search.counts()['complete'], 'trial')} at" if best else "no trial has reached"
    title = f"{search.name}: {complete} the full {search.rungs[-1]} epochs"
    table = Table(title=title, title_justify="left", box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 2, 0, 0))
    for heading in headings(search):
        words = heading == "architecture"
        table.add_column(heading, justify="left" if words else "right", overflow="fold", no_wrap=not words)
    for trial in best:
        table.add_row(*cells(trial))
    return table
