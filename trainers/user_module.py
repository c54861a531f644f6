"""A user's own modules and functions, named by a dotted path."""

from __future__ import annotations

import hashlib
import importlib
import importlib.util
import inspect
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

from trainers.errors import TrainingError


def import_named(name: str, what: str) -> ModuleType:
    """Import the module at the dotted path `name`; `what` says in messages what it is for.

    TrainingError if no such module exists, or it ends the program. Errors raised inside the user's module pass through
    with their traceback.
    """
    if not is_dotted(name):
        raise TrainingError(f"{what} {name!r} is not the dotted path of a module, such as my_package.my_module")
    try:
        return importlib.import_module(name)
    except SystemExit as error:
        raise TrainingError(f"{what} {name!r}: the module ends the program when it is imported; correct it") from error
    except ModuleNotFoundError as error:
        if error.name is None or not f"{name}.".startswith(f"{error.name}."):
            raise  # the module exists and lacks something that it imports itself
        raise TrainingError(
            f"{what} {name!r}: Python finds no module {error.name!r}; run from the folder that holds it, or install it"
        ) from error


def is_dotted(name: str) -> bool:
    """Whether `name` is one or more identifiers with dots between them."""
    return all(part.isidentifier() for part in name.split("."))


def is_importable(name: str) -> bool:
    """Whether Python finds a module of this name, which has no dots."""
    try:
        return name.isidentifier() and importlib.util.find_spec(name) is not None
    except ValueError:  # a module that no file made, such as __main__
        return False


class UserFunction:
    """A user's function without arguments, `my_package.my_module:function`.

    TrainingError if there is no such module or function.
    """

    def __init__(self, name: str, what: str) -> None:
        path, _, self.attribute = name.partition(":")
        imported_before = set(sys.modules)
        self.module = import_named(path, what)
        function = getattr(self.module, self.attribute, None)
        if not callable(function):
            raise TrainingError(f"{what} {name!r}: the module has no function {self.attribute!r}")
        # The module may only pass on a function that another one defines.
        self.defining = sys.modules[function.__module__] if inspect.isfunction(function) else self.module
        self.outdated = [m for m in (self.defining, self.module) if m.__name__ in imported_before]
        if not getattr(self.defining, "__file__", None):
            raise TrainingError(f"{what} {name!r}: the module has no file, so that no edit of it would be noticed")

    def digest(self) -> str:
        """SHA-256 of the file that defines the function."""
        assert self.defining.__file__ is not None
        return hashlib.sha256(Path(self.defining.__file__).read_bytes()).hexdigest()

    def __call__(self) -> Any:
        """Call the function as its file stands now, even if this process imported an older version of it."""
        for module in dict.fromkeys(self.outdated):
            importlib.reload(module)
        return getattr(self.module, self.attribute)()
