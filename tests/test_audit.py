"""The audit finds what was put into made images, and nothing where nothing was."""

import json
import os
import re

import numpy as np
import pytest
import torch
from astropy.io import fits
from PIL import Image

import nas
from nas.auditing import findings
from nas.commands.cli import main_of
from trainers.audit import shortcut
from trainers.data import Dataset, Split


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("NAS_CACHE", str(tmp_path / "cache"))


def noise(count, side=12, seed=0, chans=1):
    return np.random.default_rng(seed).normal(10, 1, (count, chans, side, side)).astype("f4")


def dataset(images, labels, classes=("a", "b")):
    """The first half to train, a quarter to validate and to test."""
    x, y = torch.from_numpy(images), torch.from_numpy(np.asarray(labels))
    half, most = len(x) // 2, 3 * len(x) // 4
    return Dataset(
        "made", classes, *(Split(x[s], y[s], {}) for s in (slice(half), slice(half, most), slice(most, None)))
    )


def advised(found):
    return {finding.check: finding.advice for finding in findings(found) if finding.advice}


def test_images_of_noise_alike_in_both_classes_have_nothing_to_find():
    found = nas.audit(dataset(noise(400), np.arange(400) % 2))
    assert advised(found) == {}
    assert found.shortcuts["statistics"].auc == pytest.approx(0.5, abs=0.2)
    assert found.images == {"train": (100, 100), "val": (50, 50), "test": (50, 50)}


def test_classes_of_different_brightness_are_a_shortcut_and_the_test_images_are_not_asked():
    images, labels = noise(400), np.arange(400) % 2
    images[labels == 1] += 1
    data = dataset(images, labels)
    found = nas.audit(data)
    assert found.shortcuts["statistics"].auc > 0.99
    assert found.shortcuts["pca"].auc < 0.75, "images are standardised there"
    assert "brightness" in advised(found)["intensity statistics"]
    wrong = Dataset("made", data.classes, data.train, data.val, Split(data.test.images, 1 - data.test.labels, {}))
    assert shortcut("statistics", wrong) == found.shortcuts["statistics"]


def test_a_high_auc_on_a_handful_of_images_is_no_finding():
    images, labels = noise(400), np.arange(400) % 2
    images[labels == 1] += 1
    data = dataset(images, labels)
    few = Dataset("made", data.classes, data.train, data.val.rows(torch.arange(6)), data.test)
    found = shortcut("statistics", few)
    assert found.auc > 0.99
    assert not found.found


def test_an_axis_is_found_and_the_objective_named():
    images, labels = noise(400), np.arange(400) % 2
    images[:, :, 4:7] += 2
    advice = advised(nas.audit(dataset(images, labels)))
    assert "--objective auc_d4_worst" in advice["preferred axis"]
    assert "d4" in advice["preferred axis"]


@pytest.mark.parametrize("unit", [1e-25, 1.0, 1e25])
def test_copies_are_counted_as_put_in_whatever_the_unit(unit):
    images, labels = noise(200, chans=2), np.arange(200) % 2
    images[20] = images[0]  # of one class, both to train
    images[31] = images[0]  # of another
    images[150] = np.rot90(images[2], 1, (1, 2))  # another split
    images[44] = images[4, :, ::-1]
    images[46] = images[4, :, ::-1].swapaxes(1, 2)
    images[60:63] = 7.0  # constant
    found = nas.audit(dataset(images * np.float32(unit), labels))
    assert (found.copies.exact, found.copies.turned) == (2, 3)
    assert (found.copies.across_classes, found.copies.across_splits) == (1, 1)
    assert found.copies.examples[0] == ("train image 0", "train image 31") or found.copies.examples[0] == (
        "train image 20", "train image 31",
    )  # fmt: skip
    assert found.constant.count == 3
    assert found.constant.examples == ("train image 60", "train image 61", "train image 62")


def test_copies_survive_that_a_folder_is_resized(tmp_path):
    rng = np.random.default_rng(0)
    for name in ("a", "b"):
        (tmp_path / "data" / name).mkdir(parents=True)
        for i in range(40):
            np.save(tmp_path / "data" / name / f"{i}.npy", rng.random((30, 30)))
    np.save(tmp_path / "data/a/copy.npy", np.load(tmp_path / "data/a/3.npy"))
    np.save(tmp_path / "data/a/other.npy", np.rot90(np.load(tmp_path / "data/a/5.npy"), 3))
    found = nas.audit(tmp_path / "data", image_size=16)
    assert (found.copies.exact, found.copies.turned, found.copies.across_splits) == (1, 1, 0)
    assert {frozenset(pair) for pair in found.copies.examples} == {
        frozenset(("a/3.npy", "a/copy.npy")), frozenset(("a/5.npy", "a/other.npy")),
    }  # fmt: skip


