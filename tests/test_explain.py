"""Where a model looks: attributions that add up, lenses whose substructure is known, and the page about both."""

import json
import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from test_export import ORIGIN, TASK, described, exported
from torch import nn

import nas
from nas.commands.cli import main_of
from nas.models.attribution import _others, answers, attributions
from nas.models.contents import describe_model
from nas.models.explanation import explain
from nas.models.export import LensModel
from nas.models.heads import Head, apart, heads
from nas.models.regions import _interval, share
from nas.report.explanation_page import verdict
from search_space import Hybrid, Stage, Toy
from search_space.mixers.anisotropic import gaussian, polar
from trainers.batch.normalise import Normalisation, Statistics
from trainers.config import NORMALISATIONS
from trainers.data.simulated.detectability import fit
from trainers.data.simulated.known import MOST_MASS, NEAR, _shear, draw_known, fewest, on_sky, pixels_from
from trainers.data.simulated.lensing import noiseless
from trainers.data.simulated.population import CLASSES, PRESETS
from trainers.data.simulated.systems import draw
from trainers.tasks.substructure import Task

FAIR = PRESETS["fair"]
FIXED = Statistics(offset=10.0, scale=4.0, mean=0.5, std=2.0)


ZSCORE = Normalisation("zscore")


def model_of(network, normalisation=ZSCORE, task=TASK, in_chans=1, side=32):
    """A model with this network, whose record says that it is a Toy."""
    member = described(Toy("lenet"), normalisation, task=task)
    shape = {"in_chans": in_chans, "image_size": side}
    config = describe_model([member], task_name="substructure", task=task, **shape, **ORIGIN)
    return LensModel([network], json.loads(json.dumps(config)), views=1).eval()


class Linear(nn.Module):
    """The log-odds of the first of two classes are a weighted sum of the pixels."""

    def __init__(self, weights):
        super().__init__()
        self.weights = nn.Parameter(weights)

    def forward(self, x):
        score = (x * self.weights).sum((1, 2, 3))
        return torch.stack([score, torch.zeros_like(score)], 1)


