"""From files to images of one or more bands, and to the objects that they show."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import replace

from trainers.data.folder.listing import Entry, Listing
from trainers.data.folder.objects import channels, originals
from trainers.errors import TrainingError


def with_bands(entries: Sequence[Entry], lenient: bool) -> tuple[list[Entry], tuple[str, ...]]:
    """One entry for all bands of an image, and the names of the bands; the entries themselves if there are none."""
    by_file = {entry.path: entry for entry in entries}
    try:
        images, bands = channels(list(by_file), lenient)
    except TrainingError as error:
        raise TrainingError(f"{error}; mend that, or name the objects yourself (--group)") from None
    if not bands:
        return list(entries), bands
    found = []
    for files in images:
        mine = [by_file[file] for file in files]
        size, mtime_ns = sum(e.size for e in mine), max(e.mtime_ns for e in mine)
        found.append(replace(mine[0], size=size, mtime_ns=mtime_ns, others=files[1:]))
    return found, bands


def with_objects(entries: Sequence[Entry]) -> list[Entry]:
    """The entries with the objects that the names of their files tell: copies of one image show one object.

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
    return [replace(e, object=key) if shared[key] > 1 else e for e, key in zip(found, keys, strict=True)]


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
    matches = [re.search(group, listing.name(entry)) for entry in listing.entries]
    if lacking := [
        listing.name(e) for e, match in zip(listing.entries, matches, strict=True) if match is None or match[1] is None
    ]:
        raise TrainingError(
            f"group {group!r} finds no object in {len(lacking)} of {len(matches)} names below {listing.root}, such as "
            f"{', '.join(lacking[:3])}"
        )
    entries = (replace(e, object=m[1]) for e, m in zip(listing.entries, matches, strict=True) if m)
    return replace(listing, entries=tuple(entries))
