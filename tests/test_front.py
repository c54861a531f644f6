"""The front of value and cost: its geometry, what schedulers and the sampler make of it, and what is stored."""

import itertools
import math

import numpy as np
import optuna
import pytest
from optuna._hypervolume import compute_hypervolume
from optuna.storages import InMemoryStorage

from nas import front, samplers, schedulers
from nas.reading import read
from nas.report.sections import sections
from nas.report.table import tables
from nas.retraining.choice import choose
from nas.samplers.surrogate.trade_off import expected_improvement
from nas.searching.engine import Engine
from nas.searching.jobs import Admission, Epoch
from nas.searching.ledger import Ledger
from nas.searching.simulate import simulate
from nas.searching.storage import open_storage
from nas.searching.work import Search
from studies import StudySpec
from studies.errors import StudyError

RUNGS = (2, 6, 18)


def drawn(n, seed, ties=False):
    """Values and costs by trial, which trade off with noise; with ties on a coarse grid."""
    rng = np.random.default_rng(seed)
    place = rng.random(n)
    values, costs = place + 0.5 * rng.normal(size=n), 10 ** (2 * place + rng.random(n))
    if ties:
        values, costs = np.round(values, 1), np.ceil(costs / 20)
    return dict(enumerate(values.tolist())), dict(enumerate(costs.tolist()))


def area(values, costs, trials, floor, ceiling):
    """The area under the front of these trials, by Optuna's algorithm, which minimises."""
    within = [t for t in trials if values[t] >= floor and math.log(costs[t]) <= ceiling]
    points = np.array([[math.log(costs[t]), -values[t]] for t in within])
    return compute_hypervolume(points, np.array([ceiling, -floor])) if within else 0.0


@pytest.mark.parametrize("ties", [False, True])
@pytest.mark.parametrize("seed", range(4))
def test_fronts_and_dominators_are_those_found_by_comparing_every_two_trials(seed, ties):
    values, costs = drawn(80, seed, ties)

    def dominates(a, b):
        better = (-costs[a], values[a], -a) > (-costs[b], values[b], -b) and values[a] >= values[b]
        return a != b and costs[a] <= costs[b] and better

    assert front.dominators(values, costs) == {b: sum(dominates(a, b) for a in values) for b in values}
    left, found = set(values), front.fronts(values, costs)
    for each in found:
        assert set(each) == {b for b in left if not any(dominates(a, b) for a in left)}
        assert all(costs[a] < costs[b] and values[a] < values[b] for a, b in itertools.pairwise(each))
        left -= set(each)
    assert not left


@pytest.mark.parametrize("seed", range(4))
def test_in_a_front_the_one_that_adds_most_area_comes_next(seed):
    values, costs = drawn(60, seed)
    (whole, *_), floor = front.fronts(values, costs), -0.2
    ceiling = math.log(max(costs.values())) + front.ROOM
    order = front.spread(whole, values, costs, floor, ceiling)
    assert sorted(order) == sorted(whole)
    for k, chosen in enumerate(order):
        with_each = {t: area(values, costs, [*order[:k], t], floor, ceiling) for t in order[k:]}
        assert with_each[chosen] == pytest.approx(max(with_each.values()))


def test_a_cheap_trial_that_is_worse_than_most_and_a_near_copy_come_last_in_their_front():
    values = {0: 0.5, 1: 0.8, 2: 0.9, 3: 0.901, **{trial: 0.7 for trial in range(4, 12)}}
    costs = {0: 1, 1: 10, 2: 100, 3: 101, **{trial: 1000 + trial for trial in range(4, 12)}}
    assert front.ordered(values, costs) == [3, 1, 2, 0, *range(4, 12)]


