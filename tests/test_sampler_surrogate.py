"""The sampler that learns, through whole searches in virtual time: what it promises of every one of its proposals."""

import itertools
import math

import numpy as np
import optuna
import pytest
from optuna.storages import InMemoryStorage
from optuna.trial import TrialState

import studies
from nas import samplers, schedulers
from nas.samplers.surrogate.candidates import Candidates
from nas.samplers.surrogate.proposer import BATCH, RANDOM_TRIALS
from nas.searching.drafts import cells, draft, key
from nas.searching.engine import Engine
from nas.searching.jobs import Admission
from nas.searching.ledger import Ledger
from nas.searching.simulate import simulate
from nas.searching.storage import open_storage
from nas.searching.study import open_ledger

RUNGS = (3, 9, 27)
optuna.logging.set_verbosity(optuna.logging.WARNING)


def mixed(trial):
    """Choices, numbers, and what hangs on them; the best is deep attention at a rate of 1e-3."""
    config = {"kind": trial.suggest_categorical("kind", ["conv", "attention", "mlp"])}
    config["rate"] = trial.suggest_float("rate", 1e-5, 1e-1, log=True)
    config["drop"] = trial.suggest_float("drop", 0.0, 0.5)
    config["depth"] = trial.suggest_int("depth", 1, 6)
    config["norm"] = trial.suggest_categorical("norm", ["layer", "batch"])
    if config["kind"] == "conv":
        config["kernel"] = trial.suggest_int("kernel", 3, 9, step=2)
    if config["kind"] == "attention":
        config["heads"] = trial.suggest_int("heads", 1, 8, log=True)
        config["scale"] = trial.suggest_float("scale", 0.0, 1.0)
    return config


def curve(config):
    """Rises to its asymptote more slowly at low rates: a lower rung tells much of the next one, not all."""
    rate = math.log10(config["rate"])
    best = 0.9 - 0.05 * (rate + 3) ** 2 - 0.3 * (config["drop"] - 0.1) ** 2 + 0.01 * config["depth"]
    best += {"conv": 0.0, "attention": 0.03, "mlp": -0.1}[config["kind"]] - 0.04 * (config["norm"] == "layer")
    best -= 0.1 * (config.get("scale", 0.5) - 0.8) ** 2 + 0.01 * abs(config.get("heads", 4) - 4)
    return best * (1 - np.exp(-np.arange(1, RUNGS[-1] + 1) / (3 - 0.3 * rate)))


def finite(trial):
    """66 cells; tenths of a float among them."""
    kind = trial.suggest_categorical("kind", ["conv", "attention", "none"])
    config = {"kind": kind, "rate": 1e-3, "norm": "batch", "drop": 0.1, "depth": trial.suggest_int("depth", 1, 2)}
    if kind == "conv":
        config["kernel"] = trial.suggest_int("kernel", 3, 9, step=2)
        config["drop"] = trial.suggest_float("drop", 0.0, 0.6, step=0.1)
    if kind == "attention":
        config["heads"] = trial.suggest_int("heads", 1, 4, log=True)
    return config | {"kind": "mlp" if kind == "none" else kind}


def tiny(trial):
    return {"kind": trial.suggest_categorical("kind", ["conv", "mlp"]), "rate": 1e-3, "norm": "batch", "drop": 0.0} | {
        "depth": trial.suggest_int("depth", 1, 3)
    }


def one(trial):
    return {"kind": "conv", "rate": 1e-3, "norm": "batch", "drop": 0.0, "depth": 1}


def make_engine(sample, trials, *, seed=0, sampler="surrogate", storage=None, direction="maximize", **options):
    ledger = Ledger(storage or InMemoryStorage(), "study", direction=direction, sampler=samplers.create(sampler, seed))
    return Engine(ledger, schedulers.create("adaptive", RUNGS, 3), sample=sample, trials=trials, **options)


