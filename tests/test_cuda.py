"""What only a GPU can show, by `pytest --gpu tests/test_cuda.py`. test_cuda_paths.py has what fakes can show."""

import json
import os
import subprocess
import sys
import warnings

import pytest
import torch
import torch.nn.functional as F
from test_fit import ALL as EVERY_AUGMENTATION
from test_fit import bars, last, network
from test_model import ALL as MIXERS
from test_model import options

from nas.errors import UserError
from nas.workers.failures import crowded_out, describe_failure, lost_device
from nas.workers.training import resident
from search_space import Hybrid, Stage, build_model
from trainers import tasks
from trainers.config import NO_AUGMENTATION, OPTIMISERS, TrainConfig
from trainers.data import Dataset, Simulated, source_to_dict
from trainers.evaluate import outputs
from trainers.fit import fit

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU, and --gpu")

DATA = Dataset("bars", ("across", "upright"), bars(96), bars(40, 1), bars(40, 2))
TASK = tasks.create("substructure", DATA)


@pytest.fixture
def float32(monkeypatch):
    """Without TF32, which keeps ten bits of each factor."""
    monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", False)


def of(mixer, variant):
    torch.manual_seed(0)
    stages = (Stage(mixer, 2, 32, 1.0, options=options(variant)),)
    return build_model(Hybrid(stages, patch=2, position="fixed_2d"), in_chans=1, image_size=16, num_outputs=2)


@pytest.mark.parametrize(("mixer", "variant"), MIXERS)
def test_every_mixer_computes_on_a_gpu_what_it_computes_on_a_cpu(float32, mixer, variant):
    model = of(mixer, variant)
    images, labels = DATA.train.images[:], DATA.train.labels
    slopes = {}
    for device in ("cpu", "cuda"):
        model.to(device).zero_grad()
        out = model(images.to(device))
        F.cross_entropy(out, labels.to(device)).backward()
        slopes[device] = [out.detach().cpu(), *(p.grad.cpu().clone() for p in model.parameters())]
    for here, there in zip(slopes["cpu"], slopes["cuda"], strict=True):
        assert torch.linalg.vector_norm(there - here) < 1e-3 * torch.linalg.vector_norm(here) + 1e-6


@pytest.mark.parametrize("large", [False, True])
@pytest.mark.parametrize(("mixer", "variant"), MIXERS)
def test_every_mixer_learns_on_a_gpu_and_predicts_the_same_on_a_cpu(float32, monkeypatch, mixer, variant, large):
    monkeypatch.setattr("trainers.fit.LARGE", 0 if large else 10**9)  # in bfloat16 or in TF32
    model = of(mixer, variant)
    config = TrainConfig(epochs=30, batch_size=32, learning_rate=3e-3, augmentation=NO_AUGMENTATION)
    epoch = last(fit(model, DATA.train, TASK, config, seed=0, val=DATA.val, device="cuda"))
    assert epoch.metrics["train_loss"] < 0.6  # that of guessing is 0.69
    how = {"normalisation": "zscore"}
    there = outputs(model, DATA.val.images, device="cuda", **how)
    here = outputs(model.cpu(), DATA.val.images, device="cpu", **how)
    assert torch.allclose(there, here, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("place", ["cpu", "cuda"])
@pytest.mark.parametrize("optimiser", OPTIMISERS)
def test_a_training_waits_for_the_gpu_once_an_epoch(optimiser, place):
    """Each wait leaves the GPU idle until the processor has queued the next kernels."""
    train = DATA.train.to(place)
    config = TrainConfig(epochs=3, batch_size=8, optimiser=optimiser, ema=1.0, augmentation=EVERY_AUGMENTATION)
    training = fit(network(), train, TASK, config, seed=0, device="cuda")
    next(training)  # the first epoch allocates
    torch.cuda.set_sync_debug_mode("warn")
    try:
        with warnings.catch_warnings(record=True) as waits:
            warnings.simplefilter("always")
            next(training)
    finally:
        torch.cuda.set_sync_debug_mode("default")
    said = [f"{w.filename}:{w.lineno}" for w in waits if "synchroniz" in str(w.message)]
    assert len(said) <= 3, said  # twelve steps


def test_a_training_goes_on_from_its_state_on_the_other_device():
    config = TrainConfig(epochs=4, batch_size=32, ema=1.0, augmentation=NO_AUGMENTATION)
    training = fit(network(), DATA.train, TASK, config, seed=0, device="cuda")
    for _ in range(2):
        state = next(training).state()
    again = last(fit(network(1), DATA.train, TASK, config, seed=0, val=DATA.val, device="cpu", state=state))
    assert again.number == 4
    assert again.metrics["train_loss"] < 0.7


@pytest.mark.parametrize("share", [1.0, 0.25])
def test_images_are_copied_to_a_gpu_that_has_room_for_them(tmp_path, monkeypatch, share):
    monkeypatch.setenv("NAS_CACHE", str(tmp_path))
    source = json.dumps(source_to_dict(Simulated(images=60, image_size=16)))
    try:
        data = resident.__wrapped__(source, "", "cuda", share)
        assert data.train.images.device.type == "cuda"
        limit = share * torch.cuda.mem_get_info()[1]
        with pytest.raises(torch.OutOfMemoryError) as failure:
            torch.empty(int(limit) + 2**30, dtype=torch.uint8, device="cuda")
        assert describe_failure(failure.value).startswith("out of memory: CUDA out of memory")
        assert not crowded_out(failure.value), "it asked for more than its share"
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0)


