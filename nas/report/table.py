"""The rows of the report's tables, and the tables that a run prints at its end."""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable, Sequence
from textwrap import wrap

from rich import box
from rich.table import Table

from nas.report.effects import Difference, Factor, effects
from nas.results import Results
from nas.trials import Trial
from nas.words import COSTS, count, counterpart, duration, level, memory, objective_name, plus_minus, si, value


def headings(results: Results) -> list[str]:
    _, other = counterpart(results.objective)
    return ["trial", objective_name(results.objective), other, "architecture", "params", "MACs", "time", "memory"]


def cells(results: Results, trial: Trial) -> list[str]:
    """The row of one trial that was trained in full, under `headings`."""
    other = trial.metrics.get(counterpart(results.objective)[0], math.nan)
    return [
        trial.label, value(trial.value), value(other) if math.isfinite(other) else "–", trial.architecture or "–",
        si(trial.parameters), si(trial.macs), duration(trial.seconds), memory(trial.peak_memory_mb),
    ]  # fmt: skip


def worth_retraining(results: Results) -> int:
    """How many of the best configurations to retrain: three, if so many were trained in full."""
    return max(min(len(results.cells()), 3), 1)


def reached(results: Results, trial: Trial) -> tuple[str, str]:
    """The value of a trial trained in full, and ` with 3 fresh seeds` if the finals have estimated its mean."""
    finalist = next((f for f in results.finalists() if f.trial == trial.number), None)
    if finalist is None:
        return value(trial.value), ""
    return plus_minus(finalist.mean, finalist.sd), f" with {count(len(finalist.fresh), 'fresh seed')}"


def finals_headings(results: Results) -> list[str]:
    other = counterpart(results.objective)[1].removesuffix(" symmetries")  # the terminal has 80 columns
    return ["trial", "in the search", "seeds", "mean of these", "estimate", other]


def finals_rows(results: Results) -> list[list[str]]:
    """Rows under `finals_headings`: the finalists, the winner first. The last cell is a mean over all its trainings."""
    rows = []
    for f in results.finalists():
        trial = results.trial(f.trial)
        other = results.mean_metrics(trial).get(counterpart(results.objective)[0], math.nan)
        rows.append([
            trial.label, value(f.searched), str(len(f.fresh)), _mean_and_sd(f.fresh), plus_minus(f.mean, f.sd),
            value(other) if math.isfinite(other) else "–",
        ])  # fmt: skip
    return rows


def overtuning(results: Results) -> str:
    """How far the best value of the finalists falls with fresh seeds, in a sentence; empty without finals."""
    again = {f.trial: f for f in results.finalists()}
    luckiest = next((t for t in results.ranked() if t.number in again), None)
    if luckiest is None or results.best is None:
        return ""
    fresh = statistics.fmean(again[luckiest.number].fresh)
    seeds = count(len(again[luckiest.number].fresh), "fresh seed")
    fall = (luckiest.value - fresh) * (1 if results.maximize else -1)
    first = "search's best value" if luckiest == results.ranked()[0] else "best value in the search of these"
    same = ", which wins" if luckiest.number == results.best.number else f"; trial {results.best.label} wins"
    return (
        f"The {first}, {value(luckiest.value)} of trial {luckiest.label}, became {value(fresh)} with "
        f"{seeds} (overtuning {plus_minus(fall, None, sign=True)}){same}."
    )


def effect_headings(results: Results) -> list[str]:
    name = objective_name(results.objective)
    return ["factor", "level", "pairs", name, f"{name}, turned"]


def effect_rows(factors: Sequence[Factor]) -> list[list[str]]:
    """Rows under `effect_headings`: for each factor its reference, then its other levels with their differences."""
    rows = []
    for factor in factors:
        rows.append([", ".join(factor.names), level(factor.reference), "", "reference", "reference"])
        for effect in factor.effects:
            pairs = effect.upright.pairs if effect.upright else 0
            differences = [_difference(d, pairs) for d in (effect.upright, effect.turned)]
            rows.append(["", level(effect.level), str(pairs), *differences])
    return rows


