"""Check that a space asks for the parameters with which a study's first trials are given."""

from __future__ import annotations

import difflib
import math
import random
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from studies.errors import StudyError

DRAWS = 1000  # of a space, before a name is taken for one that it never asks for; rare names need many


def check_first(first: Sequence[Mapping[str, Any]], samples: Sequence[Callable[[Any], Any]]) -> None:
    """Raise StudyError unless each name of `first` is asked for in some draw of `samples`, with a valid value.

    Parameters that are not given are drawn at random, always the same.
    """
    for number, given in enumerate(first):
        if not isinstance(given, Mapping):
            raise StudyError(f"first[{number}] is {given!r}; expected parameters by name, such as {{'batch_size': 32}}")
        unasked, asked, rng = set(given), set[str](), random.Random(0)
        for draw in range(DRAWS):
            if not unasked and draw >= len(samples):
                break
            recorder = Recorder(given, rng)
            samples[draw % len(samples)](recorder)
            for name, expected in recorder.refused.items():
                raise StudyError(
                    f"first[{number}] has {name} = {given[name]!r}; expected {expected}. A study with another "
                    "space needs a `first` of its own, or first=()"
                )
            asked |= recorder.asked
            unasked -= recorder.asked
        for name in sorted(unasked):
            (nearest,) = difflib.get_close_matches(name, sorted(asked), n=1, cutoff=0.0) or ("none at all",)
            raise StudyError(
                f"first[{number}] gives {name!r}, which the study never asks for; the nearest name is {nearest!r}. "
                "A study with another space needs a `first` of its own, or first=()"
            )


class Recorder:
    """The suggest methods of a trial: answers with the given values, or at random, and records what is asked.

    `refused` says for each given value that is out of bounds what was expected.
    """

    def __init__(self, given: Mapping[str, Any], rng: random.Random) -> None:
        self.given, self.rng = given, rng
        self.asked: set[str] = set()
        self.refused: dict[str, str] = {}

    def suggest_categorical(self, name: str, choices: Sequence[Any]) -> Any:
        return self.answer(name, one_of(choices), self.rng.choice(choices), f"one of: {', '.join(map(repr, choices))}")

    def suggest_int(self, name: str, low: int, high: int, *, step: int = 1, log: bool = False) -> int:
        steps = "" if step == 1 else f" in steps of {step}"
        drawn = self.rng.randrange(low, high + 1, step)
        return int(self.answer(name, within(low, high, step), drawn, f"a whole number from {low} to {high}{steps}"))

    def suggest_float(
        self, name: str, low: float, high: float, *, step: float | None = None, log: bool = False
    ) -> float:
        steps = f" in steps of {step:g}" if step else ""
        if step:
            drawn = low + step * self.rng.randrange(int((high - low) / step + 1e-9) + 1)
        elif log:
            drawn = min(max(math.exp(self.rng.uniform(math.log(low), math.log(high))), low), high)
        else:
            drawn = self.rng.uniform(low, high)
        return float(self.answer(name, within(low, high, step), drawn, f"a number from {low:g} to {high:g}{steps}"))

    def answer(self, name: str, valid: Callable[[Any], bool], drawn: Any, expected: str) -> Any:
        self.asked.add(name)
        if name not in self.given:
            return drawn
        if valid(self.given[name]):
            return self.given[name]
        self.refused[name] = expected
        return drawn


def one_of(choices: Iterable[Any]) -> Callable[[Any], bool]:
    """Whether a value is a choice; True is not 1, unlike for `in`."""
    return lambda value: any(value == choice and is_bool(value) == is_bool(choice) for choice in choices)


def within(low: float, high: float, step: float | None) -> Callable[[Any], bool]:
    """Whether a value is a number from `low` to `high`, in whole steps from `low` if there is a step."""

    def valid(value: Any) -> bool:
        if not isinstance(value, int | float) or is_bool(value) or not low <= value <= high:
            return False
        return not step or math.isclose((value - low) / step, round((value - low) / step), abs_tol=1e-8)

    return valid


def is_bool(value: Any) -> bool:
    return isinstance(value, bool)
