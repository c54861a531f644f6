"""Every study by samples: what it asks for can be built and trained, is recorded, and is worth asking for."""

import functools
import json
import re
import warnings
from dataclasses import fields, replace

import optuna
import pytest
import torch
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution
from test_space import Redrawn, other_value, outputs, shapes
from torch import nn

import studies
from nas import samplers
from nas.errors import UserError
from nas.searching.drafts import Draft, value_at
from nas.searching.settings import apply, parse
from search_space import ArchitectureError, BackboneSpace, Hybrid, HybridSpace, Range, ToySpace, build_model, cost
from studies import Configuration, StudyError, StudySpec, TrainSpace, hybrid, training
from studies.spec import rungs
from studies.train_space import PLAIN_TRAINING, STRENGTHS
from trainers import tasks
from trainers.config import TrainConfig
from trainers.data import Dataset, Folder, Simulated, Split
from trainers.fit import fit

optuna.logging.set_verbosity(optuna.logging.ERROR)
STUDIES = studies.known()
GRIDS = [name for name in STUDIES if studies.load(name).sampler == "grid"]
SAMPLES = 100
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


def expense(architecture):
    """About in proportion to the time that a designed network takes; 0 for any other."""
    if not isinstance(architecture, Hybrid):
        return 0
    return sum(stage.depth * stage.width**2 for stage in architecture.stages) / architecture.patch**2


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


@pytest.mark.parametrize("count", [2, pytest.param(6, marks=pytest.mark.slow)])
@pytest.mark.parametrize("name", STUDIES)
def test_samples_train_a_step(name, count):
    """A whole `fit` of the fewest epochs, of the cheaper networks and the samples' own trainings."""
    data = dataset(8, 64)
    trained, spec = 0, studies.load(name)
    for configuration, _, _ in samples(name):
        if getattr(configuration.architecture, "pretrained", False):  # its weights are not to be had without a network
            continue
        found = cost(configuration.architecture, **SHAPE)
        if found.parameters > 3e7 or found.macs > 3e8:
            continue
        torch.manual_seed(0)
        model = build_model(configuration.architecture, **SHAPE)
        sparse = configuration.training.sparsity > 0
        training = replace(configuration.training, epochs=1 + sparse, warmup_epochs=0.0)
        before = [p.detach().clone() for p in model.parameters()]
        *_, epoch = fit(model, data.train, tasks.create(spec.task, data), training, seed=0, val=data.val)
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


@pytest.mark.parametrize("name", ["hybrid", "hybrid_base", "hybrid_large", "position", "anisotropic"])
@pytest.mark.parametrize(("side", "channels"), [(32, 1), (45, 5), (90, 3), (150, 1), (181, 3)])
def test_what_a_study_names_lies_within_its_limits_at_every_size_of_images(name, side, channels):
    """Patches are powers of two: at 45 and 90 pixels a grid has most tokens above what its name says."""
    spec = studies.load(name)
    for given in spec.first or ({},):
        study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
        study.enqueue_trial(dict(given))
        trial = study.ask()
        found = cost(spec.sample(trial, side).architecture, in_chans=channels, image_size=side, num_outputs=3)
        assert found.macs <= spec.max_macs


@pytest.mark.parametrize("name", GRIDS)
def test_a_grid_has_as_many_trials_as_cells_and_compares_them_in_full(name):
    spec = studies.load(name)
    assert spec.scheduler == "full"
    assert rungs(spec.min_epochs, spec.epochs, spec.factor) == (spec.epochs,)
    grid = samplers.create("grid", 0)
    cells = []
    while (cell := grid.propose([], spec.sample, (spec.epochs,), 1.0)) is not None:
        cells.append(json.dumps(spec.sample(optuna.trial.FixedTrial(cell)).to_dict(), sort_keys=True))
    assert len(cells) == spec.trials
    assert len(set(cells)) == spec.trials


