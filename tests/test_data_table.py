"""A CSV table beside images gives what class folders would."""

import numpy as np
import pytest
import torch
from astropy.io import fits

import studies
from nas.errors import UserError
from nas.searching.options import adapt
from nas.searching.study import task_of
from trainers.data import Folder, load
from trainers.data.folder.columns import sentinels
from trainers.data.folder.layouts import scan
from trainers.errors import TrainingError


def write(root, lines, inside="images"):
    (root / inside).mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(0)
    for i in range(30):
        np.save(root / inside / f"{i:03}.npy", rng.random((8, 8)).astype("f4"))
    (root / "labels.csv").write_text("\n".join(lines) + "\n")
    return root


def loaded(root, tmp_path):
    return load(Folder(str(root)), progress=True, cache=tmp_path / "cache")


@pytest.mark.parametrize(("inside", "name"), [("images", "{}"), (".", "{}.npy"), ("images", "images/{}.npy")])
def test_a_table_says_the_class_the_target_and_the_split_of_every_image(tmp_path, capsys, inside, name):
    splits = ["train"] * 20 + ["validation"] * 4 + ["test"] * 6
    rows = [
        f"{name.format(f'{i:03}')},{'no' if i % 2 else 'vort'},{'' if i % 2 else 1e-23 * (i + 1)},{splits[i]}"
        for i in range(30)
    ]
    data = loaded(write(tmp_path / "set", ["Filename,Class,axion_mass,split", *rows[::-1]], inside), tmp_path)
    assert data.classes == ("axion", "no_sub")
    line = capsys.readouterr().err
    assert "labels.csv (file Filename, class Class, target axion_mass, split split)" in line
    assert "not used" not in line
    start = 0
    for split, count in (("train", 20), ("val", 4), ("test", 6)):
        found = getattr(data, split)
        assert len(found) == count
        for image, label, mass in zip(found.images, found.labels, found.targets["axion_mass"], strict=True):
            files = (tmp_path / "set" / inside).glob("*.npy")
            (i,) = [int(f.stem) for f in files if np.array_equal(np.load(f), image[0])]
            assert start <= i < start + count
            assert data.classes[label] == ("no_sub" if i % 2 else "axion")
            assert torch.isnan(mass) if i % 2 else float(mass) == pytest.approx(1e-23 * (i + 1))
        start += count


@pytest.mark.parametrize(("name", "separator"), [("labels.tsv", "\t"), ("catalogue.csv", ";")])
def test_tabs_and_semicolons_separate_columns_too(tmp_path, name, separator):
    lines = [separator.join(["file", "label"]), *(separator.join([f"{i:03}.npy", "ab"[i % 2]]) for i in range(20))]
    write(tmp_path / "data", lines)
    (tmp_path / "data" / "labels.csv").rename(tmp_path / "data" / name)
    assert loaded(tmp_path / "data", tmp_path).classes == ("a", "b")


def test_a_table_that_does_not_fit_its_images_is_one_clear_line(tmp_path, capsys):
    rows = [f"{i:03},{'ab'[i % 2]}" for i in range(28)]
    root = write(tmp_path / "set", ["id,label", *rows])
    loaded(root, tmp_path)
    assert "not used: 2 .npy in images/" in capsys.readouterr().err
    for more, why in (
        ("999,a", "names 1 of 29 images that are not there"),
        ("001,a", "'001' twice"),
        ("029,", "has no label"),
    ):
        (root / "labels.csv").write_text("\n".join(["id,label", *rows, more]))
        with pytest.raises(TrainingError, match=why):
            loaded(root, tmp_path)


