"""Whole configurations drawn and changed without a study: what Optuna says of them, and counts by hand."""

import itertools
import math
from collections import Counter

import numpy as np
import optuna
import pytest
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.trial import FixedTrial
from scipy.stats import chisquare, kstest

import studies
from nas.searching.drafts import all_values, cells, cross, draft, key, mutate, neighbour, place_of, splice, value_at

KINDS = ["conv", "attention", "none"]


def conditional(trial):
    """Finite; 'kind' decides which parameters there are, and 'heads' how many 'scale' has."""
    found = {"kind": trial.suggest_categorical("kind", KINDS), "depth": trial.suggest_int("depth", 1, 2)}
    if found["kind"] == "conv":
        found["kernel"] = trial.suggest_int("kernel", 3, 9, step=2)
        found["drop"] = trial.suggest_float("drop", 0.0, 0.3, step=0.1)
    if found["kind"] == "attention":
        found["heads"] = trial.suggest_int("heads", 1, 4, log=True)
        if found["heads"] > 2:
            found["scale"] = trial.suggest_categorical("scale", [True, False, None])
    return found


def mixed(trial):
    """`conditional`, and what has no steps."""
    found = {**conditional(trial), "rate": trial.suggest_float("rate", 1e-4, 1e-1, log=True)}
    if found["kind"] != "none":
        found["shift"] = trial.suggest_float("shift", -1.0, 2.0)
    return found


SPACES = {"conditional": conditional, "mixed": mixed}
SPACES |= {name: studies.load(name).sample for name in ("hybrid", "hierarchical", "vit", "training")}

NUMBERS = {
    "int": IntDistribution(1, 9),
    "int by steps": IntDistribution(3, 19, step=4),
    "log int": IntDistribution(1, 200, log=True),
    "two": IntDistribution(4, 5),
    "tenths": FloatDistribution(0.0, 0.3, step=0.1),
    "many tenths": FloatDistribution(-0.7, 0.9, step=0.1),
    "by 0.07": FloatDistribution(0.05, 0.75, step=0.07),
}
RANGES = {
    "float": FloatDistribution(-3.0, 5.0),
    "log float": FloatDistribution(1e-5, 1e-1, log=True),
    "single": FloatDistribution(2.0, 2.0),
}
CONTINUOUS = {name: distribution for name, distribution in RANGES.items() if name != "single"}


def drafts(sample, count, seed=0):
    rng = np.random.default_rng(seed)
    return [draft(sample, rng) for _ in range(count)]


def contained(distribution, value):
    return distribution._contains(distribution.to_internal_repr(value))


def as_by_optuna(sample, made):
    """Optuna decodes the parameters of `made`, asks for those only, and finds the same distributions."""
    trial = FixedTrial(made.params)
    result = sample(trial)
    assert list(trial.params) == list(made.params)
    assert trial.distributions == made.distributions
    assert all(contained(made.distributions[name], value) for name, value in made.params.items())
    return result


@pytest.mark.parametrize("space", SPACES)
def test_optuna_decodes_whatever_is_made_to_the_same_result(space):
    results, rng = [], np.random.default_rng(0)

    def sample(trial):
        results.append(SPACES[space](trial))

    parents = drafts(sample, 2)
    for _ in range(60):
        for make in (draft, mutate, cross):
            made = make(sample, rng, *{draft: (), mutate: parents[:1], cross: parents}[make])
            assert as_by_optuna(SPACES[space], made) == results[-1]
            parents = [made, parents[0]]


def test_a_draft_asked_twice_answers_the_same():
    def sample(trial):
        return [trial.suggest_float("rate", 0.0, 1.0) for _ in range(3)]

    results = []
    draft(lambda trial: results.append(sample(trial)), np.random.default_rng(0))
    assert len(set(results[0])) == 1


def test_what_is_given_is_kept_where_it_lies_in_the_bounds():
    given = {"kind": "conv", "depth": 9, "kernel": 4, "drop": 0.1, "heads": 2, "rate": "fast"}
    for seed in range(20):
        made = draft(mixed, np.random.default_rng(seed), given)
        assert (made.params["kind"], made.params["drop"]) == ("conv", 0.1)
        assert made.params["depth"] in (1, 2)
        assert made.params["kernel"] in (3, 5, 7, 9)
        assert "heads" not in made.params
        as_by_optuna(mixed, made)


@pytest.mark.parametrize("name", NUMBERS)
def test_a_stepped_value_is_taken_back_from_its_place(name):
    distribution = NUMBERS[name]
    values = all_values(name, distribution)
    assert all(contained(distribution, value) for value in values)
    assert values == sorted(set(values))
    assert values[0] == distribution.low
    assert values[-1] == distribution.high
    assert [value_at(distribution, place_of(distribution, value)) for value in values] == values


