"""The report's promises: values compared at one budget only, tables as counted independently, one offline page."""

import csv
import dataclasses
import io
import itertools
import json
import math
import re
import statistics
from html.parser import HTMLParser
from types import SimpleNamespace

import numpy as np
import optuna
import plotly.graph_objects as go
import pytest
from optuna.distributions import CategoricalDistribution, FloatDistribution
from optuna.trial import TrialState, create_trial
from rich.console import Console

import studies
from nas import schedulers
from nas.commands.cli import main_of
from nas.reading import read
from nas.report import document, noise, thinning
from nas.report.data import incumbent, mixers
from nas.report.figures import history, learning_curves, mixer_map
from nas.report.matters import _thirds, main_effects
from nas.report.noise import auc_noise
from nas.report.numbers import numbers
from nas.report.page import page, retrain_command, write_report
from nas.report.retraining_table import fitting
from nas.report.retraining_verdict import verdict as retraining_verdict
from nas.report.style import empty_figure
from nas.report.table import overtuning, top_table
from nas.report.verdict import verdict
from nas.retraining.scores import Spread
from nas.searching.display import Display
from nas.searching.engine import Engine
from nas.searching.jobs import Admission, Event
from nas.searching.ledger import Ledger
from nas.searching.optuna_private import attributes_of
from nas.searching.simulate import simulate
from nas.searching.storage import open_storage
from nas.searching.study import describe
from nas.words import describe_architecture, describe_data, duration, si, value
from trainers import metrics

SPEC = dataclasses.replace(studies.load("hybrid"), epochs=18, min_epochs=2)
RUNGS = (2, 6, 18)
SECTIONS = {"history", "curves", "mixers", "matters", "cost"}
EVIL = "RuntimeError: </script><script src='http://x.org/a.js'></script> & co"
optuna.logging.set_verbosity(optuna.logging.ERROR)
pytestmark = pytest.mark.filterwarnings("ignore::optuna.exceptions.ExperimentalWarning")


def described(study, **changes):
    spec = dataclasses.replace(SPEC, **changes)
    study.set_user_attr("spec", describe(spec))
    study.set_user_attr("question", spec.question)
    return study


def size(config):
    return sum(stage["depth"] * stage["width"] ** 2 for stage in config["architecture"]["stages"])


def search(storage, trials=36, direction="maximize", seed=0):
    """A study searched by the engine in virtual time, with failed, skipped and pruned trials."""
    ledger = Ledger(storage, "hybrid", direction=direction, sampler=optuna.samplers.RandomSampler(seed))
    described(ledger.study, direction=direction)
    sign = 1 if direction == "maximize" else -1

    def curve(config):
        rate = config["training"]["learning_rate"]
        asymptote = 0.9 - 0.1 * (math.log10(rate) + 3) ** 2
        return 1 - sign + sign * asymptote * (1 - np.exp(-np.arange(1, 19) / 4))

    def admit(config):
        count = size(config)
        return Admission({"parameters": count, "macs": 64 * count}, {"parameters": count / 20_000 - 1})

    engine = Engine(
        ledger, schedulers.create("promotion", RUNGS, 3), trials=trials, admit=admit,
        sample=lambda trial: SPEC.sample(trial).to_dict(),
    )  # fmt: skip
    job = engine.next()
    engine.report(job.trial, 1, {"auc": 0.5})
    engine.fail(job.trial, EVIL)
    list(simulate(engine, curve, workers=3))
    engine.close()
    return ledger.study


@pytest.fixture(scope="module", params=["maximize", "minimize"])
def study(request):
    return search(optuna.storages.InMemoryStorage(), direction=request.param)


def given(entry):
    """A trial of `by_hand` whose configuration was given."""
    state, curve, config, parameters = entry
    values = dict(enumerate(curve, 1))
    attributes = {"config": config, "parameters": parameters, "macs": 64 * parameters, "given": True}
    return {"state": state, "value": curve[-1], "intermediate_values": values, "user_attrs": attributes}


def printed(table):
    """The lines of a table on a terminal of 80 columns."""
    console = Console(width=80, record=True, file=io.StringIO())
    console.print(table)
    return console.export_text().splitlines()


def by_hand(entries, direction="maximize", **changes):
    """A study in memory of (state, curve, config, parameters) or keyword arguments of create_trial."""
    study = described(optuna.create_study(study_name="hybrid", direction=direction), direction=direction, **changes)
    for entry in entries:
        if not isinstance(entry, dict):
            state, curve, config, parameters = entry
            entry = {
                "state": state,
                "value": curve[-1] if state in (TrialState.COMPLETE, TrialState.PRUNED) and curve else None,
                "intermediate_values": dict(enumerate(curve, 1)),
                "user_attrs": {"config": config, "parameters": parameters, "macs": 64 * parameters},
            }
        study.add_trial(create_trial(**entry))
    return study


def hybrid(*names):
    stages = [{"mixer": name, "depth": 2, "width": 64, "downsample": i > 0} for i, name in enumerate(names)]
    return {"architecture": {"kind": "hybrid", "stages": stages}}


def better(study, a, b):
    return a > b if study.direction.name == "MAXIMIZE" else a < b


def ended(study, state):
    return [t for t in study.get_trials() if t.state == state and "skipped" not in t.user_attrs]


