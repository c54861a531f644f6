"""Notice a file of the user's that hides one of our packages, before it is imported in its place."""

from __future__ import annotations

from importlib.machinery import PathFinder
from pathlib import Path

PACKAGES = ("nas", "search_space", "studies", "trainers")


def shadowed() -> str:
    """What hides which of our packages, in one line; empty if nothing does."""
    ours = Path(__file__).resolve().parents[1]
    for name in PACKAGES:
        found = PathFinder.find_spec(name)
        if found is None or found.origin is None:  # found in another way; or a folder without __init__.py, which yields
            continue
        file = Path(found.origin).resolve()
        if file.parent != ours / name:
            file = file.parent if file.name == "__init__.py" else file
            return f"{file} hides the package {name} of lensing-nas; rename it, or run this in another folder"
    return ""
