"""The bounds of a parameter: a range of ordered values, or a tuple of unordered choices."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol

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
    """Ordered values from `low` to `high`, both included; whole numbers if both ends are whole."""

    low: float
    high: float
    step: float | None = None
    log: bool = False

    def __post_init__(self) -> None:
        if self.low > self.high:
            raise ArchitectureError(f"Range low={self.low} is above high={self.high}: swap them")
        if self.log and self.step is not None:
            raise ArchitectureError(f"Range step={self.step} cannot be combined with log=True: drop one of them")
        if self.log and self.low <= 0:
            raise ArchitectureError(f"Range low={self.low} with log=True has no logarithm: raise low above 0")


Bound = Range | tuple[Any, ...]


def check(name: str, bound: Any) -> None:
    """Raise ArchitectureError unless `bound` is a Range or a tuple of at least one choice."""
    if not isinstance(bound, Range | tuple):
        raise ArchitectureError(f"{name}={bound!r} is neither a Range nor a tuple of choices; to fix it: {(bound,)!r}")
    if bound == ():
        raise ArchitectureError(f"{name}: no choice given, expected at least one")


def values(bound: Bound) -> tuple[Any, ...]:
    """Return all values of a tuple or of a range with steps, and the two ends of a continuous range."""
    if isinstance(bound, tuple):
        return bound
    step = bound.step or (1 if isinstance(bound.low, int) and isinstance(bound.high, int) else None)
    if step is None:
        return (bound.low, bound.high)
    count = int((bound.high - bound.low) / step + 1e-9)
    return tuple(bound.low + i * step for i in range(count + 1))


def pick(trial: Trial, name: str, bound: Bound) -> Any:
    """Pick one value of `bound`. A bound with a single value is not a parameter: the trial is not asked."""
    if isinstance(bound, tuple):
        if len(bound) > 1:
            return trial.suggest_categorical(name, bound)
        check(name, bound)
        return bound[0]
    if bound.low == bound.high:
        return bound.low
    if isinstance(bound.low, int) and isinstance(bound.high, int):
        return trial.suggest_int(name, bound.low, bound.high, step=int(bound.step or 1), log=bound.log)
    return trial.suggest_float(name, bound.low, bound.high, step=bound.step, log=bound.log)


def pick_among(trial: Trial, name: str, bound: Bound, suffix: str, excluded: tuple[Any, ...]) -> Any:
    """Pick one value of `bound` that is not excluded; if any is, the parameter is called `name.suffix`.

    The choices of a categorical cannot change within a study: fewer choices are another parameter.
    """
    left = tuple(value for value in values(bound) if value not in excluded)
    if not left:
        raise ArchitectureError(f"{name} can only be {values(bound)}, which the sampled network cannot have: add one")
    return pick(trial, name if len(left) == len(values(bound)) else f"{name}.{suffix}", left)


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
