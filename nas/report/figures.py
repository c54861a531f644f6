"""The figures of the report, drawn from plain values."""

from __future__ import annotations

import math
from collections.abc import Sequence
from html import escape

import numpy as np
import plotly.graph_objects as go
from numpy.typing import NDArray
from plotly.colors import sample_colorscale

from nas.report import thinning
from nas.report.data import Incumbent, Mixers
from nas.report.effects import Effect, Factor
from nas.report.matters import MainEffects
from nas.report.noise import above_chance
from nas.report.style import SHADES, empty_figure
from nas.results import Results
from nas.trials import Trial
from nas.words import COSTS, beside, duration, level, objective_name, plus_minus, si, value

BUDGETS = ["#a3adba", "#7aa5de", "#2b6fd3"]  # from the lowest rung to the full budget
BEST, FAILED = "#e8710a", "#cf3f4f"
HIGHLIGHTS = ["#e8710a", "#1b9e77", "#c2569b", "#7a5fd0", "#b08a00"]  # the top five
FEW = [[0.0, "rgba(128, 136, 148, .16)"], [1.0, "rgba(128, 136, 148, .16)"]]
FEWEST_IN_CELL = 3  # trials; the median of fewer gets no colour
SHOWN = 12  # hyperparameters whose effects are shown


def budget_colours(rungs: Sequence[int]) -> dict[int, str]:
    """A colour per rung. The full budget always has the strongest."""
    steps = np.linspace(0, 1, len(rungs)) if len(rungs) > 1 else [1.0]
    return dict(zip(rungs, sample_colorscale(BUDGETS, list(steps)), strict=True))


def budget_name(results: Results, rung: int) -> str:
    return f"full budget ({rung} epochs)" if rung == results.rungs[-1] else f"{rung} epochs"


def history(results: Results, best: Incumbent) -> go.Figure:
    """Each trial at the highest rung it reached, the best full-budget value so far as a line, failures on the edge."""
    figure = empty_figure("trial", objective_name(results.objective))
    _by_rung(figure, results, [t.number for t in results.trained])
    if len(best.numbers):
        last = max(t.number for t in results.trained)
        figure.add_scatter(
            x=[*best.numbers, last], y=[*best.values, best.values[-1]], mode="lines", name="best full budget so far",
            line={"shape": "hv", "color": BEST, "width": 2}, hoverinfo="skip", zorder=-1,
        )  # fmt: skip
    failed = [t for t in results.trained if t.state == "failed"]
    if failed:
        figure.add_scatter(
            x=[t.number for t in failed], y=[0.02] * len(failed), yaxis="y2", mode="markers", name="failed",
            marker={"symbol": "x-thin", "size": 9, "line": {"width": 2, "color": FAILED}},
            text=[f"trial {t.label} failed after {t.epochs} epochs<br>{escape(t.error[:90])}" for t in failed],
            hovertemplate="%{text}<extra></extra>",
        )  # fmt: skip
        figure.update_layout(yaxis2={"overlaying": "y", "range": [0, 1], "visible": False, "fixedrange": True})
    return figure


def learning_curves(results: Results, highlighted: Sequence[Trial]) -> go.Figure:
    """The curve of each trial, with a dot at the end of incomplete ones; `highlighted` ones, best first, in colour.

    Of many trials, some are drawn.
    """
    figure = empty_figure("epoch", objective_name(results.objective))
    colours = budget_colours(results.rungs)
    marked, drawn = {t.number for t in highlighted}, thinning.curves(results)
    groups = {
        "pruned": ([t for t in drawn if t.state == "pruned"], "#8b98a8", 0.75),
        "failed": ([t for t in drawn if t.state == "failed"], FAILED, 0.7),
        "not yet ended": ([t for t in drawn if t.state in ("running", "paused")], "#8f86c9", 0.7),
        "complete": (
            [t for t in drawn if t.state == "complete" and t.number not in marked], colours[results.rungs[-1]], 0.6
        ),
    }  # fmt: skip
    for name, (trials, colour, opacity) in groups.items():
        if not trials:
            continue
        x: list[int | None] = []
        y: list[float | None] = []
        text: list[str] = []
        for trial in trials:
            x += [*trial.curve, None]
            y += [*trial.curve.values(), None]
            text += [f"trial {trial.label}, {trial.state}<br>{escape(trial.architecture)}"] * (len(trial.curve) + 1)
        figure.add_scatter(
            x=x, y=y, mode="lines", name=name, legendgroup=name, line={"color": colour, "width": 1}, opacity=opacity,
            text=text, hovertemplate="epoch %{x}: %{y:.5g}<br>%{text}<extra></extra>",
        )  # fmt: skip
        if name != "complete":
            figure.add_scatter(
                x=[t.epochs for t in trials], y=[t.curve[t.epochs] for t in trials], mode="markers", legendgroup=name,
                showlegend=False, marker={"color": colour, "size": 5}, hoverinfo="skip",
            )  # fmt: skip
    for colour, trial in zip(HIGHLIGHTS, highlighted, strict=False):
        figure.add_scatter(
            x=list(trial.curve), y=list(trial.curve.values()), mode="lines", name=f"trial {trial.label}",
            line={"color": colour, "width": 2.5}, text=[_hover(results, trial)] * len(trial.curve),
            hovertemplate="epoch %{x}: %{y:.5g}<br>%{text}<extra></extra>",
        )  # fmt: skip
    for rung in results.rungs[:-1]:
        figure.add_vline(x=rung, line={"dash": "dot", "width": 1, "color": "#8b95a1"})
    if results.rungs[-1] <= 20:
        figure.update_xaxes(dtick=1 if results.rungs[-1] <= 12 else 2)
    return figure


