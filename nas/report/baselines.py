"""The baselines beside the retrained configurations: a table for the terminal, a section of the page, sentences."""

from __future__ import annotations

from collections.abc import Sequence

from rich import box
from rich.table import Table

from nas.report.document import html_table, section
from nas.retraining.comparison import Baseline, Verdict
from nas.retraining.retrained import Retrained
from nas.words import baseline_name, between, capital, count, duration, metric_name, si, value, with_interval

FITTED, INTERVAL = "fitted", "95% CI"


def rows(baselines: Sequence[Baseline], metrics: Sequence[str]) -> list[list[str]]:
    """The rows that a configuration has: mean ± standard deviation over the seeds, its interval, their ensemble.

    Trees have no seeds, and so no ensemble.
    """
    lines = []
    for b in baselines:
        name, seeds = baseline_name(b.name), FITTED if b.fitted else count(len(b.seeds), "seed")
        lines.append([name, seeds, *(str(b.spread[m]) for m in metrics)])
        intervals = [b.interval.get(m) for m in metrics]
        lines.append(["", INTERVAL, *(between(*i) if i else "" for i in intervals)])
        if len(b.seeds) > 1:
            lines.append(["", "ensemble", *(value(b.ensemble[m]) for m in metrics)])
    return lines


def table(retrained: Retrained, metrics: Sequence[str]) -> Table:
    """The table for the terminal. Three metrics fit into 80 columns."""
    t = Table(title="baselines, trained and tested on the same images", box=box.SIMPLE, padding=(0, 1, 0, 0))
    t.add_column("baseline", no_wrap=True)
    for metric in metrics:
        t.add_column(f"test\n{metric_name(metric)}", justify="right", no_wrap=True)
    for name, kind, *values in rows(retrained.baselines, metrics):
        if name:
            t.add_section()
        t.add_row(name if kind == FITTED else ", ".join(filter(None, (name, kind))), *values)
    return t


def sentence(verdict: Verdict) -> str:
    """`trial 12 beats ResNet-18, the best baseline, by 0.021 (0.008 to 0.034) in AUC`, or that it does not."""
    ahead, low, high = verdict.ahead
    worse = ahead < 0
    amount = with_interval(*((-ahead, -high, -low) if worse else (ahead, low, high)))
    rival, metric = f"{baseline_name(verdict.baseline)}, the best baseline", metric_name(verdict.metric)
    if verdict.beats:
        return f"trial {verdict.label} beats {rival}, by {amount} in {metric}"
    return f"trial {verdict.label} does not beat {rival}: its {metric} is {'worse' if worse else 'better'} by {amount}"


def against_baselines(retrained: Retrained, metrics: Sequence[str]) -> str:
    """The section of the page. Its table has the columns of the configurations, and what a baseline costs."""
    names = ", ".join(baseline_name(b.name) for b in retrained.baselines)
    caption = (
        f"{capital(names)}: trained or fitted on the same images as the configurations, networks for the "
        "same number of epochs, and tested on the same images. Rows as above. Trees predict the same of an image and "
        "of its turned or mirrored copies: those on principal components average eight views, and statistics do not "
        "change. Every configuration is compared with the baseline that is best on these test images by "
        f"{metric_name(retrained.verdicts[0].metric)}. Brackets hold the 95% interval over test images and seeds, "
        "paired over the images. A configuration beats the baseline if the whole interval is on its side."
    )
    head = ["baseline", "networks", *(f"test {metric_name(m)}" for m in metrics), "parameters", "training"]
    costs = {baseline_name(b.name): [si(b.parameters), duration(b.seconds)] for b in retrained.baselines}
    beside = [[*row, *costs.get(row[0], ["", ""])] for row in rows(retrained.baselines, metrics)]
    shown = [m for m in metrics if m in retrained.verdicts[0].difference]
    differences = [[v.label, *(with_interval(*v.difference[m], sign=True) for m in shown)] for v in retrained.verdicts]
    sentences = "".join(f"<li>{capital(sentence(v))}.</li>" for v in retrained.verdicts)
    best = baseline_name(retrained.verdicts[0].baseline)
    return section(
        "Against the baselines",
        caption,
        html_table(head, beside),
        f"<ul>{sentences}</ul>",
        html_table([f"trial, minus {best}", *map(metric_name, shown)], differences),
    )
