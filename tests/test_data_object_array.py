"""Object arrays: DeepLense's own are read, anything that could run something is refused."""

import os
import pickle
from pathlib import Path

import numpy as np
import pytest

from trainers.data.folder.image_file import normal_form, read_stored
from trainers.data.folder.object_array import read_npy

SHARED = Path(__file__).resolve().parents[2] / "shared/data"


def save_pickled(path: Path, content: object) -> Path:
    """A `.npy` file of two objects whose pickle is `content`, which numpy itself would never write."""
    with path.open("wb") as file:
        np.lib.format.write_array_header_1_0(file, {"descr": "|O", "fortran_order": False, "shape": (2,)})
        pickle.dump(content, file)
    return path


@pytest.mark.parametrize("dtype", ["u1", "<i8", ">i4", "<f4", ">f8"])
def test_image_and_number_come_back_as_numpy_wrote_them(tmp_path: Path, dtype: str) -> None:
    image = np.arange(12).reshape(3, 4).astype(dtype)
    array = np.empty(2, dtype=object)
    for stored in (image, np.asfortranarray(image)):
        array[:] = [stored, np.float64(2e-23)]
        np.save(tmp_path / "a.npy", array, allow_pickle=True)
        read = read_npy(tmp_path / "a.npy")
        np.testing.assert_array_equal(read[0], image)
        assert read[1] == 2e-23


@pytest.mark.parametrize("model", ["model_I", "model_II"])
def test_deeplense_axion_files_are_read_as_numpy_would(model: str) -> None:
    files = sorted((SHARED / model / "axion").glob("*.npy"))
    if not files:
        pytest.skip(f"no {model} files in {SHARED}")
    for file in files:
        image, mass = np.load(file, allow_pickle=True)
        stored = read_stored(file)
        ours, filled = normal_form(stored.array)
        assert not filled
        np.testing.assert_array_equal(ours[0], image if image.dtype.kind == "i" else image.astype(np.float32))
        assert stored.targets == {"axion_mass": mass}


class Exploit:
    def __init__(self, call: tuple) -> None:
        self.call = call

    def __reduce__(self) -> tuple:
        return self.call


@pytest.mark.parametrize("call", ["os.system", "eval", "open", "exec", "numpy.load"])
def test_a_malicious_file_is_refused_and_runs_nothing(tmp_path: Path, call: str) -> None:
    ran = tmp_path / "ran"
    payload = {
        "os.system": (os.system, (f"touch {ran}",)),
        "eval": (eval, (f"open({str(ran)!r}, 'w')",)),
        "open": (open, (str(ran), "w")),
        "exec": (exec, ("import os; os.harmed = True",)),
        "numpy.load": (np.load, (str(ran), None, True)),
    }[call]
    file = save_pickled(tmp_path / "evil.npy", [Exploit(payload), 1.0])
    with pytest.raises(ValueError, match="not an object array of plain numbers and arrays"):
        read_npy(file)
    assert not ran.exists()
    assert not hasattr(os, "harmed")


@pytest.mark.parametrize("content", [{"a": 1}, [1, 2, 3], "text", 7])
def test_other_pickles_are_refused(tmp_path: Path, content: object) -> None:
    with pytest.raises(ValueError, match="not an object array"):
        read_npy(save_pickled(tmp_path / "odd.npy", content))


@pytest.mark.parametrize("items", [[1.0, 2.0], [np.zeros((4, 4)), "text"], [np.zeros((4, 4)), np.inf]])
def test_objects_that_are_no_image_and_target_are_refused(tmp_path: Path, items: list) -> None:
    array = np.empty(2, dtype=object)
    array[0], array[1] = items
    np.save(tmp_path / "odd.npy", array, allow_pickle=True)
    with pytest.raises(ValueError, match="expected"):
        read_stored(tmp_path / "odd.npy")


@pytest.mark.parametrize(
    ("items", "targets"),
    [
        ([2e-23], {"axion_mass": 2e-23}),
        ([0.3], {"number": 0.3}),
        ([5, np.float32(0.5)], {"number_1": 5.0, "number_2": 0.5}),
        ([{"theta_E": 1.25, "z lens": np.int64(2), "survey": "x"}], {"theta_E": 1.25, "z_lens": 2.0}),
    ],
)
@pytest.mark.parametrize("inside", [False, True])
def test_the_numbers_beside_an_image_are_its_targets(tmp_path: Path, items: list, targets: dict, inside: bool) -> None:
    """A number in 0..1 is not taken for a mass fraction; a dict may also hold the image itself."""
    image = np.random.default_rng(0).random((4, 4))
    array = np.empty((), dtype=object) if inside else np.empty(1 + len(items), dtype=object)
    if inside:
        if not isinstance(items[0], dict):
            pytest.skip("no dict")
        array[()] = {"image": image, **items[0]}
    else:
        array[:] = [image, *items]
    np.save(tmp_path / "a.npy", array, allow_pickle=True)
    stored = read_stored(tmp_path / "a.npy")
    np.testing.assert_array_equal(stored.array, image)
    assert stored.targets == targets
