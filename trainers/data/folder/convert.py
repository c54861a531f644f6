"""Folders of images, in any layout of `layouts.py`, converted to one array for each split.

Two passes go over the files, in blocks and on all cores. The first hashes their content, from which splits and
duplicates follow; the second decodes each image into its row, and is made again if it finds images of different splits
to be turned or mirrored copies of each other. After every block the work done is on the disk and in the
journal, so an interrupted conversion resumes where it stopped.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np

from trainers.data.cache import SPLITS, allocate, finish
from trainers.data.cores import cores
from trainers.data.folder import fit
from trainers.data.folder.bad_images import discard, lacking, refuse
from trainers.data.folder.files import unused
from trainers.data.folder.fit import resize
from trainers.data.folder.image_file import AS_STORED, UNREADABLE, Reading
from trainers.data.folder.journal import Journal, blocks
from trainers.data.folder.listing import Listing
from trainers.data.folder.missing import in_words
from trainers.data.folder.reader import Form, Reader, Sample, common_form, in_one_line, sizes_in_words, sizes_of
from trainers.data.folder.recognised import recognise
from trainers.data.folder.turned import invariant, turned_copies
from trainers.data.progress import progress_bar
from trainers.data.splits import SHARES, assign, recall, refuse_leaks, remember, units


@dataclass(frozen=True)
class Plan:
    """The split of each image, the form in which images are read, and the size at which they are kept."""

    splits: list[str]
    form: Form
    image_size: int | None

    @cached_property
    def rows(self) -> dict[str, list[int]]:
        """The images of each split, in order."""
        return {split: [i for i, s in enumerate(self.splits) if s == split] for split in SPLITS}

    @property
    def kept(self) -> Form:
        """The form in which images are kept: as read, or resized in float32."""
        shape, dtype, bands = self.form
        resized = shape if self.image_size is None else (shape[0], self.image_size, self.image_size)
        return Form(resized, dtype if resized == shape else np.dtype("f4"), bands)

    def digest(self) -> str:
        """Hash of what puts an image into its row."""
        return hashlib.sha256(repr((self.splits, str(self.form))).encode()).hexdigest()


def convert(
    folder: Path,
    listing: Listing,
    *,
    image_size: int | None = None,
    seed: int = 0,
    skip_bad: bool = False,
    whole: bool = False,
    reading: Reading = AS_STORED,
    shares: Sequence[float] = SHARES,
    memory: Path,
    progress: bool = True,
) -> None:
    """Write the images of `listing` into the cache folder `folder`, from where a killed process stopped.

    TrainingError names every bad file; with `skip_bad` these are discarded instead, and named in the manifest. `shares`
    are the proportion of train, val and test, and `memory` is the file that remembers the splits. With `whole` no split
    is drawn: images without an official one are for tests.
    """
    entries, work = listing.entries, folder / "work"
    names, labels = [listing.name(entry) for entry in entries], [entry.label for entry in entries]
    reader, journal = Reader(listing, reading), Journal(work, len(entries))
    title = f"Converting {len(entries)} images ({listing.root.name})"
    with ThreadPoolExecutor(cores()) as pool, progress_bar(title, 2 * len(entries), progress) as advance:
        if reading.fit is not None:
            given = fit.side(reading.fit) is not None or fit.kind(reading.fit) == "resize"
            sizes = {} if given else sizes_of(reader, pool)
            reading = replace(reading, fit=fit.with_side(reading.fit, image_size, sizes))
            reader = Reader(listing, reading)
        advance(journal.hashed + journal.converted)
        digests = hash_contents(reader, journal, pool, advance)
        sample = common_form(reader)
        every_class = not any(entry.targets for entry in entries)
        official, objects = [entry.split for entry in entries], [entry.object for entry in entries]
        without: set[int] = set()  # bad images, if a split would lack a class once they are discarded
        while True:  # again if images that were split are found to be copies of each other, or for such bad ones
            together = units(names, digests, objects, journal.copies or ())
            if whole:
                splits = [split or "test" for split in official]
            else:
                usable = [i for i in range(len(entries)) if i not in without]
                found = assign(
                    [official[i] for i in usable], [labels[i] for i in usable], [names[i] for i in usable],
                    [digests[i] for i in usable], seed, recall(memory), [together[i] for i in usable], shares,
                    every_class,
                )  # fmt: skip
                drawn = dict(zip(usable, found, strict=True))
                splits = [drawn.get(i, "train") for i in range(len(entries))]
            plan = Plan(splits, sample.form, image_size)
            decode(folder, reader, plan, journal, pool, advance)
            faulty = {i for i, _ in journal.faults}
            if journal.copies is None:
                invariants = {i: number for i, number in enumerate(journal.invariants.tolist()) if i not in faulty}
                journal.copies = turned_copies(invariants, lambda i: reader.image(entries[i], sample.form)[0], together)
                journal.save()
            elif skip_bad and every_class and not whole and not without and lacking(listing, plan.rows, faulty):
                without = faulty
            else:
                break

    bad = {i: f"{names[i]} ({why})" for i, why in journal.faults}
    if bad and not skip_bad:
        several = sizes_in_words(sample.form, journal.faults, len(entries))
        refuse(listing, list(bad.values()), sample.form, memory.with_suffix(".bad.txt"), several)
    good = [i for i in range(len(entries)) if i not in bad]
    kept_names, kept_digests, kept_splits = ([values[i] for i in good] for values in (names, digests, splits))
    kept_labels, kept_units = [labels[i] for i in good], [together[i] for i in good]
    refuse_leaks(kept_names, kept_digests, kept_splits, kept_labels, listing.root, kept_units)
    rows = discard(folder, listing, plan.rows, bad, whole or not every_class) if bad else plan.rows

    numbers = {name: np.array(journal.numbers[:, n]) for n, name in enumerate(journal.targets)}
    for name in dict.fromkeys(name for entry in entries for name in entry.targets):
        known = [entry.targets.get(name, np.nan) for entry in entries]
        numbers[name] = np.where(np.isnan(known), numbers.get(name, np.nan), known)
    counts = {name: int((~np.isnan(values[good])).sum()) for name, values in numbers.items()}
    filled = [pixels for i, pixels in journal.filled if i not in bad]
    good_ones = replace(listing, entries=tuple(entries[i] for i in good))
    left_out = unused(listing.root, set(listing.used))
    said = notes(sample, reading, filled)
    index = {label: n for n, label in enumerate(listing.classes)}
    finish(
        folder,
        labels={s: np.array([index[labels[i]] for i in rows[s]], dtype=np.int64) for s in SPLITS},
        targets={s: {name: numbers[name][rows[s]] for name, count in counts.items() if count} for s in SPLITS},
        manifest={
            "classes": listing.classes,
            "recognised": recognise(
                good_ones, *sample.stored[:2], counts, kept_splits, kept_units, len(bad), left_out, said
            ),
            "folder": {"path": str(listing.root), "image_size": image_size, "seed": seed, "skip_bad": skip_bad},
            "split": shares,
            "reading": asdict(reading),
            "channels": listing.bands or sample.hdus,
            "filled": {"images": len(filled), "pixels": sum(filled)},
            "raw": asdict(listing.raw) if listing.raw else None,
            "skipped": list(bad.values()),
        },
        objects={s: [together[i] for i in rows[s]] for s in SPLITS},
    )
    files = {s: [[names[i], digests[i]] for i in rows[s]] for s in SPLITS}
    (folder / "files.json").write_text(json.dumps(files))  # not in the manifest, which every load reads
    shutil.rmtree(work)
    if not whole:
        remember(memory, kept_names, kept_digests, kept_splits)


def notes(sample: Sample, reading: Reading, filled: Sequence[int]) -> list[str]:
    """What to say of the pixels: their HDUs, how images were made square, and how many were missing from some."""
    words = [f"HDU{'s'[: len(sample.hdus) > 1]} {', '.join(sample.hdus)}"] if sample.hdus else []
    words += [fit.in_words(reading.fit)] if reading.fit else []
    return words + ([in_words(filled)] if filled else [])


def hash_contents(
    reader: Reader, journal: Journal, pool: ThreadPoolExecutor, advance: Callable[[int], None]
) -> list[str]:
    """The hash of every entry's content, in hexadecimal."""
    entries = reader.listing.entries

    def run(i: int) -> None:
        journal.hashes[i] = np.frombuffer(reader.digest(entries[i]), dtype="u1")

    for block in blocks(journal.hashed, len(entries)):
        list(pool.map(run, block))
        journal.hashes.flush()
        journal.hashed = block.stop
        journal.save()
        advance(len(block))
    return [row.tobytes().hex() for row in journal.hashes]


