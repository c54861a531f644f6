"""What a folder holds: which of the known layouts it has, and each image's split and class. It opens no image.

class folders             {no_sub,cdm,axion}/*; NAME_test/ in it or beside it is NAME's test split
folders of splits         {train,val,test}/{no,sphere,vort}/*
split and class in one    {train,test}_{lenses,nonlenses}/*
flat                      *.npy, each [image, number]: for regression, without classes
stacked                   one array of images and one of labels (stack.py), for each split or for all
"""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from trainers.data.folder.image_file import EXTENSIONS, is_image, target
from trainers.data.folder.names import LENS, SPLIT_NAMES, by_name, canonical
from trainers.data.folder.object_array import read_npy
from trainers.data.folder.stack import RAW_EXTENSIONS, Raw, find_pair, open_images, open_labels
from trainers.errors import TrainingError

PICKLES = (".pth", ".pt", ".pkl", ".pickle")
ARCHIVES = (".zip", ".tgz", ".gz", ".tar")


@dataclass(frozen=True)
class Entry:
    """One image."""

    path: Path
    split: str | None  # None: the folder has no split of its own
    label: str  # canonical class name
    size: int
    mtime_ns: int
    row: int | None = None  # in a stacked array
    targets: Mapping[str, float] = field(default_factory=dict)  # known from outside the image's file


@dataclass(frozen=True)
class Listing:
    """The images below `root`, sorted, and their classes, sorted by canonical name."""

    root: Path
    layout: str  # "classes", "splits", "split_class", "flat" or "stacked"
    classes: tuple[str, ...]
    entries: tuple[Entry, ...]
    raw: Raw | None = None

    def name(self, entry: Entry) -> str:
        """The entry's path below `root` with slashes, and its row in a stacked array."""
        path, root = str(entry.path), f"{self.root}{os.sep}"
        inside = path.removeprefix(root) if path.startswith(root) else os.path.relpath(path, self.root)
        row = "" if entry.row is None else f"[{entry.row}]"
        return inside.replace(os.sep, "/") + row

    def fingerprint(self) -> str:
        """Hash of the images' place, names, sizes, times of change, splits and labels."""
        digest = hashlib.sha256(f"{self.root.resolve()}\0{self.layout}\0{self.raw}".encode())
        for e in self.entries:
            digest.update(f"\0{self.name(e)}\0{e.size}\0{e.mtime_ns}\0{e.split}\0{e.label}\0{dict(e.targets)}".encode())
        return digest.hexdigest()


def scan(root: Path, raw: Raw | None = None) -> Listing:
    """List what `root` holds; `raw` is the form of headerless images. TrainingError if its images are not labelled."""
    if not root.is_dir():
        refuse_pickles([root])
        if root.name.lower().endswith(ARCHIVES):
            raise TrainingError(f"data folder {root} is an archive; unpack it and name the folder")
        raise TrainingError(f"data folder {root} {'is not a folder' if root.exists() else 'does not exist'}")
    root = descend(root)
    folders = subfolders(root)
    if not folders:
        layout, entries = loose_files(root, raw)
    else:
        layout, entries = in_folders(root, folders)
    classes = tuple(sorted({entry.label for entry in entries}, key=by_name))
    if len(classes) < 2 and layout != "flat" and not any(entry.targets for entry in entries):
        found = f"only the class {classes[0]!r}" if classes else "no class folders"
        raise TrainingError(f"{root} has {found}; expected at least two folders of images, such as no_sub/ and sub/")
    for split in sorted({entry.split for entry in entries} - {None}, key=str):
        if missing := set(classes) - {entry.label for entry in entries if entry.split == split}:
            folder = next(
                (f for f in folders if SPLIT_NAMES.get(f.name.lower()) == split), f"the {split} split of {root}"
            )
            raise TrainingError(f"{folder} lacks the class {min(missing)!r}, which other splits have")
    entries.sort(key=lambda e: (e.split or "", by_name(e.label), e.path.as_posix(), e.row or 0))
    return Listing(root, layout, classes, tuple(entries), raw)


