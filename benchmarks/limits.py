"""What a search wastes on configurations that cannot be trained, with thirty limits that it has to learn.

    OMP_NUM_THREADS=1 python benchmarks/limits.py --folder ../shared/searchbench --trials 120

The task is `named` of `conditional.py`. Each of ten made-up costs of a configuration (parameters, multiply-accumulates,
memory of tokens or of attention, time; smooth, or jagged by a third from configuration to configuration) is limited to
what a tenth, a third or 60% of random configurations need at most. A trial above the limit fails as soon as it trains,
as one that runs out of memory does. Prints the share of failures after the thirtieth trial, and the regret of the best
feasible configuration against the best of 20,000 random ones, in percent of how far that lies above their median.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import optuna
from conditional import SPEC, Conditional, blocks
from optuna.storages import InMemoryStorage

from nas import samplers, schedulers
from nas.schedulers import Decision
from nas.searching.drafts import draft
from nas.searching.engine import Engine
from nas.searching.ledger import Ledger
from search_space import Hybrid
from studies import Configuration

SHARES = (0.1, 1 / 3, 0.6)
FIRST = 30


def tokens(network: Hybrid) -> list[float]:
    """The tokens of each stage of an image of 64 pixels."""
    side, found = 64 // network.patch, []
    for stage in network.stages:
        side = side // 2 if stage.downsample else side
        found.append(float(side**2))
    return found


def parameters(config: Configuration) -> float:
    return sum(size for *_, size in blocks(config.architecture))


def macs(config: Configuration) -> float:
    network = config.architecture
    assert isinstance(network, Hybrid)
    each = zip(network.stages, tokens(network), strict=True)
    return sum(n * s.depth * s.width**2 * (4 + 2 * s.mlp_ratio) for s, n in each)


def activations(config: Configuration) -> float:
    network, training = config.architecture, config.training
    assert isinstance(network, Hybrid)
    each = zip(network.stages, tokens(network), strict=True)
    return training.batch_size * sum(n * s.depth * s.width for s, n in each)


def attention(config: Configuration) -> float:
    """The memory of the attention maps, beside that of the activations."""
    network, training = config.architecture, config.training
    assert isinstance(network, Hybrid)
    maps = 1.0
    for stage, n in zip(network.stages, tokens(network), strict=True):
        maps += n**2 * sum(options.get("heads", 0) for _, options in stage.blocks())
    return training.batch_size * maps + 10 * activations(config)


def seconds(config: Configuration) -> float:
    return macs(config) * 1e-6 + 20 * len(list(blocks(config.architecture))) + 2e4 / config.training.batch_size


def jagged(cost: Callable[[Configuration], float]) -> Callable[[Configuration], float]:
    def found(config: Configuration) -> float:
        digest = hashlib.blake2b(json.dumps(config.to_dict(), sort_keys=True).encode(), digest_size=8).digest()
        return cost(config) * np.exp(np.random.default_rng(list(digest)).normal(0, 0.3))

    return found


COSTS: dict[str, Callable[[Configuration], float]] = {
    f.__name__: f for f in (parameters, macs, activations, attention, seconds)
}
COSTS |= {f"{name}, jagged": jagged(cost) for name, cost in COSTS.items()}


def search(
    bench: Conditional, cost: Callable[[Configuration], float], limit: float, args: argparse.Namespace
) -> tuple[list[bool], float]:
    """Return whether each trial failed, and the best value without noise of those trained in full."""
    ledger = Ledger(InMemoryStorage(), "limits", sampler=samplers.create(args.sampler, args.seed))
    scheduler = schedulers.create("adaptive", tuple(bench.rungs), 3)
    engine = Engine(ledger, scheduler, sample=bench.suggest, trials=args.trials, objective="value")
    failed: dict[int, bool] = {}
    values: list[float] = []
    while (job := engine.next()) is not None:
        config = Configuration.from_dict(job.config)
        failed[job.trial] = cost(config) > limit
        if failed[job.trial]:
            engine.fail(job.trial, "out of memory")
            engine.failures.clear()  # a real search gives up after thirty in a row
            continue
        curve = bench.curve(job.config, args.seed * 1000 + job.trial)
        for epoch in range(job.start + 1, job.stop + 1):
            decision = engine.report(job.trial, epoch, {"value": float(curve[epoch - 1])})
        if decision is Decision.COMPLETE:
            values.append(bench.true(job.config))
    return [failed[number] for number in sorted(failed)], max(values, default=0.5)


def main() -> None:
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--folder", type=Path, default=Path("../shared/searchbench"))
    p.add_argument("--trials", type=int, default=120)
    p.add_argument("--sampler", default="surrogate")
    p.add_argument("--seed", type=int, default=0)
    args = p.parse_args()
    sys.path.insert(0, str(args.folder.resolve()))
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    bench = Conditional("named")
    rng, drawn = np.random.default_rng(0), []
    for _ in range(len(bench.curves)):
        draft(lambda trial: drawn.append(SPEC.sample(trial)), rng)
    values = np.array([final for final, _ in bench.curves])
    wasted, regrets = [], []
    for name, cost in COSTS.items():
        costs = np.array([cost(config) for config in drawn])
        for share in SHARES:
            limit = float(np.quantile(costs, share))
            best, median = values[costs <= limit].max(), np.median(values[costs <= limit])
            failed, found = search(bench, cost, limit, args)
            wasted.append(np.mean(failed[FIRST:]))
            regrets.append(100 * (best - found) / (best - median))
            print(
                f"{name:22} {share:4.0%} feasible: {np.mean(failed[:FIRST]):4.0%} of the first {FIRST} failed, "
                f"{wasted[-1]:5.1%} of the rest; regret {regrets[-1]:5.1f}%", flush=True,
            )  # fmt: skip
    print(f"mean: {np.mean(wasted):.1%} wasted, regret {np.mean(regrets):.1f}%")


if __name__ == "__main__":
    main()
