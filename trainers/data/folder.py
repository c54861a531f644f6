"""Folders of images: class folders, with or without train, val and test folders above them."""

from __future__ import annotations

import hashlib
import pickle
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from trainers.data.cache import SPLITS, allocate, finish
from trainers.data.cores import cores
from trainers.data.image_file import EXTENSIONS, read_image, resize
from trainers.data.progress import progress_bar

SPLIT_NAMES = {
    "train": "train",
    "training": "train",
    "val": "val",
    "valid": "val",
    "validation": "val",
    "test": "test",
    "testing": "test",
}
SYNONYMS = {
    "no": "no_sub",
    "no_substructure": "no_sub",
    "sphere": "cdm",
    "subhalo": "cdm",
    "vort": "axion",
    "vortex": "axion",
}
UNREADABLE = (OSError, ValueError, SyntaxError, EOFError, pickle.UnpicklingError, Image.DecompressionBombError)


@dataclass(frozen=True)
class Entry:
    path: Path
    split: str | None  # None: the folder has no split of its own
    label: str  # canonical class name
    size: int
    mtime_ns: int


@dataclass(frozen=True)
class Listing:
    """The image files below `root`, sorted, and their classes, sorted by canonical name."""

    root: Path
    classes: tuple[str, ...]
    entries: tuple[Entry, ...]

    def name(self, entry: Entry) -> str:
        return entry.path.relative_to(self.root).as_posix()

    def fingerprint(self) -> str:
        """Hash of where the files are, how large, and when they were last changed."""
        digest = hashlib.sha256(str(self.root.resolve()).encode())
        for entry in self.entries:
            digest.update(f"\0{self.name(entry)}\0{entry.size}\0{entry.mtime_ns}".encode())
        return digest.hexdigest()


def scan(root: Path) -> Listing:
    """What is in `root`, without opening a file. ValueError where that is no set of labelled images."""
    if not root.is_dir():
        raise ValueError(f"data folder {root} {'is not a folder' if root.exists() else 'does not exist'}")
    folders = subfolders(root)
    splits = {folder: SPLIT_NAMES[folder.name.lower()] for folder in folders if folder.name.lower() in SPLIT_NAMES}
    if splits and "train" not in splits.values():
        raise ValueError(f"{root} has a {next(iter(splits)).name} folder but no train folder")
    entries: list[Entry] = []
    if splits:
        for folder, split in splits.items():
            entries += class_entries(folder, split)
    else:
        entries += class_entries(root, None)
    classes = tuple(sorted({entry.label for entry in entries}))
    if len(classes) < 2:
        found = f"only the class {classes[0]!r}" if classes else "no class folders"
        raise ValueError(f"{root} has {found}; expected at least two folders of images, such as no_sub/ and sub/")
    for folder, split in splits.items():
        if missing := set(classes) - {entry.label for entry in entries if entry.split == split}:
            raise ValueError(f"{folder} lacks the class {min(missing)!r}, which other splits have")
    return Listing(root, classes, tuple(sorted(entries, key=lambda e: (e.split or "", e.label, e.path.as_posix()))))


def subfolders(root: Path) -> list[Path]:
    return sorted(path for path in root.iterdir() if path.is_dir() and not path.name.startswith((".", "__")))


def class_entries(root: Path, split: str | None) -> list[Entry]:
    entries = []
    for folder in subfolders(root):
        name = folder.name.lower().replace(" ", "_").replace("-", "_")
        files = [f for f in folder.iterdir() if f.suffix.lower() in EXTENSIONS and not f.name.startswith(".")]
        if not files:
            raise ValueError(f"class folder {folder} holds no images; expected files ending in {', '.join(EXTENSIONS)}")
        for file in files:
            stat = file.stat()
            entries.append(Entry(file, split, SYNONYMS.get(name, name), stat.st_size, stat.st_mtime_ns))
    return entries


def assign(entries: Sequence[Entry], digests: Sequence[str], seed: int) -> list[str]:
    """The split of every entry. Official splits are kept; a missing val or test is a tenth of the rest.

    Where an image goes depends on nothing but its file's content and the seed: new files never move an old one, and
    duplicates stay together. The proportions therefore hold on average, within each class. Only a class so small that
    a split would get none of it (some dozens of images) lends that split the image nearest to it, until there are more.
    """
    official = {entry.split for entry in entries} - {None}
    splits = [entry.split or "train" for entry in entries]
    place = {d: int(hashlib.sha256(f"{seed} {d}".encode()).hexdigest()[:13], 16) / 16**13 for d in digests}
    for label in sorted({entry.label for entry in entries}):
        mine = [i for i, entry in enumerate(entries) if entry.label == label and splits[i] == "train"]
        rest = sorted({digests[i] for i in mine}, key=place.__getitem__)
        wanted = [split for split in ("test", "val") if split not in official]
        for n, split in enumerate(wanted):
            start = sum(place[digest] < 0.9 - 0.1 * n for digest in rest)
            start = min(max(start, len(wanted) - n), len(rest) - 1)  # at least one image here, and one for each to come
            chosen, rest = set(rest[start:]), rest[:start]
            for i in mine:
                if digests[i] in chosen:
                    splits[i] = split
        if not rest:
            raise ValueError(f"class {label!r} has too few different images ({len(mine)}) to train, validate and test")
    return splits


