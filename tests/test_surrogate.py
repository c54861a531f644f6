"""The model of a search: vectors by their distances, processes against scikit-learn's, rungs that teach and do not."""

import numpy as np
import pytest
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution
from scipy.optimize import approx_fprime
from scipy.stats import spearmanr
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.gaussian_process.kernels import ConstantKernel, DotProduct, Matern

import studies
from nas.samplers.surrogate.cokriging import MOST, CoKriging, normalised, subset
from nas.samplers.surrogate.encoding import Encoding
from nas.samplers.surrogate.feasibility import chances, learn
from nas.samplers.surrogate.gaussian_process import JITTER, GaussianProcess
from nas.searching.drafts import draft, mutate

# -- encoding ----------------------------------------------------------------------------------------------------

KNOWN = {
    "mixer": CategoricalDistribution(["conv", "attention", None]),
    "depth": IntDistribution(1, 5),
    "rate": FloatDistribution(1e-4, 1e-2, log=True),
    "width": IntDistribution(8, 128, log=True),
    "fixed": FloatDistribution(2.0, 2.0),
}
FULL = {"mixer": "conv", "depth": 3, "rate": 1e-3, "width": 32, "fixed": 2.0}


def distance(one, other):
    a, b = Encoding(KNOWN)([one, other])
    return np.linalg.norm(a - b)


def without(name):
    return {key: value for key, value in FULL.items() if key != name}


@pytest.mark.parametrize("other", ["attention", None])
def test_two_choices_are_one_apart_whichever_they_are(other):
    assert distance(FULL, FULL | {"mixer": other}) == pytest.approx(1)


@pytest.mark.parametrize("name", KNOWN)
def test_active_is_one_apart_from_inactive_and_a_number_a_little_more_off_the_middle(name):
    off_middle = 0.5 if name == "fixed" else 0.0  # which lies at 0
    assert distance(FULL, without(name)) == pytest.approx(np.hypot(1, off_middle))
    assert distance(FULL | {"depth": 5}, without("depth")) == pytest.approx(np.hypot(1, 0.5))


@pytest.mark.parametrize(
    ("name", "low", "high", "expected"),
    [
        ("depth", 1, 5, 1),
        ("depth", 2, 3, 1 / 4),
        ("rate", 1e-4, 1e-2, 1),
        ("rate", 1e-4, 1e-3, 1 / 2),
        ("width", 8, 16, 1 / 4),
        ("width", 64, 128, 1 / 4),
    ],
)
def test_numbers_are_as_far_apart_as_their_places_between_the_bounds(name, low, high, expected):
    assert distance(FULL | {name: low}, FULL | {name: high}) == pytest.approx(expected)


def test_columns_are_named_by_their_parameter_and_unknown_parameters_are_left_out():
    encoding = Encoding(KNOWN)
    assert encoding([FULL]).shape == (1, len(encoding.parameter))
    assert encoding([]).shape == (0, len(encoding.parameter))
    for index, name in enumerate(KNOWN):
        a, b = encoding([FULL, without(name)])
        assert set(encoding.parameter[a != b]) == {index}
    assert np.array_equal(encoding([FULL | {"later": 1}]), encoding([FULL]))


def test_a_change_of_a_real_configuration_is_at_least_its_own_distance():
    """In the hybrid study a change of one choice is one apart, and more with what it switches on and off."""
    sample, rng = studies.load("hybrid").sample, np.random.default_rng(0)
    parents = [draft(sample, rng) for _ in range(60)]
    pairs = [(parent, mutate(sample, rng, parent)) for parent in parents]
    known = {name: d for pair in pairs for made in pair for name, d in made.distributions.items()}
    encoding = Encoding(known)
    for one, other in pairs:
        a, b = encoding([one.params, other.params])
        assert np.isfinite(a).all()
        assert ((a >= 0) & (a <= 1 + 1e-12)).all()
        different = [n for n in known if one.params.get(n, "off") != other.params.get(n, "off")]
        expected = 0.0
        for name in different:
            of = [made.params.get(name, "off") for made in (one, other)]
            columns = encoding.parameter == list(encoding.distributions).index(name)
            expected += ((a - b)[columns] ** 2).sum()
            if isinstance(known[name], CategoricalDistribution) or "off" in of:
                assert ((a - b)[columns] ** 2).sum() >= 1 - 1e-12
        assert ((a - b) ** 2).sum() == pytest.approx(expected)


