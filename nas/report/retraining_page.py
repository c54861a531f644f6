"""What the retrained networks came to, as tables and as one HTML file that needs no network."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from html import escape

from rich import box
from rich.table import Table

from nas.report.document import document
from nas.report.retraining_figures import (
    confusion,
    learning_curves,
    overview,
    precision_recall,
    predicted_against_true,
    roc,
)
from nas.retraining.retrained import Retrained
from nas.retraining.scores import Scores
from nas.words import describe_architecture, describe_data, describe_size, metric_name, objective_name, override

KINDS = ("roc", "precision", "confusion", "points")
GRID = """
.pair { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(24rem, 100%), 1fr)); gap: 1rem; }
.rank { border-top: 1px solid var(--line); padding-top: .6rem; }
"""


def headings(retrained: Retrained) -> list[str]:
    objective = objective_name(retrained.objective)
    metrics = [f"test {metric_name(m)}" for m in shown(retrained)]
    return ["trial", "networks", f"validation {objective}", *metrics]


def shown(retrained: Retrained) -> tuple[str, ...]:
    """The metrics in the table of configurations: the task's main ones, and what the search was after."""
    first = retrained.configurations[0]
    more = retrained.objective in first.spread and retrained.objective not in first.main
    return (*first.main, retrained.objective) if more else first.main


def rows(retrained: Retrained) -> list[list[str]]:
    """Three for each configuration: the seeds as mean ± sample standard deviation, together, and how sure that is."""
    lines = []
    for c, sure in zip(retrained.configurations, retrained.certainty, strict=True):
        seeds = "1 seed" if len(c.seeds) == 1 else f"{len(c.seeds)} seeds"
        lines.append([str(c.trial), seeds, f"{c.validation:.4f}", *(str(c.spread[m]) for m in shown(retrained))])
        lines.append(["", "ensemble", "", *(f"{c.ensemble[m]:.4f}" for m in shown(retrained))])
        between = [sure.interval.get(m) for m in shown(retrained)]
        lines.append(["", "its 95%", "", *(f"{b[0]:.3f} to {b[1]:.3f}" if b else "" for b in between)])
    return lines


def turned_rows(retrained: Retrained) -> list[list[str]]:
    """One for each configuration: the leading metric on the test images as they are, and under the symmetries."""
    name = retrained.configurations[0].main[0]
    return [
        [str(c.trial), *(str(c.spread[m]) for m in (name, f"{name}_d4_mean", f"{name}_d4_worst"))]
        for c in retrained.configurations
    ]


def difference_rows(retrained: Retrained) -> list[list[str]]:
    """The other configurations against the first, seeds together: difference and paired interval of each metric."""
    return [
        [str(c.trial), *("{:+.4f} ({:+.4f} to {:+.4f})".format(*sure.difference[m]) for m in c.main)]
        for c, sure in zip(retrained.configurations[1:], retrained.certainty[1:], strict=True)
    ]


def table(retrained: Retrained) -> Table:
    """For the terminal; narrow enough for 80 columns."""
    t = Table(
        title=f"{retrained.study}: the best, retrained, on {retrained.data['test']:,} test images",
        box=box.SIMPLE,
        padding=(0, 1, 0, 0),
    )
    for heading in headings(retrained):
        short = heading.replace("validation", "valid.").replace(" ", "\n", 1)
        t.add_column(short, justify="left" if heading == "networks" else "right", no_wrap=True)
    for i, row in enumerate(rows(retrained)):
        t.add_row(*row, end_section=i % 3 == 2)
    return t


def describe(c: Scores) -> str:
    name = c.main[0]
    turned = f"{metric_name(name)} of the test images turned and mirrored {c.spread[f'{name}_d4_mean']} on average"
    worst = f"{c.spread[f'{name}_d4_worst']} at worst"
    size = describe_size(c.parameters, c.sparsity, c.nonzero)
    return f"{describe_architecture(c.config['architecture'])}, {size}; {turned}, {worst}"


def page(retrained: Retrained) -> str:
    figures = {}
    if retrained.objective in retrained.configurations[0].spread:
        figures["overview"] = overview(retrained)
    if retrained.sizes:
        figures["sizes"] = learning_curves(retrained)
    for c in retrained.configurations:
        if c.roc:
            figures[f"roc-{c.trial}"] = roc(c)
            figures[f"precision-{c.trial}"] = precision_recall(c)
            figures[f"confusion-{c.trial}"] = confusion(c, retrained.classes)
        else:
            figures[f"points-{c.trial}"] = predicted_against_true(c, retrained.quantity)
    plots = {key: f'<div class=plot id="{key}" style="height:{f.layout.height}px"></div>' for key, f in figures.items()}
    name = objective_name(retrained.objective)
    n = len(retrained.configurations)
    caption = (
        f"The best of {retrained.finished} trials by validation {name}, each trained again from scratch with every "
        "seed. Mean ± sample standard deviation over seeds; ensemble: the seeds' combined prediction, and the middle "
        f"95% of 1,000 bootstrap resamples of the test images. The validation {name} is the one it was chosen by in "
        "the search: a value chosen as the best of many is flattered."
    )
    leading = metric_name(retrained.configurations[0].main[0])
    body = f"""{header(retrained)}
<section><h2>On the test images</h2><p class=caption>{escape(caption)}</p>
{html_table(headings(retrained), rows(retrained))}</section>
{overview_section(name, plots["overview"]) if "overview" in plots else ""}
<section><h2>Turned and mirrored</h2><p class=caption>{escape(leading)} on the test images as they are, and over the
eight symmetries of the square: the mean and the worst of the eight. A network that has learnt an axis which all images
share does
worse here; the sky has none.</p>
{html_table(["trial", "upright", "mean of eight", "worst of eight"], turned_rows(retrained))}</section>
{differences(retrained) if n > 1 else ""}
{sizes_section(leading, plots["sizes"]) if retrained.sizes else ""}
{CLASSES_CAPTION if retrained.classes else NUMBERS_CAPTION}
{"".join(configuration(c, plots, rank, n) for rank, c in enumerate(retrained.configurations, 1))}
{failures(retrained)}"""
    return document(f"{retrained.study}: the best, retrained", body, figures, style=GRID)


