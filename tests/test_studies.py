"""Every study by samples: what it asks for can be built and trained, is recorded, and is worth asking for."""

import functools
import json
from dataclasses import replace

import optuna
import pytest
import torch
from test_space import Redrawn, other_value, outputs, shapes
from torch import nn

import studies
from nas import samplers
from search_space import build_model, cost
from studies import Configuration
from studies.train_space import PLAIN, TrainSpace
from trainers import tasks
from trainers.config import TrainConfig
from trainers.data import Dataset, Split
from trainers.fit import fit

optuna.logging.set_verbosity(optuna.logging.ERROR)
STUDIES = studies.known()
GRIDS = [name for name in STUDIES if studies.load(name).sampler == "grid"]
SAMPLES = 300
SHAPE = {"in_chans": 1, "image_size": 64, "num_outputs": 2}
EPOCHS = 3


@functools.cache
def samples(name, count=SAMPLES, seed=0):
    """Random configurations of a study with their parameters and distributions."""
    spec = studies.load(name)
    drawn = []
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=seed))
    for _ in range(count):
        trial = study.ask()
        configuration = spec.sample(trial)
        drawn.append((configuration, dict(trial.params), dict(trial.distributions)))
    return drawn


def architectures(name):
    """Those of the samples, each once."""
    return list({str(c.architecture): c.architecture for c, _, _ in samples(name)}.values())


def noise(count, side, seed=0):
    generator = torch.Generator().manual_seed(seed)
    images = torch.rand(count, 1, side, side, generator=generator) * (1 + torch.arange(count) % 5)[:, None, None, None]
    return Split(images, torch.arange(count) % 2, {})


def dataset(count, side):
    return Dataset("noise", ("a", "b"), noise(count, side), noise(20, side, 1), noise(20, side, 2))


@pytest.mark.parametrize("name", STUDIES)
def test_a_study_has_a_question_a_number_of_trials_and_its_own_name(name):
    spec = studies.load(name)
    assert spec.name == name
    assert spec.question.endswith("?")
    assert spec.trials >= 50
    assert spec.sampler in samplers.known()
    json.dumps(spec.to_dict())


@pytest.mark.parametrize("name", STUDIES)
def test_samples_are_recorded_and_decoded_exactly(name):
    spec = studies.load(name)
    for configuration, params, _ in samples(name)[:60]:
        assert Configuration.from_dict(json.loads(json.dumps(configuration.to_dict()))) == configuration
        assert spec.sample(optuna.trial.FixedTrial(params)) == configuration


@pytest.mark.parametrize("count", [10, pytest.param(SAMPLES, marks=pytest.mark.slow)])
@pytest.mark.parametrize("image_size", [64, 150])
@pytest.mark.parametrize("name", STUDIES)
def test_every_sample_builds_and_runs_on_the_meta_device(name, image_size, count):
    for index, architecture in enumerate(architectures(name)[:count]):
        with torch.device("meta"):
            model = build_model(architecture, in_chans=1, image_size=image_size, num_outputs=3)
            if index % 5 == 0:  # running is slower than building on this device
                assert model(torch.empty(2, 1, image_size, image_size)).shape == (2, 3)


@pytest.mark.parametrize("count", [2, pytest.param(12, marks=pytest.mark.slow)])
@pytest.mark.parametrize("name", STUDIES)
def test_samples_train_a_step(name, count):
    """A whole `fit` of the fewest epochs, of the cheaper networks and the samples' own trainings."""
    data = dataset(8, 64)
    trained, spec = 0, studies.load(name)
    for configuration, _, _ in samples(name):
        found = cost(configuration.architecture, **SHAPE)
        if found.parameters > 3e7 or found.macs > 3e8:
            continue
        torch.manual_seed(0)
        model = build_model(configuration.architecture, **SHAPE)
        sparse = configuration.training.sparsity > 0
        training = replace(configuration.training, epochs=1 + sparse, warmup_epochs=0.0)
        before = [p.detach().clone() for p in model.parameters()]
        *_, epoch = fit(model, data.train, tasks.load(spec.task, data), training, seed=0, val=data.val)
        assert spec.objective in epoch.metrics
        assert any(not torch.equal(a, b) for a, b in zip(before, model.parameters(), strict=True))
        trained += 1
        if trained == count:
            return
    raise AssertionError(f"only {trained} samples of {name} are cheap")


@pytest.mark.parametrize("name", STUDIES)
def test_most_of_a_study_lies_within_its_own_limits(name):
    spec = studies.load(name)
    within = []
    for architecture in architectures(name)[:40]:
        found = cost(architecture, **SHAPE)
        within.append(found.parameters <= spec.max_parameters and found.macs <= spec.max_macs)
    assert sum(within) >= len(within) / 2
    assert name not in GRIDS or all(within), "a cell above the limits would be missing"


