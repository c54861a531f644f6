"""What the commands share. A user's mistake is one line and exit code 2; any other unexpected error is our bug."""

from __future__ import annotations

import argparse
import importlib
import importlib.util
import os
import pkgutil
import re
import select
import sys
import sysconfig
import traceback
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

from nas.errors import ModelFailed, SearchFailed, Stopped, UserError, user_errors
from nas.shadowed import shadowed
from nas.versions import installed
from nas.workers.stopping import interrupting_signals
from trainers.errors import NO_ROOM

if TYPE_CHECKING:
    from nas.models.export import LensModel

COMMANDS = {
    "audit": "check images before training: shortcuts, a preferred axis, copies, bad pixels",
    "run": "search for networks, or resume a search",
    "retrain": "train the best of a search again over several seeds, test and export them",
    "predict": "classify or measure images with an exported model",
    "evaluate": "measure an exported model on another data set",
    "explain": "show where in the images a model looks",
    "export": "write a model as ONNX, torch.export or for the Hugging Face Hub",
    "report": "rewrite the page of a study",
    "tables": "write a study's tables for a paper, with methods and references",
    "figures": "draw a study's figures for a paper, in a column's width",
    "notebook": "write a study's notebook, executed, to go on from",
    "reproduce": "train a trial again and compare it with its record",
    "dashboard": "look at a study in a browser, trial by trial",
}
DIGITS = 30  # of a whole number: no limit needs more
LONGEST = 1000  # characters of an error: more of a value tells nobody more
REPORT_IT = (
    "This is a bug, not your mistake. Please report it in the project's issues, with the command and the lines above."
)


class Parser(argparse.ArgumentParser):
    """argparse that raises UserError for a mistake on the command line."""

    def error(self, message: str) -> NoReturn:
        raise UserError(f"{message}; see {self.prog} --help")


def parser(command: str, description: str) -> Parser:
    p = Parser(prog=f"python -m nas.{command}", description=description)
    p.add_argument("--version", action="version", version=f"lensing-nas {installed('lensing-nas')}")
    return p


def add_reading_options(p: argparse.ArgumentParser) -> None:
    p.add_argument("--hdu", metavar="NAME,NAME", help="HDUs of FITS files to use as channels, by name or number")
    p.add_argument("--key", metavar="IMAGES,LABELS", help="names of these arrays in .npz, .h5 and .pt files")
    p.add_argument("--classes", metavar="NAME,NAME", help="names of classes that are the numbers 0, 1, ... on disk")
    p.add_argument("--split", metavar="N,N,N", help="proportion of train, validation, test images (default 80,10,10)")
    p.add_argument("--fit", help="make images square and of one size: crop, pad or resize (or crop:60)")
    p.add_argument("--clip", metavar="LOW,HIGH", help="clip each image at these percentiles, such as 0.1,99.9")


def add_model_options(p: argparse.ArgumentParser) -> None:
    p.add_argument("--model", type=Path, required=True, help="folder of a model, such as runs/hybrid/models/best")
    p.add_argument(
        "--views", type=int, choices=(1, 8),
        help="combine the predictions for this many symmetries of the square (default: as exported)",
    )  # fmt: skip
    p.add_argument("--hdu", metavar="NAME,NAME", help="HDUs of FITS files to use as channels (default: as in training)")
    p.add_argument("--key", metavar="IMAGES,LABELS", help="names of arrays in .npz, .h5, .pt (default: as in training)")


def model_of(args: argparse.Namespace) -> LensModel:
    """The model that `add_model_options` name, on the GPU if there is one."""
    import torch  # only now: --help must not wait for it

    from nas.models.export import load_model

    return load_model(args.model, views=args.views, device="cuda" if torch.cuda.is_available() else "cpu")


def add_limits(p: argparse.ArgumentParser) -> None:
    p.add_argument("--workers", type=int, help="trainings at once (default: one per CPU, or as many as the GPUs hold)")
    p.add_argument("--gpus-per-trial", type=float, help="share of a GPU per training (default 1 if there are GPUs)")
    p.add_argument("--time-limit", type=seconds, metavar="TIME", help="stop in time, such as 2h; run again to resume")
    p.add_argument(
        "--trial-timeout", type=seconds, metavar="TIME",
        help="end a training without an epoch for this time, such as 30m (default: 20 times the slowest epoch)",
    )  # fmt: skip


def whole(text: str) -> int:
    """`20000000` or `20e6` -> 20000000."""
    try:
        number = Decimal(text)
    except ArithmeticError:
        number = Decimal("nan")
    if not number.is_finite() or number.adjusted() > DIGITS or number != number.to_integral_value():
        raise argparse.ArgumentTypeError(f"expected a whole number such as 20000000 or 20e6, not {text!r}")
    return int(number)


