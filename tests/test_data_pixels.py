"""What is inside an image file: bands and their masks, missing pixels, units, and formats with many bits."""

import gzip
import json
import struct
import sys
import zlib
from pathlib import Path

import numpy as np
import pytest
import torch
from astropy.io import fits

from trainers.data import Dataset, Folder, from_arrays, load, source_from_dict
from trainers.data.folder.fits_file import header_id
from trainers.data.folder.image_file import UNREADABLE, Reading, normal_form, read_stored
from trainers.data.folder.missing import clipped, fill_missing
from trainers.data.folder.passbands import wavelength
from trainers.errors import TrainingError

SPLITS = ("train", "val", "test")
NOISE = np.random.default_rng(0).random((12, 12))


def hdu(name: str = "", image: np.ndarray = NOISE) -> fits.ImageHDU:
    return fits.ImageHDU(image, name=name)


MASK = (NOISE > 0.5).astype(np.int32)
SMALL = np.ones((5, 5))


def write(path: Path, units: list) -> Path:
    first = [] if isinstance(units[0], fits.PrimaryHDU) else [fits.PrimaryHDU()]
    fits.HDUList([*first, *units]).writeto(path)
    return path


def convert(root: Path, **fields: object) -> tuple[Dataset, dict]:
    data = load(Folder(str(root), **fields), progress=False, cache=root.parent / "cache")
    manifests = (root.parent / "cache").glob("*/manifest.json")
    return data, json.loads(max(manifests, key=lambda file: file.stat().st_mtime_ns).read_text())


def every(data: Dataset) -> torch.Tensor:
    return torch.cat([getattr(data, split).images[:] for split in SPLITS])


@pytest.mark.parametrize(
    ("units", "found", "channels"),
    [
        ([hdu("IMAGE"), hdu("MASK", MASK), hdu("VARIANCE")], ("IMAGE",), [0]),
        ([hdu("SCI"), hdu("ERR"), hdu("DQ", MASK)], ("SCI",), [0]),
        ([hdu("SCI"), hdu("WHT")], ("SCI",), [0]),
        ([hdu("SCI"), hdu("ERR"), hdu("VAR_POISSON"), hdu("AREA"), hdu("ASDF")], ("SCI",), [0]),
        ([fits.PrimaryHDU(NOISE), hdu("WEIGHT_MAP")], ("0",), [0]),
        ([hdu("PSF", SMALL), hdu("SCI")], ("SCI",), [1]),
        ([hdu("", SMALL), hdu("SCI")], ("SCI",), [1]),
        ([hdu("WHT"), hdu("MSK", MASK), hdu("IMG")], ("IMG",), [2]),
        ([hdu(band) for band in "yigzr"], ("G", "R", "I", "Z", "Y"), [2, 4, 1, 3, 0]),
        ([hdu("HSC-R"), hdu("HSC-G"), hdu("PSF_G", SMALL), hdu("MASK", MASK)], ("HSC-G", "HSC-R"), [1, 0]),
        ([hdu(band) for band in ("SCI_F814W", "F444W", "F160W", "F606W")], ("F606W", "SCI_F814W", "F160W", "F444W"),
         [3, 0, 2, 1]),
        ([hdu(), hdu(), hdu()], ("1", "2", "3"), [0, 1, 2]),
        ([hdu("SCI", np.stack([NOISE, NOISE])), hdu("ERR", np.stack([NOISE, NOISE]))], ("SCI",), None),
    ],
)  # fmt: skip
def test_an_image_is_its_bands_in_order_of_wavelength_without_what_comes_with_it(tmp_path, units, found, channels):
    for i, unit in enumerate(units):
        unit.data = unit.data + i
    stored = read_stored(write(tmp_path / "x.fits", units))
    assert stored.hdus == found
    expected = units[0].data if channels is None else np.stack([units[i].data for i in channels])
    np.testing.assert_array_equal(normal_form(stored.array)[0], expected.astype(np.float32))


@pytest.mark.parametrize(
    "units",
    [
        [hdu("", SMALL), hdu()],
        [hdu(), hdu("", MASK), hdu()],
        [hdu("SCI"), hdu("SCI")],
        [hdu("LENS"), hdu("SOURCE")],
        [hdu("G"), hdu("G")],
        [hdu("G"), hdu("R", SMALL)],
        [hdu("G"), hdu("OTHER")],
        [hdu("ERR"), hdu("WHT")],
    ],
)
def test_unclear_hdus_are_refused_in_one_line_that_lists_them_and_can_be_chosen(tmp_path, units):
    path = write(tmp_path / "x.fits", units)
    with pytest.raises(TrainingError, match="not clear which are the image; choose with --hdu") as error:
        read_stored(path)
    assert "\n" not in str(error.value)
    for i, unit in enumerate(units, 1):
        assert f"{i}: {unit.name or 'unnamed'} {'x'.join(map(str, unit.data.shape))}" in str(error.value)
    np.testing.assert_array_equal(read_stored(path, Reading(hdu=("2",))).array, units[1].data)


