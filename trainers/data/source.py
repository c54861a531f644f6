"""Where images come from, as data, and `load`, which turns it into a data set."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from trainers.data.cache import cached, open_dataset
from trainers.data.dataset import Dataset
from trainers.data.folder import convert, scan
from trainers.data.population import preset
from trainers.data.simulate import write_simulation


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
    snr: float | None = None  # of the brightest pixel; None: the preset's

    def __post_init__(self) -> None:
        preset(self.preset)
        if self.images < 21:
            raise ValueError(f"images is {self.images}; expected at least 21, for every class in every split")
        if self.image_size < 8:
            raise ValueError(f"image_size is {self.image_size}; expected at least 8 pixels")
        if self.seed < 0:
            raise ValueError(f"seed is {self.seed}; expected 0 or more")
        if self.snr is not None:
            replace(preset(self.preset), snr=self.snr)


@dataclass(frozen=True)
class Folder:
    """A folder of class folders, with or without train, val and test folders above them."""

    path: str  # made absolute, so that a record of it means the same to a worker elsewhere
    image_size: int | None = None  # None: as stored; otherwise resized, antialiased, at conversion
    seed: int = 0  # of the split, where the folder has none of its own

    def __post_init__(self) -> None:
        object.__setattr__(self, "path", str(Path(self.path).expanduser().absolute()))
        if self.image_size is not None and self.image_size < 8:
            raise ValueError(f"image_size is {self.image_size}; expected at least 8 pixels, or none to keep the size")


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
    changed is converted anew.
    """
    if isinstance(source, Simulated):
        population = preset(source.preset)
        if source.snr is not None:
            population = replace(population, snr=source.snr)
        size = {"images": source.images, "image_size": source.image_size, "seed": source.seed}
        key = {"population": asdict(population), **size}
        name, title = "simulated", f"simulated {source.preset}"

        def build(folder: Path) -> None:
            write_simulation(folder, population, **size, title=source.preset, progress=progress)

    else:
        listing = scan(Path(source.path))
        key = {"files": listing.fingerprint(), "image_size": source.image_size, "seed": source.seed}
        name = title = Path(source.path).name

        def build(folder: Path) -> None:
            convert(folder, listing, source.image_size, source.seed, progress=progress)

    return open_dataset(title, cached(name, key, build, cache))
