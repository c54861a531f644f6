"""A user's own mixers, tasks, schedulers and study files: found by their name, whole, and with their own errors."""

import importlib
import json
import os
import pickle
import re
import subprocess
import sys
from pathlib import Path

import optuna
import pytest
import torch

import studies
from nas import schedulers
from nas.errors import UserError
from nas.searching.study import task_with
from search_space import ArchitectureError, Hybrid, HybridSpace, Stage, build_model, cost, from_dict, mixers, to_dict
from studies import Configuration, StudyError, StudySpec
from trainers import tasks
from trainers.data import Dataset, Split
from trainers.regression import Regression

ROOT = Path(__file__).resolve().parents[1]
MIXER = '''
import torch
from torch import nn

from search_space import Range
from search_space.bounds import pick


def sample(trial, prefix, side, *, reach=Range(1, 2)):
    return {"reach": pick(trial, f"{prefix}.reach", reach)}


class Mixer(nn.Module):
    """A token and its neighbours in four directions, each with a weight per channel."""

    def __init__(self, dim, grid, *, reach=1):
        super().__init__()
        self.reach, self.weight = reach, nn.Parameter(torch.randn(5, dim))

    def forward(self, x):
        moves = [(0, 0), (self.reach, 0), (-self.reach, 0), (0, self.reach), (0, -self.reach)]
        return sum(w * torch.roll(x, move, (1, 2)) for w, move in zip(self.weight, moves))
'''
STUDY = """
from search_space import HybridSpace
from studies import StudySpec

STUDY = StudySpec("shift", "Is a shift enough?", space=HybridSpace(mixers=("conv", "{name}")))
"""


@pytest.fixture(autouse=True)
def clean(monkeypatch):
    """What a test imports is gone after it."""
    monkeypatch.setattr(sys, "path", list(sys.path))
    before = dict(sys.modules)
    yield
    for name in set(sys.modules) - set(before):
        del sys.modules[name]
    sys.modules.update(before)
    importlib.invalidate_caches()


@pytest.fixture
def write(tmp_path, monkeypatch):
    """Write files below a folder that Python imports from."""
    monkeypatch.syspath_prepend(str(tmp_path))

    def write(name, text=MIXER):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        importlib.invalidate_caches()
        return path

    return write


def drawn(space, count=60):
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    trials = [study.ask() for _ in range(count)]
    return [(space.sample(trial), trial.params) for trial in trials]


# Mixers


@pytest.mark.parametrize("name", ["shifting", "their.shifting"])
def test_a_mixer_of_ones_own_is_sampled_recorded_built_and_counted_like_ours(name, write):
    write(name.replace(".", "/") + ".py")
    space = HybridSpace(mixers=("conv", name), options={name: {"reach": (1, 3)}})
    found = [(a, p) for a, p in drawn(space) if any(stage.mixer == name for stage in a.stages)]
    assert len(found) > 20
    assert {s.options["reach"] for a, _ in found for s in a.stages if s.mixer == name} == {1, 3}
    for architecture, params in found:
        assert from_dict(json.loads(json.dumps(to_dict(architecture)))) == architecture
        assert space.sample(optuna.trial.FixedTrial(params)) == architecture
    for architecture, _ in found[:3]:
        model = build_model(architecture, in_chans=1, image_size=64, num_outputs=2)
        assert any(type(m).__module__ == name for m in model.modules())
        model(torch.randn(2, 1, 64, 64)).sum().backward()
        assert cost(architecture, in_chans=1, image_size=64, num_outputs=2).parameters == sum(
            p.numel() for p in model.parameters()
        )


def test_a_package_of_variants_has_each_as_a_choice_and_its_default_first(write):
    write("turned/__init__.py", 'DEFAULT = "plain"')
    write("turned/plain.py")
    write("turned/wide.py", MIXER.replace("reach", "width"))
    write("turned/_shared.py", "raise RuntimeError('no variant')")
    assert mixers.variants("turned") == ("plain", "wide")
    assert mixers.bound_names("turned") == ("variant", "reach", "width")
    options = [s.options for a, _ in drawn(HybridSpace(mixers=("turned",), first=("same",))) for s in a.stages]
    assert {tuple(sorted(o)) for o in options} == {("reach", "variant"), ("variant", "width")}
    assert mixers.module_of("turned", {}).__name__ == "turned.plain"
    with pytest.raises(
        ArchitectureError, match="unknown variant 'long' of mixer 'turned', expected one of: plain, wide"
    ):
        mixers.module_of("turned", {"variant": "long"})


def test_a_class_token_passes_a_mixer_that_says_nothing_about_it(write):
    write("shifting.py")
    stages = (Stage("shifting", 1, 16), Stage("attention", 1, 16))
    model = build_model(Hybrid(stages, patch=8, head="class_token"), in_chans=1, image_size=32, num_outputs=2)
    assert model(torch.randn(2, 1, 32, 32)).shape == (2, 2)