@pytest.mark.parametrize("seed", range(3))
def test_the_expected_improvement_is_the_mean_growth_of_the_area_over_draws_of_the_value(seed):
    values, costs = drawn(12, seed)
    (whole, *_), floor, rng = front.fronts(values, costs), 0.0, np.random.default_rng(seed)
    ceiling = math.log(max(costs.values())) + front.ROOM
    steps = np.array([[math.log(costs[t]), values[t]] for t in whole])
    mean, sd, cost = rng.normal(0.5, 0.7, 6), rng.uniform(0.05, 0.5, 6), rng.uniform(0.0, ceiling + 0.5, 6)
    found = expected_improvement(mean, sd**2, cost, steps, floor, ceiling)
    before = area(values, costs, whole, floor, ceiling)
    for i in range(6):
        growth = [
            area({**values, -1: value}, {**costs, -1: math.exp(cost[i])}, [*whole, -1], floor, ceiling) - before
            for value in rng.normal(mean[i], sd[i], 4000)
        ]
        assert found[i] == pytest.approx(np.mean(growth), abs=5 * np.std(growth) / len(growth) ** 0.5 + 1e-4)
    sure = expected_improvement(mean, np.full(6, 1e-18), cost, steps, floor, ceiling)
    exact = [
        area({**values, -1: mean[i]}, {**costs, -1: math.exp(cost[i])}, [*whole, -1], floor, ceiling) - before
        for i in range(6)
    ]
    assert sure == pytest.approx(exact, abs=1e-7)


# -- a search ----------------------------------------------------------------------------------------------------


def sample(trial):
    """Larger is better and costs more; the shape has an optimum, and costs nothing."""
    config = {"size": trial.suggest_float("size", 1.0, 100.0, log=True), "seed": 0}
    return {**config, **{f"shape{i}": trial.suggest_float(f"shape{i}", 0.0, 1.0) for i in range(4)}}


def curve(config):
    off = sum((config[f"shape{i}"] - 0.7) ** 2 for i in range(4))
    best = 0.5 + 0.1 * math.log10(config["size"]) + 0.25 * math.exp(-4 * off)
    return [best * (1 - math.exp(-epoch / 4)) for epoch in range(1, RUNGS[-1] + 1)]


def admit(config):
    return Admission({"macs": round(1000 * config["size"]), "parameters": 1}, {})


def make(trials, storage=None, sampler="surrogate", scheduler="adaptive", seed=0, direction="maximize", cost="macs"):
    made = samplers.create(sampler, seed)
    ledger = Ledger(storage or InMemoryStorage(), "study", direction=direction, sampler=made, cost=cost)
    objective = f"auc,{cost}" if cost else "auc"
    ledger.study.set_user_attr(
        "spec", {"rungs": RUNGS, "objective": objective, "direction": direction, "data": {"kind": "-"}, "task": "x"}
    )
    return Engine(ledger, schedulers.create(scheduler, RUNGS, 3), sample=sample, trials=trials, admit=admit)


def finish(engine, curve=curve, workers=3):
    epochs = len(list(simulate(engine, curve, workers=workers)))
    engine.close()
    return read(engine.ledger.study), epochs


@pytest.mark.parametrize("direction", ["maximize", "minimize"])
def test_the_study_keeps_both_values_and_optuna_finds_the_same_front(tmp_path, direction):
    sign = 1 if direction == "maximize" else -1
    engine = make(20, open_storage(tmp_path / "s.db"), "random", direction=direction)
    results, _ = finish(engine, lambda config: [sign * value for value in curve(config)])
    study = optuna.load_study(study_name="study", storage=open_storage(tmp_path / "s.db"))
    assert [each.name.lower() for each in study.directions] == [direction, "minimize"]
    for stored in study.trials:
        last = max(stored.intermediate_values)
        assert stored.values == [stored.intermediate_values[last], stored.user_attrs["macs"]]
    assert [t.number for t in results.front()] == [
        t.number for t in sorted(study.best_trials, key=lambda t: t.values[1])
    ]
    assert results.best in results.front()
    assert (results.objective, results.cost) == ("auc", "macs")


