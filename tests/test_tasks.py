"""Every task trains on what it has targets for, in numbers that a network can learn, and answers in their own unit."""

import dataclasses
import json
import sys
import traceback

import numpy as np
import pytest
import torch
from torch import nn

from trainers import TrainingError, metrics, tasks
from trainers.batch.balance import epoch_order, image_weights
from trainers.batch.normalise import normalise, resolve
from trainers.config import NO_AUGMENTATION, TrainConfig
from trainers.data import Dataset, Split, joined
from trainers.evaluate import SYMMETRIES, evaluate, metrics_of_views, outputs, predictions
from trainers.fit import fit
from trainers.regression import Regression

OWN_TARGETS = [  # as a study names them
    Regression(("theta_E",), unit="arcsec"),
    Regression(("gamma", "theta_E"), unit=",arcsec", log=True),
    Regression(("theta_E", "gamma", "mass_fraction"), with_sigma=True),
]
CLASSES = ["substructure", "lens_finding"]
NUMBERS = [name for name in tasks.known() if name not in CLASSES and tasks.of_name(name).target] + OWN_TARGETS
SIGMAS = [name for name in NUMBERS if tasks.of_name(name).with_sigma]


def split(n, seed=0, noise=0.0):
    """Bright squares: the target follows the mean brightness; every third image has none."""
    rng = np.random.default_rng(seed)
    level = rng.uniform(1, 2, n)
    images = torch.from_numpy(level[:, None, None, None] * np.ones((n, 1, 8, 8)) + 0.05 * rng.normal(size=(n, 1, 8, 8)))
    target = torch.from_numpy(-23 + 3 * (level - 1.5) + noise * rng.normal(size=n))
    target[::3] = float("nan")
    targets = {
        "axion_mass": 10**target, "mass_fraction": target / 100, "einstein_radius": target + 25,
        "theta_E": target + 28, "gamma": 5 - 0.5 * (target + 23),
    }  # fmt: skip
    return Split(images.float(), torch.arange(n) % 2, targets)


def dataset(n=240, noise=0.0, classes=("lens", "other")):
    return Dataset("made up", classes, *(split(n, seed, noise) for seed in range(3)))


def resolved(data):
    return resolve(CONFIG, data.train.images)


def network(outputs, seed=0):
    torch.manual_seed(seed)
    return nn.Sequential(nn.Flatten(), nn.Linear(64, 16), nn.GELU(), nn.Linear(16, outputs))


CONFIG = TrainConfig(
    epochs=12, batch_size=16, learning_rate=5e-3, weight_decay=0.0, normalisation="minmax",
    normalisation_scope="global", augmentation=NO_AUGMENTATION,
)  # fmt: skip


@pytest.mark.parametrize("name", CLASSES + NUMBERS, ids=str)
def test_every_task_trains_reports_its_objective_and_comes_back_from_its_record(name):
    data = dataset()
    task = tasks.create(name, data)
    *_, last = fit(network(task.num_outputs), data.train, task, CONFIG, seed=0, val=data.val)
    val = task.select(data.val)
    assert np.isfinite(last.metrics[task.objective])
    predicted = task.predict(torch.randn(len(val), task.num_outputs))
    full = task.metrics_in_full(predicted, task.targets(val))
    assert task.metrics(predicted, task.targets(val)).items() <= full.items()
    assert tasks.from_record(json.loads(json.dumps(tasks.to_record(name, task)))) == task
    assert tasks.from_json(json.loads(json.dumps(tasks.to_json(name)))) == name


@pytest.mark.parametrize("name", NUMBERS, ids=str)
def test_a_number_is_learnt_from_the_images_that_have_it_and_told_in_its_own_unit(name):
    data = dataset()
    task = tasks.create(name, data)
    known = torch.isfinite(data.train.targets[task.target[0]])
    chosen = task.select(data.train)
    assert len(chosen) == known.sum() == 160
    assert torch.equal(chosen.images[:], data.train.images[known])
    values = np.array([data.train.targets[target][known].numpy() for target in task.target])
    values = np.log10(values) if task.log else values
    assert task.mean == pytest.approx(values.mean(1))
    assert task.sd == pytest.approx(values.std(1, ddof=1))
    model = network(task.num_outputs)
    *_, last = fit(model, data.train, task, dataclasses.replace(CONFIG, epochs=30), seed=0, val=data.val)
    several = len(task.target) > 1
    for target, sd in zip(task.target, task.sd, strict=True):
        assert last.metrics[f"mae_{target}" if several else "mae"] < 0.35 * sd
        assert last.metrics[f"r2_{target}" if several else "r2"] > 0.8


