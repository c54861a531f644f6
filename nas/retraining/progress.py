"""The queue of trainings, and its display."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Sequence
from types import TracebackType
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

from nas.retraining.job import Retraining
from nas.searching.losses import Losses
from nas.words import metric_name, value


class Trainings:
    """A queue of retrainings for the pool of workers. `with Trainings(...)` shows a bar for each running one."""

    def __init__(self, jobs: Sequence[Retraining], console: Console) -> None:
        self.failures: dict[str, str] = {}  # training's name -> reason
        self._waiting, self._running = deque(jobs), 0
        self._losses = Losses()
        self._console = console
        self._bars = Progress(
            TextColumn("{task.description}"), BarColumn(), TextColumn("{task.completed:.0f}/{task.total:.0f} epochs"),
            TimeRemainingColumn(), console=console, transient=True, disable=console.quiet or not console.is_terminal,
        )  # fmt: skip
        self._all = self._bars.add_task("all trainings", total=sum(job.epochs for job in jobs))
        self._bar: dict[str, TaskID] = {}
        self._done: Counter[str] = Counter()  # epochs of each training

    @property
    def done(self) -> bool:
        return not self._waiting and not self._running

    def next(self) -> Retraining | None:
        if not self._waiting:
            return None
        self._running += 1
        job = self._waiting.popleft()
        self._bar[job.name] = self._bars.add_task(job.name, total=job.epochs)
        return job

    def report(self, job: Retraining, item: dict[str, Any]) -> bool:
        if "epoch" not in item:
            ((split, metrics),) = item.items()
            self._say(
                job, ", ".join(f"{split} {metric_name(name)} {value(number)}" for name, number in metrics.items())
            )
        else:
            description = f"{job.name}, loss {item['train_loss']:.3f}"
            self._bars.update(self._bar[job.name], completed=item["epoch"], description=description)
            self._done[job.name] = item["epoch"]
            self._bars.update(self._all, completed=self._done.total())
        return True

    def end(self, job: Retraining) -> None:
        self._running -= 1
        self._bars.remove_task(self._bar.pop(job.name))

    def fail(self, job: Retraining, reason: str) -> None:
        self.failures[job.name] = reason
        self._say(job, f"failed: {reason}")
        self.end(job)

    def lost(self, job: Retraining, reason: str, memory: bool | None) -> None:
        if self._losses.too_many(job.name, memory):
            self.fail(job, self._losses.reason(job.name, reason))
            return
        self._say(job, f"{reason}; once more")
        self.end(job)
        self._waiting.append(job)

    def __enter__(self) -> Trainings:
        self._bars.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bars.stop()

    def _say(self, job: Retraining, message: str) -> None:
        self._console.print(f"{job.name:20} {message}", markup=False)
