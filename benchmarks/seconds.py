"""What a search finds in a given time, where networks differ in how long they train, on `conditional.py`'s objective.

    OMP_NUM_THREADS=1 python benchmarks/seconds.py --seeds 16

An epoch of a configuration takes 1 second and another for every 20,000 weights, so most take from 2 to 10. Eight
virtual workers; the budget is their time together, in mean full trainings of a random configuration. Engines are
samplers, each with the default scheduler; `improvement` is `per_second` without the seconds. Regret of the incumbent
(the best noisy value of those trained in full), noise-free, in percent as in `conditional.py`; `in full` counts full
trainings.
"""

from __future__ import annotations

import argparse
import json
import time
import zlib
from typing import Any

import numpy as np
import optuna
from conditional import SPEC, TASKS, Conditional
from optuna.storages import InMemoryStorage

from nas import samplers, schedulers
from nas.samplers.per_second import improvement
from nas.samplers.surrogate import Sampler
from nas.searching.engine import Engine
from nas.searching.ledger import Ledger
from nas.searching.optuna_private import attributes_of
from nas.searching.simulate import simulate

ENGINES = ("surrogate", "improvement", "per_second", "random")
WORKERS = 8


def regrets(bench: Conditional, name: str, seed: int, budgets: list[int], unit: float) -> tuple[list[float], int]:
    sampler = Sampler(seed, improvement) if name == "improvement" else samplers.create(name, seed)
    ledger = Ledger(InMemoryStorage(), "seconds", sampler=sampler)
    rungs = schedulers.create(SPEC.scheduler, tuple(bench.rungs), SPEC.factor)
    engine = Engine(ledger, rungs, sample=bench.suggest, trials=10**6)

    def curve(config: dict[str, Any]) -> list[float]:
        noise = zlib.crc32(json.dumps(config, sort_keys=True).encode()) + seed
        return [float(value) for value in bench.curve(config, noise)]

    ends, full = [budget * unit / WORKERS for budget in budgets], 0
    found: list[float] = []
    best, regret = -np.inf, bench.best - bench.median
    for step in simulate(engine, curve, workers=WORKERS, seconds_per_epoch=bench.cost):
        while len(found) < len(ends) and step.time > ends[len(found)]:
            found.append(100 * regret / (bench.best - bench.median))
        if len(found) == len(ends):
            break
        if step.epoch == bench.E:
            full += 1
            if step.value > best:
                trained = ledger.study.get_trials(deepcopy=False)[step.trial]
                best, regret = step.value, bench.best - bench.true(attributes_of(trained)["config"])
    return found, full


def main() -> None:
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--engines", nargs="+", default=list(ENGINES))
    p.add_argument("--tasks", nargs="+", choices=TASKS, default=list(TASKS))
    p.add_argument("--seeds", type=int, default=8)
    p.add_argument("--first-seed", type=int, default=0)
    p.add_argument("--budgets", type=int, nargs="+", default=[5, 10, 20, 50], help="mean full trainings' time")
    args = p.parse_args()
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    benches = {task: Conditional(task) for task in args.tasks}
    for name in args.engines:
        begin, rows, full = time.process_time(), [], []
        for seed in range(args.first_seed, args.first_seed + args.seeds):
            of_seed = []
            for bench in benches.values():
                unit = bench.E * float(np.mean([bench.cost(config.to_dict()) for config in bench.drawn[:2000]]))
                found, count = regrets(bench, name, seed, args.budgets, unit)
                of_seed.append(found)
                full.append(count)
            rows.append(np.mean(of_seed, 0))
        means, errors = np.mean(rows, 0), np.std(rows, 0, ddof=1) / len(rows) ** 0.5
        row = "  ".join(f"{b}: {m:.1f} ± {e:.1f}" for b, m, e in zip(args.budgets, means, errors, strict=True))
        print(f"{name:12} {row}  in full {np.mean(full):.0f}  ({time.process_time() - begin:.0f} s)", flush=True)


if __name__ == "__main__":
    main()
