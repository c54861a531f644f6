"""Folders of images: what is read, how it is split, and what is refused."""

import json
import re
import shutil
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from trainers.data import Dataset, Folder, from_arrays, load, source_from_dict, source_to_dict
from trainers.data.splits import Memory, assign

SHARED = Path(__file__).resolve().parents[2] / "shared/data"
SPLITS = ("train", "val", "test")


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(0)


def fill(
    folder: Path, count: int, rng: np.random.Generator, *, kind: str = "npy", size: int = 10, first: int = 0
) -> None:
    """`count` images of noise, (1, size, size) float64 in `.npy` or 8-bit grey otherwise."""
    folder.mkdir(parents=True, exist_ok=True)
    for i in range(first, first + count):
        if kind == "npy":
            np.save(folder / f"{i}.npy", rng.random((1, size, size)))
        else:
            Image.fromarray(rng.integers(0, 256, (size, size), dtype=np.uint8)).save(folder / f"{i}.{kind}")


def read(path: Path, **fields: object) -> Dataset:
    return load(Folder(str(path), **fields), progress=False, cache=path.parent / "cache")


def files(path: Path) -> dict[str, str]:
    """File name to split, as the newest cache has it."""
    newest = max((path.parent / "cache").glob("*/files.json"), key=lambda file: file.stat().st_mtime_ns)
    record = json.loads(newest.read_text())
    return {name: split for split in SPLITS for name, _ in record[split]}


def every(data: Dataset) -> Iterator[tuple[torch.Tensor, str]]:
    for name in SPLITS:
        split = getattr(data, name)
        yield from zip(split.images, (data.classes[i] for i in split.labels), strict=True)


@pytest.mark.parametrize("kind", ["png", "npy", "jpg"])
def test_every_image_is_stored_once_with_its_label(tmp_path: Path, rng: np.random.Generator, kind: str) -> None:
    root = tmp_path / "lenses"
    for name in ("sub", "no_substructure"):
        fill(root / name, 30, rng, kind=kind)
    data = read(root)
    assert data.classes == ("no_sub", "sub")
    expected = []
    for folder, label in (("no_substructure", "no_sub"), ("sub", "sub")):
        for file in (root / folder).iterdir():
            image = np.load(file)[0].astype(np.float32) if kind == "npy" else np.asarray(Image.open(file))
            expected.append((image.tobytes(), label))
    assert sorted((image[0].numpy().tobytes(), label) for image, label in every(data)) == sorted(expected)
    assert data.train.images.dtype == (torch.float32 if kind == "npy" else torch.uint8)
    assert (data.in_chans, data.image_size) == (1, 10)


@pytest.mark.parametrize("have", [("train", "val"), ("train", "test"), ("train", "val", "test")])
def test_official_splits_are_kept_and_missing_ones_come_from_train(
    tmp_path: Path, rng: np.random.Generator, have: tuple[str, ...]
) -> None:
    root = tmp_path / "data"
    for split in have:
        for name in ("no", "sphere", "vort"):
            fill(root / split / name, 40, rng)
    data = read(root)
    assert data.classes == ("axion", "cdm", "no_sub")
    for name, split in files(root).items():
        official = name.split("/")[0]
        assert split == official or (official == "train" and split not in have)
    for split in SPLITS:
        assert getattr(data, split).labels.bincount(minlength=3).min() > 0


def test_no_image_moves_between_splits_when_files_are_added_or_renamed(
    tmp_path: Path, rng: np.random.Generator
) -> None:
    root = tmp_path / "data"
    for name in ("no_sub", "sub"):
        fill(root / name, 120, rng, size=8)
    read(root)
    before = files(root)
    for name in ("no_sub", "sub"):
        fill(root / name, 80, rng, size=8, first=120)
    (root / "sub" / "7.npy").rename(root / "sub" / "renamed.npy")
    read(root)
    after = files(root)
    assert len(after) == 400
    after["sub/7.npy"] = after.pop("sub/renamed.npy")
    assert {name: after[name] for name in before} == before


