"""`python -m nas.retrain --study hybrid --top-k 3 --seeds 3`: train the best found again, test them, export them."""

from __future__ import annotations

import dataclasses
import json
import logging
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import optuna
from filelock import FileLock, Timeout
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

import studies
from nas.commands.cli import Parser, run_command
from nas.files import link, write_text
from nas.models.export import describe_model, export
from nas.report.retraining_page import describe, page, table
from nas.results import Search, Trial, read
from nas.retraining.results import Results
from nas.retraining.scores import Certainty, Scores, Size, Spread, certainty, combined, score
from nas.retraining.training import Retraining, fingerprint, finished, result, retrain
from nas.searching import options
from nas.searching.ledger import open_study
from nas.words import count, metric_name, override
from trainers import tasks
from trainers.config import TrainConfig
from trainers.data import Dataset, load, source_from_dict


def best(search: Search, k: int) -> list[Trial]:
    """One trial of each of the `k` best configurations at full budget: of a grid the first seed, else the best."""
    return [cell.trials[0] for cell in search.cells()[:k]]


def pruning(sparsity: float | None, rewind: int | None, epochs: int) -> dict[str, Any]:
    """What the options of these names override in a training of so many epochs."""
    if rewind is not None and not sparsity:
        raise ValueError(f"--rewind is {rewind}, but only what is pruned is rewound: give --sparsity above 0 as well")
    if sparsity is None:
        return {}
    given = {"sparsity": sparsity} if rewind is None else {"sparsity": sparsity, "rewind": rewind}
    config = TrainConfig.from_dict({"epochs": epochs, "warmup_epochs": 0, **given})
    return {"sparsity": config.sparsity, "rewind": config.rewind}


def overriding(search: Search, training: Mapping[str, Any]) -> Search:
    """The search with these values in the training of every trial: those that differ in no other become the same."""
    trials = [
        dataclasses.replace(t, config={**t.config, "training": {**t.config.get("training", {}), **training}})
        for t in search.trials
    ]
    return dataclasses.replace(search, trials=tuple(trials))


def plan(
    search: Search, chosen: Sequence[Trial], seeds: int, data: Dataset, folder: Path, use: options.Share,
    sizes: Sequence[int],
) -> list[Retraining]:  # fmt: skip
    """Every training of `chosen` with seeds 0 to seeds - 1, in the order in which they shall start.

    On all images first, then on so many of them as each of `sizes` says.
    """
    seen = fingerprint(data)
    return [
        Retraining(
            trial=trial.number, config={**trial.config, "seed": seed}, task=search.spec["task"],
            data=search.spec["data"], fingerprint=seen, folder=str(folder.absolute()), device=use.device,
            threads=use.threads, images=images,
        )
        for images in (None, *sizes)
        for trial in chosen
        for seed in range(seeds)
    ]  # fmt: skip


def train(jobs: Sequence[Retraining], use: options.Share, console: Console) -> dict[str, str]:
    """Train all that is not finished yet, on Ray. The reason of each failure, by the training's name."""
    from nas.workers.parallel import Failed, in_parallel

    todo = [job for job in jobs if finished(job) is None]
    if len(todo) < len(jobs):
        console.print(f"{len(jobs) - len(todo)} of {len(jobs)} trainings were finished before")
    failures: dict[str, str] = {}
    bar = Progress(
        TextColumn("{task.description}"), BarColumn(), TextColumn("{task.completed:.0f}/{task.total:.0f} epochs"),
        TimeRemainingColumn(), console=console, transient=True, disable=not console.is_terminal,
    )  # fmt: skip
    with bar:
        everything = bar.add_task("all trainings", total=sum(job.config["training"]["epochs"] for job in todo))
        lines: dict[str, TaskID] = {}
        for job, item in in_parallel(retrain, todo, workers=use.workers, gpus=use.gpus):
            name, epochs = job.name, job.config["training"]["epochs"]
            if name not in lines:
                lines[name] = bar.add_task(name, total=epochs)
            if isinstance(item, Failed):
                failures[name] = item.reason
                said = f"failed: {item.reason}"
            elif "test" in item:
                said = ", ".join(f"test {metric_name(metric)} {value:.4f}" for metric, value in item["test"].items())
            else:
                bar.update(lines[name], completed=item["epoch"], description=f"{name}, loss {item['train_loss']:.3f}")
                bar.advance(everything)
                continue
            bar.remove_task(lines.pop(name))
            console.print(f"{name:20} {said}", soft_wrap=True, highlight=False, markup=False)
    return failures


