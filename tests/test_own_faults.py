"""Faults in a user's own mixer, task, sampler or scheduler are named, and edits of their code are noticed."""

import importlib
import sys
import warnings
from dataclasses import replace
from functools import partial

import numpy as np
import optuna
import pytest
import torch
from test_export import OF_MEMBER, ORIGIN

import studies
from nas import own_code, samplers, schedulers
from nas.errors import UserError
from nas.models.contents import describe_member, describe_model
from nas.models.export import export, load_model
from nas.samplers.surrogate import SurrogateSampler
from nas.searching.engine import Engine
from nas.searching.options import adapt
from nas.searching.preparation import refuse_varying
from nas.searching.simulate import simulate
from nas.searching.study import code_of, metrics_on, open_ledger, task_with
from nas.workers.training import find_alike
from search_space import ArchitectureError, Hybrid, HybridSpace, Range, Stage, ToySpace, build_model, to_dict
from studies import Configuration, StudyError, StudySpec, TrainSpace
from studies.train_space import PLAIN_TRAINING
from trainers import tasks
from trainers.batch.normalise import Normalisation
from trainers.config import NO_AUGMENTATION, TrainConfig
from trainers.data import Dataset, Simulated, Split
from trainers.errors import TrainingError
from trainers.evaluate import evaluate
from trainers.tasks.substructure import Task as Substructure

SPEC = StudySpec(
    "mine", "?", space=HybridSpace(mixers=("conv",), width=(16,), grid=(8,), symmetry=("none",), front_end=("none",)),
    training=TrainSpace(learning_rate=Range(1e-3, 1e-2)), data=Simulated(images=60, image_size=32), trials=30, epochs=2,
    min_epochs=2,
)  # fmt: skip
MIXER = """
from torch import nn


def sample(trial, prefix, side, *, kernel=(1, 2, 4, 8)):
    return {"kernel": trial.suggest_categorical(f"{prefix}.kernel", [k for k in kernel if k <= side])}


class Mixer(nn.Module):
    def __init__(self, dim, grid, *, kernel=3):
        super().__init__()

    def forward(self, x):
        return 2 * x
"""
TASK = """
from dataclasses import dataclass

from trainers.tasks.substructure import Task as Substructure


@dataclass(frozen=True)
class Task(Substructure):
    {direction} = ("own",)

    def metrics_in_full(self, predicted, targets):
        right = (predicted.argmax(1) == targets).float().mean()
        return {{**super().metrics_in_full(predicted, targets), "own": {own}}}
"""


@pytest.fixture
def write(tmp_path, monkeypatch):
    """Write a module of the user's own; what a test imports is gone after it."""
    monkeypatch.syspath_prepend(str(tmp_path))
    before = dict(sys.modules)

    def write(name, text):
        sys.modules.pop(name, None)
        (tmp_path / f"{name}.py").write_text(text)
        importlib.invalidate_caches()

    yield write
    for name in set(sys.modules) - set(before):
        del sys.modules[name]


@pytest.fixture
def data():
    split = Split(torch.rand(12, 1, 8, 8), torch.arange(12) % 2, {})
    return Dataset("made", ("a", "b"), split, split, split)


def searched(tmp_path, **changes):
    """The engine's ledger after a search in virtual time, in which a higher learning rate is better."""
    spec = replace(SPEC, **changes)
    ledger = open_ledger(tmp_path / "study.db", spec)
    engine = Engine(
        ledger, schedulers.of_study(spec), sample=spec.sample, record=Configuration.to_dict, trials=spec.trials
    )
    for _ in simulate(engine, lambda config: [0.5 + config["training"]["learning_rate"]] * spec.epochs, workers=1):
        pass
    return ledger


# Code


def test_a_worker_finds_modules_in_the_order_of_the_driver(tmp_path, monkeypatch):
    """An older copy of a module may be installed where the worker finds it too."""
    for folder in ("old", "new"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "in_two_places.py").write_text(f"WHICH = {folder!r}")
    monkeypatch.setattr(sys, "path", [str(tmp_path / "old"), *sys.path])
    find_alike([str(tmp_path / "new"), *sys.path])
    assert importlib.import_module("in_two_places").WHICH == "new"
    del sys.modules["in_two_places"]


def test_an_edited_module_is_noticed_and_one_of_ours_is_not_looked_at(write):
    write("my_mixer", MIXER)
    before = own_code.own_code(("conv", "my_mixer"), "substructure")
    assert list(before) == ["my_mixer"]
    assert own_code.edited(before) == ""
    write("my_mixer", MIXER.replace("2 * x", "3 * x"))
    assert own_code.edited(before) == "my_mixer"
    write("my_mixer", f"# A comment.\n{MIXER}\nSTUDY = 3\n".replace("2 * x", "2 * x"))
    assert own_code.edited(before) == "", "a study in the same file may grow"
    write("my_mixer", MIXER.replace("2 * x", "3 * x"))
    space = replace(SPEC.space, mixers=("conv",), first=("same", "my_mixer"))
    assert list(code_of(replace(SPEC, space=space))) == ["my_mixer"]
    assert own_code.edited(code_of(replace(SPEC, space=space))) == "", "as it is now"


