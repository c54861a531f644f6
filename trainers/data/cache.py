"""Data sets built once and then mapped: `.npy` files in a folder that is named by the hash of its key.

Several processes may ask at once, and any of them may die at any moment. A file lock lets one build, in a folder beside
the final one, and a rename publishes the whole. Readers need no lock.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
import shutil
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from trainers.data.dataset import Dataset, Split
from trainers.data.mapped import map_images
from trainers.errors import NO_ROOM, TrainingError
from trainers.lock import acquire, locked

FORMAT = 2
"""Part of every key. Raise it when the files change, or what the same parameters make of them."""

SPLITS = ("train", "val", "test")


def default_root() -> Path:
    """`$NAS_CACHE`, or `~/.cache/nas-lensing`."""
    given = os.environ.get("NAS_CACHE") or "~/.cache/nas-lensing"
    try:
        return Path(given).expanduser()
    except RuntimeError as error:
        raise TrainingError(f"the cache {given} has no home folder ({error}); set NAS_CACHE to a folder") from error


def place(name: str, key: Mapping[str, Any], root: Path | None = None) -> Path:
    """Where the folder for `key` is, or would be."""
    root = default_root() if root is None else root
    digest = hashlib.sha256(json.dumps({"format": FORMAT, **key}, sort_keys=True).encode()).hexdigest()[:20]
    return root / f"{name}-{digest}"


def cached(name: str, key: Mapping[str, Any], build: Callable[[Path], None], root: Path | None = None) -> Path:
    """The folder for `key`, which is plain JSON. Unless it exists, `build(folder)` fills it."""
    return published(place(name, key, root), build)


def published(final: Path, build: Callable[[Path], None]) -> Path:
    """The folder `final`. Unless it exists, `build(folder)` fills it.

    `build` finds an empty folder, or what a process that was killed while building the same has left there.
    """
    root = final.parent
    lock = root / f".{final.name}.lock"
    try:
        if final.exists():
            return final
        root.mkdir(parents=True, exist_ok=True)
        held = acquire(lock)
    except OSError as error:
        raise TrainingError(
            f"cannot write to the cache {root} ({error.strerror}); set NAS_CACHE to another folder"
        ) from error
    try:
        if final.exists():
            return final
        scratch = root / f".{final.name}.building"
        remove_abandoned(root)
        scratch.mkdir(exist_ok=True)  # ours alone, since we hold the lock
        try:
            build(scratch)
            _to_disk(scratch)
            os.replace(scratch, final)
        except Exception:  # not an interrupt, after which the next process resumes
            shutil.rmtree(scratch, ignore_errors=True)
            lock.unlink(missing_ok=True)  # while it is held
            raise
    finally:
        os.close(held)
    return final


def _to_disk(folder: Path) -> None:
    """Wait until the files are on the disk: a power cut may otherwise leave their folder's new name without them."""
    for file in folder.iterdir():
        if file.is_file():
            with file.open("rb") as opened:
                os.fsync(opened.fileno())


def remove_abandoned(root: Path) -> None:
    """Delete what killed processes left behind and nobody resumed for a day, as when the files have changed since."""
    for scratch in root.glob(".*.building"):
        with suppress(OSError):  # another process has finished it, or is at work on it, or it is another user's
            newest = max(path.stat().st_mtime for path in (scratch, *scratch.rglob("*")))
            if time.time() - newest > 86400:
                with locked(scratch.with_suffix(".lock"), wait=False):
                    shutil.rmtree(scratch)


def allocate(folder: Path, split: str, images: tuple[int, ...], dtype: np.dtype, again: bool = False) -> np.memmap:
    """A new memory map for one split's images (N, C, H, W); with `again` the existing one, to be filled further.

    TrainingError if the disk has no room for it.
    """
    file = folder / f"{split}.images.npy"
    if again:
        return np.lib.format.open_memmap(file, mode="r+", dtype=dtype, shape=images)
    file.unlink(missing_ok=True)  # of an earlier pass, or of a killed process: its room is ours
    check_room(folder, f"the {split} images", images, dtype)
    try:
        pixels = np.lib.format.open_memmap(file, mode="w+", dtype=dtype, shape=images)
        reserve(file)
    except OSError as error:
        if error.errno not in NO_ROOM:
            raise
        raise _no_room(folder, f"the {split} images", images, dtype) from error
    return pixels


