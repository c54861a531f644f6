"""What selection by conformal p-values promises: no more false discoveries on average than stated."""

import csv
import json
import math

import numpy as np
import pytest
import torch
from scipy.stats import false_discovery_control
from test_export import ensemble

import nas
from nas.commands.cli import main_of
from nas.models import training_images
from trainers.conformal import p_values, threshold
from trainers.tasks.lens_finding import Task


def simulated(rng, lenses, others, strength):
    """Scores of images with and without a lens, coarse, so that some are equal."""
    scores = np.concatenate([rng.normal(strength, 1, lenses), rng.normal(0, 1, others)])
    return np.round(scores, 1), np.arange(lenses + others) < lenses


@pytest.mark.parametrize("rate", [0.05, 0.2])
@pytest.mark.parametrize(("lenses", "strength"), [(40, 2.5), (10, 3.0), (0, 0.0)])
def test_the_false_discovery_rate_is_at_most_the_stated_one(rate, lenses, strength):
    """Over 1,500 surveys, each with a calibration of its own; close to the rate times the share of non-lenses."""
    rng, shares, found = np.random.default_rng(0), [], []
    for _ in range(1500):
        scores, real = simulated(rng, lenses, 200 - lenses, strength)
        without = np.round(rng.normal(0, 1, 500), 1)
        selected = scores >= threshold(scores, without, rate)
        shares.append((selected & ~real).sum() / max(selected.sum(), 1))
        found.append((selected & real).sum())
    error = np.std(shares) / len(shares) ** 0.5
    assert np.mean(shares) <= rate + 2 * error
    if lenses == 40:
        assert np.mean(shares) >= 0.5 * rate * 0.8, "it is no bound for its own sake"
        assert np.mean(found) > 5


def test_a_naive_threshold_would_not_hold_the_rate_where_lenses_are_rare():
    """A threshold at which a balanced calibration has that share of false discoveries."""
    rng, shares = np.random.default_rng(0), []
    for _ in range(300):
        calibration, known = simulated(rng, 250, 250, 2.5)
        order = np.sort(calibration)
        naive = next(t for t in order if (~known[calibration >= t]).mean() <= 0.2)
        scores, real = simulated(rng, 10, 190, 2.5)
        selected = scores >= naive
        shares.append((selected & ~real).sum() / max(selected.sum(), 1))
    assert np.mean(shares) > 0.4


def test_the_selection_is_that_of_benjamini_and_hochberg_on_counted_p_values():
    rng = np.random.default_rng(1)
    scores, _ = simulated(rng, 30, 100, 3.5)
    without = np.round(rng.normal(0, 1, 600), 1)
    p = p_values(scores, without)
    assert p == pytest.approx([(1 + sum(w >= s for w in without)) / 601 for s in scores])
    for rate in (0.05, 0.1, 0.3):
        selected = false_discovery_control(p) <= rate + 1e-12
        assert selected.any()
        assert ((scores >= threshold(scores, without, rate)) == selected).all()
    assert threshold(scores, without, 1e-6) == np.inf
    assert threshold(scores[:0], without, 0.1) == np.inf


@pytest.mark.parametrize(("rate", "images"), [(0.05, 43), (0.1, 30), (0.3, 7), (0.05, 1), (0.7, 100)])
def test_as_few_calibration_images_as_the_docstring_says_select_all_images_that_stand_out(rate, images):
    enough = math.ceil(1 / rate - 1 - 1e-9)  # M = N / (k rate) - 1 with k = N
    scores = np.full(images, 0.9)
    assert threshold(scores, np.zeros(enough), rate) == 0.9
    assert threshold(scores, np.zeros(enough - 1), rate) == np.inf


def test_the_command_selects_lenses_by_labelled_images_that_the_model_has_not_seen(tmp_path, monkeypatch, capsys):
    """By the names of files; with eight views. The images that the model was trained on do not calibrate."""
    monkeypatch.setenv("NAS_CACHE", str(tmp_path / "cache"))
    task, rng = Task(classes=("lens", "no_sub")), np.random.default_rng(0)
    ensemble(tmp_path / "m", 8, task=task, name="lens_finding")
    for kind in task.classes:
        (tmp_path / "known" / kind).mkdir(parents=True)
        for i in range(40):
            np.save(tmp_path / "known" / kind / f"{i}.npy", rng.random((32, 32)))
    seen = np.stack([np.load(tmp_path / "known" / "no_sub" / f"{i}.npy") for i in range(5)])[:, None]
    training_images.write(tmp_path / "m", training_images.digests(torch.from_numpy(seen)))
    model = nas.load_model(tmp_path / "m")
    unseen = [str(tmp_path / "known" / "no_sub" / f"{i}.npy") for i in range(5, 40)]
    drawn = rng.random((200, 1, 32, 32))
    images = drawn[model.predict(drawn).probabilities[:, 0].argsort()[-30:]]  # some stand out, whatever the network
    np.save(tmp_path / "new.npy", images)
    without, scores = (model.predict(given).probabilities[:, 0].numpy() for given in (unseen, images))
    limit = threshold(scores, without, 0.9)
    assert np.isfinite(limit)
    words = ["--model", str(tmp_path / "m"), str(tmp_path / "new.npy"), "--fdr", "0.9"]
    assert main_of("predict", [*words, "--calibration", str(tmp_path / "known"), "--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    assert [row["selected"] for row in said["predictions"]] == (scores >= limit).tolist()
    assert said["summary"]["selected"]["calibration"] == 35
    assert main_of("predict", [*words, "--calibration", str(tmp_path / "known")]) == 0
    table = capsys.readouterr().out
    assert f"{sum(scores >= limit)} selected as lens (probability from {limit:.4f})" in table
    assert table.count("yes") == sum(scores >= limit)
    out = ["--out", str(tmp_path / "answers.csv")]
    assert main_of("predict", [*words, "--calibration", str(tmp_path / "nowhere"), *out]) == 2
    assert not (tmp_path / "answers.csv").exists(), "nothing is written before the selection has failed"
    assert main_of("predict", [*words, "--calibration", str(tmp_path / "known"), *out]) == 0
    written = list(csv.DictReader((tmp_path / "answers.csv").open()))
    assert [row["selected"] for row in written] == [str(int(score >= limit)) for score in scores]
    capsys.readouterr()
    assert main_of("predict", words) == 2
    assert "--fdr and --calibration belong together" in capsys.readouterr().err
    with monkeypatch.context() as patch:
        patch.delattr("nas.models.inference._of_prepared")
        assert main_of("predict", [*words[:-1], "5", "--calibration", str(tmp_path / "known")]) == 2
        assert main_of("predict", [*words, "--calibration", str(tmp_path / "nowhere")]) == 2, "before any prediction"


def test_a_selection_is_calibrated_with_the_views_of_the_prediction(tmp_path, monkeypatch):
    monkeypatch.setenv("NAS_CACHE", str(tmp_path / "cache"))
    ensemble(tmp_path / "m", 8, task=Task(classes=("lens", "no_sub")), name="lens_finding")
    rng = np.random.default_rng(5)
    images, known = rng.random((30, 1, 32, 32)).astype("f4"), rng.random((60, 1, 32, 32)).astype("f4")
    model = nas.load_model(tmp_path / "m")
    predicted = nas.predict(model, images, views=1)
    labels = np.array(["lens", "no_sub"] * 30)
    found = nas.select(model, predicted, (known, labels), 0.9)
    without = nas.predict(model, known[labels == "no_sub"], views=1).probabilities[:, 0].numpy()
    assert found.threshold == threshold(predicted.probabilities[:, 0].numpy(), without, 0.9)
