"""Prints the tables of finished studies as Markdown and draws their plots as PNG, for studies/README.md.

    python benchmarks/study_tables.py runs/augmentation runs/mlp --figures benchmarks/figures

For a grid: the mean of each cell over its seeds, the paired effects and their plot. For a search: its best trials and
its history. Plots need `chromium` on the path.
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path

import plotly.graph_objects as go
from PIL import Image

from nas.reading import load_results
from nas.report import effects as grid
from nas.report import figures
from nas.report.data import incumbent
from nas.report.table import cell_headings, cell_rows, cells, effect_headings, effect_rows, headings

WIDTH = 900


def markdown(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = ["| " + " | ".join(row) + " |" for row in (head, ["---"] * len(head), *rows)]
    return "\n".join(lines)


def picture(figure: go.Figure, path: Path) -> None:
    """Save a screenshot of the figure with at most 64 colours."""
    figure.update_layout(paper_bgcolor="white", plot_bgcolor="white", width=WIDTH)
    height = int(figure.layout.height or 420)
    with tempfile.TemporaryDirectory() as scratch:
        page, shot = Path(scratch) / "page.html", Path(scratch) / "shot.png"
        figure.write_html(page, config={"displayModeBar": False})
        subprocess.run(
            ["chromium", "--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", "--no-first-run",
             f"--user-data-dir={scratch}/profile", "--virtual-time-budget=8000",
             f"--window-size={WIDTH + 20},{height + 20}", f"--screenshot={shot}", page.as_uri()],
            check=True, capture_output=True,
        )  # fmt: skip
        Image.open(shot).convert("RGB").quantize(64).save(path, optimize=True)


def main() -> None:
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("runs", type=Path, nargs="+", help="folders of finished studies")
    p.add_argument("--figures", type=Path, help="folder for the plots, named after the runs")
    p.add_argument("--top", type=int, default=5)
    args = p.parse_args()
    if args.figures and not shutil.which("chromium"):
        p.error("--figures needs chromium on the path to draw the plots")
    for folder in args.runs:
        search = load_results(folder)
        data = search.spec["data"]
        print(f"\n## {folder.name}\n\n{search.question}\n\n{search.counts()} of {data}, rungs {search.rungs}\n")
        if search.grid:
            factors = grid.effects(search)
            print(markdown(cell_headings(search), cell_rows(search)) + "\n")
            print(markdown(effect_headings(search), effect_rows(factors)))
            figure = figures.effects(search, factors)
        else:
            print(markdown(headings(search), [cells(search, trial) for trial in search.ranked()[: args.top]]))
            figure = figures.history(search, incumbent(search))
        if args.figures:
            picture(figure, args.figures / f"{folder.name}.png")


if __name__ == "__main__":
    main()
