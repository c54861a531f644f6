"""Files are not objects: bands become channels, copies stay in one split, and what is not used is named."""

import hashlib
import json
import random
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest
import torch

from trainers.data import Dataset, Folder, from_arrays, load, source_from_dict, source_to_dict
from trainers.data.folder import convert as conversion
from trainers.data.folder.files import images_below
from trainers.data.folder.layouts import scan
from trainers.data.folder.objects import originals, without_band
from trainers.data.folder.passbands import wavelength
from trainers.data.folder.turned import canonical, invariant, symmetries
from trainers.data.splits import units

SPLITS = ("train", "val", "test")


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(0)


def save(file: Path, image: np.ndarray) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    np.save(file, image)


def fill(folder: Path, count: int, rng: np.random.Generator, name: str = "{}.npy") -> None:
    for i in range(count):
        save(folder / name.format(i), rng.random((8, 8)))


def read(root: Path, **fields: object) -> Dataset:
    return load(Folder(str(root), **fields), progress=False, cache=root.parent / "cache")


def newest(root: Path, name: str) -> dict:
    file = max((root.parent / "cache").glob(f"*/{name}"), key=lambda file: file.stat().st_mtime_ns)
    return json.loads(file.read_text())


def where(root: Path) -> dict[str, str]:
    """File name to split."""
    return {name: split for split, files in newest(root, "files.json").items() for name, _ in files}


def line(root: Path) -> str:
    return newest(root, "manifest.json")["recognised"]


@pytest.mark.parametrize(
    ("name", "original"),
    [
        ("001_rot90.npy", "001.npy"),
        ("001_rot0.npy", "001.npy"),
        ("001-rotated-270.npy", "001.npy"),
        ("001rot180.npy", "001.npy"),
        ("rot90_001.npy", "001.npy"),
        ("001-flip.png", "001.png"),
        ("001_hflip.png", "001.png"),
        ("001_flip_ud.png", "001.png"),
        ("001_rot90_vflip.npy", "001.npy"),
        ("001_mirrored.npy", "001.npy"),
        ("001_aug3.npy", "001.npy"),
        ("001_augmented_12.npy", "001.npy"),
        ("001-Copy.fits.gz", "001.fits.gz"),
        ("001-Copy1.npy", "001.npy"),
        ("001 copy.npy", "001.npy"),
        ("001 copy 2.npy", "001.npy"),
        ("001 - Copy (2).npy", "001.npy"),
        ("Copy of 001.npy", "001.npy"),
        ("001 (1).npy", "001.npy"),
        ("001_original.npy", "001.npy"),
        ("001.npy", "001.npy"),
        ("flip_3.npy", "3.npy"),
        ("rot90.npy", "rot90.npy"),
        ("image_12.npy", "image_12.npy"),
        ("carrot90s.npy", "carrot90s.npy"),
        ("axion_sim_123456.npy", "axion_sim_123456.npy"),
        ("spiral_copying.npy", "spiral_copying.npy"),
    ],
)
def test_a_copy_has_the_name_of_its_original(name: str, original: str) -> None:
    assert originals(["001.npy", name])[1] == original


def test_a_numbering_in_brackets_is_none_of_copies() -> None:
    without = [f"image ({i}).jpg" for i in range(1, 4)]  # Windows renames many files at once to this
    many = ["lens.jpg", *(f"lens ({i}).jpg" for i in range(1, 40))]  # downloads under one name
    assert originals(without) == without
    assert originals(many) == many


