"""The wavelengths of the usual filters, by the names that files give their bands."""

from __future__ import annotations

import re

from trainers.data.folder.names import words

SCIENCE = ("sci", "science", "image", "img", "data", "flux")
"""Words that mean the image itself, not what comes with it."""
SURVEYS = (
    "hsc", "sdss", "des", "decam", "decals", "ls", "lsst", "rubin", "ps1", "panstarrs", "kids", "viking", "vista",
    "ukidss", "cfht", "cfhtls", "euclid", "euc", "nisp", "nir", "hst", "acs", "wfc3", "jwst", "nircam", "roman", "wfi",
)  # fmt: skip
"""Surveys and cameras, which may stand beside a band's name."""
WORDS = (*SCIENCE, "band", "filter", *SURVEYS)
WAVELENGTHS = {  # nm
    "u": 360, "b": 440, "g": 480, "v": 550, "r": 620, "vis": 720, "i": 760, "z": 900, "y": 1000, "j": 1250, "h": 1650,
    "k": 2200, "ks": 2150,
}  # fmt: skip
WEBB = (200, 210, 212, 250, 277, 300, 335, 356, 360, 410, 430, 444, 460, 480)
"""Filters named in 10 nm, although Hubble's with such numbers are named in nm."""


def wavelength(name: str) -> float | None:
    """In nm, if the name is a band's and nothing else's: `G`, `HSC-R`, `SCI_F814W`."""
    rest = [word for word in words(name) if word not in WORDS]
    if len(rest) != 1:
        return None
    if match := re.fullmatch(r"f(\d{3,4})(w2?|m|n|lp|x)?", rest[0]):
        number = int(match[1])
        return (
            10 * number
            if number < 200 or number >= 1000 or (number in WEBB and match[2] in ("w", "m", "n"))
            else number
        )
    return WAVELENGTHS.get(rest[0])
