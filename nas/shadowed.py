"""Notice a file of the user's that hides one of our packages, before it is imported in its place."""

from __future__ import annotations

from importlib.machinery import PathFinder
from pathlib import Path

PACKAGES = ("nas", "search_space", "studies", "trainers")


def shadowed() -> str:
    """What hides which of our packages, in one line; empty if nothing does.

    All four packages in one other place are a clone of ours, in which the installed command may run.
    """
    ours = Path(__file__).resolve().parents[1]
    places: dict[str, Path] = {}  # the package's folder, or the file in its place
    for name in PACKAGES:
        spec = PathFinder.find_spec(name)
        if spec is None or spec.origin is None:  # found in another way; or a folder without __init__.py, which yields
            continue
        file = Path(spec.origin).resolve()
        places[name] = file.parent if file.name == "__init__.py" else file
    whole = [place.name for place in places.values()] == list(PACKAGES)
    if whole and len({place.parent for place in places.values()}) == 1:
        return ""
    for name, place in places.items():
        if place != ours / name:
            return f"{place} hides the package {name} of lensing-nas; rename it, or run this in another folder"
    return ""
