"""Every layout that DeepLense's users have on disk is recognised and read without being told what it is."""

import pickle
import re
from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch
from astropy.io import fits
from PIL import Image

from trainers.data import Dataset, Folder, load

SHARED = Path(__file__).resolve().parents[2] / "shared/data"
SPLITS = ("train", "val", "test")
RNG = np.random.default_rng(0)


def write(folder: Path, count: int, make: Callable[[], object], name: str = "{}.npy") -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for i in range(count):
        content, file = make(), folder / name.format(i)
        if file.suffix == ".npy":
            np.save(file, content, allow_pickle=True)
        elif file.suffix == ".fits":
            fits.writeto(file, content)
        else:
            Image.fromarray(content).save(file)


def pair(image: np.ndarray, number: float) -> np.ndarray:
    array = np.empty(2, dtype=object)
    array[:] = [image, number]
    return array


def counts(size: int = 150) -> np.ndarray:
    return RNG.integers(0, 500, (size, size))


def mass() -> float:
    return 10 ** RNG.uniform(-24, -22)


def common_test(root: Path) -> None:
    for split, number in (("train", 20), ("val", 5)):
        for label in ("no", "sphere", "vort"):
            write(root / split / label, number, lambda: RNG.random((1, 150, 150)))


def lenses(root: Path) -> None:
    for label in ("no_sub", "sub"):
        write(root / label, 20, lambda: counts().astype(np.uint8), "image_{}.jpg")


def model_one(root: Path) -> None:
    write(root / "no_sub", 20, counts, "no_sub_sim_{}.npy")
    write(root / "cdm", 20, counts, "cdm_sim_{}.npy")
    write(root / "axion", 20, lambda: pair(counts(), mass()), "axion_sim_{}.npy")


def model_one_with_test(root: Path) -> None:
    model_one(root / "Model_I")
    model_one(root / "Model_I_test")


def model_two(root: Path) -> None:
    for label in ("no_sub", "cdm"):
        write(root / label, 20, lambda: RNG.random((64, 64)))
    write(root / "axion", 20, lambda: pair(RNG.random((64, 64)), mass()))


def model_four(root: Path) -> None:
    for split in ("train", "val"):
        for label in ("no", "cdm", "axion"):
            write(root / split / label, 20, lambda: RNG.random((64, 64, 3)), "sim_{}.npy")


def dataset_one(root: Path) -> None:
    for label in ("no_sub", "cdm", "axion"):
        write(root / label, 20, lambda: RNG.random((64, 64)))


def model_f(root: Path) -> None:
    for split in ("train", "val"):
        for label in ("no sub", "sphere", "vort"):
            write(root / split / label, 20, lambda: RNG.random((150, 150)))


def stacked(root: Path) -> None:
    root.mkdir()
    np.save(root / "images.npy", RNG.random((60, 1, 20, 20)).astype(np.float32))
    np.save(root / "labels.npy", np.arange(60)[:, None] % 3)


def stacked_splits(root: Path) -> None:
    root.mkdir()
    for split, number in (("train", 60), ("test", 30)):
        np.save(root / f"X_{split}.npy", RNG.integers(0, 9, (number, 20, 20)))
        np.save(root / f"y_{split}.npy", np.array(["no", "sphere", "vort"])[np.arange(number) % 3])


def stacked_regression(root: Path) -> None:
    root.mkdir()
    np.save(root / "images.npy", RNG.random((40, 20, 20)))
    np.save(root / "fractions.npy", RNG.uniform(0, 0.1, 40))


def stacks_in_class_folders(root: Path) -> None:
    for label in ("no", "sphere", "vort"):  # the last file has a few images only
        (root / label).mkdir(parents=True)
        for i, number in enumerate((30, 30, 5)):
            np.save(root / label / f"{i}.npy", RNG.random((number, 20, 20)))


def stacks_of_classes(root: Path) -> None:
    root.mkdir()
    for label in ("no_sub", "cdm", "axion"):
        np.save(root / f"{label}.npy", RNG.integers(0, 9, (30, 20, 20, 3)))


def stacks_of_splits(root: Path) -> None:
    for split, number in (("train", 40), ("test", 20)):
        (root / split).mkdir(parents=True)
        for label in ("no_sub", "cdm", "axion"):
            np.save(root / split / f"{label}.npy", RNG.random((number, 1, 20, 20)))


def stacks_named_for_splits(root: Path) -> None:
    root.mkdir()
    for split, number in (("train", 40), ("test", 20)):
        for label in ("no_sub", "sub"):
            np.save(root / f"{label}_{split}.npy", RNG.random((number, 20, 20)))


