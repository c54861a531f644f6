"""Masks, errors, weights and point spread functions beside images: they come with an image, and are none.

000.fits, 000_wht.fits; ls-0001-image-g.fits, ls-0001-invvar-g.fits; images/000.npy, psf/000.npy
"""

from __future__ import annotations

import os
import re
from collections.abc import Sequence

from trainers.data.folder.names import ending
from trainers.data.folder.passbands import SCIENCE

COMPANION = re.compile(
    r"(?<![a-z0-9])(?:err(?:or)?s?|dq|masks?|msk|variance|var|wht|weights?|wgt|ivar|invvar|psfs?|rms|seg|segmap"
    r"|segmentation|exptime|expmap|noise_?maps?)(?![a-z0-9])",
    re.IGNORECASE,
)
"""A word that means what comes with an image; fewer than HDUs have, as `noise` and `sky` may be classes or copies."""
FOLDER = re.compile(r"masks?|msk|wht|weights?|wgt|ivar|invvar|psfs?|rms|segmentations?|noise_?maps?", re.IGNORECASE)
"""The name of a folder of these; fewer still, as folders may be classes."""
BESIDE_IMAGES = re.compile(r"err(or)?s?|var|seg(ment)?s?|segmaps?|noise|backgrounds?", re.IGNORECASE)
"""More such names, which count beside a folder called images."""
PLAIN = {*SCIENCE, "images", "imgs", "cutouts", "stamps"}


def without_companions(names: Sequence[str]) -> list[str]:
    """Those of the files of one folder that do not come with another of them."""
    suspects = {name for name in names if COMPANION.search(name)}
    if not suspects:
        return list(names)
    images = {shown(name) for name in names if name not in suspects}
    return [
        name for name in names if name not in suspects or (shown(name) not in images and (shown(name) or not images))
    ]


def without_companion_folders(inside: str, folders: Sequence[str]) -> list[str]:
    """Those of the folders in `inside` that do not hold what comes with the images of the only other one."""
    suspects = [folder for folder in folders if FOLDER.fullmatch(folder)]
    if PLAIN & {folder.lower() for folder in folders}:
        suspects += [folder for folder in folders if BESIDE_IMAGES.fullmatch(folder) and folder not in suspects]
    if not suspects or len(folders) - len(suspects) != 1:
        return list(folders)
    held = {folder: {shown(name) for name in os.listdir(os.path.join(inside, folder))} for folder in folders}
    (images,) = (names for folder, names in held.items() if folder not in suspects)
    return [folder for folder in folders if folder not in suspects or not held[folder] <= images]


def shown(name: str) -> tuple[str, ...]:
    """The words of a file's name that say what it shows, in lower case."""
    words = re.findall(r"[a-z0-9]+", COMPANION.sub(" ", ending(name)[0]).lower())
    return tuple(word for word in words if word not in PLAIN)
