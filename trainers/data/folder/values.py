"""Numbers in the names of files and folders: `theta_E=1.2_gamma=2.05.npy`, `theta_E=1.2/001.npy`."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from trainers.data.folder.listing import Entry, below
from trainers.data.folder.names import LENS, target_name

PAIR = re.compile(r"([A-Za-z]\w*)=([-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?)(?![A-Za-z\d]|\.\d)")


def values_in(name: str) -> dict[str, float]:
    """The regression targets in the name of a file or folder."""
    return {known: float(value) for target, value in PAIR.findall(name) if (known := target_name(target))}


def with_values(entries: Sequence[Entry], root: Path) -> list[Entry]:
    """The entries with the targets in their paths below `root`; what a table says goes before these.

    A folder whose name is a value is no class.
    """
    found = []
    for entry in entries:
        *folders, file = below(root, entry.path).split("/")
        targets = {name: value for part in (*folders, file) if "=" in part for name, value in values_in(part).items()}
        if targets:
            label = LENS if folders and values_in(folders[-1]) else entry.label
            entry = replace(entry, label=label, targets={**targets, **entry.targets})
        found.append(entry)
    return found
