"""Where images come from, as data. `loading.py` turns it into a data set."""

from __future__ import annotations

import operator
import os
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from trainers.data.folder.grouping import check_pattern
from trainers.data.folder.image_file import Reading
from trainers.data.folder.stack import Raw
from trainers.data.simulated.population import Population, preset, with_snr
from trainers.data.splits import checked_shares
from trainers.errors import TrainingError
from trainers.user_module import is_dotted

LARGEST = 4096  # pixels a side: a few larger images fill the memory


@dataclass(frozen=True)
class Simulated:
    """Lenses of three classes from the simulator, split 70:15:15 into train, val and test.

    A larger `images` keeps all images of a smaller one, each in its split; `image_size` changes the pixel, not the
    field of view.
    """

    preset: str = "fair"
    images: int = 4000
    image_size: int = 64
    seed: int = 0
    snr: float | None = None  # of the brightest pixel, in place of the preset's own exposure; None: the preset's

    def __post_init__(self) -> None:
        check_numbers(self, "images", "image_size", "seed")
        self.population()
        if self.images < 21:
            raise TrainingError(f"images is {self.images}; expected at least 21, for every class in every split")
        if self.seed < 0:
            raise TrainingError(f"seed is {self.seed}; expected 0 or more")

    def population(self) -> Population:
        """The population that is simulated. TrainingError if the preset is unknown."""
        return preset(self.preset) if self.snr is None else with_snr(preset(self.preset), self.snr)


@dataclass(frozen=True)
class Folder:
    """A folder of images in any layout of `folder/layouts.py`, which is recognised, or a file of stacked arrays."""

    path: str  # made absolute, so that a record of it means the same to a worker elsewhere
    image_size: int | None = None  # None: as stored; otherwise resized, antialiased, at conversion
    seed: int = 0  # of the split, if the folder has none of its own
    skip_bad: bool = False  # discard and record images that cannot be read, instead of refusing the folder
    raw_shape: tuple[int, ...] | None = None  # of one image, (H, W) or (C, H, W), in arrays without a header
    raw_dtype: str | None = None  # of such arrays, by numpy's name: "float32"
    group: str | None = None  # regular expression; its one group, in an image's path below `path`, is the object's name
    hdu: tuple[str, ...] | None = None  # as in `Reading`; also text such as "G,R,I"
    clip: tuple[float, float] | None = None  # as in `Reading`; also text such as "0.1,99.9"
    key: tuple[str, ...] | None = None  # as in `Reading`; also text such as "x,y"
    fit: str | None = None  # as in `Reading`: "crop", "pad" or "resize"
    split: tuple[float, float, float] | None = None  # proportion of train, val and test; also text such as "70,15,15"
    classes: tuple[str, ...] | None = None  # as in `Reading`; also text such as "no_sub,cdm,axion"

    def __post_init__(self) -> None:
        check_numbers(self, "image_size", "seed")
        check_split(self)
        for name, value in asdict(self.reading()).items():  # checked, and a tuple
            object.__setattr__(self, name, value)
        object.__setattr__(self, "path", os.path.abspath(Path(self.path).expanduser()))
        if self.raw_shape is not None:
            object.__setattr__(self, "raw_shape", tuple(map(int, self.raw_shape)))  # a list in JSON
        if (self.raw_shape is None) != (self.raw_dtype is None):
            raise TrainingError("arrays without a header need both raw_shape and raw_dtype; one of them is missing")
        if self.raw_shape is not None and not (len(self.raw_shape) in (2, 3) and min(self.raw_shape) > 0):
            raise TrainingError(f"raw_shape is {self.raw_shape}; expected the (H, W) or (C, H, W) of one image")
        if self.raw_dtype is not None and not numeric(self.raw_dtype):
            raise TrainingError(f"raw_dtype is {self.raw_dtype!r}; expected a number type such as float32 or uint8")
        if self.group is not None:
            check_pattern(self.group)

    def reading(self) -> Reading:
        """How each image is read."""
        return Reading(self.hdu, self.clip, self.key, self.fit, self.classes)

    def raw(self) -> Raw | None:
        """The form of one image in arrays without a header, if it was given."""
        return Raw(self.raw_shape, self.raw_dtype) if self.raw_shape and self.raw_dtype else None


