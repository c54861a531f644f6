"""What a column of a table is, by its name and its cells: of files, flags, splits or numbers, and which are unknown."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Collection, Mapping, Sequence

import numpy as np

from trainers.data.folder.companions import COMPANION
from trainers.data.folder.image_file import EXTENSIONS
from trainers.data.folder.names import split_of
from trainers.errors import TrainingError

FILES = (
    "file", "filename", "file_name", "path", "filepath", "file_path", "image", "image_file", "image_path", "image_name",
    "img", "stamp", "cutout", "image_id", "name", "id", "object_id",
)  # fmt: skip
FLAGS = ("has_", "is_")
"""How the name of a column begins that says 0 or 1 of something, and so has two classes: `has_substructure`."""
TRUTH = {"true": 1.0, "false": 0.0, "yes": 1.0, "no": 0.0, "t": 1.0, "f": 0.0}


def file_columns(held: Mapping[str, set[str]]) -> list[str]:
    """The columns that may name the images' files: those of nothing but such names, then others that are called so, and
    last those of masks and the like.
    """
    paths = [c for c, cells in held.items() if cells and all(cell.lower().endswith(EXTENSIONS) for cell in cells)]
    usual = [c for c in FILES if c in held]
    found = dict.fromkeys([*(c for c in usual if c in paths), *paths, *usual])
    return sorted(found, key=lambda c: COMPANION.search(c) is not None)


def flag_columns(held: Mapping[str, set[str]], full: Collection[str]) -> list[str]:
    """The columns that say whether something is so: their names begin like that; or it is the one of 0 and 1, or True
    and False, `full`, and there are no other numbers. Those that are the same for all count if there is no other.
    """
    flags = [c for c, cells in held.items() if c.startswith(FLAGS) and set(map(truth, cells)) <= {0, 1}]
    if several := [c for c in flags if len(set(map(truth, held[c]))) > 1] or flags[:1]:
        return several
    numbers = [c for c, cells in held.items() if cells and None not in map(number, cells)]
    both = [c for c in full if {cell.lower() for cell in held[c]} in ({"0", "1"}, {"true", "false"})]
    return both if len(both) == 1 and set(numbers) <= set(both) else []


def with_splits(
    columns: Mapping[str, str], rows: Sequence[Mapping[str, str]]
) -> tuple[Mapping[str, str], Sequence[Mapping[str, str]]]:
    """The columns and rows with the name of each row's split in one column, where columns such as `is_train` say it.

    Rows that no column says to be of its split are of the first other one of train, test and val. TrainingError if a
    row is of several or none, or its column `split` says another.
    """
    of = {c: split for c in columns if c.startswith("is_") and (split := split_of(c.removeprefix("is_")))}
    if {*of} <= {"is_valid", "is_eval"}:  # alone, these say how good an image is
        return columns, rows
    first, *more = of
    rest = next((split for split in ("train", "test", "val") if split not in of.values()), None)
    made = []
    for number, row in enumerate(rows, 1):
        flags = {c: truth(row[columns[c]].strip()) for c in of}
        if wrong := [c for c, flag in flags.items() if flag not in (0, 1)]:
            raise TrainingError(f"row {number} has {row[columns[wrong[0]]]!r} in {wrong[0]}; expected 1 or 0")
        said: set[str | None] = {of[c] for c, flag in flags.items() if flag} or {rest}
        if len(said) > 1 or said == {None}:
            raise TrainingError(f"row {number} is of {len(said - {None}) or 'no'} splits by {', '.join(of)}; mend it")
        (split,) = said
        if "split" in columns and split_of(row[columns["split"]]) != split:
            raise TrainingError(f"row {number} is of {split} by {', '.join(of)}, but not by split; mend it")
        made.append({**row, columns[first]: split or ""})
    return {c: name for c, name in columns.items() if c not in more}, made


def truth(cell: str) -> float | None:
    """Whether a cell says yes, as 1 or 0; another number, or None if it says neither."""
    return TRUTH.get(cell.lower(), number(cell))


def are_splits(cells: set[str]) -> bool:
    """Whether a column holds the names of splits, but for a few cells to be mended."""
    found = set(map(split_of, cells))
    return "train" in found and len(found - {None}) > 1 and len(cells) < 6


def measures(cells: set[str]) -> bool:
    """Whether a column holds numbers that are not all whole, and so no classes."""
    values = [number(cell) for cell in cells]
    return None not in values and any(value != round(value) for value in values if value is not None)


def number(cell: str) -> float | None:
    """The number in a cell; None if it is none, or not finite."""
    try:
        value = float(cell)
    except ValueError:
        return None
    return value if math.isfinite(value) else None


def sentinels(values: Sequence[float]) -> set[float]:
    """The numbers such as -99, 999.9 and 1e20 that repeat, and lie farther from all others than these lie apart."""
    repeated = [value for value, count in Counter(values).items() if count > 1]
    nines = {v for v in repeated if re.fullmatch(r"-?(9{2,}(\.9+)?|1e\+[2-9]\d)", f"{v:.6g}")}
    others = [value for value in values if value not in nines]
    if len(set(others)) < 2:
        return set()
    low, high = min(others), max(others)
    return {value for value in nines if max(low - value, value - high) > high - low}


def without_sentinels(values: np.ndarray) -> np.ndarray:
    """Numbers with NaN for those that stand for unknown ones."""
    found = sentinels(values[np.isfinite(values)].tolist())
    return np.where(np.isin(values, list(found)), np.nan, values) if found else values
