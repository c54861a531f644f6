"""One image from a file for each band."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from trainers.data.folder import fit
from trainers.data.folder.image_file import (
    AS_STORED,
    UNREADABLE,
    Reading,
    Stored,
    chans_first,
    normal_form,
    read_stored,
)
from trainers.errors import TrainingError


def read_object(files: Sequence[Path], reading: Reading = AS_STORED) -> Stored:
    """The image of one file or of a file for each band, (C, H, W), as `read_stored`. One of UNREADABLE."""
    return Stored(read_bands(files, reading)) if len(files) > 1 else read_stored(files[0], reading)


def read_bands(files: Sequence[Path], reading: Reading = AS_STORED) -> np.ndarray:
    """The image (C, H, W) of which each file holds one band, as stored; or as `reading` resizes bands of several sizes.

    Floats of several precisions get the highest. TrainingError if the bands are not alike otherwise.
    """
    planes = []
    for file in files:
        try:
            planes.append(chans_first(read_stored(file, reading).array))
        except UNREADABLE as error:
            raise TrainingError(f"{file.name}: {error}") from error
    sizes = len({plane.shape[1:] for plane in planes}) > 1
    if sizes and reading.fit is not None and fit.kind(reading.fit) == "resize" and fit.side(reading.fit):
        planes, sizes = [fit.fitted(normal_form(plane)[0], reading.fit) for plane in planes], False
    if all(plane.dtype.kind == "f" for plane in planes):
        planes = [plane.astype(np.result_type(*planes), copy=False) for plane in planes]
    if len({(plane.shape, plane.dtype) for plane in planes}) > 1 or len(planes[0]) != 1:
        each = zip(files, planes, strict=True)
        forms = ", ".join(f"{file.name} {'x'.join(map(str, p.shape))} {p.dtype}" for file, p in each)
        remedy = "; make them alike with --fit resize and --image-size" if sizes else ""
        raise TrainingError(f"its bands are not one plane of one kind each: {forms}{remedy}")
    return np.concatenate(planes)
