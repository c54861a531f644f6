"""Files that hold arrays under names: NumPy's .npz, HDF5, and tensors that PyTorch saved. Nothing in them is run."""

from __future__ import annotations

import struct
import zipfile
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor

from trainers.data.folder.names import OBJECT, SPLIT_NAMES, object_named, words
from trainers.data.folder.object_array import read_header
from trainers.errors import TrainingError

NPZ, HDF5, TENSORS = (".npz",), (".h5", ".hdf5", ".hdf"), (".pt", ".pth")
NAMED_ARRAYS = (*NPZ, *HDF5, *TENSORS)
IMAGES = ("images", "image", "imgs", "img", "x", "data", "pixels", "cutouts", "cutout", "stamps", "inputs", "features")
LABELS = ("labels", "label", "y", "targets", "target", "classes", "class", "ans", "truth", "one_hot", "onehot")
SPLITS = ("split", "splits")
PICKLE = (
    "is a pickle, which can run any code when opened, so it is refused; load it where you trust it and write each "
    "image with numpy.save into a folder of its class (no_sub/, cdm/, axion/)"
)
CHUNKS = 2**28  # bytes of HDF5's chunks in memory: images that are read one by one share them
SHOWN = 12


class Rows(Protocol):
    """An array, in memory or on the disk, whose rows can be read one by one."""

    @property
    def shape(self) -> tuple[int, ...]: ...

    @property
    def dtype(self) -> np.dtype: ...

    def __len__(self) -> int: ...

    def __getitem__(self, index: Any, /) -> Any: ...


@dataclass(frozen=True)
class NamedArray:
    """An array in a file, not yet read."""

    name: str
    shape: tuple[int, ...]
    dtype: np.dtype
    load: Callable[[], Rows]

    def open(self) -> Rows:
        """The array itself, mapped where the file allows it. TrainingError if it cannot be read."""
        with readable():
            return self.load()

    def __str__(self) -> str:
        return f"{self.name} {'x'.join(map(str, self.shape)) or 'scalar'} {self.dtype}"

    @property
    def split(self) -> str | None:
        """The split that its name tells: train of `x_train` and `train/x`."""
        return split_in(self.name)

    @property
    def plain(self) -> str:
        """Its name in lower case, without that of a split."""
        return plain(self.name)

    @property
    def last(self) -> str:
        """As `plain`, without the groups that it is in."""
        return plain(self.name.rpartition("/")[2])

    def is_key(self, key: str) -> bool:
        """Whether the user means it by `key`: its name, or that without a split."""
        return key == self.name or "_".join(words(key)) == self.plain


def plain(name: str) -> str:
    """The words of a name in lower case, without those of a split."""
    return "_".join(word for word in words(name) if word not in SPLIT_NAMES)


def split_in(name: str) -> str | None:
    """The split that a word of this name means."""
    return next((SPLIT_NAMES[word] for word in words(name) if word in SPLIT_NAMES), None)


def is_named_arrays(name: str) -> bool:
    """Whether a file of this name holds named arrays."""
    return name.lower().endswith(NAMED_ARRAYS)


def arrays_in(path: Path) -> list[NamedArray]:
    """The arrays in the file, not yet read. TrainingError if it is damaged, or a pickle of anything else."""
    name = path.name.lower()
    with readable():
        if name.endswith(NPZ):
            return in_npz(path)
        return in_hdf5(path) if name.endswith(HDF5) else in_tensors(path)


@contextmanager
def readable() -> Iterator[None]:
    """Raise TrainingError for the errors that a damaged file may raise inside."""
    try:
        yield
    except TrainingError:
        raise
    except (OSError, ValueError, RuntimeError, struct.error, zlib.error, zipfile.BadZipFile) as error:
        raise TrainingError(f"cannot be read ({' '.join(str(error).split())})") from error


def choose_images(arrays: Sequence[NamedArray], key: str | None, axes: int) -> NamedArray:
    """The array of this key, or of a common name, or the only one of images, which have at least so many axes.

    `axes` is 3 for several images and 2 for one, or several. TrainingError if there is not just one such array.
    """
    if key is not None:
        found = [array for array in arrays if array.is_key(key)]
    else:
        called = [array for array in arrays if array.plain in IMAGES]
        shaped = [array for array in called or arrays if len(array.shape) >= axes and array.dtype.kind in "biuf"]
        found = [array for array in shaped if len(array.shape) > 2 and not called] or shaped
    if len(found) != 1:
        raise TrainingError(unclear(arrays, "the images" if axes > 2 else "the image", key))
    return found[0]


def choose_labels(
    arrays: Sequence[NamedArray], key: str | None, images: NamedArray
) -> tuple[NamedArray | None, list[NamedArray]]:
    """The array of labels beside `images`: of this key, of a common name, or the only other one of their number.

    Then the arrays with a number for each image, which are regression targets: broken ones, and beside labels of a
    common name whole ones as well. Without labels there are several. TrainingError if it is not clear which are the
    labels.
    """
    others = [array for array in arrays if array is not images and len(array.shape) in (1, 2)]
    others = [array for array in others if not OBJECT.fullmatch(array.last) and array.last not in SPLITS]
    beside = [array for array in others if array.shape[0] == images.shape[0]]
    single = [array for array in beside if array.shape[1:] in ((), (1,))]
    numbers = [array for array in single if array.dtype.kind == "f"]
    if key is not None:
        found = [array for array in arrays if array.is_key(key)]
    else:
        called = [array for array in others if array.plain in LABELS]
        found = called or [array for array in beside if array not in numbers and not numbers_each(array)]
        if not found and len(numbers) > 1:
            return None, numbers
        found = found or numbers
    if len(found) != 1:
        raise TrainingError(unclear(arrays, "the labels", key))
    if found[0].plain in LABELS:
        numbers += [array for array in single if array.dtype.kind in "iu" and not numbers_each(array)]
    return found[0], [array for array in numbers if array is not found[0]]


