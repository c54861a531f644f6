"""`python -m nas` and the console command `nas`: the commands, or one of them."""

from __future__ import annotations

import argparse
import importlib
import os
import sys

from nas.commands.cli import COMMANDS, hide_password, main_of, run_command
from nas.errors import UserError
from nas.versions import installed


def main(argv: list[str] | None = None) -> int:
    if argv is None:
        hide_password()
    words = sys.argv[1:] if argv is None else argv
    if "" not in sys.path and os.getcwd() not in sys.path:
        sys.path.insert(0, os.getcwd())  # as `python -m` does, for modules of the user's own
    if words and words[0] in COMMANDS:
        return main_of(words[0], words[1:])
    return run_command(usage, words)


def usage(words: list[str]) -> int:
    """Say which commands there are, or the version, or print what completes them in a shell."""
    if words[:1] == ["--version"]:
        print(f"lensing-nas {installed('lensing-nas')}")
        return 0
    if words[:1] == ["--completion"]:
        print(completion(*words[1:2]))
        return 0
    asked = words[:1] in ([], ["--help"], ["-h"])
    out = sys.stdout if asked else sys.stderr
    if not asked:
        print(f"error: unknown command {words[0]!r}; expected one of these:", file=out)
    print("usage: nas COMMAND ... (or python -m nas.COMMAND ...); nas COMMAND --help says more\n", file=out)
    for name, what in COMMANDS.items():
        print(f"  {name:9} {what}", file=out)
    return 0 if asked else 2


def completion(shell: str = "") -> str:
    """The script that completes `nas` and its options in bash, zsh, fish or tcsh. UserError without shtab."""
    try:
        import shtab
    except ImportError:
        raise UserError("completion needs shtab: pip install shtab") from None
    if shell not in shtab.SUPPORTED_SHELLS:
        raise UserError(f"--completion {shell!r}: expected one of: {', '.join(shtab.SUPPORTED_SHELLS)}")
    whole = argparse.ArgumentParser(prog="nas")
    commands = whole.add_subparsers()
    for name, what in COMMANDS.items():
        options = importlib.import_module(f"nas.commands.{name}").options()
        commands.add_parser(name, parents=[options], add_help=False, help=what)
    return str(shtab.complete(whole, shell))


if __name__ == "__main__":
    sys.exit(main())
