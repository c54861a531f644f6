"""The progress of a conversion on the disk, from which it resumes after having been killed."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.lib.format import open_memmap

from trainers.errors import TrainingError

BLOCK = 2048
"""Files between two entries of the journal."""
MOST_NUMBERS = 16
"""The most different numbers inside image files."""


class Journal:
    """The numbers of files hashed and converted, what was learnt of each, and the files found bad or incomplete."""

    def __init__(self, folder: Path, images: int) -> None:
        folder.mkdir(exist_ok=True)
        self.file = folder / "journal.json"
        found = self.file.exists()
        kept = json.loads(self.file.read_text()) if found else {}
        self.hashed: int = kept.get("hashed", 0)
        self.converted: int = kept.get("converted", 0)
        self.plan: str | None = kept.get("plan")  # hash of which row each image goes to
        self.faults: list[tuple[int, str]] = [(i, why) for i, why in kept.get("faults", [])]
        self.copies: list[tuple[int, int]] | None = kept.get("copies")  # turned or mirrored; None: not looked for yet
        self.filled: list[tuple[int, int]] = [(i, pixels) for i, pixels in kept.get("filled", [])]  # missing pixels
        self.targets: list[str] = kept.get("targets", [])  # the names of the numbers' columns
        mode: Literal["r+", "w+"] = "r+" if found else "w+"
        self.hashes = open_memmap(folder / "digests.npy", mode=mode, dtype="u1", shape=(images, 32))
        self.numbers = open_memmap(folder / "targets.npy", mode=mode, dtype="f8", shape=(images, MOST_NUMBERS))
        if not found:
            self.numbers[:] = np.nan
        self.invariants = open_memmap(folder / "invariants.npy", mode=mode, dtype="u8", shape=(images,))
        self.save()  # only now, since a journal promises these files

    def note(self, image: int, targets: Mapping[str, float]) -> None:
        """Keep the numbers that one image's file holds."""
        self.targets += [name for name in targets if name not in self.targets]
        if len(self.targets) > MOST_NUMBERS:
            raise TrainingError(f"the images' files hold more than {MOST_NUMBERS} different numbers")
        for name, value in targets.items():
            self.numbers[image, self.targets.index(name)] = value

    def save(self) -> None:
        """Write the journal. What it says is done must have been flushed to the disk before."""
        names = ("hashed", "converted", "plan", "faults", "copies", "filled", "targets")
        record = {name: getattr(self, name) for name in names}
        scratch = self.file.with_suffix(".new")
        with scratch.open("w") as file:
            file.write(json.dumps(record))
            file.flush()
            os.fsync(file.fileno())
        os.replace(scratch, self.file)


def blocks(start: int, stop: int) -> Iterator[range]:
    """Cut `start` to `stop` into ranges of BLOCK."""
    for first in range(start, stop, BLOCK):
        yield range(first, min(first + BLOCK, stop))
