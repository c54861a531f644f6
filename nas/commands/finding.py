"""How commands that read a study find it: --study, --runs, --name."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from nas.errors import UserError

if TYPE_CHECKING:
    from nas.results import Results


def add_options(p: argparse.ArgumentParser) -> None:
    p.add_argument("--study", default="hybrid", help="a study's name, or the path of a .py file with a STUDY")
    p.add_argument("--runs", type=Path, default=Path("runs"), help="where results are (default runs/)")
    p.add_argument("--name", help="folder below --runs (default: the study's name)")


def find_results(study: str, runs: Path, name: str | None) -> Results:
    """The study that these options name. UserError where there is none."""
    import studies
    from nas.results import read
    from nas.run_folder import run_folder
    from nas.searching.storage import only_study

    study = studies.load(study).name if study.endswith(".py") else study
    run = run_folder(runs, name or study)
    if not run.database.is_file():
        raise UserError(
            f"no study at {run.database}: search first (python -m nas.run --study {study}), or give --runs and --name"
        )
    found = only_study(run.database)
    if found.study_name != study:
        other = found.study_name
        raise UserError(f"{run.database} holds the study {other!r}, not {study!r}; give --study {other}")
    return read(found, run.database)
