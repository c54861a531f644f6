"""How long the first and second use of a folder take, and how much memory: is conversion bound by the disk?

    python benchmarks/conversion.py [--folder ../shared/data/lenses] [--files 30000] [--size 150]

Converts the folder (4,000 JPEGs) and `--files` float64 `.npy` files written for the purpose. Each conversion runs in a
fresh process, which shows its peak of anonymous memory (mapped files do not count, since the kernel may drop them at
any time). For comparison, the time that `cat` takes to read the same files and `cp` to write the resulting array.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

CONVERT = """
import sys, threading, time
from pathlib import Path
from trainers.data import Folder, load

def anonymous():
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("RssAnon")) / 1024

before, peak = anonymous(), 0.0
done = threading.Event()

def watch():
    global peak
    while not done.wait(0.05):
        peak = max(peak, anonymous())

threading.Thread(target=watch).start()
times = []
for _ in range(2):
    start = time.perf_counter()
    data = load(Folder(sys.argv[1]), progress=False, cache=Path(sys.argv[2]))
    times.append(time.perf_counter() - start)
done.set()
print(f"first {times[0]:.2f} s, second {times[1]:.2f} s, memory +{peak - before:.0f} MB: {data.describe()}")
"""


def measure(folder: Path) -> None:
    with tempfile.TemporaryDirectory(dir=folder.parent if os.access(folder.parent, os.W_OK) else None) as cache:
        subprocess.run([sys.executable, "-c", CONVERT, str(folder), cache], check=True)
        start = time.perf_counter()
        subprocess.run(f"find {folder} -type f -print0 | xargs -0 cat > /dev/null", shell=True, check=True)
        read = time.perf_counter() - start
        start = time.perf_counter()
        array = next(Path(cache).glob("*/train.images.npy"))
        subprocess.run(f"cp {array} {cache}/copy && sync {cache}/copy", shell=True, check=True)
        write, size = time.perf_counter() - start, array.stat().st_size / 1e9
        print(f"    cat of the files {read:.2f} s; cp and sync of the {size:.2f} GB array {write:.2f} s")


def write_files(folder: Path, files: int, size: int) -> None:
    rng = np.random.default_rng(0)
    image = rng.random((1, size, size))
    for i in range(files):
        label = folder / ("no", "sphere", "vort")[i % 3]
        if i < 3:
            label.mkdir(parents=True)
        image[0, 0, 0] = i
        np.save(label / f"{i}.npy", image)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, default=Path(__file__).resolve().parents[2] / "shared/data/lenses")
    parser.add_argument("--files", type=int, default=30_000)
    parser.add_argument("--size", type=int, default=150)
    args = parser.parse_args()
    if args.folder.is_dir():
        measure(args.folder)
    with tempfile.TemporaryDirectory() as scratch:
        write_files(Path(scratch) / "data", args.files, args.size)
        measure(Path(scratch) / "data")


if __name__ == "__main__":
    main()