def test_chosen_hdus_are_channels_in_the_order_asked_for(tmp_path):
    path = write(tmp_path / "x.fits", [hdu("LENS"), hdu("SOURCE", NOISE + 1), hdu("PSF", SMALL)])
    stored = read_stored(path, Reading(hdu=("source", "LENS")))
    assert stored.hdus == ("SOURCE", "LENS")
    np.testing.assert_array_equal(stored.array, [NOISE + 1, NOISE])
    for names, says in ((["SKY"], "no HDU 'SKY' among 3 HDUs"), (["LENS", "PSF"], "cannot be the channels of one")):
        with pytest.raises(TrainingError, match=says):
            read_stored(path, Reading(hdu=tuple(names)))


def test_compressed_fits_files_are_read_as_plain_ones(tmp_path):
    image = np.random.default_rng(1).integers(0, 30000, (20, 20)).astype(np.int16)
    (tmp_path / "data" / "a").mkdir(parents=True)
    (tmp_path / "data" / "b").mkdir()
    for i in range(4):
        plain = write(tmp_path / f"{i}.fits", [fits.PrimaryHDU(image + i)])
        (tmp_path / "data" / "a" / f"{i}.fits.gz").write_bytes(gzip.compress(plain.read_bytes()))
        units = [fits.PrimaryHDU(), fits.CompImageHDU(image + 10 + i, compression_type="RICE_1")]
        fits.HDUList(units).writeto(tmp_path / "data" / "b" / f"{i}.fits.fz")
    data, _ = convert(tmp_path / "data")
    assert sorted((every(data)[:, 0] - torch.from_numpy(image))[:, 0, 0].tolist()) == [0, 1, 2, 3, 10, 11, 12, 13]


def test_what_became_which_channel_is_said_kept_and_the_same_for_all(tmp_path, capsys):
    rng = np.random.default_rng(0)
    for label in ("a", "b"):
        (tmp_path / "data" / label).mkdir(parents=True)
        for i in range(5):
            bands = [hdu(name, rng.random((12, 12))) for name in ("R", "G", "MASK")]
            write(tmp_path / "data" / label / f"{i}.fits", bands)
    load(Folder(str(tmp_path / "data")), cache=tmp_path / "cache")
    assert "2x12x12, float64, HDUs G, R" in capsys.readouterr().err
    data, manifest = convert(tmp_path / "data")
    assert data.channels == tuple(manifest["channels"]) == ("G", "R")
    other, manifest = convert(tmp_path / "data", hdu=("R",))
    assert (other.in_chans, manifest["channels"], manifest["reading"]["hdu"]) == (1, ["R"], ["R"])
    write(tmp_path / "data" / "a" / "odd.fits", [hdu("G"), hdu("I")])
    with pytest.raises(TrainingError, match=r"not 2x12x12 float32 of G, R like most: a/odd.fits \(.* of G, I\)"):
        convert(tmp_path / "data")


def test_a_folder_whose_images_all_have_one_fault_says_which(tmp_path):
    for label in ("a", "b"):
        (tmp_path / "data" / label).mkdir(parents=True)
        for i in range(40):
            write(tmp_path / "data" / label / f"{i}.fits", [hdu("LENS", NOISE + i), hdu("SOURCE")])
    with pytest.raises(TrainingError, match=r"a/0.fits: has 2 HDUs .*--hdu NAME,NAME \(the same for all 80\)"):
        convert(tmp_path / "data")


@pytest.mark.parametrize(
    ("name", "nm"),
    [
        ("G", 480), ("hsc-r", 620), ("DES_Y", 1000), ("F814W", 814), ("F160W", 1600), ("F2100W", 21000),
        ("F277W", 2770), ("F275W", 275), ("F062", 620), ("SCI", None), ("GALAXY", None), ("G R", None), ("", None),
    ],
)  # fmt: skip
def test_bands_are_known_by_their_whole_name(name, nm):
    assert wavelength(name) == nm


def naive(channel: np.ndarray) -> list[bool]:
    """Whether each value of a channel, flat, is missing, by the words of the rule."""
    values = [float(v) for v in channel.flat]
    sentinels: set[float] = set()
    while True:
        rest = [v for v in values if np.isfinite(v) and v not in sentinels]
        for end in (min, max):
            far = end(rest)
            others = [v for v in rest if v != far]
            distance = abs(far - min(others, key=lambda v: abs(v - far))) if others else 0
            background = far == 0 and rest.count(far) > len(rest) / 2
            if rest.count(far) > 1 and len(set(others)) > 1 and distance > max(others) - min(others) and not background:
                sentinels.add(far)
                break
        else:
            return [not np.isfinite(v) or v in sentinels for v in values]


