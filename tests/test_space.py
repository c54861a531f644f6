"""The hybrid space by samples: whatever is asked for builds, runs and counts."""

import functools
import json
import math

import optuna
import pytest
import torch

from search_space import ArchitectureError, HybridSpace, Range, build_model, cost, from_dict, mixers, to_dict
from search_space.bounds import pick, values

SAMPLES = 300
SPACE = HybridSpace(mixers=mixers.known())


@functools.cache
def samples(count=SAMPLES, seed=0):
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=seed))
    drawn = []
    for _ in range(count):
        trial = study.ask()
        drawn.append((SPACE.sample(trial), dict(trial.params)))
    return drawn


def test_every_sample_survives_json():
    for architecture, _ in samples():
        assert from_dict(json.loads(json.dumps(to_dict(architecture)))) == architecture


def test_the_stored_parameters_decode_to_the_same_architecture():
    for architecture, params in samples():
        assert SPACE.sample(optuna.trial.FixedTrial(params)) == architecture


@pytest.mark.parametrize("image_size", [64, 150])
def test_every_sample_builds_and_runs_on_the_meta_device(image_size):
    for index, (architecture, params) in enumerate(samples()[:60]):
        with torch.device("meta"):
            model = build_model(architecture, in_chans=1, image_size=image_size, num_outputs=3)
            if index % 4 == 0:  # running is slower than building on this device
                out = model(torch.empty(2, 1, image_size, image_size))
                assert out.shape == (2, 3), params


@pytest.mark.parametrize("count", [12, pytest.param(100, marks=pytest.mark.slow)])
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
    assert {stage.mixer for a in drawn for stage in a.stages} == set(mixers.known())
    for name in mixers.known():
        found = {o.get("variant") for a in drawn for stage in a.stages for m, o in stage.blocks() if m == name}
        assert found >= set(mixers.variants(name)), name
    assert any(stage.first for a in drawn for stage in a.stages)
    for name in ("position", "position_place", "position_shared", "norm", "layer_scale", "head", "stem"):
        assert {getattr(a, name) for a in drawn} == set(getattr(SPACE, name)), name
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


def shapes(architecture, image_size=64):
    with torch.device("meta"):
        model = build_model(architecture, in_chans=1, image_size=image_size, num_outputs=2)
    return [(name, parameter.shape) for name, parameter in model.named_parameters()]


def outputs(architecture, image_size=64):
    """In training mode, from weights that depend on names and shapes only, and with one draw of dropped paths."""
    torch.manual_seed(0)
    model = build_model(architecture, in_chans=1, image_size=image_size, num_outputs=2)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
        torch.manual_seed(1)
        return model(torch.randn(8, 1, image_size, image_size))


@pytest.mark.parametrize(
    "image_size", [64, *(pytest.param(size, marks=pytest.mark.slow) for size in (16, 32, 128, 150))]
)
def test_no_sampled_parameter_is_dead(image_size):
    """Whatever parameter of a trial changes, the network's parameters or its outputs do."""
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=1))
    space, seen = SPACE, set()
    for _ in range(80):
        trial = study.ask()
        architecture = space.sample(trial, image_size)
        for name, value in trial.params.items():
            kind = (
                name.split(".", 2)[-1] if name.startswith("stages.") else name,
                None if name == "drop_path" else value,
            )
            if kind in seen:
                continue
            seen.add(kind)
            given = trial.params | {name: other_value(trial.distributions[name], value)}
            changed = space.sample(Redrawn(given), image_size)
            assert changed != architecture, name
            if shapes(changed, image_size) == shapes(architecture, image_size):
                before, after = outputs(architecture, image_size), outputs(changed, image_size)
                assert not torch.equal(before, after), (name, value, trial.params)
    assert len({name for name, _ in seen}) > 20


SIZES = (16, 32, 64, 128, 150)
FINE = HybridSpace(  # more choices than any one grid takes
    patch=(1, 2, 3, 4, 6, 8, 12, 16),
    options={"window": {"size": (2, 3, 4, 6, 8, 16)}, "anisotropic": {"stripe": Range(1, 9)}},
)


@functools.cache
def samples_at(image_size, space=None):
    """400 random hybrids for images of this size: with the distributions of their parameters."""
    space = FINE if space == "fine" else HybridSpace()
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=image_size))
    trials = [study.ask() for _ in range(400)]
    return [(space.sample(trial, image_size), dict(trial.distributions)) for trial in trials]


def sides(architecture, image_size):
    """Tokens a side of each stage."""
    side = math.ceil(image_size / architecture.patch)
    for stage in architecture.stages:
        side = math.ceil(side / 2) if stage.downsample else side
        yield side


@pytest.mark.parametrize("space", ["default", "fine"])
@pytest.mark.parametrize("image_size", SIZES)
def test_no_grid_falls_below_the_smallest_and_no_window_exceeds_its_grid(image_size, space):
    for architecture, _ in samples_at(image_size, space):
        for side, stage in zip(sides(architecture, image_size), architecture.stages, strict=True):
            assert side >= 4, architecture
            for _, options in stage.blocks():
                assert max(options.get("size", 1), options.get("stripe", 1)) <= side, architecture


@pytest.mark.parametrize("space", ["default", "fine"])
@pytest.mark.parametrize("image_size", SIZES)
def test_hybrids_for_any_image_size_build(image_size, space):
    for architecture, _ in samples_at(image_size, space)[:8]:
        assert cost(architecture, in_chans=1, image_size=image_size, num_outputs=3).macs > 0


