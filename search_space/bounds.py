"""The bounds of a parameter: a range of ordered values, or a tuple of unordered choices."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any, Protocol
from zlib import crc32

from search_space.errors import ArchitectureError


class Trial(Protocol):
    """The part of `optuna.Trial` that a space needs; `optuna.trial.FixedTrial` re-decodes a stored one."""

    def suggest_int(self, name: str, low: int, high: int, *, step: int = 1, log: bool = False) -> int: ...

    def suggest_float(
        self, name: str, low: float, high: float, *, step: float | None = None, log: bool = False
    ) -> float: ...

    def suggest_categorical(self, name: str, choices: Sequence[Any]) -> Any: ...


@dataclass(frozen=True)
class Range:
    """Ordered values from `low` to `high`, both included; whole numbers if both ends and the step, if any, are."""

    low: float
    high: float
    step: float | None = None
    log: bool = False

    def __post_init__(self) -> None:
        given = {"low": self.low, "high": self.high, **({} if self.step is None else {"step": self.step})}
        for name, value in given.items():
            if not isinstance(value, int | float) or isinstance(value, bool) or not math.isfinite(value):
                raise ArchitectureError(f"Range {name}={value!r}: expected a number")
            refuse_numpy(f"Range {name}", value)
        if self.step is not None and self.step <= 0:
            raise ArchitectureError(f"Range step={self.step}: expected a number above 0")
        if self.low > self.high:
            raise ArchitectureError(f"Range low={self.low} is above high={self.high}: swap them")
        if self.log and self.step is not None:
            raise ArchitectureError(f"Range step={self.step} cannot be combined with log=True: drop one of them")
        if self.log and self.low <= 0:
            raise ArchitectureError(f"Range low={self.low} with log=True has no logarithm: raise low above 0")

    @property
    def integer(self) -> bool:
        """Whether its values are whole numbers."""
        step = 1 if self.step is None else self.step
        return isinstance(self.low, int) and isinstance(self.high, int) and float(step).is_integer()


Bound = Range | tuple[Any, ...]
MOST = 100_000  # values of a bound that are listed
LONGEST = 60  # characters of the values in a parameter's name


def check(name: str, bound: Any) -> None:
    """Raise ArchitectureError unless `bound` is a Range or a tuple of at least one choice."""
    if type(bound).__module__ == "numpy":
        raise ArchitectureError(f"{name} is an array of NumPy; expected choices of Python's own: {(*bound.tolist(),)}")
    if not isinstance(bound, Range | tuple):
        raise ArchitectureError(f"{name}={bound!r} is neither a Range nor a tuple of choices; to fix it: {(bound,)!r}")
    for value in bound if isinstance(bound, tuple) else ():
        refuse_numpy(name, value)
    if bound == ():
        raise ArchitectureError(f"{name}: no choice given, expected at least one")
    if isinstance(bound, Range) and (step := step_of(bound)) and (bound.high - bound.low) / step > MOST:
        raise ArchitectureError(f"{name}={bound!r} has more than {MOST} values: give it a larger step or closer ends")


def refuse_numpy(name: str, value: Any) -> None:
    """Raise ArchitectureError for a value of NumPy, which is no JSON data."""
    if type(value).__module__ == "numpy":
        raise ArchitectureError(f"{name}={value!r}: expected a value of Python's own, {value.tolist()!r}")


def check_each(name: str, bound: Any, build: Callable[[Any], Any]) -> None:
    """Check a bound, and that `build` refuses none of its values, of a range the lowest and the highest.

    `build` raises ArchitectureError for a wrong one.
    """
    check(name, bound)
    for value in (bound.low, bound.high) if isinstance(bound, Range) else bound:
        try:
            build(value)
        except ArchitectureError as error:
            known = str(error).startswith(name)
            raise ArchitectureError(str(error) if known else f"{name}: {error}") from error


def values(bound: Bound) -> tuple[Any, ...]:
    """Return all values of a tuple or of a range with steps, and the two ends of a continuous range."""
    if isinstance(bound, tuple):
        return bound
    step = step_of(bound)
    if step is None:
        return (bound.low, bound.high)
    count = int((bound.high - bound.low) / step + 1e-9)
    return tuple(bound.low + i * step for i in range(count + 1))


def step_of(bound: Range) -> float | None:
    """The distance of two values; None if they are continuous."""
    return bound.step or (1 if bound.integer else None)


def pick(trial: Trial, name: str, bound: Bound) -> Any:
    """Pick one value of `bound`. A bound with a single value is not a parameter: the trial is not asked."""
    if isinstance(bound, tuple):
        if len(bound) > 1:
            return trial.suggest_categorical(name, bound)
        check(name, bound)
        return bound[0]
    if bound.low == bound.high:
        return bound.low
    if bound.integer:
        return trial.suggest_int(name, int(bound.low), int(bound.high), step=int(bound.step or 1), log=bound.log)
    return trial.suggest_float(name, bound.low, bound.high, step=bound.step, log=bound.log)


def pick_among(trial: Trial, name: str, bound: Bound, suffix: str, excluded: tuple[Any, ...]) -> Any:
    """Pick one value of `bound` that is not excluded; if any is, the parameter is called `name.suffix`.

    The choices of a categorical cannot change within a study: fewer choices are another parameter.
    """
    left = tuple(value for value in values(bound) if value not in excluded)
    if not left:
        raise ArchitectureError(f"{name} can only be {values(bound)}, which the sampled network cannot have: add one")
    return pick(trial, name if len(left) == len(values(bound)) else f"{name}.{suffix}", left)


def pick_allowed(trial: Trial, name: str, bound: Bound, allowed: Callable[[Any], bool]) -> Any:
    """Pick one value of `bound` that is allowed. If some are not, the parameter's name says which are: `name.32_64`.

    Values of a range that are left with equal steps are a range again, but not a logarithmic one.
    """
    every = values(bound)
    left = tuple(value for value in every if allowed(value))
    if not left:
        raise ArchitectureError(f"{name} can only be {every}, which the sampled network cannot have: add one")
    if len(left) == len(every):
        return pick(trial, name, bound)
    narrowed: Bound = left
    called = "_".join(map(str, left))
    steps = {after - before for before, after in pairwise(left)} if isinstance(bound, Range) else set()
    if len(steps) == 1:
        narrowed = Range(left[0], left[-1], steps.pop())
        called = f"{left[0]}_to_{left[-1]}_by_{narrowed.step}"
    if len(called) > LONGEST:
        called = f"{len(left)}_values_{crc32(called.encode()):08x}"
    return pick(trial, f"{name}.{called.replace('.', ',')}", narrowed)


def whole(name: str) -> str:
    """The name without its last part. For a parameter with fewer choices (`pick_among`), that is the one with all."""
    return name.rpartition(".")[0]


def pick_up_to(trial: Trial, name: str, bound: Bound, most: float) -> Any:
    """Pick one value of `bound` up to `most`; the smallest if all are larger.

    If some are larger, the parameter is called by the largest that is not, `name.up_to_4`, as in `pick_among`.
    """
    fitting = tuple(value for value in values(bound) if value <= most)
    if not fitting:
        return min(values(bound))
    if len(fitting) == len(values(bound)):
        return pick(trial, name, bound)
    narrowed = fitting if isinstance(bound, tuple) else replace(bound, high=max(fitting))
    return pick(trial, f"{name}.up_to_{max(fitting)}", narrowed)
