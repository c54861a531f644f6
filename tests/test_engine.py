"""The engine's promises, in virtual time, on a real SQLite file and on a real PostgreSQL server."""

import io
import itertools
import math
import re

import numpy as np
import optuna
import pytest
import sqlalchemy
from optuna.trial import TrialState
from rich.console import Console

from nas import samplers, schedulers
from nas.errors import SearchFailed
from nas.schedulers import Decision
from nas.searching import storage
from nas.searching.display import Display
from nas.searching.engine import Engine
from nas.searching.jobs import Admission
from nas.searching.ledger import Ledger
from nas.searching.optuna_private import attributes_of
from nas.searching.simulate import simulate

RUNGS = (2, 6, 18)
optuna.logging.set_verbosity(optuna.logging.WARNING)
open_storage = storage.open_storage


@pytest.fixture(autouse=True, params=["sqlite", pytest.param("postgresql", marks=pytest.mark.slow)])
def database(request, monkeypatch):
    """Every test of this file runs on both: a path names a file, or a database of the server."""
    if request.param == "postgresql":
        server = request.getfixturevalue("postgresql")
        monkeypatch.setattr(f"{__name__}.open_storage", lambda path: storage.open_storage(server.place(path)))


def sample(trial):
    mixer = trial.suggest_categorical("mixer", ["conv", "attention"])
    config = {"mixer": mixer, "rate": trial.suggest_float("rate", 1e-4, 1e-1, log=True)}
    if mixer == "conv":
        config["kernel"] = trial.suggest_int("kernel", 3, 9, step=2)
    return config


def curve(config):
    """A learning curve whose asymptote depends on the configuration: best at rate 1e-2."""
    best = 0.95 - 0.1 * (math.log10(config["rate"]) + 2) ** 2 + 0.01 * (config["mixer"] == "attention")
    return best * (1 - np.exp(-np.arange(1, RUNGS[-1] + 1) / 4))


def make_engine(path, trials, seed=0, scheduler="promotion", direction="maximize", **options):
    sampler = optuna.samplers.TPESampler(seed=seed, multivariate=False)
    ledger = Ledger(open_storage(path), "study", direction=direction, sampler=sampler)
    return Engine(ledger, schedulers.create(scheduler, RUNGS, 3), sample=sample, trials=trials, **options)


def finish(engine, workers=3, curve=curve):
    steps = list(simulate(engine, curve, workers=workers))
    engine.close()
    return steps


def stored(path):
    return optuna.load_study(storage=open_storage(path), study_name="study").get_trials()


SECONDS = {"conv": 1.0, "attention": 3.0}  # of an epoch


def pace_of(config):
    return SECONDS[config["mixer"]]


def test_a_trial_that_would_take_too_long_ends_after_its_second_epoch_and_the_reopened_study_knows(tmp_path):
    events = []
    engine = make_engine(tmp_path / "s.db", 20, max_seconds=40.0, listen=events.append)  # 18 or 54 s in full
    for _ in simulate(engine, curve, workers=3, seconds_per_epoch=pace_of):
        pass
    engine.close()
    trials = stored(tmp_path / "s.db")
    slow = [t for t in trials if t.params["mixer"] == "attention"]
    assert 2 < len(slow) < 18
    for trial in slow:
        assert trial.state == TrialState.PRUNED
        assert sorted(trial.intermediate_values) == [1, 2], "one epoch alone may be slow for another reason"
        assert trial.constraints == {"seconds": pytest.approx(54 / 40 - 1)}
        assert attributes_of(trial)["error"] == "a full training would take 54 s, of 40 allowed"
        assert len(attributes_of(trial)["history"]) == 2
    ended = {e.trial: e for e in events if e.kind == "pruned" and e.reason}
    assert set(ended) == {t.number for t in slow}
    assert all(max(t.intermediate_values) > 2 or t.state == TrialState.PRUNED for t in trials if t not in slow)
    assert any(t.state == TrialState.COMPLETE for t in trials)
    again = make_engine(tmp_path / "s.db", 25, max_seconds=40.0)
    assert (again.started, again.finished) == (20, 20)
    assert all(number not in again.scheduler.hopeless(20) for number in ended)
    for _ in simulate(again, curve, workers=3, seconds_per_epoch=pace_of):
        pass
    again.close()
    assert len(stored(tmp_path / "s.db")) == 25