@pytest.mark.parametrize("name", ["convolution", "conv.typo", "no.such.module", "", ".conv", None])
def test_a_name_that_is_no_module_lists_the_known_ones(name):
    with pytest.raises(ArchitectureError, match="anisotropic, attention, conv"):
        mixers.load(name)


@pytest.mark.parametrize(
    ("text", "missing"),
    [("", "no sample and no Mixer"), ("def sample(): ...", "no Mixer"), ("class Mixer: ...", "no sample")],
)
def test_a_module_that_is_no_mixer_is_refused_with_what_it_lacks(text, missing, write):
    path = write("halfway.py", text)
    with pytest.raises(ArchitectureError, match=f"'halfway': {path} defines {missing};"):
        HybridSpace(mixers=("conv", "halfway"))
    with pytest.raises(ArchitectureError, match="defines no"):
        mixers.load("json")
    write("broken/__init__.py", 'DEFAULT = "gone"')
    with pytest.raises(ArchitectureError, match="DEFAULT='gone' of broken is none of its modules"):
        mixers.variants("broken")


@pytest.mark.parametrize(
    ("text", "error"),
    [("import no_such_package", ModuleNotFoundError), ("from json import no", ImportError), ("x = y", NameError)],
)
def test_an_error_inside_a_mixer_is_not_taken_for_a_typo(text, error, write):
    write("their/__init__.py", "")
    write("their/faulty.py", text)
    with pytest.raises(error) as caught:
        mixers.load("their.faulty")
    assert type(caught.value) is error
    assert any(str(entry.path).endswith("faulty.py") for entry in caught.traceback)


def test_a_mixer_that_was_missing_or_broken_is_found_once_it_is_there_and_another_of_its_name_replaces_it(write):
    with pytest.raises(ArchitectureError, match="unknown mixer 'late'"):
        mixers.load("late")
    write("late.py", "def sample(): ...")
    with pytest.raises(ArchitectureError, match="no Mixer"):
        mixers.load("late")
    del sys.modules["late"]
    write("late.py", MIXER + "# whole")
    assert mixers.bound_names("late") == ("reach",)
    del sys.modules["late"]
    write("late.py", MIXER.replace("reach", "stretch"))
    assert mixers.bound_names("late") == ("stretch",)
    assert drawn(HybridSpace(mixers=("late",), first=("same",)), 1)[0][0].stages[0].options.keys() == {"stretch"}


def test_a_known_short_name_is_ours_whatever_else_is_called_so(write):
    write("conv.py", "raise RuntimeError('not ours')")
    assert mixers.load("conv").__name__ == "search_space.mixers.conv"


# Study files


def test_a_study_file_holds_the_mixer_that_it_names(tmp_path):
    path = tmp_path / "shift_study.py"
    path.write_text(MIXER + STUDY.format(name="shift_study"))
    spec = studies.load(str(path))
    assert spec == studies.load(path)
    found = {s.mixer for a, _ in drawn(spec.space) for s in a.stages}
    assert found == {"conv", "shift_study"}
    mixer = mixers.build("shift_study", 4, (2, 2), index=0, options={})
    assert type(pickle.loads(pickle.dumps(mixer))) is sys.modules["shift_study"].Mixer


def test_another_process_imports_the_mixer_of_a_study_file_by_its_name(tmp_path):
    """As a worker does: a configuration as JSON, the study's folder on the path, and no study loaded."""
    path = tmp_path / "shift_study.py"
    path.write_text(MIXER + STUDY.format(name="shift_study"))
    spec = studies.load(path)
    assert str(tmp_path) in sys.path
    stage = {"mixer": "shift_study", "depth": 1, "width": 8, "options": {"reach": 2}}
    code = (
        "import json, sys\nfrom search_space import build_model, from_dict\n"
        "model = build_model(from_dict(json.loads(sys.argv[1])), in_chans=1, image_size=32, num_outputs=2)\n"
        "print(model.stages[0].blocks[0].mixer.reach, sys.modules['shift_study'].STUDY.name)"
    )
    out = subprocess.run(
        [sys.executable, "-c", code, json.dumps({"kind": "hybrid", "stages": [stage]})],
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), *sys.path[-1:]])},
        capture_output=True, text=True, check=True, cwd=ROOT,
    )  # fmt: skip
    assert out.stdout.split() == ["2", spec.name]


def test_a_mixer_below_the_study_that_names_it_is_refused_with_where_to_put_it(tmp_path):
    path = tmp_path / "shift_study.py"
    path.write_text(STUDY.format(name="shift_study") + MIXER)
    with pytest.raises(StudyError, match=r"no sample and no Mixer; .*above its STUDY"):
        studies.load(path)


