"""The two ways in which a call of the library ends without a result, other than by a bug."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import wraps
from typing import ParamSpec, TypeVar

P = ParamSpec("P")
R = TypeVar("R")


class UserError(ValueError):
    """Something the user can mend. The message names the value, what was expected and what to do."""


class SearchFailed(RuntimeError):
    """The search cannot go on; the message shows why."""


@contextmanager
def user_errors() -> Iterator[None]:
    """Turn the errors that the lower packages raise for a user's mistake into a `UserError`.

    They know neither `nas` nor each other, so each has an error of its own. Any other ValueError is a bug and passes.
    """
    try:
        yield
    except UserError:
        raise
    except ValueError as error:
        from studies.errors import StudyError

        from search_space.errors import ArchitectureError  # only now: a command's --help must not wait for torch
        from trainers.errors import TrainingError

        if isinstance(error, ArchitectureError | StudyError | TrainingError):
            raise UserError(str(error)) from error
        raise


def mendable(function: Callable[P, R]) -> Callable[P, R]:
    """Let a public function raise `UserError` for every mistake that a user can mend."""

    @wraps(function)
    def call(*args: P.args, **kwargs: P.kwargs) -> R:
        with user_errors():
            return function(*args, **kwargs)

    return call
