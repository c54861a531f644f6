"""`--warm-start runs/former`: the first trials of a search are the best configurations of a former study.

Only parameters are taken over, by name, never results: the new study may have other data, another budget or task. What
was fixed in the former study is no parameter of it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import optuna

from nas.results import Search, Trial, read
from nas.searching.drafts import Params, draft, key
from nas.searching.storage import open_existing
from studies import StudySpec

AT_MOST = 8
DRAWS = 32
ATTRIBUTE = "warm_start"  # of the new study


@dataclass(frozen=True)
class WarmStart:
    """What a search was begun from, as its study remembers it: the former study may grow or go."""

    source: str  # the former study's database
    trials: tuple[int, ...]  # their numbers there, best first
    first: tuple[Mapping[str, Any], ...]  # all the first trials here: those, whole, then the study's own

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)


def begin(given: str | None, runs: Path, study: optuna.Study | None, spec: StudySpec) -> WarmStart | None:
    """The warm start of a search: the one that `study` was begun with or, where there is none yet, the one `given`.

    `given` is a run's folder, its name below `runs`, or a study.db. ValueError where it has nothing to start from, or
    is another than the stored study's; without it a stored study goes on as it began.
    """
    if study is None:
        return None if given is None else of(given, runs, spec)
    record = study.user_attrs.get(ATTRIBUTE)
    before = None if record is None else WarmStart(record["source"], tuple(record["trials"]), tuple(record["first"]))
    if given is None or (before is not None and before.source in {str(path.resolve()) for path in places(given, runs)}):
        return before
    began = "without a warm start" if before is None else f"from {before.source}"
    raise ValueError(
        f"the study {study.study_name!r} was begun {began}, not with --warm-start {given}; resume without this "
        "option, or give this search a --name of its own"
    )


def of(given: str, runs: Path, spec: StudySpec) -> WarmStart:
    """The warm start of a new study from the former one at `given`."""
    looked = places(given, runs)
    path = next((path for path in looked if path.is_file()), None)
    if path is None:
        raise ValueError(
            f"no study to start from at {given}: expected a run's folder or its study.db; looked for "
            f"{', '.join(map(str, looked))}"
        )
    former = best(search_in(path))
    if not former:
        raise ValueError(f"no trial of {path} is finished: wait for the first, or search without --warm-start")
    begun = fitted(former, spec)
    if not begun:
        raise ValueError(f"{path} has no parameter in common with the study {spec.name!r}: search without --warm-start")
    rng = np.random.default_rng(spec.seed)
    own = [dict(first) for first in spec.first if draft(spec.sample, rng, first).params not in begun.values()]
    return WarmStart(str(path.resolve()), tuple(begun), (*begun.values(), *own))


def places(given: str, runs: Path) -> tuple[Path, ...]:
    return Path(given), Path(given) / "study.db", runs / given / "study.db"


def search_in(path: Path) -> Search:
    """The one study in the database at `path`. ValueError for anything else."""
    storage, names = open_existing(path)
    if len(names) != 1:
        raise ValueError(f"{path} holds the studies {', '.join(names) or '(none)'}; expected one, to start from")
    return read(optuna.load_study(study_name=names[0], storage=storage))


def best(search: Search) -> list[Trial]:
    """The trials of a study to start from, best first: of each configuration trained in full one, then the PRUNED.

    Of the PRUNED only those at the highest rung that any of them came to, as values are compared within a rung.
    """
    pruned = [trial for trial in search.trials if trial.state == "pruned" and trial.rung]
    highest = max((trial.rung for trial in pruned), default=0)
    sign = -1 if search.maximize else 1
    fill = sorted((t for t in pruned if t.rung == highest), key=lambda t: (sign * t.value, t.number))
    return [*(cell.trials[0] for cell in search.cells()), *fill]


def fitted(former: Iterable[Trial], spec: StudySpec) -> dict[int, Params]:
    """Whole configurations of the space of `spec`, by the number of the former trial, at most `AT_MOST`, in order.

    What the space does not ask for or forbids is left out; what it asks for beyond is drawn at random, several times to
    keep the most, as a learning rate is lost with an optimiser that has another. Trials that differ only in what is
    left out, or in their seed, are one; one of which nothing is left is none.
    """
    rng = np.random.default_rng(spec.seed)
    found: dict[int, Params] = {}
    seen = {key({})}
    for trial in former:
        drawn = [draft(spec.sample, rng, trial.params).params for _ in range(DRAWS)]
        params = max(drawn, key=lambda params: len(kept(params, trial)))
        configurations = {key(kept(params, trial)), key({**params, "seed": None})}
        if not configurations & seen:
            found[trial.number] = params
            seen |= configurations
        if len(found) == AT_MOST:
            break
    return found


def kept(params: Params, trial: Trial) -> Params:
    """Those of `params` that are the trial's, but for its seed."""
    return {name: value for name, value in params.items() if (name, value) in trial.params.items() and name != "seed"}
