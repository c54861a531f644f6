"""The result tables of a study, as CSV, Markdown and LaTeX (booktabs)."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution

from nas.errors import mendable
from nas.report import table as report
from nas.report.effects import effects
from nas.report.matters import main_effects
from nas.results import Results
from nas.retraining.retrained import of_today
from nas.words import baseline_name, count, markdown, metric_name, numbered, objective_name, si, value, with_interval

BEST = 10  # trials in the table of the best
STAGE = re.compile(r"stages\.\d+\.")
LATEX = {
    "\\": r"\textbackslash{}", "&": r"\&", "%": r"\%", "$": r"\$", "#": r"\#", "_": r"\_", "{": r"\{", "}": r"\}",
    "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "±": r"$\pm$", "×": r"$\times$", "→": r"$\rightarrow$",
    "↓": r"$\downarrow$", "–": "--", "²": "$^2$", "σ": r"$\sigma$", "<": r"$<$", ">": r"$>$",
}  # fmt: skip


@dataclass(frozen=True)
class Table:
    """A table of plain text. The columns in `words` hold words, the others numbers."""

    name: str
    caption: str
    headings: Sequence[str]
    rows: Sequence[Sequence[str]]
    words: Collection[int] = frozenset()

    def csv(self) -> str:
        out = io.StringIO()
        csv.writer(out, lineterminator="\n").writerows([self.headings, *self.rows])
        return out.getvalue()

    def markdown(self) -> str:
        rule = [":---" if k in self.words else "---:" for k in range(len(self.headings))]
        lines = [[markdown(cell) for cell in row] for row in (self.headings, *self.rows)]
        body = [lines[0], rule, *lines[1:]]
        return f"{markdown(self.caption)}\n\n" + "".join(f"| {' | '.join(row)} |\n" for row in body)

    _repr_markdown_ = markdown  # what a notebook shows

    def latex(self) -> str:
        """A `table` that needs `\\usepackage{booktabs}`."""
        columns = "".join("l" if k in self.words else "r" for k in range(len(self.headings)))
        lines = [" & ".join(map(escape, row)) + r" \\" for row in (self.headings, *self.rows)]
        return "\n".join([
            r"\begin{table}", r"\centering", rf"\caption{{{escape(self.caption)}}}", rf"\label{{tab:{self.name}}}",
            rf"\begin{{tabular}}{{{columns}}}", r"\toprule", lines[0], r"\midrule", *lines[1:], r"\bottomrule",
            r"\end{tabular}", r"\end{table}", "",
        ])  # fmt: skip


def escape(text: str) -> str:
    """Text for LaTeX."""
    return "".join(LATEX.get(character, character) for character in text)


@mendable
def tables(results: Results) -> list[Table]:
    """The space; the best trials; the finals, or a grid's cells and effects; what matters; the retraining, if any."""
    found = [_space(results), _best(results)]
    if results.grid:
        found += [_cells(results), _effects(results)]
    else:
        found += [_finals(results), _matters(results)]
    if record := results.retraining():
        found.append(_retrained(record))
    return [table for table in found if table.rows]


def _space(results: Results) -> Table:
    """What the trials were asked for: a row a parameter, those of all stages together."""
    values: dict[str, dict[str, None]] = {}
    for trial in results.trials:
        for name, distribution in trial.distributions.items():
            values.setdefault(STAGE.sub("stages.N.", name), {})[_choices(distribution)] = None
    caption = "What was searched. A parameter exists only where it has an effect; stages.N stands for every stage."
    return Table("space", caption, ["parameter", "values"], [[n, " | ".join(v)] for n, v in values.items()], {0, 1})


def _choices(distribution: BaseDistribution) -> str:
    if isinstance(distribution, CategoricalDistribution):
        return ", ".join(map(str, distribution.choices))
    assert isinstance(distribution, IntDistribution | FloatDistribution)
    step = f", step {distribution.step:g}" if distribution.step not in (None, 1) else ""
    return f"{distribution.low:g} to {distribution.high:g}{step}{', log' * distribution.log}"


