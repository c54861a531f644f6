"""A table beside images: a CSV or TSV file whose columns name each image's file and its class, targets or split."""

from __future__ import annotations

import csv
import math
import os
import re
from collections import Counter, defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from trainers.data.folder.files import ignored, images_below
from trainers.data.folder.fits_file import FITS, header_id
from trainers.data.folder.listing import Entry
from trainers.data.folder.names import LENS, canonical, split_of, target_name
from trainers.data.folder.objects import channels, ending, without_band
from trainers.errors import TrainingError

FILES = (
    "file",
    "filename",
    "file_name",
    "path",
    "filepath",
    "image",
    "image_name",
    "image_id",
    "name",
    "id",
    "object_id",
)
LABELS = ("label", "labels", "class", "class_name", "classname", "type", "category", "target")
FLAGS = ("has_", "is_")
"""How the name of a column begins that says 0 or 1 of something, and so has two classes: `has_substructure`."""
ENDINGS = (".csv", ".tsv")
KNOWN = tuple(f"{name}{ending}" for name in ("labels", "metadata") for ending in ENDINGS)
UNKNOWN = ("", "nan", "na", "none", "null")
"""Cells of what is not known."""


@dataclass(frozen=True)
class Table:
    """A table and what its columns are."""

    path: Path
    rows: Sequence[Mapping[str, str]]
    file: str
    label: str | None
    targets: Mapping[str, str]  # the columns of regression targets by the targets' names
    split: str | None
    spoilt: tuple[str, ...] = ()  # columns that would be targets, but for a cell that is no number
    sentinels: Mapping[str, set[float]] = field(default_factory=dict)  # column -> numbers that stand for unknown ones

    def __str__(self) -> str:
        used = [f"file {self.file}"] + [f"{what} {name}{self._unknown(name)}" for what, name in self._columns()]
        return f"{self.path.name} ({', '.join(used)}{''.join(f'; no numbers in {why}' for why in self.spoilt)})"

    def _columns(self) -> list[tuple[str, str]]:
        found = [("class", self.label)] * bool(self.label) + [("target", name) for name in self.targets.values()]
        return [(what, name) for what, name in [*found, ("split", self.split)] if name]

    def _unknown(self, column: str) -> str:
        values = sorted(self.sentinels.get(column, ()))
        return f" ({' and '.join(f'{value:g}' for value in values)} taken for unknown)" if values else ""

    def class_of(self, row: Mapping[str, str]) -> str:
        """The class in a row; empty if there is none."""
        if self.label is None:
            return LENS
        what, cell = self.label.strip().lower(), row[self.label].strip()
        flag = next((flag for flag in FLAGS if what.startswith(flag)), None)
        if cell.lower() in UNKNOWN and (flag or cell.lower() != "none"):  # none may be the class without substructure
            return ""
        if flag is None:
            return canonical(cell)
        return canonical(what.removeprefix(flag) if float(cell) else f"no_{what.removeprefix(flag)}")