@pytest.mark.parametrize(
    ("names", "bands"),
    [
        (["cutout-00012-HSC-I", "cutout-00012-HSC-G", "cutout-00012-HSC-R"], "g r i"),
        (["12_z", "12_y", "12_u", "12_g", "12_i", "12_r"], "u g r i z y"),
        (["r_12", "g_12"], "g r"),
        (["SDSS-r.12", "SDSS-u.12"], "u r"),
        (["12_F814W_drz", "12_F160W_drz", "12_F606W_drz"], "f606w f814w f160w"),
        (["12_f444w", "12_F115W", "12_f277w"], "f115w f277w f444w"),
        (["12-VIS", "12-NISP-H", "12-NISP-Y"], "vis y h"),
        (["12_g-band", "12_band_r"], "g r"),
    ],
)
def test_bands_stand_in_the_order_of_wavelength(names: list[str], bands: str) -> None:
    found = [without_band(name) for name in names]
    assert len({rest for rest, _ in found}) == 1
    assert sorted((band for _, band in found), key=wavelength) == bands.split()


@pytest.mark.parametrize("place", ["{0}/cutout-{1:05d}-HSC-{2}.npy", "{0}/{2}/{1:05d}.npy", "{0}/{2}_{1}.npy"])
def test_bands_of_an_object_become_the_channels_of_one_image(
    tmp_path: Path, rng: np.random.Generator, place: str
) -> None:
    root, images = tmp_path / "data", {}
    for label in ("lens", "nonlens"):
        for i in range(20):
            images[label, i] = rng.random((5, 8, 8)).astype("f4")
            for band, plane in zip("GRIZY", images[label, i], strict=True):
                save(root / place.format(label, i, band), plane)
    data = read(root)
    assert (len(data.train) + len(data.val) + len(data.test), data.in_chans) == (40, 5)
    found = {image.numpy().tobytes() for s in SPLITS for image in getattr(data, s).images[:]}
    assert found == {image.tobytes() for image in images.values()}
    assert "20/20 images, 5x8x8, float32, channels g r i z y; 200 files, 40 objects;" in line(root)
    assert newest(root, "manifest.json")["channels"] == ["g", "r", "i", "z", "y"]


def test_objects_with_other_bands_are_named_or_are_files_of_their_own_groups(
    tmp_path: Path, rng: np.random.Generator
) -> None:
    root = tmp_path / "data"
    for label in ("a", "b"):
        for band in "gr":
            fill(root / label, 30, rng, f"{{}}_{band}.npy")
    (root / "a" / "7_g.npy").unlink()
    with pytest.raises(ValueError, match=r"59 of 60 objects .* bands g, r, .*/a/7_r.npy \(has r\).*--group") as error:
        read(root)
    assert "\n" not in str(error.value)
    data = read(root, group=r"(\w+/\d+)_")
    assert data.in_chans == 1
    split = where(root)
    assert len(split) == 119
    assert all(
        split[f"{c}/{i}_g.npy"] == split[f"{c}/{i}_r.npy"] for c in "ab" for i in range(30) if (c, i) != ("a", 7)
    )


def test_files_named_as_different_objects_are_no_bands_of_one(tmp_path: Path, rng: np.random.Generator) -> None:
    root = tmp_path / "data"
    for label in ("a", "b"):
        for axis in "yz":  # of a projected halo
            fill(root / label, 20, rng, f"halo{{}}_{axis}.npy")
    assert read(root).in_chans == 2, "its name says so"
    data = read(root, group=r"(\w+/halo\d+_[yz])")
    assert (data.in_chans, len(data.train) + len(data.val) + len(data.test)) == (1, 80)


def test_copies_by_name_stay_in_one_split(tmp_path: Path, rng: np.random.Generator) -> None:
    root = tmp_path / "data"
    marks = ["_rot90", "_rot180", "-flip", "_hflip", " (1)", "-Copy", " copy", "_aug3"]
    for label in ("no", "vort"):
        for mark in ["", *marks]:
            fill(root / label, 30, rng, f"{{:03d}}{mark}.npy")  # other pixels: nothing but the name tells
    read(root)
    split = where(root)
    for label in ("no_", "vort_"):
        for i in range(30):
            mine = {split[f"{label[:-1]}/{i:03d}{mark}.npy"] for mark in ["", *marks]}
            assert len(mine) == 1
    assert len(set(split.values())) == 3
    assert "; 540 files, 60 objects; " in line(root)


