"""Images in one array beside a table with a row for each, in their order.

images.npy, labels.csv                  also images.npz, images.h5 or images.pt
images_train.npy, labels_train.csv      for each split
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from trainers.data.folder.class_stacks import Found, arrays_of, image_of
from trainers.data.folder.columns import FILES
from trainers.data.folder.files import subfolders
from trainers.data.folder.listing import Entry
from trainers.data.folder.named_arrays import split_in
from trainers.data.folder.table import Table, read_table, tables_in
from trainers.data.folder.table_names import refuse_some_splits
from trainers.errors import TrainingError

NUMBERING = (*FILES, "", "index", "unnamed: 0")
"""Columns that may number the rows; the last three as pandas writes them."""


class Described(NamedTuple):
    """An array of images, and the table that says what they show."""

    images: Found
    table: Table


def described_stacks(root: Path) -> Mapping[str | None, Described]:
    """The array and the table of each split, or those of all images; empty if there is another array or table.

    TrainingError if a table has not a row for each image of its array.
    """
    if root.is_file() or subfolders(root) or not (tables := tables_in(root)):
        return {}
    arrays = arrays_of(root)
    if len(arrays) != len(tables) or not all(len(array.shape) in (3, 4) for array in arrays):
        return {}
    pairs = paired(arrays, tables)
    found = {split: Described(array, table) for split, (array, path) in pairs.items() if (table := read_table(path))}
    if len(found) < len(arrays):
        return {}
    for images, table in found.values():
        if len(table.rows) == images.shape[0]:
            continue
        if table.file or not image_of(images.shape):  # a table of other images, or one image
            return {}
        raise TrainingError(
            f"{table.path} has {len(table.rows)} rows, but {images.path.name} has {images.shape[0]} images; expected a "
            "header and a row for each image, in their order"
        )
    return found


def paired(arrays: Sequence[Found], tables: Sequence[Path]) -> dict[str | None, tuple[Found, Path]]:
    """The array and the table of each split that their names say, or the only two; empty if they do not match."""
    if len(arrays) == len(tables) == 1:
        return {None: (arrays[0], tables[0])}
    by_split = {split_in("/".join(array.called)): array for array in arrays}
    path_of = {split_in(path.stem): path for path in tables}
    if "train" not in by_split or None in by_split or by_split.keys() != path_of.keys():
        return {}
    return {split: (array, path_of[split]) for split, array in by_split.items()}


def described_entries(stack: Described, split: str | None) -> list[Entry]:
    """The images of an array, each as its row of the table says.

    TrainingError if the rows are numbered in another order, or say another split than the array's name.
    """
    images, table = stack
    for column in (name for name in table.rows[0] if name is not None and name.strip().lower() in NUMBERING):
        if out_of_order([row[column] for row in table.rows]):
            raise TrainingError(
                f"{table.path}: the column {column!r} numbers the rows in another order, so it is not clear which "
                f"image of {images.path.name} a row means; sort the rows as the images are, and drop that column"
            )
    stats = [images.path.stat(), table.path.stat()]
    size, mtime_ns = stats[0].st_size, max(stat.st_mtime_ns for stat in stats)

    def entry(place: int, row: Mapping[str, str]) -> Entry:
        label, own, targets, shown = table.said(row, f"row {place + 1}")
        if split and own and split != own:
            raise TrainingError(f"{table.path}: row {place + 1} has the split {own!r}, but the file is that of {split}")
        of = shown and f"{split or ''} {shown}"  # each split may number its objects from the start
        return Entry(images.path, split or own, label, size, mtime_ns, place, targets, array=images.array, object=of)

    entries = [entry(place, row) for place, row in enumerate(table.rows)]
    refuse_some_splits(entries, table)
    return entries


def out_of_order(cells: Sequence[str]) -> bool:
    """Whether these count 0, 1, 2, ... or 1, 2, 3, ..., as `7` or `image_007.npy` does, but in another order."""
    found = [re.fullmatch(r"(\D*)(\d+)(?:\.\D*|\.0)?", cell.strip()) for cell in cells]
    if not all(found) or len({match[1] for match in found if match}) > 1:
        return False
    numbers = [int(match[2]) for match in found if match]
    return numbers != sorted(numbers) and sorted(numbers) in (list(range(len(cells))), list(range(1, len(cells) + 1)))