def subfolders(root: Path) -> list[Path]:
    """The folders in `root`, sorted, without hidden and private ones."""
    return sorted(path for path in root.iterdir() if path.is_dir() and not path.name.startswith((".", "__")))


def images_in(folder: Path) -> list[os.DirEntry[str]]:
    """The image files in `folder`, unsorted."""
    with os.scandir(folder) as found:
        return [file for file in found if is_image(file.name)]


def refuse_pickles(files: Sequence[Path]) -> None:
    """TrainingError if any of the files is a pickle."""
    for file in files:
        if file.suffix.lower() in PICKLES:
            raise TrainingError(
                f"{file} is a pickle, which can run any code when opened, so it is refused; load it where you trust it "
                "and write each image with numpy.save into a folder of its class (no_sub/, cdm/, axion/)"
            )


def descend(root: Path) -> Path:
    """Follow folders that hold nothing but one folder, as archives leave them, to the one that holds the data set."""
    while True:
        inner = subfolders(root)
        if len(inner) != 1 or images_in(root):
            return root
        (only,) = inner
        if only.name.lower() in SPLIT_NAMES or (images_in(only) and not holds_target(only) and not find_stacks(only)):
            return root
        root = only


def holds_target(folder: Path) -> bool:
    """Whether the first `.npy` file of `folder` that can be read is an object array: an image and a number."""
    for name in sorted(file.path for file in images_in(folder) if file.name.lower().endswith(".npy"))[:10]:
        try:
            return read_npy(Path(name)).dtype == object
        except (OSError, ValueError):
            continue  # the conversion names bad files
    return False


def in_folders(root: Path, folders: Sequence[Path]) -> tuple[str, list[Entry]]:
    """The layout of a folder with subfolders, and its entries."""
    splits = {folder: SPLIT_NAMES[folder.name.lower()] for folder in folders if folder.name.lower() in SPLIT_NAMES}
    if splits:
        if "train" not in splits.values():
            raise TrainingError(f"{root} has a {next(iter(splits)).name} folder but no train folder")
        if all(not subfolders(folder) and holds_target(folder) for folder in splits):
            return "flat", [entry for f, split in splits.items() for entry in file_entries(f, split, LENS)]
        return "splits", [entry for f, split in splits.items() for entry in class_entries(f, split)]
    parts = [re.fullmatch(r"([a-z]+)[_-](.+)", folder.name.lower()) for folder in folders]
    if all(part and part[1] in SPLIT_NAMES for part in parts):
        found: list[Entry] = []
        for folder, part in zip(folders, parts, strict=True):
            assert part is not None
            found += file_entries(folder, SPLIT_NAMES[part[1]], canonical(part[2]))
        if "train" not in {entry.split for entry in found}:
            raise TrainingError(f"{root} has no folder whose name begins with train_")
        return "split_class", found
    if tested := with_test_folder(folders):
        return "classes", class_entries(tested[0], "train") + class_entries(tested[1], "test")
    beside = root.with_name(f"{root.name}_test")
    if beside.is_dir() and {canonical(f.name) for f in subfolders(beside)} == {canonical(f.name) for f in folders}:
        return "classes", class_entries(root, "train") + class_entries(beside, "test")
    return "classes", class_entries(root, None)


def with_test_folder(folders: Sequence[Path]) -> tuple[Path, Path] | None:
    """NAME/ and NAME_test/, if there is nothing else and both hold class folders."""
    if len(folders) == 2 and folders[1].name == f"{folders[0].name}_test" and all(map(subfolders, folders)):
        return folders[0], folders[1]
    return None


def class_entries(root: Path, split: str | None) -> list[Entry]:
    """The images in all class folders of `root`."""
    entries = []
    for folder in subfolders(root):
        entries += file_entries(folder, split, canonical(folder.name))
    return entries


