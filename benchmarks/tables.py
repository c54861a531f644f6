"""The search engine on made-up tables, in virtual time: cells of choices, many choices, and rows of measured curves.

    OMP_NUM_THREADS=1 python benchmarks/tables.py --folder ../shared/searchbench --seeds 16 --budget 50

Three kinds of space that `searchbench.py` (which defines engines and options) and `conditional.py` lack, each in two
instances. All were made up before an engine ran on them.

* `cells`: a cell of four nodes as in NAS-Bench-201 (Dong & Yang 2020), one of five operations on each of six edges. The
  value depends on the paths that carry a signal, so edges interact.
* `choices`: 28 choices of two to five options each; every option has an effect of its own, and thirty pairs of choices
  have effects together. Some choices matter much more than others.
* `rows`: a table of 1,000 random configurations of six numbers and two choices. A configuration has the curve of the
  nearest row, so many configurations are copies of each other. Every row has a deviation of its own, and too high a
  learning rate diverges.

A trial has the noise of its seed, but in `rows`, where the curve is that of the table.
"""

from __future__ import annotations

import math
from itertools import product
from typing import Any

import numpy as np
from searchbench import ENGINES, compare, parser

E, RUNGS = 54, [2, 6, 18, 54]
OPERATIONS = ("none", "skip", "pool", "conv1", "conv3")
EDGES = ((0, 1), (0, 2), (1, 2), (0, 3), (1, 3), (2, 3))
PATHS = ((3,), (0, 4), (1, 5), (0, 2, 5))  # edges, by index in EDGES, of all paths from node 0 to node 3
RANDOM = 5000


def learnt(final: float, chance: float, slowness: float) -> np.ndarray:
    """An exponential learning curve that ends at `final`."""
    epoch = np.arange(1, E + 1)
    return chance + (final - chance) * (1 - np.exp(-epoch / slowness)) / (1 - math.exp(-E / slowness))


class Table:
    """What the simulation needs from a benchmark; a subclass has `space` and `learn(config)`: last value, slowness."""

    E, rungs, chance, noise = E, RUNGS, 10.0, 0.25
    space: dict[str, Any]

    def learn(self, config: dict[str, Any]) -> tuple[float, float]:
        raise NotImplementedError

    def every(self) -> list[dict[str, Any]]:
        """Return the configurations that `best` and `median` are taken from."""
        rng = np.random.default_rng(0)
        return [self.random(rng) for _ in range(RANDOM)]

    def random(self, rng: np.random.Generator) -> dict[str, Any]:
        return {name: bounds[0][rng.integers(len(bounds[0]))] for name, (_, *bounds) in self.space.items()}

    def measure(self) -> None:
        finals = [self.true(config) for config in self.every()]
        self.best, self.median = max(finals), float(np.median(finals))

    def true(self, config: dict[str, Any]) -> float:
        return self.learn(config)[0]

    def cost(self, config: dict[str, Any]) -> float:
        return 1.0

    def curve(self, config: dict[str, Any], seed: int) -> np.ndarray:
        final, slowness = self.learn(config)
        rng = np.random.default_rng([seed, 4711])
        fading = 1 + 3 * np.exp(-np.arange(E) / 10)
        return learnt(final, self.chance, slowness) + self.noise * (rng.normal() + fading * rng.normal(size=E))


class Cells(Table):
    def __init__(self, seed: int) -> None:
        rng = np.random.default_rng([seed, 1])
        self.space = {f"edge_{a}_{b}": ("cat", OPERATIONS) for a, b in EDGES}
        self.worth = dict(zip(OPERATIONS, np.array([0.0, 0.35, 0.3, 1.0, 1.5]) + rng.normal(0, 0.1, 5), strict=True))
        self.edge = rng.uniform(0.7, 1.3, len(EDGES))
        self.measure()

    def every(self) -> list[dict[str, Any]]:
        return [dict(zip(self.space, cell, strict=True)) for cell in product(OPERATIONS, repeat=len(EDGES))]

    def learn(self, config: dict[str, Any]) -> tuple[float, float]:
        cell = list(config.values())
        open_paths = [path for path in PATHS if all(cell[i] != "none" for i in path)]
        if not open_paths:
            return self.chance, 1.0
        used = {i for path in open_paths for i in path}
        weights = sum(self.edge[i] * self.worth[cell[i]] for i in used)
        depth = max(sum(cell[i].startswith("conv") for i in path) for path in open_paths)
        shortcut = any(all(cell[i] == "skip" for i in path) for path in open_paths)
        pools = sum(cell[i] == "pool" for i in used)
        logit = 0.6 + 0.28 * weights + 0.25 * min(depth, 2) + 0.35 * (shortcut and depth > 0) - 0.15 * pools
        return 10 + 86 / (1 + math.exp(-logit)), 4 + 2.5 * depth + 2 * (not shortcut)


