"""A worker on a machine that does not see the driver's folders: what travels, and what is refused before any trial."""

import dataclasses
import pickle
import re
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from test_trial import configurations, values

from nas.retraining.job import Retraining
from nas.retraining.training import train_and_test
from nas.searching.jobs import Job
from nas.workers import checkpoints, far
from nas.workers.greeting import Home, greet, own_modules
from nas.workers.training import Problem, resident
from nas.workers.trial import run_trial
from trainers.data import Arrays, from_arrays, opened, source_to_dict

SOURCE = Arrays("e2b6f81b9b35982a3a71")
DRIVER = Path("/proc/of-the-driver")  # the root of the driver's disk, which is not there in a worker and cannot be made


@pytest.fixture
def disk(tmp_path, monkeypatch):
    """The disk of the driver's machine, which holds a data set. The worker's own cache is empty."""
    monkeypatch.setattr(far, "_ask", None)
    monkeypatch.setattr(far, "_found", {})
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    monkeypatch.setenv("NAS_CACHE", str(tmp_path / "disk" / "cache"))
    images = np.random.default_rng(0).random((60, 16, 16), dtype=np.float32)
    assert from_arrays(images, np.arange(60) % 2) == SOURCE
    monkeypatch.setenv("NAS_CACHE", "/proc/not-of-this-machine")
    resident.cache_clear()
    (tmp_path / "disk" / "runs").mkdir()
    return tmp_path / "disk"


def asking(disk):
    """What a worker asks for is done on the disk of the driver, by a process that sees it."""

    def ask(function, *args):
        function, args = pickle.loads(pickle.dumps((function, args)))
        asked, far._ask = far._ask, None
        try:
            there = [
                disk / a.relative_to(DRIVER) if isinstance(a, Path) and a.is_relative_to(DRIVER) else a for a in args
            ]
            return pickle.loads(pickle.dumps(function(*there)))
        finally:
            far._ask = asked

    return ask


def home_of(disk):
    """The home of a driver that sees `disk` as its own."""
    (folder,) = (disk / "cache").glob("arrays-*")
    home = Home.of(disk / "runs" / "lock", opened(SOURCE, folder))
    there = str(DRIVER / folder.relative_to(disk))
    return dataclasses.replace(
        home, token=(str(DRIVER / "runs" / "lock"), home.token[1]), images=(there, home.images[1])
    )


@pytest.fixture
def problem(disk):
    """Of a worker that has been greeted, and has only the driver to ask for files."""
    home = home_of(disk)
    assert greet(home, asking(disk)) == ""
    assert not DRIVER.exists()
    data = source_to_dict(SOURCE)
    return Problem(data, "substructure", checkpoints=str(DRIVER / "checkpoints"), images=home.images[0])


def test_images_travel_once_and_are_not_made_again(problem, disk, monkeypatch):
    found = far.found(Path(problem.images))
    assert found != Path(problem.images)
    there = disk / Path(problem.images).relative_to(DRIVER)
    assert {f.name: f.read_bytes() for f in found.iterdir()} == {f.name: f.read_bytes() for f in there.iterdir()}

    def never(*args):
        raise AssertionError("it is here already")

    assert greet(home_of(disk), lambda function, *args: never() if function is far.part else None) == ""


def test_a_trial_goes_on_elsewhere_from_a_checkpoint_on_the_drivers_disk(problem, disk, monkeypatch):
    (config,) = configurations(1)
    whole = values(run_trial(Job(0, config, 0, 4), problem))
    assert len(whole) == 4
    low = values(run_trial(Job(1, config, 0, 2), problem))
    assert [file.name for file in (disk / "checkpoints").iterdir()] == ["1-2.pt"]
    assert low + values(run_trial(Job(1, config, 2, 4), problem)) == whole
    for epoch in (3, 4, 5):
        checkpoints.save(Path(problem.checkpoints), 7, {"epoch": epoch})
    assert checkpoints.epochs_of(disk / "checkpoints", 7) == [4, 5]
    assert checkpoints.newest(Path(problem.checkpoints), 7, at_most=4) == 4


def test_a_retraining_leaves_its_results_and_its_checkpoints_on_the_drivers_disk(problem, disk, tmp_path, monkeypatch):
    monkeypatch.setattr("nas.workers.checkpoints.EVERY", 0.0)
    monkeypatch.setattr("nas.workers.checkpoints.SHARE", 1.0)
    (config,) = configurations(1)
    job = Retraining(7, {**config, "seed": 3}, problem, "digest", str(DRIVER / "retrained"))
    killed = train_and_test(job)
    next(killed)
    killed.close()
    assert len(list((disk / "retrained" / "trial-7").glob(".*checkpoints/*"))) == 1
    rest = list(train_and_test(job))
    assert rest[0]["epoch"] == 2
    (results,) = (disk / "retrained" / "trial-7").iterdir()
    assert {file.name for file in results.iterdir()} == {"model.safetensors", "test.safetensors", "record.json"}


def test_an_error_of_the_drivers_disk_is_one_of_the_worker(problem):
    with pytest.raises(checkpoints.CheckpointFailed, match=r"cannot be read .*No such file"):
        checkpoints.load(Path(problem.checkpoints), 1, 2)


def test_a_worker_that_sees_the_folders_asks_for_nothing(disk, monkeypatch):
    (folder,) = (disk / "cache").glob("arrays-*")
    home = Home.of(disk / "runs" / "lock", opened(SOURCE, folder))
    asked = []
    assert greet(home, lambda *call: asked.append(call)) == ""
    checkpoints.save(disk / "checkpoints", 1, {"epoch": 2, "w": torch.ones(1)})
    assert checkpoints.load(disk / "checkpoints", 1, 2)["w"] == 1
    assert asked == []