@pytest.mark.parametrize("scheduler", ["promotion", "adaptive"])
@pytest.mark.parametrize("seed", range(4))
def test_nobody_given_up_would_ever_have_been_promoted(scheduler, seed):
    """A place on the front can improve when more trials come, unlike a place by value."""
    values, costs = drawn(90, seed)
    rungs, given_up, rng = schedulers.create(scheduler, RUNGS, 3), set(), np.random.default_rng(seed)
    rungs.weigh(costs)
    reached = dict.fromkeys(range(90), 2)
    for number in range(90):
        rungs.report(number, 2, values[number])
        while (trial := rungs.promote(last=False)) is not None:
            assert trial not in given_up
            reached[trial] = RUNGS[RUNGS.index(reached[trial]) + 1]
            rungs.report(trial, reached[trial], values[trial] + 0.1 * rng.normal())
        given_up |= set(rungs.hopeless(90))
    promoted = sum(rung > 2 for rung in reached.values())
    assert promoted > 20
    assert given_up


@pytest.mark.parametrize("scheduler", ["promotion", "adaptive"])
def test_the_front_is_promoted_and_not_the_best_values_alone(scheduler):
    costs = {trial: 2.0**trial for trial in range(9)}
    values = {trial: 0.5 + 0.05 * trial for trial in range(9)} | {7: 0.1, 8: 0.2, 3: 0.4}
    chosen = {}
    for weighed in (True, False):
        rungs = schedulers.create(scheduler, RUNGS, 3)
        if weighed:
            rungs.weigh(costs)
        for trial, value in values.items():
            rungs.report(trial, 2, value)
        chosen[weighed] = {rungs.promote(last=False) for _ in range(3)}
    assert chosen[False] == {4, 5, 6}
    assert chosen[True] == set(front.ordered(values, costs)[:3]) != chosen[False]
    assert min(chosen[True]) < 3


def test_the_same_trials_without_a_second_objective_are_searched_as_ever():
    """The cost is known there too, as an attribute, and changes nothing."""
    plain = make(30, cost="")
    results, _ = finish(plain)
    assert {len(t.values) for t in plain.ledger.study.trials} == {1}
    assert results.cost == ""
    assert results.front("macs") == [t for t in results.front("macs") if t.state == "complete"] != []


@pytest.mark.parametrize("sampler", ["surrogate", "random"])
@pytest.mark.parametrize("crash_after", [5, 60, 150])
def test_a_search_for_a_front_resumes_where_it_was_and_more_trials_extend_it(tmp_path, sampler, crash_after):
    path = tmp_path / "s.db"
    list(itertools.islice(simulate(make(30, open_storage(path), sampler), curve, workers=3), crash_after))
    before = read(make(30, open_storage(path), sampler).ledger.study).trials
    finish(make(30, open_storage(path), sampler, seed=1))
    results, _ = finish(make(36, open_storage(path), sampler, seed=2))
    assert len(results.trials) == 36
    assert {t.state for t in results.trials} == {"complete", "pruned"}
    assert [t.params for t in results.trials[: len(before)]] == [t.params for t in before]
    assert len({str(t.params) for t in results.trials}) == 36
    stored = optuna.load_study(study_name="study", storage=open_storage(path)).trials
    assert all(t.values[1] == t.user_attrs["macs"] for t in stored)


def reached(sampler, scheduler, seed, epochs=540):
    """The area under the front that a search has after so many epochs, above 0.5 and up to twice the largest size."""
    engine = make(1000, sampler=sampler, scheduler=scheduler, seed=seed)
    list(itertools.islice(simulate(engine, curve, workers=3), epochs))
    full = read(engine.ledger.study).ranked()
    values = {t.number: curve(t.config)[-1] for t in full}
    return area(values, {t.number: t.macs for t in full}, values, 0.5, math.log(2e5))


def test_the_sampler_covers_more_of_the_front_than_random_search_with_the_same_epochs():
    """By twice the standard error of the difference of the means; single searches vary as much as the two differ."""
    ours, random = (
        np.array([reached(name, scheduler, seed) for seed in range(8)])
        for name, scheduler in (("surrogate", "adaptive"), ("random", "promotion"))
    )
    assert ours.mean() - random.mean() > 2 * math.sqrt((ours.var(ddof=1) + random.var(ddof=1)) / 8)


