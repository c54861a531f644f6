"""How much of the front of value and cost a search covers, on the made-up objective of `conditional.py`.

    OMP_NUM_THREADS=1 python benchmarks/fronts.py --seeds 4

The cost is the approximate number of weights. The search engine runs with two objectives (`ours`), with its random
sampler and the paper's promotion (`random+promotion`), both promoting by the front, and with the value alone
(`value`). They have 8 virtual workers. Optuna's multi-objective TPE and NSGA-II (populations of 20) train every trial
in full, and one after another, so they know all earlier trials when they propose.

At each budget, in full-training equivalents (FTE), the front is chosen by the noisy values of the trials trained in
full. It counts by its noise-free values: the area under it over the logarithm of the cost, above the median of 20,000
random configurations and up to twice their largest cost, in percent of the area under the front of all of these.
"""

from __future__ import annotations

import argparse
import json
import math
import time
import zlib
from collections.abc import Iterator
from typing import Any

import numpy as np
import optuna
from conditional import SPEC, Conditional, blocks
from optuna.storages import InMemoryStorage

from nas import front, samplers, schedulers
from nas.searching.engine import Engine
from nas.searching.jobs import Admission
from nas.searching.ledger import Ledger
from nas.searching.optuna_private import attributes_of
from nas.searching.simulate import simulate
from studies import Configuration

ENGINES = ("ours", "value", "random+promotion", "tpe in full", "nsga2 in full")
WORKERS = 8


def weights(config: Configuration) -> float:
    return float(sum(size for *_, size in blocks(config.architecture)))


class Task(Conditional):
    def __init__(self) -> None:
        super().__init__("named")
        values = {i: final for i, (final, _) in enumerate(self.curves)}
        costs = {i: weights(config) for i, config in enumerate(self.drawn)}
        self.ceiling = math.log(max(costs.values())) + front.ROOM
        self.whole = self.area(values, costs, front.fronts(values, costs)[0])

    def noisy(self, config: dict[str, Any], seed: int) -> list[float]:
        noise = zlib.crc32(json.dumps(config, sort_keys=True).encode()) + seed
        return [float(value) for value in self.curve(config, noise)]

    def area(self, values: dict[int, float], costs: dict[int, float], trials: list[int]) -> float:
        """The area under the front of these trials, above the median."""
        chosen = {trial: values[trial] for trial in trials}
        on_it = front.fronts(chosen, costs)[0] if chosen else []
        edges = [*(math.log(costs[trial]) for trial in on_it), self.ceiling]
        return sum(
            max(values[trial] - self.median, 0.0) * max(min(right, self.ceiling) - left, 0.0)
            for trial, left, right in zip(on_it, edges, edges[1:], strict=False)
        )

    def covered(self, full: dict[int, tuple[dict[str, Any], float]]) -> float:
        """Percent of the whole area. `full`: trial -> configuration and noisy value, of those trained in full."""
        costs = {trial: weights(Configuration.from_dict(config)) for trial, (config, _) in full.items()}
        noisy = {trial: value for trial, (_, value) in full.items()}
        on_it = front.fronts(noisy, costs)[0] if full else []
        return 100 * self.area({trial: self.true(full[trial][0]) for trial in on_it}, costs, on_it) / self.whole


def ours(task: Task, name: str, seed: int) -> Iterator[tuple[int, dict[str, Any], float] | None]:
    """Yield None for every epoch, and the trial, configuration and value of every full training."""
    sampler, _, scheduler = name.partition("+") if "+" in name else (SPEC.sampler, "", SPEC.scheduler)
    ledger = Ledger(
        InMemoryStorage(), "fronts", sampler=samplers.create(sampler, seed), cost="" if name == "value" else "weights"
    )

    def admit(config: dict[str, Any]) -> Admission:
        return Admission({"weights": weights(Configuration.from_dict(config))})

    rungs = schedulers.create(scheduler, tuple(task.rungs), SPEC.factor)
    engine = Engine(ledger, rungs, sample=task.suggest, trials=10**6, admit=admit)
    steps = simulate(engine, lambda c: task.noisy(c, seed), workers=WORKERS, seconds_per_epoch=task.cost)
    for step in steps:
        trained = engine.ledger.study.get_trials(deepcopy=False)[step.trial] if step.epoch == task.E else None
        yield None if trained is None else (step.trial, attributes_of(trained)["config"], step.value)


def in_full(task: Task, name: str, seed: int) -> Iterator[tuple[int, dict[str, Any], float] | None]:
    sampler = (
        optuna.samplers.TPESampler(seed=seed)
        if name.startswith("tpe")
        else optuna.samplers.NSGAIISampler(seed=seed, population_size=20)
    )
    study = optuna.create_study(directions=["maximize", "minimize"], sampler=sampler)
    while True:
        trial = study.ask()
        config = task.suggest(trial)
        value = task.noisy(config, seed)[-1]
        study.tell(trial, [value, math.log(weights(Configuration.from_dict(config)))])
        yield from [None] * (task.E - 1)
        yield trial.number, config, value


def main() -> None:
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--engines", nargs="+", default=list(ENGINES))
    p.add_argument("--seeds", type=int, default=4)
    p.add_argument("--budgets", type=int, nargs="+", default=[10, 20, 50], help="full-training equivalents")
    args = p.parse_args()
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    task = Task()
    for name in args.engines:
        begin, rows, trained = time.time(), [], []
        for seed in range(args.seeds):
            full: dict[int, tuple[dict[str, Any], float]] = {}
            row = []
            run = in_full if name.endswith("in full") else ours
            for epoch, step in enumerate(run(task, name, seed), 1):
                if step is not None:
                    full[step[0]] = step[1:]
                if epoch % task.E == 0 and epoch // task.E in args.budgets:
                    row.append(task.covered(full))
                if epoch == max(args.budgets) * task.E:
                    break
            rows.append(row)
            trained.append(len(full))
        table = np.array(rows)
        error = table.std(0, ddof=1) / len(table) ** 0.5 if len(table) > 1 else np.zeros(table.shape[1])
        cells = "  ".join(
            f"{b} FTE {m:.1f} ± {e:.1f}" for b, m, e in zip(args.budgets, table.mean(0), error, strict=True)
        )
        print(f"{name:18} {cells}  ({np.mean(trained):.0f} in full, {time.time() - begin:.0f} s)", flush=True)


if __name__ == "__main__":
    main()
