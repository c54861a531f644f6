"""`python -m nas.dashboard --study hybrid`: look at a study in optuna-dashboard, with the pictures of its trials."""

from __future__ import annotations

from nas.commands.cli import Parser, parser
from nas.commands.finding import add_options, find_run


def options() -> Parser:
    p = parser("dashboard", "Show a study in a browser, also while its search runs, until Ctrl-C.")
    add_options(p)
    p.add_argument("--port", type=int, default=8080, help="where the browser finds it (default 8080)")
    return p


def command(argv: list[str]) -> int:
    args = options().parse_args(argv)
    from optuna.artifacts import FileSystemArtifactStore  # only now: --help must not wait for optuna
    from optuna_dashboard import run_server

    from nas.checks import check_number
    from nas.errors import UserError
    from nas.searching.storage import open_storage

    check_number("--port", args.port, 1, 65535)
    _, run = find_run(args)
    run.artifacts.mkdir(exist_ok=True)
    print(f"http://127.0.0.1:{args.port}/dashboard (Ctrl-C ends it)", flush=True)
    try:
        store = FileSystemArtifactStore(run.artifacts)
        run_server(open_storage(run.database), host="127.0.0.1", port=args.port, artifact_store=store)
    except OSError as error:
        if error.filename is not None:
            raise
        raise UserError(f"cannot serve at port {args.port} ({error.strerror}); give another --port") from error
    return 0
