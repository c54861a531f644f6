"""The forms in which a user may give images, in memory or from a function:

    (images, labels)
    a map-style torch Dataset of (image, label) pairs, whose `classes`, if it has any, name the labels
    a dict of these by split: "train" and, if they are official, "val" and "test"

Images are (N, H, W), (N, C, H, W) or (N, H, W, C) with up to 16 channels, square and of any real dtype, from numpy or
torch. Labels are one class for each image, as whole numbers, strings or one-hot rows (N, classes), or a mapping of
names to (N,) numbers: these are regression targets, NaN where unknown. The mapping's key "label" may hold classes, and
"lens_id" or the like the objects that the images show, which are not divided among splits. A table of pandas with
these columns and no others is such a mapping.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from numbers import Integral
from typing import Any

import numpy as np
from PIL import Image
from torch import Tensor

from trainers.data.dataset import RESERVED
from trainers.data.folder.columns import without_sentinels
from trainers.data.folder.image_file import MODES
from trainers.data.folder.named_arrays import LABELS, from_tensor
from trainers.data.folder.names import LENS, OBJECT, SPLIT_NAMES, canonical, object_name, object_named, refuse_spellings
from trainers.data.folder.stack import class_numbers
from trainers.errors import TrainingError, named

CLASSES = "label"
"""The key of the classes in a mapping of targets."""
MOST_CLASSES = 1000


@dataclass(frozen=True)
class Part:
    """The images of one official split, or all of them."""

    split: str | None
    images: list[np.ndarray]
    labels: list[str]
    targets: Mapping[str, np.ndarray] = field(default_factory=dict)
    objects: Sequence[str | None] = ()  # that the images show, where it is known

    def target(self, name: str) -> np.ndarray:
        return self.targets[name] if name in self.targets else np.full(len(self.images), np.nan)


def by_split(given: Any) -> dict[str | None, Any]:
    """The parts by their official split; a single one has none."""
    if not isinstance(given, Mapping):
        return {None: given}
    parts: dict[str | None, Any] = {}
    for key, part in given.items():
        split = SPLIT_NAMES.get(str(key).lower())
        if split is None or split in parts:
            raise TrainingError(f"expected the keys train, val and test, once each; {key!r} is another")
        parts[split] = part
    if "train" not in parts:
        raise TrainingError(f"has the splits {', '.join(map(str, parts)) or 'none'}, but not train")
    return parts


def read_part(given: Any, split: str | None) -> Part:
    """Images, classes and targets of one part. TrainingError if it has none of the forms that this file accepts."""
    with named(split):
        images, labels, classes = unpack(given)
        if not hasattr(images, "__len__") or not len(images):
            raise TrainingError("there are no images")
        whole = to_array(images) if hasattr(images, "dtype") else images  # at once, if it is one array
        some = [to_array(image) for image in whole]
        if hasattr(labels, "columns"):
            labels = unframed(labels)
        if not isinstance(labels, Mapping):
            return Part(split, some, read_classes(labels, len(some), classes))
        if not labels:
            raise TrainingError("the mapping of labels is empty; expected names and numbers")
        shown = [name for name in labels if isinstance(name, str) and OBJECT.fullmatch(name.lower())]
        others = {name: values for name, values in labels.items() if name not in (CLASSES, *shown)}
        targets = {name: read_target(name, values, len(some)) for name, values in others.items()}
        names = read_classes(labels[CLASSES], len(some), classes) if CLASSES in labels else [LENS] * len(some)
        thing = object_named(shown)
        things = one_each(labels[thing], len(some), thing).tolist() if thing else [None] * len(some)
        return Part(split, some, names, targets, [known and f"{split} {known}" for known in map(object_name, things)])


def unpack(given: Any) -> tuple[Any, Any, Sequence[Any] | None]:
    """Images, labels, and the names of the classes, if they are known."""
    if isinstance(given, tuple | list) and len(given) == 2:
        return *given, None
    if not (hasattr(given, "__getitem__") and hasattr(given, "__len__")) or isinstance(
        given, np.ndarray | Tensor | str
    ):
        raise TrainingError(
            f"{type(given).__name__} is no set of images; expected (images, labels), a map-style torch Dataset of "
            "(image, label) pairs, or a dict of these by split (train, val, test)"
        )
    pairs = [given[i] for i in range(len(given))]
    if any(not isinstance(pair, tuple | list) or len(pair) != 2 for pair in pairs):
        raise TrainingError(f"the items of the {type(given).__name__} are not pairs (image, label)")
    labels: Any = [label for _, label in pairs]
    mappings = [label for label in labels if isinstance(label, Mapping)]
    if mappings and len(mappings) < len(labels):
        raise TrainingError("some labels are mappings and some are not; expected one kind for all images")
    if mappings:  # what an image lacks is not known of it
        names = dict.fromkeys(name for label in mappings for name in label)
        labels = {name: [label.get(name, np.nan) for label in mappings] for name in names}
    return [image for image, _ in pairs], labels, getattr(given, "classes", None)


def unframed(table: Any) -> Any:
    """A table of pandas as labels: one column of names or whole numbers, or one-hot columns; else targets by name, of
    which the first that is called so in LABELS holds the classes.
    """
    whole = np.asarray(table)
    if class_numbers(whole).ndim == 1 or (whole.shape[1] == 1 and whole.dtype.kind in "biuUO"):
        return whole
    names = {str(name).lower(): name for name in table.columns}
    classes = next((names[name] for name in LABELS if name in names), None)
    return {CLASSES if name == classes else str(name): table[name] for name in table.columns}


def read_classes(values: Any, count: int, classes: Sequence[Any] | None) -> list[str]:
    """The canonical class name of each of `count` images; `classes` names the whole numbers."""
    array = one_each(class_numbers(to_array(values)), count, "labels")
    if array.dtype.kind == "f" and np.isfinite(array).all() and (array == np.round(array)).all():
        array = array.astype(np.int64)
    if array.dtype.kind == "O" and all(isinstance(value, str) for value in array):
        array = array.astype(str)
    if array.dtype.kind not in "biuU":
        place, wrong = next(((i, v) for i, v in enumerate(array.tolist()) if not is_class(v)), (0, array[0]))
        raise TrainingError(
            f"the label of image {place} is {wrong!r}; expected classes, as whole numbers or strings, or for "
            "regression a mapping of names to numbers"
        )
    labels = [str(value) for value in (array if array.dtype.kind == "U" else array.astype(np.int64))]
    if classes is not None and array.dtype.kind != "U":
        if unnamed := set(labels) - set(map(str, range(len(classes)))):
            raise TrainingError(f"label {min(unnamed)} is none of the {len(classes)} classes")
        labels = [str(classes[int(label)]) for label in labels]
    if len(set(labels)) > MOST_CLASSES:
        raise TrainingError(f"there are more than {MOST_CLASSES:,} different labels; expected classes")
    refuse_spellings(labels, "there are the labels", ours=True)
    return [canonical(label) for label in labels]


def is_class(label: Any) -> bool:
    """Whether a label is the name or the whole number of a class."""
    return isinstance(label, str | Integral) or (isinstance(label, float) and label.is_integer())


def read_target(name: Any, values: Any, count: int) -> np.ndarray:
    """A regression target of each of `count` images, (count,) float64, NaN where it is unknown or -99 or the like."""
    if not (isinstance(name, str) and name.isidentifier() and name not in RESERVED):
        raise TrainingError(f"target {name!r}: expected a plain word such as redshift, or {CLASSES!r} for classes")
    array = one_each(values, count, name)
    if array.dtype.kind not in "biuf":
        raise TrainingError(f"{name} has {array.dtype} values; expected numbers")
    if np.isinf(array).any():
        raise TrainingError(f"{name} has infinite values; expected numbers, or NaN where it is unknown")
    return without_sentinels(array.astype(np.float64))


def one_each(values: Any, count: int, what: str) -> np.ndarray:
    """An array (count,) of `values`, one for each image."""
    array = to_array(values)
    if array.shape not in ((count,), (count, 1)):
        raise TrainingError(f"{what} have shape {array.shape}; expected one for each of {count} images")
    return array.reshape(count)


def to_array(values: Any) -> np.ndarray:
    """A numpy array of a tensor, a picture, or anything that numpy makes an array of; NaN where it is masked."""
    if isinstance(values, Tensor):
        return from_tensor(values)
    if isinstance(values, np.ma.MaskedArray) and values.mask.any():
        return np.where(values.mask, np.nan, values.data).astype(np.result_type(values.dtype, np.float32))
    if isinstance(values, Image.Image):
        return np.asarray(values.convert(MODES.get(values.mode, "RGB")))
    try:
        return np.asarray(values)
    except (ValueError, TypeError) as error:
        raise TrainingError(f"an image or a list of labels cannot become an array ({error})") from error
