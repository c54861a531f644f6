"""`python -m nas` and the console command `nas`: the commands, or one of them."""

from __future__ import annotations

import os
import sys

from nas.commands.cli import COMMANDS, main_of, package_version, run_command


def main(argv: list[str] | None = None) -> int:
    words = sys.argv[1:] if argv is None else argv
    if "" not in sys.path and os.getcwd() not in sys.path:
        sys.path.insert(0, os.getcwd())  # as `python -m` does, for modules of the user's own
    if words and words[0] in COMMANDS:
        return main_of(words[0], words[1:])
    return run_command(usage, words)


def usage(words: list[str]) -> int:
    """Say which commands there are, or the version."""
    if words[:1] == ["--version"]:
        print(f"lensing-nas {package_version()}")
        return 0
    asked = words[:1] in ([], ["--help"], ["-h"])
    out = sys.stdout if asked else sys.stderr
    if not asked:
        print(f"error: unknown command {words[0]!r}; expected one of these:", file=out)
    print("usage: nas COMMAND ... (or python -m nas.COMMAND ...); nas COMMAND --help says more\n", file=out)
    for name, what in COMMANDS.items():
        print(f"  {name:9} {what}", file=out)
    return 0 if asked else 2


if __name__ == "__main__":
    sys.exit(main())
