"""What a folder of images holds, as data: every image with its split, its class and the object that it shows."""

from __future__ import annotations

import hashlib
import os
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from trainers.data.folder.stack import Raw


@dataclass(frozen=True)
class Entry:
    """One image."""

    path: Path  # of its first file
    split: str | None  # None: the folder has no split of its own
    label: str  # canonical class name
    size: int
    mtime_ns: int
    row: int | None = None  # in a stacked array
    targets: Mapping[str, float] = field(default_factory=dict)  # known from outside the image's file
    others: tuple[Path, ...] = ()  # the files of its other bands
    array: str | None = None  # the name of its stacked array, in a file of several
    object: str | None = None  # images with the same name here show one object; None: it is alone

    @property
    def files(self) -> tuple[Path, ...]:
        """Its files, a band each in order of wavelength, or one."""
        return (self.path, *self.others)


@dataclass(frozen=True)
class Listing:
    """The images below `root`, sorted, and their classes, sorted by canonical name."""

    root: Path  # a folder, or the one file that holds all images
    layout: str  # "classes", "splits", "split_class", "flat", "table" or "stacked"
    classes: tuple[str, ...]
    entries: tuple[Entry, ...]
    raw: Raw | None = None
    bands: tuple[str, ...] = ()  # the names of the channels, if each is a file of its own
    labels: tuple[Path, ...] = ()  # the files with the labels of stacked arrays, or the table
    table: str = ""  # the table and what its columns are, or the arrays of images and labels

    @property
    def used(self) -> Iterator[str]:
        """The paths of all files that are read."""
        yield from map(str, self.labels)
        for entry in self.entries:
            yield from map(str, entry.files)

    def name(self, entry: Entry) -> str:
        """The entry's path below `root` with slashes, and its row in a stacked array: `train.h5:images[3]`."""
        array = "" if entry.array is None else f":{entry.array}"
        row = "" if entry.row is None else f"[{entry.row}]"
        return self.below_root(entry.path) + array + row

    def below_root(self, file: Path) -> str:
        return below(self.root, file)

    def fingerprint(self) -> str:
        """Hash of the images' place, names, sizes, times of change, splits, labels, objects, and of their table."""
        digest = hashlib.sha256(f"{self.root.resolve()}\0{self.layout}\0{self.raw}\0{self.table}".encode())
        for e in self.entries:
            what = f"\0{self.name(e)}\0{e.size}\0{e.mtime_ns}\0{e.split}\0{e.label}\0{dict(e.targets)}\0{e.object}"
            digest.update("\0".join([what, *map(self.below_root, e.others)]).encode())
        return digest.hexdigest()

    @cached_property
    def fault(self) -> str | None:
        """Why these images can be evaluated on at most, not trained on; None if they can be."""
        root, splits = self.root, {entry.split for entry in self.entries} - {None}
        if splits and "train" not in splits:
            if self.layout == "split_class":
                return f"{root} has no folder whose name begins with train_"
            if self.layout in ("stacked", "table"):
                return f"{root} has a {min(splits, key=str)} split but no train split"
            return f"{root} has a {Path(self._folder(min(splits, key=str))).name} folder but no train folder"
        if len(self.classes) < 2 and self.layout != "flat" and not any(entry.targets for entry in self.entries):
            only = f"{root} has only the class {self.classes[0]!r}"
            return f"{only}; expected at least two folders of images, such as no_sub/ and sub/"
        if any(entry.targets for entry in self.entries):  # which may be measured, whatever the classes
            return None
        for split in sorted(splits, key=str):
            if missing := set(self.classes) - {entry.label for entry in self.entries if entry.split == split}:
                return f"{self._folder(split)} lacks the class {min(missing)!r}, which other splits have"
        return None

    def _folder(self, split: str | None) -> str:
        """The folder of a split, if it is one, or words for it."""
        top, *inside = self.name(next(entry for entry in self.entries if entry.split == split)).split("/")
        if not inside or top == ".." or self.layout in ("split_class", "table"):
            return f"the {split} split of {self.root}"
        return str(self.root / top)

    @property
    def divisible(self) -> bool:
        """Whether each class has as many images as there are splits to draw it into."""
        drawn = Counter(entry.label for entry in self.entries if entry.split in (None, "train"))
        wanted = 3 - len({entry.split for entry in self.entries} & {"val", "test"})
        return all(drawn[label] >= wanted for label in self.classes)


def below(root: Path, file: Path) -> str:
    """The path of a file below `root`, with slashes."""
    path, start = str(file), f"{root}{os.sep}"
    if path == str(root):
        return file.name
    inside = path.removeprefix(start) if path.startswith(start) else os.path.relpath(path, root)
    return inside.replace(os.sep, "/")
