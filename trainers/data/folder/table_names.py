"""A table that names files, and the files below a folder that it means."""

from __future__ import annotations

import os
import re
from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path

from trainers.data.folder.files import images_below
from trainers.data.folder.fits_file import FITS, header_id
from trainers.data.folder.listing import Entry, below
from trainers.data.folder.names import ending
from trainers.data.folder.objects import channels, without_band
from trainers.data.folder.table import Table
from trainers.errors import TrainingError


def table_entries(root: Path, table: Table) -> list[Entry]:
    """The images that the table names: by path, by name with or without ending, by the only number in the name, or by a
    FITS header's ID.

    A file for each band may share a row, which names them without the band, and so may all images of one object, in the
    folder that the row names. TrainingError if an image is missing, named twice, or has no class or an unknown split.
    """
    names = names_in(table)
    places, nameless = named_places(root, names)
    whole = {name for name in names if is_folder(name, places.get(name, ()), root)}
    if lost := [name for name in names if name not in whole and not of_one_image(places.get(name, ()))]:
        raise TrainingError(
            f"{table.path} names {len(lost)} of {len(names)} images that are not there, or not just once: "
            f"{', '.join(map(repr, lost[:3]))}; expected paths below {root}, or names of files, with or without "
            f"ending{without_id(nameless)}"
        )
    entries: dict[Path, Entry] = {}
    for name, row in zip(names, table.rows, strict=True):
        label, split, targets, shown = table.said(row, repr(name))
        if name in whole:
            shown = shown or f"folder {name}"
        for path in sorted(places[name]):
            if path in entries:
                raise TrainingError(f"{table.path} names {name!r} twice; keep one line")
            stat = path.stat()
            entries[path] = Entry(path, split, label, stat.st_size, stat.st_mtime_ns, targets=targets, object=shown)
    found = list(entries.values())
    refuse_some_splits(found, table)
    return found


def names_in(table: Table) -> list[str]:
    """What each row calls its image."""
    assert table.file
    return [row[table.file].strip().replace("\\", "/").removeprefix("./") for row in table.rows]


def named_files(root: Path, table: Table) -> Mapping[str, Collection[Path]]:
    """The files below `root` by the names that the table gives them."""
    return named_places(root, names_in(table))[0]


def named_places(root: Path, names: Sequence[str]) -> tuple[Mapping[str, Collection[Path]], list[Path]]:
    """The files below `root` that each of `names` may mean; those in which an ID was sought in vain."""
    files = list(images_below(root))
    places = by_names(files, root)
    found: dict[str, Collection[Path]] = {}
    for name in names:
        inside = os.path.relpath(name, root.absolute()) if os.path.isabs(name) else name
        found[name] = places.get(inside, ()) or places.get(os.path.basename(name), ())
    if any(found.values()):
        return found, []
    if all(map(str.isdecimal, names)):
        numbers = by_number(files)
        found = {name: numbers.get(int(name), ()) for name in names}
    if any(found.values()):
        return found, []
    ids, nameless = defaultdict(set), []
    for path in files:
        if own := header_id(path):
            ids[own].add(path)
        else:
            nameless.append(path)
    return ids, nameless


def by_number(files: Sequence[Path]) -> dict[int, set[Path]]:
    """The files by the only number in their names without band: `imageEUC_VIS-100000.fits` by 100000."""
    found: dict[int, set[Path]] = defaultdict(set)
    for path in files:
        numbers = re.findall(r"\d+", without_band(ending(path.name)[0])[0])
        if len(numbers) == 1:
            found[int(numbers[0])].add(path)
    return found


def by_names(files: Sequence[Path], root: Path) -> dict[str, set[Path]]:
    """The files below `root` by every name that a table may call them."""
    places: dict[str, set[Path]] = defaultdict(set)
    banded: dict[str, set[Path]] = defaultdict(set)
    folders: dict[str, set[Path]] = defaultdict(set)
    for path in files:
        inside = os.path.relpath(path, root).replace(os.sep, "/")
        for name in (inside, path.name, ending(inside)[0], ending(path.name)[0]):
            places[name].add(path)
        folders[os.path.dirname(inside)].add(path)
        rest, band = without_band(ending(path.name)[0])
        if band:
            banded[rest].add(path)
    return defaultdict(set, {**folders, **banded, **places})


def is_folder(name: str, files: Collection[Path], root: Path) -> bool:
    """Whether `files` are in the folder that is called `name` below `root`."""
    return bool(files) and {below(root, path).rpartition("/")[0] for path in files} == {name}


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
