"""The history of a trial, one entry per epoch, as the study stores it, in short.

    {"columns": {"epoch": [1, 2], "train_loss": [1.21, 1.18], "auc": null}, "more": {"1": {"turned_auc": 0.7}}}

A column is a metric of every epoch, to seven digits. The objective has none: its values are in Optuna's own table. What
only some epochs have, such as the last, stands in `more`, by position.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from trainers.metrics import SYMMETRIC

Entry = Mapping[str, Any]


def packed(history: Sequence[Entry], objective: str) -> dict[str, Any]:
    """Return entries with the keys "epoch", `objective` and others as JSON data."""
    names = [name for name in (history[0] if history else ()) if all(name in entry for entry in history)]
    columns = {name: None if name == objective else [_short(entry[name]) for entry in history] for name in names}
    rest = [{name: _short(value) for name, value in entry.items() if name not in columns} for entry in history]
    return {"columns": columns, "more": {str(i): entry for i, entry in enumerate(rest) if entry}}


def unpacked(stored: Any, values: Mapping[int, float]) -> list[dict[str, Any]]:
    """Return the entries of a stored history; `values` are the objective's, by epoch.

    An epoch without a value is none: the search was killed before it recorded that. Earlier versions stored the entries
    themselves.
    """
    if isinstance(stored, list):
        return stored
    columns, more = stored["columns"], stored["more"]
    return [
        {name: values[epoch] if column is None else column[i] for name, column in columns.items()}
        | more.get(str(i), {})
        for i, epoch in enumerate(columns.get("epoch", ()))
        if epoch in values
    ]


def length(stored: Any) -> int:
    """The number of epochs of a stored history; 0 if there is none."""
    return len(stored["columns"].get("epoch", ()) if isinstance(stored, dict) else stored or ())


def _short(value: Any) -> Any:
    return float(f"{value:.7g}") if isinstance(value, float) else value


def record_of(history: list[dict[str, Any]], epochs: int, objective: str) -> dict[str, Any]:
    """The attributes of a trial that has been trained; a full training has `epochs`."""
    seconds = sum(m.get("seconds", 0.0) for m in history)
    memory = max((m.get("peak_memory_mb", 0.0) for m in history), default=0.0)
    record: dict[str, Any] = {"history": packed(history, objective), "seconds": seconds, "peak_memory_mb": memory}
    if history and history[-1]["epoch"] == epochs:  # by themselves too, where the dashboard shows them
        record |= {name: value for name, value in history[-1].items() if name.endswith(SYMMETRIC)}
    return record