@dataclasses.dataclass(frozen=True)
class Gathered:
    """The scores of every configuration of which a training on all images is finished."""

    scores: tuple[Scores, ...]
    certainty: tuple[Certainty, ...]
    sizes: tuple[Size, ...]


def gather(search: Search, chosen: Sequence[Trial], jobs: Sequence[Retraining], data: Dataset) -> Gathered:
    task = tasks.load(search.spec["task"], data)
    targets = task.targets(task.select(data.test))
    chosen_by = {cell.trials[0].number: cell.value for cell in search.cells()}
    scores, together, sizes = [], [], []
    for trial in chosen:
        done = [job for job in jobs if job.trial == trial.number and finished(job) is not None]
        trained = [result(job) for job in done if job.images is None]
        if not trained:
            continue
        cost = {"parameters": trial.parameters, "macs": trial.macs}
        scores.append(score(trial.number, trial.config, chosen_by[trial.number], cost, trained, task, targets))
        together.append(combined(trained, task)[0])
        for images in sorted({job.images for job in done if job.images is not None}):
            few = [result(job) for job in done if job.images == images]
            spread = {name: Spread.of([f.metrics[name] for f in few]) for name in few[0].metrics}
            sizes.append(Size(trial.number, images, tuple(f.seed for f in few), spread))
    return Gathered(tuple(scores), tuple(certainty(together, task, targets)) if scores else (), tuple(sizes))


def export_all(search: Search, results: Results, jobs: Sequence[Retraining], data: Dataset, folder: Path) -> None:
    """A folder for each configuration, with the weights of its first seed: none is picked by what it did on the test.

    `best` is a link to the first by validation.
    """
    for scores in results.configurations:
        seed = scores.seeds[0]
        job = next(job for job in jobs if (job.trial, job.seed, job.images) == (scores.trial, seed, None))
        trained = result(job)
        config = describe_model(
            job.config, task_name=results.task, task=trained.task, in_chans=data.in_chans, image_size=data.image_size,
            normalisation=trained.normalisation,
            data={**results.data, "fingerprint": job.fingerprint},
            search={
                "study": results.study, "trial": scores.trial, "finished": results.finished,
                "objective": results.objective, "validation": scores.validation,
                "parameters": scores.parameters, "macs": scores.macs, "overridden": dict(results.overridden),
            },
            pruning={"sparsity": trained.sparsity, "nonzero_parameters": trained.nonzero},
            test={
                "seeds": scores.seeds,
                "of_seed": {str(s): dict(metrics) for s, metrics in zip(scores.seeds, scores.test, strict=True)},
                "mean": {name: spread.mean for name, spread in scores.spread.items()},
                "sd": {name: spread.sd for name, spread in scores.spread.items()},
                "ensemble": dict(scores.ensemble),
            },
        )  # fmt: skip
        export(folder / f"trial-{scores.trial}", trained.weights, config)
    link(folder / "best", f"trial-{results.configurations[0].trial}")


def trained_on(task: tasks.Task) -> str:
    return "training images" if task.with_sigma else "training and validation images"


def numbers(text: str) -> tuple[int, ...]:
    """`300,1000` -> (300, 1000)."""
    return tuple(sorted({int(part) for part in text.split(",")}))


