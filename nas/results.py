"""A study as plain data, for everything that works with one: reports, retraining, warm start, a notebook."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from statistics import fmean
from typing import TYPE_CHECKING, Any

from nas import front
from nas.errors import UserError, user_errors
from nas.files import read_json
from nas.finalists import Finalist, estimate
from nas.run_folder import RunFolder
from nas.trials import STATES, Trial
from nas.words import COSTS
from studies import Configuration
from studies.baselines import BASELINES
from studies.spec import objectives
from trainers import tasks
from trainers.data import Dataset, load, source_from_dict

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class Cell:
    """The trials of one configuration that were trained in full; the first represents it."""

    trials: tuple[Trial, ...]  # in a grid by seed, so the first is not the luckiest; elsewhere from best to worst
    value: float  # ranks the configurations: in a grid the mean over the trials, elsewhere the best trial's value


@dataclass(frozen=True)
class Results:
    """A study and its trials, by number."""

    name: str
    question: str
    spec: Mapping[str, Any]  # `studies.StudySpec` as JSON data, and the scheduler's "rungs"
    maximize: bool
    rungs: tuple[int, ...]  # epochs at which trials are compared; the last is the full budget
    trials: tuple[Trial, ...]
    repeats: tuple[Trial, ...] = ()  # of the finals: trials of some configurations again, with fresh seeds
    database: Path | None = None  # None: read from memory
    baselines: tuple[str, ...] = BASELINES  # names, for a retraining; old studies have the default ones
    inherited_seed: int = -1  # the largest seed of the searches from which this one began; -1: of none
    axis: bool = False  # whether the images have a preferred axis; unknown to searches of earlier versions
    validated: int = 0  # validation images; 0: unknown
    limit: str = ""  # one line on what the noise of simulated images leaves to be found
    images: Mapping[str, Any] | None = None  # as `describe_images` in nas/searching/study.py; None: not recorded
    code: Mapping[str, str] = field(default_factory=dict)  # the `own_code` with which it was begun
    shape: Mapping[str, int] | None = None  # "channels" and "side" of the images, "outputs" of a network; None: unknown

    @property
    def parameters(self) -> list[str]:
        """The names of what trials were asked for, but the seed."""
        return sorted({name for trial in self.trained for name in trial.params} - {"seed"})

    @property
    def objective(self) -> str:
        """The metric that ranks trials."""
        return objectives(self.spec["objective"])[0]

    @property
    def cost(self) -> str:
        """The second objective, macs or parameters, which is minimised; empty if there is none."""
        return objectives(self.spec["objective"])[1]

    @property
    def task(self) -> tasks.Named:
        return tasks.from_json(self.spec["task"])

    @property
    def trained(self) -> tuple[Trial, ...]:
        """All trials but the skipped ones."""
        return tuple(trial for trial in self.trials if trial.state != "skipped")

    @property
    def skipped(self) -> int:
        """The number of configurations above the study's limits."""
        return len(self.trials) - len(self.trained)

    @property
    def grid(self) -> bool:
        """Whether the study trains every cell of a grid."""
        return self.spec.get("sampler") == "grid"

    @property
    def best(self) -> Trial | None:
        """The winner of the finals; without finals, the best trial at full budget; None if there is none.

        In a search for a front, it is the one on the front with the best value; in a grid, the first seed of the best
        cell, not the luckiest training.
        """
        if self.grid:
            return next((cell.trials[0] for cell in self.cells()), None)
        if finalists := self.finalists():
            return self.trial(finalists[0].trial)
        failed = self.again()[1]  # in finals that trained nothing else
        return min(self.ranked(), key=lambda trial: trial.number in failed, default=None)

    @property
    def last_seed(self) -> int:
        """The largest seed by which these configurations were chosen, here or in a search from which this one began."""
        tried = (int(trial.config.get("seed", 0)) for trial in (*self.trials, *self.repeats))
        return max(self.inherited_seed, *tried, -1)

    def trial(self, number: int) -> Trial:
        """The trial of this number. UserError if the study has none."""
        for trial in self.trials:
            if trial.number == number:
                return trial
        for trial in self.repeats:
            if trial.number == number:
                raise UserError(
                    f"trial {number} of the study {self.name!r} is a training of the finals; name trial "
                    f"{trial.repeats}, whose configuration that was"
                )
        raise UserError(
            f"the study {self.name!r} has no trial {number}; its trials have numbers from 0 to "
            f"{max((t.number for t in self.trials), default=0)}"
        )

    def configuration(self, number: int) -> Configuration:
        """The configuration of trial `number`: with the study's data and task, it determines the training."""
        return Configuration.from_dict(self.trial(number).config)

    def counts(self) -> dict[str, int]:
        return {state: sum(trial.state == state for trial in self.trials) for state in STATES}

    def ranked(self) -> list[Trial]:
        """The complete trials at full budget from best to worst; the older of equals comes first."""
        full = [t for t in self.trials if t.state == "complete" and t.rung == self.rungs[-1]]
        return sorted(full, key=lambda t: (-t.value if self.maximize else t.value, t.number))

    def front(self, cost: str = "") -> list[Trial]:
        """The complete trials at full budget that no other of the same or lower cost equals or beats, by rising cost.

        `cost` is macs or parameters (default: the second objective; without one, macs). UserError if it is another.
        """
        known, costs = self._known(cost)
        return [self.trial(number) for number in (front.fronts(known, costs) or [[]])[0]]

    def by_front(self) -> list[Trial]:
        """The complete trials at full budget, the front first: each next adds most to those before (`nas.front`)."""
        return [self.trial(number) for number in front.ordered(*self._known(""))]

    def _known(self, cost: str) -> tuple[dict[int, float], dict[int, float]]:
        """The values, higher for better, and costs of the complete trials whose cost is known."""
        sign, name = 1 if self.maximize else -1, cost or self.cost or "macs"
        if name not in COSTS:
            raise UserError(f"cost is {name!r}; expected {' or '.join(COSTS)}")
        trials = [trial for trial in self.ranked() if getattr(trial, name) is not None]
        return {t.number: sign * t.value for t in trials}, {t.number: getattr(t, name) for t in trials}

    def mean_metrics(self, trial: Trial) -> dict[str, float]:
        """The metrics of a trial, as means over its training in the search and those in the finals."""
        trained = [trial, *(t for t in self.repeats if t.repeats == trial.number and t.state == "complete")]
        return {name: fmean(t.metrics.get(name, math.nan) for t in trained) for name in trial.metrics}

    def again(self) -> tuple[dict[int, list[float]], set[int]]:
        """The values that the finals added to each configuration, by trial; and those that failed in one."""
        fresh: dict[int, list[float]] = {}
        failed = set()
        for trial in self.repeats:
            assert trial.repeats is not None
            if trial.state == "complete":
                fresh.setdefault(trial.repeats, []).append(trial.value)
            elif trial.state == "failed" and trial.blamed:
                failed.add(trial.repeats)
        return fresh, failed

    def retraining(self) -> Mapping[str, Any] | None:
        """The record of its retraining, retrain.json; None if there is none. UserError if it is damaged."""
        record = RunFolder(self.database.parent).retraining_record if self.database else None
        if record is None or not record.is_file():
            return None
        found: Mapping[str, Any] = read_json(record)
        return found

    def dataset(self) -> Dataset:
        """The images that were searched on, as they are stored. UserError if they are gone."""
        with user_errors():
            return load(source_from_dict(dict(self.spec["data"])), progress=False)

    def finalists(self) -> list[Finalist]:
        """The configurations that the finals trained again, the winner first; none if there were no finals."""
        return [finalist for finalist in self.estimates() if finalist.fresh]

    def estimates(self) -> list[Finalist]:
        """Every configuration trained in full, as the finals judge it, the best first; none if there were no finals."""
        fresh, failed = self.again()
        able = self.front() if self.cost else self.ranked()
        searched = {trial.number: trial.value for trial in able if trial.number not in failed}
        given = {trial.number for trial in able if trial.given}
        return estimate(searched, fresh, maximize=self.maximize, given=given) if fresh and searched else []

    def cells(self) -> list[Cell]:
        """The configurations trained in full, each with all its seeds, from best to worst.

        The winner of the finals comes first, then the others as the finals judge them, in a search for a front by their
        means, since only those on the front can be in the finals. In a grid, configurations that
        lack a seed come last: the seeds that did not fail would flatter them.
        """
        groups: dict[str, list[Trial]] = {}
        for trial in self.ranked():
            groups.setdefault(trial.without_seed, []).append(trial)
        sign = -1 if self.maximize else 1
        if not self.grid:
            estimates = self.estimates()
            places: dict[int, float]
            if self.cost:
                judged = {estimate.trial: estimate.mean for estimate in estimates}
                places = {trial.number: sign * judged.get(trial.number, trial.value) for trial in self.ranked()}
            else:
                places = {estimate.trial: place for place, estimate in enumerate(estimates)}
            found = [Cell(tuple(trials), trials[0].value) for trials in groups.values()]
            best = self.best
            return sorted(found, key=lambda c: (c.trials[0] != best, places.get(c.trials[0].number, len(places))))
        by_seed = [tuple(sorted(trials, key=lambda t: t.config.get("seed", 0))) for trials in groups.values()]
        cells = [Cell(trials, fmean(t.value for t in trials)) for trials in by_seed]
        seeds = self.spec.get("seeds", 1)
        return sorted(cells, key=lambda c: (len(c.trials) < seeds, sign * c.value, c.trials[0].number))

    def frame(self) -> pd.DataFrame:
        """One row per trial, indexed by number: fields of `Trial`, `params_...` and the last epoch's `metrics_...`."""
        import pandas as pd

        columns = ("state", "value", "epochs", "given", "architecture", "parameters", "macs", "seconds", "error")
        rows = [
            {name: getattr(trial, name) for name in columns}
            | {f"params_{name}": value for name, value in trial.params.items()}
            | {f"metrics_{name}": value for name, value in trial.metrics.items() if name != "epoch"}
            for trial in self.trials
        ]
        numbers = pd.Index([trial.number for trial in self.trials], name="number")
        return pd.DataFrame(rows, index=numbers) if rows else pd.DataFrame(columns=columns, index=numbers)

    def learning_curves(self) -> pd.DataFrame:
        """One row per epoch, indexed by number and epoch: the objective as `value`, and the other recorded metrics."""
        import pandas as pd

        rows = []
        for trial in self.trials:
            recorded = {int(entry["epoch"]): entry for entry in trial.history}
            rows += [
                {"number": trial.number, "value": value, **recorded.get(epoch, {}), "epoch": epoch}
                for epoch, value in trial.curve.items()
            ]
        return pd.DataFrame(rows, columns=None if rows else ["number", "epoch", "value"]).set_index(["number", "epoch"])
