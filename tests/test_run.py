"""The command `python -m nas.run`, as a user meets it."""

import dataclasses
import itertools
import os
import re
import signal
import sqlite3
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import numpy as np
import optuna
import psutil
import pytest
import timm
import torch
from optuna.trial import TrialState

import studies
from nas.commands.cli import main_of
from nas.commands.run import options
from nas.errors import UserError
from nas.searching.drafts import cells
from nas.searching.options import adapt, fetch
from nas.searching.renewal import Renewal
from nas.searching.settings import parse_all
from nas.searching.study import completed, describe, open_ledger
from search_space import ArchitectureError, Backbone
from trainers.config import NO_AUGMENTATION
from trainers.data import Folder, load
from trainers.regression import Regression

ROOT = Path(__file__).resolve().parents[1]
TINY = ["--images", "90", "--image-size", "16", "--epochs", "6", "--max-macs", "15000000", "--workers", "2"]


def main(words):
    return main_of("run", words)


def resolve(words):
    """The study that these words of a command line ask for."""
    args = vars(options().parse_args(words))
    spec = studies.load(args.pop("study"))
    for name in ("list", "workers", "gpus_per_trial", "runs", "name", "warm_start", "time_limit", "trial_timeout"):
        args.pop(name)
    args["settings"] = parse_all(args["settings"])
    return adapt(spec, **args)


def command(*words, runs, cache):
    env = {**os.environ, "NAS_CACHE": str(cache)}
    return [sys.executable, "-m", "nas.run", *TINY, "--runs", str(runs), *words], {
        "cwd": ROOT,
        "env": env,
        "text": True,
    }


def run(*words, runs, cache):
    words, options = command(*words, runs=runs, cache=cache)
    return subprocess.run(words, capture_output=True, timeout=280, check=False, **options)


def trials(runs, name="hybrid"):
    """Those that the search trained: neither the skipped ones nor those of the finals."""
    study = optuna.load_study(study_name="hybrid", storage=f"sqlite:///{runs / name / 'study.db'}")
    return [t for t in study.get_trials() if "skipped" not in t.user_attrs and "repeats" not in t.user_attrs]