def test_every_column_of_numbers_is_a_target_and_one_cell_that_is_none_is_said(tmp_path, capsys):
    lines = [f"{i:03},{i / 8},{i},note {i},{'wide' if i == 5 else i / 2}" for i in range(30)]
    data = loaded(write(tmp_path / "set", ["ID,theta_E, z lens,comment,gamma", *lines]), tmp_path)
    assert set(data.train.targets) == {"theta_E", "z_lens"}
    assert data.classes == ("lens",)
    line = capsys.readouterr().err
    assert "images of a table: 30 images" in line
    assert "theta_E for 30, z_lens for 30" in line
    assert "labels.csv (file ID, target theta_E, target z lens; no numbers in gamma ('wide'))" in line
    images = {f.stem: np.load(f) for f in (tmp_path / "set" / "images").glob("*.npy")}
    for split in (data.train, data.val, data.test):
        for image, theta in zip(split.images, split.targets["theta_E"], strict=True):
            assert np.array_equal(images[f"{int(8 * theta):03}"], image[0])


def test_a_challenges_tables_are_read_as_classes_or_numbers(tmp_path):
    flags = ["ID,has_substructure", *(f"{i:03},{i % 2}" for i in range(30))]
    data = loaded(write(tmp_path / "flags", flags), tmp_path)
    assert (data.classes, dict(data.train.targets)) == (("no_sub", "substructure"), {})
    measured = ["ID,theta_E,theta_E_sigma", *(f"{i:03},{1 + i / 30},0.1" for i in range(30))]
    data = loaded(write(tmp_path / "measured", measured), tmp_path)
    assert set(data.train.targets) == {"theta_E", "theta_E_sigma"}
    labels = ["ID,target", *(f"{i:03},{i / 7}" for i in range(30))]
    data = loaded(write(tmp_path / "labels", labels), tmp_path)
    assert set(data.train.targets) == {"target"}, "numbers that are not whole are no classes"
    with pytest.raises(TrainingError, match=r"cells that are no numbers: theta_E \('x'\); mend or empty them"):
        loaded(write(tmp_path / "bad", ["ID,theta_E", "000,x", *(f"{i:03},{i}" for i in range(1, 30))]), tmp_path)


@pytest.mark.parametrize("cell", ["nan", "NA", "none", ""])
def test_an_image_whose_flag_is_not_known_has_no_class(tmp_path, cell):
    flags = ["ID,has_substructure", *(f"{i:03},{i % 2 if i else cell}" for i in range(30))]
    with pytest.raises(TrainingError, match=r"'000' has no has_substructure; fill it in, or remove the row$"):
        loaded(write(tmp_path / "flags", flags), tmp_path)


def test_none_is_a_class_where_classes_have_names(tmp_path):
    data = loaded(
        write(tmp_path / "set", ["id,class", *(f"{i:03},{('none', 'cdm')[i % 2]}" for i in range(30))]), tmp_path
    )
    assert data.classes == ("cdm", "none")


def test_a_damaged_file_among_those_named_by_their_headers_is_named_if_it_is_missed(tmp_path):
    rng, lines = np.random.default_rng(0), [f"lens {i},{'ab'[i % 2]}" for i in range(20)]
    for i in range(20):
        fits.writeto(tmp_path / f"{i}.fits", rng.random((8, 8)), fits.Header([("ID", f"lens {i}")]))
    (tmp_path / "damaged.fits").write_bytes((tmp_path / "3.fits").read_bytes()[:100])
    (tmp_path / "labels.csv").write_text("\n".join(["ID,class", *lines]))
    assert {entry.path.name for entry in scan(tmp_path).entries} == {f"{i}.fits" for i in range(20)}
    (tmp_path / "labels.csv").write_text("\n".join(["ID,class", *lines, "lens 20,a"]))
    with pytest.raises(
        TrainingError,
        match=r"names 1 of 21 images .*: 'lens 20'; expected paths .*; no ID can be read in damaged.fits$",
    ):
        scan(tmp_path)


