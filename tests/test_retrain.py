"""What retraining promises: the right trials, all the images, one look at the test split, honest figures."""

import dataclasses
import itertools
import json
import os
import re
import shutil
import signal
import time
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import optuna
import pytest
import torch
from here import Queue
from safetensors.torch import load_file
from sklearn.metrics import average_precision_score, log_loss, roc_auc_score

import nas
from nas import schedulers
from nas.commands.cli import main_of
from nas.errors import SearchFailed, UserError
from nas.files import exclusive
from nas.models.inference import predict
from nas.reading import read
from nas.report.document import packed_plotly
from nas.retraining import training as retraining
from nas.retraining.choice import best, named, overrides
from nas.retraining.elsewhere import folder_name
from nas.retraining.job import (
    NetworkResult,
    Retraining,
    fingerprint,
    finished,
    held_out_predictions,
    known_fingerprint,
    result,
)
from nas.retraining.reads import recall
from nas.retraining.scores import POINTS, estimated, score
from nas.retraining.training import train_and_test
from nas.run_folder import RunFolder
from nas.searching.engine import Engine
from nas.searching.ledger import Ledger
from nas.searching.simulate import simulate
from nas.searching.storage import open_storage
from nas.searching.study import describe
from nas.words import override
from nas.workers import ray_session as ray_session_module
from nas.workers import training as setting
from nas.workers.pool import work_through
from nas.workers.ray_session import ray_session
from nas.workers.resources import Resources
from nas.workers.training import Problem
from search_space import Hybrid, Stage, Toy, build_model
from studies import Configuration, StudySpec
from trainers import tasks
from trainers.batch.normalise import Normalisation, resolve
from trainers.calibrate import temperature
from trainers.config import TrainConfig
from trainers.data import Dataset, Folder, Simulated, Split, from_arrays, joined, load, source_to_dict
from trainers.errors import TrainingError
from trainers.evaluate import metrics_of_views, predictions
from trainers.fit import fit
from trainers.lock import locked
from trainers.tasks.substructure import Task

SPEC = StudySpec("tiny", "Which is best?", data=Simulated(images=60, image_size=32), epochs=2, min_epochs=2)
optuna.logging.set_verbosity(optuna.logging.WARNING)


@pytest.fixture(scope="module", autouse=True)
def cache(own_cache):
    load(SPEC.data, progress=False)


def configuration(rate=1e-3, name="resnet2", **training):
    return Configuration(Toy(name), TrainConfig(epochs=2, learning_rate=rate, **training), seed=0).to_dict()


def make_study(folder, configs, values, spec=SPEC, given=0):
    """A finished study whose trial i trained configs[i] to the validation value values[i]; None: it failed.

    The first `given` are marked as given, not found.
    """
    folder.mkdir(parents=True)
    ledger = Ledger(open_storage(folder / "study.db"), SPEC.name, sampler=optuna.samplers.RandomSampler(seed=0))
    ledger.study.set_user_attr("spec", describe(spec))
    ledger.study.set_user_attr("baselines", [])  # tests/test_baselines.py trains some
    coming = iter(configs)
    engine = Engine(
        ledger, schedulers.create("promotion", (2,), 3), sample=lambda trial: next(coming), trials=len(configs),
        first=({},) * given,
    )  # fmt: skip
    for value in itertools.takewhile(lambda v: v is None, values):
        assert value is None
        engine.fail(engine.next().trial, "RuntimeError: no luck")
    of = {json.dumps(c): v for c, v in zip(configs, values, strict=True)}
    list(simulate(engine, lambda c: [0.5, of[json.dumps(c)]], workers=1))
    engine.close()
    return ledger.study


def jobs_for(tmp_path, *configs, seed=0):
    seen = fingerprint(load(SPEC.data, progress=False))
    problem = Problem(source_to_dict(SPEC.data), SPEC.task)
    return [
        Retraining(i, {**config, "seed": seed}, problem, seen, str(tmp_path / "retrained"))
        for i, config in enumerate(configs)
    ]


def main(words):
    return main_of("retrain", words)


def test_the_best_complete_trials_are_taken_and_a_configuration_counts_once(tmp_path):
    same = configuration(2e-3)
    configs = [configuration(9e-3), configuration(1e-3), same, {**same, "seed": 5}, configuration(3e-3)]
    study = make_study(tmp_path / "tiny", configs, [None, 0.6, 0.9, 0.8, 0.7])
    assert [t.number for t in best(read(study), 3)] == [2, 4, 1]
    assert [t.number for t in best(read(study), 1)] == [2]


GRID = dataclasses.replace(SPEC, sampler="grid", seeds=2)


def with_seeds(config, seeds):
    return [{**config, "seed": seed} for seed in seeds]


@pytest.mark.parametrize("minimize", [False, True])
def test_of_a_grid_the_best_mean_over_the_seeds_is_taken_and_not_the_luckiest_seed(tmp_path, minimize):
    """Trial 0 failed, which left one seed of its configuration: a good one, which proves little. It comes last."""
    survivor, lucky, steady = configuration(9e-3), configuration(1e-3), configuration(2e-3)
    configs = [*with_seeds(survivor, (0, 1)), *with_seeds(lucky, (1, 0)), *with_seeds(steady, (1, 0))]
    values = [None, 0.85, 0.9, 0.5, 0.75, 0.74]
    if minimize:
        values = [v and 1 - v for v in values]
    found = read(make_study(tmp_path / "tiny", configs, values, GRID))
    found = dataclasses.replace(found, maximize=not minimize)
    assert [t.number for t in best(found, 3)] == [5, 3, 1], "of each the first seed stands for it"
    assert [c.value for c in found.cells()] == pytest.approx([abs(minimize - v) for v in (0.745, 0.7, 0.85)])
    elsewhere = dataclasses.replace(found, spec={**found.spec, "sampler": "tpe"})
    assert [t.number for t in best(elsewhere, 3)] == [2, 1, 4], "a search ranks by the best trial"


def test_named_trials_are_taken_in_any_state_a_configuration_once_and_as_the_search_ranks_them(tmp_path):
    same = configuration(2e-3)
    configs = [configuration(9e-3), configuration(1e-3), same, {**same, "seed": 5}, configuration(3e-3)]
    found = read(make_study(tmp_path / "tiny", configs, [None, 0.6, 0.9, 0.8, 0.7]))
    assert [t.number for t in named(found, [0, 1, 3, 4, 2])] == [3, 4, 1, 0], "the failed one comes last"
    assert [t.number for t in named(found, [3])] == [3]
    with pytest.raises(UserError, match="no trial 5"):
        named(found, [1, 5])
    waiting = dataclasses.replace(found.trials[0], config={})
    with pytest.raises(UserError, match=r"trial 0 .* has no configuration"):
        named(dataclasses.replace(found, trials=(waiting, *found.trials[1:])), [1, 0])