@pytest.mark.parametrize("name", GRIDS)
def test_a_grid_has_as_many_trials_as_cells_and_compares_them_in_full(name):
    spec = studies.load(name)
    assert spec.scheduler == "full"
    assert spec.rungs == (spec.epochs,)
    grid = samplers.load("grid", 0)
    cells = []
    while (cell := grid.propose([], spec.sample, spec.rungs, 1.0)) is not None:
        cells.append(json.dumps(spec.sample(optuna.trial.FixedTrial(cell)).to_dict(), sort_keys=True))
    assert len(cells) == spec.trials
    assert len(set(cells)) == spec.trials


def result(training, seed=0):
    """All that a training comes to: the weights it leaves and what it says of the validation images."""
    data = dataset(144, 16)
    torch.manual_seed(0)
    layers = [nn.Conv2d(1, 4, 3), nn.GELU(), nn.Conv2d(4, 4, 3), nn.GELU(), nn.AdaptiveAvgPool2d(4), nn.Flatten()]
    model = nn.Sequential(*layers, nn.Linear(64, 2))
    *_, last = fit(model, data.train, tasks.load("substructure", data), training, seed=seed, val=data.val)
    return torch.cat([p.detach().flatten() for p in model.parameters()]), last.metrics["loss"]


def same(first, second):
    return torch.equal(first[0], second[0]) and first[1] == second[1]


@pytest.mark.parametrize("name", STUDIES)
def test_no_sampled_parameter_is_dead(name):
    """Whatever parameter of a trial changes, its network or its training does: the weights, or what they say."""
    spec = studies.load(name)
    spec = replace(spec, epochs=EPOCHS, min_epochs=EPOCHS, factor=3)
    tried, plain = {}, {}
    for configuration, params, distributions in samples(name):
        configuration = replace(configuration, training=replace(configuration.training, epochs=EPOCHS))
        for parameter, value in params.items():
            kind = parameter.split(".", 2)[-1] if parameter.startswith("stages.") else parameter
            if tried.setdefault(kind, 0) >= 2:
                continue
            tried[kind] += 1
            changed = spec.sample(Redrawn(params | {parameter: other_value(distributions[parameter], value)}))
            assert changed != configuration, parameter
            if changed.training != configuration.training or changed.seed != configuration.seed:
                key = json.dumps(configuration.to_dict())
                plain[key] = plain.get(key) or result(configuration.training, configuration.seed)
                assert not same(result(changed.training, changed.seed), plain[key]), (parameter, value, params)
            elif shapes(changed.architecture) == shapes(configuration.architecture):
                differ = not torch.equal(outputs(changed.architecture), outputs(configuration.architecture))
                assert differ, (parameter, value, params)
    assert tried


def test_the_study_of_training_varies_everything_that_a_training_has():
    """Every field of a training takes more than one value, but the budget, the clipping, the pruning and, the classes
    being of equal size, their balance."""
    drawn = [configuration.training.to_dict() for configuration, _, _ in samples("training")]
    fixed = {key for key in drawn[0] if len({json.dumps(d[key]) for d in drawn}) == 1}
    assert fixed == {"epochs", "clip_norm", "sparsity", "rewind", "balance"}
    augmentations = [d["augmentation"] for d in drawn]
    assert not {key for key in augmentations[0] if len({a[key] for a in augmentations}) == 1}


def test_only_what_has_an_effect_is_asked_for():
    for configuration, params, _ in samples("training"):
        training = configuration.training
        for optimiser, prefix in (("adamw", ""), ("sgd", "sgd."), ("lion", "lion.")):
            for rate in ("learning_rate", "weight_decay"):
                assert (f"{prefix}{rate}" in params) == (training.optimiser == optimiser)
        assert ("sgd.momentum" in params) == (training.optimiser == "sgd")
        assert ("augment.d4" in params) == (training.augmentation.rotation < 180)
        assert ("augment.flip" in params) == (not training.augmentation.d4)
    for configuration, params, _ in samples("mlp"):
        assert ("rewind" in params) == (configuration.training.sparsity > 0)


def test_a_training_space_of_single_values_asks_nothing():
    assert isinstance(PLAIN.sample(None, 12), TrainConfig)
    assert (
        TrainSpace(learning_rate=(1e-3, 1e-3, 1e-2)).sample(Redrawn({"learning_rate": 1e-2}), 5).learning_rate == 1e-2
    )
