"""Images from a user's function or from memory: every form is read, split, cached and refused as a folder would be."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image
from torch.utils.data import Dataset as TorchDataset
from torch.utils.data import IterableDataset, TensorDataset

from trainers import TrainingError, tasks
from trainers.data import (
    Arrays,
    Folder,
    Function,
    Simulated,
    from_arrays,
    load,
    source_from_dict,
    source_to_dict,
)

ROOT = Path(__file__).resolve().parents[1]
SPLITS = ("train", "val", "test")
MODULE = """
import numpy as np

def load():
    with open({log!r}, "a") as log:
        log.write("called")
    rng = np.random.default_rng({seed})
    return rng.random((60, 8, 8)), np.arange(60) % 2
"""


@pytest.fixture
def rng():
    return np.random.default_rng(0)


@pytest.fixture
def package(tmp_path, monkeypatch):
    """A folder on the path, in which modules can be written; what was imported from it is forgotten afterwards."""
    folder = tmp_path / "package"
    folder.mkdir()
    monkeypatch.syspath_prepend(folder)
    before = set(sys.modules)
    yield folder
    for name in set(sys.modules) - before:
        if str(folder) in (getattr(sys.modules[name], "__file__", None) or ""):
            del sys.modules[name]


def opened(tmp_path, images, labels=None, **options):
    cache = tmp_path / "cache"
    return load(from_arrays(images, labels, cache=cache, **options), progress=False, cache=cache)


def pairs(data):
    """All images with the names of their classes, in one order."""
    found = []
    for name in SPLITS:
        split = getattr(data, name)
        found += [(i.numpy().tobytes(), data.classes[k]) for i, k in zip(split.images, split.labels, strict=True)]
    return sorted(found)


def expected(images, labels):
    return sorted((np.asarray(i, dtype="f4").tobytes(), str(k)) for i, k in zip(images, labels, strict=True))


@pytest.mark.parametrize("library", ["numpy", "torch"])
@pytest.mark.parametrize("layout", ["NHW", "NCHW", "NHWC"])
def test_every_image_is_stored_once_with_its_label(tmp_path, rng, layout, library):
    images, labels = rng.random((60, 3, 8, 8)), np.array(["no_sub", "cdm", "axion"])[np.arange(60) % 3]
    given = {"NHW": images[:, 0], "NCHW": images, "NHWC": images.transpose(0, 2, 3, 1)}[layout]
    data = opened(tmp_path, torch.from_numpy(given) if library == "torch" else given, labels)
    assert data.classes == ("axion", "cdm", "no_sub")
    assert pairs(data) == expected(images[:, :1] if layout == "NHW" else images, labels)


@pytest.mark.parametrize(
    ("dtype", "stored"),
    [("u1", "uint8"), ("u2", "int32"), (">i2", "int16"), ("f8", "float32"), ("f2", "float32"), ("?", "uint8")],
)
def test_numbers_of_every_dtype_survive(tmp_path, rng, dtype, stored):
    images = rng.integers(0, 2, (40, 6, 6)).astype(dtype)
    images[:, 0, :] = np.arange(40)[:, None] >> np.arange(6) & 1  # all different, in two values
    data = opened(tmp_path, images, np.arange(40) % 2)
    assert str(data.train.images.dtype) == f"torch.{stored}"
    assert sum(int(getattr(data, s).images.sum()) for s in SPLITS) == images.astype("f8").sum()


def test_tensors_of_bfloat16_and_with_gradients_are_numbers_too(tmp_path):
    images = torch.rand(40, 1, 6, 6, requires_grad=True).bfloat16()
    assert pairs(opened(tmp_path, images, torch.arange(40) % 2)) == expected(
        images.float().detach().numpy(), np.arange(40) % 2
    )


@pytest.mark.parametrize("form", ["array", "tensor", "items"])
def test_one_hot_rows_are_classes(tmp_path, rng, form):
    images, numbers = rng.random((30, 8, 8)), np.arange(30) % 3
    rows = np.eye(3)[numbers]
    if form == "items":
        items = Map([(image, torch.from_numpy(row)) for image, row in zip(images, rows, strict=True)])
        items.classes = ("Sphere", "no", "other")
        data = opened(tmp_path, items)
        numbers = np.array(["cdm", "no_sub", "other"])[numbers]
    else:
        data = opened(tmp_path, images, torch.from_numpy(rows) if form == "tensor" else rows)
    assert pairs(data) == expected(images, numbers)


class Map(TorchDataset):
    classes = ("Sphere", "no")

    def __init__(self, items):
        self.items = items

    def __len__(self):
        return len(self.items)

    def __getitem__(self, i):
        return self.items[i]


def test_a_torch_dataset_names_its_own_classes(tmp_path, rng):
    images = rng.random((40, 8, 8)).astype("f4")
    named = opened(tmp_path, Map([(image, i % 2) for i, image in enumerate(images)]))
    assert named.classes == ("cdm", "no_sub"), "as a folder's names are read"
    assert pairs(named) == expected(images, np.array(["cdm", "no_sub"])[np.arange(40) % 2])
    plain = opened(tmp_path, TensorDataset(torch.from_numpy(images), torch.arange(40) % 2))
    assert plain.classes == ("0", "1")
    assert pairs(plain) == expected(images, np.arange(40) % 2)


def test_a_torch_dataset_may_hold_pictures_and_targets(tmp_path, rng):
    pixels = rng.integers(0, 256, (30, 8, 8, 3), dtype=np.uint8)
    items = [(Image.fromarray(p), {"redshift": float(i), "label": "ab"[i % 2]}) for i, p in enumerate(pixels)]
    data = opened(tmp_path, Map(items))
    assert data.classes == ("a", "b")
    assert data.train.images.shape[1:] == (3, 8, 8)
    for split in SPLITS:
        for image, label, z in zip(
            getattr(data, split).images,
            getattr(data, split).labels,
            getattr(data, split).targets["redshift"],
            strict=True,
        ):
            assert int(label) == int(z) % 2
            assert np.array_equal(image.numpy(), pixels[int(z)].transpose(2, 0, 1))


@pytest.mark.parametrize("have", [("train", "test"), ("train", "valid"), ("training", "val", "testing")])
def test_official_splits_are_kept_and_missing_ones_come_from_train(tmp_path, rng, have):
    parts = {name: (rng.random((50, 8, 8)), np.arange(50) % 2) for name in have}
    data = opened(tmp_path, parts)
    names = {"training": "train", "valid": "val", "testing": "test"}
    official = {names.get(name, name): part for name, part in parts.items()}
    for split in SPLITS:
        ours = {image.numpy().tobytes() for image in getattr(data, split).images}
        source = {image.astype("f4").tobytes() for image in official.get(split, official["train"])[0]}
        assert ours <= source
        assert len(ours) == len(source) or split == "train" or split not in official
        assert ours, split


def test_splits_are_those_of_a_folder_with_the_same_content(tmp_path, rng):
    """One hash rule: about 80:10:10 by content and seed, stable when images are added, duplicates together."""
    images, labels = rng.random((600, 4, 4)).astype("f4"), np.arange(600) % 2
    where = {}
    for count in (600, 500):
        data = opened(tmp_path, images[:count], labels[:count])
        where[count] = {image.numpy().tobytes(): s for s in SPLITS for image in getattr(data, s).images}
    assert where[500].items() <= where[600].items()
    sizes = np.array([sum(v == s for v in where[600].values()) for s in SPLITS])
    assert (np.abs(sizes - [480, 60, 60]) < 4 * np.sqrt([96, 54, 54])).all()
    other = opened(tmp_path, images, labels, seed=1)
    assert {image.numpy().tobytes() for image in other.test.images} != {k for k, v in where[600].items() if v == "test"}
    twice = opened(tmp_path, np.concatenate([images, images]), np.concatenate([labels, labels]))
    for s in SPLITS:
        assert len(getattr(twice, s)) == 2 * sum(v == s for v in where[600].values())


def test_resizing_is_that_of_folders(tmp_path, rng):
    images, labels = rng.random((20, 1, 32, 32)).astype("f4"), np.arange(20) % 2
    for i, (image, label) in enumerate(zip(images, labels, strict=True)):
        (tmp_path / "data" / "ab"[label]).mkdir(parents=True, exist_ok=True)
        np.save(tmp_path / "data" / "ab"[label] / f"{i}.npy", image)
    ours = opened(tmp_path, images, np.array(["a", "b"])[labels], image_size=8)
    theirs = load(Folder(str(tmp_path / "data"), image_size=8), progress=False, cache=tmp_path / "cache")
    assert pairs(ours) == pairs(theirs)
    assert ours.image_size == 8


def test_targets_of_any_name_are_kept_where_they_are_known(tmp_path, rng, capsys):
    z = np.arange(40.0)
    z[::4] = np.nan
    images = np.arange(40)[:, None, None] + np.zeros((40, 8, 8))
    source = from_arrays(images, {"redshift": z, "log_mass": torch.arange(40)}, cache=tmp_path)
    data = load(source, cache=tmp_path)
    assert capsys.readouterr().err == "arrays: 40 images, 1x8x8 float32, log_mass for 40, redshift for 30\n"
    assert data.classes == ("lens",)
    for name in SPLITS:
        split = getattr(data, name)
        number = split.images[:, 0, 0, 0].double()
        assert torch.equal(split.targets["log_mass"], number)
        assert torch.equal(split.targets["redshift"].isnan(), number % 4 == 0)


def test_a_task_of_the_users_own_measures_a_target_of_the_users_own(tmp_path, rng, package):
    (package / "my_package").mkdir()
    (package / "my_package" / "redshift.py").write_text(
        "from trainers.regression import Regression\n\n"
        "class Task(Regression):\n    target = 'redshift'\n    quantity = 'redshift'\n    unit = ''\n"
    )
    z = rng.random(60)
    data = opened(tmp_path, z[:, None, None] + np.zeros((60, 8, 8)), {"redshift": z})
    task = tasks.create("my_package.redshift", data)
    assert torch.equal(task.targets(data.val)[:, 0], data.val.targets["redshift"])
    assert task.mean == pytest.approx((float(data.train.targets["redshift"].mean()),))
    record = json.loads(json.dumps(tasks.to_record("my_package.redshift", task)))
    assert tasks.from_record(record) == task


@pytest.mark.parametrize(
    ("labels", "says"),
    [
        (np.arange(60) % 2, "arrays: 2 classes, 30/30 images, 1x32x32 float32"),
        (
            {"z": np.ones(60), "label": list("abc") * 20},
            "arrays: 3 classes, 20/20/20 images, 1x32x32 float32, z for 60",
        ),
    ],
)
def test_what_was_recognised_is_said_in_one_line(tmp_path, rng, capsys, labels, says):
    load(from_arrays(rng.random((60, 32, 32)), labels, cache=tmp_path), cache=tmp_path)
    assert capsys.readouterr() == ("", says + "\n")
    parts = {s: (rng.random((60, 32, 32)), labels) for s in ("train", "test")}
    load(from_arrays(parts, cache=tmp_path), cache=tmp_path)
    assert capsys.readouterr().err.endswith(", split into train/test as given\n")


def test_arrays_are_keyed_by_their_content_and_opened_by_another_process(tmp_path, rng):
    images, labels = rng.random((40, 8, 8)), np.arange(40) % 2
    source = from_arrays(images, labels, cache=tmp_path)
    assert from_arrays(torch.from_numpy(images.astype("f4")), list(map(str, labels)), cache=tmp_path) == source
    others = [
        from_arrays(images + 1, labels, cache=tmp_path),
        from_arrays(images, 1 - labels, cache=tmp_path),
        from_arrays(images, {"label": labels, "z": images[:, 0, 0]}, cache=tmp_path),
        from_arrays({"train": (images, labels)}, cache=tmp_path),
    ]
    assert len({source, *others, from_arrays(images, labels, seed=1, cache=tmp_path)}) == 6
    worker = subprocess.run(
        [
            sys.executable,
            "-c",
            "import json, sys; from trainers.data import load, source_from_dict; "
            "print(load(source_from_dict(json.loads(sys.argv[1]))).train.images.double().sum().item())",
            json.dumps(source_to_dict(source)),
        ],
        cwd=ROOT, env={**os.environ, "NAS_CACHE": str(tmp_path)}, capture_output=True, text=True, check=True,
    )  # fmt: skip
    here = load(source, progress=False, cache=tmp_path)
    assert float(worker.stdout) == here.train.images.double().sum().item()
    with pytest.raises(TrainingError, match=r"no longer holds the arrays .* give the arrays again"):
        load(source, cache=tmp_path / "elsewhere")
    with pytest.raises(TrainingError, match=r"image_size 16 .* give the arrays again"):
        load(Arrays(source.digest, image_size=16), cache=tmp_path)


def test_a_function_is_called_once_and_again_when_its_file_is_edited(tmp_path, package):
    """In this process, where the module stays imported, and behind a module that only passes the function on."""
    log, cache = tmp_path / "log", tmp_path / "cache"
    (package / "my_images.py").write_text(MODULE.format(log=str(log), seed=0))
    (package / "facade.py").write_text("from my_images import load\n")
    for name in ("my_images:load", "facade:load"):
        log.unlink(missing_ok=True)
        first, second = (load(Function(name), progress=False, cache=cache) for _ in range(2))
        assert log.read_text() == "called"
        assert torch.equal(first.train.images, second.train.images)
        edited = "# edited\n" + MODULE.format(log=str(log), seed=len(name))
        (package / "my_images.py").write_text(edited)
        third = load(Function(name), progress=False, cache=cache)
        assert log.read_text() == "calledcalled"
        assert pairs(third) != pairs(first)
        assert pairs(third) == expected(np.random.default_rng(len(name)).random((60, 8, 8)), np.arange(60) % 2)
        load(Function(name, seed=1), progress=False, cache=cache)
        load(Function(name, image_size=16), progress=False, cache=cache)
        assert log.read_text() == "called" * 4


def test_a_function_may_return_whatever_arrays_may_be(tmp_path, package, capsys):
    (package / "by_split.py").write_text(
        "import torch\nfrom torch.utils.data import TensorDataset\n\n"
        "def load():\n    torch.manual_seed(0)\n"
        "    labels = torch.arange(20) % 2\n"
        "    return {s: TensorDataset(torch.rand(20, 1, 8, 8), labels) for s in ('train', 'val', 'test')}\n"
    )
    data = load(Function("by_split:load"), cache=tmp_path / "cache")
    says = "by_split:load: 2 classes, 30/30 images, 1x8x8 float32, split into train/val/test as given\n"
    assert capsys.readouterr().err == "Calling by_split:load\n" + says
    assert data.name == "by_split:load"
    assert [len(getattr(data, s)) for s in SPLITS] == [20, 20, 20]


BROKEN = {
    "needs.py": "import a_package_that_is_not_there\n",
    "fails.py": "def load():\n    return 1 / 0\n",
    "empty.py": "load = 3\n",
    "text.py": "def load():\n    return 'text'\n",
}


@pytest.mark.parametrize(
    ("name", "error", "says"),
    [
        (
            "my_images",
            TrainingError,
            "'my_images' is not a module and a function in it, such as my_package.my_images:load",
        ),
        ("my_images:", TrainingError, "is not a module and a function in it"),
        ("my images:load", TrainingError, "is not a module and a function in it"),
        ("images.py:load:x", TrainingError, "is not a module and a function in it"),
        ("__main__:load", TrainingError, "workers cannot import __main__"),
        ("nowhere.to_be_found:load", TrainingError, "function 'nowhere.to_be_found': Python finds no module 'nowhere'"),
        ("empty.deeper:load", TrainingError, "Python finds no module 'empty.deeper'"),
        ("empty:load", TrainingError, "'empty:load': the module has no function 'load'"),
        ("empty:other", TrainingError, "the module has no function 'other'"),
        ("sys:exit", TrainingError, "the module has no file, so that no edit of it would be noticed"),
        ("text:load", TrainingError, r"text:load: str is no set of images; expected \(images, labels\)"),
        ("needs:load", ModuleNotFoundError, "a_package_that_is_not_there"),  # not the typo of whoever named the source
        ("fails:load", ZeroDivisionError, "division by zero"),
    ],
)
def test_a_function_that_cannot_be_called_is_named_in_one_line(tmp_path, package, name, error, says):
    for file, text in BROKEN.items():
        (package / file).write_text(text)
    with pytest.raises(error, match=says) as raised:
        load(Function(name), progress=False, cache=tmp_path / "cache")
    assert type(raised.value) is error
    assert "\n" not in str(raised.value)
    assert not list((tmp_path / "cache").glob("*/")) if (tmp_path / "cache").exists() else True


class Stream(IterableDataset):
    def __iter__(self):
        yield from ()


def of_two_classes(n=20):
    return np.arange(n) % 2


NOISE = np.random.default_rng(0).random((20, 8, 8))
HOLE = np.where(np.arange(20)[:, None, None] == 7, np.nan, NOISE)


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ((NOISE, of_two_classes(19)), r"labels have shape \(19,\); expected one for each of 20 images"),
        ((NOISE, 1 + np.eye(2)[of_two_classes()]), r"labels have shape \(20, 2\); expected one for each"),
        ((NOISE, None), r"labels have shape \(\)"),
        ((NOISE[0], of_two_classes(8)), r"image 0 \(has shape \(8,\); expected"),
        ((NOISE[:, :, :, None].repeat(17, 3), of_two_classes()), r"image 0 \(has shape \(8, 8, 17\); expected"),
        ((NOISE[:, :6], of_two_classes()), "its images are 8x6 pixels; expected square images"),
        ((HOLE, of_two_classes()), r"1 of 20 images .* not 1x8x8 float32 like most: image 7 \(holds NaN"),
        ((HOLE.astype(complex), of_two_classes()), r"20 of 20 images cannot be used: image 0 \(holds complex128"),
        (([*NOISE[:19], np.ones((9, 9))], of_two_classes()), r"image 19 \(1x9x9 float32\)"),
        (([*NOISE[:19], [[1], [1, 2]]], of_two_classes()), "an image or a list of labels cannot become an array"),
        ((NOISE[:0], []), "there are no images"),
        ((NOISE, ["a"] * 19 + [None]), "the label of image 19 is None"),
        ((NOISE, ["SB", "Sb"] * 10), "the labels SB and Sb, which would be one class, sb"),
        ((NOISE, np.zeros(20)), "all images have the label '0'; expected at least two classes, or targets"),
        ((NOISE, np.linspace(0, 1, 20)), "the label of image 1 is 0.05.*; expected classes, .* a mapping of names"),
        ((NOISE, np.full(20, np.nan)), "the label of image 0 is nan"),
        ((NOISE, [object()] * 20), "the label of image 0 is <object"),
        ((np.arange(1100)[:, None, None] + np.zeros((2, 2)), np.arange(1100)), "more than 1,000 different labels"),
        ((NOISE, {}), "the mapping of labels is empty"),
        ((NOISE, {"z": np.ones(19)}), r"z have shape \(19,\)"),
        ((NOISE, {"z": ["a"] * 20}), "z has <U1 values; expected numbers"),
        ((NOISE, {"z": np.full(20, np.inf)}), "z has infinite values"),
        ((NOISE, {"labels": of_two_classes()}), "target 'labels': expected a plain word .* 'label' for classes"),
        ((NOISE, {"../z": of_two_classes()}), "target '../z': expected a plain word"),
        ({"val": (NOISE, of_two_classes())}, "has the splits val, but not train"),
        ({"train": (NOISE, of_two_classes()), "extra": ()}, "keys train, val and test, once each; 'extra' is another"),
        ({"train": (NOISE, of_two_classes()), "val": (), "valid": ()}, "once each; 'valid' is another"),
        ({"train": (NOISE, of_two_classes()), "val": (NOISE + 1, np.zeros(20))}, "val lacks the class '1'"),
        ({"train": (NOISE, of_two_classes()), "test": (HOLE, of_two_classes())}, r"test image 7 \(holds NaN"),
        ({"train": (NOISE, of_two_classes()), "test": (NOISE[:4], of_two_classes(4))}, "same image in two splits"),
        ((np.concatenate([NOISE, NOISE[:1]]), [*of_two_classes(), 1]), "image 0 and image 20 in arrays .* two classes"),
        ((NOISE[:4], of_two_classes(4)), r"class '0' has too few different images \(2\)"),
        (Stream(), "Stream is no set of images; expected"),
        (Map([(NOISE[0], 0), NOISE[1]]), "the items of the Map are not pairs"),
        (Map([(image, i % 3) for i, image in enumerate(NOISE)]), "label 2 is none of the 2 classes"),
        (NOISE, "ndarray is no set of images; expected"),
        (None, "NoneType is no set of images; expected"),
    ],
)  # fmt: skip
def test_what_is_no_set_of_labelled_images_is_refused_in_one_line(tmp_path, given, says):
    with pytest.raises(TrainingError, match=says) as error:
        from_arrays(given, cache=tmp_path)
    assert "\n" not in str(error.value)
    assert not list(tmp_path.glob("*/"))


@pytest.mark.parametrize("options", [{"image_size": 7}, {"image_size": 8.5}, {"seed": "one"}])
def test_an_option_that_cannot_be_is_refused_before_the_images_are_looked_at(options):
    for make in (
        lambda: from_arrays(None, None, **options),
        lambda: Function("my_images:load", **options),
        lambda: Folder("data", **options),
        lambda: Simulated(**options),
    ):
        with pytest.raises(TrainingError, match=f"{next(iter(options))} is "):
            make()


@pytest.mark.parametrize(
    "source",
    [
        Simulated("varied", np.int64(100), np.int64(32), 1, snr=20.0),
        Folder("/data", np.int32(64), 3, skip_bad=True, raw_shape=(np.int64(1), 150, 150), raw_dtype="float32"),
        Function("my_package.my_images:load", np.int64(64), 3),
        Arrays("0123456789abcdef", np.int64(64), np.int64(3)),
    ],
)
def test_every_source_is_rebuilt_from_json(source):
    record = source_to_dict(source)
    again = source_from_dict(json.loads(json.dumps(record, sort_keys=True)))
    assert again == source
    assert json.dumps(source_to_dict(again), sort_keys=True) == json.dumps(record, sort_keys=True)
    assert hash(again) == hash(source)


def test_a_target_that_some_images_lack_is_unknown_for_them_whichever_come_first(tmp_path):
    """As the mass of the axion is, which only one class has."""
    rng = np.random.default_rng(0)
    pairs = [(rng.random((16, 16)), {"label": i % 2} | ({"redshift": i / 60} if i % 2 else {})) for i in range(60)]
    data = load(from_arrays(Pairs(pairs), cache=tmp_path), progress=False, cache=tmp_path)
    for split in (data.train, data.val, data.test):
        assert torch.equal(split.targets["redshift"].isnan(), split.labels == 0)
    with pytest.raises(TrainingError, match="some labels are mappings and some are not"):
        from_arrays(Pairs([*pairs, (rng.random((16, 16)), 1)]), cache=tmp_path)


class Pairs:
    """The least that a map-style data set has."""

    def __init__(self, pairs):
        self.pairs = pairs

    def __len__(self):
        return len(self.pairs)

    def __getitem__(self, index):
        return self.pairs[index]


def test_a_table_of_pandas_is_a_mapping_and_minus_99_is_not_known(tmp_path):
    table = pd.DataFrame({"theta_E": [-99.0] * 5 + [i / 10 for i in range(15)], "label": of_two_classes()})
    data = load(from_arrays(NOISE, table, cache=tmp_path), progress=False, cache=tmp_path)
    known = torch.cat([split.targets["theta_E"] for split in (data.train, data.val, data.test)])
    assert sorted(known[known.isfinite()].tolist()) == pytest.approx([i / 10 for i in range(15)])
    assert data.classes == ("0", "1")


@pytest.mark.parametrize(
    "make", [lambda y: pd.DataFrame({"kind": y}), pd.get_dummies, lambda y: pd.DataFrame({"Class": y, "z": y / 3})]
)
def test_a_table_of_pandas_may_hold_classes(tmp_path, make):
    data = load(from_arrays(NOISE, make(of_two_classes()), cache=tmp_path), progress=False, cache=tmp_path)
    assert data.classes == ("0", "1")


def test_images_of_one_object_in_memory_stay_in_one_split(tmp_path):
    ids = np.repeat(np.arange(10), 2)
    images = NOISE.astype("f4")
    for named in ("lens_id", "group_id"):
        source = from_arrays(images, {"label": of_two_classes(), named: ids}, cache=tmp_path)
        data = load(source, progress=False, cache=tmp_path)
        parts = [data.train.images, data.val.images, data.test.images]
        shown = [[i for i in range(20) if any(np.array_equal(images[i], x[0]) for x in part)] for part in parts]
        assert sorted(i for part in shown for i in part) == list(range(20))
        assert len({(int(ids[i]), k) for k, part in enumerate(shown) for i in part}) == 10