def search(sample, trials, *, workers=1, curve=curve, steps=None, **options):
    engine = make_engine(sample, trials, **options)
    for _ in itertools.islice(simulate(engine, curve, workers=workers), steps):
        pass
    if engine.done:
        engine.close()
    return engine.ledger.study.get_trials()


def keys(trials):
    return [key(trial.params) for trial in trials]


@pytest.mark.parametrize("workers", [1, 6])
@pytest.mark.parametrize("seed", [0, 1])
def test_no_configuration_is_proposed_twice_while_another_is_left(workers, seed):
    trials = search(finite, 60, workers=workers, seed=seed)
    assert len(trials) == 60 == len(set(keys(trials)))


@pytest.mark.parametrize(("sample", "count"), [(finite, 66), (tiny, 6), (one, 1)])
@pytest.mark.parametrize("workers", [1, 6])
def test_a_finite_space_is_tried_once_from_end_to_end_and_the_search_is_done(sample, count, workers):
    engine = make_engine(sample, 500)
    list(simulate(engine, curve, workers=workers))
    engine.close()
    assert engine.done
    trials = engine.ledger.study.get_trials()
    assert len(trials) == count
    assert set(keys(trials)) == {key(cell) for cell in cells(sample)}
    assert all(trial.state.is_finished() for trial in trials)
    assert any(trial.state == TrialState.COMPLETE for trial in trials)


def test_more_trials_of_a_space_that_is_used_up_are_none():
    storage = InMemoryStorage()
    search(tiny, 500, storage=storage)
    assert len(search(tiny, 500, storage=storage, seed=1)) == 6


def too_large(config):
    """Feasible is about a fifth of the random configurations."""
    size = config["depth"] * {"conv": 2, "attention": 3, "mlp": 1}[config["kind"]]
    return Admission(excess={"size": size / 4 - 1, "drop": config["drop"] - 0.25})


def share_skipped(sampler, seed):
    """Of what was proposed after the first random trials: those that are skipped are none, so more are asked for."""
    engine = make_engine(mixed, 2 * RANDOM_TRIALS, sampler=sampler, seed=seed, admit=too_large)
    list(simulate(engine, curve, workers=2))
    skipped = np.array(["skipped" in trial.user_attrs for trial in engine.ledger.study.get_trials()])
    return np.mean(skipped[np.cumsum(~skipped) > RANDOM_TRIALS])


def test_what_cannot_be_trained_is_soon_no_longer_proposed():
    random, ours = ([share_skipped(name, seed) for seed in (0, 3, 4)] for name in ("random", "surrogate"))
    assert np.mean(random) > 0.6
    assert np.mean(ours) < 0.3 * np.mean(random)
    assert max(ours) < 0.6 * np.mean(random), "however good it might be there"


def test_where_hardly_anything_can_be_trained_that_is_found_before_there_is_a_model():
    """One random configuration in twelve is feasible. Trials that fail teach as well as others."""

    def tight(config):
        return Admission(excess={"drop": config["drop"] / 0.06 - 1, "depth": config["depth"] / 6 - 1})

    def feasible(sampler, seed):
        engine = make_engine(mixed, RANDOM_TRIALS, sampler=sampler, seed=seed, admit=tight)
        list(simulate(engine, curve, workers=2))
        return RANDOM_TRIALS / len(engine.ledger.study.get_trials())

    random, ours = ([feasible(name, seed) for seed in range(4)] for name in ("random", "surrogate"))
    assert np.mean(random) < 0.2
    assert np.mean(ours) > 1.5 * np.mean(random), "though every second proposal disregards what seems infeasible"