def test_a_row_names_all_bands_of_an_image(tmp_path):
    rng, root = np.random.default_rng(0), tmp_path / "set"
    images, radius = rng.random((30, 3, 8, 8)).astype("f4"), rng.random(30)
    root.mkdir()
    for i, image in enumerate(images):
        for band, plane in zip("gri", image, strict=True):
            np.save(root / f"obj{i:03}_{band}.npy", plane)
    rows = [f"obj{i:03},{radius[i]}" for i in reversed(range(30))]
    (root / "labels.csv").write_text("\n".join(["ID,theta_E", *rows]))
    data = loaded(root, tmp_path)
    assert data.channels == ("g", "r", "i")
    known = {image.tobytes(): value for image, value in zip(images, radius, strict=True)}
    seen = 0
    for split in (data.train, data.val, data.test):
        for k, value in enumerate(split.targets["theta_E"].tolist()):
            assert known[split.images[k : k + 1].numpy().tobytes()] == pytest.approx(value)
            seen += 1
    assert seen == 30


def test_repeated_numbers_such_as_minus_99_are_not_known_and_said(tmp_path, capsys):
    numbers = [0.5 + i / 100 for i in range(30)]
    rows = [f"{i:03},{-99 if i % 10 == 0 else numbers[i]},{99 - i},{numbers[i]}" for i in range(30)]
    data = loaded(write(tmp_path / "set", ["id,theta_E,rank,slope", *rows]), tmp_path)
    known = {name: sum(int(s.targets[name].isfinite().sum()) for s in (data.train, data.val, data.test))
             for name in ("theta_E", "rank", "slope")}  # fmt: skip
    assert known == {"theta_E": 27, "rank": 30, "slope": 30}
    assert "target theta_E (-99 taken for unknown), target rank, target slope" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([1, 2, 3, -99, -99], {-99}),
        ([1, 2, 3, 9999, 9999, -999, -999], {9999, -999}),
        ([1, 2, 3, -99.9, -99.9, 1e20, 1e20], {-99.9, 1e20}),
        ([1e30, 1e30, 2e30, 5e31], set()),  # large ones among others
        ([0, 0, 99.9, 99.9], set()),  # a measure of two values
        ([0, 0, 1e39, 2e40, 2e40], set()),
        ([1, 2, 3, -99], set()),  # once
        ([90, 95, 97, 99, 99], set()),  # not far from the others
        ([1, 2, 3, -50, -50], set()),  # no such number
        ([0, 0, 0, 5, 6], set()),
        ([-99, -99], set()),
        ([], set()),
    ],
)
def test_sentinels_are_repeated_nines_far_from_all_else(values, expected):
    assert sentinels([float(value) for value in values]) == expected


def test_a_flag_that_pandas_wrote_as_a_float_has_two_classes(tmp_path):
    root = write(tmp_path / "set", ["id,is_lens", *(f"{i:03},{i % 2}.0" for i in range(30))])
    assert loaded(root, tmp_path).classes == ("lens", "no_lens")


def stack_with_rows(root, lines, *, images="images.npy", table="labels.csv", count=30):
    root.mkdir(exist_ok=True)
    stack = np.random.default_rng(len(images)).random((count, 8, 8)).astype("f4")
    np.savez(root / images, images=stack) if images.endswith(".npz") else np.save(root / images, stack)
    (root / table).write_text("\n".join(lines) + "\n")
    return stack


@pytest.mark.parametrize("images", ["images.npy", "cutouts.npz"])
@pytest.mark.parametrize("index", ["", "id,", "object_id,"])
def test_a_table_without_files_has_a_row_for_each_image_of_an_array(tmp_path, capsys, images, index):
    rows = [f"{'no' if i % 2 else 'vort'},{i / 10},{'train' if i < 20 else 'test'}" for i in range(30)]
    rows = [f"{i if index == 'id,' else f'J{i * 7 % 31}'},{row}" if index else row for i, row in enumerate(rows)]
    stack = stack_with_rows(tmp_path / "set", [f"{index}class,theta_E,split", *rows], images=images)
    data = loaded(tmp_path / "set", tmp_path)
    assert data.classes == ("axion", "no_sub")
    line = capsys.readouterr().err
    assert "class class, target theta_E, split split" in line
    assert "not used" not in line
    assert len(data.test) == 10
    assert len(data.train) + len(data.val) == 20
    for split in (data.train, data.val, data.test):
        for image, label, number in zip(split.images, split.labels, split.targets["theta_E"], strict=True):
            (i,) = [i for i in range(30) if np.array_equal(stack[i], image[0])]
            assert data.classes[label] == ("no_sub" if i % 2 else "axion")
            assert float(number) == pytest.approx(i / 10)
            assert (split is data.test) == (i >= 20)


