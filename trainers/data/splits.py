"""Which image is in which split: official splits stay, others follow from content and seed and are remembered."""

from __future__ import annotations

import hashlib
import json
import math
import os
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from trainers.errors import TrainingError
from trainers.lock import locked

SHARES = (80.0, 10.0, 10.0)
"""The proportion of train, val and test."""
SMALL = 100
"""A class of fewer objects is divided in exactly these proportions, not just on average."""


def checked_shares(given: str | Sequence[float]) -> tuple[float, float, float]:
    """The proportion of train, val and test in `given`, such as 70,15,15. TrainingError if it is none."""
    try:
        train, val, test = map(float, given.split(",") if isinstance(given, str) else given)
    except (TypeError, ValueError):
        train = val = test = math.nan
    if not all(0 < part < math.inf for part in (train, val, test)):
        raise TrainingError(f"split is {given!r}; expected three numbers above 0, such as 70,15,15")
    return train, val, test


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
    with locked(file.with_suffix(".lock")):
        old = recall(file)
        new = {
            "splits": {**old.splits, **dict(zip(digests, splits, strict=True))},
            "names": {**old.names, **dict(zip(names, digests, strict=True))},
        }
        scratch = file.with_suffix(".new")
        scratch.write_text(json.dumps(new))
        os.replace(scratch, file)


def units(
    names: Sequence[str],
    digests: Sequence[str],
    objects: Sequence[str | None],
    copies: Iterable[tuple[int, int]] = (),
) -> list[str]:
    """What must stay together: a key for every image, equal for images of one content or one object, and for `copies`.

    The key is the content of the image with the shortest name, which is the original as a rule, so that a copy that is
    added never changes it. An image that is alone has its own content for a key.
    """
    parent = list(range(len(names)))

    def root(i: int) -> int:
        while parent[i] != i:
            parent[i] = i = parent[parent[i]]
        return i

    for keys in (digests, objects):
        first: dict[str, int] = {}
        for i, key in enumerate(keys):
            if key is not None:
                parent[root(i)] = root(first.setdefault(key, i))
    for i, j in copies:
        parent[root(i)] = root(j)
    roots = [root(i) for i in range(len(names))]
    shortest: dict[int, int] = {}
    for i in sorted(range(len(names)), key=lambda i: (len(names[i]), names[i])):
        shortest.setdefault(roots[i], i)
    return [digests[shortest[r]] for r in roots]


def assign(
    official: Sequence[str | None],
    labels: Sequence[str],
    names: Sequence[str],
    digests: Sequence[str],
    seed: int,
    memory: Memory,
    together: Sequence[str] | None = None,
    shares: Sequence[float] = SHARES,
    every_class: bool = True,
) -> list[str]:
    """The split of every image. Official splits stay; a missing val or test is that share of train.

    `together` has a key for every image: those with the same key get the same split (default: `digests`). A remembered
    image stays where it was, unless images that belong together were apart. Where a new one goes depends on its key
    and the seed. In a class of SMALL keys or more, new images thus never move an old one, even if the memory is lost,
    and the shares hold on average. Of a smaller class, each split gets its share of the keys, rounded, and one at
    least; new keys fill the splits that lack some, and only the memory keeps old ones in place. If memory leaves a
    split without any, it borrows the nearest one. TrainingError for a class with too few keys for that. Without
    `every_class`, as where numbers are measured, such classes are divided as one.
    """
    together = digests if together is None else together
    if not every_class:
        keys_of: dict[str, set[str]] = defaultdict(set)  # of images that are drawn
        for key, label, split in zip(together, labels, official, strict=True):
            if split in (None, "train"):
                keys_of[label].add(key)
        labels = [label if len(keys_of[label]) >= len(SHARES) else "" for label in labels]
    _, val, test = (part / sum(shares) for part in shares)
    wanted = {split: part for split, part in (("test", test), ("val", val)) if split not in official}
    splits = [split or "train" for split in official]
    place = {key: int(hashlib.sha256(f"{seed} {key}".encode()).hexdigest()[:13], 16) / 16**13 for key in together}
    before: dict[str, set[str]] = defaultdict(set)
    for i, key in enumerate(together):
        if splits[i] == "train" and (split := memory.split(names[i], digests[i])) in (*wanted, "train"):
            before[key].add(split)
    remembered = {key: split for key, (split, *others) in before.items() if not others}
    decided: dict[str, str] = {}  # also of objects that are in several classes
    for label in sorted(set(labels)):
        mine = [i for i, other in enumerate(labels) if other == label and splits[i] == "train"]
        keys = sorted({together[i] for i in mine}, key=place.__getitem__)
        groups: dict[str, list[str]] = {split: [] for split in ("train", *wanted)}
        fixed = {key: split for key in keys if (split := decided.get(key) or remembered.get(key))}
        new = [key for key in keys if key not in fixed]
        fixed |= divided(new, fixed, wanted) if len(keys) < SMALL else {key: drawn(place[key], wanted) for key in new}
        for key in keys:
            groups[fixed[key]].append(key)
        few = len(keys) < len(groups)
        if few and (every_class or len(set(labels)) == 1):
            of = f" of {len(keys)} objects; --group can name them otherwise" if len(keys) < len(mine) else ""
            what = f"class {label!r}" if label else "the set"
            raise TrainingError(f"{what} has too few different images ({len(mine)}{of}) to train, validate and test")
        for split, group in groups.items():
            if not group and not few:
                lend(groups, split, remembered, decided, label)
        decided |= {key: split for split, group in groups.items() for key in group}
        for i in mine:
            splits[i] = decided[together[i]]
    return splits


