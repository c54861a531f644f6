"""What a worker looks at before its first job: whether it works on its machine as on the driver's.

A trial's values must not depend on where it ran, so another version or other images are refused in one line. Folders
that the worker does not see are no fault: their files travel (`far`).
"""

from __future__ import annotations

import hashlib
import importlib.util
import json
import os
import secrets
import shutil
import sys
import sysconfig
import tempfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from nas.own_code import sources
from nas.shadowed import PACKAGES
from nas.versions import versions
from nas.workers import far
from nas.workers.training import cached_in, find_alike, import_path
from trainers.data import Dataset
from trainers.data.cache import published
from trainers.errors import TrainingError

ROOT = Path(__file__).resolve().parents[2]
NODE_CACHE = "NAS_NODE_CACHE"  # the environment variable of a folder on the machine's own disk


@dataclass(frozen=True)
class Home:
    """The driver's machine, as its workers must find theirs."""

    token: tuple[str, str]  # a file among the runs, and its content
    images: tuple[str, str]  # the folder of the data set in the cache, and its `digest`
    versions: Mapping[str, str]  # `numbers`
    code: str  # `code_digest`
    modules: Mapping[str, str]  # the user's own, and the `module_digest` of each
    import_path: tuple[str, ...]
    files: Mapping[str, str]  # files of weights that trainings start from, and a hash of each

    @staticmethod
    def of(token: Path, data: Dataset, files: Iterable[str] = ()) -> Home:
        """The home of this process, which writes `token`: a file that it holds anyway."""
        word = secrets.token_hex(16)
        token.write_text(word)
        assert data.folder is not None
        return Home(
            token=(str(token.absolute()), word),
            images=(cached_in(data), digest(data.folder)),
            versions=numbers(),
            code=code_digest(),
            modules={name: module_digest(name) for name in own_modules()},
            import_path=import_path(),
            files={file: _file_digest(Path(file)) for file in files},
        )


def greet(home: Home, ask: far.Ask) -> str:
    """Settle this process on its machine. Return in a few words why it cannot work here; empty if it can."""
    here = numbers()
    if other := [f"{name} {here[name]} and not {v}" for name, v in home.versions.items() if here[name] != v]:
        return f"it has {', '.join(other)}: install the versions of the driver's machine"
    if code_digest() != home.code:
        return f"its code of lensing-nas in {ROOT} is not that of the driver's machine: bring it to the same commit"
    find_alike(home.import_path)
    if missing := [name for name in home.modules if importlib.util.find_spec(name) is None]:
        return f"it has no module {', '.join(missing)}: share its folder, or set PYTHONPATH before ray start"
    if stale := [name for name, content in home.modules.items() if module_digest(name) != content]:
        return f"its module {', '.join(stale)} is not that of the driver's machine: bring it to the same state"
    if other := [file for file, content in home.files.items() if _file_digest(Path(file)) != content]:
        return f"it has no {', '.join(other)} as on the driver's machine: copy it to the same path, or share its folder"
    token, word = home.token
    images, expected = Path(home.images[0]), home.images[1]
    found, reason = _found_images(images, expected, ask)
    far.settle(None if _text(Path(token)) == word else ask, {images: found})
    return reason


def _found_images(folder: Path, expected: str, ask: far.Ask) -> tuple[Path, str]:
    """The images, where the driver has them or brought there or to the temporary folder, once for a machine.

    They are brought to the folder that NODE_CACHE names on this machine, even if the driver's is seen here. If they are
    not usable, also the reason.
    """
    own, reasons = os.environ.get(NODE_CACHE), []
    for place in (*([Path(own)] if own else []), folder.parent, Path(tempfile.gettempdir()) / "nas-images"):
        try:
            found = published(place.absolute() / folder.name, lambda scratch: _bring(folder, expected, scratch, ask))
        except TrainingError as error:
            reasons.append(str(error))
            continue
        if digest(found) == expected:
            return found, ""
        reasons.append(f"the images in {found} are not those of the driver's machine: remove that folder there")
    return folder, reasons[-1]


def _bring(folder: Path, expected: str, to: Path, ask: far.Ask) -> None:
    """Copy the images into the folder `to`: from the driver's folder if it is seen here, or through its machine."""
    if folder.is_dir() and digest(folder) == expected:
        shutil.copytree(folder, to, dirs_exist_ok=True)
    else:
        far.copy(folder, to, ask)


def numbers() -> dict[str, str]:
    """The versions on this machine, but for how a package was built, and for our own: see `code_digest`."""
    return {name: str(v).partition("+")[0] for name, v in versions().items() if name != "lensing-nas"}


def _file_digest(file: Path) -> str:
    """Hash a file; empty if there is none."""
    if not file.is_file():
        return ""
    with file.open("rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()


def _text(file: Path) -> str:
    try:
        return file.read_text()
    except OSError:
        return ""


def digest(folder: Path) -> str:
    """Hash a data set in the cache but for its pixels: its manifest, labels and numbers, and the sizes of all files."""
    found = hashlib.sha256(json.dumps(far.sizes(folder)).encode())
    for file in sorted(folder.iterdir()):
        if not file.name.endswith("images.npy"):
            found.update(file.read_bytes())
    return found.hexdigest()


def code_digest() -> str:
    """Hash the code of our packages."""
    return _hash_code(ROOT, [file for name in PACKAGES for file in (ROOT / name).rglob("*.py")])


def module_digest(name: str) -> str:
    """Hash the code of a top-level module, or of all modules of a package; empty if no file made it."""
    files = sources(name)
    return _hash_code(files[0].parent, files) if files else ""


def _hash_code(root: Path, files: Iterable[Path]) -> str:
    found = hashlib.sha256()
    for file in sorted(files):
        found.update(f"{os.path.relpath(file, root)}\0".encode() + file.read_bytes())
    return found.hexdigest()


def own_modules() -> tuple[str, ...]:
    """The top-level modules that this process has imported from the user's folders."""
    installed = {Path(path) for path in (*sysconfig.get_paths().values(), sys.prefix, sys.base_prefix)}
    folders = [Path(path) for path in import_path()]
    found = []
    for name, module in [*sys.modules.items()]:
        file = Path(getattr(module, "__file__", None) or "/")
        if name not in (*PACKAGES, "__main__") and "." not in name and file.suffix == ".py":
            place = file.parent if file.name != "__init__.py" else file.parents[1]
            if place in folders and not any(place.is_relative_to(path) for path in installed):
                found.append(name)
    return tuple(sorted(found))
