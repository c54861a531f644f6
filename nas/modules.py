"""Find modules by name: ours by a short name, a user's own by a dotted one."""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from types import ModuleType

from nas.errors import UserError
from trainers.user_module import import_named, is_importable


def find_module(name: str, kind: str, package: str, known: Sequence[str], attribute: str) -> ModuleType:
    """Import the module `package.name` for a known name, else the user's module `name`, which must have `attribute`.

    UserError if the module or its attribute is missing. Errors raised inside a user's module keep their traceback.
    """
    if name in known:
        return importlib.import_module(f"{package}.{name}")
    if "." not in name and not is_importable(name):
        raise UserError(
            f"unknown {kind} {name!r}; known: {', '.join(known)}; or give the dotted name of your own module"
        )
    module = import_named(name, kind)
    if not hasattr(module, attribute):
        raise UserError(f"{kind} {name!r}: the module has no {attribute}; define it there")
    return module
