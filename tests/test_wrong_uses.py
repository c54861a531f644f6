"""Wrong uses of the commands: each is one line that names the value and the remedy, and leaves nothing behind.

Everything that takes time is fenced off: a mistake must be found before any image is simulated, any network trained and
any image predicted. All cases share one folder, which none of them may change.
"""

import json
import re
import shutil
import sqlite3
from contextlib import closing

import numpy as np
import optuna
import pytest
import torch
from safetensors.torch import load_file, save_file
from wrong_uses import CALLS, DATABASES, ENVIRONMENTS, MODELS, OPTIONS, STUDY_FILES, config_with

import nas
from nas import schedulers
from nas.commands.cli import main_of
from nas.errors import ModelFailed, UserError
from nas.models.contents import describe_member, describe_model
from nas.models.export import export
from nas.searching.engine import Engine
from nas.searching.ledger import Ledger
from nas.searching.simulate import simulate
from nas.searching.storage import open_storage
from nas.searching.study import describe
from nas.workers.pool import work_through  # Ray takes seconds to import: not within a case
from search_space import Toy, build_model, to_dict
from studies import Configuration, StudySpec
from trainers.batch.normalise import Normalisation
from trainers.config import TrainConfig
from trainers.data import Simulated, load
from trainers.plain import plain
from trainers.tasks.substructure import Task

SPEC = StudySpec("tiny", "Which is best?", data=Simulated(images=60, image_size=16), epochs=2, min_epochs=2)
METRICS = {"auc": 0.91, "accuracy": 0.8, "loss": 0.5, "ece": 0.1}
ORIGIN = {
    "name": "trial 7",
    "data": {"source": {"kind": "simulated", "images": 60, "preset": "fair"}, "train": 51, "test": 9},
    "search": {"study": "tiny", "finished": 9, "objective": "auc", "greedy": False},
    "held_out": {"images": 0, "networks": 0},
    "test": {
        "views": {"1": METRICS, "8": METRICS},
        "before": METRICS,
        "alone": {name: {"mean": value, "sd": 0.012, "n": 2} for name, value in METRICS.items()},
    },
}


def make_study(folder, spec=SPEC):
    """A finished study of one trial, without a training."""
    folder.mkdir(parents=True)
    storage = open_storage(folder / "study.db")
    ledger = Ledger(storage, spec.name, sampler=optuna.samplers.RandomSampler(seed=0))
    ledger.study.set_user_attr("spec", describe(spec))
    config = Configuration(Toy("resnet2"), TrainConfig(epochs=2), seed=0).to_dict()
    scheduler = schedulers.create("promotion", (2,), 3)
    engine = Engine(ledger, scheduler, sample=lambda trial: config, trials=1)
    list(simulate(engine, lambda config: [0.5, 0.9], workers=1))
    engine.close()
    storage.remove_session()
    storage.engine.dispose()  # now, and not when it is collected: the last connection to close writes to the file


def make_model(folder, classes=("axion", "cdm", "no_sub")):
    torch.manual_seed(0)
    network = build_model(Toy("resnet2"), in_chans=1, image_size=16, num_outputs=len(classes))
    task = Task(classes=classes)
    config = {"architecture": to_dict(Toy("resnet2")), "training": TrainConfig().to_dict(), "seed": 0}
    member = describe_member(
        config, task_name="substructure", task=task, normalisation=Normalisation("zscore"), trial=7, validation=0.95,
        parameters=10, macs=20,
    )  # fmt: skip
    shape = {"in_chans": 1, "image_size": 16}
    export(
        folder,
        [network.state_dict()],
        describe_model([member], task_name="substructure", task=task, **shape, **ORIGIN),
    )


def damaged_weights(path, how):
    weights = {name: tensor.clone() for name, tensor in load_file(path).items()}  # not maps of the file to be written
    if how == "nan":
        save_file(
            {name: torch.full_like(w, torch.nan) if w.is_floating_point() else w for name, w in weights.items()}, path
        )
    elif how == "shapes":
        save_file({name: w[None].contiguous() for name, w in weights.items()}, path)
    elif how == "fewer":
        weights.popitem()
        save_file(weights, path)
    elif how == "truncated":
        path.write_bytes(path.read_bytes()[:-100])
    elif how == "pickle":
        torch.save(weights, path)
    elif how == "empty":
        path.write_bytes(b"")
    elif how == "folder":
        path.unlink()
        path.mkdir()
    else:
        path.unlink()