def test_the_split_is_about_80_10_10_in_every_class_and_follows_the_seed(
    tmp_path: Path, rng: np.random.Generator
) -> None:
    root = tmp_path / "data"
    fill(root / "no_sub", 500, rng, size=4)
    fill(root / "sub", 300, rng, size=4)
    data = read(root)
    for split, share in zip(SPLITS, (0.8, 0.1, 0.1), strict=True):
        counts = getattr(data, split).labels.bincount().numpy()
        spread = np.sqrt(np.array([500, 300]) * share * (1 - share))
        assert (np.abs(counts - np.array([500, 300]) * share) < 4 * spread).all()
    first = files(root)
    read(root, seed=1)
    assert files(root) != first


@pytest.mark.parametrize("shares", [(80, 10, 10), (70, 15, 15), (0.5, 0.3, 0.2), (1, 1, 1)])
def test_small_classes_are_divided_exactly_by_objects(shares: tuple[float, ...]) -> None:
    """Each class of fewer than a hundred objects has its rounded share of objects in every split, whatever the seed."""
    for count in (3, 4, 5, 10, 17, 30, 64, 99):
        images = [(label, i, copy) for label in "ab" for i in range(count) for copy in range(1 + i % 3)]
        objects = [f"{label}{i}" for label, i, _ in images]
        names = [f"{label}{i}_{copy}" for label, i, copy in images]
        splits = assign(
            [None] * len(images), [label for label, *_ in images], names, names, 5, Memory(), objects, shares
        )
        where = dict(zip(objects, splits, strict=True))
        assert [where[key] for key in objects] == splits, "an object is in one split"
        for label in "ab":
            each = Counter(split for key, split in where.items() if key[0] == label)
            assert sum(each.values()) == count
            for split, share in zip(SPLITS[1:], shares[1:], strict=True):
                assert each[split] == max(round(share * count / sum(shares)), 1), (count, each)


@pytest.mark.parametrize("kind", ["folder", "arrays"])
def test_the_shares_of_the_splits_are_those_given(tmp_path: Path, rng: np.random.Generator, kind: str) -> None:
    if kind == "folder":
        for name in ("no_sub", "sub"):
            fill(tmp_path / "data" / name, 40, rng, size=4)
        assert [len(getattr(read(tmp_path / "data"), split)) for split in SPLITS] == [64, 8, 8]
        data = read(tmp_path / "data", split="70,15,15")  # not where the first split has put them
    else:
        images, cache = rng.random((80, 4, 4)), tmp_path / "cache"
        data = load(
            from_arrays(images, np.arange(80) % 2, split=(70, 15, 15), cache=cache), progress=False, cache=cache
        )
    for split, count in zip(SPLITS, (28, 6, 6), strict=True):
        assert getattr(data, split).labels.bincount().tolist() == [count, count]
    for wrong in ("70,30", "a,b,c", (1, 0, 1), 5):
        with pytest.raises(ValueError, match=r"split is .*; expected three numbers above 0, such as 70,15,15"):
            Folder("data", split=wrong)


def test_duplicates_land_in_one_split(tmp_path: Path, rng: np.random.Generator) -> None:
    root = tmp_path / "data"
    for name in ("no_sub", "sub"):
        fill(root / name, 60, rng)
        for i in range(60):
            (root / name / f"copy{i}.npy").write_bytes((root / name / f"{i}.npy").read_bytes())
    read(root)
    split = files(root)
    assert all(split[f"{c}/{i}.npy"] == split[f"{c}/copy{i}.npy"] for c in ("no_sub", "sub") for i in range(60))


def test_a_handful_of_images_still_gives_every_split_every_class(tmp_path: Path, rng: np.random.Generator) -> None:
    root = tmp_path / "data"
    for name in ("no_sub", "sub"):
        fill(root / name, 3, rng)
    data = read(root)
    for split in SPLITS:
        assert getattr(data, split).labels.tolist() == [0, 1]


