"""The sampler in plain Optuna, where nobody tells it the space: Optuna's own tests of samplers, and ours."""

import math
import pickle

import numpy as np
import optuna
import pytest
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.pruners import HyperbandPruner, MedianPruner, SuccessiveHalvingPruner
from optuna.samplers import RandomSampler
from optuna.testing.pytest_samplers import BasicSamplerTestCase, RelativeSamplerTestCase, SingleOnlySamplerTestCase
from optuna.trial import TrialState, create_trial

import studies
from nas.samplers.surrogate import SurrogateSampler
from nas.samplers.surrogate.learnt_space import LearntSpace, holds, widest
from nas.samplers.surrogate.proposer import RANDOM_TRIALS
from nas.samplers.surrogate.reading import Ladder, infeasible, internal, whole
from nas.searching.drafts import draft, key

optuna.logging.set_verbosity(optuna.logging.ERROR)


class TestByOptuna(BasicSamplerTestCase, RelativeSamplerTestCase, SingleOnlySamplerTestCase):
    @pytest.fixture
    def sampler(self):
        return lambda: SurrogateSampler(seed=0)


def conditional(trial):
    """Lowest, 0, at b, 7 layers and a rate of 1e-3; four kinds with 3 to 6 parameters each."""
    rate = trial.suggest_float("rate", 1e-5, 1e-1, log=True)
    kind = trial.suggest_categorical("kind", ["a", "b", None, True])
    loss = 0.1 * (math.log10(rate) + 3) ** 2 + {"a": 0.2, "b": 0.0, None: 0.5, True: 1.0}[kind]
    if kind in ("a", "b"):
        layers = trial.suggest_int(f"{kind}.layers", 1, 8)
        loss += 0.02 * abs(layers - 7)
        if layers > 4:
            loss += 0.3 * (trial.suggest_float(f"{kind}.skip", 0.0, 1.0, step=0.25) - 0.5) ** 2
    if kind == "b":
        loss += (trial.suggest_float("decay", -1.0, 1.0) - 0.4) ** 2
    return loss


def optimised(objective, trials, *, seed=0, sampler=None, direction="minimize", pruner=None, storage=None, **options):
    study = optuna.create_study(
        sampler=sampler or SurrogateSampler(seed), direction=direction, pruner=pruner, storage=storage,
        study_name=f"{seed}" if storage is None else None,  # by which Hyperband deals trials to its brackets
    )  # fmt: skip
    study.optimize(objective, n_trials=trials, **options)
    return study


def params_of(study):
    return [trial.params for trial in study.get_trials()]


# -- what it finds ---------------------------------------------------------------------------------------------------


def test_it_finds_better_values_than_random_search_in_a_conditional_space():
    ours = [optimised(conditional, 45, seed=seed).best_value for seed in range(5)]
    random = [optimised(conditional, 45, sampler=RandomSampler(seed=seed)).best_value for seed in range(5)]
    assert np.median(ours) < 0.4 * np.median(random)
    assert sum(o < r for o, r in zip(ours, random, strict=True)) >= 4


def test_another_branch_is_tried_once_the_model_is_sure_of_that_of_the_best():
    def objective(trial):
        """0.16 is the optimum of two branches, and hides that of the third, 0."""
        x, y = trial.suggest_float("x", -1, 1), trial.suggest_float("y", -1, 1)
        z = trial.suggest_float("z", -1, 1) if trial.suggest_categorical("kind", ["a", "b", "c"]) == "a" else 0.5
        return (x - 0.3) ** 2 + (y + 0.6) ** 2 + (z - 0.1) ** 2

    assert all(optimised(objective, 100, seed=seed).best_value < 0.03 for seed in range(5))


def test_maximising_the_negative_is_minimising():
    lowest = optimised(conditional, 30)
    highest = optimised(lambda trial: -conditional(trial), 30, direction="maximize")
    assert params_of(lowest) == params_of(highest)