def test_a_choice_whose_first_networks_were_above_a_limit_is_tried_again_before_there_is_a_model():
    """The size is to blame, and three examples do not say so."""

    def sample(trial):
        stem = trial.suggest_categorical("stem", ["patch", "conv"])
        rest = {name: trial.suggest_int(name, 1, 8) for name in ("size", "depth", "heads")}
        return {"kind": stem, "drop": 0.1, **rest}

    def large(config):
        return Admission(excess={"macs": config["size"] / 5.5 - 1})

    def share(seed):
        first = [{"stem": "conv", "size": 8, "depth": d, "heads": h} for d, h in ((2, 3), (5, 7), (7, 1))]
        engine = make_engine(sample, RANDOM_TRIALS, seed=seed, admit=large, first=first)
        list(simulate(engine, lambda config: [0.5 + 0.01 * config["size"]] * RUNGS[-1], workers=2))
        trained = [t for t in engine.ledger.study.get_trials() if "skipped" not in t.user_attrs]
        return np.mean([trial.params["stem"] == "conv" for trial in trained])

    assert min(share(seed) for seed in range(6)) > 0.2, "it was 0 at worst"


def test_where_trials_fail_no_more_are_sent():
    def crash(engine):
        """A third of the space, and the best of it, fails as soon as it is trained."""
        while (job := engine.next()) is not None:
            if job.config["kind"] == "attention":
                engine.fail(job.trial, "out of memory")
                continue
            for epoch in range(job.start + 1, job.stop + 1):
                engine.report(job.trial, epoch, {"auc": curve(job.config)[epoch - 1]})
        return engine.ledger.study.get_trials()

    failed = [t.state == TrialState.FAIL for t in crash(make_engine(mixed, 80))]
    assert sum(failed[:30]) >= 2
    assert np.mean(failed[30:]) < 0.1


def by_kind(params):
    return params["kind"], params.get("heads"), params.get("kernel")


@pytest.mark.parametrize("seed", range(3))
def test_half_of_the_proposals_have_a_layout_that_has_not_been_trained_in_full(seed):
    """Deep attention with four heads is the best: the others are tried all the same, with its training."""

    def new_ones(layout):
        engine, found, full = make_engine(mixed, 60, seed=seed), [], set()
        engine.ledger._sampler.layout = layout
        while (job := engine.next()) is not None:
            if not job.start:
                found.append(by_kind(job.config) not in full)
            for epoch in range(job.start + 1, job.stop + 1):
                engine.report(job.trial, epoch, {"auc": curve(job.config)[epoch - 1]})
            if job.stop == RUNGS[-1]:
                full.add(by_kind(job.config))
        best = max(trial.value for trial in engine.ledger.study.get_trials() if trial.value)
        return np.mean(found[RANDOM_TRIALS:]), best

    (share, best), (_, without) = new_ones(by_kind), new_ones(None)
    assert share > 0.4
    assert best > without - 0.01


def test_where_every_layout_has_been_trained_in_full_the_search_goes_on_as_without():
    engine = make_engine(mixed, 40)
    engine.ledger._sampler.layout = lambda params: "the only one"
    for _ in simulate(engine, curve, workers=1):
        pass
    late = [trial.params["rate"] for trial in engine.ledger.study.get_trials()[RANDOM_TRIALS:]]
    assert np.mean([3e-4 < rate < 3e-3 for rate in late]) > 0.6, "by the model, not at random"


@pytest.mark.parametrize("seed", range(4))
def test_a_layout_that_has_been_seen_to_be_bad_is_not_new_for_ever(seed):
    """One of three kinds is bad and never comes to the full budget."""
    engine = make_engine(mixed, 60, seed=seed)
    engine.ledger._sampler.layout = lambda params: params["kind"]
    for _ in simulate(engine, curve, workers=1):
        pass
    late = [trial.params["kind"] == "mlp" for trial in engine.ledger.study.get_trials()[RANDOM_TRIALS + 10 :]]
    assert np.mean(late) < 0.25, "it was a half"


