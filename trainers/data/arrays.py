"""Arrays of images, in any form of `given.py`, converted by the rules for folders to one array for each split."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from trainers.data.cache import SPLITS, allocate, finish
from trainers.data.folder.convert import Plan
from trainers.data.folder.fit import resize
from trainers.data.folder.image_file import normal_form
from trainers.data.folder.missing import in_words
from trainers.data.folder.names import by_name
from trainers.data.folder.reader import Form
from trainers.data.folder.turned import invariant, turned_copies
from trainers.data.given import by_split, read_part
from trainers.data.splits import SHARES, Memory, assign, refuse_leaks, units
from trainers.errors import TrainingError, named


@dataclass(frozen=True)
class Content:
    """N labelled images in the order given, after all checks."""

    where: str  # they come from
    official: Sequence[str | None]  # the split of each image, if it was given
    names: Sequence[str]
    images: Sequence[np.ndarray]  # as given
    labels: Sequence[str]
    targets: Mapping[str, np.ndarray]  # (N,) float64
    form: Form  # of all images as (C, H, W)
    digests: Sequence[str]  # of each image in that form
    filled: Sequence[int]  # the missing pixels of each image
    invariants: Sequence[int]  # of each image in that form, which its turned copies share
    objects: Sequence[str | None]  # that each image shows, where it is known

    @cached_property
    def classes(self) -> tuple[str, ...]:
        return tuple(sorted(set(self.labels), key=by_name))

    def digest(self) -> str:
        """Hash of all that is converted."""
        found = hashlib.sha256(repr((self.official, self.labels, self.digests, self.form)).encode())
        if any(self.objects):
            found.update(repr(self.objects).encode())
        for name in sorted(self.targets):
            found.update(f"\0{name}\0".encode() + self.targets[name].tobytes())
        return found.hexdigest()[:20]

    def turned(self) -> list[tuple[int, int]]:
        """The pairs of images that are turned or mirrored copies of each other."""
        numbers = dict(enumerate(self.invariants))
        return turned_copies(numbers, lambda i: normal_form(self.images[i])[0], self.digests)

    def recognised(self) -> str:
        """One line, such as `arrays: 2 classes, 30/30 images, 1x32x32 float32`."""
        counts = Counter(self.labels)
        words = [f"{len(self.labels)} images"]
        if len(self.classes) > 1:
            words = [f"{len(self.classes)} classes", f"{'/'.join(str(counts[c]) for c in self.classes)} images"]
        words.append(str(self.form))
        words += [f"{name} for {(~np.isnan(v)).sum()}" for name, v in self.targets.items()]
        if some := [pixels for pixels in self.filled if pixels]:
            words.append(in_words(some))
        if official := [split for split in SPLITS if split in self.official]:
            words.append(f"split into {'/'.join(official)} as given")
        return f"{self.where}: {', '.join(words)}"


def write(folder: Path, content: Content, image_size: int | None, seed: int, shares: Sequence[float] = SHARES) -> None:
    """Write the images into the cache folder `folder`.

    The split of an image without an official one follows from content, `seed` and `shares`, the proportion of train,
    val and test.

    TrainingError if a class has too few images for every split, or an image has two labels or is in two splits.
    """
    c = content
    together = units(c.names, c.digests, c.objects, c.turned())
    splits = assign(c.official, c.labels, c.names, c.digests, seed, Memory(), together, shares, not c.targets)
    refuse_leaks(c.names, c.digests, splits, c.labels, c.where, together)
    plan = Plan(splits, c.form, image_size)
    rows, (shape, dtype, _) = plan.rows, plan.kept
    for split in SPLITS:
        pixels = allocate(folder, split, (len(rows[split]), *shape), dtype)
        for row, i in enumerate(rows[split]):
            image, _ = normal_form(c.images[i])
            pixels[row] = image if shape == c.form.shape else resize(image, shape[-1])
        pixels.flush()
    index = {label: n for n, label in enumerate(c.classes)}
    finish(
        folder,
        labels={s: np.array([index[c.labels[i]] for i in rows[s]]) for s in SPLITS},
        targets={s: {name: values[rows[s]] for name, values in c.targets.items()} for s in SPLITS},
        manifest={
            "classes": c.classes,
            "recognised": c.recognised(),
            "arrays": {"from": c.where, "image_size": image_size, "seed": seed, "split": shares},
            "filled": {"images": sum(pixels > 0 for pixels in c.filled), "pixels": sum(c.filled)},
        },
        objects={s: [together[i] for i in rows[s]] for s in SPLITS},
    )


def gather(given: Any, where: str) -> Content:
    """Check what was given. One TrainingError, which begins with `where`, if it is no set of labelled images."""
    with named(where):
        parts = [read_part(part, split) for split, part in by_split(given).items()]
        images = [image for part in parts for image in part.images]
        names = [f"{part.split} image {i}".removeprefix("None ") for part in parts for i in range(len(part.images))]
        form, digests, filled, invariants = check_images(images, names)
        labels = [label for part in parts for label in part.labels]
        if len(set(labels)) < 2 and not any(part.targets for part in parts):
            raise TrainingError(f"all images have the label {labels[0]!r}; expected at least two classes, or targets")
        for part in parts if not any(part.targets for part in parts) else ():
            if missing := set(labels) - set(part.labels):
                raise TrainingError(f"{part.split} lacks the class {min(missing)!r}, which other splits have")
    official = [part.split for part in parts for _ in part.images]
    known = sorted({name for part in parts for name in part.targets})
    targets = {name: np.concatenate([part.target(name) for part in parts]) for name in known}
    objects = [thing for part in parts for thing in part.objects or [None] * len(part.images)]
    return Content(where, official, names, images, labels, targets, form, digests, filled, invariants, objects)


def check_images(images: Sequence[np.ndarray], names: Sequence[str]) -> tuple[Form, list[str], list[int], list[int]]:
    """The form that all images have as (C, H, W); the hash, the number of missing pixels and the invariant of each.

    TrainingError names those at fault.
    """
    digests: list[str] = []
    missing: list[int] = []
    invariants: list[int] = []
    forms: list[Form | str] = []
    for image in images:
        try:
            found, filled = normal_form(image)
        except TrainingError as error:
            forms.append(str(error))
            continue
        forms.append(Form(found.shape, found.dtype))
        missing.append(filled)
        invariants.append(invariant(found) if found.shape[1] == found.shape[2] else 0)  # others are refused below
        digests.append(hashlib.sha256(found.tobytes()).hexdigest())
    most, _ = max(Counter(forms).items(), key=lambda seen: (isinstance(seen[0], Form), seen[1]))
    bad = [f"{name} ({form})" for name, form in zip(names, forms, strict=True) if form != most or isinstance(form, str)]
    if bad or isinstance(most, str):
        more = f" and {len(bad) - 20} more" if len(bad) > 20 else ""
        like = "" if isinstance(most, str) else f" or are not {most} like most"
        raise TrainingError(f"{len(bad)} of {len(images)} images cannot be used{like}: {', '.join(bad[:20])}{more}")
    _, height, width = most.shape
    if height != width:
        raise TrainingError(f"its images are {width}x{height} pixels; expected square images")
    return most, digests, missing, invariants
