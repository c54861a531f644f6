"""What a parameter of a space may be: a range of ordered values, or a tuple of unordered choices."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol


class Trial(Protocol):
    """The part of `optuna.Trial` that a space needs; `optuna.trial.FixedTrial` re-decodes a stored one."""

    def suggest_int(self, name: str, low: int, high: int, *, step: int = 1, log: bool = False) -> int: ...

    def suggest_float(
        self, name: str, low: float, high: float, *, step: float | None = None, log: bool = False
    ) -> float: ...

    def suggest_categorical(self, name: str, choices: Sequence[Any]) -> Any: ...


@dataclass(frozen=True)
class Range:
    """Ordered values from `low` to `high`, both included; whole numbers where both ends are."""

    low: float
    high: float
    step: float | None = None
    log: bool = False

    def __post_init__(self) -> None:
        if self.low > self.high:
            raise ValueError(f"Range low={self.low} lies above high={self.high}: swap them")
        if self.log and self.step is not None:
            raise ValueError(f"Range step={self.step} cannot be combined with log=True: leave one out")


Bound = Range | tuple[Any, ...]


def values(bound: Bound) -> tuple[Any, ...]:
    """All values of a tuple or of a range with steps; the two ends of a continuous range."""
    if isinstance(bound, tuple):
        return bound
    step = bound.step or (1 if isinstance(bound.low, int) and isinstance(bound.high, int) else None)
    if step is None:
        return (bound.low, bound.high)
    count = int((bound.high - bound.low) / step + 1e-9)
    return tuple(bound.low + i * step for i in range(count + 1))


def pick(trial: Trial, name: str, bound: Bound) -> Any:
    """One value of `bound`. A bound with a single value is no parameter: the trial is not asked."""
    if isinstance(bound, tuple):
        if not bound:
            raise ValueError(f"{name}: no choice given, expected at least one")
        return bound[0] if len(bound) == 1 else trial.suggest_categorical(name, bound)
    if bound.low == bound.high:
        return bound.low
    if isinstance(bound.low, int) and isinstance(bound.high, int):
        return trial.suggest_int(name, bound.low, bound.high, step=int(bound.step or 1), log=bound.log)
    return trial.suggest_float(name, bound.low, bound.high, step=bound.step, log=bound.log)
