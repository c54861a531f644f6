"""The rows of a table as text: from a file with commas, semicolons, tabs or blanks, and comments before, from FITS or
from Parquet.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Collection, Sequence
from itertools import dropwhile
from pathlib import Path

from trainers.data.folder.fits_file import DAMAGED, FITS, reader_of_fits
from trainers.errors import TrainingError

PARQUET = ".parquet"
DECIMAL_COMMA = re.compile(r"^([-+]?\d*),(\d+(?:[eE][-+]?\d+)?)$")


def rows_in(path: Path, known: Collection[str]) -> tuple[dict[str, str], list[dict[str, str]]]:
    """The columns by their names in lower case, and the rows, as text.

    Lines that begin with `#` before the first row are comments, or the last of them names the columns, as TOPCAT writes
    it: it then has one of the `known` names. TrainingError if it cannot be read.
    """
    if path.name.lower().endswith(FITS):
        return in_fits(path)
    if path.name.lower().endswith(PARQUET):
        return in_parquet(path)
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            delimiter, reader = separated(file.readlines(), known)
        columns, rows = by_lower(path, reader.fieldnames or ()), list(reader)
    except (UnicodeDecodeError, csv.Error) as error:
        raise TrainingError(f"{path} cannot be read as a table ({error}); save it as CSV in UTF-8") from error
    for number, row in enumerate(rows, 1):
        if any(row.pop(None, ())):  # what csv calls cells beyond the columns
            raise TrainingError(
                f"{path} has more cells in row {number} than columns; put text with {delimiter!r} in quotes"
            )
    if delimiter == ";":  # as where the comma is in numbers
        rows = [{name: DECIMAL_COMMA.sub(r"\1.\2", cell.strip()) for name, cell in row.items()} for row in rows]
    return columns, rows


def separated(lines: Sequence[str], known: Collection[str]) -> tuple[str, csv.DictReader[str]]:
    """What separates the columns of these lines, and a reader of them, which begins with the header."""
    first = next((i for i, line in enumerate(lines) if not line.startswith("#")), len(lines))
    header = lines[first - 1].lstrip("#") if first else ""
    if {name.strip().lower() for name in header.split(separator(header))} & {*known}:
        lines = [header.lstrip(), *lines[first:]]
    else:
        lines = lines[first:]
    lines = list(dropwhile(str.isspace, lines))
    delimiter = separator(lines[0]) or " " if lines else ","
    return delimiter, csv.DictReader(lines, skipinitialspace=True, restval="", delimiter=delimiter)


def by_lower(path: Path, names: Sequence[str]) -> dict[str, str]:
    """The names of columns by themselves in lower case, with a number where two differ in case only. TrainingError if
    two do not differ.
    """
    found: dict[str, str] = {}
    for name in names:
        key = (name or "").strip()
        if key and name in found.values():
            raise TrainingError(f"{path} has two columns called {key}; rename one")
        low = key.lower()
        found[f"{low} {len(found)}" if low in found else low] = name
    return found


def in_fits(path: Path) -> tuple[dict[str, str], list[dict[str, str]]]:
    """The columns and rows of the first table in a FITS file; none if it has none. Columns of arrays are left out."""
    fits = reader_of_fits()
    try:
        with fits.open(path) as units:
            table = next((unit for unit in units if isinstance(unit, fits.BinTableHDU | fits.TableHDU)), None)
            if table is None:
                return {}, []
            columns = {name: table.data[name] for name in table.columns.names if table.data[name].ndim == 1}
            nulls = {name: table.columns[name].null for name in columns}
            texts = [
                ["" if value == nulls[name] else str(value) for value in values.tolist()]
                for name, values in columns.items()
            ]
    except DAMAGED as error:
        raise TrainingError(f"{path} cannot be read as a table ({error})") from error
    rows = [dict(zip(columns, row, strict=True)) for row in zip(*texts, strict=True)]
    return by_lower(path, [*columns]), rows


def in_parquet(path: Path) -> tuple[dict[str, str], list[dict[str, str]]]:
    """The columns of text, numbers, and yes and no, and the rows of them."""
    try:
        from pyarrow import ArrowException, parquet, types
    except ImportError as error:
        raise TrainingError(f"{path} is a Parquet file; to read those: pip install pyarrow") from error
    plain = (types.is_string, types.is_large_string, types.is_integer, types.is_floating, types.is_boolean)
    try:
        with parquet.ParquetFile(path) as file:
            fields = [(f.name, f.type.value_type if types.is_dictionary(f.type) else f.type) for f in file.schema_arrow]
            names = [name for name, kind in fields if any(is_kind(kind) for is_kind in plain)]
            table = file.read([name for name in names if not name.startswith("__index_level_")])  # as pandas writes it
    except (ArrowException, OSError) as error:
        raise TrainingError(f"{path} cannot be read as a table ({error})") from error
    rows = [{k: "" if value is None else str(value) for k, value in row.items()} for row in table.to_pylist()]
    return by_lower(path, table.column_names), rows


def separator(line: str) -> str | None:
    """What separates the columns of this line; None for blanks."""
    best = max(",;\t", key=line.count)
    return best if best in line else None