def test_what_fails_once_it_is_trained_counts_as_costly_also_after_a_resume(tmp_path):
    storage = open_storage(tmp_path / "study.db")
    engine = make_engine(mixed, 40, storage=storage)
    known = engine.ledger._sampler.known
    while (job := engine.next()) is not None and engine.finished < 8:
        engine.fail(job.trial, "out of memory")
    assert known.costly
    again = make_engine(mixed, 40, storage=storage)
    again.next()  # the trial that was running
    again.next()
    assert again.ledger._sampler.known.costly


def test_what_is_above_a_limit_costs_no_training():
    engine = make_engine(
        mixed, 40, admit=lambda config: Admission({}, {"parameters": 1.0} if config["kind"] == "mlp" else {})
    )
    for _ in simulate(engine, curve, workers=1):
        pass
    assert any("skipped" in trial.user_attrs for trial in engine.ledger.study.get_trials())
    assert not engine.ledger._sampler.known.costly


def test_parents_are_different_configurations_also_where_the_finals_trained_one_again(monkeypatch):
    engine = make_engine(mixed, 30)
    for _ in simulate(engine, curve, workers=1):
        pass
    ledger, sampler = engine.ledger, engine.ledger._sampler
    best = max((t for t in ledger.study.get_trials() if t.state == TrialState.COMPLETE), key=lambda t: t.value)
    for _ in range(6):
        number = ledger.repeat(best.number, {"repeats": best.number})
        for epoch in range(1, RUNGS[-1] + 1):
            ledger.report(number, epoch, best.value + 0.01)
        ledger.complete(number, best.value + 0.01)
    seen = []
    monkeypatch.setattr(
        "nas.samplers.surrogate.candidates.child",
        lambda sample, rng, parents: seen.append([p.key for p in parents]) or draft(sample, rng),
    )
    sampler.propose(ledger._mirror.get_trials(deepcopy=False), mixed, RUNGS, 1.0)
    assert len(set(seen[0])) == len(seen[0]) == 8


def test_a_study_of_hybrids_tells_the_sampler_what_a_layout_is(tmp_path):
    spec = studies.load("hybrid")
    sampler = open_ledger(tmp_path / "study.db", spec)._sampler
    first, *_, other = (draft(spec.sample, np.random.default_rng(0), params).params for params in spec.first)
    assert sampler.layout(first) != sampler.layout(other)
    assert sampler.layout(first) == sampler.layout({**first, "learning_rate": 1e-4, "stages.0.width": 32})
    assert sampler.layout(first) != sampler.layout({**first, "stages.1.mixer": "mlp"})


@pytest.mark.parametrize("workers", [1, 4])
def test_the_same_seed_is_the_same_search_and_another_is_another(workers):
    first, again, other = (keys(search(mixed, 40, workers=workers, seed=seed)) for seed in (3, 3, 4))
    assert first == again
    assert not set(first) & set(other)


def test_an_objective_to_be_minimised_is_searched_as_its_negative():
    up = search(mixed, 40, workers=2)
    down = search(mixed, 40, workers=2, direction="minimize", curve=lambda config: -curve(config))
    assert keys(up) == keys(down)


@pytest.mark.parametrize("seed", [0, 1])
@pytest.mark.parametrize("steps", [20, 200])
def test_a_sampler_that_meets_a_stored_study_goes_on_and_repeats_nothing(tmp_path, steps, seed):
    """Read back from SQLite by a second process, some of the trials running and some paused when it was killed."""
    search(mixed, 50, workers=3, steps=steps, storage=open_storage(tmp_path / "s.db"))
    trials = search(mixed, 50, workers=3, seed=seed, storage=open_storage(tmp_path / "s.db"))
    assert len(trials) == 50 == len(set(keys(trials)))
    assert all(trial.state.is_finished() for trial in trials)


