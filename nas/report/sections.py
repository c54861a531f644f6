"""The sections of the report: each figure or table, with a caption that says how to read it and what it is based on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import plotly.graph_objects as go

from nas.report import figures, table, thinning
from nas.report.data import incumbent, mixers
from nas.report.effects import effects
from nas.report.matters import FEWEST, main_effects
from nas.results import Results
from nas.words import COSTS, count, objective_name, with_interval


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
    """Every section, in the order of the page.

    The front that was searched for comes first, then effects and cells of a grid, or the finals.
    """
    if results.grid:
        first, matters = [_effects(results), _cells(results)], []
    else:
        first, matters = [_finals(results)] if results.finalists() else [], [_matters(results)]
    rest = [*first, *matters, _history(results), _curves(results), _mixers(results)]
    return [_trade_off(results), *rest] if results.cost else [*rest, _trade_off(results)]


def _finals(results: Results) -> Section:
    which = "on the front" if results.cost else "that may be the best, and the best given and found ones,"
    caption = (
        f"After the search, the configurations {which} were trained in full again with fresh seeds. The "
        f"estimate is of {objective_name(results.objective)} averaged over seeds: for what the search drew, it takes "
        "into account that the other good configurations make a value far above them likely to be luck. The "
        "configuration wins whose estimate minus its standard deviation (plus, for errors) is best. The last column "
        f"is a mean over all trainings of the configuration. {table.overtuning(results)}"
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
        f"{_missing(results)}{_points(results)}"
    )
    return Section("history", title, caption, figures.history(results, best))


def _missing(results: Results) -> str:
    """What the numbers stand for that are no trial of the figure."""
    last = max(t.number for t in results.trained)
    what = ["configurations above the limits"] * bool(results.skipped)
    what += ["trainings of the finals"] * any(t.number < last for t in results.repeats)
    return f" Missing numbers are {' and '.join(what)}." if what else ""


def _curves(results: Results) -> Section:
    top = results.ranked()[:5]
    drawn = [t for t in results.trained if t.curve]
    if not drawn:
        return Section("curves", "Learning curves", "No trial has reported an epoch yet.")
    marked = f"the top {len(top)} in strong colours" if len(top) > 1 else "the best in orange" if top else ""
    caption = (
        f"{objective_name(results.objective)} of {count(len(drawn), 'trial')} on the validation split after every epoch"
        f"{', ' + marked if marked else ''}. A curve that ends in a dot on a dotted line was stopped (pruned) at that "
        f"rung.{thinning.said(len(drawn), thinning.CURVES, len(top))}"
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
        f"{figures.FEWEST_IN_CELL} trials, or a median no better than chance. Everything else varies between trials "
        "too, so trust only differences that are large compared with the ranges."
    )
    return Section("mixers", title, caption, figures.mixer_map(results, found))


def _matters(results: Results) -> Section:
    found, title, rung = main_effects(results), "What matters", results.rungs[0]
    if found is None:
        reached = count(sum(rung in t.curve for t in results.trained), "trial")
        needed = f"Effects need at least {FEWEST} trials with differing values."
        return Section("matters", title, f"{reached} reached the lowest rung, {rung} epochs. {needed}")
    name, decided = objective_name(results.objective), [e for e in found.each if e.decided]
    answer = (
        f"A change is certain for {', '.join(e.name for e in decided[: figures.SHOWN])}{_more(len(decided))}."
        if decided
        else "No change is certain."
    )
    drawn = f", the {figures.SHOWN} most certain of {len(found.each)}," if len(found.each) > figures.SHOWN else ""
    learnt = (
        f"They explain {found.explained:.0%} of the variance of unseen trials (R²)."
        if found.explained > 0
        else "They explain unseen trials no better than the mean does, so their order is noise."
    )
    caption = (
        f"{answer} Each row{drawn} is the change in {name} after {rung} epochs, the lowest rung, from the worst level "
        "of a hyperparameter to its best with all else alike, and its 95% interval, which allows for the choice among "
        "its levels. A filled dot is certain: it excludes zero, also after Holm's correction for all hyperparameters. "
        "Numbers have up to three levels with about as many trials each. The changes come from one Bayesian linear "
        f"regression on all hyperparameters of all {found.trials} trials, pruned ones included. {learnt} "
        "optuna-dashboard's importances differ: they know trials trained in full only, have no direction, and add up "
        "to one even if nothing matters."
    )
    listing = Listing(
        ["hyperparameter", f"change in {name}", "from", "to", "trials of each"],
        [
            [
                e.name,
                with_interval(e.mean, e.mean - e.half, e.mean + e.half, sign=True),
                e.worse,
                e.better,
                "{} and {}".format(*e.trials),
            ]
            for e in found.each[: figures.SHOWN]
        ],
        frozenset({0}),
    )
    return Section("matters", title, caption, figures.main_effects(results, found), listing)


def _trade_off(results: Results) -> Section:
    name, cost = objective_name(results.objective), results.cost or "parameters"
    title, front = f"{name} against {COSTS[cost]}", results.front(cost)
    if not any(t.rung and getattr(t, cost) for t in results.trained):
        return Section("cost", title, f"No trial with a known number of {COSTS[cost]} has reached the lowest rung yet.")
    caption = (
        "Each point is a trial at the highest rung it reached. Strong points were trained in full; faint points had "
        f"fewer epochs. The line is the Pareto front of the strong points: the best {name} reached up to each size."
        f"{_points(results)}"
    )
    if not results.cost:
        return Section("cost", title, caption, figures.trade_off(results, front, cost))
    caption += (
        f" It is what this search was for; the table has its {count(len(front), 'trial')}. Each has one training with "
        "one seed, so neighbours may be in the wrong order."
    )
    listing = Listing(table.headings(results), [table.cells(results, t) for t in front], frozenset({3}))
    return Section("cost", title, caption, figures.trade_off(results, front, cost), listing if front else None)


def _points(results: Results) -> str:
    best = min(thinning.BEST, len(results.ranked()))
    return thinning.said(sum(t.rung > 0 for t in results.trained), thinning.POINTS, best)


def _more(several: int) -> str:
    return f" and {several - figures.SHOWN} more" if several > figures.SHOWN else ""


def _nothing(results: Results) -> str:
    return f"No trial has reached the lowest rung, {results.rungs[0]} epochs, yet."
