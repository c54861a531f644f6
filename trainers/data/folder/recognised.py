"""Recognising a listing: the names by which the layouts of DeepLense's data sets are known."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

import numpy as np

from trainers.data.cache import SPLITS
from trainers.data.folder.listing import Listing

UNBALANCED = 5
"""Classes that differ by more than this factor learn better if they are balanced."""
MANY = 20
"""More classes or targets than that are too many to be counted in one line."""


def recognise(
    listing: Listing,
    shape: tuple[int, ...],
    dtype: np.dtype,
    targets: Mapping[str, int],
    splits: Sequence[str],
    together: Sequence[str],
    skipped: int = 0,
    unused: str | None = None,
    notes: Sequence[str] = (),
) -> str:
    """One line, such as `Model I: 3 classes, 12/12/12 images, 150x150, int64, axion_mass for 12; 36 files, 36 objects;
    axion 10/1/1, cdm 10/1/1, no_sub 10/1/1 in train/val/test`, and warnings.

    `shape` and `dtype` are those on the disk. `targets` counts the images for which each regression target is known.
    `splits` and `together` have the split and the object's key of every image.
    """
    counts = Counter(entry.label for entry in listing.entries)
    if len(listing.classes) > 1:
        per_class = "/".join(str(counts[label]) for label in listing.classes)
        words = [f"{len(listing.classes)} classes", f"{per_class} images"]
    else:
        words = [f"{len(listing.entries)} images"]
    words += ["x".join(map(str, shape)), str(dtype)]
    known = [f"{name} for {count}" for name, count in targets.items() if count]
    words += known if len(known) <= MANY else [*known[:MANY], f"{len(known) - MANY} more numbers"]
    if listing.bands:
        words.append(f"channels {' '.join(listing.bands)}")
    if official := [split for split in SPLITS if split in {entry.split for entry in listing.entries}]:
        words.append(f"split into {'/'.join(official)} as given")
    words += [listing.table] * bool(listing.table)
    words += notes  # on the pixels
    if skipped:
        words.append(f"{skipped} bad left out")
    clauses = [", ".join(words)]
    if listing.layout != "stacked":
        files = len({file for entry in listing.entries for file in entry.files})
        clauses.append(f"{counted(files, 'file')}, {counted(len(set(together)), 'object')}")
    each = Counter((entry.label, split) for entry, split in zip(listing.entries, splits, strict=True))
    if len(listing.classes) <= MANY:
        in_splits = [f"{name} {'/'.join(str(each[name, s]) for s in SPLITS)}" for name in listing.classes]
        clauses.append(f"{', '.join(in_splits)} in {'/'.join(SPLITS)}")
    if unused:
        clauses.append(f"not used: {unused}")
    line = f"{known_as(listing, shape, dtype, targets)}: {'; '.join(clauses)}"
    return ". ".join([line, *warnings(listing, splits, together)])


def counted(number: int, what: str) -> str:
    return f"{number} {what}{'s' * (number != 1)}"


def warnings(listing: Listing, splits: Sequence[str], together: Sequence[str]) -> list[str]:
    """What to know before training: classes with one object in a split, and classes of very different size."""
    if len(listing.classes) < 2:
        return []
    objects = {(entry.label, split, key) for entry, split, key in zip(listing.entries, splits, together, strict=True)}
    each = Counter((label, split) for label, split, _ in objects)
    lonely = [f"{label} in {split}" for (label, split), number in sorted(each.items()) if number == 1]
    found = []
    if lonely:
        more = f" and {len(lonely) - 3} more" if len(lonely) > 3 else ""
        found.append(f"Warning: one object alone stands for {', '.join(lonely[:3])}{more}")
    counts = Counter(entry.label for entry, split in zip(listing.entries, splits, strict=True) if split == "train")
    if counts and (ratio := max(counts.values()) / min(counts.values())) > UNBALANCED:
        found.append(f"Classes differ by {ratio:.0f} to 1: consider --balance weights")
    return found


def known_as(listing: Listing, shape: tuple[int, ...], dtype: np.dtype, targets: Mapping[str, int]) -> str:
    """The set's name, by layout, shape and dtype alone, because copies of one set differ in the names of classes."""
    form = (listing.layout, shape, str(dtype))
    axion = targets.get("axion_mass", 0) > 0
    if listing.layout == "split_class":
        return "lens finding"
    if listing.layout == "table":
        return "images of a table"
    if listing.layout == "stacked":
        return "stacked arrays"
    if listing.layout == "flat" or (len(listing.classes) == 1 and any(targets.values())):
        return "images with numbers" if not axion else "axion-mass regression"
    if form == ("classes", (150, 150), "int64"):
        return "Model I"
    if form == ("classes", (64, 64), "float64"):
        return "Model II or III" if axion else "Dataset1"
    if form == ("classes", (150, 150), "uint8") and len(listing.classes) == 2:
        return "lenses.tgz"
    if form == ("splits", (1, 150, 150), "float64"):
        return "Common Test I"
    if form == ("splits", (64, 64, 3), "float64"):
        return "Model IV"
    if listing.layout == "splits" and shape == (150, 150) and dtype.kind == "f":
        return "Model F or J"
    return "class folders" if listing.layout == "classes" else "folders of splits and classes"