def test_what_replaces_the_searchs_training_is_said_of_all_that_differs_and_of_nothing_else():
    assert overrides(12, None, None, None) == overrides(12, 12, None, None) == {}
    assert overrides(12, 60, None, None) == {"epochs": 60}
    both = overrides(12, 60, 0.8, 20)
    assert both == {"epochs": 60, "sparsity": 0.8, "rewind": 20}, "half of 60 epochs is after epoch 20"
    assert override(both) == " with 60 epochs, sparsity 0.8 and rewind 20 instead of the search's own"
    assert override({"epochs": 1}) == " with 1 epoch instead of the search's own"
    assert override({}) == ""
    with pytest.raises(TrainingError, match="half of 12 epochs"):
        overrides(12, None, 0.8, 20)


def test_every_other_data_set_has_a_folder_of_its_own_below_the_run_and_shares_the_baselines():
    sources = [
        Simulated(), Simulated(seed=1), Simulated("paper-2020"), Folder("/some/lenses"), Folder("/other/lenses"),
        Folder("/some/lenses", image_size=32),
    ]  # fmt: skip
    names = [folder_name(source) for source in sources]
    assert len({*names}) == len(names)
    assert [re.sub(r"-[0-9a-f]{8}$", "", name) for name in names[2:4]] == ["data-paper-2020", "data-lenses"]
    run = RunFolder(Path("runs/tiny"))
    below = run.below(names[0])
    assert below.retraining_record == Path("runs/tiny") / names[0] / "retrain.json"
    assert below.baselines == run.baselines == Path("runs/.baselines")


def test_two_splits_joined_are_indexed_like_their_concatenation():
    def split(n):
        return Split(torch.rand(n, 1, 4, 4), torch.randint(3, (n,)), {"axion_mass": torch.rand(n)})

    first, second = split(7), split(4)
    both = joined(first, second)
    index = torch.randint(11, (50,))
    assert torch.equal(both.images[index], torch.cat([first.images, second.images])[index])
    assert torch.equal(both.labels, torch.cat([first.labels, second.labels]))
    assert torch.equal(
        both.targets["axion_mass"], torch.cat([first.targets["axion_mass"], second.targets["axion_mass"]])
    )


def test_a_retraining_is_the_plain_training_on_both_splits_to_the_last_epoch(tmp_path):
    (job,) = jobs_for(tmp_path, configuration(), seed=3)
    items = list(train_and_test(job))
    data = load(SPEC.data, progress=False)
    torch.manual_seed(3)
    model = build_model(Toy("resnet2"), in_chans=1, image_size=32, num_outputs=3)
    both = Split(torch.cat([data.train.images, data.val.images]), torch.cat([data.train.labels, data.val.labels]), {})
    task = tasks.create(SPEC.task, data)
    epochs = list(fit(model, both, task, TrainConfig(epochs=2), seed=3))
    weights = result(job).weights
    assert weights.keys() == model.state_dict().keys()
    assert all(torch.equal(weights[name], tensor) for name, tensor in model.state_dict().items())
    assert [i["train_loss"] for i in items[:-1]] == [e.metrics["train_loss"] for e in epochs]
    kept = result(job).metrics
    assert items[-1] == {"test": {name: kept[name] for name in ("auc", "accuracy", "loss")}}


def test_an_interrupted_retraining_goes_on_number_for_number_and_never_from_that_of_another(tmp_path, monkeypatch):
    monkeypatch.setattr("nas.workers.checkpoints.EVERY", 0.0)
    monkeypatch.setattr("nas.workers.checkpoints.SHARE", 1.0)
    (whole,) = jobs_for(tmp_path / "whole", configuration(), seed=3)
    undisturbed = list(train_and_test(whole))
    (job,) = jobs_for(tmp_path / "killed", configuration(), seed=3)
    killed = train_and_test(job)
    next(killed)
    killed.close()
    assert list(job.checkpoints.iterdir())
    other = dataclasses.replace(job, fingerprint="of other images")
    assert len(list(train_and_test(other))) == len(undisturbed), "it starts afresh"
    killed = train_and_test(job)
    next(killed)
    killed.close()
    rest = list(train_and_test(job))
    assert [item.get("train_loss") for item in rest] == [item.get("train_loss") for item in undisturbed[1:]]
    assert rest[-1] == undisturbed[-1]
    assert len(finished(job)["history"]) == 2
    assert all(torch.equal(result(job).weights[name], tensor) for name, tensor in result(whole).weights.items())
    assert not job.checkpoints.exists()


def test_global_statistics_are_those_of_what_was_trained_on_and_are_kept(tmp_path):
    (job,) = jobs_for(tmp_path, configuration(normalisation="log", normalisation_scope="global"))
    list(train_and_test(job))
    data = load(SPEC.data, progress=False)
    both = torch.cat([data.train.images, data.val.images])
    kept = result(job).normalisation
    assert kept == resolve(TrainConfig(normalisation="log", normalisation_scope="global"), both)
    assert kept.statistics.offset == pytest.approx(float(both.double().min()))
    assert kept.statistics.scale == pytest.approx(float(both.double().std()))


def test_the_test_images_are_read_only_after_the_last_epoch_and_once_under_each_symmetry(tmp_path, monkeypatch):
    data, reads = load(SPEC.data, progress=False), []

    class Watched:
        def __len__(self):
            return len(data.test.images)

        def __getitem__(self, index):
            reads.append(trained)
            return data.test.images[index]

    watched = dataclasses.replace(data, test=dataclasses.replace(data.test, images=Watched()))
    monkeypatch.setattr(setting, "resident", lambda *_: watched)
    trained = 0
    (job,) = jobs_for(tmp_path, configuration())
    for item in train_and_test(job):
        assert not reads or "test" in item
        trained += "epoch" in item
    assert reads == [2] * 8


