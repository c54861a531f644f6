"""The cache with real processes: started at once, and killed half way."""

import fcntl
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from trainers.data import Simulated, load
from trainers.data.cache import allocate, cached

ROOT = Path(__file__).resolve().parents[1]
SIMULATE = (
    "import sys; from pathlib import Path; from trainers.data import Simulated, load; "
    "load(Simulated(images=240), progress=False, cache=Path(sys.argv[1]))"
)
BUILD_SLOWLY = """
import os, sys, time
from pathlib import Path
from trainers.data.cache import allocate, cached

def build(folder):
    with open(sys.argv[2], "a") as log:
        log.write(f"{os.getpid()}\\n")
    (folder / "first").write_text("half")
    time.sleep(1)
    (folder / "second").write_text("whole")

folder = cached("slow", {}, build, Path(sys.argv[1]))
print((folder / "first").read_text() + (folder / "second").read_text())
"""


def start(code: str, *arguments: Path) -> subprocess.Popen:
    return subprocess.Popen(
        [sys.executable, "-c", code, *map(str, arguments)], cwd=ROOT, stdout=subprocess.PIPE, text=True
    )


def visible(root: Path) -> list[str]:
    return sorted(path.name for path in root.iterdir() if not path.name.startswith("."))


def test_of_two_processes_one_builds_and_both_read_the_whole(tmp_path: Path) -> None:
    log = tmp_path / "log"
    both = [start(BUILD_SLOWLY, tmp_path / "cache", log) for _ in range(2)]
    assert [process.communicate(timeout=60)[0].strip() for process in both] == ["halfwhole"] * 2
    assert len(log.read_text().splitlines()) == 1
    assert len(visible(tmp_path / "cache")) == 1


def test_a_process_killed_half_way_leaves_nothing_that_is_read(tmp_path: Path) -> None:
    victim = start(SIMULATE, tmp_path / "cache")
    deadline = time.monotonic() + 60
    while not list((tmp_path / "cache").glob(".*.building/train.images.npy")):
        assert victim.poll() is None, "finished before it could be killed"
        assert time.monotonic() < deadline
        time.sleep(0.005)
    os.kill(victim.pid, signal.SIGKILL)
    victim.communicate()
    assert visible(tmp_path / "cache") == []
    after = load(Simulated(images=240), progress=False, cache=tmp_path / "cache")
    undisturbed = load(Simulated(images=240), progress=False, cache=tmp_path / "other")
    assert torch.equal(after.train.images, undisturbed.train.images)
    assert torch.equal(after.test.labels, undisturbed.test.labels)
    assert not list((tmp_path / "cache").glob(".*.building"))


def test_a_process_that_waits_takes_over_from_one_that_is_killed(tmp_path: Path) -> None:
    log = tmp_path / "log"
    victim, heir = start(BUILD_SLOWLY, tmp_path / "cache", log), start(BUILD_SLOWLY, tmp_path / "cache", log)
    deadline = time.monotonic() + 60
    while not log.exists() or not log.read_text().endswith("\n"):
        assert time.monotonic() < deadline
        time.sleep(0.005)
    if int(log.read_text()) == heir.pid:
        victim, heir = heir, victim
    os.kill(victim.pid, signal.SIGKILL)
    victim.communicate()
    assert heir.communicate(timeout=60)[0].strip() == "halfwhole"
    assert log.read_text().split() == [str(victim.pid), str(heir.pid)]


def test_a_failed_build_leaves_nothing_and_can_be_repeated(tmp_path: Path) -> None:
    def fail(folder: Path) -> None:
        (folder / "part").write_text("")
        raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        cached("data", {"a": 1}, fail, tmp_path)
    assert visible(tmp_path) == []
    folder = cached("data", {"a": 1}, lambda folder: (folder / "whole").touch(), tmp_path)
    assert visible(folder) == ["whole"]


