"""The benchmark function of OptunaHub's sampler `hierarchical_tpe`, for samplers in plain Optuna.

    python benchmarks/hub_function.py --hub REGISTRY --samplers surrogate tpe random --trials 100 --seeds 8

REGISTRY is a copy of OptunaHub's registry, from which the function is loaded. It has two levels of choices, a number
that always counts, and another in each of four branches; the optimum is 0.01. Prints the median over seeds of the best
value after 25, 50 and all trials, and quartiles of the last. `hub:NAME` is a sampler of the registry:
`hub:hierarchical_tpe` needs Optuna 4.8, and ours, `surrogate`, needs Optuna 5.
"""

from __future__ import annotations

import argparse
import importlib.util
import os
import time
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import optuna

FUNCTION = Path("package") / "samplers" / "hierarchical_tpe" / "benchmark.py"


def function(hub: Path) -> Any:
    """Load the objective; its module looks for the registry in the current folder."""
    os.chdir(hub)
    spec = importlib.util.spec_from_file_location("hub_benchmark", FUNCTION)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.objective


def sampler_of(name: str, seed: int) -> Any:
    if name == "surrogate":
        from nas.samplers.surrogate import SurrogateSampler

        return SurrogateSampler(seed)
    if name.startswith("hub:"):
        import optunahub

        module = optunahub.load_local_module(f"samplers/{name.removeprefix('hub:')}", registry_root="package")
        return getattr(module, module.__all__[0])(seed=seed)
    return {"tpe": optuna.samplers.TPESampler, "random": optuna.samplers.RandomSampler}[name](seed=seed)


def main() -> None:
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--hub", type=Path, required=True)
    p.add_argument("--samplers", nargs="+", default=["surrogate", "tpe", "random"])
    p.add_argument("--trials", type=int, default=100)
    p.add_argument("--seeds", type=int, default=8)
    args = p.parse_args()
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    warnings.simplefilter("ignore")
    objective = function(args.hub)
    for name in args.samplers:
        begin, runs = time.process_time(), []
        for seed in range(args.seeds):
            study = optuna.create_study(sampler=sampler_of(name, seed))
            study.optimize(objective, n_trials=args.trials)
            values = np.array([trial.value for trial in study.get_trials()], dtype=float)
            runs.append(np.minimum.accumulate(values))
        best = np.array(runs)
        milliseconds = 1000 * (time.process_time() - begin) / best.size
        medians = ", ".join(f"{np.median(best[:, n - 1]):.4f} after {n}" for n in (25, 50, args.trials))
        low, high = np.quantile(best[:, -1], [0.25, 0.75])
        print(f"{name}: {medians} trials [{low:.4f}, {high:.4f}], {milliseconds:.0f} ms a trial", flush=True)


if __name__ == "__main__":
    main()
