"""Run it where the folder `samplers/surrogate` is, or with `load_module` once it is registered."""

from __future__ import annotations

import math
from pathlib import Path

import optuna
import optunahub


def objective(trial: optuna.Trial) -> float:
    rate = trial.suggest_float("rate", 1e-5, 1e-1, log=True)
    loss = (math.log10(rate) + 3) ** 2
    if trial.suggest_categorical("optimiser", ["sgd", "adam"]) == "sgd":
        loss += (trial.suggest_float("momentum", 0.0, 0.99) - 0.9) ** 2
    for step in range(1, 28):
        trial.report(loss + math.exp(-step / 9), step)
        if trial.should_prune():
            raise optuna.TrialPruned
    return loss


module = optunahub.load_local_module("samplers/surrogate", registry_root=str(Path(__file__).parents[2]))
study = optuna.create_study(
    sampler=module.SurrogateSampler(seed=1),
    pruner=optuna.pruners.SuccessiveHalvingPruner(min_resource=1, reduction_factor=3),
)
study.optimize(objective, n_trials=30)
print(study.best_params, study.best_value)