def test_several_targets_have_their_own_metrics_and_means_in_units_of_their_spread():
    """Against each target alone: the same errors, said per target; the mean does not depend on the targets' units."""
    rng = np.random.default_rng(0)
    data, values = dataset(), rng.uniform(1, 2, (2, 240))

    def task(scale, target=("a", "b")):
        targets = {"a": torch.from_numpy(values[0]), "b": torch.from_numpy(scale * values[1])}
        part = dataclasses.replace(data.train, targets=targets)
        return tasks.create(Regression(target, with_sigma=True), Dataset("made", ("x", "y"), part, part, part)), part

    def of(scale, **more):
        both, part = task(scale, **more)
        columns = [("a", "b").index(name) for name in both.target]
        raw = torch.from_numpy(np.random.default_rng(1).normal(size=(240, 4)))[:, [*columns, *(2 + c for c in columns)]]
        return both.metrics_in_full(both.predict(raw), both.targets(part)), both

    small, large = of(1.0)[0], of(1000.0)[0]
    for name in ("a", "b"):
        alone, _ = of(1.0, target=(name,))
        assert {metric: small[f"{metric}_{name}"] for metric in alone} == pytest.approx(alone)
        assert large[f"mae_{name}"] == pytest.approx(small[f"mae_{name}"] * (1000 if name == "b" else 1))
        assert metrics.direction(f"mae_{name}", of(1.0)[1]) == "minimize"
    each = [of(1.0, target=(name,)) for name in ("a", "b")]
    assert small["mae"] == pytest.approx(np.mean([found["mae"] / task.sd[0] for found, task in each]))
    assert small["r2"] == pytest.approx(np.mean([found["r2"] for found, _ in each]))
    for metric in ("mae", "rmse", "r2", "bias", "scatter", "nll", "coverage_68", "z_rms", "r2_within"):
        assert large[metric] == pytest.approx(small[metric]), metric


def test_what_a_network_adds_to_knowing_the_class_is_said_beside_its_r2():
    """A number that mostly follows the class: the class means have a high R2 and, within classes, none."""
    rng = np.random.default_rng(0)
    labels = torch.arange(600) % 3
    values = torch.tensor([0.0, 3.0, 3.5])[labels].double() + torch.from_numpy(rng.normal(0, 0.5, 600))
    split = Split(torch.zeros(600, 1, 8, 8), labels, {"mass_fraction": values})
    task = tasks.create("mass_fraction", Dataset("made up", ("a", "b", "c"), split, split, split))
    means = torch.stack([values[labels == k].mean() for k in range(3)])[labels]
    of_means = task.metrics_in_full(means[:, None], values[:, None])
    assert of_means["r2_within"] == pytest.approx(0, abs=1e-9)
    assert of_means["r2_class_means"] == pytest.approx(of_means["r2"], abs=0.001) == pytest.approx(0.9, abs=0.02)
    half = task.metrics_in_full((0.5 * means + 0.5 * values)[:, None], values[:, None])  # half of each error is gone
    assert half["r2_within"] == pytest.approx(0.75)
    one = Dataset("one", ("a",), *[Split(split.images, torch.zeros_like(labels), split.targets)] * 3)
    assert "r2_within" not in tasks.create("mass_fraction", one).metrics_in_full(means[:, None], values[:, None])