@pytest.mark.parametrize("name", RANGES)
def test_a_place_of_a_range_is_taken_back_from_its_value(name):
    distribution = RANGES[name]
    for place in [0.0, *np.random.default_rng(0).random(200).tolist(), 1.0]:
        value = value_at(distribution, place)
        assert contained(distribution, value)
        assert place_of(distribution, value) == pytest.approx(0.0 if name == "single" else place, abs=1e-12)
    assert value_at(distribution, 0.0) == distribution.low
    assert value_at(distribution, 1.0) == distribution.high


@pytest.mark.parametrize("name", [*NUMBERS, *RANGES])
def test_places_beyond_the_ends_are_the_bounds(name):
    distribution = {**NUMBERS, **RANGES}[name]
    assert value_at(distribution, -0.4) == distribution.low
    assert value_at(distribution, 1.4) == distribution.high


@pytest.mark.parametrize("name", NUMBERS)
def test_neighbours_are_the_values_beside_and_turn_round_at_a_bound(name):
    distribution = NUMBERS[name]
    values = all_values(name, distribution)
    for low, high in itertools.pairwise(values):
        assert neighbour(distribution, low, up=True) == high
        assert neighbour(distribution, high, up=False) == low
    assert neighbour(distribution, values[0], up=False) == values[1]
    assert neighbour(distribution, values[-1], up=True) == values[-2]


@pytest.mark.parametrize("name", NUMBERS)
def test_values_are_those_that_optuna_draws(name):
    """Equal to the last bit, so that a configuration of Optuna's own is known to have been tried."""
    distribution = NUMBERS[name]
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    drawn = {study.ask({"x": distribution}).params["x"] for _ in range(300)}
    assert drawn <= set(all_values(name, distribution))


@pytest.mark.parametrize("space", SPACES)
def test_a_mutation_changes_one_parameter_and_what_hangs_on_it(space):
    sample, rng, mutated, switched = SPACES[space], np.random.default_rng(0), set(), 0
    parents = drafts(sample, 60)
    for parent in parents:
        before = dict(parent.params)
        for _ in range(10):
            child = mutate(sample, rng, parent)
            as_by_optuna(sample, child)  # so it has the parameters that its own values demand, no more and no fewer
            common = before.keys() & child.params.keys()
            changed = [name for name in common if child.params[name] != before[name]]
            assert len(changed) == 1
            mutated.update(changed)
            switched += child.params.keys() != before.keys()
        assert parent.params == before
    if len(parents[0].params) < 10:
        assert mutated == {name for parent in parents for name in parent.params}, "each has its turn"
    assert switched > 50 or space in ("vit", "training")


@pytest.mark.parametrize("name", [*NUMBERS, *CONTINUOUS])
def test_a_mutation_of_one_number_is_another_number(name):
    distribution = {**NUMBERS, **CONTINUOUS}[name]

    def sample(trial):
        trial.suggest("x", distribution)

    rng = np.random.default_rng(0)
    for value in (distribution.low, value_at(distribution, 0.5), distribution.high):
        parent = draft(sample, rng, {"x": value})
        found = [mutate(sample, rng, parent).params["x"] for _ in range(100)]
        assert value not in found
        assert all(contained(distribution, other) for other in found)
        assert min(found) < value or value == distribution.low
        assert max(found) > value or value == distribution.high


def test_a_choice_mutates_to_every_other_choice_alike():
    rng = np.random.default_rng(0)

    def sample(trial):
        trial.suggest_categorical("x", ["a", "b", None, 3])

    parent = draft(sample, rng, {"x": "b"})
    counts = Counter(mutate(sample, rng, parent).params["x"] for _ in range(600))
    assert counts.keys() == {"a", None, 3}
    assert chisquare(list(counts.values())).pvalue > 1e-4


def test_where_nothing_can_change_a_mutation_is_the_same():
    def sample(trial):
        trial.suggest_categorical("only", ["one"])
        trial.suggest_float("fixed", 1.0, 1.0)

    parent = draft(sample, np.random.default_rng(0))
    assert mutate(sample, np.random.default_rng(0), parent).params == {"only": "one", "fixed": 1.0}


def families(space, combine):
    """Pairs of drafts of a space, and what `combine` makes of each."""
    sample, rng = SPACES[space], np.random.default_rng(0)
    for one, other in itertools.pairwise(drafts(sample, 100)):
        yield one, other, combine(sample, rng, one, other)


@pytest.mark.parametrize("space", SPACES)
def test_a_cross_takes_each_value_from_one_of_its_parents(space):
    sides = Counter()
    for one, other, child in families(space, cross):
        for name, value in child.params.items():
            origins = [parent.params[name] for parent in (one, other) if name in parent.params]
            # Where the child is on a branch that neither parent took, what lies behind it has to be drawn.
            assert value in origins or not origins
            if len(origins) == 2 and origins[0] != origins[1]:
                sides[value == origins[0]] += 1
    assert chisquare(list(sides.values())).pvalue > 1e-4


