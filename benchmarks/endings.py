"""What a search of few trials has found when it ends, and what it cost, in virtual time.

    OMP_NUM_THREADS=1 python benchmarks/endings.py --trials 20 40 80 --seeds 16 [--scheduler adaptive promotion]

`searchbench.py` and `conditional.py` compare engines that never run out of trials. A search of a given number of trials
also has an end, at which some trials still wait at a rung. Here the engine runs to it, on two virtual workers, with
networks given as in `hybrid`: the best of 200 random ones of other tasks. Regret is that of the trial with the best
last value, as in `conditional.py`; cost is counted in full trainings' worth of epochs.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
import optuna
from conditional import TASKS, Conditional
from optuna.storages import InMemoryStorage
from searchbench import FACTOR, best_of_others, decode

from nas import samplers, schedulers
from nas.searching.engine import Engine
from nas.searching.ledger import Ledger
from nas.searching.optuna_private import attributes_of
from nas.searching.simulate import Step, simulate

WORKERS = 2


def remembered(learn: Callable[[dict[str, Any], int], np.ndarray]) -> Callable[[dict[str, Any]], list[float]]:
    """The curve of a configuration, learnt once. `learn` also takes the number of those that were learnt before."""
    curves: dict[str, list[float]] = {}

    def curve(config: dict[str, Any]) -> list[float]:
        name = repr(config)
        if name not in curves:
            curves[name] = learn(config, len(curves)).tolist()
        return curves[name]

    return curve


def search(
    bench: Conditional,
    scheduler: str,
    trials: int,
    seed: int,
    given: Sequence[Mapping[str, Any]],
    curve: Callable[[dict[str, Any]], list[float]],
) -> tuple[Ledger, list[Step]]:
    """One search to its end, and every epoch that it trained."""
    ledger = Ledger(InMemoryStorage(), "bench", sampler=samplers.create("surrogate", seed))
    rungs = schedulers.create(scheduler, tuple(bench.rungs), FACTOR)
    engine = Engine(ledger, rungs, sample=partial(decode, bench), trials=trials, first=given, objective="value")
    steps = list(simulate(engine, curve, workers=WORKERS, seconds_per_epoch=bench.cost))
    engine.close()
    return ledger, steps


def ended(
    bench: Conditional, scheduler: str, trials: int, seed: int, given: Sequence[Mapping[str, Any]]
) -> tuple[float, float, int]:
    """The regret in percent at the end of one search, its cost in full trainings, and how many it trained in full."""
    curve = remembered(lambda config, number: bench.curve(config, 100_000 * seed + number))
    ledger, steps = search(bench, scheduler, trials, seed, given, curve)
    full = [step for step in steps if step.epoch == bench.E]
    best = max(full, key=lambda step: step.value)
    config = attributes_of(ledger.trial(best.trial))["config"]
    return 100 * (bench.best - bench.true(config)) / (bench.best - bench.median), len(steps) / bench.E, len(full)


def main() -> None:
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--trials", nargs="+", type=int, default=[20, 40, 80])
    p.add_argument("--scheduler", nargs="+", default=["adaptive"], help="names, or dotted names of modules")
    p.add_argument("--seeds", type=int, default=16)
    p.add_argument("--first-seed", type=int, default=0)
    p.add_argument("--given", type=int, default=4)
    args = p.parse_args()
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    benches = {task: Conditional(task) for task in TASKS}
    print("| scheduler | trials | regret, % | cost | in full |\n|---|---|---|---|---|")
    for trials in args.trials:
        for scheduler in args.scheduler:
            found = np.array([
                [
                    ended(bench, scheduler, trials, seed, best_of_others(benches, task, args.given, seed))
                    for task, bench in benches.items()
                ]
                for seed in range(args.first_seed, args.first_seed + args.seeds)
            ])  # fmt: skip
            by_seed = found.mean(1)
            error = by_seed[:, 0].std(ddof=1) / len(by_seed) ** 0.5
            regret, cost, full = by_seed.mean(0)
            print(f"| {scheduler} | {trials} | {regret:.1f} ± {error:.1f} | {cost:.1f} | {full:.1f} |", flush=True)


if __name__ == "__main__":
    main()
