"""A CSV table beside images gives what class folders would."""

import numpy as np
import pytest
import torch

from trainers.data import Folder, load
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
            assert torch.isnan(mass) if i % 2 else float(mass) == pytest.approx(np.log10(1e-23 * (i + 1)))
        start += count


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
