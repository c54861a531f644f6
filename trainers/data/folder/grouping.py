"""From files to images of one or more bands, and to the objects that they show."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from trainers.data.folder.listing import Entry, Listing, below
from trainers.data.folder.objects import channels, originals
from trainers.errors import TrainingError


def with_bands(entries: Sequence[Entry], root: Path, group: str | None) -> tuple[list[Entry], tuple[str, ...]]:
    """One entry for all bands of an image, and the names of the bands; the entries themselves if there are none.

    Files that `group` names as different objects are no bands of one image.
    """
    by_file = {entry.path: entry for entry in entries}
    try:
        images, bands = channels(list(by_file), lenient=group is not None)
    except TrainingError as error:
        raise TrainingError(f"{error}; mend that, or name the objects yourself (--group)") from None
    if group is not None and any(len({object_in(group, below(root, file)) for file in files}) > 1 for files in images):
        return list(entries), ()
    if not bands:
        return list(entries), bands
    found = []
    for files in images:
        mine = [by_file[file] for file in files]
        if len({(e.label, e.split) for e in mine}) > 1:
            bands_of_one = ", ".join(below(root, file) for file in files)
            raise TrainingError(
                f"{root} gives {bands_of_one}, bands of one image, several classes or splits; mend that"
            )
        size, mtime_ns = sum(e.size for e in mine), max(e.mtime_ns for e in mine)
        found.append(replace(mine[0], size=size, mtime_ns=mtime_ns, others=files[1:]))
    return found, bands


def with_objects(entries: Sequence[Entry]) -> list[Entry]:
    """The entries with the objects that the names of their files tell: copies of one image show one object. An object
    that a table names stays, and is that of the copies as well.

    If a name occurs in two folders of a class, such as those of two splits, each folder numbers its images from the
    start, and equal names mean nothing across them.
    """
    classes: dict[str, dict[str, list[Entry]]] = defaultdict(lambda: defaultdict(list))
    for entry in entries:
        classes[entry.label][str(entry.path.parent)].append(entry)
    found: list[Entry] = []
    keys: list[str] = []
    for label, folders in classes.items():
        names = [{e.path.name for e in mine} for mine in folders.values()]
        restarts = len(set().union(*names)) < sum(map(len, names))
        for folder, mine in folders.items():
            where = f"{label}/{folder}" if restarts else label
            shown = originals([e.path.name for e in mine], bands=bool(mine[0].others))
            keys += [f"{where}/{name}" for name in shown]
            found += mine
    shared = Counter(keys)
    told = {key: e.object for e, key in zip(found, keys, strict=True) if e.object}
    alone = (e.object or e.row is not None or shared[key] == 1 for e, key in zip(found, keys, strict=True))
    return [e if own else replace(e, object=told.get(key, key)) for e, key, own in zip(found, keys, alone, strict=True)]


def check_pattern(group: str) -> None:
    """TrainingError unless `group` is a regular expression with one group."""
    try:
        groups = re.compile(group).groups
    except (re.error, TypeError) as error:
        raise TrainingError(f"group {group!r} is no regular expression: {error}") from None
    if groups != 1:
        raise TrainingError(f"group {group!r} has {groups} groups (...); expected one, around the object's name")


def grouped(listing: Listing, group: str) -> Listing:
    """The listing with the objects that `group` finds in the names of its images. TrainingError if some have none."""
    names = [listing.name(entry) for entry in listing.entries]
    objects = [object_in(group, name) for name in names]
    if lacking := [name for name, found in zip(names, objects, strict=True) if found is None]:
        raise TrainingError(
            f"group {group!r} finds no object in {len(lacking)} of {len(names)} names below {listing.root}, such as "
            f"{', '.join(lacking[:3])}"
        )
    entries = (replace(e, object=found) for e, found in zip(listing.entries, objects, strict=True))
    return replace(listing, entries=tuple(entries))


def object_in(group: str, name: str) -> str | None:
    """The object that `group` finds in the path of an image."""
    match = re.search(group, name)
    return match[1] if match else None
