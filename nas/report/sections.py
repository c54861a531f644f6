"""The report's sections: each figure, how to read it, and on which trials and budget it stands."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import plotly.graph_objects as go

from nas.report import figures, table
from nas.report.data import incumbent, mixers, pareto
from nas.report.effects import effects
from nas.report.importance import FEWEST, importance
from nas.results import Results
from nas.words import count, objective_name


@dataclass(frozen=True)
class Listing:
    """A table."""

    headings: Sequence[str]
    rows: Sequence[Sequence[str]]
    words: frozenset[int] = frozenset()  # columns of words


@dataclass(frozen=True)
class Section:
    """A figure, a table or both with the sentence that says how to read them; without either, the sentence says why."""

    key: str
    title: str
    caption: str
    figure: go.Figure | None = None
    listing: Listing | None = None


def sections(results: Results) -> list[Section]:
    """The figures, each with the trials and the budget that it stands on; what only a grid can say comes first."""
    of_grid = [_effects(results), _cells(results)] if results.grid else []
    return [*of_grid, _history(results), _curves(results), _mixers(results), _importance(results), _trade_off(results)]


def _effects(results: Results) -> Section:
    found, title, lost = effects(results), "Effect of each factor", table.left_out(results)
    if not found:
        return Section("effects", title, f"No two trainings that differ in one factor alone have ended. {lost}".strip())
    alike = "equal in all else, the seed included" if results.spec["seeds"] > 1 else "equal in all else"
    measured = any(e.turned for factor in found for e in factor.effects)
    images = "as they are and turned by 90 degrees" if measured else "as they are"
    caption = (
        f"Mean difference in {objective_name(results.objective)} between a level of a factor and its reference over "
        f"all pairs of trainings that are {alike}, on the validation images {images}, with the 95% confidence interval "
        f"of the paired t-test (none for a single pair); {'above' if results.maximize else 'below'} zero is better. An "
        "interval takes pairs for independent, and holds for these images, for the mean over these cells, and for one "
        f"level: of twenty levels without any effect, one is expected to show one. {lost}"
    )
    rows = Listing(table.effect_headings(results), table.effect_rows(found), frozenset({0, 1}))
    return Section("effects", title, caption.strip(), figures.effects(results, found), rows)


def _cells(results: Results) -> Section:
    title, rows = "Mean of each cell", table.cell_rows(results)
    if not rows:
        return Section("cells", title, "No training has come to its end yet.")
    several = results.spec["seeds"] > 1
    caption = (
        f"{objective_name(results.objective)} after the last epoch, on the validation images as they are and turned by "
        f"90 degrees{', mean ± standard deviation over the seeds' if several else ''}. The best cell is first"
        f"{', and what lacks a seed comes last' if several else ''}; nas.retrain takes them in this order."
    )
    return Section("cells", title, caption, listing=Listing(table.cell_headings(results), rows))


def _history(results: Results) -> Section:
    measured = [t for t in results.trained if t.rung]
    best = incumbent(results)
    name, rungs = objective_name(results.objective), ", ".join(map(str, results.rungs))
    caption = (
        f"Each point is a trial at the highest rung it reached ({rungs} epochs), so compare points of one colour only; "
        f"the line is the best {name} so far among those trained in full ({len(results.ranked())})."
        f"{' Gaps in the numbering are configurations above the limits.' if results.skipped else ''}"
    )
    if not measured:
        return Section("history", "Optimisation history", _nothing(results))
    return Section("history", "Optimisation history", caption, figures.history(results, best))


def _curves(results: Results) -> Section:
    top = results.ranked()[:5]
    drawn = [t for t in results.trained if t.curve]
    if not drawn:
        return Section("curves", "Learning curves", "No trial has reported an epoch yet.")
    marked = f"the top {len(top)} in strong colours" if len(top) > 1 else "the best in orange" if top else ""
    caption = (
        f"{objective_name(results.objective)} on the validation split after every epoch of {count(len(drawn), 'trial')}"
        f"{', ' + marked if marked else ''}; a curve that ends in a dot on a dotted line was pruned at that rung."
    )
    return Section("curves", "Learning curves", caption, figures.learning_curves(results, top))


def _mixers(results: Results) -> Section:
    found = mixers(results)
    title, rung = "Which mixer, at which stage", results.rungs[0]
    if not found.mixers:
        return Section("mixers", title, f"No trial with stages of mixers has reached {rung} epochs yet.")
    counted = sum(rung in t.curve and bool(t.config["architecture"].get("stages")) for t in results.trained)
    caption = (
        f"Median {objective_name(results.objective)} at the lowest rung, {rung} epochs, of all "
        f"{count(counted, 'trial')} that reached it, pruned ones included; below it half the interquartile "
        f"range and the number of trials. Deeper blue is better; grey: fewer than {figures.FEWEST_IN_CELL} trials. "
        "Everything else varies from trial to trial too, so trust only differences that are wide against the ranges."
    )
    return Section("mixers", title, caption, figures.mixer_map(results, found))


def _importance(results: Results) -> Section:
    found, title, rung = importance(results), "Importance of each hyperparameter", results.rungs[0]
    if found is None:
        reached = sum(rung in t.curve for t in results.trained)
        why = f"{count(reached, 'trial')} reached the lowest rung, {rung} epochs"
        return Section("importance", title, f"{why}; at least {FEWEST} with differing values are needed to learn from.")
    shown, all_ = figures.SHOWN, len(found.names)
    first = f"; the first {shown} of {all_} are shown" if all_ > shown else ""
    verdict = (
        f"The forest explains {found.explained:.0%} of the variance of unseen trials (R²)."
        if found.explained > 0
        else "Here the forest predicts unseen trials no better than their mean would: the bars are noise, not findings."
    )
    caption = (
        f"A random forest learns the rank of all {found.trials} trials at the lowest rung, {rung} epochs, pruned ones "
        "included; a bar estimates, rather low, the share of the variance that goes with one hyperparameter, from "
        f"what shuffling it costs on unseen trials (line: standard deviation over five cross-validations){first}. "
        f"{verdict}"
    )
    return Section("importance", title, caption, figures.importances(found))


def _trade_off(results: Results) -> Section:
    name = objective_name(results.objective)
    title, front = f"{name} against parameters", pareto(results)
    if not any(t.rung and t.parameters for t in results.trained):
        return Section("cost", title, _nothing(results))
    caption = (
        "Each point is a trial at the highest rung it reached; strong points are trained in full, and the line is "
        f"their Pareto front: the best {name} to be had up to a size. Faint points stand on fewer epochs."
    )
    return Section("cost", title, caption, figures.trade_off(results, front))


def _nothing(results: Results) -> str:
    return f"No trial has reached the lowest rung, {results.rungs[0]} epochs, yet."
