"""A search that begins with what a former one found: its best configurations are the first trials, trained anew."""

import math
from pathlib import Path

import optuna
import pytest
from optuna.storages import InMemoryStorage

from nas import run, samplers, schedulers, warm_start
from nas.engine import Engine
from nas.ledger import Ledger, open_storage
from nas.report.data import read
from nas.simulate import simulate

optuna.logging.set_verbosity(optuna.logging.ERROR)
RUNGS = (2, 6)
SPEC = {"objective": "auc", "direction": "maximize", "rungs": RUNGS}


def sample(trial):
    kind = trial.suggest_categorical("kind", ["a", "b"])
    own = trial.suggest_float(f"{kind}.rate", 1e-4, 1e-1, log=True)
    return {"kind": kind, "rate": own, "width": trial.suggest_int("width", 1, 64)}


def curve(config):
    """Best at kind b, rate 1e-2 and width 40."""
    off = abs(math.log10(config["rate"]) + 2) + abs(config["width"] - 40) / 40 + (config["kind"] == "a")
    return [math.exp(-off) * (1 - 0.5**epoch) for epoch in range(1, 7)]


def search(storage, trials, seed=0, first=(), sampler="random"):
    ledger = Ledger(storage, "x", sampler=samplers.load(sampler, seed))
    ledger.study.set_user_attr("spec", SPEC)
    engine = Engine(ledger, schedulers.load("promotion", RUNGS, 3), sample=sample, trials=trials, first=first)
    list(simulate(engine, curve, workers=2))
    engine.close()
    return ledger.study


@pytest.fixture
def old(tmp_path):
    (tmp_path / "old").mkdir()
    return search(open_storage(tmp_path / "old" / "study.db"), 60)


def test_the_first_trials_are_the_best_of_the_former_study(old, tmp_path):
    found = warm_start.best_parameters(warm_start.former(Path("old"), tmp_path))
    full = sorted((t for t in old.trials if t.state.name == "COMPLETE"), key=lambda t: -t.value)
    assert len(found) == warm_start.AT_MOST
    assert found == [t.params for t in full][: len(found)]
    given = warm_start.fitted(found, sample, 0)
    assert given == found
    new = search(InMemoryStorage(), 20, first=given)
    assert [t.params for t in new.trials[: len(given)]] == found
    assert all(t.user_attrs["history"][0]["epoch"] == 1 for t in new.trials if "history" in t.user_attrs), "anew"


def test_where_too_few_came_to_the_end_the_highest_rungs_follow(tmp_path):
    study = search(open_storage(tmp_path / "study.db"), 12)
    complete = sum(t.state.name == "COMPLETE" for t in study.trials)
    assert complete < warm_start.AT_MOST
    found = warm_start.best_parameters(warm_start.former(tmp_path / "study.db", tmp_path))
    pruned = sorted((t for t in study.trials if t.state.name == "PRUNED"), key=lambda t: -t.intermediate_values[2])
    assert found[complete:] == [t.params for t in pruned][: len(found) - complete]


def test_what_the_new_space_lacks_or_forbids_is_left_out():
    def narrower(trial):
        return {"width": trial.suggest_int("width", 1, 8), "kind": trial.suggest_categorical("kind", ["b", "c"]),
                "more": trial.suggest_float("more", 0, 1)}  # fmt: skip

    (made,) = warm_start.fitted([{"kind": "b", "b.rate": 0.01, "width": 40}], narrower, 0)
    assert made["kind"] == "b"
    assert 1 <= made["width"] <= 8
    assert 0 <= made["more"] <= 1
    assert set(made) == {"width", "kind", "more"}
    (other,) = warm_start.fitted([{"kind": "a", "width": 4}], narrower, 0)
    assert other["kind"] in ("b", "c")
    assert other["width"] == 4


def test_a_warm_search_is_ahead_of_a_cold_one(old, tmp_path):
    found = warm_start.best_parameters(warm_start.former(tmp_path / "old", tmp_path))

    def best(seed, first):
        return search(InMemoryStorage(), 9, seed, first).best_value

    warm = [best(seed, warm_start.fitted(found, sample, seed)) for seed in range(8)]
    cold = [best(seed, ()) for seed in range(8)]
    assert min(warm) >= max(t.value for t in old.trials if t.state.name == "COMPLETE") - 1e-9
    assert sum(w > c for w, c in zip(warm, cold, strict=True)) >= 6


def test_the_study_remembers_what_it_was_begun_with():
    study = optuna.create_study()
    given = [{"x": 1}, {"x": 2.5}]
    assert warm_start.settled(study, given, begun=False) == given
    assert warm_start.settled(study, None, begun=True) == given
    assert warm_start.settled(study, given, begun=True) == given
    with pytest.raises(ValueError, match="begun with another --warm-start"):
        warm_start.settled(study, [{"x": 3}], begun=True)
    with pytest.raises(ValueError, match="begun without --warm-start"):
        warm_start.settled(optuna.create_study(), given, begun=True)
    assert warm_start.settled(optuna.create_study(), None, begun=False) == []


def test_a_mistake_is_one_line_and_exit_code_2(tmp_path, capsys):
    (tmp_path / "broken.db").write_text("no database")
    open_storage(tmp_path / "empty.db")
    for path, said in ((tmp_path / "nowhere", "no study at"), (tmp_path / "broken.db", "cannot be read"),
                       (tmp_path / "empty.db", "holds no study")):  # fmt: skip
        assert run.main(["--runs", str(tmp_path / "runs"), "--warm-start", str(path)]) == 2
        error = capsys.readouterr().err
        assert said in error
        assert error.count("\n") == 1


def test_a_study_in_which_nothing_has_come_to_a_rung_has_nothing_to_give(tmp_path):
    ledger = Ledger(open_storage(tmp_path / "study.db"), "x", sampler=samplers.load("random", 0))
    ledger.study.set_user_attr("spec", SPEC)
    with pytest.raises(ValueError, match="no trial of x has come to a rung yet"):
        warm_start.best_parameters(read(ledger.study))