def result(training, seed=0):
    """All that a training comes to: the weights it leaves and what it says of the validation images."""
    data = dataset(144, 16)
    torch.manual_seed(0)
    layers = [nn.Conv2d(1, 4, 3), nn.GELU(), nn.Conv2d(4, 4, 3), nn.GELU(), nn.AdaptiveAvgPool2d(4), nn.Flatten()]
    model = nn.Sequential(*layers, nn.Linear(64, 2))
    *_, last = fit(model, data.train, tasks.create("substructure", data), training, seed=seed, val=data.val)
    return torch.cat([p.detach().flatten() for p in model.parameters()]), last.metrics["loss"]


def same(first, second):
    return torch.equal(first[0], second[0]) and first[1] == second[1]


@pytest.mark.parametrize("name", [name for name in STUDIES if name != "pretrained"])  # weights need a network
def test_no_sampled_parameter_is_dead(name):
    """Whatever parameter of a trial changes, its network or its training does: the weights, or what they say."""
    spec = studies.load(name)
    spec = replace(spec, epochs=EPOCHS, min_epochs=EPOCHS, factor=3)
    tried, plain = set(), {}
    for configuration, params, distributions in sorted(samples(name), key=lambda s: expense(s[0].architecture)):
        configuration = replace(configuration, training=replace(configuration.training, epochs=EPOCHS))
        for parameter, value in params.items():
            kind = parameter.split(".", 2)[-1] if parameter.startswith("stages.") else parameter
            if kind in tried:
                continue
            tried.add(kind)
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
    assert isinstance(PLAIN_TRAINING.sample(None, 12), TrainConfig)
    fixed = replace(PLAIN_TRAINING, learning_rate=Range(1e-3, 1e-3), batch_size=Range(48, 48))
    assert fixed.sample(None, 12) == replace(PLAIN_TRAINING.sample(None, 12), learning_rate=1e-3, batch_size=48)


def test_a_tuple_of_two_is_two_choices_and_a_range_is_a_range_for_every_parameter_of_a_training():
    """Numbers that were once a range by their name alone: strengths, rates, decays."""
    trial = optuna.create_study().ask()
    bounds = {"learning_rate": (1e-4, 1e-2), "shift": (0.0, 0.1), "batch_size": Range(16, 64, 16), "ema": Range(0.0, 2)}
    TrainSpace(weight_decay=Range(0.0, 0.1), **bounds).sample(trial, 12)
    assert trial.distributions["learning_rate"] == CategoricalDistribution((1e-4, 1e-2))
    assert trial.distributions["augment.shift"] == CategoricalDistribution((0.0, 0.1))
    assert trial.distributions["batch_size"] == IntDistribution(16, 64, step=16)
    assert trial.distributions["ema"] == FloatDistribution(0.0, 2)
    assert trial.distributions["weight_decay"] == FloatDistribution(0.0, 0.1)  # not the logarithm of the default


def test_an_unknown_optimiser_and_what_is_no_bound_are_refused():
    with pytest.raises(StudyError, match="unknown optimiser 'adam', expected one of: adamw, sgd, lion"):
        TrainSpace(optimiser=("adamw", "adam"))
    with pytest.raises(ArchitectureError, match=r"learning_rate=0.001 is neither .*; to fix it: \(0.001,\)"):
        TrainSpace(learning_rate=1e-3)


@pytest.mark.parametrize(("given", "expected"), [(None, 32), (128, 128)])
def test_a_study_samples_for_the_size_of_its_images(given, expected):
    spec = replace(hybrid.STUDY, data=Simulated(image_size=32))
    for _, params, _ in samples("hybrid")[:100]:
        architecture = spec.sample(Redrawn(params), given).architecture
        assert architecture == spec.space.sample(Redrawn(params), expected)
        halvings = sum(stage.downsample for stage in architecture.stages)
        assert architecture.patch * 2**halvings * 4 <= expected
    assert any(spec.sample(Redrawn(p), 128) != spec.sample(Redrawn(p), 32) for _, p, _ in samples("hybrid"))


