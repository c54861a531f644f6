"""Measuring numbers from search to prediction, and an exported model on other images than its own."""

import dataclasses
import json
import shutil

import numpy as np
import optuna
import pytest
import torch
from here import work_through_here
from safetensors.torch import load_file
from sklearn.metrics import mean_absolute_error, roc_auc_score

import nas
from nas import schedulers
from nas.commands.cli import main_of
from nas.models import evaluation as evaluating
from nas.models.inference import predict
from nas.models.training_images import digests
from nas.retraining import training as retraining
from nas.searching.engine import Engine
from nas.searching.ledger import Ledger
from nas.searching.simulate import simulate
from nas.searching.storage import open_storage
from nas.searching.study import describe
from nas.words import markdown
from search_space import Toy
from studies import Configuration, StudySpec
from trainers import metrics
from trainers.config import TrainConfig
from trainers.data import Simulated, load
from trainers.estimate import estimates

SIMULATED = Simulated(images=120, image_size=32)


pytestmark = pytest.mark.usefixtures("own_cache")


def retrained(folder, task, objective, direction, *arguments):
    """A study of one trial in `folder`, retrained with two seeds by the command."""
    spec = StudySpec("tiny", "?", data=SIMULATED, task=task, objective=objective, direction=direction, epochs=2,
                     min_epochs=2)  # fmt: skip
    (folder / "tiny").mkdir(parents=True)
    storage = open_storage(folder / "tiny" / "study.db")
    ledger = Ledger(storage, "tiny", direction=direction, sampler=optuna.samplers.RandomSampler(seed=0))
    ledger.study.set_user_attr("spec", describe(spec))
    ledger.study.set_user_attr("baselines", [])
    config = Configuration(Toy("resnet2"), TrainConfig(epochs=2), seed=0).to_dict()
    engine = Engine(ledger, schedulers.create("full", (2,), 3), sample=lambda trial: config, trials=1,
                    objective=objective)  # fmt: skip
    list(simulate(engine, lambda c: [0.5, 0.4], workers=1))
    engine.close()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("nas.workers.pool.work_through", work_through_here)
        words = ["--study", "tiny", "--runs", str(folder), "--top-k", "1", "--seeds", "2", "--workers", "1"]
        assert main_of("retrain", [*words, *arguments]) == 0
    return folder / "tiny"


@pytest.fixture(scope="module")
def classifier(tmp_path_factory):
    return retrained(tmp_path_factory.mktemp("c"), "substructure", "auc_d4_worst", "maximize", "--train-sizes", "30,60")


@pytest.fixture(scope="module", params=["axion_mass", "mass_fraction_sigma"])
def measurer(request, tmp_path_factory):
    return retrained(tmp_path_factory.mktemp("m"), request.param, "mae", "minimize")


def test_a_number_goes_from_the_search_to_a_prediction(measurer, tmp_path, capsys):
    """What predict says of the test images is what the retraining was judged by."""
    data = load(SIMULATED, progress=False)
    model = nas.load_model(measurer / "models" / "best")
    results = json.loads((measurer / "retrain.json").read_text())
    test = model.task.select(data.test)
    said = predict(model, test.images[:])
    truth = model.task.targets(test).numpy()
    mae = mean_absolute_error(truth, said.values)
    assert mae == pytest.approx(results["exported"][0]["test"][str(model.views)]["mae"], rel=1e-5)
    alone = nas.load_model(measurer / "models" / "trial-0-seed-1", views=1)
    mae = mean_absolute_error(truth, predict(alone, test.images[:]).values)
    assert mae == pytest.approx(results["configurations"][0]["test"][0]["mae"], rel=1e-5)
    assert (said.sigma is not None) == model.task.with_sigma
    html = (measurer / "retrain.html").read_text()
    assert "Predicted against true" in html
    assert "confusion" not in html.split("<script>")[0].lower()
    assert markdown(model.task.quantities[0]) in (measurer / "models" / "best" / "README.md").read_text()

    np.save(tmp_path / "lens.npy", test.images[:1][0].numpy())
    words = ["--model", str(measurer / "models" / "best"), str(tmp_path / "lens.npy")]
    assert main_of("predict", [*words, "--json"]) == 0
    (row,) = json.loads(capsys.readouterr().out)["predictions"]
    assert row["value"] == pytest.approx(float(said.values[0]), rel=1e-5)
    assert ("sigma" in row) == model.task.with_sigma
    assert main_of("predict", words) == 0
    assert f"{row['value']:.4f}" in capsys.readouterr().out


