"""Grids: effects are those of the paired t-test, over pairs that differ in one factor alone."""

import dataclasses
import io
import itertools
import json
import re

import numpy as np
import optuna
import pytest
from optuna.distributions import CategoricalDistribution, IntDistribution
from rich.console import Console
from scipy.stats import sem, t, ttest_rel

import studies
from nas import samplers, schedulers
from nas.commands.cli import main_of
from nas.reading import read
from nas.report.effects import effects, holm
from nas.report.figures import effects as draw
from nas.report.page import write_report
from nas.report.table import effect_rows, left_out, tables
from nas.report.verdict import verdict
from nas.results import Results
from nas.searching.drafts import Draft, cells
from nas.searching.engine import Engine
from nas.searching.ledger import Ledger
from nas.searching.storage import open_storage
from nas.searching.study import describe
from nas.trials import Trial
from nas.words import between, level, metric_name, plus_minus, with_interval

optuna.logging.set_verbosity(optuna.logging.ERROR)
pytestmark = pytest.mark.filterwarnings("ignore::optuna.exceptions.ExperimentalWarning")


def made(params, values, turned=None, states=None, distributions=None, seeds=1):
    """A grid whose trial i has params[i] and came to values[i]; choices are in the order in which they come."""
    known = {
        name: CategoricalDistribution(list(dict.fromkeys(p[name] for p in params if name in p)))
        for name in dict.fromkeys(n for p in params for n in p)
    } | {"seed": IntDistribution(0, 99)}
    trials = [
        Trial(
            number=i, state=states[i] if states else "complete", curve={3: float(values[i])}, rung=3, params=p,
            distributions={name: (distributions or {}).get(name, known[name]) for name in p},
            config={**p, "seed": p.get("seed", 0)}, turned=None if turned is None else turned[i],
        )
        for i, p in enumerate(params)
    ]  # fmt: skip
    spec = {"sampler": "grid", "seeds": seeds, "objective": "auc"}
    return Results("made", "", spec, True, (3,), tuple(trials))


def product_of(**choices):
    return [dict(zip(choices, values, strict=True)) for values in itertools.product(*choices.values())]


def of_study(name):
    """Every cell of a study that ships, as parameters by name, and the order of its choices."""
    sample, distributions = studies.load(name).sample, {}

    def collect(trial):
        sample(trial)
        if isinstance(trial, Draft):
            distributions.update(trial.distributions)

    return [dict(p) for p in cells(collect)], distributions


def pairs_by_hand(search, change, reference):
    """Trials with all of `change` and all of `reference`, in everything else the same, by looking at any two."""
    return [
        (a, b)
        for a, b in itertools.product(search.ranked(), repeat=2)
        if change.items() <= a.params.items() and reference.items() <= b.params.items()
        and {k: v for k, v in a.params.items() if k not in change}
        == {k: v for k, v in b.params.items() if k not in reference}
    ]  # fmt: skip


def check_by_hand(search, factor):
    """Each effect against scipy's paired t-test over the pairs found by looking at any two trials."""
    for effect in factor.effects:
        pairs = pairs_by_hand(search, dict(effect.level), dict(factor.reference))
        for found, of in ((effect.upright, lambda t: t.value), (effect.turned, lambda t: t.turned)):
            a, b = [[of(pair[i]) for pair in pairs] for i in (0, 1)]
            if not pairs:
                assert found is None
                continue
            assert found.pairs == len(pairs)
            assert found.mean == pytest.approx(np.mean(a) - np.mean(b))
            if len(pairs) == 1:
                assert found.half is None
            else:
                interval = ttest_rel(a, b).confidence_interval(0.95)
                assert (found.mean - found.half, found.mean + found.half) == pytest.approx(tuple(interval))


TOYS = {"toy": ["mlp", "lenet", "resnet2"], "rate": [1e-3, 1e-2], "policy": ["none", "d4"]}


