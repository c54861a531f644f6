"""Masks, weights and the like beside images are none; links and folders are followed as people mean them."""

import os

import numpy as np
import pytest

from trainers.data.folder.companions import without_companions
from trainers.data.folder.files import images_below
from trainers.data.folder.layouts import scan


def fill(root, *names):
    rng = np.random.default_rng(len(names))
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        np.save(root / name, rng.random((8, 8)).astype("f4"))
    return root


@pytest.mark.parametrize(
    ("names", "kept"),
    [
        (["000.fits", "000_wht.fits", "001.fits", "001-err.fits.gz"], ["000.fits", "001.fits"]),
        (["a-image-g.fits", "a-invvar-g.fits", "a-image-r.fits"], ["a-image-g.fits", "a-image-r.fits"]),
        (["images.npy", "masks.npy"], ["images.npy"]),
        (["z=1.2_mask.npy", "z=1.2.npy", "z=1.3_mask.npy"], ["z=1.2.npy", "z=1.3_mask.npy"]),
        (["psf_1.npy", "psf_2.npy"], ["psf_1.npy", "psf_2.npy"]),  # of themselves
        (["001.npy", "001_noise.npy", "001_sky.npy"], ["001.npy", "001_noise.npy", "001_sky.npy"]),  # copies, perhaps
        (["unmasked_1.npy", "masked_1.npy", "1.npy"], ["unmasked_1.npy", "masked_1.npy", "1.npy"]),
    ],
)  # fmt: skip
def test_a_file_that_comes_with_another_is_no_image(names, kept):
    assert without_companions(names) == kept


def test_masks_beside_the_images_of_classes_are_not_used(tmp_path):
    root = fill(tmp_path, *(f"{c}/{i}{end}.npy" for c in ("no_sub", "sub") for i in range(5) for end in ("", "_mask")))
    assert sorted(entry.path.name for entry in scan(root).entries) == sorted(2 * [f"{i}.npy" for i in range(5)])


def test_a_folder_of_masks_is_left_out_if_its_files_are_those_of_the_images(tmp_path):
    root = fill(tmp_path, *(f"{folder}/{i}.npy" for folder in ("images", "masks", "weights") for i in range(4)))
    assert {path.parent.name for path in images_below(root)} == {"images"}
    fill(root, "masks/of_something_else.npy")
    assert {path.parent.name for path in images_below(root)} == {"images", "masks"}


@pytest.mark.parametrize(
    "folders", [("var", "nonvar"), ("psf", "no_sub", "sub"), ("weights", "a", "b"), ("error", "ok")]
)
def test_classes_may_be_called_like_companions(tmp_path, folders):
    root = fill(tmp_path, *(f"{folder}/{i}.npy" for folder in folders for i in range(4)))
    assert scan(root).classes == tuple(sorted(folders))
    assert len(list(images_below(root))) == 4 * len(folders)


def test_what_a_table_names_is_an_image(tmp_path):
    root = fill(tmp_path, *(f"{i}{end}.npy" for i in range(4) for end in ("", "_mask")))
    (root / "labels.csv").write_text("\n".join(["file,label", *(f"{i}_mask.npy,{'ab'[i % 2]}" for i in range(4))]))
    assert {entry.path.name for entry in scan(root).entries} == {f"{i}_mask.npy" for i in range(4)}


@pytest.mark.parametrize("name", ["flags", "sigma", "masks"])
def test_numbers_beside_stacked_images_are_labels_whatever_their_name(tmp_path, name):
    np.save(tmp_path / "images.npy", np.random.default_rng(0).random((20, 8, 8)))
    np.save(tmp_path / f"{name}.npy", np.arange(20) % 2)
    assert {entry.label for entry in scan(tmp_path).entries} == {"0", "1"}


def test_links_are_followed_once_and_not_in_circles(tmp_path):
    elsewhere = fill(tmp_path / "elsewhere", "1.npy", "2.npy")
    root = fill(tmp_path / "root", "a/0.npy")
    os.symlink(elsewhere, root / "b")
    os.symlink(elsewhere, root / "again")
    os.symlink(root, root / "a" / "circle")
    os.symlink(root / "a", root / "z")
    os.symlink(tmp_path, root / "parent")
    fill(elsewhere, "sub/3.npy")
    os.symlink(elsewhere / "sub", root / "sub")
    assert sorted(path.name for path in images_below(root)) == ["0.npy", "1.npy", "2.npy", "3.npy"]
