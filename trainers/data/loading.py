"""Turns a source of images into a data set, which the cache keeps."""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Sequence
from dataclasses import asdict, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

from trainers.data import arrays
from trainers.data.cache import cached, default_root, open_dataset, place, recognised
from trainers.data.dataset import TARGETS, Dataset
from trainers.data.folder.convert import convert
from trainers.data.folder.image_file import READING
from trainers.data.folder.layouts import scan
from trainers.data.simulated.chunks import write_simulation
from trainers.data.simulated.population import NOTES
from trainers.data.source import Arrays, Folder, Function, Simulated, Source
from trainers.data.splits import SHARES
from trainers.errors import TrainingError
from trainers.plain import plain
from trainers.user_module import UserFunction


def load(source: Source, *, progress: bool = True, cache: Path | None = None, partial: bool = False) -> Dataset:
    """The data set of `source`, made on first use and mapped from the cache afterwards.

    `cache` is the folder of caches; by default `$NAS_CACHE`, or `~/.cache/nas-lensing`. A folder whose files have
    changed is converted anew, and a function whose file has changed is called again. With `progress`, one line on
    stderr says what was recognised, or what to know about a preset. With `partial`, a folder may lack what training
    needs: a train folder, classes, or images enough for every split. TrainingError if the source cannot be used.
    """
    line = None
    if isinstance(source, Simulated):
        folder, line = simulated(source, progress, cache), NOTES.get(source.preset)
    elif isinstance(source, Folder):
        folder = converted(source, progress, cache, partial)
    elif isinstance(source, Function):
        folder = called(source, progress, cache)
    else:
        folder = place("arrays", source.key(), cache)
        if not folder.exists():
            raise TrainingError(
                f"the cache {folder.parent} no longer holds the arrays {source.digest}, or not with image_size "
                f"{source.image_size} and seed {source.seed}; give the arrays again (from_arrays)"
            )
    if progress and (line := line or recognised(folder)):
        print(plain(line), file=sys.stderr, flush=True)
    return opened(source, folder)


def opened(source: Source, folder: Path) -> Dataset:
    """The data set of `source` that `load` has put into `folder`."""
    if isinstance(source, Simulated):
        name = f"simulated {source.preset}"
    elif isinstance(source, Folder):
        name = Path(source.path).name
    else:
        name = source.name if isinstance(source, Function) else "arrays"
    return open_dataset(name, folder)


def from_arrays(
    images: Any,
    labels: Any = None,
    *,
    image_size: int | None = None,
    seed: int = 0,
    split: str | Sequence[float] | None = None,
    cache: Path | None = None,
) -> Arrays:
    """Write arrays in memory to the cache and return the source that stands for them.

    Pass images and labels, or alone as `images` anything that a `Function` may return. `image_size`, `seed` and
    `split` are as in `Function`. `cache` is the folder of caches, as in `load`, which needs the same one. TrainingError
    if the arrays are no set of labelled images.
    """
    options = Arrays("", image_size, seed, split)  # type: ignore[arg-type] # refused before minutes go into the images
    content = arrays.gather(images if labels is None else (images, labels), "arrays")
    source = replace(options, digest=content.digest())

    def build(folder: Path) -> None:
        arrays.write(folder, content, source.image_size, source.seed, source.split or SHARES)

    cached("arrays", source.key(), build, cache)
    return source


def simulated(source: Simulated, progress: bool, cache: Path | None) -> Path:
    """The cache folder of simulated lenses."""
    population = source.population()
    size = {"images": source.images, "image_size": source.image_size, "seed": source.seed}
    key = {"population": asdict(population), "targets": TARGETS, "caustics": version("caustics"), **size}

    def build(folder: Path) -> None:
        write_simulation(folder, population, **size, title=source.preset, progress=progress)

    return cached("simulated", key, build, cache)


def converted(source: Folder, progress: bool, cache: Path | None, partial: bool) -> Path:
    """The cache folder of a folder of images."""
    listing = scan(Path(source.path), source.raw(), source.group, source.reading())
    if listing.fault and not partial:
        raise TrainingError(listing.fault)
    name = Path(source.path).name
    options: dict[str, Any] = {"image_size": source.image_size, "seed": source.seed, "skip_bad": source.skip_bad}
    if source.split:
        options["shares"] = source.split
    if partial and (listing.fault or not listing.divisible):
        options["whole"] = True
    drawn = f"{listing.root.resolve()}\0{source.seed}{source.split or ''}"
    where = hashlib.sha256(drawn.encode()).hexdigest()[:20]
    memory = (default_root() if cache is None else cache) / f".{name}-{where}.splits.json"

    def build(folder: Path) -> None:
        convert(folder, listing, **options, reading=source.reading(), memory=memory, progress=progress)

    reading = {"version": READING, **asdict(source.reading())}
    return cached(name, {"files": listing.fingerprint(), **options, "reading": reading}, build, cache)


def called(source: Function, progress: bool, cache: Path | None) -> Path:
    """The cache folder of a function's images."""
    function = UserFunction(source.name, "function")
    key = {"source": function.digest(), "reading": READING, **asdict(source)}
    if source.split is None:
        del key["split"]  # as in keys of before there was this option

    def build(folder: Path) -> None:
        if progress:
            print(f"Calling {source.name}", file=sys.stderr, flush=True)
        content = arrays.gather(function(), source.name)
        arrays.write(folder, content, source.image_size, source.seed, source.split or SHARES)

    return cached(source.name.replace(":", "."), key, build, cache)
