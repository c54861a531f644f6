"""`python -m nas.figures --study hybrid`: the figures of a study for a paper."""

from __future__ import annotations

from nas.commands.cli import Parser, parser
from nas.commands.finding import add_options, find_run


def options() -> Parser:
    p = parser(
        "figures",
        "Write a study's figures in a column's width as SVG, PDF and PNG, and the drawing of its best network, to "
        "paper/ in its run. Needs matplotlib.",
    )
    add_options(p)
    return p


def command(argv: list[str]) -> int:
    args = options().parse_args(argv)
    from nas.files import write_text  # only now: --help must not wait for optuna
    from nas.paper.figures import write_figures
    from nas.report.drawing import drawing
    from nas.terminal import Terminal

    results, run = find_run(args)
    folder = run.paper
    folder.mkdir(exist_ok=True)
    written = write_figures(results, folder)
    if results.best is not None and results.best.config.get("architecture"):
        written.append(folder / "architecture.svg")
        write_text(written[-1], drawing(results.best.config["architecture"], results.shape))
    console = Terminal()
    for path in written:
        console.print(str(path), soft_wrap=True)
    return 0