def test_each_split_may_have_an_array_and_a_table(tmp_path):
    each = {}
    for split, count in (("train", 20), ("test", 10)):
        lines = ["label", *("ab"[i % 2] for i in range(count))]
        images, table = f"x_{split}.npy", f"y_{split}.csv"
        each[split] = stack_with_rows(tmp_path / "set", lines, images=images, table=table, count=count)
    data = loaded(tmp_path / "set", tmp_path)
    assert len(data.test) == 10
    assert len(data.train) + len(data.val) == 20
    assert sorted(data.test.images.flatten().tolist()) == sorted(each["test"].flatten().tolist())


def test_a_split_in_a_name_and_another_in_the_table_are_refused(tmp_path):
    for split in ("train", "test"):
        lines = ["label,split", *(f"{'ab'[i % 2]},test" for i in range(20))]
        stack_with_rows(tmp_path / "set", lines, images=f"x_{split}.npy", table=f"y_{split}.csv", count=20)
    with pytest.raises(TrainingError, match="row 1 has the split 'test', but the file is that of train"):
        scan(tmp_path / "set")


def test_a_table_of_something_else_beside_stacks_of_classes_is_not_read(tmp_path):
    for name in ("no_sub", "sub"):
        np.save(tmp_path / f"{name}.npy", np.zeros((30, 8, 8)))
    (tmp_path / "params.csv").write_text("mass,snr\n1,2\n3,x\ny,4\n5,6\n")
    assert len(scan(tmp_path).entries) == 60


@pytest.mark.parametrize(
    ("lines", "match"),
    [
        (["label", *"ab" * 14], "labels.csv has 28 rows, but images.npy has 30 images"),
        (
            ["id,label", *(f"{(i * 7) % 30},{'ab'[i % 2]}" for i in range(30))],
            "column 'id' numbers the rows in another",
        ),
        ([",label", *(f"{(i * 7) % 30},{'ab'[i % 2]}" for i in range(30))], "column '' numbers the rows in another"),
        (
            ["image,label", *(f"img_{(i * 7) % 30 + 1:03}.npy,{'ab'[i % 2]}" for i in range(30))],
            "column 'image' numbers the rows in another",
        ),
        (["label", *"ab" * 14, "a", " "], "labels.csv: row 30 has no label"),
    ],
)
def test_rows_that_do_not_fit_an_array_are_one_clear_line(tmp_path, lines, match):
    stack_with_rows(tmp_path / "set", lines)
    with pytest.raises(TrainingError, match=match):
        scan(tmp_path / "set")


@pytest.mark.parametrize(
    ("header", "cells"),
    [
        ("image_path,label", lambda i: f"images/{i:03}.npy,{'ab'[i % 2]}"),
        ("cutout;label;mask_path", lambda i: f"{i:03}.npy;{'ab'[i % 2]};none"),
        ("# made by hand, twice\nfile,label", lambda i: f"{i:03}.npy,{'ab'[i % 2]}"),
        ("# made by hand\n#file,label", lambda i: f"{i:03}.npy,{'ab'[i % 2]}"),
        ("# %ECSV 1.0\n# ---\n# schema: astropy-2.0\nid label", lambda i: f"{i}  {'ab'[i % 2]}"),
        ("path,label", lambda i: f"/old/machine/{i:03}.npy,{'ab'[i % 2]}"),
        ("id,label", lambda i: f"{i},{'ab'[i % 2]}"),  # 7 is 007.npy
    ],
)
def test_a_table_is_read_as_its_program_wrote_it(tmp_path, header, cells):
    listing = scan(write(tmp_path / "set", [header, *map(cells, range(30))]))
    assert {int(e.path.stem): e.label for e in listing.entries} == {i: "ab"[i % 2] for i in range(30)}