def test_a_training_that_holds_the_validation_images_out_sees_only_the_training_images_and_reads_no_test(
    tmp_path, monkeypatch
):
    data = load(SPEC.data, progress=False)
    blind = dataclasses.replace(data, test=dataclasses.replace(data.test, images=None))
    monkeypatch.setattr(setting, "resident", lambda *_: blind)
    (job,) = jobs_for(tmp_path, configuration(), seed=3)
    job = dataclasses.replace(job, held_out=True)
    *_, last = train_and_test(job)
    torch.manual_seed(3)
    model = build_model(Toy("resnet2"), in_chans=1, image_size=32, num_outputs=3)
    task = tasks.create(SPEC.task, data)
    list(fit(model, data.train, task, TrainConfig(epochs=2), seed=3))
    views = [predictions(model, data.val, task, normalisation="zscore", symmetry=k) for k in range(8)]
    assert torch.equal(held_out_predictions(job), torch.stack(views))
    assert last["validation"]["auc"] == pytest.approx(roc_auc_score(data.val.labels, views[0], multi_class="ovr"))
    assert finished(dataclasses.replace(job, held_out=False)) is None


def test_what_is_finished_is_not_trained_again_unless_it_would_come_out_otherwise(tmp_path):
    (job,) = jobs_for(tmp_path, configuration())
    assert finished(job) is None
    list(train_and_test(job))
    assert finished(job)
    longer = {**job.config, "training": {**job.config["training"], "epochs": 3}}
    other_task = {"problem": dataclasses.replace(job.problem, task="other")}
    for change in ({"config": longer}, {"fingerprint": "other images"}, {"trial": 5}, other_task):
        assert finished(dataclasses.replace(job, **change)) is None
    assert finished(dataclasses.replace(job, problem=dataclasses.replace(job.problem, threads=2)))


@pytest.mark.parametrize("part", ["images", "labels", "targets", "classes"])
def test_the_fingerprint_changes_with_anything_in_the_data(part):
    data = load(SPEC.data, progress=False)

    def changed(split):
        copy = Split(split.images.clone(), split.labels.clone(), {k: v.clone() for k, v in split.targets.items()})
        {"images": copy.images, "labels": copy.labels, "targets": copy.targets["mass_fraction"]}[part].view(-1)[-1] += 1
        return copy

    if part == "classes":
        other = Dataset(data.name, ("a", "b", "c"), data.train, data.val, data.test)
    else:
        other = Dataset(data.name, data.classes, data.train, data.val, changed(data.test))
    assert fingerprint(other) != fingerprint(data)
    assert fingerprint(Dataset("renamed", data.classes, data.train, data.val, data.test)) == fingerprint(data)


def test_the_pixels_of_a_data_set_are_hashed_once(tmp_path, monkeypatch):
    data = load(SPEC.data, progress=False, cache=tmp_path)
    assert known_fingerprint(data) == fingerprint(data)
    monkeypatch.setattr("nas.retraining.job.fingerprint", lambda data: pytest.fail("hashed again"))
    assert known_fingerprint(load(SPEC.data, progress=False, cache=tmp_path)) == fingerprint(data)


def retrained(outputs, task, targets, seed=0):
    """A network that says the same of every view of the test images."""
    views = task.predict(outputs).expand(8, -1, -1)
    return NetworkResult(seed, {}, views, metrics_of_views(views, targets, task), 1.0, Normalisation("zscore"), task)


def test_the_figures_agree_with_numpy_and_scikit_learn():
    torch.manual_seed(0)
    task, targets = Task(classes=("axion", "cdm", "no_sub")), torch.randint(3, (2000,))
    signal = torch.nn.functional.one_hot(targets, 3)
    raw = [signal * strength + torch.randn(2000, 3) for strength in (1.0, 1.5, 2.0)]
    trained = [retrained(o, task, targets, s) for s, o in enumerate(raw)]
    found = score(4, {}, 0.9, {"parameters": 10, "macs": None}, trained, task, targets, "auc")

    probabilities = [o.double().softmax(-1).numpy() for o in raw]
    auc = [roc_auc_score(targets, p, multi_class="ovr") for p in probabilities]
    assert found.spread["auc"].mean == pytest.approx(np.mean(auc))
    assert found.spread["auc"].sd == pytest.approx(np.std(auc, ddof=1))
    assert found.spread["auc"].n == 3
    together = np.mean(probabilities, axis=0)
    assert found.ensemble["auc"] == pytest.approx(roc_auc_score(targets, together, multi_class="ovr"))
    assert found.ensemble["loss"] == pytest.approx(log_loss(targets, together))
    assert found.ensemble["accuracy"] == (together.argmax(-1) == targets.numpy()).mean()
    counts = np.zeros((3, 3), int)
    for p in probabilities:
        np.add.at(counts, (targets.numpy(), p.argmax(-1)), 1)
    assert found.confusion == counts.tolist()
    for k, curve in enumerate(found.roc):
        of_class = [roc_auc_score(targets == k, p[:, k]) for p in probabilities]
        assert curve.auc.mean == pytest.approx(np.mean(of_class))
        for (false, true), area in zip([*curve.seeds, curve.ensemble], [*of_class, curve.ensemble_auc], strict=True):
            assert (false[0], true[0], false[-1], true[-1]) == (0, 0, 1, 1)
            assert len(false) <= POINTS
            assert np.trapezoid(true, false) == pytest.approx(area, abs=2e-3), "thinning keeps the curve"
        recall, precision = curve.precision
        assert (recall[0], recall[-1], len(recall) <= POINTS) == (0, 1, True)
        expected = average_precision_score(targets == k, together[:, k])
        assert np.trapezoid(precision, recall) == pytest.approx(expected, abs=5e-3)


def test_one_seed_has_no_standard_deviation():
    task, targets = Task(classes=("a", "b")), torch.tensor([0, 1, 0, 1])
    outputs = torch.tensor([[1.0, 0], [0, 1], [0, 1], [0, 2]])
    trained = [retrained(outputs, task, targets)]
    found = score(0, {}, 0.5, {}, trained, task, targets, "auc")
    assert found.spread["auc"].sd is None
    assert str(found.spread["auc"]) == f"{found.spread['auc'].mean:.4f}"


def check_results(folder, trials, seeds, tolerance=1e-12):
    """What the command leaves: a report with all figures, and models that repeat the stored test predictions.

    Only where the worker had another number of threads than this process may more than the last bits differ.
    """
    results = json.loads((folder / "retrain.json").read_text())
    assert [c["trial"] for c in results["configurations"]] == trials
    html = (folder / "retrain.html").read_text()
    own = html.replace(packed_plotly(), "")
    assert len(own) < len(html) / 2, "plotly is inside"
    assert not re.search(r"<[^>]*\b(src|href)\s*=|\burl\(", own), "works offline"
    for c in results["configurations"]:
        assert c["seeds"] == seeds
        assert f"roc-{c['trial']}" in html
        values = [metrics["auc"] for metrics in c["test"]]
        assert c["spread"]["auc"]["mean"] == pytest.approx(np.mean(values))
        assert f"{np.mean(values):.4f} ± {np.std(values, ddof=1):.4f}" in html
    names = [name for t in trials for name in (f"trial-{t}", *(f"trial-{t}-seed-{s}" for s in seeds))]
    assert [model["name"] for model in results["exported"]] == [*names, "ensemble"]
    for model in results["exported"]:
        check_model(folder, model, tolerance)
    assert (folder / "models" / "best").resolve().name == f"trial-{trials[0]}"


