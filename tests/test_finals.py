"""The finals of a search: who is trained again, who wins, and what a crash leaves."""

import io
import itertools
import math

import numpy as np
import optuna
import pytest
from here import work_through_here
from optuna.trial import TrialState
from rich.console import Console

from nas import samplers, schedulers
from nas.errors import UserError
from nas.finalists import CLEAR_SEEDS, MOST_SEEDS, estimate, next_to_train
from nas.reading import read
from nas.report.remarks import on_turned
from nas.report.table import finals_rows, finals_table
from nas.report.verdict import verdict
from nas.searching.engine import Engine
from nas.searching.finals import Finals, trainings
from nas.searching.jobs import REPEATS, Epoch
from nas.searching.ledger import Ledger
from nas.searching.storage import open_storage
from nas.searching.work import Search

EPOCHS = 4


def sample(trial):
    return {"quality": trial.suggest_float("quality", 0.0, 1.0), "seed": 0}


def value(config, epoch=EPOCHS):
    """Noise of its own for every quality and seed, as between trainings."""
    rng = np.random.default_rng([int(config["quality"] * 1e9), config["seed"]])
    return 0.7 + 0.2 * config["quality"] + 0.03 * rng.standard_normal() - 0.02 * (EPOCHS - epoch)


def searched(path, trials, seed=0, share=0.2, curve=value, maximize=True, gap=None, folds=0, **options):
    """A search with its finals, in this process."""
    direction = "maximize" if maximize else "minimize"
    ledger = Ledger(open_storage(path), "s", direction=direction, sampler=samplers.create("random", seed))
    ledger.study.set_user_attr("spec", {"rungs": [EPOCHS], "objective": "auc", "direction": direction})
    scheduler = schedulers.create("full", (EPOCHS,), 3)
    search = Search(Engine(ledger, scheduler, sample=sample, trials=trials, **options), share, folds)

    def run(job):
        for epoch in range(job.start + 1, job.stop + 1):
            auc = curve(job.config, epoch)
            yield Epoch(epoch, {"auc": auc} if gap is None else {"auc": auc, "auc_d4_worst": auc - gap})

    work_through_here(search, run, None)
    return read(ledger.study), search


def test_an_estimate_is_the_posterior_of_a_mean_with_normal_noise():
    found = estimate({0: 0.5, 1: 0.8, 2: 0.9, 3: 0.94}, {3: [0.86, 0.88]})
    centre, above = 0.85, np.array([0.9, 0.94])  # of the four values
    spread = ((above - centre) ** 2).mean()
    of_three = np.array([0.94, 0.86, 0.88])
    noise = (2 * spread / 2 + ((of_three - of_three.mean()) ** 2).sum()) / (2 + 2)
    between = max(spread - noise, noise / 4)
    grid = np.linspace(0.5, 1.3, 400_001)  # the posterior by brute force
    density = -((grid - centre) ** 2) / between / 2 - sum((v - grid) ** 2 for v in of_three) / noise / 2
    density = np.exp(density - density.max())
    mean = (grid * density).sum() / density.sum()
    sd = math.sqrt(((grid - mean) ** 2 * density).sum() / density.sum())
    (three,) = (f for f in found if f.trial == 3)
    assert (three.mean, three.sd) == pytest.approx((mean, sd), rel=1e-4)
    assert three.bound == pytest.approx(mean - sd, rel=1e-4)


def test_a_loss_is_judged_like_a_gain_upside_down():
    gains, again = {0: 0.5, 1: 0.8, 2: 0.9}, {2: [0.7], 1: [0.85]}
    losses = estimate(
        {t: -v for t, v in gains.items()}, {t: [-v for v in vs] for t, vs in again.items()}, maximize=False
    )
    for gain, loss in zip(estimate(gains, again), losses, strict=True):
        assert (gain.trial, gain.mean, gain.bound) == pytest.approx((loss.trial, -loss.mean, -loss.bound))


def seeds_of(fresh):
    return {trial: len(values) for trial, values in fresh.items()}


def finals(truth, budget, noise=0.003, seed=0):
    """How often each configuration is trained again, out of `budget` trainings."""
    rng, fresh = np.random.default_rng(seed), {}
    searched = dict(enumerate(np.asarray(truth) + noise * rng.standard_normal(len(truth))))
    for _ in range(budget):
        trial = next_to_train(estimate(searched, fresh), 1.0, seeds_of(fresh))
        if trial is None:
            break
        fresh.setdefault(trial, []).append(truth[trial] + noise * rng.standard_normal())
    return seeds_of(fresh)