def test_counts_are_those_of_the_study_and_skipped_configurations_are_no_trials(study):
    found = read(study)
    skipped = [t for t in study.get_trials() if "skipped" in t.user_attrs]
    assert skipped
    assert found.skipped == len(skipped)
    assert not {t.number for t in found.trained} & {t.number for t in skipped}
    states = {"complete": TrialState.COMPLETE, "pruned": TrialState.PRUNED, "failed": TrialState.FAIL}
    others = {"paused": 0, "running": 0, "skipped": len(skipped)}
    assert found.counts() == {name: len(ended(study, state)) for name, state in states.items()} | others
    assert all(found.counts()[name] for name in states)
    assert found.rungs == RUNGS


def test_only_full_budgets_are_ranked_best_first(study):
    ranked = read(study).ranked()
    complete = {t.number: t.value for t in ended(study, TrialState.COMPLETE)}
    assert {t.number: t.value for t in ranked} == complete
    assert not any(better(study, b.value, a.value) for a, b in itertools.pairwise(ranked))


def test_the_table_at_the_end_of_a_run_fits_a_terminal_and_starts_with_the_best(study):
    lines = printed(top_table(read(study), 3))
    assert max(map(len, lines)) <= 80
    first = lines[1 + next(i for i, line in enumerate(lines) if "───" in line)]
    assert f" {study.best_trial.number} " in first
    assert f" {study.best_value:.4f} " in first


def test_no_point_of_the_history_mixes_budgets(study):
    figure = history(read(study), incumbent(read(study)))
    stored = {t.number: t for t in study.get_trials()}
    drawn = []
    for rung, name in zip(RUNGS, ["2 epochs", "6 epochs", "full budget (18 epochs)"], strict=True):
        (points,) = [trace for trace in figure.data if trace.name == name]
        drawn += points.x
        for number, height in zip(points.x, points.y, strict=True):
            assert height == stored[number].intermediate_values[rung]
            assert max(r for r in RUNGS if r in stored[number].intermediate_values) == rung
    assert sorted(drawn) == [t.number for t in stored.values() if 2 in t.intermediate_values]


def test_the_incumbent_is_the_best_full_budget_so_far(study):
    found = incumbent(read(study))
    best, expected = None, []
    for trial in ended(study, TrialState.COMPLETE):
        if best is None or better(study, trial.value, best):
            best = trial.value
            expected.append((trial.number, best))
    assert list(zip(found.numbers, found.values, strict=True)) == expected


@pytest.mark.parametrize("direction", ["maximize", "minimize"])
def test_the_pareto_front_holds_exactly_what_nothing_dominates(direction):
    rng = np.random.default_rng(0)
    points = [(int(p), float(v)) for p, v in zip(rng.integers(1, 30, 60), rng.integers(0, 20, 60) / 20, strict=True)]
    trials = [(TrialState.COMPLETE, [0.5] * 17 + [v], hybrid("conv"), p) for p, v in points]
    pruned = (TrialState.PRUNED, [1.0 if direction == "maximize" else 0.0] * 2, hybrid("conv"), 1)
    found = read(by_hand([*trials, pruned], direction)).front("parameters")
    sign = 1 if direction == "maximize" else -1

    def dominated(p, v):
        return any(q <= p and sign * w >= sign * v and (q, w) != (p, v) for q, w in points)

    assert {(t.parameters, t.value) for t in found} == {(p, v) for p, v in points if not dominated(p, v)}
    assert len(found) == len({(t.parameters, t.value) for t in found})


def test_mixers_are_compared_at_the_lowest_rung_with_every_trial_that_reached_it(study):
    found = mixers(read(study))
    cells = {}
    for trial in study.get_trials():
        if 2 in trial.intermediate_values:
            stages = attributes_of(trial)["config"]["architecture"]["stages"]
            names = [{stage["mixer"], stage["first"] or stage["mixer"]} for stage in stages]
            for name in set().union(*names):
                cells.setdefault((name, "anywhere"), []).append(trial.intermediate_values[2])
            for i, here in enumerate(names, 1):
                for name in here:
                    cells.setdefault((name, f"stage {i}"), []).append(trial.intermediate_values[2])
    for i, name in enumerate(found.mixers):
        for j, place in enumerate(found.places):
            values = cells.pop((name, place), [])
            assert found.count[i, j] == len(values)
            if values:
                assert found.median[i, j] == pytest.approx(statistics.median(values))
                assert found.low[i, j] <= found.median[i, j] <= found.high[i, j]
            else:
                assert np.isnan(found.median[i, j])
    assert not cells
    order = found.median[:, 0]
    assert all(not better(study, b, a) for a, b in itertools.pairwise(order)), "the best mixer comes first"


UNIFORM, LOG = FloatDistribution(0, 1), FloatDistribution(1e-4, 1, log=True)
CHOICE = CategoricalDistribution(["a", "b"])


def sampled(objective, trials=80, direction="maximize", seed=1):
    """Random trials over rate (log), x, choice and, for choice b only, child; pruned at the lowest rung."""
    rng = np.random.default_rng(seed)
    entries = []
    for _ in range(trials):
        params = {"rate": float(10 ** rng.uniform(-4, 0)), "x": float(rng.uniform()), "choice": "ab"[rng.integers(2)]}
        distributions = {"rate": LOG, "x": UNIFORM, "choice": CHOICE}
        if params["choice"] == "b":
            params["child"], distributions["child"] = float(rng.uniform()), UNIFORM
        curve = {1: 0.5, 2: float(objective(params, rng))}
        entries.append({
            "state": TrialState.PRUNED, "value": curve[2], "params": params, "distributions": distributions,
            "intermediate_values": curve,
        })  # fmt: skip
    return read(by_hand(entries, direction))


