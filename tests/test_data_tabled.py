"""A table beside several folders: it says what they do not, and is not read where it is about something else."""

import numpy as np
import pytest

from trainers.data.folder.layouts import scan
from trainers.errors import TrainingError


def fill(root, *names, shape=(8, 8)):
    rng = np.random.default_rng(len(names))
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        np.save(root / name, rng.random(shape).astype("f4"))
    return root


def table(root, *lines, name="labels.csv"):
    (root / name).write_text("\n".join(lines) + "\n")
    return root


def labels(listing):
    return {listing.below_root(entry.path): entry.label for entry in listing.entries}


def test_folders_of_bands_are_no_classes_where_a_table_has_them(tmp_path):
    """As the ground-based images of the Bologna Lens Challenge lie."""
    bands = {"Band1": "U", "Band2": "G", "Band3": "R", "Band4": "I"}
    fill(tmp_path, *(f"{folder}/imageSDSS_{b}-{100000 + i}.npy" for folder, b in bands.items() for i in range(6)))
    listing = scan(table(tmp_path, "ID,is_lens", *(f"{100000 + i},{i % 2}" for i in range(6)), name="classes.csv"))
    assert (listing.layout, listing.bands, listing.classes) == ("table", ("u", "g", "r", "i"), ("lens", "no_lens"))
    assert [entry.label for entry in sorted(listing.entries, key=lambda e: e.path)] == ["no_lens", "lens"] * 3


@pytest.mark.parametrize("folders", [("F814W", "F160W"), ("images/F814W", "images/F160W")])
def test_bands_in_folders_have_the_class_of_their_row(tmp_path, folders):
    fill(tmp_path, *(f"{folder}/{i}.npy" for folder in folders for i in range(4)))
    listing = scan(table(tmp_path, "id,label", *(f"{i},{'ab'[i % 2]}" for i in range(4))))
    assert (listing.bands, len(listing.entries), listing.classes) == (("f814w", "f160w"), 4, ("a", "b"))


def test_point_spread_functions_beside_the_images_of_a_table_are_not_used(tmp_path):
    fill(tmp_path, *(f"{folder}/{i}.npy" for folder in ("cutouts", "psf") for i in range(4)))
    listing = scan(table(tmp_path, "file,label", *(f"{i}.npy,{'ab'[i % 2]}" for i in range(4))))
    assert labels(listing) == {f"cutouts/{i}.npy": "ab"[i % 2] for i in range(4)}


def test_all_images_in_a_folder_that_a_row_names_show_one_object(tmp_path):
    fill(tmp_path, *(f"lens{k}/exposure{i}.npy" for k in range(4) for i in range(3)))
    listing = scan(table(tmp_path, "id,label", *(f"lens{k},{'ab'[k % 2]}" for k in range(4))))
    assert labels(listing) == {f"lens{k}/exposure{i}.npy": "ab"[k % 2] for k in range(4) for i in range(3)}
    assert len({entry.object for entry in listing.entries}) == 4


@pytest.mark.parametrize("band", ["g", "exposure"])
def test_folders_with_an_object_each_are_no_classes_where_a_table_has_them(tmp_path, band):
    """By the paths of another machine, as its program wrote them."""
    fill(tmp_path, *(f"lens{k}/{x}.npy" for k in range(10) for x in (band, "r")))
    lines = [f"/home/me/set/lens{k}/{x}.npy,{'ab'[k % 2]}" for k in range(10) for x in (band, "r")]
    listing = scan(table(tmp_path, "file,label", *lines))
    assert (listing.layout, listing.classes) == ("table", ("a", "b"))
    assert len({entry.object for entry in listing.entries} - {None}) in (10, 0)
    assert len(listing.entries) == (10 if band == "g" else 20)


def test_another_class_in_a_table_does_not_replace_those_of_the_folders(tmp_path):
    fill(tmp_path, *(f"{c}/{c}{i}.npy" for c in ("no_sub", "sub") for i in range(4)))
    lines = [f"{c}/{c}{i}.npy,{('double', 'quad')[i % 2]},{i / 2}" for c in ("no_sub", "sub") for i in range(4)]
    listing = scan(table(tmp_path, "file,type,theta_E", *lines))
    assert (listing.layout, listing.classes, listing.table) == (
        "classes", ("no_sub", "sub"), "labels.csv (file file, target theta_E)",
    )  # fmt: skip


