"""What the noise leaves to be found in simulated images, measured once and kept in the cache."""

from __future__ import annotations

import json
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path

from trainers.data.cache import cached
from trainers.data.source import Simulated, Source

FILE = "detectability.json"
IMAGES = 150
"""Lenses that are measured: some ten seconds, and medians to about a seventh."""


def limit(source: Source, *, progress: bool = False, cache: Path | None = None) -> str:
    """One line on the signal of the substructure and an ideal classifier's AUC; empty unless images are simulated.

    It describes the population at this image size, so all numbers of images and seeds share it. `cache` is as in
    `load`.
    """
    if not isinstance(source, Simulated):
        return ""
    from trainers.data.simulated.detectability import Detectability, detectability  # caustics takes a second to import

    population, size = source.population(), source.image_size

    def build(folder: Path) -> None:
        found = detectability(population, size, IMAGES, progress=progress)
        (folder / FILE).write_text(json.dumps(asdict(found)) + "\n")

    how = {"detectability": IMAGES, "caustics": version("caustics")}
    key = {**how, "population": asdict(population), "image_size": size}
    folder = cached("detectability", key, build, cache)
    return str(Detectability(**json.loads((folder / FILE).read_text())))