def test_a_stored_study_has_taught_a_new_sampler_what_it_knows():
    storage = InMemoryStorage()
    search(mixed, 50, storage=storage)
    trials = search(mixed, 60, storage=storage, seed=1)
    final = [curve(mixed(optuna.trial.FixedTrial(trial.params)))[-1] for trial in trials]
    assert np.mean(final[50:]) > np.quantile(final[:RANDOM_TRIALS], 0.9)


def test_two_samplers_that_are_told_the_same_propose_the_same():
    """Nothing that counts is kept but what a study tells; the pool is drawn when a sampler begins."""
    storage = InMemoryStorage()
    search(mixed, 30, storage=storage)
    trials = Ledger(storage, "study", sampler=samplers.create("random", 0))._mirror.get_trials(deepcopy=False)
    proposals = [samplers.create("surrogate", 5).propose(trials, mixed, RUNGS, 1.0) for _ in range(2)]
    assert proposals[0] == proposals[1]
    assert key(proposals[0]) not in keys(trials)


def rare(trial):
    """A branch that a random draw does not find, with parameters of its own."""
    config = mixed(trial)
    if trial.suggest_int("lottery", 1, 10**6) == 77:
        config["prize"] = trial.suggest_categorical("prize", ["a", "b"])
    return config


def test_a_parameter_met_for_the_first_time_in_mid_search_is_learnt_too():
    first = ({},) * 30 + ({"lottery": 77, "kind": "attention", "rate": 1e-3},)

    def better_with_the_prize(config):
        return curve(config) + 0.5 * ("prize" in config)

    trials = search(rare, 60, first=first, curve=better_with_the_prize)
    assert len(set(keys(trials))) == 60
    assert sum("prize" in trial.params for trial in trials[:30]) == 0
    assert sum("prize" in trial.params for trial in trials[31:]) > 3, "the forebear of many"


def test_what_the_first_trials_leave_out_is_drawn_and_they_teach_like_any_other():
    trials = search(mixed, 25, first=[{"kind": "conv", "kernel": 5}, {"rate": 1e-3}])
    assert (trials[0].params["kind"], trials[0].params["kernel"]) == ("conv", 5)
    assert trials[1].params["rate"] == 1e-3
    assert len(trials[1].params) >= 5


GIVEN = {"kind": "attention", "rate": 2e-3, "drop": 0.1, "depth": 4, "norm": "batch", "heads": 4, "scale": 0.7}


def test_until_it_has_learnt_half_of_the_proposals_keep_something_of_a_given_trial():
    """A continuous value is never drawn twice, so an equal one is inherited."""
    storages = [InMemoryStorage() for _ in range(30)]
    for seed, storage in enumerate(storages):
        search(mixed, RANDOM_TRIALS, first=[GIVEN], seed=seed, storage=storage, steps=1)  # killed after an epoch
    early = [search(mixed, RANDOM_TRIALS, seed=seed, storage=s)[1:] for seed, s in enumerate(storages)]
    kept = [[sum(t.params.get(name) == GIVEN[name] for name in ("rate", "drop", "scale")) for t in e] for e in early]
    assert 0.35 < np.mean(np.array(kept) > 0) < 0.55
    assert np.mean(np.array(kept) == 3) > 0.02, "all but a choice or a whole number"
    nothing_given = [search(mixed, RANDOM_TRIALS, seed=seed) for seed in range(5)]
    assert len({t.params["rate"] for trials in nothing_given for t in trials}) == 5 * RANDOM_TRIALS


def test_where_the_best_are_copies_of_each_other_the_proposals_are_random_again():
    """What inherits nothing of an earlier trial is random."""

    def steps(config):
        """Ten networks behind all configurations."""
        return curve({**config, "drop": 0.1, "depth": 1, "norm": "layer", "scale": 0.5, "heads": 4} | {
            "rate": 10.0 ** round(math.log10(config["rate"])), "kind": "conv"
        })  # fmt: skip

    def unrelated(trials):
        seen = [{t.params["rate"], t.params["drop"]} for t in trials]
        return np.mean([not any(own & other for other in seen[:i]) for i, own in enumerate(seen)][40:])

    plain, copied = (
        np.mean([unrelated(search(mixed, 70, curve=of, seed=seed)) for seed in range(3)]) for of in (curve, steps)
    )
    assert plain < 0.3
    assert copied > 0.6