@pytest.mark.parametrize(
    ("objective", "first", "worse", "better"),
    [
        (lambda p, rng: -((math.log10(p["rate"]) + 2) ** 2), "rate", None, None),  # best in the middle
        (lambda p, rng: p["x"] + 0.1 * rng.normal(), "x", 0.0, 1.0),
        (lambda p, rng: (p["choice"] == "b") + 0.1 * rng.normal(), "choice", "a", "b"),
        (lambda p, rng: p.get("child", 0.5), "child", 0.0, 1.0),
    ],
)
@pytest.mark.parametrize("direction", ["maximize", "minimize"])
def test_the_hyperparameter_that_decides_comes_first_with_its_direction(objective, first, worse, better, direction):
    sign = 1 if direction == "maximize" else -1
    found = main_effects(sampled(lambda p, rng: sign * objective(p, rng), trials=160, direction=direction))
    effect = found.each[0]
    assert (effect.name, effect.decided, sign * effect.mean > 0) == (first, True, True)
    assert sum(e.decided for e in found.each) <= 2
    assert found.explained > 0.4
    having = sum(first in t.params for t in sampled(objective, trials=160).trials)
    assert having / 4 < min(effect.trials) <= max(effect.trials) <= 0.7 * having
    for words, level in ((effect.worse, worse), (effect.better, better)):
        if isinstance(level, str):
            assert words == level
        elif level is not None:
            low, high = map(float, words.split(" to "))
            assert (low if level == 0 else high) == pytest.approx(level, abs=0.05)


def test_effects_are_those_of_least_squares_and_their_intervals_hold_nineteen_times_of_twenty():
    """With many trials the prior does not matter: compare with numpy's least squares, and with the truth."""
    inside = []
    for seed in range(40):
        found = sampled(lambda p, rng: 0.7 + 0.05 * (p["choice"] == "b") + 0.05 * rng.normal(), trials=200, seed=seed)
        effect = next(e for e in main_effects(found).each if e.name == "choice")
        inside.append(abs(effect.mean - 0.05) <= effect.half)
        is_b = np.array([t.params["choice"] == "b" for t in found.trials])
        values = np.array([t.curve[2] for t in found.trials])
        columns = np.stack([np.ones(len(values)), is_b], 1)
        assert effect.mean == pytest.approx(np.linalg.lstsq(columns, values, rcond=None)[0][1], abs=0.01)
    assert 0.8 < np.mean(inside) <= 1


def test_where_nothing_matters_nothing_is_decided():
    decided = [
        e.decided for seed in range(20) for e in main_effects(sampled(lambda p, rng: rng.normal(), seed=seed)).each
    ]
    assert np.mean(decided) < 0.1
    assert main_effects(sampled(lambda p, rng: rng.normal())).explained < 0.05


def test_one_strong_effect_does_not_make_the_luckiest_of_many_levels_one():
    """The range of seven equal means is wide, and one strong hyperparameter widens the prior of all."""
    counts = [2, 2, 3, 3, 4, 4, 7, 7, 7, 7]
    wrong, outside = [], []
    for seed in range(15):
        rng = np.random.default_rng(seed)
        entries = []
        for _ in range(250):
            params = {f"{k}.{n}": int(rng.integers(n)) for k, n in enumerate(counts)} | {"real": int(rng.integers(2))}
            value = 0.8 + 0.08 * params["real"] + 0.03 * rng.normal()
            entries.append({
                "state": TrialState.PRUNED, "value": value, "params": params, "intermediate_values": {1: 0.5, 2: value},
                "distributions": {name: CategoricalDistribution(list(range(7))) for name in params},
            })  # fmt: skip
        found = {e.name: e for e in main_effects(read(by_hand(entries))).each}
        assert found.pop("real").decided
        wrong.append(any(e.decided for e in found.values()))
        outside += [abs(e.mean) > e.half for e in found.values()]
    assert sum(wrong) <= 3
    assert np.mean(outside) < 0.1


def test_a_number_that_repeats_is_cut_into_groups_as_equal_as_can_be():
    distinct, trials = [1, 2, 3, 4, 5], {1: 50, 2: 10, 3: 10, 4: 20, 5: 10}
    assert _thirds(distinct, trials) == [[1], [2, 3], [4, 5]]
    assert _thirds(distinct, {1: 96, 2: 1, 3: 1, 4: 1, 5: 1}) == [[1], [2, 3, 4, 5]]
    assert _thirds(list(range(9)), dict.fromkeys(range(9), 1)) == [[0, 1, 2], [3, 4, 5], [6, 7, 8]]


def test_with_too_few_or_equal_trials_there_are_no_effects():
    assert main_effects(sampled(lambda p, rng: p["x"], trials=9)) is None
    assert main_effects(sampled(lambda p, rng: 0.5)) is None


