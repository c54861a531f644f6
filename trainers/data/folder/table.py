"""A table beside images: its columns (CSV, TSV) say each image's class, targets or split, and often its file."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import NamedTuple

from trainers.data.folder.columns import (
    FILES,
    FLAGS,
    are_splits,
    file_columns,
    flag_columns,
    measures,
    number,
    sentinels,
    truth,
    with_splits,
)
from trainers.data.folder.files import below, ignored, images_among, is_table
from trainers.data.folder.fits_file import FITS
from trainers.data.folder.image_file import EXTENSIONS
from trainers.data.folder.names import (
    LENS,
    OBJECT,
    UNKNOWN,
    canonical,
    ending,
    object_name,
    object_named,
    refuse_spellings,
    split_of,
    target_name,
)
from trainers.data.folder.table_text import rows_in
from trainers.errors import TrainingError, named

LABELS = ("label", "labels", "class", "class_name", "classname", "type", "category", "target")
ENDINGS = (".csv", ".tsv", ".ecsv", ".parquet")
NUMBERING = re.compile(r"(unnamed: \d+)?")
"""What pandas calls a column that only numbers the rows."""
FIRST = tuple(f"{name}{ending}" for name in ("labels", "metadata") for ending in ENDINGS)
"""Tables that count alone beside others."""


class Said(NamedTuple):
    """What a row says of its image."""

    label: str
    split: str | None
    targets: dict[str, float]
    object: str | None


@dataclass(frozen=True)
class Table:
    """A table and what its columns are."""

    path: Path
    rows: Sequence[Mapping[str, str]]
    file: str | None  # None: a row is an image by its place
    label: str | None
    targets: Mapping[str, str]  # the columns of regression targets by the targets' names
    split: str | None
    flag: str | None = None  # what the label says is so or not, if it is 0 or 1
    object: str | None = None  # the column that says which images show one object
    spoilt: tuple[str, ...] = ()  # columns that would be targets, but for a cell that is no number
    sentinels: Mapping[str, set[float]] = field(default_factory=dict)  # column -> numbers that stand for unknown ones
    others: tuple[Path, ...] = ()  # the tables of other splits, whose rows are among these
    files: tuple[str, ...] = ()  # all columns that may name the images' files

    def __str__(self) -> str:
        used = [f"file {self.file}" if self.file else "a row for each image"]
        used += [f"{what} {name}{self._unknown(name)}" for what, name in self._columns()]
        names = " and ".join(dict.fromkeys(path.name for path in (self.path, *self.others)))
        return f"{names} ({', '.join(used)}{''.join(f'; no numbers in {why}' for why in self.spoilt)})"

    def _columns(self) -> list[tuple[str, str]]:
        found = [("class", self.label)] * bool(self.label) + [("target", name) for name in self.targets.values()]
        return [(what, name) for what, name in [*found, ("split", self.split), ("object", self.object)] if name]

    def _unknown(self, column: str) -> str:
        values = sorted(self.sentinels.get(column, ()))
        return f" ({' and '.join(f'{value:g}' for value in values)} taken for unknown)" if values else ""

    def said(self, row: Mapping[str, str], what: str) -> Said:
        """What a row says of the image `what`. TrainingError if a class is lacking, or a split is none."""
        split = None
        if self.split and row[self.split].strip():
            split = split_of(row[self.split])
            if split is None:
                raise TrainingError(
                    f"{self.path}: {what} has the split {row[self.split]!r}; expected train, val or test"
                )
        if not (label := self.class_of(row)):
            raise TrainingError(f"{self.path}: {what} has no {self.label}; fill it in, or remove the row")
        shown = object_name(row[self.object]) if self.object else None
        own = split if self.others else None  # each table may number its objects from the start
        return Said(label, split, read_targets(self, row), shown and f"{own or self.object} {shown}")

    def class_of(self, row: Mapping[str, str]) -> str:
        """The class in a row; empty if there is none."""
        if self.label is None:
            return LENS
        cell = row[self.label].strip()
        if cell.lower() in UNKNOWN and (self.flag or cell.lower() != "none"):  # may be the class without substructure
            return ""
        if self.flag is None:
            value = number(cell)
            return canonical(cell if value is None or value % 1 else str(int(value)))
        return canonical(self.flag if truth(cell) else f"no_{self.flag}")


def tables_in(root: Path) -> list[Path]:
    """The tables in `root`, sorted: labels.csv and metadata.csv, or all; or labels.fits and the like."""
    called = [p for p in root.glob("*") if p.suffix.lower() in ENDINGS or is_table(p.name, (".txt", *FITS))]
    files = sorted(path for path in called if path.is_file() and not ignored(path.name))
    of_kind = [[path for path in files if path.suffix.lower() in endings] for endings in (ENDINGS[:2], ENDINGS)]
    first = [[path for path in found if path.name.lower() in FIRST] for found in of_kind]
    return next(filter(None, (*first, *of_kind)), files)


def names_in(table: Table) -> list[str]:
    """What each row calls its image."""
    assert table.file
    return [row[table.file].strip().replace("\\", "/").removeprefix("./") for row in table.rows]


def find_table(root: Path) -> Table | None:
    """The only table in `root`, or those of its splits as one, if it names files and what they show. TrainingError as
    from `read_table`.
    """
    found = tables_in(root)
    if len(found) == 1:
        return of_files_below(root, read_table(found[0], with_files=True))
    by_split = {split_of(path.stem): path for path in found}
    if "train" not in by_split or None in by_split or len(by_split) < len(found):
        return None
    tables = {split: read_table(path, with_files=True) for split, path in by_split.items()}
    first = of_files_below(root, tables["train"])
    if first is None or any(
        t is None or (t.files, t.label, t.targets) != (first.files, first.label, first.targets) for t in tables.values()
    ):
        return None
    rows = [{**row, "of split": split or ""} for split, table in tables.items() if table for row in table.rows]
    return replace(first, rows=rows, split="of split", others=tuple(path for path in found if path != first.path))


def of_files_below(root: Path, table: Table | None) -> Table | None:
    """The table with that column of files of which some name a file below `root`, or else any column whose cells all
    do; numbers that are in names come after these.
    """
    if table is None:
        return table
    images = [name for _, files in below(root, companions=False) for name in images_among(files)]
    names = {*images, *(ending(name)[0] for name in images)}
    for column in table.files:
        if any(os.path.basename(row[column].strip().replace("\\", "/")) in names for row in table.rows):
            return replace(table, file=column)
    for column in filter(None, table.rows[0]):
        if all(os.path.basename(row[column].strip()) in names for row in table.rows):
            return replace(table, file=column)
    return replace(table, file=next((c for c in table.files if c.strip().lower() in FILES), table.file))


def unusable(root: Path) -> str:
    """Why no table in `root` was read, to be added to a message; empty if there is none."""
    tables = tables_in(root)
    if len(tables) > 1:
        return (
            f"; there are {' and '.join(path.name for path in tables[:3])}: keep one, labels.csv, with a column split"
        )
    if not tables:
        return ""
    columns = rows_in(tables[0], (*FILES, *LABELS))[0]
    return (
        f"; {tables[0].name} has the columns {', '.join(columns) or 'none'}: expected one of files, such as file, and "
        "one of classes, such as label, or of numbers"
    )


def read_table(path: Path, *, with_files: bool = False) -> Table | None:
    """The table at `path`, if it says what images show; `with_files`: and names their files.

    Every column of numbers that has no other meaning is a regression target. TrainingError if it has one but for a
    cell, and nothing else.
    """
    text = rows_in(path, (*FILES, *LABELS))
    with named(str(path)):
        columns, rows = with_splits(*text)
    said = {c: {row[column].strip() for row in rows} for c, column in columns.items()}
    held = {c: {cell for cell in cells if cell.lower() not in UNKNOWN} for c, cells in said.items()}
    if bare := [c for c in columns if c.endswith(EXTENSIONS)]:
        raise TrainingError(f"{path} has no header: its first line begins with {bare[0]}; add one, such as file,label")
    things = [c for c in columns if OBJECT.fullmatch(c) and 2 < len(held[c]) < len(rows)]
    files = file_columns(held)
    files = [c for c in files if c not in things] or files
    if not rows or (with_files and not files):
        return None
    others = [c for c in columns if c not in files and not NUMBERING.fullmatch(c)]
    split = "split" if "split" in others else next((c for c in others if are_splits(said[c])), None)
    shown = object_named(c for c in things if c in others)
    others = [c for c in others if c != split and not OBJECT.fullmatch(c)]
    labels = [c for c in LABELS if c in others and not measures(held[c])]
    label = next((c for c in labels if len(held[c]) > 1), None) or next(iter(labels), None)
    flag = None
    if label is None:
        flags = flag_columns({c: held[c] for c in others}, [c for c in others if not said[c] - held[c]])
        if len(flags) > 1:
            raise TrainingError(f"{path} has several columns of yes and no: {', '.join(flags)}; call one of them label")
        flag = next(iter(flags), None)
    if flag:
        label, flag = flag, next((flag.removeprefix(f) for f in FLAGS if flag.startswith(f)), flag)
    measured = {columns[c]: held[c] for c in others if c != label or c == "target"}  # which may mean either
    targets, spoilt = numbers_in(measured)
    if label and flag is None:
        refuse_spellings(held[label], f"{path} has the classes", ours=True)
    if not (label or targets or (files and (split or shown))):
        if spoilt:
            raise TrainingError(f"{path} has cells that are no numbers: {', '.join(spoilt)}; mend or empty them")
        return None
    unknown = {
        column: sentinels([float(row[column]) for row in rows if number(row[column]) is not None])
        for column in targets.values()
    }
    of_class, of_split, of_object = (c and columns[c] for c in (label, split, shown))
    of_files = tuple(columns[c] for c in files)
    file = of_files[0] if of_files else None
    return Table(path, rows, file, of_class, targets, of_split, flag, of_object, spoilt, unknown, files=of_files)


def numbers_in(held: Mapping[str, set[str]]) -> tuple[dict[str, str], tuple[str, ...]]:
    """The columns of numbers by the names of their targets; those that would be some, but for a cell."""
    targets, spoilt = {}, []
    for column, cells in held.items():
        bad = [cell for cell in cells if number(cell) is None]
        if not (target := target_name(column)) or not cells:
            continue
        if not bad:
            targets[target] = column
        elif 2 * len(bad) <= len(cells):
            spoilt.append(f"{column.strip()} ({min(bad)!r})")
    return targets, tuple(spoilt)


def read_targets(table: Table, row: Mapping[str, str]) -> dict[str, float]:
    """The regression targets that are known in a row."""
    found = {name: number(row[column]) for name, column in table.targets.items()}
    unknown = {name: table.sentinels.get(column, ()) for name, column in table.targets.items()}
    return {name: value for name, value in found.items() if value is not None and value not in unknown[name]}
