"""Which files belong to one object, by their names: its bands, and copies of one image.

cutout-00012-HSC-G.fits, cutout-00012-HSC-R.fits     bands, which become channels in order of wavelength
001.npy, 001_rot90.npy, 001-flip.npy, 001 (1).npy    copies, which stay together in one split
"""

from __future__ import annotations

import os
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from pathlib import Path

from trainers.data.folder.files import images_below
from trainers.data.folder.names import ending
from trainers.data.folder.passbands import SURVEYS, wavelength
from trainers.errors import TrainingError

BROAD = ("u", "g", "r", "i", "vis", "z", "y", "j", "h", "k", "ks")
"""Bands that may stand in the name of a file."""
BAND = re.compile(
    rf"(?:(?<=[-_. ])|^)(?:(?:{'|'.join(SURVEYS)})[-_. ]?)?(?:band[-_ ]?)?"
    rf"({'|'.join(BROAD)}|f\d{{3}}(?:w|m|n|lp|x)|(?<=band)\d|(?<=band[-_ ])\d)(?:[-_ ]?band)?(?=[-_. ]|$)",
    re.IGNORECASE,
)
TURN = r"rot(?:ate|ated)?[-_ ]?\d{1,3}(?:deg)?"
FLIP = r"(?:h|v|hv|lr|ud|horizontal|vertical)?[-_]?flip(?:ped)?(?:[-_]?(?:h|v|hv|lr|ud|x|y|horizontal|vertical|\d))?"
AUGMENTED = r"aug(?:mented|mentation)?[-_ ]?\d*"
COPY = re.compile(
    rf"(?:[-_. ]+(?:{TURN}|{FLIP}|{AUGMENTED}|mirror(?:ed)?|transposed?|orig(?:inal)?|copy[-_ ]?\d*)|(?<=\d){TURN})$"
    rf"|^(?:{TURN}|{FLIP}|{AUGMENTED}|mirrored|copy of)[-_. ]+",
    re.IGNORECASE,
)
MARKED = re.compile(r"\(\d|rot|flip|aug|mirror|transpose|orig|copy", re.IGNORECASE)
"""Found in every name that COPY or NUMBERED matches."""
NUMBERED = re.compile(r"[-_ ]*\(\d+\)$")
PLANES = (
    {"hr", "lr"}, {"hr", "lr", "sr"}, {"high_res", "low_res"}, {"highres", "lowres"}, {"image", "mask"},
    {"images", "masks"}, {"images", "labels"}, {"input", "target"}, {"inputs", "targets"}, {"noisy", "clean"},
    {"raw", "processed"},
)  # fmt: skip
"""Folders that hold each object once, rather than classes."""
MOST_NUMBERED = 8
"""More files called `x (1)`, `x (2)`, ... are a numbering of different images, not copies of `x`."""


def band_of(name: str) -> str | None:
    """The band that is called exactly so, `g`, `HSC-G` or `F814W`, in lower case; None if it is no band."""
    match = BAND.fullmatch(name)
    return match[1].lower() if match else None


def without_band(stem: str) -> tuple[str, str | None]:
    """A file's name without its band, and the band; the last one, if there are several."""
    matches = list(BAND.finditer(stem))
    if not matches:
        return stem, None
    last = matches[-1]
    rest = stem[: last.start()].rstrip("-_. ") + stem[last.end() :]
    return (rest.lstrip("-_. "), last[1].lower()) if rest.strip("-_. ") else (stem, None)


def without_copy(stem: str) -> str:
    """A file's name without what marks a copy: `001` of `001_rot90-flip`."""
    while (shorter := COPY.sub("", stem)) and shorter != stem:
        stem = shorter
    return stem