def test_a_split_by_file_of_what_was_copied_before_is_reported(tmp_path: Path, rng: np.random.Generator) -> None:
    root = tmp_path / "data"
    for first, split in ((0, "train"), (20, "test")):
        for label in ("no", "vort"):
            for i in range(first, first + 20):
                save(root / split / label / f"{i}.npy", rng.random((8, 8)))
                save(root / split / label / f"{i}_rot90.npy", rng.random((8, 8)))
    read(root)
    (root / "train/no/3_rot90.npy").rename(root / "test/no/3_rot90.npy")
    with pytest.raises(
        ValueError, match=r"test/no/3_rot90.npy and train/no/3.npy in .* parts of one object in two spl"
    ):
        read(root)


def test_files_that_are_numbered_anew_in_each_split_are_different_objects(
    tmp_path: Path, rng: np.random.Generator
) -> None:
    root = tmp_path / "data"
    for split in SPLITS:
        for label in ("no", "vort"):
            fill(root / split / label, 10, rng)
            fill(root / split / label, 10, rng, "{}_rot90.npy")
    read(root)
    assert "; 120 files, 60 objects; " in line(root)


@pytest.mark.parametrize("dtype", ["f4", "u1", "i2", "i8"])
@pytest.mark.parametrize("side", [7, 8])
def test_only_turned_and_mirrored_copies_share_a_hash(dtype: str, side: int, rng: np.random.Generator) -> None:
    image = (rng.random((2, side, side)) * 100).astype(dtype)
    views = [np.ascontiguousarray(view) for view in symmetries(image)]
    assert len({view.tobytes() for view in views}) == 8
    assert len({canonical(view) for view in views}) == len({invariant(view) for view in views}) == 1
    for other in (np.roll(image, 1, 2), image[::-1].copy(), np.concatenate([image[:1, ::-1], image[1:]])):
        assert canonical(other) != canonical(image)
    assert invariant(np.roll(image, 1, 2)) != invariant(image)


@pytest.mark.parametrize("kind", ["folder", "arrays"])
def test_turned_and_mirrored_copies_under_any_name_stay_in_one_split(
    tmp_path: Path, rng: np.random.Generator, kind: str
) -> None:
    root, images, labels = tmp_path / "data", [], []
    for label in ("no", "vort"):
        for i in range(40):
            image = rng.random((1, 8, 8)).astype("f4")
            for k, view in enumerate(list(symmetries(image))[:: 1 + i % 3]):
                images.append(np.ascontiguousarray(view))
                labels.append(label)
                save(root / label / f"{i * 8 + k}.npy", images[-1])
    if kind == "folder":
        data = read(root)
        assert f"; {len(images)} files, 80 objects; " in line(root)
    else:
        data = load(from_arrays(np.stack(images), labels, cache=tmp_path), progress=False, cache=tmp_path)
    found = {s: {canonical(image.numpy()) for image in getattr(data, s).images[:]} for s in SPLITS}
    assert all(found.values())
    assert sum(map(len, found.values())) == 80
    kept = [image.numpy().tobytes() for s in SPLITS for image in getattr(data, s).images[:]]
    assert sorted(kept) == sorted(image.tobytes() for image in images)


def test_a_turned_copy_across_given_splits_is_reported_and_across_classes_is_none(
    tmp_path: Path, rng: np.random.Generator
) -> None:
    root = tmp_path / "data"
    for split in ("train", "test"):
        for label in ("s", "z"):
            fill(root / split / label, 8, rng)
    save(root / "train/z/9.npy", np.load(root / "train/s/3.npy")[::-1])  # a galaxy that turns the other way
    read(root)
    save(root / "test/z/9.npy", np.rot90(np.load(root / "train/z/5.npy")))
    with pytest.raises(ValueError, match=r"train/z/5.npy and test/z/9.npy|test/z/9.npy and train/z/5.npy"):
        read(root)