def test_every_configuration_on_the_front_is_trained_again_in_turn_and_keeps_its_cost(tmp_path):
    path = tmp_path / "s.db"
    search = Search(make(24, open_storage(path), "random"), 0.5)
    for interrupted in (True, False):
        while not search.done and (job := search.next()) is not None:
            epochs = zip(range(job.start + 1, job.stop + 1), curve(job.config)[job.start :], strict=True)
            for epoch, value in epochs:
                if search.finals and interrupted and len(search.finals.attempts) == 2:
                    break  # in the middle of the second training
                again = job.config["seed"] * 0.001
                if not search.report(job, Epoch(epoch, {"auc": value - again})):
                    break
            else:
                continue
            if search.finals and interrupted and len(search.finals.attempts) == 2:
                break
        if interrupted:
            search = Search(make(24, open_storage(path), "random"), 0.5)
    results = read(search.engine.ledger.study)
    fresh = [t.repeats for t in results.repeats if t.state == "complete"]
    on_it = {t.number for t in results.front()}
    assert set(fresh) == on_it
    counts = [fresh.count(number) for number in on_it]
    assert max(counts) - min(counts) <= 1
    stored = search.engine.ledger.study.get_trials()
    assert all(t.values[1] == t.user_attrs["macs"] for t in stored)
    assert results.best in results.front()
    first, *others = [cell.trials[0] for cell in results.cells()]
    assert first == results.best
    judged = {f.trial: f.mean for f in results.estimates()}
    values = [judged.get(t.number, t.value) for t in others]
    assert values == sorted(values, reverse=True), "a trial beside the front is not below all on it"


def test_a_search_for_a_front_that_was_killed_in_its_finals_can_be_extended(tmp_path):
    """What the finals were training may lie on the front no more."""
    path = tmp_path / "s.db"
    search = Search(make(20, open_storage(path), "random"), 0.5)
    while search.finals is None or len(search.finals.running) < 2:
        job = search.next()
        for epoch in range(job.start + 1, job.stop + 1) if search.finals is None else ():
            if not search.report(job, Epoch(epoch, {"auc": curve(job.config)[epoch - 1] - 0.2})):
                break
    begun = [training.trial for training in search.finals.running.values()]
    search = Search(make(50, open_storage(path), "random"), 0.5)
    while not search.done and (job := search.next()) is not None:
        for epoch in range(job.start + 1, job.stop + 1):
            if not search.report(job, Epoch(epoch, {"auc": curve(job.config)[epoch - 1]})):
                break
    results = read(search.engine.ledger.study)
    assert set(begun) - {t.number for t in results.front()}, "the premise"
    assert {t.state for t in results.repeats} == {"complete"}


def test_the_best_value_and_what_spans_the_front_are_retrained():
    results, _ = finish(make(40, sampler="random"))
    assert len(results.front()) > 3
    chosen = choose(results, 3).trials
    assert chosen[0] == results.best == results.front()[-1]
    assert {t.number for t in chosen} <= {t.number for t in results.front()}
    assert len(choose(results, 1000).trials) == len(results.ranked())


def test_report_and_terminal_show_the_front_by_rising_cost():
    results, _ = finish(make(30, sampler="random"))
    (section, *_), on_it = sections(results), results.front()
    assert section.title == "AUC against MACs"
    assert [row[0] for row in section.listing.rows] == [t.label for t in on_it]
    line = section.figure.data[-1]
    assert list(line.x)[:-1] == [t.macs for t in on_it]
    assert list(line.y)[:-1] == [t.value for t in on_it]
    table = tables(results)[0]
    assert list(table.columns[0].cells) == [t.label for t in on_it]
    assert "the front of AUC and MACs" in table.title


@pytest.mark.parametrize("objective", ["auc,latency", "auc,", "auc,macs,parameters", "auc,accuracy", "auc, macs"])
def test_a_cost_that_is_not_known_before_training_is_refused_with_the_known_ones(objective):
    with pytest.raises(StudyError, match=r"auc,macs or auc,parameters.*latency would have to be measured"):
        StudySpec(name="s", question="", objective=objective)
