"""A figure of attributions for a paper or a notebook."""

from __future__ import annotations

from itertools import zip_longest
from typing import TYPE_CHECKING

import numpy as np

from nas.errors import mendable
from nas.models.explanation import Explanation
from nas.paper.figures import COLUMN, STYLE, load_matplotlib
from nas.report.explanation_figures import by_class, pictures

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@mendable
def attribution_maps(found: Explanation, columns: int = 6) -> Figure:
    """Draw images, their attributions and, where it is known, the signal of the substructure, in three rows.

    The images are of all classes in turn. UserError without matplotlib.
    """
    matplotlib = load_matplotlib()
    turns = zip_longest(*(rows for _, rows in by_class(found)))
    chosen = np.array([row for turn in turns for row in turn if row is not None][:columns])
    lines = pictures(found, chosen)
    with matplotlib.rc_context(STYLE):
        figure: Figure = matplotlib.figure.Figure(figsize=(COLUMN * 2, COLUMN * 2 / columns * len(lines)), dpi=100)
        grid = figure.subplots(len(lines), columns, squeeze=False)
        for axes in grid.flat:
            axes.set(xticks=[], yticks=[], frame_on=False)
        for axes_of_line, (name, line) in zip(grid, lines.items(), strict=True):
            axes_of_line[0].set_ylabel(name)
            for axes, picture in zip(axes_of_line, line, strict=False):
                axes.imshow(picture)
        for axes, i in zip(grid[0], chosen, strict=False):
            axes.set_title(found.classes[found.labels[i]] if found.classes else "", parse_math=False)
    return figure
