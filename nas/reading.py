"""Reads a study from its database, or from memory, into plain data (`nas.results`)."""

from __future__ import annotations

from pathlib import Path

import optuna

from nas.checks import path_of
from nas.errors import UserError, mendable
from nas.results import Results
from nas.run_folder import RunFolder
from nas.searching.storage import only_study
from nas.trials import trial_of
from studies.baselines import BASELINES
from studies.spec import objectives
from trainers.data.axis import Axis

WARM_START, AXIS, IMAGES, SHAPE, CODE, LIMIT = "warm_start", "axis", "images", "shape", "code", "limit"
"""Attributes of a study: from which search it began; the fields of its images' `Axis`; their classes and numbers; what
goes into a network and comes out of it; the `own_code` with which it was begun; what the noise of simulated images
leaves to be found."""


@mendable
def load_results(folder: str | Path) -> Results:
    """Read the study of a run from `runs/<name>` or its study.db or study.url, even while its search is running.

    UserError if there is no study, or if no search of ours made it.
    """
    path = path_of("folder", folder)
    database = path if path.is_file() else RunFolder(path).database
    if not database.is_file():
        raise UserError(f"no study at {database}: search first (python -m nas.run), or name the folder of a run")
    return read(only_study(database), database)


def read(study: optuna.Study, database: Path | None = None) -> Results:
    """Convert an Optuna study to plain data. UserError if no search of ours made it."""
    spec = study.user_attrs.get("spec")
    if spec is None:
        raise UserError(f"study {study.study_name!r} has no 'spec': only studies made by nas.run can be reported on")
    rungs = tuple(spec["rungs"])
    trials = [trial_of(t, rungs, objectives(spec["objective"])[0]) for t in study.get_trials(deepcopy=False)]
    axis, images = study.user_attrs.get(AXIS), study.user_attrs.get(IMAGES)
    return Results(
        name=study.study_name,
        question=study.user_attrs.get("question", ""),
        spec=spec,
        maximize=spec["direction"] == "maximize",
        rungs=rungs,
        trials=tuple(trial for trial in trials if trial.repeats is None),
        repeats=tuple(trial for trial in trials if trial.repeats is not None),
        database=database,
        baselines=tuple(study.user_attrs.get("baselines", BASELINES)),
        inherited_seed=study.user_attrs.get(WARM_START, {}).get("last_seed", -1),
        axis=axis is not None and Axis(**axis).found,
        validated=images["counts"][1] if images else 0,
        limit=study.user_attrs.get(LIMIT, ""),
        images=images,
        shape=study.user_attrs.get(SHAPE),
        code=study.user_attrs.get(CODE, {}),
    )
