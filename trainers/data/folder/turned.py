"""Images that are copies of each other, turned by quarters or mirrored, pixel for pixel."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import lru_cache

import numpy as np


def symmetries(image: np.ndarray) -> Iterator[np.ndarray]:
    """The eight views of a square image (..., H, H)."""
    for quarters in range(4):
        turned = np.rot90(image, quarters, (-2, -1))
        yield turned
        yield turned.swapaxes(-2, -1)


@lru_cache(8)
def weights(channels: int, side: int) -> np.ndarray:
    """Random numbers (channels, side, side), uint64, the same for a pixel in all eight symmetries."""
    numbers = np.random.default_rng(0).integers(2**64, size=(channels, side, side), dtype=np.uint64)
    return np.add.reduce(list(symmetries(numbers)))  # integers: equal however they are added


def invariant(image: np.ndarray) -> int:
    """A number that an image (C, H, H) shares with its turned and mirrored copies, and hardly ever with others.

    It is a weighted sum of the pixels' bits, modulo 2**64: a fraction of the cost of reading the image.
    """
    bits = image.view(f"u{image.dtype.itemsize}")
    return int((bits * weights(*image.shape[:2])).sum())


def canonical(image: np.ndarray) -> bytes:
    """A hash of an image (C, H, H) that only its turned and mirrored copies share."""
    return min(hashlib.sha256(np.ascontiguousarray(view).tobytes()).digest() for view in symmetries(image))


def turned_copies(
    invariants: Mapping[int, int], image: Callable[[int], np.ndarray], together: Sequence[str]
) -> list[tuple[int, int]]:
    """Pairs of images that are turned or mirrored copies of each other.

    `invariants` has that number of every image to be compared, and `image` reads one, (C, H, H): only those that may be
    copies, and whose keys in `together` do not yet say that they belong together.
    """
    alike: dict[int, list[int]] = defaultdict(list)
    for i, number in invariants.items():
        alike[number].append(i)
    pairs = []
    for group in alike.values():
        if len({together[i] for i in group}) > 1:
            first: dict[bytes, int] = {}
            pairs += [(j, i) for i in group if (j := first.setdefault(canonical(image(i)), i)) != i]
    return pairs
