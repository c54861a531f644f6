"""The packages for OptunaHub in benchmarks/optunahub: they load as the hub loads them, and their examples run."""

import re
import runpy
from pathlib import Path

import numpy as np
import optuna
import pytest
from optuna.pruners import NopPruner
from optuna.samplers import RandomSampler
from optuna.trial import FixedTrial

optunahub = pytest.importorskip("optunahub", reason="pip install optunahub to test the packages for OptunaHub")

REGISTRY = Path(__file__).resolve().parents[1] / "benchmarks" / "optunahub"
PACKAGES = ("samplers/surrogate", "benchmarks/conditional_nas")
optuna.logging.set_verbosity(optuna.logging.ERROR)


def load(package):
    return optunahub.load_local_module(package, registry_root=str(REGISTRY))


@pytest.mark.parametrize("package", PACKAGES)
def test_a_package_has_what_the_registry_demands_and_its_example_runs(package, capsys):
    module, folder = load(package), REGISTRY / package
    assert all(hasattr(module, name) for name in module.__all__)
    assert "MIT License" in (folder / "LICENSE").read_text()
    readme = (folder / "README.md").read_text()
    front = dict(line.split(": ", 1) for line in readme.split("---\n")[1].splitlines())
    assert front.keys() == {"author", "title", "description", "tags", "optuna_versions", "license"}
    assert front["tags"].startswith(f"[{package.split('/')[0].removesuffix('s')}")
    assert re.findall(r"^## (.*)", readme, re.MULTILINE)[:4] == ["Abstract", "APIs", "Installation", "Example"]
    assert not re.search(r"<\w+", readme)  # no HTML
    runpy.run_path(str(folder / "example.py"))
    assert capsys.readouterr().out


def test_the_benchmark_reports_every_epoch_and_its_noise_depends_on_seed_and_trial_alone():
    problem = load("benchmarks/conditional_nas").Problem(task="swapped-1", seed=3)
    studies = [
        optuna.create_study(directions=problem.directions, sampler=RandomSampler(seed=0), pruner=NopPruner())
        for _ in range(2)
    ]
    for study in studies:
        study.optimize(problem, n_trials=8)
    one, two = ([(trial.params, trial.intermediate_values) for trial in study.get_trials()] for study in studies)
    assert one == two
    for trial in studies[0].get_trials():
        assert list(trial.intermediate_values) == list(range(1, problem.epochs + 1))
        assert trial.value == trial.intermediate_values[problem.epochs]
    values = [problem(FixedTrial(one[0][0], number)) for number in range(200)]
    assert np.std(values) > 1e-3
    assert abs(np.mean(values) - problem.evaluate(one[0][0])) < 5 * np.std(values) / 200**0.5
