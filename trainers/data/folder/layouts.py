"""What a folder holds: which of the known layouts it has, and each image's split, class and object. It opens no image.

class folders             {no_sub,cdm,axion}/*; NAME_test/ in it or beside it is NAME's test split
folders of splits         {train,val,test}/{no,sphere,vort}/*
split and class in one    {train,test}_{lenses,nonlenses}/*
flat                      *.npy, each [image, number], or names with numbers (values.py): without classes
table                     images, and a CSV file that names each and its class (table.py); in folders too (tabled.py)
stacked                   one array of images and one of labels (stacked.py), for all or each split; also in one file
described                 one array of images, and a table with a row for each (table_rows.py), for all or each split
class stacks              one array of images for each class (class_stacks.py), for all or each split; also in one file

Each image is a file, or a file for each band (objects.py), or the row of an array.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from trainers.data.folder.class_stacks import class_stacks, unstacked
from trainers.data.folder.companions import without_companion_folders
from trainers.data.folder.files import ignored, images_in, subfolders
from trainers.data.folder.folders import (
    file_entries,
    holds_numbers,
    holds_target,
    in_folders,
    refuse_pickles,
    split_folders,
)
from trainers.data.folder.grouping import grouped, with_bands, with_objects
from trainers.data.folder.image_file import AS_STORED, Reading
from trainers.data.folder.listing import Entry, Listing, below
from trainers.data.folder.named_arrays import is_named_arrays
from trainers.data.folder.names import LENS, PLAIN, by_name
from trainers.data.folder.stack import RAW_EXTENSIONS, Raw
from trainers.data.folder.stacked import find_stacks, stack_entries, stacks_in
from trainers.data.folder.table import Table, find_table, unusable
from trainers.data.folder.table_names import table_entries
from trainers.data.folder.table_rows import described_entries, described_stacks
from trainers.data.folder.tabled import may_sort, names_objects, sorted_by, table_beside, with_table
from trainers.data.folder.values import DECIMAL_COMMA, with_values
from trainers.errors import TrainingError

NO_FOLDERS = "has no class folders; expected at least two folders of images, such as no_sub/ and sub/"
ARCHIVES = (".zip", ".tgz", ".gz", ".tar")


def scan(root: Path, raw: Raw | None = None, group: str | None = None, reading: Reading = AS_STORED) -> Listing:
    """List what `root` holds: a folder, or a file of named arrays. TrainingError if it is no data set.

    `raw` is the form of headerless images. `group` is a regular expression with one group, which names the object that
    an image shows; the names of files say it otherwise.
    """
    alone = root.is_file() and is_named_arrays(root.name)
    if not root.is_dir() and not alone:
        refuse_pickles([root])
        if root.name.lower().endswith(ARCHIVES):
            raise TrainingError(f"data folder {root} is an archive; unpack it and name the folder")
        if root.exists():
            raise TrainingError(f"data folder {root} is not a folder; name the one that holds it and the images")
        raise TrainingError(f"data folder {root} does not exist")
    above, root = (root, root) if alone else descend(root)
    folders = [] if alone else subfolders(root)
    labels: tuple[Path, ...] = ()
    bands: tuple[str, ...] = ()
    by_class = class_stacks(root) if not folders and reading.key is None else []
    described = {} if by_class or reading.key else described_stacks(root)
    stacks = {} if by_class or described else find_stacks(root, raw, reading.key)
    if by_class:
        layout, entries, what = "classes", by_class, ""
    elif described:
        layout, labels = "stacked", tuple(table.path for _, table in described.values())
        entries = [entry for split, stack in described.items() for entry in described_entries(stack, split)]
        what = ", ".join(str(table) for _, table in described.values())
    elif stacks:
        each = [stack_entries(stack, split, raw) for split, stack in stacks.items()]
        layout, entries = "stacked", [entry for some in each for entry in some]
        labels = tuple(file for stack in stacks.values() for file in stack.files)
        what = ", ".join(dict.fromkeys(str(stack) for stack in stacks.values() if stack.images.name))
    else:
        layout, entries, table, what = in_files(root, folders, raw, above)
        labels = (table.path, *table.others) if table else ()
        entries, bands = with_bands(entries, root, group)
        entries = unstacked(with_values(with_objects(entries), root))
    if not entries:
        raise TrainingError(f"{root} {NO_FOLDERS}")
    if reading.classes:
        entries = with_names(entries, reading.classes, root)
    classes = tuple(sorted({entry.label for entry in entries}, key=by_name))
    entries.sort(key=lambda e: (e.split or "", by_name(e.label), e.path.as_posix(), e.row or 0))
    listing = Listing(root, layout, classes, tuple(entries), raw, bands, labels, what)
    return listing if group is None else grouped(listing, group)


def with_names(entries: Sequence[Entry], classes: Sequence[str], root: Path) -> list[Entry]:
    """The entries with `classes` for labels that are whole numbers. TrainingError if another label is none of them."""
    numbers = {str(number): name for number, name in enumerate(classes)}
    known = {**numbers, **{f"{number}.0": name for number, name in numbers.items()}, LENS: LENS}
    names = {name: name for name in classes} | known
    if unknown := sorted({entry.label for entry in entries} - set(names)):
        raise TrainingError(
            f"{root} has the class {unknown[0]!r}, but classes names {', '.join(classes)}, for 0 to {len(classes) - 1}"
        )
    return [replace(entry, label=names[entry.label]) for entry in entries]


def in_files(
    root: Path, folders: Sequence[Path], raw: Raw | None, above: Path
) -> tuple[str, list[Entry], Table | None, str]:
    """The layout of images in files of their own, its entries, the table that says what they show, if one does, and
    words for it. The table is in `above`: `root`, or a folder that holds nothing else.
    """
    if among_images(root, images_of(root, folders)) and (table := find_table(above)) and (table.label or table.targets):
        return "table", table_entries(above, table), table, str(table)
    if not folders:
        return *loose_files(root, raw), None, ""
    if (table := table_beside(above)) is None and (each := in_split_tables(root, folders)):
        return "table", *each, str(each[1])
    try:
        layout, entries = in_folders(root, folders)
    except TrainingError:
        splits = {} if table is None else split_folders(root, {folder: folder.name for folder in folders})
        if table is None or not may_sort(table, above, folders, splits):
            raise
        return "table", sorted_by(table, above, splits), table, str(table)
    if table is None:
        return layout, entries, None, ""
    try:
        if names_objects(table, folders) or (table.label and len({entry.label for entry in entries}) < 2):
            return "table", table_entries(above, table), table, str(table)
        found = with_table(entries, table, above)
    except TrainingError as error:
        return layout, entries, None, f"a table is not used ({error})"
    sorts = not {entry.label for entry in found} & {entry.label for entry in entries}
    return ("table" if sorts else layout), found, table, str(table if sorts else replace(table, label=None))


def in_split_tables(root: Path, folders: Sequence[Path]) -> tuple[list[Entry], Table] | None:
    """The images that tables in folders of splits name, a table in each, and these tables as one; None if there are no
    such, or they do not say the same of their images.
    """
    splits = split_folders(root, {folder: folder.name for folder in folders})
    found = [table_beside(f) if among_images(f, images_of(f, subfolders(f))) else None for f in splits]
    tables = [table for table in found if table is not None and (table.label or table.targets)]
    if not tables or len(tables) < len(splits) or len({(t.label, *t.targets) for t in tables}) > 1:
        return None
    each = []
    for (folder, split), table in zip(splits.items(), tables, strict=True):
        for entry in table_entries(folder, table):
            if entry.split not in (None, split):
                raise TrainingError(f"{table.path} gives {below(root, entry.path)} another split than its folder")
            shown = entry.object and f"{split} {entry.object}"  # each table may number its objects from the start
            each.append(replace(entry, split=split, object=shown))
    return each, replace(tables[0], others=tuple(table.path for table in tables[1:]))


def images_of(root: Path, folders: Sequence[Path]) -> list[Path]:
    """The folders in `root` without those of what comes with the images of the only other one."""
    return [root / name for name in without_companion_folders(str(root), [folder.name for folder in folders])]


def among_images(root: Path, folders: Sequence[Path]) -> bool:
    """Whether the images are in `root` alone, or in one folder that is no split, so that only a table can sort them."""
    if not folders:
        return bool(images_in(root)) and not holds_target(root)
    return len(folders) == 1 and folders[0].name.lower() not in PLAIN and bool(images_in(folders[0]))


def descend(root: Path) -> tuple[Path, Path]:
    """Follow folders that hold nothing but one folder, as archives leave them, to the one that holds the data set.

    Returns that one as the second of two. The first is the last one passed that holds a table, or else the same.
    """
    above = None
    while len(inner := subfolders(root)) == 1 and not images_in(root):
        (only,) = inner
        if only.name.lower() in PLAIN or holds_one_class(only):
            break
        above = root if table_beside(root) else above
        root = only
    return above or root, root


def holds_one_class(folder: Path) -> bool:
    """Whether the images in `folder` alone are no data set, but may be one of several classes."""
    if not images_in(folder):
        return False
    return not holds_numbers(folder) and not stacks_in(folder) and not class_stacks(folder)


def loose_files(root: Path, raw: Raw | None) -> tuple[str, list[Entry]]:
    """The layout of a folder of files alone, and its entries: images with their numbers."""
    if holds_numbers(root):
        return "flat", file_entries(root, None, LENS)
    files = sorted(path for path in root.iterdir() if path.is_file() and not ignored(path.name))
    refuse_pickles(files)
    for file in files:
        if comma := DECIMAL_COMMA.search(file.name):
            raise TrainingError(f"{file}: the number {comma[1]} has a comma; rename the files, with a point")
    if any(path.suffix.lower() in RAW_EXTENSIONS for path in files) and raw is None:
        raise TrainingError(f"{root} holds arrays without a header; give the form of one image (raw_shape, raw_dtype)")
    if images_in(root):
        raise TrainingError(
            f"{root} has no class folders; expected at least two, a stack for each class (no_sub.npy, sub.npy), images "
            f"with numbers, a table, or stacked arrays{unusable(root)}"
        )
    raise TrainingError(f"{root} {NO_FOLDERS}")
