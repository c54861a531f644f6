"""A search that begins with the best of a former one: in virtual time on real databases, and as a user meets it."""

import itertools
import math
import re
import shutil
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import optuna
import pytest
from optuna.trial import TrialState, create_trial

import studies
from nas import schedulers
from nas.commands.cli import main_of
from nas.reading import WARM_START, load_results
from nas.searching import warm_start
from nas.searching.drafts import cells, draft
from nas.searching.engine import Engine
from nas.searching.optuna_private import attributes_of
from nas.searching.simulate import simulate
from nas.searching.storage import open_storage
from nas.searching.study import describe, open_ledger, stored_study
from search_space import Range, ToySpace
from studies import StudySpec, TrainSpace
from studies.train_space import PLAIN_TRAINING

RANGES = TrainSpace(label_smoothing=Range(0.0, 0.2), shift=Range(0.0, 0.1), noise=Range(0.0, 0.5), d4=(False,))
SPEC = StudySpec("toy", "?", space=ToySpace(), training=RANGES, epochs=6, min_epochs=2, seed=3, sampler="random")
TOYS = {"mlp": 0.0, "lenet": 0.05, "resnet2": 0.1}
COMPLETE, PRUNED, FAIL, RUNNING = TrialState.COMPLETE, TrialState.PRUNED, TrialState.FAIL, TrialState.RUNNING


def asymptote(config):
    """Best at a learning rate of 3e-3, a weight decay of 1e-2, no noise, and the third toy."""
    training = config["training"]
    value = 0.8 + TOYS[config["architecture"]["name"]] - 0.1 * training["augmentation"]["noise"]
    value -= 0.1 * math.log10(training["learning_rate"] / 3e-3) ** 2
    return value - 0.05 * math.log10(training["weight_decay"] / 1e-2) ** 2


def curve_of(spec):
    sign = 1 if spec.direction == "maximize" else -1
    return lambda config: sign * asymptote(config) * (1 - np.exp(-np.arange(1, spec.epochs + 1) / 4))


@pytest.fixture(scope="module", autouse=True)
def blank(tmp_path_factory):
    """A database without a study, to be copied: making one takes half a second."""
    global BLANK
    BLANK = tmp_path_factory.mktemp("blank") / "study.db"
    open_storage(BLANK)


def database(path):
    path.parent.mkdir(exist_ok=True)
    if not path.exists():
        shutil.copy(BLANK, path)
    return path


def engine_of(path, spec, given=None, runs="runs"):
    """As `python -m nas.run --warm-start` makes it."""
    database(path)
    former = warm_start.find(given and str(given), path.parent.parent / runs, stored_study(path, spec))
    warm = warm_start.begin(former, spec, spec.sample)
    return Engine(
        open_ledger(path, spec, warm), schedulers.of_study(spec), trials=spec.trials,
        sample=lambda trial: spec.sample(trial).to_dict(), first=warm.first if warm else spec.first,
        objective=spec.objective,
    )  # fmt: skip


def search(path, spec, given=None, *, epochs=None, workers=2):
    """All trials of a search in virtual time; with `epochs`, of one that was killed after so many."""
    engine = engine_of(path, spec, given)
    list(itertools.islice(simulate(engine, curve_of(spec), workers=workers), epochs))
    if epochs is None:
        engine.close()
    return engine.ledger.study.get_trials()


def stored(path, spec=SPEC):
    return optuna.load_study(study_name=spec.name, storage=open_storage(path)).get_trials()


def by_hand(path, entries, spec=SPEC):
    """A study of (state, its values at the rungs, parameters); what these leave out is the same in all."""
    study = optuna.create_study(study_name=spec.name, storage=open_storage(database(path)), direction=spec.direction)
    study.set_user_attr("spec", describe(spec))
    for state, values, params in entries:
        made = draft(spec.sample, np.random.default_rng(0), params)
        config = spec.sample(optuna.trial.FixedTrial(made.params)).to_dict()
        at_rungs = dict(zip(schedulers.of_study(spec).rungs, values, strict=False))
        value = values[-1] if state in (COMPLETE, PRUNED) else None
        study.add_trial(create_trial(
            state=state, value=value, params=made.params, distributions=made.distributions,
            intermediate_values=at_rungs, user_attrs={"config": config},
        ))  # fmt: skip
    return study.get_trials()


def begun(former, spec, tmp_path):
    """The parameters of the trials that a new search of `spec` begins with, and no more."""
    warm = warm_start.begin(warm_start.find(str(former), tmp_path, None), spec, spec.sample)
    trials = search(tmp_path / "new" / "study.db", replace(spec, trials=len(warm.first)), former)
    return [trial.params for trial in trials]