def test_saturated_images_are_counted_and_peaks_and_faint_counts_are_not():
    images, labels = noise(200, side=24), np.arange(200) % 2
    images[:, :, 12, 12] = 200  # a star
    for i in range(5):
        images[i, :, 5:10, 5:10] = 60 + np.random.default_rng(i).random((5, 5))
        images[i] = images[i].clip(max=55)
    assert nas.audit(dataset(images, labels)).saturated.count == 5
    counts = np.random.default_rng(0).poisson(0.5, (200, 1, 24, 24)).astype("f4")
    assert nas.audit(dataset(counts, labels)).saturated.count == 0


def test_missing_pixels_and_rare_classes_are_said():
    images, labels = noise(240), np.repeat([0, 1], [220, 20])
    images[5, 0, :2, 0] = np.nan
    found = nas.audit((images, labels))
    assert (found.filled_images, found.filled_pixels) == (1, 2)
    assert "--balance" in advised(found)["class balance"]
    assert found.imbalance > 5


def folder(root, save):
    for c, name in enumerate(("a", "b")):
        (root / name).mkdir(parents=True)
        for i, image in enumerate(noise(60, seed=c)):
            save(root / name, c, i, image[0])
    return root


def test_file_names_sizes_and_days_that_tell_the_classes_apart_are_named(tmp_path):
    def save(where, c, i, image):
        path = where / f"{'AB'[c]}{(7 * i) % 60}.npy"
        np.save(path, image)
        os.utime(path, (1e9 + 86400 * 30 * c, 1e9 + 86400 * 30 * c))

    found = nas.audit(folder(tmp_path / "data", save), image_size=12)
    names = {p.name for p in found.properties if p.found}
    assert names == {"the text of the file's name", "the day of the file"}
    assert all(p.auc == 1 for p in found.properties if p.found)
    assert {p.name: p.found for p in found.properties}["the number in the file's name"] is False


def test_sizes_of_compressed_pictures_are_named(tmp_path):
    def save(where, c, i, image):
        Image.fromarray(((image - 5) * (20 if c else 2)).clip(0, 255).astype("u1")).save(where / f"{i}.png")

    found = nas.audit(folder(tmp_path / "data", save), image_size=12)
    assert "the size of the file" in {p.name for p in found.properties if p.found}


def test_fits_headers_that_tell_the_classes_apart_are_named(tmp_path):
    def save(where, c, i, image):
        header = fits.Header(
            {"EXPTIME": 100.0 + 50 * c + i % 3, "SEEING": (i * 7) % 11, "TELESCOP": "AB"[c], "OBJECT": f"x{i}"}
        )
        fits.PrimaryHDU(image, header).writeto(where / f"{i}.fits")

    found = nas.audit(folder(tmp_path / "data", save), image_size=12)
    names = {p.name for p in found.properties if p.found}
    assert names == {"the header's EXPTIME", "the header's TELESCOP"}


def test_targets_without_classes_are_audited_too(tmp_path):
    found = nas.audit((noise(60), {"redshift": np.linspace(0, 1, 60)}))
    assert (found.shortcuts, found.properties, found.lonely) == ({}, (), ())
    assert found.classes == ("lens",)


def test_the_command_prints_a_line_a_finding_and_writes_the_page_and_the_data(tmp_path, capsys):
    def save(where, c, i, image):
        np.save(where / f"{i}.npy", image + 3 * c)

    data = folder(tmp_path / "<data>", save)
    page, record = tmp_path / "page.html", tmp_path / "found.json"
    assert main_of("audit", ["--data", str(data), "--out", str(page), "--json", str(record)]) == 0
    said = re.sub(r"\s+", " ", capsys.readouterr().out)
    written = json.loads(record.read_text())
    assert "intensity statistics" in said
    assert written["shortcuts"]["statistics"]["auc"] > 0.9
    assert {f["check"] for f in written["findings"]} >= {"preferred axis", "intensity statistics", "copies"}
    text = page.read_text()
    assert all(finding["check"] in text for finding in written["findings"])
    assert text.split("<script>")[0].count("data:image/png;base64,") == 4, "a sheet and a mean image of each class"
    assert "<data>" not in text
    assert not re.search(r'(src|href)="?http', text.split("<script>")[0])
    assert main_of("audit", ["--data", str(data), "--out", str(tmp_path / "none" / "x.html")]) == 2
    assert "make it first" in capsys.readouterr().err