@pytest.mark.parametrize("extra", [("type", "simulated"), ("has_lens", "1"), ("kind", "x")])
def test_a_constant_in_a_table_is_no_class(tmp_path, extra):
    fill(
        tmp_path,
        *(f"{s}/{c}/{c}{s}{i}.npy" for s in ("train", "val") for c in ("no_sub", "cdm", "axion") for i in range(3)),
    )
    names = [f"{s}/{c}/{c}{s}{i}.npy" for s in ("train", "val") for c in ("no_sub", "cdm", "axion") for i in range(3)]
    listing = scan(
        table(tmp_path, f"file,{extra[0]},theta_E", *(f"{name},{extra[1]},{k}" for k, name in enumerate(names)))
    )
    assert listing.classes == ("axion", "cdm", "no_sub")
    assert {entry.split for entry in listing.entries} == {"train", "val"}
    assert all("theta_E" in entry.targets and entry.object is None for entry in listing.entries)


def test_splits_of_folders_with_an_object_each_stay(tmp_path):
    names = [f"{s}/{s}lens{k}/{i}.npy" for s in ("train", "test") for k in range(10) for i in range(2)]
    listing = scan(table(fill(tmp_path, *names), "file,label", *(f"{n},{'ab'[int(n[-7]) % 2]}" for n in names)))
    assert (listing.classes, {entry.split for entry in listing.entries}) == (("a", "b"), {"train", "test"})


@pytest.mark.parametrize("inside", ["{c}/{n}.npy", "{s}/{c}/{n}.npy", "{s}/{n}.npy"])
def test_a_table_may_lie_above_the_folder_of_all_images(tmp_path, inside):
    rows = [
        (f"images/{inside}".format(c=c, s=s, n=f"{s}{c}{i}"), c, i)
        for c in "ab"
        for s in ("train", "test")
        for i in range(4)
    ]
    fill(tmp_path, *(name for name, _, _ in rows))
    listing = scan(table(tmp_path, "file,label,theta_E,lens_id", *(f"{n},{c},{i / 4},{c}{i}" for n, c, i in rows)))
    assert listing.classes == ("a", "b")
    assert {entry.split for entry in listing.entries} == ({"train", "test"} if "{s}" in inside else {None})
    assert all(entry.targets and entry.object for entry in listing.entries)


def test_a_table_may_lie_two_folders_above_the_images(tmp_path):
    fill(tmp_path, *(f"data/images/{i}.npy" for i in range(4)))
    listing = scan(table(tmp_path, "file,label", *(f"{i}.npy,{'ab'[i % 2]}" for i in range(4))))
    assert (listing.layout, listing.classes) == ("table", ("a", "b"))


def test_a_table_may_say_objects_alone_and_copies_are_of_their_original_s(tmp_path):
    fill(tmp_path, *(f"{c}/{c}{i}{end}.npy" for c in "ab" for i in range(6) for end in ("", "_aug1")))
    lines = [f"{c}/{c}{i}.npy,{c}{i // 2}" for c in "ab" for i in range(6)]
    listing = scan(table(tmp_path, "file,lens_id", *lines))
    assert len({entry.object for entry in listing.entries}) == 6
    assert {entry.object for entry in listing.entries if "aug" in entry.path.name} == {
        e.object for e in listing.entries
    }


def test_a_split_that_contradicts_the_folder_is_not_used_and_said(tmp_path):
    fill(tmp_path, *(f"{s}/{c}/{c}{s}{i}.npy" for s in ("train", "test") for c in "ab" for i in range(3)))
    lines = [f"{s}/{c}/{c}{s}{i}.npy,{c},train" for s in ("train", "test") for c in "ab" for i in range(3)]
    lines[-1] = lines[-1].replace(",train", ",val")
    listing = scan(table(tmp_path, "file,label,split", *lines))
    assert {(entry.split, entry.path.parts[-3]) for entry in listing.entries} == {("train", "train"), ("test", "test")}
    assert "another split than its folder" in listing.table


def test_numbers_of_images_in_folders_of_splits_are_measured(tmp_path):
    names = [f"{s}/{s}{i}.npy" for s in ("train", "test") for i in range(4)]
    listing = scan(table(fill(tmp_path, *names), "file,theta_E", *(f"{name},{i}" for i, name in enumerate(names))))
    assert {(entry.split, bool(entry.targets)) for entry in listing.entries} == {("train", True), ("test", True)}


def test_a_table_about_some_of_the_classes_leaves_the_others_and_the_splits(tmp_path):
    fill(tmp_path, *(f"{s}/{c}/{c}{s}{i}.npy" for s in ("train", "val") for c in ("axion", "cdm") for i in range(4)))
    listing = scan(table(tmp_path, "file,axion_mass", *(f"train/axion/axiontrain{i}.npy,1e-2{i}" for i in range(4))))
    assert (listing.layout, listing.classes, len(listing.entries)) == ("splits", ("axion", "cdm"), 16)
    assert sum(bool(entry.targets) for entry in listing.entries) == 4


