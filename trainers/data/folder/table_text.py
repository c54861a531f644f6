"""The rows of a table that is a text file: separated by commas, semicolons, tabs or blanks, with comments before."""

from __future__ import annotations

import csv
from collections.abc import Collection
from pathlib import Path

from trainers.errors import TrainingError


def rows_in(path: Path, known: Collection[str]) -> tuple[dict[str, str], list[dict[str, str]]]:
    """The columns by their names in lower case, and the rows, as text.

    Lines that begin with `#` before the first row are comments, or the last of them names the columns, as TOPCAT writes
    it: it then has one of the `known` names. TrainingError if it cannot be read.
    """
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            lines = file.readlines()
    except UnicodeDecodeError as error:
        raise TrainingError(f"{path} cannot be read as a table ({error}); save it as CSV in UTF-8") from error
    first = next((i for i, line in enumerate(lines) if not line.startswith("#")), len(lines))
    header = lines[first - 1].lstrip("#") if first else ""
    if {name.strip().lower() for name in header.split(separator(header))} & {*known}:
        lines = [header.lstrip(), *lines[first:]]
    else:
        lines = lines[first:]
    try:
        delimiter = separator(lines[0]) if lines else ","
        reader = csv.DictReader(lines, skipinitialspace=True, restval="", delimiter=delimiter or " ")
        columns = {(name or "").strip().lower(): name for name in reader.fieldnames or ()}
        return columns, list(reader)
    except csv.Error as error:
        raise TrainingError(f"{path} cannot be read as a table ({error}); save it as CSV in UTF-8") from error


def separator(line: str) -> str | None:
    """What separates the columns of this line; None for blanks."""
    best = max(",;\t", key=line.count)
    return best if best in line else None