def test_a_conversion_stopped_between_its_passes_over_turned_copies_resumes(
    tmp_path: Path, rng: np.random.Generator, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = tmp_path / "data"
    for label in ("no", "vort"):
        for i in range(40):
            image = rng.random((8, 8))
            save(root / label / f"{i}.npy", image)
            save(root / label / f"{i + 100}.npy", image.T)
    passes, decode = [], conversion.decode

    def stopped(*arguments: object) -> None:
        passes.append(1)
        if len(passes) == 2:
            raise KeyboardInterrupt
        decode(*arguments)

    monkeypatch.setattr(conversion, "decode", stopped)
    with pytest.raises(KeyboardInterrupt):
        read(root)
    monkeypatch.setattr(conversion, "turned_copies", lambda *_: pytest.fail("compared again"))
    resumed = read(root)
    monkeypatch.undo()
    whole = load(Folder(str(root)), progress=False, cache=tmp_path / "other")
    assert all(torch.equal(getattr(resumed, s).images[:], getattr(whole, s).images[:]) for s in SPLITS)


def naive_split(file: Path, seed: int = 0) -> str:
    digest = hashlib.sha256(file.read_bytes()).hexdigest()
    place = int(hashlib.sha256(f"{seed} {digest}".encode()).hexdigest()[:13], 16) / 16**13
    return "test" if place >= 0.9 else "val" if place >= 0.8 else "train"


def test_a_folder_without_copies_is_split_by_the_content_of_each_file_as_ever(
    tmp_path: Path, rng: np.random.Generator
) -> None:
    root = tmp_path / "data"
    for label in ("no_sub", "sub"):
        fill(root / label, 100, rng, f"{label}_sim_{{}}.npy")
    read(root)
    assert where(root) == {f"{f.parent.name}/{f.name}": naive_split(f) for f in root.rglob("*.npy")}


def test_a_copy_added_later_follows_its_original_and_copies_once_apart_are_brought_together(
    tmp_path: Path, rng: np.random.Generator
) -> None:
    root = tmp_path / "data"
    for label in ("no", "vort"):
        fill(root / label, 60, rng)
    read(root)
    before = where(root)
    for label in ("no", "vort"):
        fill(root / label, 60, rng, "{}_rot90.npy")
    read(root)
    after = where(root)
    assert {name: after[name] for name in before} == before
    assert all(after[name.replace(".npy", "_rot90.npy")] == split for name, split in before.items())

    (memory,) = (tmp_path / "cache").glob(".*.splits.json")
    record = json.loads(memory.read_text())
    digest = {name: hashlib.sha256((root / name).read_bytes()).hexdigest() for name in after}
    record["splits"][digest["no/1.npy"]], record["splits"][digest["no/1_rot90.npy"]] = "train", "test"  # as once drawn
    memory.write_text(json.dumps(record))
    again = load(Folder(str(root), image_size=16), progress=False, cache=tmp_path / "cache")
    assert again.image_size == 16
    anew = where(root)
    assert anew["no/1.npy"] == anew["no/1_rot90.npy"]
    assert {n: s for n, s in anew.items() if "no/1" not in n} == {n: s for n, s in after.items() if "no/1" not in n}


def test_what_belongs_together_is_what_a_search_through_all_pairs_finds() -> None:
    draw = random.Random(0)
    for _ in range(50):
        n = draw.randrange(1, 12)
        names = [f"{'x' * draw.randrange(1, 4)}{i:02d}" for i in range(n)]
        digests = [str(draw.randrange(8)) for _ in names]
        objects = [draw.choice([None, "a", "b", "c"]) for _ in names]
        copies = [(draw.randrange(n), draw.randrange(n)) for _ in range(draw.randrange(3))]
        joined = {
            (i, j)
            for i, j in combinations(range(n), 2)
            if digests[i] == digests[j] or (objects[i] == objects[j] is not None) or {(i, j), (j, i)} & set(copies)
        }
        group = list(range(n))
        for _ in names:
            for i, j in joined:
                group[i] = group[j] = min(group[i], group[j])
        keys = units(names, digests, objects, copies)
        for i in range(n):
            mine = [j for j in range(n) if group[j] == group[i]]
            assert keys[i] == digests[min(mine, key=lambda j: (len(names[j]), names[j]))]


def test_objects_named_by_a_pattern_stay_together_also_across_classes(tmp_path: Path, rng: np.random.Generator) -> None:
    root = tmp_path / "data"
    for label in ("no", "vort"):
        for part in ("left", "right"):
            fill(root / label, 40, rng, f"galaxy{{}}-{part}.npy")
    read(root, group=r"galaxy(\d+)")
    split = where(root)
    for i in range(40):
        assert len({split[f"{c}/galaxy{i}-{part}.npy"] for c in ("no", "vort") for part in ("left", "right")}) == 1
    assert "; 160 files, 40 objects; " in line(root)
    with pytest.raises(
        ValueError, match=r"group '\(left\)' finds no object in 80 of 160 names .* vort/galaxy0-right.npy"
    ):
        read(root, group="(left)")


@pytest.mark.parametrize(
    ("pattern", "says"),
    [
        ("(", "is no regular expression"),
        ("a", "has 0 groups"),
        ("(a)(b)", "has 2 groups"),
        (r"(?:a|b)", "has 0 groups"),
    ],
)
def test_a_pattern_that_names_no_object_is_refused_at_once(pattern: str, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        Folder("/data", group=pattern)


def test_the_pattern_is_part_of_what_a_source_is(tmp_path: Path, rng: np.random.Generator) -> None:
    source = Folder("/data", group=r"(\d+)")
    assert source_from_dict(json.loads(json.dumps(source_to_dict(source)))) == source
    old = source_to_dict(Folder("/data"))
    del old["group"]
    assert source_from_dict(old) == Folder("/data"), "a record of an earlier version"
    for label in ("a", "b"):
        fill(tmp_path / label, 3, rng)
    assert len({scan(tmp_path, None, group).fingerprint() for group in (None, r"(\d)", r"(./\d)")}) == 3


def test_what_is_not_used_is_named_and_what_systems_leave_is_not(tmp_path: Path, rng: np.random.Generator) -> None:
    root = tmp_path / "data"
    for label in ("no", "vort"):
        fill(root / label, 12, rng)
    fill(root / "no" / "more", 5, rng)
    for i in range(20):
        (root / "vort" / f"{i}.bmp").write_bytes(b"x")
    fill(root / "plots", 2, rng)
    (root / "notes.txt").write_text("x")
    for junk in ("@eaDir/1.npy", "__MACOSX/._1.npy", ".ipynb_checkpoints/1.npy", "lost+found/1.npy", "no/Thumbs.db"):
        (root / junk).parent.mkdir(exist_ok=True)
        (root / junk).write_bytes(b"x")
    data = read(root)
    assert len(data.train) + len(data.val) + len(data.test) == 24
    assert "; not used: 20 .bmp in vort/, 5 .npy in no/more/, 2 .npy in plots/, notes.txt" in line(root)
    assert {f.parent.name for f in images_below(root)} == {"no", "vort", "more", "plots"}


@pytest.mark.parametrize(
    ("val", "test"), [("validate", "test_set"), ("dev", "holdout"), ("eval", "Test Images"), ("val-set", "held_out")]
)
def test_folders_beside_train_are_the_splits_that_their_names_mean(
    tmp_path: Path, rng: np.random.Generator, val: str, test: str
) -> None:
    root = tmp_path / "data"
    for number, name in ((9, "train"), (5, val), (7, test)):
        for label in ("no", "vort"):
            fill(root / name / label, number, rng)
    data = read(root)
    assert [len(getattr(data, s)) for s in SPLITS] == [18, 10, 14]


@pytest.mark.parametrize(
    ("folders", "says"),
    [
        (
            ["train", "extra"],
            r"folders of images beside train/ that are no split by their names: extra/; call them val",
        ),
        (["train", "val", "validate"], "val and validate, which both mean val"),
    ],
)
def test_folders_beside_train_of_no_clear_meaning_are_refused(
    tmp_path: Path, rng: np.random.Generator, folders: list[str], says: str
) -> None:
    for name in folders:
        for label in ("no", "vort"):
            fill(tmp_path / "data" / name / label, 5, rng)
    with pytest.raises(ValueError, match=says):
        read(tmp_path / "data")


@pytest.mark.parametrize(
    ("places", "says"),
    [
        (
            ["g/{}.npy", "r/{}.npy", "i/{}.npy"],
            "the folders g/, i/, r/ .* no classes.* put the bands below the classes",
        ),
        (["g/lens/{}_g.npy", "r/lens/{}_r.npy"], "the folders g/, r/ .* no classes"),
        (["HR/{}.npy", "LR/{}.npy"], "the folders HR/, LR/ .* no classes: they hold the same objects, such as 0.npy"),
        (["train/HR/{}_HR.npy", "train/LR/{}_LR.npy"], "the folders HR/, LR/ .* no classes"),
    ],
)
def test_folders_of_bands_or_resolutions_are_not_classes(
    tmp_path: Path, rng: np.random.Generator, places: list[str], says: str
) -> None:
    for place in places:
        fill(tmp_path / "data", 10, rng, place)
    with pytest.raises(ValueError, match=says) as error:
        read(tmp_path / "data")
    assert "\n" not in str(error.value)


def test_folders_of_letters_whose_files_do_not_pair_up_are_classes(tmp_path: Path, rng: np.random.Generator) -> None:
    for label in ("g", "r"):
        fill(tmp_path / "data" / label, 10, rng, f"{label}x{{}}.npy")
    assert read(tmp_path / "data").classes == ("g", "r")


def test_images_of_each_class_in_each_split_are_counted_and_few_are_warned_of(
    tmp_path: Path, rng: np.random.Generator
) -> None:
    root = tmp_path / "data"
    for split, numbers in (("train", (60, 8)), ("val", (9, 4)), ("test", (5, 1))):
        for label, number in zip(("nonlens", "lens"), numbers, strict=True):
            fill(root / split / label, number, rng)
    read(root)
    assert "; lens 8/4/1, nonlens 60/9/5 in train/val/test" in line(root)
    assert "Warning: one object alone stands for lens in test. Classes differ by 8 to 1: consider --bal" in line(root)
    for i in range(8, 30):
        save(root / "train/lens" / f"{i}.npy", rng.random((8, 8)))
    save(root / "test/lens/1.npy", rng.random((8, 8)))
    read(root)
    assert line(root).endswith("; lens 30/4/2, nonlens 60/9/5 in train/val/test")


def rows_as_objects(image: np.ndarray) -> np.ndarray:
    rows = np.empty(len(image), object)
    rows[:] = list(image)
    return rows


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda a: np.where(np.arange(8) < 2, np.nan, a), r"holds NaN or .* in 25% .* \(the same for all 40\)"),
        (lambda a: np.stack([a, a])[:, None], r"has shape \(2, 1, 8, 8\); .* \(the same for all 40\)"),
        (rows_as_objects, r"is an object array; .* \(the same for all 40\)"),
        (lambda a: a + 0j, r"holds complex128 values; .* \(the same for all 40\)"),
    ],
)
def test_a_fault_of_all_images_is_said_with_its_reason(tmp_path: Path, rng: np.random.Generator, make, says) -> None:
    for label in ("no", "vort"):
        for i in range(20):
            save(tmp_path / "data" / label / f"{i}.npy", make(rng.random((8, 8))))
    with pytest.raises(ValueError, match=rf"no image in .* can be read; the first, vort/0.npy: {says}") as error:
        read(tmp_path / "data")
    assert "\n" not in str(error.value)
    np.save(tmp_path / "data/no/3.npy", np.zeros(8))
    with pytest.raises(ValueError, match=r"\(the same for 39 of 40\)"):
        read(tmp_path / "data")


