"""Notebooks: that of a study, and those of the repository, executed from the first cell to the last."""

import importlib.util
import json
import sys
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path

import pytest
from here import work_through_here

import nas
import studies
from nas.commands.cli import main_of
from nas.paper import notebook
from nas.reading import load_results
from nas.retraining.retrained import load_retrained

FOLDER = Path(__file__).resolve().parents[1] / "studies" / "notebooks"
TINY = {"images": 60, "image_size": 16, "epochs": 6, "max_macs": 15_000_000, "workers": 1, "quiet": True}
BUDGETS = {
    "start_here": {"IMAGES": 120, "IMAGE_SIZE": 16, "TRIALS": 3, "EPOCHS": 6, "SEEDS": 1},
    "existing": {"IMAGES": 90, "EPOCHS": 2, "SEEDS": 1, "FEW": 20, "OTHERS": 60},
    "techniques": {"IMAGES": 90, "EPOCHS": 2, "EACH": 1, "SEEDS": 1},
}
WITH_RAY = "start_here"  # the others train in the kernel itself
HERE = """
import here, nas.workers.pool, trainers.data.limits
nas.workers.pool.work_through, trainers.data.limits.IMAGES = here.work_through_here, 6
"""
installed = pytest.mark.skipif(
    any(find_spec(name) is None for name in notebook.NEEDED), reason="needs the extra notebook"
)


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("nas.workers.pool.work_through", work_through_here)
        patch.setattr("trainers.data.limits.IMAGES", 6)
        spec = replace(studies.load("hybrid"), baselines=("statistics", "pca"))
        return nas.search(spec, trials=3, runs=tmp_path_factory.mktemp("runs"), name="seen", **TINY)


def words(results):
    run = results.database.parent
    return ["--study", "hybrid", "--runs", str(run.parent), "--name", run.name]


def outputs(book):
    """The cells of code of an executed notebook with what they put out: MIME types or names of streams -> contents."""
    for cell in json.loads(book)["cells"]:
        if cell["cell_type"] == "code":
            found = {}
            for output in cell["outputs"]:
                assert output["output_type"] != "error"
                found |= output.get("data", {}) | ({output["name"]: output["text"]} if "text" in output else {})
            yield "".join(cell["source"]), {kind: "".join(content) for kind, content in found.items()}


def test_a_retraining_reads_back_as_it_was_returned(results, without_ray):
    retrained = nas.retrain(results, top_k=2, seeds=1, train_sizes=(20,), workers=1, quiet=True)
    read = load_retrained(load_results(results.database.parent))
    assert json.dumps(read.to_dict()) == json.dumps(retrained.to_dict())
    assert read.frame().equals(retrained.frame())
    assert read.best == retrained.best
    said = nas.conclusion(results)
    assert any(f"On {retrained.data['test']} test images" in line for line in said)
    assert sum("baseline" in line for line in said) == 1, "said once, by the retraining"


@pytest.mark.slow
@installed
def test_the_notebook_of_a_study_says_what_the_library_says(results, tmp_path):
    retrained = results.retraining() is not None
    assert main_of("notebook", words(results)) == 0
    cells = dict(outputs((results.database.parent / "notebook.ipynb").read_text()))
    for table in nas.tables(results):
        assert cells[f'tables["{table.name}"]']["text/markdown"] == table.markdown()
    for name in nas.figures(results):
        assert "image/png" in cells[f'figures["{name}"]']
    (said,) = (out["stdout"] for source, out in cells.items() if "nas.conclusion" in source)
    assert said.splitlines() == nas.conclusion(results)
    assert any("load_model" in source for source in cells) == retrained
    assert all("stderr" not in out for out in cells.values())


@installed
def test_without_a_retraining_the_notebook_says_how_to_do_it(results, monkeypatch):
    monkeypatch.setattr("nas.results.Results.retraining", lambda self: None)
    run = notebook.RunFolder(results.database.parent)
    made = list(notebook.cells(results, run))
    assert any("python -m nas.retrain --study hybrid" in cell.source for cell in made if not cell.code)
    assert not any("load_model" in cell.source or "retrained" in cell.source for cell in made if cell.code)


def test_without_the_extra_or_a_study_it_is_one_line(results, tmp_path, monkeypatch, capsys):
    assert main_of("notebook", ["--runs", str(tmp_path)]) == 2
    assert "search first" in capsys.readouterr().err
    monkeypatch.setattr(notebook, "NEEDED", ("nbformat", "no_such_package"))
    assert main_of("notebook", words(results)) == 2
    assert capsys.readouterr().err.endswith("a notebook needs no_such_package: pip install no_such_package\n")


@pytest.mark.slow
@installed
def test_what_a_cell_refuses_is_refused_and_the_old_notebook_stays(results, monkeypatch):
    kept = results.database.parent / "notebook.ipynb"
    kept.write_text("old")
    broken = [notebook.Cell('import nas\nraise nas.UserError("the images are gone")')]
    monkeypatch.setattr(notebook, "cells", lambda results, run: broken)
    with pytest.raises(nas.UserError, match="the images are gone"):
        nas.notebook(results)
    assert kept.read_text() == "old"


def maker():
    spec = importlib.util.spec_from_file_location("make", FOLDER / "make.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules["make"] = module
    spec.loader.exec_module(module)
    return module


@pytest.mark.slow
@pytest.mark.timeout(1200)
@installed
@pytest.mark.parametrize("name", BUDGETS)
def test_a_notebook_of_the_repository_runs_from_its_script(name, tmp_path, monkeypatch):
    monkeypatch.setenv("NAS_CACHE", str(tmp_path / "cache"))
    cells = maker().cells((FOLDER / f"{name}.py").read_text(), BUDGETS[name])
    before = [] if name == WITH_RAY else [notebook.Cell(HERE)]
    cells = list(outputs(notebook.executed([*before, *cells], tmp_path)))
    silent = [source for source, out in cells if not out]
    assert all("import nas" in source or "class " in source for source in silent), silent
    assert any("image/png" in out for _, out in cells)


@pytest.mark.parametrize("name", sorted(path.stem for path in FOLDER.glob("*.ipynb")))
def test_a_notebook_of_the_repository_is_its_script_executed(name):
    book = (FOLDER / f"{name}.ipynb").read_text()
    assert len(book) < 400_000
    script = [cell.source for cell in maker().cells((FOLDER / f"{name}.py").read_text())]
    assert script == ["".join(cell["source"]) for cell in json.loads(book)["cells"]]
    assert sum(bool(out) for _, out in outputs(book)) >= 5
