"""The figures of `nas.explain`'s page: densities by radius, the heads' ellipses, and maps of single images."""

from __future__ import annotations

import numpy as np
import plotly.graph_objects as go
import torch
from numpy.typing import NDArray

from nas.models.explanation import Explanation
from nas.report.audit_pictures import colours, png, scaled
from nas.report.figures import BEST, BUDGETS, HIGHLIGHTS
from nas.report.style import empty_figure

COLUMNS = 8  # images of a class
COMMON = 0.5  # of the shear's axes, from which on the lenses have one
FOR, AGAINST = np.array([232, 113, 10]), np.array([43, 111, 211])  # the colours of an attribution


def profile(found: Explanation) -> go.Figure:
    """The densities by radius."""
    figure = empty_figure(f"radius [{found.profile.unit}]", "density")
    lines = (("attribution", found.profile.attribution, BEST), ("light", found.profile.light, BUDGETS[-1]))
    for name, density, colour in lines:
        figure.add_scatter(
            x=found.profile.radius, y=density, mode="lines", name=name, line={"color": colour, "width": 2},
            hovertemplate="%{x:.2f}: %{y:.2f}<extra>" + name + "</extra>",
        )  # fmt: skip
    figure.add_hline(y=1, line={"dash": "dot", "width": 1, "color": "#8b95a1"})
    figure.update_yaxes(rangemode="tozero")
    return figure


def ellipses(found: Explanation) -> go.Figure:
    """The ellipse of each head: angle and ellipticity."""
    figure = empty_figure("angle of the long axis [degrees]", "ellipticity")
    names = {"rows": "from along a row towards down the rows", "radius": "from the radius (90: along the ring)"}
    for reference, colour in zip(names, (BUDGETS[-1], HIGHLIGHTS[0]), strict=True):
        of = [head for head in found.heads if head.reference == reference]
        if of:
            figure.add_scatter(
                x=[h.angle for h in of], y=[h.ellipticity for h in of], mode="markers", name=names[reference],
                marker={"color": colour, "size": 8},
                text=[f"network {h.network}, stage {h.stage}, block {h.block}, head {h.head}" for h in of],
                hovertemplate="%{text}<br>%{x:.0f} degrees, ellipticity %{y:.2f}<extra></extra>",
            )  # fmt: skip
    if found.axis is not None and found.axis[1] >= COMMON and any(h.reference == "rows" for h in found.heads):
        figure.add_vline(
            x=found.axis[0], line={"dash": "dot", "width": 1, "color": "#8b95a1"}, annotation_text="shear of the lenses"
        )
    figure.update_xaxes(range=[0, 180], dtick=45)
    figure.update_yaxes(range=[0, 1])
    return figure


def sheets(found: Explanation) -> list[tuple[str, str, int]]:
    """For each class its name, a picture as a URI (images, attribution and signal in rows), and its columns."""
    chosen = [(name, rows[:COLUMNS]) for name, rows in by_class(found)]
    return [(name, png(_grid(list(pictures(found, rows).values()))), len(rows)) for name, rows in chosen]


def by_class(found: Explanation) -> list[tuple[str, NDArray[np.int64]]]:
    """The rows of the images of each class that has some, or of all images where the model has no classes."""
    if not found.classes:
        return [("images", np.arange(len(found.images)))]
    each = [(name, np.flatnonzero(found.labels == k)) for k, name in enumerate(found.classes)]
    return [(name, rows) for name, rows in each if len(rows)]


def pictures(found: Explanation, rows: NDArray[np.int64]) -> dict[str, list[NDArray[np.uint8]]]:
    """Of some images: themselves, their attributions and, where it is known, the signal of the substructure."""
    images = colours(torch.from_numpy(found.images[rows]).double(), named=found.named)
    made = {
        "image": [scaled(image) for image in images],
        "attribution": [diverging(values) for values in found.maps[rows]],
    }
    if found.signal is not None:
        made["signal"] = [scaled(np.sqrt(values)[:, :, None].repeat(3, 2)) for values in found.signal[rows]]
    return made


def diverging(values: NDArray[np.float64]) -> NDArray[np.uint8]:
    """(S, S) -> (S, S, 3): white at 0, orange above, blue below, in full from the 99.5th percentile of |values| on."""
    level = np.clip(values / (np.percentile(np.abs(values), 99.5) or 1.0), -1, 1)[:, :, None]
    return np.asarray(255 + np.abs(level) * (np.where(level > 0, FOR, AGAINST) - 255), dtype=np.uint8)


def _grid(lines: list[list[NDArray[np.uint8]]]) -> NDArray[np.uint8]:
    side = len(lines[0][0])
    step = side + max(side // 32, 1)
    whole = np.full((len(lines) * step, len(lines[0]) * step, 3), 128, dtype=np.uint8)
    for i, line in enumerate(lines):
        for j, picture in enumerate(line):
            whole[i * step : i * step + side, j * step : j * step + side] = picture
    return whole