@pytest.mark.parametrize(
    ("column", "values", "classes"),
    [
        ("is_lens", ("True", "False"), ("lens", "no_lens")),
        ("has_substructure", ("no", "yes"), ("no_sub", "substructure")),
        ("lens", ("1", "0"), ("lens", "no_lens")),
    ],
)
def test_a_column_of_yes_and_no_has_two_classes(tmp_path, column, values, classes):
    more = column.partition("_")[2]  # else it might be a number to measure
    numbers = [f",{i / 7}" if more else "" for i in range(30)]
    lines = [f"id,{column}{',theta_E' * bool(more)}", *(f"{i:03},{values[i % 2]}{numbers[i]}" for i in range(30))]
    listing = scan(write(tmp_path / "set", lines))
    assert listing.classes == classes
    yes = next(name for name in classes if not name.startswith("no_"))
    for entry in listing.entries:
        positive = values[int(entry.path.stem) % 2] in ("True", "yes", "1")
        assert (entry.label == yes) == positive
        assert set(entry.targets) == ({"theta_E"} if more else set())


@pytest.mark.parametrize("column", ["subset", "Partition", "set", "fold"])
def test_a_column_of_splits_may_have_any_name(tmp_path, column):
    lines = [f"id,label,{column}", *(f"{i:03},{'ab'[i % 2]},{('train', 'train', 'Test')[i % 3]}" for i in range(30))]
    listing = scan(write(tmp_path / "set", lines))
    assert {int(e.path.stem): e.split for e in listing.entries} == {
        i: ("train", "train", "test")[i % 3] for i in range(30)
    }


@pytest.mark.parametrize("column", ["lens_id", "Object_ID", "group_id"])
def test_images_of_one_object_stay_in_one_split(tmp_path, capsys, column):
    lines = [f"file,label,{column}", *(f"{i:03}.npy,{'ab'[i % 2]},{100 + i // 3}" for i in range(30))]
    data = loaded(write(tmp_path / "set", lines), tmp_path)
    assert f"object {column}" in capsys.readouterr().err
    assert not data.train.targets, "an ID is no number to measure"
    splits = [{int(f.stem) // 3 for f in (tmp_path / "set" / "images").glob("*.npy")
               if any(np.array_equal(np.load(f), image[0]) for image in split.images)}
              for split in (data.train, data.val, data.test)]  # fmt: skip
    assert sum(map(len, splits)) == 10
    assert set.union(*splits) == set(range(10))


def test_a_class_too_rare_to_be_divided_does_not_keep_numbers_from_being_measured(tmp_path):
    lines = ["id,type,theta_E", *(f"{i:03},{'quad' if i < 2 else 'double'},{i / 7}" for i in range(30))]
    data = loaded(write(tmp_path / "set", lines), tmp_path)
    assert sum(int(split.targets["theta_E"].isfinite().sum()) for split in (data.train, data.val, data.test)) == 30
    with pytest.raises(UserError, match="too few images of the class 'quad' to train, validate and test"):
        task_of(studies.load("hybrid"), data)
    assert task_of(adapt(studies.load("hybrid"), target="theta_E"), data).target == ("theta_E",)


def test_names_that_would_become_one_class_are_refused(tmp_path):
    with pytest.raises(
        TrainingError, match=r"has the classes SB and Sb, which would be one class, sb: spell them alike"
    ):
        scan(write(tmp_path / "set", ["id,label", *(f"{i:03},{('SB', 'Sb', 'Sa')[i % 3]}" for i in range(30))]))