@pytest.mark.parametrize("seed", range(5))
def test_finals_end_when_the_winner_is_clear_and_nothing_goes_to_those_far_behind(seed):
    again = finals([0.9, 0.95, *[0.9] * 30], 20, seed=seed)
    assert again[1] >= CLEAR_SEEDS
    assert sum(again.values()) <= 8


@pytest.mark.parametrize("seed", range(5))
def test_two_that_are_equal_are_compared_to_the_end_and_the_others_left_alone(seed):
    again = finals([0.95, 0.95, *[0.9] * 30], 40, seed=seed)
    assert again[0] + again[1] >= MOST_SEEDS
    assert sum(again.values()) - again[0] - again[1] <= 2


def test_the_winner_of_finals_is_better_than_the_luckiest_and_its_estimate_is_not_too_high():
    rng, gains, errors = np.random.default_rng(0), [], {"luckiest": [], "winner": []}
    for _ in range(200):
        truth = 0.9 + 0.01 * rng.standard_normal(20)

        def train(trial, truth=truth):
            return float(truth[trial] + 0.01 * rng.standard_normal())

        searched, fresh = {trial: train(trial) for trial in range(20)}, {}
        for _ in range(7):
            trial = next_to_train(estimate(searched, fresh), 1.0, seeds_of(fresh))
            if trial is not None:
                fresh.setdefault(trial, []).append(train(trial))
        luckiest = max(searched, key=searched.get)
        winner = next(f for f in estimate(searched, fresh) if f.fresh)
        gains.append(truth[winner.trial] - truth[luckiest])
        errors["luckiest"].append(searched[luckiest] - truth[luckiest])
        errors["winner"].append(winner.mean - truth[winner.trial])
    assert np.mean(gains) > 3 * np.std(gains) / math.sqrt(len(gains)) > 0
    assert np.mean(errors["luckiest"]) > 0.01  # as much as a standard deviation of the noise
    assert abs(np.mean(errors["winner"])) < 0.004


def test_a_given_configuration_is_judged_by_its_own_values_since_none_of_them_picked_it():
    found = {f.trial: f for f in estimate({0: 0.5, 1: 0.8, 2: 0.9, 3: 0.94}, {1: [0.86, 0.88]}, given={1})}
    assert found[1].mean == pytest.approx(np.mean([0.8, 0.86, 0.88]))
    assert found[3].mean < 0.94  # picked from what the search drew


def test_a_lucky_network_does_not_displace_a_better_given_one():
    rng, lost = np.random.default_rng(1), {"like the others": [], "given": []}
    for _ in range(300):
        truth = np.append(0.9 + 0.005 * rng.standard_normal(20), 0.912)  # what a person wrote is among the best
        first, later = truth + 0.01 * rng.standard_normal(21), truth + 0.01 * rng.standard_normal((7, 21))
        for name, given in (("like the others", ()), ("given", {20})):
            searched, fresh = dict(enumerate(first)), {}
            for again in later:
                trial = next_to_train(estimate(searched, fresh, given=given), 1.0, seeds_of(fresh))
                if trial is not None:
                    fresh.setdefault(trial, []).append(float(again[trial]))
            winner = next(f.trial for f in estimate(searched, fresh, given=given) if f.fresh)
            lost[name].append(truth[20] - truth[winner])
    gain = np.subtract(lost["like the others"], lost["given"])
    assert gain.mean() > 3 * gain.std() / math.sqrt(len(gain)) > 0


def test_the_finals_cost_at_most_their_share_and_use_seeds_that_the_search_did_not(tmp_path):
    results, search = searched(tmp_path / "study.db", 20)
    assert 0 < len(results.repeats) <= 4 == trainings(results, 0.2)
    again = results.repeats[0]
    with pytest.raises(UserError, match=f"a training of the finals; name trial {again.repeats}"):
        results.trial(again.number)
    assert len(results.trials) == 20 == search.engine.finished
    assert all(repeat.config["seed"] >= 1 for repeat in results.repeats)
    for repeat in results.repeats:
        original = results.trial(repeat.repeats)
        assert repeat.params == original.params
        assert {**repeat.config, "seed": 0} == original.config
    of_one = [(r.repeats, r.config["seed"]) for r in results.repeats]
    assert len(set(of_one)) == len(of_one)
    assert results.cells()[0].trials[0] == results.best


