"""What the noise leaves to be found: the fit of smooth lenses against others, and the AUC against draws."""

from dataclasses import fields, replace
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.optimize import least_squares

from trainers.data import Simulated, limit
from trainers.data.simulate import main
from trainers.data.simulated.camera import NOISY, expose, variance
from trainers.data.simulated.detectability import (
    Detectability,
    detectability,
    fit,
    ideal_auc,
    parameters_of,
    refit,
    smooth,
)
from trainers.data.simulated.lensing import noiseless
from trainers.data.simulated.population import PRESETS
from trainers.data.simulated.systems import Systems, draw
from trainers.metrics import macro_auc

FAIR = replace(PRESETS["fair"], pixels=32)  # coarser rays, for speed


@pytest.fixture(autouse=True)
def one_torch_thread() -> None:
    torch.set_num_threads(1)


def light_of(systems: Systems) -> np.ndarray:
    return noiseless(FAIR, systems, 32, torch.float64).numpy()


def test_a_change_of_the_smooth_lens_leaves_no_signal() -> None:
    """Halo, shear, source and flux all change at once: far more than the noise, and nothing that is substructure."""
    systems = draw(PRESETS["varied"], "no_sub", 6, np.random.default_rng(0))
    start = parameters_of(systems)
    moved = start + np.random.default_rng(1).normal(0, 0.01, start.shape)
    light = np.exp(moved[:, -1, None, None]) * light_of(smooth(systems, moved))
    sigma = np.sqrt(variance(FAIR, light))
    before = np.sqrt((((light - light_of(systems)) / sigma) ** 2).sum((1, 2)))
    found = refit(FAIR, systems, light, sigma)
    assert before.min() > 10
    assert found.chi.max() < 0.05


@pytest.mark.parametrize("label", ["axion", "cdm"])
def test_the_fit_is_as_good_as_that_of_scipy(label: str) -> None:
    systems = draw(FAIR, label, 2, np.random.default_rng(2))
    light = light_of(systems)
    sigma = np.sqrt(variance(FAIR, light))
    for i, chi in enumerate(fit(FAIR, systems, 32).chi):
        one = Systems(**{f.name: getattr(systems, f.name)[i : i + 1] for f in fields(Systems)})

        def residual(p: np.ndarray, one: Systems = one, i: int = i) -> np.ndarray:
            return ((np.exp(p[-1]) * light_of(smooth(one, p[None]))[0] - light[i]) / sigma[i]).ravel()

        best = least_squares(residual, parameters_of(one)[0], x_scale="jac", diff_step=1e-4, max_nfev=30)
        assert chi == pytest.approx(np.sqrt(2 * best.cost), rel=0.01)
        assert chi < 0.8 * np.linalg.norm(residual(parameters_of(one)[0]))


@pytest.mark.parametrize("name", [n for n in sorted(PRESETS) if PRESETS[n].camera in NOISY])
def test_the_variance_is_that_of_exposures(name: str) -> None:
    """Where there is light: of stored images over the square of their mean, against the variance over that of light."""
    population = PRESETS[name]
    light = noiseless(population, draw(population, "no_sub", 1, np.random.default_rng(3)), 24)
    images = expose(population, light.expand(3000, -1, -1), np.random.default_rng(4)).astype(float)
    if population.camera == "model_1":  # its exposures differ; compare each with itself
        images *= images.sum((1, 2)).mean() / images.sum((1, 2), keepdims=True)
    expected = variance(population, light.double().numpy())[0]
    bright = (light[0] > 0.3 * light.max()).numpy()
    found = images.var(axis=0) / images.mean(axis=0) ** 2
    np.testing.assert_allclose(
        found[bright], (expected / light[0].numpy() ** 2)[bright], rtol=0.3 if population.camera == "model_1" else 0.15
    )


def test_the_ideal_auc_is_that_of_scores_drawn_with_their_noise() -> None:
    """Known signals of one strength in each class, in noise: the likelihoods of three templates classify."""
    axion, cdm, count = 0.8, 1.5, 40000
    rng = np.random.default_rng(5)
    means = np.array([[axion, 0.0], [0.0, cdm], [0.0, 0.0]])
    pairs = []
    for a, b in ((0, 1), (0, 2), (1, 2)):
        x = np.concatenate([rng.normal(means[k], 1.0, (count, 2)) for k in (a, b)])
        score = ((x - means[b]) ** 2).sum(1) - ((x - means[a]) ** 2).sum(1)
        right = np.exp(score / 2) / (1 + np.exp(score / 2))
        pairs.append(macro_auc(np.stack([right, 1 - right], axis=1), np.arange(2).repeat(count)))
    expected = ideal_auc([np.array([axion]), np.array([cdm]), np.zeros(1)])
    assert np.mean(pairs) == pytest.approx(expected, abs=0.005)
    assert ideal_auc([np.zeros(3)] * 3) == 0.5


def test_more_noise_leaves_less_to_be_found_and_none_leaves_everything() -> None:
    bright, faint = (detectability(replace(FAIR, snr=snr), 32, 21) for snr in (40.0, 4.0))
    for label in ("axion", "cdm"):
        assert faint.chi[label] == pytest.approx(bright.chi[label] / 10, rel=0.05)
    assert 0.5 < faint.auc < bright.auc <= 1
    assert "no_sub" not in bright.chi
    assert "no noise" in str(detectability(PRESETS["deeplense-2"], 32, 21))
    unseen = detectability(replace(PRESETS["paper-2020"], pixels=50), 50, 21)
    assert unseen.chi["cdm"] < 0.5 < 2 < unseen.chi["axion"]


def test_the_line_is_measured_once_and_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys) -> None:
    calls = []

    def measured(*args: object, **kwargs: object) -> Detectability:
        calls.append(args)
        return Detectability({"axion": 12.3, "cdm": 45.6}, 0.987, 90)

    monkeypatch.setattr("trainers.data.simulated.detectability.detectability", measured)
    lines = {limit(Simulated(images=n, image_size=16, seed=seed), cache=tmp_path) for n, seed in ((21, 0), (90, 3))}
    assert len(calls) == len(lines) == 1
    line = lines.pop()
    assert "axion 12, cdm 46" in line
    assert "AUC of 0.987" in line
    limit(Simulated(images=21, image_size=16, snr=10.0), cache=tmp_path)
    assert len(calls) == 2
    main(["--preset", "fair", "--image-size", "16", "--detectability"])
    assert line in capsys.readouterr().out