def lend(
    groups: Mapping[str, list[str]], split: str, fixed: Mapping[str, str], decided: Mapping[str, str], label: str
) -> None:
    """Give the empty `split` the nearest image of the largest other one: a new image, or one of train's.

    Those `decided` for another class stay.
    """
    for donor in sorted(groups.values(), key=len, reverse=True):
        may_go = [key for key in donor if key not in decided and (key not in fixed or donor is groups["train"])]
        if len(donor) > 1 and may_go:
            nearest = min(may_go if split == "train" else may_go[::-1], key=fixed.__contains__)  # the first new one
            donor.remove(nearest)
            groups[split].append(nearest)
            return
    raise TrainingError(f"class {label!r} has no image left for {split}: those there are were in other splits before")


def divided(new: Sequence[str], fixed: Mapping[str, str], wanted: Mapping[str, float]) -> dict[str, str]:
    """The split of each of the `new` keys of a class, so that each split has its share of them and the `fixed` ones.

    As in `drawn`, the last ones belong to the splits wanted.
    """
    total, left = len(new) + len(fixed), list(new)
    found: dict[str, str] = {}
    counts = {split: max(round(part * total), 1) for split, part in wanted.items()}
    while counts and sum(counts.values()) >= total > len(counts):  # train needs one as well
        counts[max(counts, key=counts.__getitem__)] -= 1
    for split, count in counts.items():
        lacking = min(max(count - list(fixed.values()).count(split), 0), len(left))
        left, mine = left[: len(left) - lacking], left[len(left) - lacking :]
        found |= dict.fromkeys(mine, split)
    return found | dict.fromkeys(left, "train")


def drawn(place: float, wanted: Mapping[str, float]) -> str:
    """The split of an image whose hash lies at `place` in [0, 1). The top of the range belongs to the splits wanted."""
    end = 1.0
    for split, part in wanted.items():
        end -= part
        if place >= end:
            return split
    return "train"


def refuse_leaks(
    names: Sequence[str],
    digests: Sequence[str],
    splits: Sequence[str],
    labels: Sequence[str],
    where: Path | str,
    together: Sequence[str] | None = None,
) -> None:
    """Raise a TrainingError that names the images in `where` which are in two splits or have two labels.

    Images with the same key in `together` may have two labels: a galaxy and its mirror image turn in two directions.
    """
    first: dict[str, int] = {}
    kin: dict[str, int] = {}
    same, akin = [], []
    for i, (digest, key) in enumerate(zip(digests, together or digests, strict=True)):
        j, k = first.setdefault(digest, i), kin.setdefault(key, i)
        if labels[i] != labels[j] or splits[i] != splits[j]:
            same.append((j, i))
        elif splits[i] != splits[k]:
            akin.append((k, i))
    if pairs := same or akin:
        what = "the same image" if same else "copies of one image or parts of one object"
        two = "classes" if any(labels[j] != labels[i] for j, i in same) else "splits"
        more = f" and {len(pairs) - 20} more pairs" if len(pairs) > 20 else ""
        raise TrainingError(
            f"{', '.join(f'{names[j]} and {names[i]}' for j, i in pairs[:20])}{more} in {where} are {what} in "
            f"two {two}; remove one{' of each' if len(pairs) > 1 else ''}"
        )