def test_no_configuration_is_tried_twice_while_another_is_left_and_a_space_that_is_used_up_goes_on():
    def finite(trial):
        kind = trial.suggest_categorical("kind", [None, False, "x"])
        return trial.suggest_int("n", 1, 4) + (trial.suggest_float("f", 0.0, 0.3, step=0.1) if kind == "x" else 0)

    trials = optimised(finite, 30).get_trials()
    assert len({key(trial.params) for trial in trials[:24]}) == 24  # 2 * 4 + 4 * 4
    assert all(trial.state == TrialState.COMPLETE for trial in trials)


# -- every kind of parameter, objective and end ----------------------------------------------------------------------


@pytest.mark.parametrize("direction", ["minimize", "maximize"])
def test_values_of_every_distribution_are_of_its_type_and_within_its_bounds(direction):
    odd = [None, True, 2, 0.5, "x", (1, 2), math.nan, [3]]  # Optuna warns of the last three, and takes them in memory

    def objective(trial):
        values = [
            (trial.suggest_categorical("odd", odd), None),
            (trial.suggest_categorical("single", ["only"]), str),
            (trial.suggest_int("int", -5, 5), int),
            (trial.suggest_int("steps", 2, 11, step=3), int),
            (trial.suggest_int("log", 1, 1000, log=True), int),
            (trial.suggest_int("one", 4, 4), int),
            (trial.suggest_float("float", -1.0, 0.0), float),
            (trial.suggest_float("tenths", -0.3, 0.4, step=0.1), float),
            (trial.suggest_float("rate", 1e-7, 1.0, log=True), float),
            (trial.suggest_float("point", 2.0, 2.0), float),
        ]
        for value, kind in values:
            assert kind is None or type(value) is kind
        for name, value in trial.params.items():
            distribution = trial.distributions[name]
            assert distribution._contains(distribution.to_internal_repr(value))
        return abs(trial.params["int"]) + trial.params["rate"] - odd.index(trial.params["odd"])

    with pytest.warns(UserWarning, match="Choices for a categorical"):
        study = optimised(objective, 30, direction=direction)
    assert len({odd.index(trial.params["odd"]) for trial in study.get_trials()}) >= 4