@pytest.mark.parametrize("seeds", [1, 2, 5])
def test_effects_and_intervals_are_those_of_the_paired_t_test_in_scipy(seeds):
    rng = np.random.default_rng(seeds)
    params = product_of(**TOYS, **({"seed": list(range(seeds))} if seeds > 1 else {}))
    rng.shuffle(params)
    values, turned = rng.normal(size=(2, len(params)))
    order = {name: CategoricalDistribution(choices) for name, choices in TOYS.items()}
    search = made(params, values, turned, distributions=order, seeds=seeds)
    found = effects(search)
    assert [(f.names, dict(f.reference)) for f in found] == [
        (("policy",), {"policy": "none"}), (("rate",), {"rate": 1e-3}), (("toy",), {"toy": "mlp"})
    ]  # fmt: skip
    assert [dict(e.level)["toy"] for e in found[2].effects] == ["lenet", "resnet2"]
    assert found[0].effects[0].upright.pairs == 6 * seeds
    for factor in found:
        check_by_hand(search, factor)


def test_effects_that_add_up_are_found_exactly():
    worth = {"mlp": 0.0, "lenet": 0.2, "resnet2": 0.3, 1e-3: 0.0, 1e-2: -0.1, "none": 0.0, "d4": 0.05}
    params = product_of(**TOYS, seed=[0, 1])
    values = [0.5 + sum(worth[p[name]] for name in TOYS) for p in params]
    for factor in effects(made(params, values, [-v for v in values])):
        for effect in factor.effects:
            expected = worth[effect.level[0][1]]
            assert effect.upright.mean == pytest.approx(expected)
            assert effect.upright.half == pytest.approx(0, abs=1e-12)
            assert effect.turned.mean == pytest.approx(-expected)


def test_what_a_pair_has_in_common_changes_neither_effect_nor_interval():
    rng = np.random.default_rng(0)
    params = product_of(**TOYS, seed=[0, 1, 2])
    noise = rng.normal(size=len(params))
    shared = {(p["toy"], p["rate"], p["seed"]): 100 * rng.normal() for p in params}
    moved = noise + [shared[p["toy"], p["rate"], p["seed"]] for p in params]
    (one,), (other,) = [[f for f in effects(made(params, v)) if f.names == ("policy",)] for v in (noise, moved)]
    assert other.effects[0].upright.mean == pytest.approx(one.effects[0].upright.mean)
    assert other.effects[0].upright.half == pytest.approx(one.effects[0].upright.half)


def test_intervals_cover_the_true_effect_95_times_in_100():
    """400 grids of seeds that differ far more than the levels do; the binomial standard deviation is 1.1%."""
    rng = np.random.default_rng(0)
    params = product_of(policy=["none", "d4"], rate=[1e-3, 1e-2], seed=[0, 1, 2])
    covered = {"upright": 0, "turned": 0}
    for _ in range(400):
        of_seed, truth = rng.normal(size=3), {"upright": 0.02, "turned": -0.3}
        values = {
            name: [of_seed[p["seed"]] + true * (p["policy"] == "d4") + 0.05 * rng.normal() for p in params]
            for name, true in truth.items()
        }
        (found,) = [f for f in effects(made(params, *values.values())) if f.names == ("policy",)]
        for name, true in truth.items():
            difference = getattr(found.effects[0], name)
            covered[name] += abs(difference.mean - true) <= difference.half
    assert all(0.92 < n / 400 < 0.975 for n in covered.values()), covered


def naive_holm(p):
    """Holm's procedure as he states it: reject from the smallest while p <= alpha / (hypotheses left).

    The adjusted p-value of a hypothesis is the smallest alpha at which it is rejected, found by bisection.
    """

    def rejected(alpha):
        found = set()
        for place, i in enumerate(sorted(range(len(p)), key=lambda i: p[i])):
            if p[i] > alpha / (len(p) - place):
                break
            found.add(i)
        return found

    adjusted = []
    for i in range(len(p)):
        low, high = 0.0, 1.0
        for _ in range(50):
            middle = (low + high) / 2
            low, high = (low, middle) if i in rejected(middle) else (middle, high)
        adjusted.append(high)
    return adjusted


def test_p_values_are_adjusted_as_holm_states_it():
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])  # by hand
    assert holm([]) == []
    rng = np.random.default_rng(0)
    for n in (1, 2, 7, 30):
        p = (rng.random(n) ** 3).round(2).tolist()  # some are equal
        assert holm(p) == pytest.approx(naive_holm(p), abs=1e-9)


