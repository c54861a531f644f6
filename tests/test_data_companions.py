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


def test_links_are_followed_once_and_not_in_circles(tmp_path):
    elsewhere = fill(tmp_path / "elsewhere", "1.npy", "2.npy")
    root = fill(tmp_path / "root", "a/0.npy")
    os.symlink(elsewhere, root / "b")
    os.symlink(elsewhere, root / "again")
    os.symlink(root, root / "a" / "circle")
    os.symlink(root / "a", root / "_a")
    assert sorted(path.name for path in images_below(root)) == ["0.npy", "1.npy", "2.npy"]