def test_a_model_says_that_the_code_of_its_mixer_has_changed(write, tmp_path, data):
    write("my_mixer", MIXER)
    architecture = Hybrid(stages=(Stage(mixer="my_mixer", depth=1, width=16),), patch=2)
    task = tasks.create("substructure", data)
    config = {"architecture": to_dict(architecture), "training": TrainConfig(epochs=2).to_dict(), "seed": 0}
    kind = {"task_name": "substructure", "task": task}
    member = describe_member(config, normalisation=Normalisation("minmax"), **kind, **OF_MEMBER)
    made = describe_model([member], in_chans=1, image_size=8, **kind, **ORIGIN)
    model = build_model(architecture, in_chans=1, image_size=8, num_outputs=2)
    export(tmp_path / "model", [model.state_dict()], made)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        load_model(tmp_path / "model")
    write("my_mixer", MIXER.replace("2 * x", "3 * x"))
    with pytest.warns(UserWarning, match="edited since the model .* was exported: my_mixer; it may"):
        load_model(tmp_path / "model")


def test_what_workers_cannot_import_is_refused():
    with pytest.raises(UserError, match="in __main__, which workers cannot import"):
        own_code.own_code(("conv", "__main__"), "substructure")
    with pytest.raises(UserError, match="in __main__"):
        own_code.own_code((), "__main__")


# Samplers and schedulers


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("def sampler(seed): optuna.samplers.RandomSampler(seed)", "returns None; expected Optuna's, or a Proposer"),
        ("sampler = optuna.samplers.RandomSampler()", "expected a function of a seed"),
        ("def sampler(): return optuna.samplers.RandomSampler()", r"its sampler\(\) takes no seed"),
    ],
)
def test_what_makes_no_sampler_is_refused(write, text, says):
    write("my_sampler", f"import optuna\n{text}\n")
    with pytest.raises(UserError, match=f"'my_sampler': .*{says}"):
        samplers.create("my_sampler", 1)


@pytest.mark.filterwarnings("ignore:`constraints_func`:FutureWarning")
def test_constraints_of_a_sampler_of_optuna_are_refused_as_they_would_not_be_asked_for(write):
    write(
        "my_sampler",
        "import optuna\n"
        "def sampler(seed): return optuna.samplers.TPESampler(seed=seed, constraints_func=lambda trial: (0.0,))\n",
    )
    with pytest.raises(UserError, match="'my_sampler' has a constraints_func, which a search does not ask"):
        samplers.create("my_sampler", 1)


@pytest.mark.parametrize(
    "text",
    [
        "from optuna.samplers import BruteForceSampler as sampler",
        "from functools import partial\nimport optuna\n"
        "sampler = partial(optuna.samplers.TPESampler, multivariate=True)",
        "import numpy as np\nfrom nas.searching.drafts import draft\nclass Own:\n"
        "    def propose(self, trials, sample, rungs, sign):\n"
        "        return draft(sample, np.random.default_rng(len(trials))).params\n"
        "def sampler(seed): return Own()",
    ],
)
@pytest.mark.filterwarnings("ignore::optuna.exceptions.ExperimentalWarning")
def test_a_sampler_may_be_one_of_optuna_with_a_seed_or_only_propose(write, tmp_path, text):
    write("my_sampler", f"{text}\n")
    ledger = searched(
        tmp_path, space=ToySpace(), training=replace(PLAIN_TRAINING, learning_rate=(1e-3, 2e-3)),
        first=({"toy": "lenet"},), epochs=6, min_epochs=6, sampler="my_sampler", trials=5,
    )  # fmt: skip
    assert len(ledger.study.trials) == 5


def test_a_sampler_that_leaves_the_bounds_is_named(write, tmp_path):
    write(
        "my_sampler",
        "import optuna\n"
        "class Wild(optuna.samplers.RandomSampler):\n"
        "    def sample_independent(self, study, trial, name, distribution):\n"
        "        own = super().sample_independent(study, trial, name, distribution)\n"
        "        return 5.0 if name == 'learning_rate' else own\n"
        "def sampler(seed): return Wild(seed)\n",
    )
    with pytest.raises(UserError, match=r"the sampler Wild left the bounds: The value 5\.0 of parameter 'le"):
        searched(tmp_path, sampler="my_sampler")


@pytest.mark.parametrize("answer", ["CONTINUE", "PAUSE"])
def test_a_scheduler_that_does_not_end_a_full_training_is_named(write, tmp_path, answer):
    write(
        "my_scheduler",
        "from nas.schedulers import Decision, full\n"
        "class Scheduler(full.Scheduler):\n"
        "    def report(self, trial, epoch, value):\n"
        f"        return Decision.CONTINUE if epoch < 2 else Decision.{answer}\n",
    )
    with pytest.raises(UserError, match=rf"my_scheduler\.Scheduler answers {answer} after epoch 2, the last"):
        searched(tmp_path, scheduler="my_scheduler")


