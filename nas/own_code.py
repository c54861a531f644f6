"""The code of a user's own mixers and tasks, on which the values of a study and the answers of a model depend."""

from __future__ import annotations

import ast
import hashlib
import importlib.util
from collections.abc import Iterable, Mapping
from pathlib import Path

from nas.errors import UserError
from search_space import mixers
from trainers import tasks
from trainers.tasks import Named


def own_code(names: Iterable[str], task: Named) -> dict[str, str]:
    """A hash of the statements of the task and of each of these mixers that is none of ours.

    UserError for one in `__main__`, which no other process can import.
    """
    own = {name for name in names if name not in mixers.known()}
    own |= {task} if isinstance(task, str) and task not in tasks.known() else set()
    if "__main__" in own:
        raise UserError("a mixer or task is in __main__, which workers cannot import: put it into a file of its own")
    return {name: _statements(name) for name in sorted(own)}


def edited(before: Mapping[str, str]) -> str:
    """The modules, with commas, whose code is no longer that of `before`, which `own_code` returned."""
    return ", ".join(name for name, content in before.items() if content and _statements(name) != content)


def _statements(name: str) -> str:
    """Hash the statements of a module, but for its docstring and its STUDY, which may grow; empty if it has no file."""
    found = hashlib.sha256()
    files = sources(name)
    for file in files:
        text = file.read_text(encoding="utf-8")
        for node in ast.parse(text).body:
            is_study = isinstance(node, ast.Assign) and any(getattr(to, "id", "") == "STUDY" for to in node.targets)
            is_text = isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
            if not is_study and not is_text:
                found.update(f"{ast.get_source_segment(text, node)}\0".encode())
    return found.hexdigest() if files else ""


def sources(name: str) -> list[Path]:
    """The file of a module, or those of all modules of a package; none if it comes from elsewhere."""
    try:
        spec = importlib.util.find_spec(name)
    except (ModuleNotFoundError, ValueError):  # its package is not there, or it was made by hand
        return []
    if spec is None or not spec.has_location or spec.origin is None or not Path(spec.origin).is_file():
        return []
    file = Path(spec.origin)
    return sorted(file.parent.rglob("*.py")) if spec.submodule_search_locations else [file]
