"""Numbers in the names of files and folders are regression targets."""

import numpy as np
import pytest

from trainers import TrainingError
from trainers.data import Folder, load
from trainers.data.folder.listing import Entry
from trainers.data.folder.values import values_in, with_values

RNG = np.random.default_rng(0)


def write(file):
    file.parent.mkdir(parents=True, exist_ok=True)
    np.save(file, RNG.random((8, 8)).astype("f4"))


def targets_by_pixel(data):
    parts = (data.train, data.val, data.test)
    return {
        image.numpy().tobytes(): {name: float(values[row]) for name, values in part.targets.items()}
        for part in parts
        for row, image in enumerate(part.images)
    }


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("theta_E=1.25_gamma=-2e-3.npy", {"theta_E": 1.25, "gamma": -0.002}),
        ("z=1,theta_E=.5.fits.gz", {"z": 1.0, "theta_E": 0.5}),
        ("theta_E=1.25", {"theta_E": 1.25}),
        ("007 Axion_Mass=1e-23-x.jpg", {"axion_mass": 1e-23}),
        ("lens_0001_theta_E=1.2_H_0=70.npy", {"theta_E": 1.2, "H_0": 70.0}),
        ("set_2_lens_0001_z=1.npy", {"z": 1.0}),
        ("z=0.5rot.npy", {}),
        ("z=1.5.2.npy", {}),
        ("labels=3.npy", {}),
        ("theta_E.npy", {}),
    ],
)
def test_pairs_of_name_and_number_are_found(name, values):
    assert values_in(name) == values


@pytest.mark.parametrize("form", ["theta_E={t}/{i:03}.npy", "theta_E={t}_{i:03}.npy", "set/theta_E={t}_{i:03}.npy"])
def test_a_number_in_a_name_goes_to_its_image(tmp_path, capsys, form):
    for i in range(40):
        write(tmp_path / "data" / form.format(t=round(1 + i // 4 / 10, 1), i=i))
    data = load(Folder(str(tmp_path / "data")), cache=tmp_path / "cache")
    assert "images with numbers: 40 images, 8x8, float32, theta_E for 40" in capsys.readouterr().err
    assert data.classes == ("lens",)
    found = targets_by_pixel(data)
    assert len(found) == 40
    for file in (tmp_path / "data").rglob("*.npy"):
        said = values_in(file.name) or values_in(file.parent.name)
        assert found[np.load(file).tobytes()] == pytest.approx(said)


def test_classes_and_splits_keep_their_folders_and_a_file_without_the_number_is_named(tmp_path):
    for i in range(60):
        label, split = ("cdm", "no_sub")[i % 2], ("train", "val", "test")[i % 3]
        write(tmp_path / "classes" / label / f"z={i}.npy")
        write(tmp_path / "splits" / split / f"z={i}.npy")
    data = load(Folder(str(tmp_path / "classes")), cache=tmp_path / "cache", progress=False)
    assert data.classes == ("cdm", "no_sub")
    assert (data.train.targets["z"].long() % 2 == data.train.labels).all()
    data = load(Folder(str(tmp_path / "splits")), cache=tmp_path / "cache", progress=False)
    assert (data.val.targets["z"] % 3 == 1).all()
    write(tmp_path / "splits" / "train" / "other.npy")
    with pytest.raises(
        TrainingError, match=r"1 of 61 images .*: train/other.npy \(has no number beside its image or in its name\)"
    ):
        load(Folder(str(tmp_path / "splits")), cache=tmp_path / "cache", progress=False)


@pytest.mark.parametrize("called", ["theta_E", "labels"])
@pytest.mark.parametrize("one_file", [False, True])
def test_a_stacked_array_of_numbers_is_the_target_of_its_name(tmp_path, called, one_file):
    images, numbers = RNG.random((40, 8, 8)), RNG.uniform(0.1, 0.9, 40)
    (tmp_path / "data").mkdir()
    if one_file:
        np.savez(tmp_path / "data" / "set.npz", **{"images": images, called: numbers})
    else:
        np.save(tmp_path / "data" / "images.npy", images)
        np.save(tmp_path / "data" / f"{called}.npy", numbers)
    data = load(Folder(str(tmp_path / "data")), cache=tmp_path / "cache", progress=False)
    name = "number" if called == "labels" else called
    found = targets_by_pixel(data)
    for image, number in zip(images.astype("f4"), numbers, strict=True):
        assert found[image[None].tobytes()] == {name: pytest.approx(number)}


def test_names_that_are_those_of_files_are_refused_in_one_short_line(tmp_path):
    for i in range(101):
        (tmp_path / f"lens{i:04}_theta_E=1.2.npy").touch()
    entries = [Entry(path, None, "lens", 0, 0) for path in sorted(tmp_path.iterdir())]
    with pytest.raises(
        TrainingError, match=r"101 different names .* such as lens0000_theta_E; .*lens_0001_the"
    ) as error:
        with_values(entries, tmp_path)
    assert len(str(error.value)) < 400
    assert len(with_values(entries[:100], tmp_path)) == 100
