"""The content and the image behind each entry of a listing, and the form that most images have."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from itertools import chain
from pathlib import Path
from typing import NamedTuple

import numpy as np

from trainers.data.folder.bands import read_bands
from trainers.data.folder.image_file import UNREADABLE, normal_form, read_stored
from trainers.data.folder.listing import Entry, Listing
from trainers.data.folder.stack import open_images
from trainers.errors import TrainingError


class Form(NamedTuple):
    """The shape and dtype of one image."""

    shape: tuple[int, ...]
    dtype: np.dtype

    def __str__(self) -> str:
        return f"{'x'.join(map(str, self.shape))} {self.dtype}"


@dataclass(frozen=True)
class Reader:
    """Reads the entries of a listing. Stacked arrays are mapped once."""

    listing: Listing

    @cached_property
    def stacks(self) -> Mapping[Path, np.ndarray]:
        paths = {entry.path for entry in self.listing.entries if entry.row is not None}
        return {path: open_images(path, self.listing.raw) for path in paths}

    def digest(self, entry: Entry) -> bytes:
        """SHA-256 of the file, of the files of all bands, or of the stacked array's row."""
        if entry.row is not None:
            return hashlib.sha256(self.stacks[entry.path][entry.row].tobytes()).digest()
        return hashlib.sha256(b"".join(file.read_bytes() for file in entry.files)).digest()

    def stored(self, entry: Entry) -> tuple[np.ndarray, Mapping[str, float]]:
        """The image as it is on the disk, and its regression targets. One of UNREADABLE if there is none."""
        if entry.row is not None:
            return np.asarray(self.stacks[entry.path][entry.row]), entry.targets
        return (read_bands(entry.files), {}) if entry.others else read_stored(entry.path)

    def normal(self, entry: Entry, array: np.ndarray) -> np.ndarray:
        """The stored image in its normal form, which bands of several files have when they are read."""
        return array if entry.others else normal_form(array)

    def image(self, entry: Entry, form: Form) -> tuple[np.ndarray, Mapping[str, float]]:
        """The image in its normal form, and its regression targets.

        One of UNREADABLE if it cannot be read, is not of this `form`, or lacks the number that its layout promises.
        """
        array, targets = self.stored(entry)
        image = self.normal(entry, array)
        found = Form(image.shape, image.dtype)
        if found != form:
            raise TrainingError(str(found))
        if self.listing.layout == "flat" and not targets:
            raise TrainingError("has no number beside its image")
        return image, targets


def common_form(reader: Reader) -> tuple[Form, Form]:
    """The form of most images in a sample, as (C, H, W) and as stored. All others must have it too.

    TrainingError if no image can be read, or most are not square.
    """
    listing = reader.listing
    sample = listing.entries[:: max(len(listing.entries) // 32, 1)]
    seen: Counter[Form] = Counter()
    first: dict[Form, tuple[Entry, Form]] = {}
    faults: list[str] = []
    for entry in chain(sample, (entry for entry in listing.entries if not seen)):  # all, if none of the sample is good
        try:
            array, _ = reader.stored(entry)
            image = reader.normal(entry, array)
        except UNREADABLE as error:
            faults.append(" ".join(str(error).split()))
            continue  # the conversion names it with all the others
        form = Form(image.shape, image.dtype)
        seen[form] += 1
        first.setdefault(form, (entry, Form(array.shape, array.dtype)))
    if not seen:
        why, count = faults[0], len(listing.entries)
        shared = faults[len(sample) :].count(why)  # the sample's are among them once more
        alike = f"all {count}" if shared == count else f"{shared} of {count}"
        raise TrainingError(
            f"no image in {listing.root} can be read; the first, {listing.name(listing.entries[0])}: {why} (the "
            f"same for {alike})"
        )
    (form, _), *_ = seen.most_common(1)
    entry, stored = first[form]
    _, height, width = form.shape
    if height != width:
        raise TrainingError(
            f"{listing.name(entry)} in {listing.root} is {width}x{height} pixels; expected square images"
        )
    return form, stored
