"""Splits that tables, columns of yes and no, and arrays say."""

from collections import Counter

import numpy as np
import pytest

from trainers.data.folder.layouts import scan
from trainers.data.splits import Memory, assign
from trainers.errors import TrainingError


def fill(root, *names):
    for number, name in enumerate(names):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        np.save(root / name, np.random.default_rng(number).random((8, 8)).astype("f4"))
    return root


def table(path, *lines):
    path.write_text("\n".join(lines) + "\n")


def said(root):
    listing = scan(root)
    return {listing.below_root(entry.path): (entry.split, entry.label) for entry in listing.entries}


@pytest.mark.parametrize(
    ("columns", "splits"),
    [
        (("is_train",), {"1": "train", "0": "test"}),
        (("is_training_image", "is_val"), {"10": "train", "01": "val", "00": "test"}),
        (("is_test",), {"1": "test", "0": "train"}),
        (("is_train", "is_validation", "is_test"), {"100": "train", "010": "val", "001": "test"}),
    ],
)
def test_columns_of_yes_and_no_say_the_split(tmp_path, columns, splits):
    cases = [(cells, split) for cells, split in splits.items() for _ in range(2)]
    fill(tmp_path, *(f"{i}.npy" for i in range(len(cases))))
    rows = [f"{i}.npy,{'ab'[i % 2]},{','.join(cells)}" for i, (cells, _) in enumerate(cases)]
    table(tmp_path / "labels.csv", f"file,label,{','.join(columns)}", *rows)
    assert said(tmp_path) == {f"{i}.npy": (split, "ab"[i % 2]) for i, (_, split) in enumerate(cases)}
    assert not any(entry.targets for entry in scan(tmp_path).entries), "a split is no number to measure"


@pytest.mark.parametrize("cells", ["1,1", "0,0"])
def test_a_row_of_two_splits_or_of_none_is_refused(tmp_path, cells):
    fill(tmp_path, "0.npy", "1.npy", "2.npy")
    lines = ["file,label,is_train,is_val,is_test", "0.npy,a,1,0,0", f"1.npy,b,{cells},0", "2.npy,b,0,0,1"]
    table(tmp_path / "labels.csv", *lines)
    with pytest.raises(TrainingError, match=r"row 2 is of (2|no) splits by is_train, is_val, is_test"):
        scan(tmp_path)


@pytest.mark.parametrize(
    ("lines", "says"),
    [
        (("is_train", "1", "0", ""), "row 3 has '' in is_train; expected 1 or 0"),
        (("is_train", "1", "0", "2"), "row 3 has '2' in is_train; expected 1 or 0"),
        (("is_train,split", "1,train", "0,test", "1,test"), "row 3 is of train by is_train, but not by split"),
    ],
)
def test_a_flag_that_says_no_split_is_refused(tmp_path, lines, says):
    """Or its images would be divided anew, and some that are to be tested on trained on."""
    fill(tmp_path, "0.npy", "1.npy", "2.npy")
    head, *cells = lines
    table(
        tmp_path / "labels.csv", f"file,label,{head}", *(f"{i}.npy,{'aba'[i]},{cell}" for i, cell in enumerate(cells))
    )
    with pytest.raises(TrainingError, match=says):
        scan(tmp_path)


def test_whether_an_image_is_valid_is_no_split(tmp_path):
    fill(tmp_path, *(f"{i}.npy" for i in range(4)))
    table(tmp_path / "labels.csv", "file,label,is_valid", *(f"{i}.npy,{'ab'[i % 2]},{int(i < 3)}" for i in range(4)))
    assert {split for split, _ in said(tmp_path).values()} == {None}


def test_a_table_that_contradicts_the_folder_of_its_split_is_refused(tmp_path):
    for split in ("train", "test"):
        fill(tmp_path, *(f"{split}/{i}.npy" for i in range(4)))
        table(tmp_path / split / "labels.csv", "file,label,split", *(f"{i},{'ab'[i % 2]},train" for i in range(4)))
    with pytest.raises(TrainingError, match=r"gives test/0\.npy another split than its folder"):
        scan(tmp_path)


@pytest.mark.parametrize("inside", ["images/", ""])
def test_each_folder_of_a_split_may_have_its_table(tmp_path, inside):
    for split in ("train", "valid", "test"):
        fill(tmp_path, *(f"{split}/{inside}{i}.npy" for i in range(6)))
        table(tmp_path / split / "labels.csv", "file,label,lens_id", *(f"{i},{'ab'[i % 2]},{i // 2}" for i in range(6)))
    splits = {"train": "train", "valid": "val", "test": "test"}
    assert said(tmp_path) == {f"{s}/{inside}{i}.npy": (splits[s], "ab"[i % 2]) for s in splits for i in range(6)}
    assert len({entry.object for entry in scan(tmp_path).entries}) == 9, "each table numbers its objects from the start"


def test_tables_of_splits_that_say_other_things_are_not_taken_for_one(tmp_path):
    for split, column in (("train", "label"), ("test", "theta_E")):
        fill(tmp_path, *(f"{split}/{i}.npy" for i in range(4)))
        table(tmp_path / split / "labels.csv", f"file,{column}", *(f"{i},{i / 3}" for i in range(4)))
    with pytest.raises(TrainingError, match="no class folders"):
        scan(tmp_path)


