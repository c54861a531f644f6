"""Numbers in the names of files and folders: `theta_E=1.2_gamma=2.05.npy`, `theta_E=1.2/001.npy`."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from trainers.data.folder.listing import Entry, below
from trainers.data.folder.names import LENS, target_name
from trainers.errors import TrainingError

NUMBERED = re.compile(r"\w*_\d+_(?=[A-Za-z])")
"""What may stand before a number's name: `lens_0001_` in `lens_0001_theta_E=1.2.npy`."""
MOST_NAMES = 100
"""More names than that are those of files."""
PAIR = re.compile(r"([A-Za-z]\w*)=([-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?)(?![A-Za-z\d]|[.,]\d)")

DECIMAL_COMMA = re.compile(r"[A-Za-z]\w*=([-+]?\d+,\d+)")


def values_in(name: str) -> dict[str, float]:
    """The regression targets in the name of a file or folder; a number with a decimal comma is none."""
    pairs = [(NUMBERED.sub("", name, count=1), value) for name, value in PAIR.findall(name)]
    return {known: float(value) for target, value in pairs if (known := target_name(target))}


def with_values(entries: Sequence[Entry], root: Path) -> list[Entry]:
    """The entries with the targets in their paths below `root`; what a table says goes before these.

    A folder whose name is a value is no class. TrainingError if there are more names of numbers than data sets have.
    """
    found, names = [], set[str]()
    for entry in entries:
        *folders, file = below(root, entry.path).split("/")
        targets = {name: value for part in (*folders, file) if "=" in part for name, value in values_in(part).items()}
        if targets:
            names |= targets.keys()
            label = LENS if folders and values_in(folders[-1]) else entry.label
            entry = replace(entry, label=label, targets={**targets, **entry.targets})
        found.append(entry)
    if len(names) > MOST_NAMES:
        raise TrainingError(
            f"{root} has {len(names):,} different names of numbers in the names of its files, such as {min(names)}; "
            "begin with the number, as in theta_E=1.2_0001.npy, or separate it, as in lens_0001_theta_E=1.2.npy"
        )
    return found