def images(folder, count=12, size=16, seed=0):
    folder.mkdir(parents=True)
    rng = np.random.default_rng(seed)
    for i in range(count):
        np.save(folder / f"{i}.npy", rng.random((size, size)))


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    return tmp_path_factory.mktemp("cache")


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["--study", "hybird"], "unknown study 'hybird'; known: .*hybrid"),
        (["--study", "mine.py"], "no study file mine.py"),
        (["--trials", "0"], "trials is 0; expected at least 1"),
        (["--trials", "many"], "invalid int value: 'many'"),
        (["--workers", "-1"], "--workers is -1"),
        (["--gpus-per-trial", "1000"], "--gpus-per-trial is 1000"),
        (["--epochs", "1"], "must lie above the warm-up"),
        (["--seed", "-3"], "seed is -3; expected at least 0"),
        (["--seeds", "2"], "hybrid has one seed"),
        (["--no-such-flag"], "unrecognized arguments: --no-such-flag"),
        (["--data", "nowhere"], "nowhere"),
        (["--data", "{one}"], "one class|at least two"),
        (["--data", "{bad}"], "3.npy"),
        (["--data", "{good}", "--images", "7"], "images counts simulated images"),
        (["--data", "{good}", "--data-seed", "1"], "data_seed draws simulated images anew, not those of Folder"),
        (["--data-seed", "-1"], "data_seed is -1; expected at least 0"),
        (["--study", "{f2}"], "has no metric 'f2'; known: auc"),
        (["--data", "{good}", "--objective", "mae"], "task 'substructure' has no metric 'mae'; known: auc"),
        (["--data", "{good}", "--objective", "turned_auc"], "has no metric 'turned_auc'"),
        (["--data", "{good}", "--task", "axion_mass"], "gives axion_mass for 0 images to train"),
        (["--data", "{good}", "--task", "lens_finding"], "finding lenses needs two, one of them called lens"),
        (["--task", "nosuch"], "unknown task 'nosuch'; known: .*substructure"),
        (
            ["--images", "90", "--image-size", "16", "--task", "mass_fraction", "--balance", "weights"],
            "no classes to bal",
        ),
        (["--study", "anisotropic", "--folds", "5"], "folds is 5, but anisotropic is a grid, which has no finals"),
        (["--study", "anisotropic", "--finals", "0.5"], "finals is 0.5, but anisotropic is a grid"),
        (["--folds", "5", "--finals", "0"], "folds is 5, but only the finals use folds, and finals is 0"),
        (["--set", "finals=0.5", "--study", "anisotropic"], "finals is 0.5, but anisotropic is a grid"),
        (["--folds", "5", "--set", "finals=0"], "folds is 5, but only the finals use folds, and finals is 0"),
        (["--set", "seeds=3"], "seeds is for grids"),
        (["--set", "min_epochs=2", "--set", "min_epochs=3"], "--set min_epochs is there twice"),
        (["--sampler", "grid"], "range without steps"),
        (
            ["--sampler", "grid", "--set", "training.learning_rate=1e-3", "--set", "training.weight_decay=0.02"],
            "at most 10,000 cells",
        ),
        (["--set", "training.mixup=0.2"], "cannot set training.mixup: hybrid chooses among whole augmentations"),
        (["--set", "training.policies=d5"], "cannot set training.policies to 'd5': expected names among none, d4"),
        (["--set", "training.momentum=0.5"], "cannot set training.momentum: only the optimiser sgd has it"),
        (["--set", "training.rewind=2"], "cannot set training.rewind: nothing is pruned"),
        (["--set", "space.patch=2"], "cannot set space.patch: space.grid, the tokens a side, decides it"),
        (["--sampler", "nosuch"], "unknown sampler 'nosuch'; known: .*surrogate"),
        (["--scheduler", "nosuch"], "unknown scheduler 'nosuch'; known: .*adaptive"),
    ],
)
def test_a_mistake_is_one_line_and_exit_code_2_before_any_work(words, says, tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("NAS_CACHE", str(tmp_path / "cache"))
    images(tmp_path / "one" / "cdm")
    for seed, kind in enumerate(("cdm", "no_sub")):
        images(tmp_path / "bad" / kind, seed=seed)
        images(tmp_path / "good" / kind, seed=seed)
    (tmp_path / "bad" / "cdm" / "3.npy").write_bytes(b"\x93NUMPY and then nothing")
    (tmp_path / "f2.py").write_text(
        "from dataclasses import replace\nfrom studies.hybrid import STUDY as H\n"
        "from trainers.data import Simulated\n"
        "STUDY = replace(H, objective='f2', data=Simulated(images=60, image_size=16))\n"
    )
    words = [
        w.format(f2=tmp_path / "f2.py", one=tmp_path / "one", bad=tmp_path / "bad", good=tmp_path / "good")
        for w in words
    ]
    assert main(["--runs", str(tmp_path / "runs"), *words]) == 2
    printed = capsys.readouterr()
    error = [line for line in printed.err.splitlines() if line.startswith("error:")]
    assert len(error) == 1
    assert re.search(says, error[0]), error[0]
    assert "Traceback" not in printed.err
    assert not (tmp_path / "runs" / "hybrid" / "study.db").exists()


@pytest.mark.parametrize(
    ("words", "trials"), [([], 51), (["--seeds", "1"], 17), (["--seeds", "2", "--trials", "5"], 5)]
)
def test_a_grid_with_other_seeds_has_all_its_cells_still(words, trials):
    spec = resolve(["--study", "position", *words])
    assert spec.trials == trials
    assert spec.seeds == (int(words[1]) if words else 3)


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ([], {"task": "substructure", "objective": "auc", "direction": "maximize"}),
        (["--task", "axion_mass"], {"task": "axion_mass", "objective": "mae", "direction": "minimize"}),
        (["--task", "axion_mass", "--objective", "r2"], {"objective": "r2", "direction": "maximize"}),
        (
            ["--target", "theta_E", "--unit", "arcsec", "--log"],
            {"task": Regression(("theta_E",), unit="arcsec", log=True), "objective": "mae", "direction": "minimize"},
        ),
        (
            ["--task", "regression_sigma", "--target", "a,b", "--objective", "r2_b_d4_worst"],
            {"task": Regression(("a", "b"), with_sigma=True), "objective": "r2_b_d4_worst", "direction": "maximize"},
        ),
        (["--objective", "auc_d4_worst"], {"objective": "auc_d4_worst", "direction": "maximize"}),
        (["--objective", "ece"], {"objective": "ece", "direction": "minimize"}),
        (["--objective", "ece,macs"], {"metric": "ece", "cost": "macs", "direction": "minimize"}),
        (["--sampler", "tpe", "--scheduler", "full"], {"sampler": "tpe", "scheduler": "full"}),
    ],
)
def test_what_is_searched_for_and_how_can_be_said_on_the_command_line(words, expected):
    spec = resolve(words)
    assert {name: getattr(spec, name) for name in expected} == expected


