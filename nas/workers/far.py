"""The driver's files, for a worker on a machine that does not see them.

What is `done` happens on the driver's machine: here, if this process sees the driver's folders, and otherwise in an
actor there. Bytes travel through Ray's object store, but this module does not know Ray.
"""

from __future__ import annotations

import io
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

from nas.files import replacing, whole_file

T = TypeVar("T")
Ask = Callable[..., Any]  # calls a function with arguments on the driver's machine, and returns its result
PART = 2**25  # bytes of a file that travel at once

_ask: Ask | None = None  # None: this process is on the driver's machine, or sees the same folders
_found: dict[Path, Path] = {}  # the driver's folder -> the same folder on this machine


def settle(ask: Ask | None, found: Mapping[Path, Path]) -> None:
    """Let `ask` do this process's work with the driver's files, but for folders that are `found` here."""
    global _ask
    _ask = ask
    _found.update(found)


def done(function: Callable[..., T], *args: Any) -> T:
    """The result of `function(*args)` on the driver's machine, with its error if it raises."""
    result: T = (_ask or call)(function, *args)
    return result


def call(function: Callable[..., T], *args: Any) -> T:
    return function(*args)


def copy(folder: Path, to: Path, ask: Ask) -> None:
    """Copy the files of a folder on the driver's machine into the folder `to`."""
    for name, size in ask(sizes, folder).items():
        (to / name).parent.mkdir(parents=True, exist_ok=True)
        with (to / name).open("wb") as file:
            for start in range(0, size, PART):
                file.write(ask(part, folder / name, start))


def sizes(folder: Path) -> dict[str, int]:
    """The files of a folder and those below, and their bytes."""
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): path.stat().st_size for path in files}


def part(file: Path, start: int) -> bytes:
    with file.open("rb") as opened:
        opened.seek(start)
        return opened.read(PART)


def found(folder: Path) -> Path:
    """Where a folder of the driver's is found here."""
    return _found.get(folder, folder)


@contextmanager
def borrowed(folder: Path) -> Iterator[Path]:
    """A folder of the driver's, or a copy of it for as long as the block lasts."""
    if _ask is None:
        yield folder
        return
    with tempfile.TemporaryDirectory(prefix="nas-far-") as name:
        copy(folder, Path(name), _ask)
        yield Path(name)


def opened(file: Path) -> Path | io.BytesIO:
    """A file of the driver's, to be read."""
    return file if _ask is None else io.BytesIO(_ask(Path.read_bytes, file))


@contextmanager
def written(file: Path) -> Iterator[Path]:
    """Yield the path of a file to write. At the end it takes the place of the driver's `file`, whole or not at all."""
    if _ask is None:
        file.parent.mkdir(parents=True, exist_ok=True)
        with whole_file(file) as unfinished:
            yield unfinished
        return
    with tempfile.TemporaryDirectory(prefix="nas-far-") as name:
        yield Path(name) / file.name
        _ask(_write, file, (Path(name) / file.name).read_bytes())


def _write(file: Path, content: bytes) -> None:
    with written(file) as unfinished:
        unfinished.write_bytes(content)


@contextmanager
def replaced(folder: Path) -> Iterator[Path]:
    """Yield an empty folder to fill. At the end it takes the place of the driver's `folder`, as in `replacing`."""
    if _ask is None:
        with replacing(folder) as scratch:
            yield scratch
        return
    with tempfile.TemporaryDirectory(prefix="nas-far-") as name:
        yield Path(name)
        _ask(_replace, folder, {file: (Path(name) / file).read_bytes() for file in sizes(Path(name))})


def _replace(folder: Path, content: Mapping[str, bytes]) -> None:
    with replacing(folder) as scratch:
        for name, data in content.items():
            (scratch / name).parent.mkdir(parents=True, exist_ok=True)
            (scratch / name).write_bytes(data)


def removed(folder: Path) -> None:
    """Remove a folder of the driver's, if it is there."""
    done(shutil.rmtree, folder, True)
