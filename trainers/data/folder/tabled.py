"""Folders of images beside a table: the table says what the folders do not, unless it is about something else."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from trainers.data.folder.listing import Entry, below
from trainers.data.folder.table import Table, find_table
from trainers.data.folder.table_names import named_files, refuse_some_splits, table_entries
from trainers.errors import TrainingError


def table_of_files(root: Path) -> Table | None:
    """The table in `root` that names at least one of the images below it; None if there is none."""
    try:
        table = find_table(root)
    except TrainingError:  # a table of something else
        return None
    return table if table and any(named_files(root, table).values()) else None


def sorted_by(table: Table, root: Path, splits: Mapping[Path, str]) -> list[Entry]:
    """The images that the table names, where the folders are no classes but may be `splits`. TrainingError as from
    `table_entries`.
    """
    entries = table_entries(root, table)
    tops = {entry.path: root / below(root, entry.path).split("/")[0] for entry in entries}
    if splits and table.split is None and all(top in splits for top in tops.values()):
        return [replace(entry, split=splits[tops[entry.path]]) for entry in entries]
    return entries


def with_table(own: Sequence[Entry], table: Table, root: Path) -> tuple[list[Entry], bool] | None:
    """The images of class folders with what the table says besides, and whether it replaces the folders.

    It does so if it names images in one of several folders, or classes of which no folder is called like one. None if
    the table contradicts the folders or lacks an image that it names: it is about something else then.
    """
    try:
        described = {entry.path: entry for entry in table_entries(root, table)}
    except TrainingError:
        return None
    tops = [{below(root, entry.path).split("/")[0] for entry in entries} for entries in (own, described.values())]
    elsewhere = table.label is not None and not {e.label for e in own} & {e.label for e in described.values()}
    if (len(tops[0]) > len(tops[1]) == 1) or elsewhere:
        return list(described.values()), True
    common = [entry for entry in own if entry.path in described]
    if not common or (table.label and any(described[entry.path].label != entry.label for entry in common)):
        return None
    whole = len(common) == len(own)
    found = [
        replace(
            entry,
            split=entry.split or (said.split if whole else None),
            targets={**entry.targets, **said.targets},
            object=said.object,
        )
        if (said := described.get(entry.path))
        else entry
        for entry in own
    ]
    refuse_some_splits(found, table)
    return found, False