@pytest.mark.parametrize("choices", [[1, 1, 2], [0, False, 1], [[1], [1], [2]]])
def test_equal_choices_are_one(choices):
    study = optuna.create_study(sampler=SurrogateSampler(seed=1))
    asked = []

    def objective(trial):
        asked.append((choices.index(trial.suggest_categorical("a", choices)), trial.suggest_int("x", 1, 40)))
        return asked[-1][1] / 40 + asked[-1][0]

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Optuna's, about lists
        study.optimize(objective, n_trials=50)
    assert len({*asked[1:]}) == 49


# Mixers, tasks, studies


def test_a_parameter_whose_choices_depend_on_the_grid_is_refused_before_any_training(write):
    write("my_mixer", MIXER)
    space = replace(SPEC.space, mixers=("conv", "my_mixer"), grid=(8, 16), stages=(1, 2, 3))
    with pytest.raises(UserError, match=r"\.my_mixer\.kernel' has other choices in another network: .*pick_up_to"):
        refuse_varying(partial(replace(SPEC, space=space).sample, image_size=32))
    refuse_varying(partial(SPEC.sample, image_size=32))


@pytest.mark.parametrize("own", ["right", "right.numpy()", "float(right)"])
def test_the_metrics_of_a_task_may_be_tensors_and_become_numbers(write, data, own):
    write("my_task", TASK.format(direction="higher_is_better", own=own))
    task = task_with("own", "my_task", data)
    model = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(64, 2))
    found = evaluate(model, data.val, task, normalisation="minmax", objective="own_d4_worst")
    assert all(type(value) is float for value in found.values())


def test_a_metric_that_is_no_number_is_refused_before_any_training(write, data):
    write("my_task", TASK.format(direction="higher_is_better", own="None"))
    with pytest.raises(TrainingError, match=r"metrics are .*'own': None.*; expected a number each"):
        task_with("own", "my_task", data)


def test_a_task_that_lacks_a_member_is_refused(write, data):
    write(
        "my_task",
        "from dataclasses import dataclass\n@dataclass(frozen=True)\nclass Task:\n    classifies: bool = True\n"
        "    @classmethod\n    def of(cls, data): return cls()\n",
    )
    with pytest.raises(TrainingError, match=r"'my_task' lacks classes, num_outputs, .*combine.*; add what"):
        tasks.create("my_task", data)


def test_only_a_regression_has_standard_deviations(write, data):
    """They are calibrated, which another task could not be after its whole training."""
    text = TASK.format(direction="higher_is_better", own="right")
    write("my_task", text.replace("class Task(Substructure):", "class Task(Substructure):\n    with_sigma = True"))
    with pytest.raises(TrainingError, match="'my_task' has with_sigma, which only a Regression may have"):
        tasks.create("my_task", data)


def test_an_edited_task_is_the_new_one_once_it_is_reloaded(write, data):
    write("my_task", TASK.format(direction="higher_is_better", own="right"))
    assert "own" in tasks.create("my_task", data).higher_is_better
    write("my_task", TASK.format(direction="lower_is_better", own="1 - right"))
    assert "own" in tasks.create("my_task", data).lower_is_better
    assert metrics_on(data.val, Substructure(classes=("a", "b")))


def test_numbers_of_numpy_are_no_bounds():
    with pytest.raises(ArchitectureError, match=r"width=np.int64\(16\): expected a value of Python's own, 16"):
        HybridSpace(width=tuple(np.arange(16, 65, 16)))
    with pytest.raises(ArchitectureError, match=r"Range low=np.float64\(0.1\)"):
        Range(np.float64(0.1), 1.0)


def test_a_space_of_ones_own_must_be_data():
    class Space:
        def sample(self, trial, image_size):
            return None

    with pytest.raises(StudyError, match=r"space is .*; expected a HybridSpace"):
        replace(SPEC, space=Space())


def test_settings_of_a_study_that_measures_are_not_dropped_in_silence():
    name = "training.label_smoothing"
    with pytest.raises(UserError, match=rf"{name} has no effect: numbers are measured"):
        adapt(SPEC, target="einstein_radius", settings={name: (0.1, 0.2)})
    adapt(SPEC, target="einstein_radius", settings={name: (0.0,)})
    zoomed = replace(SPEC.training, policies={"zoomed": replace(NO_AUGMENTATION, zoom=0.1)})
    with pytest.raises(StudyError, match="every policy zooms"):
        adapt(replace(SPEC, training=zoomed), target="einstein_radius")


def test_one_thing_cannot_be_set_twice():
    with pytest.raises(UserError, match="balance is set twice"):
        adapt(SPEC, balance="weights", settings={"training.balance": ("none",)})
    with pytest.raises(UserError, match=r"so does space\.names"):
        adapt(
            studies.load("pretrained"), checkpoint="resnet18=weights.pth", settings={"space.names": ("resnet18",)},
        )  # fmt: skip
