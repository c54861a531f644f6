"""One trial in a worker: a pure function of its job, whatever the warm process did before."""

import gc
import json
from dataclasses import replace
from pathlib import Path

import optuna
import pytest
import torch
from optuna.samplers import RandomSampler

import studies
from nas.searching.jobs import Job
from nas.workers import checkpoints
from nas.workers.failures import crowded_out, describe_failure
from nas.workers.training import Problem, resident
from nas.workers.trial import run_trial
from search_space.model import HybridNet
from trainers.data import Simulated, Split, source_to_dict

SPEC = replace(studies.load("hybrid"), epochs=4, min_epochs=2, data=Simulated(images=60, image_size=16))


@pytest.fixture
def problem(tmp_path, monkeypatch):
    monkeypatch.setenv("NAS_CACHE", str(tmp_path / "cache"))
    return Problem(source_to_dict(SPEC.data), "substructure", checkpoints=str(tmp_path / "checkpoints"))


def configurations(count):
    study = optuna.create_study(sampler=RandomSampler(seed=0))
    return [SPEC.sample(study.ask()).to_dict() for _ in range(count)]


def values(epochs):
    return [{k: v for k, v in e.metrics.items() if k not in ("seconds", "peak_memory_mb")} for e in epochs]


def test_a_trial_does_not_depend_on_what_its_worker_did_before(problem):
    one, other = configurations(2)
    first = values(run_trial(Job(0, one, 0, 4), problem))
    list(run_trial(Job(1, other, 0, 4), problem))
    torch.manual_seed(12345)
    assert values(run_trial(Job(2, one, 0, 4), problem)) == first
    assert len(first) == 4


def test_a_promoted_trial_goes_on_as_if_it_had_never_paused(problem, tmp_path):
    (config,) = configurations(1)
    whole = values(run_trial(Job(0, config, 0, 4), problem))
    low = values(run_trial(Job(1, config, 0, 2), problem))
    assert checkpoints.epochs_of(tmp_path / "checkpoints", 1) == [2]
    assert low + values(run_trial(Job(1, config, 2, 4), problem)) == whole
    assert not checkpoints.epochs_of(tmp_path / "checkpoints", 0), "nothing is kept of a full training"


def test_a_trial_keeps_its_last_minutes_and_goes_on_from_them_number_for_number(problem, tmp_path, monkeypatch):
    (config,) = configurations(1)
    whole = list(run_trial(Job(0, config, 0, 4), problem))
    assert not any(epoch.saved for epoch in whole), "these epochs take a fraction of a second"
    monkeypatch.setattr(checkpoints, "EVERY", 0.0)
    killed = run_trial(Job(1, config, 0, 4), problem)
    first = [next(killed) for _ in range(3)]
    killed.close()
    assert first[0].saved
    kept = checkpoints.epochs_of(tmp_path / "checkpoints", 1)
    assert kept == [1], "saving takes a hundredth of the time, so there was no time for another"
    rest = run_trial(Job(1, config, 1, 4), problem)
    assert values(first[:1]) + values(rest) == values(whole)


def networks():
    gc.collect()
    return sum(type(thing) is HybridNet for thing in gc.get_objects())


def test_no_network_outlives_its_trial(problem):
    """A worker takes as many epochs as its job has, then closes it."""
    for number, config in enumerate(configurations(3)):
        epochs = run_trial(Job(number, config, 0, 2), problem)
        next(epochs)
        assert networks() == 1
        next(epochs)
        epochs.close()
        assert networks() == 0


@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="peaks are reset on Linux only")
def test_peak_memory_is_that_of_the_trial_not_of_the_process(problem):
    (config,) = configurations(1)
    list(run_trial(Job(0, config, 0, 1), problem))  # imports and data
    ballast = torch.ones(150_000_000)  # 600 MB
    during = [epoch.metrics["peak_memory_mb"] for epoch in run_trial(Job(0, config, 0, 2), problem)]
    del ballast
    after = [epoch.metrics["peak_memory_mb"] for epoch in run_trial(Job(0, config, 0, 2), problem)]
    assert min(during) - max(after) > 300


