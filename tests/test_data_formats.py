"""Every format that images and their labels come in is read as what was written, or refused in one line."""

import json
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from nas.models.inference import image_files
from trainers.data import Dataset, Folder, load, source_from_dict, source_to_dict
from trainers.data.folder.image_file import UNREADABLE, Reading, read_stored
from trainers.data.folder.layouts import scan
from trainers.data.folder.listing import Entry
from trainers.data.folder.stack import Place
from trainers.data.folder.stacked import array_name, find_stacks
from trainers.errors import TrainingError

SPLITS = ("train", "val", "test")


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(0)


def write_npz(path: Path, arrays: Mapping[str, np.ndarray]) -> None:
    np.savez(path, **arrays)


def write_compressed(path: Path, arrays: Mapping[str, np.ndarray]) -> None:
    with path.open("wb") as file:
        np.savez_compressed(file, **arrays)


def write_hdf5(path: Path, arrays: Mapping[str, np.ndarray]) -> None:
    h5py = pytest.importorskip("h5py")
    with h5py.File(path, "w") as file:
        for name, array in arrays.items():
            file[name] = array.astype(object) if array.dtype.kind == "U" else array


def write_tensors(path: Path, arrays: Mapping[str, np.ndarray]) -> None:
    torch.save({k: a.tolist() if a.dtype.kind == "U" else torch.from_numpy(a) for k, a in arrays.items()}, path)


WRITERS = {".npz": write_npz, ".NPZ": write_compressed, ".h5": write_hdf5, ".hdf5": write_hdf5, ".pt": write_tensors}
writers = pytest.mark.parametrize(("suffix", "write"), WRITERS.items(), ids=[*WRITERS])


def read(root: Path, **fields: object) -> Dataset:
    return load(Folder(str(root), **fields), progress=False, cache=root.parent / "cache")


def pairs(data: Dataset, *splits: str) -> list[tuple[bytes, str]]:
    """All images with the names of their classes, in one order."""
    each = [getattr(data, name) for name in splits or SPLITS]
    return sorted((i.numpy().tobytes(), data.classes[k]) for s in each for i, k in zip(s.images, s.labels, strict=True))


def expected(images: np.ndarray, labels: object) -> list[tuple[bytes, str]]:
    return sorted((np.asarray(i, "f4").tobytes(), str(k)) for i, k in zip(images, labels, strict=True))


@writers
def test_stacked_images_and_labels_in_one_file_are_found_by_common_names(
    tmp_path: Path, rng: np.random.Generator, capsys, suffix: str, write: Callable
) -> None:
    images, names = rng.random((40, 3, 8, 8)), np.array(["no_sub", "cdm"])[np.arange(40) % 2]
    write(
        tmp_path / f"set{suffix}",
        {"image": images, "ra": rng.random(40), "label": names, "weight": rng.random((40, 8, 8))},
    )
    data = load(Folder(str(tmp_path / f"set{suffix}")), cache=tmp_path / "cache")
    assert pairs(data) == expected(images, names)
    said = "stacked arrays: 2 classes, 20/20 images, 3x8x8, float64, ra for 40, images image, labels label, targets ra"
    assert said in capsys.readouterr().err


@writers
@pytest.mark.parametrize("classes", [True, False])
def test_numbers_beside_the_images_are_targets_by_the_names_of_their_arrays(
    tmp_path: Path, rng: np.random.Generator, classes: bool, suffix: str, write: Callable
) -> None:
    images, radius, slope = rng.random((40, 8, 8)), rng.random(40), rng.random((40, 1)).astype("f4")
    radius[3] = np.nan  # not known
    arrays = {"x": images, "theta_E": radius, "slope": slope} | ({"y": np.arange(40) % 2} if classes else {})
    write(tmp_path / f"set{suffix}", arrays)
    check_numbers(read(tmp_path / f"set{suffix}"), images, radius, slope[:, 0], classes)