@dataclass(frozen=True)
class Function:
    """A function of the user's, without arguments, that returns images: `given.py` says in which forms.

    Its images are cached like a folder's. It is called again only if the file that defines it has been edited: what it
    reads is not watched.
    """

    name: str  # "my_package.my_images:load"
    image_size: int | None = None  # None: as returned; otherwise resized, antialiased
    seed: int = 0  # of the split, if the function does not return one
    split: tuple[float, float, float] | None = None  # as in `Folder`

    def __post_init__(self) -> None:
        path, colon, function = self.name.partition(":")
        if not (colon and is_dotted(path) and function.isidentifier()):
            raise TrainingError(
                f"function {self.name!r} is not a module and a function in it, such as my_package.my_images:load"
            )
        if path == "__main__":
            raise TrainingError(
                f"function {self.name!r}: workers cannot import __main__; put it into a file of its own"
            )
        check_numbers(self, "image_size", "seed")
        check_split(self)


@dataclass(frozen=True)
class Arrays:
    """Arrays that `from_arrays` has written to the cache, where every worker finds them by this record."""

    digest: str  # of images, labels and targets
    image_size: int | None = None
    seed: int = 0
    split: tuple[float, float, float] | None = None  # as in `Folder`

    def __post_init__(self) -> None:
        check_numbers(self, "image_size", "seed")
        check_split(self)

    def key(self) -> dict[str, Any]:
        """Names the folder in the cache."""
        return {"arrays": self.digest, "image_size": self.image_size, "seed": self.seed, **split_key(self)}


def check_numbers(source: Source, *names: str) -> None:
    """Make these fields plain integers, which JSON knows. TrainingError if one is not whole, or no size of an image."""
    for name in names:
        value = getattr(source, name)
        if value is None and name == "image_size" and not isinstance(source, Simulated):
            continue
        try:
            object.__setattr__(source, name, operator.index(value))
        except TypeError:
            raise TrainingError(f"{name} is {value!r}; expected a whole number") from None
    if source.image_size is not None and not 8 <= source.image_size <= LARGEST:
        raise TrainingError(
            f"image_size is {source.image_size}; expected 8 to {LARGEST} pixels a side, or none to keep the size"
        )


def check_split(source: Folder | Function | Arrays) -> None:
    """Make `split` numbers. TrainingError if it is no proportion of three splits."""
    if source.split is not None:
        object.__setattr__(source, "split", checked_shares(source.split))


def split_key(source: Function | Arrays) -> dict[str, Any]:
    """What `split` adds to a key: nothing where it is not given, as in keys of before there was this option."""
    return {"split": source.split} if source.split else {}


def numeric(dtype: str) -> bool:
    """Whether numpy knows a number type by this name."""
    try:
        return np.dtype(dtype).kind in "biuf"
    except TypeError:
        return False


Source = Simulated | Folder | Function | Arrays
KINDS: dict[str, type[Source]] = {"simulated": Simulated, "folder": Folder, "function": Function, "arrays": Arrays}


def source_to_dict(source: Source) -> dict[str, Any]:
    """A plain JSON object from which `source_from_dict` rebuilds the source."""
    kind = next(kind for kind, cls in KINDS.items() if isinstance(source, cls))
    return {"kind": kind, **asdict(source)}


def source_from_dict(record: dict[str, Any]) -> Source:
    """The inverse of `source_to_dict`. TrainingError for an unknown kind or key."""
    fields = dict(record)
    kind = fields.pop("kind", None)
    if kind not in KINDS:
        raise TrainingError(f"unknown kind of data {kind!r}; known: {', '.join(KINDS)}")
    known = KINDS[kind].__dataclass_fields__
    if unknown := sorted(set(fields) - set(known)):
        raise TrainingError(f"unknown key {unknown[0]!r} for {kind} data; known: {', '.join(known)}")
    return KINDS[kind](**fields)