def test_a_given_winner_of_the_finals_is_marked_and_the_best_that_was_found_named_with_its_seeds(tmp_path):
    lines = []
    results, _ = searched(
        tmp_path / "study.db", 20, first=({"quality": 1.0},), listen=lambda event: lines.append(event.reason)
    )
    assert results.best.number == 0
    assert finals_rows(results)[0][0] == "0 (given)"
    terminal = Console(width=80, file=io.StringIO())
    terminal.print(finals_table(results))
    assert all(cell in terminal.file.getvalue() for row in finals_rows(results) for cell in row)
    assert not any("given" in row[0] for row in finals_rows(results)[1:])
    assert "trial 0 (given) again" in lines
    second = results.finalists()[1]
    best, lead, _ = verdict(results)
    assert best.startswith("The best configuration, trial 0, was given to the search and reaches AUC ")
    ahead = results.finalists()[0].mean - second.mean
    assert f"the best configuration that the search found, trial {second.trial}," in lead
    assert f"{ahead:.3f} (" in lead


@pytest.mark.parametrize("maximize", [True, False])
@pytest.mark.parametrize("quality", [0.0, 1.0])
def test_the_finals_begin_with_the_best_given_and_the_best_found_configuration(tmp_path, quality, maximize):
    first = ({"quality": quality}, {"quality": 0.4})
    results, _ = searched(tmp_path / "study.db", 20, first=first, maximize=maximize)
    again = [results.trial(repeat.repeats) for repeat in sorted(results.repeats, key=lambda repeat: repeat.number)]
    assert {trial.given for trial in again[:2]} == {True, False}
    kinds = ([t for t in results.ranked() if t.given is given] for given in (True, False))
    assert {trial.number for trial in again[:2]} == {of_kind[0].number for of_kind in kinds}


def test_with_a_budget_of_one_training_the_leader_gets_it_and_not_a_bad_given_configuration(tmp_path):
    results, _ = searched(tmp_path / "study.db", 8, first=({"quality": 0.0},))
    assert [repeat.repeats for repeat in results.repeats] == [results.best.number]
    assert not results.best.given


def test_given_configurations_that_fail_again_leave_the_found_ones_their_trainings(tmp_path):
    given = tuple({"quality": 0.9 + i / 100} for i in range(5))

    def curve(config, epoch):
        fails = config["seed"] and {"quality": config["quality"]} in given
        return math.nan if fails else value(config, epoch)

    results, _ = searched(tmp_path / "study.db", 20, first=given, curve=curve)
    assert any(not results.trial(repeat.repeats).given for repeat in results.repeats if repeat.state == "complete")
    assert not results.best.given


def test_a_weak_given_finalist_does_not_go_before_better_ones_that_were_not_trained_again(tmp_path):
    results, _ = searched(tmp_path / "study.db", 30, first=({"quality": 0.0},))
    assert 0 in [finalist.trial for finalist in results.finalists()]
    assert [cell.trials[0].number for cell in results.cells()].index(0) > 5
    assert results.cells()[0].trials[0] == results.best


def test_turned_values_of_the_winner_are_means_over_the_search_and_the_finals(tmp_path):
    results, _ = searched(tmp_path / "study.db", 20, gap=0.3)
    again = [repeat for repeat in results.repeats if repeat.repeats == results.best.number]
    assert again
    mean = np.mean([trial.value for trial in (results.best, *again)])
    assert results.mean_metrics(results.best)["auc"] == pytest.approx(mean)
    assert f"AUC {mean:.4f} upright, {mean - 0.3:.4f} in the worst of the eight symmetries" in on_turned(results)
    assert finals_rows(results)[0][-1] == f"{mean - 0.3:.4f}"
    stored = optuna.load_study(study_name="s", storage=open_storage(tmp_path / "study.db")).get_trials()
    assert all(t.user_attrs["auc_d4_worst"] == t.value - 0.3 for t in stored)


def test_without_a_share_or_a_rival_there_are_no_finals(tmp_path):
    assert searched(tmp_path / "none.db", 10, share=0.0)[0].repeats == ()
    assert searched(tmp_path / "one.db", 1, share=1.0)[0].repeats == ()


