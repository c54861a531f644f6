"""Find a study: by its name in this package, or in a Python file."""

from __future__ import annotations

import importlib
import importlib.util
import os
import pkgutil
import sys
import traceback
from importlib.machinery import PathFinder, SourceFileLoader
from pathlib import Path
from types import ModuleType

from search_space import mixers
from search_space.errors import ArchitectureError
from studies.errors import StudyError
from studies.spec import StudySpec
from trainers.errors import TrainingError

NOT_STUDIES = ("baselines", "errors", "first", "loading", "spec", "train_space")  # what studies are made of


def known() -> list[str]:
    """Return the names of the studies in this package."""
    package = importlib.import_module("studies")
    return sorted(m.name for m in pkgutil.iter_modules(package.__path__) if m.name not in NOT_STUDIES)


def load(study: str | os.PathLike[str] | StudySpec) -> StudySpec:
    """Return a study: the one of this name in this package, the STUDY of a Python file, or the one given.

    A file is imported as a module called by its stem, and its folder is appended to `sys.path`: it can import its
    neighbours, hold a mixer that its own STUDY names, and be imported elsewhere once its folder is on the path there.

    Raises:
        StudyError: no such study, a file that cannot be imported by its name, or one without a STUDY. It names the
            line of an error in the file's own code, which is its cause.
    """
    if isinstance(study, StudySpec):
        return study
    if not isinstance(study, str | os.PathLike):
        raise StudyError(f"study is {study!r}; expected the name of a study, the path of a .py file or a StudySpec")
    name = os.fspath(study)
    if name.endswith(".py"):
        return load_file(Path(name))
    if name not in known():
        raise StudyError(
            f"unknown study {name!r}; known: {', '.join(known())}; or give the path of a .py file with a STUDY"
        )
    return study_in(importlib.import_module(f"studies.{name}"), name)


def study_in(module: ModuleType, name: str) -> StudySpec:
    study = getattr(module, "STUDY", None)
    if not isinstance(study, StudySpec):
        raise StudyError(f"{name} has no STUDY = StudySpec(...)")
    return study


def load_file(path: Path) -> StudySpec:
    """Import the study file at `path` anew, and return its STUDY; if that fails, nothing stays imported."""
    if not os.path.isfile(path):  # False for names that no file can have, too
        raise StudyError(f"no study file {path}")
    path = Path(os.path.abspath(path))
    name, folder = path.stem.replace(".", "-"), str(path.parent)
    if (taken := taken_by(name, path)) is not None:
        raise StudyError(f"the study file {path} has the name of another module, {taken}: rename the file")

    loader = SourceFileLoader(name, str(path))
    spec = importlib.util.spec_from_file_location(name, path, loader=loader)
    assert spec is not None
    module = importlib.util.module_from_spec(spec)
    before, search_path = sys.modules.get(name), list(sys.path)
    put_on_path(folder, name)
    sys.modules[name] = module  # before it runs, as importlib does: dataclasses and mixers look for it there
    try:
        # Compiled here: cached bytecode is out of date if the file is changed twice within a second.
        exec(loader.source_to_code(path.read_bytes(), str(path)), module.__dict__)
        study = study_in(module, str(path))
        if name in mixers.known() and hasattr(module, "Mixer"):
            raise StudyError(f"the study file {path} holds a mixer with the name of one of ours: rename the file")
    except BaseException as error:
        sys.path[:] = search_path
        if before is None:
            sys.modules.pop(name, None)
        else:
            sys.modules[name] = before
        if isinstance(error, Exception | SystemExit):
            raise explained(error, path) from error
        raise
    return study


def explained(error: BaseException, path: Path) -> StudyError:
    """The error of a study file as one line, with the last line of the file that was at work."""
    lines = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if frame.filename == str(path)]
    if isinstance(error, StudyError) and not lines:  # of what the file lacks
        return error
    where = f"{path}, line {lines[-1]}" if lines else str(path)
    ours = isinstance(error, StudyError | ArchitectureError | TrainingError)
    return StudyError(f"{where}: {error if ours else f'{type(error).__name__}: {error}'}; correct the file")


def taken_by(name: str, path: Path) -> str | None:
    """Return the place of another module that is called `name`; None if there is none, or only another study file."""
    module = sys.modules.get(name)
    if module is not None:
        place = getattr(module, "__file__", None)
        replaceable = isinstance(getattr(module, "STUDY", None), StudySpec)
        return None if replaceable or is_same(place, path) else place or f"built-in {name!r}"
    found = importlib.util.find_spec(name)
    if found is None or found.origin is None or is_same(found.origin, path):  # no origin: a folder without modules
        return None
    return found.origin


def is_same(place: str | None, path: Path) -> bool:
    return place is not None and Path(place).resolve() == path.resolve()


def put_on_path(folder: str, name: str) -> None:
    """Append `folder` to `sys.path`, or move it before that of another study file called `name`."""
    if folder not in sys.path:
        sys.path.append(folder)
    importlib.invalidate_caches()
    found = PathFinder.find_spec(name)
    if (
        found is not None
        and found.origin is not None
        and (other := Path(found.origin).parent.resolve()) != Path(folder).resolve()
    ):
        sys.path.remove(folder)
        sys.path.insert([Path(entry).resolve() for entry in sys.path].index(other), folder)