@pytest.mark.parametrize(("direction", "trials"), [("maximize", 7), ("maximize", 20), ("minimize", 9)])
def test_the_first_trials_are_the_former_best_in_order_then_its_best_pruned(tmp_path, direction, trials):
    spec = replace(SPEC, direction=direction, scheduler="promotion", trials=trials)
    former = search(tmp_path / "former" / "study.db", spec)
    sign = -1 if direction == "maximize" else 1
    complete = sorted((t for t in former if t.state == COMPLETE), key=lambda t: sign * t.value)
    pruned = sorted((t for t in former if t.state == PRUNED), key=lambda t: sign * t.value)
    assert complete
    assert pruned
    expected = [t.params for t in [*complete, *pruned]][:8]
    other = replace(spec, epochs=12, min_epochs=4, seed=9, trials=12)
    warm = search(tmp_path / "new" / "study.db", other, tmp_path / "former")
    assert [t.params for t in warm][: len(expected)] == expected
    assert all(t.params not in expected for t in warm[len(expected) :])
    for trial in warm:  # trained anew, by the new budget
        assert trial.intermediate_values[4] == pytest.approx(curve_of(other)(attributes_of(trial)["config"])[3])
        assert attributes_of(trial)["config"]["seed"] == 9


def test_what_was_pruned_at_a_lower_rung_failed_or_never_ended_is_no_start(tmp_path):
    spec = replace(SPEC, epochs=18)  # rungs 2, 6, 18
    entries = [
        (PRUNED, [0.99], {"learning_rate": 1e-3}),
        (PRUNED, [0.1, 0.6], {"learning_rate": 2e-3}),
        (RUNNING, [0.8, 0.98], {"learning_rate": 3e-3}),
        (PRUNED, [0.1, 0.7], {"learning_rate": 4e-3}),
        (COMPLETE, [0.1, 0.2, 0.3], {"learning_rate": 5e-3}),
        (FAIL, [0.99, 0.99], {"learning_rate": 6e-3}),
    ]
    trials = by_hand(tmp_path / "former" / "study.db", entries, spec)
    expected = [trials[number].params for number in (4, 3, 1)]
    assert begun(tmp_path / "former", spec, tmp_path) == expected


def test_a_configuration_counts_once_whatever_its_seed_and_in_a_grid_by_its_mean(tmp_path):
    grid = replace(SPEC, sampler="grid", seeds=2, training=replace(PLAIN_TRAINING, learning_rate=(1e-3, 2e-3, 4e-3)))
    values = {
        ("lenet", 1e-3): (0.95, 0.15), ("lenet", 2e-3): (0.6, 0.62), ("mlp", 4e-3): (0.99,), ("mlp", 1e-3): (0.3, 0.4)
    }  # fmt: skip
    entries = [
        (COMPLETE, [0.1, value], {"toy": toy, "learning_rate": rate, "seed": seed})
        for (toy, rate), of_seeds in values.items()
        for seed, value in enumerate(of_seeds)
    ]
    by_hand(tmp_path / "former" / "study.db", entries, grid)
    found = begun(tmp_path / "former", replace(SPEC, name="free"), tmp_path)
    order = [("lenet", 2e-3), ("lenet", 1e-3), ("mlp", 1e-3), ("mlp", 4e-3)]  # the last one lacks a seed
    assert [(params["toy"], params["learning_rate"]) for params in found] == order


COMMON = {"toy", "batch_size", "learning_rate", "weight_decay", "label_smoothing", "normalisation"}
COMMON |= {f"augment.{name}" for name in ("rotation", "flip", "shift", "noise")}
OTHER_SPACES = {  # and the parameters that they lack or forbid
    "fewer choices": (replace(SPEC, space=ToySpace(("lenet", "mlp"))), {"toy"}),
    "other bounds": (
        replace(SPEC, training=replace(RANGES, learning_rate=Range(1e-2, 1e-1, log=True))),
        {"learning_rate"},
    ),
    "choices for a range": (
        replace(SPEC, training=replace(RANGES, learning_rate=(1e-3, 3e-3, 1e-2))),
        {"learning_rate"},
    ),
    "fixed": (
        replace(SPEC, training=replace(PLAIN_TRAINING, noise=Range(0.0, 0.5))),
        COMMON - {"toy", "augment.noise"},
    ),
    "more": (replace(SPEC, training=replace(RANGES, optimiser=("sgd", "lion", "adamw"), zoom=Range(0.0, 0.2))), set()),
}