@pytest.mark.parametrize("dtype", ["u1", "i2", "u2", "i4", "u8", "f4", "f8", ">f4"])
@pytest.mark.parametrize("seed", range(12))
def test_missing_pixels_are_those_of_the_rule_and_get_the_median(dtype, seed):
    rng = np.random.default_rng(seed)
    image = rng.integers(20, 90, (2, 40, 40)).astype(dtype)
    top = 255 if dtype == "u1" else 30_000
    for value in rng.choice([0, 1, top, top - 1, 17, 95], 3, replace=False):
        image[rng.integers(2)].flat[rng.integers(0, 1600, rng.integers(1, 9))] = value
    if "f" in dtype:
        image[0].flat[rng.integers(0, 1600, 3)] = [np.nan, np.inf, -np.inf]
    before = image.copy()
    filled, count, _ = fill_missing(image)
    masks = np.array([naive(channel) for channel in image]).reshape(image.shape)
    assert count == masks.sum()
    np.testing.assert_array_equal(image, before)
    np.testing.assert_array_equal(filled[~masks], image[~masks])
    for channel, mask, new in zip(image, masks, filled, strict=True):
        assert np.isin(new[mask], np.sort(channel[~mask])[(~mask).sum() // 2]).all()


@pytest.mark.parametrize(
    "image",
    [
        np.clip(NOISE - 0.5, 0, None),  # a zero background
        np.where(NOISE > 0.9, 1 + NOISE, 0),  # and one far from the rest
        np.clip(NOISE, 0, 0.7),  # a saturated plateau
        (NOISE > 0.5) * 255.0,  # two values
        np.zeros((12, 12)),
        np.full((12, 12), -9999.0),
        np.where(np.eye(12) * np.arange(12) == 5, 1e6, NOISE),  # a single hot pixel
    ],
)
def test_backgrounds_plateaus_and_drawings_are_not_missing(image):
    kept, count = normal_form(image)
    assert count == 0
    np.testing.assert_array_equal(kept[0], image.astype(np.float32))


def test_missing_pixels_are_counted_said_and_refused_beyond_a_tenth(tmp_path, capsys):
    rng = np.random.default_rng(0)
    for label in ("a", "b"):
        (tmp_path / "data" / label).mkdir(parents=True)
        for i in range(8):
            image = rng.random((20, 20))
            if i == 3:
                image[:1] = -9999
            if i == 4:
                image[5, 5:8] = np.nan
            np.save(tmp_path / "data" / label / f"{i}.npy", image)
    load(Folder(str(tmp_path / "data")), cache=tmp_path / "cache")
    assert "46 missing pixels in 4 images filled with the median" in capsys.readouterr().err
    data, manifest = convert(tmp_path / "data")
    assert manifest["filled"] == {"images": 4, "pixels": 46}
    assert 0 <= every(data).min() < every(data).max() <= 1
    np.save(tmp_path / "data" / "a" / "wide.npy", np.where(np.arange(20) < 3, 65535.0, rng.random((20, 20))))
    with pytest.raises(TrainingError, match=r"a/wide.npy \(holds the sentinel 65535 in 15% of its pixels; at most 10%"):
        convert(tmp_path / "data")
    data, manifest = convert(tmp_path / "data", skip_bad=True)
    assert len(every(data)) == 16
    assert manifest["filled"] == {"images": 4, "pixels": 46}


def test_arrays_are_filled_as_files_are(tmp_path, capsys):
    images = np.random.default_rng(0).random((20, 9, 9))
    images[3, :2, :3] = -99
    source = from_arrays(images, np.arange(20) % 2, cache=tmp_path)
    data = load(source, cache=tmp_path)
    assert "6 missing pixels in 1 image filled with the median" in capsys.readouterr().err
    assert every(data).min() >= 0


@pytest.mark.parametrize("dtype", ["u1", "i4", "f4", "f8"])
def test_clipping_leaves_percentiles_of_each_channel(dtype):
    image = np.random.default_rng(0).integers(0, 200, (3, 32, 32)).astype(dtype)
    image[1, 4, 4] = 255
    found = clipped(image, (1, 99))
    assert found.dtype == image.dtype
    for channel, kept in zip(image, found, strict=True):
        low, high = np.sort(channel, None)[[10, 1013]]  # of 1,024 pixels
        np.testing.assert_array_equal(kept, channel.clip(low, high))


def test_a_hot_pixel_is_clipped_before_it_is_smeared_by_resizing(tmp_path):
    rng = np.random.default_rng(0)
    for label in ("a", "b"):
        (tmp_path / "data" / label).mkdir(parents=True)
        for i in range(5):
            image = rng.random((40, 40))
            image[7, 7] = 1e7
            np.save(tmp_path / "data" / label / f"{i}.npy", image)
    data, manifest = convert(tmp_path / "data", image_size=20, clip=(0.1, 99.9))
    assert every(data).max() <= 1
    assert manifest["reading"]["clip"] == [0.1, 99.9]
    assert every(convert(tmp_path / "data", image_size=20)[0]).max() > 1e5


@pytest.mark.parametrize(
    ("image", "says"),
    [
        (NOISE * 1e40, "1e\\+40, is beyond float32; multiply"),
        (NOISE * 1e-40, "e-41, is beyond float32|1e-40, is beyond float32"),
        ((NOISE * 1.8e19).astype("u8"), "is beyond int64; save the images as floats"),
        (np.where(NOISE < 0.3, np.nan, NOISE), "holds NaN or infinite values in 2.% of its pixels; at most 10%"),
        (np.empty((0, 12)), r"has shape \(0, 12\)"),
    ],
)
def test_values_that_would_change_are_refused(image, says):
    with pytest.raises(TrainingError, match=says):
        normal_form(image)


@pytest.mark.parametrize(
    "array",
    [
        NOISE[None, None], NOISE[None, None, None], np.stack([NOISE] * 5), np.stack([NOISE] * 5, -1),
        NOISE[::-1, ::-1], NOISE.astype(">f8"), (NOISE * 9e18).astype("u8"),
    ],
)  # fmt: skip
def test_arrays_of_any_order_and_rank_are_images(array):
    image, _ = normal_form(array)
    assert image.shape == ((5, 12, 12) if 5 in array.shape else (1, 12, 12))
    assert torch.from_numpy(image).float().isfinite().all()
    assert image.max() < 2**63


def png(pixels: np.ndarray, colour: int) -> bytes:
    """A PNG of 16 bits for each value of (H, W, C), with the filter "Sub" as most writers use it."""
    height, width, chans = pixels.shape
    raw = np.ascontiguousarray(pixels, ">u2").view(np.uint8).reshape(height, -1).astype(int)
    raw[:, 2 * chans :] -= raw[:, : -2 * chans].copy()
    rows = np.concatenate([np.ones((height, 1), int), raw % 256], 1).astype(np.uint8).tobytes()

    def chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    header = struct.pack(">IIBBBBB", width, height, 16, colour, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        [chunk(b"IHDR", header), chunk(b"IDAT", zlib.compress(rows)), chunk(b"IEND", b"")]
    )


@pytest.mark.parametrize(("colour", "chans"), [(0, 1), (2, 3), (6, 4)])
def test_a_png_keeps_its_sixteen_bits(tmp_path, colour, chans):
    pixels = np.random.default_rng(0).integers(0, 65536, (9, 7, chans))
    (tmp_path / "deep.png").write_bytes(png(pixels, colour))
    stored = read_stored(tmp_path / "deep.png")
    np.testing.assert_array_equal(stored.array.reshape(9, 7, -1), pixels[..., :3])


def test_a_png_that_pillow_cannot_read_in_full_is_refused(tmp_path):
    (tmp_path / "deep.png").write_bytes(png(np.ones((9, 7, 2), int), 4))
    with pytest.raises(TrainingError, match="16 bits of grey and transparency"):
        read_stored(tmp_path / "deep.png")


@pytest.mark.filterwarnings("ignore")  # astropy's own of the same
def test_a_damaged_fits_file_is_an_unreadable_image(tmp_path):
    whole = write(tmp_path / "x.fits", [fits.PrimaryHDU(NOISE), hdu("MASK", MASK)]).read_bytes()
    for size in (100, 3000, 4000):
        (tmp_path / "cut.fits").write_bytes(whole[:size])
        with pytest.raises(UNREADABLE):
            read_stored(tmp_path / "cut.fits")


@pytest.mark.parametrize("fields", [{"hdu": ""}, {"hdu": ()}, {"clip": "1"}, {"clip": (99, 1)}, {"clip": (-1, 50)}])
def test_a_reading_that_cannot_be_is_refused(fields):
    with pytest.raises(TrainingError, match=f"{next(iter(fields))} is .*; expected"):
        Folder("/data", **fields)


def test_a_folder_recorded_before_there_were_readings_is_read_as_stored():
    assert source_from_dict({"kind": "folder", "path": "/data", "image_size": 64}).reading() == Reading()


def test_an_id_in_a_fits_header_without_astropy_is_one_line(tmp_path, monkeypatch):
    (tmp_path / "1.fits").touch()
    monkeypatch.setitem(sys.modules, "astropy.io", None)
    with pytest.raises(TrainingError, match=r"1.fits: is a FITS file; to read those: pip install astropy"):
        header_id(tmp_path / "1.fits")
