"""The work of a whole search: the engine's jobs, then those of the finals."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from nas.errors import SearchFailed
from nas.schedulers import Decision
from nas.searching.engine import Engine
from nas.searching.finals import Finals
from nas.searching.jobs import Epoch, Event, Job


@dataclass
class Search:
    """The engine's jobs, then those of the finals, as `Work` for the pool of workers.

    `share` is the cost of the finals as a share of the search's epochs.
    """

    engine: Engine
    share: float = 0.0
    folds: int = 0
    checkpoint: Callable[[int, int], int] = lambda number, at_most: 0  # as the engine's
    closed: bool = False  # whether the search itself is over
    finals: Finals | None = None

    @property
    def done(self) -> bool:
        return self.closed and (self.finals is None or self.finals.done)

    def next(self) -> Job | None:
        job = None if self.engine.done else self.engine.next()
        if self.engine.done and not self.closed:
            self.engine.close()
            self.closed = True
            if self.share:
                self.finals = Finals(
                    self.engine.ledger,
                    share=self.share,
                    folds=self.folds,
                    checkpoint=self.checkpoint,
                    listen=self.engine.listen,
                )
        return job if self.finals is None else self.finals.next()

    def report(self, job: Job, item: Epoch) -> bool:
        if item.answers is not None:
            self.engine.listen(Event("answered", job.trial, item.number, answers=item.answers))
        if self.finals is not None:
            return self.finals.report(job.trial, item.number, item.metrics, saved=item.saved)
        return self.engine.report(job.trial, item.number, item.metrics, saved=item.saved) is Decision.CONTINUE

    def end(self, job: Job) -> None:
        raise SearchFailed(f"trial {job.trial} ended before epoch {job.stop}; expected it to reach that epoch")

    def fail(self, job: Job, reason: str) -> None:
        (self.finals or self.engine).fail(job.trial, reason)

    def lost(self, job: Job, reason: str, memory: bool | None) -> None:
        (self.finals or self.engine).lost(job.trial, reason, memory=memory)