def test_a_first_epoch_ends_a_trial_only_if_it_foretells_twice_the_limit(tmp_path):
    engine = make_engine(tmp_path / "s.db", 4, max_seconds=18.0)
    first, second = engine.next(), engine.next()
    assert engine.report(first.trial, 1, {"auc": 0.5, "seconds": 1.9}) is Decision.CONTINUE  # others took less
    assert engine.report(first.trial, 2, {"auc": 0.6, "seconds": 0.8}) is not Decision.STOP
    assert engine.report(second.trial, 1, {"auc": 0.5, "seconds": 2.1}) is Decision.STOP
    assert first.trial in engine._open
    assert second.trial not in engine._open


def test_the_sampler_learns_what_takes_too_long(tmp_path):
    sampler = samplers.create("surrogate", 0)
    ledger = Ledger(open_storage(tmp_path / "s.db"), "study", sampler=sampler)
    engine = Engine(ledger, schedulers.create("adaptive", RUNGS, 3), sample=sample, trials=60, max_seconds=40.0)
    for _ in simulate(engine, curve, workers=3, seconds_per_epoch=pace_of):
        pass
    engine.close()
    slow = [t.params["mixer"] == "attention" for t in stored(tmp_path / "s.db")]
    assert sum(slow[:30]) > 3, "which is the better one"
    assert sum(slow[30:]) <= 2


@pytest.mark.parametrize("workers", [1, 2, 8])
def test_every_trial_ends_and_only_full_budgets_are_complete(tmp_path, workers):
    steps = finish(make_engine(tmp_path / "s.db", 27), workers)
    trials = stored(tmp_path / "s.db")
    assert len(trials) == 27
    by_state = {state: [t for t in trials if t.state == state] for state in TrialState}
    assert not by_state[TrialState.RUNNING]
    assert not by_state[TrialState.FAIL]
    assert by_state[TrialState.COMPLETE]
    for trial in trials:
        last = max(trial.intermediate_values)
        assert sorted(trial.intermediate_values) == list(range(1, last + 1)), "every epoch is kept"
        assert [entry["epoch"] for entry in attributes_of(trial)["history"]] == list(range(1, last + 1))
        assert (last == RUNGS[-1]) == (trial.state == TrialState.COMPLETE)
        assert last in RUNGS
        expected = curve(attributes_of(trial)["config"])
        assert trial.value == pytest.approx(expected[last - 1])
    assert len(steps) == len({(s.trial, s.epoch) for s in steps}), "no epoch is trained twice"


