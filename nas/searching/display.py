"""Show the search: live on a terminal, elsewhere one line per finished trial."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from types import TracebackType

from optuna.trial import FrozenTrial
from rich.console import Console, Group
from rich.live import Live
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn
from rich.table import Table
from rich.text import Text

from nas import words
from nas.samplers import GIVEN
from nas.searching.jobs import REPEATS, Event
from nas.terminal import Terminal
from nas.words import beside, count, numbered


class Display:
    """Listens to the engine's events. `with Display(...)` shows the search while it runs."""

    def __init__(
        self,
        *,
        trials: int,
        objective: str,
        maximize: bool,
        epochs: float,
        quiet: bool = False,
        console: Console | None = None,
    ) -> None:
        self.console = console or Terminal(soft_wrap=True, quiet=quiet)
        self.trials, self.objective, self.epochs, self.quiet = trials, objective, epochs, quiet
        self._better = max if maximize else min
        self.counts = dict.fromkeys(("complete", "pruned", "failed", "skipped"), 0)
        self.running: dict[int, tuple[int, float]] = {}  # trial -> epoch, value
        self.best: tuple[float, int] | None = None  # value and trial, at full budget
        self.given: set[int] = set()  # trials whose configuration was given
        self.trained = 0  # epochs
        self.begin = time.monotonic()
        self._live = Live(get_renderable=self.render, console=self.console, refresh_per_second=2, transient=True)

    def say(self, line: str) -> None:
        self.console.print(line, soft_wrap=True, highlight=False, markup=False)

    def watch(self, history: Sequence[FrozenTrial]) -> None:
        """Count the trials that the study already holds."""
        for trial in history:
            if REPEATS in trial.user_attrs:
                continue
            if trial.user_attrs.get(GIVEN):
                self.given.add(trial.number)
            kind = {"COMPLETE": "complete", "PRUNED": "pruned", "FAIL": "failed"}.get(trial.state.name)
            if kind is not None:
                self.counts["skipped" if "skipped" in trial.user_attrs else kind] += 1
            if kind == "complete":
                self._consider(trial.values[0], trial.number)
            self.epochs -= len(trial.intermediate_values)

    def __call__(self, event: Event) -> None:
        if event.kind == "answered":
            return
        if event.given:
            self.given.add(event.trial)
        if event.kind in ("started", "resumed", "epoch"):
            self.running[event.trial] = (event.epoch, event.value)
            self.trained += event.kind == "epoch"
            return
        if event.kind == "finals":
            times = count(event.epoch, "training")
            self.say(f"finals at most {times} of the best configurations with fresh seeds, to find the best of them")
            return
        self.running.pop(event.trial, None)
        if event.kind == "paused":
            return
        if event.kind == "lost":
            self.say(f"trial {self._numbered(event.trial)} resumes at epoch {event.epoch}: {event.reason}")
            return
        if event.kind != "final":
            self.counts[event.kind] += 1
        if event.kind == "complete":
            self._consider(event.value, event.trial)
        if event.kind == "skipped" and event.given:
            self.say(
                f"trial {self._numbered(event.trial)} is not trained: {event.reason} (--max-macs, --max-parameters)"
            )
        if not self.console.is_terminal and event.kind != "skipped":
            self.say(self.line(event))

    def line(self, event: Event) -> str:
        """Describe one finished trial in one line."""
        value = (
            f"{self.objective} {words.value(event.value)} at epoch {event.epoch}" if math.isfinite(event.value) else ""
        )
        if other := beside(self.objective, event.metrics):
            value += f", {other}"
        best = f"best {self._best()}" if self.best else "no trial at full budget yet"
        what = f"{event.reason} {value}" if event.kind == "final" else event.reason or value
        return (
            f"trial {self._numbered(event.trial):<4} {event.kind:<9} {what}   [{self.finished}/{self.trials}, {best}]"
        )

    @property
    def finished(self) -> int:
        return self.counts["complete"] + self.counts["pruned"] + self.counts["failed"]

    def seconds_left(self) -> float:
        """Estimate from the epochs still expected and the pace so far; nan before the first epoch."""
        elapsed = time.monotonic() - self.begin
        return max(self.epochs - self.trained, 0) * elapsed / self.trained if self.trained else math.nan

    def render(self) -> Group:
        bar = Progress(TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), console=self.console)
        bar.add_task("trials finished", total=self.trials, completed=self.finished)
        left = self.seconds_left()
        facts = [
            f"best {self.objective} {self._best()}" if self.best else "no full training yet",
            *(f"{count} {kind}" for kind, count in self.counts.items()),
            "" if math.isnan(left) else f"about {left / 60:.0f} min left" if left >= 90 else f"about {left:.0f} s left",
        ]
        table = Table("running trial", "epoch", self.objective, box=None, padding=(0, 2))
        for trial, (epoch, value) in sorted(self.running.items()):
            table.add_row(self._numbered(trial), str(epoch), "" if math.isnan(value) else words.value(value))
        return Group(bar, Text("  ".join(fact for fact in facts if fact)), table)

    def __enter__(self) -> Display:
        if self.console.is_terminal and not self.quiet:
            self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._live.stop()

    def _numbered(self, trial: int) -> str:
        return numbered(trial, trial in self.given)

    def _best(self) -> str:
        assert self.best is not None
        value, trial = self.best
        return f"{words.value(value)}, trial {self._numbered(trial)}"

    def _consider(self, value: float, trial: int) -> None:
        if self.best is None or (value != self.best[0] and self._better(value, self.best[0]) == value):
            self.best = (value, trial)