def test_standard_deviations_come_from_images_outside_the_training(tmp_path):
    folder = retrained(tmp_path, "axion_mass_sigma", "mae", "minimize")
    config = nas.load_model(folder / "models" / "best").config
    data = load(SIMULATED, progress=False)
    known = {name: int(getattr(data, name).targets["axion_mass"].isfinite().sum()) for name in ("train", "val")}
    assert config["data"]["train"] == known["train"]
    assert all(scale != 1 for member in config["members"] for scale in member["task"]["sigma_scale"])
    model, val = nas.load_model(folder / "models" / "best"), data.val.where(data.val.targets["axion_mass"].isfinite())
    for views in (1, 8):
        said = predict(model, val.images[:], views=views)
        z = (said.values - val.targets["axion_mass"].log10()) / said.sigma
        assert float((z**2).mean()) == pytest.approx(1, rel=1e-4), "the ensemble as a whole is scaled to their errors"
    for file in folder.rglob("validation.safetensors"):  # an earlier version kept none
        file.unlink()
    assert main_of("retrain", ["--study", "tiny", "--runs", str(tmp_path), "--seeds", "2", "--workers", "1"]) == 0
    model = nas.load_model(folder / "models" / "best")
    assert (model.views, model.calibration) == (1, {})
    assert "scaled for each network alone" in (folder / "models" / "best" / "README.md").read_text()
    plain = retrained(tmp_path / "plain", "axion_mass", "mae", "minimize")
    assert nas.load_model(plain / "models" / "best").config["data"]["train"] == known["train"] + known["val"]


def test_every_retrained_model_is_judged_turned_and_mirrored(classifier):
    results = json.loads((classifier / "retrain.json").read_text())
    (c,) = results["configurations"]
    for of_seed in c["test"]:
        assert of_seed["auc_d4_worst"] <= of_seed["auc_d4_mean"]
        assert of_seed["auc_d4_worst"] <= of_seed["auc"]
    assert "worst of eight" in (classifier / "retrain.html").read_text()


def test_a_mean_has_an_interval_over_its_seeds_and_an_ensemble_one_over_the_images(classifier):
    results, page = json.loads((classifier / "retrain.json").read_text()), (classifier / "retrain.html").read_text()
    (c,), (certainty,) = results["configurations"], results["certainty"]
    truth = load(SIMULATED, progress=False).test.labels.numpy()
    stored = [classifier / "retrained" / "trial-0" / f"seed-{seed}" / "test.safetensors" for seed in c["seeds"]]
    upright = [load_file(path)["predictions"][0].numpy() for path in stored]
    (expected,) = estimates(metrics.classification, [upright], truth, strata=truth)
    low, high = expected["auc"].interval()
    assert certainty["interval"]["auc"] == pytest.approx([max(low, 0), min(high, 1)])
    (together,) = estimates(metrics.classification, [[np.mean(upright, 0)]], truth, strata=truth)
    low, high = together["auc"].interval()
    assert certainty["ensemble"]["auc"] == pytest.approx([max(low, 0), min(high, 1)])
    assert "of a mean, over test images and seeds; of an ensemble, over test images" in page


def test_small_data_curves_train_on_nested_shares_of_all_classes(classifier):
    results = json.loads((classifier / "retrain.json").read_text())
    assert [(s["images"], s["seeds"]) for s in results["sizes"]] == [(30, [1, 2]), (60, [1, 2])]
    labels = load(SIMULATED, progress=False).train.labels
    few, more = (retraining.first_images(labels, True, n, 1) for n in (30, 60))
    assert set(few.tolist()) < set(more.tolist())
    assert set(few.tolist()) != set(retraining.first_images(labels, True, 30, 2).tolist()), "every seed has its own"
    often = np.bincount(retraining.repeated(few, 100), minlength=len(labels))
    assert (often.sum(), set(often[few])) == (100, {3, 4}), "as many steps an epoch as with 100 images"
    shares = np.bincount(labels[few]) / 30 - np.bincount(labels) / len(labels)
    assert np.abs(shares).max() < 0.05