@pytest.mark.parametrize("name", ["{i}", "{i}.npy", "cutouts/{i}.npy"])
def test_a_file_of_one_name_in_each_split_is_that_of_its_row(tmp_path, name):
    """As a table is that was written before its images were divided."""
    folder = "cutouts/" * name.startswith("cutouts")
    fill(tmp_path, *(f"{split}/{folder}{i}.npy" for split in ("train", "test") for i in range(4)))
    rows = [f"{name.format(i=i)},{'ab'[i % 2]},{split}" for split in ("train", "test") for i in range(4)]
    table(tmp_path / "labels.csv", "file,label,split", *rows)
    assert said(tmp_path) == {f"{s}/{folder}{i}.npy": (s, "ab"[i % 2]) for s in ("train", "test") for i in range(4)}


@pytest.mark.parametrize("form", ["npz", "h5", "npy"])
def test_an_array_may_say_the_split_of_each_image(tmp_path, form):
    images = np.random.default_rng(0).random((8, 8, 8)).astype("f4")
    splits = np.array(["train"] * 4 + ["validation"] * 2 + ["test"] * 2)
    arrays = {"images": images, "labels": np.arange(8) % 2, "split": splits}
    if form == "npz":
        np.savez(tmp_path / "set.npz", **arrays)
    elif form == "npy":
        for name, values in arrays.items():
            np.save(tmp_path / f"{name}.npy", values)
    else:
        h5py = pytest.importorskip("h5py")
        with h5py.File(tmp_path / "set.h5", "w") as file:
            for name, values in arrays.items():
                file[name] = values.astype("S") if name == "split" else values
    found = sorted(scan(tmp_path).entries, key=lambda entry: entry.row)
    assert [entry.split for entry in found] == ["train"] * 4 + ["val"] * 2 + ["test"] * 2
    assert [entry.label for entry in found] == ["0", "1"] * 4


def test_numbers_do_not_say_a_split(tmp_path):
    images = np.random.default_rng(0).random((6, 8, 8))
    np.savez(tmp_path / "set.npz", images=images, labels=np.arange(6) % 2, split=np.arange(6) % 3)
    with pytest.raises(TrainingError, match="has the value 0; expected train, val or test"):
        scan(tmp_path)


def test_a_table_may_be_a_parquet_file_of_pandas(tmp_path):
    pandas = pytest.importorskip("pandas")
    fill(tmp_path, *(f"{i}.npy" for i in range(6)))
    columns = {
        "file": [f"{i}.npy" for i in range(6)],
        "label": pandas.Categorical(list("ababab")),
        "theta_E": [1.5, None, 2.0, 2.5, 3.0, 3.5],
        "split": ["train"] * 4 + ["test"] * 2,
        "thumbnail": [b"\x00"] * 6,
    }
    pandas.DataFrame(columns, index=range(3, 9)).to_parquet(tmp_path / "labels.parquet")
    listing = scan(tmp_path)
    assert said(tmp_path) == {f"{i}.npy": ("train" if i < 4 else "test", "ab"[i % 2]) for i in range(6)}
    known = {entry.path.stem: entry.targets for entry in listing.entries}
    assert known == {str(i): {} if i == 1 else {"theta_E": columns["theta_E"][i]} for i in range(6)}


def test_what_pandas_numbers_the_rows_with_is_no_number_to_measure(tmp_path):
    fill(tmp_path, *(f"{i}.npy" for i in range(6)))
    table(tmp_path / "labels.csv", "Unnamed: 0,file,label", *(f"{i},{i}.npy,{'ab'[i % 2]}" for i in range(6)))
    assert not any(entry.targets for entry in scan(tmp_path).entries)


@pytest.mark.parametrize("cell", ["?", "--"])
def test_a_mark_for_unknown_is_no_class(tmp_path, cell):
    fill(tmp_path, *(f"{i}.npy" for i in range(4)))
    table(tmp_path / "labels.csv", "file,label", "0.npy,a", "1.npy,b", f"2.npy,{cell}", "3.npy,a")
    with pytest.raises(TrainingError, match=r"2\.npy' has no label"):
        scan(tmp_path)


@pytest.mark.parametrize("word", ["held_out", "hold-out", "heldout"])
def test_arrays_that_are_held_out_are_tested_on(tmp_path, word):
    rng = np.random.default_rng(0)
    for split, count in (("train", 8), (word, 4)):
        np.save(tmp_path / f"images_{split}.npy", rng.random((count, 8, 8)))
        np.save(tmp_path / f"labels_{split}.npy", np.arange(count) % 2)
    assert [entry.split for entry in scan(tmp_path).entries] == ["test"] * 4 + ["train"] * 8


def test_arrays_of_no_split_beside_train_are_refused(tmp_path):
    rng = np.random.default_rng(0)
    for split, count in (("train", 8), ("extra", 4)):
        np.save(tmp_path / f"images_{split}.npy", rng.random((count, 8, 8)))
        np.save(tmp_path / f"labels_{split}.npy", np.arange(count) % 2)
    with pytest.raises(TrainingError, match=r"images_extra\.npy beside arrays of train, but of no split by its name"):
        scan(tmp_path)


def test_small_classes_count_what_is_drawn_not_what_is_tested_on():
    """Where numbers are measured, a class of two training images and a test image is too small to be divided."""
    labels = [f"c{k}" for k in range(20) for _ in range(3)]
    official = ["train", "train", "test"] * 20
    names = [str(i) for i in range(60)]
    splits = assign(official, labels, names, names, 0, Memory(), names, every_class=False)
    assert Counter(splits) == {"train": 36, "val": 4, "test": 20}
