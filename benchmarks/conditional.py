"""The search engine on a made-up objective over our own conditional space, in virtual time.

    OMP_NUM_THREADS=1 python benchmarks/conditional.py --folder ../shared/searchbench --seeds 8

LCBench (`searchbench.py`, which defines the engines and options used here) has seven numbers. This space has 97
parameters, of which a configuration has 20 to 55; `optunahub/benchmarks/conditional_nas/formula.py` describes it and
its learning curves. No trial is skipped for its size and none is given, so only proposing and promoting are compared.
Regret compares the incumbent's noise-free value with the best of 20,000 random configurations (below zero: better than
that), in percent of how far that lies above their median.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
from scipy.stats import spearmanr
from searchbench import ENGINES, compare, parser

from nas import schedulers
from nas.searching.drafts import draft
from search_space.space import layout
from studies import Configuration

# The package for OptunaHub holds the formula. It is not imported as a whole, which would take optunahub.
sys.path.insert(0, str(Path(__file__).parent / "optunahub" / "benchmarks" / "conditional_nas"))
from formula import SPEC, TASKS, Formula, blocks

RANDOM = 20_000


class Conditional(Formula):
    """What the simulation needs from a benchmark: E, rungs, suggest, curve, cost, true, best, median."""

    E, rungs = SPEC.epochs, list(schedulers.of_study(SPEC).rungs)

    def __init__(self, task: str) -> None:
        super().__init__(task)
        rng = np.random.default_rng(0)
        self.drawn: list[Configuration] = []
        for _ in range(RANDOM):
            draft(lambda trial: self.drawn.append(SPEC.sample(trial)), rng)
        self.curves = [self.learn(config, seed) for seed, config in enumerate(self.drawn)]
        finals = [final for final, _ in self.curves]
        self.best, self.median = max(finals), float(np.median(finals))

    def suggest(self, trial: Any) -> dict[str, Any]:
        return SPEC.sample(trial).to_dict()

    def curve(self, config: dict[str, Any], seed: int) -> np.ndarray:
        return self.learn(Configuration.from_dict(config), seed)[1]

    def true(self, config: dict[str, Any]) -> float:
        return self.learn(Configuration.from_dict(config), 0)[0]

    layout = staticmethod(layout)

    def cost(self, config: dict[str, Any]) -> float:
        """Virtual seconds per epoch."""
        return 1.0 + sum(size for *_, size in blocks(Configuration.from_dict(config).architecture)) / 20_000


def main() -> None:
    p = parser(__doc__)
    p.set_defaults(engines=[*ENGINES, "tpe_group+promotion"], tasks=list(TASKS))
    args = p.parse_args()
    if unknown := set(args.tasks) - set(TASKS):
        p.error(f"unknown task {unknown.pop()!r}; known: {', '.join(TASKS)}")
    benches = {task: Conditional(task) for task in args.tasks}
    for task, bench in benches.items():
        low, high = (np.array([curve[e - 1] for _, curve in bench.curves]) for e in bench.rungs)
        top = np.argsort(-low)[: RANDOM // 3]
        print(
            f"{task}: best {bench.best:.4f}, median {bench.median:.4f}; rank correlation of the rungs at epochs "
            f"{bench.rungs}: {spearmanr(low, high)[0]:.2f}, {spearmanr(low[top], high[top])[0]:.2f} in the best third",
            flush=True,
        )
    compare(benches, args)


if __name__ == "__main__":
    main()
