"""What the retrained networks came to, as tables and as one HTML file that needs no network."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from typing import Any

import plotly.graph_objects as go
from rich import box
from rich.table import Table

from nas.report.document import document
from nas.report.words import describe_architecture, describe_data, describe_size, objective_name, override
from nas.scores import Scores

COLOURS = ["#3b7dd8", "#e8710a", "#1b9e77", "#c2569b", "#7a5fd0", "#b08a00"]
SHADES = [[0.0, "#e6edf5"], [0.5, "#8fb3df"], [1.0, "#1f4f9c"]]
TOP = 90  # pixels above a ROC and its confusion matrix, for the legend
GRID = """
.pair { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(24rem, 100%), 1fr)); gap: 1rem; }
.rank { border-top: 1px solid var(--line); padding-top: .6rem; }
"""


@dataclass(frozen=True)
class Results:
    """All that a retraining found; `dataclasses.asdict` of it is retrain.json."""

    study: str
    question: str
    objective: str
    data: Mapping[str, Any]  # source, and the number of images to train on ("train", validation included) and to "test"
    task: str
    classes: tuple[str, ...]
    epochs: int
    finished: int  # trials of the search
    configurations: tuple[Scores, ...]  # best first, by the search's validation value
    failures: tuple[str, ...]
    overridden: Mapping[str, Any]  # of every training, instead of the search's own: sparsity, rewind


def metric_name(metric: str) -> str:
    return "log loss" if metric == "loss" else objective_name(metric)


def headings(results: Results) -> list[str]:
    objective = objective_name(results.objective)
    metrics = [f"test {metric_name(m)}" for m in results.configurations[0].spread]
    return ["trial", "networks", f"validation {objective}", *metrics]


def rows(results: Results) -> list[list[str]]:
    """Two for each configuration: the seeds, as mean ± sample standard deviation, and their mean probability."""
    lines = []
    for c in results.configurations:
        seeds = "1 seed" if len(c.seeds) == 1 else f"{len(c.seeds)} seeds"
        lines.append([str(c.trial), seeds, f"{c.validation:.4f}", *map(str, c.spread.values())])
        lines.append(["", "ensemble", "", *(f"{c.ensemble[metric]:.4f}" for metric in c.spread)])
    return lines


def table(results: Results) -> Table:
    """For the terminal; narrow enough for 80 columns."""
    t = Table(
        title=f"{results.study}: the best, retrained, on {results.data['test']:,} test images",
        box=box.SIMPLE,
        padding=(0, 1, 0, 0),
    )
    for heading in headings(results):
        short = heading.replace("validation", "valid.").replace(" ", "\n", 1)
        t.add_column(short, justify="left" if heading == "networks" else "right", no_wrap=True)
    for i, row in enumerate(rows(results)):
        t.add_row(*row, end_section=i % 2 == 1)
    return t


def describe(c: Scores) -> str:
    return f"{describe_architecture(c.config['architecture'])}, {describe_size(c.parameters, c.sparsity, c.nonzero)}"


def page(results: Results) -> str:
    figures = {}
    if results.objective in results.configurations[0].spread:
        figures["overview"] = overview(results)
    for c in results.configurations:
        figures[f"roc-{c.trial}"] = roc(c)
        figures[f"confusion-{c.trial}"] = confusion(c, results.classes)
    plots = {key: f'<div class=plot id="{key}" style="height:{f.layout.height}px"></div>' for key, f in figures.items()}
    name = objective_name(results.objective)
    n = len(results.configurations)
    caption = (
        f"The best of {results.finished} trials by validation {name}, each trained again from scratch with every seed. "
        "Mean ± sample standard deviation over seeds; ensemble: the mean probability of the seeds. The validation "
        f"{name} is the one it was chosen by in the search: a value chosen as the best of many is flattered."
    )
    body = f"""{header(results)}
<section><h2>On the test images</h2><p class=caption>{escape(caption)}</p>
{html_table(headings(results), rows(results))}</section>
{overview_section(name, plots["overview"]) if "overview" in plots else ""}
<section><h2>ROC curves and confusion matrices</h2><p class=caption>Each class against the rest: the seeds faint, their
ensemble strong; with each class, the area under the curve as mean ± sample standard deviation over the seeds, and of
the ensemble. Confusion: the share of each true class, and below it the images, summed over the seeds.</p></section>
{"".join(configuration(c, plots, rank, n) for rank, c in enumerate(results.configurations, 1))}
{failures(results)}"""
    return document(f"{results.study}: the best, retrained", body, figures, style=GRID)


def header(results: Results) -> str:
    facts = {
        "Data": describe_data(results.data["source"]),
        "Training": f"{results.data['train']:,} images (training and validation together), {results.epochs} epochs, no "
        f"early stopping, weights of the last epoch{override(results.overridden)}",
        "Test": f"{results.data['test']:,} images, read once by each network, after its training",
    }
    lines = "".join(f"<div><dt>{name}</dt><dd>{escape(fact)}</dd></div>" for name, fact in facts.items())
    title = f"The best of the search, retrained: {results.question}" if results.question else "The best, retrained"
    return f"<header><p class=name>{escape(results.study)}</p><h1>{escape(title)}</h1><dl>{lines}</dl></header>"


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
<div class=pair>{plots[f"roc-{c.trial}"]}{plots[f"confusion-{c.trial}"]}</div>
<details><summary>Configuration</summary><pre>{escape(json.dumps(c.config, indent=1))}</pre></details></section>"""


def failures(results: Results) -> str:
    if not results.failures:
        return ""
    lines = "".join(f"<li>{escape(reason)}</li>" for reason in results.failures)
    return f"<section><h2>Failed trainings</h2><ul>{lines}</ul></section>"


