"""Folders of images, in any layout of `trainers.data.listing`, converted to one array for each split.

Two passes over the files, in blocks, on all cores: the first hashes their content, from which follow splits and
duplicates; the second decodes each image into its row. After every block what was done is on the disk and in the
journal, so that a conversion that was interrupted goes on where it was.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections import Counter
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from itertools import chain
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.lib.format import open_memmap

from trainers.data.cache import SPLITS, allocate, finish
from trainers.data.cores import cores
from trainers.data.folder.image_file import TARGETS, UNREADABLE, normal_form, read_stored, resize
from trainers.data.folder.journal import Journal, blocks
from trainers.data.folder.layout import recognise
from trainers.data.folder.listing import Entry, Listing
from trainers.data.folder.stack import open_images
from trainers.data.progress import progress_bar
from trainers.data.splits import assign, recall, refuse_leaks, remember

Form = tuple[tuple[int, ...], np.dtype]


@dataclass(frozen=True)
class Reader:
    """Content and image of the entries of a listing; stacked arrays are mapped once."""

    listing: Listing

    @cached_property
    def stacks(self) -> Mapping[Path, np.ndarray]:
        paths = {entry.path for entry in self.listing.entries if entry.row is not None}
        return {path: open_images(path, self.listing.raw) for path in paths}

    def digest(self, entry: Entry) -> bytes:
        """SHA-256 of the file, or of the stacked array's row."""
        content = entry.path.read_bytes() if entry.row is None else self.stacks[entry.path][entry.row].tobytes()
        return hashlib.sha256(content).digest()

    def stored(self, entry: Entry) -> tuple[np.ndarray, Mapping[str, float]]:
        if entry.row is not None:
            return np.asarray(self.stacks[entry.path][entry.row]), entry.targets
        return read_stored(entry.path)


def convert(
    folder: Path,
    listing: Listing,
    *,
    image_size: int | None = None,
    seed: int = 0,
    skip_bad: bool = False,
    memory: Path,
    progress: bool = True,
) -> None:
    """Write the images of `listing` into the cache folder `folder`, going on where a killed process stopped.

    ValueError names every file at fault, unless `skip_bad`: then they are left out and named in the manifest. `memory`
    is the file that remembers the splits.
    """
    entries = listing.entries
    names = [listing.name(entry) for entry in entries]
    reader, work = Reader(listing), folder / "work"
    journal = Journal(work)
    mode: Literal["r+", "w+"] = "r+" if journal.found else "w+"
    hashes = open_memmap(work / "digests.npy", mode=mode, dtype="u1", shape=(len(entries), 32))
    numbers = open_memmap(work / "targets.npy", mode=mode, dtype="f8", shape=(len(entries), len(TARGETS)))
    journal.save()
    title = f"Converting {len(entries)} images ({listing.root.name})"
    with ThreadPoolExecutor(cores()) as pool, progress_bar(title, 2 * len(entries), progress) as advance:
        advance(journal.hashed + journal.converted)

        def digest(i: int) -> None:
            hashes[i] = np.frombuffer(reader.digest(entries[i]), dtype="u1")

        for block in blocks(journal.hashed, len(entries)):
            list(pool.map(digest, block))
            hashes.flush()
            journal.hashed = block.stop
            journal.save()
            advance(len(block))
        digests = [row.tobytes().hex() for row in hashes]
        splits = assign(entries, names, digests, seed, recall(memory))
        (shape, dtype), stored = common_form(reader)
        kept = shape if image_size is None else (shape[0], image_size, image_size)
        rows = {split: [i for i, s in enumerate(splits) if s == split] for split in SPLITS}
        plan = hashlib.sha256(repr((splits, shape, str(dtype))).encode()).hexdigest()
        if journal.plan != plan:
            journal.plan, journal.converted, journal.faults = plan, 0, []
        pixels = {
            s: allocate(
                folder, s, (len(rows[s]), *kept), dtype if kept == shape else np.dtype("f4"), journal.converted > 0
            )
            for s in SPLITS
        }
        row = {i: n for split in SPLITS for n, i in enumerate(rows[split])}

        def run(i: int) -> str | None:
            try:
                array, targets = reader.stored(entries[i])
                image = normal_form(array)
            except UNREADABLE as error:
                return " ".join(str(error).split())
            if image.shape != shape or image.dtype != dtype:
                return describe(image.shape, image.dtype)
            if listing.layout == "flat" and not targets:
                return "has no number beside its image"
            pixels[splits[i]][row[i]] = image if kept == shape else resize(image, kept[-1])
            numbers[i] = [targets.get(name, np.nan) for name in TARGETS]
            return None

        for block in blocks(journal.converted, len(entries)):
            journal.faults += [(i, why) for i, why in zip(block, pool.map(run, block), strict=True) if why]
            for array in (*pixels.values(), numbers):
                array.flush()
            journal.converted = block.stop
            journal.save()
            advance(len(block))
    bad = {i: f"{names[i]} ({why})" for i, why in journal.faults}
    if bad and not skip_bad:
        refuse(listing, list(bad.values()), describe(shape, dtype), memory.with_suffix(".bad.txt"))
    good = [i for i in range(len(entries)) if i not in bad]
    refuse_leaks(listing, good, digests, splits)
    if bad:
        for split in SPLITS:
            leave_out(folder, split, [n for n, i in enumerate(rows[split]) if i in bad])
            rows[split] = [i for i in rows[split] if i not in bad]
            if missing := set(listing.classes) - {entries[i].label for i in rows[split]}:
                raise ValueError(f"without its bad images, {split} of {listing.root} lacks the class {min(missing)!r}")
    known = {name: n for n, name in enumerate(TARGETS) if not np.isnan(numbers[good, n]).all()}
    counts = {name: int((~np.isnan(numbers[good, n])).sum()) for name, n in known.items()}
    usable = replace(listing, entries=tuple(entries[i] for i in good))
    index = {label: n for n, label in enumerate(listing.classes)}
    finish(
        folder,
        labels={s: np.array([index[entries[i].label] for i in rows[s]]) for s in SPLITS},
        targets={s: {name: numbers[rows[s], n] for name, n in known.items()} for s in SPLITS},
        manifest={
            "classes": listing.classes,
            "recognised": recognise(usable, *stored, counts, len(bad)),
            "folder": {"path": str(listing.root), "image_size": image_size, "seed": seed, "skip_bad": skip_bad},
            "raw": asdict(listing.raw) if listing.raw else None,
            "skipped": list(bad.values()),
        },
    )
    files = {s: [[names[i], digests[i]] for i in rows[s]] for s in SPLITS}
    (folder / "files.json").write_text(json.dumps(files))  # apart from the manifest, which every load reads
    shutil.rmtree(work)
    remember(memory, [names[i] for i in good], [digests[i] for i in good], [splits[i] for i in good])


