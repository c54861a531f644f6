"""Recognising a listing: the names by which the layouts of DeepLense's data sets are known."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

import numpy as np

from trainers.data.cache import SPLITS
from trainers.data.folder.layouts import Listing


def recognise(
    listing: Listing, shape: tuple[int, ...], dtype: np.dtype, targets: Mapping[str, int], skipped: int = 0
) -> str:
    """One line, such as `Model I: 3 classes, 12/12/12 images, 150x150, int64, axion mass for 12`.

    `shape` and `dtype` are those on the disk. `targets` counts the images for which each regression target is known.
    """
    counts = Counter(entry.label for entry in listing.entries)
    if len(listing.classes) > 1:
        per_class = "/".join(str(counts[label]) for label in listing.classes)
        words = [f"{len(listing.classes)} classes", f"{per_class} images"]
    else:
        words = [f"{len(listing.entries)} images"]
    words += ["x".join(map(str, shape)), str(dtype)]
    words += [f"{name.replace('_', ' ')} for {count}" for name, count in targets.items() if count]
    if official := [split for split in SPLITS if split in {entry.split for entry in listing.entries}]:
        words.append(f"split into {'/'.join(official)} as given")
    if skipped:
        words.append(f"{skipped} bad left out")
    return f"{known_as(listing, shape, dtype, targets)}: {', '.join(words)}"


def known_as(listing: Listing, shape: tuple[int, ...], dtype: np.dtype, targets: Mapping[str, int]) -> str:
    """The set's name, by layout, shape and dtype alone, because copies of one set differ in the names of classes."""
    form = (listing.layout, shape, str(dtype))
    axion = targets.get("axion_mass", 0) > 0
    if listing.layout == "split_class":
        return "lens finding"
    if listing.layout == "stacked":
        return "stacked arrays"
    if listing.layout == "flat":
        return "mass regression" if not axion else "axion-mass regression"
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
