"""`python -m nas.audit --data PATH`: check images before training: shortcuts, axes, copies, pixels, files."""

from __future__ import annotations

from pathlib import Path

from nas.commands.cli import Parser, add_group, add_reading_options, parser


def options() -> Parser:
    p = parser("audit", "Check images before training, and write a page about them.")
    p.add_argument("--data", required=True, help="a folder of images, or a function such as my_package.my_images:load")
    add_group(p)
    add_reading_options(p)
    p.add_argument(
        "--image-size",
        type=int,
        help="resize images to this side, in pixels (default: 64 for a folder; images of a function keep their size)",
    )
    p.add_argument("--out", type=Path, default=Path("audit.html"), help="page to write (default audit.html)")
    p.add_argument("--json", type=Path, metavar="FILE", help="also write what was found to this file")
    return p


def command(argv: list[str]) -> int:
    args = vars(options().parse_args(argv))
    from nas.auditing import audit, record  # only now: --help must not wait for torch
    from nas.files import check_writable, write_json, write_text
    from nas.report.audit_page import page, table
    from nas.sources import source_of
    from nas.terminal import Terminal
    from trainers.data import load

    out, found_in = args.pop("out"), args.pop("json")
    for option, path in (("--out", out), ("--json", found_in)):
        if path is not None:
            check_writable(path, option)
    data = load(source_of(**args))
    found = audit(data)
    console = Terminal()
    console.print(table(found))
    write_text(out, page(found, data, args["data"]))
    console.print(f"page: {out}", soft_wrap=True)
    if found_in is not None:
        write_json(found_in, record(found))
    return 0
