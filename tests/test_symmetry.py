"""Symmetric networks: their outputs are the same for the turned and mirrored image, and for no other reason."""

from dataclasses import replace

import numpy as np
import optuna
import pytest
import torch

from nas.searching.drafts import cells, draft
from search_space import (
    ArchitectureError,
    Hybrid,
    HybridSpace,
    Range,
    Stage,
    build_model,
    cost,
    from_dict,
    mixers,
    to_dict,
)
from search_space.architecture import ORDER
from search_space.bounds import pick_allowed
from search_space.space import layout
from search_space.symmetry import Group, TiedConv2d
from trainers.evaluate import turned
from trainers.optimise import parameter_groups

ALL = [(name, variant) for name in mixers.known() for variant in mixers.variants(name) or (None,)]
ABLE = [pair for pair in ALL if mixers.trait(pair[0], {"variant": pair[1]} if pair[1] else {}, "equivariant")]
IMAGE = {"in_chans": 2, "num_outputs": 3}


def stage(name, variant, width=32, **more):
    heads = {"heads": 2} if "heads" in mixers.bound_names(name) else {}
    return Stage(name, 1, width, 2.0, options={**({"variant": variant} if variant else {}), **heads}, **more)


def trained(architecture, image_size):
    """A network in which no parameter or statistic has a special value, in evaluation."""
    torch.manual_seed(0)
    model = build_model(architecture, image_size=image_size, **IMAGE)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    model(torch.randn(8, 2, image_size, image_size))  # the running statistics of batch norms
    return model.double().eval()


def change(model, image_size, symmetry):
    """By how much the outputs move with the image, as a share of how much they differ between images."""
    image = torch.randn(8, 2, image_size, image_size, generator=torch.Generator().manual_seed(1)).double()
    with torch.no_grad():
        out = model(image)
        return ((model(turned(image, symmetry)) - out).abs().max() / out.std(0).mean()).item()


@pytest.mark.parametrize("image_size", [15, 16])
@pytest.mark.parametrize(("name", "variant"), ABLE)
def test_every_mixer_leaves_the_outputs_unchanged_by_the_group_and_only_by_it(name, variant, image_size):
    network = Hybrid((stage(name, variant),), patch=3, norm_layer="batch")
    for group, same in (("none", {0}), ("c4", set(range(4))), ("d4", set(range(8))), ("scrambled", {0})):
        model = trained(replace(network, symmetry=group), image_size)
        for symmetry in range(8):
            moved = change(model, image_size, symmetry)
            assert moved < 1e-5 if symmetry in same else moved > 1e-2, (group, symmetry)


@pytest.mark.parametrize("image_size", [13, 14, 31, 32])
@pytest.mark.parametrize(
    ("stem", "patch"), [("patch", 1), ("patch", 2), ("patch", 3), ("patch", 4), ("conv", 1), ("conv", 2), ("conv", 4)]
)
def test_every_stem_patch_position_and_grid_leaves_the_outputs_unchanged(stem, patch, image_size):
    for norm_layer, position, place in (
        ("batch", "none", "once"), ("layer", "relative", "once"), ("batch", "conditional", "blocks"),
    ):  # fmt: skip
        stages = (stage("conv", "residual", 16), stage("attention", None, 32, downsample=True), stage("conv", None, 40))
        stages = (*stages[:2], replace(stages[2], downsample=True))
        network = Hybrid(
            stages, patch, stem, position, place, norm_layer=norm_layer, layer_scale=0.5, norm="res_post", symmetry="d4"
        )
        model = trained(network, image_size)
        assert max(change(model, image_size, symmetry) for symmetry in range(8)) < 1e-5


