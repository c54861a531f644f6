"""Schedulers and samplers by what they promise, through whole searches in virtual time and against Ray's own ASHA."""

import itertools
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import optuna
import pytest
from optuna.trial import TrialState

import studies
from nas import samplers, schedulers
from nas.schedulers import Decision
from nas.searching.engine import Engine
from nas.searching.ledger import Ledger
from nas.searching.optuna_private import attributes_of
from nas.searching.simulate import simulate
from nas.searching.storage import open_storage
from nas.searching.study import open_ledger

RUNGS = (2, 6, 18)


def sample(trial):
    mixer = trial.suggest_categorical("mixer", ["conv", "attention", "fourier"])
    config = {"mixer": mixer, "depth": trial.suggest_int("depth", 1, 2)}
    if mixer == "conv":
        config["kernel"] = trial.suggest_int("kernel", 3, 9, step=2)
    return config


CELLS = {("conv", depth, kernel) for depth in (1, 2) for kernel in (3, 5, 7, 9)}
CELLS |= {(mixer, depth, None) for mixer in ("attention", "fourier") for depth in (1, 2)}


def curve(config):
    """Different for every cell, and better from the first epoch where it is better at the end."""
    best = 0.5 + 0.1 * len(config["mixer"]) / 9 + 0.05 * config["depth"] + 0.01 * config.get("kernel", 0)
    return best * (1 - np.exp(-np.arange(1, RUNGS[-1] + 1) / 4))


def make_engine(path, trials, scheduler, sampler="random", seed=0, **options):
    ledger = Ledger(open_storage(path), "study", sampler=samplers.create(sampler, seed))
    return Engine(ledger, schedulers.create(scheduler, RUNGS, 3), sample=sample, trials=trials, **options)


def stored(path):
    return optuna.load_study(storage=open_storage(path), study_name="study").get_trials()


def cell(trial):
    return (trial.params["mixer"], trial.params["depth"], trial.params.get("kernel"))


@pytest.mark.parametrize("workers", [1, 3])
def test_full_trains_every_trial_to_its_last_epoch(tmp_path, workers):
    engine = make_engine(tmp_path / "s.db", 12, "full")
    list(simulate(engine, curve, workers=workers))
    engine.close()
    trials = stored(tmp_path / "s.db")
    assert len(trials) == 12
    for trial in trials:
        assert trial.state == TrialState.COMPLETE
        assert sorted(trial.intermediate_values) == list(range(1, RUNGS[-1] + 1))
        assert trial.value == pytest.approx(curve(attributes_of(trial)["config"])[-1])


@pytest.mark.parametrize("factor", [2, 3, 4])
def test_asha_stop_decides_as_rays_own_bracket(factor):
    """The same reports, in the same order, to both."""
    from ray.tune.schedulers.async_hyperband import _Bracket
    from ray.tune.schedulers.trial_scheduler import TrialScheduler

    rungs = tuple(2 * factor**k for k in range(3))
    ours = schedulers.create("asha_stop", (*rungs, 200), factor)
    theirs = _Bracket(min_t=2, max_t=200, reduction_factor=factor, s=0)
    theirs._rungs = [(rung, {}) for rung in reversed(rungs)]
    rng, stopped = np.random.default_rng(factor), 0
    running = {trial: 0 for trial in range(200)}
    while running:
        trial = int(rng.choice(list(running)))
        running[trial] += 1
        value = float(rng.normal())
        decision = ours.report(trial, running[trial], value)
        if running[trial] in rungs:  # Ray is told milestones only, as it would take a later epoch for one it missed
            theirs_says = theirs.on_result(SimpleNamespace(trial_id=trial), running[trial], value)
            assert (theirs_says == TrialScheduler.STOP) == (decision is Decision.STOP)
        else:
            assert decision is Decision.CONTINUE
        stopped += decision is Decision.STOP
        if decision is Decision.STOP or running[trial] > rungs[-1]:
            del running[trial]
    assert 50 < stopped < 200