def check_model(folder, model, tolerance):
    """Predictions and figures of an exported model, from what its networks said of the test images, by numpy alone."""
    data = load(SPEC.data, progress=False)
    loaded = nas.load_model(folder / "models" / model["name"])
    assert loaded.views == model["views"]
    networks = [
        load_file(folder / "retrained" / f"trial-{m['trial']}" / f"seed-{m['seed']}" / "test.safetensors")[
            "predictions"
        ]
        for m in model["members"]
        for _ in range(m["times"])
    ]
    for views in (1, 8):
        expected = np.mean([network[:views].numpy() for network in networks], axis=(0, 1))
        if (factor := model["calibration"].get(str(views))) is not None:
            expected = expected ** (1 / factor)
            expected /= expected.sum(1, keepdims=True)
        found = predict(loaded, data.test.images, views=views).probabilities.numpy()
        assert found == pytest.approx(expected, abs=max(tolerance, 1e-6 if views > 1 else 0))
        assert model["test"][str(views)]["loss"] == pytest.approx(log_loss(data.test.labels, expected))
    assert ("8" in model["calibration"]) == bool(model["held_out"]["networks"])


def test_an_ensemble_whose_views_are_all_the_same_is_calibrated_by_as_many_networks(tmp_path, without_ray):
    tied = Hybrid((Stage("conv", 1, 16),), patch=4, norm_layer="batch", head="average", symmetry="d4")
    first = Configuration(tied, TrainConfig(epochs=2), seed=0).to_dict()
    make_study(tmp_path / "tiny", [configuration(2e-3), first], [0.6, 0.7])
    words = ["--study", "tiny", "--runs", str(tmp_path), "--top-k", "2", "--workers", "1", "--seeds", "2"]
    assert main([*words, "--no-baselines"]) == 0
    folder = tmp_path / "tiny"
    exported = json.loads((folder / "retrain.json").read_text())["exported"]
    (model,) = (m for m in exported if m["name"] == "trial-1")
    assert (model["views"], model["held_out"]["networks"]) == (1, 2)
    kept = [load_file(next(folder.glob(f"retrained/trial-1/seed-{s}*-held-out/*.safetensors"))) for s in (1, 2)]
    together = torch.stack([each["predictions"][0] for each in kept]).mean(0)
    labels = load(SPEC.data, progress=False).val.labels
    assert model["calibration"]["1"] == pytest.approx(temperature(together, labels), rel=1e-4)
    for m in exported:
        if m["name"].startswith("trial-1"):
            check_model(folder, m, 1e-12)
    (other,) = (m for m in exported if m["name"] == "trial-0")
    assert "1" not in other["calibration"], "one network is less cautious than two together"
    assert other["held_out"]["networks"] == 1


def an_earlier_version_wrote(file):
    """A record without the metrics of eight views."""
    record = json.loads(file.read_text())
    record["test"] = {name: value for name, value in record["test"].items() if not name.endswith("_d4_views")}
    file.write_text(json.dumps(record))


def test_the_command_reports_and_exports_and_goes_on_where_it_was(tmp_path, capsys, without_ray):
    configs = [configuration(1e-3), configuration(2e-3, "mlp")]
    make_study(tmp_path / "tiny", configs, [0.6, 0.7])
    arguments = ["--study", "tiny", "--runs", str(tmp_path), "--top-k", "2", "--workers", "1", "--seeds"]
    assert main([*arguments, "2"]) == 0
    said = capsys.readouterr().out
    assert said.count("test AUC") == 4
    assert "0.7000" in said, "the validation value stands beside the test's"
    check_results(tmp_path / "tiny", [1, 0], [1, 2])
    first = json.loads((tmp_path / "tiny" / "retrain.json").read_text())
    an_earlier_version_wrote(tmp_path / "tiny" / "retrained" / "trial-0" / "seed-2" / "record.json")
    assert main([*arguments, "2"]) == 0
    assert "6 of 6 trainings were finished before" in capsys.readouterr().out
    again = json.loads((tmp_path / "tiny" / "retrain.json").read_text())
    assert (first["test_reads"].pop("calls"), again["test_reads"].pop("calls")) == (1, 2)
    assert again == first
    assert main([*arguments, "3"]) == 0
    assert capsys.readouterr().out.count("test AUC") == 2
    check_results(tmp_path / "tiny", [1, 0], [1, 2, 3])
    assert main([*arguments, "1"]) == 0
    left = {path.name for path in (tmp_path / "tiny" / "models").iterdir()}
    assert left == {"best", "ensemble", "trial-0", "trial-1"}, "no network that is in none of these"


