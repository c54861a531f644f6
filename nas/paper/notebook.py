"""A notebook of a study, executed: its cells call the library, so that a reader can go on from them.

It needs the extra `notebook`.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from nas.errors import UserError, mendable
from nas.files import write_text
from nas.paper.figures import figures
from nas.paper.tables import tables
from nas.report.page import retrain_command
from nas.results import Results
from nas.run_folder import RunFolder
from nas.words import markdown
from nas.workers.training import import_path

NEEDED = ("nbformat", "nbclient", "ipykernel", "matplotlib")
STARTING = 300  # seconds that a kernel may take to start, on a busy machine
QUIET = "ignore:IProgress not found"  # tqdm's wish for a package that is not needed


@dataclass(frozen=True)
class Cell:
    source: str
    code: bool = True


def text(source: str) -> Cell:
    """A cell of Markdown."""
    return Cell(source, code=False)


@mendable
def notebook(results: Results) -> Path:
    """Write and execute the notebook of a study, `notebook.ipynb` in its run, and return its path.

    UserError without the packages of the extra `notebook`, or if the images of the study are gone.
    """
    check_installed()
    if results.database is None:
        raise UserError(f"the study {results.name!r} is not on disk, where its notebook would read it")
    run = RunFolder(results.database.parent)
    write_text(run.notebook, executed(list(cells(results, run)), run.path))
    return run.notebook


def check_installed() -> None:
    """UserError without the packages that write and execute a notebook."""
    if missing := [name for name in NEEDED if find_spec(name) is None]:
        raise UserError(f"a notebook needs {', '.join(missing)}: pip install {' '.join(missing)}")


def executed(cells: Sequence[Cell], folder: Path) -> str:
    """The contents of the notebook with these cells, executed in `folder`.

    A UserError that a cell raises is raised here; any other error ends the work too.
    """
    import nbformat
    from nbclient import NotebookClient
    from nbclient.exceptions import CellExecutionError
    from traitlets.config import Config

    v4 = nbformat.v4
    made = [(v4.new_code_cell if cell.code else v4.new_markdown_cell)(cell.source, id=f"cell-{k}")
            for k, cell in enumerate(cells)]  # fmt: skip
    book = v4.new_notebook(cells=made)
    client = NotebookClient(
        book, timeout=None, startup_timeout=STARTING, kernel_name="python3", record_timing=False,
        resources={"metadata": {"path": str(folder)}}, config=Config(KernelManager={"transport_encryption": "auto"}),
    )  # fmt: skip
    paths = os.pathsep.join(import_path())
    try:
        client.execute(env={**os.environ, "PYTHONPATH": paths, "PYTHONWARNINGS": QUIET})
    except CellExecutionError as error:
        if error.ename in ("UserError", "ModelFailed"):
            raise UserError(error.evalue) from error
        raise
    for cell in book.cells:
        if "outputs" in cell:  # Ray Tune shows an empty table
            cell.outputs = [output for output in cell.outputs if output.get("data", {}).get("text/html") != ""]
    return str(nbformat.writes(book)) + "\n"


def cells(results: Results, run: RunFolder) -> Iterator[Cell]:
    """Question, data, space, search, retraining, conclusion, and how to go on."""
    of = {"tables": [table.name for table in tables(results)], "figures": list(figures(results))}

    def shown(*names: str) -> Iterator[Cell]:
        """The cells that show these tables and figures, of those that there are."""
        for name in names:
            yield from (Cell(f'{kind}["{name}"]') for kind, known in of.items() if name in known)

    yield text(
        f"# {markdown(results.question) or results.name}\n\nThe study `{results.name}`. The cells below read every "
        "number and figure from its record, in the folder of its run."
    )
    yield Cell(
        "%matplotlib inline\nfrom IPython.display import SVG, Markdown\n\nimport nas\n"
        'from nas.report.drawing import drawing\n\nresults = nas.load_results(".")\n'
        "tables = {table.name: table for table in nas.tables(results)}\nfigures = nas.figures(results)\n"
        "Markdown(nas.methods(results))"
    )
    yield text("## Data\n\nTraining images of each class, as they are stored.")
    yield Cell("data = results.dataset()\nprint(data.describe())\nnas.sample_images(data)")
    yield text("## Space")
    yield from shown("space")
    yield text("## Search\n\nHow the trials ended, and their learning curves.")
    yield Cell("results.counts()")
    yield from shown("curves", "best")
    if results.best is not None and results.best.config.get("architecture"):
        yield text("The network of the best trial.")
        yield Cell('SVG(drawing(results.best.config["architecture"], results.shape))')
    yield from shown("finals", "cells", "effects", "matters", "mixers", "cost")
    yield text("## Retraining")
    yield from shown("retrained")
    if "retrained" not in of["tables"]:
        command = retrain_command(results, run.report)
        yield text(f"Not done yet. This command does it; then write the notebook again:\n\n    {command}")
    yield text("## Conclusion")
    yield Cell("for sentence in nas.conclusion(results):\n    print(sentence)")
    yield text("## Go on from here\n\nThe trials as a table of pandas.")
    yield Cell("results.frame().head()")
    if "retrained" in of["tables"] and run.best_model.exists():
        yield text("All seeds of the best configuration as one model, on a few validation images.")
        yield Cell(
            "model = nas.load_model(nas.load_retrained(results).best)\n"
            "nas.predict(model, data.val.images[:5], prepared=True)"
        )
        if results.spec["data"]["kind"] == "simulated":
            yield text(
                "Where it looks: the attribution of its answers about 30 new lenses (expected gradients), and how much "
                "of it is where the substructure is, next to the share of the area and of the light, and to the same "
                "networks with random weights."
            )
            yield Cell("explained = nas.explain(model, images=30)\nexplained.frame()")
            yield Cell("nas.attribution_maps(explained)")
            yield Cell(
                "from nas.report.explanation_page import verdict\n\n"
                "for sentence in verdict(explained):\n    print(sentence)"
            )