def test_a_cell_of_the_mixer_map_is_coloured_only_by_enough_trials_above_chance():
    entries = [(TrialState.PRUNED, [0.5, v], hybrid(name), 9) for name, values in {
        "conv": [0.8] * 3, "mlp": [0.8] * 2, "fourier": [0.52] * 9,
    }.items() for v in values]  # fmt: skip
    study = by_hand(entries)
    study.set_user_attr("images", {"classes": ["a", "b"], "counts": [1000, 600, 10], "digest": "-"})
    coloured, grey = mixer_map(read(study), mixers(read(study))).data
    shown = {name for name, row in zip(coloured.y, coloured.z, strict=True) if np.isfinite(row).any()}
    assert shown == {"conv"}
    assert {name for name, row in zip(grey.y, grey.z, strict=True) if np.isfinite(row).any()} == {"mlp", "fourier"}


def test_the_numbers_of_the_history_are_those_of_the_trials_and_a_failed_one_has_none(study):
    found = read(study)
    rows = list(csv.DictReader(io.StringIO(numbers(history(found, incumbent(found))))))
    (name,) = (heading for heading in rows[0] if heading.startswith("AUC"))
    points = {(int(row["trial"]), float(row[name])) for row in rows if "epochs" in row["series"]}
    assert points == {(t.number, t.value) for t in found.trained if t.rung}
    failed = [row for row in rows if row["series"] == "failed"]
    assert {int(row["trial"]) for row in failed} == {t.number for t in found.trained if t.state == "failed"}
    assert {row[name] for row in failed} == {""}
    assert not any("<br>" in row["note"] for row in rows)


def test_the_numbers_of_the_mixer_map_are_the_medians_also_of_cells_without_a_colour():
    entries = [(0.8, ("conv", "mlp")), (0.7, ("conv",)), (0.6, ("conv",)), (0.9, ("attention",))]
    found = read(by_hand([(TrialState.PRUNED, [value] * 2, hybrid(*names), 10) for value, names in entries]))
    rows = csv.DictReader(io.StringIO(numbers(mixer_map(found, mixers(found)))))
    medians = {(row["y"], row["x"]): float(row["value"]) for row in rows}
    assert medians == {
        ("conv", "anywhere"): 0.7, ("conv", "stage 1"): 0.7, ("mlp", "anywhere"): 0.8, ("mlp", "stage 2"): 0.8,
        ("attention", "anywhere"): 0.9, ("attention", "stage 1"): 0.9,
    }  # fmt: skip


def test_the_headings_of_the_numbers_are_the_titles_as_they_were_given():
    figure = empty_figure("AUC of R&D <a>", "it's")
    figure.add_scatter(x=[1], y=[2])
    assert numbers(figure).splitlines()[0] == "series,AUC of R&D <a>,it's,value,error,note"


def test_the_mixer_of_a_first_block_counts_and_is_named(tmp_path):
    config = hybrid("attention", "mlp")
    config["architecture"]["stages"][0]["first"] = "conv"
    found = read(by_hand([(TrialState.PRUNED, [0.8] * 2, config, 10)]))
    counted = mixers(found)
    cells = {(counted.mixers[i], counted.places[k]) for i, k in zip(*np.nonzero(counted.count), strict=True)}
    anywhere = {(name, "anywhere") for name in ("conv", "attention", "mlp")}
    assert cells == anywhere | {("conv", "stage 1"), ("attention", "stage 1"), ("mlp", "stage 2")}
    assert found.trials[0].architecture == "conv+attention×2(64) → ↓mlp×2(64)"
    assert "the first mixes by convolution" in page(found, tmp_path / "report.html")


class Page(HTMLParser):
    """What a browser would fetch or run, and the visible text."""

    def __init__(self, text):
        super().__init__()
        self.references, self.scripts, self.ids, self.text, self._script = [], 0, set(), [], False
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.references += [(tag, name) for name, _ in attrs if name in ("src", "href", "srcset", "action", "data")]
        self.references += [(tag, "")] * (tag in ("link", "iframe", "object", "base"))
        self.ids |= {value for name, value in attrs if name == "id"}
        self._script = tag == "script"
        self.scripts += self._script

    def handle_endtag(self, tag):
        self._script = False

    def handle_data(self, data):
        if not self._script:
            self.text.append(data)


def test_the_page_needs_no_network_and_shows_every_figure(study, tmp_path):
    text = write_report(read(study), tmp_path / "hybrid" / "report.html").read_text()
    page = Page(text)
    assert page.references == [], "nothing is fetched"
    assert "@import" not in text.split("</style>")[0]
    assert "url(" not in text.split("</style>")[0]
    assert page.scripts == 3, "plotly once, the figures, and the drawing; nothing that a trial's error brought in"
    assert page.ids >= SECTIONS | {"best", "failed"}
    figures = json.loads(text.split('id="figures">')[1].split("</script>")[0])
    assert set(figures) == SECTIONS
    assert all(any(trace.get("x") or trace.get("z") for trace in figure["data"]) for figure in figures.values())
    words = " ".join(page.text)
    assert EVIL in words
    assert SPEC.question in words
    assert f"{study.best_value:.4f}" in words
    assert [p.name for p in (tmp_path / "hybrid").iterdir()] == ["report.html"]


def full(value, *names):
    return (TrialState.COMPLETE, [0.5] * 17 + [value], hybrid(*names), 1000)


