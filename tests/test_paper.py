"""What a paper takes over: tables that read back as they are, a trial that trains to the same numbers again."""

import csv
import dataclasses
import io
import json
import math
import re
import subprocess
import sys
from xml.etree import ElementTree

import pytest
from here import work_through_here
from PIL import Image

import nas
from nas.commands.cli import main_of
from nas.paper import record
from nas.paper.again import Epoch
from nas.paper.figures import figures, write_figures
from nas.paper.references import references
from nas.paper.tables import LATEX, Table, tables
from nas.reading import load_results
from nas.report.verdict import verdict
from nas.run_folder import RunFolder
from nas.searching.storage import only_study

TINY = {"images": 60, "image_size": 16, "epochs": 6, "max_macs": 15_000_000, "workers": 1, "quiet": True}
ODD = Table("odd", "50% of a_b & c", ["a_b", "±"], [["x|y", "1.5 ± 0.2"], ["~^\\{}$#", "–"]], {0})


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("nas.workers.pool.work_through", work_through_here)
        patch.setattr("trainers.data.limits.IMAGES", 6)
        runs = tmp_path_factory.mktemp("runs")
        results = nas.search("hybrid", trials=4, runs=runs, name="seen", **TINY)
    return RunFolder(results.database.parent)


def words(run):
    return ["--study", "hybrid", "--runs", str(run.path.parent), "--name", run.path.name]


def plain(latex):
    for character, code in LATEX.items():
        latex = latex.replace(code, character)
    return latex


def test_a_table_reads_back_from_every_form():
    assert list(csv.reader(io.StringIO(ODD.csv()))) == [ODD.headings, *ODD.rows]
    lines = ODD.markdown().splitlines()[2:]
    cells = [[re.sub(r"\\(.)", r"\1", c.strip()) for c in re.split(r"(?<!\\)\|", line)[1:-1]] for line in lines]
    assert cells == [ODD.headings, [":---", "---:"], *ODD.rows]
    body = re.search(r"\\toprule\n(.*)\\bottomrule", ODD.latex(), re.DOTALL)[1].replace("\\midrule\n", "")
    rows = [[plain(c) for c in re.split(r"(?<!\\) & ", line.removesuffix(r" \\"))] for line in body.splitlines()]
    assert rows == [ODD.headings, *ODD.rows]
    assert r"\begin{tabular}{lr}" in ODD.latex()
    assert not re.search(r"(?<!\\)[%#_]", ODD.latex().replace(r"\label{tab:odd}", ""))


def test_the_command_writes_every_table_of_the_study_with_methods_and_references(run, capsys):
    assert main_of("tables", words(run)) == 0
    results = load_results(run.path)
    for table in tables(results):
        assert {f"{table.name}{ending}" for ending in (".csv", ".md", ".tex")} <= {p.name for p in run.paper.iterdir()}
    rows = list(csv.DictReader((run.paper / "best.csv").open()))
    assert [row["trial"] for row in rows] == [t.label for t in results.ranked()]
    assert [float(row["AUC"]) for row in rows] == [pytest.approx(t.value, abs=5e-5) for t in results.ranked()]
    text = (run.paper / "methods.md").read_text()
    counts = results.counts()
    assert f"{results.validated} validation" in text
    assert f"{counts['pruned']} stopped early" in text
    assert results.images["digest"] in text
    assert "nas.retrain" not in text, "nothing was retrained"
    for package in ("torch", "optuna", "ray"):
        assert f"{package} {record.versions()[package]}" in text
    bib = (run.paper / "references.bib").read_text()
    keys = re.findall(r"^@\w+\{(\w+),", bib, re.MULTILINE)
    assert len(keys) == len(set(keys)) == bib.count("@")
    assert {"optuna", "tune", "pytorch", "swin", "caustics", "asha"} <= set(keys)
    assert bib.count("{") == bib.count("}")
    assert references(results) == bib
    space = {"mixers": ["linear_attention"], "symmetry": ["none", "d4"]}
    other = references(dataclasses.replace(results, spec={**results.spec, "space": space}))
    assert {"linear", "flatten", "groups"} <= set(re.findall(r"^@\w+\{(\w+),", other, re.MULTILINE))


def test_a_trial_trained_again_has_the_same_curve_and_another_seed_has_not(run, capsys):
    best = load_results(run.path).best
    assert main_of("reproduce", words(run)) == 0
    said = capsys.readouterr().out
    assert "the same in every digit" in said
    assert [int(n) for n in re.findall(r"^ +(\d+) ", said, re.MULTILINE)] == list(best.curve)
    pruned = next(t for t in load_results(run.path).trials if t.state == "pruned")
    assert main_of("reproduce", [*words(run), "--trial", str(pruned.number)]) == 0
    capsys.readouterr()
    assert main_of("reproduce", [*words(run), "--trial", "99"]) == 2
    assert not capsys.readouterr().out, "no head of a table that does not come"


def test_the_comparison_sees_a_difference(run, monkeypatch):
    results = load_results(run.path)
    trial = results.best
    monkeypatch.setattr("nas.commands.finding.find_results", lambda *_: changed(results, trial))
    assert main_of("reproduce", [*words(run), "--trial", str(trial.number)]) == 1


