"""What the audit finds in real images, and what it costs on one core.

    OMP_NUM_THREADS=1 python benchmarks/audit.py [--folder ../shared/data] [--image-size 64]

A row for every folder. Processor time is of the conversion, and of the audit after it.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path

import torch

from trainers.audit import audit
from trainers.data import Folder, load

HEAD = (
    "folder", "images", "axis", "statistics", "PCA", "copies", "saturated", "filled", "files", "conversion", "audit",
)  # fmt: skip


def main() -> None:
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--folder", type=Path, default=Path(__file__).resolve().parents[2] / "shared/data")
    p.add_argument("--image-size", type=int, default=64)
    args = p.parse_args()
    torch.set_num_threads(1)
    print(f"| {' | '.join(HEAD)} |\n|{'---|' * len(HEAD)}", flush=True)
    for folder in sorted(path for path in args.folder.iterdir() if path.is_dir()):
        with tempfile.TemporaryDirectory() as cache:
            start = time.process_time()
            data = load(Folder(str(folder), image_size=args.image_size), progress=False, cache=Path(cache))
            converted = time.process_time()
            found = audit(data)
            end = time.process_time()
        images = sum(map(sum, found.images.values()))
        trees = [f"**{s.auc:.2f}**" if s.found else f"{s.auc:.2f}" for s in found.shortcuts.values()] or ["–"] * 2
        axis = f"**{found.axis.share:.2f}**" if found.axis.found else f"{found.axis.share:.2f}"
        files = ", ".join(f"{each.name} {each.auc:.2f}" for each in found.properties if each.found) or "–"
        row = [
            folder.name, f"{images:,}", axis, *trees, str(found.copies.exact + found.copies.turned),
            str(found.saturated.count), str(found.filled_images), files,
            f"{converted - start:.1f} s", f"{end - converted:.1f} s",
        ]  # fmt: skip
        print(f"| {' | '.join(row)} |", flush=True)


if __name__ == "__main__":
    main()
