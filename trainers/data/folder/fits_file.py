"""The image in a FITS file. Of several HDUs, their names and shapes must say which are the image; nothing is guessed.

Masks, errors, weights and PSFs go by their names. What remains is one image; or bands, which become channels in the
order of their wavelengths; or HDUs without names, of one shape and type, which become channels in their order.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from trainers.data.folder.names import words
from trainers.data.folder.passbands import SCIENCE, wavelength
from trainers.errors import TrainingError, named

FITS = (".fits", ".fit", ".fits.gz", ".fit.gz", ".fz")
"""The endings of FITS files."""
UNNAMED = ("", "PRIMARY", "COMPRESSED_IMAGE")  # the last is what fpack calls an image without a name
BESIDE = re.compile(  # the words in the name of what comes with an image
    r"(err|dq|mask|msk|var|wht|weight|wgt|ivar|invvar|psf|rms|sigma|std|unc|noise|flag|bkg|background|exptime|expmap"
    r"|exposure|coverage|quality|seg|nexp)[a-z]*\d*|(sky|ctx|con|wt|sig|cov|area|time|samp)\d*"
)

DAMAGED = (OSError, ValueError, TypeError, KeyError, IndexError)
"""What astropy raises for a damaged file."""


@dataclass(frozen=True)
class Hdu:
    """An HDU that holds an image."""

    number: int  # in the file
    name: str  # EXTNAME in capitals; empty without one
    shape: tuple[int, ...]  # as numpy has it
    bitpix: int

    def __str__(self) -> str:
        kind = f"{'int' if self.bitpix > 0 else 'float'}{abs(self.bitpix)}"
        return f"{self.number}: {self.name or 'unnamed'} {'x'.join(map(str, self.shape))} {kind}"

    @property
    def beside(self) -> bool:
        """Whether it is named as what comes with an image."""
        return any(BESIDE.fullmatch(word) for word in words(self.name))

    @property
    def science(self) -> bool:
        """Whether it is named as the image."""
        return bool(self.name) and set(words(self.name)) <= set(SCIENCE)

    @property
    def wavelength(self) -> float | None:
        """In nm, if it is named as a band."""
        return wavelength(self.name)


def read_fits(path: Path, names: Sequence[str] | None = None) -> tuple[np.ndarray, tuple[str, ...]]:
    """The image, (H, W) or (C, H, W), and the names or numbers of its HDUs if the file has several images.

    `names` chooses HDUs by name or number. TrainingError lists the HDUs if it is not clear which are the image.
    """
    fits = reader_of_fits()
    try:
        with fits.open(path, memmap=False) as units:
            found = [
                Hdu(
                    i,
                    "" if unit.name.upper() in UNNAMED else unit.name.upper(),
                    tuple(unit.shape),
                    unit.header["BITPIX"],
                )
                for i, unit in enumerate(units)
                if unit.is_image and len(unit.shape) >= 2
            ]
            if not found:
                raise TrainingError("holds no image")
            chosen = choose(found) if names is None else by_names(found, names)
            planes = [np.asarray(units[hdu.number].data) for hdu in chosen]
    except (TypeError, KeyError, IndexError) as error:
        raise TrainingError(f"is damaged ({error})") from error
    called = tuple(hdu.name or str(hdu.number) for hdu in chosen) if len(found) > 1 else ()
    return planes[0] if len(planes) == 1 else np.stack(planes), called


def reader_of_fits() -> Any:
    """`astropy.io.fits`. TrainingError if it is not installed."""
    try:
        from astropy.io import fits
    except ImportError as error:
        raise TrainingError("is a FITS file; to read those: pip install astropy") from error
    return fits


def header_id(path: Path) -> str | None:
    """The ID in the first header of a FITS file that has one; None if none has, or the file is damaged or no FITS."""
    if not path.name.lower().endswith(FITS):
        return None
    with named(str(path)):
        fits = reader_of_fits()
    try:
        with fits.open(path) as units:
            return next((str(unit.header["ID"]).strip() for unit in units if "ID" in unit.header), None)
    except DAMAGED:
        return None


def choose(found: Sequence[Hdu]) -> list[Hdu]:
    """The HDUs that are the channels of the image. TrainingError if names and shapes do not say so."""
    images = [hdu for hdu in found if not hdu.beside]
    science = [hdu for hdu in images if hdu.science]
    bands = [hdu for hdu in images if hdu.wavelength is not None]
    if len(found) == 1:
        return list(found)
    if len(images) == 1:
        return images
    if len(science) == 1 and not bands:
        return science
    if len({hdu.shape for hdu in images}) == 1 and len(images[0].shape) == 2:
        if len({hdu.wavelength for hdu in bands}) == len(images):
            return sorted(bands, key=lambda hdu: hdu.wavelength or 0)
        if not any(hdu.name for hdu in found) and len({hdu.bitpix for hdu in found}) == 1:
            return images
    raise TrainingError(f"has {listed(found)}, and it is not clear which are the image; choose with --hdu NAME,NAME")


def by_names(found: Sequence[Hdu], names: Sequence[str]) -> list[Hdu]:
    """The HDUs of these names or numbers, in this order. TrainingError if one is missing, or they make no image."""
    chosen = []
    for name in names:
        of_name = [hdu for hdu in found if name.upper() == hdu.name or name == str(hdu.number)]
        if len(of_name) != 1:
            raise TrainingError(f"has {len(of_name) or 'no'} HDU{'s'[: len(of_name)]} {name!r} among {listed(found)}")
        chosen += of_name
    if len(chosen) > 1 and (len({hdu.shape for hdu in chosen}) > 1 or len(chosen[0].shape) != 2):
        raise TrainingError(f"has HDUs that cannot be the channels of one image: {listed(chosen)}")
    return chosen


def listed(found: Sequence[Hdu]) -> str:
    return f"{len(found)} HDUs ({', '.join(map(str, found))})"
