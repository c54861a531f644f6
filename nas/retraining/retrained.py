"""The results of a retraining, as data."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nas.errors import UserError, mendable
from nas.retraining.comparison import Baseline, Verdict
from nas.retraining.reads import TestReads
from nas.retraining.scores import Certainty, Roc, Scores, Size, Spread
from nas.run_folder import RunFolder
from trainers.calibrate import Factor
from trainers.tasks import Named, from_json, to_json

UNFINISHED = "unfinished"  # in retrain.json for as long as the models are being written

if TYPE_CHECKING:
    import pandas as pd

    from nas.results import Results


@dataclass(frozen=True)
class Member:
    """A network of an exported model."""

    trial: int
    seed: int
    times: int = 1  # that it counts in the combined prediction


@dataclass(frozen=True)
class Exported:
    """A model as it was handed out, and its figures."""

    name: str  # of its folder below models/
    members: tuple[Member, ...]
    views: int
    calibration: Mapping[str, Factor]  # number of views -> temperature, or factors on standard deviations, where known
    held_out: Mapping[str, int]
    """"images" and "networks": the number of validation images by which views and calibration were chosen, and of the
    networks that predicted them without having been trained on them; none if views and calibration were not chosen."""
    test: Mapping[str, Mapping[str, float]]  # number of views -> metrics on the test images, calibrated where it can be
    before: Mapping[str, float]  # the same for its own number of views, before calibration
    alone: Mapping[str, Spread]  # over the seeds of its configurations: metrics of one network with one view
    interval: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    """95%, over the test images: of the true positive rates of classes."""
    correlation: float | None = None  # of the errors of two of its networks on the test images, the mean over all pairs


@dataclass(frozen=True)
class Retrained:
    """Configurations of a study, trained again. `to_dict` gives the contents of retrain.json."""

    study: str
    question: str
    objective: str
    data: Mapping[str, Any]
    """The "source"; "searched", that of the search if it was another; numbers of images, "train" and "test"; "splits",
    the splits trained on; "limit", what the noise of simulated images leaves to be found."""
    task: Named
    classes: tuple[str, ...]
    epochs: int
    finished: int  # trials of the search
    configurations: tuple[Scores, ...]  # as the search ranks them, those that it never trained in full last
    certainty: tuple[Certainty, ...]  # one per configuration
    sizes: tuple[Size, ...]  # trainings on fewer images, if any
    exported: tuple[Exported, ...]
    quantity: str  # the measured quantity with its unit; empty for classes
    failures: tuple[str, ...]
    overridden: Mapping[str, Any]  # options of every training that replace the search's own: epochs, sparsity, rewind
    run: RunFolder
    test_reads: TestReads
    baselines: tuple[Baseline, ...] = ()  # in the order of the study
    verdicts: tuple[Verdict, ...] = ()  # one per configuration, if there are baselines
    cost: str = ""  # by which the configurations were chosen too: macs or parameters, after a search for a front
    named: bool = False  # the configurations, by the caller, instead of the best of the search
    finals: bool = False  # whether the search ranks configurations by trainings with fresh seeds, not by their values
    command: str = ""  # that started it, as it was typed
    started: str = ""  # the folder of the model whose weights the networks started from; empty: from scratch
    asked: tuple[int, ...] = ()  # trials, as the search ranks them, also those of which every training failed

    @property
    def winner(self) -> bool:
        """Whether the first configuration is the search's best, not one asked for, nor the next after a failure."""
        first = self.configurations[0]
        return not self.named and first.validation is not None and self.rank(first.trial) == 1

    def rank(self, trial: int) -> int:
        """The place of a trial among those to train again."""
        asked = self.asked or tuple(scores.trial for scores in self.configurations)  # before: not recorded
        return asked.index(trial) + 1

    @property
    def validated(self) -> int:
        """The number of configurations with a validation value from the search."""
        return sum(scores.validation is not None for scores in self.configurations)

    @property
    def best(self) -> Path:
        """The folder of the model to use: all seeds of the first configuration, for `nas.load_model`."""
        return self.run.best_model

    @property
    def models(self) -> dict[int, Path]:
        """trial -> folder of the ensemble of its seeds, best first."""
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
        record["task"] = to_json(self.task)
        record["test_reads"] = self.test_reads.to_dict()
        return record


@mendable
def load_retrained(results: Results) -> Retrained:
    """Read the retraining of a study from its retrain.json. UserError if there is none, or none that can be used."""
    record = results.retraining()
    if record is None or results.database is None:
        raise UserError(f"the study {results.name!r} has not been retrained: python -m nas.retrain does it")
    if record.get(UNFINISHED):
        raise UserError(f"the retraining of {results.name!r} was cut off at its export; run the same nas.retrain again")
    with of_today():
        return _of_record(record, RunFolder(results.database.parent))


@contextmanager
def of_today() -> Iterator[None]:
    """Raise UserError if a retrain.json that is read here has another shape than today's."""
    try:
        yield
    except (AttributeError, IndexError, KeyError, TypeError) as error:
        raise UserError(f"retrain.json is damaged or of an earlier version ({error!r}); retrain again") from error


def _of_record(record: Mapping[str, Any], run: RunFolder) -> Retrained:
    """The inverse of `Retrained.to_dict`."""
    known = {f.name: record[f.name] for f in fields(Retrained) if f.name in record}
    rebuilt = {
        "task": from_json(record["task"]),
        "classes": tuple(record["classes"]),
        "configurations": tuple(_scores(c) for c in record["configurations"]),
        "certainty": tuple(Certainty(**c) for c in record["certainty"]),
        "sizes": tuple(Size(**{**s, "spread": _spreads(s["spread"])}) for s in record["sizes"]),
        "exported": tuple(_exported(e) for e in record["exported"]),
        "failures": tuple(record["failures"]),
        "asked": tuple(record.get("asked", ())),
        "run": run,
        "test_reads": TestReads.of_record(record),
        "baselines": tuple(Baseline(**{**b, "spread": _spreads(b["spread"])}) for b in record.get("baselines", ())),
        "verdicts": tuple(Verdict(**v) for v in record.get("verdicts", ())),
    }
    return Retrained(**{**known, **rebuilt})


def _scores(record: Mapping[str, Any]) -> Scores:
    curves = tuple(Roc(**{**roc, "auc": Spread(**roc["auc"])}) for roc in record["roc"])
    return Scores(**{**record, "spread": _spreads(record["spread"]), "roc": curves})


def _exported(record: Mapping[str, Any]) -> Exported:
    members = tuple(Member(**member) for member in record["members"])
    return Exported(**{**record, "members": members, "alone": _spreads(record["alone"])})


def _spreads(record: Mapping[str, Any]) -> dict[str, Spread]:
    return {name: Spread(**spread) for name, spread in record.items()}
