"""The search engine on public learning curves (LCBench) in virtual time, against the stock pair.

    OMP_NUM_THREADS=1 python benchmarks/searchbench.py --folder ../shared/searchbench --seeds 8 --budget 100

The folder holds the curves and the simulation, which is not ours. It defines the workers in virtual time, the budget in
full-training equivalents (FTE; a promoted trial pays only for its new epochs), the incumbent (the fully trained trial
with the best last epoch) and the regret. Through the adapter `Ours` it measures `nas.searching.engine.Engine` as it
runs on Ray, with its study in memory. Prints normalised regret in percent: the mean over tasks and seeds, and the
standard error over seeds of the mean over tasks.

Engines: `ours`, today's defaults; `stock`, Optuna's TPE (multivariate, constant liar) with stopping ASHA, where stopped
trials are told COMPLETE, as Ray Tune's OptunaSearch and ASHAScheduler do it; and `SAMPLER+SCHEDULER` of this
repository, such as `random+promotion`. Three more samplers can stand there:

* `plain`, our sampler as anybody uses it in Optuna: it has to learn the space from its trials;
* `tpe_group`, Optuna's multivariate TPE with `group=True`, a model for each set of parameters that occur together;
* `hub:NAME`, a sampler of OptunaHub, downloaded or, with `--hub FOLDER`, taken from a copy of its registry.

Without a scheduler, `plain` has the default one and `hub:NAME` has `promotion`. `--given 3` begins with the best
configurations of three other tasks, as a study begins with networks that an expert would write down.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import optuna
from optuna.storages import InMemoryStorage
from optuna.trial import FixedTrial, TrialState

from nas import samplers, schedulers
from nas.samplers.surrogate import SurrogateSampler
from nas.schedulers import Decision
from nas.searching.drafts import draft
from nas.searching.engine import Engine
from nas.searching.ledger import Ledger
from studies import StudySpec

FACTOR = 3
DEFAULTS = StudySpec(name="", question="")
HUB = "hub:"
ENGINES = ("stock", "random+promotion", "tpe+promotion", "ours")


def suggest(trial: Any, space: dict[str, Any]) -> dict[str, Any]:
    """Sample a configuration of a benchmark's space {name: ("cat", choices) | ("int" | "float", low, high, log)}."""
    config = {}
    for name, (kind, *bounds) in space.items():
        if kind == "cat":
            config[name] = trial.suggest_categorical(name, bounds[0])
        elif kind == "int":
            config[name] = trial.suggest_int(name, bounds[0], bounds[1], log=bounds[2])
        else:
            config[name] = trial.suggest_float(name, bounds[0], bounds[1], log=bounds[2])
    return config


def decode(bench: Any, trial: Any) -> dict[str, Any]:
    config: dict[str, Any] = bench.suggest(trial) if hasattr(bench, "suggest") else suggest(trial, bench.space)
    return config


def sampler_of(name: str, seed: int, hub: Path | None = None) -> Any:
    if name == "plain":
        return SurrogateSampler(seed)
    if name == "tpe_group":
        return optuna.samplers.TPESampler(seed=seed, multivariate=True, group=True)
    if name.startswith(HUB):
        return of_hub(f"samplers/{name.removeprefix(HUB)}", seed, hub)
    return samplers.create(name, seed)


def of_hub(package: str, seed: int, folder: Path | None) -> Any:
    """Return the sampler of a package of OptunaHub, which must need no more than a seed."""
    import optunahub

    if folder:
        module = optunahub.load_local_module(package, registry_root=str(folder / "package"))
    else:
        module = optunahub.load_module(package)
    (name,) = module.__all__
    return getattr(module, name)(seed=seed)


class Ours:
    """Adapts the engine to the `next` and `report` that the simulation expects."""

    def __init__(
        self,
        bench: Any,
        sampler: Any,
        scheduler: str,
        actions: dict[Decision, int],
        given: Sequence[Mapping[str, Any]] = (),
    ) -> None:
        if hasattr(sampler, "layout") and hasattr(bench, "layout"):
            sampler.layout = bench.layout
        ledger = Ledger(InMemoryStorage(), "bench", sampler=sampler)
        rungs = schedulers.create(scheduler, tuple(bench.rungs), FACTOR)
        self.engine = Engine(ledger, rungs, sample=partial(decode, bench), trials=10**6, objective="value", first=given)
        self.actions = actions

    def next(self) -> tuple[int, dict[str, Any] | None] | None:
        job = self.engine.next()
        return None if job is None else (job.trial, None if job.start else job.config)

    def report(self, trial: int, epoch: int, value: float) -> int:
        return self.actions[self.engine.report(trial, epoch, {"value": value})]


class StockSampler:
    """Optuna's default sampler as OptunaSearch drives it: every ended trial is told COMPLETE with its last value."""

    def __init__(self, bench: Any, seed: int) -> None:
        sampler = optuna.samplers.TPESampler(seed=seed, multivariate=True, constant_liar=True)
        self.study = optuna.create_study(direction="maximize", sampler=sampler)
        self.bench = bench

    def ask(self) -> tuple[Any, dict[str, Any]]:
        trial = self.study.ask()
        return trial, decode(self.bench, trial)

    def rung(self, trial: Any, config: Any, epoch: int, value: float) -> None:
        trial.report(value, epoch)

    def end(self, trial: Any, config: Any, epoch: int, value: float, full: bool) -> None:
        self.study.tell(trial, value, state=TrialState.COMPLETE)


