"""The names of splits and classes, on disk and here."""

from __future__ import annotations

SPLIT_NAMES = {
    "train": "train",
    "training": "train",
    "val": "val",
    "valid": "val",
    "validation": "val",
    "test": "test",
    "testing": "test",
}
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


def by_name(label: str) -> tuple[int, str]:
    """A key that sorts classes by name, or by number if they are numbers."""
    return (int(label), label) if label.isdecimal() else (0, label)


def canonical(name: str) -> str:
    """The name of a class, however its folder spells it."""
    name = name.lower().strip().replace(" ", "_").replace("-", "_")
    return SYNONYMS.get(name, name)
