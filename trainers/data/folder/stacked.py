"""The layout of stacked arrays: which files of a folder are such, and their rows as images with classes and targets."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from trainers.data.folder.columns import without_sentinels
from trainers.data.folder.companions import without_companions
from trainers.data.folder.files import ignored, images_in, subfolders
from trainers.data.folder.image_file import bare_name
from trainers.data.folder.listing import Entry
from trainers.data.folder.named_arrays import LABELS, is_named_arrays, plain, split_in
from trainers.data.folder.names import (
    LENS,
    SPLIT_NAMES,
    canonical,
    object_name,
    refuse_spellings,
    split_of,
    target_name,
)
from trainers.data.folder.object_array import stored_shape
from trainers.data.folder.stack import (
    RAW_EXTENSIONS,
    Place,
    Raw,
    Stack,
    count_images,
    find_named,
    find_pair,
    open_labels,
)
from trainers.errors import TrainingError

MOST_STACKS = 6
"""Files of stacked arrays, at most: images and labels of three splits."""
MOST_ARRAYS = 24
"""Files of arrays, at most, each with one: images, labels and six numbers of three splits."""
NO_TARGETS = ("", "y", "label", "labels", "target", "targets", "value", "values", "number", "numbers")
"""Names of arrays that do not say what their numbers are."""
SPLIT = "|".join(SPLIT_NAMES)
AT_ENDS = re.compile(rf"^(?:{SPLIT})(?:[-_. ]+|$)|[-_. ]+(?:{SPLIT})$", re.IGNORECASE)
"""The name of a split at the beginning or end of another name."""


def find_stacks(root: Path, raw: Raw | None = None, keys: Sequence[str] | None = None) -> Mapping[str | None, Stack]:
    """The stacked arrays of each split; empty if there are none.

    `root` is a folder, or a file of named arrays, in which `keys` choose as in `Reading`. Beside other images or
    folders, files of named arrays are none. TrainingError if it is not clear which of them are meant.
    """
    if root.is_file():
        return find_named([root], keys)
    if subfolders(root):
        return {}
    suffixes = (".npy", *RAW_EXTENSIONS)
    found = [f.name for f in root.iterdir() if f.suffix.lower() in suffixes and f.is_file() and not ignored(f.name)]
    images = set(without_companions(found))
    files = [root / name for name in sorted(found) if name in images or len(stored_shape(root / name)) < 3]
    named_arrays = sorted(Path(file) for file in images_in(root) if is_named_arrays(file.name))
    if not files and 1 <= len(named_arrays) <= MOST_STACKS:
        return find_named(named_arrays, keys)
    if not 2 <= len(files) <= MOST_ARRAYS:
        return {}
    groups: dict[str | None, list[Path]] = {}
    for file in files:
        groups.setdefault(split_in(re.sub(r"\d", " ", file.stem)), []).append(file)
    pairs = {split: find_pair(group, raw) for split, group in groups.items()}
    if len(pairs) > 1 and "train" not in pairs:
        return {}
    if None in pairs and len(pairs) > 1 and all(pairs.values()):
        raise TrainingError(
            f"{root} has {groups[None][0].name} beside arrays of train, but of no split by its name; call it val or "
            "test, or move it elsewhere"
        )
    return {split: pair for split, pair in pairs.items() if pair} if all(pairs.values()) else {}


def stacks_in(folder: Path) -> list[Path]:
    """The files with the images of stacked arrays; none if it is not clear which arrays are meant."""
    try:
        return list(dict.fromkeys(stack.images.path for stack in find_stacks(folder).values()))
    except TrainingError:
        return []


def stack_entries(stack: Stack, split: str | None, raw: Raw | None) -> list[Entry]:
    """The rows of a stacked array as images. Labels that are not whole numbers are a regression target."""
    (file, name), count = stack.images, count_images(stack.images, raw)
    stats = [path.stat() for path in (file, *stack.files)]
    size, mtime_ns = stats[0].st_size, max(stat.st_mtime_ns for stat in stats)
    numbers = {place: numbers_of(place, count) for place in stack.targets}
    labels = [LENS] * count
    if stack.labels:
        values = open_labels(stack.labels, count)
        if values.dtype.kind == "f" and not np.isfinite(values).all():
            raise TrainingError(f"{stack.labels.path} holds NaN or infinite labels; leave the images without one out")
        broken = values.dtype.kind == "f" and ((values != np.round(values)) | (abs(values) > 2**53)).any()
        if broken or may_measure(stack.labels, values):
            numbers[stack.labels] = without_sentinels(values.astype(float))
        if not broken:
            spelt = [str(label) for label in classes_of(values, stack.labels.path)]
            refuse_spellings(spelt, f"{stack.labels} has the labels", ours=True)
            labels = [canonical(label) for label in spelt]
    targets = by_target(numbers)

    shown = None if stack.objects is None else open_labels(stack.objects, count)
    splits = [split] * count if stack.splits is None else splits_of(stack.splits, count, split)

    def entry(row: int) -> Entry:
        known = {target: float(values[row]) for target, values in targets.items() if not np.isnan(values[row])}
        thing = None if shown is None else object_name(shown[row])
        of = f"object {split or ''} {thing}" if thing else None  # each split may number its objects from the start
        return Entry(file, splits[row], labels[row], size, mtime_ns, row, known, array=name, object=of)

    return [entry(row) for row in range(count)]


def splits_of(place: Place, count: int, own: str | None) -> list[str]:
    """The split of each of `count` images. TrainingError if one is none, or another than the array's `own`."""
    values = open_labels(place, count)
    found = {value: split_of(str(value)) for value in np.unique(values)}
    if unknown := [value for value, split in found.items() if split is None]:
        raise TrainingError(f"{place} has the value {unknown[0]}; expected train, val or test")
    if own and {*found.values()} != {own}:
        raise TrainingError(f"{place} says another split than the name of the images, which is that of {own}")
    return [found[value] or "" for value in values]


