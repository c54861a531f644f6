"""What the commands share: a user's mistake is one line and exit code 2."""

from __future__ import annotations

import sys
from collections.abc import Callable


def run_command(command: Callable[[list[str]], int], argv: list[str] | None = None) -> int:
    """Run `command` on the command line's arguments. ValueError and OSError before any work become one line."""
    try:
        return command(sys.argv[1:] if argv is None else argv)
    except (ValueError, FileNotFoundError, PermissionError) as error:
        print(f"error: {' '.join(str(error).split())}", file=sys.stderr)
        return 2