def test_an_evaluation_of_the_test_images_is_what_the_retraining_found(classifier, tmp_path, capsys, monkeypatch):
    data = load(SIMULATED, progress=False)
    for exported in json.loads((classifier / "retrain.json").read_text())["exported"]:
        model = nas.load_model(classifier / "models" / exported["name"])
        for views in (None, 1, 8):
            found = evaluating.evaluate(model, data, "test", views=views)
            assert found.views == (views or exported["views"])
            known = exported["test"][str(found.views)]
            if found.views == 1:  # and nothing is said of eight
                known = {name: value for name, value in known.items() if not name.endswith("_d4_views")}
            assert found.metrics == pytest.approx(known, abs=1e-6)
    model = nas.load_model(classifier / "models" / "best")
    whole = evaluating.evaluate(model, data, with_training_images=True)
    assert whole.images == 120
    seen = [getattr(data, name) for name in ("train", "val", "test")]
    p = np.concatenate([predict(model, s.images[:]).probabilities for s in seen])
    labels = np.concatenate([s.labels for s in seen])
    assert whole.metrics["auc"] == pytest.approx(roc_auc_score(labels, p, multi_class="ovr"), abs=1e-6)

    out = tmp_path / "found.json"
    words = ["--model", str(classifier / "models" / "best"), "--preset", "deeplense-1", "--images", "60"]
    assert main_of("evaluate", [*words, "--json", str(out)]) == 0
    found = json.loads(out.read_text())["metrics"]
    assert f"{found['auc']:.4f}" in capsys.readouterr().out
    assert main_of("evaluate", [*words, "--json", str(out), "--data-seed", "7"]) == 0
    assert json.loads(out.read_text())["metrics"]["loss"] != found["loss"], "other images"


def test_images_that_a_model_was_trained_on_are_left_out_of_an_evaluation(classifier, tmp_path, capsys):
    folder, data = classifier / "models" / "best", load(SIMULATED, progress=False)
    model = nas.load_model(folder)
    whole, test = evaluating.evaluate(model, data), evaluating.evaluate(model, data, "test")
    trained = len(data.train) + len(data.val)
    assert (whole.trained_on, test.trained_on, whole.metrics) == (trained, 0, test.metrics)
    with pytest.raises(ValueError, match=f"was trained on all {trained - len(data.val)} images"):
        evaluating.evaluate(model, data, "train")
    kept = evaluating.evaluate(model, data, "train", with_training_images=True)
    assert kept.images == kept.trained_on == len(data.train)

    for split, label, i in ((s, label, i) for s in ("train", "test") for label in range(3) for i in range(4)):
        images = getattr(data, split).images[getattr(data, split).labels == label]  # a copy of the simulated in files
        (tmp_path / "copies" / data.classes[label]).mkdir(parents=True, exist_ok=True)
        np.save(tmp_path / "copies" / data.classes[label] / f"{split}{i}.npy", np.rot90(images[i, 0].numpy()))
    words = ["--model", str(folder), "--data", str(tmp_path / "copies"), "--json", str(tmp_path / "found.json")]
    assert main_of("evaluate", words) == 0
    assert "trained on 12 of these images: left out (--with-training-images" in capsys.readouterr().err
    found = json.loads((tmp_path / "found.json").read_text())
    assert (found["images"], found["trained_on"]) == (12, 12), "turned copies too"
    assert main_of("evaluate", [*words, "--with-training-images"]) == 0
    assert json.loads((tmp_path / "found.json").read_text())["images"] == 24

    shutil.copytree(folder, tmp_path / "old", ignore=shutil.ignore_patterns("trained_on.npy"))
    old = evaluating.evaluate(nas.load_model(tmp_path / "old"), data)
    assert (old.images, old.trained_on) == (120, 0), "a model of an earlier version has no record"


def test_the_digests_of_training_images_never_change():
    image = torch.arange(64, dtype=torch.uint8).reshape(1, 1, 8, 8)
    views = torch.cat([torch.rot90(image, k, (2, 3)) for k in range(4)] + [image.mT])
    assert set(digests(views)) == set(digests(views.float())) == {6604830239238389760}, "models on disk have these"
    noise = torch.randn(500, 1, 8, 8)
    assert len(set(digests(torch.cat([noise, noise.mT])))) == 500