def main_effects(results: Results, found: MainEffects) -> go.Figure:
    """A dot with its interval for each hyperparameter, filled if it is decided; the most certain on top."""
    shown = found.each[:SHOWN][::-1]
    figure = empty_figure(f"change in {objective_name(results.objective)}", "", height=110 + 26 * len(shown))
    figure.add_scatter(
        x=[e.mean for e in shown], y=[e.name for e in shown], mode="markers", showlegend=False,
        marker={"color": BUDGETS[2], "size": 8, "symbol": ["circle" if e.decided else "circle-open" for e in shown]},
        error_x={"array": [e.half for e in shown], "thickness": 1.5, "width": 3, "color": BUDGETS[2]},
        text=[f"{escape(e.worse)} → {escape(e.better)}" for e in shown],
        hovertemplate="%{y}: %{text}<br>%{x:+.3g}<extra></extra>",
    )  # fmt: skip
    figure.update_yaxes(showgrid=False, ticks="", automargin=True, fixedrange=True)
    figure.update_xaxes(zeroline=True, zerolinecolor="#8b95a1", zerolinewidth=1.5)
    return figure


def effects(results: Results, factors: Sequence[Factor]) -> go.Figure:
    """For each factor a line with its name and reference, and below it a dot with its interval for each other level."""
    labels: list[str] = []
    lines: list[tuple[int, str, Effect]] = []
    for factor in factors:
        names = " + ".join(factor.names)
        labels.append(f"<b>{escape(names)}</b> against {escape(level(factor.reference))}")
        for effect in factor.effects:
            lines.append((len(labels), f"{names}: {level(effect.level)}", effect))
            labels.append(escape(level(effect.level)))
    figure = empty_figure(f"difference in {objective_name(results.objective)}", "", height=110 + 25 * len(labels))
    for name, colour, symbol, shift in (("upright", BUDGETS[2], "circle", -0.16), ("turned", BEST, "diamond", 0.16)):
        shown = [(y, at, d) for y, at, e in lines if (d := getattr(e, name)) is not None]
        if shown:
            figure.add_scatter(
                x=[d.mean for _, _, d in shown], y=[y + shift for y, _, _ in shown], mode="markers", name=name,
                marker={
                    "color": colour, "size": 8,
                    "symbol": [symbol if d.differs else f"{symbol}-open" for _, _, d in shown],
                },
                error_x={"array": [d.half for _, _, d in shown], "thickness": 1.5, "width": 3, "color": colour},
                text=[
                    f"{escape(at)}, {name}: {plus_minus(d.mean, d.half, sign=True)}, n = {d.pairs}"
                    + ("" if d.p is None else f", p = {d.p:.2g} after Holm's correction")
                    for _, at, d in shown
                ],
                hovertemplate="%{text}<extra></extra>",
            )  # fmt: skip
    figure.update_xaxes(zeroline=True, zerolinecolor="#8b95a1", zerolinewidth=1.5)
    figure.update_yaxes(
        tickvals=list(range(len(labels))), ticktext=labels, range=[len(labels) - 0.4, -0.6], showgrid=False, ticks="",
        automargin=True, fixedrange=True,
    )  # fmt: skip
    return figure


