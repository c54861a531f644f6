"""`python -m nas.report --study hybrid`: rewrite the report of a study."""

from __future__ import annotations

from nas.commands.cli import Parser, parser
from nas.commands.finding import add_options, find_run


def options() -> Parser:
    p = parser("report", "Write a study's report from its database.")
    add_options(p)
    return p


def command(argv: list[str]) -> int:
    args = options().parse_args(argv)
    from nas.report.page import write_report  # only now: --help must not wait for torch
    from nas.report.remarks import remarks
    from nas.report.table import tables
    from nas.report.verdict import verdict
    from nas.terminal import Terminal

    results, run = find_run(args)
    console = Terminal()
    for table in tables(results):
        console.print(table)
    for line in (*verdict(results), *remarks(results)):
        console.print(line, soft_wrap=False)
    page = write_report(results, run.report)
    console.print(f"report: {page}", soft_wrap=True)
    return 0