@pytest.mark.parametrize(
    ("lines", "says"),
    [
        (
            ["theta,phi", "1,2"],
            "labels.csv has the columns theta, phi: expected one of files, such as file, and one of",
        ),
        (["file", "000.npy"], "labels.csv has the columns file: expected"),
    ],
)
def test_a_table_that_is_of_no_use_is_named(tmp_path, lines, says):
    with pytest.raises(TrainingError, match=says):
        scan(write(tmp_path / "set", lines, inside="."))


def test_a_table_may_be_a_fits_file(tmp_path):
    root = write(tmp_path / "set", [])
    (root / "labels.csv").unlink()
    columns = [
        fits.Column("file", "10A", array=[f"{i:03}.npy" for i in range(30)]),
        fits.Column("theta_E", "E", array=[np.nan if i == 3 else i / 2 for i in range(30)]),
        fits.Column("is_lens", "L", array=[i % 2 == 0 for i in range(30)]),
        fits.Column("spectrum", "3E", array=np.zeros((30, 3))),
        fits.Column("nsub", "J", null=-1, array=[-1 if i == 5 else i for i in range(30)]),
    ]
    fits.BinTableHDU.from_columns(columns).writeto(root / "catalog.fits")
    entries = {int(entry.path.stem): entry for entry in scan(root).entries}
    assert {i: entry.label for i, entry in entries.items()} == {i: ("lens", "no_lens")[i % 2] for i in range(30)}
    assert {i: e.targets.get("theta_E") for i, e in entries.items()} == {
        i: i / 2 if i != 3 else None for i in range(30)
    }
    assert {i: e.targets.get("nsub") for i, e in entries.items()} == {i: i if i != 5 else None for i in range(30)}
    assert scan(root).table == "catalog.fits (file file, class is_lens, target theta_E, target nsub)"


def test_each_split_may_have_a_table(tmp_path):
    root = write(tmp_path / "set", [])
    (root / "labels.csv").unlink()
    for name, rows in (("train", range(20)), ("test", range(20, 30))):
        (root / f"{name}.csv").write_text("\n".join(["file,label", *(f"{i:03}.npy,{'ab'[i % 2]}" for i in rows)]))
    entries = scan(root).entries
    assert {(entry.split, int(entry.path.stem) < 20) for entry in entries} == {("train", True), ("test", False)}
    assert len(entries) == 30


def test_a_table_without_a_header_is_refused(tmp_path):
    with pytest.raises(TrainingError, match=r"has no header: its first line begins with 000.npy; add one"):
        scan(write(tmp_path / "set", [f"{i:03}.npy,{'ab'[i % 2]}" for i in range(30)]))


@pytest.mark.parametrize(
    ("column", "cell"),
    [("quad", lambda i: "" if i == 3 else i % 2), ("n_arcs", lambda i: i % 2), ("comment", lambda i: "yn"[i % 2])],
)
def test_a_column_of_two_beside_numbers_to_measure_is_no_class(tmp_path, column, cell):
    listing = scan(write(tmp_path / "set", [f"id,theta_E,{column}", *(f"{i:03},{i / 7},{cell(i)}" for i in range(30))]))
    assert listing.classes == ("lens",)
    assert all("theta_E" in entry.targets for entry in listing.entries)


@pytest.mark.parametrize("unknown", ["", "nan", "-1", "-99"])
def test_images_of_unknown_objects_are_not_one_object(tmp_path, unknown):
    lines = [
        "file,label,lens_id",
        *(f"{i:03}.npy,{'ab'[i % 2]},{unknown if i < 9 else 100 + i // 3}" for i in range(30)),
    ]
    entries = {int(entry.path.stem): entry.object for entry in scan(write(tmp_path / "set", lines)).entries}
    assert [entries[i] for i in range(9)] == [None] * 9
    assert len({entries[i] for i in range(9, 30)}) == 7