def check_room(folder: Path, what: str, images: tuple[int, ...], dtype: np.dtype) -> None:
    """Raise TrainingError if the disk has no room for images (N, C, H, W)."""
    if math.prod(images) * dtype.itemsize > shutil.disk_usage(folder).free:
        raise _no_room(folder, what, images, dtype)


def _no_room(folder: Path, what: str, images: tuple[int, ...], dtype: np.dtype) -> TrainingError:
    size, free = math.prod(images) * dtype.itemsize, shutil.disk_usage(folder).free
    return TrainingError(
        f"{what} need {size / 1e9:.3g} GB and {folder.parent} has {free / 1e9:.3g} GB free; "
        "make room, or set NAS_CACHE to a folder on another disk"
    )


def reserve(file: Path) -> None:
    """Take the room of a sparse file on the disk. A map that finds it full later kills the process without a word."""
    if hasattr(os, "posix_fallocate"):
        with file.open("r+b") as opened:
            os.posix_fallocate(opened.fileno(), 0, file.stat().st_size)


def recognised(folder: Path) -> str | None:
    """The line that says what was recognised in the source of the data set in `folder`."""
    return json.loads((folder / "manifest.json").read_text()).get("recognised")


def finish(
    folder: Path,
    labels: Mapping[str, np.ndarray],
    targets: Mapping[str, Mapping[str, np.ndarray]],
    manifest: Mapping[str, Any],
    objects: Mapping[str, Sequence[str]] | None = None,
) -> None:
    """Write each split's labels and targets beside its images, and the manifest, which must name `classes`.

    objects: what each image shows, by any name; images of one object must never be on both sides of a split.
    """
    images = {}
    numbers = {key: n for n, key in enumerate(sorted({key for keys in (objects or {}).values() for key in keys}))}
    for split in SPLITS:
        if objects is not None:
            np.save(folder / f"{split}.objects.npy", np.array([numbers[key] for key in objects[split]], dtype=np.int64))
        np.save(folder / f"{split}.labels.npy", np.asarray(labels[split], dtype=np.int64))
        for target, values in targets[split].items():
            np.save(folder / f"{split}.{target}.npy", np.asarray(values, dtype=np.float64))
        mapped = np.load(folder / f"{split}.images.npy", mmap_mode="r")
        per_class = np.bincount(labels[split], minlength=len(manifest["classes"])).tolist()
        images[split] = {"shape": mapped.shape, "dtype": str(mapped.dtype), "per_class": per_class}
    versions = {"numpy": np.__version__, "torch": torch.__version__}
    record = {"format": FORMAT, **manifest, "images": images, "targets": sorted(targets["train"]), "versions": versions}
    (folder / "manifest.json").write_text(json.dumps(record, indent=2) + "\n")


def open_dataset(name: str, folder: Path) -> Dataset:
    """The data set in `folder`. Its images are mapped, not read, and processes share their pages."""
    manifest = json.loads((folder / "manifest.json").read_text())

    def tensor(file: str) -> Tensor:
        return torch.from_numpy(np.load(folder / file, mmap_mode="c"))  # "c" as in `map_images`

    train, val, test = (
        Split(
            images=map_images(folder / f"{split}.images.npy"),
            labels=tensor(f"{split}.labels.npy"),
            targets={target: tensor(f"{split}.{target}.npy") for target in manifest["targets"]},
            objects=tensor(f"{split}.objects.npy") if (folder / f"{split}.objects.npy").exists() else None,
        )
        for split in SPLITS
    )
    channels = tuple(manifest.get("channels", ()))
    fit = manifest.get("reading", {}).get("fit")
    return Dataset(name, tuple(manifest["classes"]), train, val, test, channels, fit, folder)