def refuse_leaks(listing: Listing, digests: Sequence[str], splits: Sequence[str]) -> None:
    """ValueError if one image is in two splits, or has two labels."""
    first: dict[str, int] = {}
    for i, (entry, digest) in enumerate(zip(listing.entries, digests, strict=True)):
        j = first.setdefault(digest, i)
        other = listing.entries[j]
        if entry.label != other.label or splits[i] != splits[j]:
            where = "classes" if entry.label != other.label else "splits"
            raise ValueError(
                f"{listing.name(other)} and {listing.name(entry)} in {listing.root} are the same image in two {where}; "
                "remove one"
            )


def convert(folder: Path, listing: Listing, image_size: int | None, seed: int, *, progress: bool = True) -> None:
    """Write the images of `listing` into the empty cache folder `folder`. ValueError names every file at fault."""
    entries = listing.entries
    title = f"Converting {len(entries)} images ({listing.root.name})"
    with ThreadPoolExecutor(cores()) as pool, progress_bar(title, len(entries), progress) as advance:
        digests = list(pool.map(file_digest, (entry.path for entry in entries)))
        splits = assign(entries, digests, seed)
        shape, dtype = common_form(listing)
        stored = shape if image_size is None else (shape[0], image_size, image_size)
        rows = {split: [i for i, s in enumerate(splits) if s == split] for split in SPLITS}
        pixels = {
            split: allocate(folder, split, (len(rows[split]), *stored), dtype if stored == shape else np.dtype("f4"))
            for split in SPLITS
        }
        row = {i: n for split in SPLITS for n, i in enumerate(rows[split])}
        targets: list[dict[str, float]] = [{} for _ in entries]

        def run(i: int) -> str | None:
            try:
                image, targets[i] = read_image(entries[i].path)
            except UNREADABLE as error:
                return f"{listing.name(entries[i])} ({' '.join(str(error).split())})"
            if image.shape != shape or image.dtype != dtype:
                return f"{listing.name(entries[i])} ({describe(image.shape, image.dtype)})"
            pixels[splits[i]][row[i]] = image if stored == shape else resize(image, stored[-1])
            advance(1)
            return None

        refuse_bad(listing, pool.map(run, range(len(entries))), describe(shape, dtype))
    refuse_leaks(listing, digests, splits)  # after the files that are empty, and so all alike
    known = sorted({name for target in targets for name in target})
    index = {label: n for n, label in enumerate(listing.classes)}
    finish(
        folder,
        labels={s: np.array([index[entries[i].label] for i in rows[s]]) for s in SPLITS},
        targets={s: {t: np.array([targets[i].get(t, np.nan) for i in rows[s]]) for t in known} for s in SPLITS},
        manifest={
            "classes": listing.classes,
            "folder": {"path": str(listing.root), "image_size": image_size, "seed": seed},
            "files": {s: [[listing.name(entries[i]), digests[i]] for i in rows[s]] for s in SPLITS},
        },
    )


def file_digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def describe(shape: tuple[int, ...], dtype: np.dtype) -> str:
    return f"{'x'.join(map(str, shape))} {dtype}"


def common_form(listing: Listing) -> tuple[tuple[int, ...], np.dtype]:
    """Shape (C, H, W) and dtype of the first image that can be read; the others must have them too."""
    for entry in listing.entries:
        try:
            image, _ = read_image(entry.path)
        except UNREADABLE:
            continue  # named below, with all the others
        if image.shape[1] != image.shape[2]:
            raise ValueError(
                f"{listing.name(entry)} in {listing.root} is {image.shape[2]}x{image.shape[1]} pixels; "
                "expected square images"
            )
        return image.shape, image.dtype
    raise ValueError(f"no image in {listing.root} can be read; the first is {listing.name(listing.entries[0])}")


def refuse_bad(listing: Listing, faults: Iterable[str | None], expected: str) -> None:
    bad = [fault for fault in faults if fault]
    if bad:
        more = f" and {len(bad) - 20} more" if len(bad) > 20 else ""
        raise ValueError(
            f"{len(bad)} of {len(listing.entries)} images in {listing.root} cannot be read or are not {expected} "
            f"like the first: {', '.join(bad[:20])}{more}"
        )
