"""All that a retraining found, as data."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nas.retraining.scores import Certainty, Scores, Size
from nas.run_folder import RunFolder

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class Retrained:
    """The best configurations of a study, trained again; `to_dict` of it is retrain.json."""

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
    run: RunFolder

    @property
    def best(self) -> Path:
        """The folder of the exported model that was the best by validation; `nas.load_model` reads it."""
        return self.run.best_model

    @property
    def models(self) -> dict[int, Path]:
        """The folder of each configuration's exported model, by trial, best first."""
        return {scores.trial: self.run.model(scores.trial) for scores in self.configurations}

    def frame(self) -> pd.DataFrame:
        """A row for each network, indexed by trial and seed: its metrics on the test images."""
        import pandas as pd

        rows = [
            {"trial": scores.trial, "seed": seed, **metrics}
            for scores in self.configurations
            for seed, metrics in zip(scores.seeds, scores.test, strict=True)
        ]
        return pd.DataFrame(rows).set_index(["trial", "seed"])

    def to_dict(self) -> dict[str, Any]:
        record = asdict(self)
        del record["run"]
        return record
