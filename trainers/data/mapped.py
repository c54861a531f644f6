"""Images in a file that memory cannot hold, read in random order: each image, without its neighbours."""

from __future__ import annotations

import mmap
import os
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from trainers.data.dataset import Images

SHARE = 0.5  # of the machine's memory; a smaller file stays in it after the first epoch


class Mapped:
    """The images (N, C, H, W) of a `.npy` file.

    A page fault makes the kernel read ahead, five times as much as scattered images have. Here it does not, and is told
    of all images of a batch at once, so that it reads them side by side.
    """

    def __init__(self, array: np.memmap) -> None:
        assert isinstance(array.base, mmap.mmap)
        self._map: mmap.mmap = array.base
        self._map.madvise(mmap.MADV_RANDOM)
        self._start: int = array.offset % mmap.ALLOCATIONGRANULARITY  # of the first image in the map
        self._bytes: int = array[:1].nbytes
        self._images: Tensor = torch.from_numpy(array)
        self.shape, self.dtype, self.device = self._images.shape, self._images.dtype, self._images.device

    def __len__(self) -> int:
        return len(self._images)

    def __getitem__(self, index: Tensor | slice) -> Tensor:
        rows = range(*index.indices(len(self))) if isinstance(index, slice) else index.tolist()
        for row in rows:
            begin = self._start + row * self._bytes
            page = begin // mmap.PAGESIZE * mmap.PAGESIZE
            self._map.madvise(mmap.MADV_WILLNEED, page, begin + self._bytes - page)
        return self._images[index]


def map_images(file: Path) -> Images:
    """The images of a `.npy` file, mapped and not read."""
    # "c" is a private, writable view: nobody can damage the file, and torch does not warn as about a read-only one.
    array = np.load(file, mmap_mode="c")
    large = array.nbytes > SHARE * os.sysconf("SC_PHYS_PAGES") * mmap.PAGESIZE
    return Mapped(array) if large and hasattr(mmap, "MADV_RANDOM") else torch.from_numpy(array)
