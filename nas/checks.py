"""Check what a caller gives before any work begins."""

from __future__ import annotations

import math
import numbers
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from nas.errors import UserError


def check_number(name: str, value: Any, lowest: float, highest: float = math.inf, *, whole: bool = False) -> None:
    """Raise UserError unless `value` is None or a finite number from `lowest` to `highest`; if `whole`, a whole one."""
    if value is None:
        return
    is_number = isinstance(value, numbers.Integral if whole else numbers.Real) and not isinstance(value, bool)
    if not is_number:
        raise UserError(f"{name} is {value!r}; expected a {'whole ' * whole}number from {lowest:g}")
    if not value >= lowest:
        raise UserError(f"{name} is {value}; expected at least {lowest:g}")
    if value > highest or math.isinf(value):
        raise UserError(f"{name} is {value}; expected at most {highest:g}")


def whole_numbers(name: str, values: Any) -> tuple[int, ...]:
    """The whole numbers of a sequence. UserError if it is none, or holds something else."""
    if not isinstance(values, Iterable) or isinstance(values, str):
        raise UserError(f"{name} is {values!r}; expected whole numbers")
    found = tuple(values)
    if not all(isinstance(value, numbers.Integral) and not isinstance(value, bool) for value in found):
        raise UserError(f"{name} is {values!r}; expected whole numbers")
    return tuple(map(int, found))


def path_of(name: str, value: Any) -> Path:
    """The path of a string or path. UserError if it is something else, or no file can have it."""
    if not isinstance(value, str | os.PathLike):
        raise UserError(f"{name} is {value!r}; expected a path")
    path = Path(value)
    if "\0" in str(path):
        raise UserError(f"{name} is {str(path)!r}; expected a path, which has no zero byte")
    return path
