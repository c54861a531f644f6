"""Conversion that is interrupted, splits that are remembered, and bad images that are left out."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch

from trainers.data import Dataset, Folder, load, source_from_dict, source_to_dict
from trainers.data.cache import allocate, cached
from trainers.data.folder import convert as folder

ROOT = Path(__file__).resolve().parents[1]
SPLITS = ("train", "val", "test")
SLOWLY = """
import sys, time
from pathlib import Path
from trainers.data import Folder, load
from trainers.data.folder import journal
from trainers.data.folder.reader import Reader

journal.BLOCK = 10
read = Reader.stored

def slow(self, entry):
    time.sleep(0.02)
    return read(self, entry)

Reader.stored = slow
load(Folder(sys.argv[1]), progress=False, cache=Path(sys.argv[2]))
"""


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(0)


def fill(root: Path, count: int, rng: np.random.Generator, first: int = 0) -> None:
    for name in ("no_sub", "sub"):
        (root / name).mkdir(parents=True, exist_ok=True)
        for i in range(first, first + count):
            np.save(root / name / f"{i}.npy", rng.random((8, 8)))


def read(root: Path, **fields: object) -> Dataset:
    return load(Folder(str(root), **fields), progress=False, cache=root.parent / "cache")


def record(root: Path, name: str = "manifest.json") -> dict:
    newest = max((root.parent / "cache").glob(f"*/{name}"), key=lambda file: file.stat().st_mtime_ns)
    return json.loads(newest.read_text())


def where(root: Path) -> dict[str, str]:
    """File name to split."""
    return {name: split for split, files in record(root, "files.json").items() for name, _ in files}


def same(a: Dataset, b: Dataset) -> bool:
    pairs = [(getattr(a, split), getattr(b, split)) for split in SPLITS]
    return all(torch.equal(x.images, y.images) and torch.equal(x.labels, y.labels) for x, y in pairs)


@pytest.mark.parametrize("end", [signal.SIGKILL, signal.SIGINT])
def test_an_interrupted_conversion_goes_on_where_it_was(
    tmp_path: Path, rng: np.random.Generator, monkeypatch: pytest.MonkeyPatch, end: signal.Signals
) -> None:
    root, cache = tmp_path / "data", tmp_path / "cache"
    fill(root, 100, rng)
    victim = subprocess.Popen(
        [sys.executable, "-c", SLOWLY, str(root), str(cache)], cwd=ROOT, stderr=subprocess.DEVNULL
    )
    deadline = time.monotonic() + 60
    converted = 0
    while converted < 30:
        assert victim.poll() is None, "finished before it could be stopped"
        assert time.monotonic() < deadline
        time.sleep(0.02)
        journals = list(cache.glob(".*.building/work/journal.json"))
        converted = json.loads(journals[0].read_text())["converted"] if journals else 0
    os.kill(victim.pid, end)
    victim.communicate(timeout=60)
    assert [path for path in cache.iterdir() if not path.name.startswith(".")] == []

    original, seen = folder.Reader.stored, []
    monkeypatch.setattr(folder.Reader, "stored", lambda self, entry: seen.append(entry) or original(self, entry))
    monkeypatch.setattr(folder.Reader, "digest", lambda self, entry: pytest.fail("hashed again"))
    resumed = read(root)
    assert len(seen) <= 200 - converted + len(range(0, 200, 200 // 32))  # the rest, and a sample to learn their form
    monkeypatch.undo()
    undisturbed = load(Folder(str(root)), progress=False, cache=tmp_path / "other")
    assert same(resumed, undisturbed)
    assert not list(cache.glob(".*.building"))
    assert not list(cache.glob("*/work"))


def test_files_changed_after_an_interruption_are_converted_from_the_start(
    tmp_path: Path, rng: np.random.Generator, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = tmp_path / "data"
    fill(root, 20, rng)

    def interrupt(self: object, entry: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(folder.Reader, "stored", interrupt)
    with pytest.raises(KeyboardInterrupt):
        read(root)
    monkeypatch.undo()
    np.save(root / "sub" / "3.npy", np.full((8, 8), 7.0))
    data = read(root)
    assert sum(int((getattr(data, split).images == 7).all((1, 2, 3)).sum()) for split in SPLITS) == 1


def test_what_nobody_went_on_with_for_a_day_is_deleted(tmp_path: Path) -> None:
    def interrupt(scratch: Path) -> None:
        (scratch / "part").touch()
        raise KeyboardInterrupt

    for name in ("old", "new"):
        with pytest.raises(KeyboardInterrupt):
            cached(name, {}, interrupt, tmp_path)
    (old,) = tmp_path.glob(".old*.building")
    for path in (old / "part", old):
        os.utime(path, (time.time() - 2 * 86400,) * 2)
    cached("other", {}, lambda scratch: None, tmp_path)
    assert not old.exists()
    assert list(tmp_path.glob(".new*.building/part"))


def test_an_image_stays_in_its_split_when_it_is_renamed_encoded_anew_or_joined_by_others(
    tmp_path: Path, rng: np.random.Generator
) -> None:
    root = tmp_path / "data"
    fill(root, 4, rng)  # so few that some were lent to val and test against their hash
    read(root)
    before = where(root)
    for name in ("no_sub", "sub"):
        (root / name / "0.npy").rename(root / name / "renamed.npy")
        for i in (1, 2, 3):
            np.save(root / name / f"{i}.npy", np.load(root / name / f"{i}.npy").astype(np.float32))
    fill(root, 60, rng, first=10)
    read(root)
    after = where(root)
    assert len(after) == 128
    for name in ("no_sub", "sub"):
        after[f"{name}/0.npy"] = after.pop(f"{name}/renamed.npy")
    assert {name: after[name] for name in before} == before
    again = read(root, image_size=16)
    assert where(root) == {
        **{n: s for n, s in after.items() if not n.endswith("/0.npy")},
        **{f"{c}/renamed.npy": before[f"{c}/0.npy"] for c in ("no_sub", "sub")},
    }
    assert again.image_size == 16


def test_what_was_tested_on_is_never_trained_on(tmp_path: Path, rng: np.random.Generator) -> None:
    root = tmp_path / "data"
    fill(root, 60, rng)
    read(root)
    before = where(root)
    for name, split in before.items():
        if split == "train" and name.startswith("sub/"):
            (root / name).unlink()
    with pytest.raises(ValueError, match="class 'sub' has no image left for train: those there are were in other"):
        read(root)
    fill(root, 1, rng, first=100)
    read(root)
    after = where(root)
    assert after["sub/100.npy"] == "train"
    assert all(after[name] == before[name] for name in before if name in after)


def test_the_memory_lost_no_image_of_a_large_set_moves(tmp_path: Path, rng: np.random.Generator) -> None:
    root = tmp_path / "data"
    fill(root, 100, rng)
    read(root)
    before = where(root)
    (memory,) = (tmp_path / "cache").glob(".*.splits.json")
    memory.unlink()
    fill(root, 20, rng, first=100)
    read(root)
    assert {name: split for name, split in where(root).items() if name in before} == before


def test_every_pair_of_duplicates_across_splits_is_named(tmp_path: Path, rng: np.random.Generator) -> None:
    root = tmp_path / "data"
    for split in ("train", "test"):
        fill(root / split, 6, rng)
    for i in (1, 4):
        (root / "test" / "sub" / f"{i}.npy").write_bytes((root / "train" / "sub" / f"{i}.npy").read_bytes())
    with pytest.raises(ValueError, match="same image in two splits; remove one of each") as error:
        read(root)
    for name in ("train/sub/1.npy", "test/sub/1.npy", "train/sub/4.npy", "test/sub/4.npy"):
        assert name in str(error.value)


def test_bad_images_are_left_out_and_recorded_only_if_asked(tmp_path: Path, rng: np.random.Generator) -> None:
    root = tmp_path / "data"
    fill(root, 40, rng)
    whole = {np.load(file).astype(np.float32).tobytes() for file in root.rglob("*.npy")}
    bad = {"sub/0.npy": b"", "no_sub/0.npy": b"no array", "sub/39.npy": (root / "sub" / "39.npy").read_bytes()[:200]}
    for name, content in bad.items():
        whole.remove(np.load(root / name).astype(np.float32).tobytes())
        (root / name).write_bytes(content)
    whole.remove(np.load(root / "sub/5.npy").astype(np.float32).tobytes())
    np.save(root / "sub/5.npy", np.full((8, 8), np.inf))
    names = {*bad, "sub/5.npy"}
    with pytest.raises(ValueError, match=r"4 of 80 images .*discard them \(skip_bad\)") as error:
        read(root)
    assert all(name in str(error.value) for name in names)
    data = read(root, skip_bad=True)
    kept = {
        image.numpy().tobytes(): int(label)
        for s in SPLITS
        for image, label in zip(getattr(data, s).images, getattr(data, s).labels, strict=True)
    }
    assert set(kept) == whole
    for image, label in kept.items():
        assert any(
            np.load(f).astype(np.float32).tobytes() == image
            for f in (root / data.classes[label]).glob("*.npy")
            if f"{f.parent.name}/{f.name}" not in names
        )
    manifest = record(root)
    assert {entry.split(" (")[0] for entry in manifest["skipped"]} == names
    assert manifest["recognised"].split(";")[0].endswith("39/37 images, 8x8, float64, 4 bad left out")
    assert names.isdisjoint(where(root))


def test_bad_images_are_discarded_once_though_the_process_was_killed_after_it(
    tmp_path: Path, rng: np.random.Generator, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = tmp_path / "data"
    fill(root, 20, rng)
    (root / "no_sub" / "3.npy").write_bytes(b"")
    finish = folder.finish

    def killed(*args: object, **fields: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(folder, "finish", killed)
    with pytest.raises(KeyboardInterrupt):
        read(root, skip_bad=True)
    monkeypatch.setattr(folder, "finish", finish)
    data = read(root, skip_bad=True)
    parts = [getattr(data, split) for split in SPLITS]
    assert [len(part.images) for part in parts] == [len(part.labels) for part in parts]
    assert sum(map(len, parts)) == 39
    for part in parts:
        for image, label in zip(part.images, part.labels, strict=True):
            files = (root / data.classes[label]).glob("*.npy")
            assert any(
                f.stat().st_size and np.array_equal(np.load(f).astype(image.numpy().dtype), image[0]) for f in files
            )


def test_more_bad_images_than_a_line_holds_are_all_in_a_file(tmp_path: Path, rng: np.random.Generator) -> None:
    root = tmp_path / "data"
    fill(root, 30, rng)
    for i in range(25):
        (root / "sub" / f"{i}.npy").write_bytes(f"bad {i}".encode())
    with pytest.raises(ValueError, match=r"25 of 60 images .* and 5 more, all listed in .*\.bad\.txt") as error:
        read(root)
    listed = Path(str(error.value).split("all listed in ")[1].split(";")[0]).read_text().splitlines()
    assert {line.split(" (")[0] for line in listed} == {f"sub/{i}.npy" for i in range(25)}


def test_the_odd_one_is_at_fault_even_if_it_is_the_first(tmp_path: Path, rng: np.random.Generator) -> None:
    root = tmp_path / "data"
    fill(root, 20, rng)
    np.save(root / "no_sub" / "0.npy", rng.random((9, 9)))
    with pytest.raises(ValueError, match=r"1 of 40 images .* no_sub/0.npy \(1x9x9 float32\)"):
        read(root)


def test_a_class_lost_to_bad_images_is_refused(tmp_path: Path, rng: np.random.Generator) -> None:
    root = tmp_path / "data"
    for split in SPLITS:
        fill(root / split, 3, rng)
    for i in range(3):
        (root / "val" / "sub" / f"{i}.npy").write_bytes(f"bad {i}".encode())
    with pytest.raises(ValueError, match=r"without its bad images, val of .* lacks the class 'sub'"):
        read(root, skip_bad=True)


def test_a_source_with_every_option_is_rebuilt_from_its_record() -> None:
    source = Folder("/data", 64, 3, skip_bad=True, raw_shape=(1, 150, 150), raw_dtype="float32")
    assert source_from_dict(json.loads(json.dumps(source_to_dict(source)))) == source
    assert source_from_dict({"kind": "folder", "path": "/data"}) == Folder("/data")  # as older records have it


def test_a_disk_too_small_is_said_before_it_is_full(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"images need 4e\+06 GB and .* GB free; make room, or set NAS_CACHE"):
        allocate(tmp_path, "train", (1000, 1000, 1000, 1000 * 1000), np.dtype("f4"))
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("bad", range(0, 12, 2))
def test_a_split_that_loses_a_class_to_bad_images_is_drawn_again_without_them(
    tmp_path: Path, rng: np.random.Generator, bad: int
) -> None:
    root = tmp_path / "data"
    fill(root, 12, rng)
    (root / "sub" / f"{bad}.npy").write_bytes(b"bad")
    data = read(root, skip_bad=True)
    assert sum(len(getattr(data, split)) for split in SPLITS) == 23
    assert all(len(getattr(data, split).labels.unique()) == 2 for split in SPLITS)
