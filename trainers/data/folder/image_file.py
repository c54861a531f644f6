"""From one image file to one array."""

from __future__ import annotations

import pickle
import zlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image

from trainers.data.dataset import NUMBER
from trainers.data.folder import fit
from trainers.data.folder.fits_file import FITS, read_fits
from trainers.data.folder.missing import clipped, fill_missing
from trainers.data.folder.named_arrays import NAMED_ARRAYS, arrays_in, choose_images, is_named_arrays
from trainers.data.folder.names import canonical, target_name
from trainers.data.folder.object_array import read_npy
from trainers.data.folder.tiff_file import read_tiff
from trainers.errors import TrainingError

TIFF = (".tif", ".tiff")
ALONE = (".npy", ".png", ".jpg", ".jpeg", *TIFF, *FITS)
EXTENSIONS = (*ALONE, *NAMED_ARRAYS)
MODES = {"1": "L", "L": "L", "LA": "L", "I;16": "I", "I;16B": "I", "I;16L": "I", "I": "I", "F": "F"}  # else RGB
DEEP = ("RGB;16B", "RGBA;16B", "LA;16B")  # Pillow's names of what it reads with 8 bits
UNREADABLE = (
    OSError, ValueError, SyntaxError, EOFError, zlib.error, pickle.UnpicklingError, Image.DecompressionBombError,
)  # fmt: skip
"""The errors that reading a damaged image may raise."""
FEW, CHANNELS = 4, 16
"""The most channels that an image may have: of any size, and if it is square."""
TINY, HUGE = float(np.finfo(np.float32).tiny), 1e36  # magnitudes of which float32 keeps all digits and sums
READING = 4
"""Part of the keys of caches. Raise it when the same file becomes other pixels or numbers."""


@dataclass(frozen=True)
class Reading:
    """How images are read from files. An exported model reads its own in the same way."""

    hdu: tuple[str, ...] | None = None  # HDUs of a FITS file, by name or number, that are the channels; None: by names
    clip: tuple[float, float] | None = None  # the percentiles at which each channel of each image is clipped
    key: tuple[str, ...] | None = None  # of the images, and of the labels, in a file of named arrays; None: by names
    fit: str | None = None  # as in `fit.py`; None: images must be square and of one size
    classes: tuple[str, ...] | None = None  # the names of classes that are whole numbers on the disk, from 0

    def __post_init__(self) -> None:
        if self.hdu is not None:
            object.__setattr__(
                self, "hdu", names_in("hdu", self.hdu, "the names or numbers of HDUs as text, such as G,R,I")
            )
        if self.key is not None:
            expected = "the names of the images' and of the labels' array, such as x,y"
            object.__setattr__(self, "key", names_in("key", self.key, expected))
            if len(self.key) > 2:
                raise TrainingError(f"key is {','.join(self.key)!r}; expected {expected}")
        if self.clip is not None:
            try:
                low, high = map(float, self.clip.split(",") if isinstance(self.clip, str) else self.clip)
            except (TypeError, ValueError):
                low = high = 0.0
            if not 0 <= low < high <= 100:
                raise TrainingError(f"clip is {self.clip}; expected two percentiles, such as 0.1,99.9")
            object.__setattr__(self, "clip", (low, high))
        if self.fit is not None:
            fit.checked(self.fit)
        if self.classes is not None:
            expected = "the different names of classes 0, 1, 2, ..., such as no_sub,cdm,axion"
            named = tuple(map(canonical, names_in("classes", self.classes, expected)))
            if len(set(named)) < len(named):
                raise TrainingError(f"classes is {self.classes!r}; expected {expected}")
            object.__setattr__(self, "classes", named)

    @property
    def image_key(self) -> str | None:
        return self.key[0] if self.key else None


def names_in(option: str, given: object, expected: str) -> tuple[str, ...]:
    """The names in `given`, which may be text with commas. TrainingError if there are none."""
    if not isinstance(given, Iterable):
        raise TrainingError(f"{option} is {given!r}; expected {expected}")
    names = tuple(str(name).strip() for name in (given.split(",") if isinstance(given, str) else given))
    if not all(names) or not names:
        raise TrainingError(f"{option} is {given!r}; expected {expected}")
    return names


AS_STORED = Reading()


class Stored(NamedTuple):
    """What one image's file or row holds."""

    array: np.ndarray  # in any shape and dtype
    targets: Mapping[str, float] = {}  # regression targets beside it
    hdus: tuple[str, ...] = ()  # the HDUs that the image was chosen from or made of; none if there was no choice


def read_stored(path: Path, reading: Reading = AS_STORED) -> Stored:
    """The image in the file and what comes with it. One of UNREADABLE if there is none."""
    name = path.name.lower()
    if name.endswith(".npy"):
        array = read_npy(path)
        return Stored(*unpack(array)) if array.dtype == object else Stored(array)
    if name.endswith(FITS):
        array, hdus = read_fits(path, reading.hdu)
        return Stored(array, hdus=hdus)
    if name.endswith(TIFF):
        return Stored(read_tiff(path))
    if is_named_arrays(name):
        return Stored(np.asarray(choose_images(arrays_in(path), reading.image_key, 2).open()[...]))
    return Stored(read_picture(path))


def read_picture(path: Path) -> np.ndarray:
    """The pixels of a PNG or JPEG, (H, W) or (H, W, 3)."""
    with Image.open(path) as image:
        if image.format == "PNG" and (coded := str(image.tile[0].args)) in DEEP:
            return read_deep(path, coded)
        return np.asarray(image.convert(MODES.get(image.mode, "RGB")))


