"""How far a conversion is, on the disk, so that it goes on there after having been killed."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path

BLOCK = 2048
"""Files between two entries of the journal."""


class Journal:
    """How far a conversion is: files hashed, files converted, and those found bad."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(exist_ok=True)
        self.file = folder / "journal.json"
        self.found = self.file.exists()
        kept = json.loads(self.file.read_text()) if self.found else {}
        self.hashed: int = kept.get("hashed", 0)
        self.converted: int = kept.get("converted", 0)
        self.plan: str | None = kept.get("plan")  # hash of where the rows go
        self.faults: list[tuple[int, str]] = [(i, why) for i, why in kept.get("faults", [])]

    def save(self) -> None:
        record = {name: getattr(self, name) for name in ("hashed", "converted", "plan", "faults")}
        scratch = self.file.with_suffix(".new")
        with scratch.open("w") as file:
            file.write(json.dumps(record))
            file.flush()
            os.fsync(file.fileno())
        os.replace(scratch, self.file)


def blocks(start: int, stop: int) -> Iterator[range]:
    for first in range(start, stop, BLOCK):
        yield range(first, min(first + BLOCK, stop))