@pytest.mark.parametrize("case", OTHER_SPACES)
def test_what_the_new_space_lacks_or_forbids_is_ignored_and_what_it_has_beyond_is_sampled(tmp_path, case):
    spec, lost = OTHER_SPACES[case]
    spec = replace(spec, sampler="tpe", trials=5)
    entries = [
        (COMPLETE, [0.1, 0.9 - k / 10], {"toy": "resnet2", "learning_rate": 2e-3, "augment.noise": k / 10})
        for k in range(3)
    ]
    former = by_hand(tmp_path / "former" / "study.db", entries)
    assert set(former[0].params) == COMMON
    trials = search(tmp_path / "new" / "study.db", spec, tmp_path / "former")
    for before, after in zip(former, trials[:3], strict=True):
        same = {name for name in COMMON & set(after.params) if after.params[name] == before.params[name]}
        assert same == COMMON - lost
    for trial in trials:
        made = draft(spec.sample, np.random.default_rng(0), trial.params)
        assert made.params == trial.params, "each parameter lies within the bounds, and there is no other"


def test_trials_that_differ_only_in_what_the_new_space_lacks_are_one(tmp_path):
    entries = [
        (COMPLETE, [0.1, 0.9 - k / 100], {"toy": toy, "learning_rate": 1e-3 + k * 1e-4})
        for k, toy in enumerate(["lenet"] * 9 + ["resnet2"] * 3 + ["lenet", "mlp"])
    ]
    by_hand(tmp_path / "former" / "study.db", entries)
    found = begun(tmp_path / "former", replace(SPEC, training=PLAIN_TRAINING), tmp_path)
    assert [params["toy"] for params in found] == ["lenet", "resnet2", "mlp"]


def test_a_study_with_nothing_but_the_seed_in_common_is_refused(tmp_path):
    by_hand(tmp_path / "former" / "study.db", [(COMPLETE, [0.1, 0.9], {"toy": "mlp"})], replace(SPEC, seeds=2))
    training = replace(PLAIN_TRAINING, learning_rate=Range(0.1, 0.2, log=True))
    other = StudySpec("other", "?", space=ToySpace(("lenet",)), training=training, seeds=2)
    with pytest.raises(ValueError, match=r"study\.db has no parameter in common with the study 'other'"):
        warm_start.begin(warm_start.find(str(tmp_path / "former"), tmp_path, None), other, other.sample)


def test_the_studys_own_first_trials_follow_and_none_is_given_twice(tmp_path):
    entries = [(COMPLETE, [0.1, 0.9 - k / 10], {"learning_rate": 2e-3 + k * 1e-4}) for k in range(3)]
    former = by_hand(tmp_path / "former" / "study.db", entries)
    own = ({"toy": "mlp", "learning_rate": 5e-3}, former[1].params, {"toy": "resnet2"})
    found = begun(tmp_path / "former", replace(SPEC, first=own), tmp_path)
    assert found[:3] == [t.params for t in former]
    assert len(found) == 5
    assert found[3].items() >= own[0].items()
    assert found[4]["toy"] == "resnet2"


@pytest.mark.parametrize("mixers", [None, ("conv",), ("conv", "attention"), ("conv", "window")], ids=str)
def test_a_network_begins_a_search_in_which_its_parameters_have_other_names(mixers):
    """Older searches stored `stages.0.mixer` for tied networks, too; a parameter with one choice left has no name."""
    spec = studies.load("hybrid")
    new = spec if mixers is None else replace(spec, space=replace(spec.space, mixers=mixers), first=())
    older = {name.replace(".mixer.d4", ".mixer"): value for name, value in spec.first[0].items()}
    for seed in range(10):
        for params in (older, spec.first[0]):
            former = SimpleNamespace(number=7, params=params)
            (begun,) = warm_start.fitted([former], new.sample, seed).values()
            network = new.sample(optuna.trial.FixedTrial(begun)).architecture
            assert network.symmetry == "d4"
            assert [(stage.mixer, stage.width) for stage in network.stages] == [("conv", w) for w in (16, 32, 64, 128)]