@pytest.mark.parametrize("classes", [True, False])
def test_so_are_numbers_in_files_of_their_own(tmp_path: Path, rng: np.random.Generator, classes: bool) -> None:
    images, radius, slope = rng.random((40, 8, 8)), rng.random(40), rng.random(40)
    root = tmp_path / "data"
    root.mkdir()
    arrays = {"images": images, "theta_E": radius, "slope": slope} | ({"labels": np.arange(40) % 2} if classes else {})
    for name, array in arrays.items():
        np.save(root / f"{name}.npy", array)
    check_numbers(read(root), images, radius, slope, classes)


def check_numbers(data: Dataset, images: np.ndarray, radius: np.ndarray, slope: np.ndarray, classes: bool) -> None:
    assert len(data.classes) == (2 if classes else 1)
    row = {image.astype("f4").tobytes(): i for i, image in enumerate(images)}
    seen = set()
    for split in (data.train, data.val, data.test):
        for k in range(len(split)):
            i = row[split.images[k : k + 1].numpy().tobytes()]
            seen.add(i)
            numbers = [float(split.targets[name][k]) for name in ("theta_E", "slope")]
            assert numbers == pytest.approx([radius[i], slope[i]], nan_ok=True)
            assert not classes or data.classes[split.labels[k]] == str(i % 2)
    assert len(seen) == len(images)


@writers
@pytest.mark.parametrize("inside", [True, False])
def test_splits_are_told_by_the_names_of_files_or_arrays(
    tmp_path: Path, rng: np.random.Generator, inside: bool, suffix: str, write: Callable
) -> None:
    parts = {split: (rng.random((20, 8, 8)).astype("f4"), np.arange(20) % 2) for split in ("train", "valid", "test")}
    (tmp_path / "data").mkdir()
    if inside:
        arrays = {f"{k}_{split}": a for split, part in parts.items() for k, a in zip("xy", part, strict=True)}
        write(tmp_path / "data" / f"set{suffix}", {**arrays, "names": np.arange(2)})
    else:
        for split, part in parts.items():
            write(tmp_path / "data" / f"lenses_{split}{suffix}", dict(zip(("data", "target"), part, strict=True)))
    data = read(tmp_path / "data")
    for ours, theirs in (("train", "train"), ("val", "valid"), ("test", "test")):
        assert pairs(data, ours) == expected(*parts[theirs])


@writers
def test_unclear_arrays_are_refused_with_their_names_and_shapes_and_can_be_named(
    tmp_path: Path, rng: np.random.Generator, suffix: str, write: Callable
) -> None:
    path = tmp_path / f"set{suffix}"
    lens, source = rng.random((2, 30, 8, 8))
    kinds, grades = np.arange(30) % 2, np.arange(30) % 3
    write(path, {"lens": lens, "source": source, "kind": kinds, "grade": grades})
    with pytest.raises(TrainingError, match=r"set.*: has .*lens 30x8x8 float64, .*images; choose with --key") as e:
        read(path)
    assert "\n" not in str(e.value)
    with pytest.raises(TrainingError, match="not clear which holds the labels"):
        read(path, key="lens")
    with pytest.raises(TrainingError, match=r"none of them called 'lenses'"):
        read(path, key="lenses,kind")
    assert pairs(read(path, key="lens,kind")) == expected(lens, kinds)
    assert pairs(read(path, key=("source", "grade"))) == expected(source, grades)