def html_table(head: Sequence[str], body: Sequence[Sequence[str]]) -> str:
    def line(cell: str, values: Sequence[str]) -> str:
        return "".join(f"<{cell}>{escape(value)}</{cell}>" for value in values)

    lines = "".join(f"<tr>{line('td', row)}</tr>" for row in body)
    return f"<div class=scroll><table><thead><tr>{line('th', head)}</tr></thead><tbody>{lines}</tbody></table></div>"


def overview(results: Results) -> go.Figure:
    """One line per configuration, the best by validation on top."""
    metric, shown = results.objective, results.configurations
    names = [f"trial {c.trial}" for c in shown]
    figure = _figure(objective_name(metric), "", height=150 + 46 * len(shown))
    spread = [c.spread[metric] for c in shown]
    figure.add_scatter(
        x=[v for c in shown for v in (t[metric] for t in c.test)],
        y=[name for name, c in zip(names, shown, strict=True) for _ in c.test],
        mode="markers", name="test, each seed", marker={"color": COLOURS[0], "size": 8, "opacity": 0.45},
        text=[f"seed {seed}" for c in shown for seed in c.seeds], hovertemplate="%{text}: %{x:.4f}<extra></extra>",
    )  # fmt: skip
    figure.add_scatter(
        x=[s.mean for s in spread], y=names, mode="markers", name="test, mean of seeds",
        error_x={"array": [s.sd or 0 for s in spread], "thickness": 2, "width": 5, "color": COLOURS[0]},
        marker={"color": COLOURS[0], "size": 11, "symbol": "line-ns", "line": {"width": 3, "color": COLOURS[0]}},
        hovertemplate="mean %{x:.4f}<extra></extra>",
    )  # fmt: skip
    for name, values, symbol, colour in (
        ("test, ensemble", [c.ensemble[metric] for c in shown], "diamond", COLOURS[2]),
        ("validation, in the search", [c.validation for c in shown], "circle-open", COLOURS[1]),
    ):
        figure.add_scatter(
            x=values, y=names, mode="markers", name=name, hovertemplate=f"{name} %{{x:.4f}}<extra></extra>",
            marker={"symbol": symbol, "size": 11, "color": colour, "line": {"width": 2, "color": colour}},
        )  # fmt: skip
    figure.update_yaxes(autorange="reversed", type="category")
    return figure


def roc(c: Scores) -> go.Figure:
    figure = _figure("false positive rate", "true positive rate", height=480)
    figure.add_scatter(
        x=[0, 1], y=[0, 1], mode="lines", line={"dash": "dot", "width": 1, "color": "#97a3b2"}, showlegend=False,
        hoverinfo="skip",
    )  # fmt: skip
    for curve, colour in zip(c.roc, [COLOURS[i % len(COLOURS)] for i in range(len(c.roc))], strict=True):
        for seed, (false, true) in zip(c.seeds, curve.seeds, strict=True):
            figure.add_scatter(
                x=false, y=true, mode="lines", line={"width": 1, "color": colour}, opacity=0.35, showlegend=False,
                legendgroup=curve.label, hovertemplate=f"{curve.label}, seed {seed}<extra></extra>",
            )  # fmt: skip
        figure.add_scatter(
            x=curve.ensemble[0], y=curve.ensemble[1], mode="lines", line={"width": 2.5, "color": colour},
            legendgroup=curve.label, name=f"{curve.label}  {curve.auc}, ensemble {curve.ensemble_auc:.4f}",
            hovertemplate="%{x:.3f}, %{y:.3f}<extra>" + curve.label + "</extra>",
        )  # fmt: skip
    figure.update_layout(legend={"orientation": "v"}, margin={"t": TOP})
    figure.update_xaxes(range=[-0.01, 1.01], constrain="domain")
    figure.update_yaxes(range=[-0.01, 1.01], scaleanchor="x", constrain="domain")
    return figure


def confusion(c: Scores, classes: Sequence[str]) -> go.Figure:
    figure = _figure("predicted", "true", height=480)
    share = [[count / max(sum(row), 1) for count in row] for row in c.confusion]
    text = [
        [f"{s:.1%}<br>{n:,}" for s, n in zip(r, row, strict=True)] for r, row in zip(share, c.confusion, strict=True)
    ]
    figure.add_heatmap(
        z=share, x=list(classes), y=list(classes), zmin=0, zmax=1, colorscale=SHADES, showscale=False, xgap=2, ygap=2,
        text=text, texttemplate="%{text}", hovertemplate="true %{y}, predicted %{x}: %{text}<extra></extra>",
    )  # fmt: skip
    figure.update_layout(margin={"t": TOP})
    figure.update_yaxes(autorange="reversed", type="category", showgrid=False, scaleanchor="x", constrain="domain")
    figure.update_xaxes(type="category", showgrid=False, constrain="domain")
    return figure


def _figure(x: str, y: str, *, height: int) -> go.Figure:
    """Without colours of its own: ink, grid and background come from the page, light or dark."""
    layout = go.Layout(
        template="none", height=height, margin={"l": 70, "r": 10, "t": 30, "b": 50},
        paper_bgcolor="rgba(0,0,0,0)", plot_bgcolor="rgba(0,0,0,0)",
        xaxis={"title": {"text": x}, "zeroline": False, "automargin": True},
        yaxis={"title": {"text": y}, "zeroline": False, "automargin": True},
        legend={"orientation": "h", "x": 0, "y": 1.02, "yanchor": "bottom"}, hovermode="closest",
    )  # fmt: skip
    return go.Figure(layout=layout)
