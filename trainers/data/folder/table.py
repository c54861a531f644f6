"""A table beside images: a CSV file whose columns name each image's file and its class, targets or split."""

from __future__ import annotations

import csv
import os
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from trainers.data.dataset import TARGETS
from trainers.data.folder.files import ignored, images_below
from trainers.data.folder.image_file import target
from trainers.data.folder.listing import Entry
from trainers.data.folder.names import LENS, canonical, split_of
from trainers.data.folder.objects import ending
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
KNOWN = ("labels.csv", "metadata.csv")


@dataclass(frozen=True)
class Table:
    """A table and what its columns are."""

    path: Path
    rows: Sequence[Mapping[str, str]]
    file: str
    label: str | None
    targets: tuple[str, ...]  # the columns of regression targets
    split: str | None

    def __str__(self) -> str:
        used = [f"file {self.file}"] + [f"{what} {name}" for what, name in self._columns()]
        return f"{self.path.name} ({', '.join(used)})"

    def _columns(self) -> list[tuple[str, str]]:
        found = [("class", self.label)] * bool(self.label) + [("target", name) for name in self.targets]
        return [(what, name) for what, name in [*found, ("split", self.split)] if name]


def find_table(root: Path) -> Table | None:
    """The table in `root`: labels.csv, metadata.csv or the only .csv file, if it names files and what they show."""
    found = [p for p in sorted(root.glob("*")) if p.suffix.lower() == ".csv" and p.is_file() and not ignored(p.name)]
    known = [path for path in found if path.name.lower() in KNOWN]
    if len(chosen := known or found) != 1:
        return None
    (path,) = chosen
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.DictReader(file, skipinitialspace=True, restval="")
            columns = {(name or "").strip().lower(): name for name in reader.fieldnames or ()}
            rows = list(reader)
    except (UnicodeDecodeError, csv.Error) as error:
        raise TrainingError(f"{path} cannot be read as a table ({error}); save it as CSV in UTF-8") from error
    name, label = (next((columns[c] for c in known if c in columns), None) for known in (FILES, LABELS))
    targets = tuple(columns[column] for column in TARGETS if column in columns)
    if name is None or not (label or targets) or not rows:
        return None
    return Table(path, rows, name, label, targets, columns.get("split"))


def table_entries(root: Path, table: Table) -> list[Entry]:
    """The images that the table names, by path below `root` or by name, with or without ending.

    TrainingError if one is missing, named twice, or has no class, an unknown split or a target that is no number.
    """
    places: dict[str, set[Path]] = defaultdict(set)
    for path in images_below(root):
        inside = os.path.relpath(path, root).replace(os.sep, "/")
        for name in (inside, path.name, ending(inside)[0], ending(path.name)[0]):
            places[name].add(path)
    names = [row[table.file].strip().replace("\\", "/").removeprefix("./") for row in table.rows]
    if lost := [name for name in names if len(places.get(name, ())) != 1]:
        raise TrainingError(
            f"{table.path} names {len(lost)} of {len(names)} images that are not there, or not just once: "
            f"{', '.join(map(repr, lost[:3]))}"
        )
    entries: dict[Path, Entry] = {}
    for name, row in zip(names, table.rows, strict=True):
        (path,) = places[name]
        if path in entries:
            raise TrainingError(f"{table.path} names {name!r} twice; keep one line")
        label = canonical(row[table.label]) if table.label else LENS
        split = None
        if table.split and row[table.split].strip():
            split = split_of(row[table.split])
            if split is None:
                raise TrainingError(
                    f"{table.path}: {name!r} has the split {row[table.split]!r}; expected train, val or test"
                )
        if not label:
            raise TrainingError(f"{table.path}: {name!r} has no {table.label}")
        stat = path.stat()
        numbers = read_targets(table, name, row)
        entries[path] = Entry(path, split, label, stat.st_size, stat.st_mtime_ns, targets=numbers)
    if len(given := {entry.split for entry in entries.values()}) > 1 and None in given:
        raise TrainingError(f"{table.path}: some images have a {table.split} and some have none")
    return list(entries.values())


def read_targets(table: Table, name: str, row: Mapping[str, str]) -> dict[str, float]:
    """The regression targets in a row. An empty cell or NaN is not known."""
    found: dict[str, float] = {}
    for column in table.targets:
        cell = row[column].strip()
        if cell.lower() in ("", "nan", "na", "none", "null"):
            continue
        try:
            number = target(float(cell))
        except ValueError as error:  # a TrainingError too
            raise TrainingError(f"{table.path}: {name!r} has the {column} {cell!r}") from error
        if column.strip().lower() not in number:
            raise TrainingError(
                f"{table.path}: {name!r} has the {column} {cell}; expected an axion mass in eV or a mass fraction"
            )
        found |= number
    return found