@pytest.mark.parametrize("space", ["default", "fine"])
@pytest.mark.parametrize("image_size", SIZES)
def test_a_parameter_has_one_distribution_in_all_trials_of_one_image_size(image_size, space):
    """As Optuna demands of choices; and a surrogate reads a parameter's place from its bounds."""
    seen = {}
    for _, distributions in samples_at(image_size, space):
        for name, distribution in distributions.items():
            assert seen.setdefault(name, distribution) == distribution, name


def test_what_fits_the_images_is_offered():
    """Every halving, patch and window that leaves 4 tokens a side, counted from the definition."""
    for image_size, halvings in ((16, 0), (32, 1), (64, 2), (128, 3), (150, 3)):
        drawn = [architecture for architecture, _ in samples_at(image_size)]
        assert max(sum(stage.downsample for stage in a.stages) for a in drawn) == halvings
        assert {a.patch for a in drawn} == ({4} if image_size == 16 else {4, 8})
        windows = {o["size"] for a in drawn for s in a.stages for name, o in s.blocks() if name == "window"}
        assert windows == ({4} if image_size == 16 else {4, 8})
    fine = [architecture for architecture, _ in samples_at(32, "fine")]
    assert {a.patch for a in fine} == {1, 2, 3, 4, 6, 8}


def test_images_too_small_for_every_patch_are_refused_with_what_to_do():
    with pytest.raises(
        ArchitectureError, match=r"no patch of \(4, 8\) pixels leaves 4 tokens .* of 12 pixels: add a sma"
    ):
        HybridSpace().sample(Redrawn({}), 12)
    assert HybridSpace(smallest_grid=3).sample(Redrawn({}), 12).patch == 4
    assert HybridSpace(patch=(2, 4)).sample(Redrawn({}), 12).patch == 2


def test_a_patch_that_no_convolutional_stem_reaches_has_one_of_patches():
    stems = {(a.stem, a.patch in (3, 6, 12)) for a, _ in samples_at(64, "fine")}
    assert stems == {("conv", False), ("patch", False), ("patch", True)}


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
        ({"options": {"window": {"heads": 4}}}, r"options\['window'\]\['heads'\]=4 is neither"),
        ({"mixers": "conv"}, r"mixers='conv': expected a tuple of names; to fix it: \('conv',\)"),
        ({"depth": 2}, "depth=2 is neither a Range nor a tuple"),
        ({"width": ()}, "width: no choice"),
        (
            {"width": (24,), "mixers": ("anisotropic",), "options": {"anisotropic": {"variant": ("cross",)}}},
            "width 24 cannot be split into 8 heads of 'anisotropic' in each of 2 directions",
        ),
        ({"width": Range(16, 64, 16)}, "width 16 and 8 heads of 'attention' with position 'rotary': expected a multi"),
        ({"patch": (4, 6), "stem": ("conv",)}, "patch"),
        ({"grid": (2, 8)}, "grid=2 is below smallest_grid=4"),
    ],
)
def test_a_space_over_what_does_not_exist_is_refused(bounds, message):
    with pytest.raises(ArchitectureError, match=message):
        HybridSpace(**bounds)


@pytest.mark.parametrize(
    "bounds", [{"step": 1, "log": True}, {"low": 0, "log": True}, {"low": -1.0, "log": True}], ids=str
)
def test_a_logarithmic_range_without_a_logarithm_or_with_steps_is_refused(bounds):
    with pytest.raises(ArchitectureError, match="log=True"):
        Range(**{"low": 1, "high": 4, **bounds})


@pytest.mark.parametrize(
    ("bound", "expected"),
    [
        (Range(1, 4, 0.5), [1, 1.5, 2, 2.5, 3, 3.5, 4]),
        (Range(1, 4, 1.5), [1, 2.5, 4]),
        (Range(1, 3), [1, 2, 3]),
        (Range(2, 6, 2), [2, 4, 6]),
        (Range(1, 3, 1.0), [1, 2, 3]),
    ],
)
def test_a_range_gives_every_value_of_its_steps_and_no_other(bound, expected):
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    assert list(values(bound)) == expected
    assert {pick(study.ask(), "x", bound) for _ in range(100)} == set(expected)


@pytest.mark.parametrize("variant", ["separable", "convnext", "mbconv", "gated"])
def test_no_kernel_reaches_where_its_grid_never_is(variant):
    """On 4 x 4 tokens the outer ring of a 9 x 9 filter meets zeros alone, so that it and 7 x 7 are one network."""
    for side, largest in ((4, 7), (5, 9), (8, 9)):
        study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
        drawn = {
            mixers.sample("conv", study.ask(), "s", side, {"variant": (variant,)}).get("kernel") for _ in range(60)
        }
        if drawn != {None}:
            assert max(drawn) == largest


def test_a_grid_is_met_as_nearly_as_powers_of_two_allow():
    space = HybridSpace(grid=(16,), stem=("conv",))
    for image_size in (24, 32, 41, 45, 63, 64, 90, 91, 127, 150):
        patch = space.sample(Redrawn({}), image_size).patch
        assert patch & (patch - 1) == 0
        assert abs(math.log2(image_size / patch / 16)) <= 0.5 + 1e-9


def test_a_grid_is_never_smaller_than_the_smallest():
    for image_size in (24, 46, 47, 48, 92, 95):
        patch = HybridSpace(grid=(4,), smallest_grid=4).sample(Redrawn({}), image_size).patch
        assert -(-image_size // patch) >= 4


def test_a_range_upside_down_is_refused():
    with pytest.raises(ArchitectureError, match="low=4"):
        Range(4, 1)