def test_a_training_step_reaches_every_parameter_and_keeps_the_symmetry():
    network = Hybrid((stage("conv", "separable"), stage("attention", None)), position="relative", symmetry="d4")
    model = build_model(network, image_size=16, **IMAGE)
    optimiser = torch.optim.SGD(model.parameters(), lr=0.1)
    model(torch.randn(4, 2, 16, 16)).square().sum().backward()
    assert all(parameter.grad.abs().sum() > 0 for parameter in model.parameters())
    optimiser.step()
    assert max(change(model.double().eval(), 16, symmetry) for symmetry in range(8)) < 1e-5


@pytest.mark.parametrize("name", ORDER)
def test_the_filters_are_those_of_the_formula(name):
    g = Group(name)
    probe = torch.arange(25).view(5, 5).numpy()
    w = torch.randn(2, 3, g.order, 5, 5).numpy()
    full = w.reshape(-1)[g.between_fields((2 * g.order, 3 * g.order, 5, 5))].reshape(2, g.order, 3, g.order, 5, 5)
    for a in range(g.order):
        for b in range(g.order):
            quotients = [r for r in range(g.order) if (g.move(g.move(probe, r), a) == g.move(probe, b)).all()]
            assert len(quotients) == 1
            assert (full[:, a, :, b] == g.move(w[:, :, quotients[0]], a)).all()


@pytest.mark.parametrize(
    "options",
    [{"dilation": 2, "padding": 2}, {"padding": "same", "padding_mode": "circular"}, {"stride": 2, "groups": 8}],
)
def test_a_tied_convolution_is_the_one_it_was_made_from_with_the_weights_of_the_formula(options):
    g, x = Group("d4"), torch.randn(2, 16, 9, 9)
    layer = torch.nn.Conv2d(16, 24 if "groups" not in options else 16, 3, **options)
    tied = TiedConv2d(layer, g.from_image(tuple(layer.weight.shape)), g.order)
    weight, bias = tied.full()
    layer.load_state_dict({"weight": weight, "bias": bias})
    torch.testing.assert_close(tied(x), layer(x))
    assert tied.extra_repr() == layer.extra_repr()


def test_a_symmetric_network_costs_what_an_ordinary_one_of_its_width_does_with_fewer_parameters():
    network = Hybrid((stage("conv", "residual", 64), stage("attention", None, 64)), patch=4, norm_layer="batch")
    plain, tied = (cost(replace(network, symmetry=s), image_size=32, **IMAGE) for s in ("none", "d4"))
    assert tied.macs == plain.macs
    assert 7.9 < plain.parameters / tied.parameters < 8  # the outputs have biases of their own
    assert cost(replace(network, symmetry="scrambled"), image_size=32, **IMAGE) == tied
    model = build_model(replace(network, symmetry="d4"), image_size=32, **IMAGE)
    decayed = parameter_groups(model, 0.1)[0]["params"]
    assert sum(p.numel() for p in decayed) > 0.9 * tied.parameters


def test_what_cannot_be_symmetric_is_refused_in_one_line():
    def build(width=32, mlp_ratio=2.0, mixer="attention", options=None, **more):
        stages = (Stage(mixer, 1, width, mlp_ratio, options=options or {}),)
        return build_model(Hybrid(stages, symmetry="d4", **more), image_size=16, **IMAGE)

    for given, named in (
        ({"width": 36}, "width 36"), ({"mlp_ratio": 1.6}, "51 channels"), ({"options": {"heads": 8}}, "of each head"),
        ({"mixer": "window"}, "conv residual, linear_attention"), ({"mixer": "fourier"}, "polar, attention"),
        ({"mixer": "anisotropic"}, "gaussian"), ({"position": "rotary"}, "none, conditional, relative"),
        ({"head": "attention"}, "average"),
    ):  # fmt: skip
        with pytest.raises(ArchitectureError, match=named) as raised:
            build(**given)
        assert "\n" not in str(raised.value)
    with pytest.raises(ArchitectureError, match="window"):
        HybridSpace(mixers=("conv", "window"), symmetry=("d4", "c4"))
    with pytest.raises(ArchitectureError, match="width 20"):
        HybridSpace(mixers=("conv",), width=(20,), symmetry=("d4",))
    with pytest.raises(ArchitectureError, match="width 16 and 4 heads of 'linear_attention' with symmetry='d4'"):
        HybridSpace(
            mixers=("linear_attention",), width=(16, 32), symmetry=("d4",),
            options={"linear_attention": {"heads": (1, 2, 4)}},
        )  # fmt: skip
    HybridSpace(mixers=("attention",), width=(16, 32), symmetry=("d4",), options={"attention": {"heads": (1, 2)}})


