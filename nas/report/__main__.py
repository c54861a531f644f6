"""`python -m nas.report --study hybrid`: write the report of a study again."""

from __future__ import annotations

import logging
import sys
from pathlib import Path

import optuna
from rich.console import Console

import studies
from nas.commands.cli import Parser, run_command
from nas.report import tables, write_report
from nas.searching.ledger import open_study


def command(argv: list[str]) -> int:
    p = Parser(prog="python -m nas.report", description="Write a study's report from its database.")
    p.add_argument("--study", default="hybrid", help="a study's name, or the path of a .py file with a STUDY")
    p.add_argument("--runs", type=Path, default=Path("runs"), help="where results are (default runs/)")
    p.add_argument("--name", help="folder below --runs (default: the study's name)")
    args = p.parse_args(argv)
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    logging.getLogger("alembic").setLevel(logging.ERROR)
    name = studies.load(args.study).name if args.study.endswith(".py") else args.study
    folder = args.runs / (args.name or name)
    study = open_study(folder / "study.db", name)
    console = Console()
    for table in tables(study):
        console.print(table)
    console.print(f"report: {write_report(study, folder / 'report.html')}", soft_wrap=True, highlight=False)
    return 0


def main(argv: list[str] | None = None) -> int:
    return run_command(command, argv)


if __name__ == "__main__":
    sys.exit(main())
