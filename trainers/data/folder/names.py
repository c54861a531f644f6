"""The names of splits, classes and files, on disk and here."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from typing import Any

from trainers.data.dataset import RESERVED, TARGETS
from trainers.errors import TrainingError

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
OBJECT = re.compile(r"(lens|object|obj|system|group|galaxy|source)_?ids?")
"""The name of a column or array that says which object an image shows."""
LENS = "lens"
"""The one class of a folder without classes."""
TABLES = ("labels", "metadata", "catalog", "catalogue")
"""What tables are called; as FITS files, only these are."""
UNKNOWN = ("", "nan", "na", "n/a", "none", "null", "--", "?")
"""Cells of what is not known."""
NO_CLASSES = ("plots", "figures", "results", "logs", "checkpoints", "notebooks", "docs", "scripts")
"""Folders that people keep beside their classes."""


def by_name(label: str) -> tuple[int, str]:
    """A key that sorts classes by name, or by number if they are numbers."""
    return (int(label), label) if label.isdecimal() else (0, label)


def canonical(name: str) -> str:
    """The name of a class, however its folder spells it."""
    name = re.sub(r"^-(?=\d+$)", "minus_", name.lower().strip())
    name = name.replace(" ", "_").replace("-", "_")
    return SYNONYMS.get(name, name)


def refuse_spellings(names: Iterable[str], what: str, *, ours: bool = False) -> None:
    """TrainingError if two names of classes, which `what` introduces, would become one class.

    `ours`: but for the spellings of the classes in SYNONYMS.
    """
    spelt: dict[str, str] = {}
    for name in sorted({name.strip() for name in names}):
        if ours and canonical(name) in SYNONYMS.values():
            continue
        if (other := spelt.setdefault(canonical(name), name)) != name:
            raise TrainingError(
                f"{what} {other} and {name}, which would be one class, {canonical(name)}: spell them alike, or rename "
                "one"
            )


def object_named(names: Iterable[str]) -> str | None:
    """Which of these names says what object an image shows, the lens rather than its source; None if none does."""
    found = (name for name in names if OBJECT.fullmatch(name.lower()))
    return min(found, key=lambda name: name.lower().startswith("source"), default=None)


def object_name(value: Any) -> str | None:
    """The object that a cell or an entry of an array names; None if it says that it is not known."""
    name = str(value).strip()
    return None if name.lower() in UNKNOWN or re.fullmatch(r"-(1|9+)(\.0)?", name) else name


def target_name(name: str) -> str | None:
    """The name of a regression target, as a column, a file or a dict spells it; None if it can be none."""
    name = re.sub(r"\W+", "_", name).strip("_")
    known = name.lower() if name.lower() in TARGETS else name
    return known if known.isidentifier() and known not in RESERVED else None


def ending(name: str) -> tuple[str, str]:
    """A file's name without its ending, and the ending; `.fits.gz` and `.fits.fz` are one."""
    stem, suffix = os.path.splitext(name)
    if suffix.lower() in (".gz", ".fz", ".bz2"):
        stem, before = os.path.splitext(stem)
        suffix = before + suffix
    return stem, suffix


def words(name: str) -> list[str]:
    """The words of a name in lower case: `SCI_F814W` -> sci, f814w; `held_out` is one."""
    return re.findall(r"[a-z0-9]+", re.sub(r"(?<![a-z])(held|hold)[-_. ]out(?![a-z])", r"\1out", name.lower()))


def split_of(name: str) -> str | None:
    """The split that a folder's name means beside one called train: `validate`, `test_set`, `Train-Images`."""
    name = re.sub(r"[-_. ]+", "_", name.lower()).strip("_")
    return SPLIT_NAMES.get(name) or SPLIT_NAMES.get(re.sub(r"_?(set|data|images?|imgs?|split)$", "", name))
