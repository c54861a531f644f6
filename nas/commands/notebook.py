"""`python -m nas.notebook --study hybrid`: a study as an executed notebook, whose cells call the library."""

from __future__ import annotations

from nas.commands.cli import Parser, parser
from nas.commands.finding import add_options, find_run


def options() -> Parser:
    p = parser(
        "notebook",
        "Write a study as notebook.ipynb in its run, and execute it: question, data, space, search, retraining and "
        "conclusion. Needs the extra notebook.",
    )
    add_options(p)
    return p


def command(argv: list[str]) -> int:
    args = options().parse_args(argv)
    import nas  # only now: --help must not wait for optuna
    from nas.terminal import Terminal

    results, _ = find_run(args)
    Terminal().print(str(nas.notebook(results)), soft_wrap=True)
    return 0
