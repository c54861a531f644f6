"""Fine-tuning: a retraining on other images whose networks start from the weights of an exported model."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from nas.errors import UserError
from nas.files import read_json
from nas.models.export import LensModel, load_model
from nas.models.record import architectures
from nas.models.training_images import among
from nas.results import Results
from nas.retraining.job import Retraining
from nas.retraining.start import Start, head_of
from nas.run_folder import RunFolder, run_folder
from nas.searching.study import metrics_on
from nas.trials import Trial
from search_space import build_model, to_dict
from trainers import metrics, tasks
from trainers.data import Dataset
from trainers.regression import Regression
from trainers.tasks import Task


@dataclass(frozen=True)
class Origin:
    """The model from which a fine-tuning starts."""

    folder: Path
    model: LensModel
    members: Mapping[int, tuple[int, ...]]  # trial -> the places of its networks in the model

    def starting(self, jobs: list[Retraining], data: Dataset, task: Task) -> list[Retraining]:
        """The jobs, each from the weights of a network of its trial, in turn. The head is new for another task.

        UserError if the networks do not fit the images, or some were trained on images that are to test them.
        """
        overlap = sum(int(among(split.images, self.model.trained_on).sum()) for split in (data.val, data.test))
        if overlap:
            raise UserError(
                f"the model was trained on {overlap} of the validation and test images of {data.name}, so they would "
                "prove nothing; give other images"
            )
        content = hashlib.sha256((self.folder / "model.safetensors").read_bytes()).hexdigest()
        keep = same_answers(self.model.task, task)
        found = []
        for job in jobs:
            places = self.members[job.trial]
            of_trial = [other.seed for other in jobs if other.trial == job.trial and other.images is None]
            place = places[of_trial.index(job.seed) % len(places)]
            self.check_shapes(place, data, task, keep)
            found.append(replace(job, start=Start(str(self.folder), place, keep, content)))
        return found

    def check_shapes(self, place: int, data: Dataset, task: Task, keep: bool) -> None:
        """UserError unless all weights of the network but a new head fit these images."""
        network, heads = architectures(self.model.config)[place], () if keep else head_of(self.model, place)
        with torch.device("meta"):
            wanted = build_model(
                network, in_chans=data.in_chans, image_size=data.image_size, num_outputs=task.num_outputs
            ).state_dict()
        for name, weight in self.model.networks[place].state_dict().items():
            if name not in heads and weight.shape != wanted[name].shape:
                size = f"{data.in_chans} x {data.image_size} x {data.image_size}"
                own = f"{self.model.in_chans} x {self.model.image_size} x {self.model.image_size}"
                raise UserError(
                    f"the model's weights do not fit images of {size}: it has {own} ({name} would be "
                    f"{'x'.join(map(str, wanted[name].shape))} instead of {'x'.join(map(str, weight.shape))}); give "
                    "images with its channels, at its size"
                )


def check_run(run: RunFolder, folder: str) -> None:
    """UserError if the run holds the retraining of something else than the model in `folder` (empty: a study)."""
    if not run.retraining_record.is_file():
        return
    of = read_json(run.retraining_record).get("started", "")
    if of != folder:
        held, ours = (f"the fine-tuning of {name}" if name else "the retraining of a study" for name in (of, folder))
        mend = "give that one another --name" if folder else f"move {run.path} elsewhere"
        raise UserError(f"{run.path} holds {held}, which {ours} would replace; {mend}")


def read_model(folder: Path, runs: str | Path, name: str | None) -> tuple[Results, Origin]:
    """The model as if a study had found its configurations, in a run of its own; and the model.

    name: of that run; None: `<study>-from-<folder>`.
    """
    model, folder = load_model(folder), folder.resolve()
    config = model.config
    origin: dict[str, Any] = config.get("search", {})
    study = str(origin.get("study", "model"))
    run = run_folder(runs, name or f"{study}-from-{folder.name}")
    task: tasks.Named = str(config["task"]["name"])
    if isinstance(model.task, Regression):
        task = Regression(model.task.target, model.task.unit, model.task.log, model.task.with_sigma)
    objective = origin.get("objective", model.task.objective)
    trials: dict[int, Trial] = {}
    members: dict[int, tuple[int, ...]] = {}
    for place, (member, network) in enumerate(zip(config["members"], architectures(config), strict=True)):
        number = int(member.get("trial", 0))
        members[number] = (*members.get(number, ()), place)
        trained = {"architecture": to_dict(network), "training": member["training"], "seed": int(member["seed"])}
        given, sizes = bool(member.get("given", False)), (member.get("parameters"), member.get("macs"))
        if number not in trials or trained["seed"] > trials[number].config["seed"]:  # fresh seeds follow the largest
            trials[number] = Trial(number, "complete", {}, 0, {}, {}, trained, given, None, *sizes)
    results = Results(
        name=study,
        question="",
        spec={"data": config.get("data", {}).get("source", {}), "objective": objective, "task": tasks.to_json(task)},
        maximize=metrics.direction(objective, model.task) == "maximize",
        rungs=(max(int(trial.config["training"]["epochs"]) for trial in trials.values()),),
        trials=tuple(trials.values()),
        database=run.database,
    )
    return results, Origin(folder, model, members)


def with_objective(results: Results, data: Dataset) -> Results:
    """The results with an objective that these images have: the model's, or the task's own if its class is missing."""
    task = tasks.create(results.task, data)
    if metrics.base(results.objective) in metrics_on(task.select(data.val), task):
        return results
    spec = {**results.spec, "objective": task.objective}
    return replace(results, spec=spec, maximize=metrics.direction(task.objective, task) == "maximize")


def same_answers(one: Task, other: Task) -> bool:
    """Whether the outputs of both tasks mean the same, so that a head can serve both."""
    alike = type(one) is type(other) and one.num_outputs == other.num_outputs
    return alike and one.classes == other.classes and tasks.quantity(one) == tasks.quantity(other)