def in_a_process(code):
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120, check=False).stdout


def test_memory_that_another_process_holds_is_not_what_a_network_needs():
    """This process leaves its neighbour two gigabytes, and the neighbour asks for three of a share of half the GPU."""
    code = (
        "import torch\nfrom nas.workers.failures import crowded_out\n"
        "torch.cuda.set_per_process_memory_fraction(0.5)\n"
        "try:\n    torch.empty(3 * 2**30, dtype=torch.uint8, device='cuda')\n"
        "except torch.OutOfMemoryError as error:\n    print(error)\n    print(crowded_out(error))\n"
    )
    free, total = torch.cuda.mem_get_info()
    if min(free, total / 2) < 4 * 2**30:
        pytest.skip("needs a GPU of 8 GB that is free")
    ballast = torch.empty(free - 2 * 2**30, dtype=torch.uint8, device="cuda")
    printed = in_a_process(code)
    del ballast
    torch.cuda.empty_cache()
    assert printed.splitlines()[-1:] == ["True"], printed


def test_a_worker_knows_that_its_gpu_answers_no_more():
    code = (
        "import torch\nfrom nas.workers.failures import lost_device\n"
        "try:\n    torch.zeros(4, device='cuda')[torch.tensor([9], device='cuda')].cpu()\n"
        "except Exception as error:\n    print(lost_device(error))\n"
    )
    assert in_a_process(code).split() == ["True"]
    assert not lost_device(UserError("anything else"))


@pytest.mark.slow
def test_a_search_shares_a_gpu_and_its_winner_is_trained_again_on_it(tmp_path):
    """The commands of a person with one GPU."""
    import optuna

    import nas

    def run(command, *words):
        line = [sys.executable, "-m", command, "--study", "hybrid", "--runs", str(tmp_path / "runs"), *words]
        done = subprocess.run(line, capture_output=True, text=True, timeout=600, check=False, env=environment)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    one = os.environ.get("CUDA_VISIBLE_DEVICES", "0").split(",")[0]
    environment = {**os.environ, "NAS_CACHE": str(tmp_path / "cache"), "CUDA_VISIBLE_DEVICES": one}
    share = ["--gpus-per-trial", "0.25", "--workers", "4"]
    words = ["--trials", "8", "--images", "400", "--image-size", "32", "--epochs", "4", *share]
    assert "search 4 workers on cuda" in run("nas.run", *words)
    database = tmp_path / "runs" / "hybrid" / "study.db"
    trials = optuna.load_study(study_name=None, storage=f"sqlite:///{database}").trials
    assert {trial.state.name for trial in trials} <= {"COMPLETE", "PRUNED"}
    run("nas.retrain", "--top-k", "1", "--seeds", "2", "--no-baselines", *share)
    best = tmp_path / "runs" / "hybrid" / "models" / "best"
    images = bars(12).images[:].repeat_interleave(2, 2).repeat_interleave(2, 3)
    here, there = (nas.load_model(best, device=device).predict(images).probabilities for device in ("cpu", "cuda"))
    assert torch.allclose(here, there, atol=1e-2)
