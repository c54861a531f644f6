"""Classes whose images are stacks: `no_sub/images.npy` of shape (N, H, W) or (N, C, H, W), or `no_sub.npy` itself."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from trainers.data.folder.files import ignored, images_in
from trainers.data.folder.image_file import CHANNELS, FEW
from trainers.data.folder.listing import Entry
from trainers.data.folder.named_arrays import IMAGES, LABELS, plain, split_in
from trainers.data.folder.names import canonical
from trainers.data.folder.object_array import read_header
from trainers.data.folder.objects import PLANES, without_band

MOST = 50
"""Files of stacks in one folder, at most. Each has more images than there are files: other arrays are cubes."""


def unstacked(entries: Sequence[Entry]) -> list[Entry]:
    """The entries with an image for each row of every stack.

    A folder with few files may hold stacks. The header of its largest file is read, and of the others if that is one.
    """
    folders: dict[tuple[Path, str, str | None], list[Entry]] = defaultdict(list)
    for entry in entries:
        folders[entry.path.parent, entry.label, entry.split].append(entry)
    found = []
    for mine in folders.values():
        largest = shape_of(max(mine, key=lambda entry: entry.size)) if len(mine) <= MOST else ()
        image = image_of(largest)
        if image is None or largest[0] <= len(mine):
            found += mine
            continue
        for entry in mine:
            shape = shape_of(entry)
            found += rows(entry, shape[0]) if shape[1:] == image else [entry]
    return found


def class_files(root: Path, split: str | None) -> list[Entry]:
    """The images of the stacks in `root`, each a class called like its file; none if the files are no such stacks.

    Without a `split`, a word of each file's name may say it: `no_sub_train.npy`.
    """
    files = sorted((file for file in images_in(root) if not ignored(file.name)), key=lambda file: file.name)
    names = [Path(file.name).stem for file in files]
    splits = [split or split_in(name) for name in names]
    if not all(splits):
        splits = [None] * len(files)
    labels = [canonical(plain(name) if said and not split else name) for name, said in zip(names, splits, strict=True)]
    called = set(labels)
    if len(called) < 2 or called & {"", *IMAGES, *LABELS} or called in PLANES or any(map(band_in, names)):
        return []
    entries = []
    for file, said, label in zip(files, splits, labels, strict=True):
        stat = file.stat()
        entries.append(Entry(Path(file.path), said, label, stat.st_size, stat.st_mtime_ns))
    shapes = [shape_of(entry) for entry in entries]
    image = image_of(max(shapes))
    if image is None or any(shape[1:] != image for shape in shapes):
        return []
    return [row for entry, shape in zip(entries, shapes, strict=True) for row in rows(entry, shape[0])]


def rows(entry: Entry, count: int) -> list[Entry]:
    """The images of a stack; each is an object of its own."""
    return [replace(entry, row=row, object=None) for row in range(count)]


def band_in(name: str) -> bool:
    return without_band(name)[1] is not None


def shape_of(entry: Entry) -> tuple[int, ...]:
    """The shape that the header of a `.npy` file gives; () for any other file, for objects, and for several bands."""
    if entry.others or entry.row is not None or not entry.path.name.lower().endswith(".npy"):
        return ()
    try:
        with entry.path.open("rb") as file:
            shape, _, dtype = read_header(file)
    except (OSError, ValueError):
        return ()  # the conversion names bad files
    return () if dtype.hasobject else shape


def image_of(shape: tuple[int, ...]) -> tuple[int, ...] | None:
    """The shape of one image in a stack; None if an array of this shape is one image, or none."""
    if len(shape) == 4 and shape[0] > 1:
        return shape[1:]
    if len(shape) != 3 or min(shape) == 0 or min(shape[0], shape[2]) <= FEW:
        return None
    first, height, last = shape
    return None if (first <= CHANNELS and height == last) or (last <= CHANNELS and first == height) else shape[1:]