def test_a_study_file_may_hold_dataclasses_with_postponed_annotations_and_import_its_neighbours(tmp_path):
    (tmp_path / "neighbour.py").write_text("NAME = 'from next door'")
    path = tmp_path / "with_neighbour.py"
    path.write_text(
        "from __future__ import annotations\nfrom dataclasses import dataclass, field\nimport neighbour\n"
        "@dataclass(frozen=True)\nclass Setting:\n    rates: list[float] = field(default_factory=list)\n"
        "from studies import StudySpec\nSTUDY = StudySpec(neighbour.NAME, '?')\n"
    )
    assert studies.load(path).name == "from next door"
    length = len(sys.path)
    studies.load(path)
    assert len(sys.path) == length


def test_a_changed_file_and_another_of_the_same_name_replace_the_loaded_one(tmp_path):
    """At once, though the two texts have one length and one time of change; and later imports find the newest, too."""
    name = "from studies import StudySpec\nSTUDY = StudySpec({!r}, '?')"
    paths = [tmp_path / folder / "again.py" for folder in ("a", "b")]
    for path in paths:
        path.parent.mkdir()
    paths[0].write_text(name.format("one"))
    assert studies.load(paths[0]).name == "one"
    paths[0].write_text(name.format("two"))
    assert studies.load(paths[0]).name == "two"
    for path, title in ((paths[1], "other"), (paths[0], "two"), (paths[1], "other")):
        path.write_text(name.format(title))
        assert studies.load(path).name == title
        del sys.modules["again"]
        assert importlib.import_module("again").STUDY.name == title
    assert len([entry for entry in sys.path if entry.startswith(str(tmp_path))]) == 2


@pytest.mark.parametrize("name", ["random", "torch", "studies", "sys", "colorsys", "einops"])
def test_a_study_file_with_the_name_of_another_module_is_refused(name, tmp_path):
    path = tmp_path / f"{name}.py"
    path.write_text("from studies import StudySpec\nSTUDY = StudySpec('mine', '?')")
    before = sys.modules.get(name), list(sys.path)
    with pytest.raises(StudyError, match=rf"{name}\.py has the name of another module, .*: rename the file"):
        studies.load(path)
    assert (sys.modules.get(name), sys.path) == before


def test_a_study_file_that_would_hide_a_mixer_behind_ours_is_refused_and_one_without_a_mixer_is_not(tmp_path):
    path = tmp_path / "conv.py"
    path.write_text(MIXER + STUDY.format(name="conv"))
    with pytest.raises(StudyError, match="holds a mixer with the name of one of ours: rename"):
        studies.load(path)
    path.write_text(STUDY.format(name="conv"))
    assert studies.load(path).name == "shift"


def test_a_folder_of_the_same_name_is_no_other_module(tmp_path, monkeypatch):
    """Python takes any folder on its path for a package; a run's folder has the study's name."""
    monkeypatch.syspath_prepend(str(tmp_path / "runs"))
    (tmp_path / "runs" / "mine").mkdir(parents=True)
    path = tmp_path / "mine.py"
    path.write_text(STUDY.format(name="conv"))
    assert studies.load(path).name == "shift"


@pytest.mark.parametrize("stem", ["my-study", "my.study", "2024 lenses"])
def test_a_file_whose_name_is_no_identifier_is_loaded_all_the_same(stem, tmp_path):
    path = tmp_path / f"{stem}.py"
    path.write_text("from studies import StudySpec\nSTUDY = StudySpec('mine', '?')")
    assert studies.load(path).name == "mine"


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("STUDY = (", SyntaxError),
        ("import no_such_package", ModuleNotFoundError),
        ("STUDY = StudySpec('mine', '?')", NameError),
        ("from studies import StudySpec\nSTUDY = StudySpec('mine', '?', trials=0)", StudyError),
        ("from search_space import HybridSpace\nHybridSpace(mixers=('lens',))", ArchitectureError),
        ("raise SystemExit(3)", SystemExit),
        ("", StudyError),
        ("STUDY = 3", StudyError),
    ],
)
def test_a_file_that_fails_is_named_with_its_line_and_error_and_leaves_nothing_behind(text, error, tmp_path):
    good, bad = (tmp_path / folder / "failing.py" for folder in ("good", "bad"))
    good.parent.mkdir(), bad.parent.mkdir()
    bad.write_text(text)
    before = list(sys.path)
    with pytest.raises(StudyError, match=re.escape(str(bad))) as caught:
        studies.load(bad)
    cause = caught.value.__cause__ or caught.value
    assert type(cause) is error
    assert error in (SyntaxError, StudyError) or ", line " in str(caught.value)
    assert "failing" not in sys.modules
    assert sys.path == before
    good.write_text("from studies import StudySpec\nSTUDY = StudySpec('good', '?')")
    assert studies.load(good).name == "good"
    loaded, before = sys.modules["failing"], list(sys.path)
    with pytest.raises(StudyError):
        studies.load(bad)
    assert sys.modules["failing"] is loaded
    assert sys.path == before