def test_given_trials_are_marked_wherever_a_trial_is_named(tmp_path):
    lost = (TrialState.PRUNED, [0.5, 0.4], hybrid("fourier"), 1000)
    found = read(by_hand([given(full(0.9, "conv")), given(lost), full(0.8, "mlp"), full(0.7, "attention")]))
    text = write_report(found, tmp_path / "report.html").read_text()
    words = " ".join(Page(text).text)
    for number, marked in ((0, True), (1, True), (2, False), (3, False)):
        assert (f"trial {number} (given)" in text) == marked
        assert not re.search(rf"trial {number}\b(?! \(given\)|, was given)", text) or not marked
    assert "trial 0, was given to the search" in words
    assert "the best configuration that the search found, trial 2" in words
    rows = [line.split()[:2] for line in printed(top_table(found))]
    assert [row for row in rows if row and row[0].isdigit()] == [["0", "(given)"], ["2", "0.8000"], ["3", "0.7000"]]


def again(of, value):
    """A training of the finals, of trial `of` with a fresh seed."""
    curve = dict(enumerate([0.5] * 17 + [value], 1))
    attributes = {"config": hybrid("conv"), "repeats": of}
    return {"state": TrialState.COMPLETE, "value": value, "intermediate_values": curve, "user_attrs": attributes}


def failed_again(of):
    attributes = {"config": hybrid("conv"), "repeats": of, "error": "no number"}
    return {"state": TrialState.FAIL, "constraints": {"training": 1.0}, "user_attrs": attributes}


def told(entries, validated=600, direction="maximize", **changes):
    study = by_hand(entries, direction, **changes)
    study.set_user_attr("images", {"classes": ["a", "b"], "counts": [1000, validated, 10], "digest": "-"})
    return " ".join(verdict(read(study)))


CLEAR = [given(full(0.9, "conv")), full(0.7, "mlp"), again(0, 0.9), again(0, 0.89), again(1, 0.7), again(1, 0.7)]


@pytest.mark.parametrize(
    ("entries", "validated", "says"),
    [
        ([], 600, ["No configuration has been trained in full yet."]),
        ([full(0.8, "conv")], 600, ["trial 0, was found by the search", "AUC 0.800", "No other configuration"]),
        ([full(0.52, "conv"), full(0.51, "mlp")], 600, ["not above chance, 0.5", "is not decided"]),
        ([full(0.9, "conv"), full(0.7, "mlp")], 600, ["each was trained once", "is not decided"]),
        (
            CLEAR, 600,
            ["was given to the search", "ahead of the best configuration that the search found, trial 1", "more than"],
        ),
        (
            CLEAR, 8,
            ["is not decided", "within the noise of seeds and of 8 validation images"],  # the same of fewer images
        ),
        (
            [full(0.9, "conv"), given(full(0.89, "mlp")), again(0, 0.86), again(0, 0.93), *[again(1, 0.91)] * 2], 600,
            ["is not decided"],
        ),
        (
            [given(full(0.75, "conv")), full(0.95, "mlp"), *[again(0, 0.75)] * 4, failed_again(1)], 600,
            ["It is behind the best configuration that the search found, trial 1, by 0.200", "it cannot win"],
        ),
    ],
)  # fmt: skip
def test_the_verdict_says_what_is_decided_and_what_is_noise(entries, validated, says):
    line = told(entries, validated)
    for part in says:
        assert part in line
    assert ("not decided" in line) == any("not decided" in part for part in says)


def test_a_better_one_that_cannot_win_is_said_for_every_metric():
    entries = [given(full(0.75, "conv")), full(0.95, "mlp"), *[again(0, 0.75)] * 4, failed_again(1)]
    line = told(entries, objective="f1")
    assert "It is behind the best configuration that the search found, trial 1, by 0.200, but that one failed" in line


def test_the_verdict_on_a_retraining_says_which_way_the_others_differ_from_the_first():
    scored = SimpleNamespace(main=("auc",), seeds=(1, 2), validation=0.9, spread={"auc": SimpleNamespace(mean=0.91)})
    configurations = [SimpleNamespace(**{**vars(scored), "label": label}) for label in "789"]
    certainty = [
        SimpleNamespace(interval={"auc": (0.9, 0.92)}, difference={"auc": found} if found else {})
        for found in (None, (-0.03, -0.04, -0.02), (0.01, -0.01, 0.03))
    ]
    said = retraining_verdict(
        SimpleNamespace(
            configurations=configurations,
            certainty=certainty,
            data={"test": 600},
            winner=True,
            verdicts=(),
            finals=False,
            overridden={},
        )
    )
    assert said == [
        "On 600 test images, trial 7, the best by validation, reaches AUC 0.910 (0.900 to 0.920 over images and 2 "
        "seeds), above chance (0.5).",
        "Trial 8 differs from it by -0.030 (-0.040 to -0.020); whether trial 9 differs from it is not decided.",
    ]


def test_the_noise_of_an_auc_is_that_of_drawing_other_images():
    rng = np.random.default_rng(0)
    found = []
    for _ in range(1500):
        labels = np.arange(120) < 40
        found.append(metrics.auc(labels, rng.exponential(size=120) * np.where(labels, 4.0, 1.0)))
    assert auc_noise(0.8, 40, 80) == pytest.approx(np.std(found), rel=0.05)  # exact for exponential scores: 4 / (4 + 1)


def turned(value, objective, **metrics):
    """A trial trained in full, with these metrics of its last epoch."""
    curve = dict(enumerate([0.5] * 17 + [value], 1))
    history = [{"epoch": epoch, objective: v, **(metrics if epoch == 18 else {})} for epoch, v in curve.items()]
    attributes = {"config": hybrid("conv"), "parameters": 99_100, "macs": 12_300_000, "history": history}
    return {"state": TrialState.COMPLETE, "value": value, "intermediate_values": curve, "user_attrs": attributes}