CLASSES_CAPTION = """<section><h2>Curves and confusion matrices</h2><p class=caption>Each class against the rest:
the seeds faint, their ensemble strong; with each class, the area under the curve as mean ± sample standard deviation
over the seeds, and of the ensemble. Precision against recall: the ensemble. Confusion: the share of each true class,
and below it the images, summed over the seeds.</p></section>"""
NUMBERS_CAPTION = """<section><h2>Predicted against true</h2><p class=caption>What the seeds say together of each test
image, against the truth; on the line they agree. A flat cloud at the mean has learnt nothing.</p></section>"""


def differences(retrained: Retrained) -> str:
    first = retrained.configurations[0]
    return f"""<section><h2>Against trial {first.trial}</h2><p class=caption>The seeds' combined prediction minus that
of the first configuration, on the same test images, with the middle 95% of paired bootstrap resamples: a difference
whose interval contains zero may be chance.</p>
{html_table(["trial", *map(metric_name, first.main)], difference_rows(retrained))}</section>"""


def sizes_section(name: str, plot: str) -> str:
    return f"""<section><h2>With fewer images</h2><p class=caption>Test {escape(name)} of the same configurations, each
trained for the same epochs on so many images; larger sets contain the smaller. Mean over the seeds, one standard
deviation to either side.</p>{plot}</section>"""


def header(retrained: Retrained) -> str:
    facts = {
        "Data": describe_data(retrained.data["source"]),
        "Training": f"{retrained.data['train']:,} {retrained.data['splits']}, {retrained.epochs} epochs, no "
        f"early stopping, weights of the last epoch{override(retrained.overridden)}",
        "Test": f"{retrained.data['test']:,} images, read once by each network, after its training",
    }
    lines = "".join(f"<div><dt>{name}</dt><dd>{escape(fact)}</dd></div>" for name, fact in facts.items())
    title = f"The best of the search, retrained: {retrained.question}" if retrained.question else "The best, retrained"
    return f"<header><p class=name>{escape(retrained.study)}</p><h1>{escape(title)}</h1><dl>{lines}</dl></header>"


def overview_section(name: str, plot: str) -> str:
    return f"""<section><h2>Chosen on validation, measured on test</h2><p class=caption>{escape(name)} of each
configuration: the search's validation value that chose it, and what the retrained seeds reach on the test images. The
line spans one standard deviation to either side of the mean.</p>{plot}</section>"""


def configuration(c: Scores, plots: Mapping[str, str], rank: int, of: int) -> str:
    what = f"Trial {c.trial}: {describe_architecture(c.config['architecture'])}"
    place = (
        f"Rank {rank} of {of} by validation, {describe_size(c.parameters, c.sparsity, c.nonzero)}. Exported to "
        f"models/trial-{c.trial}, with the weights of seed {c.seeds[0]}."
    )
    return f"""<section class=rank><h2>{escape(what)}</h2><p class=caption>{escape(place)}</p>
<div class=pair>{"".join(plots[key] for key in (f"{k}-{c.trial}" for k in KINDS) if key in plots)}</div>
<details><summary>Every metric</summary>
{html_table(["metric", "seeds", "ensemble"], [[k, str(v), f"{c.ensemble[k]:.4f}"] for k, v in c.spread.items()])}
</details>
<details><summary>Configuration</summary><pre>{escape(json.dumps(c.config, indent=1))}</pre></details></section>"""


def failures(retrained: Retrained) -> str:
    if not retrained.failures:
        return ""
    lines = "".join(f"<li>{escape(reason)}</li>" for reason in retrained.failures)
    return f"<section><h2>Failed trainings</h2><ul>{lines}</ul></section>"


def html_table(head: Sequence[str], body: Sequence[Sequence[str]]) -> str:
    def line(cell: str, values: Sequence[str]) -> str:
        return "".join(f"<{cell}>{escape(value)}</{cell}>" for value in values)

    lines = "".join(f"<tr>{line('td', row)}</tr>" for row in body)
    return f"<div class=scroll><table><thead><tr>{line('th', head)}</tr></thead><tbody>{lines}</tbody></table></div>"
