"""The errors that a call of the library raises on purpose."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import wraps
from typing import ParamSpec, TypeVar

P = ParamSpec("P")
R = TypeVar("R")


class UserError(ValueError):
    """A mistake that the user can fix. The message gives the value, what was expected and what to do."""


class SearchFailed(RuntimeError):
    """The search cannot continue; the message says why."""


class ModelFailed(RuntimeError):
    """A model does not give numbers; the message says which."""


class Stopped(KeyboardInterrupt):
    """The work was ended before it was done: by Ctrl-C, a signal or the time limit. What is finished is kept.

    code: the exit code of a command that ends so.
    """

    def __init__(self, reason: str, code: int) -> None:
        super().__init__(reason)
        self.reason, self.code = reason, code

    def told(self, message: str) -> Stopped:
        """The same with another message."""
        stopped = Stopped(self.reason, self.code)
        stopped.args = (message,)
        return stopped


@contextmanager
def user_errors() -> Iterator[None]:
    """Turn the errors that the lower packages raise for a user's mistake into a `UserError`.

    Those packages do not know `nas`, so each has its own error. Any other ValueError is a bug and passes through.
    """
    try:
        yield
    except UserError:
        raise
    except ValueError as error:
        from search_space.errors import ArchitectureError  # only now: a command's --help must not wait for torch
        from studies.errors import StudyError
        from trainers.errors import TrainingError

        if isinstance(error, ArchitectureError | StudyError | TrainingError):
            raise UserError(str(error)) from error
        raise


def mendable(function: Callable[P, R]) -> Callable[P, R]:
    """Let a public function raise `UserError` for every mistake that the user can fix."""

    @wraps(function)
    def call(*args: P.args, **kwargs: P.kwargs) -> R:
        with user_errors():
            return function(*args, **kwargs)

    return call