@pytest.mark.parametrize("kind", ["test alone", "one class", "two images", "two of three classes in test"])
def test_what_cannot_be_trained_on_can_be_opened_to_evaluate_and_leaves_no_trace(
    tmp_path: Path, rng: np.random.Generator, kind: str
) -> None:
    root = tmp_path / "data"
    for place in {
        "test alone": ("test/no", "test/vort"),
        "one class": ("vort",),
        "two images": ("no", "vort"),
        "two of three classes in test": ("train/no", "train/vort", "train/cdm", "test/no", "test/cdm"),
    }[kind]:
        fill(root / place, 2, rng)
    refused = r"no train folder|only the class|too few|lacks the class"
    with pytest.raises(ValueError, match=refused):
        read(root)
    data = load(Folder(str(root)), progress=False, cache=tmp_path / "cache", partial=True)
    images = [image.numpy().tobytes() for s in SPLITS for image in getattr(data, s).images[:]]
    assert sorted(images) == sorted(np.load(f).astype("f4").tobytes() for f in root.rglob("*.npy"))
    assert len(data.train) == (6 if kind.startswith("two of") else 0)
    with pytest.raises(ValueError, match=refused):
        read(root)
    assert not list((tmp_path / "cache").glob(".*.splits.json")), "nothing is remembered as an image to test on"


