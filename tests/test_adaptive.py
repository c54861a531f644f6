"""The scheduler whose share of promotions follows what a rung predicts: its promises one by one, and whole searches."""

import itertools

import numpy as np
import pytest
from optuna.storages import InMemoryStorage
from optuna.trial import TrialState
from scipy.stats import spearmanr

from nas import samplers, schedulers
from nas.schedulers import Decision
from nas.schedulers.adaptive import EAGER, LATE, SCREENED, rank_correlation, unrestricted
from nas.searching.engine import Engine
from nas.searching.ledger import Ledger
from nas.searching.simulate import simulate

RUNGS = (2, 6, 18)
SCREENED_RUNGS = (2, 6, 18, 54)  # 2 is below a tenth: the first trials are screened there
FACTOR = 3


def make(rungs=RUNGS, factor=FACTOR, name="adaptive"):
    return schedulers.create(name, rungs, factor)


def told(scheduler, values, trials=None):
    """Every trial reports its values, a value for each rung that it has come to."""
    for number, curve in zip(trials or range(len(values)), values, strict=True):
        scheduler.report(number, 1, float(number))  # no two are copies
        for rung, value in zip(scheduler.rungs, curve, strict=False):
            scheduler.report(number, rung, float(value))
    return scheduler


def share(pairs, factor=FACTOR):
    return told(make(factor=factor), pairs).share(2, 6)


# -- the share ---------------------------------------------------------------------------------------------------


def test_the_share_shrinks_towards_one_in_factor_where_a_rung_predicts_the_next():
    shares = [share([(v, v**3) for v in range(n)]) for n in (3, 10, 30, 100, 1000)]
    assert shares == sorted(shares, reverse=True)
    assert shares[-1] == pytest.approx(1 / FACTOR, rel=0.01)
    assert all(value >= 1 / FACTOR for value in shares)


@pytest.mark.parametrize("factor", [2, 3, 4])
@pytest.mark.parametrize("sign", [0, -1])
def test_the_share_grows_to_its_limit_where_a_rung_says_nothing_or_the_contrary(factor, sign):
    rng = np.random.default_rng(0)
    pairs = [(v, sign * v + 1e-3 * rng.normal()) for v in rng.normal(size=200)]
    shares = [share(pairs[:n], factor) for n in (0, 10, 40, 200)]
    assert shares == sorted(shares)
    assert shares[-1] == 0.6 > shares[0]


@pytest.mark.parametrize("noise", [0.0, 0.5, 2.0])
@pytest.mark.parametrize("n", [3, 20, 60])
def test_the_share_follows_the_correlation_which_ten_trials_draw_to_its_prior(n, noise):
    rng = np.random.default_rng(n)
    pairs = [(v, v + noise * rng.normal()) for v in rng.normal(size=n)]
    correlation = (10 * 0.95 + n * spearmanr(*np.transpose(pairs)).statistic) / (10 + n)
    assert share(pairs) == pytest.approx(min(FACTOR ** -(max(correlation, 0) ** 2), 0.6))


def test_trials_that_reached_only_one_rung_say_nothing_by_themselves():
    assert share([(v,) for v in range(100)]) == share([]) == share([(1, 2), (2, 1)])


@pytest.mark.parametrize("correlation", [0.95, 0.8, 0.5])
@pytest.mark.parametrize("promoted", [1 / 3, 0.5, 0.8])
def test_the_correlation_is_that_over_all_trials_though_only_the_promoted_have_both_values(correlation, promoted):
    rng, n = np.random.default_rng(0), 120
    measured, truth, raw = [], [], []
    for _ in range(200):
        low, noise = rng.normal(size=(2, n))
        high = correlation * low + (1 - correlation**2) ** 0.5 * noise
        order = np.argsort(-low)
        best = sorted(order[: int(n * promoted)].tolist())
        among = rank_correlation([dict(enumerate(low)), dict(enumerate(high))], best)
        measured.append(unrestricted(among, [trial in set(best) for trial in order]))
        truth.append(spearmanr(low, high).statistic)
        raw.append(among)
    assert np.mean(measured) == pytest.approx(np.mean(truth), abs=0.08)
    assert np.mean(truth) - np.mean(raw) > 2 * abs(np.mean(truth) - np.mean(measured))


def test_each_rung_has_a_share_of_its_own():
    rng = np.random.default_rng(0)
    scheduler = told(make(), [(v, v, rng.normal()) for v in rng.normal(size=100)])
    assert scheduler.share(2, 6) < 0.36
    assert scheduler.share(6, 18) == pytest.approx(0.6, abs=0.02)