def test_images_whose_source_names_no_size_are_taken_for_64_pixels():
    spec = replace(hybrid.STUDY, data=Folder("images"))
    for configuration, params, _ in samples("hybrid")[:50]:
        assert spec.sample(optuna.trial.FixedTrial(params)) == configuration


@pytest.mark.parametrize("name", STUDIES)
def test_a_studys_first_trials_get_what_they_are_given(name):
    spec = studies.load(name)
    for given in spec.first:
        trial = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
        trial.enqueue_trial(dict(given))
        trial = trial.ask()
        spec.sample(trial)
        assert trial.params.items() >= given.items()


RARE = {"stages.3.anisotropic.stripe": 2}  # asked for in one of a hundred architectures


@pytest.mark.parametrize(
    "first",
    [
        {},
        {"stages.1.width": 64},
        RARE,
        {"learning_rate": 1e-2, "batch_size": 128, "augment.rotation": 0, "mlp_ratio.typo": 1},
        {"depth": 2},
        {"learning_rte": 1e-3},
        {"learning_rate": 0.5},
        {"learning_rate": "fast"},
        {"learning_rate": float("nan")},
        {"batch_size": 48},
        {"stages": 2.5},
        {"stages.0.width": 40},
        {"stem": "lens"},
        {"stages": 1, "stages.1.mixer": "conv"},
        {"stages": 2, "stages.1.mixer": "conv", "stages.1.attention.heads": 4},
    ],
    ids=str,
)
def test_a_first_trial_is_refused_just_if_no_trial_can_have_it(first):
    """By Optuna's own word: some trial with these parameters holds every one of them, within its bounds."""
    spec = replace(hybrid.STUDY, first=())
    held = set()
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=5))
    for _ in range(1000 if first == RARE else 60):
        study.enqueue_trial(first)
        trial = study.ask()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of values out of range, which are taken all the same
            try:
                spec.sample(trial)
            except (ValueError, TypeError):
                continue
        bounds = trial.distributions
        held |= {n for n in first if n in bounds and bounds[n]._contains(bounds[n].to_internal_repr(first[n]))}
    if held == set(first):
        assert replace(spec, first=(first,)).first == (first,)
    else:
        with pytest.raises(StudyError, match=r"first\[0\]"):
            replace(spec, first=(first,))


@pytest.mark.parametrize(
    ("first", "says"),
    [
        (
            {"learning_rte": 1e-3},
            "first[1] gives 'learning_rte', which the study never asks for; the nearest name is 'l",
        ),
        ({"learning_rate": 0.5}, "first[1] has learning_rate = 0.5; expected a number from 0.0005 to 0.01"),
        ({"batch_size": 48}, "first[1] has batch_size = 48; expected one of: 32, 64"),
        (
            {"stages.0.width": 40},
            "first[1] has stages.0.width = 40; expected a whole number from 16 to 128 in steps of 16",
        ),
        ({"stages.1.downsample": 1}, "first[1] has stages.1.downsample = 1; expected one of: False, True"),
        ({"stages": True}, "first[1] has stages = True; expected a whole number from 1 to 4"),
        ([("batch_size", 32)], "first[1] is [('batch_size', 32)]; expected parameters by name"),
    ],
    ids=str,
)
def test_a_wrong_first_trial_is_refused_with_the_name_and_what_was_expected(first, says):
    with pytest.raises(StudyError, match=re.escape(says)):
        replace(hybrid.STUDY, first=({"batch_size": 32}, first))


def test_the_first_trials_of_another_space_are_refused_and_none_are_fine():
    with pytest.raises(
        StudyError, match=r"first\[0\] gives .* another space needs a `first` of its own, or first=\(\)"
    ):
        replace(hybrid.STUDY, space=ToySpace())
    assert replace(hybrid.STUDY, space=ToySpace(), first=()).space == ToySpace()