@pytest.mark.parametrize(
    ("objective", "metrics", "heading", "shown"),
    [
        ("auc", {"auc_d4_mean": 0.8, "auc_d4_worst": 0.7125}, "worst of eight symmetries", "0.7125"),
        ("ap", {"auc_d4_worst": 0.3, "ap_d4_worst": 0.7125}, "worst of eight symmetries", "0.7125"),
        ("auc_d4_worst", {"auc": 0.9125, "auc_d4_mean": 0.8}, "upright", "0.9125"),
        ("auc_d4_mean", {"auc": 0.9125, "auc_d4_worst": 0.7}, "upright", "0.9125"),
        ("auc", {}, "worst of eight symmetries", "–"),  # of an earlier version
    ],
)
def test_turned_values_stand_beside_upright_ones(objective, metrics, heading, shown, tmp_path):
    found = read(by_hand([turned(0.75, objective, **metrics)], objective=objective))
    text = write_report(found, tmp_path / "report.html").read_text()
    table = text.split("<table>")[1].split("</table>")[0]
    columns = re.findall(r"<th[^>]*>(.*?)</th>", table)
    assert re.findall(r"<td[^>]*>(.*?)</td>", table)[columns.index(heading)] == shown
    said = f"{heading} {shown}"
    assert text.count(said) == (0 if not metrics else text.count("trial 0, complete, 18 epochs") + 1), "in every hover"
    lines = printed(top_table(found))
    assert max(map(len, lines)) <= 80
    assert any(line.split()[1:3] == ["0.7500", shown] for line in lines)
    line = Display(trials=1, objective=objective, maximize=True, epochs=1, quiet=True).line(
        Event("complete", 0, 18, 0.75, metrics=found.trials[0].metrics)
    )
    assert (f"{objective} 0.7500 at epoch 18, {said}   [" in line) == bool(metrics)


@pytest.mark.parametrize(
    ("objective", "direction", "metrics", "validated", "warns"),
    [
        ("auc", "maximize", {"auc": 0.93, "auc_d4_worst": 0.84}, 600, True),
        ("auc", "maximize", {"auc": 0.93, "auc_d4_worst": 0.84}, 90, False),  # may be noise
        ("auc", "maximize", {"auc": 0.93, "auc_d4_worst": 0.71}, 90, True),
        ("auc", "maximize", {"auc": 0.93, "auc_d4_worst": 0.89}, None, False),
        ("auc", "maximize", {"auc": 0.6, "auc_d4_worst": 0.2}, 36, False),  # not above chance
        ("auc", "maximize", {}, 600, False),
        ("auc_d4_worst", "maximize", {"auc": 0.93, "auc_d4_worst": 0.71}, None, True),
        ("mae", "minimize", {"mae": 0.2, "mae_d4_worst": 0.26}, 600, True),
        ("mae", "minimize", {"mae": 0.2, "mae_d4_worst": 0.24}, 600, False),
    ],
)
def test_a_best_trial_that_depends_on_how_images_are_turned_is_said_to(
    objective, direction, metrics, validated, warns, tmp_path
):
    value_ = metrics.get(objective, 0.5)
    study = by_hand([turned(value_, objective, **metrics)], direction, objective=objective)
    if validated:
        study.set_user_attr("images", {"classes": ["a", "b"], "counts": [1000, validated, 10], "digest": "-"})
    words = " ".join(Page(write_report(read(study), tmp_path / "report.html").read_text()).text)
    assert ("trial 0, depends on how images are turned" in words) == warns
    name = objective.removesuffix("_d4_worst")
    if warns:
        assert f"{metrics[name]:.4f} upright, {metrics[name + '_d4_worst']:.4f} in the worst" in words


@pytest.mark.parametrize(("worst", "advises"), [(0.93, False), (0.5, True)])
def test_a_network_that_turning_does_not_change_is_not_advised_against(worst, advises, tmp_path):
    study = by_hand([turned(0.93, "auc", auc=0.93, auc_d4_worst=worst)])
    study.set_user_attr("axis", {"share": 0.95, "images": 1000})
    study.set_user_attr("images", {"classes": ["a", "b"], "counts": [1000, 600, 10], "digest": "-"})
    text = write_report(read(study), str(tmp_path / "report.html")).read_text()
    assert ("The images have a preferred axis" in text) == advises


@pytest.mark.parametrize(
    ("axis", "objective", "advises"),
    [
        ({"share": 0.95, "images": 1000}, "auc", True),
        ({"share": 0.95, "images": 1000}, "auc_d4_mean", False),
        ({"share": 0.51, "images": 1000}, "auc", False),
        (None, "auc", False),  # of an earlier version
    ],
)
def test_the_page_advises_an_objective_that_an_axis_cannot_serve(axis, objective, advises, tmp_path):
    study = by_hand([], objective=objective)
    if axis:
        study.set_user_attr("axis", axis)
    text = write_report(read(study), tmp_path / "report.html").read_text()
    assert ("The images have a preferred axis" in text) == advises
    assert ("consider --objective auc_d4_worst." in text) == advises


