"""Properties of the files that tell the classes apart: then these may come from two pipelines, not from two kinds.

A network sees none of them. But files of one class that are larger, older or otherwise named are often made otherwise.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from trainers.audit.shortcut import SIGMAS, chance
from trainers.data.folder.image_file import FITS, UNREADABLE
from trainers.metrics import auc

if TYPE_CHECKING:
    from trainers.data import Dataset

CLEAR = 0.75
DAY = 86400  # seconds; files are often copied one class after the other, so only the day counts
HEADERS = 500  # files of which FITS headers are read, at most
MOST_VALUES = 20  # different texts, or each file has its own


@dataclass(frozen=True)
class Property:
    """A property of files, and the AUC with which its order, upwards or downwards, tells one class from the others."""

    name: str
    auc: float
    of: str  # the class that is told best
    images: int  # that have the property
    some: int  # of this class

    @property
    def found(self) -> bool:
        return self.auc >= max(CLEAR, 0.5 + SIGMAS * chance(self.some, self.images))


def file_properties(data: Dataset, root: str | None, names: Sequence[str]) -> tuple[Property, ...]:
    """The properties of the training and validation images' files, the most telling first.

    `root` is the folder of images, `names` the path of each below it, in the order of the splits. There are none
    unless each image has a file of its own and there are classes.
    """
    labels = torch.cat([data.train.labels, data.val.labels]).numpy()
    files = [Path(root or "", name) for name in names[: len(labels)]]
    if root is None or len(data.classes) < 2 or not all(file.is_file() for file in files):
        return ()
    stats = [file.stat() for file in files]
    every = np.arange(len(files))
    values: dict[str, tuple[np.ndarray, Sequence[Any]]] = {
        "the text of the file's name": (every, [re.sub(r"\d+", "#", file.name) for file in files]),
        "the number in the file's name": (every, [number(file.name) for file in files]),
        "the size of the file": (every, [stat.st_size for stat in stats]),
        "the day of the file": (every, [stat.st_mtime // DAY for stat in stats]),
    }
    if all(file.name.lower().endswith(FITS) for file in files):
        rows = np.unique(np.linspace(0, len(files) - 1, min(len(files), HEADERS)).astype(int))
        headers = [header(files[row]) for row in rows]
        for key in sorted({key for each in headers for key in each}):
            values[f"the header's {key}"] = (rows, [each.get(key) for each in headers])
    found = (tell(name, column, labels[rows], data.classes) for name, (rows, column) in values.items())
    return tuple(sorted((p for p in found if p), key=lambda p: -p.auc))


def number(name: str) -> float | None:
    """The last whole number in a file's name."""
    digits = re.findall(r"\d+", name)
    return float(digits[-1]) if digits else None


def header(path: Path) -> Mapping[str, Any]:
    """The numbers and texts in the headers of a FITS file's first two HDUs; nothing if it cannot be read."""
    from astropy.io import fits

    try:
        with fits.open(path) as units:
            cards = [card for unit in units[:2] for card in unit.header.cards]
            return {card.keyword: card.value for card in cards if isinstance(card.value, bool | int | float | str)}
    except (*UNREADABLE, TypeError, KeyError, IndexError):
        return {}


def tell(name: str, values: Sequence[Any], labels: np.ndarray, classes: Sequence[str]) -> Property | None:
    """How well `values`, one for each image, tell a class from the others. None if they say nothing.

    Numbers count by their order, texts by the share of the class among the images that have the text. A missing
    value is a text of its own, unless all others are numbers: then the image does not count.
    """
    if any(isinstance(value, str) for value in values):
        texts, codes = np.unique([str(value) for value in values], return_inverse=True)
        if not 1 < len(texts) <= min(MOST_VALUES, len(values) / 5):
            return None
        each = [(classes[k], labels == k, share(codes, labels == k)) for k in range(len(classes))]
    else:
        column = np.array([np.nan if value is None else value for value in values], dtype=float)
        known = np.isfinite(column)
        if known.sum() < 2 or np.ptp(column[known]) == 0:
            return None
        each = [(classes[k], labels[known] == k, column[known]) for k in range(len(classes))]
    told = list(aucs(each, by_order=not any(isinstance(value, str) for value in values)))
    if not told:
        return None
    value, of, some, images = max(told)
    return Property(name, value, of, images, some)


def share(codes: np.ndarray, of: np.ndarray) -> np.ndarray:
    """Of the other images with the same code, the share for which `of` is true: no image vouches for itself."""
    return (np.bincount(codes, weights=of)[codes] - of) / np.maximum(np.bincount(codes)[codes] - 1, 1)


def aucs(each: Sequence[tuple[str, np.ndarray, np.ndarray]], by_order: bool) -> Iterator[tuple[float, str, int, int]]:
    """The AUC of each class, its name and the numbers of its and all images. `by_order`: low scores may tell it too."""
    for name, of, scores in each:
        if of.any() and not of.all():
            value = auc(of, scores)
            yield max(value, 1 - value) if by_order else value, name, int(of.sum()), len(of)