def read_deep(path: Path, coded: str) -> np.ndarray:
    """The colours of a PNG with 16 bits for each, (H, W, 3) uint16. Pillow reads 8 of them, so it reads twice.

    What it takes for the high byte of little-endian numbers is the low byte of the file's big-endian ones.
    """
    if coded == "LA;16B":
        raise TrainingError("is a PNG with 16 bits of grey and transparency; save it without transparency")
    halves = []
    for order in "BL":
        with Image.open(path) as image:
            codec, extents, offset, _ = image.tile[0]
            image.tile = [(codec, extents, offset, coded[:-1] + order)]  # type: ignore[list-item]
            halves.append(np.asarray(image)[..., :3].astype(np.uint16))
    return halves[0] << 8 | halves[1]


def prepared(array: np.ndarray, reading: Reading) -> tuple[np.ndarray, int]:
    """The image in its normal form, clipped and fitted as `reading` says, and the number of its missing pixels.

    What is cut off need not be measured.
    """
    if reading.fit is not None and fit.kind(reading.fit) == "crop":
        return normal_form(fit.fitted(chans_first(array), reading.fit), reading.clip)
    image, filled = normal_form(array, reading.clip)
    return image if reading.fit is None else fit.fitted(image, reading.fit), filled


def normal_form(array: np.ndarray, clip: tuple[float, float] | None = None) -> tuple[np.ndarray, int]:
    """The image as (C, H, W) in a dtype of torch's, and the number of its pixels that were missing.

    Missing pixels are filled in (`missing.py`), then each channel is clipped at these percentiles. Integers keep their
    dtype if torch can compute with it; floats become float32. Sizes distinguish the grid from channels: (H, W),
    (C, H, W) and (H, W, C) with up to 16 channels are all understood, and further axes of length 1 in front.
    TrainingError if the array is no image, misses too much, or holds values that its new dtype cannot.
    """
    array = chans_first(array)
    if array.dtype.kind not in "biuf":
        raise TrainingError(f"holds {array.dtype} values; expected numbers")
    array, filled, peak = fill_missing(array)
    if clip is not None:
        array = clipped(array, clip)
    if array.dtype.kind == "f":
        if peak and not TINY <= peak <= HUGE:
            raise TrainingError(f"its largest value, {peak:.2g}, is beyond float32; multiply all images by one factor")
        array = array.astype(np.float32)
    elif array.dtype.kind in "bu" and array.dtype.itemsize < 4:  # bool, uint8, and uint16, with which torch does little
        array = array.astype(np.uint8 if array.dtype.itemsize == 1 else np.int32)
    elif array.dtype.kind == "u":
        if peak > np.iinfo(np.int64).max:
            raise TrainingError(f"its largest value, {peak}, is beyond int64; save the images as floats")
        array = array.astype(np.int64)
    else:
        array = array.astype(array.dtype.newbyteorder("="))
    return np.ascontiguousarray(array), filled


def unpack(array: np.ndarray) -> tuple[np.ndarray, dict[str, float]]:
    """The image in an object array and the numbers beside it: `[image, number, ...]`, or a dict that names them."""
    members = [pair for item in array.flat for pair in (item.items() if isinstance(item, dict) else [("", item)])]
    images = [value for _, value in members if isinstance(value, np.ndarray) and value.size > 1]
    numbers = [(name, float(v)) for name, v in members if isinstance(v, int | float | np.number)]
    named = {known: value for name, value in numbers if (known := target_name(str(name)))}
    bare = [value for name, value in numbers if not name]
    if len(images) != 1 or not (named or bare):
        raise TrainingError("is an object array; expected [image, number], or an image and numbers in a dict")
    if wrong := [value for _, value in numbers if not np.isfinite(value)]:
        raise TrainingError(f"holds {wrong[0]} beside its image; expected a number")
    if len(bare) == 1:
        return images[0], {**named, bare_name(bare): bare[0]}
    return images[0], {**named, **{f"{NUMBER}_{i}": value for i, value in enumerate(bare, 1)}}


def bare_name(values: Sequence[float]) -> str:
    """The target that numbers without a name are: axion masses in eV are recognised by their size, about 1e-23."""
    return "axion_mass" if values and all(0 < value < 1e-10 for value in values) else NUMBER


def channel_axis(shape: tuple[int, ...]) -> int | None:
    """Which of three axes are the channels, the first or the last; None if neither can be.

    A few are channels, whatever the image's sides; more, if the other two sides are equal.
    """
    first, height, last = shape
    for most, square in ((FEW, False), (CHANNELS, True)):
        if first <= most and not (square and height != last):
            return 0
        if last <= most and not (square and first != height):
            return 2
    return None


def chans_first(array: np.ndarray) -> np.ndarray:
    """The image as (C, H, W). TrainingError if its shape is none of those that `normal_form` understands."""
    while array.ndim > 3 and len(array) == 1:
        array = array[0]
    if array.ndim == 2 and array.size:
        return array[None]
    if array.ndim == 3 and array.size and (axis := channel_axis(array.shape)) is not None:
        return array if axis == 0 else array.transpose(2, 0, 1)
    raise TrainingError(
        f"has shape {array.shape}; expected (H, W), (C, H, W) or (H, W, C) with at most {CHANNELS} channels"
    )