def test_a_training_that_is_no_number_again_is_not_the_same(run, monkeypatch, capsys):
    found = [Epoch(1, 0.5, 0.5), Epoch(2, 0.6, math.nan)]
    monkeypatch.setattr("nas.paper.again.again", lambda results, number: iter(found))
    assert main_of("reproduce", words(run)) == 1
    out = capsys.readouterr().out
    assert "no number in 1 epoch, where the record has one" in out


def changed(results, trial):
    other = dataclasses.replace(trial, config={**trial.config, "seed": 77})
    return dataclasses.replace(results, trials=tuple(other if t is trial else t for t in results.trials))


def test_a_record_keeps_each_different_start_once(run, monkeypatch):
    results = load_results(run.path)
    (first,) = json.loads(run.reproduce.read_text())["starts"]
    assert first["versions"]["torch"] == record.versions()["torch"]
    assert first["hardware"]["cores"] >= 1
    monkeypatch.setattr("sys.argv", ["nas", "run", "--trials", "9"])
    for _ in range(2):
        record.write(run.reproduce, only_study(run.database), "1 worker")
    found = json.loads(run.reproduce.read_text())
    assert len(found["starts"]) == 2
    assert found["starts"][-1]["command"] == "nas run --trials 9"
    assert found["images"]["digest"] == results.images["digest"]


def test_a_damaged_record_is_one_line(run, capsys):
    whole = run.reproduce.read_bytes()
    run.reproduce.write_bytes(whole[: len(whole) // 2])
    try:
        for command in ("tables", "reproduce"):
            assert main_of(command, words(run)) == 2
            assert re.fullmatch(r"error: .*reproduce.json is damaged \(.*\); remove it.*\n", capsys.readouterr().err)
    finally:
        run.reproduce.write_bytes(whole)


@pytest.mark.parametrize("seeds", [(3,), (3, 4)])
def test_the_methods_of_a_retraining_are_what_was_run(run, monkeypatch, seeds):
    results = load_results(run.path)
    spread = {"auc": {"mean": 0.9, "sd": None, "n": len(seeds)}}
    record = {
        "command": "python -m nas.retrain --study hybrid --top-k 1 --seeds 2", "baselines": [], "objective": "auc",
        "data": {"splits": "training and validation images", "test": 12},
        "certainty": [{"interval": {"auc": (0.8, 1.0)}}],
        "configurations": [{
            "trial": 1, "seeds": list(seeds), "main": ["auc"], "spread": spread, "test": [{"auc": 0.9}] * len(seeds),
            "ensemble": {"auc": 0.9}, "parameters": 10,
        }],
    }  # fmt: skip
    monkeypatch.setattr(type(results), "retraining", lambda self: record)
    text = nas.methods(results)
    assert text.rstrip().endswith("    python -m nas.retrain --study hybrid --top-k 1 --seeds 2")
    said = "One configuration was trained again with "
    assert f"{said}{len(seeds)} seed{'s' * (len(seeds) > 1)}, on the training and validation images" in text
    (table,) = (table for table in tables(results) if table.name == "retrained")
    assert "baselines" not in table.caption
    assert ("over images only" in table.caption) == (len(seeds) == 1)


def test_the_seeds_of_a_retraining_are_those_that_finished_and_an_older_record_is_no_bug(run, monkeypatch):
    results = load_results(run.path)
    record = {
        "data": {"splits": "training images", "test": 12},
        "configurations": [{"seeds": [1, 2, 3]}, {"seeds": [4]}],
    }
    monkeypatch.setattr(type(results), "retraining", lambda self: record)
    assert "2 configurations were trained again with 1 to 3 seeds each" in nas.methods(results)
    record["verdicts"] = [{"trial": 0, "baseline": "cnn"}]
    for read_it in (tables, figures, verdict):
        with pytest.raises(nas.UserError, match="retrain again"):
            read_it(results)


def test_dollars_in_the_name_of_a_class_are_no_formula(run, tmp_path):
    spec = load_results(run.path).spec
    results = dataclasses.replace(load_results(run.path), spec={**spec, "objective": r"auc_$\sub$"})
    assert write_figures(results, tmp_path)


def test_the_command_on_record_is_the_one_that_was_typed(tmp_path, monkeypatch):
    (tmp_path / "started.py").write_text("from nas.paper import record\nprint(record.command())")
    monkeypatch.chdir(tmp_path)
    for typed, recorded in ((["-m", "started", "--name", "a b"], "python -m started --name 'a b'"),
                            (["started.py", "-x"], "started.py -x")):  # fmt: skip
        done = subprocess.run([sys.executable, *typed], capture_output=True, text=True, check=True)
        assert done.stdout.strip() == recorded


def test_figures_have_a_columns_width_in_every_form_and_name_what_they_show(run):
    assert main_of("figures", words(run)) == 0
    results = load_results(run.path)
    written = {path.stem for path in run.paper.glob("*.svg")}
    assert written >= {"curves", "mixers", "cost", "architecture"}
    for name in written - {"architecture"}:
        svg = ElementTree.parse(run.paper / f"{name}.svg").getroot()
        assert float(svg.get("width").removesuffix("pt")) == pytest.approx(3.4 * 72)
        assert Image.open(run.paper / f"{name}.png").size[0] == 1020
        assert (run.paper / f"{name}.pdf").read_bytes().startswith(b"%PDF")
    texts = "".join(ElementTree.parse(run.paper / "mixers.svg").getroot().itertext())
    used = {stage["mixer"] for t in results.trained for stage in t.config["architecture"]["stages"]}
    assert all(mixer in texts for mixer in used)
