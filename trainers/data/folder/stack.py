"""Stacked arrays: all images, (N, H, W) or (N, C, H, W), in one, and a label or a number for each in another.

Each is a `.npy` file, or an array in a file of several (named_arrays.py), or headerless (`numpy.memmap`, `tofile`) if
the form of one image is given. The integer type of headerless labels follows from the file's size.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np

from trainers.data.folder.image_file import FEW, Reading
from trainers.data.folder.named_arrays import (
    LABELS,
    SPLITS,
    NamedArray,
    Rows,
    all_differ,
    arrays_in,
    choose_images,
    choose_labels,
    choose_objects,
    choose_splits,
    is_named_arrays,
    plain,
    split_in,
)
from trainers.data.folder.names import OBJECT, object_named
from trainers.data.folder.object_array import header_of, read_header
from trainers.errors import TrainingError, named

RAW_EXTENSIONS = (".dat", ".bin", ".raw", ".mmap", ".memmap")


@dataclass(frozen=True)
class Raw:
    """The form of one image in a headerless file."""

    shape: tuple[int, ...]
    dtype: str

    @property
    def nbytes(self) -> int:
        return int(np.prod(self.shape)) * np.dtype(self.dtype).itemsize


class Place(NamedTuple):
    """Where an array is."""

    path: Path
    name: str | None = None  # in a file of several arrays

    def __str__(self) -> str:
        return str(self.path) if self.name is None else f"{self.path}:{self.name}"


class Stack(NamedTuple):
    """Where the images of one split are, their labels, and regression targets beside these."""

    images: Place
    labels: Place | None
    targets: tuple[Place, ...] = ()
    objects: Place | None = None  # which object each image shows
    splits: Place | None = None  # the split of each image

    def __str__(self) -> str:
        labels = f", labels {self.labels.name}" if self.labels else ""
        targets = f", targets {', '.join(str(place.name) for place in self.targets)}" if self.targets else ""
        objects = f", objects {self.objects.name}" if self.objects else ""
        splits = f", splits {self.splits.name}" if self.splits else ""
        return f"images {self.images.name}{labels}{targets}{objects}{splits}"

    @property
    def files(self) -> list[Path]:
        """The files of labels, targets, objects and splits."""
        places = (self.labels, *self.targets, self.objects, self.splits)
        return list(dict.fromkeys(place.path for place in places if place))


def has_header(path: Path) -> bool:
    """Whether the file was written by `numpy.save`."""
    with path.open("rb") as file:
        return file.read(6) == b"\x93NUMPY"


def open_images(place: Place, raw: Raw | None) -> Rows:
    """The images at `place`, mapped, not read. TrainingError if a file's size does not fit the form `raw`."""
    path = place.path
    if place.name is not None:
        return open_named(place)
    if has_header(path):
        return np.load(path, mmap_mode="r")
    if raw is None:
        raise TrainingError(f"{path} has no header; give the shape and dtype of one image (raw_shape, raw_dtype)")
    if path.stat().st_size == 0 or path.stat().st_size % raw.nbytes:
        raise TrainingError(
            f"{path} has {path.stat().st_size} bytes, which is no whole number of images of "
            f"{'x'.join(map(str, raw.shape))} {raw.dtype} ({raw.nbytes} bytes)"
        )
    return np.memmap(path, dtype=raw.dtype, mode="r").reshape(-1, *raw.shape)


def count_images(place: Place, raw: Raw | None) -> int:
    """The number of images at `place`, without decompressing any."""
    return len(open_images(place, raw)) if place.name is None else find_array(place).shape[0]


def open_named(place: Place) -> Rows:
    with named(str(place.path)):
        return find_array(place).open()


def find_array(place: Place) -> NamedArray:
    return next(array for array in arrays_in(place.path) if array.name == place.name)


def rows_of(path: Path, reading: Reading, in_chans: int) -> Rows | None:
    """The images in a stacked array, without labels; None if the file is one image of `in_chans` channels, or none.

    (N, H, W) is a stack for one channel, unless N or W are so few that they are channels.
    """
    if is_named_arrays(path.name):
        array = choose_images(arrays_in(path), reading.image_key, 2)
        return array.open() if is_stack(array.shape, in_chans) else None
    if not path.name.lower().endswith(".npy"):
        return None
    shape, dtype = header_of(path)
    return np.load(path, mmap_mode="r") if is_stack(shape, in_chans) and not dtype.hasobject else None


def is_stack(shape: tuple[int, ...], in_chans: int) -> bool:
    if len(shape) == 4:
        return shape[0] > 1
    return len(shape) == 3 and in_chans == 1 and min(shape[0], shape[2]) > FEW


def open_labels(place: Place, images: int) -> np.ndarray:
    """Labels or numbers, (images,): integers, floats or names. TrainingError if there is not one for each image."""
    path = place.path
    if place.name is not None:
        labels = np.asarray(open_named(place)[...])
    elif has_header(path):
        labels = np.load(path, allow_pickle=False)
    else:
        size, rest = divmod(path.stat().st_size, images)
        if rest or size not in (1, 2, 4, 8):
            raise TrainingError(
                f"{path} has {path.stat().st_size} bytes; expected one integer for each of {images} images, "
                "or a file written by numpy.save"
            )
        labels = np.fromfile(path, dtype=f"i{size}")
    labels = class_numbers(labels)
    if labels.shape[:1] != (images,) or labels.size != images:
        raise TrainingError(
            f"{path} holds labels of shape {labels.shape}; expected one for each of {images} images, or one-hot rows"
        )
    labels = labels.reshape(images)
    if labels.dtype.kind in "SO":  # text, as HDF5 has it
        labels = np.array([x.decode(errors="replace") if isinstance(x, bytes) else str(x) for x in labels.tolist()])
    return labels


