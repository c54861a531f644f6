"""The sampler that proposes what gains most for each second."""

import numpy as np
import pytest
from optuna.storages import InMemoryStorage
from scipy.integrate import quad
from scipy.stats import norm

from nas import samplers, schedulers
from nas.samplers import SECONDS
from nas.samplers.per_second import log_expected_improvement
from nas.searching.engine import Engine
from nas.searching.ledger import Ledger
from nas.searching.simulate import simulate
from nas.searching.storage import open_storage

RUNGS = (1, 3, 9)


@pytest.mark.parametrize("mean", [-2.0, 0.1, 0.7, 5.0])
@pytest.mark.parametrize("sd", [0.3, 2.0])
def test_the_improvement_is_the_integral_over_what_is_better(mean, sd):
    exact, _ = quad(lambda value: (value - 0.4) * norm.pdf(value, mean, sd), 0.4, mean + 12 * sd, points=[mean])
    found = log_expected_improvement(np.array([mean]), np.array([sd**2]), 0.4)
    assert np.exp(found) == pytest.approx([exact], rel=1e-6)


def test_a_hopeless_candidate_is_still_ranked():
    worse = log_expected_improvement(np.array([-40.0, -50.0, -1e4]), np.ones(3), 0.0)
    assert np.isfinite(worse).all()
    assert (np.diff(worse) < 0).all()


def sample(trial):
    """A hundred times the `size` takes a hundred times as long, and gains hardly anything."""
    names = [f"shape{i}" for i in range(3)]
    return {"size": trial.suggest_float("size", 1.0, 100.0, log=True)} | {
        name: trial.suggest_float(name, 0.0, 1.0) for name in names
    }


def curve(config):
    off = sum((config[f"shape{i}"] - 0.7) ** 2 for i in range(3))
    best = np.exp(-2 * off) + 0.02 * np.log10(config["size"])
    return [best * (1 - np.exp(-epoch / 3)) for epoch in range(1, RUNGS[-1] + 1)]


def search(storage, sampler, trials, seed=0, stop=None):
    ledger = Ledger(storage, "study", sampler=samplers.create(sampler, seed))
    engine = Engine(ledger, schedulers.create("adaptive", RUNGS, 3), sample=sample, trials=trials)
    for done, _ in enumerate(simulate(engine, curve, workers=2, seconds_per_epoch=lambda config: config["size"])):
        if done == stop:
            break
    return ledger


@pytest.mark.parametrize("seed", range(3))
def test_of_networks_that_are_nearly_as_good_it_trains_the_quick_ones(seed):
    def late_sizes(sampler):
        ledger = search(InMemoryStorage(), sampler, 60, seed)
        return ledger, float(np.median([trial.params["size"] for trial in ledger.study.get_trials()[30:]]))

    (ledger, quick), (_, any_size) = late_sizes("per_second"), late_sizes("surrogate")
    assert quick < any_size / 5
    assert max(t.value for t in ledger.study.get_trials() if t.value) > 0.9, "and still finds the best"


def test_a_resumed_search_knows_what_trials_took(tmp_path):
    search(open_storage(tmp_path / "s.db"), "per_second", 30, stop=60)
    ledger = Ledger(open_storage(tmp_path / "s.db"), "study", sampler=samplers.create("per_second", 0))
    known = {t.number: t.user_attrs[SECONDS] for t in ledger._mirror.get_trials() if SECONDS in t.user_attrs}
    trials = [trial for trial in ledger.study.get_trials() if trial.intermediate_values]
    assert len(trials) - 2 <= len(known) > 10, "all but those that ran"
    for number, seconds in known.items():
        assert seconds == pytest.approx(trials[number].params["size"], rel=1e-3)