def test_a_retraining_that_was_killed_at_its_export_is_not_taken_for_one_and_its_reads_count(
    tmp_path, monkeypatch, without_ray
):
    """The models are still those of the retraining before."""
    make_study(tmp_path / "tiny", [configuration(name="mlp")], [0.6])
    options = {"seeds": 1, "workers": 1, "quiet": True}
    nas.retrain(tmp_path / "tiny", **options)

    def killed(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("nas.retraining.retrain.export_all", killed)
        with pytest.raises(KeyboardInterrupt):
            nas.retrain(tmp_path / "tiny", epochs=3, **options)
    with pytest.raises(UserError, match=r"cut off at its export; run the same nas\.retrain again"):
        nas.load_retrained(nas.load_results(tmp_path / "tiny"))
    again = nas.retrain(tmp_path / "tiny", epochs=3, **options)
    assert (again.test_reads.calls, again.test_reads.networks) == (3, 2)
    read_again = nas.load_retrained(nas.load_results(tmp_path / "tiny"))
    assert (read_again.overridden, read_again.test_reads) == ({"epochs": 3}, again.test_reads)


def test_what_was_given_to_the_search_is_marked_as_given_when_it_is_retrained(tmp_path, capsys, without_ray):
    make_study(tmp_path / "tiny", [configuration(2e-3), configuration(1e-3)], [0.7, 0.6], given=1)
    assert main(["--study", "tiny", "--runs", str(tmp_path), "--top-k", "2", "--seeds", "1", "--workers", "1"]) == 0
    said = capsys.readouterr().out
    assert "retraining trials 0 (given), 1 of tiny" in said
    assert "\ntrial 0 (given): " in said
    page = (tmp_path / "tiny" / "retrain.html").read_text()
    assert "Against trial 0 (given)" in page
    assert "Trial 0 (given): toy resnet2" in page
    assert page.count("<td>0 (given)</td>") == 2
    assert "1 (given)" not in page
    cards = [(tmp_path / "tiny" / "models" / f"trial-{i}" / "README.md").read_text() for i in (0, 1)]
    assert ["given to the search, not found by it" in card for card in cards] == [True, False]


def test_the_validation_value_of_a_grid_is_the_mean_over_its_seeds(tmp_path, without_ray):
    configs = [*with_seeds(configuration(1e-3), (0, 1)), *with_seeds(configuration(2e-3), (0, 1))]
    make_study(tmp_path / "tiny", configs, [0.5, 0.9, 0.74, 0.75], GRID)
    arguments = ["--study", "tiny", "--runs", str(tmp_path), "--top-k", "1", "--seeds", "1", "--workers", "1"]
    assert main(arguments) == 0
    (found,) = json.loads((tmp_path / "tiny" / "retrain.json").read_text())["configurations"]
    assert (found["trial"], found["validation"]) == (2, pytest.approx(0.745))


def test_the_seeds_of_a_retraining_are_none_of_the_search(tmp_path, without_ray):
    configs = [*with_seeds(configuration(1e-3), (0, 1)), *with_seeds(configuration(2e-3), (0, 1))]
    make_study(tmp_path / "tiny", configs, [0.5, 0.9, 0.74, 0.75], GRID)
    retrained = nas.retrain(tmp_path / "tiny", top_k=2, seeds=2, workers=1, quiet=True)
    assert [scores.seeds for scores in retrained.configurations] == [(2, 3), (2, 3)]


def test_a_failed_training_is_reported_and_the_others_go_on(tmp_path, capsys, without_ray):
    make_study(tmp_path / "tiny", [configuration(1e-3), configuration(5.0)], [0.6, 0.7])
    broken = configuration(5.0, "lenet")
    with pytest.MonkeyPatch.context() as patch:
        real = retraining.fit

        def fit_or_fail(model, train, task, config, **options):
            if config.learning_rate == broken["training"]["learning_rate"]:
                raise FloatingPointError("the training loss is nan at epoch 1")
            return real(model, train, task, config, **options)

        patch.setattr(retraining, "fit", fit_or_fail)
        code = main(["--study", "tiny", "--runs", str(tmp_path), "--seeds", "2", "--workers", "1"])
    assert code == 1
    captured = capsys.readouterr()
    assert captured.err.count("the training loss is nan at epoch 1") == 3
    check_results(tmp_path / "tiny", [0], [1, 2])
    results = json.loads((tmp_path / "tiny" / "retrain.json").read_text())
    assert [failure.split(": ")[0] for failure in results["failures"]] == [
        "trial 1, seed 1", "trial 1, seed 1, validation held out", "trial 1, seed 2"
    ]  # fmt: skip
    page = (tmp_path / "tiny" / "retrain.html").read_text()
    assert "Rank 2 in the search, " in page
    assert "the best by validation" not in page, "that was trial 1"
    assert "all seeds of the first configuration" in page


def test_a_pruned_retraining_replaces_the_dense_one_and_says_what_is_left(tmp_path, capsys, without_ray):
    """Two trials that differ only in their sparsity are one when it is overridden."""
    make_study(tmp_path / "tiny", [configuration(), configuration(sparsity=0.5)], [0.6, 0.7])
    arguments = ["--study", "tiny", "--runs", str(tmp_path), "--seeds", "1", "--workers", "1", "--top-k", "2"]
    assert main(arguments) == 0
    kept = [
        json.loads((tmp_path / f"tiny/models/trial-{i}/config.json").read_text())["members"][0]["pruning"]
        for i in (0, 1)
    ]
    assert kept[0]["sparsity"] == 0
    assert kept[1]["sparsity"] == pytest.approx(0.5, abs=1e-4)
    capsys.readouterr()
    for known in (False, True):
        assert main([*arguments, "--sparsity", "0.8", "--rewind", "0"]) == 0
        shown = capsys.readouterr().out
        assert ("finished before" in shown) == known, "another sparsity is another training"
    assert "only 1 different configuration" in shown
    folder = tmp_path / "tiny" / "models" / "trial-1"
    config, card = json.loads((folder / "config.json").read_text()), (folder / "README.md").read_text()
    page, weights = (tmp_path / "tiny" / "retrain.html").read_text(), load_file(folder / "model.safetensors")
    model = build_model(Toy("resnet2"), in_chans=1, image_size=32, num_outputs=3)
    names = [f"networks.0.{name}" for name, _ in model.named_parameters()]
    (member,) = config["members"]
    convolutions = [n for n in names if n.endswith("weight") and weights[n].ndim == 4][1:]
    zeros = sum(int((weights[name] == 0).sum()) for name in convolutions)
    nonzero = sum(int((weights[name] != 0).sum()) for name in names)
    assert member["pruning"] == {
        "sparsity": pytest.approx(zeros / sum(weights[name].numel() for name in convolutions)),
        "nonzero_parameters": nonzero,
    }
    assert member["pruning"]["sparsity"] == pytest.approx(0.8, abs=1e-4)
    assert member["training"]["rewind"] == 0
    left = f"{nonzero / 1e3:.3g} k of them not zero (inner layers at sparsity 0.8)"
    assert left in shown
    assert left in page
    assert left in card
    instead = "with sparsity 0.8 and rewind 0 instead of the search"
    assert instead in " ".join(shown.split())
    assert instead in page
    assert instead in card
    assert instead in " ".join(nas.conclusion(nas.load_results(tmp_path / "tiny")))
    assert "After 1 epoch, the smallest 80% of the weights" in card


def test_named_trials_are_retrained_for_other_epochs_beside_those_of_the_search(tmp_path, capsys, without_ray):
    """Trial 0 failed, so the search has no value of it."""
    make_study(tmp_path / "tiny", [configuration(2e-3, "mlp"), configuration(1e-3, "mlp")], [None, 0.6])
    arguments = ["--study", "tiny", "--runs", str(tmp_path), "--seeds", "1", "--workers", "1"]
    assert main([*arguments, "--top-k", "1"]) == 0
    assert main([*arguments, "--trial", "0", "--trial", "1", "--epochs", "3"]) == 0
    shown = " ".join(capsys.readouterr().out.split())
    assert shown.count("finished before") == 0, "of other epochs nothing is taken for finished"
    assert "with 3 epochs instead of the search's own" in shown
    record = json.loads((tmp_path / "tiny" / "retrain.json").read_text())
    assert (record["epochs"], record["named"], record["overridden"]) == (3, True, {"epochs": 3})
    assert [(c["trial"], c["validation"]) for c in record["configurations"]] == [(1, 0.6), (0, None)]
    stored = tmp_path / "tiny" / "retrained"
    for folder, epochs in (("trial-1/seed-1", 2), ("trial-1/seed-1-epochs-3", 3), ("trial-0/seed-1-epochs-3", 3)):
        assert len(json.loads((stored / folder / "record.json").read_text())["history"]) == epochs
    page = (tmp_path / "tiny" / "retrain.html").read_text()
    assert "images, 3 epochs instead of the search" in page
    assert "Rank " not in page, "of those asked for"
    assert "The best of" not in page
    cards = [(tmp_path / "tiny" / "models" / f"trial-{i}" / "README.md").read_text() for i in (0, 1)]
    assert all("asked for by its number, not chosen by its validation auc" in card for card in cards)
    assert ["(0.6000 at full budget)" in card for card in cards] == [False, True]
    assert all("; 3 epochs." in card for card in cards)
    assert (tmp_path / "tiny" / "models" / "best").resolve().name == "trial-1"


def test_on_other_images_everything_is_new_and_the_searchs_own_retraining_stays(tmp_path, without_ray):
    """Two classes instead of three, and a size that is brought to the search's."""
    make_study(tmp_path / "tiny", [configuration(1e-3, "mlp"), configuration(2e-3, "mlp")], [0.6, 0.7])
    options = {"top_k": 1, "seeds": 2, "workers": 1, "quiet": True}
    own = nas.retrain(tmp_path / "tiny", **options, data=SPEC.data)
    assert own.run.path == tmp_path / "tiny", "these are the search's own images"
    before = {path: path.read_bytes() for path in (tmp_path / "tiny").rglob("*") if path.is_file()}
    rng = np.random.default_rng(0)
    images, labels = rng.normal(size=(60, 1, 20, 20)).astype(np.float32), np.array(["dim", "bright"] * 30)
    images[labels == "bright"] += rng.normal(size=(20, 20)).astype(np.float32)
    other = nas.retrain(tmp_path / "tiny", **options, data=(images, labels))
    assert {path: path.read_bytes() for path in before} == before
    assert other.run.path.parent == tmp_path / "tiny"
    assert other.run.path.name.startswith("data-arrays-")
    assert other.classes == ("bright", "dim")
    (scores,) = other.configurations
    network = build_model(Toy("mlp"), in_chans=1, image_size=32, num_outputs=2)
    assert (scores.trial, scores.validation) == (1, None)
    assert scores.parameters == sum(p.numel() for p in network.parameters())
    assert other.test_reads.describe() == "2 networks in 1 call of nas.retrain"
    model = nas.load_model(other.best)
    test = load(from_arrays(images, labels, image_size=32), progress=False).test
    found = roc_auc_score(test.labels, predict(model, test.images).probabilities[:, 1])
    assert other.exported[0].test[str(model.views)]["auc"] == pytest.approx(found)
    page, card = other.run.retraining_report.read_text(), (other.best / "README.md").read_text()
    assert "alidation AUC" in page, "by which the search chose"
    assert "validation AUC</th>" not in page
    assert "by validation, " not in page
    for text in (page, card):
        assert "60 simulated lenses, 32 px" in text, "on which the search was"
        assert "images in memory" in text


def test_other_images_that_do_not_suit_are_refused_before_anything_is_written(tmp_path):
    make_study(tmp_path / "tiny", [configuration(name="lenet")], [0.6])
    before = sorted((tmp_path / "tiny").iterdir())
    images = np.random.default_rng(0).normal(size=(60, 1, 8, 8)).astype(np.float32)
    with pytest.raises(UserError, match=r"trial 0 cannot be built for images of 1 x 8 x 8: .*at least 16 pixels"):
        nas.retrain(tmp_path / "tiny", top_k=1, data=from_arrays(images, np.arange(60) % 3))
    with pytest.raises(UserError, match="no classes"):
        nas.retrain(tmp_path / "tiny", top_k=1, data=(images, {"axion_mass": np.arange(60.0)}))
    assert sorted((tmp_path / "tiny").iterdir()) == before


def test_a_network_that_cannot_be_built_here_is_refused_before_anything_is_written(tmp_path):
    """As where the module of a user's own mixer is not on Python's path."""
    config = configuration()
    stage = {"mixer": "nowhere_mixer", "depth": 1, "width": 8}
    make_study(tmp_path / "tiny", [config | {"architecture": {"kind": "hybrid", "stages": [stage]}}], [0.6])
    before = sorted((tmp_path / "tiny").iterdir())
    with pytest.raises(UserError, match=r"trial 0 cannot be built .*unknown mixer 'nowhere_mixer'.*Python can import"):
        nas.retrain(tmp_path / "tiny", top_k=1)
    assert sorted((tmp_path / "tiny").iterdir()) == before


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--study", "nosuch"], "nosuch"),
        (["--study", "tiny", "--trial", "1"], "no trial 1"),
        (["--study", "tiny", "--trial", "0", "--top-k", "1"], "not allowed with argument"),
        (["--study", "tiny", "--trial", "0", "--epochs", "0"], "epochs is 0; expected at least 1"),
        (["--study", "tiny", "--trial", "0", "--epochs", "1"], "trial 0: warm-up of 1.0 epochs must be shorter"),
        (["--study", "tiny", "--trial", "0", "--data", "nosuch"], "data folder 'nosuch' does not exist"),
        (["--study", "tiny", "--sparsity", "1"], "sparsity is 1.0; expected"),
        (["--study", "tiny", "--sparsity", "0.5", "--rewind", "2"], "half of 2 epochs .* at least 4 epochs"),
        (["--study", "tiny", "--rewind", "1"], "give sparsity above 0 as well"),
        (["--study", "nosuch.py"], "no study file nosuch.py"),
        (["--study", "tiny", "--name", "elsewhere"], "no study at"),
        (["--study", "tiny", "--top-k", "0"], "top_k is 0; expected at least 1"),
        (["--study", "tiny", "--seeds", "-1"], "seeds is -1; expected at least 1"),
        (["--study", "tiny", "--workers", "0"], "--workers is 0; expected at least 1"),
        (["--study", "tiny"], "no trial of .* has reached the full budget yet"),
    ],
)
def test_a_mistake_is_one_line_and_exit_code_2(tmp_path, capsys, arguments, said):
    make_study(tmp_path / "tiny", [configuration()], [None])
    assert main(["--runs", str(tmp_path), *arguments]) == 2
    error = capsys.readouterr().err
    assert re.search(said, error)
    assert error.count("\n") == 1


