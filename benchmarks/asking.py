"""How long a worker waits for its next configuration, in studies of different lengths.

    OMP_NUM_THREADS=1 python benchmarks/asking.py

A study in memory is filled with random configurations of the hybrid space and made-up values (a tenth infeasible, a
third of the others at both rungs). Then the engine continues it. `next` is `Engine.next` when it starts a new trial,
`propose` is the sampler's part of that, and `report` tells the engine about an epoch. Times are milliseconds of
processor time, which says more than wall time on a busy machine; the last column is the median wall time.
"""

from __future__ import annotations

import argparse
import math
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import optuna
from optuna.storages import InMemoryStorage
from optuna.trial import TrialState, create_trial

from nas import samplers, schedulers
from nas.searching.drafts import draft
from nas.searching.engine import Engine
from nas.searching.ledger import Ledger
from nas.searching.optuna_private import CONSTRAINT
from search_space.space import layout
from studies import load as load_study


def main() -> None:
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--trials", type=int, nargs="+", default=[10, 100, 1_000, 3_000, 10_000])
    p.add_argument("--asks", type=int, default=100)
    p.add_argument("--study", default="hybrid")
    p.add_argument("--sampler", default="surrogate")
    args = p.parse_args()
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    print(f"{'trials':>7}  {'first':>6}  {'next':>15}  {'propose':>15}  {'report':>15}  {'passed':>7}")
    print(f"{'':7}  {'':6}" + f"  {'median':>7} {'99 %':>7}" * 3)
    for trials in args.trials:
        spent = measure(args.study, args.sampler, trials, args.asks)
        first = spent["next"].pop(0)
        del spent["propose"][:1]  # a sampler that is no `Proposer` has none, and shows as nan
        columns = [
            f"{np.median(values):7.1f} {np.quantile(values, 0.99):7.1f}"
            for values in (spent[name] or [math.nan] for name in ("next", "propose", "report"))
        ]
        print(f"{trials:7}  {first:6.0f}  {'  '.join(columns)}  {np.median(spent['passed']):7.1f}", flush=True)


def measure(study: str, sampler: str, trials: int, asks: int) -> dict[str, list[float]]:
    """Measure the milliseconds of each call in a study that holds `trials`; the first ask reads them all."""
    spec, rng = load_study(study), np.random.default_rng(0)
    rungs = schedulers.of_study(spec).rungs

    def value(params: dict[str, Any], epoch: int) -> float:
        best = 0.9 - 0.1 * abs(math.log10(params["learning_rate"]) + 2.5) - 0.05 * (params.get("norm_layer") == "layer")
        return best * (1 - math.exp(-epoch / 5)) + 0.01 * rng.normal()

    storage = InMemoryStorage()
    filled = optuna.create_study(storage=storage, study_name=study, direction=spec.direction)
    for number in range(trials):
        made = draft(spec.sample, rng)
        skipped = number % 10 == 3
        last = 0 if skipped else rungs[-1 if number % 3 == 0 else 0]
        values = {epoch: value(made.params, epoch) for epoch in range(1, last + 1)}
        filled.add_trial(
            create_trial(
                state=TrialState.COMPLETE if last == rungs[-1] else TrialState.PRUNED,
                value=values[last] if values else None,
                params=made.params,
                distributions=made.distributions,
                intermediate_values=values,
                system_attrs={CONSTRAINT + "macs": 1.0} if skipped else {},
                user_attrs={"skipped": "too large"} if skipped else {},
            )
        )

    spent: dict[str, list[float]] = {"next": [], "propose": [], "report": [], "passed": []}
    chosen: Any = samplers.create(sampler, 0)
    if hasattr(chosen, "propose"):
        chosen.propose = timed(chosen.propose, spent["propose"])
    if hasattr(chosen, "layout"):
        chosen.layout = layout
    engine = Engine(
        Ledger(storage, study, direction=spec.direction, sampler=chosen),
        schedulers.of_study(spec),
        sample=spec.sample,
        record=lambda made: made.to_dict(),
        trials=10**6,
    )
    calls: list[float] = []
    next_job, report = timed(engine.next, calls), timed(engine.report, spent["report"])
    while len(spent["next"]) <= asks:
        begin = time.perf_counter()
        job = next_job()
        assert job is not None
        if not job.start:
            spent["next"].append(calls[-1])
            spent["passed"].append(1e3 * (time.perf_counter() - begin))
        params = engine.ledger.study.get_trials(deepcopy=False)[job.trial].params
        for epoch in range(job.start + 1, job.stop + 1):
            report(job.trial, epoch, {"auc": value(params, epoch)})
    return spent


def timed(function: Callable[..., Any], spent: list[float]) -> Callable[..., Any]:
    """Wrap a function so that it appends the milliseconds of each call to `spent`."""

    def wrapped(*arguments: Any) -> Any:
        begin = time.process_time()
        result = function(*arguments)
        spent.append(1e3 * (time.process_time() - begin))
        return result

    return wrapped


if __name__ == "__main__":
    main()
