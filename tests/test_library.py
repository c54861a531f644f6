"""The library as a notebook uses it: from a study to a prediction, with mixers, tasks and images of one's own."""

import math
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import here
import numpy as np
import pytest
import torch

import nas
from nas.searching.study import completed, describe
from nas.workers.training import resident
from search_space import ToySpace
from trainers.data import Folder
from trainers.data.folder.image_file import Reading

TOY = replace(here.TOY, first=({"toy": "lenet", "learning_rate": 1e-3},))
pytestmark = pytest.mark.usefixtures("own_cache")


def test_from_a_study_to_a_prediction(tmp_path, without_ray):
    images = np.random.default_rng(0).random((5, 1, 16, 16))
    results = nas.search(TOY, trials=5, runs=tmp_path, quiet=True)
    frame = results.frame()
    retrained = nas.retrain(results, top_k=2, seeds=2, quiet=True)
    model = nas.load_model(retrained.best)
    found = nas.predict(model, images)

    assert len(results.trials) == len(frame) == 5
    assert frame.loc[results.best.number, "value"] == results.best.value
    assert results.best.value == frame.loc[frame["state"] == "complete", "value"].max()
    assert frame.loc[0, "given"]
    assert not frame.loc[1:, "given"].any()
    assert frame.loc[0, "architecture"] == "toy lenet"
    assert frame.loc[0, "params_learning_rate"] == 1e-3
    assert frame["metrics_auc"].equals(frame["value"].rename("metrics_auc"))
    assert set(frame["state"]) <= {"complete", "pruned"}
    assert set(retrained.models) == set(retrained.frame().index.get_level_values("trial"))
    assert retrained.best.resolve() == next(iter(retrained.models.values())).resolve()
    assert found.probabilities.shape == (5, 3)
    assert torch.equal(found.probabilities, model.predict(images).probabilities)
    assert "the substructure differs from the best smooth lens by axion" in results.limit
    for page in ("report.html", "retrain.html"):  # what there is to find is said beside what was found
        assert results.limit in (tmp_path / "toy" / page).read_text()