@pytest.mark.parametrize("space", SPACES)
def test_a_splice_is_one_parent_up_to_a_point_and_the_other_after_it(space):
    cuts = set()
    for one, other, child in families(space, splice):
        of_one, kept = True, 0
        for name, value in child.params.items():
            of_one &= name in one.params and value == one.params[name]
            # After the point the other's value, or the first one's where the other has none.
            if not of_one and (name in one.params or name in other.params):
                assert value == other.params.get(name, one.params.get(name))
            kept += of_one
        cuts.add(kept)
        first, *_, last = one.params
        assert child.params[first] == one.params[first], "each parent has a part"
        if last in child.params and last in other.params:
            assert child.params[last] == other.params[last]
    assert len(cuts) > 1


def by_hand():
    """Every cell of `conditional`, by loops instead of by running it."""
    drops = (0.0, 0.1, 0.2, 0.3)
    for depth in (1, 2):
        yield {"kind": "none", "depth": depth}
        for kernel, drop in itertools.product((3, 5, 7, 9), drops):
            yield {"kind": "conv", "depth": depth, "kernel": kernel, "drop": drop}
        for heads in (1, 2, 3, 4):
            attention = {"kind": "attention", "depth": depth, "heads": heads}
            yield from [attention | {"scale": s} for s in (True, False, None)] if heads > 2 else [attention]


def test_the_cells_of_a_finite_conditional_space_are_each_found_once():
    found, expected = list(cells(conditional)), list(by_hand())
    assert len(found) == len(expected) == len({key(cell) for cell in found})

    def rounded(cell):  # 3 * 0.1 is not 0.3
        return key({name: round(value, 9) if isinstance(value, float) else value for name, value in cell.items()})

    assert {rounded(cell) for cell in found} == {rounded(cell) for cell in expected}
    for cell in found:
        conditional(FixedTrial(cell))


def test_random_drafts_of_a_finite_space_are_all_among_its_cells():
    drawn = {key(made.params) for made in drafts(conditional, 3000)}
    assert drawn == {key(cell) for cell in cells(conditional)}


@pytest.mark.parametrize(
    ("choices", "count"), [((1, True, 0), 2), (("a", "a"), 1), ((math.nan, None), 2), (("one",), 1)]
)
def test_of_equal_choices_there_is_one_cell(choices, count):
    """Optuna cannot tell them apart either."""
    found = cells(lambda trial: trial.suggest_categorical("x", choices))
    assert len(list(itertools.islice(found, 10))) == count


def test_a_space_without_parameters_has_one_cell():
    assert list(cells(lambda trial: None)) == [{}]


def test_cells_of_a_range_without_steps_are_refused_by_its_name():
    with pytest.raises(ValueError, match="rate is a range without steps"):
        list(cells(mixed))


@pytest.mark.parametrize(
    "distribution",
    [d for name, d in NUMBERS.items() if name != "log int"] + [CategoricalDistribution(["a", None, 0.5, True])],
    ids=str,
)
def test_random_drafts_are_uniform_over_steps_and_choices(distribution):
    made = drafts(lambda trial: trial.suggest("x", distribution), 3000)
    counts = Counter(one.params["x"] for one in made)
    assert counts.keys() == set(all_values("x", distribution))
    assert chisquare(list(counts.values())).pvalue > 1e-4


@pytest.mark.parametrize("name", CONTINUOUS)
def test_random_drafts_are_uniform_over_ranges(name):
    distribution = CONTINUOUS[name]
    values = np.array([made.params["x"] for made in drafts(lambda trial: trial.suggest("x", distribution), 3000)])
    low, high = distribution.low, distribution.high
    if distribution.log:
        values, low, high = np.log(values), math.log(low), math.log(high)
    assert kstest(values, "uniform", (low, high - low)).pvalue > 1e-4


def test_whole_numbers_in_the_logarithm_are_drawn_as_often_as_by_optuna():
    distribution = NUMBERS["log int"]
    counts = Counter(made.params["x"] for made in drafts(lambda trial: trial.suggest("x", distribution), 5000))
    few = [sum(counts[value] for value in range(low, 2 * low)) for low in (1, 2, 4, 8, 16, 32, 64)]
    shares = [math.log((2 * low - 0.5) / (low - 0.5)) / math.log(200.5 / 0.5) for low in (1, 2, 4, 8, 16, 32, 64)]
    few, shares = [*few, 5000 - sum(few)], [*shares, 1 - sum(shares)]
    assert chisquare(few, 5000 * np.array(shares)).pvalue > 1e-4
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    theirs = [study.ask({"x": distribution}).params["x"] for _ in range(1000)]
    assert np.mean(theirs) == pytest.approx(sum(value * n for value, n in counts.items()) / 5000, rel=0.2)