def test_the_attribution_of_a_linear_network_is_its_weights_times_the_difference_from_the_baselines():
    rng = torch.Generator().manual_seed(0)
    images, weights = 20 * torch.rand(5, 2, 6, 6, generator=rng), torch.randn(2, 6, 6, generator=rng)
    two = Task(classes=("a", "b"))
    model = model_of(Linear(weights), Normalisation("zscore", FIXED), two, in_chans=2, side=6)
    found, sums = attributions(model, images, torch.zeros(5, dtype=torch.long), baselines=8, steps=2)
    others = _others(5, 8, torch.Generator().manual_seed(0))
    slope = weights / (FIXED.scale * FIXED.std)  # of the normalisation, ((x - 10) / 4 - 0.5) / 2
    expected = torch.stack([(slope * (images[i] - images[others[i]].mean(0))) for i in range(5)])
    torch.testing.assert_close(found.float(), expected, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(found.sum((1, 2, 3)), sums, rtol=1e-4, atol=1e-5)


def test_no_image_is_its_own_baseline():
    others = _others(7, 1000, torch.Generator().manual_seed(3))
    for i, row in enumerate(others):
        assert set(row.tolist()) == set(range(7)) - {i}


class Smooth(nn.Module):
    """Three answers that are smooth in every pixel."""

    def __init__(self):
        super().__init__()
        self.filters = nn.Parameter(torch.randn(3, 1, 5, 5, generator=torch.Generator().manual_seed(2)) / 5)

    def forward(self, x):
        return 20 * torch.tanh(nn.functional.conv2d(x, self.filters)).mean((2, 3))


@pytest.mark.parametrize("kind", NORMALISATIONS)
def test_answers_change_with_each_image_as_their_gradient_says(kind):
    """Each image is normalised by its own pixels, which the gradient must know."""
    model = model_of(Smooth(), Normalisation(kind))
    rng = torch.Generator().manual_seed(1)
    image = torch.randperm(1024, generator=rng).float().view(1, 1, 32, 32)  # no step changes the order of its pixels
    step = torch.randn(1, 1, 32, 32, generator=rng)
    for target in range(3):
        of = torch.tensor([target])
        at = image.clone().requires_grad_()
        (gradient,) = torch.autograd.grad(answers(model, at, of).sum(), at)
        seen = (answers(model, image + 0.1 * step, of) - answers(model, image - 0.1 * step, of)) / 0.2
        assert (gradient * step).sum().item() == pytest.approx(seen.item(), rel=0.02, abs=1e-4)


@pytest.mark.parametrize("kind", ["zscore", "asinh"])
def test_an_attribution_adds_up_to_the_answer_less_that_about_the_baselines(kind, tmp_path):
    exported(tmp_path / "m", Toy("lenet"), kind=kind)
    model = nas.load_model(tmp_path / "m")
    images = 50 * torch.rand(6, 1, 32, 32, generator=torch.Generator().manual_seed(1)) ** 3
    found, sums = attributions(model, images, torch.arange(6) % 3, baselines=5, steps=100)
    torch.testing.assert_close(found.sum((1, 2, 3)), sums, rtol=0.05, atol=0.02 * float(sums.abs().max()))


def test_eight_views_and_several_networks_are_explained_as_one_model(tmp_path):
    exported(tmp_path / "m", Toy("lenet"))
    model = nas.load_model(tmp_path / "m", views=8)
    images = 50 * torch.rand(4, 1, 32, 32, generator=torch.Generator().manual_seed(1)) ** 3
    found, sums = attributions(model, images, torch.zeros(4, dtype=torch.long), baselines=3, steps=100)
    torch.testing.assert_close(found.sum((1, 2, 3)), sums, rtol=0.05, atol=0.02 * float(sums.abs().max()))


def test_log_odds_stay_finite_where_the_network_is_certain():
    model = model_of(Linear(torch.full((1, 32, 32), 1e3)), Normalisation("zscore", FIXED), Task(classes=("a", "b")))
    image = torch.full((1, 1, 32, 32), 50.0, requires_grad=True)
    for target in (0, 1):
        answer = answers(model, image, torch.tensor([target]))
        (gradient,) = torch.autograd.grad(answer.sum(), image)
        assert torch.isfinite(answer).all()
        assert torch.isfinite(gradient).all()


def test_the_fewest_pixels_are_those_of_a_search_through_all_sets():
    values = np.random.default_rng(0).random((3, 3, 3)) ** 3
    mask = fewest(values, 0.5)
    for v, m in zip(values, mask, strict=True):
        inside = v[m].sum() / v.sum()
        assert inside >= 0.5
        subsets = (np.array([i >> k & 1 for k in range(9)], dtype=bool) for i in range(512))
        assert m.sum() == min(s.sum() for s in subsets if v.ravel()[s].sum() >= 0.5 * v.sum())
    assert not fewest(np.zeros((1, 3, 3)), 0.5).any()
    np.testing.assert_allclose(share(values, mask), [v[m].sum() / v.sum() for v, m in zip(values, mask, strict=True)])


def bare(count=12, label="cdm", seed=0):
    """Systems of `fair`, turned and mirrored, without any lens."""
    systems = draw(FAIR, label, count, np.random.default_rng(seed))
    none = np.zeros(count)
    return replace(
        systems, halo_radius=none, shear_1=none, shear_2=none, point_radius=np.zeros_like(systems.point_radius)
    )


def test_a_place_in_the_lens_plane_is_where_a_source_without_a_lens_is_seen():
    rng = np.random.default_rng(1)
    systems = replace(
        bare(), source_x=rng.uniform(-1.5, 1.5, 12), source_y=rng.uniform(-1.5, 1.5, 12),
        source_radius=np.full(12, 0.1), source_q=np.full(12, 0.9),
    )  # fmt: skip
    assert len(set(systems.mirrored)) == 2
    light = noiseless(FAIR, systems, 64).double().numpy()
    axis = (np.arange(64) - 31.5) * FAIR.field / 64
    total = light.sum((1, 2))
    x, y = on_sky(systems, systems.source_x[:, None], systems.source_y[:, None])
    np.testing.assert_allclose((light.sum(1) * axis).sum(1) / total, x[:, 0], atol=0.01)
    np.testing.assert_allclose((light.sum(2) * axis).sum(1) / total, y[:, 0], atol=0.01)


def test_the_axis_of_the_shear_is_the_one_along_which_it_stretches_an_image():
    systems = bare()
    rng = np.random.default_rng(2)
    shear, angle, none = np.full(12, 0.3), rng.uniform(0, np.pi, 12), np.zeros(12)
    systems = replace(
        systems, shear_1=shear * np.cos(2 * angle), shear_2=shear * np.sin(2 * angle), source_x=none, source_y=none,
        source_q=np.full(12, 1.0), source_radius=np.full(12, 0.2),
    )  # fmt: skip
    light = noiseless(FAIR, systems, 64).double().numpy()
    axis = (np.arange(64) - 31.5) * FAIR.field / 64
    xx = (light * axis[None, None] ** 2).sum((1, 2))
    yy = (light * axis[None, :, None] ** 2).sum((1, 2))
    xy = (light * axis[None, None] * axis[None, :, None]).sum((1, 2))
    seen = np.degrees(np.arctan2(2 * xy, xx - yy)) / 2
    said = np.degrees(np.angle(_shear(systems))) / 2
    assert max(apart(a, b) for a, b in zip(seen, said, strict=True)) < 1


@pytest.mark.parametrize("label", CLASSES)
def test_pixels_near_substructure_are_those_near_the_heaviest_masses(label):
    systems = draw(FAIR, label, 4, np.random.default_rng(3))
    radius, near = pixels_from(FAIR, systems, 32)
    step = FAIR.field / 32
    for i in range(4):
        x, y = (place[i] for place in on_sky(systems, systems.point_x, systems.point_y))
        masses = systems.point_radius[i] ** 2
        counted, held = [], 0.0
        for k in sorted(range(len(masses)), key=lambda k: -masses[k]):
            equal = counted and math.isclose(masses[k], masses[counted[-1]])
            if masses[k] > 0 and (held < MOST_MASS * masses.sum() or equal):
                counted.append(k)
                held += masses[k]
        for row in range(32):
            for column in range(32):
                at = ((column - 15.5) * step, (row - 15.5) * step)
                assert near[i, row, column] == any(math.dist(at, (x[k], y[k])) < NEAR for k in counted)
                assert radius[i, row, column] == pytest.approx(math.hypot(*at) / systems.einstein_radius[i])
    assert near.any() == (label != "no_sub")


def test_known_lenses_are_as_the_simulator_draws_them_and_their_signal_is_that_of_detectability():
    known = draw_known(FAIR, "lenses", 32, 10, seed=5)
    again = draw_known(FAIR, "lenses", 32, 10, seed=5)
    assert len(known.data.test) == len(known.light) == 12, "a whole number of each class"
    assert torch.equal(known.data.test.images, again.data.test.images)
    assert known.data.test.labels.tolist() == [0] * 4 + [1] * 4 + [2] * 4
    rng = np.random.default_rng(5)
    drawn = [draw(FAIR, label, 4, rng) for label in CLASSES]
    for k, systems in enumerate(drawn):
        mine = slice(4 * k, 4 * k + 4)
        np.testing.assert_allclose(known.light[mine], noiseless(FAIR, systems, 32, torch.float64).numpy())
        chi = fit(FAIR, systems, 32).chi if systems.point_radius.size else np.zeros(4)
        np.testing.assert_allclose(known.signal[mine].sum((1, 2)), chi**2, rtol=1e-6)
    noise = known.data.test.images[:, 0].double().numpy() / FAIR.snr**2 / (1 + FAIR.sky)
    peak = known.light.max((1, 2), keepdims=True)
    assert np.abs(noise - known.light / peak).mean() < 0.02, "the images show this light"
    some = known.rows(np.array([7, 2]))
    assert np.array_equal(some.signal, known.signal[[7, 2]])
    assert known.axis()[1] < 0.8, "turned at random"
    assert draw_known(PRESETS["deeplense-1"], "upright", 32, 6, seed=0).axis() == pytest.approx((0.0, 1.0))


def test_the_ellipses_of_heads_are_found_with_their_places_in_the_network(tmp_path):
    stages = (Stage("anisotropic", 2, 16, options={"variant": "gaussian", "heads": 2}),
              Stage("anisotropic", 1, 16, options={"variant": "polar", "heads": 2}))  # fmt: skip
    exported(tmp_path / "m", Hybrid(stages, patch=4))
    model = nas.load_model(tmp_path / "m")
    mixer = model.networks[0].stages[0].blocks[1].mixer
    assert isinstance(mixer, gaussian.Mixer)
    assert not isinstance(mixer, polar.Mixer)
    with torch.no_grad():  # head 2: long along the rows' normal, three times as long as wide
        mixer.log_diagonal[1] = torch.tensor([math.log(3.0), 0.0])
        mixer.shear[1] = 0.0
    found = list(heads(model))
    assert [(h.stage, h.block, h.head, h.reference) for h in found] == [
        (1, 1, 1, "rows"), (1, 1, 2, "rows"), (1, 2, 1, "rows"), (1, 2, 2, "rows"),
        (2, 1, 1, "radius"), (2, 1, 2, "radius"),
    ]  # fmt: skip
    assert (found[3].angle, found[3].ellipticity) == pytest.approx((90.0, 0.5))


def test_behind_polar_coordinates_ellipses_are_said_from_the_radius(tmp_path):
    stages = (Stage("anisotropic", 1, 16, options={"variant": "gaussian", "heads": 2}),
              Stage("anisotropic", 1, 16, options={"variant": "polar", "heads": 2}))  # fmt: skip
    exported(tmp_path / "m", Hybrid(stages, patch=4, front_end="polar"))
    model = nas.load_model(tmp_path / "m")
    mixer = model.networks[0].stages[0].blocks[0].mixer
    with torch.no_grad():  # long down the rows, which is outwards; and along a row, which is along the ring
        mixer.log_diagonal[:] = torch.tensor([[math.log(3.0), 0.0], [0.0, math.log(3.0)]])
        mixer.shear[:] = 0.0
    found = list(heads(model))
    assert [(h.stage, h.reference) for h in found] == [(1, "radius")] * 2, "a polar mixer has no centre there"
    assert [apart(h.angle, 0) for h in found] == pytest.approx([0, 90], abs=1e-4)
    assert [h.ellipticity for h in found] == pytest.approx([0.5, 0.5])


def test_axes_have_no_direction():
    assert [apart(10, 170), apart(0, 180), apart(0, 90), apart(100, 30)] == [20, 0, 90, 70]


def test_a_network_that_sees_half_of_the_images_is_explained_by_that_half():
    class LeftOnly(nn.Module):
        def __init__(self):
            super().__init__()
            self.scale = nn.Parameter(torch.tensor(1e-6))

        def forward(self, x):
            left = self.scale * x[..., :16].square().mean((1, 2, 3))
            return torch.stack([left, torch.zeros_like(left), -left], 1)

    model = model_of(LeftOnly(), Normalisation("zscore", FIXED))
    found = explain(model, images=12)
    assert np.abs(found.maps[:, :, 16:]).max() == 0
    assert np.abs(found.maps[:, :, :16]).max() > 0
    assert found.additivity > 0.9


def test_a_page_and_its_numbers_say_where_a_model_looks(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    stages = (Stage("anisotropic", 1, 16, options={"variant": "polar", "heads": 2}),
              Stage("anisotropic", 1, 16, options={"variant": "gaussian", "heads": 2}))  # fmt: skip
    exported(tmp_path / "m", Hybrid(stages, patch=4))
    assert main_of("explain", ["--model", "m", "--images", "9", "--json", "found.json"]) == 0
    page, found = (tmp_path / "explain.html").read_text(), json.loads((tmp_path / "found.json").read_text())
    names = [region["name"] for region in found["regions"]]
    assert names == ["the ring", "near the substructure", "half of its signal"]
    assert all(f">{name}<" in page for name in names)
    for region in found["regions"]:
        low, high = region["interval"]
        assert 0 < low <= region["attribution"] <= high < 1
        assert 0 < region["untrained"] < 1
        assert region["beyond"][0] <= region["attribution"] - max(region[k] for k in ("area", "light", "untrained"))
        assert region["beyond"][1] >= region["attribution"] - max(region[k] for k in ("area", "light", "untrained"))
        assert region["times"] == pytest.approx(region["attribution"] / region["area"])
    assert [region["images"] for region in found["regions"]] == [9, 6, 6], "no_sub has no substructure"
    assert len(found["heads"]) == 4
    assert "heads in polar coordinates" in page
    assert "of fixed direction" in page
    assert page.count("<img") == len(CLASSES)
    said = " ".join(capsys.readouterr().out.split())
    assert "of the attribution lies in the few pixels that hold half" in said
    assert "page: explain.html" in said


def test_a_figure_shows_images_of_all_classes_in_turn_and_any_where_the_model_has_none():
    pytest.importorskip("matplotlib")
    found = explain(model_of(Smooth()), images=9)
    figure = nas.attribution_maps(found, columns=4)
    assert [axes.get_title() for axes in figure.axes[:4]] == ["axion", "cdm", "no_sub", "axion"]
    assert [axes.get_ylabel() for axes in figure.axes[::4]] == ["image", "attribution", "signal"]
    measured = replace(found, classes=(), labels=np.full(9, 2), signal=None)  # a number, known of the third class alone
    figure = nas.attribution_maps(measured, columns=4)
    assert len(figure.axes) == 8
    assert all(axes.images for axes in figure.axes)


@pytest.mark.parametrize(
    ("ellipticity", "axis", "says"),
    [
        (0.02, (0.0, 1.0), "2 heads of fixed direction stayed round, with an ellipticity of at most 0.02"),
        (0.4, (10.0, 1.0), "2 of 2 heads of fixed direction are elongated, on average 20 degrees away from the axis"),
        (0.4, (10.0, 0.1), "the shear of these lenses has no common axis to follow"),
    ],
)
def test_the_page_says_which_way_heads_look_only_if_they_look_some_way(ellipticity, axis, says):
    found = explain(model_of(Smooth()), images=6)
    turned = [Head(1, 1, 1, h, ellipticity, angle, "rows") for h, angle in ((1, 30.0), (2, 170.0))]
    assert says in " ".join(verdict(replace(found, heads=tuple(turned), axis=axis)))


def test_few_images_decide_nothing(tmp_path):
    """The bootstrap of one image has no width, so that any difference would be certain."""
    few, many = (_interval(np.linspace(0.1, 0.2, n), (-1.0, 1.0)) for n in (4, 5))
    assert few == (-1.0, 1.0)
    assert 0.1 <= many[0] < many[1] <= 0.2


def test_images_of_a_folder_are_explained_without_regions(tmp_path):
    for i in range(12):
        (tmp_path / "data" / TASK.classes[i % 3]).mkdir(parents=True, exist_ok=True)
        np.save(tmp_path / "data" / TASK.classes[i % 3] / f"{i}.npy", np.random.default_rng(i).random((32, 32)))
    exported(tmp_path / "m", Toy("lenet"))
    model = nas.load_model(tmp_path / "m")
    found = nas.explain(model, tmp_path / "data", images=5, of="cdm")
    assert (len(found.images), found.regions, found.axis, found.signal) == (5, (), None, None)
    assert found.answer == "log-odds of cdm"
    assert found.profile.unit == "half sides of the image"
    whole = nas.explain(model, tmp_path / "data", images=100)
    assert len(whole.images) == 12
    assert whole.frame().empty


@pytest.mark.parametrize(
    ("call", "says"),
    [
        (dict(images=1), "images is 1"),
        (dict(of="wimp"), "of is 'wimp'; expected one of axion, cdm, no_sub"),
        (dict(hdu="SCI"), "hdu says how other images are read; give them as data"),
    ],
)
def test_what_cannot_be_explained_is_said_before_a_lens_is_drawn(tmp_path, monkeypatch, call, says):
    exported(tmp_path / "m", Toy("lenet"))
    monkeypatch.setattr("trainers.data.simulated.known.draw_known", None)
    with pytest.raises(nas.UserError, match=says):
        nas.explain(nas.load_model(tmp_path / "m"), **call)


def test_a_model_that_answers_alike_whatever_it_sees_has_nothing_to_explain():
    class Blind(nn.Module):
        def __init__(self):
            super().__init__()
            self.answer = nn.Parameter(torch.tensor([1.0, 2.0, 3.0]))

        def forward(self, x):
            return self.answer + 0 * x.sum((1, 2, 3))[:, None]

    with pytest.raises(nas.ModelFailed, match="the model gives every image the same answer"):
        explain(model_of(Blind()), images=6)


def test_a_model_of_other_classes_or_channels_is_refused_for_simulated_lenses(tmp_path, monkeypatch):
    monkeypatch.setattr("trainers.data.simulated.known.draw_known", None)
    exported(tmp_path / "m", Toy("lenet"), in_chans=3)
    with pytest.raises(nas.UserError, match="population fair has 1 channels, but the model was trained on 3"):
        nas.explain(nas.load_model(tmp_path / "m"))
    other = model_of(nn.Identity(), task=Task(classes=("lens", "none")))
    with pytest.raises(nas.UserError, match="population fair has the classes axion, cdm, no_sub; the model dist"):
        nas.explain(other)


def test_explaining_does_not_train_a_model_in_a_module_that_is_trained(tmp_path):
    exported(tmp_path / "m", Toy("resnet2"))
    model = nas.load_model(tmp_path / "m")
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    model.train()
    explain(model, images=6)
    assert model.training, "as it was"
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())
