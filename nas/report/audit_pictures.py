"""Pictures of a data set's training images, as PNG in a URI, and the figure of their intensities."""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence

import numpy as np
import plotly.graph_objects as go
import torch
from numpy.typing import NDArray
from PIL import Image

from nas.report.figures import BUDGETS, HIGHLIGHTS
from nas.report.style import empty_figure, literal
from trainers.data import Dataset

COLUMNS, ROWS = 10, 2  # of a sheet
LARGEST = 128  # pixels a side of an image in a sheet
AVERAGED = 500  # images of a class in its mean and its histogram
PERCENTILES = (0.5, 99.5)
BINS = 80
PIXELS = 1_000_000  # of a class in its histogram


def chosen(data: Dataset, label: int, at_most: int) -> torch.Tensor:
    """Training images of a class, (N, C, S, S) float32 on the CPU, drawn at random, the same every time."""
    rows = (data.train.labels == label).nonzero()[:, 0]
    rows = rows[torch.randperm(len(rows), generator=torch.Generator().manual_seed(0))[:at_most]]
    return data.train.images[rows.to(data.train.images.device)].cpu().float()


def colours(images: torch.Tensor, named: bool) -> NDArray[np.float64]:
    """(N, C, S, S) -> (N, S, S, 3): three channels as red, green and blue, any other number as their mean in grey.

    Bands with names are in order of wavelength, so that the last is red.
    """
    x = images.double().numpy()
    x = (x[:, ::-1] if named else x) if x.shape[1] == 3 else x.mean(1, keepdims=True).repeat(3, 1)
    return np.moveaxis(x, 1, -1)


def scaled(x: NDArray[np.float64]) -> NDArray[np.uint8]:
    """To 0 to 255, from the percentiles of the whole array."""
    low, high = np.percentile(x, PERCENTILES)
    return np.asarray(255 * np.clip((x - low) / ((high - low) or 1.0), 0, 1), dtype=np.uint8)


def png(picture: NDArray[np.uint8]) -> str:
    file = io.BytesIO()
    Image.fromarray(picture).save(file, "PNG", optimize=True)
    return f"data:image/png;base64,{base64.b64encode(file.getvalue()).decode()}"


def sheet(data: Dataset, label: int) -> str:
    """Training images of a class side by side, as a URI; empty if it has none."""
    images = colours(chosen(data, label, COLUMNS * ROWS), bool(data.channels))
    if not len(images):
        return ""
    side = min(images.shape[1], LARGEST)
    gap = max(side // 32, 1)
    rows = -(-len(images) // COLUMNS)
    whole = np.full((rows * (side + gap) - gap, COLUMNS * (side + gap) - gap, 3), 128, dtype=np.uint8)
    for i, image in enumerate(images):
        y, x = (side + gap) * (i // COLUMNS), (side + gap) * (i % COLUMNS)
        small = Image.fromarray(scaled(image)).resize((side, side), Image.Resampling.BILINEAR)
        whole[y : y + side, x : x + side] = np.asarray(small)
    return png(whole)


def mean_images(data: Dataset, labels: Sequence[int]) -> list[str]:
    """The mean training image of each class as a URI, all on one scale; empty for a class without images."""
    means = {}
    for label in labels:  # one after another: those of all classes may be too many for the memory
        images = chosen(data, label, AVERAGED)
        if len(images):
            means[label] = colours(images.mean(0, keepdim=True, dtype=torch.float64), bool(data.channels))[0]
    drawn = dict(zip(means, scaled(np.stack(list(means.values()))), strict=True)) if means else {}
    return [png(drawn[label]) if label in drawn else "" for label in labels]


def intensities(data: Dataset, labels: Sequence[int]) -> go.Figure:
    """The share of each class's pixels by their value."""
    figure = empty_figure("pixel value, as stored", "share of pixels")
    pixels = {}
    for label in labels:
        all_pixels = chosen(data, label, AVERAGED).flatten()
        pixels[label] = all_pixels[:: 1 + len(all_pixels) // PIXELS].numpy().copy()
    everything = np.concatenate(list(pixels.values()) or [np.zeros(1)])
    low, high = np.percentile(everything, (0.1, 99.9)) if len(everything) else (0.0, 1.0)
    edges = np.linspace(low, high if high > low else low + (abs(low) or 1.0), BINS + 1)
    palette = [BUDGETS[-1], *HIGHLIGHTS]
    for label, values in pixels.items():
        if len(values):
            counts, _ = np.histogram(values, edges)
            figure.add_scatter(
                x=(edges[1:] + edges[:-1]) / 2, y=[c / len(values) if c else None for c in counts.tolist()],
                mode="lines", name=literal(data.classes[label]),
                line={"shape": "hvh", "width": 2, "color": palette[label % len(palette)]},
                hovertemplate="%{x:.4g}: %{y:.2g}<extra>%{fullData.name}</extra>",
            )  # fmt: skip
    figure.update_yaxes(type="log", exponentformat="power")
    return figure