def stacks_in_one_file(root: Path) -> None:
    root.mkdir()
    np.savez(root / "data.npz", **{label: RNG.random((30, 20, 20)) for label in ("no_sub", "cdm", "axion")})


def stacks_in_groups(root: Path) -> None:
    root.mkdir()
    with h5py.File(root / "data.h5", "w") as file:
        for name in ("train/no_sub", "train/sub", "test/no_sub", "test/sub"):
            file[f"{name}/images"] = RNG.random((30, 20, 20))


def named_stacks_of_classes(root: Path) -> None:
    root.mkdir()
    for label in ("no_sub", "sub"):
        np.savez(root / f"{label}.npz", RNG.random((30, 20, 20)))


def stacks_called(*names: str) -> Callable[[Path], None]:
    def layout(root: Path) -> None:
        root.mkdir()
        for name in names:
            np.save(root / f"{name}.npy", RNG.random((30, 20, 20)))

    return layout


def regression(root: Path) -> None:
    write(root / "lens_data", 40, lambda: pair(RNG.random((150, 150)), RNG.uniform(0, 0.1)), "image_{}.npy")


def lens_finding(root: Path) -> None:
    for split in ("train", "test"):
        for label, number in (("lenses", 10), ("nonlenses", 30)):
            write(root / f"{split}_{label}", number, lambda: RNG.random((3, 64, 64)).astype(np.float32))


def lens_finding_fits(root: Path) -> None:
    for split in ("train", "test"):
        for label, number in (("lenses", 10), ("nonlenses", 30)):
            write(root / f"{split}_{label}", number, lambda: RNG.random((3, 64, 64)).astype(">f4"), "{}.fits")


def image_folders(root: Path) -> None:
    for split in SPLITS:
        for label in ("a", "b"):
            write(root / split / label, 10, lambda: RNG.integers(0, 256, (32, 32, 3), dtype=np.uint8), "{}.png")


THREE = ("axion", "cdm", "no_sub")
FINDING = ("lenses", "nonlenses")


@pytest.mark.parametrize(
    ("layout", "says", "classes", "known"),
    [
        (common_test, "Common Test I: 3 classes, 25/25/25 images, 1x150x150, float64", THREE, {}),
        (lenses, "lenses.tgz: 2 classes, 20/20 images, 150x150, uint8", ("no_sub", "sub"), {}),
        (
            model_one,
            "Model I: 3 classes, 20/20/20 images, 150x150, int64, axion_mass for 20",
            THREE,
            {"axion_mass": 20},
        ),
        (
            model_one_with_test,
            "Model I: 3 classes, 40/40/40 images, 150x150, int64, axion_mass for 40",
            THREE,
            {"axion_mass": 40},
        ),
        (
            model_two,
            "Model II or III: 3 classes, 20/20/20 images, 64x64, float64, axion_mass for 20",
            THREE,
            {"axion_mass": 20},
        ),
        (model_four, "Model IV: 3 classes, 40/40/40 images, 64x64x3, float64", THREE, {}),
        (dataset_one, "Dataset1: 3 classes, 20/20/20 images, 64x64, float64", THREE, {}),
        (model_f, "Model F or J: 3 classes, 40/40/40 images, 150x150, float64", THREE, {}),
        (stacked, "stacked arrays: 3 classes, 20/20/20 images, 1x20x20, float32", ("0", "1", "2"), {}),
        (stacked_splits, "stacked arrays: 3 classes, 30/30/30 images, 20x20, int64", THREE, {}),
        (
            stacked_regression,
            "stacked arrays: 40 images, 20x20, float64, fractions for 40",
            ("lens",),
            {"fractions": 40},
        ),
        (stacks_in_class_folders, "class folders: 3 classes, 65/65/65 images, 20x20, float64", THREE, {}),
        (stacks_of_classes, "class folders: 3 classes, 30/30/30 images, 20x20x3, int64", THREE, {}),
        (stacks_of_splits, "folders of splits and classes: 3 classes, 60/60/60 images, 1x20x20, float64", THREE, {}),
        (stacks_in_one_file, "class folders: 3 classes, 30/30/30 images, 20x20, float64", THREE, {}),
        (stacks_in_groups, "class folders: 2 classes, 60/60 images, 20x20, float64", ("no_sub", "sub"), {}),
        (named_stacks_of_classes, "class folders: 2 classes, 30/30 images, 20x20, float64", ("no_sub", "sub"), {}),
        (
            stacks_called("theta_E=1.1", "theta_E=1.2"),
            "images with numbers: 60 images, 20x20, float64, theta_E for 60",
            ("lens",),
            {"theta_E": 60},
        ),
        (stacks_named_for_splits, "class folders: 2 classes, 60/60 images, 20x20, float64", ("no_sub", "sub"), {}),
        (
            regression,
            "images with numbers: 40 images, 150x150, float64, number for 40",
            ("lens",),
            {"number": 40},
        ),
        (lens_finding, "lens finding: 2 classes, 20/60 images, 3x64x64, float32", FINDING, {}),
        (lens_finding_fits, "lens finding: 2 classes, 20/60 images, 3x64x64, >f4", FINDING, {}),
        (image_folders, "folders of splits and classes: 2 classes, 30/30 images, 32x32x3, uint8", ("a", "b"), {}),
    ],
)
def test_a_layout_is_recognised_said_and_read(
    tmp_path: Path,
    capsys: pytest.CaptureFixture,
    layout: Callable[[Path], None],
    says: str,
    classes: tuple[str, ...],
    known: dict[str, int],
) -> None:
    layout(tmp_path / "data")
    data = load(Folder(str(tmp_path / "data")), cache=tmp_path / "cache")
    line = capsys.readouterr().err.splitlines()[-1]
    assert line.split(";")[0].split(", split into")[0] == says
    assert data.classes == classes
    splits = [getattr(data, name) for name in SPLITS]
    assert all(len(split.labels.bincount(minlength=len(classes)).nonzero()) == len(classes) for split in splits)
    assert {name: sum(int((~s.targets[name].isnan()).sum()) for s in splits) for name in data.train.targets} == known
    if "axion_mass" in known:
        for split in splits:
            assert torch.equal(~split.targets["axion_mass"].isnan(), split.labels == data.classes.index("axion"))