@pytest.mark.parametrize(
    "change",
    [{"task": "mass_fraction"}, {"data": Simulated(image_size=16)}, {"data": Folder("images", image_size=150)}],
    ids=str,
)
def test_a_first_trial_may_name_what_the_task_or_the_images_leave_no_choice_of(change):
    for spec in (hybrid.STUDY, training.STUDY):
        assert replace(spec, **change).first == spec.first
        with pytest.raises(StudyError, match="lable_smoothing"):
            replace(spec, **change, first=({"lable_smoothing": 0.0},))


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"name": 3}, "name is 3; expected text"),
        ({"question": None}, "question is None; expected text"),
        ({"trials": 0}, "trials is 0; expected a whole number from 1"),
        ({"trials": 10.0}, "trials is 10.0; expected"),
        ({"epochs": "12"}, "epochs is '12'; expected"),
        ({"min_epochs": True}, "min_epochs is True; expected"),
        ({"min_epochs": 13}, "min_epochs is 13; expected at most the budget of 12 epochs"),
        ({"factor": 1}, "factor is 1; expected a whole number from 2"),
        ({"seeds": 2.0}, "seeds is 2.0; expected"),
        ({"seed": -1}, "seed is -1; expected a whole number from 0"),
        ({"max_macs": 1e8}, "max_macs is 100000000.0; expected"),
        ({"space": HybridSpace}, "space is .*; expected a HybridSpace, BackboneSpace or ToySpace"),
        ({"space": ("mlp",)}, "space is .*; expected"),
        ({"training": TrainConfig()}, "training is TrainConfig.*; expected a TrainSpace"),
        ({"data": "images"}, "data is 'images'; expected a source"),
        ({"direction": "up"}, "direction is 'up'; expected 'maximize' or 'minimize'"),
        ({"first": {"stages": 1}}, "first is .*; expected a tuple"),
        (
            {"training": TrainSpace(warmup_epochs=Range(0.5, 4.0))},
            "must lie above the warm-up, which ends after epoch 4",
        ),
    ],
    ids=str,
)
def test_a_field_of_the_wrong_kind_is_refused_in_one_line(change, says):
    with pytest.raises(StudyError, match=says) as caught:
        StudySpec(**({"name": "mine", "question": "?"} | change))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "training",
    [{"sparsity": Range(0.0, 0.9), "rewind": (0, 7)}, {"sparsity": (0.0, 1.0)}],
    ids=("late", "all"),
)
def test_a_pruning_that_some_trial_could_not_do_is_refused_before_any(training):
    with pytest.raises(ValueError, match=r"rewind 7|sparsity is 1\.0"):
        StudySpec("mine", "?", training=TrainSpace(**training))


@pytest.mark.parametrize(
    "space", [HybridSpace(head=("class_token",), mixers=("conv",)), HybridSpace(patch=(32,))], ids=str
)
def test_a_space_without_a_sample_is_refused_when_the_study_is_made(space):
    with pytest.raises(ArchitectureError, match=r"head can only be|no patch of"):
        StudySpec("mine", "?", space=space)


@pytest.mark.parametrize("space", [HybridSpace(), BackboneSpace(), ToySpace()], ids=lambda s: type(s).__name__)
def test_what_identifies_a_study_is_plain_json_and_holds_all_but_its_length_and_start(space):
    spec = StudySpec("mine", "?", space=space, first=({"batch_size": 32},))
    record = spec.to_dict()
    assert set(record) == {f.name for f in fields(spec)} - {
        "trials",
        "question",
        "first",
        "finals",
        "folds",
        "baselines",
    }
    assert json.loads(json.dumps(record))["training"]["momentum"] == {
        "low": 0.8,
        "high": 0.99,
        "step": None,
        "log": False,
    }
    assert replace(spec, trials=3, question="!", first=()).to_dict() == record
    assert replace(spec, training=replace(spec.training, shift=Range(0.0, 0.2))).to_dict() != record