@pytest.mark.parametrize("seed", range(3))
def test_a_grid_that_begins_warm_trains_every_cell_once(tmp_path, seed):
    """Cells are few, so that what is sampled for one of the first may well come to another of them."""
    training = replace(PLAIN_TRAINING, noise=(0.0, 0.25, 0.5))
    space = ToySpace(("mlp", "lenet"))
    grid = replace(
        SPEC, space=space, training=training, sampler="grid", seeds=2, trials=12, scheduler="full", seed=seed
    )
    known = [("mlp", 0.25), ("lenet", 0.5), ("resnet2", 0.5), ("mlp", 0.1), ("lenet", 0.1), ("resnet2", 0.25)]
    entries = [
        (COMPLETE, [0.1, 0.9 - k / 10], {"toy": toy, "augment.noise": noise}) for k, (toy, noise) in enumerate(known)
    ]
    by_hand(tmp_path / "former" / "study.db", entries)
    trials = [trial.params for trial in search(tmp_path / "new" / "study.db", grid, tmp_path / "former")]
    assert [(params["toy"], params["augment.noise"]) for params in trials[:2]] == known[:2]
    assert len(trials) == 12
    assert {tuple(sorted(params.items())) for params in trials} == {
        tuple(sorted(cell.items())) for cell in cells(grid.sample)
    }


@pytest.mark.parametrize(
    ("epochs", "again"),
    [(1, None), (11, None), (7, "former"), (1, "{tmp}/former"), (11, "{tmp}/former/study.db")],
)
def test_a_killed_search_goes_on_with_the_same_first_trials_even_when_the_former_study_is_gone(tmp_path, epochs, again):
    entries = [(COMPLETE, [0.1, 0.9 - k / 10], {"learning_rate": 1e-3 + k * 1e-4}) for k in range(7)]
    former = by_hand(tmp_path / "former" / "study.db", entries)
    spec = replace(SPEC, trials=11, first=({"toy": "lenet", "learning_rate": 7e-3},))
    path = tmp_path / "new" / "study.db"
    before = search(path, spec, tmp_path / "former", epochs=epochs)
    assert len(before) < 8, "killed before all of the first were given"
    (tmp_path / "former" / "study.db").unlink()
    engine = engine_of(path, spec, again and again.format(tmp=tmp_path), runs=tmp_path)
    list(simulate(engine, curve_of(spec), workers=2))
    engine.close()
    trials = stored(path)
    assert len(trials) == 11
    assert [t.params for t in trials[:7]] == [t.params for t in former]
    assert trials[7].params.items() >= spec.first[0].items()
    assert len({str(t.params) for t in trials}) == 11


def test_a_search_knows_the_seeds_by_which_its_first_trials_were_chosen(tmp_path):
    """Through every search from which it began; a record of an earlier version does not have them."""
    by_hand(tmp_path / "a" / "study.db", [(COMPLETE, [0.1, 0.9], {"toy": "mlp"})], replace(SPEC, seed=7))
    for name, former in (("b", "a"), ("c", "b")):
        engine_of(tmp_path / name / "study.db", SPEC, tmp_path / former)
        engine = engine_of(tmp_path / name / "study.db", SPEC)
        list(simulate(engine, curve_of(SPEC), workers=1))
    assert load_results(tmp_path / "c").last_seed == 7
    study = optuna.load_study(study_name=None, storage=open_storage(tmp_path / "c" / "study.db"))
    study.set_user_attr(WARM_START, {k: v for k, v in study.user_attrs[WARM_START].items() if k != "last_seed"})
    assert load_results(tmp_path / "c").last_seed == SPEC.seed
    assert engine_of(tmp_path / "c" / "study.db", SPEC).started


def test_another_warm_start_on_resuming_is_refused(tmp_path):
    for name in ("one", "two"):
        by_hand(tmp_path / name / "study.db", [(COMPLETE, [0.1, 0.9], {"toy": "mlp"})])
    cold, warm = tmp_path / "cold" / "study.db", tmp_path / "warm" / "study.db"
    search(cold, SPEC, epochs=2)
    search(warm, SPEC, tmp_path / "one", epochs=2)
    with pytest.raises(ValueError, match=r"begun without a warm start, not with --warm-start \S*one; resume without"):
        engine_of(cold, SPEC, tmp_path / "one")
    with pytest.raises(ValueError, match=r"begun from \S*one/study\.db, not with --warm-start \S*two; resume without"):
        engine_of(warm, SPEC, tmp_path / "two")


@pytest.fixture(scope="module")
def optimised(tmp_path_factory):
    """A former search that came close to the optimum."""
    folder = tmp_path_factory.mktemp("former")
    values = [t.value for t in search(folder / "study.db", replace(SPEC, sampler="tpe", trials=60)) if t.value]
    assert max(values) > 0.98 * curve_of(SPEC)(OPTIMUM)[-1]
    return folder


