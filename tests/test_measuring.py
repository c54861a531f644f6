"""Any number that the data gives, from the search to a challenge's answers, by the commands alone."""

import csv
import json
import re
from dataclasses import replace

import numpy as np
import pytest
import torch
from astropy.io import fits
from here import work_through_here

import nas
from nas.commands.cli import main_of
from nas.models.answers import columns, id_of
from nas.models.predicted import Measurement, Prediction
from nas.searching.study import describe_images, other_images
from trainers import tasks
from trainers.data import Dataset, Folder, Simulated, Split, load
from trainers.regression import Regression
from trainers.tasks import lens_finding, substructure

STUDY = """
from search_space import ToySpace
from studies import StudySpec, TrainSpace

STUDY = StudySpec("tiny", "?", space=ToySpace(("lenet",)), training=TrainSpace(batch_size=(16,), warmup_epochs=(0.5,)),
                  trials=1, epochs=2, min_epochs=2, finals=0.0, baselines=("statistics",))
"""
BANDS = "GRIZY"


def test_images_without_the_number_are_not_counted_as_those_that_judge(tmp_path):
    """A third of the simulated lenses have an axion's mass."""
    data = load(Simulated(images=60, image_size=16), progress=False, cache=tmp_path)
    task = tasks.create("axion_mass", data)
    known = [int(split.targets["axion_mass"].isfinite().sum()) for split in (data.train, data.val, data.test)]
    described = describe_images(data, task)
    assert described["counts"] == known
    assert sum(known) == 20
    earlier = {**described, "counts": [len(split) for split in (data.train, data.val, data.test)]}
    assert other_images(earlier, data, task) == "", "a study of an earlier version resumes"
    assert other_images({**described, "digest": "-"}, data, task)


def challenge(folder, count=60):
    """A folder as data challenges give it: 41 x 41, an HDU for each of grizy, IDs in the headers, truth in a table."""
    folder.mkdir(parents=True)
    rng = np.random.default_rng(0)
    y, x = np.mgrid[:41, :41] - 20
    rows = ["ID,theta_E,gamma"]
    for i in range(count):
        radius, slope = rng.uniform(4, 14), rng.uniform(1.5, 2.5)
        ring = np.exp(-((np.hypot(x, y) - radius) ** 2) / 4)
        planes = [slope * (1 + k) * ring + rng.normal(0, 0.05, ring.shape) for k in range(5)]
        units = [fits.ImageHDU(p.astype("f4"), name=band) for p, band in zip(planes, BANDS, strict=True)]
        header = fits.Header({"ID": f"SL-{1000 + i}"})
        fits.HDUList([fits.PrimaryHDU(header=header), *units]).writeto(folder / f"cutout{i:03}.fits")
        rows.append(f"SL-{1000 + i},{radius / 10},{slope}")
    (folder / "truth.csv").write_text("\n".join(rows) + "\n")
    return folder


@pytest.fixture(scope="module")
def measured(tmp_path_factory):
    """Two numbers searched for, retrained and exported, once; the folders of the images and of the run."""
    root = tmp_path_factory.mktemp("measured")
    (root / "tiny.py").write_text(STUDY)
    images = challenge(root / "images")
    where = ["--study", str(root / "tiny.py"), "--runs", str(root / "runs")]
    asked = ["--task", "regression_sigma", "--target", "theta_E,gamma", "--unit", "arcsec,", "--log"]
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("NAS_CACHE", str(root / "cache"))
        patch.chdir(root)
        patch.setattr("nas.workers.pool.work_through", work_through_here)
        data = ["--data", str(images), "--image-size", "24", "--workers", "1"]
        assert main_of("run", [*where, *asked, *data]) == 0
        assert main_of("run", [*where, *asked, *data]) == 0, "the same command resumes"
        assert main_of("run", [*where, *asked[:-1], *data]) == 2, "another question is another study"
        assert main_of("retrain", [*where, "--top-k", "1", "--seeds", "2", "--workers", "1"]) == 0
        yield images, root / "runs" / "tiny"