def test_a_folder_that_can_be_trained_on_is_split_alike_to_evaluate(tmp_path: Path, rng: np.random.Generator) -> None:
    root = tmp_path / "data"
    for label in ("no", "vort"):
        fill(root / label, 30, rng)
    data = load(Folder(str(root)), progress=False, cache=tmp_path / "cache", partial=True)
    (made,) = (tmp_path / "cache").glob("data-*")
    assert torch.equal(read(root).test.images[:], data.test.images[:])
    assert list((tmp_path / "cache").glob("data-*")) == [made], "converted once"


def test_numbers_of_an_array_that_mean_unknown_are_not_known(tmp_path: Path, rng: np.random.Generator) -> None:
    radii = np.where(np.arange(40) % 4 == 0, -99.9, 1 + np.arange(40) / 100).astype("f4")
    images = rng.random((40, 8, 8)).astype("f4")
    for root, write in (
        (tmp_path / "npy", lambda root: [np.save(root / "images.npy", images), np.save(root / "theta_E.npy", radii)]),
        (tmp_path / "npz", lambda root: np.savez(root / "set.npz", images=images, theta_E=radii)),
    ):
        root.mkdir()
        write(root)
        known = [entry.targets["theta_E"] for entry in scan(root).entries if entry.targets]
        assert len(known) == 30
        assert min(known) > 1