OPTIMUM = {
    "architecture": {"name": "resnet2"},
    "training": {"learning_rate": 3e-3, "weight_decay": 1e-2, "augmentation": {"noise": 0.0}},
}


@pytest.mark.parametrize("seed", range(5))
def test_after_eight_trials_a_warm_search_is_ahead_of_a_cold_one(tmp_path, optimised, seed):
    spec = replace(SPEC, trials=8, seed=seed, sampler="surrogate")
    warm, cold = (
        max(t.value for t in search(tmp_path / name / "study.db", spec, given) if t.state == COMPLETE)
        for name, given in (("warm", optimised), ("cold", None))
    )
    assert warm > cold


STUDY = """
from search_space import ToySpace
from studies import StudySpec
from trainers.data import Simulated
STUDY = StudySpec("toy", "?", space=ToySpace(), data=Simulated(images=60, image_size=16), epochs=6, min_epochs=2)
"""


@pytest.fixture
def command(tmp_path, monkeypatch):
    """`python -m nas.run` in virtual time, killed after `epochs`."""
    monkeypatch.setenv("NAS_CACHE", str(tmp_path / "cache"))
    (tmp_path / "toy.py").write_text(STUDY)

    def main(*words, epochs=None):
        def virtual(work, run, resources, **limits):
            list(itertools.islice(simulate(work.engine, curve_of(SPEC), workers=resources.workers), epochs))
            if work.engine.done:
                work.engine.close()  # as `Search` does before the finals
            else:
                raise KeyboardInterrupt

        monkeypatch.setattr("nas.workers.pool.work_through", virtual)
        words = ["--study", str(tmp_path / "toy.py"), "--runs", str(tmp_path / "runs"), "--workers", "1", *words]
        return main_of("run", words)

    return main


def test_the_command_begins_with_the_former_best_and_the_same_command_or_a_shorter_one_goes_on(
    command, tmp_path, capsys
):
    assert command("--trials", "12", "--name", "former") == 0
    former = sorted((t for t in stored(tmp_path / "runs" / "former" / "study.db") if t.state == COMPLETE),
                    key=lambda t: -t.value)  # fmt: skip
    words = ["--trials", "9", "--seed", "5", "--name", "new"]
    assert command(*words, "--warm-start", "former", epochs=2) == 130
    assert command(*words, epochs=8) == 130
    capsys.readouterr()
    assert command(*words, "--warm-start", str(tmp_path / "runs" / "former")) == 0
    numbers = ", ".join(str(t.number) for t in former[:3])
    assert re.search(rf"^start  from trials {numbers}.* of \S+former/study.db$", capsys.readouterr().out, re.MULTILINE)
    new = stored(tmp_path / "runs" / "new" / "study.db")
    assert [t.params for t in new[: len(former)]] == [t.params for t in former][:8]
    assert len(new) == 9
    assert command(*words, "--warm-start", "new") == 2
    assert "was begun from" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("given", "says"),
    [
        (
            "nowhere",
            r"no study to start from at nowhere: .*looked for nowhere, nowhere/study\.db, .*runs/nowhere/study",
        ),
        ("{tmp}/empty", "no study to start from at .*empty"),
        ("{tmp}/junk.db", "junk.db is no study database"),
        ("{tmp}/foreign.db", "study 'somebody' has no 'spec'"),
        ("{tmp}/two.db", r"holds the studies one, two; expected exactly one"),
        ("{tmp}/unfinished", "no trial of .*unfinished/study.db is finished"),
    ],
)
def test_a_mistake_is_one_line_and_exit_code_2_before_any_work(given, says, command, tmp_path, capsys, monkeypatch):
    (tmp_path / "empty").mkdir()
    (tmp_path / "junk.db").write_text("this is no database, but it is long enough to look like one " * 20)
    for file, names in {"foreign.db": ["somebody"], "two.db": ["one", "two"]}.items():
        for name in names:
            optuna.create_study(study_name=name, storage=open_storage(database(tmp_path / file)))
    by_hand(tmp_path / "unfinished" / "study.db", [(FAIL, [0.9], {}), (RUNNING, [0.9], {})])
    monkeypatch.setattr("nas.searching.preparation.load", lambda *a, **k: pytest.fail("images were simulated"))
    capsys.readouterr()
    assert command("--warm-start", given.format(tmp=tmp_path)) == 2
    (error,) = capsys.readouterr().err.splitlines()
    assert error.startswith("error: ")
    assert re.search(says, error), error
    assert not (tmp_path / "runs" / "toy" / "study.db").exists()