@pytest.mark.parametrize(
    ("budget", "expected"), [((4, 12, 3), (4, 12)), ((1, 12, 3), (1, 4, 12)), ((12, 12, 3), (12,)), ((5, 12, 3), (12,))]
)
def test_rungs_are_fractions_of_the_budget_down_to_the_lowest(budget, expected):
    assert rungs(*budget) == expected


def test_settings_replace_bounds_and_budgets_by_name():
    text = [
        "space.width=32..96:32",
        "space.mixers=conv,window",
        "training.learning_rate=1e-4..1e-2:log",
        "min_epochs=2",
    ]
    spec = apply(studies.load("hybrid"), dict(parse(t) for t in text))
    assert spec.space.width == Range(32, 96, 32)
    assert spec.space.mixers == ("conv", "window")
    assert spec.training.learning_rate == Range(1e-4, 1e-2, log=True)
    assert spec.min_epochs == 2
    before, after = studies.load("hybrid"), apply(studies.load("hybrid"), {})
    assert before == after


@pytest.mark.parametrize(
    ("mixers", "kept"),
    [
        (("conv",), (0, 1, 2)),
        (("conv", "window"), (0, 1, 2)),
        (("conv", "attention"), (0, 1, 2, 3)),
        (("attention", "mlp"), ()),
    ],
    ids=str,
)
def test_given_networks_stay_what_they_are_when_fewer_mixers_are_searched(mixers, kept):
    """Whether a mixer is still asked for, and by which name, depends on what else could be chosen."""
    spec = studies.load("hybrid")
    narrowed = apply(spec, {"space.mixers": mixers})

    def decoded(study):
        return [study.sample(Draft(lambda _, d: value_at(d, 0.0), given)).architecture for given in study.first]

    assert decoded(narrowed) == [decoded(spec)[k] for k in kept]
    for given in narrowed.first:
        trial = optuna.create_study()
        trial.enqueue_trial(dict(given))
        trial = trial.ask()
        narrowed.sample(trial)
        assert trial.params.items() >= given.items()


def test_given_trials_that_do_not_fit_new_bounds_are_left_out():
    first = studies.load("hybrid").first
    spec = apply(studies.load("hybrid"), {"space.width": (32, 64, 128)})
    widths = [[v for k, v in given.items() if k.endswith("width")] for given in first]
    assert spec.first == tuple(g for g, w in zip(first, widths, strict=True) if min(w) >= 32)
    assert 0 < len(spec.first) < len(first)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("width=64", "expected one of: .*trials"),
        ("space.wdith=64", "expected one of: .*width"),
        ("space.width", "expected NAME=VALUE"),
        ("space.width=a..b", "numbers on both sides"),
        ("min_epochs=2,4", "expected one value"),
        ("min_epochs=soon", "expected a whole number"),
        ("nothing.width=2", "expected space"),
        ("space.mixers=convolution", "convolution"),
    ],
)
def test_a_setting_that_cannot_be_is_refused(text, said):
    with pytest.raises(UserError, match=said):
        apply(studies.load("hybrid"), dict([parse(text)]))


def test_every_network_of_the_hybrid_studies_is_trained_on_turned_and_mirrored_images_and_few_changes_at_once():
    for name in ("hybrid", "hybrid_base", "hybrid_large"):
        counts = []
        for configuration, _, _ in samples(name):
            augmentation = configuration.training.augmentation
            assert augmentation.d4 or (augmentation.rotation == 180 and augmentation.flip)
            counts.append(sum(getattr(augmentation, strength) > 0 for strength in STRENGTHS))
        assert max(counts) == 1
        assert counts.count(0) >= len(counts) / 6


def test_a_number_is_not_measured_on_zoomed_images_whose_lengths_are_others():
    for name in studies.known():
        for task in ("substructure", "einstein_radius"):
            spec = replace(studies.load(name), task=task)
            study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
            drawn = [spec.sample(study.ask()).training.augmentation.zoom for _ in range(30)]
            if task == "einstein_radius":
                assert not any(drawn)
            elif name in ("training", "augmentation"):
                assert any(drawn)
