"""The layouts of folders: which are classes and which are splits, by their names, and the images in them."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from trainers.data.folder.class_stacks import class_stacks
from trainers.data.folder.files import images_below, images_in, subfolders
from trainers.data.folder.image_file import EXTENSIONS
from trainers.data.folder.listing import Entry
from trainers.data.folder.named_arrays import PICKLE, TENSORS
from trainers.data.folder.names import LENS, NO_CLASSES, PLAIN, canonical, ending, refuse_spellings, split_of
from trainers.data.folder.object_array import header_of
from trainers.data.folder.objects import band_of, refuse_planes
from trainers.data.folder.values import values_in
from trainers.errors import TrainingError

PICKLES = (*TENSORS, ".pkl", ".pickle")


def in_folders(root: Path, folders: Sequence[Path]) -> tuple[str, list[Entry]]:
    """The layout of a folder with subfolders, and its entries."""
    if splits := split_folders(root, {folder: folder.name for folder in folders}):
        if all(not subfolders(folder) and holds_numbers(folder) for folder in splits):
            return "flat", [entry for f, split in splits.items() for entry in file_entries(f, split, LENS)]
        return "splits", [entry for f, split in splits.items() for entry in class_entries(f, split)]
    parts = {f: match for f in folders if (match := re.fullmatch(r"([a-z]+)[_-](.+)", f.name.lower()))}
    if splits := split_folders(root, {f: match[1] for f, match in parts.items()}, one_each=False):
        each = [file_entries(f, split, canonical(parts[f][2])) for f, split in splits.items()]
        return "split_class", [entry for some in each for entry in some]
    if tested := with_test_folder(folders):
        return "classes", class_entries(tested[0], "train") + class_entries(tested[1], "test")
    beside = root.with_name(f"{root.name}_test")
    if beside.is_dir() and {canonical(f.name) for f in subfolders(beside)} == {canonical(f.name) for f in folders}:
        return "classes", class_entries(root, "train") + class_entries(beside, "test")
    return "classes", class_entries(root, None)


def split_folders(root: Path, words: Mapping[Path, str], one_each: bool = True) -> dict[Path, str]:
    """The split of each folder, by a word of its name; empty if the folders are no splits.

    TrainingError for a folder of images that is none of the splits although others are, and for two of one split.
    """
    found = {folder: split for folder, word in words.items() if (split := split_of(word))}
    if "train" not in found.values():
        found = {folder: split for folder, split in found.items() if words[folder].lower() in PLAIN}
        if not one_each and len(found) < len(subfolders(root)):  # val_a beside b: classes
            return {}
    if not found:
        return {}
    rest = [f for f in subfolders(root) if f not in found and f.name.lower() not in NO_CLASSES]
    if "train" in found.values() and (other := [f"{f.name}/" for f in rest if any(images_below(f))]):
        raise TrainingError(
            f"{root} has folders of images beside {next(iter(found)).name}/ that are no split by their names: "
            f"{', '.join(other)}; call them val or test, or move them elsewhere"
        )
    for split in sorted(set(found.values())) if one_each else ():
        if len(same := [f.name for f, other in found.items() if other == split]) > 1:
            raise TrainingError(f"{root} has {' and '.join(same)}, which both mean {split}; move one elsewhere")
    return found


def with_test_folder(folders: Sequence[Path]) -> tuple[Path, Path] | None:
    """NAME/ and NAME_test/, if there is nothing else and both hold class folders."""
    if len(folders) == 2 and folders[1].name == f"{folders[0].name}_test" and all(map(subfolders, folders)):
        return folders[0], folders[1]
    return None


def class_entries(root: Path, split: str | None) -> list[Entry]:
    """The images in all class folders of `root`."""
    folders = [folder for folder in subfolders(root) if folder.name.lower() not in NO_CLASSES]
    if not folders and images_in(root):
        if not (entries := class_stacks(root, split)):
            raise TrainingError(
                f"{root} holds images, but no class folders, nor a stack for each class; move images of unknown class "
                "elsewhere, and classify them with nas.predict"
            )
        return entries
    refuse_planes(root, folders)
    refuse_spellings([folder.name for folder in folders], f"{root} has the folders")
    return [entry for folder in folders for entry in file_entries(folder, split, canonical(folder.name))]


def file_entries(folder: Path, split: str | None, label: str) -> list[Entry]:
    """The images in one class folder, or in its folders of bands or of objects. TrainingError if there are none."""
    files = images_in(folder)
    if not files:
        within = [(inner, file) for inner in subfolders(folder) for file in images_in(inner)]
        files = [file for inner, file in within if band_of(inner.name) or band_of(ending(file.name)[0])]
    if not files:
        refuse_pickles(sorted(folder.iterdir()))
        inside = "".join(f", only folders such as {inner.name}/" for inner in subfolders(folder)[:1])
        raise TrainingError(
            f"class folder {folder} holds no images{inside}; expected files ending in {', '.join(EXTENSIONS)}"
        )
    stats = [(Path(file.path), file.stat()) for file in files]
    return [Entry(path, split, label, stat.st_size, stat.st_mtime_ns) for path, stat in stats]


def holds_numbers(folder: Path) -> bool:
    """Whether numbers come with the images in `folder`: beside them in their files, or in the names of these."""
    return holds_target(folder) or any("=" in file.name and values_in(file.name) for file in images_in(folder))


def holds_target(folder: Path) -> bool:
    """Whether the first `.npy` file of `folder` that can be read is an object array: an image and a number."""
    for name in sorted(file.path for file in images_in(folder) if file.name.lower().endswith(".npy"))[:10]:
        try:
            return header_of(Path(name))[1].hasobject
        except (OSError, ValueError):
            continue  # the conversion names bad files
    return False


def refuse_pickles(files: Sequence[Path]) -> None:
    """TrainingError if any of the files is a pickle."""
    for file in files:
        if file.suffix.lower() in PICKLES:
            raise TrainingError(f"{file} {PICKLE}")