def test_a_model_and_images_that_do_not_belong_together_are_one_clear_line(classifier, capsys):
    model = nas.load_model(classifier / "models" / "best")
    data = load(SIMULATED, progress=False)
    with pytest.raises(ValueError, match="has the classes a, b, c; the model distinguishes axion, cdm, no_sub"):
        evaluating.evaluate(model, dataclasses.replace(data, classes=("a", "b", "c")))
    none = dataclasses.replace(data, val=data.val.rows(torch.empty(0, dtype=torch.int64)))
    with pytest.raises(ValueError, match=r"has no image in split 'val'; give another split or data set$"):
        evaluating.evaluate(model, none, "val")
    assert main_of("evaluate", ["--model", str(classifier / "models" / "best")]) == 2
    assert capsys.readouterr().err.startswith("error: give either --data")


def test_a_data_set_serves_an_explanation_and_what_cannot_be_meant_is_one_line(classifier):
    model = nas.load_model(classifier / "models" / "best")
    data = load(SIMULATED, progress=False)
    assert len(nas.explain(model, data, images=6).images) == 6
    for wrong, says in (
        ({"data": SIMULATED, "split": "test"}, "split is 'test', but simulated lenses are drawn anew"),
        ({"data": data, "colour": 1}, "colour is no option of reading; known: classes, group, hdu, key, skip_bad"),
        ({"data": data, "hdu": "3"}, "hdu is '3', but the data is a Dataset, which is read already; omit it"),
    ):
        with pytest.raises(nas.UserError, match=says):
            nas.explain(model, **wrong)
    for mapping in ({"no_sub": 1}, 3):
        with pytest.raises(nas.UserError, match="expected names of classes"):
            nas.evaluate(model, data, mapping=mapping)
    for option in ({"classes": "a,b,c"}, {"skip_bad": True}, {"group": "(.*)"}):
        with pytest.raises(nas.UserError, match="but the data is a Dataset"):
            nas.evaluate(model, data, **option)
    predicted = nas.predict(model, data.test.images[:4], prepared=True, batch_size=None)
    with pytest.raises(nas.UserError, match=r"expected what `nas\.predict` returns"):
        nas.select(model, predicted.probabilities, data, 0.1)
    with pytest.raises(nas.UserError, match="fdr is None; expected a number"):
        nas.select(model, predicted, data, None)


def test_what_says_nothing_of_other_images_is_no_metric_of_an_evaluation(measurer, monkeypatch):
    """Class means are those of the training images, and a model with one view says nothing of eight."""
    model = nas.load_model(measurer / "models" / "best")
    found = nas.evaluate(model, dataclasses.replace(SIMULATED, seed=5), views=1)
    assert not [name for name in found.metrics if "class_means" in name or "within" in name or "_d4_views" in name]
    assert all(low < high for low, high in found.interval.values())


def test_a_perfect_score_of_few_images_may_be_one_that_errs_once_in_a_third_of_them(classifier):
    """The rule of three (Hanley & Lippman-Hand 1983), for the images of the smallest class."""
    model = nas.load_model(classifier / "models" / "best")
    data = load(SIMULATED, progress=False)
    guessed = nas.predict(model, data.test.images[:], prepared=True).probabilities.argmax(1)
    right = dataclasses.replace(data.test, labels=guessed)
    found = nas.evaluate(model, dataclasses.replace(data, test=right), "test")
    assert found.metrics["accuracy"] == 1
    fewest = guessed.unique(return_counts=True)[1].min().item()
    assert found.interval["accuracy"] == pytest.approx((max(1 - 3 / fewest, 0), 1), abs=1e-3)


def test_classes_are_compared_by_name_whatever_their_order(classifier):
    model = nas.load_model(classifier / "models" / "best")
    data = load(SIMULATED, progress=False)
    order = (2, 0, 1)  # of the new classes among the old
    place = torch.tensor([order.index(k) for k in range(3)])
    splits = {
        name: dataclasses.replace(getattr(data, name), labels=place[getattr(data, name).labels])
        for name in ("train", "val", "test")
    }
    other = dataclasses.replace(data, classes=tuple(data.classes[k] for k in order), **splits)
    assert other.classes[other.test.labels[0]] == data.classes[data.test.labels[0]]
    assert evaluating.evaluate(model, other) == evaluating.evaluate(model, data)


@pytest.mark.parametrize("sizes", ["0,30", "30,5000"])
def test_train_sizes_that_cannot_be_are_refused(classifier, capsys, sizes):
    words = ["--study", "tiny", "--runs", str(classifier.parent), "--train-sizes", sizes]
    assert main_of("retrain", words) == 2
    assert "expected 1 to" in capsys.readouterr().err