SPACE = HybridSpace(
    stages=(1,), mixers=("conv", "attention", "anisotropic", "mlp"), depth=(1, 2), width=(12, 16, 20, 32),
    mlp_ratio=(1.0, 1.5), position=("none",), norm=("pre",), norm_layer=("batch",), layer_scale=(0.0,), patch=(4,),
    stem=("patch",), head=("average",), drop_path=(0.0,),
    options={
        "conv": {"variant": ("separable", "residual", "mbconv")}, "attention": {"heads": (1, 2, 4)},
        "anisotropic": {"variant": ("gaussian", "polar"), "heads": (2, 4)},
        "mlp": {"variant": ("mixer",), "ratio": (1.0,)},
    },
)  # fmt: skip


def networks(space):
    """Every network of a space."""
    return [space.sample(optuna.trial.FixedTrial(cell), 32) for cell in cells(lambda trial: space.sample(trial, 32))]


def builds(network, symmetry):
    try:
        with torch.device("meta"):
            build_model(replace(network, symmetry=symmetry), image_size=32, **IMAGE)
    except ArchitectureError:
        return False
    return True


@pytest.mark.parametrize("group", ["c4", "d4"])
def test_a_space_has_every_network_that_can_have_a_symmetry_and_no_other(group):
    plain = networks(SPACE)
    able = {repr(replace(network, symmetry=group)) for network in plain if builds(network, group)}
    assert 20 < len(able) < len(plain) / 2
    both = networks(replace(SPACE, symmetry=("none", group)))
    assert {repr(network) for network in both if network.symmetry == group} == able
    assert {repr(network) for network in both if network.symmetry == "none"} == {repr(network) for network in plain}


def test_every_symmetry_is_as_probable_in_a_random_network_of_any_mixers():
    """Half of all mixers in four stages leave one in 16 networks that can have one: it is asked for first."""
    space = replace(
        SPACE, symmetry=("none", "c4", "d4"), stages=Range(1, 4), width=Range(8, 96, 4), mlp_ratio=(1.0, 1.25, 2.0),
        position=("none", "fixed_2d", "relative"), head=("average", "attention"), patch=(2, 4),
    )  # fmt: skip
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    drawn = [space.sample(study.ask(), 32) for _ in range(150)]
    assert all(builds(network, network.symmetry) for network in drawn)
    for symmetry in ("none", "c4", "d4"):
        assert 32 < sum(network.symmetry == symmetry for network in drawn) < 68  # three standard deviations
    tied = [stage for network in drawn if network.symmetry != "none" for stage in network.stages]
    assert {stage.mixer for stage in tied} == {"conv", "attention", "anisotropic"}
    assert any(stage.first for stage in tied)


@pytest.mark.parametrize(
    "change",
    [
        {"mixers": ("mlp", "fourier"), "first": ("same",)},
        {"width": (12, 20)},
        {"width": (16,), "mixers": ("attention",), "options": {"attention": {"heads": (4, 8)}}},
        {"mixers": ("attention",), "mlp_ratio": Range(1.0, 2.0)},
        {"mixers": ("attention",), "first": ("mlp",)},  # some stages have two blocks
        {"position": ("fixed_2d",)},
        {"head": ("attention",)},
        {"front_end": ("gradient_sham",)},
    ],
    ids=str,
)
def test_a_symmetry_that_no_network_can_have_is_not_asked_for(change):
    space = replace(SPACE, **{"symmetry": ("none", "d4"), **change})
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    for _ in range(20):
        trial = study.ask()
        assert space.sample(trial, 32).symmetry == "none"
        assert "symmetry" not in trial.params


