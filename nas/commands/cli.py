"""What the commands share: a user's mistake is one line and exit code 2; anything else unexpected is a bug of ours."""

from __future__ import annotations

import argparse
import importlib
import importlib.util
import pkgutil
import sys
import traceback
from collections.abc import Callable
from importlib.metadata import PackageNotFoundError, version
from typing import NoReturn

from nas.errors import SearchFailed, UserError, user_errors

COMMANDS = {
    "run": "search; the same command resumes",
    "retrain": "train the best of a search again over several seeds, test and export them",
    "predict": "what an exported model says of images",
    "evaluate": "measure an exported model on another data set",
    "report": "write a study's page again",
}
REPORT_IT = (
    "This is a bug, not your mistake: please report it with the lines above and the command, at the project's issues."
)


class Parser(argparse.ArgumentParser):
    """argparse, but a wrong word on the command line is a UserError like any other mistake."""

    def error(self, message: str) -> NoReturn:
        raise UserError(f"{message}; see {self.prog} --help")


def parser(command: str, description: str) -> Parser:
    p = Parser(prog=f"python -m nas.{command}", description=description)
    p.add_argument("--version", action="version", version=f"lensing-nas {package_version()}")
    return p


def package_version() -> str:
    try:
        return version("lensing-nas")
    except PackageNotFoundError:
        return "(not installed as a package)"


def names_in(package: str) -> list[str]:
    """The modules of a package by name, without importing it: a command's --help must not wait for torch."""
    found = importlib.util.find_spec(package)
    assert found is not None
    return sorted(module.name for module in pkgutil.iter_modules(found.submodule_search_locations))


def run_command(command: Callable[[list[str]], int], argv: list[str] | None = None) -> int:
    """Run `command` on the command line's arguments and return the exit code.

    0: done; 1: the work failed; 2: a mistake that the user can mend, in one line; 70: a bug; 130: Ctrl-C.
    """
    try:
        with user_errors():
            return command(sys.argv[1:] if argv is None else argv)
    except (UserError, FileNotFoundError, PermissionError) as error:
        return _failed(error, 2)
    except SearchFailed as error:
        return _failed(error, 1)
    except KeyboardInterrupt as stop:
        print(f"{stop or 'stopped'}; run the same command again to resume", file=sys.stderr)
        return 130
    except Exception:
        traceback.print_exc()
        print(REPORT_IT, file=sys.stderr)
        return 70


def _failed(error: Exception, code: int) -> int:
    print(f"error: {' '.join(str(error).split())}", file=sys.stderr)
    return code


def main_of(command: str, argv: list[str] | None = None) -> int:
    """Run the command of this name."""
    return run_command(importlib.import_module(f"nas.commands.{command}").command, argv)


def script(module: str) -> None:
    """`python -m nas.<command>`: run the command, where `module` is the caller's __name__.

    Such a file is a command only. Imported, it would take the place of the library's function of the same name.
    """
    if module == "__main__":
        sys.exit(main_of(sys.modules["__main__"].__spec__.name.rpartition(".")[2]))  # type: ignore[union-attr]
    if module.startswith("nas."):
        command = module.rpartition(".")[2]
        library = "nas.search" if command == "run" else module
        raise ImportError(f"{module} is a command: python -m {module}. From Python: import nas, then {library}(...)")