def test_the_interval_of_a_single_seed_is_said_to_be_over_images_only(tmp_path, capsys, without_ray):
    make_study(tmp_path / "tiny", [configuration(1e-3), configuration(2e-3)], [0.6, 0.7])
    arguments = ["--study", "tiny", "--runs", str(tmp_path), "--top-k", "2", "--workers", "1", "--seeds"]
    only = "of a single seed, over test images only"
    for seeds, said in (("1", True), ("2", False)):
        assert main([*arguments, seeds]) == 0
        shown, page = " ".join(capsys.readouterr().out.split()), (tmp_path / "tiny" / "retrain.html").read_text()
        assert (only in shown, only in page) == (said, said)
        assert ("knows nothing of other seeds" in page) == said
        assert ("of an ensemble" in shown) != said
    difference = json.loads((tmp_path / "tiny" / "retrain.json").read_text())["certainty"][1]["difference"]["auc"]
    means = [
        c["spread"]["auc"]["mean"] for c in json.loads((tmp_path / "tiny/retrain.json").read_text())["configurations"]
    ]
    assert difference[0] == pytest.approx(means[1] - means[0])
    assert difference[1] < difference[0] < difference[2]


def test_the_test_images_are_counted_over_the_life_of_the_folder(tmp_path, without_ray):
    make_study(tmp_path / "tiny", [configuration(1e-3), configuration(2e-3, "mlp")], [0.6, 0.7])
    record, page = tmp_path / "tiny" / "retrain.json", tmp_path / "tiny" / "retrain.html"

    def reads(**options):
        nas.retrain(tmp_path / "tiny", **{"top_k": 1, "seeds": 1, "workers": 1, "quiet": True, **options})
        found = json.loads(record.read_text())["test_reads"]
        assert (
            f"{found['networks']} network{'s' * (found['networks'] > 1)} in {found['calls']} call" in page.read_text()
        )
        return found["networks"], found["calls"]

    without = {"baselines": False}
    assert reads(**without) == (1, 1)
    assert reads(**without) == (1, 2), "what is finished is not read again"
    assert reads(seeds=2, **without) == (2, 3)
    shutil.rmtree(tmp_path / "tiny" / "retrained")
    assert reads(top_k=2, **without) == (3, 4), "the same network counts once, and none is forgotten"
    old = json.loads(record.read_text())
    del old["test_reads"]
    record.write_text(json.dumps(old))
    assert reads(top_k=2, **without) == (2, 2), "of an earlier version: what is on disk, and one call at least"


