"""One image from a file for each band."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from trainers.data.folder.image_file import UNREADABLE, normal_form, read_image, read_stored
from trainers.errors import TrainingError


def read_object(files: Sequence[Path]) -> tuple[np.ndarray, dict[str, float]]:
    """The image of one file or of a file for each band, (C, H, W), and its regression targets. One of UNREADABLE."""
    return (read_bands(files), {}) if len(files) > 1 else read_image(files[0])


def read_bands(files: Sequence[Path]) -> np.ndarray:
    """The image (C, H, W), in its normal form, of which each file holds one band. TrainingError if they do not fit."""
    planes = []
    for file in files:
        try:
            array, _ = read_stored(file)
            planes.append(normal_form(array))
        except UNREADABLE as error:
            raise TrainingError(f"{file.name}: {error}") from error
    if len({(plane.shape, plane.dtype) for plane in planes}) > 1 or len(planes[0]) != 1:
        each = zip(files, planes, strict=True)
        forms = ", ".join(f"{file.name} {'x'.join(map(str, p.shape))} {p.dtype}" for file, p in each)
        raise TrainingError(f"its bands are not one plane of one kind each: {forms}")
    return np.concatenate(planes)