def test_an_interrupted_write_leaves_the_former_checkpoint(tmp_path, monkeypatch):
    checkpoints.save(tmp_path, 7, {"epoch": 2, "model": {"w": torch.ones(3)}})

    def full_disk(state, path):
        path.write_bytes(b"half")
        raise OSError("No space left on device")

    monkeypatch.setattr(torch, "save", full_disk)
    with pytest.raises(checkpoints.CheckpointFailed, match=r"No space left on device; .* MB free"):
        checkpoints.save(tmp_path, 7, {"epoch": 6})
    assert checkpoints.epochs_of(tmp_path, 7) == [2]
    assert [path.name for path in tmp_path.iterdir()] == ["7-2.pt"], "a half file would keep the disk full"
    assert checkpoints.load(tmp_path, 7, 2)["model"]["w"].tolist() == [1, 1, 1]
    checkpoints.remove(tmp_path, 7)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("error", "says"),
    [
        (
            torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB\nmore"),
            "out of memory: CUDA out of memory",
        ),
        (MemoryError(), "out of memory"),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried"), "out of memory"),
        (FloatingPointError("the training loss is nan at epoch 2"), "FloatingPointError: the training loss is nan"),
    ],
)
def test_a_failure_is_described_in_one_line(error, says):
    described = describe_failure(error)
    assert described.startswith(says)
    assert "\n" not in described


GB = 2**30


class Gpu:
    """A GPU that is not there: how much it holds, what was asked of it, and whether there is room just now."""

    def __init__(self, monkeypatch, total=24 * GB, full=False):
        self.fractions, self.copied, self.full = [], 0, full
        monkeypatch.setattr(torch.cuda, "mem_get_info", lambda: (total // 10, total))
        monkeypatch.setattr(torch.cuda, "set_per_process_memory_fraction", self.fractions.append)
        monkeypatch.setattr(torch.cuda, "empty_cache", lambda: None)
        monkeypatch.setattr(Split, "to", lambda split, device: self.copy(split, device))

    def copy(self, split, device):
        if self.full:
            raise torch.OutOfMemoryError("CUDA out of memory")
        self.copied += 1
        return split


@pytest.mark.parametrize(
    ("gpus", "data", "full", "copied"),
    [
        (1.0, 5 * GB, False, True),
        (0.5, 5 * GB, False, True),
        (0.25, 5 * GB, False, False),  # its half of a quarter is 3 GB, however much is free
        (1.0, 13 * GB, False, False),
        (1.0, 5 * GB, True, False),  # a neighbour holds the memory: the data stays where it is
    ],
)
def test_data_goes_to_a_gpu_only_into_half_of_the_workers_share(monkeypatch, tmp_path, gpus, data, full, copied):
    monkeypatch.setenv("NAS_CACHE", str(tmp_path / "cache"))
    gpu = Gpu(monkeypatch, full=full)
    monkeypatch.setattr(Split, "nbytes", property(lambda split: data // 2))
    found = resident.__wrapped__(json.dumps(source_to_dict(SPEC.data)), "", "cuda", gpus)
    assert gpu.fractions == [gpus]
    assert gpu.copied == 2 * copied
    assert len(found.train) == 42


@pytest.mark.parametrize(
    ("tried", "allowed", "crowded"), [("2.00 GiB", "6.00 GiB", True), ("2.50 GiB", "6.00 GiB", False)]
)
def test_memory_that_others_have_taken_is_not_what_a_network_needs(tried, allowed, crowded):
    """In the words of torch 2.14 (libc10_cuda); 3.5 GiB and 512 MiB are this process's own."""
    said = (
        f"CUDA out of memory. Tried to allocate {tried}. GPU 0 has a total capacity of 23.68 GiB of which 1.00 GiB is "
        f"free. Including non-PyTorch memory, this process has 4.41 GiB memory in use. {allowed} allowed; Of the "
        "allocated memory 3.50 GiB is allocated by PyTorch, and 512.00 MiB is reserved by PyTorch but unallocated."
    )
    assert crowded_out(torch.OutOfMemoryError(said)) == crowded
    assert not crowded_out(torch.OutOfMemoryError(said.replace(f"{allowed} allowed; ", "")))
    assert not crowded_out(RuntimeError(said))


def test_what_is_saved_is_kept_beside_later_checkpoints_of_a_training_given_up(tmp_path):
    """As after other images have taken the place of those that it was begun with."""
    for epoch in (50, 51, 5, 6, 7):
        checkpoints.save(tmp_path, 7, {"epoch": epoch})
    assert checkpoints.epochs_of(tmp_path, 7) == [6, 7]
