"""The results of a retraining, as data."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nas.retraining.comparison import Baseline, Verdict
from nas.retraining.scores import Certainty, Scores, Size
from nas.run_folder import RunFolder

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class Retrained:
    """The best configurations of a study, trained again. `to_dict` gives the contents of retrain.json."""

    study: str
    question: str
    objective: str
    data: Mapping[str, Any]
    """The "source"; numbers of images, "train" and "test"; "splits", the splits trained on; "limit", what the noise of
    simulated images leaves to be found."""
    task: str
    classes: tuple[str, ...]
    epochs: int
    finished: int  # trials of the search
    configurations: tuple[Scores, ...]  # best first, by the search's validation value
    certainty: tuple[Certainty, ...]  # one per configuration
    sizes: tuple[Size, ...]  # trainings on fewer images, if any
    quantity: str  # the measured quantity with its unit; empty for classes
    failures: tuple[str, ...]
    overridden: Mapping[str, Any]  # options of every training that replace the search's own: sparsity, rewind
    run: RunFolder
    baselines: tuple[Baseline, ...] = ()  # in the order of the study
    verdicts: tuple[Verdict, ...] = ()  # one per configuration, if there are baselines

    @property
    def best(self) -> Path:
        """The folder of the best exported model by validation; `nas.load_model` reads it."""
        return self.run.best_model

    @property
    def models(self) -> dict[int, Path]:
        """trial -> folder of its exported model, best first."""
        return {scores.trial: self.run.model(scores.trial) for scores in self.configurations}

    def frame(self) -> pd.DataFrame:
        """One row per network, indexed by trial and seed: its metrics on the test images."""
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
