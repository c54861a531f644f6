"""The numbers of a figure as CSV."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Sequence
from html import unescape
from typing import Any

import plotly.graph_objects as go


def numbers(figure: go.Figure) -> str:
    """One row per point or cell, with the axes' titles as headings; hover texts stand in the last column."""
    layout = figure.layout
    x, y = (_plain(axis.title.text or letter) for axis, letter in ((layout.xaxis, "x"), (layout.yaxis, "y")))
    out = io.StringIO()
    table = csv.writer(out, lineterminator="\n")
    table.writerow(["series", x, f"{y} " if y == x else y, "value", "error", "note"])
    for trace in figure.data:
        if trace.hoverinfo == "skip" and trace.mode == "markers":  # the ends of another's lines
            continue
        name = _plain(trace.name or "")
        hidden = bool(trace.yaxis) and layout[trace.yaxis.replace("y", "yaxis")].visible is False  # a place, no value
        table.writerows([name, x, "" if hidden else y, *rest] for x, y, *rest in _rows(trace))
    return out.getvalue()


def _rows(trace: Any) -> Iterator[Sequence[Any]]:
    x, y, text = trace.x, trace.y, trace.text  # once: plotly takes its time to find each
    if trace.type == "heatmap":
        for i, row in enumerate(trace.z):
            for k, z in enumerate(row):
                if z is not None and z == z:
                    yield _at(x, k), _at(y, i), z, "", _plain(_at(text[i], k))
        return
    errors = next((e.array for e in (trace.error_x, trace.error_y) if e is not None and e.array is not None), None)
    for k, (across, up) in enumerate(zip(x, y, strict=True)):
        if across is not None and up is not None:
            yield across, up, "", _at(errors, k), _plain(_at(text, k))


def _at(values: Any, k: int) -> Any:
    """The value at `k`; empty if there are none. A text may be one for all."""
    if values is None or isinstance(values, str):
        return values or ""
    return "" if values[k] is None else values[k]


def _plain(text: Any) -> str:
    return unescape(str(text).replace("<br>", "; ").replace("<b>", "").replace("</b>", ""))