def pixels(data: Dataset, split: str) -> set[bytes]:
    return {image.numpy().tobytes() for image in getattr(data, split).images}


@pytest.mark.parametrize("inside", [True, False])
def test_a_test_folder_in_or_beside_is_the_test_split(tmp_path: Path, inside: bool) -> None:
    model_one_with_test(tmp_path / "data")
    path = tmp_path / "data" if inside else tmp_path / "data" / "Model_I"
    data = load(Folder(str(path)), progress=False, cache=tmp_path / "cache")
    assert len(data.test) == 60
    assert len(data.train) + len(data.val) == 60
    expected = {np.load(f).tobytes() for f in (tmp_path / "data" / "Model_I_test" / "cdm").iterdir()}
    assert expected <= pixels(data, "test")


def test_labels_and_numbers_of_a_stack_stay_with_their_images(tmp_path: Path) -> None:
    root = tmp_path / "data"
    root.mkdir()
    images = np.arange(60)[:, None, None] * 10 + RNG.random((60, 8, 8))
    np.save(root / "x.npy", images)
    np.save(root / "y.npy", np.arange(60) // 20)
    data = load(Folder(str(root)), progress=False, cache=tmp_path / "cache")
    for name in SPLITS:
        split = getattr(data, name)
        assert torch.equal((split.images.mean((1, 2, 3)) / 10).int() // 20, split.labels.int())


def test_rows_of_a_class_s_stack_are_its_images_in_their_split(tmp_path: Path) -> None:
    stacks_named_for_splits(tmp_path / "data")
    data = load(Folder(str(tmp_path / "data")), progress=False, cache=tmp_path / "cache")
    test = np.load(tmp_path / "data" / "sub_test.npy").astype(np.float32)
    found = {image.tobytes() for image in data.test.images[data.test.labels == 1].numpy()}
    assert found == {image[None].tobytes() for image in test}
    assert len(data.train) + len(data.val) == 80


def cubes(root: Path) -> None:
    for label in ("no_sub", "sub"):
        write(root / label, 30, lambda: RNG.random((24, 20, 20)))


def images_and_masks(root: Path) -> None:
    root.mkdir()
    for name in ("image", "mask"):
        np.save(root / f"{name}.npy", RNG.random((30, 20, 20)))


def lenses_and_sources(root: Path) -> None:
    root.mkdir()
    np.savez(root / "data.npz", lensed=RNG.random((30, 20, 20)), source_light=RNG.random((30, 20, 20)))


def arrays_called(*names: str) -> Callable[[Path], None]:
    def layout(root: Path) -> None:
        root.mkdir()
        np.savez(root / "data.npz", **{name: RNG.random((30, 20, 20)) for name in names})

    return layout


def stacks_beside_a_table(root: Path) -> None:
    stacks_called("a", "b")(root)
    (root / "labels.csv").write_text("id,label\n" + "".join(f"{i},{i % 2}\n" for i in range(30)))


def colours(root: Path) -> None:
    write(root, 6, lambda: RNG.random((3, 20, 20)))


@pytest.mark.parametrize(
    ("layout", "says"),
    [
        (cubes, "has shape (24, 20, 20)"),
        (images_and_masks, "has no class folders"),
        (lenses_and_sources, "it is not clear which holds the images; choose with --key"),
        (colours, "has no class folders"),
        (stacks_called("g", "r", "i"), "has no class folders"),
        (stacks_called("F606W", "F814W"), "has no class folders"),
        (stacks_called("batch_1", "batch_2"), "has no class folders"),
        (stacks_called("sub_1", "sub_2", "no_sub_1", "no_sub_2"), "has no class folders"),
        (stacks_called("lenses", "lenses_rot90"), "has no class folders"),
        (stacks_called("flux", "ivar"), "has no class folders"),
        (arrays_called("g", "r", "i"), "not clear which holds the images"),
        (arrays_called("HSC-G", "HSC-R"), "not clear which holds the images"),
        (arrays_called("sci", "err", "wht"), "not clear which holds the images"),
        (stacks_beside_a_table, "labels.csv names 30 of 30 images that are not there"),
    ],
)
def test_arrays_that_are_no_stacks_of_a_class_are_refused(
    tmp_path: Path, layout: Callable[[Path], None], says: str
) -> None:
    layout(tmp_path / "data")
    with pytest.raises(ValueError, match=re.escape(says)):
        load(Folder(str(tmp_path / "data")), progress=False, cache=tmp_path / "cache")


@pytest.mark.parametrize("labels", ["npy", "int64", "uint8"])
def test_arrays_without_a_header_are_read_in_the_form_given(tmp_path: Path, labels: str) -> None:
    root = tmp_path / "data"
    root.mkdir()
    images, truth = RNG.random((50, 3, 12, 12)).astype("f4"), np.arange(50) % 2
    file = np.memmap(root / "images.dat", dtype="f4", mode="w+", shape=images.shape)
    file[:] = images
    file.flush()
    if labels == "npy":
        np.save(root / "labels.npy", truth)
    else:
        truth.astype(labels).tofile(root / "labels.dat")
    source = Folder(str(root), raw_shape=(3, 12, 12), raw_dtype="float32")
    data = load(source, progress=False, cache=tmp_path / "cache")
    assert data.train.images.shape[1:] == (3, 12, 12)
    for label in (0, 1):
        ours = {i.numpy().tobytes() for s in SPLITS for i in getattr(data, s).images[getattr(data, s).labels == label]}
        assert ours == {image.tobytes() for image in images[truth == label]}


@pytest.mark.parametrize("bands", [1, 3])
def test_fits_bands_become_channels_and_scaled_integers_numbers(tmp_path: Path, bands: int) -> None:
    expected = []
    for label in ("lenses", "nonlenses"):
        (tmp_path / "data" / label).mkdir(parents=True)
        for i in range(5):
            image = RNG.integers(0, 60000, (bands, 16, 16)).astype(np.uint16)  # stored with an offset, BZERO
            units = [fits.PrimaryHDU(), *(fits.ImageHDU(plane) for plane in image)]
            fits.HDUList(units).writeto(tmp_path / "data" / label / f"{i}.fits")
            expected.append(image.astype(np.int32).tobytes())
    data = load(Folder(str(tmp_path / "data")), progress=False, cache=tmp_path / "cache")
    assert data.in_chans == bands
    assert set().union(*(pixels(data, split) for split in SPLITS)) == set(expected)


def test_an_archive_unpacked_one_folder_too_deep_is_found(tmp_path: Path) -> None:
    common_test(tmp_path / "data" / "dataset" / "dataset")
    data = load(Folder(str(tmp_path / "data")), progress=False, cache=tmp_path / "cache")
    assert data.classes == THREE
    assert len(data.train) + len(data.test) == 60


def test_ten_numbered_classes_are_in_the_order_of_their_numbers(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    np.save(tmp_path / "data" / "images.npy", RNG.random((240, 8, 8)))
    np.save(tmp_path / "data" / "labels.npy", np.arange(240) % 12)
    data = load(Folder(str(tmp_path / "data")), progress=False, cache=tmp_path / "cache")
    assert data.classes == tuple(map(str, range(12)))


class Exploit:
    def __init__(self, ran: Path) -> None:
        self.ran = ran

    def __reduce__(self) -> tuple:
        return open, (str(self.ran), "w")


@pytest.mark.parametrize("suffix", [".pth", ".pt", ".pkl"])
@pytest.mark.parametrize("where", ["file", "folder", "class folders"])
def test_pickled_loaders_are_refused_with_advice_and_run_nothing(tmp_path: Path, suffix: str, where: str) -> None:
    root = tmp_path / "data"
    folders = {"file": [root], "folder": [root], "class folders": [root / "no_sub", root / "sub"]}[where]
    for folder in folders:
        folder.mkdir(parents=True)
        (folder / f"train_loader{suffix}").write_bytes(pickle.dumps(Exploit(tmp_path / "ran")))
    path = root / f"train_loader{suffix}" if where == "file" else root
    with pytest.raises(ValueError, match=r"is a pickle, .* write each image with numpy.save into a folder") as error:
        load(Folder(str(path)), progress=False, cache=tmp_path / "cache")
    assert "\n" not in str(error.value)
    assert not (tmp_path / "ran").exists()


def unlabelled(root: Path) -> None:
    write(root, 20, lambda: RNG.random((20, 20)))


def headerless(root: Path) -> None:
    root.mkdir()
    RNG.random((20, 8, 8)).tofile(root / "images.dat")
    np.save(root / "labels.npy", np.arange(20) % 2)


def ragged(root: Path) -> None:
    root.mkdir()
    RNG.random(1001).astype("f4").tofile(root / "images.dat")
    np.save(root / "labels.npy", np.arange(20) % 2)


def too_few_labels(root: Path) -> None:
    root.mkdir()
    np.save(root / "images.npy", RNG.random((20, 8, 8)))
    np.save(root / "labels.npy", np.arange(19) % 2)


def one_number_missing(root: Path) -> None:
    regression(root)
    np.save(root / "lens_data" / "image_7.npy", RNG.random((150, 150)))


@pytest.mark.parametrize(
    ("layout", "fields", "says"),
    [
        (unlabelled, {}, "no class folders; expected at least two, a stack for each class"),
        (headerless, {}, r"give the (form|shape and dtype) of one image \(raw_shape, raw_dtype\)"),
        (ragged, {"raw_shape": (8, 8), "raw_dtype": "float32"}, "4004 bytes, which is no whole number of images"),
        (too_few_labels, {}, r"holds labels of shape \(19,\); expected one for each of 20 images"),
        (one_number_missing, {}, r"1 of 40 images .*image_7.npy \(has no number beside its image or in its name\)"),
    ],
)
def test_what_is_not_a_labelled_set_is_refused_in_one_line(
    tmp_path: Path, layout: Callable[[Path], None], fields: dict, says: str
) -> None:
    layout(tmp_path / "data")
    with pytest.raises(ValueError, match=says) as error:
        load(Folder(str(tmp_path / "data"), **fields), progress=False, cache=tmp_path / "cache")
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("fields", "says"),
    [
        ({"raw_shape": (8, 8)}, "need both raw_shape and raw_dtype"),
        ({"raw_shape": (8,), "raw_dtype": "f4"}, "raw_shape is "),
        ({"raw_shape": (8, 8), "raw_dtype": "object"}, "raw_dtype is 'object'"),
        ({"raw_shape": (8, 8), "raw_dtype": "float33"}, "raw_dtype is 'float33'"),
    ],
)
def test_a_form_that_cannot_be_is_refused(fields: dict, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        Folder("data", **fields)


@pytest.mark.parametrize(
    ("folder", "says"),
    [
        ("lenses", "lenses.tgz: 2 classes, 2000/2000 images, 150x150, uint8"),
        ("common_test", "Common Test I: 3 classes, 10/10/10 images, 1x150x150, float64, split into train/val as given"),
        ("model_I", "Model I: 3 classes, 12/12/12 images, 150x150, int64, axion_mass for 12"),
        ("model_II", "Model II or III: 3 classes, 12/12/12 images, 64x64, float64, axion_mass for 12"),
        ("lens_finding", "lens finding: 2 classes, 20/20 images, 3x64x64, float32, split into train/test as given"),
    ],
)
def test_the_sets_at_hand_are_recognised(tmp_path: Path, capsys, folder: str, says: str) -> None:
    if not (SHARED / folder).is_dir():
        pytest.skip(f"no {folder} in {SHARED}")
    load(Folder(str(SHARED / folder)), cache=tmp_path)
    assert capsys.readouterr().err.splitlines()[-1].split(";")[0] == says
