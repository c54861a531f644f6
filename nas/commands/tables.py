"""`python -m nas.tables --study hybrid`: the result tables for a paper, with methods and references."""

from __future__ import annotations

from nas.commands.cli import Parser, parser
from nas.commands.finding import add_options, find_run


def options() -> Parser:
    p = parser(
        "tables",
        "Write a study's tables (CSV, Markdown, LaTeX), a paragraph on methods and BibTeX to paper/ in its run.",
    )
    add_options(p)
    return p


def command(argv: list[str]) -> int:
    args = options().parse_args(argv)
    from nas.files import write_text  # only now: --help must not wait for optuna
    from nas.paper.methods import methods
    from nas.paper.references import references
    from nas.paper.tables import tables
    from nas.terminal import Terminal

    results, run = find_run(args)
    folder = run.paper
    folder.mkdir(exist_ok=True)
    files = {"methods.md": methods(results), "references.bib": references(results)}
    for table in tables(results):
        files |= {
            f"{table.name}.csv": table.csv(),
            f"{table.name}.md": table.markdown(),
            f"{table.name}.tex": table.latex(),
        }
    console = Terminal()
    for name, text in files.items():
        write_text(folder / name, text)
        console.print(str(folder / name), soft_wrap=True)
    return 0
