"""The code of a user's own mixers and tasks, on which the values of a study and the answers of a model depend."""

from __future__ import annotations

import hashlib
import importlib.util
from collections.abc import Iterable, Mapping
from pathlib import Path

from nas.errors import UserError
from search_space import mixers
from trainers import tasks
from trainers.tasks import Named


def own_code(names: Iterable[str], task: Named) -> dict[str, str]:
    """The `module_digest` of the task and of each of these mixers that is none of ours.

    UserError for one in `__main__`, which no other process can import.
    """
    own = {name for name in names if name not in mixers.known()}
    own |= {task} if isinstance(task, str) and task not in tasks.known() else set()
    if "__main__" in own:
        raise UserError("a mixer or task is in __main__, which workers cannot import: put it into a file of its own")
    return {name: module_digest(name) for name in sorted(own)}


def edited(before: Mapping[str, str]) -> str:
    """The modules, with commas, whose code is no longer that of `before`, which `own_code` returned."""
    return ", ".join(name for name, content in before.items() if content and module_digest(name) != content)


def module_digest(name: str) -> str:
    """Hash the code of a module, or of all modules of a package; empty if no file made it."""
    try:
        spec = importlib.util.find_spec(name)
    except (ModuleNotFoundError, ValueError):  # its package is not there, or it was made by hand
        return ""
    if spec is None or not spec.has_location or spec.origin is None:
        return ""
    file = Path(spec.origin)
    return hash_code(file.parent, file.parent.rglob("*.py") if spec.submodule_search_locations else [file])


def hash_code(root: Path, files: Iterable[Path]) -> str:
    """Hash files below `root` with their paths."""
    found = hashlib.sha256()
    for file in sorted(files):
        found.update(f"{file.relative_to(root)}\0".encode() + file.read_bytes())
    return found.hexdigest()