def _difference(difference: Difference | None, pairs: int) -> str:
    """The text of a cell: a star if the difference stands, and the number of pairs if that is not the row's."""
    if difference is None:
        return "no pair"
    fewer = f" ({count(difference.pairs, 'pair')})" if difference.pairs != pairs else ""
    star = "* " if difference.differs else ""
    return star + plus_minus(difference.mean, difference.half, sign=True) + fewer


def cell_headings(results: Results) -> list[str]:
    return [*results.parameters, "seeds", *effect_headings(results)[-2:], "trials"]


def cell_rows(results: Results) -> list[list[str]]:
    """Rows under `cell_headings`: the cells of a grid from best to worst, mean ± standard deviation over the seeds."""
    rows, names = [], results.parameters
    for cell in results.cells():
        params = cell.trials[0].params
        rows.append([
            *(level([(name, params[name])]) if name in params else "–" for name in names),
            str(len(cell.trials)), _mean_and_sd(t.value for t in cell.trials),
            _mean_and_sd(t.turned for t in cell.trials), ", ".join(t.label for t in cell.trials),
        ])  # fmt: skip
    return rows


def _mean_and_sd(values: Iterable[float | None]) -> str:
    known = [v for v in values if v is not None]
    if not known:
        return "–"
    return plus_minus(statistics.fmean(known), statistics.stdev(known) if len(known) > 1 else None)


def left_out(results: Results) -> str:
    """The trainings of a grid that no mean includes, in words; empty if all finished."""
    counts = results.counts()
    kinds = {"failed": counts["failed"], "unfinished": counts["paused"] + counts["running"] + counts["pruned"]}
    if not any(kinds.values()):
        return ""
    kind = " and ".join(f"{n} {name}" for name, n in kinds.items() if n)
    return f"Excluded with their pairs: {kind} of {count(len(results.trained), 'training')}."


def tables(results: Results) -> list[Table]:
    """The tables at the end of a run: the five best trials, and the finals or the effects of a grid's factors."""
    more = [effects_table(results)] if results.grid else [finals_table(results)] if results.finalists() else []
    return [top_table(results, 5), *more]


def finals_table(results: Results) -> Table:
    """The finalists, the winner first."""
    table = _table(f"{results.name}: the finals, the winner first", finals_headings(results), words=set())
    for row in finals_rows(results):
        table.add_row(*row)
    table.caption, table.caption_justify = overtuning(results), "left"
    return table


def effects_table(results: Results) -> Table:
    """The effects of a grid's factors, ± half their 95% confidence intervals."""
    name = objective_name(results.objective)
    title = f"{results.name}: effects on {name}, ± half a 95% confidence interval; * differs after Holm's correction"
    table = _table(title, effect_headings(results), words={"factor", "level"})
    factors = effects(results)
    for row in effect_rows(factors):
        table.add_row(*row)
    table.columns[0].min_width = min(20, max((len(name) for factor in factors for name in factor.names), default=0))
    table.caption, table.caption_justify = left_out(results) or None, "left"
    return table


def top_table(results: Results, k: int = 5) -> Table:
    """The `k` best of the trials trained in full, or the front, without their memory: 80 columns have to do."""
    best = results.front() if results.cost else results.ranked()[:k]
    both = f"{objective_name(results.objective)} and {COSTS[results.cost]}" if results.cost else ""
    which = f"the front of {both}" if both else "the best"
    complete = f"{which} of {count(results.counts()['complete'], 'trial')} at" if best else "no trial has reached"
    title = f"{results.name}: {complete} the full {results.rungs[-1]} epochs"
    table = _table(title, headings(results)[:-1], words={"architecture"})
    for trial in best:
        table.add_row(*cells(results, trial)[:-1])
    return table


def _table(title: str, headings: Sequence[str], words: set[str]) -> Table:
    table = Table(title=title, title_justify="left", box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 2, 0, 0))
    for heading in headings:
        is_words = heading in words
        table.add_column(
            "\n".join(wrap(heading, 12)), justify="left" if is_words else "right", overflow="fold", no_wrap=not is_words
        )
    return table