@pytest.mark.parametrize("workers", [1, 4])
def test_whoever_goes_on_was_in_the_best_third_of_its_rung_at_that_time(tmp_path, workers):
    steps = finish(make_engine(tmp_path / "s.db", 40), workers)
    at_rung = {rung: {} for rung in RUNGS}
    begun = {}  # (trial, rung) -> what the rung held when the first epoch above it ended
    for step in steps:
        for rung in RUNGS[:-1]:
            if step.epoch == rung + 1:
                begun[step.trial, rung] = dict(at_rung[rung])
        if step.epoch in at_rung:
            at_rung[step.epoch][step.trial] = step.value
    assert begun
    for (trial, rung), held in begun.items():
        better = sum(value > held[trial] for value in held.values())
        # Other workers report while the promoted trial trains its epoch, so its rank may have slipped by as many.
        assert better < len(held) // 3 + workers - 1 or len(held) == len(at_rung[rung])
    for rung in RUNGS[:-1]:
        best = sorted(at_rung[rung], key=at_rung[rung].get, reverse=True)[: len(at_rung[rung]) // 3]
        assert all((trial, rung) in begun for trial in best), "in the end nobody in the best third is left behind"


def test_a_minimised_objective_keeps_the_smallest(tmp_path):
    def loss(config):
        return 1 - curve(config)

    finish(make_engine(tmp_path / "s.db", 18, direction="minimize"), curve=loss)
    trials = stored(tmp_path / "s.db")
    best = min(trials, key=lambda t: t.intermediate_values[2])
    assert max(best.intermediate_values) > 2


@pytest.mark.parametrize("crash_after", [1, 7, 23, 50, 71])
def test_a_killed_search_goes_on_where_it_was(tmp_path, crash_after):
    """Killed after some epochs, with the checkpoints of the rungs on disk, the search trains no rung twice."""
    path, kept = tmp_path / "s.db", {}

    def with_checkpoints(engine, limit=None):
        steps = []
        for step in itertools.islice(simulate(engine, curve, workers=3), limit):
            steps.append(step)
            if step.epoch in RUNGS[:-1]:
                kept.setdefault(step.trial, []).append(step.epoch)
        return steps

    before = with_checkpoints(make_engine(path, 20), crash_after)
    resumed = make_engine(
        path,
        20,
        seed=1,
        checkpoint=lambda number, at_most: max((e for e in kept.get(number, ()) if e <= at_most), default=0),
    )
    after = with_checkpoints(resumed)
    resumed.close()

    trials = stored(path)
    assert len(trials) == 20
    assert all(t.state in (TrialState.COMPLETE, TrialState.PRUNED) for t in trials)
    for trial in trials:
        last = max(trial.intermediate_values)
        assert sorted(trial.intermediate_values) == list(range(1, last + 1))
        assert [entry["epoch"] for entry in attributes_of(trial)["history"]] == list(range(1, last + 1))
        assert (last == RUNGS[-1]) == (trial.state == TrialState.COMPLETE)
    again = {(s.trial, s.epoch) for s in before} & {(s.trial, s.epoch) for s in after}
    assert len({trial for trial, _ in again}) <= 3, "at most what ran on the three workers is repeated"
    assert sum(1 for t in trials if t.state == TrialState.COMPLETE) >= 1


def test_a_search_whose_checkpoints_are_lost_trains_them_again(tmp_path):
    path = tmp_path / "s.db"
    list(itertools.islice(simulate(make_engine(path, 12), curve, workers=2), 30))
    finish(make_engine(path, 12, seed=1))
    trials = stored(path)
    assert len(trials) == 12
    assert all(t.state.is_finished() for t in trials)


class Killed(Exception):
    pass


@pytest.mark.timeout(1200)
@pytest.mark.parametrize("limit", [None, 40.0])
@pytest.mark.parametrize("stride", [pytest.param(7, id="some"), pytest.param(1, id="all", marks=pytest.mark.slow)])
def test_killed_between_any_two_writes_nothing_is_lost_or_left_half(tmp_path, request, stride, limit):
    """The process dies before its k-th statement that writes to a trial, for every k; then the search is run on."""
    left = [10**9]

    @sqlalchemy.event.listens_for(sqlalchemy.Engine, "before_cursor_execute")
    def counted(connection, cursor, statement, *_):
        if statement.startswith(("INSERT INTO trial", "UPDATE trial")):
            left[0] -= 1
            if left[0] < 0:
                raise Killed

    request.addfinalizer(lambda: sqlalchemy.event.remove(sqlalchemy.Engine, "before_cursor_execute", counted))

    def search(path, kept):
        engine = make_engine(
            path, 5, checkpoint=lambda n, at_most: max((e for e in kept.get(n, ()) if e <= at_most), default=0),
            max_seconds=limit,
        )  # fmt: skip
        report = engine.report

        def reporting(number, epoch, metrics):
            if epoch in RUNGS[:-1]:
                kept.setdefault(number, []).append(epoch)  # a worker saves before it reports
            return report(number, epoch, {**metrics, "seconds": pace_of(engine.running[number].job.config)})

        engine.report = reporting
        finish(engine, workers=2)

    k = 0
    while True:
        k += stride
        path, kept = tmp_path / f"{k}.db", {}
        left[0] = k
        try:
            search(path, kept)
        except Killed:
            left[0] = 10**9
            search(path, kept)
        else:
            break
        trials = stored(path)
        assert len(trials) == 5, k
        assert any(t.state == TrialState.COMPLETE for t in trials), k
        for trial in trials:
            last = max(trial.intermediate_values)
            assert trial.state == (TrialState.COMPLETE if last == RUNGS[-1] else TrialState.PRUNED), k
            assert bool(trial.constraints) == (limit is not None and trial.params["mixer"] == "attention"), k
            assert [entry["epoch"] for entry in attributes_of(trial)["history"]] == list(range(1, last + 1)), k
            assert trial.user_attrs["seconds"] == last * pace_of(trial.params), k
    assert k > 65


def test_when_the_best_fails_another_is_trained_in_full(tmp_path):
    engine = make_engine(tmp_path / "s.db", 3)
    for value in (0.9, 0.1, 0.2):
        job = engine.next()
        for epoch in (1, 2):
            engine.report(job.trial, epoch, {"auc": value})
    engine.fail(engine.next().trial, "out of memory")
    finish(engine)
    states = [t.state for t in stored(tmp_path / "s.db")]
    assert states == [TrialState.FAIL, TrialState.PRUNED, TrialState.COMPLETE]


def test_more_trials_continue_the_study_and_none_is_counted_twice(tmp_path):
    path = tmp_path / "s.db"
    finish(make_engine(path, 20))
    first = {t.number: (t.state, t.value) for t in stored(path)}
    assert not list(simulate(make_engine(path, 20, seed=1), curve, workers=3)), "nothing left to do"
    finish(make_engine(path, 30, seed=2))
    trials = stored(path)
    assert len(trials) == 30
    assert {t.number: (t.state, t.value) for t in trials[:20]} == first
    assert len({str(t.params) for t in trials}) == 30, "a resumed sampler does not repeat itself"


@pytest.mark.parametrize("trials", [1, 2, 3, 4])
def test_however_few_the_trials_one_is_trained_in_full(tmp_path, trials):
    finish(make_engine(tmp_path / "s.db", trials))
    assert any(t.state == TrialState.COMPLETE for t in stored(tmp_path / "s.db"))


def test_the_first_trials_are_those_given_and_are_not_given_twice(tmp_path):
    first = [{"mixer": "conv", "rate": 1e-2, "kernel": 5}, {"mixer": "attention"}]
    list(itertools.islice(simulate(make_engine(tmp_path / "s.db", 6, first=first), curve, workers=1), 1))
    finish(make_engine(tmp_path / "s.db", 6, seed=1, first=first))
    trials = stored(tmp_path / "s.db")
    assert trials[0].params == first[0]
    assert trials[1].params["mixer"] == "attention"
    assert "rate" in trials[1].params
    assert sum(t.params == first[0] for t in trials) == 1


def test_the_lines_of_given_trials_say_so_even_after_a_restart(tmp_path):
    def watched(seed):
        display = Display(
            trials=6, objective="auc", maximize=True, epochs=1, console=Console(file=io.StringIO(), width=200)
        )
        first = [{"mixer": "conv", "rate": 1e-2, "kernel": 5}, {"mixer": "attention", "rate": 1e-4}]
        engine = make_engine(tmp_path / "s.db", 6, seed=seed, first=first, listen=display)
        display.watch(engine.ledger.history)
        return engine, display.console.file

    killed, before = watched(0)
    list(itertools.islice(simulate(killed, curve, workers=2), 3))
    assert not before.getvalue()
    resumed, out = watched(1)
    finish(resumed)
    lines = out.getvalue().splitlines()
    ended = {line.split()[1]: line for line in lines}
    assert sorted(ended) == list("012345")
    assert all((f"trial {number} (given) " in line) == (number in "01") for number, line in ended.items())
    assert re.search(r"best 0\.9\d+, trial 0 \(given\)\]", lines[-1])


def test_values_over_the_symmetries_are_attributes_of_full_trainings_alone(tmp_path):
    said = []
    engine = make_engine(tmp_path / "s.db", 9, listen=lambda event: said.append(event))
    while (job := engine.next()) is not None:
        for epoch in range(job.start + 1, job.stop + 1):
            value = float(curve(job.config)[epoch - 1])
            over = {"auc_d4_mean": value - 0.1, "auc_d4_worst": value - 0.2}  # as if it were the objective's
            engine.report(job.trial, epoch, {"auc": value, "loss": 1.0, **over})
    engine.close()
    trials = stored(tmp_path / "s.db")
    for trial in trials:
        found = {name: v for name, v in trial.user_attrs.items() if "_d4_" in name}
        full = trial.state == TrialState.COMPLETE
        assert found == ({"auc_d4_mean": trial.value - 0.1, "auc_d4_worst": trial.value - 0.2} if full else {})
    complete = {event.trial: event.metrics["auc_d4_worst"] for event in said if event.kind == "complete"}
    assert complete == {t.number: t.value - 0.2 for t in trials if t.state == TrialState.COMPLETE}
    assert 0 < len(complete) < 9


def test_a_configuration_that_cannot_be_built_is_a_failed_trial(tmp_path):
    def admit(config):
        if config["mixer"] == "conv":
            raise RuntimeError("no kernel of this size")
        return Admission()

    finish(make_engine(tmp_path / "s.db", 10, admit=admit))
    trials = stored(tmp_path / "s.db")
    assert len(trials) == 10
    for trial in trials:
        assert (trial.state == TrialState.FAIL) == (trial.params["mixer"] == "conv")
        assert trial.state != TrialState.FAIL or "no kernel of this size" in trial.user_attrs["error"]


def test_a_skipped_configuration_is_recorded_but_is_no_trial(tmp_path):
    def admit(config):
        return Admission({"macs": config["rate"]}, {"macs": config["rate"] / 1e-2 - 1})

    steps = finish(make_engine(tmp_path / "s.db", 15, admit=admit))
    trials = stored(tmp_path / "s.db")
    skipped = [t for t in trials if "skipped" in t.user_attrs]
    assert skipped
    assert len(trials) - len(skipped) == 15
    assert not {t.number for t in skipped} & {s.trial for s in steps}
    for trial in trials:
        over = attributes_of(trial)["config"]["rate"] > 1e-2
        assert over == ("skipped" in trial.user_attrs)
        assert not over or max(trial.constraints.values()) > 0, "the sampler knows the region as infeasible"


def test_a_given_configuration_above_a_limit_is_said_since_somebody_expects_it(tmp_path):
    output = io.StringIO()
    display = Display(trials=3, objective="auc", maximize=True, epochs=9, console=Console(file=output, width=200))
    given = {"mixer": "attention", "rate": 5e-2}
    admit = lambda config: Admission({}, {"macs": config["rate"] / 1e-2 - 1})  # noqa: E731
    finish(make_engine(tmp_path / "s.db", 3, first=(given,), admit=admit, listen=display))
    said = [line for line in output.getvalue().splitlines() if "not trained" in line]
    assert said == ["trial 0 (given) is not trained: macs 5 times the limit (--max-macs, --max-parameters)"]


def test_when_nothing_is_feasible_the_search_says_so(tmp_path):
    engine = make_engine(tmp_path / "s.db", 5, admit=lambda config: Admission({}, {"macs": 1.0}))
    with pytest.raises(SearchFailed, match="macs 2 times the limit"):
        engine.next()


def test_a_failed_trial_has_its_reason_and_the_study_goes_on(tmp_path):
    engine = make_engine(tmp_path / "s.db", 12)
    jobs = [engine.next() for _ in range(3)]
    engine.fail(jobs[0].trial, "out of memory: tried to allocate 1 TB")
    assert engine.report(jobs[1].trial, 1, {"auc": math.nan}) is Decision.STOP
    engine.report(jobs[2].trial, 1, {"auc": 0.5})
    engine.report(jobs[2].trial, 2, {"auc": 0.6})
    finish(engine)
    trials = stored(tmp_path / "s.db")
    assert len(trials) == 12
    assert [t.number for t in trials if t.state == TrialState.FAIL] == [0, 1]
    assert all({"seconds", "peak_memory_mb", "history"} <= set(attributes_of(t)) for t in trials)
    assert trials[0].user_attrs["error"].startswith("out of memory")
    assert "auc is nan at epoch 1" in trials[1].user_attrs["error"]


def losing(path, when, memory=False, trials=12, kept=None):
    """A search in which the workers die under a trial whenever `when(trial, epoch)`, once its epoch is in the study."""
    kept = {} if kept is None else kept
    engine = make_engine(
        path, trials, checkpoint=lambda n, at_most: max((e for e in kept.get(n, ()) if e <= at_most), default=0)
    )
    trained = []
    while (job := engine.next()) is not None:
        for epoch in range(job.start + 1, job.stop + 1):
            saved = epoch % 3 == 0 or epoch in RUNGS  # by the clock, or because it pauses
            if saved:
                kept.setdefault(job.trial, []).append(epoch)
            decision = engine.report(job.trial, epoch, {"auc": curve(job.config)[epoch - 1]}, saved=saved)
            trained.append((job.trial, epoch))
            if decision is Decision.CONTINUE and when(job.trial, epoch):
                engine.lost(job.trial, "the worker process died", memory=memory)
                break
    engine.close()
    return trained


def test_a_trial_that_loses_its_worker_goes_on_from_its_newest_checkpoint(tmp_path):
    deaths = []

    def when(trial, epoch):
        dies = epoch in (5, 11) and (trial, epoch) not in deaths
        deaths.extend([(trial, epoch)] * dies)
        return dies

    trained = losing(tmp_path / "s.db", when)
    finish(make_engine(tmp_path / "undisturbed.db", 12), workers=1)
    assert {epoch for _, epoch in deaths} == {5, 11}
    for trial, epoch in deaths:
        assert trained.count((trial, epoch)) == 2, "only the epochs after the last checkpoint are trained again"
        assert trained.count((trial, epoch - 2)) == 1
    for trial, other in zip(stored(tmp_path / "s.db"), stored(tmp_path / "undisturbed.db"), strict=True):
        assert (trial.state, trial.params, trial.value) == (other.state, other.params, other.value)
        assert trial.intermediate_values == other.intermediate_values
        assert [entry["epoch"] for entry in attributes_of(trial)["history"]] == sorted(trial.intermediate_values)


@pytest.mark.parametrize("memory", [False, True])
def test_a_trial_under_which_three_workers_die_fails_and_only_memory_is_held_against_it(tmp_path, memory):
    trained = losing(tmp_path / "s.db", lambda trial, epoch: trial == 0, memory)
    assert trained.count((0, 1)) == 3
    first, *others = stored(tmp_path / "s.db")
    assert first.state == TrialState.FAIL
    assert first.user_attrs["error"] == "the worker process died; it was lost 2 times before"
    assert bool(first.constraints) == memory, "the sampler avoids what is infeasible"
    assert all(t.state in (TrialState.COMPLETE, TrialState.PRUNED) for t in others)


@pytest.mark.parametrize("memory", [False, True])
def test_a_trial_that_failed_is_the_same_to_the_sampler_after_a_resume(tmp_path, memory):
    """Not to blame: Optuna's samplers ignore a failed trial. To blame: a trial without a value, with a constraint."""
    ledgers = []
    for dies in (True, False):
        if dies:
            losing(tmp_path / "s.db", lambda trial, epoch: trial == 0, memory)
        ledgers.append(make_engine(tmp_path / "s.db", 12).ledger)
    first = ledgers[-1]._mirror.get_trials()[0]
    assert first.state == (TrialState.PRUNED if memory else TrialState.FAIL)
    assert any(first.constraints.values()) == memory


def test_blame_without_an_end_is_forgotten_when_the_trial_is_tried_again(tmp_path):
    """Killed between the reason and the state: the cause may have passed."""
    engine = make_engine(tmp_path / "s.db", 3)
    job = engine.next()
    engine.ledger.blame(job.trial, "the disk was full", {"failed": 1.0})
    finish(make_engine(tmp_path / "s.db", 3), workers=1)
    again = make_engine(tmp_path / "s.db", 3)
    (trial, *_) = stored(tmp_path / "s.db")
    assert trial.state != TrialState.FAIL
    assert not any(trial.constraints.values())
    assert not trial.user_attrs["error"]
    assert again.finished == 3


def test_a_trial_that_trains_when_the_search_is_killed_is_no_result_for_the_sampler_before_its_rung(tmp_path):
    engine = make_engine(tmp_path / "s.db", 6)
    below, paused = engine.next(), engine.next()
    engine.report(below.trial, 1, {"auc": 0.7}, saved=True)
    for epoch in (1, 2):
        engine.report(paused.trial, epoch, {"auc": 0.8}, saved=True)
    resumed = make_engine(tmp_path / "s.db", 6, checkpoint=lambda number, at_most: at_most)
    mirrored = resumed.ledger._mirror.get_trials()
    assert [mirrored[n].state for n in (below.trial, paused.trial)] == [TrialState.RUNNING, TrialState.PRUNED]


def test_a_killed_search_goes_on_from_a_checkpoint_between_two_rungs(tmp_path):
    class Dies(Exception):
        pass

    def when(trial, epoch):
        if epoch == 11:
            raise Dies

    kept = {}
    with pytest.raises(Dies):
        losing(tmp_path / "s.db", when, kept=kept)
    again = losing(tmp_path / "s.db", lambda trial, epoch: False, kept=kept)
    (first, _) = again[0]
    assert again[0] == (first, 10), "epoch 9 was kept"
    assert all(t.state in (TrialState.COMPLETE, TrialState.PRUNED) for t in stored(tmp_path / "s.db"))


def test_a_study_in_which_the_first_ten_fail_stops_and_shows_why(tmp_path):
    engine = make_engine(tmp_path / "s.db", 50)
    failed = 0
    while (job := engine.next()) is not None:
        engine.report(
            job.trial, 1, {"auc": 0.5}
        )  # an epoch is no success: the checkpoint at the rung may be what fails
        engine.fail(job.trial, "OSError: no space left on device")
        failed += 1
    assert failed == 10
    assert engine.done
    with pytest.raises(SearchFailed, match="no space left"):
        engine.close()
    finish(make_engine(tmp_path / "s.db", 14, seed=1))  # somebody made room
    states = [t.state for t in stored(tmp_path / "s.db")]
    assert states.count(TrialState.FAIL) == 10
    assert len(states) == 14


def test_a_search_in_which_everything_fails_from_some_time_on_stops_too(tmp_path):
    engine = make_engine(tmp_path / "s.db", 200)
    for _ in range(3):
        job = engine.next()
        for epoch in (1, 2):
            engine.report(job.trial, epoch, {"auc": 0.5})
    failed = 0
    while (job := engine.next()) is not None:
        engine.fail(job.trial, "OSError: no space left on device")
        failed += 1
        assert failed < 100
    assert failed == 30
    with pytest.raises(SearchFailed, match=r"30 trials in a row failed, the last with .*no space left"):
        engine.close()


def test_what_cannot_be_promoted_any_more_is_pruned_at_once(tmp_path):
    """One of three will go on and two more wait as substitutes, should it fail; who stands behind them may go."""
    engine = make_engine(tmp_path / "s.db", 5)
    jobs = [engine.next() for _ in range(5)]
    for job, value in zip(jobs, (0.9, 0.1, 0.3, 0.2, 0.4), strict=True):
        engine.report(job.trial, 1, {"auc": value})
        engine.report(job.trial, 2, {"auc": value})
    states = [t.state for t in stored(tmp_path / "s.db")]
    assert states == [TrialState.RUNNING, TrialState.PRUNED, TrialState.RUNNING, TrialState.PRUNED, TrialState.RUNNING]


def test_the_sampler_takes_a_paused_trial_for_a_result(tmp_path):
    """TPE counts RUNNING trials as bad; a paused one must not be among them."""
    seen = []

    class Spy(optuna.samplers.RandomSampler):
        def sample_independent(self, study, trial, name, distribution):
            seen.append([t.state for t in study.get_trials(deepcopy=False)[:-1]])
            return super().sample_independent(study, trial, name, distribution)

    ledger = Ledger(open_storage(tmp_path / "s.db"), "study", sampler=Spy(seed=0))
    engine = Engine(ledger, schedulers.create("promotion", RUNGS, 3), sample=sample, trials=9)
    paused = engine.next()
    engine.next()
    for epoch in (1, 2):
        engine.report(paused.trial, epoch, {"auc": 0.7})
    engine.next()
    assert seen[-1] == [TrialState.PRUNED, TrialState.RUNNING]
    assert stored(tmp_path / "s.db")[paused.trial].state == TrialState.RUNNING
    engine.report(1, 1, {"auc": 0.1})
    engine.report(1, 2, {"auc": 0.1})
    engine.report(2, 1, {"auc": 0.1})
    engine.report(2, 2, {"auc": 0.1})
    assert engine.next().trial == paused.trial
    engine.next()
    assert seen[-1][:3] == [TrialState.PRUNED] * 3, "promoted, it is still the result that it was"


def test_an_unknown_scheduler_is_refused_with_the_known_ones():
    with pytest.raises(ValueError, match=r"unknown scheduler 'hyperband'; known: .*promotion"):
        schedulers.create("hyperband", RUNGS, 3)


@pytest.mark.parametrize("sampler", ["surrogate", "tpe"])
def test_a_parameter_whose_choices_change_inside_a_study_is_refused(tmp_path, sampler):
    def sample(trial):
        depth = trial.suggest_int("depth", 1, 2)
        return {"mixer": trial.suggest_categorical("mixer", ["a", "b", "c"][: 1 + depth]), "rate": 0.0}

    ledger = Ledger(open_storage(tmp_path / "study.db"), "study", sampler=samplers.create(sampler, 0))

    def search():
        for _ in range(20):
            ledger.start(*ledger.ask(sample, rungs=RUNGS))

    with pytest.raises(ValueError, match="dynamic value space"):
        search()


@pytest.mark.parametrize("rungs", [(1, 3, 9, 27), (2, 6, 20, 60)])
def test_a_search_with_a_screening_rung_goes_on_wherever_it_was_stopped(tmp_path, rungs):
    """With every recorded epoch as a checkpoint. No promotion is for a trial that is not paused at that rung."""

    def values(config):
        return [curve(config)[0] + 0.01 * math.log(epoch) for epoch in range(1, rungs[-1] + 1)]

    def engine(storage):
        ledger = Ledger(storage, "study", sampler=optuna.samplers.RandomSampler(seed=0))
        scheduler = schedulers.create("adaptive", rungs, 3)
        return Engine(ledger, scheduler, sample=sample, trials=18, checkpoint=lambda number, at_most: at_most)

    for stop in range(10, 200, 15):
        storage = optuna.storages.InMemoryStorage()
        list(itertools.islice(simulate(engine(storage), values, workers=2), stop))
        again = engine(storage)
        list(simulate(again, values, workers=2))
        again.close()
        trials = again.ledger.study.get_trials()
        assert len(trials) == 18
        assert all(trial.state.is_finished() for trial in trials)


def test_of_two_copies_the_first_to_report_is_the_original_after_a_resume_too(tmp_path):
    """The second of two equal configurations is quicker, so the first counts as its copy and is pruned."""

    def engine():
        ledger = Ledger(open_storage(tmp_path / "s.db"), "study", sampler=optuna.samplers.RandomSampler(seed=0))
        return Engine(
            ledger, schedulers.create("adaptive", (4, 12), 3), trials=40, checkpoint=lambda number, at_most: at_most,
            sample=lambda trial: {"x": trial.suggest_float("x", 0, 1), "b": trial.suggest_categorical("b", [0, 1])},
            first=({"x": 0.9, "b": 0}, {"x": 0.9, "b": 1}),
        )  # fmt: skip

    def run(searching, job):
        for epoch in range(job.start + 1, job.stop + 1):
            searching.report(job.trial, epoch, {"auc": job.config["x"] * (1 - 0.9**epoch)})

    first = engine()
    slow, quick = first.next(), first.next()
    run(first, quick)
    run(first, slow)
    assert [trial.state for trial in stored(tmp_path / "s.db")] == [TrialState.PRUNED, TrialState.RUNNING]
    resumed = engine()
    run(resumed, resumed.next())
    assert 1 in resumed.scheduler.paused, "the original still waits for its promotion"


def test_a_training_that_has_reached_the_full_budget_is_never_too_slow(tmp_path):
    """Its last epoch, which also evaluates turned images, takes it beyond the limit."""
    engine = make_engine(tmp_path / "s.db", 1, scheduler="full", max_seconds=RUNGS[-1] + 0.4)
    job = engine.next()
    for epoch in range(1, RUNGS[-1] + 1):
        engine.report(job.trial, epoch, {"auc": 0.7, "seconds": 1.5 if epoch == RUNGS[-1] else 1.0})
    assert stored(tmp_path / "s.db")[0].state == TrialState.COMPLETE