@pytest.mark.parametrize("value", [0.5, 1e30])
def test_values_that_are_all_equal_teach_nothing_and_do_no_harm(value):
    trials = search(mixed, 40, curve=lambda config: [value] * RUNGS[-1])
    assert len(set(keys(trials))) == 40
    assert len({trial.params["kind"] for trial in trials[RANDOM_TRIALS:]}) == 3


def best_found(sampler, seed):
    """The asymptote of the best that was trained in full within 300 epochs: 11 full trainings."""
    engine = make_engine(mixed, 1000, sampler=sampler, seed=seed)
    epochs = itertools.islice(simulate(engine, curve, workers=4), 300)
    return max(step.value for step in epochs if step.epoch == RUNGS[-1])


def test_it_finds_better_ones_than_random_for_the_same_epochs():
    seeds = range(6)
    ours, random = (np.array([best_found(name, seed) for seed in seeds]) for name in ("surrogate", "random"))
    optimum = 0.99
    assert np.mean(ours > random) >= 5 / 6
    assert np.mean(optimum - ours) < 0.6 * np.mean(optimum - random)


@pytest.mark.parametrize(
    ("proposed", "name"), [({"kind": "conv"}, "depth"), ({"kind": "conv", "depth": 9}, "depth"), ({}, "kind")]
)
def test_a_proposer_of_half_a_configuration_is_told_what_is_missing(proposed, name):
    class Half(optuna.samplers.RandomSampler):
        def propose(self, trials, sample, rungs, sign):
            return proposed

    ledger = Ledger(InMemoryStorage(), "study", sampler=Half(seed=0))
    with pytest.raises(ValueError, match=rf"without '{name}', or outside"):
        ledger.ask(tiny)


def test_a_proposal_is_recorded_as_a_trial_that_was_asked_is():
    proposed = {"kind": "conv", "rate": 1e-3, "drop": 0.1, "depth": 3, "norm": "batch", "kernel": 5}

    class Proposes(optuna.samplers.RandomSampler):
        def propose(self, trials, sample, rungs, sign):
            return proposed

    trials = []
    for sampler, given in ((Proposes(seed=0), None), (optuna.samplers.RandomSampler(seed=0), proposed)):
        ledger = Ledger(InMemoryStorage(), "study", sampler=sampler)
        number, config = ledger.ask(mixed, given)
        assert (number, config) == (0, proposed)
        ledger.start(number, {})
        trials.append(ledger.study.trials[0])
    one, other = trials
    assert (one.state, one.params, one.distributions) == (other.state, other.params, other.distributions)


@pytest.mark.parametrize("seed", [0, 4])  # lost far from all promoted trials if differences of rungs extrapolate
def test_in_a_long_study_one_search_for_candidates_serves_several_proposals_all_different(monkeypatch, seed):
    monkeypatch.setattr("nas.samplers.surrogate.proposer.BATCH_EVERY", 20)
    searches = []
    best_of = Candidates.best

    def counted(self, sample, rng, count, *more):
        chosen = best_of(self, sample, rng, count, *more)
        searches.append((len(self.beliefs.known.trials), count, len(chosen)))
        return chosen

    monkeypatch.setattr(Candidates, "best", counted)
    found = search(mixed, 200, workers=4, seed=seed)
    assert len(set(keys(found))) == len(found) == 200
    assert all(asked == given == min(1 + trials // 20, BATCH) for trials, asked, given in searches)
    assert len(searches) < 80
    at = [trial.params["rate"] for trial in found[-40:]]
    assert 1e-4 < np.median(at) < 1e-2, "and they are where the good ones are"