def class_numbers(labels: np.ndarray) -> np.ndarray:
    """One-hot rows (N, classes) as the number of each class, (N,); any other array as it is."""
    if labels.ndim != 2 or labels.shape[1] < 2 or labels.dtype.kind not in "biuf":
        return labels
    ones = labels == 1
    one_hot = (ones | (labels == 0)).all() and (ones.sum(1) == 1).all()
    return ones.argmax(1) if one_hot else labels


def find_pair(files: Iterable[Path], raw: Raw | None) -> Stack | None:
    """The images' file among `files` and the labels', or those of several numbers; None if there are no such."""
    arrays: dict[Path, np.ndarray] = {}
    sizes: dict[Path, int] = {}
    images: list[Path] = []
    labels: list[Path] = []
    rows: list[Path] = []  # one-hot labels, or one image
    for path in files:
        if path.suffix.lower() == ".npy" and has_header(path):
            array = mapped(path)
            if array is None:
                return None
            one_each = array.ndim > 0 and array.size == len(array)
            (labels if one_each else rows if array.ndim == 2 else images).append(path)
            arrays[path] = array
        elif raw is not None or path.suffix.lower() in RAW_EXTENSIONS:
            sizes[path] = path.stat().st_size
    if sizes:  # without headers, the larger file is the one with the images
        by_size = sorted(sizes, key=sizes.__getitem__, reverse=True)
        if not images:
            images.append(by_size.pop(0))
        labels += by_size
    splits = next((path for path in labels if plain(path.stem) in SPLITS), None)
    labels = [path for path in labels if path != splits]
    objects = {plain(path.stem): path for path in reversed(labels) if OBJECT.fullmatch(plain(path.stem))}
    shown = objects.get(object_named(plain(path.stem) for path in labels) or "")
    labels = [path for path in labels if plain(path.stem) not in objects]
    numbers = [path for path in labels if path in arrays and arrays[path].dtype.kind == "f"]
    if len(images) == len(rows) == 1:
        stack, one_hot = open_images(Place(images[0]), raw).shape, arrays[rows[0]].shape
        if one_hot[0] == stack[0] and one_hot[1] < max(stack[1:]):  # not the same image in grey
            labels, rows = labels + rows, []
    if len(labels) > 1:
        called = [path for path in labels if plain(path.stem) in LABELS]
        if called:
            numbers = [path for path in labels if path in arrays and is_measure(arrays[path])]
        labels = called or [path for path in labels if path not in numbers]
    if len(images) != 1 or rows or len(labels) > 1 or not (labels or numbers):
        return None
    targets = tuple(Place(path) for path in numbers if path not in labels)
    said, *beside = (Place(path) if path else None for path in (next(iter(labels), None), shown, splits))
    return Stack(Place(images[0]), said, targets, *beside)


def is_measure(array: np.ndarray) -> bool:
    """Whether an array holds numbers, and none of its own for each image like an index."""
    return array.dtype.kind == "f" or (array.dtype.kind in "iu" and not all_differ(array))


def mapped(path: Path) -> np.ndarray | None:
    """The array in a `.npy` file; None if it is damaged or holds objects, and so is no stack."""
    try:
        with path.open("rb") as file:
            shape, fortran, dtype = read_header(file)
            return None if dtype.hasobject else np.memmap(path, dtype, "r", file.tell(), shape, "F" if fortran else "C")
    except (OSError, ValueError):
        return None


def find_named(files: Sequence[Path], keys: Sequence[str] | None = None) -> dict[str | None, Stack]:
    """The images and labels of each split in files of named arrays; `keys` are as in `Reading`.

    The name of an array says its split, or that of its file among several. TrainingError if they do not tell which
    arrays are meant.
    """
    image_key, label_key = (*(keys or ()), None, None)[:2]
    groups = defaultdict(list)
    for file in files:
        of_file = split_in(file.stem) if len(files) > 1 else None
        with named(str(file)):
            for array in arrays_in(file):
                groups[array.split or of_file].append((file, array))
    if "train" in groups:
        groups.pop(None, None)  # such as the names of the classes
    found = {}
    for split, group in groups.items():
        arrays = [array for _, array in group]
        with named(" and ".join(dict.fromkeys(str(file) for file, _ in group))):
            images = choose_images(arrays, image_key, 3)
            labels, numbers = choose_labels(arrays, label_key, images)
            objects, splits = choose_objects(arrays, images), choose_splits(arrays, images)
        place = {id(array): Place(file, array.name) for file, array in group}
        targets = tuple(place[id(array)] for array in numbers)
        said, *beside = (None if array is None else place[id(array)] for array in (labels, objects, splits))
        found[split] = Stack(place[id(images)], said, targets, *beside)
    return found
