"""The files below a folder, as every command sees them: without what systems and editors leave behind."""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator
from pathlib import Path

from trainers.data.folder.companions import without_companion_folders, without_companions
from trainers.data.folder.fits_file import FITS
from trainers.data.folder.image_file import ALONE, EXTENSIONS
from trainers.data.folder.names import TABLES, ending

LEFTOVERS = ("lost+found", "$recycle.bin", "system volume information", "thumbs.db", "desktop.ini")
NAMED = 4
"""Kinds of unused files that are named; the others are counted."""


def ignored(name: str) -> bool:
    """Whether a file or folder of this name is hidden, private or a system's: `.git`, `__MACOSX`, `@eaDir`."""
    return name.startswith((".", "__", "@")) or name.lower() in LEFTOVERS


def is_image(name: str) -> bool:
    """Whether a file of this name may hold an image."""
    return name.lower().endswith(EXTENSIONS) and not ignored(name)


def is_table(name: str, endings: tuple[str, ...] = FITS) -> bool:
    """Whether a file of this name and one of these endings is a table."""
    if not name.lower().startswith(TABLES):  # most names, at little cost
        return False
    stem, suffix = ending(name)
    return stem.lower() in TABLES and suffix.lower() in endings


def images_among(names: Iterable[str], companions: bool = False) -> list[str]:
    """The images among the files of one folder, and what comes with them, if `companions` are wanted. Files of named
    arrays count only in a folder without other images, beside which they are a network's weights or results."""
    found = [name for name in names if is_image(name) and not is_table(name)]
    found = found if companions else without_companions(found)
    return [name for name in found if name.lower().endswith(ALONE)] or found


def subfolders(folder: Path) -> list[Path]:
    """The folders in `folder`, sorted."""
    return sorted(path for path in folder.iterdir() if not ignored(path.name) and path.is_dir())


def images_in(folder: Path) -> list[os.DirEntry[str]]:
    """The image files in `folder`, unsorted."""
    with os.scandir(folder) as found:
        by_name = {file.name: file for file in found if file.is_file()}
    return [by_name[name] for name in images_among(by_name)]


def below(folder: Path, companions: bool = True) -> Iterator[tuple[str, list[str]]]:
    """Every folder from `folder` down, and the names of its files, both sorted; also folders elsewhere that are linked.

    Without `companions`, folders of what comes with the images of another are left out.
    """
    seen = [os.path.realpath(folder)]
    for inside, folders, files in os.walk(folder, followlinks=True):
        kept = sorted(name for name in folders if not ignored(name))
        kept = kept if companions else without_companion_folders(inside, kept)
        folders[:] = []
        for name in kept:
            path = os.path.join(inside, name)
            if os.path.islink(path):
                real = os.path.realpath(path)
                if any(os.path.commonpath((real, other)) in (real, other) for other in seen):
                    continue
                seen.append(real)
            folders.append(name)
        yield inside, sorted(name for name in files if not ignored(name))


def images_below(folder: Path, companions: bool = False) -> Iterator[Path]:
    """The image files in `folder` and in all folders below it, sorted in each; if wanted, what comes with them too."""
    for inside, files in below(folder, companions):
        for name in images_among(files, companions):
            yield Path(inside, name)


def unused(root: Path, used: Collection[str]) -> str | None:
    """The files below `root` whose paths are not in `used`, such as `20 .tif in no/, notes.txt`, or None.

    Files of one kind in one folder count together, and the kinds with most files are named.
    """
    kinds: dict[tuple[str, str], list[str]] = defaultdict(list)
    for inside, files in below(root):
        place = os.path.relpath(inside, root).replace(os.sep, "/")
        for name in files:
            if os.path.join(inside, name) not in used:
                kinds["" if place == "." else f"{place}/", os.path.splitext(name)[1]].append(name)
    most = sorted(kinds.items(), key=lambda kind: (-len(kind[1]), kind[0]))
    words = [
        f"{place}{names[0]}" if len(names) == 1 else f"{len(names)} {ending or 'files'} in {place or root.name + '/'}"
        for (place, ending), names in most[:NAMED]
    ]
    if rest := sum(len(names) for _, names in most[NAMED:]):
        words.append(f"and {rest} more")
    return ", ".join(words) or None
