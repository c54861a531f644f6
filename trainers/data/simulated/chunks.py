"""A simulated data set: chunks of images, each a pure function of (population, image size, seed, chunk number).

Image i does not depend on the number of threads or of images: a larger set begins with the smaller one, and no image
changes its split when the set grows. Classes alternate, so any number of images is balanced.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path

import numpy as np
import torch

from trainers.data.cache import SPLITS, allocate, check_room, finish
from trainers.data.cores import cores
from trainers.data.dataset import TARGETS
from trainers.data.progress import progress_bar
from trainers.data.simulated.camera import expose, stored_dtype
from trainers.data.simulated.population import CLASSES, Population
from trainers.data.simulated.systems import draw

CHUNK = 60
"""Images drawn together, a multiple of the number of classes. It is part of the definition of image i, not a knob."""


def simulate_chunk(
    population: Population, image_size: int, seed: int, chunk: int
) -> tuple[np.ndarray, np.ndarray, dict[str, np.ndarray]]:
    """Images (60, H, W) as the camera stores them, labels (60,) and targets (60,) of chunk number `chunk`."""
    from trainers.data.simulated.lensing import noiseless  # caustics takes a second to import: only if needed

    rng = np.random.default_rng([seed, chunk])
    images = np.empty((CHUNK, image_size, image_size), dtype=stored_dtype(population))
    targets = {name: np.empty(CHUNK) for name in TARGETS}
    for index, label in enumerate(CLASSES):
        systems = draw(population, label, CHUNK // len(CLASSES), rng)
        mine = slice(index, None, len(CLASSES))
        images[mine] = expose(population, noiseless(population, systems, image_size), rng)
        for name in TARGETS:
            targets[name][mine] = getattr(systems, name)
    return images, np.arange(CHUNK) % len(CLASSES), targets


def split_of(images: int) -> np.ndarray:
    """The split of each image, (images,): 0 train, 1 val, 2 test, in the ratio 70:15:15 by whole rounds of classes."""
    places = np.arange(images) // len(CLASSES) % 20
    return np.select([np.isin(places, (3, 9, 15)), np.isin(places, (6, 12, 18))], [1, 2], default=0)


@contextmanager
def one_torch_thread() -> Iterator[None]:
    """Run torch on one thread while threads simulate chunks, so that rounding does not depend on the machine.

    Threads suffice: the arithmetic releases the interpreter, and a process would take longer to import torch than it
    saves.
    """
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def for_each_chunk(run: Callable[[int], int], images: int, title: str, progress: bool) -> None:
    """Call `run`, which returns a count of images, with each chunk's number, on all cores that this process may use."""
    with one_torch_thread(), progress_bar(title, images, progress) as advance, ThreadPoolExecutor(cores()) as pool:
        for count in pool.map(run, range(-(-images // CHUNK))):
            advance(count)


def write_simulation(
    folder: Path, population: Population, images: int, image_size: int, seed: int, *, title: str, progress: bool = True
) -> None:
    """Simulate into the cache folder `folder`, on all cores that this process may use."""
    for left in folder.iterdir():  # by a killed process
        left.unlink()
    check_room(folder, f"{images} images", (images, 1, image_size, image_size), stored_dtype(population))
    split = split_of(images)
    row = np.empty(images, dtype=np.int64)  # place within the split
    pixels = {}
    for s, name in enumerate(SPLITS):
        row[split == s] = np.arange((split == s).sum())
        pixels[name] = allocate(
            folder, name, (int((split == s).sum()), 1, image_size, image_size), stored_dtype(population)
        )
    labels = np.empty(images, dtype=np.int64)
    targets = {name: np.empty(images) for name in TARGETS}

    def run(chunk: int) -> int:
        here = np.arange(chunk * CHUNK, min((chunk + 1) * CHUNK, images))
        chunk_images, chunk_labels, chunk_targets = simulate_chunk(population, image_size, seed, chunk)
        for s, name in enumerate(SPLITS):
            mine = split[here] == s
            pixels[name][row[here[mine]], 0] = chunk_images[: len(here)][mine]
        labels[here] = chunk_labels[: len(here)]
        for name in TARGETS:
            targets[name][here] = chunk_targets[name][: len(here)]
        return len(here)

    for_each_chunk(run, images, f"Simulating {images} lenses ({title})", progress)
    finish(
        folder,
        labels={name: labels[split == s] for s, name in enumerate(SPLITS)},
        targets={name: {t: targets[t][split == s] for t in TARGETS} for s, name in enumerate(SPLITS)},
        manifest={
            "classes": CLASSES,
            "population": asdict(population),
            "simulated": {"images": images, "image_size": image_size, "seed": seed, "caustics": version("caustics")},
        },
    )