@pytest.mark.parametrize("decimals", [None, 1, 0])
def test_the_rank_correlation_is_spearmans_with_ties_too(decimals):
    rng = np.random.default_rng(0)
    first, second = rng.normal(size=(2, 50))
    second = 0.5 * first + second
    if decimals is not None:
        first, second = first.round(decimals), second.round(decimals)
    ours = rank_correlation([dict(enumerate(first)), dict(enumerate(second))], list(range(50)))
    assert ours == pytest.approx(spearmanr(first, second).statistic)


def test_where_all_are_equal_the_correlation_is_none():
    assert rank_correlation([{0: 1.0, 1: 1.0, 2: 1.0}, {0: 1.0, 1: 2.0, 2: 3.0}], [0, 1, 2]) == 0
    assert share([(0.5, v) for v in range(1000)]) == 0.6


# -- the rungs ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("rungs", "kept"),
    [
        ((4, 12), (4, 12)),
        ((1, 3, 9, 27, 81), (9, 27, 81)),
        ((1, 10), (1, 10)),
        ((7, 70), (7, 70)),
        ((6, 70), (70,)),
        ((12,), (12,)),
    ],
)
def test_rungs_below_a_tenth_of_the_budget_are_left_out(rungs, kept):
    scheduler, late = make(rungs), SCREENED
    assert scheduler.rungs == kept
    assert scheduler.target(late, 0) == kept[0]
    for rung in rungs:
        expected = Decision.CONTINUE if rung not in kept else Decision.COMPLETE if rung == kept[-1] else Decision.PAUSE
        assert scheduler.report(late, rung, 0.5) is expected


@pytest.mark.parametrize(
    ("rungs", "screen"), [((1, 3, 9, 27, 81), 3), (SCREENED_RUNGS, 2), ((6, 70), 6), ((1, 100), 100), ((4, 12), 4)]
)
def test_the_first_trials_stop_at_the_highest_rung_below_a_tenth(rungs, screen):
    assert [make(rungs).target(trial, 0) for trial in (0, SCREENED - 1)] == [screen] * 2


