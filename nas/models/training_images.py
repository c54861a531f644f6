"""The images that a model was trained on, eight bytes each, by which an evaluation finds them among others."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from trainers.data import Images
from trainers.data.folder.turned import invariant

FILE = "trained_on.npy"  # in a model's folder; those of earlier versions have none
BATCH = 256


def digests(images: Images) -> np.ndarray:
    """A number (N,) uint64 for each of (N, C, H, H), of its pixels in float32.

    Images that are equal, turned by quarters or mirrored share it, whatever their file or dtype; others hardly ever do.
    """
    starts = range(0, len(images), BATCH)
    batches = (images[start : start + BATCH].cpu().to(torch.float32).numpy() for start in starts)
    return np.array([invariant(image) for batch in batches for image in batch], dtype=np.uint64)


def write(folder: Path, trained_on: np.ndarray) -> None:
    """Keep the digests of a model's training images in its folder."""
    np.save(folder / FILE, np.unique(trained_on))


def read(folder: Path) -> np.ndarray | None:
    """The digests in a model's folder; None if it has none."""
    return np.load(folder / FILE, allow_pickle=False) if (folder / FILE).exists() else None


def among(images: Images, trained_on: np.ndarray | None) -> Tensor:
    """Which of (N, C, H, H) the digests `trained_on` contain, (N,) bool; none if they are not known."""
    if trained_on is None:
        return torch.zeros(len(images), dtype=torch.bool)
    return torch.from_numpy(np.isin(digests(images), trained_on))
