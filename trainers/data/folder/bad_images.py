"""Images that cannot be read or are not like most: refused, or discarded with their rows."""

from __future__ import annotations

import os
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path

import numpy as np

from trainers.data.cache import SPLITS, allocate
from trainers.data.folder.listing import Listing
from trainers.data.folder.reader import Form
from trainers.errors import TrainingError


def discard(
    folder: Path, listing: Listing, rows: Mapping[str, list[int]], bad: Collection[int], whole: bool
) -> dict[str, list[int]]:
    """Remove the bad images from `rows` and from the arrays.

    TrainingError if a split loses a class by it, unless the images are only tested on, as a `whole`.
    """
    if not whole and (missing := lacking(listing, rows, bad)):
        split, label = missing[0]
        raise TrainingError(f"without its bad images, {split} of {listing.root} lacks the class {label!r}")
    kept = {}
    for split in SPLITS:
        remove_rows(folder, split, [n for n, i in enumerate(rows[split]) if i in bad], len(rows[split]))
        kept[split] = [i for i in rows[split] if i not in bad]
    return kept


def lacking(listing: Listing, rows: Mapping[str, list[int]], bad: Collection[int]) -> list[tuple[str, str]]:
    """The splits and classes that would be without an image if the bad ones were discarded."""
    found = {split: {listing.entries[i].label for i in rows[split] if i not in bad} for split in SPLITS}
    return [(split, label) for split in SPLITS for label in listing.classes if label not in found[split]]


def remove_rows(folder: Path, split: str, rows: Sequence[int], count: int) -> None:
    """Rewrite the `count` images of `split` without `rows`, a few at a time; not again if a killed process has."""
    old = np.load(folder / f"{split}.images.npy", mmap_mode="r")
    if not rows or len(old) < count:
        return
    keep = np.setdiff1d(np.arange(len(old)), rows)
    new = allocate(folder, f"remaining {split}", (len(keep), *old.shape[1:]), old.dtype)
    for start in range(0, len(keep), 256):
        new[start : start + 256] = old[keep[start : start + 256]]
    new.flush()
    os.replace(folder / f"remaining {split}.images.npy", folder / f"{split}.images.npy")


def refuse(listing: Listing, bad: Sequence[str], expected: Form, file: Path, several: str) -> None:
    """Raise a TrainingError that names all bad images. Beyond twenty, all of them are in `file`, one per line."""
    more = ""
    if len(bad) > 20:
        file.write_text("\n".join(bad) + "\n")
        more = f" and {len(bad) - 20} more, all listed in {file}"
    raise TrainingError(
        f"{len(bad)} of {len(listing.entries)} images in {listing.root} cannot be read or are not {expected} "
        f"like most: {', '.join(bad[:20])}{more}; mend them, or discard them (skip_bad){several}"
    )
