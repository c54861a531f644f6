"""Workers die, and seldom because of what they train: how often a training may lose one before it fails."""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable

from nas.words import count

LOSSES = 2  # workers that may die under a trial before it fails
OUTSIDE = 10  # times that something outside may stop it: it may be what brings its machine down


class Losses:
    """Counts the workers that died under each training, by any key."""

    def __init__(self) -> None:
        self._of_memory: dict[Hashable, list[bool]] = {}
        self._outside: Counter[Hashable] = Counter()

    def too_many(self, training: Hashable, memory: bool | None) -> bool:
        """Count one more. Whether the training must not be tried again.

        With `memory` None, its machine went, or its disk was full. That says little of the training, until it has
        happened too often.
        """
        if memory is None:
            self._outside[training] += 1
            return self._outside[training] > OUTSIDE
        found = self._of_memory.setdefault(training, [])
        found.append(memory)
        return len(found) > LOSSES

    def of_memory(self, training: Hashable) -> bool:
        """Whether memory had run out every time."""
        found = self._of_memory.get(training, [])
        return bool(found) and all(found)

    def reason(self, training: Hashable, last: str) -> str:
        before = len(self._of_memory.get(training, [])) + self._outside[training] - 1
        return f"{last}; it was lost {count(before, 'time')} before"
