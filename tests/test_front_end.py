"""What a front end does to an image, against the lens equation, naive loops and closed forms."""

from copy import deepcopy
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from nas.searching.drafts import draft
from search_space import ArchitectureError, Hybrid, HybridSpace, Stage, build_model, cost, from_dict, to_dict
from search_space.architecture import FRONT_ENDS, SYMMETRIC_FRONT_ENDS
from search_space.parts.front_end import ZOOM, build_front_end, close, pixels, unrolled_side
from trainers.evaluate import turned

NETWORK = Hybrid((Stage("conv", 1, 16),), patch=2)


def source(beta):
    """Two blobs, which no symmetry of the square keeps."""
    blobs = [((0.1, 0.05), 0.08, 1.0), ((-0.12, 0.15), 0.05, 0.7)]
    return sum(a * torch.exp(-0.5 * ((beta - torch.tensor(at)) / s).square().sum(-1)) for at, s, a in blobs)


@pytest.mark.parametrize(("name", "agrees"), [("source", True), ("source_sham", False)])
def test_both_images_behind_a_perfect_sphere_are_the_source(monkeypatch, name, agrees):
    side, t = 128, 0.6
    x = pixels(side)
    lensed = source(x - t * torch.nn.functional.normalize(x, dim=-1))[None, None]
    front_end, channels, _ = build_front_end(name, 1, side)
    assert channels == 3
    monkeypatch.setattr(front_end, "einstein_radius", lambda image: torch.full((1,), t))
    image, near, far = front_end(lensed)[0]
    truth = source(x / ZOOM)
    assert torch.equal(image, lensed[0, 0])
    assert ((near - truth).abs().max() < 0.02) == agrees
    assert ((far - truth).abs().max() < 0.02) == agrees


def test_the_learnt_radius_follows_that_of_a_ring():
    front_end, *_ = build_front_end("source", 1, 64)
    with torch.no_grad():
        front_end.prior.zero_()
        front_end.gain.fill_(200.0)
    radii = torch.tensor([0.3, 0.45, 0.7])
    images = torch.exp(-0.5 * ((pixels(64).norm(dim=-1) - radii[:, None, None]) / 0.05) ** 2)[:, None]
    assert torch.allclose(front_end.einstein_radius(images), radii, atol=1 / 64)  # half a ring


def test_rings_take_away_all_that_depends_on_the_radius_alone_and_nothing_that_has_no_mean_on_a_ring():
    front_end, *_ = build_front_end("residual", 1, 32)
    x, y = pixels(32).unbind(-1)
    smooth = torch.exp(-(x**2 + y**2))
    dipole = x * smooth
    assert (front_end(smooth[None, None])).abs().max() < 0.01
    assert torch.allclose(front_end((smooth + dipole)[None, None])[0, 0], dipole, atol=0.01)
    off, *_ = build_front_end("residual_sham", 1, 32)
    assert off(smooth[None, None]).abs().max() > 0.1


def test_the_gradient_of_a_plane_is_its_slope():
    x, y = pixels(16).unbind(-1)
    image = (3 * x + 4 * y)[None, None] * 8  # 8 pixels are one half side
    inside = (slice(None), slice(1), slice(1, -1), slice(1, -1))
    assert torch.allclose(build_front_end("gradient", 1, 16)[0](image)[:, 1:][inside], torch.tensor(5.0), atol=1e-4)
    assert not torch.allclose(
        build_front_end("gradient_sham", 1, 16)[0](image)[:, 1:][inside], torch.tensor(5.0), atol=0.5
    )


def test_a_quarter_turn_of_the_image_rolls_the_columns_of_the_polar_one():
    front_end, *_ = build_front_end("polar", 2, 32)
    image = torch.randn(3, 2, 32, 32)
    assert torch.allclose(front_end(turned(image, 1)), front_end(image).roll(-8, dims=3), atol=1e-4)
    ring = (pixels(32).norm(dim=-1)[None, None] - 0.5).abs() < 0.04
    assert set(front_end(ring.float())[0, 0].gt(0.5).any(1).nonzero().flatten().tolist()) <= {14, 15, 16, 17}


SHIFTED = {"conv": {"variant": "residual"}, "attention": {"heads": 2}, "linear_attention": {"heads": 2}}


@pytest.mark.parametrize("stem", ["conv", "patch"])
@pytest.mark.parametrize(
    ("mixer", "position"), [("conv", "none"), ("attention", "conditional"), ("linear_attention", "none")]
)
@pytest.mark.parametrize(
    ("side", "symmetry", "kept"),
    [(32, "none", 4), (50, "none", 1), (32, "c4", 4), (50, "c4", 4), (32, "d4", 8), (50, "d4", 8)],
)  # at 50 the polar image has another side, of a symmetric network with whole tokens in each quarter
def test_behind_polar_coordinates_turns_and_with_d4_mirrors_change_nothing(side, symmetry, kept, mixer, position, stem):
    """Of an ordinary network, turns are kept by closed convolutions alone, where its grids have whole quarters."""
    stages = tuple(Stage(mixer, 1, 16, 2.0, options=SHIFTED[mixer], downsample=i > 0) for i in range(3))
    network = Hybrid(stages, patch=2, stem=stem, position=position, symmetry=symmetry, front_end="polar")
    torch.manual_seed(0)
    model = build_model(network, in_chans=1, image_size=side, num_outputs=3).double().eval()
    image = torch.randn(2, 1, side, side).double()
    with torch.no_grad():
        out, changed = model(image), [model(turned(image, k)) for k in range(8)]
    assert all(torch.allclose(changed[k], out, atol=1e-5) for k in range(kept))
    assert kept == 8 or not any(torch.allclose(changed[k], out, atol=1e-3) for k in range(kept, 8))