@pytest.mark.parametrize("name", ["lens_id", "train_group_id", "parameters/lens_id"])
def test_an_array_may_say_which_object_each_image_shows(tmp_path: Path, rng: np.random.Generator, name: str) -> None:
    images, ids = rng.random((40, 8, 8)).astype("f4"), np.repeat(np.arange(10), 4)
    split = "train_" * name.startswith("train_")
    arrays = {f"{split}images": images, f"{split}labels": np.arange(40) % 2, name: ids}
    np.savez(tmp_path / "set.npz", **arrays)
    entries = scan(tmp_path).entries
    assert [entry.object for entry in sorted(entries, key=lambda e: e.row)] == [f"object {split[:-1]} {i}" for i in ids]
    assert not any(entry.targets for entry in entries)
    assert {entry.label for entry in entries} == {"0", "1"}
    if "/" in name:
        return
    (tmp_path / "apart").mkdir()
    for key, values in arrays.items():
        np.save(tmp_path / "apart" / f"{key}.npy", values)
    assert len({entry.object for entry in scan(tmp_path / "apart").entries}) == 10


def test_whole_numbers_of_a_name_are_classes_and_can_be_measured(tmp_path: Path, rng: np.random.Generator) -> None:
    np.savez(tmp_path / "set.npz", images=rng.random((40, 8, 8)), n_subhalos=np.arange(40) % 5)
    entries = scan(tmp_path).entries
    assert {(entry.label, entry.targets["n_subhalos"]) for entry in entries} == {(str(i), i) for i in range(5)}