def test_two_retrainings_of_one_study_do_not_run_at_once(tmp_path, capsys):
    make_study(tmp_path / "tiny", [configuration()], [0.6])
    with locked(tmp_path / "tiny" / "retrain.lock"):
        assert main(["--study", "tiny", "--runs", str(tmp_path)]) == 2
    assert "another retraining is running" in capsys.readouterr().err


@pytest.mark.slow
def test_ray_trains_tests_and_exports(tmp_path, capsys):
    configs = [configuration(1e-3), configuration(2e-3, "mlp")]
    make_study(tmp_path / "tiny", configs, [0.6, 0.7])
    arguments = ["--study", "tiny", "--runs", str(tmp_path), "--top-k", "2", "--seeds", "2", "--workers", "2"]
    assert main(arguments) == 0
    assert capsys.readouterr().out.count("test AUC") == 4
    check_results(tmp_path / "tiny", [1, 0], [1, 2], tolerance=1e-6)


class Recorded(Queue):
    """Work that writes down what becomes of each job."""

    def __init__(self, jobs):
        super().__init__(jobs)
        self.ends = {}

    def report(self, job, item):
        self.ends[job] = item
        if job == "stopped":
            self.running -= 1
        return job != "stopped"

    def end(self, job):
        self.running -= 1
        self.ends[job] = f"{self.ends[job]} and ended"

    def fail(self, job, reason):
        self.running -= 1
        self.ends[job] = reason

    def lost(self, job, reason, memory):
        self.fail(job, reason)


def stretch(closed):
    """A job's function, which travels to the workers by value: they do not find the modules of tests."""

    def run(job):
        try:
            yield f"{job} begun"
        finally:
            (closed / job).touch()
        if job == "raises":
            raise RuntimeError("out of luck")
        if job == "dies":
            os._exit(1)
        yield f"{job} done"

    return run


@pytest.mark.slow
def test_neither_an_error_nor_a_dead_worker_stops_the_other_jobs_of_the_pool(tmp_path):
    handlers = [signal.getsignal(s) for s in (signal.SIGINT, signal.SIGUSR1)]
    for _ in range(2):  # and a second time in the same process
        work = Recorded(["one", "raises", "two", "dies", "stopped", "three", "four"])
        work_through(work, stretch(tmp_path), Resources("cpu", 2, 1, 0.0))
        assert (tmp_path / "stopped").exists(), "what is stopped is closed, or it would keep its network"
        assert work.ends.pop("raises") == "RuntimeError: out of luck"
        assert work.ends.pop("dies").startswith("the worker process died")
        assert work.ends.pop("stopped") == "stopped begun"
        assert work.ends == {job: f"{job} done and ended" for job in ("one", "two", "three", "four")}
    assert [signal.getsignal(s) for s in (signal.SIGINT, signal.SIGUSR1)] == handlers, "Ctrl-C is given back"


@pytest.mark.slow
def test_what_the_work_raises_ends_the_pool_and_is_raised(tmp_path):
    class Broken(Recorded):
        def report(self, job, item):
            raise LookupError("this is no job of mine")

    with pytest.raises(LookupError, match="no job of mine"):
        work_through(Broken(["one", "two", "three"]), stretch(tmp_path), Resources("cpu", 2, 1, 0.0))


@pytest.mark.slow
def test_workers_that_cannot_start_end_the_pool_with_the_reason(tmp_path, monkeypatch):
    """Here they do not find the module of the function that they are to run."""
    (tmp_path / "gone.py").write_text("def run(job):\n    yield job\n")
    monkeypatch.syspath_prepend(tmp_path)
    from gone import run

    with pytest.raises(SearchFailed, match=r"workers cannot start: .*gone"):
        work_through(Recorded(["one"]), run, Resources("cpu", 1, 1, 0.0))


