"""Folders of images beside a table: the table says what the folders do not, unless it is about something else."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from trainers.data.folder.listing import Entry, below
from trainers.data.folder.objects import band_of
from trainers.data.folder.table import Table, find_table, names_in
from trainers.data.folder.table_names import named_files, table_entries
from trainers.errors import TrainingError


def table_beside(root: Path) -> Table | None:
    """The table in `root`; None if there is none, or one of something else that cannot be read."""
    try:
        return find_table(root)
    except TrainingError:
        return None


def may_sort(table: Table, root: Path, folders: Sequence[Path], splits: Collection[Path]) -> bool:
    """Whether the table may say what images show where the `folders` do not: it has classes, or they are bands or
    `splits`; and it names images below `root`.
    """
    able = table.label is not None or bool(splits) or all(band_of(folder.name) for folder in folders)
    return able and any(named_files(root, table)[0].values())


def names_objects(table: Table, folders: Sequence[Path]) -> bool:
    """Whether the table has a row with a class for each of the folders, which hold an object each."""
    classes = {table.class_of(row) for row in table.rows}
    return (
        table.label is not None and 1 < len(classes) < len(folders) and {f.name for f in folders} <= {*names_in(table)}
    )


def sorted_by(table: Table, root: Path, splits: Mapping[Path, str]) -> list[Entry]:
    """The images that the table names, where the folders are no classes but may be `splits`. TrainingError as from
    `table_entries`.
    """
    entries = table_entries(root, table)
    of = {e.path: next((split for top, split in splits.items() if top in e.path.parents), None) for e in entries}
    if table.split is None and all(of.values()):
        return [replace(entry, split=of[entry.path]) for entry in entries]
    return entries


def of_objects(own: Sequence[Entry], described: Mapping[Path, Entry]) -> bool:
    """Whether the folders hold an object each and are no classes: the table has others, one for all images of a folder,
    and there are more than four times as many folders.
    """
    classes: dict[str, set[str]] = defaultdict(set)
    for entry in own:
        if entry.path in described:
            classes[entry.label].add(described[entry.path].label)
    found = set().union(*classes.values())
    others = len(found) > 1 and not found & set(classes)
    return others and len(classes) > 4 * len(found) and all(len(of) == 1 for of in classes.values())


def with_table(own: Sequence[Entry], table: Table, root: Path) -> list[Entry]:
    """The images of class folders with the numbers and objects that the table says, and splits if they have none.

    Their classes are the table's if the folders are no classes (`of_objects`).

    TrainingError if the table is about something else: it names other images, says other classes of these, though
    classes of the same names, or gives a split to some of them only.
    """
    described = {entry.path: entry for entry in table_entries(root, table)}
    common = [entry for entry in own if entry.path in described]
    if not common:
        raise TrainingError(f"{table.path} names none of the images")
    same = {entry.label for entry in own} & {said.label for said in described.values()}
    if wrong := [e for e in common if table.label and same and described[e.path].label != e.label]:
        first = wrong[0]
        raise TrainingError(
            f"{table.path} says that {below(root, first.path)} is {described[first.path].label}, and its folder "
            f"{first.label}"
        )
    apart = [e for e in common if described[e.path].split not in (None, e.split or described[e.path].split)]
    if apart:
        raise TrainingError(f"{table.path} gives {below(root, apart[0].path)} another split than its folder")
    if table.split and len(common) < len(own):
        raise TrainingError(f"{table.path} gives a split to {len(common)} of {len(own)} images")
    found = [
        replace(e, split=e.split or said.split, targets={**e.targets, **said.targets}, object=said.object)
        if (said := described.get(e.path))
        else e
        for e in own
    ]
    if table.label is None or not of_objects(own, described):
        return found
    named = ((e, described[e.path]) for e in found if e.path in described)
    return [replace(e, label=said.label, object=e.object or f"folder {e.label}") for e, said in named]
