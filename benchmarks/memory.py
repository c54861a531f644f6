"""Whether the memory of a training grows with its images.

    OMP_NUM_THREADS=1 python benchmarks/memory.py --images 2000 20000 60000

Writes images of 64 pixels, all in one `.npy` file, and trains the smallest convolutional network for one epoch on each,
in a process of its own as a worker does. Memory that is the process's own is what a worker costs. Pages of the data's
file are the kernel's: all workers share them, and they give way when memory is short.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import tempfile
from pathlib import Path

import numpy as np
from throughput import architecture

SIZE = 64


def write(folder: Path, images: int) -> None:
    folder.mkdir(parents=True)
    rng = np.random.default_rng(0)
    stack = np.lib.format.open_memmap(folder / "images.npy", "w+", np.float32, (images, 1, SIZE, SIZE))
    for start in range(0, images, 1000):
        stack[start : start + 1000] = rng.standard_normal(stack[start : start + 1000].shape, np.float32)
    np.save(folder / "labels.npy", np.arange(images) % 2)


def status(name: str) -> float:
    """MB, by Linux, which counts in kB of 1,024 bytes."""
    text = Path("/proc/self/status").read_text()
    return int(text.split(f"{name}:")[1].split()[0]) * 1024 / 1e6


def train(folder: Path) -> tuple[float, float, float]:
    """MB of its own before the epoch and after it, and of files after it, libraries included."""
    import torch

    from search_space import build_model
    from trainers import tasks
    from trainers.config import NO_AUGMENTATION, TrainConfig
    from trainers.data import Folder, load
    from trainers.fit import fit

    torch.set_num_threads(1)
    data = load(Folder(str(folder)), progress=False)
    model = build_model(architecture("conv"), in_chans=1, image_size=SIZE, num_outputs=2)
    task = tasks.create("substructure", data)
    before = status("RssAnon")
    config = TrainConfig(epochs=1, batch_size=64, warmup_epochs=0, augmentation=NO_AUGMENTATION)
    for _ in fit(model, data.train, task, config, seed=0, val=data.val):
        pass
    return before, status("RssAnon"), status("RssFile") + status("RssShmem")


def convert(folder: Path) -> None:
    from trainers.data import Folder, load

    load(Folder(str(folder)), progress=False)


def main() -> None:
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--images", type=int, nargs="+", default=[2000, 20000, 60000])
    args = p.parse_args()
    spawn = multiprocessing.get_context("spawn")
    print(f"{'images':>8}{'their MB':>10}{'own before':>12}{'own after':>11}{'files':>8}   MB")
    for images in args.images:
        with tempfile.TemporaryDirectory() as scratch:
            os.environ["NAS_CACHE"] = str(Path(scratch) / "cache")
            write(Path(scratch) / "data", images)
            with spawn.Pool(1) as pool:
                pool.apply(convert, (Path(scratch) / "data",))
            with spawn.Pool(1) as pool:
                before, after, files = pool.apply(train, (Path(scratch) / "data",))
            size = images * SIZE**2 * 4 / 1e6
            print(f"{images:8}{size:10.0f}{before:12.0f}{after:11.0f}{files:8.0f}", flush=True)


if __name__ == "__main__":
    main()
