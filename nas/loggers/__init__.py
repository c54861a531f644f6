"""Loggers receive every epoch of a search. Each module here, `nas/loggers/<name>.py`, defines a `Logger`.

The study stays the only record: a logger is for looking at curves elsewhere, and nothing reads back what it writes. One
of your own is a module with a `Logger`, which hands everything on to Weights & Biases, MLflow or a file:

    class Logger:
        def __init__(self, folder, study):
            self.study, self.runs = study, {}

        def epoch(self, trial, epoch, metrics):
            if trial not in self.runs:
                self.runs[trial] = wandb.init(project=self.study, name=f"trial {trial}", reinit="create_new")
            self.runs[trial].log(dict(metrics), step=epoch)

        def close(self):
            for run in self.runs.values():
                run.finish()
"""

from __future__ import annotations

import pkgutil
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Protocol

from nas.errors import UserError
from nas.modules import find_module


class Logger(Protocol):
    """It lives in the process of the search."""

    def __init__(self, folder: Path, study: str) -> None:
        """`folder`, in the run, is the logger's own; it need not exist."""

    def epoch(self, trial: int, epoch: int, metrics: Mapping[str, float]) -> None:
        """Hear of an epoch: the objective and every other metric, seconds and memory, by name.

        An epoch that is trained again after a crash is told again.
        """

    def close(self) -> None:
        """The search has ended, or was stopped."""


class Safely:
    """Tells a logger, if there is one, everything until it raises. An error is reported once; the search
    continues without the logger."""

    def __init__(self, logger: Logger | None, say: Callable[[str], None]) -> None:
        self._logger, self._say = logger, say

    def epoch(self, trial: int, epoch: int, metrics: Mapping[str, float]) -> None:
        self._tell(lambda logger: logger.epoch(trial, epoch, metrics))

    def close(self) -> None:
        self._tell(lambda logger: logger.close())

    def _tell(self, what: Callable[[Logger], None]) -> None:
        try:
            if self._logger is not None:
                what(self._logger)
        except Exception as error:
            logger, self._logger = self._logger, None
            with suppress(Exception):  # it is broken already, which is said below
                if logger is not None:
                    logger.close()
            self._say(f"logger off from now on ({type(error).__name__}: {error}); the search and its study go on")


def known() -> list[str]:
    return sorted(module.name for module in pkgutil.iter_modules(__path__))


def create(name: str, folder: Path, study: str) -> Logger:
    """Return the logger `name`: one of ours, or the dotted name of a module. UserError if there is none."""
    if not isinstance(name, str):
        raise UserError(f"logger is {name!r}; expected text")
    logger: Logger = find_module(name, "logger", "nas.loggers", known(), "Logger").Logger(folder, study)
    return logger
