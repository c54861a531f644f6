"""All checks of a data set, as plain data. Only pixels and copies are looked for among the test images too."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch

from trainers.audit.copies import Copies, find_copies
from trainers.audit.pixels import Some, measure, some
from trainers.audit.properties import Property, file_properties
from trainers.audit.shortcut import Shortcut, shortcut
from trainers.data import Dataset, Split
from trainers.data.axis import Axis, preferred_axis
from trainers.data.cache import SPLITS
from trainers.data.folder.recognised import UNBALANCED


@dataclass(frozen=True)
class Audit:
    """What was found in a data set. Counts are of images."""

    data: str  # in one line
    classes: tuple[str, ...]
    images: Mapping[str, tuple[int, ...]]  # of every class, by split
    objects: Mapping[str, tuple[int, ...]]  # the same, but images of one object count once
    axis: Axis
    shortcuts: Mapping[str, Shortcut]  # by the name of the features; empty without classes
    copies: Copies
    constant: Some
    saturated: Some
    filled_images: int  # images with missing pixels, which are filled in
    filled_pixels: int
    unreadable: Some  # that were discarded (skip_bad)
    properties: tuple[Property, ...]  # of the files, the most telling first; empty unless each image is a file

    @property
    def imbalance(self) -> float:
        """The ratio of the largest class to the smallest in the training split; 1 without classes or images."""
        counts = self.images["train"]
        return max(counts) / max(min(counts), 1) if any(counts) else 1.0

    @property
    def unbalanced(self) -> bool:
        return self.imbalance > UNBALANCED

    @property
    def lonely(self) -> tuple[str, ...]:
        """Classes of which a split shows one object only, as `sub in val`."""
        if len(self.classes) < 2:
            return ()
        each = ((name, split, n) for split in SPLITS for name, n in zip(self.classes, self.objects[split], strict=True))
        return tuple(f"{name} in {split}" for name, split, n in each if n == 1)


def audit(data: Dataset) -> Audit:
    """Check a data set in some ten seconds of processor time, however large it is: shortcuts look at some images."""
    splits = {split: getattr(data, split) for split in SPLITS}
    names = image_names(data)
    pixels = measure(splits.values())
    manifest = read(data, "manifest.json") or {}
    filled = manifest.get("filled", {})
    kinds = ("statistics", "pca") if len(data.classes) > 1 else ()
    unreadable = manifest.get("skipped", ())
    return Audit(
        data=data.describe(),
        classes=data.classes,
        images={name: counted(split, len(data.classes)) for name, split in splits.items()},
        objects={name: counted(once(split), len(data.classes)) for name, split in splits.items()},
        axis=preferred_axis(data.train),
        shortcuts={name: shortcut(name, data) for name in kinds},
        copies=find_copies(list(splits.values()), pixels, names),
        constant=some(pixels.constant, names),
        saturated=some(pixels.saturated, names),
        filled_images=filled.get("images", 0),
        filled_pixels=filled.get("pixels", 0),
        unreadable=Some(len(unreadable), tuple(unreadable[:3])),
        properties=file_properties(data, manifest.get("folder", {}).get("path"), names),
    )


def read(data: Dataset, file: str) -> Any:
    """A record in the data set's cache folder; None if there is none."""
    path = data.folder and data.folder / file
    return json.loads(path.read_text()) if path and path.exists() else None


def image_names(data: Dataset) -> list[str]:
    """A name for every image, in the order of the splits: its path below the data's folder, or its row."""
    if files := read(data, "files.json"):
        return [name for split in SPLITS for name, _ in files[split]]
    return [f"{split} image {row}" for split in SPLITS for row in range(len(getattr(data, split)))]


def counted(split: Split, classes: int) -> tuple[int, ...]:
    return tuple(torch.bincount(split.labels, minlength=classes).tolist())


def once(split: Split) -> Split:
    """One image of each object of each class."""
    if split.objects is None:
        return split
    pairs = torch.stack([split.objects, split.labels], 1).tolist()
    first = {tuple(pair): row for row, pair in reversed(list(enumerate(pairs)))}
    return split.rows(torch.tensor(sorted(first.values()), dtype=torch.long))