def test_images_are_read_in_every_use_of_a_model_as_they_were_in_its_search(tmp_path, without_ray):
    rng = np.random.default_rng(0)
    for i in range(40):
        (tmp_path / "data" / str(i % 2)).mkdir(parents=True, exist_ok=True)
        image = rng.random([(20, 20), (16, 24)][i // 2 % 2]) + i % 2
        np.savez(tmp_path / "data" / str(i % 2) / f"{i}.npz", lens=image, mask=image > 1)
    reading = {"key": "lens", "classes": "no,sphere", "fit": "crop", "split": "60,20,20"}
    results = nas.search(TOY, trials=1, data=tmp_path / "data", image_size=16, runs=tmp_path, quiet=True, **reading)
    assert results.images["counts"] == [24, 8, 8]
    with pytest.raises(nas.UserError, match="was searched with other data"):
        nas.search(TOY, trials=1, data=tmp_path / "data", image_size=16, runs=tmp_path, quiet=True, key="lens")
    model = nas.load_model(nas.retrain(results, top_k=1, seeds=1, quiet=True).best)
    assert model.reading == Reading(key=("lens",), classes=("no_sub", "cdm"), fit="crop:16")
    assert model.classes == ("cdm", "no_sub")
    wide = tmp_path / "data" / "0" / "2.npz"
    cropped = np.load(wide)["lens"][:, 4:20]
    assert torch.equal(nas.predict(model, wide).probabilities, nas.predict(model, cropped[None, None]).probabilities)
    assert nas.evaluate(model, tmp_path / "data", with_training_images=True).images == 40


def test_a_study_is_read_as_it_was_searched(tmp_path, without_ray):
    searched = nas.search(TOY, trials=4, runs=tmp_path, name="a", quiet=True)
    for path in (tmp_path / "a", str(tmp_path / "a"), tmp_path / "a" / "study.db"):
        assert nas.load_results(path) == searched
    curves = searched.learning_curves()
    for trial in searched.trials:
        assert curves.loc[trial.number]["value"].to_dict() == dict(trial.curve)
        assert curves.loc[trial.number]["auc"].tolist() == list(trial.curve.values())
        assert searched.configuration(trial.number).to_dict() == trial.config
    with pytest.raises(nas.UserError, match="has no trial 99"):
        searched.configuration(99)
    with pytest.raises(nas.UserError, match="cost is 'latency'; expected macs or parameters"):
        searched.front("latency")


def test_a_study_without_trials_has_tables_of_nothing(tmp_path):
    from nas.searching.study import open_ledger

    (tmp_path / "toy").mkdir()
    open_ledger(tmp_path / "toy" / "study.db", TOY)
    results = nas.load_results(tmp_path / "toy")
    assert results.best is None
    assert len(results.frame()) == len(results.learning_curves()) == 0


def test_the_same_call_extends_a_search_and_goes_on_after_an_interrupt(tmp_path, monkeypatch, without_ray):
    def interrupted(work, run, resources, **limits):
        for _ in range(2):
            job = work.next()
            for item in run(job):
                if not work.report(job, item):
                    break
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("nas.workers.pool.work_through", interrupted)
        with pytest.raises(KeyboardInterrupt, match=r"stopped at \d of 4 trials"):
            nas.search(TOY, trials=4, runs=tmp_path, quiet=True)
    before = nas.load_results(tmp_path / "toy")
    assert before.counts()["paused"] == 2
    first = nas.search(TOY, trials=4, runs=tmp_path, quiet=True)
    more = nas.search(TOY, trials=6, runs=tmp_path, quiet=True)
    assert (len(first.trials), len(more.trials)) == (4, 6)
    assert [t.params for t in more.trials[:2]] == [t.params for t in before.trials]
    assert more.trials[:4] == first.trials


@pytest.mark.parametrize(
    ("call", "says"),
    [
        (lambda runs: nas.search("hybird", runs=runs), "unknown study 'hybird'; known: .*hybrid"),
        (lambda runs: nas.search(TOY, trials=0, runs=runs), "trials is 0; expected at least 1"),
        (lambda runs: nas.search(TOY, data="/nowhere", runs=runs), "'/nowhere' does not exist"),
        (lambda runs: nas.search(TOY, data="nowhere.at_all:load", runs=runs), "nowhere"),
        (lambda runs: nas.search(TOY, task="my.tasc", runs=runs), "my.tasc"),
        (lambda runs: nas.search(TOY, sampler="tpee", runs=runs), "unknown sampler 'tpee'"),
        (lambda runs: nas.search(TOY, skip_bad=True, runs=runs), "skip_bad .* omit it"),
        (lambda runs: nas.search(TOY, group="(a)", runs=runs), "group .* omit it"),
        (lambda runs: nas.search(TOY, data=".", group="a", runs=runs), "group 'a' has 0 groups"),
        (lambda runs: nas.search(TOY, data=(np.zeros((3, 8, 8)), [0, 1]), runs=runs), "3|2"),
        (lambda runs: nas.load_results(runs / "none"), "no study at"),
        (lambda runs: nas.retrain(runs / "none"), "no study at"),
        (lambda runs: nas.load_model(runs), "no model in"),
    ],
)
def test_what_the_caller_can_mend_is_a_user_error_before_any_training(call, says, tmp_path):
    with pytest.raises(nas.UserError, match=says):
        call(tmp_path)
    assert not list(tmp_path.rglob("study.db"))


def test_a_search_of_a_folder_by_an_earlier_version_is_the_same_search():
    spec = replace(TOY, data=Folder("/data", image_size=64))
    old = describe(spec)
    del old["data"]["group"]
    assert completed(old) == describe(spec)
    assert completed(old) != describe(replace(spec, data=Folder("/data", image_size=64, group="(.)")))


def test_the_rungs_of_a_study_are_those_that_its_scheduler_uses(tmp_path, without_ray):
    """Epoch 1 of 12 lies below a tenth: the first trials are screened there, and no page may compare trials there."""
    training = replace(TOY.training, warmup_epochs=(0.5,))
    results = nas.search(
        replace(TOY, training=training, min_epochs=1, epochs=12), trials=3, workers=1, runs=tmp_path, quiet=True
    )
    assert results.rungs == tuple(results.spec["rungs"]) == (4, 12)
    assert {t.epochs for t in results.trials} <= {1, 4, 12}
    assert max(t.epochs for t in results.trials) == 12
    assert "compared after 4, 12 epochs (the rungs)" in (tmp_path / "toy" / "report.html").read_text()


def test_a_search_does_not_go_on_with_other_images_and_a_retraining_says_so(tmp_path, without_ray, capsys):
    rng = np.random.default_rng(0)

    def fill(name, brightness):
        (tmp_path / "images" / name).mkdir(parents=True, exist_ok=True)
        for i in range(30):
            np.save(tmp_path / "images" / name / f"{i}.npy", rng.random((16, 16)) + brightness)

    fill("arc", 0.0)
    fill("ring", 1.0)
    call = {"data": str(tmp_path / "images"), "image_size": 16, "runs": tmp_path, "quiet": True}
    nas.search(TOY, trials=1, **call)
    assert len(nas.search(TOY, trials=2, **call).trials) == 2
    fill("ring", 2.0)
    with pytest.raises(nas.UserError, match="the images or their numbers have changed since the study 'toy' was begun"):
        nas.search(TOY, trials=3, **call)
    changed = "the images or their numbers have changed since the search, whose values do not hold for these"
    nas.retrain(tmp_path / "toy", top_k=1, seeds=1)
    assert changed in capsys.readouterr().out


@pytest.mark.parametrize(
    ("upright", "objective", "advises"), [(True, "auc", True), (True, "auc_d4_worst", False), (False, "auc", False)]
)
def test_a_search_of_images_with_an_axis_advises_another_objective(
    upright, objective, advises, tmp_path, capsys, without_ray
):
    rng = np.random.default_rng(0)
    images, labels = rng.random((200, 16, 16)), np.arange(200) % 2
    images[:, 6:10] += 1
    images[labels == 1, 4:12, 4:12] += 1
    if not upright:
        images = np.stack([np.rot90(image, k) for image, k in zip(images, rng.integers(0, 4, 200), strict=True)])
    call = {"data": (images, labels), "objective": objective, "runs": tmp_path}
    results = nas.search(replace(TOY, space=ToySpace(("mlp",)), first=()), trials=1, **call)
    said = capsys.readouterr().out
    assert ("axis   the images have a preferred axis" in said) == advises
    assert ("consider --objective auc_d4_worst" in said) == advises
    assert "classes from intensity statistics alone: AUC " in said
    assert results.axis == upright
    (trial,) = results.trials
    assert trial.metrics["auc_d4_worst"] <= min(trial.metrics["auc_d4_mean"], trial.metrics["auc"])
    beside = "upright" if objective == "auc_d4_worst" else "worst of eight symmetries"
    assert f"at epoch 6, {beside} " in said


def test_a_pruned_retraining_keeps_the_plain_one(tmp_path, without_ray):
    results = nas.search(replace(TOY, space=ToySpace(("resnet2",)), first=()), trials=1, runs=tmp_path, quiet=True)
    call = {"top_k": 1, "seeds": 1, "quiet": True}
    nas.retrain(results, **call)
    nas.retrain(results, sparsity=0.5, **call)
    kept = sorted(path.parent.name for path in (tmp_path / "toy" / "retrained").rglob("record.json"))
    of_both = ["seed-1", "seed-1-rewind-1-sparsity-0.5"]
    assert kept == sorted([*of_both, *(f"{name}-held-out" for name in of_both)])
    nas.retrain(results, train_sizes=[20, 20, np.int64(30)], **call)
    assert len(list((tmp_path / "toy" / "retrained").rglob("record.json"))) == 6


def test_images_in_memory_are_searched_and_the_same_arrays_resume(tmp_path, without_ray):
    rng = np.random.default_rng(0)
    images, labels = rng.integers(0, 100, (60, 16, 16)), np.array(["ring", "arc", "none"] * 20)
    images[labels == "ring", 4:12, 4:12] += 200
    found = nas.search(TOY, data=(images, labels), trials=2, runs=tmp_path, quiet=True)
    again = nas.search(TOY, data=(images.copy(), labels), trials=3, runs=tmp_path, quiet=True)
    assert (len(found.trials), len(again.trials)) == (2, 3)
    retrained = nas.retrain(again, top_k=1, seeds=1, quiet=True)
    assert retrained.classes == ("arc", "none", "ring")
    with pytest.raises(nas.UserError, match="other data"):
        nas.search(TOY, data=(images + 1, labels), trials=3, runs=tmp_path, quiet=True)


@pytest.mark.parametrize("kind", ["folder", "raw", "stacked", "function", "dataset"])
def test_every_kind_of_source_is_searched_retrained_and_evaluated(kind, tmp_path, monkeypatch, without_ray):
    rng = np.random.default_rng(0)
    images, labels = rng.random((60, 16, 16), dtype=np.float32), np.arange(60) % 2
    images[labels == 1, 4:12, 4:12] += 1
    folder = tmp_path / "images"
    folder.mkdir()
    data = str(folder)
    if kind == "folder":
        for i, (image, label) in enumerate(zip(images, labels, strict=True)):
            (folder / f"class{label}").mkdir(exist_ok=True)
            np.save(folder / f"class{label}" / f"{i}.npy", image)
    elif kind == "raw":
        images.tofile(folder / "images.dat")
        labels.astype("u1").tofile(folder / "labels.dat")
        from trainers.data import Folder

        data = Folder(str(folder), raw_shape=(16, 16), raw_dtype="float32")
    elif kind == "stacked":
        np.save(folder / "images.npy", images)
        np.save(folder / "labels.npy", labels)
    elif kind == "function":
        np.savez(folder / "all.npz", images=images, labels=labels)
        (tmp_path / "my_arrays.py").write_text(
            "import numpy as np\n\ndef load():\n"
            f"    found = np.load({str(folder / 'all.npz')!r})\n    return found['images'], found['labels']\n"
        )
        monkeypatch.syspath_prepend(tmp_path)
        data = "my_arrays:load"
    else:
        data = torch.utils.data.TensorDataset(torch.from_numpy(images)[:, None], torch.from_numpy(labels))
    results = nas.search(TOY, data=data, image_size=None if kind == "raw" else 16, trials=2, runs=tmp_path, quiet=True)
    resident.cache_clear()  # as a worker of its own would open it
    retrained = nas.retrain(results, top_k=1, seeds=1, quiet=True)
    model = nas.load_model(retrained.best)
    from trainers.data import load, source_from_dict

    found = nas.evaluate(model, load(source_from_dict(results.spec["data"]), progress=False), "test")
    assert nas.evaluate(model, data, "test") == found
    whole = nas.evaluate(model, data)
    assert (whole.images, whole.metrics) == (found.images, found.metrics), "without the images it was trained on"
    assert found.metrics["auc"] == pytest.approx(retrained.configurations[0].test[0]["auc"])


MIXER = '''
"""Averages each token with its neighbours."""
import torch
from torch import nn
from search_space import Range
from search_space.bounds import pick


def sample(trial, prefix, side, *, reach=(1, 2)):
    return {"reach": pick(trial, f"{prefix}.reach", reach)}


class Mixer(nn.Module):
    takes_token = False

    def __init__(self, dim, grid, *, index=0, reach=1):
        super().__init__()
        self.reach, self.mix = reach, nn.Linear(dim, dim)

    def forward(self, x):
        return self.mix(x + x.roll(self.reach, 1) + x.roll(self.reach, 2))
'''
TASK = """
from trainers.regression import Regression

Task = Regression("redshift", unit="of the lens")
"""
IMAGES = """
import numpy as np


def load():
    rng = np.random.default_rng(0)
    redshift = rng.random(60)
    images = rng.random((60, 16, 16)) + redshift[:, None, None] * np.hanning(16)
    return images, {"redshift": redshift}
"""
STUDY = '''
from __future__ import annotations

from dataclasses import dataclass

from search_space import HybridSpace
from studies import StudySpec

from my_lensing import my_mixer


@dataclass
class Unused:
    why: str = "annotations and dataclasses work in a study file"


def sample(trial, prefix, side):
    return {}


class Mixer(my_mixer.Mixer):
    """The study's own mixer, named by its file."""


STUDY = StudySpec(
    name="mine", question="Does my mixer measure redshifts?",
    space=HybridSpace(mixers=("my_lensing.my_mixer", "my_study"), stages=(1,), depth=(1,), width=(32,),
                      patch=(4,), first=("same",), position=("none",)),
    task="my_lensing.redshift", objective="mae", direction="minimize", epochs=4, min_epochs=2, trials=4,
    baselines=("pca",),
)
'''


@pytest.fixture
def elsewhere(tmp_path):
    """A folder outside the repository with a package and a study of one's own."""
    (tmp_path / "my_lensing").mkdir()
    files = {"__init__": "", "my_mixer": MIXER, "redshift": TASK, "my_images": IMAGES}
    for name, text in files.items():
        (tmp_path / "my_lensing" / f"{name}.py").write_text(text)
    (tmp_path / "my_study.py").write_text(STUDY)
    return tmp_path


@pytest.mark.slow
def test_a_mixer_a_task_and_images_of_ones_own_run_with_two_workers_from_another_folder(elsewhere):
    """Through Ray, from a script of the user's: the lines of a notebook, and the command."""
    (elsewhere / "notebook.py").write_text(
        "import numpy as np\nimport nas\n"
        "results = nas.search('my_study.py', data='my_lensing.my_images:load', image_size=16, workers=2, quiet=True)\n"
        "print(results.counts()['complete'], set(results.frame()['state']))\n"
        "retrained = nas.retrain(results, top_k=1, seeds=2, workers=2, quiet=True)\n"
        "model = nas.load_model(retrained.best)\n"
        "print(nas.predict(model, np.random.rand(3, 1, 16, 16)).quantity)\n"
    )
    done = subprocess.run([sys.executable, "notebook.py"], cwd=elsewhere, capture_output=True, text=True, timeout=280)
    assert done.returncode == 0, done.stderr
    assert "redshift [of the lens]" in done.stdout
    results = nas.load_results(elsewhere / "runs" / "mine")
    mixers = {t.config["architecture"]["stages"][0]["mixer"] for t in results.trials}
    assert mixers <= {"my_lensing.my_mixer", "my_study"}
    assert results.counts()["failed"] == 0, [t.error for t in results.trials]
    words = ["--study", "my_study.py", "--data", "my_lensing.my_images:load", "--image-size", "16", "--trials", "5"]
    done = subprocess.run(
        [sys.executable, "-m", "nas.run", *words, "--workers", "2"],
        cwd=elsewhere, capture_output=True, text=True, timeout=280,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert len(nas.load_results(elsewhere / "runs" / "mine").trained) == 5


@pytest.mark.slow
def test_two_searches_in_one_process_and_a_wrong_name_between_them(tmp_path):
    first = nas.search(TOY, trials=2, runs=tmp_path, workers=1, quiet=True)
    with pytest.raises(nas.UserError):
        nas.search(TOY, sampler="nosuch", runs=tmp_path, quiet=True)
    second = nas.search(replace(TOY, name="other"), trials=3, runs=tmp_path, workers=2, quiet=True)
    assert (len(first.trials), len(second.trials)) == (2, 3)
    assert all(math.isfinite(t.value) for t in second.trials)


def test_the_public_lines_stand_in_the_readme():
    text = (Path(__file__).parents[1] / "README.md").read_text()
    for line in (
        'results = nas.search("hybrid"',
        "results.frame()",
        "nas.retrain(results",
        "nas.load_model(retrained.best)",
    ):
        assert line in text
    assert all(f"`{name}" in text for name in ("nas.search", "nas.load_results", "nas.retrain", "nas.predict"))
