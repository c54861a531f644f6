"""What a reader of the results should know before the figures: the first lines of the page, the last of a run."""

from __future__ import annotations

from nas.report.table import reached
from nas.results import Results
from nas.words import objective_name


def remarks(results: Results) -> list[str]:
    return [line for line in (on_given(results),) if line]


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
