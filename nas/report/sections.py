"""The sections of the report: each figure or table, with a caption that says how to read it and what it is based on."""

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
    """A table of plain text."""

    headings: Sequence[str]
    rows: Sequence[Sequence[str]]
    words: frozenset[int] = frozenset()  # columns that hold words, not numbers


@dataclass(frozen=True)
class Section:
    """A figure, a table or both, and how to read them. If there is neither, the caption says why."""

    key: str
    title: str
    caption: str
    figure: go.Figure | None = None
    listing: Listing | None = None


def sections(results: Results) -> list[Section]:
    """Every section, in the order of the page. Effects and cells of a grid, or the finals, come first."""
    first = [_effects(results), _cells(results)] if results.grid else [_finals(results)] if results.finalists() else []
    return [*first, _history(results), _curves(results), _mixers(results), _importance(results), _trade_off(results)]


def _finals(results: Results) -> Section:
    caption = (
        "After the search, the configurations that may be the best were trained in full again with fresh seeds. The "
        f"estimate is of {objective_name(results.objective)} averaged over seeds: it takes into account that the other "
        "good configurations make a value far above them likely to be luck. The configuration wins whose estimate "
        "minus its standard deviation (plus, for errors) is best. The last column is a mean over all trainings of the "
        f"configuration. {table.overtuning(results)}"
    )
    listing = Listing(table.finals_headings(results), table.finals_rows(results))
    return Section("finals", "Finals", caption, listing=listing)


def _effects(results: Results) -> Section:
    factors, title, excluded = effects(results), "Effect of each factor", table.left_out(results)
    if not factors:
        return Section("effects", title, f"No two finished trainings differ in one factor alone. {excluded}".strip())
    alike = "alike in everything else, including the seed" if results.spec["seeds"] > 1 else "alike in everything else"
    measured = any(e.turned for factor in factors for e in factor.effects)
    images = "as they are and turned by 90 degrees" if measured else "as they are"
    caption = (
        f"Each dot is the mean difference in {objective_name(results.objective)} between a level of a factor and the "
        f"reference level, over all pairs of trainings that are {alike}. It is measured on the validation images "
        f"{images}. Bars are 95% confidence intervals of the paired t-test; a single pair has none. Values "
        f"{'above' if results.maximize else 'below'} zero are better. The intervals assume that pairs are independent. "
        "They hold for these images, for the mean over these cells and for one level at a time. Filled dots, and stars "
        "in the table, mark the differences that stand after Holm's correction for all comparisons of this section: if "
        f"no level had an effect, at most one grid of twenty would have a mark. {excluded}"
    )
    rows = Listing(table.effect_headings(results), table.effect_rows(factors), frozenset({0, 1}))
    return Section("effects", title, caption.strip(), figures.effects(results, factors), rows)


def _cells(results: Results) -> Section:
    title, rows = "Mean of each cell", table.cell_rows(results)
    if not rows:
        return Section("cells", title, "No training has finished yet.")
    several = results.spec["seeds"] > 1
    caption = (
        f"{objective_name(results.objective)} after the last epoch, on the validation images as they are and turned by "
        f"90 degrees{', as mean ± standard deviation over the seeds' if several else ''}. Cells are ranked from best "
        f"to worst{', those that lack a seed last' if several else ''}. nas.retrain takes them in this order."
    )
    return Section("cells", title, caption, listing=Listing(table.cell_headings(results), rows))


def _history(results: Results) -> Section:
    title, name = "Optimisation history", objective_name(results.objective)
    if not any(t.rung for t in results.trained):
        return Section("history", title, _nothing(results))
    best, rungs = incumbent(results), ", ".join(map(str, results.rungs))
    caption = (
        f"Each point is a trial at the highest rung it reached ({rungs} epochs). Compare points of one colour only. "
        f"The line is the best {name} so far among the trials trained in full ({len(results.ranked())})."
        f"{' Missing numbers are configurations above the limits.' if results.skipped else ''}"
    )
    return Section("history", title, caption, figures.history(results, best))


def _curves(results: Results) -> Section:
    top = results.ranked()[:5]
    drawn = [t for t in results.trained if t.curve]
    if not drawn:
        return Section("curves", "Learning curves", "No trial has reported an epoch yet.")
    marked = f"the top {len(top)} in strong colours" if len(top) > 1 else "the best in orange" if top else ""
    caption = (
        f"{objective_name(results.objective)} of {count(len(drawn), 'trial')} on the validation split after every epoch"
        f"{', ' + marked if marked else ''}. A curve that ends in a dot on a dotted line was stopped (pruned) at that "
        "rung."
    )
    return Section("curves", "Learning curves", caption, figures.learning_curves(results, top))


def _mixers(results: Results) -> Section:
    found = mixers(results)
    title, rung = "Which mixer, at which stage", results.rungs[0]
    if not found.mixers:
        return Section("mixers", title, f"No trial with stages of mixers has reached {rung} epochs yet.")
    counted = sum(rung in t.curve and bool(t.config["architecture"].get("stages")) for t in results.trained)
    caption = (
        f"Each cell gives the median {objective_name(results.objective)} of the trials with a mixer at a stage, at the "
        f"lowest rung ({rung} epochs). Below it are half the interquartile range and the number of trials n. The map "
        f"counts {count(counted, 'trial')}, pruned ones included. Deeper blue is better; grey cells have fewer than "
        f"{figures.FEWEST_IN_CELL} trials. Everything else varies between trials too, so trust only differences that "
        "are large compared with the ranges."
    )
    return Section("mixers", title, caption, figures.mixer_map(results, found))


def _importance(results: Results) -> Section:
    found, title, rung = importance(results), "Importance of each hyperparameter", results.rungs[0]
    if found is None:
        reached = count(sum(rung in t.curve for t in results.trained), "trial")
        needed = f"Importance needs at least {FEWEST} trials with differing values."
        return Section("importance", title, f"{reached} reached the lowest rung, {rung} epochs. {needed}")
    shown, total = figures.SHOWN, len(found.names)
    first = f" The first {shown} of {total} are shown." if total > shown else ""
    verdict = (
        f"The forest explains {found.explained:.0%} of the variance of unseen trials (R²)."
        if found.explained > 0
        else "Here the forest predicts unseen trials no better than their mean does: the bars are noise, not findings."
    )
    caption = (
        f"A random forest learns the rank of all {found.trials} trials at the lowest rung ({rung} epochs), pruned ones "
        "included, from their hyperparameters. Each bar estimates the share of the variance of rank that goes with one "
        "hyperparameter, from what the forest loses on unseen trials when that hyperparameter is shuffled. The "
        f"estimate is rather low. Lines are standard deviations over five cross-validations.{first} {verdict}"
    )
    return Section("importance", title, caption, figures.importances(found))


def _trade_off(results: Results) -> Section:
    name = objective_name(results.objective)
    title, front = f"{name} against parameters", pareto(results)
    if not any(t.rung and t.parameters for t in results.trained):
        return Section("cost", title, "No trial with a known number of parameters has reached the lowest rung yet.")
    caption = (
        "Each point is a trial at the highest rung it reached. Strong points were trained in full; faint points had "
        f"fewer epochs. The line is the Pareto front of the strong points: the best {name} reached up to each size."
    )
    return Section("cost", title, caption, figures.trade_off(results, front))


def _nothing(results: Results) -> str:
    return f"No trial has reached the lowest rung, {results.rungs[0]} epochs, yet."
