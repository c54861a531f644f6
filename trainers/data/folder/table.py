"""A table beside images: its columns (CSV, TSV) say each image's class, targets or split, and often its file."""

from __future__ import annotations

import csv
import math
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from trainers.data.folder.files import ignored
from trainers.data.folder.names import LENS, canonical, split_of, target_name
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
    file: str | None  # None: a row is an image by its place
    label: str | None
    targets: Mapping[str, str]  # the columns of regression targets by the targets' names
    split: str | None
    spoilt: tuple[str, ...] = ()  # columns that would be targets, but for a cell that is no number
    sentinels: Mapping[str, set[float]] = field(default_factory=dict)  # column -> numbers that stand for unknown ones

    def __str__(self) -> str:
        used = [f"file {self.file}" if self.file else "a row for each image"]
        used += [f"{what} {name}{self._unknown(name)}" for what, name in self._columns()]
        return f"{self.path.name} ({', '.join(used)}{''.join(f'; no numbers in {why}' for why in self.spoilt)})"

    def _columns(self) -> list[tuple[str, str]]:
        found = [("class", self.label)] * bool(self.label) + [("target", name) for name in self.targets.values()]
        return [(what, name) for what, name in [*found, ("split", self.split)] if name]

    def _unknown(self, column: str) -> str:
        values = sorted(self.sentinels.get(column, ()))
        return f" ({' and '.join(f'{value:g}' for value in values)} taken for unknown)" if values else ""

    def said(self, row: Mapping[str, str], what: str) -> tuple[str, str | None, dict[str, float]]:
        """The class, the split and the known targets of the image `what`. TrainingError without a class or split."""
        split = None
        if self.split and row[self.split].strip():
            split = split_of(row[self.split])
            if split is None:
                raise TrainingError(
                    f"{self.path}: {what} has the split {row[self.split]!r}; expected train, val or test"
                )
        if not (label := self.class_of(row)):
            raise TrainingError(f"{self.path}: {what} has no {self.label}")
        return label, split, read_targets(self, row)

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


def tables_in(root: Path) -> list[Path]:
    """The tables in `root`, sorted: those called labels.csv or metadata.csv, or all."""
    found = [p for p in sorted(root.glob("*")) if p.suffix.lower() in ENDINGS and p.is_file() and not ignored(p.name)]
    return [path for path in found if path.name.lower() in KNOWN] or found


def find_table(root: Path) -> Table | None:
    """The only table in `root`, if it names files and what they show. TrainingError as from `read_table`."""
    found = tables_in(root)
    return read_table(found[0], with_files=True) if len(found) == 1 else None


def read_table(path: Path, *, with_files: bool = False) -> Table | None:
    """The table at `path`, if it says what images show; `with_files`: and names their files.

    Commas, semicolons or tabs separate its columns. Every other column of numbers is a regression target. TrainingError
    if it has one but for a cell, and nothing else.
    """
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
    if not rows or (with_files and name is None):
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


def read_targets(table: Table, row: Mapping[str, str]) -> dict[str, float]:
    """The regression targets that are known in a row."""
    found = {name: number(row[column]) for name, column in table.targets.items()}
    unknown = {name: table.sentinels.get(column, ()) for name, column in table.targets.items()}
    return {name: value for name, value in found.items() if value is not None and value not in unknown[name]}