class Choices(Table):
    def __init__(self, seed: int) -> None:
        rng = np.random.default_rng([seed, 2])
        options = {f"choice_{i}": tuple(range(rng.integers(2, 6))) for i in range(28)}
        self.space = {name: ("cat", values) for name, values in options.items()}
        names = list(options)
        weight = dict(zip(names, rng.permutation(0.9 ** np.arange(28)), strict=True))
        self.alone = {name: weight[name] * rng.normal(size=len(options[name])) for name in names}
        self.slow = {name: 0.15 * rng.normal(size=len(options[name])) for name in names}
        self.pairs = []
        for _ in range(30):
            a, b = rng.choice(names, 2, replace=False)
            effect = (weight[a] * weight[b]) ** 0.5 * rng.normal(size=(len(options[a]), len(options[b])))
            self.pairs.append((a, b, 0.6 * effect))
        self.measure()

    def learn(self, config: dict[str, Any]) -> tuple[float, float]:
        logit = 1.5 + 0.35 * sum(self.alone[name][value] for name, value in config.items())
        logit += 0.35 * sum(effect[config[a], config[b]] for a, b, effect in self.pairs)
        slowness = 8 * math.exp(sum(self.slow[name][value] for name, value in config.items()))
        return 10 + 86 / (1 + math.exp(-logit)), min(slowness, 40)


class Rows(Table):
    noise = 0.0
    ROWS = 1000

    def __init__(self, seed: int) -> None:
        rng = np.random.default_rng([seed, 3])
        self.space = {
            "learning_rate": ("float", 1e-5, 1.0, True), "decay": ("float", 1e-6, 1e-1, True),
            "momentum": ("float", 0.5, 0.99, False), "smoothing": ("float", 0.0, 0.4, False),
            "warm_up": ("float", 0.01, 0.3, True), "power": ("float", 0.1, 3.0, True),
            "optimiser": ("cat", ("a", "b", "c")), "schedule": ("cat", ("x", "y")),
        }  # fmt: skip
        self.at = rng.random((self.ROWS, 8))
        self.at[:, 6] = rng.integers(3, size=self.ROWS)
        self.at[:, 7] = rng.integers(2, size=self.ROWS)
        best_rate = rng.uniform(0.4, 0.8) + rng.normal(0, 0.12, 3)  # of each optimiser, as a place between the bounds
        of_schedule, of_decay = rng.normal(0, 0.2, 2), rng.uniform(0.3, 0.7)
        rate, decay, momentum, smoothing, warm_up, power, optimiser, schedule = self.at.T
        off = rate - best_rate[optimiser.astype(int)] + 0.25 * (momentum - 0.5)
        logit = 2.2 - np.where(off > 0, 60, 25) * off**2 + of_schedule[schedule.astype(int)]
        logit += -2.0 * (decay - of_decay) ** 2 - 0.8 * (smoothing - 0.3) ** 2 - 0.5 * (power - 0.6) ** 2
        logit += 0.3 * warm_up * (off > 0) + 0.25 * rng.normal(size=self.ROWS)  # the deviation of a row
        self.final = 10 + 86 / (1 + np.exp(-logit))
        self.final[(off > 0.15) & (rng.random(self.ROWS) < 0.8)] = 10.0  # diverged
        self.slowness = np.clip(8 * np.exp(-4 * off + 0.3 * rng.normal(size=self.ROWS)), 1, 60)
        self.best, self.median = float(self.final.max()), float(np.median(self.final))
        fading = 0.25 * (1 + 3 * np.exp(-np.arange(E) / 10))
        self.wiggles = fading * rng.normal(size=(self.ROWS, E))

    def row(self, config: dict[str, Any]) -> int:
        place = []
        for name, (kind, *bounds) in self.space.items():
            value = config[name]
            if kind == "cat":
                place.append(float(bounds[0].index(value)))
            else:
                low, high, log = bounds
                low, high, value = (math.log(v) if log else v for v in (low, high, value))
                place.append((value - low) / (high - low))
        return int(np.argmin(((self.at - np.array(place)) ** 2).sum(1)))

    def learn(self, config: dict[str, Any]) -> tuple[float, float]:
        row = self.row(config)
        return float(self.final[row]), float(self.slowness[row])

    def curve(self, config: dict[str, Any], seed: int) -> np.ndarray:
        curve = super().curve(config, 0) + self.wiggles[self.row(config)]
        curve[-1] = self.true(config)
        return curve


KINDS = {"cells": Cells, "choices": Choices, "rows": Rows}


def main() -> None:
    p = parser(__doc__)
    p.set_defaults(engines=list(ENGINES), tasks=list(KINDS), budget=50)
    args = p.parse_args()
    if unknown := set(args.tasks) - set(KINDS):
        p.error(f"unknown task {unknown.pop()!r}; known: {', '.join(KINDS)}")
    for kind in args.tasks:
        print(kind, flush=True)
        compare({f"{kind}-{i}": KINDS[kind](i) for i in (1, 2)}, args)


if __name__ == "__main__":
    main()
