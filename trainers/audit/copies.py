"""Images that show the same pixels, also turned by quarters or mirrored, as they are stored after any resizing."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate

import torch
from torch import Tensor

from trainers.audit.pixels import EXAMPLES, Pixels, standardised
from trainers.data import Split
from trainers.evaluate import SYMMETRIES, turned

CLOSE = 1e-3
"""Standard deviations by which the pixels of copies may differ. Resizing rounds; noise of any other image is larger."""


@dataclass(frozen=True)
class Copies:
    """The number of images that copy another one of their set. Constant images do not count."""

    exact: int
    turned: int  # by quarters, or mirrored
    across_classes: int  # of both kinds
    across_splits: int
    examples: tuple[tuple[str, str], ...] = ()  # pairs of names, first of those across classes


def find_copies(splits: Sequence[Split], pixels: Pixels, names: Sequence[str]) -> Copies:
    """Look for copies in all splits. `pixels` and `names` have their images in the order of the splits."""
    starts = [0, *accumulate(map(len, splits))]
    labels = torch.cat([split.labels for split in splits]).tolist()
    side = [k for k, split in enumerate(splits) for _ in range(len(split))]

    def image(i: int) -> Tensor:
        k = side[i]
        return standardised(splits[k].images[i - starts[k] : i - starts[k] + 1])[0]

    sums, constant = pixels.sums, pixels.constant.tolist()
    tolerance = CLOSE * splits[0].images[:1].numel() ** 0.5
    originals: deque[int] = deque()  # whose first sum is close to that of the image at hand
    pairs: list[tuple[int, int, bool]] = []
    for i in sums[:, 0].argsort(stable=True).tolist():
        if constant[i]:
            continue
        while originals and sums[i, 0] - sums[originals[0], 0] > tolerance:
            originals.popleft()
        for j in originals:
            if abs(sums[i, 1] - sums[j, 1]) <= tolerance and (how := alike(image(j), image(i))):
                pairs.append((min(i, j), max(i, j), how == "turned"))
                break
        else:
            originals.append(i)
    across = [(j, i) for j, i, _ in pairs if labels[j] != labels[i]]
    shown = across + sorted((j, i) for j, i, _ in pairs if labels[j] == labels[i])
    of_turned = sum(is_turned for *_, is_turned in pairs)
    return Copies(
        exact=len(pairs) - of_turned,
        turned=of_turned,
        across_classes=len(across),
        across_splits=sum(side[j] != side[i] for j, i, _ in pairs),
        examples=tuple((names[j], names[i]) for j, i in shown[:EXAMPLES]),
    )


def alike(one: Tensor, other: Tensor) -> str:
    """`exact`, `turned`, or nothing, for two standardised images (C, S, S)."""
    if same(one, other):
        return "exact"
    return "turned" if any(same(turned(one[None], k)[0], other) for k in SYMMETRIES) else ""


def same(one: Tensor, other: Tensor) -> bool:
    return bool((one - other).abs().max() < CLOSE)
