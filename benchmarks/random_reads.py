"""How many bytes an epoch of random batches reads from the disk, if memory cannot hold the images.

    python benchmarks/random_reads.py [--images 40000] [--size 64]

Writes a file of float32 images, takes it out of memory, and reads a fifth of its images in random batches of 64, as
training does: by a plain memory map, and as `trainers.data.mapped` does for large files. Prints the bytes that the
kernel fetched for the process over those of the images, and the time.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from pathlib import Path

import numpy as np
import torch

from trainers.data.dataset import Images
from trainers.data.mapped import Mapped

BATCH = 64


def fetched() -> int:
    lines = dict(line.split(": ") for line in Path("/proc/self/io").read_text().splitlines())
    return int(lines["read_bytes"])


def forget(file: Path) -> None:
    with file.open("rb") as opened:
        os.fsync(opened.fileno())
        os.posix_fadvise(opened.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def main() -> None:
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--images", type=int, default=40_000)
    p.add_argument("--size", type=int, default=64)
    args = p.parse_args()
    with tempfile.TemporaryDirectory(dir=".") as folder:
        file = Path(folder) / "images.npy"
        array = np.lib.format.open_memmap(file, "w+", np.float32, (args.images, 1, args.size, args.size))
        for start in range(0, args.images, 1000):
            array[start : start + 1000] = start
        array.flush()
        del array
        order = torch.randperm(args.images, generator=torch.Generator().manual_seed(0))[: args.images // 5]
        for name in ("plain map", "mapped.py"):
            forget(file)
            array = np.load(file, mmap_mode="c")
            images: Images = torch.from_numpy(array) if name == "plain map" else Mapped(array)
            before, begin, wanted = fetched(), time.perf_counter(), 0
            for index in order.split(BATCH):
                wanted += images[index].nbytes
            spent, read = time.perf_counter() - begin, fetched() - before
            print(f"{name}: {read / 1e6:.0f} MB for {wanted / 1e6:.0f} MB ({read / wanted:.2f}) in {spent:.1f} s")
            del images, array


if __name__ == "__main__":
    main()