def test_a_target_is_measured_as_the_study_s_own_task_says():
    def task(name, **options):
        spec = dataclasses.replace(studies.load("hybrid"), task=name, objective="mae", direction="minimize")
        return adapt(spec, target=("a", "b"), **options).task

    assert task("regression_sigma") == Regression(("a", "b"), with_sigma=True)
    assert task(Regression("c", with_sigma=True)) == Regression(("a", "b"), with_sigma=True)
    assert task("regression_sigma", task="regression") == Regression(("a", "b"))
    with pytest.raises(UserError, match="task 'axion_mass_sigma' is another: ask for one of these two"):
        task("axion_mass_sigma")  # its name says what is measured
    assert task("axion_mass_sigma", task="regression_sigma") == Regression(("a", "b"), with_sigma=True)
    spec = adapt(studies.load("hybrid"), target="a")
    assert spec.task == Regression("a"), "of a study of classes"


def test_a_proportion_of_splits_may_be_an_array(tmp_path):
    assert adapt(studies.load("hybrid"), data=tmp_path, split=np.array([70, 15, 15])).data.split == (70, 15, 15)


def test_epochs_scale_the_lowest_rung_unless_that_is_set():
    hybrid = studies.load("hybrid")
    assert adapt(hybrid, epochs=hybrid.epochs * 2).min_epochs == hybrid.min_epochs * 2
    assert adapt(hybrid, epochs=4, settings={"min_epochs": 2}).min_epochs == 2
    for few in (2, 3, 4):  # above the warm-up of one epoch, where a third of them is not
        assert adapt(hybrid, epochs=few).min_epochs == 2


@pytest.mark.parametrize(
    ("study", "option", "value", "text"),
    [
        ("anisotropic", "seeds", 4, "seeds=4"), ("hybrid", "epochs", 24, "epochs=24"),
        ("hybrid", "objective", "auc,macs", "objective=auc,macs"), ("hybrid", "objective", "loss", "objective=loss"),
        ("hybrid", "task", "axion_mass", "task=axion_mass"), ("hybrid", "max_macs", 10**8, "max_macs=100_000_000"),
        ("hybrid", "max_seconds", 2.5, "max_seconds=2.5"), ("hybrid", "sampler", "tpe", "sampler=tpe"),
    ],
)  # fmt: skip
def test_a_setting_that_is_an_option_too_means_the_same(study, option, value, text):
    spec = studies.load(study)
    assert adapt(spec, settings=parse_all([text])) == adapt(spec, **{option: value})