@pytest.mark.slow
def test_a_worker_that_never_starts_does_not_hold_up_the_end(tmp_path, monkeypatch):
    """Of three workers on two processors one waits for ever."""
    monkeypatch.setattr("nas.workers.pool.ray_session", lambda workers, stop: ray_session(2, stop))
    begin = time.monotonic()
    work = Recorded(["one", "two", "three"])
    work_through(work, stretch(tmp_path), Resources("cpu", 3, 1, 0.0))
    assert set(work.ends) == {"one", "two", "three"}
    assert time.monotonic() - begin < 120


@pytest.mark.slow
def test_workers_are_as_nice_as_who_started_them():
    def run(job):
        yield os.nice(0)

    work = Recorded(["one"])
    work_through(work, run, Resources("cpu", 1, 1, 0.0))
    assert work.ends["one"] == f"{os.nice(0)} and ended"


@pytest.mark.slow
def test_every_job_runs_on_the_gpu_that_its_process_began_with(monkeypatch):
    """Two GPUs that are not there, half of one for each of four workers, one of which dies."""
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    monkeypatch.setenv("RAY_AUTH_MODE", "disabled")  # Ray would set it for the tests that come after

    @contextmanager
    def two_gpus(workers, stop):
        ray_session_module.ray.init(num_cpus=4, num_gpus=2, include_dashboard=False, log_to_driver=False)
        try:
            yield
        finally:
            ray_session_module.ray.shutdown()

    def run(job):
        if job == "dies":
            os._exit(1)
        time.sleep(1.0)  # until all four have started, one after the other
        yield os.getpid(), os.environ["CUDA_VISIBLE_DEVICES"]

    monkeypatch.setattr("nas.workers.pool.ray_session", two_gpus)
    work = Recorded([*(f"early {i}" for i in range(12)), "dies", *(f"late {i}" for i in range(12))])
    work.end = lambda job: setattr(work, "running", work.running - 1)
    work_through(work, run, Resources("cuda", 4, 1, 0.5))
    assert work.ends.pop("dies").startswith("the worker process died")
    gpus = {}
    for process, gpu in work.ends.values():
        gpus.setdefault(process, set()).add(gpu)
    assert len(work.ends) == 24
    assert all(len(seen) == 1 for seen in gpus.values()), "CUDA stays where a process began"
    assert {gpu for seen in gpus.values() for gpu in seen} == {"0", "1"}


@dataclasses.dataclass(frozen=True)
class OfOwnMetric(Task):
    """A task that reports one metric under a name of its own."""

    lower_is_better = ("brier",)

    def metrics(self, predicted, targets):
        right = torch.nn.functional.one_hot(targets, len(self.classes))
        return {"brier": float(((predicted - right) ** 2).sum(-1).mean())}

    metrics_in_full = metrics


@pytest.mark.parametrize(
    ("of", "objective", "main"),
    [
        (OfOwnMetric, "brier_d4_mean", ("brier",)),
        (Task, "mcc", ("mcc", "auc", "accuracy")),
        (Task, "auc_d4_worst", ("auc", "accuracy", "loss")),
        (Task, "auc_cdm", ("auc_cdm", "auc", "accuracy")),
    ],
)
def test_the_metric_of_the_objective_comes_first_and_has_an_interval(of, objective, main):
    torch.manual_seed(0)
    targets = torch.arange(90) % 3
    test = Split(torch.zeros(90, 1, 8, 8), targets, {})
    task = of(classes=("axion", "cdm", "no_sub"))
    raw = [torch.nn.functional.one_hot(targets, 3) + torch.randn(90, 3) for _ in range(2)]
    trained = [retrained(o, task, targets, s) for s, o in enumerate(raw)]
    found = score(4, {}, 0.9, {}, trained, task, targets, objective)
    assert found.main == main
    (estimate,) = estimated([trained], task, test, objective)
    assert set(main) <= set(estimate)
    low, high = estimate[main[0]].interval()
    assert low < found.spread[main[0]].mean < high


def test_a_task_with_metrics_of_its_own_alone_is_retrained_and_exported(tmp_path, monkeypatch, without_ray):
    (tmp_path / "own_brier.py").write_text(
        "import dataclasses, torch\nfrom trainers.tasks import substructure\n\n"
        "@dataclasses.dataclass(frozen=True)\nclass Task(substructure.Task):\n"
        "    lower_is_better = ('brier',)\n    objective = 'brier'\n\n"
        "    def metrics(self, predicted, targets):\n"
        "        right = torch.nn.functional.one_hot(targets, len(self.classes))\n"
        "        return {'brier': float(((predicted - right) ** 2).sum(-1).mean())}\n\n"
        "    metrics_in_full = metrics\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    spec = dataclasses.replace(SPEC, task="own_brier", objective="brier", direction="minimize")
    make_study(tmp_path / "tiny", [configuration(1e-3, "mlp"), configuration(2e-3, "mlp")], [0.6, 0.7], spec)
    found = nas.retrain(tmp_path / "tiny", top_k=2, seeds=2, workers=1, quiet=True)
    assert found.configurations[0].main == ("brier",)
    assert "brier" in found.certainty[0].interval
    assert "brier" in found.run.retraining_report.read_text()
    assert "brier" in (found.best / "README.md").read_text()
    assert nas.load_model(found.best).task.lower_is_better == ("brier",)


def test_a_record_that_a_power_cut_or_a_kill_left_stops_no_later_retraining(tmp_path):
    run = RunFolder(tmp_path)
    for name, text in (
        ("seed-1", ""),
        ("seed-2", '{"key": {"s": 2}, "test": {}}'),
        (".seed-3.99", '{"key": 3, "test": {}}'),
    ):
        (run.retrained / "trial-0" / name).mkdir(parents=True)
        (run.retrained / "trial-0" / name / "record.json").write_text(text)
    assert recall(run).networks == 1
    with exclusive(run.retraining_lock, "taken"):
        assert {path.name for path in (run.retrained / "trial-0").iterdir()} == {"seed-1", "seed-2"}


def test_a_run_is_the_same_from_inside_its_folder(tmp_path, monkeypatch):
    (tmp_path / "runs" / "mine").mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "runs" / "mine")
    assert RunFolder(Path(".")).baselines == tmp_path / "runs" / ".baselines"
    assert RunFolder(Path(".")).options("hybrid") == [
        "--study",
        "hybrid",
        "--runs",
        str(tmp_path / "runs"),
        "--name",
        "mine",
    ]
