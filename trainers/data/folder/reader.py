"""The content and the image behind each entry of a listing, and the form that most images have."""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property
from itertools import chain
from pathlib import Path
from typing import NamedTuple

import numpy as np

from trainers.data.folder.bands import read_object
from trainers.data.folder.image_file import AS_STORED, UNREADABLE, Reading, Stored, chans_first, prepared
from trainers.data.folder.listing import Entry, Listing
from trainers.data.folder.named_arrays import Rows
from trainers.data.folder.stack import Place, open_images
from trainers.errors import TrainingError


class Form(NamedTuple):
    """The shape and dtype of one image, and its bands if it was put together from several HDUs."""

    shape: tuple[int, ...]
    dtype: np.dtype
    bands: tuple[str, ...] = ()

    def __str__(self) -> str:
        bands = f" of {', '.join(self.bands)}" if self.bands else ""
        return f"{'x'.join(map(str, self.shape))} {self.dtype}{bands}"


class Sample(NamedTuple):
    """What most images in a sample are like."""

    form: Form  # as (C, H, W)
    stored: Form  # on the disk
    hdus: tuple[str, ...]  # that became the channels, if a FITS file has several


@dataclass(frozen=True)
class Reader:
    """Reads the entries of a listing. Stacked arrays are mapped once."""

    listing: Listing
    reading: Reading = AS_STORED

    @cached_property
    def stacks(self) -> Mapping[tuple[Path, str | None], Rows]:
        places = {(entry.path, entry.array) for entry in self.listing.entries if entry.row is not None}
        return {place: open_images(Place(*place), self.listing.raw) for place in places}

    def row(self, entry: Entry) -> np.ndarray:
        """The row of a stacked array."""
        return np.asarray(self.stacks[entry.path, entry.array][entry.row])

    def digest(self, entry: Entry) -> bytes:
        """SHA-256 of the file, of the files of all bands, or of the stacked array's row."""
        if entry.row is not None:
            return hashlib.sha256(self.row(entry).tobytes()).digest()
        return hashlib.sha256(b"".join(file.read_bytes() for file in entry.files)).digest()

    def stored(self, entry: Entry) -> Stored:
        """The image as it is on the disk, and its regression targets. One of UNREADABLE if there is none."""
        if entry.row is not None:
            return Stored(self.row(entry), entry.targets)
        stored = read_object(entry.files, self.reading)
        return stored._replace(targets={**stored.targets, **entry.targets})

    def normal(self, stored: Stored) -> tuple[np.ndarray, Form, int]:
        """The image in its normal form, its form, and the number of missing pixels. TrainingError if it has none."""
        image, filled = prepared(stored.array, self.reading)
        return image, Form(image.shape, image.dtype, stored.hdus if len(stored.hdus) > 1 else ()), filled

    def image(self, entry: Entry, form: Form) -> tuple[np.ndarray, Mapping[str, float], int]:
        """The image in its normal form, its regression targets, and the number of its missing pixels.

        One of UNREADABLE if it cannot be read, is not of this `form`, or lacks the number that its layout promises.
        """
        stored = self.stored(entry)
        image, found, filled = self.normal(stored)
        if found != form:
            raise TrainingError(str(found))
        if self.listing.layout == "flat" and not stored.targets:
            raise TrainingError("has no number beside its image or in its name")
        return image, stored.targets, filled


def common_form(reader: Reader) -> Sample:
    """The form of most images in a sample, which all others must have too.

    TrainingError if no image can be read, or most are not square.
    """
    listing = reader.listing
    sample = listing.entries[:: max(len(listing.entries) // 32, 1)]
    seen: Counter[Form] = Counter()
    first: dict[Form, tuple[Entry, Sample]] = {}
    faults: list[str] = []
    for entry in chain(sample, (entry for entry in listing.entries if not seen)):  # all, if none of the sample is good
        try:
            stored = reader.stored(entry)
            _, form, _ = reader.normal(stored)
        except UNREADABLE as error:
            faults.append(anonymous(in_one_line(error), entry))
            continue  # the conversion names it with all the others
        seen[form] += 1
        on_disk = Form(stored.array.shape, stored.array.dtype)
        first.setdefault(form, (entry, Sample(form, on_disk, stored.hdus)))
    if not seen:
        why, count = faults[0], len(listing.entries)
        shared = faults[len(sample) :].count(why)  # the sample's are among them once more
        alike = f"all {count}" if shared == count else f"{shared} of {count}"
        raise TrainingError(
            f"no image in {listing.root} can be read; the first, {listing.name(listing.entries[0])}: {why} (the "
            f"same for {alike})"
        )
    (form, _), *_ = seen.most_common(1)
    entry, found = first[form]
    _, height, width = form.shape
    if height != width:
        raise TrainingError(
            f"{listing.name(entry)} in {listing.root} is {width}x{height} pixels; expected square images; make them so "
            "with --fit crop, pad or resize"
        )
    return found


def sizes_of(reader: Reader, pool: ThreadPoolExecutor) -> Counter[tuple[int, int]]:
    """The number of images of each size (H, W). Those that cannot be read are left to the conversion."""

    def size(entry: Entry) -> tuple[int, int] | None:
        try:
            _, height, width = chans_first(reader.stored(entry).array).shape
        except UNREADABLE:
            return None
        return height, width

    found = Counter(size for size in pool.map(size, reader.listing.entries) if size is not None)
    if not found:
        common_form(reader)  # which says why none can be read
    return found


def sizes_in_words(expected: Form, faults: Sequence[tuple[int, str]], images: int) -> str:
    """If some images differ from the `expected` in size alone: how many have which size, and what to do about it."""
    chans, height, width = expected.shape
    kind = re.escape(str(expected).partition(" ")[2])
    others = [re.fullmatch(rf"{chans}x(\d+)x(\d+) {kind}", why) for _, why in faults]
    sizes = Counter(f"{match[2]}x{match[1]}" for match in others if match)
    if not sizes:
        return ""
    sizes[f"{width}x{height}"] = images - len(faults)
    listed = ", ".join(f"{count} of {size}" for size, count in sizes.most_common(5))
    more = f" and {len(sizes) - 5} more sizes" * (len(sizes) > 5)
    return f", or make the sizes equal ({listed}{more} pixels) with --fit crop, pad or resize"


def anonymous(why: str, entry: Entry) -> str:
    """A fault without the names of the image's files, so that those of one kind are equal."""
    for file in entry.files:
        why = why.replace(f"{file.name}: ", "").replace(f"{file.name} ", "")
    return why


def in_one_line(error: BaseException) -> str:
    return " ".join(str(error).split())