def test_several_numbers_go_from_a_table_to_a_challenges_answers(measured, tmp_path, capsys):
    images, run = measured
    model = nas.load_model(run / "models" / "best")
    assert model.task.target == ("theta_E", "gamma")
    assert model.task.quantities == ("log10 of theta_E in arcsec [dex]", "log10 of gamma [dex]")
    assert model.channels == tuple(BANDS)
    said = nas.predict(model, images)
    assert said.values.shape == said.sigma.shape == (60, 2)

    words = ["--model", str(run / "models" / "best"), str(images)]
    assert main_of("predict", [*words, "--out", str(tmp_path / "answers.csv")]) == 0
    assert capsys.readouterr().out == ""
    rows = list(csv.DictReader((tmp_path / "answers.csv").open()))
    assert list(rows[0]) == ["ID", "theta_E", "theta_E_sigma", "gamma", "gamma_sigma"]
    assert [row["ID"] for row in rows] == [f"SL-{1000 + i}" for i in range(60)]
    for k, name in enumerate(model.task.target):
        values = np.array([float(row[name]) for row in rows])
        sigmas = np.array([float(row[f"{name}_sigma"]) for row in rows])
        assert np.log10(values) == pytest.approx(said.values[:, k].numpy(), abs=1e-6)
        assert sigmas / values / np.log(10) == pytest.approx(said.sigma[:, k].numpy(), rel=1e-5)

    assert main_of("predict", [*words, "--json"]) == 0
    row = json.loads(capsys.readouterr().out)["predictions"][0]
    assert row["value"] == pytest.approx(dict(zip(model.task.target, said.values[0].tolist(), strict=True)))
    assert main_of("predict", words) == 0
    table = capsys.readouterr().out
    assert all(f"sigma of {quantity}" in table for quantity in model.task.quantities)


def test_the_answers_are_read_as_a_table_beside_the_images(measured, tmp_path, capsys):
    images, run = measured
    (tmp_path / "again").mkdir()
    for file in images.glob("*.fits"):
        (tmp_path / "again" / file.name).write_bytes(file.read_bytes())
    answers = tmp_path / "again" / "answers.csv"
    words = ["--model", str(run / "models" / "best"), str(images), "--out", str(answers)]
    assert main_of("predict", words) == 0
    data = load(Folder(str(tmp_path / "again"), image_size=24), cache=tmp_path / "cache")
    assert {"theta_E", "theta_E_sigma", "gamma", "gamma_sigma"} == set(data.train.targets)
    evaluated = nas.evaluate(nas.load_model(run / "models" / "best"), data, with_training_images=True)
    assert evaluated.metrics["mae"] < 1e-3, "these are its own answers"


def test_data_without_the_targets_is_refused_and_says_what_it_has(measured):
    _, run = measured
    other = (np.random.default_rng(0).random((40, 5, 24, 24)), {"z": np.arange(40.0)})
    with pytest.raises(nas.UserError, match="arrays has no image with theta_E and gamma in split 'all'; it gives z; "):
        nas.evaluate(nas.load_model(run / "models" / "best"), other)


def test_the_figures_of_each_number_are_shown(measured):
    _, run = measured
    page, card = (run / "retrain.html").read_text(), (run / "models" / "best" / "README.md").read_text()
    assert "are means over the numbers, each in units of its standard deviation" in card
    for text in ("test MAE theta_E", "test MAE gamma", "true log10 of theta_E in arcsec [dex]", "true log10 of gamma"):
        assert text in page, text
    for text in ("MAE theta_E", "RMSE gamma", "Measures log10 of theta_E in arcsec"):
        assert text in card, text
    assert (
        "regression_sigma of log10 of theta_E in arcsec [dex], log10 of gamma [dex]"
        in (run / "report.html").read_text()
    )
    record = json.loads((run / "retrain.json").read_text())
    assert record["task"] == {"target": ["theta_E", "gamma"], "unit": "arcsec,", "log": True, "with_sigma": True}
    results = nas.load_results(run)
    assert results.task == Regression(("theta_E", "gamma"), unit="arcsec,", log=True, with_sigma=True)
    assert set(results.best.metrics) >= {"mae", "mae_theta_E", "mae_gamma", "r2_theta_E"}


P = torch.tensor([[0.2, 0.3, 0.5], [0.1, 0.9, 0.0]]).double()
BOTH = torch.tensor([[0.2, 0.8], [0.9, 0.1]]).double()


@pytest.mark.parametrize(
    ("task", "predicted", "expected"),
    [
        (substructure, Prediction(("no_sub", "sub"), BOTH), {"has_substructure": [0.8, 0.1]}),
        (
            substructure,
            Prediction(("axion", "cdm", "no_sub"), P),
            {"has_substructure": [0.5, 1.0], "axion": [0.2, 0.1], "cdm": [0.3, 0.9], "no_sub": [0.5, 0.0]},
        ),
        (substructure, Prediction(("a", "b"), BOTH), {"a": [0.2, 0.9], "b": [0.8, 0.1]}),
        (lens_finding, Prediction(("lens", "other"), BOTH), {"lens": [0.2, 0.9]}),
        (lens_finding, Prediction(("no_sub", "yes"), BOTH), {"yes": [0.8, 0.1]}),
    ],
)
def test_classes_are_answered_by_probabilities(task, predicted, expected):
    found = columns(predicted, task.Task(predicted.classes))
    assert {name: p.tolist() for name, p in found.items()} == {n: pytest.approx(p) for n, p in expected.items()}


