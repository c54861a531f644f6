"""Beginning a search with the best configurations of a former one; they are trained anew."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import optuna
import sqlalchemy.exc

from nas.ledger import open_storage, open_study
from nas.report.data import Search, read
from nas.surrogate.drafts import draft

AT_MOST = 8
ATTRIBUTE = "warm start"


def former(where: Path, runs: Path) -> Search:
    """The study in a run's folder, given by path or by its name below `runs`, or in a database. ValueError for none."""
    path = where if where.exists() else runs / where
    database = path / "study.db" if path.is_dir() else path
    if not database.is_file():
        raise ValueError(
            f"--warm-start: no study at {where} or {path}; expected a search's name, such as hybrid, or folder"
        )
    try:
        names = optuna.get_all_study_names(open_storage(database))
    except sqlalchemy.exc.DatabaseError as error:
        raise ValueError(f"--warm-start: {database} cannot be read as a study database: {error.orig}") from None
    if not names:
        raise ValueError(f"--warm-start: {database} holds no study")
    return read(open_study(database, names[0]))


def best_parameters(search: Search) -> list[Mapping[str, Any]]:
    """Of the best configurations at full budget, then of those that came to the highest rungs, at most AT_MOST."""
    sign = -1 if search.maximize else 1
    paused = [t for t in search.trials if t.state in ("pruned", "open") and t.rung]
    ranked = [cell.trials[0] for cell in search.cells()]
    ranked += sorted(paused, key=lambda t: (-t.rung, sign * t.value, t.number))
    if not ranked:
        raise ValueError(f"--warm-start: no trial of {search.name} has come to a rung yet")
    distinct = {json.dumps(trial.params, sort_keys=True): trial.params for trial in ranked}
    return list(distinct.values())[:AT_MOST]


def fitted(parameters: Sequence[Mapping[str, Any]], sample: Callable[[Any], Any], seed: int) -> list[dict[str, Any]]:
    """In the space that `sample` decodes: what it lacks or forbids is left out, what is missing is drawn."""
    rng = np.random.default_rng(seed)
    return [draft(sample, rng, given).params for given in parameters]


def settled(study: optuna.Study, given: list[dict[str, Any]] | None, *, begun: bool) -> list[dict[str, Any]]:
    """The first trials' parameters, as the study remembers them; `begun`: it has trials. ValueError for others now."""
    if not begun and given is not None:
        study.set_user_attr(ATTRIBUTE, given)
    kept: list[dict[str, Any]] = study.user_attrs.get(ATTRIBUTE, [])
    if given is not None and json.loads(json.dumps(given)) != kept:
        how = "with another --warm-start" if kept else "without --warm-start"
        raise ValueError(f"this search was begun {how}; resume it as it was, or give this one a --name of its own")
    return kept
