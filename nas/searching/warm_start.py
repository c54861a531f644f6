"""`--warm-start runs/former`: the first trials of a search are the best configurations of a former study.

Only parameters are taken over, by name, never results: the new study may have other data, another budget or another
task. Whatever the former study fixed is not a parameter of it and is not taken over.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import optuna

from nas.checks import path_of
from nas.errors import UserError
from nas.reading import WARM_START, load_results
from nas.results import Results
from nas.run_folder import RunFolder
from nas.searching.drafts import Params, Sample, draft, key, origin
from nas.trials import Trial
from studies import StudySpec

AT_MOST = 8
DRAWS = 32


@dataclass(frozen=True)
class WarmStart:
    """What a search began from. Its study stores this, because the former study may grow or be deleted."""

    source: str  # the former study's database
    trials: tuple[int, ...]  # the numbers of the trials used from it, best first
    first: tuple[Mapping[str, Any], ...]  # the new study's first trials: those, made whole, then its own
    last_seed: int = -1  # the largest by which the former study chose; -1: not recorded

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)


def find(given: str | Path | None, runs: Path, study: optuna.Study | None) -> WarmStart | Results | None:
    """Return what a search begins from, before its data is known.

    A stored `study` keeps the warm start that it began with, and needs no `given` to resume. If there is no study yet,
    return the former study at `given`: a run's folder, its name below `runs`, or a study.db. UserError if `given` is no
    study, or is not what the stored study began with.
    """
    if study is None:
        return None if given is None else former_study(given, runs)
    record = study.user_attrs.get(WARM_START)
    before = None if record is None else _from_record(record)
    if given is None or (before is not None and before.source in {str(path.resolve()) for path in places(given, runs)}):
        return before
    began = "without a warm start" if before is None else f"from {before.source}"
    raise UserError(
        f"the study {study.study_name!r} was begun {began}, not with --warm-start {given}; resume without this "
        "option, or give this search a --name of its own"
    )


def _from_record(record: Mapping[str, Any]) -> WarmStart:
    return WarmStart(**{**record, "trials": tuple(record["trials"]), "first": tuple(record["first"])})


def former_study(given: str | Path, runs: Path) -> Results:
    """Return the study at `given`. UserError if there is none, or it has no finished trial."""
    looked = places(path_of("warm_start", given), runs)
    path = next((path for path in looked if path.is_file()), None)
    if path is None:
        raise UserError(
            f"no study to start from at {given}: expected a run's folder or its study.db; looked for "
            f"{', '.join(map(str, looked))}"
        )
    former = load_results(path)
    if not best(former):
        raise UserError(f"no trial of {path} is finished; wait for the first one, or search without --warm-start")
    return former


def places(given: str | Path, runs: Path) -> tuple[Path, ...]:
    return Path(given), RunFolder(Path(given)).database, RunFolder(runs / given).database


def begin(former: WarmStart | Results | None, spec: StudySpec, sample: Sample) -> WarmStart | None:
    """Return the warm start of a search over `sample`. UserError if the two studies have no parameter in common."""
    if not isinstance(former, Results):
        return former
    assert former.database is not None
    begun = fitted(best(former), sample, spec.seed)
    if not begun:
        raise UserError(
            f"{former.database} has no parameter in common with the study {spec.name!r}; search without --warm-start"
        )
    rng = np.random.default_rng(spec.seed)
    own = [dict(first) for first in spec.first if draft(sample, rng, first).params not in begun.values()]
    return WarmStart(str(former.database.resolve()), tuple(begun), (*begun.values(), *own), former.last_seed)


def best(former: Results) -> list[Trial]:
    """The trials of a study to start from, best first: one per configuration trained in full, then pruned ones.

    Of the pruned trials, only those at the highest rung that any of them reached: values compare only within a rung.
    """
    pruned = [trial for trial in former.trained if trial.state == "pruned" and trial.rung]
    highest = max((trial.rung for trial in pruned), default=0)
    sign = -1 if former.maximize else 1
    fill = sorted((t for t in pruned if t.rung == highest), key=lambda t: (sign * t.value, t.number))
    return [*(cell.trials[0] for cell in former.cells()), *fill]


def fitted(former: Iterable[Trial], sample: Sample, seed: int) -> dict[int, Params]:
    """Return at most `AT_MOST` whole configurations of the space of `sample`, by former trial, in the same order.

    Parameters that the space does not ask for, or whose values it forbids, are discarded. Those that it asks for in
    addition are drawn at random. A draw can lose a parameter (a drawn optimiser may have its own learning rate), so the
    best of several draws is used. Trials that differ only in their seed or in discarded parameters count as one. A
    trial with nothing left is dropped.
    """
    rng = np.random.default_rng(seed)
    found: dict[int, Params] = {}
    seen = {key({})}
    for trial in former:
        drawn = [draft(sample, rng, trial.params).params for _ in range(DRAWS)]
        params = max(drawn, key=lambda params: len(kept(params, trial)))
        configurations = {key(kept(params, trial)), key({**params, "seed": None})}
        if not configurations & seen:
            found[trial.number] = params
            seen |= configurations
        if len(found) == AT_MOST:
            break
    return found


def kept(params: Params, trial: Trial) -> Params:
    """Return those of `params` that come from the trial, without its seed."""
    of = {name: origin(name, trial.params) for name in params if name != "seed"}
    return {name: params[name] for name, other in of.items() if other and trial.params[other] == params[name]}