def channels(files: Sequence[Path], lenient: bool = False) -> tuple[list[tuple[Path, ...]], tuple[str, ...]]:
    """The files of every image, and its bands, both in order of wavelength; no bands if every file is an image.

    A band is a word of the file's name, all of it, or the name of its folder. TrainingError names the files whose bands
    are not those of the others; if `lenient`, every file is an image then.
    """
    found: dict[tuple[str, str, str], dict[str | None, Path]] = defaultdict(dict)
    twice: list[Path] = []
    for file in files:
        folder, name = os.path.split(str(file))
        stem, suffix = ending(name)
        rest, band = without_band(stem)
        if band is None and (band := band_of(stem)):  # lens000/F814W.fits
            rest = ""
        if of_folder := band_of(os.path.basename(folder)):
            band, folder = band or of_folder, os.path.dirname(folder)
        if band in (bands := found[folder, rest, suffix.lower()]):
            twice.append(file)
        bands[band] = file
    each: list[tuple[Path, ...]] = [(file,) for file in files]
    if all(len(bands) < 2 for bands in found.values()):
        return each, ()
    sets = Counter(frozenset(bands) for bands in found.values())
    usual, _ = max(sets.items(), key=lambda item: (None not in item[0], len(item[0]) > 1, item[1], len(item[0])))
    odd = [f"{next(iter(bands.values()))} (has {described(bands)})" for bands in found.values() if set(bands) != usual]
    odd += [f"{file} (is another of its band)" for file in twice]
    if odd and lenient:
        return each, ()
    order = in_order(usual)
    if odd:
        more = f" and {len(odd) - 5} more" if len(odd) > 5 else ""
        raise TrainingError(
            f"{len(found) - len(odd)} of {len(found)} objects have a file for each of the bands {described(usual)}, "
            f"and these do not: {', '.join(odd[:5])}{more}"
        )
    return [tuple(bands[band] for band in order) for bands in found.values()], order


def in_order(bands: Iterable[str | None]) -> tuple[str, ...]:
    return tuple(sorted((band for band in bands if band is not None), key=lambda band: (wavelength(band) or 0, band)))


def described(bands: Iterable[str | None]) -> str:
    return ", ".join(in_order(bands)) or "none"


def originals(names: Sequence[str], bands: bool = False) -> list[str]:
    """For each file of one folder, the name without what marks copies: copies of one image share it.

    With `bands`, each file stands for all bands of an image, and its own band is no part of the name either.
    """
    bare = {name.lower() for name in names}
    stems = [ending(name)[0] for name in names if "(" in name]
    numbered = Counter(NUMBERED.sub("", stem).lower() for stem in stems if NUMBERED.search(stem))
    found = []
    for name in names:
        if not bands and not MARKED.search(name):  # most names, at little cost
            found.append(name)
            continue
        stem, suffix = ending(name)
        shorter = NUMBERED.sub("", stem)
        copied = re.search(r"copy$", shorter, re.IGNORECASE) is not None  # Windows: "001 - Copy (2)"
        if shorter != stem and (
            copied or (f"{shorter}{suffix}".lower() in bare and numbered[shorter.lower()] <= MOST_NUMBERED)
        ):
            stem = shorter
        found.append(f"{without_copy(without_band(stem)[0] if bands else stem)}{suffix}")
    return found


def refuse_planes(root: Path, folders: Sequence[Path]) -> None:
    """TrainingError if `folders` hold the same objects, once in each band or resolution, and are no classes."""
    of_bands = all(band_of(folder.name) for folder in folders)
    if len(folders) < 2 or not (of_bands or {folder.name.lower() for folder in folders} in PLANES):
        return
    shown = []
    for folder in folders:
        names = [os.path.relpath(file, folder) for file in images_below(folder)]
        names = [without_band(ending(name)[0])[0] if of_bands else name for name in names]
        own = re.escape(folder.name)
        shown.append({re.sub(rf"(?i)[-_. ]?(?<![a-z]){own}(?![a-z])[-_. ]?", "", name) for name in names})
    common = set.intersection(*shown)
    if 2 * len(common) < min(map(len, shown)) or not common:
        return
    called = ", ".join(f"{folder.name}/" for folder in folders)
    what, advice = "once each", "keep one of them, with a folder for each class in it"
    if of_bands:
        what = "in one band each"
        advice = f"put the bands below the classes (no_sub/{folders[0].name}/, no_sub/{folders[1].name}/, ...)"
    raise TrainingError(
        f"the folders {called} in {root} are no classes: they hold the same objects, such as {min(common)}, {what}; "
        f"{advice}"
    )