def test_a_number_is_answered_in_the_unit_of_the_data():
    """A log-normal number: the standard deviation that is written is right for small ones."""
    rng = np.random.default_rng(0)
    task = Regression(("mass",), unit="Msun", log=True, with_sigma=True)
    values, sigma = torch.tensor([12.0]).double(), torch.tensor([0.01]).double()
    found = columns(Measurement("", values, sigma, task.target), task)
    drawn = 10 ** rng.normal(12, 0.01, 100_000)
    assert found["mass"].item() == pytest.approx(np.median(drawn), rel=1e-3)
    assert found["mass_sigma"].item() == pytest.approx(drawn.std(), rel=0.02)


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["--target", "nosuch"], "gives nosuch for 0 images to train; expected 2 or more; it gives gamma, theta_E"),
        (["--task", "regression"], r"which number of images is measured. Name it \(target\); it gives gamma, theta_E$"),
        (["--task", "substructure", "--target", "gamma"], "task 'substructure' is another"),
        (["--task", "einstein_radius", "--log"], "task 'einstein_radius' is another"),
        (["--unit", "arcsec"], "name the numbers to measure"),
        (["--target", "theta_E,gamma", "--unit", "a,b,c"], "unit is 'a,b,c'; expected one unit, or one for each of 2"),
        (["--target", "theta_E,theta_E"], "target 'theta_E': expected different plain words"),
        (["--target", "theta_E", "--objective", "mae_gamma"], "has no metric 'mae_gamma'|'mae_gamma' cannot be"),
        (["--target", "theta_E", "--task", "einstein_radius_sigma"], "task 'einstein_radius_sigma' is another"),
    ],
)
def test_what_cannot_be_measured_is_one_line(measured, tmp_path, capsys, words, says):
    images, _ = measured
    (tmp_path / "tiny.py").write_text(STUDY)
    where = ["--study", str(tmp_path / "tiny.py"), "--runs", str(tmp_path / "runs"), "--workers", "1"]
    capsys.readouterr()
    assert main_of("run", [*where, "--data", str(images), "--image-size", "24", *words]) == 2
    last = capsys.readouterr().err.splitlines()[-1]
    assert last.startswith("error: ")
    assert re.search(says, last), last


def test_two_images_with_one_id_are_refused_before_they_are_predicted(measured, tmp_path, capsys, monkeypatch):
    images, run = measured
    monkeypatch.setattr("nas.models.inference.predict_files", lambda *args, **kwargs: pytest.fail("predicted"))
    file = next(images.glob("*.fits"))
    (tmp_path / "other.fits").write_bytes(file.read_bytes())
    words = ["--model", str(run / "models" / "best"), str(file), str(tmp_path / "other.fits")]
    assert main_of("predict", [*words, "--out", str(tmp_path / "answers.csv")]) == 2
    assert "would have the same ID" in capsys.readouterr().err
    assert not (tmp_path / "answers.csv").exists()


@pytest.mark.parametrize(
    ("image", "bands", "name"),
    [
        ("a/cutout.1.npy", False, "cutout.1"),
        ("a/12.fits.gz[3]", False, "12[3]"),
        ("set.h5[3]", False, "set[3]"),
        ("cutout-00012-HSC-G.npy", True, "cutout-00012"),
        ("cutout-00012-HSC-G.npy", False, "cutout-00012-HSC-G"),
    ],
)
def test_an_image_is_called_like_its_file_or_row(image, bands, name):
    assert id_of(image, bands) == name


def test_a_study_notices_that_its_numbers_were_corrected_and_only_its_own():
    split = make_split(rows=torch.arange(20))
    before = Dataset("set", ("lens",), split, split, split)
    corrected = replace(split, targets={**split.targets, "theta_E": 1.01 * split.targets["theta_E"]})
    after = replace(before, val=corrected)
    for task, same in (
        (Regression("theta_E"), False),
        (Regression("gamma"), True),
        (substructure.Task(("a", "b")), True),
    ):
        assert (describe_images(before, task) == describe_images(after, task)) is same


def make_split(rows):
    numbers = {"theta_E": 1 + rows.double(), "gamma": 2 - rows.double() / 50}
    return Split(torch.zeros(len(rows), 1, 8, 8), torch.zeros(len(rows), dtype=torch.int64), numbers)
