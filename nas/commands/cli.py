"""What the commands share: a user's mistake is one line and exit code 2."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from typing import NoReturn


class Parser(argparse.ArgumentParser):
    """argparse, but a wrong word on the command line is a ValueError like any other mistake."""

    def error(self, message: str) -> NoReturn:
        raise ValueError(f"{message}; see {self.prog} --help")


def run_command(command: Callable[[list[str]], int], argv: list[str] | None = None) -> int:
    """Run `command` on the command line's arguments. What a user can get wrong becomes one line and exit code 2."""
    try:
        return command(sys.argv[1:] if argv is None else argv)
    except (ValueError, FileNotFoundError, PermissionError) as error:
        print(f"error: {' '.join(str(error).split())}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("stopped; the same command goes on", file=sys.stderr)
        return 130
