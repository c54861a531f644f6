"""Reads `.npy` files that hold Python objects, and runs nothing that a file asks for.

DeepLense's axion files are pickled object arrays `[image, axion mass]`; others hold a dict. A pickle is a program. Here
its only callables are stand-ins, made afresh for every file, that rebuild plain numeric arrays from bytes. Any other
name is refused before it is imported.
"""

from __future__ import annotations

import pickle
import threading
from functools import lru_cache
from io import BytesIO
from pathlib import Path
from typing import IO, Any, BinaryIO

import numpy as np

from trainers.errors import TrainingError

# numpy parses a header with `ast`, whose depth counter CPython 3.11 shares between threads. Many threads read files,
# and one in many thousands would end in "SystemError: AST constructor recursion depth mismatch" (cpython#106905).
PARSING = threading.Lock()
LONGEST_HEADER = 2**16  # bytes; numpy refuses much shorter ones as unsafe


def read_npy(path: Path) -> np.ndarray:
    """The array in `path`, of dtype object if it holds numeric arrays and numbers. TrainingError for other objects."""
    with path.open("rb") as file:
        shape, fortran, dtype = read_header(file)
        if not dtype.hasobject:
            numbers = np.fromfile(file, dtype=dtype, count=int(np.prod(shape)))
            return numbers.reshape(shape, order="F" if fortran else "C")  # ValueError if the file is cut short
        try:
            array = restricted_unpickler(file).load()
        except Exception as error:  # a hostile pickle can raise anything
            raise TrainingError(f"not an object array of plain numbers and arrays ({error})") from error
        items = array.items if isinstance(array, Array) else array
        if not isinstance(items, list) or len(items) != int(np.prod(shape)):
            raise TrainingError("not an object array of plain numbers and arrays")
        result = np.empty(len(items), dtype=object)
        for i, item in enumerate(items):
            members = {name: plain(value) for name, value in item.items()} if isinstance(item, dict) else item
            result[i] = plain(members)
        return result.reshape(shape)


def header_of(path: Path) -> tuple[tuple[int, ...], np.dtype]:
    """The shape and dtype of the array in a `.npy` file. OSError if it is damaged, ValueError if it is none."""
    with path.open("rb") as file:
        shape, _, dtype = read_header(file)
    return shape, dtype


def read_header(file: IO[bytes]) -> tuple[tuple[int, ...], bool, np.dtype]:
    """The shape, order (whether Fortran's) and dtype of an array in `numpy.save`'s form, whose numbers follow.

    OSError if it is damaged, as Pillow raises for images.
    """
    major, _ = np.lib.format.read_magic(file)
    size = file.read(2 if major == 1 else 4)
    return parsed(major, size + file.read(min(int.from_bytes(size, "little"), LONGEST_HEADER)))


@lru_cache
def parsed(major: int, header: bytes) -> tuple[tuple[int, ...], bool, np.dtype]:
    """Parse a header, which images of one kind share: that takes longer than to read a small image."""
    read = np.lib.format.read_array_header_1_0 if major == 1 else np.lib.format.read_array_header_2_0
    try:
        with PARSING:
            return read(BytesIO(header))
    except Exception as error:  # numpy parses it as Python, whose errors are of many kinds
        raise OSError(f"its header is damaged ({error})") from error


class Array:
    """The unpickler's stand-in for an ndarray: `items` is a list of objects or a numeric array."""

    items: Any = None


def plain(item: Any) -> Any:
    return item.items if isinstance(item, Array) else item


def restricted_unpickler(file: BinaryIO) -> pickle.Unpickler:
    """An unpickler that knows numeric arrays, lists and numbers, and refuses every other name."""

    class Dtype:
        def __init__(self, code: str, *_: object) -> None:
            self.code, self.order = code, "="

        def __setstate__(self, state: tuple[Any, ...]) -> None:
            self.order = "=" if state[1] == "|" else state[1]

        def numeric(self) -> np.dtype:
            if self.code[:1] not in ("b", "i", "u", "f"):
                raise TrainingError(f"dtype {self.code!r} in a pickle")
            return np.dtype(f"{self.order}{self.code}")

    class Rebuilt(Array):
        def __setstate__(self, state: tuple[Any, ...]) -> None:
            _, shape, dtype, fortran, content = state
            if isinstance(content, list):
                self.items = content
            else:
                self.items = np.ndarray(shape, dtype.numeric(), content, order="F" if fortran else "C")

    allowed: dict[tuple[str, str], Any] = {("numpy", "ndarray"): Rebuilt, ("numpy", "dtype"): Dtype}
    for package in ("numpy.core", "numpy._core"):  # before and since numpy 2
        allowed[f"{package}.multiarray", "_reconstruct"] = lambda *_: Rebuilt()
        allowed[f"{package}.multiarray", "scalar"] = lambda dtype, raw: np.frombuffer(raw, dtype.numeric())[0]

    class Restricted(pickle.Unpickler):
        def find_class(self, module: str, name: str) -> Any:
            if (module, name) not in allowed:
                raise pickle.UnpicklingError(f"it asks for {module}.{name}")
            return allowed[module, name]

    return Restricted(file)


def stored_shape(file: Path) -> tuple[int, ...]:
    """The shape that the header of a `.npy` file says; () for objects, and for a damaged one."""
    try:
        shape, dtype = header_of(file)
    except (OSError, ValueError):
        return ()  # the conversion names bad files
    return () if dtype.hasobject else shape