def test_settings_that_belong_together_are_taken_together():
    hybrid, grid = studies.load("hybrid"), studies.load("anisotropic")
    assert adapt(hybrid, epochs=60, settings={"min_epochs": 30}).min_epochs == 30
    spec = adapt(hybrid, settings=parse_all(["epochs=60", "min_epochs=30"]))
    assert (spec.epochs, spec.min_epochs) == (60, 30)
    assert adapt(grid, settings=parse_all(["seeds=4", "trials=100"])).trials == 100
    with pytest.raises(UserError, match="epochs is set to 24, and the option says 6"):
        adapt(hybrid, epochs=6, settings={"epochs": 24})
    for wrong in (["min_epochs=6"], "epochs=6"):
        with pytest.raises(UserError, match="expected values by name"):
            adapt(hybrid, settings=wrong)


def test_other_simulated_images_can_be_drawn_and_nothing_else_changes(cache, monkeypatch):
    monkeypatch.setenv("NAS_CACHE", str(cache))
    words = ["--images", "60", "--image-size", "16"]
    plain, other = resolve(words), resolve([*words, "--data-seed", "3"])
    assert plain.data.seed == 0
    assert other == dataclasses.replace(plain, data=dataclasses.replace(plain.data, seed=3))
    first, second = (load(spec.data, progress=False).test.images[:] for spec in (plain, other))
    assert not (first.flatten(1)[:, None] == second.flatten(1)).all(-1).any(), "no image is in both"


def test_labels_are_smoothed_only_where_there_are_labels():
    """A parameter that has no effect is not sampled."""

    def sampled(*words):
        trial = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0)).ask()
        resolve(words).sample(trial)
        return "label_smoothing" in trial.params

    assert sampled()
    assert not sampled("--task", "mass_fraction")


def test_classes_are_balanced_when_asked_for():
    spec = resolve(["--study", "augmentation", "--balance", "sampling"])
    trial = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0)).ask()
    assert spec.sample(trial).training.balance == "sampling"
    assert "balance" not in trial.params


def test_the_studies_are_listed_with_their_question(capsys):
    assert main(["--list"]) == 0
    assert re.search(r"^hybrid +100 trials  Which .*\?$", capsys.readouterr().out, re.MULTILINE)


def test_a_database_of_another_study_or_no_database_is_refused(tmp_path, capsys):
    folder = tmp_path / "hybrid"
    folder.mkdir()
    tiny = [*TINY, "--trials", "2", "--runs", str(tmp_path)]
    (folder / "study.db").write_text("this is no database, but it is long enough to look like one " * 20)
    assert main(tiny) == 2
    assert "is no study database" in capsys.readouterr().err
    (folder / "study.db").unlink()
    optuna.create_study(study_name="somebody's", storage=f"sqlite:///{folder / 'study.db'}")
    assert main(tiny) == 2
    assert "somebody's" in capsys.readouterr().err


def test_the_dashboard_finds_the_objective_by_its_name(tmp_path, recwarn):
    open_ledger(tmp_path / "study.db", studies.load("hybrid"))
    study = optuna.load_study(study_name="hybrid", storage=f"sqlite:///{tmp_path / 'study.db'}")
    assert study.metric_names == ["auc"]
    both = dataclasses.replace(studies.load("hybrid"), objective="auc,macs")
    study = open_ledger(tmp_path / "both.db", both).study
    assert study.metric_names == ["auc", "macs"]
    assert not recwarn.list


