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
    for architecture, params in samples():
        with torch.device("meta"):
            model = build_model(architecture, in_chans=1, image_size=image_size, num_outputs=3)
            out = model(torch.empty(2, 1, image_size, image_size))
        assert out.shape == (2, 3), params


@pytest.mark.parametrize("image_size", [64, 150])
def test_a_training_step_reaches_every_parameter(image_size):
    torch.manual_seed(0)
    for architecture, params in samples()[:12]:
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
    assert {a.position for a in drawn} == set(space.position)
    assert {a.head for a in drawn} == set(space.head)
    assert {len(a.stages) for a in drawn} == {1, 2, 3, 4}
    assert any(stage.downsample for a in drawn for stage in a.stages)


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
    ],
)
def test_a_space_over_what_does_not_exist_is_refused(bounds, message):
    with pytest.raises(ValueError, match=message):
        HybridSpace(**bounds)


def test_a_range_upside_down_is_refused():
    with pytest.raises(ValueError, match="low=4"):
        Range(4, 1)
