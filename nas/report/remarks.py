"""What a reader of the results should know before the figures: the first lines of the page, the last of a run."""

from __future__ import annotations

import math

from nas.report import noise
from nas.results import Results
from nas.words import advice_on_axis, objective_name, value
from trainers import metrics

FAR = 0.05  # of a score, if its noise is not larger; an error may grow by a quarter
FAR_NLL = 0.1  # nats, since a negative log-likelihood may be 0


def remarks(results: Results) -> list[str]:
    found = on_turned(results)
    axis = advice_on_axis(results.objective) if results.axis and (found or not _known_turned(results)) else ""
    return [line for line in (found, axis and f"{axis[0].upper()}{axis[1:]}.") if line]


def _known_turned(results: Results) -> bool:
    """Whether it is known how the best configuration does on turned images."""
    name = f"{metrics.base(results.objective)}_d4_worst"
    return results.best is not None and math.isfinite(results.mean_metrics(results.best).get(name, math.nan))


def on_turned(results: Results) -> str:
    """Warn if the best configuration is far worse on turned or mirrored images than upright; else empty."""
    if results.best is None:
        return ""
    if not noise.above_chance(results, results.best.value):
        return ""  # noise alone varies as much
    name, found = metrics.base(results.objective), results.mean_metrics(results.best)
    upright, worst = (found.get(metric, math.nan) for metric in (name, f"{name}_d4_worst"))
    errors = 1 / math.sqrt(results.validated or math.inf)  # two standard errors of a share of the images, at most
    if results.maximize:
        far = upright - worst > max(FAR, errors)
    else:
        far = worst - upright > (FAR_NLL if name.startswith("nll") else abs(upright) / 4)
    if not far:
        return ""
    return (
        f"The best configuration, trial {results.best.label}, depends on how images are turned: "
        f"{objective_name(name)} {value(upright)} upright, {value(worst)} in the worst of the eight symmetries."
    )
