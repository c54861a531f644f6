"""What optuna-dashboard shows of a trial beside its numbers: a note in Markdown, and pictures of a full training."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from optuna.artifacts import FileSystemArtifactStore

from nas.report.drawing import drawing, parts
from nas.run_folder import RunFolder
from nas.searching.jobs import Event
from nas.searching.ledger import Ledger
from nas.searching.pictures import pictures
from nas.trials import Trial, trial_of
from nas.words import beside, count, describe_preparation, describe_steps, duration, memory, objective_name, si, value

ENDED = ("complete", "pruned", "failed", "final")


class Notes:
    """Listens to the events of a search, and writes the note and artifacts of each trial that ends.

    It begins with those that an earlier process was killed before writing. A fault in drawing one is said, and does not
    end a search of days; that the study cannot be written does.
    """

    def __init__(
        self, ledger: Ledger, run: RunFolder, objective: str, rungs: Sequence[int], shape: Mapping[str, int],
        say: Callable[[str], None],
    ) -> None:  # fmt: skip
        self.ledger, self.run, self.objective, self.rungs, self.shape = ledger, run, objective, rungs, shape
        self._say = say
        self._answers: dict[int, Mapping[str, Any]] = {}  # of trials that are about to end
        noted = ledger.noted()
        for trial in ledger.history:
            if trial.state.is_finished() and trial.number not in noted and "skipped" not in trial.user_attrs:
                self._write(trial.number)

    def __call__(self, event: Event) -> None:
        if event.kind == "answered":
            self._answers[event.trial] = event.answers
        if event.kind in ENDED:
            self._write(event.trial, self._answers.pop(event.trial, None))

    def _write(self, number: int, answers: Mapping[str, Any] | None = None) -> None:
        trial = trial_of(self.ledger.trial(number), self.rungs, self.objective)
        files = {}
        try:
            text = note(trial, self.objective, self.rungs, self.shape)
            if trial.state == "complete":
                files = pictures(trial.history, self.objective, answers)
                files["architecture.svg"] = drawing(trial.config["architecture"], self.shape)
        except Exception as error:
            self._say(f"trial {number} has no note in the dashboard ({type(error).__name__}: {error})")
            return
        if files:
            try:
                self.run.artifacts.mkdir(exist_ok=True)
                self.ledger.attach(number, files, FileSystemArtifactStore(self.run.artifacts))
            except OSError as error:
                self._say(f"trial {number} has no pictures in the dashboard ({error})")
        self.ledger.note(number, text)


def note(trial: Trial, objective: str, rungs: Sequence[int], shape: Mapping[str, int] | None) -> str:
    """The note on a trial that has ended: its network, its cost, its training, and how it ended."""
    training = trial.config.get("training", {})
    lines = [_end(trial, objective, rungs), "", f"**Network**: {_code(trial.architecture)}", ""]
    if trial.state == "complete" and (architecture := trial.config.get("architecture")):
        drawn = [f"{part.title:<38} {part.detail}".rstrip() for part in parts(architecture, shape or {})]
        lines += ["```", *drawn, "```", ""]
    cost = [f"{si(trial.parameters)} parameters", f"{si(trial.macs)} MACs", f"{duration(trial.seconds)} of training"]
    lines.append(f"**Cost**: {', '.join([*cost, memory(trial.peak_memory_mb)])}")
    if "learning_rate" in training:
        lines += ["", f"**Training**: {describe_steps(training)}, {describe_preparation(training)}"]
    if trial.repeats is not None:
        lines += ["", f"**Origin**: trial {trial.repeats} again with a fresh seed, in the finals"]
    else:
        lines += ["", f"**Origin**: {'given to the search' if trial.given else 'chosen by the sampler'}"]
    return "\n".join(lines)


def _end(trial: Trial, objective: str, rungs: Sequence[int]) -> str:
    after = f"after {count(trial.epochs, 'epoch')}"
    last = f"{objective_name(objective)} {value(trial.curve.get(trial.epochs, math.nan))}"
    if trial.state == "complete":
        other = beside(objective, trial.metrics)
        return f"**Complete**: {last} {after}, the full budget{f'; {other}' if other else ''}."
    if trial.state == "pruned" and trial.error:
        return f"**Pruned** {after} with {last}: {_code(trial.error)}"
    if trial.state == "pruned":
        at = ", ".join(map(str, rungs))
        return f"**Pruned**: stopped at a rung ({at} epochs) with {last} {after}; others did better there."
    return f"**Failed** {after}: {_code(trial.error)}"


def _code(text: str) -> str:
    """Text of others, which Markdown must not take for orders."""
    quiet = text.replace("`", "'").replace("\n", " ")
    return f"`{quiet}`" if quiet else "unknown"