@pytest.mark.parametrize("name", SIGMAS, ids=str)
def test_standard_deviations_are_calibrated_on_images_that_were_held_out(name):
    """A network that is three times too sure of itself; after scaling, its errors have unit z, on other images too."""
    task = tasks.create(name, dataset())
    rng = np.random.default_rng(0)

    count, mean, sd = len(task.target), torch.tensor(task.mean), torch.tensor(task.sd)

    def said(n):
        truth = mean + sd * torch.from_numpy(rng.normal(size=(n, count)))
        raw = torch.cat([(truth - mean) / sd + 0.3 * torch.from_numpy(rng.normal(size=(n, count))),
                         torch.full((n, count), 2 * np.log(0.1))], 1)  # fmt: skip
        return raw, truth

    raw, truth = said(4000)
    better = task.calibrated(task.predict(raw), truth)
    assert better.sigma_scale == pytest.approx([3.0] * count, rel=0.05)
    raw, truth = said(4000)
    found = better.metrics(better.predict(raw), truth)
    assert found["z_rms"] == pytest.approx(1, rel=0.05)
    assert found["coverage_68"] == pytest.approx(0.683, abs=0.03)
    assert task.metrics(task.predict(raw), truth)["z_rms"] > 2.5


@pytest.mark.parametrize("name", SIGMAS, ids=str)
def test_the_network_finds_how_large_the_noise_is(name):
    data = dataset(600, noise=0.4)
    task = tasks.create(name, data)
    model = network(task.num_outputs)
    *_, last = fit(model, data.train, task, dataclasses.replace(CONFIG, epochs=20), seed=0, val=data.val)
    assert last.metrics["z_rms"] == pytest.approx(1, abs=0.25)
    assert last.metrics["r2"] > 0.6


@pytest.mark.parametrize("name", SIGMAS, ids=str)
def test_several_networks_are_one_mixture(name):
    """Against draws from the mixture of their normal distributions."""
    task = tasks.create(name, dataset())
    count = len(task.target)
    said = [torch.tensor([[value] * count + [sigma] * count]) for value, sigma in ((0.0, 1.0), (3.0, 0.5))]
    rng = np.random.default_rng(0)
    drawn = np.concatenate([rng.normal(float(s[0, 0]), float(s[0, -1]), 200_000) for s in said])
    together = task.combine(said)[0]
    assert together.tolist() == pytest.approx([drawn.mean()] * count + [drawn.std()] * count, rel=0.01)


def test_missing_targets_are_one_clear_line_that_names_those_there_are():
    data = dataset()
    bare = dataclasses.replace(data, val=dataclasses.replace(data.val, targets={}))
    with pytest.raises(ValueError, match="made up gives axion_mass for 0 images to val; expected 2 or more"):
        tasks.create("axion_mass", bare)
    there = "it gives axion_mass, mass_fraction, einstein_radius, theta_E, gamma"
    with pytest.raises(ValueError, match=f"made up gives z for 0 images to train; expected 2 or more; {there}$"):
        tasks.create(Regression(("theta_E", "z")), data)
    with pytest.raises(ValueError, match=f"which number of made up is measured. Name it .*{there}$"):
        tasks.create("regression_sigma", data)
    with pytest.raises(
        ValueError, match=r"mass_fraction of made up is -0.2.* for an image; its log10 needs numbers above"
    ):
        tasks.create(Regression(("mass_fraction",), log=True), data)
    apart = data.train.targets["theta_E"].roll(1).where(data.train.targets["theta_E"].isnan(), torch.nan)
    parts = {"train": dataclasses.replace(data.train, targets={**data.train.targets, "apart": apart})}
    with pytest.raises(ValueError, match="made up gives theta_E and apart together for 0 images to train"):
        tasks.create(Regression(("theta_E", "apart")), dataclasses.replace(data, **parts))
    with pytest.raises(ValueError, match="made up has the classes a, b; finding lenses needs two"):
        tasks.create("lens_finding", dataset(classes=("a", "b")))
    with pytest.raises(ValueError, match="unknown task 'nosuch'"):
        tasks.create("nosuch", data)
    for constant in (0.1, 1.66 + 1e-16 * torch.arange(len(data.train)).double(), 0.0):
        targets = {**data.train.targets, "theta_E": torch.zeros(len(data.train)).double() + constant}
        same = dataclasses.replace(data, train=dataclasses.replace(data.train, targets=targets))
        with pytest.raises(ValueError, match=r"theta_E of made up is .* for every training image, so there is nothing"):
            tasks.create(Regression(("theta_E",)), same)