def test_what_is_no_study_is_refused(tmp_path):
    path = tmp_path / "plain_text.py"
    path.write_text("")
    for study, message in (
        ("hybird", "unknown study 'hybird'; known: .*hybrid"),
        ("spec", "unknown study 'spec'"),
        (tmp_path / "gone.py", "no study file .*gone.py"),
        (path, r"plain_text.py has no STUDY = StudySpec\(...\)"),
    ):
        with pytest.raises(StudyError, match=message):
            studies.load(study)


def test_a_study_spec_is_its_own_study():
    spec = StudySpec("mine", "?")
    assert studies.load(spec) is spec


def test_a_configuration_with_a_mixer_of_ones_own_survives_json(tmp_path):
    path = tmp_path / "shift_study.py"
    path.write_text(MIXER + STUDY.format(name="shift_study"))
    spec = studies.load(path)
    trial = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=1)).ask({})
    configuration = spec.sample(trial)
    assert Configuration.from_dict(json.loads(json.dumps(configuration.to_dict()))) == configuration


def test_a_study_file_in_a_linked_folder_is_loaded_twice(tmp_path):
    (tmp_path / "real").mkdir()
    (tmp_path / "real" / "linked_study.py").write_text(
        "from studies import StudySpec\nSTUDY = StudySpec(name='linked', question='?')\n"
    )
    (tmp_path / "link").symlink_to(tmp_path / "real")
    for folder in ("real", "link", "real"):
        assert studies.load(tmp_path / folder / "linked_study.py").name == "linked"


def test_a_study_file_may_be_a_link(tmp_path):
    for folder in ("shared", "mine"):
        (tmp_path / folder).mkdir()
    (tmp_path / "shared" / "some_study.py").write_text(
        "from studies import StudySpec\nSTUDY = StudySpec(name='linked', question='?')\n"
    )
    (tmp_path / "mine" / "a_linked_study.py").symlink_to(tmp_path / "shared" / "some_study.py")
    assert studies.load(tmp_path / "mine" / "a_linked_study.py").name == "linked"


TASK = """
from dataclasses import dataclass

import torch


@dataclass(frozen=True)
class Task:
    flat: bool = {flat}
    classifies, classes, num_outputs, objective, with_sigma = False, (), 2, "mae", False

    @classmethod
    def of(cls, data):
        return cls()

    def select(self, split):
        return split

    def targets(self, split):
        both = torch.stack([split.labels.double(), -split.labels.double()], 1)
        return both[:, 0] if self.flat else both

    def predict(self, outputs):
        return outputs.double()

    def loss(self, outputs, targets, label_smoothing=0.0, weights=None):
        return (outputs - targets).square().mean()

    def combine(self, predictions):
        return torch.stack(list(predictions)).mean(0)

    def metrics(self, predicted, targets):
        return {{"mae": float((predicted - targets).abs().mean())}}

    def metrics_in_full(self, predicted, targets):
        return self.metrics(predicted, targets)
"""


def test_a_task_of_numbers_has_a_column_for_each_and_its_figures_are_numbered(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "two_numbers.py").write_text(TASK.format(flat=False))
    (tmp_path / "flat_numbers.py").write_text(TASK.format(flat=True))
    split = Split(torch.zeros(8, 1, 8, 8), torch.arange(8) % 2, {})
    data = Dataset("made", ("a", "b"), split, split, split)
    task_with("mae", "two_numbers", data)
    with pytest.raises(UserError, match=r"'flat_numbers' has targets of shape \(8,\); expected numbers \(images, targ"):
        task_with("mae", "flat_numbers", data)
    task = tasks.of_name("two_numbers")
    assert tasks.quantities(task, 2) == ["value 1", "value 2"]
    assert tasks.quantities(task, 1) == ["value"]
    assert tasks.quantities(Regression(("theta_E", "gamma"), unit="arcsec,"), 2) == ["theta_E [arcsec]", "gamma"]


def test_a_scheduler_that_lacks_a_method_is_refused_by_its_name(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "all_of_it.py").write_text("from nas.schedulers.promotion import Scheduler\n")
    (tmp_path / "old_scheduler.py").write_text(
        "from nas.schedulers import promotion\n\n\nclass Scheduler(promotion.Scheduler):\n    resume = property()\n"
    )
    schedulers.create("all_of_it", (1, 3, 9), 3)
    with pytest.raises(UserError, match=r"scheduler 'old_scheduler' lacks resume; add what nas.schedulers.Scheduler"):
        schedulers.create("old_scheduler", (1, 3, 9), 3)
