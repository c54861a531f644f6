"""A table that names files, and the files below a folder that it means."""

from __future__ import annotations

import os
import re
from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from trainers.data.folder.files import images_below, subfolders
from trainers.data.folder.fits_file import FITS, header_id
from trainers.data.folder.listing import Entry, below
from trainers.data.folder.names import PLAIN, ending, split_of
from trainers.data.folder.objects import channels, without_band
from trainers.data.folder.table import Table, names_in
from trainers.errors import TrainingError

MOST_BANDS, MOST_DIGITS = 20, 18
ABSOLUTE = re.compile(r"([A-Za-z]:)?/")


def table_entries(root: Path, table: Table) -> list[Entry]:
    """The images that the table names, as `named_files` finds them.

    A file for each band may share a row, which names them without the band, and so may all images of one object, in the
    folder that the row names. TrainingError if an image is missing, named twice, or has no class or an unknown split.
    """
    found, by_header = named_files(root, table)
    names = names_in(table)
    whole = folders_named(root, table, found)
    bad = {name for name in set(names) - whole if not of_one_image(found.get(name, ()))}
    if bad and (completed := in_split_folders(root, table)):
        return table_entries(root, completed)
    if lost := [name for name in names if name in bad]:
        raise TrainingError(
            f"{table.path} names {len(lost)} of {len(names)} images that are not there, or not just once: "
            f"{', '.join(map(repr, lost[:3]))}; expected paths below {root}, or names of files, with or without "
            f"ending{without_id(root) if by_header else ''}"
        )
    entries: dict[Path, Entry] = {}
    for name, row in zip(names, table.rows, strict=True):
        label, split, targets, shown = table.said(row, repr(name))
        if name in whole:
            shown = shown or f"folder {name}"
        for path in sorted(found[name]):
            if path in entries:
                raise TrainingError(f"{table.path} names {name!r} twice; keep one line")
            stat = path.stat()
            entries[path] = Entry(path, split, label, stat.st_size, stat.st_mtime_ns, targets=targets, object=shown)
    made = list(entries.values())
    refuse_some_splits(made, table)
    return made


def in_split_folders(root: Path, table: Table) -> Table | None:
    """The table with the folder of its split before the name of each file; None if the rows have no split, a split has
    not one folder, or names begin with that of a folder.
    """
    assert table.file
    folders = [folder.name for folder in subfolders(root) if split_of(folder.name)]
    of = {split_of(name): name for name in folders}
    names = names_in(table)
    splits = [split_of(row[table.split]) for row in table.rows] if table.split else [None]
    if (
        not {*splits} <= {*of}
        or len(of) < len(folders)
        or any(name.startswith(("/", *(f"{folder}/" for folder in folders))) for name in names)
    ):
        return None
    placed = (f"{of[split]}/{name}" for split, name in zip(splits, names, strict=True))
    return replace(table, rows=[{**row, table.file: name} for row, name in zip(table.rows, placed, strict=True)])


def named_files(root: Path, table: Table) -> tuple[Mapping[str, Collection[Path]], bool]:
    """The files below `root` that each row may mean: by path, by name with or without ending, by the end of an absolute
    path of another machine, by the only number in the name, or by a FITS header's ID. Whether it is the last.
    """
    names = names_in(table)
    files = list(images_below(root, companions=True))
    places = by_names(files, root)
    found: dict[str, Collection[Path]] = {name: places.get(name, ()) for name in names}
    if any(len(paths) > 1 and not of_one_image(paths) for paths in found.values()):  # a mask of the same name, perhaps
        images = set(images_below(root))
        found = {name: paths if len(paths) < 2 else images.intersection(paths) for name, paths in found.items()}
    lost = [name for name in found if not found[name]]
    if lost and all(map(ABSOLUTE.match, lost)):
        found |= by_end(lost, places)
    elif lost and all(name.isdecimal() and len(name) <= MOST_DIGITS for name in names):
        numbers = by_number(files)
        found |= {name: numbers.get(int(name), ()) for name in lost}
    if any(found.values()):
        return found, False
    ids: dict[str, set[Path]] = defaultdict(set)
    for path in files:
        if own := header_id(path):
            ids[own].add(path)
    return ids, True


def by_names(files: Sequence[Path], root: Path) -> Mapping[str, set[Path]]:
    """The files below `root` by every name that a table may call them, or the folders of an object."""
    places: dict[str, set[Path]] = defaultdict(set)
    banded: dict[str, set[Path]] = defaultdict(set)
    folders: dict[str, set[Path]] = defaultdict(set)
    for path in files:
        inside = below(root, path)
        for name in {inside, f"{root.name}/{inside}", path.name}:
            places[name].add(path)
            places[ending(name)[0]].add(path)
        if "/" in inside:
            folders[os.path.dirname(inside)].add(path)
        rest, band = without_band(ending(path.name)[0])
        if band:
            banded[rest].add(path)
    return {**folders, **banded, **places}


def by_end(names: Sequence[str], places: Mapping[str, set[Path]]) -> dict[str, Collection[Path]]:
    """The files that absolute paths mean, by the longest end that is the path of a file below here.

    A bare name does not stand for an image of a folder that is a split's.
    """
    parts = {name: ABSOLUTE.sub("", name, count=1).split("/") for name in names}
    for length in range(max(map(len, parts.values())), 0, -1):
        found = {name: places.get("/".join(path[-length:]), ()) for name, path in parts.items()}
        if any(found.values()):
            in_split = length == 1 and any(path[-2].lower() in PLAIN for path in parts.values() if len(path) > 1)
            return {} if in_split else {**found}
    return {}


def by_number(files: Sequence[Path]) -> Mapping[int, set[Path]]:
    """The files by the only number in their names without band: `imageEUC_VIS-100000.fits` by 100000."""
    found: dict[int, set[Path]] = defaultdict(set)
    for path in files:
        numbers = re.findall(r"\d+", without_band(ending(path.name)[0])[0])
        if len(numbers) == 1:
            found[int(numbers[0])].add(path)
    return found


def folders_named(root: Path, table: Table, found: Mapping[str, Collection[Path]]) -> set[str]:
    """The folders that rows name, each with the images of one object; none if the rows only list the classes."""
    names = names_in(table)
    classes = {table.class_of(row) for row in table.rows}
    if table.label is None or len(classes) == len(names):
        return set()
    return {name for name in names if is_folder(name, found.get(name, ()), root)}


def is_folder(name: str, files: Collection[Path], root: Path) -> bool:
    """Whether `files` are in the folder that is called `name` below `root`."""
    return bool(files) and all(below(root, path).rpartition("/")[0] == name for path in files)


def of_one_image(files: Collection[Path]) -> bool:
    """Whether there is one file, or one for each band of an image."""
    if len(files) < 2 or len(files) > MOST_BANDS:
        return len(files) == 1
    images, bands = channels(sorted(files), lenient=True)
    return bool(bands) and len(images) == 1


def without_id(root: Path) -> str:
    """Words for the FITS files without an ID that can be read; none if there are none."""
    nameless = [p.name for p in images_below(root) if p.name.lower().endswith(FITS) and not header_id(p)]
    more = f" and {len(nameless) - 3} more" if len(nameless) > 3 else ""
    return f"; no ID can be read in {', '.join(nameless[:3])}{more}" if nameless else ""


def refuse_some_splits(entries: Sequence[Entry], table: Table) -> None:
    """TrainingError if the table says the split of some images only."""
    if len(given := {entry.split for entry in entries}) > 1 and None in given:
        raise TrainingError(f"{table.path}: some images have a {table.split} and some have none")
