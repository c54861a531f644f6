"""The rows of a retraining's tables, for its page and for the terminal."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from rich import box
from rich.table import Table

from nas.retraining.retrained import Retrained
from nas.retraining.scores import Scores
from nas.words import (
    baseline_name,
    between,
    count,
    describe_architecture,
    describe_size,
    metric_name,
    objective_name,
    value,
    with_interval,
)  # fmt: skip

INTERVAL = "95% CI"
WIDEST = 3  # metrics in the terminal


def headings(retrained: Retrained, metrics: Sequence[str]) -> list[str]:
    """The search's value has a column if any configuration has one."""
    tested = [f"test {metric_name(m)}" for m in metrics]
    validation = [f"validation {objective_name(retrained.objective)}"] if retrained.validated else []
    return ["trial", "networks", *validation, *tested]


def shown(retrained: Retrained) -> tuple[str, ...]:
    """The metrics in the table of configurations: the task's main ones and the objective of the search."""
    first = retrained.configurations[0]
    more = retrained.objective in first.spread and retrained.objective not in first.main
    return (*first.main, retrained.objective) if more else first.main


def fitting(retrained: Retrained) -> tuple[str, ...]:
    """Those of `shown` that fit into 80 columns: if there are more than three, two and the last."""
    metrics = shown(retrained)
    return metrics if len(metrics) <= WIDEST else (*metrics[: WIDEST - 1], metrics[-1])


def rows(retrained: Retrained, metrics: Sequence[str]) -> list[list[str]]:
    """Two rows for the seeds of each configuration, mean ± sample standard deviation and its interval; if there are
    several seeds, two more for their ensemble."""
    lines: list[list[str]] = []
    for c, certainty in zip(retrained.configurations, retrained.certainty, strict=True):
        seeds, validation = count(len(c.seeds), "seed"), "–" if c.validation is None else value(c.validation)
        own = [
            [c.label, seeds, validation, *(str(c.spread[m]) for m in metrics)],
            ["", INTERVAL, "", *(_interval(certainty.interval, m) for m in metrics)],
        ]
        if len(c.seeds) > 1:
            own += [
                ["", "ensemble", "", *(value(c.ensemble[m]) for m in metrics)],
                ["", INTERVAL, "", *(_interval(certainty.ensemble, m) for m in metrics)],
            ]
        lines += own if retrained.validated else [[label, kind, *values] for label, kind, _, *values in own]
    return lines


def _interval(of: Mapping[str, tuple[float, float]], metric: str) -> str:
    return between(*of[metric]) if metric in of else ""


def about_intervals(retrained: Retrained) -> str:
    """What the confidence intervals of the table are over."""
    several = {len(c.seeds) > 1 for c in retrained.configurations}
    parts = ["of a mean, over test images and seeds; of an ensemble, over test images"] * (True in several)
    parts += ["of a single seed, over test images only: another seed may lie outside"] * (False in several)
    return f"{INTERVAL}: {'; '.join(parts)}"


def turned_metric(c: Scores) -> str:
    """The first of the main metrics that is known over the symmetries."""
    return next(name for name in c.main if f"{name}_d4_mean" in c.spread)


def turned_rows(retrained: Retrained) -> list[list[str]]:
    """A row per configuration and baseline: `turned_metric` on the test images as they are, and over the symmetries."""
    name = turned_metric(retrained.configurations[0])
    spreads = [(c.label, c.spread) for c in retrained.configurations]
    spreads += [(baseline_name(b.name), b.spread) for b in retrained.baselines]
    return [
        [label, *(str(spread[m]) for m in (name, f"{name}_d4_mean", f"{name}_d4_worst"))] for label, spread in spreads
    ]


def difference_rows(retrained: Retrained) -> list[list[str]]:
    """Every other configuration against the first: difference of each metric's means, and paired interval."""
    return [
        [c.label, *(with_interval(*certainty.difference[m], sign=True) for m in c.main)]
        for c, certainty in zip(retrained.configurations[1:], retrained.certainty[1:], strict=True)
    ]


def table(retrained: Retrained) -> Table:
    """The table for the terminal."""
    metrics = fitting(retrained)
    t = Table(
        title=f"{retrained.study}: {what(retrained)} retrained, on {retrained.data['test']:,} test images",
        caption=about_intervals(retrained),
        box=box.SIMPLE,
        padding=(0, 1, 0, 0),
    )
    for heading in headings(retrained, metrics):
        short = heading.replace("validation", "valid.").replace(" ", "\n", 1)
        t.add_column(short, justify="left" if heading == "networks" else "right")
    for row in rows(retrained, metrics):
        if row[0]:
            t.add_section()
        t.add_row(*row)
    return t


def what(retrained: Retrained) -> str:
    return "configurations" if retrained.named else "best configurations"


def describe(c: Scores) -> str:
    """One line on a configuration: its network, its size, and how it does on turned and mirrored test images."""
    name = turned_metric(c)
    size = describe_size(c.parameters, c.sparsity, c.nonzero)
    turned = f"mean {c.spread[f'{name}_d4_mean']}, worst {c.spread[f'{name}_d4_worst']}"
    architecture = describe_architecture(c.config["architecture"])
    return f"{architecture}, {size}; {metric_name(name)} on test images turned and mirrored: {turned}"
