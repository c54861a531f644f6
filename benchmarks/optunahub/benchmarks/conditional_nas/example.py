"""Run it where the folder `benchmarks/conditional_nas` is, or with `load_module` once it is registered."""

from __future__ import annotations

from pathlib import Path

import optuna
import optunahub

module = optunahub.load_local_module("benchmarks/conditional_nas", registry_root=str(Path(__file__).parents[2]))
problem = module.Problem(task="named", seed=0)
pruner = optuna.pruners.SuccessiveHalvingPruner(min_resource=4, reduction_factor=3)
study = optuna.create_study(directions=problem.directions, pruner=pruner)
study.optimize(problem, n_trials=20)
print(f"{study.best_value:.3f} with noise, {problem.evaluate(study.best_params):.3f} without")