@writers
def test_class_folders_may_hold_an_image_in_each_file_of_arrays(
    tmp_path: Path, rng: np.random.Generator, suffix: str, write: Callable
) -> None:
    images, labels = rng.random((24, 8, 8)), np.array(["a", "b"])[np.arange(24) % 2]
    for i, (image, label) in enumerate(zip(images, labels, strict=True)):
        (tmp_path / "data" / label).mkdir(parents=True, exist_ok=True)
        write(
            tmp_path / "data" / label / f"{i}{suffix}",
            {"image": image, "mask": image > 0.5, "mass": np.float64(i)[None]},
        )
    assert pairs(read(tmp_path / "data")) == expected(images, labels)
    write(
        tmp_path / "odd.npz" if suffix == ".npz" else tmp_path / f"odd{suffix}", {"lens": images[0], "mask": images[1]}
    )
    with pytest.raises(
        TrainingError, match="lens 8x8 float64, mask 8x8 float64, and it is not clear which holds the ima"
    ):
        read_stored(tmp_path / f"odd{suffix}")
    assert (read_stored(tmp_path / f"odd{suffix}", Reading(key=("lens",))).array == images[0]).all()


def test_a_tensor_is_an_image_and_files_of_tensors_beside_pictures_are_none(
    tmp_path: Path, rng: np.random.Generator
) -> None:
    images, labels = torch.rand(24, 1, 8, 8), np.array(["a", "b"])[np.arange(24) % 2]
    for i, label in enumerate(labels):
        (tmp_path / "data" / label).mkdir(parents=True, exist_ok=True)
        torch.save(images[i], tmp_path / "data" / label / f"{i}.pt", _use_new_zipfile_serialization=i % 4 > 0)
    assert pairs(read(tmp_path / "data")) == expected(images, labels)
    for i, label in enumerate(labels):
        np.save(tmp_path / "data" / label / f"{i}.npy", images[i].numpy())
    read(tmp_path / "data")
    said = [json.loads(file.read_text())["recognised"] for file in (tmp_path / "cache").glob("*/manifest.json")]
    assert any("not used: 12 .pt in a/, 12 .pt in b/" in line for line in said)


@pytest.mark.parametrize("form", ["two files", "dict", "tuple"])
def test_stacked_tensors_are_read_from_every_form_that_people_save(tmp_path: Path, form: str) -> None:
    images, labels = torch.rand(30, 8, 8), torch.arange(30) % 3
    (tmp_path / "data").mkdir()
    if form == "two files":
        torch.save(images, tmp_path / "data" / "images.pt")
        torch.save(labels, tmp_path / "data" / "labels.pt")
    else:
        torch.save({"X": images, "y": labels} if form == "dict" else (images, labels), tmp_path / "data" / "set.pt")
    assert pairs(read(tmp_path / "data")) == expected(images, labels.tolist())


class Exploit:
    def __init__(self, ran: Path) -> None:
        self.ran = ran

    def __reduce__(self) -> tuple:
        return open, (str(self.ran), "w")


def test_pickles_inside_are_refused_and_run_nothing(tmp_path: Path, rng: np.random.Generator) -> None:
    exploit = np.array([Exploit(tmp_path / "ran")] * 10)
    np.savez(tmp_path / "labels.npz", x=rng.random((10, 8, 8)), y=exploit)
    np.savez(tmp_path / "images.npz", x=exploit, y=np.arange(10))
    torch.save({"x": torch.rand(10, 8, 8), "y": Exploit(tmp_path / "ran")}, tmp_path / "set.pt")
    for name, says in (("labels.npz", "Python objects"), ("images.npz", "not clear"), ("set.pt", "is a pickle")):
        with pytest.raises(TrainingError, match=says) as error:
            read(tmp_path / name)
        assert "\n" not in str(error.value)
    assert not (tmp_path / "ran").exists()