@pytest.mark.parametrize(
    ("fields", "says"),
    [
        ({"target": ("a b",)}, "target 'a b': expected different plain words"),
        ({"target": ("a", "a")}, "target 'a': expected different plain words"),
        ({"target": 5}, "target is 5; expected the names of numbers"),
        ({"target": ("a", "b"), "unit": "m,s,kg"}, "unit is 'm,s,kg'; expected one unit, or one for each of 2 targets"),
        ({"target": ("a",), "log": 1}, "log is 1; expected True or False"),
        ({"target": ("a",), "mean": (1.0, 2.0)}, "mean is .*; expected one number for each of a"),
        ({"target": ("a",), "sd": ("x",)}, "sd is .*; expected numbers"),
        ({"target": ("a", "within")}, "target 'within' beside others: its metric r2_within has another meaning"),
        ({"target": ("class_means_a", "a")}, "target 'class_means_a' beside others: its metric r2_class_means_a has"),
    ],
)
def test_what_is_no_regression_is_refused_in_one_line(fields, says):
    with pytest.raises(TrainingError, match=says):
        Regression(**fields)


def test_a_record_of_targets_may_be_text_and_a_regression_without_any_has_a_plain_name():
    assert tasks.from_json({"target": "ab"}) == Regression(("ab",))
    assert tasks.from_json({"target": ["a", "b"]}) == Regression(("a", "b"))
    assert str(Regression()) == "regression"
    assert str(Regression(("within",), with_sigma=True)) == "regression_sigma of within"


@pytest.mark.parametrize("name", [5, ["regression"], None])
def test_what_is_no_name_of_a_task_is_refused_in_one_line(name):
    with pytest.raises(TrainingError, match=r"task is .*; expected a name \(axion_mass, .*\), or a Regression"):
        tasks.of_name(name)


def test_many_numbers_are_counted_where_one_is_missed():
    numbers = {f"n{i}": torch.rand(9).double() for i in range(1000)}
    part = Split(torch.zeros(9, 1, 8, 8), torch.zeros(9, dtype=torch.int64), numbers)
    with pytest.raises(TrainingError, match=r"it gives n0, n1, n2, n3, n4, 995 more$"):
        tasks.create("regression", Dataset("many", ("lens",), part, part, part))


def test_a_number_without_a_name_is_what_is_asked_for_but_an_axion_mass_has_its_name():
    part = Split(torch.zeros(9, 1, 8, 8), torch.zeros(9, dtype=torch.int64), {"number": torch.rand(9).double()})
    data = Dataset("bare", ("lens",), part, part, part)
    for name in ("mass_fraction", Regression(("theta_E",))):
        assert torch.equal(tasks.create(name, data).targets(part)[:, 0], part.targets["number"])
    with pytest.raises(TrainingError, match="bare gives theta_E for 0 images to train"):
        tasks.create(Regression(("theta_E", "gamma")), data)
    with pytest.raises(TrainingError, match=r"bare gives axion_mass for 0 images to train; .*; it gives number$"):
        tasks.create("axion_mass", data)


def test_a_task_of_an_earlier_version_comes_back_from_its_record():
    fields = {"mean": -23.5, "sd": 0.4, "sigma_scale": 2.0, "class_mse": None}
    task = tasks.from_record({"name": "axion_mass_sigma", **fields})
    assert (task.target, task.log, task.mean, task.sd) == (("axion_mass",), True, (-23.5,), (0.4,))
    assert (task.sigma_scale, task.class_mse) == ((2.0,), ())
    assert task.predict(torch.tensor([[1.0, 0.0]])).tolist() == [pytest.approx([-23.1, 0.8])]


def test_some_images_of_a_split_are_read_without_copying_the_others():
    whole, other = split(30), split(12, seed=1)
    rows = torch.tensor([4, 29, 0, 4])
    some = whole.rows(rows)
    assert torch.equal(some.images[torch.tensor([1, 3])], whole.images[[29, 4]])
    assert torch.equal(some.images[1:3], whole.images[[29, 0]])
    assert some.images.shape == (4, 1, 8, 8)
    both = joined(some, other)
    assert torch.equal(both.images[2:6], torch.cat([whole.images[[0, 4]], other.images[:2]]))
    assert torch.equal(both.labels, torch.cat([whole.labels[rows], other.labels]))
    assert whole.where(torch.ones(30, dtype=bool)) is whole