def find_table(root: Path) -> Table | None:
    """The table in `root`: labels.csv, metadata.csv or the only one, if it names files and what they show.

    Commas, semicolons or tabs separate its columns. Every other column of numbers is a regression target. TrainingError
    if it has one but for a cell, and nothing else.
    """
    found = [p for p in sorted(root.glob("*")) if p.suffix.lower() in ENDINGS and p.is_file() and not ignored(p.name)]
    known = [path for path in found if path.name.lower() in KNOWN]
    if len(chosen := known or found) != 1:
        return None
    (path,) = chosen
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            separator = max(",;\t", key=file.readline().count)
            file.seek(0)
            reader = csv.DictReader(file, skipinitialspace=True, restval="", delimiter=separator)
            columns = {(name or "").strip().lower(): name for name in reader.fieldnames or ()}
            rows = list(reader)
    except (UnicodeDecodeError, csv.Error) as error:
        raise TrainingError(f"{path} cannot be read as a table ({error}); save it as CSV in UTF-8") from error
    name = next((columns[c] for c in FILES if c in columns), None)
    if name is None or not rows:
        return None
    others = {c: column for c, column in columns.items() if c and column != name and c != "split"}
    label = next((others[c] for c in LABELS if c in others and not measures(rows, others[c])), None)
    if label is None:
        label = next(
            (v for c, v in others.items() if c.startswith(FLAGS) and set(map(number, cells(rows, v))) <= {0, 1}), None
        )
    targets, spoilt = {}, []
    for column in others.values():
        target, bad = target_name(column), [cell for cell in cells(rows, column) if number(cell) is None]
        if column == label or target is None:
            continue
        if not bad and cells(rows, column):
            targets[target] = column
        elif 0 < 2 * len(bad) <= len(cells(rows, column)):
            spoilt.append(f"{column.strip()} ({bad[0]!r})")
    if not (label or targets):
        if spoilt:
            raise TrainingError(f"{path} has cells that are no numbers: {', '.join(spoilt)}; mend or empty them")
        return None
    unknown = {
        column: sentinels([float(row[column]) for row in rows if number(row[column]) is not None])
        for column in targets.values()
    }
    return Table(path, rows, name, label, targets, columns.get("split"), tuple(spoilt), unknown)


def cells(rows: Sequence[Mapping[str, str]], column: str) -> set[str]:
    """What a column holds, without cells of what is not known."""
    found = {row[column].strip() for row in rows}
    return {cell for cell in found if cell.lower() not in UNKNOWN}


def number(cell: str) -> float | None:
    """The number in a cell; None if it is none, or not finite."""
    try:
        value = float(cell)
    except ValueError:
        return None
    return value if math.isfinite(value) else None


def sentinels(values: Sequence[float]) -> set[float]:
    """The numbers such as -99 and 9999 that repeat, and lie farther from all others than these lie from each other."""
    nines = {v for v, count in Counter(values).items() if count > 1 and re.fullmatch("-?9{2,}", f"{v:.12g}")}
    others = [value for value in values if value not in nines]
    if not others:
        return set()
    low, high = min(others), max(others)
    return {value for value in nines if max(low - value, value - high) > high - low}


def measures(rows: Sequence[Mapping[str, str]], column: str) -> bool:
    """Whether a column holds numbers that are not all whole, and so no classes."""
    values = [number(cell) for cell in cells(rows, column)]
    return None not in values and any(value != round(value) for value in values if value is not None)


def table_entries(root: Path, table: Table) -> list[Entry]:
    """The images that the table names: by path below `root`, by name with or without ending, or by a FITS header's ID.

    A file for each band may share a row, which names them without the band. TrainingError if an image is missing, named
    twice, or has no class or an unknown split.
    """
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
        label = table.class_of(row)
        split = None
        if table.split and row[table.split].strip():
            split = split_of(row[table.split])
            if split is None:
                raise TrainingError(
                    f"{table.path}: {name!r} has the split {row[table.split]!r}; expected train, val or test"
                )
        if not label:
            raise TrainingError(f"{table.path}: {name!r} has no {table.label}")
        numbers = read_targets(table, row)
        for path in sorted(places[name]):
            if path in entries:
                raise TrainingError(f"{table.path} names {name!r} twice; keep one line")
            stat = path.stat()
            entries[path] = Entry(path, split, label, stat.st_size, stat.st_mtime_ns, targets=numbers)
    if len(given := {entry.split for entry in entries.values()}) > 1 and None in given:
        raise TrainingError(f"{table.path}: some images have a {table.split} and some have none")
    return list(entries.values())


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


def read_targets(table: Table, row: Mapping[str, str]) -> dict[str, float]:
    """The regression targets that are known in a row."""
    found = {name: number(row[column]) for name, column in table.targets.items()}
    unknown = {name: table.sentinels.get(column, ()) for name, column in table.targets.items()}
    return {name: value for name, value in found.items() if value is not None and value not in unknown[name]}