# -- one process -------------------------------------------------------------------------------------------------

PARAMETER = np.array([0, 0, 1, 2, 2, 2])  # six columns of three parameters
THETA = np.array([0.3, -0.4, 0.9, np.log(1.7), np.log(0.6), np.log(0.02)])


def data(n, seed=0):
    rng = np.random.default_rng(seed)
    x = rng.random((n, len(PARAMETER)))
    return x, 5 + 3 * np.sin(4 * x[:, 0]) + x[:, 2] + 0.1 * rng.normal(size=n)


def fixed(x, y, theta=THETA):
    process = GaussianProcess(PARAMETER)
    process.theta = theta.copy()
    return process.fit(x, y, steps=0)


class Scikit:
    """scikit-learn's process of the same kernel. Targets as they are: the caller centres and scales them."""

    def __init__(self, x, y, theta=THETA, centre=None):
        self.weight, self.centre = np.exp(-theta[:3])[PARAMETER], x.mean(0) if centre is None else centre
        kernel = ConstantKernel(np.exp(theta[3])) * Matern(1.0, nu=2.5)
        kernel += ConstantKernel(np.exp(theta[4])) * DotProduct(sigma_0=1e-9)
        process = GaussianProcessRegressor(kernel, alpha=np.exp(theta[-1]) + JITTER, optimizer=None)
        self.process = process.fit(self.scaled(x), y)

    def scaled(self, x):
        return (x - self.centre) * self.weight

    def predict(self, x):
        return self.process.predict(self.scaled(x), return_std=True)


@pytest.mark.parametrize("n", [1, 2, 7, 60])
def test_the_posterior_is_scikit_learns(n):
    (x, y), (at, _) = data(n), data(50, seed=1)
    process = fixed(x, y)
    scale = y.std() + 1e-9
    mean, deviation = Scikit(x, (y - y.mean()) / scale).predict(at)
    ours, variance = process.predict(at)
    assert np.allclose(ours, y.mean() + scale * mean, atol=1e-8)
    assert np.allclose(variance, np.maximum((scale * deviation) ** 2, scale**2 * 1e-9), rtol=1e-6)


def test_the_loss_is_scikit_learns_likelihood_and_the_logarithm_of_the_prior():
    x, y = data(40)
    process = fixed(x, y)
    for theta in (THETA, THETA + np.array([0.5, -0.5, 0.2, 0.3, -0.7, 1.0])):
        off = (theta - process.prior) / process.spread
        likelihood = Scikit(x, process.y, theta).process.log_marginal_likelihood()
        expected = -likelihood - len(y) / 2 * np.log(2 * np.pi) + off @ off / 2
        assert process._loss(theta)[0] == pytest.approx(expected)


@pytest.mark.parametrize("seed", range(5))
def test_the_gradient_of_the_loss_is_its_finite_difference(seed):
    process = fixed(*data(30, seed))
    theta = THETA + 0.5 * np.random.default_rng(seed).normal(size=len(THETA))
    numeric = approx_fprime(theta, lambda t: process._loss(t)[0], 1e-6)
    assert np.allclose(process._loss(theta)[1], numeric, rtol=1e-3, atol=1e-3)


def test_fitting_lowers_the_loss_and_keeping_keeps():
    x, y = data(60)
    process = fixed(x, y)
    before, theta = process._loss(THETA)[0], process.theta.copy()
    process.fit(x, y, steps=0)
    assert np.array_equal(process.theta, theta)
    process.fit(x, y, steps=30)
    assert process._loss(process.theta)[0] < before