def test_the_retrain_command_finds_the_study_again(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    found = read(by_hand([]))
    plain = "python -m nas.retrain --study hybrid --top-k 1 --seeds 3"
    assert retrain_command(found, tmp_path / "runs/hybrid/report.html") == plain
    elsewhere = retrain_command(found, tmp_path / "other/night 2/report.html")
    assert f"--runs {tmp_path}/other --name 'night 2' " in elsewhere
    stored = dataclasses.replace(found, database=tmp_path / "runs/hybrid/study.db")
    assert retrain_command(stored, tmp_path / "other/page.html") == plain


TOY = {"architecture": {"kind": "toy", "name": "lenet"}}
ODD = {
    "empty": [],
    "one open": [(TrialState.RUNNING, [0.5], hybrid("conv"), 10)],
    "one failed": [(TrialState.FAIL, [], hybrid("conv"), 10)],
    "one complete": [(TrialState.COMPLETE, [0.5] * 18, hybrid("conv", "mlp"), 10)],
    "only pruned": [(TrialState.PRUNED, [0.5, v], hybrid("conv"), 10) for v in np.linspace(0.5, 0.7, 12).tolist()],
    "toys": [(TrialState.COMPLETE, [0.5] * 17 + [v], TOY, 10) for v in (0.6, 0.7)],
    "nan": [(TrialState.FAIL, [0.5, math.nan], hybrid("conv"), 10)],
    "no config": [{"state": TrialState.FAIL}, {"state": TrialState.PRUNED}, {"state": TrialState.RUNNING}],
}


@pytest.mark.parametrize("name", ODD)
@pytest.mark.parametrize("direction", ["maximize", "minimize"])
def test_a_study_of_any_state_has_a_page(name, direction, tmp_path):
    study = by_hand(ODD[name], direction, objective="balanced_accuracy")
    page = Page(write_report(read(study), tmp_path / "report.html").read_text())
    words = " ".join(page.text)
    for state in ("complete", "pruned", "failed"):
        assert f"{read(study).counts()[state]} {state}" in words
    assert ("best" in page.ids) == (name in ("one complete", "toys"))
    assert ("mixers" in page.ids) == (name in ("one complete", "only pruned"))
    assert ("curves" in page.ids) == (name not in ("empty", "one failed", "no config"))
    assert "AUC" not in words
    assert "nan" not in words
    Console(file=io.StringIO()).print(top_table(read(study)))


def test_a_value_between_rungs_is_not_compared():
    (trial,) = read(by_hand([(TrialState.RUNNING, [0.5, 0.6, 0.7, 0.8], hybrid("conv"), 1)])).trials
    assert (trial.rung, trial.value, trial.epochs) == (2, 0.6, 4)


def test_the_command_writes_the_report_of_a_stored_study_again(tmp_path, capsys):
    (tmp_path / "night").mkdir()
    search(open_storage(tmp_path / "night" / "study.db"), trials=4)
    assert main_of("report", ["--study", "hybrid", "--runs", str(tmp_path), "--name", "night"]) == 0
    assert (tmp_path / "night" / "report.html").stat().st_size > 1e6
    assert "report.html" in capsys.readouterr().out


@pytest.mark.parametrize("case", ["missing", "not a database", "another study", "not ours"])
def test_a_study_that_cannot_be_read_is_one_line_and_exit_code_2(case, tmp_path, capsys):
    path = tmp_path / "hybrid" / "study.db"
    path.parent.mkdir()
    if case == "not a database":
        path.write_text("these are not the bytes you are looking for" * 100)
    elif case != "missing":
        optuna.create_study(storage=open_storage(path), study_name="hybrid" if case == "not ours" else "other")
    assert main_of("report", ["--study", "hybrid", "--runs", str(tmp_path)]) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: ")
    assert error.count("\n") == 1
    says = {
        "missing": "nas.run --study hybrid",
        "not a database": "is no study database",
        "another study": "holds the study 'other', not 'hybrid'",
    }
    assert says.get(case, "only studies made by nas.run") in error


@pytest.mark.parametrize(
    ("found", "expected"),
    [
        (describe_architecture(hybrid("conv", "attention")["architecture"]), "conv×2(64) → ↓attention×2(64)"),
        (describe_architecture({"kind": "backbone", "name": "resnet18"}), "backbone resnet18"),
        (describe_data({"kind": "folder", "path": "/x", "image_size": None, "seed": 0}), "images in /x, seed 0"),
        (describe_data({"kind": "later", "x": 1}), "later, x 1"),
        (si(166_679), "167 k"), (si(999_700), "1 M"), (si(20_000_000), "20 M"), (si(12), "12"), (si(None), "–"),
        (duration(74.2), "74 s"), (duration(99.7), "2 min"), (duration(7200), "2.0 h"),
        (value(0.98765), "0.9877"), (value(1.5e-5), "1.500e-05"), (value(0.0), "0.0000"), (value(12.3456, 2), "12.35"),
    ],
)  # fmt: skip
def test_numbers_and_architectures_are_written_for_people(found, expected):
    assert found == expected


@pytest.mark.parametrize(
    ("objective", "seen"), [("auc", ("auc", "accuracy", "loss")), ("mcc", ("auc", "accuracy", "mcc"))]
)
def test_the_terminals_table_of_a_retraining_has_three_metrics_and_the_objective(objective, seen):
    main = ("auc", "accuracy", "loss")
    scores = SimpleNamespace(main=main, spread=dict.fromkeys((*main, "mcc")))
    assert fitting(SimpleNamespace(objective=objective, configurations=(scores,))) == seen


def test_of_many_trials_some_are_drawn_the_best_among_them_and_the_page_says_so(study, tmp_path, monkeypatch):
    results = read(study)
    in_full = page(results, tmp_path / "report.html")
    assert "evenly spaced" not in in_full
    monkeypatch.setattr(thinning, "CURVES", 5)
    monkeypatch.setattr(thinning, "POINTS", 6)
    monkeypatch.setattr(thinning, "BEST", 2)
    monkeypatch.setattr(document, "MOST_ROWS", 3)
    best = {t.number for t in results.ranked()[:2]}
    drawn = thinning.points(results)
    assert best <= drawn
    assert 6 <= len(drawn) <= 8
    assert drawn <= {t.number for t in results.trained if t.rung}
    curves = learning_curves(results, [])
    assert sum(trace.y.count(None) for trace in curves.data if trace.mode == "lines") == 5
    traces = history(results, incumbent(results)).data
    shown = [int(x) for trace in traces if trace.mode == "markers" and trace.name != "failed" for x in trace.x]
    assert sorted(shown) == sorted(drawn)
    thin = page(results, tmp_path / "report.html")
    reached = sum(t.rung > 0 for t in results.trained)
    spread = "trials, 6 are drawn, evenly spaced by number, and the best 2."
    assert thin.count(f" Of {reached} {spread}") == 2, "history and trade-off"
    with_curve = sum(bool(t.curve) for t in results.trained)
    top = min(5, len(results.ranked()))
    assert f" Of {with_curve} trials, 5 are drawn, evenly spaced by number, and the best {top}." in thin, "curves"
    assert f"The first 3 of {len(results.ranked()[:10])} rows." in thin
    assert len(thin) < len(in_full)


@pytest.mark.parametrize("separation", [2.6, 8.0])
def test_a_nearly_perfect_score_of_few_images_has_an_interval_that_holds(separation):
    """Twenty images of each class: the plug-in variance of an AUC near 1 is too small, and of a perfect one 0."""
    rng, labels = np.random.default_rng(0), np.arange(40) < 20
    true = 0.5 * (1 + math.erf(separation / 2))
    images = {"classes": ["a", "b"], "counts": [1, 40, 1], "digest": "-", "validated": [20, 20]}
    inside = []
    for _ in range(300):
        found = metrics.auc(labels, rng.normal(size=40) + separation * labels)
        half = noise.Z * noise.of_images(SimpleNamespace(objective="auc", validated=40, images=images), found)
        assert half > 0.01
        inside.append(abs(found - true) <= half)
    assert np.mean(inside) > 0.92


def test_a_name_cannot_change_how_the_page_is_read():
    """`<!--<script>` makes a browser look for another end of the script, so that ours would never run."""
    figure = go.Figure()
    figure.add_scatter(x=[1], y=[2], name="<!--<script></script>")
    written = document.document("page", "", {"key": figure})
    data = written.partition('id="figures">')[2].partition("</script>")[0]
    assert "<" not in data
    assert json.loads(data)["key"]["data"][0]["name"] == "<!--<script></script>"


def test_overtuning_of_an_error_is_positive_when_it_grows():
    results = SimpleNamespace(maximize=False, best=SimpleNamespace(number=0, label="0"))
    trial = SimpleNamespace(number=0, label="0", value=0.10)
    results.ranked = lambda: [trial]
    results.finalists = lambda: [SimpleNamespace(trial=0, fresh=(0.14, 0.16))]
    assert "(overtuning +0.0500), which wins" in overtuning(results)


@pytest.mark.parametrize(("objective", "metric"), [("auc", metrics.auc), ("ap", metrics.average_precision)])
def test_the_noise_of_few_positives_is_that_of_the_few(objective, metric):
    """5 % positives among 600 images: assumed balanced, the AUC's would be a third of what it is."""
    rng, labels = np.random.default_rng(0), np.arange(600) < 30
    found = [metric(labels, rng.normal(size=600) + 1.8 * labels) for _ in range(500)]
    images = {"classes": ["lens", "none"], "counts": [1000, 600, 10], "digest": "-", "validated": [30, 570]}
    results = SimpleNamespace(objective=objective, validated=600, images=images)
    assert np.std(found) <= noise.of_images(results, np.mean(found)) * 1.1
    assert noise.of_images(results, np.mean(found)) <= 2 * np.std(found)


def test_the_verdict_on_a_retraining_after_finals_says_that_these_chose():
    scores = SimpleNamespace(
        label="7", main=("auc",), validation=0.88, spread={"auc": Spread(0.9, None, 1)}, seeds=(1,)
    )
    found = SimpleNamespace(
        configurations=[scores], certainty=[SimpleNamespace(interval={}, difference={})], data={"test": 60},
        winner=True, verdicts=(), finals=True, overridden={},
    )  # fmt: skip
    assert retraining_verdict(found)[0].startswith(
        "On 60 test images, trial 7, the winner of the search's finals, reaches"
    )
    found.overridden = {"epochs": 3}
    assert retraining_verdict(found)[0].startswith(
        "On 60 test images, trial 7, the winner of the search's finals, retrained with 3 epochs instead of the "
        "search's own, reaches"
    )
    found.winner = False
    assert ", trial 7, retrained with 3 epochs instead of the search's own, reaches" in retraining_verdict(found)[0]