def seconds(text: str) -> float:
    """`2h`, `1h30m`, `90m`, `5400s` or `5400` -> 5400.0."""
    found = re.fullmatch(r"(?:(\d{1,9})h)?(?:(\d{1,9})m)?(?:(\d{1,9})s?)?", text.strip())
    if not text.strip() or found is None:
        raise argparse.ArgumentTypeError(f"expected a time such as 2h, 90m or 1h30m, not {text!r}")
    hours, minutes, rest = (int(part or 0) for part in found.groups())
    return 3600.0 * hours + 60.0 * minutes + rest


def add_group(p: argparse.ArgumentParser) -> None:
    p.add_argument(
        "--group", metavar="PATTERN",
        help="regular expression with one group: the object that an image shows, in its path below the folder; an "
        "object's images stay in one split (default: names that differ only in _rot90, -flip, (1), ... are one object)",
    )  # fmt: skip
    p.add_argument("--skip-bad", action="store_true", help="discard unreadable images instead of refusing the folder")


def names_in(package: str) -> list[str]:
    """The modules of a package by name, without importing it: a command's --help must not wait for torch."""
    spec = importlib.util.find_spec(package)
    assert spec is not None
    return sorted(module.name for module in pkgutil.iter_modules(spec.submodule_search_locations))


def run_command(command: Callable[[list[str]], int], argv: list[str] | None = None) -> int:
    """Run `command` on `argv` (default: the command line) and return the exit code.

    0: done, or stopped by the time limit or SIGUSR1; 1: the work failed; 2: a mistake of the user, printed in one line;
    70: a bug; 130: Ctrl-C; 141: nobody reads the output any more; 143: SIGTERM.
    """
    if hidden := shadowed():
        print(f"error: {hidden}", file=sys.stderr)
        return 2
    if argv is None:
        hide_password()
    try:
        with user_errors(), interrupting_signals():
            try:
                return command(sys.argv[1:] if argv is None else argv)
            finally:
                sys.stdout.flush()
    except UserError as error:
        return _failed(str(error), 2)
    except BrokenPipeError as error:
        return _unread(error)
    except OSError as error:
        if error.errno in NO_ROOM:
            return _failed(f"cannot write {error.filename or 'all output'} ({error.strerror}); make room", 2)
        if error.filename is None:  # not about a file or folder that the user named
            return _broke(error)
        return _failed(f"cannot use {error.filename} ({error.strerror}); name another path, or mend this one", 2)
    except (SearchFailed, ModelFailed) as error:
        return _failed(str(error), 1)
    except KeyboardInterrupt as stop:
        print(f"{stop}; run the same command again to resume" if str(stop) else "stopped", file=sys.stderr)
        return stop.code if isinstance(stop, Stopped) else 130
    except Exception as error:
        return _broke(error)


def hide_password() -> None:
    """Start again without a password in the command line, which others see in the list of processes."""
    if any("postgres" in word for word in sys.orig_argv):
        from nas.searching.server import shown  # only now: --help must not wait for sqlalchemy

        if (words := [shown(word) for word in sys.orig_argv]) != sys.orig_argv:
            os.execv(sys.executable, words)


def _unread(error: BrokenPipeError) -> int:
    """End quietly if whoever read our output has left, as `| head` does."""
    output = select.poll()
    output.register(sys.stdout.fileno(), 0)
    if not any(event & select.POLLERR for _, event in output.poll(0)):
        return _broke(error)  # another pipe
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # or Python complains at its end
    return 141


def _broke(error: Exception) -> int:
    """Show the traceback, and say whose code raised: a study file, mixer or data function of the user's, or ours."""
    traceback.print_exception(error)
    file = Path(traceback.extract_tb(error.__traceback__)[-1].filename).resolve()
    installed = {Path(path).resolve() for path in sysconfig.get_paths().values()} | {
        Path(__file__).resolve().parents[2]
    }
    yours = file.exists() and not any(file.is_relative_to(folder) for folder in installed)
    print(f"{file} raised this: it is not part of lensing-nas" if yours else REPORT_IT, file=sys.stderr)
    return 70


def _failed(reason: str, code: int) -> int:
    from trainers.plain import plain  # only now: its package may be hidden

    line = plain(" ".join(reason.split()))
    print(f"error: {line if len(line) <= LONGEST else f'{line[:LONGEST]} ...'}", file=sys.stderr)
    return code


def main_of(command: str, argv: list[str] | None = None) -> int:
    """Run the command of this name."""
    return run_command(importlib.import_module(f"nas.commands.{command}").command, argv)


def script(module: str) -> None:
    """Run the command of `python -m nas.<command>`; `module` is the caller's __name__.

    The calling file must not be imported: it would hide the library's function of the same name.
    """
    if module == "__main__":
        sys.exit(main_of(sys.modules["__main__"].__spec__.name.rpartition(".")[2]))  # type: ignore[union-attr]
    if module.startswith("nas."):
        command = module.rpartition(".")[2]
        import nas  # whose names are imported on first use

        name = "search" if command == "run" else command
        library = f". From Python: import nas, then nas.{name}(...)" if name in nas.__all__ else ""
        raise ImportError(f"{module} is a command: python -m {module}{library}")