@pytest.mark.parametrize("lines", [["name,count", "no_sub,4", "sub,4"], ["id,name", "0,no_sub", "1,sub"]])
def test_a_list_of_the_classes_is_no_table_of_images(tmp_path, lines):
    fill(tmp_path, *(f"{c}/{c}{i}.npy" for c in ("no_sub", "sub") for i in range(4)))
    listing = scan(table(tmp_path, *lines, name="classes.csv"))
    assert listing.classes == ("no_sub", "sub")
    assert not any(entry.object or entry.targets for entry in listing.entries)


def test_splits_for_some_of_the_images_are_not_used_and_it_is_said(tmp_path):
    fill(tmp_path, *(f"{c}/{c}{i}.npy" for c in "ab" for i in range(4)))
    lines = [f"{c}/{c}{i}.npy,{c},{('train', 'test')[i % 2]}" for c in "ab" for i in range(4)]
    listing = scan(table(tmp_path, "file,label,split", *lines))
    assert {(entry.split, int(entry.path.stem[1]) % 2) for entry in listing.entries} == {("train", 0), ("test", 1)}
    listing = scan(table(tmp_path, "file,label,split", *lines[1:]))
    assert {entry.split for entry in listing.entries} == {None}
    assert "labels.csv gives a split to 7 of 8 images" in listing.table


def test_folders_of_splits_are_splits_of_a_tables_images(tmp_path):
    fill(tmp_path, *(f"{split}/{split}{i}.npy" for split in ("train", "val", "test") for i in range(4)))
    lines = [f"{s}/{s}{i}.npy,{'ab'[i % 2]}" for s in ("train", "val", "test") for i in range(4)]
    listing = scan(table(tmp_path, "file,label", *lines))
    assert {(entry.split, entry.path.parent.name) for entry in listing.entries} == {
        (s, s) for s in ("train", "val", "test")
    }
    assert listing.classes == ("a", "b")


def test_a_table_adds_numbers_and_objects_to_class_folders(tmp_path):
    fill(tmp_path, *(f"{c}/{c}{i}.npy" for c in "ab" for i in range(4)))
    lines = [f"{c}/{c}{i}.npy,{c},{i / 2},{c}{i // 2}" for c in "ab" for i in range(4)]
    listing = scan(table(tmp_path, "file,label,theta_E,lens_id", *lines))
    assert (listing.layout, listing.classes) == ("classes", ("a", "b"))
    assert sorted(entry.targets["theta_E"] for entry in listing.entries) == [0, 0, 0.5, 0.5, 1, 1, 1.5, 1.5]
    assert len({entry.object for entry in listing.entries}) == 4


@pytest.mark.parametrize(
    "lines",
    [
        [f"{c}/{c}{i}.npy,{'ba'[c == 'b']},0.5" for c in "ab" for i in range(4)],  # predictions, and all wrong
        [f"elsewhere{i}.npy,a,0.5" for i in range(8)],
        [f"{c}/{c}{i}.npy,{c},0.5" for c in "ab" for i in range(5)],  # a larger set
    ],
)
def test_a_table_that_contradicts_class_folders_is_about_something_else(tmp_path, lines):
    fill(tmp_path, *(f"{c}/{c}{i}.npy" for c in "ab" for i in range(4)))
    listing = scan(table(tmp_path, "file,label,theta_E", *lines, name="results.csv"))
    assert listing.layout == "classes"
    assert listing.table.startswith("a table is not used (")
    assert labels(listing) == {f"{c}/{c}{i}.npy": c for c in "ab" for i in range(4)}
    assert not any(entry.targets for entry in listing.entries)


def test_a_folder_for_each_object_holds_its_bands(tmp_path):
    fill(tmp_path, *(f"{c}/lens{k}/{band}.npy" for c in "ab" for k in range(3) for band in ("F160W", "F814W")))
    listing = scan(tmp_path)
    assert (listing.bands, len(listing.entries), listing.classes) == (("f814w", "f160w"), 6, ("a", "b"))


def test_images_of_unknown_class_in_a_split_are_refused_with_what_to_do(tmp_path):
    fill(tmp_path, *(f"train/{c}/{i}.npy" for c in "ab" for i in range(4)), "test/0.npy")
    with pytest.raises(
        TrainingError, match=r"test holds images, but no class folders, .* classify them with nas.predict"
    ):
        scan(tmp_path)