def mixer_map(results: Results, mixers: Mixers) -> go.Figure:
    """The median at the lowest rung as colour and number, above its spread and the number of trials; the best first."""
    figure = empty_figure("", "", height=60 + 58 * len(mixers.mixers))
    text = np.full(mixers.count.shape, "", dtype=object)
    hover = text.copy()
    for cell in zip(*np.nonzero(mixers.count), strict=True):
        n, median = int(mixers.count[cell]), float(mixers.median[cell])
        low, high = float(mixers.low[cell]), float(mixers.high[cell])
        spread = f"±{(high - low) / 2:.2g}<br>" if n > 1 else ""
        text[cell] = f"<b>{value(median, 3)}</b><br>{spread}n = {n}"
        hover[cell] = f"median {value(median)}, quartiles {value(low)} and {value(high)}, n = {n}"
    few = (mixers.count > 0) & ((mixers.count < FEWEST_IN_CELL) | at_chance(results, mixers))
    for shown, scale in ((~few, SHADES), (few, FEW)):
        figure.add_heatmap(
            z=np.where(shown, mixers.median, np.nan), x=mixers.places, y=mixers.mixers, xgap=3, ygap=3,
            hoverongaps=False, text=np.where(shown, text, ""), texttemplate="%{text}", textfont={"size": 11},
            customdata=hover, hovertemplate="%{y}, %{x}<br>%{customdata}<extra></extra>",
            colorscale=scale, reversescale=not results.maximize, showscale=False,
        )  # fmt: skip
    figure.update_layout(margin={"t": 36, "b": 8})
    figure.update_xaxes(side="top", showgrid=False, ticks="", fixedrange=True)
    figure.update_yaxes(autorange="reversed", showgrid=False, ticks="", fixedrange=True, automargin=True)
    return figure


def at_chance(results: Results, mixers: Mixers) -> NDArray[np.bool_]:
    """The cells whose median is not above chance by more than the noise of the validation images."""
    return np.array([[not np.isnan(m) and not above_chance(results, float(m)) for m in row] for row in mixers.median])


def trade_off(results: Results, front: Sequence[Trial], cost: str) -> go.Figure:
    """Objective against cost (log axis): each trial at its highest rung, and the full-budget Pareto front by cost."""
    figure = empty_figure(COSTS[cost], objective_name(results.objective))
    sizes = [math.nan if getattr(t, cost) is None else getattr(t, cost) for t in results.trained]
    _by_rung(figure, results, sizes)
    if front:
        best = front[-1].value
        largest = np.nanmax(sizes)
        figure.add_scatter(
            x=[*(getattr(t, cost) for t in front), largest], y=[*(t.value for t in front), best], mode="lines+markers",
            name="Pareto front, full budget", line={"shape": "hv", "color": BEST, "width": 2}, hoverinfo="skip",
            marker={"color": BEST, "size": [*[13] * len(front), 0]}, zorder=-1,
        )  # fmt: skip
    known = [s for s in sizes if s > 0]
    low, high = min(known), max(known)
    steps = (1,) if high > 50 * low else (1, 2, 5)
    ticks = [step * 10**power for power in range(12) for step in steps if low / 2 <= step * 10**power <= 2 * high]
    figure.update_xaxes(type="log", tickvals=ticks, ticktext=[si(tick) for tick in ticks])
    return figure


def _by_rung(figure: go.Figure, results: Results, x: Sequence[float]) -> None:
    """Add a set of points for every rung: the trials whose highest rung it is, faint below the full budget."""
    colours, shown = budget_colours(results.rungs), thinning.points(results)
    drawn = [(at, trial) for at, trial in zip(x, results.trained, strict=True) if trial.number in shown]
    for rung in results.rungs:
        full = rung == results.rungs[-1]
        points = [(at, trial) for at, trial in drawn if trial.rung == rung]
        if points:
            figure.add_scatter(
                x=[at for at, _ in points], y=[t.value for _, t in points], mode="markers",
                name=budget_name(results, rung),
                marker={"color": colours[rung], "size": 9 if full else 7, "opacity": 0.95 if full else 0.65},
                text=[_hover(results, t) for _, t in points], hovertemplate="%{y:.5g}<br>%{text}<extra></extra>",
            )  # fmt: skip


def _hover(results: Results, trial: Trial) -> str:
    reached = f"trial {trial.label}, {trial.state}, {trial.epochs} epochs"
    if other := beside(results.objective, trial.metrics):
        reached += f", {other}"
    cost = f"{si(trial.parameters)} parameters, {si(trial.macs)} MACs, {duration(trial.seconds)}"
    return f"{reached}<br>{escape(trial.architecture)}<br>{cost}"
