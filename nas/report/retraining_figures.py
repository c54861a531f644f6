"""The figures on the page of a retraining."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import plotly.graph_objects as go

from nas.report.style import SHADES, empty_figure, literal
from nas.retraining.retrained import Retrained
from nas.retraining.scores import Scores
from nas.words import metric_name, objective_name, value

COLOURS = ["#3b7dd8", "#e8710a", "#1b9e77", "#c2569b", "#7a5fd0", "#b08a00"]
LOOK: dict[str, Any] = {"margin": {"l": 70, "r": 10, "t": 30, "b": 50}, "axis": {"automargin": True}}
TOP = 90  # pixels above the figures of a configuration, for the legend of the ROC curves


def overview(retrained: Retrained) -> go.Figure:
    """One row per configuration, the best by the search on top."""
    metric, shown = retrained.objective, retrained.configurations
    names = [f"trial {c.label}" for c in shown]
    figure = empty_figure(objective_name(metric), "", height=150 + 46 * len(shown), **LOOK)
    spread = [c.spread[metric] for c in shown]
    figure.add_scatter(
        x=[v for c in shown for v in (t[metric] for t in c.test)],
        y=[name for name, c in zip(names, shown, strict=True) for _ in c.test],
        mode="markers", name="test, each seed", marker={"color": COLOURS[0], "size": 8, "opacity": 0.45},
        text=[f"seed {seed}" for c in shown for seed in c.seeds], hovertemplate="%{text}: %{x:.5g}<extra></extra>",
    )  # fmt: skip
    figure.add_scatter(
        x=[s.mean for s in spread], y=names, mode="markers", name="test, mean of seeds",
        error_x={"array": [s.sd or 0 for s in spread], "thickness": 2, "width": 5, "color": COLOURS[0]},
        marker={"color": COLOURS[0], "size": 11, "symbol": "line-ns", "line": {"width": 3, "color": COLOURS[0]}},
        hovertemplate="mean %{x:.5g}<extra></extra>",
    )  # fmt: skip
    for name, values, symbol, colour in (
        ("test, ensemble", [c.ensemble[metric] for c in shown], "diamond", COLOURS[2]),
        ("validation, in the search", [c.validation for c in shown], "circle-open", COLOURS[1]),
    ):
        figure.add_scatter(
            x=values, y=names, mode="markers", name=name, hovertemplate=f"{name} %{{x:.5g}}<extra></extra>",
            marker={"symbol": symbol, "size": 11, "color": colour, "line": {"width": 2, "color": colour}},
        )  # fmt: skip
    figure.update_yaxes(autorange="reversed", type="category")
    return figure


def roc(c: Scores) -> go.Figure:
    figure = empty_figure("false positive rate", "true positive rate", height=480, **LOOK)
    figure.add_scatter(
        x=[0, 1], y=[0, 1], mode="lines", line={"dash": "dot", "width": 1, "color": "#97a3b2"}, showlegend=False,
        hoverinfo="skip",
    )  # fmt: skip
    for curve, colour in zip(c.roc, [COLOURS[i % len(COLOURS)] for i in range(len(c.roc))], strict=True):
        label = literal(curve.label)
        for seed, (false, true) in zip(c.seeds, curve.seeds, strict=True):
            figure.add_scatter(
                x=false, y=true, mode="lines", line={"width": 1, "color": colour}, opacity=0.35, showlegend=False,
                legendgroup=label, hovertemplate=f"{label}, seed {seed}<extra></extra>",
            )  # fmt: skip
        figure.add_scatter(
            x=curve.ensemble[0], y=curve.ensemble[1], mode="lines", line={"width": 2.5, "color": colour},
            legendgroup=label, name=f"{label}  {curve.auc}, ensemble {value(curve.ensemble_auc)}",
            hovertemplate="%{x:.3f}, %{y:.3f}<extra>" + label + "</extra>",
        )  # fmt: skip
    figure.update_layout(legend={"orientation": "v"}, margin={"t": TOP})
    figure.update_xaxes(range=[-0.01, 1.01], constrain="domain")
    figure.update_yaxes(range=[-0.01, 1.01], scaleanchor="x", constrain="domain")
    return figure


def precision_recall(c: Scores) -> go.Figure:
    figure = empty_figure("recall", "precision", height=480, **LOOK)
    for k, curve in enumerate(c.roc):
        figure.add_scatter(
            x=curve.precision[0], y=curve.precision[1], mode="lines", name=literal(curve.label),
            line={"width": 2.5, "color": COLOURS[k % len(COLOURS)]},
            hovertemplate="%{x:.3f}, %{y:.3f}<extra>" + literal(curve.label) + "</extra>",
        )  # fmt: skip
    figure.update_layout(margin={"t": TOP})
    figure.update_xaxes(range=[-0.01, 1.01], constrain="domain")
    figure.update_yaxes(range=[-0.01, 1.01], scaleanchor="x", constrain="domain")
    return figure


def confusion(c: Scores, classes: Sequence[str]) -> go.Figure:
    figure = empty_figure("predicted", "true", height=480, **LOOK)
    names = [literal(name) for name in classes]
    share = [[count / max(sum(row), 1) for count in row] for row in c.confusion]
    text = [
        [f"{s:.1%}<br>{n:,}" for s, n in zip(r, row, strict=True)] for r, row in zip(share, c.confusion, strict=True)
    ]
    figure.add_heatmap(
        z=share, x=names, y=names, zmin=0, zmax=1, colorscale=SHADES, showscale=False, xgap=2, ygap=2,
        text=text, texttemplate="%{text}", hovertemplate="true %{y}, predicted %{x}: %{text}<extra></extra>",
    )  # fmt: skip
    figure.update_layout(margin={"t": TOP})
    figure.update_yaxes(autorange="reversed", type="category", showgrid=False, scaleanchor="x", constrain="domain")
    figure.update_xaxes(type="category", showgrid=False, constrain="domain")
    return figure


def predicted_against_true(points: Sequence[Sequence[float]], quantity: str) -> go.Figure:
    figure = empty_figure(f"true {quantity}", "predicted", height=480, **LOOK)
    true, predicted, *sigma = points
    ends = [min(true), max(true)]
    figure.add_scatter(
        x=ends, y=ends, mode="lines", line={"dash": "dot", "width": 1, "color": "#97a3b2"}, showlegend=False,
        hoverinfo="skip",
    )  # fmt: skip
    bars = {"array": sigma[0], "thickness": 0.5, "width": 0, "color": "rgba(59, 125, 216, .35)"} if sigma else None
    figure.add_scatter(
        x=true, y=predicted, mode="markers", showlegend=False, error_y=bars,
        marker={"size": 5, "color": COLOURS[0], "opacity": 0.5}, hovertemplate="%{x:.4g}: %{y:.4g}<extra></extra>",
    )  # fmt: skip
    return figure


def learning_curves(retrained: Retrained) -> go.Figure:
    name = retrained.configurations[0].main[0]
    figure = empty_figure("images to train on", metric_name(name), height=380, **LOOK)
    for k, c in enumerate(retrained.configurations):
        own = [size for size in retrained.sizes if size.trial == c.trial]
        points = [*((s.images, s.spread[name]) for s in own), (retrained.data["train"], c.spread[name])]
        figure.add_scatter(
            x=[n for n, _ in points], y=[spread.mean for _, spread in points], mode="lines+markers",
            error_y={"array": [spread.sd or 0 for _, spread in points], "thickness": 1.5, "width": 4},
            name=f"trial {c.label}", line={"color": COLOURS[k % len(COLOURS)]},
            hovertemplate="%{x:,} images: %{y:.5g}<extra></extra>",
        )  # fmt: skip
    figure.update_xaxes(type="log")
    return figure