def _best(results: Results) -> Table:
    best = results.ranked()[:BEST]
    caption = (
        f"The best of {count(len(results.ranked()), 'trial')} trained in full ({count(results.rungs[-1], 'epoch')}) by "
        "their values on the validation images, for which they were chosen."
    )
    return Table("best", caption, report.headings(results), [report.cells(results, t) for t in best], {3})


def _finals(results: Results) -> Table:
    caption = (
        f"{objective_name(results.objective)} of the finalists on the validation images, with fresh seeds. "
        f"{report.overtuning(results)}"
    )
    return Table("finals", caption.strip(), report.finals_headings(results), report.finals_rows(results))


def _cells(results: Results) -> Table:
    caption = f"{objective_name(results.objective)} of each cell of the grid on the validation images."
    return Table("cells", caption, report.cell_headings(results), report.cell_rows(results))


def _effects(results: Results) -> Table:
    caption = "Effects, with half their 95% confidence intervals; * stands after Holm's correction."
    return Table("effects", caption, report.effect_headings(results), report.effect_rows(effects(results)), {0, 1})


def _matters(results: Results) -> Table:
    found, name = main_effects(results), objective_name(results.objective)
    rows = [
        [
            e.name,
            e.worse,
            e.better,
            "* " * e.decided + with_interval(e.mean, e.mean - e.half, e.mean + e.half, sign=True),
            "{} and {}".format(*e.trials),
        ]
        for e in (found.each if found else ())
    ]
    caption = (
        f"Change in {name} after {results.rungs[0]} epochs from the worst to the best level of each hyperparameter, "
        "with 95% intervals that allow for the choice among its levels; from a Bayesian linear regression on all "
        "trials. * stands after Holm's correction."
    )
    return Table("matters", caption, ["hyperparameter", "from", "to", f"change in {name}", "trials of each"], rows, {0})


@of_today()
def _retrained(record: Mapping[str, Any]) -> Table:
    """Configurations and baselines on the test images: means over seeds with their intervals, and the ensemble."""
    first = record["configurations"][0]
    shown = list(first["main"])
    shown += [record["objective"]] * (record["objective"] in first["spread"] and record["objective"] not in shown)
    rows = []
    for c, certainty in zip(record["configurations"], record["certainty"], strict=True):
        name = f"trial {numbered(c['trial'], c.get('given', False))}"
        rows.append([name, str(len(c["seeds"])), *_cells_of(c, certainty["interval"], shown), si(c["parameters"])])
    for b in record.get("baselines", ()):
        seeds = "fitted" if b["fitted"] else str(len(b["seeds"]))
        rows.append([baseline_name(b["name"]), seeds, *_cells_of(b, b["interval"], shown), si(b["parameters"])])
    head = ["network", "seeds"]
    for metric in shown:
        head += [metric_name(metric), f"{metric_name(metric)}, all seeds together"]
    rivals = " and baselines" * bool(record.get("baselines"))
    several = [len(c["seeds"]) > 1 for c in record["configurations"]]
    over = "images and seeds" if all(several) else "images and the seeds, where there are several"
    over = over if any(several) else "images only"
    caption = (
        f"Retrained configurations{rivals} on {record['data']['test']:,} test images: means over the seeds with "
        f"95% confidence intervals over {over}, and the combined prediction of all seeds."
    )
    return Table("retrained", caption, [*head, "parameters"], rows, {0})


def _cells_of(scores: Mapping[str, Any], intervals: Mapping[str, Sequence[float]], shown: Sequence[str]) -> list[str]:
    cells = []
    for metric in shown:
        mean, ends = scores["spread"][metric]["mean"], intervals.get(metric)
        cells.append(with_interval(mean, ends[0], ends[1]) if ends else value(mean, 3))
        cells.append(value(scores["ensemble"][metric], 3) if len(scores["seeds"]) > 1 else "")
    return cells
