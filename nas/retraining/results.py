"""All that a retraining found, as data."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from nas.retraining.scores import Certainty, Scores, Size


@dataclass(frozen=True)
class Results:
    """All that a retraining found; `dataclasses.asdict` of it is retrain.json."""

    study: str
    question: str
    objective: str
    data: Mapping[str, Any]  # source, and the number of images to "train" on, of which "splits", and to "test"
    task: str
    classes: tuple[str, ...]
    epochs: int
    finished: int  # trials of the search
    configurations: tuple[Scores, ...]  # best first, by the search's validation value
    certainty: tuple[Certainty, ...]  # of each
    sizes: tuple[Size, ...]  # small-data curves, where they were asked for
    quantity: str  # what is measured, with its unit; empty for classes
    failures: tuple[str, ...]
    overridden: Mapping[str, Any]  # of every training, instead of the search's own: sparsity, rewind
