"""Where images come from, as data, and `load`, which turns it into a data set."""

from __future__ import annotations

import hashlib
import os
import sys
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from trainers.data.cache import cached, default_root, open_dataset, recognised
from trainers.data.dataset import Dataset
from trainers.data.folder.convert import convert
from trainers.data.folder.listing import scan
from trainers.data.folder.stack import Raw
from trainers.data.simulated.chunks import write_simulation
from trainers.data.simulated.population import Population, preset, with_snr


@dataclass(frozen=True)
class Simulated:
    """Lenses of three classes from the simulator, split 70:15:15 into train, val and test.

    A larger `images` keeps all images of a smaller one, each in its split; `image_size` changes the pixel, not the
    field of view.
    """

    preset: str = "fair"
    images: int = 4000
    image_size: int = 64
    seed: int = 0
    snr: float | None = None  # of the brightest pixel, in place of the preset's own exposure; None: the preset's

    def __post_init__(self) -> None:
        self.population()
        if self.images < 21:
            raise ValueError(f"images is {self.images}; expected at least 21, for every class in every split")
        if self.image_size < 8:
            raise ValueError(f"image_size is {self.image_size}; expected at least 8 pixels")
        if self.seed < 0:
            raise ValueError(f"seed is {self.seed}; expected 0 or more")

    def population(self) -> Population:
        return preset(self.preset) if self.snr is None else with_snr(preset(self.preset), self.snr)


@dataclass(frozen=True)
class Folder:
    """A folder of images in any layout of `trainers.data.listing`, which is recognised."""

    path: str  # made absolute, so that a record of it means the same to a worker elsewhere
    image_size: int | None = None  # None: as stored; otherwise resized, antialiased, at conversion
    seed: int = 0  # of the split, where the folder has none of its own
    skip_bad: bool = False  # leave out, and record, images that cannot be read instead of refusing the folder
    raw_shape: tuple[int, ...] | None = None  # of one image, (H, W) or (C, H, W), in arrays without a header
    raw_dtype: str | None = None  # of such arrays, as numpy calls it: "float32"

    def __post_init__(self) -> None:
        object.__setattr__(self, "path", os.path.abspath(Path(self.path).expanduser()))
        if self.image_size is not None and self.image_size < 8:
            raise ValueError(f"image_size is {self.image_size}; expected at least 8 pixels, or none to keep the size")
        if self.raw_shape is not None:
            object.__setattr__(self, "raw_shape", tuple(self.raw_shape))  # a list in JSON
        if (self.raw_shape is None) != (self.raw_dtype is None):
            raise ValueError("arrays without a header need both raw_shape and raw_dtype; one of them is missing")
        if self.raw_shape is not None and not (len(self.raw_shape) in (2, 3) and min(self.raw_shape) > 0):
            raise ValueError(f"raw_shape is {self.raw_shape}; expected the (H, W) or (C, H, W) of one image")
        if self.raw_dtype is not None and not numeric(self.raw_dtype):
            raise ValueError(f"raw_dtype is {self.raw_dtype!r}; expected a number type such as float32 or uint8")

    def raw(self) -> Raw | None:
        return Raw(self.raw_shape, self.raw_dtype) if self.raw_shape and self.raw_dtype else None


def numeric(dtype: str) -> bool:
    try:
        return np.dtype(dtype).kind in "biuf"
    except TypeError:
        return False


Source = Simulated | Folder
KINDS: dict[str, type[Simulated] | type[Folder]] = {"simulated": Simulated, "folder": Folder}


def source_to_dict(source: Source) -> dict[str, Any]:
    """A plain JSON object from which `source_from_dict` rebuilds the source."""
    kind = next(kind for kind, cls in KINDS.items() if isinstance(source, cls))
    return {"kind": kind, **asdict(source)}


def source_from_dict(record: dict[str, Any]) -> Source:
    """Inverse of `source_to_dict`; ValueError for an unknown kind or key."""
    fields = dict(record)
    kind = fields.pop("kind", None)
    if kind not in KINDS:
        raise ValueError(f"unknown kind of data {kind!r}; known: {', '.join(KINDS)}")
    known = KINDS[kind].__dataclass_fields__
    if unknown := sorted(set(fields) - set(known)):
        raise ValueError(f"unknown key {unknown[0]!r} for {kind} data; known: {', '.join(known)}")
    return KINDS[kind](**fields)


def load(source: Source, *, progress: bool = True, cache: Path | None = None) -> Dataset:
    """The data set of `source`, simulated or converted on first use and mapped from the cache ever after.

    `cache` is the folder of caches; by default `$NAS_CACHE`, or `~/.cache/nas-lensing`. A folder of images whose files
    changed is converted anew. With `progress`, what was recognised in it is said in one line on stderr.
    """
    if isinstance(source, Simulated):
        population = source.population()
        size = {"images": source.images, "image_size": source.image_size, "seed": source.seed}
        key = {"population": asdict(population), **size}

        def simulate(folder: Path) -> None:
            write_simulation(folder, population, **size, title=source.preset, progress=progress)

        return open_dataset(f"simulated {source.preset}", cached("simulated", key, simulate, cache))

    listing = scan(Path(source.path), source.raw())
    name = Path(source.path).name
    options: dict[str, Any] = {"image_size": source.image_size, "seed": source.seed, "skip_bad": source.skip_bad}
    where = hashlib.sha256(f"{listing.root.resolve()}\0{source.seed}".encode()).hexdigest()[:20]
    memory = (default_root() if cache is None else cache) / f".{name}-{where}.splits.json"

    def build(folder: Path) -> None:
        convert(folder, listing, **options, memory=memory, progress=progress)

    folder = cached(name, {"files": listing.fingerprint(), **options}, build, cache)
    if progress:
        print(recognised(folder), file=sys.stderr, flush=True)
    return open_dataset(name, folder)