def file_entries(folder: Path, split: str | None, label: str) -> list[Entry]:
    """The images in one class folder. TrainingError if there are none."""
    files = images_in(folder)
    if not files:
        refuse_pickles(sorted(folder.iterdir()))
        raise TrainingError(f"class folder {folder} holds no images; expected files ending in {', '.join(EXTENSIONS)}")
    stats = [(Path(file.path), file.stat()) for file in files]
    return [Entry(path, split, label, stat.st_size, stat.st_mtime_ns) for path, stat in stats]


def loose_files(root: Path, raw: Raw | None) -> tuple[str, list[Entry]]:
    """The layout of a folder of files alone, and its entries: stacked arrays, or images with their numbers."""
    if stacks := find_stacks(root, raw):
        entries = []
        for split, (images, labels) in stacks.items():
            entries += stack_entries(images, labels, split, raw)
        return "stacked", entries
    if holds_target(root):
        return "flat", file_entries(root, None, LENS)
    files = sorted(path for path in root.iterdir() if path.is_file())
    refuse_pickles(files)
    if any(path.suffix.lower() in RAW_EXTENSIONS for path in files) and raw is None:
        raise TrainingError(f"{root} holds arrays without a header; give the form of one image (raw_shape, raw_dtype)")
    if images_in(root):
        raise TrainingError(
            f"{root} has no class folders; expected at least two, images beside a number, or stacked arrays"
        )
    raise TrainingError(
        f"{root} has no class folders; expected at least two folders of images, such as no_sub/ and sub/"
    )


def find_stacks(root: Path, raw: Raw | None = None) -> dict[str | None, tuple[Path, Path]]:
    """The images' and the labels' file of each split; empty if there are no stacked arrays."""
    suffixes = (".npy", *RAW_EXTENSIONS)
    files = sorted(f for f in root.iterdir() if f.suffix.lower() in suffixes and f.is_file() and f.name[0] != ".")
    groups: dict[str | None, list[Path]] = {}
    if not 2 <= len(files) <= 6:
        return {}
    for file in files:
        words = re.split(r"[^a-z]+", file.stem.lower())
        groups.setdefault(next((SPLIT_NAMES[word] for word in words if word in SPLIT_NAMES), None), []).append(file)
    pairs = {split: find_pair(group, raw) for split, group in groups.items()}
    if len(pairs) > 1 and "train" not in pairs:
        return {}
    return {split: pair for split, pair in pairs.items() if pair} if all(pairs.values()) else {}


def stack_entries(images: Path, labels: Path, split: str | None, raw: Raw | None) -> list[Entry]:
    """The rows of a stacked array as images. Labels that are not whole numbers are regression targets."""
    count = len(open_images(images, raw))
    values = open_labels(labels, count)
    stats = images.stat(), labels.stat()
    size, mtime_ns = stats[0].st_size, max(stat.st_mtime_ns for stat in stats)

    def entry(row: int, label: str, targets: Mapping[str, float]) -> Entry:
        return Entry(images, split, label, size, mtime_ns, row, targets)

    if values.dtype.kind == "f" and not np.isfinite(values).all():
        raise TrainingError(f"{labels} holds NaN or infinite labels")
    if values.dtype.kind == "f" and (values != np.round(values)).any():
        return [entry(row, LENS, target(float(value))) for row, value in enumerate(values)]
    if values.dtype.kind in "biuf":
        values = values.astype(np.int64)
        if len(np.unique(values)) > 1000:
            raise TrainingError(f"{labels} holds more than 1,000 different labels; expected classes")
    elif values.dtype.kind != "U":
        raise TrainingError(
            f"{labels} holds {values.dtype} values; expected class numbers, names or regression targets"
        )
    return [entry(row, canonical(str(value)), {}) for row, value in enumerate(values)]
