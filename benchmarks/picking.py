"""Whether a search returns what is best or what was lucky, in virtual time: with finals, and by the highest value.

    OMP_NUM_THREADS=1 python benchmarks/picking.py --trials 40 80 --seeds 20 --noise 0.01 0.02

As `endings.py`, on the conditional space with four given networks and two virtual workers. Every training has noise of
its own, which stays through its epochs: that of the space (0.006) and `--noise`, as seeds have it on our own images
(0.005 to 0.02 in `winners.py`). Prints, by how the configuration that is returned was picked: its regret; in how many
searches it is truly worse than the best given one; and the overtuning, by how much what the search says of it lies
above its true value.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import optuna
from conditional import TASKS, Conditional
from endings import remembered, search
from searchbench import best_of_others

from nas.reading import read
from nas.searching.finals import Finals
from nas.trials import Trial

SHARE = 0.2  # of the search's cost, for its finals


def picked(
    bench: Conditional, trials: int, seed: int, noise: float, given: Sequence[Mapping[str, Any]]
) -> dict[str, tuple[float, float, float]]:
    """Regret in percent, loss against the best given one, and overtuning, by how the configuration was picked."""
    rng = np.random.default_rng([seed, 7])

    def learn(config: dict[str, Any], number: int) -> np.ndarray:
        return np.clip(bench.curve(config, int(rng.integers(2**31))) + noise * rng.normal(), 0.0, 1.0)

    curve = remembered(learn)
    ledger, _ = search(bench, "adaptive", trials, seed, given, curve)
    spec = {"objective": "value", "direction": "maximize", "rungs": list(bench.rungs), "sampler": "surrogate"}
    ledger.study.set_user_attr("spec", spec)
    highest = read(ledger.study).ranked()
    finals = Finals(ledger, share=SHARE)
    while (job := finals.next()) is not None:
        values = curve(job.config)
        for epoch in range(job.start + 1, job.stop + 1):
            finals.report(job.trial, epoch, {"value": values[epoch - 1]})
    results = read(ledger.study)
    estimates = {finalist.trial: finalist.mean for finalist in results.estimates()}
    winner, first = results.best, highest[0]
    assert winner is not None
    of_given = max(truth(bench, trial) for trial in highest if trial.given)

    def judged(trial: Trial, said: float) -> tuple[float, float, float]:
        true = truth(bench, trial)
        return 100 * (bench.best - true) / (bench.best - bench.median), max(of_given - true, 0.0), said - true

    return {"highest value": judged(first, first.value), "finals": judged(winner, estimates[winner.number])}


def truth(bench: Conditional, trial: Trial) -> float:
    config = {name: value for name, value in trial.config.items() if name != "seed"}
    return bench.true({**config, "seed": 0})


def main() -> None:
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--trials", nargs="+", type=int, default=[40, 80])
    p.add_argument("--seeds", type=int, default=20)
    p.add_argument("--first-seed", type=int, default=0)
    p.add_argument("--noise", nargs="+", type=float, default=[0.01, 0.02])
    p.add_argument("--given", type=int, default=4)
    args = p.parse_args()
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    benches = {task: Conditional(task) for task in TASKS}
    print("| trials | noise | picked by | regret, % | below the best given | overtuning |\n|---|---|---|---|---|---|")
    for trials in args.trials:
        for noise in args.noise:
            found = [
                picked(bench, trials, seed, noise, best_of_others(benches, task, args.given, seed))
                for seed in range(args.first_seed, args.first_seed + args.seeds)
                for task, bench in benches.items()
            ]
            for how in found[0]:
                regret, loss, over = np.array([one[how] for one in found]).T
                worse = f"{(loss > 0).sum()} of {len(found)}, by {loss[loss > 0].mean() if loss.any() else 0:.4f}"
                error = regret.std(ddof=1) / len(regret) ** 0.5
                cells = f"{regret.mean():.1f} ± {error:.1f}", worse, f"{over.mean():+.4f}"
                print(f"| {trials} | {noise:g} | {how} | {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main()