def choose_splits(arrays: Sequence[NamedArray], images: NamedArray) -> NamedArray | None:
    """The array that says the split of each image, by its name; None if there is none."""
    return next((a for a in arrays if a.last in SPLITS and a.shape == images.shape[:1]), None)


def choose_objects(arrays: Sequence[NamedArray], images: NamedArray) -> NamedArray | None:
    """The array that says which object each image shows, by its name; None if there is none."""
    found = {array.last: array for array in reversed(arrays) if array.shape == images.shape[:1]}
    name = object_named(array.last for array in arrays if array.last in found)
    return None if name is None else found[name]


def numbers_each(array: NamedArray) -> bool:
    """Whether an array gives every image a number of its own, and so no class: an index."""
    if array.dtype.kind not in "iu" or array.shape[1:] not in ((), (1,)):
        return False
    values = np.asarray(array.open()[...])
    return values.size > 1 and all_differ(values)


def all_differ(values: np.ndarray) -> bool:
    return len(np.unique(values)) == values.size


def unclear(arrays: Sequence[NamedArray], what: str, key: str | None) -> str:
    listed = ", ".join(map(str, arrays[:SHOWN])) + f" and {len(arrays) - SHOWN} more" * (len(arrays) > SHOWN)
    has = f"has the arrays {listed or 'none'}, and"
    if key is not None:
        return f"{has} {sum(array.is_key(key) for array in arrays) or 'none'} of them called {key!r}; expected one"
    return f"{has} it is not clear which holds {what}; choose with --key IMAGES,LABELS"


def in_npz(path: Path) -> list[NamedArray]:
    """The arrays of a NumPy archive, by their headers."""
    found = []
    with zipfile.ZipFile(path) as archive:
        for member in archive.infolist():
            if member.filename.endswith(".npy"):
                with archive.open(member) as file:
                    shape, _, dtype = read_header(file)
                found.append(NamedArray(member.filename[:-4], shape, dtype, opener(path, member)))
    return found


def opener(path: Path, member: zipfile.ZipInfo) -> Callable[[], Rows]:
    def load() -> Rows:
        if member.compress_type != zipfile.ZIP_STORED:
            with np.load(path, allow_pickle=False) as archive:
                return archive[member.filename[:-4]]
        with path.open("rb") as file:  # as it lies in the archive, behind its name and more of that length
            file.seek(member.header_offset + 26)
            file.seek(member.header_offset + 30 + sum(struct.unpack("<HH", file.read(4))))
            shape, fortran, dtype = read_header(file)
            if dtype.hasobject:
                raise TrainingError(f"holds Python objects in {member.filename}, which are not read")
            start = file.tell()
        if not np.prod(shape):
            return np.empty(shape, dtype)
        return np.memmap(path, dtype, "r", start, shape, "F" if fortran else "C")

    return load


def in_hdf5(path: Path) -> list[NamedArray]:
    """The data sets of an HDF5 file, those in groups under `group/name`."""
    try:
        import h5py
    except ImportError as error:
        raise TrainingError("is an HDF5 file; to read those: pip install h5py") from error

    def opened(name: str) -> Callable[[], Rows]:
        return lambda: h5py.File(path, "r", rdcc_nbytes=CHUNKS)[name]  # which keeps the file open

    found = []

    def visit(name: str, node: Any) -> None:
        if isinstance(node, h5py.Dataset) and node.shape is not None:
            text = h5py.check_string_dtype(node.dtype) is not None
            found.append(NamedArray(name, node.shape, np.dtype("U") if text else node.dtype, opened(name)))

    with h5py.File(path, "r") as file:
        file.visititems(visit)
    return found


def in_tensors(path: Path) -> list[NamedArray]:
    """The tensors that `torch.save` wrote: one, called like the file; several by key; or several by number."""
    try:
        content = torch.load(path, map_location="cpu", weights_only=True, mmap=zipfile.is_zipfile(path))
    except FileNotFoundError:
        raise
    except Exception as error:  # a hostile pickle can raise anything
        raise TrainingError(PICKLE) from error
    if isinstance(content, tuple | list):
        content = {str(number): value for number, value in enumerate(content)}
    named: Mapping[Any, Any] = content if isinstance(content, Mapping) else {path.stem: content}
    found = []
    for name, value in named.items():
        if isinstance(value, list) and all(isinstance(item, int | float | str) for item in value):
            array = np.asarray(value)
        elif isinstance(value, Tensor) and value.layout == torch.strided and not value.is_quantized:
            array = from_tensor(value)
        else:
            continue
        found.append(NamedArray(str(name), array.shape, array.dtype, lambda array=array: array))  # type: ignore[misc]
    return found


def from_tensor(tensor: Tensor) -> np.ndarray:
    """The tensor as a numpy array, without a copy if it is on the CPU; bfloat16, which numpy lacks, as float32."""
    tensor = tensor.detach().cpu()
    return (tensor.float() if tensor.dtype == torch.bfloat16 else tensor).numpy()
