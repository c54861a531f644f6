"""The names of splits and classes, on disk and here."""

from __future__ import annotations

import re

from trainers.data.dataset import RESERVED, TARGETS

PLAIN = {
    "train": "train",
    "training": "train",
    "val": "val",
    "valid": "val",
    "validation": "val",
    "test": "test",
    "testing": "test",
}
"""Names that mean a split wherever they stand."""
SPLIT_NAMES = {
    **PLAIN,
    "validate": "val",
    "dev": "val",
    "devel": "val",
    "development": "val",
    "eval": "val",
    "holdout": "test",
    "hold_out": "test",
    "heldout": "test",
    "held_out": "test",
    "evaluation": "test",
}
"""Names that mean a split beside one that is called train."""
SYNONYMS = {
    "no": "no_sub",
    "no_substructure": "no_sub",
    "sphere": "cdm",
    "subhalo": "cdm",
    "vort": "axion",
    "vortex": "axion",
}
LENS = "lens"
"""The one class of a folder without classes."""
NO_CLASSES = ("plots", "figures", "results", "logs", "checkpoints", "notebooks", "docs", "scripts")
"""Folders that people keep beside their classes."""


def by_name(label: str) -> tuple[int, str]:
    """A key that sorts classes by name, or by number if they are numbers."""
    return (int(label), label) if label.isdecimal() else (0, label)


def canonical(name: str) -> str:
    """The name of a class, however its folder spells it."""
    name = name.lower().strip().replace(" ", "_").replace("-", "_")
    return SYNONYMS.get(name, name)


def target_name(name: str) -> str | None:
    """The name of a regression target, as a column, a file or a dict spells it; None if it can be none."""
    name = re.sub(r"\W+", "_", name).strip("_")
    known = name.lower() if name.lower() in TARGETS else name
    return known if known.isidentifier() and known not in RESERVED else None


def split_of(name: str) -> str | None:
    """The split that a folder's name means beside one called train: `validate`, `test_set`, `Train-Images`."""
    name = re.sub(r"[-_. ]+", "_", name.lower()).strip("_")
    return SPLIT_NAMES.get(name) or SPLIT_NAMES.get(re.sub(r"_?(set|data|images|imgs|split)$", "", name))
