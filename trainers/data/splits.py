"""Which image is in which split: official splits stay, others follow from content and seed and are remembered."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from filelock import FileLock

from trainers.errors import TrainingError

SHARES = {"test": 0.1, "val": 0.1}  # train has the rest


@dataclass(frozen=True)
class Memory:
    """Where images went before: the split of each content, and the content behind each file name."""

    splits: Mapping[str, str] = field(default_factory=dict)
    names: Mapping[str, str] = field(default_factory=dict)

    def split(self, name: str, digest: str) -> str | None:
        """The split by content, so that a renamed file stays; otherwise by name, so that a re-encoded one does."""
        return self.splits.get(digest) or self.splits.get(self.names.get(name, ""))


def recall(file: Path) -> Memory:
    """The memory in `file`; an empty one if there is no file."""
    return Memory(**json.loads(file.read_text())) if file.exists() else Memory()


def remember(file: Path, names: Sequence[str], digests: Sequence[str], splits: Sequence[str]) -> None:
    """Add to the memory in `file`, which never forgets anything."""
    with FileLock(file.with_suffix(".lock")):
        old = recall(file)
        new = {
            "splits": {**old.splits, **dict(zip(digests, splits, strict=True))},
            "names": {**old.names, **dict(zip(names, digests, strict=True))},
        }
        scratch = file.with_suffix(".new")
        scratch.write_text(json.dumps(new))
        os.replace(scratch, file)


def assign(
    official: Sequence[str | None],
    labels: Sequence[str],
    names: Sequence[str],
    digests: Sequence[str],
    seed: int,
    memory: Memory,
) -> list[str]:
    """The split of every image. Official splits stay; a missing val or test is a tenth of train each.

    A remembered image stays where it was. Where a new one goes depends only on its content and the seed, so new images
    never move an old one, even if the memory is lost, and duplicates stay together. The proportions therefore hold on
    average, within each class. In a class so small that a split would get none of it (a few dozen images), that split
    borrows the image nearest to it. TrainingError for a class with too few images for that.
    """
    wanted = [split for split in SHARES if split not in official]
    splits = [split or "train" for split in official]
    place = {d: int(hashlib.sha256(f"{seed} {d}".encode()).hexdigest()[:13], 16) / 16**13 for d in digests}
    for label in sorted(set(labels)):
        mine = [i for i, other in enumerate(labels) if other == label and splits[i] == "train"]
        fixed: dict[str, str] = {}
        for i in mine:
            before = memory.split(names[i], digests[i])
            if before in (*wanted, "train"):
                fixed.setdefault(digests[i], before)
        groups: dict[str, list[str]] = {split: [] for split in ("train", *wanted)}
        for digest in sorted({digests[i] for i in mine}, key=place.__getitem__):
            groups[fixed.get(digest) or drawn(place[digest], wanted)].append(digest)
        if sum(map(len, groups.values())) < len(groups):
            raise TrainingError(
                f"class {label!r} has too few different images ({len(mine)}) to train, validate and test"
            )
        for split, group in groups.items():
            if not group:
                lend(groups, split, fixed, label)
        where = {digest: split for split, group in groups.items() for digest in group}
        for i in mine:
            splits[i] = where[digests[i]]
    return splits


def lend(groups: Mapping[str, list[str]], split: str, fixed: Mapping[str, str], label: str) -> None:
    """Give the empty `split` the nearest image of the largest other one: a new image, or one of train's."""
    for donor in sorted(groups.values(), key=len, reverse=True):
        may_go = [digest for digest in donor if digest not in fixed or donor is groups["train"]]
        if len(donor) > 1 and may_go:
            nearest = min(may_go if split == "train" else may_go[::-1], key=fixed.__contains__)  # the first new one
            donor.remove(nearest)
            groups[split].append(nearest)
            return
    raise TrainingError(f"class {label!r} has no image left for {split}: those there are were in other splits before")


def drawn(place: float, wanted: Sequence[str]) -> str:
    """The split of an image whose hash lies at `place` in [0, 1). The top of the range belongs to the splits wanted."""
    end = 1.0
    for split in wanted:
        end -= SHARES[split]
        if place >= end:
            return split
    return "train"


def refuse_leaks(
    names: Sequence[str], digests: Sequence[str], splits: Sequence[str], labels: Sequence[str], where: Path | str
) -> None:
    """Raise a TrainingError that names the images in `where` which are in two splits or have two labels."""
    first: dict[str, int] = {}
    pairs = []
    for i, digest in enumerate(digests):
        j = first.setdefault(digest, i)
        if labels[i] != labels[j] or splits[i] != splits[j]:
            pairs.append((j, i))
    if pairs:
        two = "classes" if any(labels[j] != labels[i] for j, i in pairs) else "splits"
        more = f" and {len(pairs) - 20} more pairs" if len(pairs) > 20 else ""
        raise TrainingError(
            f"{', '.join(f'{names[j]} and {names[i]}' for j, i in pairs[:20])}{more} in {where} are the same image in "
            f"two {two}; remove one{' of each' if len(pairs) > 1 else ''}"
        )
