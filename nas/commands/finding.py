"""The options by which a command finds the study that it reads: --study, --runs, --name, --storage."""

from __future__ import annotations

import argparse
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

from nas.errors import UserError

if TYPE_CHECKING:
    from nas.results import Results
    from nas.run_folder import RunFolder


STORAGE = (
    "where the study is if not in its folder: postgresql://user@host/database; the folder remembers it (the password "
    "comes from PGPASSWORD or ~/.pgpass)"
)


def add_options(p: argparse.ArgumentParser) -> None:
    p.add_argument("--study", default="hybrid", help="a study's name, or the path of a .py file with a STUDY")
    p.add_argument("--runs", type=Path, default=Path("runs"), help="folder of all runs (default runs/)")
    p.add_argument("--name", help="folder below --runs (default: the study's name)")
    p.add_argument("--storage", metavar="URL", help=STORAGE)


def find_run(args: argparse.Namespace) -> tuple[Results, RunFolder]:
    """Read the study that these options name, and return the folder of its run too. UserError if there is none."""
    from nas.run_folder import RunFolder

    results = find_results(args.study, args.runs, args.name, args.storage)
    assert results.database is not None
    return results, RunFolder(results.database.parent)


def find_results(study: str, runs: Path, name: str | None, storage: str | None = None) -> Results:
    """Read the study that these options name. UserError if there is none."""
    import studies
    from nas.reading import read
    from nas.run_folder import run_folder
    from nas.searching.server import place_study
    from nas.searching.storage import only_study

    study = studies.load(study).name if study.endswith(".py") else study
    run = run_folder(runs, study if name is None else name)
    asked_first = storage is not None and not run.path.exists()
    place_study(run, storage, study)
    if not run.database.is_file():
        raise UserError(
            f"no study at {run.database}: search first (python -m nas.run --study {study}), or give --runs and --name"
        )
    try:
        stored = only_study(run.database)
    except UserError:
        if asked_first:  # a mistyped name leaves nothing behind
            shutil.rmtree(run.path)
        raise
    if stored.study_name != study:
        other = stored.study_name
        raise UserError(f"{run.database} holds the study {other!r}, not {study!r}; give --study {other}")
    return read(stored, run.database)