def test_a_parameter_without_effect_gets_the_longest_scale():
    x, y = data(80)
    scales = GaussianProcess(PARAMETER).fit(x, y, steps=50).theta[:3]
    assert scales[2] > scales[0] + 1
    assert scales[2] > scales[1]


def test_a_fitted_process_predicts_what_it_has_not_seen():
    (x, y), (at, truth) = data(80), data(200, seed=1)
    process = GaussianProcess(PARAMETER).fit(x, y, steps=50)
    mean, variance = process.predict(at)
    assert np.mean((mean - truth) ** 2) < 0.1 * truth.var()
    noise = process.scale**2 * np.exp(process.theta[-1])
    within = np.abs(mean - truth) < 2 * np.sqrt(variance + noise)
    assert 0.85 < within.mean() <= 1, "two standard deviations hold about 95 %"


@pytest.mark.parametrize("seed", range(4))
def test_of_fifty_parameters_sixty_trials_teach_what_each_is_worth_by_itself(seed):
    """A Matérn kernel alone, to which all lie equally far apart, is left with 0.015 to 0.09 of the variance."""
    rng = np.random.default_rng(seed)
    x, at, worth = rng.random((60, 50)), rng.random((300, 50)), rng.normal(size=50) ** 3
    mean, _ = GaussianProcess(np.arange(50)).fit(x, x @ worth, steps=10).predict(at)
    assert np.mean((mean - at @ worth) ** 2) < 0.005 * (at @ worth).var()


def test_believing_is_a_refit_with_the_believed_points():
    (x, y), (at, _), (running, _) = data(30), data(50, seed=1), data(4, seed=2)
    process = fixed(x, y)
    believer = process.believing(running)
    means = process.predict(running)[0]
    scale = y.std() + 1e-9
    believed = (np.concatenate([y, means]) - y.mean()) / scale
    mean, deviation = Scikit(np.vstack([x, running]), believed, centre=x.mean(0)).predict(at)
    ours, variance = believer.predict(at)
    assert np.allclose(ours, y.mean() + scale * mean, atol=1e-8)
    assert np.allclose(variance, (scale * deviation) ** 2, rtol=1e-6)
    assert np.allclose(ours, process.predict(at)[0], atol=1e-6), "one's own mean is no news"
    assert (believer.predict(running)[1] < 0.3 * process.predict(running)[1]).all()
    assert (variance <= process.predict(at)[1] + 1e-9).all()


@pytest.mark.parametrize("y", [np.zeros(10), np.r_[np.zeros(9), 1e6]], ids=["equal", "one far off"])
def test_equal_targets_and_equal_points_do_no_harm(y):
    x = np.tile(data(5)[0], (2, 1))
    process = GaussianProcess(PARAMETER).fit(x, y, steps=20)
    mean, variance = process.predict(x)
    assert np.isfinite(mean).all()
    assert (variance > 0).all()
    assert np.ptp(mean) > 0 or np.ptp(y) == 0


# -- rungs -------------------------------------------------------------------------------------------------------

DIMENSIONS = 4
EACH = np.arange(DIMENSIONS)


def truth(x):
    return -((x[:, 0] - 0.3) ** 2) - 0.5 * (x[:, 1] - 0.7) ** 2 + 0.3 * x[:, 2] * x[:, 0]


