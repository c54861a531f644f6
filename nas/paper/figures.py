"""The figures of a study for a paper, in a column's width.

They are drawn by matplotlib, not by plotly as the pages are: plotly needs a browser to write PDF, and papers want fonts
embedded, sizes in points and no hover texts. It is an extra: pip install '.[paper]'.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from nas.errors import UserError, mendable
from nas.report.audit_pictures import chosen, colours, scaled
from nas.report.data import mixers
from nas.report.effects import effects as found_effects
from nas.report.figures import BEST, BUDGETS, FEWEST_IN_CELL, SHOWN, at_chance, budget_colours, budget_name
from nas.report.matters import main_effects
from nas.results import Results
from nas.retraining.retrained import of_today
from nas.words import COSTS, baseline_name, level, metric_name, numbered, objective_name, value
from trainers.data import Dataset

if TYPE_CHECKING:
    from matplotlib.figure import Figure

COLUMN = 3.4  # inches
FORMATS = ("svg", "pdf", "png")
STYLE: Any = {
    "font.size": 8, "axes.spines.top": False, "axes.spines.right": False, "axes.linewidth": 0.6,
    "legend.frameon": False, "legend.fontsize": 7, "xtick.major.width": 0.6, "ytick.major.width": 0.6,
    "figure.dpi": 150, "savefig.dpi": 300, "pdf.fonttype": 42, "svg.fonttype": "none", "svg.hashsalt": "nas",
    "figure.constrained_layout.use": True,
}  # fmt: skip
Draw = Callable[[Any, Any], bool]  # axes and a study or a record -> whether there was something to draw


def write_figures(results: Results, folder: Path) -> list[Path]:
    """Write every figure that the study has something for, in each format, and return the files."""
    drawn = figures(results)
    import matplotlib  # there is one: figures() has looked

    written = []
    with matplotlib.rc_context(STYLE):
        for name, figure in drawn.items():
            for ending in FORMATS:
                written.append(folder / f"{name}.{ending}")
                figure.savefig(written[-1], metadata={"Date": None} if ending == "svg" else None)
    return written


@mendable
def figures(results: Results) -> dict[str, Figure]:
    """The figures of a study by name, as matplotlib's: those for which it has something to draw.

    curves, matters (of a grid: effects), mixers, cost, and retrained after a retraining. UserError without matplotlib.
    """
    matplotlib = load_matplotlib()
    record = results.retraining()
    wanted: list[tuple[str, Draw, Any]] = [
        ("curves", curves, results), ("matters", matters, results), ("effects", effects, results),
        ("mixers", mixer_map, results), ("cost", cost, results),
        *([("retrained", retrained, record)] if record else []),
    ]  # fmt: skip
    drawn = {}
    with matplotlib.rc_context(STYLE):
        for name, draw, of in wanted:
            figure = matplotlib.figure.Figure(figsize=(COLUMN, 0.75 * COLUMN))
            if draw(figure.subplots(), of):
                drawn[name] = figure
    return drawn


@mendable
def sample_images(data: Dataset, columns: int = 6) -> Figure:
    """Draw training images of each class side by side, chosen at random but always the same. UserError without
    matplotlib."""
    matplotlib = load_matplotlib()
    rows = [(k, colours(chosen(data, k, columns), bool(data.channels))) for k in range(len(data.classes))]
    rows = [(k, images) for k, images in rows if len(images)]
    with matplotlib.rc_context(STYLE):
        figure = matplotlib.figure.Figure(figsize=(COLUMN * 2, COLUMN * 2 / columns * len(rows)), dpi=100)
        grid = figure.subplots(len(rows), columns, squeeze=False)
        for axes in grid.flat:
            axes.set(xticks=[], yticks=[], frame_on=False)
        for line, (k, images) in zip(grid, rows, strict=True):
            for axes, image in zip(line, images, strict=False):
                axes.imshow(scaled(image))
            if len(data.classes) > 1:
                line[0].set_ylabel(data.classes[k], parse_math=False)
    return figure


def unread(text: str) -> str:
    """Text in which matplotlib finds no formula."""
    return text.replace("$", r"\$")


def load_matplotlib() -> Any:
    try:
        import matplotlib.figure
    except ImportError:
        raise UserError("figures for a paper need matplotlib: pip install matplotlib") from None
    return matplotlib


def curves(axes: Any, results: Results) -> bool:
    """The learning curve of every trial; the best in colour."""
    drawn = [t for t in results.trained if t.curve]
    for trial in drawn:
        axes.plot(list(trial.curve), list(trial.curve.values()), color="#97a3b2", linewidth=0.5, alpha=0.6)
    if results.best is not None:
        best = results.best
        axes.plot(list(best.curve), list(best.curve.values()), color=BEST, linewidth=1.5, label=f"trial {best.label}")
        axes.legend()
    for rung in results.rungs[:-1]:
        axes.axvline(rung, color="#97a3b2", linewidth=0.5, linestyle=":")
    axes.set(xlabel="epoch", ylabel=unread(objective_name(results.objective)))
    axes.xaxis.get_major_locator().set_params(integer=True)
    return bool(drawn)


def matters(axes: Any, results: Results) -> bool:
    """The effect of each hyperparameter with its interval; filled where it is decided."""
    found = None if results.grid else main_effects(results)
    if found is None:
        return False
    shown = found.each[:SHOWN][::-1]
    for y, effect in enumerate(shown):
        face = BUDGETS[-1] if effect.decided else "white"
        axes.errorbar(
            effect.mean, y, xerr=effect.half, color=BUDGETS[-1], marker="o", markersize=3.5, markerfacecolor=face,
            linewidth=0.8,
        )  # fmt: skip
    axes.axvline(0, color="#1c2430", linewidth=0.6)
    axes.set_yticks(range(len(shown)), [unread(f"{e.name}\n{e.worse} → {e.better}") for e in shown], fontsize=5.5)
    axes.set_xlabel(unread(f"change in {objective_name(results.objective)}"))
    axes.figure.set_size_inches(COLUMN, 0.7 + 0.26 * len(shown))
    return True


def effects(axes: Any, results: Results) -> bool:
    """The effect of each level of a grid, upright and turned, with its interval; filled where it stands."""
    lines = [(f, e) for f in (found_effects(results) if results.grid else ()) for e in f.effects]
    for name, colour, shift in (("upright", BUDGETS[-1], 0.12), ("turned", BEST, -0.12)):
        shown = [(len(lines) - 1 - k + shift, d) for k, (_, e) in enumerate(lines) if (d := getattr(e, name))]
        for k, (y, d) in enumerate(shown):
            axes.errorbar(
                d.mean, y, xerr=d.half, color=colour, marker="o", markersize=3.5, linewidth=0.8,
                markerfacecolor=colour if d.differs else "white", label="" if k else name,
            )  # fmt: skip
    if not lines:
        return False
    axes.axvline(0, color="#1c2430", linewidth=0.6)
    names = [unread(f"{', '.join(f.names)}\n{level(e.level)} − {level(f.reference)}") for f, e in reversed(lines)]
    axes.set_yticks(range(len(lines)), names, fontsize=5.5)
    axes.set_xlabel(unread(f"difference in {objective_name(results.objective)}"))
    axes.legend()
    axes.figure.set_size_inches(COLUMN, 0.8 + 0.26 * len(lines))
    return True


def mixer_map(axes: Any, results: Results) -> bool:
    """The median objective of each mixer at each stage, at the lowest rung; grey where that says nothing."""
    found = mixers(results)
    if not found.mixers:
        return False
    known = (found.count >= FEWEST_IN_CELL) & ~at_chance(results, found)
    for cells, shade, cmap in (
        (known, found.median, "Blues" if results.maximize else "Blues_r"),
        ((found.count > 0) & ~known, np.full(known.shape, 0.3), "Greys"),
    ):
        limits = {"vmin": 0, "vmax": 1} if cmap == "Greys" else {}
        axes.imshow(np.where(cells, shade, np.nan), cmap=cmap, aspect="auto", alpha=0.6, **limits)
    for row, column in zip(*np.nonzero(found.count), strict=True):
        text = f"{value(found.median[row, column], 3)}\n{found.count[row, column]}"
        axes.text(column, row, text, ha="center", va="center", fontsize=5.5)
    axes.set_xticks(range(len(found.places)), found.places)
    axes.set_yticks(range(len(found.mixers)), map(unread, found.mixers))
    axes.figure.set_size_inches(COLUMN, 0.6 + 0.36 * len(found.mixers))
    return True


def cost(axes: Any, results: Results) -> bool:
    """The objective against parameters, or the cost searched for, by budget, and the Pareto front of the full one."""
    from matplotlib.ticker import LogLocator, NullFormatter

    cost = results.cost or "parameters"
    colours = budget_colours(results.rungs)
    drawn = False
    for rung in results.rungs:
        points = [(getattr(t, cost), t.value) for t in results.trained if t.rung == rung and getattr(t, cost)]
        if points:
            x, y = zip(*points, strict=True)
            rgb = tuple(int(part) / 255 for part in colours[rung].removeprefix("rgb(").rstrip(")").split(","))
            axes.scatter(x, y, s=8, color=[rgb], label=budget_name(results, rung))
            drawn = True
    front = results.front(cost)
    if front:
        axes.step([getattr(t, cost) for t in front], [t.value for t in front], where="post", color=BEST, linewidth=1)
    axes.set(xscale="log", xlabel=COSTS[cost], ylabel=unread(objective_name(results.objective)))
    axes.xaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))  # within a decade there may be one power of ten
    axes.xaxis.set_minor_formatter(NullFormatter())
    if drawn:
        axes.legend()
    return drawn


@of_today()
def retrained(axes: Any, record: Mapping[str, Any]) -> bool:
    """The leading test metric of each configuration and baseline: mean over the seeds, interval, and each seed."""
    metric = record["configurations"][0]["main"][0]
    rows = [
        (f"trial {numbered(c['trial'], c.get('given', False))}", c, certainty["interval"], BUDGETS[-1])
        for c, certainty in zip(record["configurations"], record["certainty"], strict=True)
    ]
    rows += [(baseline_name(b["name"]), b, b["interval"], "#97a3b2") for b in record.get("baselines", ())]
    for y, (_, scores, intervals, colour) in enumerate(reversed(rows)):
        low, high = intervals.get(metric, (np.nan, np.nan))
        axes.plot([low, high], [y, y], color=colour, linewidth=1)
        axes.plot([each[metric] for each in scores["test"]], [y] * len(scores["test"]), ".", color=colour, alpha=0.5)
        axes.plot(scores["spread"][metric]["mean"], y, "|", color=colour, markersize=9)
    axes.set_yticks(range(len(rows)), [unread(name) for name, *_ in reversed(rows)])
    axes.set_xlabel(unread(f"{metric_name(metric)} on the test images"))
    axes.figure.set_size_inches(COLUMN, 0.7 + 0.22 * len(rows))
    return True