@pytest.mark.parametrize("workers", [1, 3])
def test_asha_stop_ends_every_trial_and_only_full_budgets_are_complete(tmp_path, workers):
    engine = make_engine(tmp_path / "s.db", 30, "asha_stop")
    steps = list(simulate(engine, curve, workers=workers))
    engine.close()
    trials = stored(tmp_path / "s.db")
    by_state = {state: [t for t in trials if t.state == state] for state in TrialState}
    assert len(by_state[TrialState.COMPLETE]) + len(by_state[TrialState.PRUNED]) == 30
    assert by_state[TrialState.PRUNED]
    for trial in trials:
        last = max(trial.intermediate_values)
        assert (last == RUNGS[-1]) == (trial.state == TrialState.COMPLETE)
        assert last in RUNGS
    assert len(steps) == len({(s.trial, s.epoch) for s in steps})
    begun = {}
    for step in steps:  # a rung's decisions replayed by numpy
        if step.epoch not in RUNGS[:-1]:
            continue
        before = begun.setdefault(step.epoch, [])
        below = bool(before) and step.value < np.quantile(before, 2 / 3) - 1e-12
        assert (max(trials[step.trial].intermediate_values) == step.epoch) == below
        before.append(step.value)


@pytest.mark.parametrize("scheduler", ["full", "asha_stop"])
@pytest.mark.parametrize("crash_after", [1, 17, 40])
def test_a_killed_search_is_finished_by_the_next_one(tmp_path, scheduler, crash_after):
    path = tmp_path / "s.db"
    list(itertools.islice(simulate(make_engine(path, 10, scheduler), curve, workers=2), crash_after))
    engine = make_engine(path, 10, scheduler, seed=1)
    list(simulate(engine, curve, workers=2))
    engine.close()
    trials = stored(path)
    assert len(trials) == 10
    assert all(t.state in (TrialState.COMPLETE, TrialState.PRUNED) for t in trials)
    assert any(t.state == TrialState.COMPLETE for t in trials)
    for trial in trials:
        assert sorted(trial.intermediate_values) == list(range(1, max(trial.intermediate_values) + 1))


@pytest.mark.parametrize("crash_after", [None, 50, 101])
def test_a_grid_trains_every_cell_once_even_when_killed_between(tmp_path, crash_after):
    path = tmp_path / "s.db"
    if crash_after:
        list(itertools.islice(simulate(make_engine(path, 12, "full", "grid"), curve, workers=3), crash_after))
    engine = make_engine(path, 12, "full", "grid", seed=1)
    list(simulate(engine, curve, workers=3))
    engine.close()
    assert sorted(map(cell, stored(path)), key=str) == sorted(CELLS, key=str)


def test_the_default_sampler_is_the_one_that_learns(tmp_path):
    means = {}
    for name in ("tpe", "random"):
        engine = make_engine(tmp_path / f"{name}.db", 60, "full", name)
        list(simulate(engine, curve, workers=1))
        means[name] = np.mean([t.value for t in stored(tmp_path / f"{name}.db")[30:]])
    assert means["tpe"] > means["random"]


@pytest.mark.parametrize(("module", "rest"), [(schedulers, (RUNGS, 3)), (samplers, (0,))])
def test_an_unknown_name_is_refused_with_the_known_ones(module, rest):
    with pytest.raises(ValueError, match=r"unknown .* 'hyper'; known: .*, "):
        module.create("hyper", *rest)


def test_a_study_recorded_before_a_field_existed_can_be_resumed(tmp_path):
    spec = studies.load("hybrid")
    ledger = open_ledger(tmp_path / "s.db", spec)
    record = ledger.study.user_attrs["spec"]
    older = {key: value for key, value in record.items() if key not in ("sampler", "seeds")}
    ledger.study.set_user_attr("spec", older)
    assert open_ledger(tmp_path / "s.db", spec).study.user_attrs["spec"] == record
    with pytest.raises(ValueError, match="other sampler"):
        open_ledger(tmp_path / "s.db", replace(spec, sampler="random"))
