"""Pictures of one trial, as SVG for optuna-dashboard: its learning curve, and its answers after a full training."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

WIDTH, HEIGHT, LEFT, BELOW, EDGE = 420, 300, 62, 44, 14  # pixels
CELL, NAMES = 90, 110
LONGEST = 10  # letters of a class's name
BLUE = "#2b6fd3"


def pictures(
    history: Sequence[Mapping[str, float]], objective: str, answers: Mapping[str, Any] | None
) -> dict[str, str]:
    """SVG files by name. answers: as in nas/workers/answers.py."""
    curve = [(entry["epoch"], entry[objective]) for entry in history if objective in entry]
    found = {"learning-curve.svg": _axes(curve, "epoch", objective, lines=True)} if curve else {}
    if answers and "confusion" in answers:
        found["confusion.svg"] = _confusion(answers["classes"], answers["confusion"])
    elif answers:
        for quantity, (true, predicted) in zip(answers["quantities"], answers["points"], strict=True):
            name = "".join(c if c.isalnum() else "-" for c in quantity)
            points = list(zip(true, predicted, strict=True))
            found[f"predicted-{name}.svg"] = _axes(points, f"true {quantity}", "predicted", lines=False)
    return found


def _svg(width: float, height: float, content: str) -> str:
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" height="{height}" '
        f'font-family="system-ui, sans-serif" font-size="13" fill="#1c2430">'
        f'<rect width="{width}" height="{height}" fill="#fff"/>{content}</svg>'
    )


def _axes(points: Sequence[tuple[float, float]], x: str, y: str, *, lines: bool) -> str:
    """Points, joined by a line, or with the diagonal on which both coordinates are equal."""
    across, up = ([float(p[k]) for p in points] for k in (0, 1))
    if not lines:
        across_ends = up_ends = (min(*across, *up), max(*across, *up))
    else:
        across_ends, up_ends = (min(across), max(across)), (min(up), max(up))

    def place(value: float, ends: tuple[float, float], start: float, end: float) -> float:
        low, high = ends
        return start + (end - start) * ((value - low) / (high - low) if high > low else 0.5)

    def at(a: float, b: float) -> str:
        return f"{place(a, across_ends, LEFT, WIDTH - EDGE):.1f},{place(b, up_ends, HEIGHT - BELOW, EDGE):.1f}"

    drawn = [f'<path d="M{LEFT} {EDGE}V{HEIGHT - BELOW}H{WIDTH - EDGE}" fill="none" stroke="#97a3b2"/>']
    for k, value in enumerate(across_ends):
        anchor = "start" if k == 0 else "end"
        where = LEFT if k == 0 else WIDTH - EDGE
        drawn.append(f'<text x="{where}" y="{HEIGHT - BELOW + 17}" text-anchor="{anchor}">{value:.4g}</text>')
    for k, value in enumerate(up_ends):
        where = HEIGHT - BELOW if k == 0 else EDGE + 10
        drawn.append(f'<text x="{LEFT - 6}" y="{where}" text-anchor="end">{value:.4g}</text>')
    drawn.append(f'<text x="{(LEFT + WIDTH) / 2}" y="{HEIGHT - 8}" text-anchor="middle">{escape(x)}</text>')
    drawn.append(f'<text x="{LEFT + 8}" y="{EDGE + 10}">{escape(y)}</text>')
    if lines:
        path = " ".join(at(a, b) for a, b in points)
        drawn.append(f'<polyline points="{path}" fill="none" stroke="{BLUE}" stroke-width="2"/>')
    else:
        low, high = across_ends
        drawn.append(f'<polyline points="{at(low, low)} {at(high, high)}" fill="none" stroke="#97a3b2"/>')
    size, opacity = (3, 1) if lines else (2.5, 0.5)
    for a, b in points:
        cx, cy = at(a, b).split(",")
        drawn.append(f'<circle cx="{cx}" cy="{cy}" r="{size}" fill="{BLUE}" fill-opacity="{opacity}"/>')
    return _svg(WIDTH, HEIGHT, "".join(drawn))


def _confusion(classes: Sequence[str], counts: Sequence[Sequence[int]]) -> str:
    """Rows are true classes, columns predicted ones; a cell is as blue as its share of the row."""
    side = CELL * len(classes)
    drawn = [f'<text x="{NAMES + side}" y="16" text-anchor="end">predicted, from validation images</text>']
    for i, (name, row) in enumerate(zip(classes, counts, strict=True)):
        x, y = NAMES + CELL * i, 44 + CELL * i
        drawn.append(f'<text x="{x + CELL / 2}" y="36" text-anchor="middle">{_name(name)}</text>')
        drawn.append(f'<text x="{NAMES - 8}" y="{y + CELL / 2 + 5}" text-anchor="end">{_name(name)}</text>')
        for k, number in enumerate(row):
            share, left = number / max(sum(row), 1), NAMES + CELL * k
            middle = f'x="{left + CELL / 2}" text-anchor="middle"'
            drawn.append(
                f'<rect x="{left + 1}" y="{y + 1}" width="{CELL - 2}" height="{CELL - 2}" fill="{BLUE}" '
                f'fill-opacity="{0.06 + 0.54 * share:.2f}"/>'
                f'<text {middle} y="{y + CELL / 2 - 2}" font-weight="600">{share:.0%}</text>'
                f'<text {middle} y="{y + CELL / 2 + 16}">{number}</text>'
            )
    return _svg(NAMES + side + 10, 50 + side, "".join(drawn))


def _name(text: str) -> str:
    """A class's name, cut to the width of a cell; the whole is shown under the mouse."""
    short = text if len(text) <= LONGEST else f"{text[: LONGEST - 1]}…"
    return f"{escape(short)}<title>{escape(text)}</title>" if short != text else escape(text)