def make(
    name: str,
    bench: Any,
    seed: int,
    simulation: Any,
    given: Sequence[Mapping[str, Any]] = (),
    hub: Path | None = None,
) -> Any:
    if name == "stock":
        return simulation.StopASHA(bench, StockSampler(bench, seed), rf=FACTOR)
    sampler, _, scheduler = name.partition("+")
    if sampler == "ours":
        sampler, scheduler = DEFAULTS.sampler, DEFAULTS.scheduler
    scheduler = scheduler or ("promotion" if sampler.startswith(HUB) else DEFAULTS.scheduler)
    stop = {Decision.STOP: simulation.STOP, Decision.COMPLETE: simulation.STOP, Decision.PAUSE: simulation.PAUSE}
    return Ours(bench, sampler_of(sampler, seed, hub), scheduler, {Decision.CONTINUE: simulation.CONT, **stop}, given)


def best_of_others(benches: Mapping[str, Any], task: str, count: int, seed: int) -> list[dict[str, Any]]:
    """Return the best of 200 random configurations for each of `count` tasks other than `task`."""
    rng, found = np.random.default_rng([seed, 99]), []
    others = sorted(set(benches) - {task})
    for i in rng.permutation(max(count, len(others)))[:count]:
        bench = benches[others[i % len(others)]]
        drawn = [draft(partial(decode, bench), rng).params for _ in range(200)]
        found.append(max(drawn, key=lambda params: bench.true(decode(bench, FixedTrial(params)))))
    return found


def parser(description: str | None) -> argparse.ArgumentParser:
    p = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--folder", type=Path, default=Path("../shared/searchbench"))
    p.add_argument("--engines", nargs="+", default=list(ENGINES))
    p.add_argument("--tasks", nargs="+", help="(default: all)")
    p.add_argument("--seeds", type=int, default=8)
    p.add_argument("--first-seed", type=int, default=0)
    p.add_argument("--budget", type=int, default=100, help="full-training equivalents")
    p.add_argument("--workers", type=int, default=8)
    p.add_argument("--given", type=int, default=0, help="first trials, the best of other tasks (not for stock)")
    p.add_argument("--hub", type=Path, help="a copy of OptunaHub's registry (default: download)")
    p.add_argument("--out", type=Path, help="JSON lines, one per run")
    return p


def main() -> None:
    args = parser(__doc__).parse_args()
    sys.path.insert(0, str(args.folder.resolve()))
    import lcbench

    compare({task: lcbench.load(task) for task in args.tasks or lcbench.TASKS}, args)


def compare(benches: dict[str, Any], args: argparse.Namespace) -> None:
    """Run every engine on every bench (with E, rungs, best, median, curve, cost, true, and space or suggest)."""
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    sys.path.insert(0, str(args.folder.resolve()))
    import simulate as simulation

    for name in args.engines:
        begin, runs = time.time(), []
        for seed in range(args.first_seed, args.first_seed + args.seeds):
            for task, bench in benches.items():
                given = best_of_others(benches, task, args.given, seed) if args.given else ()
                engine = make(name, bench, seed, simulation, given, args.hub)
                run = simulation.simulate(bench, engine, seed, fte=args.budget, workers=args.workers)
                scale = 100 / (bench.best - bench.median)
                run["regret"] = {budget: scale * regret for budget, regret in run["regret"].items()}
                runs.append({"engine": name, "task": task, "seed": seed, **run})
                if args.out:
                    with args.out.open("a") as out:
                        out.write(json.dumps(runs[-1]) + "\n")
        show(name, runs, list(benches), time.time() - begin)


def show(name: str, runs: list[dict[str, Any]], tasks: list[str], seconds: float) -> None:
    budgets = list(runs[0]["regret"])
    table = np.array([[run["regret"][budget] for budget in budgets] for run in runs])
    table = table.reshape(-1, len(tasks), len(budgets))
    by_seed = table.mean(1)
    error = by_seed.std(0, ddof=1) / len(by_seed) ** 0.5 if len(by_seed) > 1 else np.zeros(len(budgets))
    count = {what: np.mean([run[what] for run in runs]) for what in ("trials", "full", "ms_per_suggestion")}
    print(
        f"{name}: {count['trials']:.0f} trials, {count['full']:.0f} in full, {count['ms_per_suggestion']:.0f} ms of "
        f"the engine per job, {seconds:.0f} s"
    )
    print("  FTE        " + "".join(f"{budget:>14}" for budget in budgets))
    for index, task in enumerate(tasks):
        print(f"  {task:10} " + "".join(f"{value:14.1f}" for value in table[:, index].mean(0)))
    means = (f"{m:.1f} ± {e:.1f}" for m, e in zip(by_seed.mean(0), error, strict=True))
    print("  mean       " + "".join(f"{text:>14}" for text in means), flush=True)


if __name__ == "__main__":
    main()