def test_a_path_that_is_not_there_is_not_taken_for_another_of_that_name(tmp_path):
    root = write(tmp_path / "set", ["file,label", *(f"other/{i:03}.npy,{'ab'[i % 2]}" for i in range(30))])
    with pytest.raises(TrainingError, match="names 30 of 30 images that are not there"):
        scan(root)
    (root / "labels.csv").write_text("\n".join(["file,label", *(f"/there/test/{i:03}.npy,a" for i in range(30))]))
    with pytest.raises(TrainingError, match="names 30 of 30 images that are not there"):
        scan(root)


def test_too_few_objects_are_refused_also_where_numbers_are_measured(tmp_path):
    with pytest.raises(TrainingError, match=r"has too few different images"):
        loaded(write(tmp_path / "set", ["id,theta_E", *(f"{i:03},{i / 7}" for i in range(2))]), tmp_path)


def test_numbers_without_their_zeros_may_have_several_lengths(tmp_path):
    for i in range(95, 105):
        np.save(tmp_path / f"lens-{i:03}.npy", np.zeros((8, 8)))
    (tmp_path / "labels.csv").write_text("\n".join(["id,label", *(f"{i},{'ab'[i % 2]}" for i in range(95, 105))]))
    assert {int(e.path.stem[5:]): e.label for e in scan(tmp_path).entries} == {i: "ab"[i % 2] for i in range(95, 105)}


@pytest.mark.parametrize("columns", ["id,fname", "fname,id", "object_id,cutout", "id,img"])
def test_names_of_files_go_before_numbers_that_may_be_in_them(tmp_path, columns):
    order = np.random.default_rng(3).permutation(30)
    cells = [
        {"id": str(i), "object_id": str(i)} | dict.fromkeys(("fname", "cutout", "img"), f"{k:03}.npy")
        for i, k in enumerate(order)
    ]
    lines = [
        ",".join([*(row[c] for c in columns.split(",")), "ab"[k % 2]]) for row, k in zip(cells, order, strict=True)
    ]
    listing = scan(write(tmp_path / "set", [f"{columns},label", *lines]))
    assert {int(e.path.stem): e.label for e in listing.entries} == {i: "ab"[i % 2] for i in range(30)}
    assert not any(entry.targets for entry in listing.entries)


def test_files_that_are_not_there_do_not_name_the_images(tmp_path):
    lines = [f"{i:03},{'ab'[i % 2]},mask_{i:03}.fits" for i in range(30)]
    listing = scan(write(tmp_path / "set", ["id,label,mask_file", *lines]))
    assert {int(e.path.stem): e.label for e in listing.entries} == {i: "ab"[i % 2] for i in range(30)}


def test_each_split_s_table_may_number_its_objects_from_the_start(tmp_path):
    for split in ("train", "test"):
        lines = ["label,lens_id", *(f"{'ab'[i % 2]},{i // 4}" for i in range(20))]
        stack_with_rows(tmp_path / "set", lines, images=f"x_{split}.npy", table=f"y_{split}.csv", count=20)
    assert len({entry.object for entry in scan(tmp_path / "set").entries}) == 10


def test_cells_beyond_the_columns_are_refused(tmp_path):
    lines = ["file,z,theta_E", *(f"{i:03}.npy,{'0,5' if i == 7 else '0.5'},1.2" for i in range(30))]
    with pytest.raises(TrainingError, match=r"has more cells in row 8 than columns; put text with ',' in quotes"):
        scan(write(tmp_path / "set", lines))


def test_numbers_may_have_a_decimal_comma_where_semicolons_separate(tmp_path):
    lines = ["file;theta_E", *(f"{i:03}.npy;{i},25" for i in range(30))]
    entries = scan(write(tmp_path / "set", lines)).entries
    assert {int(entry.path.stem): entry.targets["theta_E"] for entry in entries} == {i: i + 0.25 for i in range(30)}