def test_ranges_that_depend_on_other_values_or_are_edited_between_runs_are_respected():
    def objective(trial, highest):
        width = trial.suggest_int("width", 8, 8 * highest, step=8)
        heads = trial.suggest_int("heads", 1, width // 8)
        rate = trial.suggest_float("rate", 0.001 / highest, 0.1 / highest, log=True)
        assert width <= 8 * highest
        assert heads <= width // 8
        assert 0.001 / highest <= rate <= 0.1 / highest
        return (heads - 5) ** 2 + math.log10(rate) ** 2

    study = optimised(lambda trial: objective(trial, 8), 25)
    study.optimize(lambda trial: objective(trial, 4), n_trials=10)  # narrower, and rates beyond the old
    study.optimize(lambda trial: objective(trial, 16), n_trials=10)
    assert all(trial.state == TrialState.COMPLETE for trial in study.get_trials())


@pytest.mark.parametrize("seed", range(2))
def test_after_a_range_is_narrowed_proposals_go_to_its_nearest_end(seed):
    def objective(trial, high):
        return (trial.suggest_float("x", 0.0, high) - 0.95) ** 2 + (trial.suggest_float("y", 0.0, 1.0) - 0.3) ** 2

    study = optimised(lambda trial: objective(trial, 1.0), 40, seed=seed)
    study.optimize(lambda trial: objective(trial, 0.8), n_trials=20)
    assert np.mean([trial.params["x"] for trial in study.get_trials()[-15:]]) > 0.75  # random: 0.4


@pytest.mark.parametrize("whole", [False, True])
@pytest.mark.parametrize("seed", range(3))
def test_the_best_of_a_range_that_depends_on_another_value_is_found_and_not_proposed_again_and_again(seed, whole):
    def objective(trial):
        high = trial.suggest_float("high", 1.0, 64.0, log=True)
        return trial.suggest_int("x", 0, int(high)) if whole else trial.suggest_float("x", 0.0, high)

    study = optimised(objective, 50, seed=seed, direction="maximize")
    assert study.best_value > 62.5
    assert len({key(trial.params) for trial in study.get_trials()[-25:]}) > 15


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("highest", [[1.0] * 20 + [2.0] * 20 + [4.0] * 20 + [8.0] * 40, [8.0, 1.0] * 6 + [8.0] * 50])
def test_a_range_that_people_edit_keeps_its_values(seed, highest):
    """Several edits by hand; two processes of which one has the older code."""
    coming = iter(highest)

    def objective(trial):
        return (trial.suggest_float("x", 0.0, next(coming)) - 3.0) ** 2 + (trial.suggest_float("y", 0, 1) - 0.3) ** 2

    study = optimised(objective, len(highest), seed=seed)
    assert np.median([trial.value for trial in study.get_trials()[-20:]]) < 0.2


def test_what_is_enqueued_of_such_a_range_is_known_by_its_place():
    def objective(trial):
        n = trial.suggest_int("n", 2, 40)
        return abs(trial.suggest_float("y", 0.0, 1.0) - trial.suggest_int("k", 1, n) / n)

    sampler = SurrogateSampler(0)
    study = optimised(objective, 30, sampler=sampler)
    study.enqueue_trial({"n": 40, "k": 20})
    trial = study.ask()
    found = sampler._fixed(study, study.get_trials()[-1])
    ranges = {trial.params["n"] for trial in study.get_trials()[-11:-1]}  # the latest of them is taken
    assert found["n"] == 40
    assert found["k"] in [pytest.approx(min(19.5 / n, 1.0)) for n in ranges]
    assert (trial.suggest_int("n", 2, 40), trial.suggest_int("k", 1, 40)) == (40, 20)


def test_a_place_in_a_range_is_never_taken_for_a_value():
    """Another thread may find out that a range depends on others while this one is between Optuna's two calls."""

    def objective(trial):
        return trial.suggest_float("x", 0.0, trial.suggest_float("high", 10.0, 60.0))

    sampler = SurrogateSampler(0)
    study = optimised(objective, 20, sampler=sampler)
    trial = study.ask()
    space = sampler.infer_relative_search_space(study, study.get_trials()[-1])
    stale = {**space, "x": FloatDistribution(0.0, 60.0)}
    assert "x" not in sampler.sample_relative(study, study.get_trials()[-1], stale)
    assert 0 <= trial.suggest_float("x", 0.0, 60.0) <= 60


def test_a_dot_in_a_name_says_nothing():
    """In our own spaces, `a.b` is `a` with other choices."""
    space = LearntSpace()
    layers, units = IntDistribution(1, 4), IntDistribution(1, 512)
    space.learn({"layers": 3, "layers.units": 200}, {"layers": layers, "layers.units": units})
    drawn = [draft(space, np.random.default_rng(seed), {"layers": 3}).params for seed in range(8)]
    assert {params["layers"] for params in drawn} == {3}
    assert len({params["layers.units"] for params in drawn}) > 4


def test_values_between_the_steps_asked_for_become_the_nearest():
    def objective(trial):
        odd = trial.suggest_categorical("odd", [0, 1])
        x = trial.suggest_float("x", 0.05 * odd, 2.0 + 0.05 * odd, step=0.1)
        assert math.isclose((x - 0.05 * odd) / 0.1, round((x - 0.05 * odd) / 0.1), abs_tol=1e-6)
        return (x - 0.72) ** 2 + 0.1 * odd

    study = optimised(objective, 50)
    assert all(trial.state == TrialState.COMPLETE for trial in study.get_trials())
    assert study.best_params == {"odd": 0, "x": pytest.approx(0.7)}


def test_a_value_given_by_hand_is_the_cell_that_it_names():
    def objective(trial):
        return trial.suggest_float("x", 0.0, 0.9, step=0.1) + trial.suggest_int("k", 1, 2)

    study = optuna.create_study(sampler=SurrogateSampler(0))
    for x in (0.3, 0.6, 0.7):
        study.enqueue_trial({"x": x, "k": 1})
    study.optimize(objective, n_trials=20)
    assert len({(round(trial.params["x"], 6), trial.params["k"]) for trial in study.get_trials()}) == 20


def test_a_value_fixed_by_hand_is_the_cell_that_it_names():
    def objective(trial):
        return trial.suggest_float("x", 0.0, 0.9, step=0.1) + trial.suggest_int("k", 1, 20)

    study = optimised(objective, 5)
    for _ in range(12):
        study.enqueue_trial({"x": 0.3})
    study.optimize(objective, n_trials=12)
    assert len({trial.params["k"] for trial in study.get_trials()[5:]}) == 12


def test_a_copy_of_a_study_is_another_study():
    sampler = SurrogateSampler(0)
    first = optimised(conditional, 25, sampler=sampler)
    second, fresh = optuna.create_study(sampler=sampler), optuna.create_study(sampler=SurrogateSampler(0))
    for study in (second, fresh):
        study.add_trials(first.get_trials()[:15])
        study.optimize(conditional, n_trials=5)
    assert params_of(second) == params_of(fresh)


@pytest.mark.parametrize("way", ["enqueued", "fixed"])
def test_what_is_fixed_from_outside_is_proposed_for(way):
    def objective(trial):
        kind = trial.suggest_categorical("kind", ["a", "b"])
        return 0.1 * (kind == "b") + sum((trial.suggest_float(f"{kind}{i}", 0.0, 1.0) - 0.6) ** 2 for i in range(4))

    sampler = SurrogateSampler(0)
    study = optimised(objective, 30, sampler=sampler)
    if way == "fixed":
        study.sampler = optuna.samplers.PartialFixedSampler({"kind": "b"}, sampler)
    else:
        for _ in range(30):
            study.enqueue_trial({"kind": "b"})
    study.optimize(objective, n_trials=30)
    later = study.get_trials()[30:]
    assert {trial.params["kind"] for trial in later} == {"b"}
    assert min(trial.value for trial in later) < 0.12


def test_a_failure_that_was_retried_says_nothing_of_its_configuration():
    def failed(number, params, retry=None):
        attrs = {} if retry is None else {"failed_trial": retry, "retry_history": [retry]}
        return create_trial(
            state=TrialState.FAIL if retry is None else TrialState.COMPLETE,
            value=None if retry is None else 0.0,
            params=params,
            distributions={"x": FloatDistribution(0.0, 1.0)},
            system_attrs=attrs,
        )

    study = optuna.create_study(sampler=SurrogateSampler(0))
    study.add_trials([failed(0, {"x": 0.1}), failed(1, {"x": 0.9}), failed(2, {"x": 0.1}, retry=0)])
    study.ask().suggest_float("x", 0.0, 1.0)
    read = study.sampler._trials
    assert [bool(any(v > 0 for v in read[n].constraints.values())) for n in range(3)] == [False, True, False]
    study.add_trial(failed(4, {"x": 0.9}, retry=1))  # only now, when the failure has been read
    study.ask().suggest_float("x", 0.0, 1.0)
    assert not any(study.sampler._proposer.known.infeasible.values())


def test_another_study_of_the_same_name_is_another_study():
    sampler = SurrogateSampler(0)
    first = optuna.create_study(study_name="same", sampler=sampler)
    first.optimize(conditional, n_trials=20)
    second = optuna.create_study(study_name="same", sampler=sampler)
    second.optimize(conditional, n_trials=10)
    fresh = optuna.create_study(study_name="same", sampler=SurrogateSampler(0))
    fresh.optimize(conditional, n_trials=10)
    assert params_of(second) == params_of(fresh)


def test_an_objective_that_is_edited_between_runs_is_learnt_anew():
    def edited(trial):
        loss = trial.suggest_float("new", 0.0, 1.0) + conditional(trial)
        return loss + (trial.suggest_float("late", 0.0, 1.0) if trial.params["new"] > 0.5 else 0)

    study = optimised(conditional, 25)
    study.optimize(edited, n_trials=40)
    last = study.get_trials()[-10:]
    assert np.mean([trial.params["new"] for trial in last]) < 0.2  # random: 0.5


def test_what_is_asked_for_in_another_order_each_time_is_sampled():
    def objective(trial):
        names = ["x", "y", "z"][:: -1 if trial.number % 2 else 1]
        return sum(trial.suggest_float(name, 0.0, 1.0) for name in names)

    assert optimised(objective, 40).best_value < 0.3


@pytest.mark.parametrize("way", ["constraint", "failure"])
def test_violated_constraints_and_failures_are_avoided(way):
    def objective(trial):
        x, y = (trial.suggest_float(name, 0.0, 1.0) for name in "xy")
        if way == "constraint":
            trial.set_constraint("sum", x + y - 1)
        elif x + y > 1:  # half of the square; the values would be best there
            raise RuntimeError
        return -x - y

    study = optimised(objective, 60, catch=RuntimeError)
    sums = [sum(trial.params.values()) for trial in study.get_trials()]
    assert sum(total > 1 for total in sums[-20:]) <= 10  # the best lie at the border
    assert sum(total > 1.3 for total in sums[-20:]) <= 2
    assert max(total for total in sums if total <= 1) > 0.97


@pytest.mark.parametrize(
    ("trial", "is_infeasible", "is_whole"),
    [
        (create_trial(value=1.0), False, True),
        (create_trial(value=1.0, constraints={"a": 0.0, "b": -1.0}), False, True),
        (create_trial(value=1.0, constraints={"a": -1.0, "b": 0.1}), True, True),
        (create_trial(value=1.0, system_attrs={"constraints": [0.5]}), True, True),  # by the constraints_func of others
        (create_trial(value=math.inf), True, True),
        (create_trial(value=0.0), False, True),
        (create_trial(state=TrialState.PRUNED, intermediate_values={1: 0.0}), False, True),
        (create_trial(state=TrialState.PRUNED, intermediate_values={1: math.nan}), True, True),
        (create_trial(state=TrialState.PRUNED), True, False),
        (create_trial(state=TrialState.FAIL, intermediate_values={1: 0.0}), True, False),
        (create_trial(state=TrialState.RUNNING), False, False),
    ],
)
def test_which_trials_are_infeasible_and_which_have_asked_for_all_their_parameters(trial, is_infeasible, is_whole):
    assert infeasible(trial) == is_infeasible
    assert whole(trial) == is_whole


def test_enqueued_trials_run_as_given_and_first_proposals_keep_a_part_of_them():
    good = {"rate": 1.1e-3, "kind": "b", "b.layers": 7, "b.skip": 0.5, "decay": 0.41}
    study = optuna.create_study(sampler=SurrogateSampler(0))
    study.enqueue_trial(good)
    study.enqueue_trial({"kind": "a"})
    study.optimize(conditional, n_trials=RANDOM_TRIALS)
    first, second, *others = study.get_trials()
    assert first.params == good
    assert second.params["kind"] == "a"
    kept = [sum(trial.params.get(name) == value for name, value in good.items()) for trial in others]
    assert sum(count >= 2 for count in kept) >= len(others) / 4  # random: two equal values in one of 40


# -- threads, processes and storages ---------------------------------------------------------------------------------


def test_proposals_depend_on_nothing_but_the_seed_and_the_study():
    once, again, other = (params_of(optimised(conditional, 25, seed=seed)) for seed in (3, 3, 4))
    assert once == again
    assert not any(one == two for one, two in zip(once, other, strict=True))


def stored(path, trials):
    """A study in SQLite with some trials of `conditional`."""
    study = optuna.create_study(storage=f"sqlite:///{path}/study.db")
    study.add_trials(optimised(conditional, trials, pruner=MedianPruner()).get_trials())
    return study


def test_a_study_continues_from_sqlite_as_from_memory_and_a_sampler_can_be_pickled(tmp_path):
    study, memory = stored(tmp_path, 20), optuna.create_study(sampler=SurrogateSampler(7))
    study.sampler = pickle.loads(pickle.dumps(memory.sampler))
    memory.add_trials(study.get_trials())
    for one in (study, memory):
        one.optimize(conditional, n_trials=3)
    assert params_of(study)[-3:] == params_of(memory)[-3:]


def test_processes_that_share_a_storage_and_a_seed_propose_different_trials(tmp_path):
    study = stored(tmp_path, 20)
    processes = [
        optuna.load_study(study_name=study.study_name, storage=f"sqlite:///{tmp_path}/study.db", sampler=sampler)
        for sampler in (SurrogateSampler(0), SurrogateSampler(0), SurrogateSampler(0))
    ]
    asked = [process.ask() for process in processes]  # all ask before any has a parameter
    for trial in asked:
        conditional(trial)
    assert len({key(trial.params) for trial in asked}) == 3


def test_threads_share_a_sampler():
    trials = optimised(conditional, 40, n_jobs=4).get_trials()
    assert all(trial.state == TrialState.COMPLETE for trial in trials)
    assert len({key(trial.params) for trial in trials}) == 40


def test_one_sampler_serves_several_studies_in_turn():
    sampler = SurrogateSampler(0)
    one, two = (optuna.create_study(sampler=sampler) for _ in range(2))
    for _ in range(3):
        one.optimize(conditional, n_trials=8)
        two.optimize(lambda trial: trial.suggest_categorical("rate", [None, "x"]) is None, n_trials=8)
    assert {trial.params["rate"] for trial in two.get_trials()} == {None, "x"}
    assert one.best_value < 0.3


def test_several_objectives_are_refused_in_one_sentence():
    study = optuna.create_study(directions=["minimize", "minimize"], sampler=SurrogateSampler())
    with pytest.raises(ValueError, match=r"^SurrogateSampler optimises one objective, and this study has 2$"):
        study.optimize(lambda trial: (trial.suggest_float("x", 0, 1), 0), n_trials=1)


# -- pruning ---------------------------------------------------------------------------------------------------------


def curve(trial):
    """27 steps from 1 + asymptote down to it; the slower, the worse."""
    x, y = (trial.suggest_float(name, -1.0, 1.0) for name in "xy")
    kind = trial.suggest_categorical("kind", "abc")
    z = trial.suggest_float("z", -1.0, 1.0) if kind == "a" else 0.2
    asymptote = (x - 0.3) ** 2 + (y + 0.6) ** 2 + (z - 0.1) ** 2
    for step in range(1, 28):
        trial.report(asymptote + math.exp(-step / (4 + asymptote)), step)
        if trial.should_prune():
            raise optuna.TrialPruned
    return asymptote


@pytest.mark.parametrize(
    ("pruner", "trials"),
    [(SuccessiveHalvingPruner(1, 3), 30), (HyperbandPruner(1, 27, 3), 45)],  # whose brackets share the trials
)
def test_pruned_trials_teach_the_sampler(pruner, trials):
    options = {"trials": trials, "pruner": pruner}
    ours = [optimised(curve, seed=seed, **options).best_value for seed in range(5)]
    random = [optimised(curve, seed=k, sampler=RandomSampler(seed=k), **options).best_value for k in range(5)]
    assert np.median(ours) < 0.5 * np.median(random)


def ended(steps, value=None, **options):
    """A trial with these intermediate values; COMPLETE if it has a value."""
    state = TrialState.PRUNED if value is None else TrialState.COMPLETE
    return create_trial(state=state, value=value, intermediate_values=steps, **options)


def climbed(*trials):
    found = Ladder()
    for trial in trials:
        found.extend(trial)
    return found


def test_rungs_are_thirds_of_the_longest_training_down_to_the_first_pruning():
    full = ended({step: 1.0 for step in range(1, 82)}, 0.0)
    assert climbed(ended({}, 0.5)).rungs == (math.inf,)
    assert climbed(full).rungs == (81,)
    assert climbed(full, ended({1: 1.0, 9: 1.0}), ended({27: 1.0})).rungs == (9, 27, 81)
    assert climbed(ended({3: 1.0}), full).rungs == (3, 9, 27, 81)
    assert climbed(full, ended({0: 1.0})).rungs == (0, 3, 9, 27, 81)
    assert climbed(full, ended({80: 1.0})).rungs == (80, 81)
    assert climbed(ended({5: 1.0, 6: math.nan})).rungs == (5,)


def test_a_trial_has_a_value_at_every_rung_that_it_has_reached_and_the_last_is_what_it_returned():
    found = climbed(ended({step: 1.0 for step in range(1, 28)}, 0.0), ended({3: 1.0}))
    assert found.rungs == (3, 9, 27)
    assert found.values(ended({2: 0.2})) == {}
    assert found.values(ended({1: 0.1, 4: 0.4, 8: 0.8})) == {0: 0.4}
    assert found.values(ended({5: 0.5, 10: 1.0, 20: 2.0, 30: 3.0})) == {0: 0.5, 1: 1.0, 2: 3.0}
    assert found.values(ended({3: 0.3, 9: math.nan, 12: 1.2}, 7.0)) == {0: 0.3, 1: 1.2, 2: 7.0}
    assert found.values(ended({}, 7.0)) == {0: 7.0, 1: 7.0, 2: 7.0}


# -- the space -------------------------------------------------------------------------------------------------------


def examples(sample, count, seed=0):
    rng = np.random.default_rng(seed)
    drafts = (draft(sample, rng) for _ in range(count))
    return [internal(create_trial(value=0.0, params=made.params, distributions=made.distributions)) for made in drafts]


@pytest.mark.parametrize("sample", [conditional, *(studies.load(name).sample for name in ("hybrid", "hierarchical"))])
def test_a_learnt_space_asks_for_what_the_objective_asks_for(sample):
    space, seen = LearntSpace(), []
    for params, distributions in examples(sample, 100):
        space.learn(params, distributions)
        seen.append(params)
        for one in seen[-20:]:  # all that was seen is explained
            assert [name for name in space.distributions if holds(space._active[name], one)] == list(one)
    wrong, total = 0, 0
    for params, _ in examples(sample, 100, seed=1):  # and nearly all that was not
        made = draft(space, np.random.default_rng(0), params)
        wrong += len(made.params.keys() ^ params.keys())
        total += len(params)
    assert wrong < 0.03 * total
    before = dict(space.distributions)
    assert not space.learn(*examples(sample, 1)[0])
    assert list(space.distributions.items()) == list(before.items())


def test_a_condition_on_a_range_without_steps_is_found_once_nothing_else_explains_it():
    def sample(trial):
        trial.suggest_categorical("kind", ["a", "b", "c"])
        if trial.suggest_float("dropout", 0.0, 1.0) > 0.6:
            trial.suggest_int("n", 1, 3)

    space = LearntSpace()
    for params, distributions in examples(sample, 60):
        space.learn(params, distributions)
    for dropout in (0.1, 0.5, 0.7, 0.9):
        assert ("n" in draft(space, np.random.default_rng(0), {"dropout": dropout}).params) == (dropout > 0.6)


@pytest.mark.parametrize(
    ("one", "other", "both"),
    [
        (IntDistribution(1, 4), IntDistribution(3, 9), IntDistribution(1, 9)),
        (IntDistribution(2, 8, step=2), IntDistribution(4, 12, step=2), IntDistribution(2, 12, step=2)),
        (IntDistribution(2, 8, step=2), IntDistribution(3, 9, step=2), IntDistribution(2, 9)),
        (IntDistribution(1, 4, log=True), IntDistribution(2, 64, log=True), IntDistribution(1, 64, log=True)),
        (FloatDistribution(0, 1), FloatDistribution(-1, 0.5), FloatDistribution(-1, 1)),
        (FloatDistribution(0, 1, step=0.1), FloatDistribution(0.3, 2, step=0.1), FloatDistribution(0, 2, step=0.1)),
        (FloatDistribution(0, 1, step=0.1), FloatDistribution(0, 1), FloatDistribution(0, 1)),
        (CategoricalDistribution([0, 1]), CategoricalDistribution([0, 1]), CategoricalDistribution([0, 1])),
    ],
)
def test_the_range_of_a_parameter_is_the_widest_seen(one, other, both):
    assert widest(one, other) == widest(other, one) == both