@pytest.mark.parametrize("padding", [(1, 2), "same"])
@pytest.mark.parametrize("shape", [(1, 3, 4, 8), (2, 1, 5, 3), (2, 2, 4, 1)])
def test_a_closed_convolution_is_one_over_the_image_repeated(shape, padding):
    torch.manual_seed(0)
    plain = nn.Sequential(nn.Conv2d(shape[1], 4, (3, 5), padding=padding))
    closed = deepcopy(plain)
    close(closed)
    x = torch.randn(shape)
    expected = plain(torch.cat([x] * 5, dim=3))[..., 2 * shape[3] : 3 * shape[3]]
    assert torch.allclose(closed(x), expected, atol=1e-6)


def test_a_mixer_may_read_the_weight_of_a_closed_convolution():
    net = nn.Sequential(nn.Conv2d(2, 3, 3, padding=1))
    close(net)
    assert (net[0].weight.shape, net[0].bias.shape) == ((3, 2, 3, 3), (3,))


def test_a_layer_in_two_places_stays_one_layer():
    net = nn.Module()
    net.one = net.other = nn.Conv2d(2, 2, 3, padding=1)
    close(net)
    assert net.one is net.other
    assert net.one(torch.randn(1, 2, 4, 6)).shape == (1, 2, 4, 6)


@pytest.mark.parametrize("side", [45, 64, 95, 150])
@pytest.mark.parametrize("cell", [4, 16, 64])
def test_the_grids_of_an_ordinary_polar_network_are_no_smaller_than_those_of_the_image(side, cell):
    assert side <= unrolled_side(side, cell) < side + cell
    assert unrolled_side(side, cell, symmetric=True) % (4 * cell) == 0


def test_what_knows_the_middle_of_a_grid_has_no_symmetry_behind_polar_coordinates():
    stages = (Stage("anisotropic", 1, 16, 2.0, options={"variant": "polar", "heads": 2}),)
    with pytest.raises(ArchitectureError, match="anisotropic polar"):
        build_model(Hybrid(stages, symmetry="d4", front_end="polar"), in_chans=1, image_size=32, num_outputs=2)
    with pytest.raises(ArchitectureError, match="offsets between angles have no ends"):
        Hybrid((Stage("attention", 1, 16),), symmetry="d4", front_end="polar", position="relative")
    with pytest.raises(ArchitectureError, match="expected 'c4' or 'd4'"):
        replace(NETWORK, symmetry="scrambled", front_end="polar")


@pytest.mark.parametrize("front_end", [("none", "polar"), ("polar",)])
def test_a_space_draws_polar_coordinates_where_they_can_stand(front_end):
    space = HybridSpace(
        mixers=("conv", "attention", "anisotropic"), symmetry=("none", "d4"), front_end=front_end, width=(32, 64),
        norm_layer=("batch",), mlp_ratio=(2.0,), position=("none", "fixed_2d", "relative", "conditional"), patch=(4,),
        options={"conv": {"variant": ("residual",)}, "anisotropic": {"variant": ("polar", "gaussian"), "heads": (2,)}},
    )  # fmt: skip
    rng, drawn = np.random.default_rng(0), []
    for _ in range(150):
        draft(lambda trial: drawn.append(space.sample(trial, 48)), rng)
        build_model(drawn[-1], in_chans=1, image_size=48, num_outputs=2)  # refuses what does not fit
    found = {(network.symmetry, network.front_end) for network in drawn}
    assert found == {(symmetry, name) for symmetry in ("none", "d4") for name in front_end}
    centred = [network for network in drawn if any(stage.mixer == "anisotropic" for stage in network.stages)]
    assert {(n.symmetry, n.front_end) for n in centred} == found - {("d4", "polar")}


@pytest.mark.parametrize("name", FRONT_ENDS)
def test_every_front_end_builds_trains_and_has_the_parameters_of_its_sham(name):
    network = replace(NETWORK, front_end=name)
    assert from_dict(to_dict(network)) == network
    shape = {"in_chans": 2, "image_size": 17, "num_outputs": 3}
    model = build_model(network, **shape)
    model(torch.randn(4, 2, 17, 17)).square().sum().backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in model.parameters())
    assert cost(network, **shape).parameters == sum(p.numel() for p in model.parameters())
    if name not in ("none", *(sham for sham in FRONT_ENDS if sham.endswith("_sham"))):
        assert cost(network, **shape).parameters == cost(replace(network, front_end=f"{name}_sham"), **shape).parameters


@pytest.mark.parametrize("name", FRONT_ENDS)
def test_a_symmetric_network_keeps_its_symmetry_behind_a_front_end_or_refuses_it(name):
    if name not in SYMMETRIC_FRONT_ENDS:
        with pytest.raises(ArchitectureError, match=f"front_end='{name}' with symmetry='d4'"):
            replace(NETWORK, front_end=name, symmetry="d4")
        with pytest.raises(ArchitectureError, match=f"front_end='{name}' with symmetry='c4'"):
            HybridSpace(
                mixers=("conv",), options={"conv": {"variant": ("residual",)}}, front_end=("none", name),
                symmetry=("c4",),
            )  # fmt: skip
        return
    torch.manual_seed(0)
    network = replace(NETWORK, front_end=name, symmetry="d4")
    model = build_model(network, in_chans=1, image_size=16, num_outputs=3).double().eval()
    image = torch.randn(4, 1, 16, 16).double()
    with torch.no_grad():
        out = model(image)
        assert all(torch.allclose(model(turned(image, k)), out, atol=1e-5) for k in range(8))
