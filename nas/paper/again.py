"""Train one trial of a study again, and compare its learning curve with the one on record."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from dataclasses import dataclass

from nas.errors import UserError
from nas.paper.record import latest
from nas.results import Results
from nas.run_folder import RunFolder
from nas.searching.jobs import Job
from nas.trials import Trial
from nas.versions import versions
from nas.workers.resources import divide
from nas.workers.training import Problem, import_path
from nas.workers.trial import run_trial


@dataclass(frozen=True)
class Epoch:
    number: int
    recorded: float | None
    again: float

    @property
    def difference(self) -> float:
        return self.again - self.recorded if self.recorded is not None else 0.0


def again(results: Results, number: int) -> Iterator[Epoch]:
    """Train trial `number` in this process as far as its record goes, and yield each epoch beside it.

    UserError, at the call, if it has no epoch on record.
    """
    trial = next((t for t in (*results.trials, *results.repeats) if t.number == number), None)
    if trial is None:
        raise UserError(f"the study {results.name!r} has no trial {number}")
    if not trial.curve:
        raise UserError(f"trial {number} ({trial.state}) has no epoch on record to compare with; name another")
    return _train(results, trial)


def _train(results: Results, trial: Trial) -> Iterator[Epoch]:
    resources = divide(1, here=True)
    with tempfile.TemporaryDirectory() as scratch:
        problem = Problem(
            data=results.spec["data"], task=results.task, objective=results.objective, device=resources.device,
            threads=resources.threads, gpus=resources.gpus, import_path=import_path(), checkpoints=scratch,
        )  # fmt: skip
        for epoch in run_trial(Job(trial.number, dict(trial.config), 0, trial.epochs), problem):
            yield Epoch(epoch.number, trial.curve.get(epoch.number), float(epoch.metrics[results.objective]))


def changed_versions(run: RunFolder) -> list[str]:
    """`torch 2.6.0 then, 2.7.0 now` for every package that has another version than in the last start of the search."""
    if (start := latest(run.reproduce)) is None:
        return []
    then, now = start["versions"], versions()
    return [f"{name} {then[name]} then, {now.get(name)} now" for name in then if then[name] != now.get(name)]