def test_images_on_a_shared_disk_are_copied_once_to_the_nodes_own_if_it_names_one(disk, tmp_path, monkeypatch):
    (folder,) = (disk / "cache").glob("arrays-*")
    home = Home.of(disk / "runs" / "lock", opened(SOURCE, folder))
    monkeypatch.setenv("NAS_NODE_CACHE", str(tmp_path / "scratch"))
    asked = []
    assert greet(home, lambda *call: asked.append(call)) == ""
    found = far.found(folder)
    assert found == tmp_path / "scratch" / folder.name
    assert {f.name: f.read_bytes() for f in found.iterdir()} == {f.name: f.read_bytes() for f in folder.iterdir()}
    assert asked == [], "the shared disk is read, not the driver's machine"
    written = {f: f.stat().st_mtime_ns for f in found.iterdir()}
    assert greet(home, lambda *call: asked.append(call)) == ""
    assert {f: f.stat().st_mtime_ns for f in found.iterdir()} == written
    assert far._ask is None, "checkpoints go to the folder of the runs, which is seen"
    (config,) = configurations(1)
    problem = Problem(source_to_dict(SOURCE), "substructure", checkpoints=str(disk / "c"), images=str(folder))
    assert resident.cache_info().currsize == 0
    assert len(values(run_trial(Job(0, config, 0, 4), problem))) == 4
    monkeypatch.setenv("NAS_NODE_CACHE", "/proc/no-such-disk")
    assert greet(home, lambda *call: asked.append(call)) == "", "the shared one serves as well"
    assert far.found(folder) == folder


def test_images_travel_to_the_nodes_own_disk_where_the_drivers_is_not_seen(disk, tmp_path, monkeypatch):
    monkeypatch.setenv("NAS_NODE_CACHE", str(tmp_path / "scratch"))
    home = home_of(disk)
    assert greet(home, asking(disk)) == ""
    assert far.found(Path(home.images[0])) == tmp_path / "scratch" / Path(home.images[0]).name


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"versions": {"torch": "0.1"}}, "it has torch .* and not 0.1"),
        ({"code": "of another commit"}, "is not that of the driver's machine: bring it to the same commit"),
        ({"modules": {"a_mixer_of_mine": ""}}, "it has no module a_mixer_of_mine: share its folder"),
        ({"digest": "of other images"}, "the images in .* are not those of the driver's machine: remove that folder"),
    ],
)
def test_a_machine_that_is_not_like_the_drivers_is_refused_in_one_line(disk, change, said):
    home = home_of(disk)
    change = {"images": (home.images[0], change["digest"])} if "digest" in change else change
    (reason,) = greet(dataclasses.replace(home, **change), asking(disk)).splitlines()
    assert re.search(said, reason)


def test_modules_of_the_users_own_are_known(tmp_path, monkeypatch):
    (tmp_path / "a_mixer_of_mine.py").write_text("")
    monkeypatch.syspath_prepend(tmp_path)
    assert "a_mixer_of_mine" not in own_modules()
    import a_mixer_of_mine

    assert "a_mixer_of_mine" in own_modules()
    assert not {"torch", "numpy", "nas", "json", "sysconfig"} & set(own_modules())
    del sys.modules["a_mixer_of_mine"], a_mixer_of_mine


def test_a_stale_copy_of_a_users_module_is_refused_by_name(disk, tmp_path, monkeypatch):
    def copies(folder, depth):
        (folder / "tasks_of_mine").mkdir(parents=True)
        (folder / "a_mixer_of_mine.py").write_text("")
        (folder / "tasks_of_mine" / "__init__.py").write_text("")
        (folder / "tasks_of_mine" / "deep.py").write_text(f"DEPTH = {depth}")
        return folder

    with monkeypatch.context() as driver:
        driver.syspath_prepend(copies(tmp_path / "driver", 3))
        driver.setattr("nas.workers.greeting.own_modules", lambda: ("a_mixer_of_mine", "tasks_of_mine"))
        home = dataclasses.replace(home_of(disk), import_path=())
    for node, depth, said in (("same", 3, ""), ("stale", 2, "its module tasks_of_mine is not that of the driver")):
        with monkeypatch.context() as worker:
            worker.syspath_prepend(copies(tmp_path / node, depth))
            reason = greet(home, asking(disk))
        assert said in reason
        assert bool(said) == bool(reason)


@pytest.mark.parametrize("there", [None, "of another training"])
def test_weights_that_a_worker_does_not_have_are_refused_by_name(disk, tmp_path, there):
    weights = tmp_path / "resnet18.pth"
    weights.write_text("of the driver")
    (folder,) = (disk / "cache").glob("arrays-*")
    home = Home.of(disk / "runs" / "lock", opened(SOURCE, folder), [str(weights)])
    assert greet(home, asking(disk)) == ""
    weights.unlink()
    if there:
        weights.write_text(there)
    assert greet(home, asking(disk)).startswith(f"it has no {weights} as on the driver's machine: copy it")


@pytest.mark.parametrize("left", [b"", b"PK\x03\x04 and no end", bytes(500)])
def test_a_checkpoint_that_a_power_cut_left_without_contents_is_none(tmp_path, left):
    for epoch in (2, 4):
        checkpoints.save(tmp_path, 1, {"epoch": epoch, "w": torch.ones(1)})
    (tmp_path / "1-4.pt").write_bytes(left)
    assert checkpoints.newest(tmp_path, 1, at_most=6) == 2
    assert checkpoints.load(tmp_path, 1, 2)["epoch"] == 2
