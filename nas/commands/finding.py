"""The options by which a command finds the study that it reads: --study, --runs, --name."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from nas.errors import UserError

if TYPE_CHECKING:
    from nas.results import Results


def add_options(p: argparse.ArgumentParser) -> None:
    p.add_argument("--study", default="hybrid", help="a study's name, or the path of a .py file with a STUDY")
    p.add_argument("--runs", type=Path, default=Path("runs"), help="folder of all runs (default runs/)")
    p.add_argument("--name", help="folder below --runs (default: the study's name)")


def find_results(study: str, runs: Path, name: str | None) -> Results:
    """Read the study that these options name. UserError if there is none."""
    import studies
    from nas.results import read
    from nas.run_folder import run_folder
    from nas.searching.storage import only_study

    study = studies.load(study).name if study.endswith(".py") else study
    run = run_folder(runs, study if name is None else name)
    if not run.database.is_file():
        raise UserError(
            f"no study at {run.database}: search first (python -m nas.run --study {study}), or give --runs and --name"
        )
    stored = only_study(run.database)
    if stored.study_name != study:
        other = stored.study_name
        raise UserError(f"{run.database} holds the study {other!r}, not {study!r}; give --study {other}")
    return read(stored, run.database)