def make_databases(runs):
    with closing(sqlite3.connect(runs / "foreign.db")) as connection:
        connection.execute("CREATE TABLE mine (a)")
    (runs / "text.db").write_text("this is no database, but it is long enough to look like one " * 20)
    (runs / "empty.db").touch()
    whole = (runs / "tiny" / "study.db").read_bytes()
    (runs / "torn.db").write_bytes(whole[: len(whole) // 2])
    (runs / "damaged.db").write_bytes(whole[:4096] + b"\xff" * 20_000 + whole[24_096:])
    for name, studies in (("two", ("one", "two")), ("bare", ("tiny",)), ("none", ())):
        storage = optuna.storages.RDBStorage(f"sqlite:///{runs / f'{name}.db'}")
        for study in studies:
            optuna.create_study(study_name=study, storage=storage)
    for name in ("foreign", "text", "empty", "torn", "damaged", "two", "bare", "none"):
        (runs / name).mkdir()
        (runs / f"{name}.db").rename(runs / name / "study.db")


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    """A folder with a study, a model, images, and everything wrong that the cases name."""
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    folder = tmp_path_factory.mktemp("world")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("NAS_CACHE", str(folder / "cache"))
        load(SPEC.data, progress=False)
    make_study(folder / "runs" / "tiny")
    make_databases(folder / "runs")
    (folder / "file").write_text("a file")
    (folder / "dangling").symlink_to("nowhere")
    (folder / "locked" / "toys" / "lock").mkdir(parents=True)
    (folder / "folder").mkdir()
    np.save(folder / "lens.npy", np.random.default_rng(0).random((16, 16)))
    for name, text in STUDY_FILES.items():
        (folder / f"{name}.py").write_text(text)
    make_model(folder / "model")
    for name, change in MODELS.items():
        make_model(folder / "models" / name)
        config = folder / "models" / name / "config.json"
        if isinstance(change, str):
            config.write_text(change)
        elif callable(change):
            config.write_text(json.dumps(change(json.loads(config.read_text()))))
        else:
            config.write_text(json.dumps(config_with(json.loads(config.read_text()), *change)))
    for how in ("nan", "shapes", "fewer", "truncated", "pickle", "empty", "folder", "missing"):
        make_model(folder / "models" / f"weights-{how}")
        damaged_weights(folder / "models" / f"weights-{how}" / "model.safetensors", how)
    return folder


@pytest.fixture
def fenced(world, monkeypatch):
    def begun(*args, **kwargs):
        raise AssertionError("begun before it is known that it can end")

    monkeypatch.chdir(world)
    monkeypatch.setenv("NAS_CACHE", str(world / "cache"))
    monkeypatch.setattr("trainers.data.simulated.chunks.simulate_chunk", begun)
    monkeypatch.setattr("trainers.data.limits.cached", begun)
    monkeypatch.setattr(f"{work_through.__module__}.work_through", begun)
    return world


def tree(folder):
    """Every path with its size and time, but those that SQLite puts beside a database that it reads."""
    paths = [path for path in folder.rglob("*") if not path.name.endswith(("-shm", "-wal"))]
    return {path: (path.lstat().st_size, path.lstat().st_mtime_ns) if path.is_file() else None for path in paths}


def check(world, capsys, words, says, codes=(2,)):
    before = tree(world)
    command, *rest = words
    code = main_of(command, rest)
    printed = capsys.readouterr()
    after = tree(world)
    for path in sorted({*after} - {*before}, reverse=True):  # for the next case
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    assert "Traceback" not in printed.err, printed.err
    lines = printed.err.splitlines()
    assert len(lines) == 1, printed.err
    assert code in codes, lines
    assert lines[0].startswith("error: ")
    assert re.search(says, lines[0]), lines[0]
    assert len(lines[0]) < 2000
    assert lines[0].isprintable()
    assert printed.out == ""
    assert after == before


@pytest.mark.parametrize(("words", "says"), OPTIONS)
def test_a_wrong_option_is_one_line(fenced, capsys, words, says):
    check(fenced, capsys, words, says)


@pytest.mark.parametrize(("words", "environment", "says"), ENVIRONMENTS.values(), ids=ENVIRONMENTS)
def test_a_wrong_environment_is_one_line(fenced, capsys, monkeypatch, words, environment, says):
    for name, value in environment.items():
        monkeypatch.setenv(name, value) if value is not None else monkeypatch.delenv(name, raising=False)
    if "HOME" in environment:
        monkeypatch.setattr("pwd.getpwuid", {}.__getitem__)  # nor has the user a home in the system's list
    check(fenced, capsys, words, says, codes=(1, 2))


@pytest.mark.parametrize("name", STUDY_FILES)
def test_a_wrong_study_file_is_one_line(fenced, capsys, name):
    words = ("run", "--study", f"{name}.py", "--images", "60", "--image-size", "16", "--workers", "1")
    check(
        fenced,
        capsys,
        words,
        {"numpy": "rename the file", "name_empty": "name is ''", "name_path": "name is '.."}.get(name, rf"{name}\.py"),
    )


@pytest.mark.parametrize("name", DATABASES)
@pytest.mark.parametrize("command", ["run", "retrain", "report", "warm start"])
def test_a_wrong_database_is_one_line(fenced, capsys, command, name):
    words = {
        "run": ("run", "--study", "toys", "--images", "60", "--image-size", "16", "--name", name),
        "warm start": ("run", "--study", "toys", "--images", "60", "--image-size", "16", "--warm-start", name),
    }.get(command, (command, "--study", "tiny", "--name", name))
    check(fenced, capsys, words, DATABASES[name])


@pytest.mark.parametrize("name", MODELS)
def test_a_wrong_model_is_one_line(fenced, capsys, name):
    check(fenced, capsys, ("predict", "--model", f"models/{name}", "lens.npy"), f"models/{name}")


@pytest.mark.parametrize(("call", "says"), CALLS)
def test_a_wrong_call_of_the_library_is_a_user_error(fenced, call, says):
    before = tree(fenced)
    names = {"nas": nas, "np": np, "SPEC": SPEC, "StudySpec": StudySpec}
    if "results" in call:
        names["results"] = nas.load_results("runs/tiny")
    with pytest.raises(UserError, match=says) as caught:
        eval(call, names)
    assert "\n" not in str(caught.value)
    assert tree(fenced) == before


def test_weights_that_are_not_finite_and_predictions_that_are_not_end_with_exit_code_1(fenced, capsys):
    check(
        fenced, capsys, ("predict", "--model", "models/weights-nan", "lens.npy", "--json"), "weights.*not finite", (1,)
    )
    model = nas.load_model("model")
    with torch.no_grad():
        next(iter(model.parameters())).fill_(1e38)
    with pytest.raises(ModelFailed, match="predictions are not finite"):
        nas.predict(model, np.random.default_rng(0).random((2, 1, 16, 16)))


@pytest.mark.parametrize("how", ["shapes", "fewer", "truncated", "pickle", "empty", "folder", "missing"])
def test_weights_of_another_network_or_none_are_one_line(fenced, capsys, how):
    check(fenced, capsys, ("predict", "--model", f"models/weights-{how}", "lens.npy"), f"models/weights-{how}")


def test_a_refused_study_does_not_block_the_corrected_one(fenced, capsys, monkeypatch):
    """Nor do the folders that a refused search has made stay: `check` in every case looks for them."""
    text = (fenced / "trials_zero.py").read_text()
    check(fenced, capsys, ("run", "--study", "trials_zero.py", "--images", "60", "--image-size", "16"), "trials is 0")
    (fenced / "corrected.py").write_text(text.replace("trials=0", "trials=1"))
    words = ["--study", "corrected.py", "--images", "60", "--image-size", "16", "--runs", "corrected"]
    assert main_of("run", words) == 70, "it gets as far as the fence"
    assert "begun before" in capsys.readouterr().err


BAD = ("[red]a[/red]", "\x1b[31mb\x1b[0m", "<script>alert(1)</script>", "`c` *d* | e", ":smile: \u202ef")


def test_names_of_classes_are_shown_as_they_are_in_the_terminal_and_the_card(world, tmp_path, capsys):
    make_model(tmp_path / "model", BAD)
    assert main_of("predict", ["--model", str(tmp_path / "model"), str(world / "lens.npy")]) == 0
    shown = capsys.readouterr().out
    assert all(plain(name) in shown for name in BAD)
    assert "\x1b" not in shown
    assert "\u202e" not in shown
    card = (tmp_path / "model" / "README.md").read_text()
    (line,) = [line for line in card.splitlines() if line.startswith("Distinguishes")]
    assert "\x1b" not in card
    assert not re.search(r"(?<!\\)[<`*|\[]", line), line
    assert r"\<script\>" in line
