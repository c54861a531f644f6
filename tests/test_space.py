"""The hybrid space by samples: whatever is asked for builds, runs and counts."""

import functools
import json

import optuna
import pytest
import torch

from search_space import HybridSpace, Range, build_model, from_dict, mixers, to_dict

SAMPLES = 300


@functools.cache
def samples(count=SAMPLES, seed=0):
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=seed))
    drawn = []
    for _ in range(count):
        trial = study.ask()
        drawn.append((HybridSpace().sample(trial), dict(trial.params)))
    return drawn


def test_every_sample_survives_json():
    for architecture, _ in samples():
        assert from_dict(json.loads(json.dumps(to_dict(architecture)))) == architecture


def test_the_stored_parameters_decode_to_the_same_architecture():
    for architecture, params in samples():
        assert HybridSpace().sample(optuna.trial.FixedTrial(params)) == architecture


@pytest.mark.parametrize("image_size", [64, 150])
def test_every_sample_builds_and_runs_on_the_meta_device(image_size):
    for index, (architecture, params) in enumerate(samples()):
        with torch.device("meta"):
            model = build_model(architecture, in_chans=1, image_size=image_size, num_outputs=3)
            if index % 4 == 0:  # running is slower than building on this device
                out = model(torch.empty(2, 1, image_size, image_size))
                assert out.shape == (2, 3), params


@pytest.mark.parametrize("count", [12, pytest.param(SAMPLES, marks=pytest.mark.slow)])
@pytest.mark.parametrize("image_size", [64, 150])
def test_a_training_step_reaches_every_parameter(image_size, count):
    torch.manual_seed(0)
    for architecture, params in samples()[:count]:
        model = build_model(architecture, in_chans=1, image_size=image_size, num_outputs=3)
        optimiser = torch.optim.SGD(model.parameters(), lr=0.1)
        torch.nn.functional.cross_entropy(
            model(torch.randn(2, 1, image_size, image_size)), torch.tensor([0, 2])
        ).backward()
        missing = [name for name, parameter in model.named_parameters() if parameter.grad is None]
        assert not missing, (missing, params)
        optimiser.step()
        assert all(parameter.isfinite().all() for parameter in model.parameters()), params


def test_every_mixer_position_and_head_comes_up():
    drawn = [architecture for architecture, _ in samples()]
    space = HybridSpace()
    assert {stage.mixer for a in drawn for stage in a.stages} == set(mixers.known())
    for name in mixers.known():
        found = {o.get("variant") for a in drawn for stage in a.stages for m, o in stage.blocks() if m == name}
        assert found >= set(mixers.variants(name)), name
    assert any(stage.first for a in drawn for stage in a.stages)
    for name in ("position", "position_place", "position_shared", "norm", "layer_scale", "head", "stem"):
        assert {getattr(a, name) for a in drawn} == set(getattr(space, name)), name
    assert {len(a.stages) for a in drawn} == {1, 2, 3, 4}
    assert any(stage.downsample for a in drawn for stage in a.stages)


class Redrawn:
    """Decodes given parameters; those that they do not hold, as another branch was taken, get their first choice."""

    def __init__(self, params):
        self.params = params

    def suggest_categorical(self, name, choices):
        return self.params.get(name, choices[0])

    def suggest_int(self, name, low, high, *, step=1, log=False):
        return self.params.get(name, low)

    def suggest_float(self, name, low, high, *, step=None, log=False):
        return self.params.get(name, low)


def other_value(distribution, value):
    if isinstance(distribution, optuna.distributions.CategoricalDistribution):
        return next(choice for choice in distribution.choices if choice != value)
    step = distribution.step or (distribution.high - distribution.low) / 3
    return value + step if value + step <= distribution.high else value - step


def shapes(architecture):
    with torch.device("meta"):
        model = build_model(architecture, in_chans=1, image_size=64, num_outputs=2)
    return [(name, parameter.shape) for name, parameter in model.named_parameters()]


def outputs(architecture):
    """In training mode, from weights that depend on names and shapes only, and with one draw of dropped paths."""
    torch.manual_seed(0)
    model = build_model(architecture, in_chans=1, image_size=64, num_outputs=2)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    torch.manual_seed(1)
    images = torch.randn(8, 1, 64, 64)
    return model(images)


def test_no_sampled_parameter_is_dead():
    """Whatever parameter of a trial changes, the network's parameters or its outputs do."""
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=1))
    space, seen = HybridSpace(), {}
    for _ in range(80):
        trial = study.ask()
        architecture = space.sample(trial)
        for name, value in trial.params.items():
            kind = (
                name.split(".", 2)[-1] if name.startswith("stages.") else name,
                None if name == "drop_path" else value,
            )
            if seen.setdefault(kind, 0) >= 2:
                continue
            seen[kind] += 1
            changed = space.sample(Redrawn(trial.params | {name: other_value(trial.distributions[name], value)}))
            assert changed != architecture, name
            if shapes(changed) == shapes(architecture):
                assert not torch.equal(outputs(changed), outputs(architecture)), (name, value, trial.params)
    assert len({name for name, _ in seen}) > 20


def test_options_can_be_bounded_per_mixer():
    space = HybridSpace(mixers=("window",), options={"window": {"size": (6,), "heads": (2, 4)}})
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    for _ in range(20):
        trial = study.ask()
        for stage in space.sample(trial).stages:
            assert stage.options["size"] == 6
            assert stage.options["heads"] in (2, 4)
        assert not any(name.endswith((".size", ".mixer")) for name in trial.params)


@pytest.mark.parametrize(
    ("bounds", "message"),
    [
        ({"mixers": ("conv", "lens")}, "lens"),
        ({"options": {"conv": {"heads": (1,)}}}, "heads"),
        ({"options": {"lens": {}}}, "lens"),
        ({"width": Range(20, 40, 20)}, "width 20"),
        ({"options": {"window": {"heads": (3,)}}}, "3 heads of 'window'"),
    ],
)
def test_a_space_over_what_does_not_exist_is_refused(bounds, message):
    with pytest.raises(ValueError, match=message):
        HybridSpace(**bounds)


def test_a_range_upside_down_is_refused():
    with pytest.raises(ValueError, match="low=4"):
        Range(4, 1)