def test_the_p_values_of_all_differences_of_a_grid_are_one_family():
    rng = np.random.default_rng(3)
    params = product_of(**TOYS, seed=[0, 1, 2])
    worth = {"d4": 0.3, "resnet2": 0.8}
    values = [0.5 * rng.normal() + sum(worth.get(v, 0) for v in p.values()) for p in params]
    search = made(params, values, 0.5 * rng.normal(size=len(params)))
    found = [(f, e) for f in effects(search) for e in f.effects]
    alone = []
    for factor, effect in found:
        pairs = pairs_by_hand(search, dict(effect.level), dict(factor.reference))
        for of in (lambda t: t.value, lambda t: t.turned):
            alone.append(ttest_rel([of(a) for a, _ in pairs], [of(b) for _, b in pairs]).pvalue)
    together = [d for _, e in found for d in (e.upright, e.turned)]
    assert [d.p for d in together] == pytest.approx(naive_holm(alone))
    assert [d.differs for d in together] == [p <= 0.05 for p in naive_holm(alone)]
    assert 0 < sum(d.differs for d in together) < sum(p <= 0.05 for p in alone), "one is taken back"


def test_without_any_effect_a_grid_has_a_star_in_at_most_5_of_100():
    """300 grids of six levels against a seventh; the binomial standard deviation is 1.3%."""
    rng = np.random.default_rng(0)
    params = product_of(policy=list("abcdefg"), seed=[0, 1, 2, 3])
    starred = uncorrected = 0
    for _ in range(300):
        (found,) = effects(made(params, *rng.normal(size=(2, len(params)))))
        differences = [d for e in found.effects for d in (e.upright, e.turned)]
        starred += any(row[-1].startswith("*") or row[-2].startswith("*") for row in effect_rows([found]))
        uncorrected += any(abs(d.mean) > d.half for d in differences)
    assert starred / 300 < 0.09
    assert uncorrected / 300 > 0.25


@pytest.mark.parametrize(
    ("name", "factor", "levels", "pairs"),
    [
        ("position", ("position", "position.place", "position.shared"), 16, {3}),
        ("position", ("position.place",), 1, {6}),  # fixed_1d and fixed_2d: elsewhere `shared` comes with the place
        ("position", ("position.shared",), 1, {12}),  # three learnt kinds in the blocks, and relative
        ("anisotropic", ("stages.0.mixer", "stages.0.anisotropic.variant"), 5, {12}),
        ("anisotropic", ("stages.0.anisotropic.variant",), 4, {12}),
        ("anisotropic", ("learning_rate",), 2, {24}),
        ("fourier", ("stages.0.first",), 1, {36}),
        ("augmentation", ("augmentation",), 14, {5}),
    ],
)
def test_conditional_parameters_are_compared_where_all_else_is_equal(name, factor, levels, pairs):
    params, distributions = of_study(name)
    rng = np.random.default_rng(1)
    search = made(params, rng.normal(size=len(params)), rng.normal(size=len(params)), distributions=distributions)
    found = {f.names: f for f in effects(search)}
    assert len(found[factor].effects) == levels
    assert {e.upright.pairs for e in found[factor].effects} == pairs
    for each in found.values():
        check_by_hand(search, each)


def test_every_question_of_a_study_that_ships_has_its_answer():
    """No factor and no level is without a pair, neither a mixer with variants nor a position with places."""
    for name in studies.known():
        if studies.load(name).sampler == "grid":
            params, distributions = of_study(name)
            found = effects(made(params, np.arange(len(params)), distributions=distributions))
            assert {n for f in found for n in f.names} == {n for p in params for n in p} - {"seed"}
            assert all(e.upright for f in found for e in f.effects), name


def test_the_position_study_is_measured_against_no_position():
    params, distributions = of_study("position")
    (all_, *_) = effects(made(params, np.arange(len(params)), distributions=distributions))
    assert dict(all_.reference) == {"position": "none"}
    told = [level(e.level) for e in all_.effects]
    assert told[:2] == ["fixed_1d, once", "fixed_1d, blocks"]
    assert {"learnable, blocks, shared True", "rotary"} <= set(told)
    assert len(set(told)) == 16


def test_a_factor_that_never_differs_alone_has_no_effect():
    params = [{"a": a, "b": b, "seed": s} for a, b in (("x", "p"), ("y", "q")) for s in (0, 1)]
    assert effects(made(params, [1, 2, 3, 4])) == []


