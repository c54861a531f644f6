"""`nas.audit`: the checks of a data set, and what each found in words."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from nas.errors import mendable
from nas.sources import source_of
from nas.words import baseline_name, count
from trainers import audit as checks
from trainers.audit import Audit, Some
from trainers.data import Dataset, load
from trainers.data.cache import SPLITS

MANY = 20
"""More classes than that are too many to be counted in one line."""
SHOWN = 5
"""Properties of files that are named, at most."""


@dataclass(frozen=True)
class Finding:
    """One line on one check."""

    check: str
    result: str
    advice: str = ""  # what to do; empty if nothing is wrong


@mendable
def audit(
    data: Any,
    *,
    group: str | None = None,
    skip_bad: bool = False,
    hdu: str | Sequence[str] | None = None,
    clip: str | tuple[float, float] | None = None,
    key: str | Sequence[str] | None = None,
    classes: str | Sequence[str] | None = None,
    fit: str | None = None,
    split: str | Sequence[float] | None = None,
    image_size: int | None = None,
) -> Audit:
    """Look for what makes results on a data set meaningless, before anything is trained.

    `data` is anything that `nas.search` takes, or a `trainers.data.Dataset`, and the options are as there. UserError if
    a search would refuse the data, as it does images that are in two classes or two splits.
    """
    if not isinstance(data, Dataset):
        reading: dict[str, Any] = {"hdu": hdu, "clip": clip, "key": key, "classes": classes, "fit": fit, "split": split}
        source = source_of(data, image_size, skip_bad=skip_bad, group=group, **reading)
        data = load(source, progress=False)
    return checks.audit(data)


def record(found: Audit) -> dict[str, Any]:
    """The audit as plain JSON, with the findings in words."""
    return {**asdict(found), "findings": [asdict(finding) for finding in findings(found)]}


def findings(found: Audit) -> list[Finding]:
    """What each check found, those that ask for something to be done first."""
    return sorted(_each(found), key=lambda finding: not finding.advice)


def _each(found: Audit) -> Iterator[Finding]:
    yield _axis(found)
    for name, shortcut in found.shortcuts.items():
        seen = f"AUC {shortcut.auc:.2f} on {count(shortcut.validated, 'validation image')}"
        yield Finding(baseline_name(name), seen, SHORTCUTS[name] if shortcut.found else "")
    yield _copies(found)
    yield Finding("constant images", _some(found.constant), "remove them" if found.constant.count else "")
    blunt = "brightest structure is lost in them: look at them, and whether one class has more of them"
    yield Finding("saturated images", _some(found.saturated), blunt if found.saturated.count else "")
    yield _missing(found)
    if found.unreadable.count:
        yield Finding("unreadable images", _some(found.unreadable), "they were left out: mend them, or see why")
    yield from _classes(found)
    yield from _files(found)


SHORTCUTS = {
    "statistics": "brightness, noise and contrast alone distinguish the classes: compare how their images were made, "
    "and trust only a network that scores higher",
    "pca": "the score that a network has to beat: nas.retrain trains this baseline beside it",
}


def _axis(found: Audit) -> Finding:
    axis, objective = found.axis, "auc" if len(found.classes) > 1 else "mae"
    result = f"{axis.share:.2f} of {count(axis.images, 'image')} distinguished from turned copies (0.50: no axis)"
    advice = (
        f"a network can rely on the common axis: search with --objective {objective}_d4_worst, and train on turned and "
        "mirrored images (augmentation d4, as in the study hybrid)"
    )
    return Finding("preferred axis", result, advice if axis.found else "")


def _copies(found: Audit) -> Finding:
    c = found.copies
    if not c.exact + c.turned:
        return Finding("copies", "none")
    result = f"{c.exact:,} exact, {c.turned:,} turned or mirrored: {', '.join(' = '.join(pair) for pair in c.examples)}"
    if c.exact + c.turned > len(c.examples):
        result += ", ..."
    if c.across_splits:
        return Finding("copies", result, f"{c.across_splits:,} are in two splits: remove them from one")
    if c.across_classes:
        return Finding(
            "copies", result, f"{c.across_classes:,} are in two classes: remove one, unless the mirror decides"
        )
    return Finding("copies", result, "copies stay in one split; remove them if they are not meant")


def _missing(found: Audit) -> Finding:
    if not found.filled_images:
        return Finding("missing pixels", "none")
    result = f"{found.filled_pixels:,} in {count(found.filled_images, 'image')}, filled with the median"
    return Finding("missing pixels", result, "check that the classes do not differ in this")


def _classes(found: Audit) -> Iterator[Finding]:
    several = len(found.classes) > 1
    each = [
        f"{name} {'/'.join(str(found.images[split][k]) for split in SPLITS)}" for k, name in enumerate(found.classes)
    ]
    totals = "/".join(str(sum(found.images[split])) for split in SPLITS)
    listed = ", ".join(each) if 1 < len(each) <= MANY else f"{totals} images"
    lonely = ""
    if found.lonely:
        more = f" and {len(found.lonely) - 3} more" if len(found.lonely) > 3 else ""
        lonely = f"one object alone stands for {', '.join(found.lonely[:3])}{more}: add images, or use --folds 5"
    yield Finding("train/val/test", listed, lonely)
    if several:
        balance = "learn with --balance weights" if found.unbalanced else ""
        yield Finding(
            "class balance", f"the largest class has {found.imbalance:.1f} times the smallest's images", balance
        )


def _files(found: Audit) -> Iterator[Finding]:
    telling = [each for each in found.properties if each.found]
    for each in telling[:SHOWN]:
        yield Finding(
            "files",
            f"{each.name} distinguishes {each.of} from the others, AUC {each.auc:.2f}",
            "check that all classes were made and stored in the same way",
        )
    if len(telling) > SHOWN:
        yield Finding("files", f"{len(telling) - SHOWN} more properties do, see --json", "as above")
    if found.properties and not telling:
        best = found.properties[0]
        yield Finding("files", f"none distinguishes the classes; best: {best.name}, AUC {best.auc:.2f}")


def _some(some: Some) -> str:
    if not some.count:
        return "none"
    return f"{some.count:,} ({', '.join(some.examples)}{', ...' * (some.count > len(some.examples))})"