@writers
def test_a_damaged_file_is_refused_in_one_line_that_names_it(
    tmp_path: Path, rng: np.random.Generator, suffix: str, write: Callable
) -> None:
    path = tmp_path / f"set{suffix}"
    write(path, {"x": rng.random((20, 8, 8)), "y": np.arange(20) % 2})
    whole = path.read_bytes()
    for content in (b"", b"x" * 100, whole[: len(whole) // 2], whole[:-30]):
        path.write_bytes(content)
        with pytest.raises(TrainingError, match=f"set{suffix}") as error:
            read(path)
        assert "\n" not in str(error.value)


def test_an_array_of_a_common_name_that_does_not_fit_is_not_passed_over_for_another(tmp_path: Path, rng) -> None:
    images, flat = rng.random((20, 8, 8)), rng.random((20, 64))
    np.savez(tmp_path / "short.npz", x=images, y=np.arange(19) % 2, flag=np.arange(20) % 2)
    with pytest.raises(TrainingError, match=r"labels of shape \(19,\); expected one for each of 20 images"):
        read(tmp_path / "short.npz")
    np.savez(tmp_path / "flat.npz", x=flat, noise=images, y=np.arange(20) % 2)
    with pytest.raises(TrainingError, match=r"x 20x64 float64, .* not clear which holds the images"):
        read(tmp_path / "flat.npz")


def test_what_is_missing_to_read_hdf5_is_said(tmp_path: Path, monkeypatch) -> None:
    write_hdf5(tmp_path / "set.h5", {"x": np.zeros((4, 8, 8)), "y": np.arange(4)})
    monkeypatch.setitem(sys.modules, "h5py", None)
    with pytest.raises(TrainingError, match=r"set.h5: is an HDF5 file; to read those: pip install h5py"):
        read(tmp_path / "set.h5")


def test_a_file_of_test_images_alone_is_evaluated_but_not_trained_on(tmp_path: Path, rng: np.random.Generator) -> None:
    np.savez(tmp_path / "set.npz", x_test=rng.random((10, 8, 8)), y_test=np.arange(10) % 2)
    with pytest.raises(TrainingError, match=r"set\.npz has a test split but no train split"):
        read(tmp_path / "set.npz")
    data = load(Folder(str(tmp_path / "set.npz")), progress=False, cache=tmp_path / "cache", partial=True)
    assert (len(data.train), len(data.val), len(data.test)) == (0, 0, 10)


def test_two_images_are_no_stack_with_one_hot_labels(tmp_path: Path, rng: np.random.Generator) -> None:
    np.save(tmp_path / "colour.npy", rng.random((30, 30, 3)))
    np.save(tmp_path / "grey.npy", rng.random((30, 30)))
    assert find_stacks(tmp_path) == {}


def test_one_hot_rows_are_classes(tmp_path: Path, rng: np.random.Generator) -> None:
    images, labels = rng.random((30, 8, 8)), np.arange(30) % 3
    (tmp_path / "data").mkdir()
    np.save(tmp_path / "data" / "images.npy", images)
    np.save(tmp_path / "data" / "labels.npy", np.eye(3)[labels])
    assert pairs(read(tmp_path / "data")) == expected(images, labels)
    np.save(tmp_path / "data" / "labels.npy", np.eye(3)[labels] + np.eye(3)[(labels + 1) % 3])
    with pytest.raises(
        TrainingError, match=r"labels of shape \(30, 3\); expected one for each of 30 images, or one-hot"
    ):
        read(tmp_path / "data")


TIFFS = {
    "grey": ("u1", (12, 10), {}),
    "bits": ("u2", (12, 10), {}),
    "order": (">u2", (12, 10), {}),
    "signed": ("i2", (12, 10), {}),
    "negative bytes": ("i1", (12, 10), {}),
    "counts": ("i4", (12, 10), {}),
    "large counts": ("u4", (12, 10), {}),
    "floats": ("f4", (12, 10), {"compression": "zlib"}),
    "doubles": ("f8", (12, 10), {}),
    "pages": ("f4", (3, 12, 10), {"photometric": "minisblack"}),
    "five pages": ("u2", (5, 12, 12), {"photometric": "minisblack"}),
    "colours": ("u1", (12, 10, 3), {"photometric": "rgb"}),
    "deep colours": ("u2", (12, 10, 3), {"photometric": "rgb"}),
    "planes": ("u2", (3, 12, 10), {"photometric": "rgb", "planarconfig": "separate"}),
    "five channels": ("f4", (12, 12, 5), {"photometric": "minisblack", "planarconfig": "contig"}),
}


@pytest.mark.parametrize(("dtype", "shape", "options"), TIFFS.values(), ids=[*TIFFS])
def test_a_tiff_keeps_every_bit_and_its_pages_are_channels(tmp_path: Path, rng, dtype, shape, options) -> None:
    kind = np.dtype(dtype)
    low, high = (-1e6, 1e6) if kind.kind == "f" else (np.iinfo(kind).min, np.iinfo(kind).max)
    image = (rng.random(shape) * (float(high) - low) + low).astype(kind)
    pytest.importorskip("tifffile").imwrite(tmp_path / "x.tif", image, **options)
    found = read_stored(tmp_path / "x.tif").array
    np.testing.assert_array_equal(found, image)
    assert found.dtype.kind == kind.kind


def test_pages_that_are_no_bands_and_a_missing_reader_are_said_in_one_line(tmp_path: Path, rng, monkeypatch) -> None:
    tifffile = pytest.importorskip("tifffile")
    with tifffile.TiffWriter(tmp_path / "pyramid.tif") as file:
        for side in (16, 8):
            file.write(rng.random((side, side)).astype("f4"))
    with pytest.raises(TrainingError, match="2 pages that are no bands of one image: 16x16 float32, 8x8 float32"):
        read_stored(tmp_path / "pyramid.tif")
    tifffile.imwrite(tmp_path / "double.tif", rng.random((8, 8)))
    monkeypatch.setitem(sys.modules, "tifffile", None)
    with pytest.raises(TrainingError, match=r"is a TIFF of a kind that Pillow cannot read; .* pip install tifffile"):
        read_stored(tmp_path / "double.tif")
    (tmp_path / "double.tif").write_bytes(b"II*\0" + b"x" * 100)
    with pytest.raises(UNREADABLE):
        read_stored(tmp_path / "double.tif")


def mixed(root: Path, rng: np.random.Generator, sizes: list[tuple[int, int]]) -> dict[str, list[np.ndarray]]:
    """Class folders of images of these sizes in turn, in one kind of file."""
    found: dict[str, list[np.ndarray]] = {"a": [], "b": []}
    for label, images in found.items():
        (root / label).mkdir(parents=True)
        for i in range(12):
            images.append(rng.integers(1, 1000, sizes[i % len(sizes)]).astype("i2"))
            np.save(root / label / f"{i}.npy", images[-1])
    return found


def test_several_sizes_are_counted_and_refused_with_the_option_that_makes_them_one(tmp_path: Path, rng) -> None:
    mixed(tmp_path / "data", rng, [(20, 20), (20, 20), (16, 16), (12, 30)])
    with pytest.raises(
        TrainingError, match=r"12 of 20x20, 6 of 16x16, 6 of 30x12 pixels. with --fit crop, pad or resize"
    ):
        read(tmp_path / "data")
    mixed(tmp_path / "wide", rng, [(12, 30)])
    with pytest.raises(TrainingError, match="30x12 pixels; expected square images; make them so with --fit crop, pad"):
        read(tmp_path / "wide")


@pytest.mark.parametrize("fit", ["crop", "pad", "crop:10"])
def test_cropped_and_padded_images_keep_their_pixels(tmp_path: Path, rng, capsys, fit: str) -> None:
    given = mixed(tmp_path / "data", rng, [(20, 20), (16, 17), (12, 30)])
    data = load(Folder(str(tmp_path / "data"), fit=fit), cache=tmp_path / "cache")
    side = {"crop": 12, "pad": 30, "crop:10": 10}[fit]
    assert (data.image_size, data.fit) == (side, f"{fit[:4].rstrip(':')}:{side}")
    assert f"{'padded' if fit == 'pad' else 'cropped'} to {side}x{side}" in capsys.readouterr().err
    assert data.train.images.dtype == torch.int16
    wanted = []
    for label, images in given.items():
        for image in images:
            grid = np.full((30, 30), np.sort(image, axis=None)[image.size // 2])
            top, left = (30 - image.shape[0]) // 2, (30 - image.shape[1]) // 2
            grid[top : top + image.shape[0], left : left + image.shape[1]] = image
            if fit != "pad":
                top, left = (image.shape[0] - side) // 2, (image.shape[1] - side) // 2
                grid = image[top : top + side, left : left + side]
            wanted.append((grid.astype("i2").tobytes(), label))
    assert pairs(data) == sorted(wanted)


def test_images_of_any_shape_are_resized_to_the_size_of_the_set(tmp_path: Path, rng) -> None:
    for i in range(24):
        (tmp_path / "data" / "ab"[i % 2]).mkdir(parents=True, exist_ok=True)
        image = np.full((10 + i % 3, 12, 3), i, "u1")
        image[:, :6] = 100  # half of the image, whatever its size
        np.save(tmp_path / "data" / "ab"[i % 2] / f"{i}.npy", image)
    data = read(tmp_path / "data", fit="resize", image_size=8)
    found = torch.cat([getattr(data, s).images[:] for s in SPLITS])
    assert found.shape == (24, 3, 8, 8)
    assert sorted(found[:, 1, 4, 7].tolist()) == pytest.approx(list(range(24)))
    assert found[:, :, :, :3].numpy() == pytest.approx(100)
    with pytest.raises(TrainingError, match="fit is resize, but there is no size to resize to"):
        read(tmp_path / "data", fit="resize")


@pytest.mark.parametrize(
    ("option", "value"),
    [("fit", "stretch"), ("fit", "crop:0"), ("fit", 5), ("classes", "a,,b"), ("classes", ["a", "A"]), ("key", "")],
)
def test_an_option_that_cannot_be_is_refused(option: str, value: object) -> None:
    with pytest.raises(TrainingError, match=f"{option} is "):
        Folder("data", **{option: value})


def test_options_are_part_of_a_source_and_older_records_lack_them() -> None:
    source = Folder("/data", key="x,y", fit="crop", classes="no_sub,cdm", split="70,15,15")
    assert source_from_dict(json.loads(json.dumps(source_to_dict(source)))) == source
    assert source_from_dict({"kind": "folder", "path": "/data"}) == Folder("/data")


@pytest.mark.parametrize("layout", ["stack", "table", "folders"])
def test_classes_name_the_numbers_of_any_layout(tmp_path: Path, rng, layout: str) -> None:
    images, numbers, names = rng.random((30, 8, 8)), np.arange(30) % 3, ("no_sub", "cdm", "axion")
    root = tmp_path / "data"
    root.mkdir()
    if layout == "stack":
        np.savez(root / "set.npz", x=images, y=numbers)
    else:
        for i, image in enumerate(images):
            folder = root / (str(numbers[i]) if layout == "folders" else "all")
            folder.mkdir(exist_ok=True)
            np.save(folder / f"{i}.npy", image)
    if layout == "table":
        rows = [f"{i},{float(number)}" for i, number in enumerate(numbers)]
        (root / "labels.csv").write_text("\n".join(["id,label", *rows]))
    data = read(root, classes="no sub,Sphere,axion")
    assert data.classes == ("axion", "cdm", "no_sub")
    assert pairs(data) == expected(images, np.array(names)[numbers])
    with pytest.raises(TrainingError, match=r"has the class '2(\.0)?', but classes names no_sub, cdm, for 0 to 1"):
        read(root, classes="no_sub,cdm")


def write_pictures(folder: Path, count: int = 8) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for i in range(count):
        Image.fromarray(np.random.default_rng(i).integers(0, 255, (8, 8), dtype=np.uint8)).save(folder / f"{i}.png")


@pytest.mark.parametrize("beside", ["best.pth", "results.npz", "features.npy"])
def test_weights_or_results_beside_pictures_and_their_table_are_not_the_data(tmp_path: Path, beside: str) -> None:
    root = tmp_path / "data"
    write_pictures(root)
    (root / "labels.csv").write_text("id,label\n" + "".join(f"{i},{'ab'[i % 2]}\n" for i in range(8)))
    alone = scan(root)
    if beside == "best.pth":
        torch.save({"conv.weight": torch.rand(4, 1, 3, 3), "conv.bias": torch.rand(4)}, root / beside)
    elif beside == "results.npz":
        np.savez(root / beside, auc=np.float64(0.9))
    else:
        np.save(root / beside, np.zeros((8, 5)))
        np.save(root / "labels.npy", np.arange(8) % 2)
    assert scan(root) == alone
    assert beside == "features.npy" or [file.name for file in image_files([root])] == [f"{i}.png" for i in range(8)]


def test_a_file_of_arrays_above_folders_of_pictures_is_none_of_them(tmp_path: Path) -> None:
    for label in "ab":
        write_pictures(tmp_path / "data" / label, 3)
    np.savez(tmp_path / "data" / "emb.npz", x=np.zeros((6, 8, 8)), y=np.arange(6))
    pictures = [tmp_path / "data" / label / f"{i}.png" for label in "ab" for i in range(3)]
    assert image_files([tmp_path / "data"]) == pictures
    assert [entry.path for entry in scan(tmp_path / "data").entries] == pictures


@pytest.mark.parametrize(
    ("name", "target"),
    [
        ("center_y", "center_y"), ("theta_y", "theta_y"), ("test_value_x", "value_x"), ("a_test_b", "a_test_b"),
        ("train_theta_E", "theta_E"), ("theta_E-val", "theta_E"), ("train/theta_E", "theta_E"), ("set/test/z", "set_z"),
        ("testing", None), ("y", None), ("train_labels", None), ("values_test", None), ("Axion_Mass", "axion_mass"),
    ],
)  # fmt: skip
def test_the_name_of_an_array_is_its_targets_but_for_the_split_at_an_end(name: str, target: str | None) -> None:
    assert array_name(Place(Path("set.npz"), name)) == target
    assert "/" in name or array_name(Place(Path(f"{name}.npy"))) == target


def in_order(root: Path) -> list[Entry]:
    return sorted(scan(root).entries, key=lambda entry: entry.row)


def numbers_of(root: Path) -> dict[str, np.ndarray]:
    entries = in_order(root)
    return {name: np.array([entry.targets[name] for entry in entries]) for name in entries[0].targets}


@pytest.mark.parametrize("one_file", [True, False])
@pytest.mark.parametrize("names", [("labels", "redshift"), ("y", "z"), ("value", "z"), ("theta", "theta_y")])
def test_no_number_beside_stacked_images_is_dropped(
    tmp_path: Path, rng: np.random.Generator, names: tuple[str, str], one_file: bool
) -> None:
    arrays = {"images": rng.random((20, 8, 8)), **{name: rng.random(20) for name in names}}
    if one_file:
        np.savez(tmp_path / "set.npz", **arrays)
    else:
        for name, array in arrays.items():
            np.save(tmp_path / f"{name}.npy", array)
    found = numbers_of(tmp_path)
    called = ["number" if name in ("labels", "y", "value") else name for name in names]
    assert set(found) == set(called)
    for name, target in zip(names, called, strict=True):
        assert (found[target] == arrays[name]).all()


def test_classes_are_the_labels_beside_other_whole_numbers_and_one_hot_rows_beside_numbers(
    tmp_path: Path, rng: np.random.Generator
) -> None:
    images, kinds, redshift = rng.random((30, 8, 8)), np.arange(30) % 3, rng.random(30)
    arrays = {"images": images, "labels": np.eye(3)[kinds], "redshift": redshift, "ids": np.arange(30)}
    for name, array in arrays.items():
        np.save(tmp_path / f"{name}.npy", array)
    assert [entry.label for entry in in_order(tmp_path)] == [str(kind) for kind in kinds]
    assert (numbers_of(tmp_path)["redshift"] == redshift).all()


def test_two_arrays_for_one_target_are_refused(tmp_path: Path, rng: np.random.Generator) -> None:
    images, numbers = rng.random((20, 8, 8)), rng.random(20)
    for i, names in enumerate((("value", "number"), ("train_z", "z_train"))):
        np.savez(tmp_path / f"{i}.npz", **{"train_x" if i else "x": images}, **dict.fromkeys(names, numbers))
        says = rf"{names[0]} and \S*{names[1]} both hold the target {'z' if i else 'number'}; give"
        with pytest.raises(TrainingError, match=says):
            scan(tmp_path / f"{i}.npz")


def test_a_label_that_is_no_array_is_refused(tmp_path: Path, rng: np.random.Generator) -> None:
    np.savez(tmp_path / "set.npz", x=rng.random((1, 8, 8)), y=np.int64(3))
    with pytest.raises(TrainingError, match=r"labels of shape \(\); expected one for each of 1 images"):
        scan(tmp_path / "set.npz", reading=Reading(key=("x", "y")))


def test_a_header_that_is_cut_is_an_unreadable_file(tmp_path: Path, rng: np.random.Generator) -> None:
    np.save(tmp_path / "images.npy", rng.random((20, 16, 16)))
    np.save(tmp_path / "labels.npy", np.arange(20) % 2)
    np.savez(tmp_path / "set.npz", x=rng.random((20, 16, 16)), y=np.arange(20) % 2)
    for name in ("images.npy", "set.npz"):
        whole = (tmp_path / name).read_bytes()
        (tmp_path / name).write_bytes(whole.replace(b"(20, 16, 16)", b"(20, 16, 16["))
    with pytest.raises(TrainingError, match=r"set.npz: cannot be read \(.*(header|CRC)"):
        scan(tmp_path / "set.npz")
    (tmp_path / "set.npz").unlink()
    with pytest.raises(TrainingError, match="has no class folders"):
        scan(tmp_path)


def test_what_is_no_text_is_refused_where_names_are_expected() -> None:
    with pytest.raises(TrainingError, match="hdu is 0; expected the names or numbers of HDUs as text"):
        Reading(hdu=0)
    for wrong in (True, 1.5):
        with pytest.raises(TrainingError, match=f"key is {wrong}; expected the names of the images'"):
            Reading(key=wrong)


@writers
def test_an_index_beside_a_number_is_no_class(
    tmp_path: Path, rng: np.random.Generator, suffix: str, write: Callable
) -> None:
    write(tmp_path / f"set{suffix}", {"images": rng.random((30, 8, 8)), "theta_E": rng.random(30), "id": np.arange(30)})
    data = read(tmp_path / f"set{suffix}")
    assert data.classes == ("lens",)
    assert set(data.train.targets) == {"theta_E"}


def test_a_fourth_plane_of_a_tiff_is_a_band_unless_it_is_the_same_everywhere(tmp_path: Path, rng) -> None:
    tifffile = pytest.importorskip("tifffile")
    bands = rng.integers(0, 255, (8, 8, 4)).astype("u1")
    tifffile.imwrite(tmp_path / "ugri.tif", bands)
    assert np.array_equal(read_stored(tmp_path / "ugri.tif").array, bands)
    tifffile.imwrite(tmp_path / "opaque.tif", np.where(np.arange(4) == 3, 255, bands).astype("u1"))
    assert np.array_equal(read_stored(tmp_path / "opaque.tif").array, bands[..., :3])