def leave_out(folder: Path, split: str, rows: Sequence[int]) -> None:
    """Write the images of `split` anew without `rows`, a few at a time."""
    if not rows:
        return
    old = np.load(folder / f"{split}.images.npy", mmap_mode="r")
    keep = np.setdiff1d(np.arange(len(old)), rows)
    new = allocate(folder, "without", (len(keep), *old.shape[1:]), old.dtype)
    for start in range(0, len(keep), 256):
        new[start : start + 256] = old[keep[start : start + 256]]
    new.flush()
    os.replace(folder / "without.images.npy", folder / f"{split}.images.npy")


def describe(shape: tuple[int, ...], dtype: np.dtype) -> str:
    return f"{'x'.join(map(str, shape))} {dtype}"


def common_form(reader: Reader) -> tuple[Form, Form]:
    """Shape and dtype of most images, (C, H, W) and as stored, from some of them; the others must have them too."""
    entries = reader.listing.entries
    some = entries[:: max(len(entries) // 32, 1)]
    seen: Counter[tuple[tuple[int, ...], str]] = Counter()
    first: dict[tuple[tuple[int, ...], str], tuple[Entry, Form]] = {}
    for entry in chain(some, (entry for entry in entries if not seen)):  # the others where none of some can be read
        try:
            array, _ = reader.stored(entry)
            image = normal_form(array)
        except UNREADABLE:
            continue  # named below, with all the others
        form = (image.shape, str(image.dtype))
        seen[form] += 1
        first.setdefault(form, (entry, (array.shape, array.dtype)))
    if not seen:
        raise ValueError(
            f"no image in {reader.listing.root} can be read; the first is {reader.listing.name(entries[0])}"
        )
    (shape, dtype), _ = seen.most_common(1)[0]
    entry, stored = first[shape, dtype]
    if shape[1] != shape[2]:
        raise ValueError(
            f"{reader.listing.name(entry)} in {reader.listing.root} is {shape[2]}x{shape[1]} pixels; "
            "expected square images"
        )
    return (shape, np.dtype(dtype)), stored


def refuse(listing: Listing, bad: Sequence[str], expected: str, file: Path) -> None:
    """ValueError naming all bad images; beyond twenty, the rest are in `file`, one a line."""
    more = ""
    if len(bad) > 20:
        file.write_text("\n".join(bad) + "\n")
        more = f" and {len(bad) - 20} more, all listed in {file}"
    raise ValueError(
        f"{len(bad)} of {len(listing.entries)} images in {listing.root} cannot be read or are not {expected} "
        f"like most: {', '.join(bad[:20])}{more}; mend them, or go on without them (skip_bad)"
    )