@pytest.mark.slow
@pytest.mark.timeout(900)  # several searches, perhaps on a busy machine
def test_search_stop_resume_and_extend(tmp_path, cache):
    """One study through its life: killed, resumed, finished, asked again, extended, and refused to another space."""
    words, options = command("--trials", "5", runs=tmp_path, cache=cache)
    killed = subprocess.Popen(
        words, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, start_new_session=True, **options
    )
    database = tmp_path / "hybrid" / "study.db"
    wait_until(lambda: epochs_stored(database) >= 5, killed)
    os.killpg(killed.pid, signal.SIGKILL)
    killed.wait()
    before = {t.number: (t.params, dict(t.intermediate_values)) for t in trials(tmp_path)}
    assert any(t.state == TrialState.RUNNING for t in trials(tmp_path))

    words, options = command("--trials", "5", runs=tmp_path, cache=cache)
    stopped = subprocess.Popen(
        words, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, start_new_session=True, **options
    )
    wait_until(lambda: epochs_stored(database) >= sum(len(v) for _, v in before.values()) + 3, stopped)
    os.killpg(stopped.pid, signal.SIGINT)
    said, _ = stopped.communicate(timeout=120)
    assert stopped.returncode == 130, said
    assert "run the same command again to resume" in said
    assert "Traceback" not in said

    done = run("--trials", "5", runs=tmp_path, cache=cache)
    assert done.returncode == 0, done.stderr
    after = trials(tmp_path)
    assert len(after) == 5
    assert all(t.state in (TrialState.COMPLETE, TrialState.PRUNED) for t in after)
    after = {t.number: t for t in after}
    for number, (params, values) in before.items():
        assert after[number].params == params
        for epoch, value in values.items():  # a trial that was trained again came to the same numbers
            assert after[number].intermediate_values[epoch] == pytest.approx(value, abs=1e-6)
    assert not list((tmp_path / "hybrid" / "checkpoints").glob("*"))
    told = [line for line in done.stdout.splitlines() if line.startswith("trial ") and " final " not in line]
    assert len(told) <= 5

    again = run("--trials", "5", runs=tmp_path, cache=cache)
    assert again.returncode == 0
    assert len(trials(tmp_path)) == 5
    more = run("--trials", "6", runs=tmp_path, cache=cache)
    assert more.returncode == 0
    assert len(trials(tmp_path)) == 6

    other = run("--trials", "6", "--seed", "5", runs=tmp_path, cache=cache)
    assert other.returncode == 2
    assert "other seed (seed was 0, is now 5)" in other.stderr


@pytest.mark.slow
@pytest.mark.timeout(900)  # several searches, perhaps on a busy machine
def test_workers_that_die_cost_no_trial(tmp_path, cache):
    words, options = command("--trials", "12", "--images", "600", runs=tmp_path, cache=cache)
    process = subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, **options)
    database = tmp_path / "hybrid" / "study.db"

    def workers():
        """Ray titles a process by what it is at: ResourceTrainable.train while it trains, Worker in between."""
        titles = ("ray::Worker", "ray::ResourceTrainable")
        found = []
        for child in psutil.Process(process.pid).children(recursive=True):
            with suppress(psutil.NoSuchProcess):  # it may end between two calls
                found += [child] if child.name().startswith(titles) else []
        return found

    wait_until(lambda: len(workers()) == 2 and epochs_stored(database) >= 2, process)
    for victim in workers():
        seen = epochs_stored(database)
        victim.kill()
        wait_until(lambda seen=seen: epochs_stored(database) >= seen + 2, process)
    said, _ = process.communicate(timeout=400)
    assert process.returncode == 0, said
    found = trials(tmp_path)
    assert len(found) == 12
    resumed = [line for line in said.splitlines() if "resumes at epoch" in line]
    assert 1 <= len(resumed) <= 2, "a worker may have been between two jobs, but hardly both"
    assert all("the worker process died" in line for line in resumed)
    assert all(t.state in (TrialState.COMPLETE, TrialState.PRUNED) for t in found)
    assert any(t.state == TrialState.COMPLETE for t in found)


def epochs_stored(database):
    if not database.exists():
        return 0
    try:
        with sqlite3.connect(f"file:{database}?mode=ro", uri=True) as connection:
            return connection.execute("select count(*) from trial_intermediate_values").fetchone()[0]
    except sqlite3.OperationalError:  # not created yet
        return 0


def wait_until(condition, process, seconds=200):
    end = time.monotonic() + seconds
    while not condition():
        assert process.poll() is None, process.communicate()[0]
        assert time.monotonic() < end, "the search does not come forward"
        time.sleep(0.1)


def test_a_study_of_a_folder_from_before_it_had_these_options_is_the_same_study():
    spec = dataclasses.replace(studies.load("hybrid"), data=Folder("/data", image_size=64))
    before = describe(spec)
    since = ("hdu", "clip", "key", "fit", "classes", "split")
    before["data"] = {name: value for name, value in before["data"].items() if name not in since}
    assert completed(before) == describe(spec)