def decode(
    folder: Path,
    reader: Reader,
    plan: Plan,
    journal: Journal,
    pool: ThreadPoolExecutor,
    advance: Callable[[int], None],
) -> None:
    """Write every image into its row, its targets into the journal's numbers, and the bad ones into its faults."""
    entries = reader.listing.entries
    if journal.plan != plan.digest():
        journal.plan, journal.converted, journal.faults, journal.filled = plan.digest(), 0, [], []
    shape, dtype, _ = plan.kept
    again = journal.converted > 0
    pixels = {s: allocate(folder, s, (len(plan.rows[s]), *shape), dtype, again) for s in SPLITS}
    row = {i: n for s in SPLITS for n, i in enumerate(plan.rows[s])}

    def run(i: int) -> str | tuple[int, Mapping[str, float]]:
        """Why the image is bad; or the number of its missing pixels, and the numbers in its file."""
        try:
            image, targets, filled = reader.image(entries[i], plan.form)
        except UNREADABLE as error:
            return in_one_line(error)
        journal.invariants[i] = invariant(image)
        pixels[plan.splits[i]][row[i]] = image if shape == plan.form.shape else resize(image, shape[-1])
        return filled, {name: value for name, value in targets.items() if name not in entries[i].targets}

    for block in blocks(journal.converted, len(entries)):
        for i, found in zip(block, pool.map(run, block), strict=True):
            if isinstance(found, str):
                journal.faults.append((i, found))
                continue
            filled, targets = found
            journal.note(i, targets)
            if filled:
                journal.filled.append((i, filled))
        for array in (*pixels.values(), journal.numbers, journal.invariants):
            array.flush()
        journal.converted = block.stop
        journal.save()
        advance(len(block))