def test_balanced_classes_weigh_the_same():
    labels = torch.tensor([0] * 90 + [1] * 9 + [3])
    weights = image_weights(labels, 4)
    assert [float(weights[labels == k].sum()) for k in (0, 1, 3)] == pytest.approx([100 / 3] * 3, rel=1e-5)
    torch.manual_seed(0)
    drawn = labels[epoch_order(9000, weights, TrainConfig(balance="sampling")) % 100]
    torch.manual_seed(0)
    drawn = labels[torch.multinomial(weights, 9000, replacement=True)]
    assert [int((drawn == k).sum()) for k in (0, 1, 3)] == pytest.approx([3000] * 3, rel=0.1)
    assert sorted(epoch_order(100, None, TrainConfig()).tolist()) == list(range(100))


@pytest.mark.parametrize("balance", ["weights", "sampling"])
def test_balance_finds_a_rare_class_that_is_otherwise_passed_over(balance):
    """Two overlapping levels of brightness, one image in twenty of the second."""
    rng = np.random.default_rng(0)

    def unbalanced(n):
        labels = np.arange(n) % 20 == 0
        images = rng.normal(size=(n, 1, 8, 8)) * 2 + labels[:, None, None, None]
        return Split(torch.from_numpy(images).float(), torch.from_numpy(labels).long(), {})

    data = Dataset("rare", ("0", "1"), unbalanced(1200), unbalanced(1200), unbalanced(1200))
    task = tasks.create("lens_finding", data)

    def mean_probability_of_the_rare_class(how):
        config = dataclasses.replace(CONFIG, epochs=10, learning_rate=5e-2, warmup_epochs=0.5, balance=how)
        model = nn.Sequential(nn.AvgPool2d(8), nn.Flatten(), nn.Linear(1, 2))
        nn.init.zeros_(model[2].weight)
        list(fit(model, data.train, task, config, seed=0))
        said = outputs(model, data.val.images, normalisation=resolved(data), device="cpu")
        return float(task.predict(said)[:, 1].mean())

    assert mean_probability_of_the_rare_class("none") < 0.15
    assert mean_probability_of_the_rare_class(balance) > 0.3


def test_numbers_cannot_be_balanced():
    data = dataset()
    with pytest.raises(ValueError, match="balance is 'weights', but this task has no classes"):
        next(fit(network(1), data.train, tasks.create("axion_mass", data), TrainConfig(balance="weights"), seed=0))


def test_the_eight_symmetries_are_all_there_and_differ():
    image = torch.rand(1, 1, 6, 6)

    class Look(nn.Module):
        def forward(self, x):
            return x.flatten(1)

    views = [outputs(Look(), image, normalisation="zscore", device="cpu", symmetry=k) for k in SYMMETRIES]
    seen = {tuple(view[0].tolist()) for view in views}
    x = normalise(image, "zscore")
    expected = set()
    for turned in (x.rot90(k, (2, 3)) for k in range(4)):
        expected |= {tuple(turned.flatten().tolist()), tuple(turned.mT.flatten().tolist())}
    assert len(seen) == len(expected) == 8
    assert seen == expected


@pytest.mark.parametrize(
    "objective", ["auc_d4_mean", "auc_d4_worst", "auc_d4_views", "ap", "tpr_at_fpr_0.01", "ece_d4_mean", "ap_d4_views"]
)
def test_any_metric_can_be_an_objective(objective):
    data = dataset()
    task = tasks.create("substructure", data)
    model = network(2)
    *_, last = fit(model, data.train, task, dataclasses.replace(CONFIG, epochs=2), seed=0, val=data.val,
                   objective=objective)  # fmt: skip
    model.eval()
    how = {"normalisation": resolved(data)}
    views = torch.stack([predictions(model, data.val, task, **how, symmetry=k) for k in SYMMETRIES])
    each = [task.metrics_in_full(view, data.val.labels) for view in views]
    name = objective.split("_d4")[0]
    together = task.metrics_in_full(torch.from_numpy(np.mean(views.numpy(), axis=0)), data.val.labels)[name]
    of = {"mean": np.mean, "worst": np.min, "views": lambda v: together}
    expected = of.get(objective.rsplit("_", 1)[-1], lambda v: v[0])
    assert last.metrics[objective] == pytest.approx(expected([e[name] for e in each]), abs=1e-6)
    if name == "auc":
        assert metrics_of_views(views, data.val.labels, task)[objective] == pytest.approx(last.metrics[objective])
    assert objective not in evaluate(model, data.val, task, **how)


