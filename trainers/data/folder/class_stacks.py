"""Classes whose images are stacks, (N, H, W) or (N, C, H, W).

no_sub.npy, sub.npy           in one folder, or in that of each split; also no_sub_train.npy, and no_sub.h5
data.npz: no_sub, sub         arrays of one file, also train/no_sub and no_sub/images
no_sub/batch_1.npy            in class folders
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Collection, Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

from trainers.data.folder.files import images_in
from trainers.data.folder.fits_file import BESIDE
from trainers.data.folder.image_file import channel_axis
from trainers.data.folder.listing import Entry
from trainers.data.folder.named_arrays import IMAGES, arrays_in, is_named_arrays, plain, split_in
from trainers.data.folder.names import canonical
from trainers.data.folder.object_array import stored_shape
from trainers.data.folder.objects import band_of, without_band, without_copy
from trainers.data.folder.table import find_table, names_in
from trainers.errors import TrainingError

MOST = 50
"""Files of stacks in one folder, at most. Each has more images than there are files: other arrays are cubes."""

PLANES_OF_ONE = {
    "clean", "noisy", "source", "sources", "kappa", "convergence", "model", "residual", "residuals", "input", "inputs",
    "raw", "processed", "hr", "lr", "sci", "flux", "truth",
}  # fmt: skip
"""Words in the names of arrays that show the same objects in another way, beside those of `fits_file.BESIDE`."""
NUMBERED = ("class", "label", "type")
"""Words after which a number is that of a class, and not of a part of the images."""


class Found(NamedTuple):
    """An array that may be the stack of a class."""

    path: Path
    array: str | None  # its name, in a file of several
    called: tuple[str, ...]  # the parts of its name, that of the file first if there are several files
    shape: tuple[int, ...]


def unstacked(entries: Sequence[Entry]) -> list[Entry]:
    """The entries with an image for each row of every `.npy` file that is a stack.

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


def class_stacks(root: Path, split: str | None = None) -> list[Entry]:
    """The images of the stacks in `root`, a folder or file; none if its arrays are not one stack for each class.

    Without a `split`, a word of each name may say it: `no_sub_train.npy`.
    """
    stacks = arrays_of(root)
    image = image_of(max((stack.shape for stack in stacks), default=()))
    if image is None or any(stack.shape[1:] != image for stack in stacks):
        return []
    splits = [split or split_in("/".join(stack.called)) for stack in stacks]
    if not all(splits):
        splits = [None] * len(stacks)
    inside = split is None and any(splits)
    labels = [label_of(stack.called, inside) for stack in stacks]
    if len(set(labels)) < 2 or "" in labels or len({*zip(labels, splits, strict=True)}) < len(stacks):
        return []
    if not are_classes(set(labels)):
        return []
    table = find_table(root)
    if table and not set(names_in(table)) <= {stack.path.name for stack in stacks}:  # not of the stacks themselves
        return []
    found = []
    for stack, said, label in zip(stacks, splits, labels, strict=True):
        stat = stack.path.stat()
        entry = Entry(stack.path, said, label, stat.st_size, stat.st_mtime_ns, array=stack.array)
        found += rows(entry, stack.shape[0])
    return found


def arrays_of(root: Path) -> list[Found]:
    """The arrays in all files of `root`, or in this file; none if one is a picture or damaged, or if they are many."""
    inside = [] if root.is_file() else images_in(root)
    if len(inside) > MOST:
        return []
    files, found = sorted(map(Path, inside)) or [root], []
    for file in files:
        if file.suffix.lower() == ".npy":
            found.append(Found(file, None, (file.stem,), stored_shape(file)))
        elif is_named_arrays(file.name):
            name = (file.stem,) if len(files) > 1 else ()
            try:
                arrays = arrays_in(file)
            except TrainingError:
                return []
            found += [Found(file, a.name, (*name, *a.name.split("/")), a.shape) for a in arrays]
        else:
            return []
    return found


def are_classes(labels: Collection[str]) -> bool:
    """Whether these can be classes, and are no bands, planes, copies or parts of the same images, nor numbers."""
    words = {word for label in labels for word in label.split("_")}
    if words & PLANES_OF_ONE or any(BESIDE.fullmatch(word) for word in words) or any("=" in label for label in labels):
        return False
    if any(band_of(label) or without_band(label)[1] for label in labels):
        return False
    bare = {without_copy(label) if re.sub(r"_*\d+$", "", label) in NUMBERED else unnumbered(label) for label in labels}
    return len(bare) == len(labels)


def unnumbered(label: str) -> str:
    """The label without what marks copies and parts: `no_sub` of `no_sub_3`."""
    return re.sub(r"_*\d+$", "", without_copy(label))


def label_of(called: Sequence[str], with_split: bool) -> str:
    """The class that the parts of a name say, without that of a split and the likes of `images`; may be empty."""
    parts = [plain(part) if with_split else part for part in called]
    return canonical("_".join(part for part in parts if part and part.lower() not in (*IMAGES, "arr_0")))


def rows(entry: Entry, count: int) -> list[Entry]:
    """The images of a stack; each is an object of its own."""
    return [replace(entry, row=row, object=None) for row in range(count)]


def shape_of(entry: Entry) -> tuple[int, ...]:
    """The shape of the array in a `.npy` file; () for what is no such file, or is one of several bands."""
    single = entry.row is None and not entry.others and entry.path.suffix.lower() == ".npy"
    return stored_shape(entry.path) if single else ()


def image_of(shape: tuple[int, ...]) -> tuple[int, ...] | None:
    """The shape of one image in a stack; None if an array of this shape is one image, or none."""
    if len(shape) == 4 and shape[0] > 1:
        return shape[1:]
    return shape[1:] if len(shape) == 3 and channel_axis(shape) is None else None