def test_what_exists_only_with_another_level_and_never_varies_is_no_factor_of_its_own():
    params = [{"mixer": "attention", "seed": 0}, {"mixer": "mlp", "mlp.variant": "mixer", "seed": 0}]
    (found,) = effects(made(params, [0.5, 0.7]))
    assert found.names == ("mixer", "mlp.variant")
    assert effect_rows([found])[1] == ["", "mlp, mixer", "1", "+0.2000", "no pair"]


def test_a_single_seed_is_paired_over_cells_and_a_single_pair_has_no_interval():
    params = product_of(policy=["none", "d4"], rate=[1e-3, 1e-2])
    policy, _ = effects(made(params, [0.5, 0.6, 0.52, 0.66]))
    assert policy.effects[0].upright.pairs == 2
    assert policy.effects[0].upright.mean == pytest.approx(0.04)
    (alone,) = effects(made(params[::2], [0.5, 0.6]))
    assert (alone.effects[0].upright.half, alone.effects[0].upright.pairs) == (None, 1)


@pytest.mark.parametrize("state", ["failed", "running", "paused"])
def test_trainings_without_an_end_are_left_out_with_their_pairs_and_said(state):
    params = product_of(policy=["none", "d4", "flip"], seed=[0, 1, 2])
    values = [0.1, 0.2, 0.3, 0.2, 0.4, 99.0, 0.3, 0.3, 0.3]
    states = [state if v == 99 else "complete" for v in values]
    search = made(params, values, [-v for v in values], states)
    (found,) = effects(search)
    d4, flip = found.effects
    assert (d4.upright.pairs, flip.upright.pairs) == (2, 3)
    assert d4.upright.mean == pytest.approx(0.15)
    check_by_hand(search, found)
    assert ("1 failed" if state == "failed" else "1 unfinished") + " of 9 trainings" in left_out(search)
    assert left_out(made(params, values)) == ""


def test_a_level_that_always_failed_is_no_reference_and_has_no_effect():
    params = product_of(policy=["none", "d4", "flip"], seed=[0, 1])
    states = ["failed"] * 2 + ["complete"] * 4
    (found,) = effects(made(params, range(6), states=states))
    assert dict(found.reference) == {"policy": "d4"}
    assert {level(e.level): e.upright and e.upright.pairs for e in found.effects} == {"none": None, "flip": 2}
    assert effects(made(params, range(6), states=["failed"] * 6)) == []


def test_turned_images_count_only_where_both_of_a_pair_have_them():
    params = product_of(policy=["none", "d4"], seed=[0, 1, 2])
    (found,) = effects(made(params, [0, 0, 0, 1, 2, 3], [0.0, 0.0, None, 1.0, 2.0, 3.0]))
    assert (found.effects[0].upright.pairs, found.effects[0].turned.pairs) == (3, 2)
    assert found.effects[0].turned.mean == pytest.approx(1.5)
    assert effect_rows([found])[1][-1].endswith("(2 pairs)"), "the table says where the numbers of pairs differ"


def test_every_effect_is_drawn_in_the_row_of_its_level():
    params, distributions = of_study("anisotropic")
    rng = np.random.default_rng(2)
    search = made(params, rng.normal(size=72), rng.normal(size=72), distributions=distributions)
    found = effects(search)
    figure = draw(search, found)
    labels = figure.layout.yaxis.ticktext
    expected = [(level(e.level), e) for f in found for e in f.effects]
    assert {trace.name for trace in figure.data} == {"upright", "turned"}
    for trace in figure.data:
        drawn = [(labels[round(y)], x, half) for y, x, half in zip(trace.y, trace.x, trace.error_x.array, strict=True)]
        assert drawn == [(told, getattr(e, trace.name).mean, getattr(e, trace.name).half) for told, e in expected]
        stands = [not symbol.endswith("open") for symbol in trace.marker.symbol]
        assert stands == [getattr(e, trace.name).differs for _, e in expected]


WORTH = {"mlp": 0.0, "lenet": 0.1, "resnet2": 0.2, "none": 0.0, "d4": 0.03, 3e-4: 0.0, 1e-3: 0.01, 3e-3: -0.02}
TINY = dataclasses.replace(studies.load("toys"), seeds=2, trials=36, epochs=3, min_epochs=3)


