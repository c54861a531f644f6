"""The image in a TIFF file. Several pages of one size and type are its bands, in their order.

Pillow reads most files with one number for each pixel and page, and colours of 8 bits. It reads some others wrongly,
such as 16 bits for each colour, of which it drops 8; those and all that it cannot read are left to tifffile.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image, ImageSequence

from trainers.errors import TrainingError

BITS, SAMPLES, FORMAT = 258, 277, 339  # the tags of a page
GREY = {(1, 1), (8, 1), (16, 1), (16, 2), (32, 2), (32, 3)}
"""Bits and format (1: unsigned, 2: signed, 3: float) of single numbers that Pillow reads as they are."""


def read_tiff(path: Path) -> np.ndarray:
    """The pixels, (H, W), (H, W, 3 or 4) or (pages, H, W). TrainingError if the pages are no bands of one image."""
    try:
        with Image.open(path) as image:
            pages = [plain(page) for page in ImageSequence.Iterator(image)]
    except Image.UnidentifiedImageError:  # a kind that Pillow does not know
        pages = [None]
    found = [page for page in pages if page is not None]
    if len(found) < len(pages):
        return read_by_tifffile(path)
    if len(found) == 1:
        return found[0]
    if len({(page.shape, page.dtype) for page in found}) > 1 or found[0].ndim > 2:
        listed = ", ".join(f"{'x'.join(map(str, page.shape))} {page.dtype}" for page in found[:8])
        raise TrainingError(f"has {len(found)} pages that are no bands of one image: {listed}")
    return np.stack(found)


def plain(page: Image.Image) -> np.ndarray | None:
    """The pixels of a page, (H, W), (H, W, 3) or (H, W, 4); None if Pillow would not read them as they are.

    A fourth plane that is the same everywhere is transparency, any other a band.
    """
    tags = page.tag_v2  # type: ignore[attr-defined]
    bits, samples, kinds = tags.get(BITS, (1,)), tags.get(SAMPLES, 1), tags.get(FORMAT, (1,))
    if samples == 1 and (bits[0], kinds[0]) in GREY:
        return np.asarray(page.convert("L") if page.mode in ("1", "L") else page)
    if set(bits) == {8} and set(kinds) == {1} and page.mode in ("P", "LA", "RGB", "RGBA", "CMYK", "YCbCr", "LAB"):
        if page.mode == "RGBA" and np.ptp(np.asarray(page)[..., 3]):
            return np.asarray(page)
        return np.asarray(page.convert("L" if page.mode == "LA" else "RGB"))
    return None


def read_by_tifffile(path: Path) -> np.ndarray:
    """The pixels of a TIFF of any kind, in the shape that tifffile makes of its pages."""
    try:
        import tifffile
    except ImportError as error:
        raise TrainingError("is a TIFF of a kind that Pillow cannot read; to read it: pip install tifffile") from error
    try:
        with tifffile.TiffFile(path) as file:
            if len(file.series) != 1:
                listed = ", ".join(f"{'x'.join(map(str, one.shape))} {one.dtype}" for one in file.series[:8])
                raise TrainingError(f"has {len(file.series)} images that are no bands of one: {listed}")
            return np.asarray(file.asarray())
    except TrainingError:
        raise
    except Exception as error:  # it has many for damaged files
        raise TrainingError(f"cannot be read as a TIFF ({' '.join(str(error).split())})") from error