def test_several_columns_of_yes_and_no_are_refused_unless_one_differs(tmp_path):
    def set_of(place, header, cells):
        return scan(write(tmp_path / place, [f"file,{header}", *(f"{i:03}.npy,{cells(i)}" for i in range(30))]))

    assert set_of("one", "is_simulated,is_train,is_lens", lambda i: f"1,{i % 3 // 2},{i % 2}").classes == (
        "lens",
        "no_lens",
    )
    with pytest.raises(TrainingError, match="several columns of yes and no: is_quad, is_lens; call one of them label"):
        set_of("two", "is_quad,is_lens", lambda i: f"{i % 3 // 2},{i % 2}")


def test_whole_numbers_are_one_class_however_they_are_written(tmp_path):
    listing = scan(
        write(tmp_path / "set", ["file,label", *(f"{i:03}.npy,{('0', '1.0', '0.0')[i % 3]}" for i in range(30))])
    )
    assert listing.classes == ("0", "1")


def test_columns_that_differ_in_case_are_two(tmp_path):
    listing = scan(write(tmp_path / "set", ["file,R,r", *(f"{i:03}.npy,{i / 7},{i / 3}" for i in range(30))]))
    assert all(entry.targets["R"] * 7 == pytest.approx(entry.targets["r"] * 3) for entry in listing.entries)
    with pytest.raises(TrainingError, match="has two columns called z"):
        scan(write(tmp_path / "twice", ["file,z,z", *(f"{i:03}.npy,{i / 7},{i / 3}" for i in range(30))]))


def test_paths_may_begin_with_the_folder_s_own_name(tmp_path):
    listing = scan(
        write(tmp_path / "set", ["file,label", *(f"./set/{i:03}.npy,{'ab'[i % 2]}" for i in range(30))], ".")
    )
    assert {int(e.path.stem): e.label for e in listing.entries} == {i: "ab"[i % 2] for i in range(30)}


def test_the_first_line_is_of_the_table_that_is_there_now(tmp_path, capsys):
    root = write(tmp_path / "set", ["file,label", *(f"{i:03}.npy,{'ab'[i % 2]}" for i in range(30))])
    loaded(root, tmp_path)
    (root / "labels.csv").rename(root / "sorted.csv")
    capsys.readouterr()
    loaded(root, tmp_path)
    assert "sorted.csv (file file, class label)" in capsys.readouterr().err


def test_rows_of_bands_that_contradict_each_other_are_refused(tmp_path):
    root = tmp_path / "set"
    root.mkdir()
    for i in range(6):
        for band in "gr":
            np.save(root / f"{i}_{band}.npy", np.zeros((8, 8)))
    (root / "labels.csv").write_text(
        "\n".join(["file,label", *(f"{i}_{b}.npy,{'ab'[(i + (b == 'r')) % 2]}" for i in range(6) for b in "gr")])
    )
    with pytest.raises(TrainingError, match=r"gives 0_g.npy, 0_r.npy, bands of one image, several classes"):
        scan(root)


def test_masks_in_a_column_before_the_images_are_not_the_images(tmp_path):
    root = write(
        tmp_path / "set", ["mask,img,label", *(f"masks/{i:03}.npy,images/{i:03}.npy,{'ab'[i % 2]}" for i in range(30))]
    )
    write(root, ["mask,img,label", *(f"masks/{i:03}.npy,images/{i:03}.npy,{'ab'[i % 2]}" for i in range(30))], "masks")
    assert {entry.path.parent.name for entry in scan(root).entries} == {"images"}


def test_a_constant_is_no_class_where_another_column_may_be(tmp_path):
    lines = ["file,label,type", *(f"{i:03}.npy,simulated,{'ab'[i % 2]}" for i in range(30))]
    assert scan(write(tmp_path / "set", lines)).classes == ("a", "b")