def searched(spec=TINY, fails=(), storage=None):
    """A study run by the engine to its end; the trials numbered in `fails` raise."""
    storage = storage or optuna.storages.InMemoryStorage()
    ledger = Ledger(storage, spec.name, sampler=samplers.create(spec.sampler, 0))
    ledger.study.set_user_attr("spec", describe(spec))
    ledger.study.set_user_attr("question", spec.question)
    engine = Engine(
        ledger, schedulers.of_study(spec), trials=spec.trials,
        sample=lambda trial: spec.sample(trial).to_dict(),
    )  # fmt: skip
    while (job := engine.next()) is not None:
        if job.trial in fails:
            engine.fail(job.trial, "RuntimeError: <b>no luck</b>")
            continue
        config, offset = job.config, 1e-3 * job.config["seed"]
        policy = "d4" if config["training"]["augmentation"]["d4"] else "none"
        value = 0.6 + offset + WORTH[policy] + WORTH[config["training"]["learning_rate"]]
        value += WORTH.get(config["architecture"].get("name"), 0)
        for epoch in range(job.start + 1, job.stop + 1):
            last = {"turned_auc": value - 2 * WORTH[policy]} if epoch == spec.epochs else {}
            engine.report(job.trial, epoch, {"auc": value if last else 0.5, **last})
    engine.close()
    return ledger.study


def tables_of(html):
    """The rows of the table of every section of a page, by the section's heading."""
    found = {}
    for section in re.findall(r"<section.*?</section>", html, re.DOTALL):
        rows = re.findall(r"<tr>(.*?)</tr>", section, re.DOTALL)
        found[re.search(r"<h2>(.*?)</h2>", section)[1]] = [re.findall(r"<t[hd].*?>(.*?)</t[hd]>", row) for row in rows]
    return found


def test_the_page_of_a_grid_has_its_effects_and_cells_upright_and_turned(tmp_path):
    study = searched()
    html = write_report(read(study), tmp_path / "report.html").read_text()
    shown = tables_of(html)
    assert shown["Effect of each factor"] == [
        ["factor", "level", "pairs", "AUC", "AUC, turned"],
        ["augmentation", "none", "", "reference", "reference"],
        ["", "d4", "18", "* +0.0300 ± 0.0000", "* -0.0300 ± 0.0000"],
        ["learning_rate", "0.0003", "", "reference", "reference"],
        ["", "0.001", "12", "* +0.0100 ± 0.0000", "* +0.0100 ± 0.0000"],
        ["", "0.003", "12", "* -0.0200 ± 0.0000", "* -0.0200 ± 0.0000"],
        ["toy", "mlp", "", "reference", "reference"],
        ["", "lenet", "12", "* +0.1000 ± 0.0000", "* +0.1000 ± 0.0000"],
        ["", "resnet2", "12", "* +0.2000 ± 0.0000", "* +0.2000 ± 0.0000"],
    ]
    rows = shown["Mean of each cell"]
    assert len(rows) == 1 + 18
    assert rows[1][:6] == ["d4", "0.001", "resnet2", "2", "0.8405 ± 0.0007", "0.7805 ± 0.0007"]
    assert rows[-1][:4] == ["none", "0.003", "mlp", "2"]
    assert "Excluded" not in html
    figures = json.loads(html.split('id="figures">')[1].split("</script>")[0])
    assert {trace["name"] for trace in figures["effects"]["data"]} == {"upright", "turned"}


def test_page_and_terminal_say_which_trainings_failed(tmp_path):
    study = searched(fails={3, 20, 21})
    html = write_report(read(study), tmp_path / "report.html").read_text()
    told = "Excluded with their pairs: 3 failed of 36 trainings."
    assert told in html
    console = Console(width=80, record=True, file=io.StringIO())
    console.print(*tables(read(study)))
    assert told in " ".join(console.export_text().split())


def test_a_grid_of_which_all_failed_has_a_page_that_says_so(tmp_path):
    study = searched(spec=dataclasses.replace(TINY, trials=5), fails=range(5))
    html = write_report(read(study), tmp_path / "report.html").read_text()
    assert "No two finished trainings differ in one factor alone." in html
    assert "No training has finished yet." in html
    assert "5 failed of 5 trainings" in html


def test_only_a_grid_has_effects(tmp_path):
    study = searched(spec=dataclasses.replace(TINY, sampler="random", trials=12))
    html = write_report(read(study), tmp_path / "report.html").read_text()
    assert not {"Effect of each factor", "Mean of each cell"} & set(tables_of(html))
    assert 'id="effects"' not in html
    assert len(tables(read(study))) == 1