def two_rungs(lower, seed, tried=60, on_top=12):
    """Correlations with the truth, at configurations never tried: of all rungs, and of the top rung by itself."""
    rng = np.random.default_rng(seed)
    x, at = rng.random((tried, DIMENSIONS)), rng.random((300, DIMENSIONS))
    low = lower(x, rng)
    vectors = dict(enumerate(x))
    went_on = [int(number) for number in np.argsort(-low)[: on_top // 2]]
    went_on += [n for n in rng.permutation(tried).tolist() if n not in went_on][: on_top - len(went_on)]
    top = dict(zip(went_on, truth(x[went_on]) + 0.005 * rng.normal(size=on_top), strict=True))
    found = []
    for rungs in ([dict(enumerate(low.tolist())), top], [top]):
        model = CoKriging(EACH)
        model.fit(rungs, vectors)
        found.append(spearmanr(model.predict(at)[0], truth(at)).statistic)
    return found


def test_a_lower_rung_that_predicts_teaches_more_than_the_top_rung_alone():
    def lower(x, rng):
        return 0.6 * truth(x) - 0.4 - 0.02 * x[:, 3] + 0.01 * rng.normal(size=len(x))

    both, alone = np.mean([two_rungs(lower, seed) for seed in range(8)], axis=0)
    assert both > 0.9
    assert 1 - both < 0.5 * (1 - alone)


@pytest.mark.parametrize(
    "lower",
    [
        pytest.param(lambda x, rng: rng.normal(size=len(x)), id="noise"),
        pytest.param(lambda x, rng: np.sin(9 * x[:, 3]), id="another function"),
    ],
)
def test_a_lower_rung_that_says_nothing_does_little_harm(lower):
    both, alone = np.mean([two_rungs(lower, seed, on_top=30) for seed in range(8)], axis=0)
    assert alone > 0.95
    assert both > 0.95 * alone


def model_of(low, top, vectors):
    model = CoKriging(EACH)
    model.fit([low, top], vectors)
    return model


@pytest.fixture(scope="module")
def correlated():
    rng = np.random.default_rng(0)
    x = rng.random((40, DIMENSIONS))
    low = dict(enumerate(truth(x).tolist()))
    top = {number: 2 * low[number] + 1 for number in sorted(low, key=low.get)[-10:]}
    return model_of(low, top, dict(enumerate(x))), x, low, top


def test_a_trial_is_predicted_from_its_own_value(correlated):
    model, x, low, top = correlated
    best = max(top, key=top.get)
    mean, variance = model.predict_tried([best], 1, x[[best]])
    assert variance == [0]
    assert mean == model.levels[1].values([best])
    numbers = list(low)
    mean, variance = model.predict_tried(numbers, 0, x[numbers])
    assert (variance > 0).all()
    assert spearmanr(mean, [low[number] for number in numbers]).statistic > 0.97
    assert (variance < model.predict(x[numbers])[1]).all()


def test_what_runs_lowers_the_uncertainty_there_and_leaves_the_mean(correlated):
    model, *_ = correlated
    at = np.random.default_rng(1).random((20, DIMENSIONS))
    before, after = model.predict(at), model.believing(at[:1]).predict(at)
    assert np.allclose(before[0], after[0], atol=1e-6)
    assert after[1][0] < 0.9 * before[1][0]
    assert (after[1] <= before[1] + 1e-9).all()


def test_trials_that_start_high_and_end_low_are_predicted_low():
    """A rung may be turned round: its slope is learnt."""
    rng = np.random.default_rng(0)
    x = rng.random((60, DIMENSIONS))
    low, vectors = dict(enumerate((-truth(x)).tolist())), dict(enumerate(x))
    model = model_of(low, dict(enumerate(truth(x[:40]).tolist())), vectors)
    assert model.levels[1].slope < 0
    mean, _ = model.predict(x)
    assert spearmanr(mean, truth(x)).statistic > 0.9


@pytest.mark.parametrize("on_top", [0, 1, 2, 4, 5])
def test_however_few_have_come_to_the_top_there_is_a_prediction(on_top):
    x = np.random.default_rng(0).random((20, DIMENSIONS))
    low = dict(enumerate(truth(x).tolist()))
    top = {number: low[number] for number in list(low)[:on_top]}
    model = model_of(low, top, dict(enumerate(x)))
    assert len(model.levels) == (2 if on_top >= 2 else 1)
    mean, variance = model.believing(x[:2]).predict(x)
    assert np.isfinite(mean).all()
    assert (variance > 0).all()


def test_one_diverged_value_does_not_hide_the_others():
    values = np.array([-1e15, -0.5, -0.4, -0.3, -0.2, -0.1])
    assert (np.diff(normalised(values)) > 0.01).all()


@pytest.mark.parametrize("unit", [1e-30, 1e-12, 1e300])
def test_normalised_values_do_not_depend_on_the_unit(unit):
    values = np.random.default_rng(0).normal(size=30)
    assert normalised(unit * values) == pytest.approx(normalised(values))


def test_values_in_other_units_give_the_same_model():
    rng = np.random.default_rng(0)
    x = rng.random((30, DIMENSIONS))
    low = dict(enumerate(truth(x).tolist()))
    top = {number: low[number] + 0.1 * rng.normal() for number in range(10)}
    vectors = dict(enumerate(x))
    plain = model_of(low, top, vectors).predict(x)
    other = model_of({n: 50 + 1e3 * v for n, v in low.items()}, {n: 1e-3 * v for n, v in top.items()}, vectors)
    assert np.allclose(plain, other.predict(x), atol=1e-3)


@pytest.mark.parametrize("n", [2, 4, 30, 500])
def test_normalised_values_keep_their_order_and_bad_ones_are_drawn_in(n):
    values = 0.9 - np.random.default_rng(n).exponential(0.05, size=n) ** 2
    values[0] = -1e3  # diverged
    z = normalised(values)
    assert np.array_equal(np.argsort(z), np.argsort(values))
    assert z.mean() == pytest.approx(0, abs=1e-9)
    assert z.std() == pytest.approx(1, abs=1e-6)
    assert np.isfinite(normalised(np.full(n, 0.5))).all()
    if n >= 30:
        assert np.ptp(z[1:]) > 1, "a diverged one does not hide the differences of the others"


@pytest.mark.parametrize("n", [1, 9, 10, 11, 500])
def test_a_subset_holds_the_best_and_some_of_all_others(n):
    z = np.random.default_rng(n).normal(size=n)
    kept = subset(z, 10)
    assert len(kept) == len(set(kept.tolist())) == min(n, 10)
    best = np.argsort(-z)[:5]
    assert set(best.tolist()) <= set(kept.tolist())
    if n == 500:
        others = np.sort([i for i in kept if i not in best])
        assert others.min() < 50
        assert others.max() > 450


def test_a_process_is_fitted_to_no_more_values_than_it_says():
    rng = np.random.default_rng(0)
    x = rng.random((3 * MOST, DIMENSIONS))
    low = dict(enumerate(truth(x).tolist()))
    model = CoKriging(EACH)
    model.fit([low], dict(enumerate(x)))
    assert len(model.levels[0].process.y) == MOST
    at = rng.random((100, DIMENSIONS))
    assert spearmanr(model.predict(at)[0], truth(at)).statistic > 0.95


# -- feasibility -------------------------------------------------------------------------------------------------


def test_the_chance_of_being_feasible_is_scikit_learns_and_none_where_all_are_alike():
    rng = np.random.default_rng(0)
    vectors = dict(enumerate(rng.random((200, 5))))
    infeasible = {number: bool(x[0] + 0.2 * rng.normal() > 0.6) for number, x in vectors.items()}
    forest = learn(infeasible, vectors, seed=0)
    at = rng.random((50, 5))
    assert list(forest.classes_) == [False, True], "the second is: feasible"
    assert np.allclose(chances(forest, at), forest.predict_proba(at)[:, 1])
    assert chances(forest, np.array([[0.1, *[0.5] * 4]])) > 0.8 > 0.2 > chances(forest, np.array([[0.9, *[0.5] * 4]]))
    for same in (True, False):
        assert learn(dict.fromkeys(infeasible, same), vectors, seed=0) is None