def test_finals_that_were_killed_go_on_where_they_were(tmp_path):
    whole, _ = searched(tmp_path / "whole.db", 30)

    class Killed(Exception):
        pass

    for fatal in range(1, 10):
        countdown = itertools.count()

        def dies(config, epoch, countdown=countdown, fatal=fatal):
            if config["seed"] and next(countdown) == fatal:
                raise SystemExit  # not an Exception: no failed trial, like a kill
            return value(config, epoch)

        with pytest.raises(SystemExit):
            searched(tmp_path / f"{fatal}.db", 30, curve=dies)
        resumed, _ = searched(tmp_path / f"{fatal}.db", 30)
        assert [(r.repeats, r.config["seed"], r.value) for r in resumed.repeats] == [
            (r.repeats, r.config["seed"], r.value) for r in whole.repeats
        ]
        assert resumed.best.number == whole.best.number


def test_a_configuration_that_fails_with_a_fresh_seed_does_not_win(tmp_path):
    luckiest = searched(tmp_path / "search.db", 20, share=0.0)[0].ranked()[0]

    def fails(config, epoch):
        if config["seed"] and config["quality"] == luckiest.config["quality"]:
            return math.nan
        return value(config, epoch)

    results, _ = searched(tmp_path / "search.db", 20, curve=fails)
    assert [r.state for r in results.repeats if r.repeats == luckiest.number] == ["failed"]
    assert results.best.number != luckiest.number
    assert results.finalists()


def test_where_the_only_training_of_the_finals_fails_another_configuration_wins(tmp_path):
    luckiest = searched(tmp_path / "search.db", 8, share=0.0)[0].ranked()[0]
    ledger = Ledger(open_storage(tmp_path / "search.db"), "s", sampler=samplers.create("random", 0))
    ledger.fail(ledger.repeat(luckiest.number, {"config": luckiest.config, REPEATS: luckiest.number}), "out of memory")
    results = read(ledger.study)
    assert not results.finalists()
    assert results.best == results.cells()[0].trials[0] == results.ranked()[1]


def test_a_configuration_whose_worker_was_lost_may_still_win(tmp_path):
    """Its machine died three times: that is no fault of the best configuration, in this process or the next."""
    luckiest = searched(tmp_path / "search.db", 20, share=0.0)[0].ranked()[0]
    ledger = Ledger(open_storage(tmp_path / "search.db"), "s", sampler=samplers.create("random", 0))
    finals = Finals(ledger, share=0.2)
    while (job := finals.next()).config["quality"] != luckiest.config["quality"]:
        for epoch in range(1, EPOCHS + 1):
            finals.report(job.trial, epoch, {"auc": 0.5})
    for _ in range(3):
        finals.lost(job.trial, "the worker process died")
        finals.next()
    assert luckiest.number not in finals.dropped
    (failed,) = (t for t in ledger.study.get_trials() if t.state == TrialState.FAIL)
    assert not failed.constraints
    again = Finals(Ledger(open_storage(tmp_path / "search.db"), "s", sampler=samplers.create("random", 0)), share=0.2)
    assert luckiest.number not in again.dropped


def test_more_trials_after_the_finals_extend_the_search(tmp_path):
    searched(tmp_path / "study.db", 20)
    results, search = searched(tmp_path / "study.db", 30)
    assert len(results.trials) == 30 == search.engine.finished
    assert len(results.repeats) <= trainings(results, 0.2) == 6
    assert {t.number for t in results.trials}.isdisjoint(r.number for r in results.repeats)


def test_a_search_for_the_smallest_has_finals_too(tmp_path):
    results, _ = searched(tmp_path / "study.db", 20, curve=lambda c, e: 1 - value(c, e), maximize=False)
    winner = results.finalists()[0]
    assert winner.bound == min(f.bound for f in results.finalists())
    assert winner.bound > winner.mean


def test_with_folds_every_training_of_a_configuration_validates_on_another_one(tmp_path):
    results, _ = searched(tmp_path / "study.db", 20, share=0.5, folds=3)
    assert results.repeats
    for repeat in results.repeats:
        earlier = [r for r in results.repeats if r.repeats == repeat.repeats and r.number < repeat.number]
        assert repeat.config["fold"] == [len(earlier) % 3, 3]
    assert all("fold" not in trial.config for trial in results.trials)
