"""Simulated lenses as files that other programs read.

    python -m trainers.data.simulate --preset deeplense-1 --images 3000 --out DIR

writes

    DIR/axion/axion_sim_<bits>.npy      [image, axion mass in eV], a pickled object array, where the mass is known
    DIR/cdm/cdm_sim_<bits>.npy          the image: (150, 150) int64 counts for deeplense-1, else float64
    DIR/no_sub/no_sub_sim_<bits>.npy

which is the layout of DeepLense's own Model I to III. <bits> is a random number of 128 bits that follows from the seed.

    python -m trainers.data.simulate --preset deeplense-1 --detectability

writes nothing and says how much of the substructure the noise leaves to be found.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from trainers.data.limits import IMAGES
from trainers.data.simulated.chunks import CHUNK, for_each_chunk, simulate_chunk
from trainers.data.simulated.population import CLASSES, NOTES, PRESETS
from trainers.data.source import Simulated
from trainers.errors import TrainingError


def write_files(source: Simulated, out: Path, *, progress: bool = True) -> None:
    """Write the images of `source` as single files below `out`. TrainingError unless `out` is new or empty."""
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise TrainingError(f"{out} exists and is not an empty folder; name a new one")
    for label in CLASSES:
        (out / label).mkdir(parents=True)
    population = source.population()

    def run(chunk: int) -> int:
        images, labels, targets = simulate_chunk(population, source.image_size, source.seed, chunk)
        names = np.random.default_rng([source.seed, chunk, 1])
        count = min(CHUNK, source.images - chunk * CHUNK)
        for i in range(count):
            bits = int.from_bytes(names.bytes(16), "big")
            label = CLASSES[labels[i]]
            image = images[i] if images.dtype.kind == "i" else images[i].astype(np.float64)
            mass = targets["axion_mass"][i]
            content = image
            if not np.isnan(mass):
                content = np.empty(2, dtype=object)
                content[:] = [image, np.float64(mass)]
            np.save(out / label / f"{label}_sim_{bits}.npy", content, allow_pickle=True)
        return count

    if progress and source.preset in NOTES:
        print(NOTES[source.preset], file=sys.stderr, flush=True)
    title = f"Writing {source.images} lenses ({source.preset}) to {out}"
    for_each_chunk(run, source.images, title, progress)


def main(arguments: Sequence[str] | None = None) -> None:
    """The command. It exits with status 2 and one line if it cannot do what is asked."""
    form = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser("python -m trainers.data.simulate", description=__doc__, formatter_class=form)
    parser.add_argument("--preset", default="fair", help=", ".join(sorted(PRESETS)))
    parser.add_argument("--images", type=int, help="number, a third of each class (default 4000; 150 to measure)")
    parser.add_argument("--image-size", type=int, help="side in pixels (default: the preset's own)")
    parser.add_argument("--snr", type=float, help="of the brightest pixel (default: the preset's own exposure)")
    parser.add_argument("--seed", type=int, default=0)
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("--out", type=Path, metavar="DIR", help="a new folder")
    what.add_argument("--detectability", action="store_true", help="measure instead of writing images")
    args = parser.parse_args(arguments)
    try:
        own = PRESETS[args.preset].pixels if args.preset in PRESETS else 64  # refused below
        size = own if args.image_size is None else args.image_size
        images = (IMAGES if args.detectability else 4000) if args.images is None else args.images
        source = Simulated(args.preset, images, size, args.seed, args.snr)
        if args.detectability:
            from trainers.data.simulated.detectability import detectability  # caustics takes a second to import

            found = detectability(source.population(), size, images, args.seed, progress=True)
            print(f"{args.preset}, {size} px: {found}")
        else:
            write_files(source, args.out)
    except (ValueError, OSError) as error:
        parser.exit(2, f"{parser.prog}: {error}\n")


if __name__ == "__main__":
    main()