@pytest.mark.parametrize(
    "change",
    [
        {"mixers": ("attention",), "first": ("same",), "mlp_ratio": Range(1.0, 2.0)},
        {"mixers": ("conv",), "position": ("relative",)},
    ],
    ids=str,
)
def test_a_space_of_symmetric_networks_alone_that_has_none_is_refused_at_once(change):
    options = {"attention": {"heads": (1, 2)}}
    with pytest.raises(ArchitectureError, match="no network of these bounds can have it") as raised:
        replace(SPACE, symmetry=("d4",), width=(16, 32), options=options, **change)
    assert "\n" not in str(raised.value)


def test_one_ratio_given_as_a_range_is_that_ratio():
    one = replace(
        SPACE, mixers=("attention",), first=("same",), width=(16,), mlp_ratio=Range(2.0, 2.0), symmetry=("d4",),
        options={"attention": {"heads": (1, 2)}},
    )  # fmt: skip
    assert {stage.mlp_ratio for network in networks(one) for stage in network.stages} == {2.0}


def test_a_mutation_that_ties_or_unties_a_network_keeps_its_stages():
    space = replace(SPACE, symmetry=("none", "d4"), stages=(2,))
    of = {"depth": 1, "width": 32, "mixer": "attention", "attention.heads": 2, "mlp_ratio": 1.5}
    plain = {"symmetry": "none", **{f"stages.{i}.{name}": value for i in (0, 1) for name, value in of.items()}}
    made = draft(lambda trial: space.sample(trial, 32), np.random.default_rng(0), plain)
    for symmetry in ("d4", "none", "d4"):
        given = {**made.params, "symmetry": symmetry}
        made = draft(lambda trial: space.sample(trial, 32), np.random.default_rng(1), given, made.distributions)
        network = space.sample(optuna.trial.FixedTrial(made.params), 32)
        assert network.symmetry == symmetry
        assert [(s.mixer, s.width, s.mlp_ratio, s.options["heads"]) for s in network.stages] == 2 * [
            ("attention", 32, 1.5, 2)
        ]


def test_values_of_any_number_make_a_short_name_of_their_own():
    names = set()
    for allowed in (range(8, 4000, 8), range(16, 4000, 16), (8, 24, 40), range(7, 3000)):
        trial = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0)).ask()
        assert pick_allowed(trial, "width", tuple(range(1, 4001)), allowed.__contains__) in allowed
        names |= trial.params.keys()
    assert len(names) == 4
    assert max(map(len, names)) < 80
    with pytest.raises(ArchitectureError, match="width can only be"):
        pick_allowed(trial, "width", (1, 2), lambda _: False)


def test_a_layout_is_the_same_with_a_symmetry_or_without():
    tied = {
        "symmetry": "d4",
        "stages.0.mixer.d4": "conv",
        "stages.1.mixer.d4": "attention",
        "stages.1.downsample": True,
    }
    plain = {"symmetry": "none", "stages.0.mixer": "conv", "stages.1.mixer": "attention", "stages.1.downsample": True}
    assert layout(tied) == layout({**plain, "stages.0.width": 32})
    assert layout(tied) != layout({**plain, "stages.1.mixer": "conv"})
    assert layout(tied) != layout({**plain, "stages.1.downsample": False})
    assert layout(plain) == layout({**plain, "stages.0.mixer.kernel": 3, "stages.0.first.conv.variant": "residual"})


def test_a_record_from_before_is_of_an_ordinary_network():
    network = Hybrid((stage("conv", "residual"),))
    record = to_dict(network)
    del record["symmetry"]
    assert from_dict(record) == network
    assert from_dict(to_dict(replace(network, symmetry="c4"))).symmetry == "c4"
