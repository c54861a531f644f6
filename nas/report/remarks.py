"""What a reader of the results should know before the figures: the first lines of the page, the last of a run."""

from __future__ import annotations

import math

from nas.report.table import reached
from nas.results import Results
from nas.words import advice_on_axis, objective_name, value
from trainers import metrics

FAR = 0.05  # of a score, if its noise is not larger; an error may grow by a quarter


def remarks(results: Results) -> list[str]:
    axis = advice_on_axis(results.objective) if results.axis else ""
    return [line for line in (on_given(results), on_turned(results), axis and f"{axis[0].upper()}{axis[1:]}.") if line]


def on_given(results: Results) -> str:
    """Name the best configuration that the search found, if a given one is better; else empty."""
    if results.best is None or not results.best.given:
        return ""
    best = f"The best configuration, trial {results.best.number}, was given, not found"
    found = next((cell.trials[0] for cell in results.cells() if not cell.trials[0].given), None)
    if found is None:
        return f"{best}; no other has reached the full budget."
    figure, how = reached(results, found)
    return f"{best}; best found: trial {found.number} with {objective_name(results.objective)} {figure}{how}."


def on_turned(results: Results) -> str:
    """Warn if the best configuration is far worse on turned or mirrored images than upright; else empty."""
    if results.best is None:
        return ""
    name, found = metrics.base(results.objective), results.mean_metrics(results.best)
    upright, worst = (found.get(metric, math.nan) for metric in (name, f"{name}_d4_worst"))
    noise = 1 / math.sqrt(results.validated or math.inf)  # two standard errors of a share of the images, at most
    far = upright - worst > max(FAR, noise) if results.maximize else worst - upright > abs(upright) / 4
    if not far:
        return ""
    return (
        f"The best configuration, trial {results.best.label}, depends on how images are turned: "
        f"{objective_name(name)} {value(upright)} upright, {value(worst)} in the worst of the eight symmetries."
    )