@pytest.mark.parametrize("kinds", [("f4", "f8"), (">f4", "<f4")])
def test_floats_of_two_kinds_are_bands_of_one_image(tmp_path: Path, rng: np.random.Generator, kinds) -> None:
    for label in ("no", "sub"):
        for i in range(4):
            for band, kind in zip("gr", kinds, strict=True):
                save(tmp_path / "data" / label / f"{i}_{band}.npy", rng.random((8, 8)).astype(kind))
    assert read(tmp_path / "data").train.images.shape[1:] == (2, 8, 8)


def test_bands_of_two_sizes_are_refused_with_what_to_do_which_helps(tmp_path: Path, rng: np.random.Generator) -> None:
    for label in ("no", "sub"):
        for i in range(4):
            for band, side in (("vis", 24), ("h", 8)):
                save(
                    tmp_path / "data" / label / f"{i}_{band}.npy", np.full((side, side), i + side, "f4") + rng.random()
                )
    with pytest.raises(ValueError, match=r"make them alike with --fit resize and --image-size \(the same for all 8\)"):
        read(tmp_path / "data")
    data = read(tmp_path / "data", fit="resize", image_size=12)
    assert data.channels == ("vis", "h")
    assert data.train.images.shape[1:] == (2, 12, 12)
    assert torch.all(data.train.images[:, 0] - data.train.images[:, 1] > 14), "each band keeps its own brightness"


def test_a_border_that_is_cropped_away_may_be_missing(tmp_path: Path, rng: np.random.Generator) -> None:
    for label in ("no", "sub"):
        for i in range(5):
            image = rng.random((16, 16))
            image[:2] = np.nan
            save(tmp_path / "data" / label / f"{i}.npy", image)
    with pytest.raises(ValueError, match="NaN or infinite values in 12%"):
        read(tmp_path / "data")
    assert read(tmp_path / "data", fit="crop:12").train.images.isfinite().all()


def test_a_decimal_comma_in_a_name_is_refused(tmp_path: Path, rng: np.random.Generator) -> None:
    fill(tmp_path, 4, rng, "theta_E=1,2{}.npy")
    with pytest.raises(ValueError, match=r"the number 1,2. has a comma; rename the files, with a point"):
        scan(tmp_path)


@pytest.mark.parametrize("names", [("no", "sphere", "subhalo"), ("Sa", "SA", "SB")])
def test_folders_that_would_become_one_class_are_refused(tmp_path: Path, rng: np.random.Generator, names) -> None:
    for name in names:
        fill(tmp_path / "data" / name, 4, rng)
    with pytest.raises(ValueError, match=r"has the folders .* and .*, which would be one class, "):
        scan(tmp_path / "data")


def test_labels_of_minus_one_have_a_name_of_their_own(tmp_path: Path, rng: np.random.Generator) -> None:
    np.savez(tmp_path / "set.npz", images=rng.random((30, 8, 8)), labels=np.arange(30) % 3 - 1)
    assert scan(tmp_path).classes == ("0", "minus_1", "1")