def test_the_report_is_renewed_every_few_minutes_and_takes_a_hundredth_of_the_time():
    clock, written, said = [0.0], [], []

    def write():
        written.append(clock[0])
        clock[0] += 5.0

    renew = Renewal(write, said.append, lambda: clock[0])
    while clock[0] < 10_000:
        clock[0] += 1.0
        renew()
    assert written[0] == 180
    assert all(b - a >= 500 for a, b in itertools.pairwise(written))
    assert len(written) == 20
    broken = Renewal(lambda: 1 / 0, said.append, lambda: clock[0])
    for _ in range(1000):
        clock[0] += 1.0
        broken()
    assert said == ["report not renewed until the search ends (ZeroDivisionError: division by zero)"]


def test_files_of_weights_choose_the_networks_of_a_study(tmp_path):
    path, broken = tmp_path / "w.pth", tmp_path / "broken.pth"
    torch.save(timm.create_model("resnet18").state_dict(), path)
    broken.touch()
    spec = adapt(studies.load("pretrained"), checkpoint=[f"resnet18={path}"])
    assert spec.space.names == ("resnet18",)
    assert spec.space.checkpoints == {"resnet18": str(path)}
    assert adapt(studies.load("pretrained"), checkpoint={"resnet18": str(path)}) == spec
    assert spec.trials == sum(1 for _ in cells(spec.sample))
    for study, given, message in (
        ("pretrained", f"resnet18={path}x", "is not a file"),
        ("pretrained", f"resnet18={broken}", "could not be used"),
        ("pretrained", f"densenet121={path}", "could not be used"),
        ("pretrained", "resnet18", "expected NAME=FILE"),
        ("pretrained", f"resnet81={path}", "resnet81"),
        ("hybrid", f"resnet18={path}", "hybrid designs its own"),
    ):
        with pytest.raises((UserError, ArchitectureError), match=message):
            adapt(studies.load(study), checkpoint=given)


def test_published_weights_are_fetched_once_before_the_search(monkeypatch):
    asked = []
    monkeypatch.setattr("nas.searching.options.build_model", lambda network, **_: asked.append(network))
    spec = studies.load("pretrained")
    fetch(spec)
    assert asked == [Backbone(name, pretrained=True) for name in spec.space.names]
    fetch(dataclasses.replace(spec, space=dataclasses.replace(spec.space, pretrained=(False,), frozen=(0.0,))))
    fetch(studies.load("hybrid"))
    assert len(asked) == len(spec.space.names)


def test_a_study_from_before_its_space_had_a_bound_is_the_same_study():
    for name in ("mlp", "toys", "existing"):
        spec = studies.load(name)
        before = describe(spec)
        before["space"] = {
            bound: value for bound, value in before["space"].items() if bound not in ("symmetry", "front_end")
        }
        assert completed(before) == describe(spec)


def test_augmentations_mixers_and_the_smallest_grid_can_be_set():
    spec = resolve(
        ["--set", "training.policies=none,d4", "--set", "space.first=conv", "--set", "space.smallest_grid=2"]
    )
    assert spec.training.policies == {"none": NO_AUGMENTATION, "d4": studies.load("hybrid").training.policies["d4"]}
    assert (spec.space.first, spec.space.smallest_grid) == (("conv",), 2)
    bare = resolve(["--set", "training.policies=none", "--set", "space.symmetry=none"])
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    off_centre = resolve(["--set", "space.front_end=none"])
    assert [(g["stages"], g["symmetry"]) for g in off_centre.first] == [(4, "d4"), (3, "d4"), (3, "none")]
    assert len(resolve(["--set", "space.front_end=none", "--set", "space.symmetry=none"]).first) == 1
    assert len(bare.first) == 1, "the given network without a symmetry stays, with the augmentation that is left"
    drawn = [bare.sample(study.ask()) for _ in range(5)]
    assert {made.training.augmentation for made in drawn} == {NO_AUGMENTATION}
    assert {made.architecture.symmetry for made in drawn} == {"none"}