def test_changed_files_are_read_anew_and_unchanged_ones_are_not(
    tmp_path: Path, rng: np.random.Generator, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = tmp_path / "data"
    for name in ("no_sub", "sub"):
        fill(root / name, 10, rng)
    old = read(root)
    np.save(root / "sub" / "3.npy", np.full((1, 10, 10), 7.0))
    new = read(root)
    assert not any((image == 7).all() for image, _ in every(old))
    assert sum(bool((image == 7).all()) for image, _ in every(new)) == 1
    monkeypatch.setattr("trainers.data.loading.convert", lambda *a, **k: pytest.fail("converted again"))
    read(root)


def test_resizing_averages_light_instead_of_sampling_it(tmp_path: Path) -> None:
    root = tmp_path / "data"
    checkerboard = np.indices((32, 32)).sum(0) % 2
    for label, name in enumerate(("no_sub", "sub")):
        (root / name).mkdir(parents=True)
        for i in range(4):
            np.save(root / name / f"{i}.npy", (checkerboard * 200 + label * 10 + i).astype(np.int32))
    data = read(root, image_size=8)
    assert data.train.images.dtype == torch.float32
    assert data.train.images.shape[1:] == (1, 8, 8)
    for image, label in every(data):
        assert image[0, 2:-2, 2:-2].std() < 1  # sampling would give stripes of 0 and 200
        assert 100 <= image.mean() - 10 * (label == "sub") <= 103.5


@pytest.mark.parametrize(
    ("array", "stored"),
    [
        (np.ones((6, 6), np.uint16) * 60000, torch.int32),
        (np.ones((6, 6), ">i2") * 5, torch.int16),
        (np.ones((6, 6), np.int64) * 5, torch.int64),
        (np.ones((6, 6), bool), torch.uint8),
        (np.ones((6, 6), np.float16), torch.float32),
        (np.ones((3, 6, 6), np.float32), torch.float32),
        (np.ones((6, 6, 3), np.uint8), torch.uint8),
    ],
)
def test_numbers_survive_every_shape_and_dtype(tmp_path: Path, array: np.ndarray, stored: torch.dtype) -> None:
    for label, name in enumerate(("no_sub", "sub")):
        (tmp_path / "data" / name).mkdir(parents=True)
        for i in range(3):
            image = array.copy()
            image.flat[label * 3 + i] = 0
            np.save(tmp_path / "data" / name / f"{i}.npy", image)
    data = read(tmp_path / "data")
    assert data.train.images.dtype == stored
    assert data.train.images.shape[1:] == ((3, 6, 6) if array.ndim == 3 else (1, 6, 6))
    assert data.train.images.max() == array.max()


def damage(kind: str, root: Path) -> None:
    rng = np.random.default_rng(1)
    {
        "missing": lambda: root.rename(root.with_name("elsewhere")),
        "file": lambda: (root.rename(root.with_name("elsewhere")), root.touch()),
        "one class": lambda: (root / "sub").rename(root.with_name("sub")),
        "no class": lambda: [(root / name).rename(root.with_name(name)) for name in ("sub", "no_sub")],
        "empty": lambda: [file.unlink() for file in (root / "sub").iterdir()],
        "truncated": lambda: (root / "sub" / "1.npy").write_bytes((root / "sub" / "1.npy").read_bytes()[:300]),
        "zero bytes": lambda: (root / "sub" / "1.npy").write_bytes(b""),
        "no image": lambda: (root / "sub" / "1.jpg").write_text("not a picture"),
        "nan": lambda: np.save(root / "sub" / "1.npy", np.full((1, 10, 10), np.nan)),
        "shape": lambda: np.save(root / "sub" / "1.npy", np.zeros((1, 12, 12))),
        "dtype": lambda: np.save(root / "sub" / "1.npy", np.zeros((1, 10, 10), np.int16)),
        "strings": lambda: np.save(root / "sub" / "1.npy", np.full((1, 10, 10), "a")),
        "not square": lambda: [np.save(f, rng.random((10, 12))) for d in root.iterdir() for f in d.iterdir()],
        "two labels": lambda: (root / "sub" / "1.npy").write_bytes((root / "no_sub" / "2.npy").read_bytes()),
        "no train": lambda: [fill(root / "val" / name, 2, rng) for name in ("no_sub", "sub")],
        "class missing": lambda: (
            shutil.rmtree(root),
            [fill(root / s / c, 2, rng) for s, c in (("train", "a"), ("train", "b"), ("val", "a"))],
        ),
        "two splits": lambda: (
            shutil.rmtree(root),
            [fill(root / s / c, 2, rng) for s in ("train", "val") for c in ("a", "b")],
            (root / "val" / "a" / "0.npy").write_bytes((root / "train" / "a" / "1.npy").read_bytes()),
        ),
        "two images": lambda: [(root / "sub" / f"{i}.npy").unlink() for i in range(2, 6)],
    }[kind]()


@pytest.mark.parametrize(
    ("kind", "says"),
    [
        ("missing", "data folder .*/data does not exist"),
        ("file", "data folder .*/data is not a folder"),
        ("one class", "data has only the class 'no_sub'; expected at least two"),
        ("no class", "data has no class folders; expected at least two"),
        ("empty", "class folder .*/sub holds no images; expected files ending in .npy, .png"),
        ("truncated", r"1 of 12 images .* cannot be read .*sub/1.npy"),
        ("zero bytes", r"1 of 12 images .* cannot be read .*sub/1.npy"),
        ("no image", r"1 of 13 images .* cannot be read .*sub/1.jpg"),
        ("nan", r"sub/1.npy \(holds NaN or infinite values in 100% of its pixels"),
        ("shape", r"not 1x10x10 float32 like most: sub/1.npy \(1x12x12 float32\)"),
        ("dtype", r"not 1x10x10 float32 like most: sub/1.npy \(1x10x10 int16\)"),
        ("strings", r"sub/1.npy \(holds <U1 values; expected numbers\)"),
        ("not square", "no_sub/0.npy in .*/data is 12x10 pixels; expected square images"),
        ("two labels", "no_sub/2.npy and sub/1.npy in .* are the same image in two classes; remove one"),
        ("no train", "data has a val folder but no train folder"),
        ("class missing", "val lacks the class 'b', which other splits have"),
        ("two splits", "train/a/1.npy and val/a/0.npy in .* are the same image in two splits; remove one"),
        ("two images", r"class 'sub' has too few different images \(2\) to train, validate and test"),
    ],
)
def test_what_cannot_be_used_is_refused_in_one_line_that_names_it(
    tmp_path: Path, rng: np.random.Generator, kind: str, says: str
) -> None:
    root = tmp_path / "data"
    for name in ("no_sub", "sub"):
        fill(root / name, 6, rng)
    damage(kind, root)
    with pytest.raises(ValueError, match=says) as error:
        read(root)
    assert "\n" not in str(error.value)
    assert not list((tmp_path / "cache").glob("*/")) if (tmp_path / "cache").exists() else True


def test_every_bad_image_is_named(tmp_path: Path, rng: np.random.Generator) -> None:
    root = tmp_path / "data"
    for name in ("no_sub", "sub"):
        fill(root / name, 8, rng)
        (root / name / "0.npy").write_bytes(b"")  # the first image of all is bad too
        (root / name / "5.npy").write_bytes(b"")
    with pytest.raises(ValueError, match="4 of 16 images") as error:
        read(root)
    assert re.findall(r"\w+/\d.npy", str(error.value)) == [f"{c}/{i}.npy" for c in ("no_sub", "sub") for i in (0, 5)]


def test_a_record_of_a_folder_means_the_same_elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    source = Folder("data", image_size=32, seed=3)
    assert source.path == str(tmp_path / "data")
    record = json.loads(json.dumps(source_to_dict(source)))
    monkeypatch.chdir("/")
    assert source_from_dict(record) == source
    with pytest.raises(ValueError, match="unknown key 'colour' for folder data; known: path, image_size, seed"):
        source_from_dict({**record, "colour": 1})
    with pytest.raises(ValueError, match="unknown kind of data 'tape'; known: simulated, folder"):
        source_from_dict({"kind": "tape"})


@pytest.mark.parametrize(
    ("folder", "says"),
    [
        ("lenses", "2 classes (no_sub, sub)"),
        ("common_test", "3 classes (axion, cdm, no_sub)"),
        ("model_I", "3 classes (axion, cdm, no_sub)"),
        ("model_II", "3 classes (axion, cdm, no_sub)"),
    ],
)
def test_deeplense_folders_are_read_as_they_are(tmp_path: Path, folder: str, says: str) -> None:
    if not (SHARED / folder).is_dir():
        pytest.skip(f"no {folder} in {SHARED}")
    data = load(Folder(str(SHARED / folder)), progress=False, cache=tmp_path)
    assert says in data.describe()
    images = len(list((SHARED / folder).rglob("*.npy"))) + len(list((SHARED / folder).rglob("*.jpg")))
    assert sum(len(getattr(data, split)) for split in SPLITS) == images
    if folder.startswith("model"):
        mass = torch.cat([getattr(data, split).targets["axion_mass"] for split in SPLITS])
        labels = torch.cat([getattr(data, split).labels for split in SPLITS])
        assert torch.equal(~mass.isnan(), labels == 0)
        assert mass[labels == 0].min() >= 1e-24
        assert mass[labels == 0].max() <= 1e-22