def command(argv: list[str]) -> int:
    p = Parser(
        prog="python -m nas.retrain",
        description="Retrain the best of a search on training and validation images, test once, export. Resumes.",
    )
    p.add_argument("--study", default="hybrid", help="a study's name, or the path of a .py file with a STUDY")
    p.add_argument("--top-k", type=int, default=3, help="how many of the best configurations (default 3)")
    p.add_argument("--seeds", type=int, default=3, help="trainings of each, with seeds 0, 1, ... (default 3)")
    p.add_argument("--train-sizes", type=numbers, default=(), metavar="N,N,...", help="train on so few images too")
    p.add_argument(
        "--sparsity", type=float, help="share of the weights in mixers and MLPs to prune (default: as searched)"
    )
    p.add_argument("--rewind", type=int, help="with --sparsity: epoch to whose weights the others go back (default 1)")
    p.add_argument("--workers", type=int, help="trainings at once (default: one per CPU, or what the GPUs hold)")
    p.add_argument("--gpus-per-trial", type=float, help="share of a GPU for each (default 1 where there are GPUs)")
    p.add_argument("--runs", type=Path, default=Path("runs"), help="where results are (default runs/)")
    p.add_argument("--name", help="folder below --runs (default: the study's name)")
    args = p.parse_args(argv)
    for name in ("top_k", "seeds", "workers"):
        if getattr(args, name) is not None and getattr(args, name) < 1:
            raise ValueError(f"--{name.replace('_', '-')} is {getattr(args, name)}; expected at least 1")
    use = options.share(args)
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    logging.getLogger("alembic").setLevel(logging.ERROR)
    study = studies.load(args.study).name if args.study.endswith(".py") else args.study
    folder = args.runs / (args.name or study)
    search = read(open_study(folder / "study.db", study))
    overridden = pruning(args.sparsity, args.rewind, search.rungs[-1])
    chosen = best(overriding(search, overridden) if overridden else search, args.top_k)
    if not chosen:
        raise ValueError(f"no trial of {folder} has reached the full budget yet: search on with python -m nas.run")
    console = Console()
    if len(chosen) < args.top_k:
        console.print(f"only {count(len(chosen), 'different configuration')} reached the full budget, not {args.top_k}")
    try:
        with FileLock(folder / "retrain.lock", timeout=0):
            return conduct(search, chosen, overridden, args.seeds, args.train_sizes, use, folder, console)
    except Timeout:
        raise ValueError(f"another retraining is running in {folder}; wait for it") from None


def conduct(
    search: Search,
    chosen: Sequence[Trial],
    overridden: Mapping[str, Any],
    seeds: int,
    sizes: Sequence[int],
    use: options.Share,
    folder: Path,
    console: Console,
) -> int:
    """Train, test, report, export. The exit code: 0 all done, 1 some training failed, 130 interrupted."""
    data = load(source_from_dict(search.spec["data"]))
    task = tasks.load(search.spec["task"], data)
    held = len(task.select(data.train)) + (0 if task.with_sigma else len(task.select(data.val)))
    if few := [size for size in sizes if not 0 < size <= held]:
        raise ValueError(f"--train-sizes has {few[0]}; expected 1 to {held}, the images that there are to train on")
    jobs = plan(search, chosen, seeds, data, folder / "retrained", use, sizes)
    console.print(f"data: {data.describe()}", soft_wrap=True, highlight=False)
    console.print(
        f"retraining trial{'s'[: len(chosen) > 1]} {', '.join(str(t.number) for t in chosen)} of {search.name} with "
        f"{count(seeds, 'seed')} each on {trained_on(task)}{override(overridden)}; "
        f"{use.workers} workers on {use.device}",
        soft_wrap=True, highlight=False,
    )  # fmt: skip
    try:
        failures = train(jobs, use, console)
    except KeyboardInterrupt:
        console.print("\nstopped; what is finished is kept, and the same command goes on from here")
        return 130
    found = gather(search, chosen, jobs, data)
    told = tuple(f"{name}: {reason}" for name, reason in sorted(failures.items()))
    if found.scores:
        images = {"train": held, "test": len(task.select(data.test))}
        results = Results(
            study=search.name, question=search.question, objective=search.objective,
            data={"source": search.spec["data"], "splits": trained_on(task), **images},
            task=search.spec["task"], classes=task.classes,
            quantity=tasks.quantity(task), certainty=found.certainty, sizes=found.sizes, epochs=search.rungs[-1],
            finished=sum(n for state, n in search.counts().items() if state != "open"),
            configurations=found.scores, failures=told, overridden=overridden,
        )  # fmt: skip
        write_text(folder / "retrain.json", json.dumps(dataclasses.asdict(results)) + "\n")
        write_text(folder / "retrain.html", page(results))
        export_all(search, results, jobs, data, folder / "models")
        console.print(table(results))
        for c in results.configurations:
            console.print(f"trial {c.trial}: {describe(c)}", soft_wrap=True, highlight=False)
        console.print(f"report: {folder / 'retrain.html'}", soft_wrap=True, highlight=False)
        console.print(f"models: {folder / 'models'}, the first by validation as best/", soft_wrap=True, highlight=False)
    for reason in told:
        print(f"error: {reason}", file=sys.stderr)
    return 1 if told else 0


def main(argv: list[str] | None = None) -> int:
    return run_command(command, argv)


if __name__ == "__main__":
    sys.exit(main())