OWN = """
from dataclasses import dataclass
from trainers.tasks import substructure

@dataclass(frozen=True)
class Task(substructure.Task):
    higher_is_better = ("purity",)
    lower_is_better = ("confusion",)

    def metrics_in_full(self, predicted, targets):
        right = float((predicted.argmax(1) == targets).double().mean())
        return {**super().metrics_in_full(predicted, targets), "purity": right, "confusion": 1 - right}
"""


@pytest.fixture
def own(tmp_path, monkeypatch):
    """Modules of the user's own: their_tasks.good and some that are broken."""
    folder = tmp_path / "their_tasks"
    folder.mkdir()
    texts = {
        "good": OWN,
        "none": "",
        "value": "Task = 3",
        "needs": "import a_package_that_is_not_there",
        "broken": "raise KeyError('theirs')",
        "plain": "class Task:\n    of = classmethod(lambda cls, data: cls())",
    }
    for name, text in texts.items():
        (folder / f"{name}.py").write_text(text)
    monkeypatch.syspath_prepend(tmp_path)
    yield
    for name in [name for name in sys.modules if name.split(".")[0] == "their_tasks"]:
        del sys.modules[name]


def test_a_task_of_the_users_own_trains_with_its_own_objective(own):
    data = dataset()
    task = tasks.create("their_tasks.good", data)
    model = network(2)
    config = dataclasses.replace(CONFIG, epochs=1, warmup_epochs=0)
    for objective, worst in (("confusion_d4_worst", max), ("purity_d4_worst", min)):
        *_, last = fit(model, data.train, task, config, seed=0, val=data.val, objective=objective)
        views = [predictions(model, data.val, task, normalisation=resolved(data), symmetry=k) for k in SYMMETRIES]
        name = metrics.base(objective)
        values = [task.metrics_in_full(view, data.val.labels)[name] for view in views]
        assert len(set(values)) > 1
        assert last.metrics[objective] == pytest.approx(worst(values))
    assert tasks.from_record(json.loads(json.dumps(tasks.to_record("their_tasks.good", task)))) == task


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("nosuch", "unknown task 'nosuch'; known: axion_mass, .*, or the dotted path of your own"),
        ("their_tasks.nosuch", "task 'their_tasks.nosuch': Python finds no module 'their_tasks.nosuch'"),
        ("nowhere.good", "task 'nowhere.good': Python finds no module 'nowhere'"),
        ("their_tasks.good.deeper", "Python finds no module 'their_tasks.good.deeper'"),
        ("their_tasks.none", "task 'their_tasks.none': the module has no class Task"),
        ("their_tasks.value", "task 'their_tasks.value': the module has no class Task"),
        ("their_tasks.plain", "its class Task is not a dataclass"),
        (".good", "task '.good' is not the dotted path of a module"),
        ("their_tasks/good.py", r"task 'their_tasks/good.py' is not the dotted path of a module"),
    ],
)
def test_a_task_that_is_not_there_is_named(own, name, says):
    with pytest.raises(TrainingError, match=says):
        tasks.create(name, dataset())


@pytest.mark.parametrize(("name", "error"), [("needs", ModuleNotFoundError), ("broken", KeyError)])
def test_an_error_in_the_users_own_module_keeps_its_traceback(own, name, error):
    with pytest.raises(error) as raised:
        tasks.of_name(f"their_tasks.{name}")
    assert any(frame.filename.endswith(f"{name}.py") for frame in traceback.extract_tb(raised.value.__traceback__))