def test_a_third_of_the_first_trials_pass_their_screening_the_best_of_all_among_them():
    scheduler, passed = make(SCREENED_RUNGS), []
    value = noisy(2)
    passed += [trial for rung, trial in play(scheduler, 100, value, last=False) if rung == 2]
    ranked = sorted(range(SCREENED), key=lambda trial: -value.seen[trial, 2])
    assert SCREENED // FACTOR <= len(passed) <= 1.5 * SCREENED // FACTOR, "a few were among the best for a while"
    assert set(ranked[: SCREENED // FACTOR]) <= set(passed) <= set(range(SCREENED))
    assert set(range(SCREENED, 100)) <= set(scheduler.values[6]), "later trials are not screened"


def test_on_many_workers_every_trial_that_begins_with_nothing_known_is_screened():
    scheduler, value = make(SCREENED_RUNGS), noisy(3)
    began = {trial: scheduler.screens(trial) for trial in range(40)}
    assert [trial for trial, so in began.items() if so] == list(range(SCREENED, 40))
    passed, stops = set(), {scheduler.target(trial, 0) for trial in began}
    for trial in began:
        assert [scheduler.report(trial, e, value(trial, e)) for e in (1, 2)] == [Decision.CONTINUE, Decision.PAUSE]
        while (promoted := scheduler.promote(last=False)) is not None:
            passed.add(promoted)
    assert stops == {2}
    assert 40 // FACTOR <= len(passed) <= 1.5 * 40 // FACTOR
    assert not scheduler.screens(40), "enough is known"
    assert scheduler.target(40, 0) == 6
    scheduler.fail(39)
    assert scheduler.target(39, 0) == 6, "a failed trial has never been there"


@pytest.mark.parametrize("workers", [1, 8, 64])
def test_trials_that_are_equal_at_the_screening_rung_do_not_all_stop_there(workers):
    """Accuracy stays at the largest class at first. Copies of one another though they are, something has been seen."""
    scheduler = make(SCREENED_RUNGS)
    list(play(scheduler, 90, lambda trial, epoch: 0.5 if epoch <= 2 else float(trial), workers=workers))
    assert len(scheduler.values[6]) >= 90 - 64 - SCREENED


# -- promotions --------------------------------------------------------------------------------------------------


def play(scheduler, trials, value, seed=0, last=True, workers=4):
    """Trials report in random order; whoever may go on does. Yields (rung, trial) of every promotion as it is made."""
    rng, number, reached = np.random.default_rng(seed), 0, {}
    running = []
    while True:
        while len(running) < workers:
            if (chosen := scheduler.promote(last=last and number == trials and not running)) is not None:
                yield reached[chosen], chosen
                running.append(chosen)
            elif number < trials:
                if isinstance(scheduler, schedulers.Screening):
                    scheduler.screens(number)
                running.append(number)
                number += 1
            else:
                break
        if not running:
            return
        trial = running.pop(rng.integers(len(running)))
        reached[trial] = scheduler.target(trial, reached.get(trial, 0))
        scheduler.report(trial, reached[trial], value(trial, reached[trial]))


class noisy:
    """The value of a trial at an epoch, with the noise that it was first seen with."""

    def __init__(self, seed):
        self.quality, self.rng = np.random.default_rng(seed).normal(size=1000), np.random.default_rng(seed + 1)
        self.seen = {}

    def __call__(self, trial, epoch):
        found = float(self.quality[trial] + 2 / epoch * self.rng.normal())
        return self.seen.setdefault((trial, epoch), found)


@pytest.mark.parametrize("seed", range(4))
def test_never_more_than_its_share_of_a_rung_has_gone_on_and_only_from_among_its_best(seed):
    scheduler, gone = make(), {rung: [] for rung in RUNGS}
    for rung, trial in play(scheduler, 120, noisy(seed), seed, last=False):
        above = RUNGS[RUNGS.index(rung) + 1]
        gone[rung].append(trial)
        allowed = int(len(scheduler.values[rung]) * scheduler.share(rung, above) + 1e-9)
        ranked = sorted(scheduler.values[rung], key=scheduler.values[rung].get, reverse=True)
        if len(gone[rung]) > allowed:
            assert len(gone[rung]) <= max(EAGER, allowed + 1)
            assert trial == ranked[0], "only the best of its rung does not wait"
        assert trial in ranked[:allowed]
        assert all(other in gone[rung] or other not in scheduler.paused for other in ranked[: ranked.index(trial)]), (
            "the best that waits goes first"
        )
    assert len(gone[2]) > 120 / 3 - 2
    assert len(gone[6]) > 0


def test_the_highest_rung_is_promoted_first():
    scheduler = told(make(), [(v, v) for v in range(9)])
    for trial in range(9, 30):
        scheduler.report(trial, 2, 100.0 + trial)
    assert scheduler.promote(last=False) == 8


def test_the_place_of_one_who_is_on_its_way_already_is_not_given_to_the_next():
    """Five of 15 are running again after an interruption, and since then better ones have come."""
    values = [(v,) for v in range(15)]
    scheduler = told(make(), values)
    for trial in range(5):
        scheduler.resume(trial)
    assert [scheduler.promote(last=False) for _ in range(2)] == [14, None], "the record alone"
    uninterrupted = told(make(), values)
    assert [uninterrupted.promote(last=False) for _ in range(6)] == [14, 13, 12, 11, 10, None]


def test_until_four_have_gone_on_the_best_of_a_rung_does_not_wait_for_its_share():
    scheduler, gone = make(), []
    for trial in range(9):
        scheduler.report(trial, 1, float(trial))
        scheduler.report(trial, 2, float(trial))
        gone.append(scheduler.promote(last=False))
    assert gone == [None, None, 2, 3, 4, 5, None, None, None], "each is the best so far; the share of nine is three"


def test_a_record_goes_on_when_the_share_is_used_up_but_one_after_the_other_as_it_grows():
    scheduler = told(make(), [(-v,) for v in range(24)])
    gone = [scheduler.promote(last=False) for _ in range(10)]
    assert gone == [*range(8), None, None], "the share of 24"
    records = []
    for trial in range(24, 54):
        for epoch in (1, 2):
            scheduler.report(trial, epoch, float(trial))
        if (chosen := scheduler.promote(last=False)) is not None:
            assert chosen == trial, "the best"
            records.append(trial)
        assert 8 + len(records) <= int(len(scheduler.values[2]) * scheduler.share(2, 6)) + 1
    assert records[0] == 24
    assert 10 <= len(records) < 20, "of thirty records"


def test_at_the_end_those_that_came_late_and_lead_their_rung_go_on():
    """The share of 24 trials is used up by the first eight; then come the three best."""
    scheduler = told(make(), [(v,) for v in [*range(8, 0, -1), *[0] * 13]])
    for trial in list(scheduler.paused)[:8]:
        scheduler.resume(trial)
    for trial, value in ((21, 10.0), (22, 11.0), (23, 12.0)):
        scheduler.report(trial, 1, value)
        scheduler.report(trial, 2, value)
    assert int(24 * scheduler.share(2, 6)) == 8
    going = [scheduler.promote(last=False), scheduler.promote(last=False)]
    assert going == [23, None], "a record, and no more"
    assert [scheduler.promote(last=True) for _ in range(2)] == [22, None], "a quarter of eight are two"


def test_given_up_is_who_stands_two_or_more_behind_the_largest_share():
    scheduler = told(make(), [(-v,) for v in range(20)])
    assert scheduler.hopeless(20) == list(range(12 + 2, 20))
    assert scheduler.hopeless(40) == []


def test_where_later_trials_are_ever_better_no_more_than_the_share_goes_on():
    """The paper's rule promotes nearly all of them: each is among the best third when it comes."""

    def improving(trial, epoch):
        return trial + epoch / 100

    gone = {}
    for name in ("adaptive", "promotion"):
        promotions = play(make(name=name), 200, improving)
        gone[name] = sum(rung == 2 for rung, _ in promotions)
    assert gone["adaptive"] <= 200 * 3**-0.9 * (1 + 1 / LATE) + 1
    assert gone["promotion"] > 1.5 * gone["adaptive"]


@pytest.mark.parametrize("rungs", [RUNGS, SCREENED_RUNGS])
@pytest.mark.parametrize("trials", [1, 2, 3, 7])
def test_however_few_the_trials_one_comes_to_the_full_budget(trials, rungs):
    scheduler = make(rungs)
    list(play(scheduler, trials, noisy(0)))
    assert len(scheduler.values[rungs[-1]]) >= 1


@pytest.mark.parametrize(("rungs", "workers"), [(RUNGS, 4), (SCREENED_RUNGS, 4), (SCREENED_RUNGS, 40)])
@pytest.mark.parametrize("seed", range(6))
def test_nobody_given_up_would_ever_have_been_promoted(seed, rungs, workers):
    """Nor if two better ones fail, whose places the next best take."""
    scheduler, given_up, fails = make(rungs), set(), 0
    value = noisy(seed)
    for number, (_, trial) in enumerate(play(scheduler, 80, value, seed, workers=workers)):
        assert trial not in given_up
        given_up |= set(scheduler.hopeless(80))
        if number in (3, 11):  # a promoted one fails: it will report no more, and nobody knew it
            scheduler.fail(trial)
            fails += 1
    assert fails == 2
    assert len(given_up) > 10


def test_a_copy_of_another_trial_does_not_go_on_in_its_place_or_beside_it():
    """Three of the best four are the same network: the fourth best network goes on instead."""
    scheduler = make()
    curves = [(9, 9), (9, 9), (8, 9), (9, 9), (5, 7), (5, 6), *[(0, -n) for n in range(12)]]
    decisions = [[scheduler.report(n, e, float(v)) for e, v in enumerate(curve, 1)] for n, curve in enumerate(curves)]
    assert all(decision == [Decision.CONTINUE, Decision.PAUSE] for decision in decisions)
    assert scheduler.hopeless(100) == [1, 3], "the second and third of three; another has had other values on its way"
    assert [scheduler.promote(last=False) for _ in range(5)] == [0, 2, 4, 5, 6]
    for epoch in range(3, 7):
        scheduler.report(0, epoch, 9.0)
        scheduler.report(2, epoch, 9.0)
    assert scheduler.hopeless(100) == [1, 3], "equal values from now on do not make a copy"
    scheduler.fail(0)
    scheduler.report(18, 1, 9.0)
    scheduler.report(18, 2, 9.0)
    assert 18 not in scheduler.hopeless(100), "that of which it is a copy has failed"


def test_the_share_of_many_trials_is_that_of_all_of_them_to_a_thousandth():
    pairs = [(v, v + 0.5 * w, v + w) for v, w in np.random.default_rng(0).normal(size=(4000, 2))]
    grown = make()
    for number, pair in enumerate(pairs):
        told(grown, [pair], [number])
        grown.share(2, 6)
    assert grown.share(2, 6) == pytest.approx(told(make(), pairs).share(2, 6), abs=1e-3)


def test_a_failed_trial_has_never_been_there():
    pairs = [(v, v + 0.5 * w, -v) for v, w in np.random.default_rng(0).normal(size=(30, 2))]
    there = told(make(), pairs)
    before = there.share(2, 6)
    for trial in (3, 17):
        there.fail(trial)
    kept = [number for number in range(30) if number not in (3, 17)]
    never = told(make(), [pairs[number] for number in kept], kept)
    assert vars(there.copies) == vars(never.copies)
    passing = {"_shares": {}, "_changes": 0, "copies": None}
    assert vars(there) | passing == vars(never) | passing
    assert there.share(2, 6) == never.share(2, 6) != before


@pytest.mark.parametrize("rungs", [RUNGS, SCREENED_RUNGS])
def test_a_scheduler_that_is_told_again_decides_the_same(rungs):
    one, seen = make(rungs), []
    value = noisy(5)

    def remembered(trial, epoch):
        seen.append((trial, epoch, value(trial, epoch)))
        return seen[-1][2]

    list(play(one, 60, remembered, last=False))
    again = make(rungs)
    for trial, epoch, found in sorted(seen):  # trial by trial, as they are stored
        again.report(trial, epoch, found)
        if epoch < max(e for t, e, _ in seen if t == trial):
            again.forget(trial)
    assert again.paused == one.paused
    assert again.promoted == one.promoted
    assert all(again.share(r, a) == one.share(r, a) for r, a in itertools.pairwise(one.rungs))
    if one.screen:
        assert (again.screen.paused, again.screen.promoted) == (one.screen.paused, one.screen.promoted)
    assert again.promote(last=True) == one.promote(last=True)


# -- a whole search ----------------------------------------------------------------------------------------------


def search(trials, workers, storage, rungs=RUNGS, *, steps=None, seed=0):
    def curve(config):
        return config["best"] * (1 - np.exp(-np.arange(1, rungs[-1] + 1) / 5))

    ledger = Ledger(storage, "study", sampler=samplers.create("random", seed))
    engine = Engine(
        ledger, make(rungs), sample=lambda trial: {"best": trial.suggest_float("best", 0.0, 1.0)}, trials=trials
    )
    for _ in itertools.islice(simulate(engine, curve, workers=workers), steps):
        pass
    if engine.done:
        engine.close()
    return engine.ledger.study.get_trials()


@pytest.mark.parametrize("steps", [50, 90, 150, 300])
def test_a_search_on_many_workers_still_knows_after_a_crash_which_trials_it_screens(steps):
    storage = InMemoryStorage()

    def engine():
        ledger = Ledger(storage, "study", sampler=samplers.create("random", 0))
        return Engine(
            ledger, make(SCREENED_RUNGS), sample=lambda t: {"best": t.suggest_float("best", 0, 1)}, trials=90,
            checkpoint=lambda number, at_most: at_most,
        )  # fmt: skip

    one = engine()
    for _ in itertools.islice(simulate(one, lambda c: c["best"] * np.arange(1, 55) ** 0.1, workers=40), steps):
        pass
    again = engine()
    also = one.scheduler._also_screened
    assert again.scheduler._also_screened == also == set(range(SCREENED, max(also) + 1))
    assert 40 <= max(also) + 1 < 60
    before, after = one.scheduler.screen, again.scheduler.screen
    assert before.paused.items() <= after.paused.items()
    assert after.paused.keys() - before.paused.keys() <= before.promoted[2], "had gone on, but not to another epoch"


@pytest.mark.parametrize("rungs", [RUNGS, SCREENED_RUNGS])
@pytest.mark.parametrize("workers", [1, 5])
@pytest.mark.parametrize("crash_after", [None, 30, 90])
def test_every_trial_ends_and_the_best_are_trained_in_full(workers, crash_after, rungs):
    storage = InMemoryStorage()
    if crash_after:
        search(40, workers, storage, rungs, steps=crash_after, seed=1)
    trials = search(40, workers, storage, rungs)
    assert len(trials) == 40
    full = [trial for trial in trials if max(trial.intermediate_values) == rungs[-1]]
    assert all(trial.state == TrialState.COMPLETE for trial in full)
    assert all(trial.state == TrialState.PRUNED for trial in trials if trial not in full)
    ranked = sorted(trials, key=lambda trial: -trial.params["best"])
    assert ranked[0] in full
    assert any(trial in full for trial in ranked[:5])
    assert (3 if rungs == RUNGS else 1) <= len(full) <= 15
