"""Stacked arrays: one file with all images, (N, H, W) or (N, C, H, W), and one with a label or a number for each.

Files may be `.npy`, or headerless (`numpy.memmap`, `tofile`) if the form of one image is given. The integer type of
headerless labels follows from the file's size.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from trainers.errors import TrainingError

RAW_EXTENSIONS = (".dat", ".bin", ".raw", ".mmap", ".memmap")


@dataclass(frozen=True)
class Raw:
    """The form of one image in a headerless file."""

    shape: tuple[int, ...]
    dtype: str

    @property
    def nbytes(self) -> int:
        return int(np.prod(self.shape)) * np.dtype(self.dtype).itemsize


def has_header(path: Path) -> bool:
    """Whether the file was written by `numpy.save`."""
    with path.open("rb") as file:
        return file.read(6) == b"\x93NUMPY"


def open_images(path: Path, raw: Raw | None) -> np.ndarray:
    """The images in `path`, mapped, not read. TrainingError if its size does not fit the form `raw`."""
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


def open_labels(path: Path, images: int) -> np.ndarray:
    """Labels or numbers, (images,): integers, floats or names. TrainingError if there is not one for each image."""
    if has_header(path):
        labels = np.load(path, allow_pickle=False)
    else:
        size, rest = divmod(path.stat().st_size, images)
        if rest or size not in (1, 2, 4, 8):
            raise TrainingError(
                f"{path} has {path.stat().st_size} bytes; expected one integer for each of {images} images, "
                "or a file written by numpy.save"
            )
        labels = np.fromfile(path, dtype=f"i{size}")
    if labels.size != images or labels.shape[0] != images:
        raise TrainingError(f"{path} holds labels of shape {labels.shape}; expected one for each of {images} images")
    return labels.reshape(images)


def find_pair(files: Iterable[Path], raw: Raw | None) -> tuple[Path, Path] | None:
    """The images' and the labels' file among `files`, or None if they are no such pair."""
    sizes: dict[Path, int] = {}
    images: list[Path] = []
    labels: list[Path] = []
    for path in files:
        if path.suffix.lower() == ".npy" and has_header(path):
            try:
                array = np.load(path, mmap_mode="r", allow_pickle=False)
            except ValueError:  # an object array is never a stack
                return None
            one_each = array.ndim > 0 and array.size == len(array)
            (labels if one_each else images).append(path)
        elif raw is not None or path.suffix.lower() in RAW_EXTENSIONS:
            sizes[path] = path.stat().st_size
    if sizes:  # without headers, the larger file is the one with the images
        by_size = sorted(sizes, key=sizes.__getitem__, reverse=True)
        if not images:
            images.append(by_size.pop(0))
        labels += by_size
    return (images[0], labels[0]) if len(images) == len(labels) == 1 else None
