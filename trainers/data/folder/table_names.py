"""A table that names files, and the files below a folder that it means."""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Collection, Sequence
from pathlib import Path

from trainers.data.folder.files import images_below
from trainers.data.folder.fits_file import FITS, header_id
from trainers.data.folder.listing import Entry
from trainers.data.folder.objects import channels, ending, without_band
from trainers.data.folder.table import Table
from trainers.errors import TrainingError


def table_entries(root: Path, table: Table) -> list[Entry]:
    """The images that the table names: by path below `root`, by name with or without ending, or by a FITS header's ID.

    A file for each band may share a row, which names them without the band. TrainingError if an image is missing, named
    twice, or has no class or an unknown split.
    """
    assert table.file
    names = [row[table.file].strip().replace("\\", "/").removeprefix("./") for row in table.rows]
    files = list(images_below(root))
    places = by_names(files, root)
    nameless: list[Path] = []
    if not any(name in places for name in names):
        for path in files:
            if own := header_id(path):
                places[own].add(path)
            else:
                nameless.append(path)
    if lost := [name for name in names if not of_one_image(places.get(name, ()))]:
        raise TrainingError(
            f"{table.path} names {len(lost)} of {len(names)} images that are not there, or not just once: "
            f"{', '.join(map(repr, lost[:3]))}{without_id(nameless)}"
        )
    entries: dict[Path, Entry] = {}
    for name, row in zip(names, table.rows, strict=True):
        label, split, targets = table.said(row, repr(name))
        for path in sorted(places[name]):
            if path in entries:
                raise TrainingError(f"{table.path} names {name!r} twice; keep one line")
            stat = path.stat()
            entries[path] = Entry(path, split, label, stat.st_size, stat.st_mtime_ns, targets=targets)
    found = list(entries.values())
    refuse_some_splits(found, table)
    return found


def by_names(files: Sequence[Path], root: Path) -> dict[str, set[Path]]:
    """The files below `root` by every name that a table may call them."""
    places: dict[str, set[Path]] = defaultdict(set)
    banded: dict[str, set[Path]] = defaultdict(set)
    for path in files:
        inside = os.path.relpath(path, root).replace(os.sep, "/")
        for name in (inside, path.name, ending(inside)[0], ending(path.name)[0]):
            places[name].add(path)
        rest, band = without_band(ending(path.name)[0])
        if band:
            banded[rest].add(path)
    return defaultdict(set, {**banded, **places})


def of_one_image(files: Collection[Path]) -> bool:
    """Whether there is one file, or one for each band of an image."""
    if len(files) < 2:
        return len(files) == 1
    images, bands = channels(sorted(files), lenient=True)
    return bool(bands) and len(images) == 1


def without_id(files: Sequence[Path]) -> str:
    """Words for the FITS files without an ID that can be read; none if there are none."""
    nameless = [path.name for path in files if path.name.lower().endswith(FITS)]
    more = f" and {len(nameless) - 3} more" if len(nameless) > 3 else ""
    return f"; no ID can be read in {', '.join(nameless[:3])}{more}" if nameless else ""


def refuse_some_splits(entries: Sequence[Entry], table: Table) -> None:
    """TrainingError if the table says the split of some images only."""
    if len(given := {entry.split for entry in entries}) > 1 and None in given:
        raise TrainingError(f"{table.path}: some images have a {table.split} and some have none")