def test_whoever_waits_for_a_build_that_fails_builds_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The first fails, and removes the lock, while the second waits for it; the third comes while the second builds."""
    waiting, building, third_waits = threading.Event(), threading.Event(), threading.Event()
    calls = []

    def flock(held: int, how: int, real: Callable[[int, int], None] = fcntl.flock) -> None:
        calls.append(held)
        if len(calls) == 2:
            waiting.set()
        if len(calls) > 2 and building.is_set():
            third_waits.set()
        real(held, how)

    def fail(folder: Path) -> None:
        second.start()
        assert waiting.wait(20)
        time.sleep(0.05)  # until it waits for the lock
        raise OSError("disk full")

    def build(folder: Path) -> None:
        building.set()
        third.start()
        assert third_waits.wait(20)
        assert not third_done.wait(0.1), "it must not build, or take the half for the whole"
        (folder / "whole").touch()

    def come_third() -> None:
        cached("data", {}, lambda folder: pytest.fail("built at once"), tmp_path)
        third_done.set()

    third_done = threading.Event()
    second = threading.Thread(target=cached, args=("data", {}, build, tmp_path), daemon=True)
    third = threading.Thread(target=come_third, daemon=True)
    monkeypatch.setattr("fcntl.flock", flock)
    with pytest.raises(OSError, match="disk full"):
        cached("data", {}, fail, tmp_path)
    assert third_done.wait(20)
    assert [path.name for folder in tmp_path.glob("data-*") for path in folder.iterdir()] == ["whole"]


def test_a_second_load_maps_the_same_files_and_simulates_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = Simulated(images=60, image_size=16)
    first = load(source, progress=False, cache=tmp_path)
    monkeypatch.setattr("trainers.data.loading.write_simulation", lambda *a, **k: pytest.fail("simulated again"))
    second = load(source, progress=False, cache=tmp_path)
    assert torch.equal(first.train.images, second.train.images)
    first.train.images[:] = -1  # a private view: neither the file nor another reader sees it
    assert torch.equal(second.train.images, load(source, progress=False, cache=tmp_path).train.images)
    assert second.train.images.min() != -1


@pytest.mark.parametrize(
    "other",
    [
        Simulated(images=61, image_size=16),
        Simulated(images=60, image_size=17),
        Simulated(images=60, image_size=16, seed=1),
        Simulated(images=60, image_size=16, snr=39.0),
        Simulated(images=60, image_size=16, preset="varied"),
    ],
)
def test_every_parameter_has_its_own_cache(tmp_path: Path, other: Simulated) -> None:
    for source in (Simulated(images=60, image_size=16), other):
        load(source, progress=False, cache=tmp_path)
    assert len(visible(tmp_path)) == 2


def test_the_manifest_says_what_is_in_the_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NAS_CACHE", str(tmp_path))
    data = load(Simulated(images=60, image_size=16), progress=False)
    (folder,) = (tmp_path / name for name in visible(tmp_path))
    manifest = json.loads((folder / "manifest.json").read_text())
    assert tuple(manifest["classes"]) == data.classes
    for name in ("train", "val", "test"):
        split = getattr(data, name)
        assert tuple(manifest["images"][name]["shape"]) == tuple(split.images.shape)
        assert manifest["images"][name]["per_class"] == split.labels.bincount(minlength=3).tolist()
        assert np.load(folder / f"{name}.images.npy", mmap_mode="r").dtype == manifest["images"][name]["dtype"]
    assert manifest["population"]["snr"] == 40.0
    assert data.describe() == (
        "simulated fair: 3 classes (axion, cdm, no_sub), 42/9/9 images to train/validate/test, 1x16x16 float32, "
        "targets axion_mass, einstein_radius, mass_fraction"
    )


def test_first_use_says_one_plain_line_where_there_is_no_terminal(tmp_path: Path, capfd: pytest.CaptureFixture) -> None:
    load(Simulated(images=21, image_size=16), cache=tmp_path)
    assert capfd.readouterr() == ("", "Simulating 21 lenses (fair)\n")
    load(Simulated(images=21, image_size=16), cache=tmp_path)
    assert capfd.readouterr() == ("", "")


def test_three_splits_that_fit_a_disk_one_by_one_but_not_together_are_refused(tmp_path: Path) -> None:
    """A map of a sparse file would be written to until the disk is full, and the process killed."""
    mount = ["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", str(tmp_path)]
    if shutil.which("mount") is None or subprocess.run(mount, capture_output=True).returncode:
        pytest.skip("only root can mount a small disk")
    try:
        maps = [allocate(tmp_path, "train", (200, 1, 64, 64), np.dtype("f4"))]
        with pytest.raises(ValueError, match=r"the val images need 0.00.* GB free; make room, or set NAS_CACHE"):
            maps += [allocate(tmp_path, split, (60, 1, 64, 64), np.dtype("f4")) for split in ("val", "test")]
        for pixels in maps:
            pixels[:] = 1.0
    finally:
        del maps
        subprocess.run(["umount", "-l", str(tmp_path)], check=True)