def may_measure(labels: Place, values: np.ndarray) -> bool:
    """Whether whole numbers may be meant as a measure as well as classes, by the name of their array: `n_subhalos`."""
    called = plain(labels.path.stem if labels.name is None else labels.name)
    numbers = values.dtype.kind in "iuf" and len(np.unique(values)) > 2
    return numbers and called not in LABELS and array_name(labels) is not None


def by_target(numbers: Mapping[Place, np.ndarray]) -> dict[str, np.ndarray]:
    """The arrays of numbers by the names of their targets. TrainingError if two have one name, or both have none."""
    found: dict[str, Place] = {}
    for place, values in numbers.items():
        target = array_name(place) or bare_name(values[~np.isnan(values)].tolist())
        if (other := found.setdefault(target, place)) != place:
            raise TrainingError(f"{other} and {place} both hold the target {target}; give each a name of its own")
    return {target: numbers[place] for target, place in found.items()}


def numbers_of(place: Place, count: int) -> np.ndarray:
    """A regression target of each of `count` images, (count,), NaN where unknown, also where -99 or the like stands.

    TrainingError if one is infinite.
    """
    values = open_labels(place, count).astype(float)
    if np.isinf(values).any():
        raise TrainingError(f"{place.path} holds infinite numbers in {place.name}")
    return without_sentinels(values)


def classes_of(values: np.ndarray, file: Path) -> np.ndarray:
    """Labels as the names or whole numbers of classes. TrainingError if they are neither, or too many."""
    if values.dtype.kind in "biuf":
        values = values.astype(np.int64)
        if len(np.unique(values)) > 1000:
            raise TrainingError(f"{file} holds more than 1,000 different labels; expected classes")
    elif values.dtype.kind != "U":
        raise TrainingError(f"{file} holds {values.dtype} values; expected class numbers, names or regression targets")
    return values


def array_name(place: Place) -> str | None:
    """The target that the name of an array or its file says: `train_theta_E` is theta_E, `labels` is none."""
    name = place.path.stem if place.name is None else place.name
    parts = [AT_ENDS.sub("", part) for part in name.split("/")]
    plain = "_".join(part for part in parts if part)
    return None if plain.lower() in NO_TARGETS else target_name(plain)