def test_the_command_prints_the_effects_of_a_grid_in_80_columns(tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    (tmp_path / "toys").mkdir()
    searched(storage=open_storage(tmp_path / "toys" / "study.db"))
    assert main_of("report", ["--study", "toys", "--runs", str(tmp_path)]) == 0
    said = capsys.readouterr().out
    assert re.search(r"d4 +18 +\* \+0\.0300 ± 0\.0000 +\* -0\.0300 ± 0\.0000", said)
    assert max(len(line) for line in said.splitlines() if "report:" not in line) <= 80


def test_turned_images_are_read_from_the_last_epoch_of_a_full_training():
    found = read(searched(fails={0}))
    assert found.trials[0].turned is None
    for trial in found.ranked():
        assert trial.turned == pytest.approx(trial.value - 2 * WORTH[trial.params["augmentation"]])


@pytest.mark.parametrize(
    ("found", "expected"),
    [
        (plus_minus(0.91234, 0.0045), "0.9123 ± 0.0045"), (plus_minus(0.02, None, sign=True), "+0.0200"),
        (plus_minus(-0.02, 0.5, sign=True), "-0.0200 ± 0.5000"), (plus_minus(1e-5, 2.34e-6), "0.000010 ± 0.000002"),
        (plus_minus(3.15e11, 7.07e9), "3.150e+11 ± 7.1e+09"), (plus_minus(2e-23, None), "2.000e-23"),
        (with_interval(3e-23, 2e-23, 4e-23), "3.000e-23 (2.000e-23 to 4.000e-23)"),
        (with_interval(1234567, 1234560, 1234575), "1.234567e+06 (1.234560e+06 to 1.234575e+06)"),
        (plus_minus(1234567.89, 0.01), "1.23456789e+06 ± 1.0e-02"), (plus_minus(3.12e-5, None), "3.120e-05"),
        (between(0.0055, 0.0063), "0.00550 to 0.00630"), (between(0.9, 0.95), "0.900 to 0.950"),
        (plus_minus(0.0, 0.0, sign=True), "+0.0000 ± 0.0000"), (plus_minus(0.5, 1e-17), "0.5000 ± 0.0000"),
        (level([("rate", 2e-3)]), "0.002"), (level([("augment.flip", True)]), "True"),
        (level([("a.position", "relative"), ("a.shared", False), ("b.rate", 0.5)]), "relative, shared False, rate 0.5"),
        (metric_name("tpr_at_fpr_0.001"), "TPR at 0.1% false positives"),
        (metric_name("tpr_at_fpr_0.01_d4_worst"), "TPR at 1% false positives, worst of eight symmetries"),
        (metric_name("auc_no_sub"), "AUC, no_sub"),
        (metric_name("ap_cdm"), "average precision, cdm"),
        (metric_name("loss_d4_mean"), "log loss, mean of eight symmetries"),
        (metric_name("auc_d4_worst"), "AUC, worst of eight symmetries"),
    ],
)  # fmt: skip
def test_levels_and_differences_are_written_for_people(found, expected):
    assert found == expected


def test_the_best_of_a_grid_is_the_best_cell_and_not_the_luckiest_training():
    values = [0.90, 0.91, 0.92, 0.80, 0.81, 0.99]
    found = made(product_of(mixer=["conv", "mlp"], seed=[0, 1, 2]), values, seeds=3)
    assert (found.best.number, found.ranked()[0].number) == (0, 5)
    assert "trial 0" in verdict(found)[0]


def test_the_verdict_on_a_grid_has_the_interval_of_the_t_test_over_seeds():
    """Three seeds are too few for the quantiles of the normal distribution."""
    values = [0.90, 0.92, 0.97, 0.80, 0.81, 0.79]
    found = made(product_of(mixer=["conv", "mlp"], seed=[0, 1, 2]), values, seeds=3)
    low, high = t.interval(0.95, 2, np.mean(values[:3]), sem(values[:3]))
    line, lead = verdict(found)[:2]
    assert high > 1, "which an AUC cannot be"
    assert f"AUC 0.930 (95% interval over seeds: {low:.3f} to 1.000)" in line
    differences = np.subtract(values[:3], values[3:])
    low, high = t.interval(0.95, 2, differences.mean(), sem(differences))
    assert f"{differences.mean():.3f} ({low:.3f} to {high:.3f})" in lead
