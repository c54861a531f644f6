"""What only a GPU sees, tried without one: fake CUDA tensors, which know shapes and devices but hold no numbers."""

import gc
import weakref
from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch
from test_fit import ALL, bars, network
from torch import nn
from torch._subclasses.fake_tensor import FakeTensorMode

from trainers import tasks
from trainers.batch.augment import augment
from trainers.batch.mixing import mix_batch
from trainers.batch.normalise import normalise, resolve
from trainers.config import NO_AUGMENTATION, TrainConfig
from trainers.data import Dataset, Split, joined
from trainers.evaluate import outputs
from trainers.fit import autocast, fit, tf32, to_device


def gpu(monkeypatch, *, bfloat16):
    """Make torch believe in a GPU that computes bfloat16, or only emulates it."""
    monkeypatch.setattr("torch.cuda.amp.common.amp_definitely_not_available", lambda: False)
    monkeypatch.setattr(
        "torch.cuda.is_bf16_supported", lambda including_emulation=True: bfloat16 or including_emulation
    )


class Look(nn.Module):
    """Notes the device and the precision in which it is asked."""

    def __init__(self):
        super().__init__()
        self.linear = nn.Linear(64, 2, device="cuda")
        self.seen = []

    def forward(self, x):
        self.seen.append((x.device.type, torch.is_autocast_enabled("cuda")))
        return self.linear(x.flatten(1))


def test_a_network_is_evaluated_in_float32_on_a_gpu_too(monkeypatch):
    gpu(monkeypatch, bfloat16=True)
    with FakeTensorMode():
        model = Look()
        found = outputs(model, torch.rand(10, 1, 8, 8), normalisation="zscore", device="cuda", batch_size=4)
    assert model.seen == [("cuda", False)] * 3
    assert (found.dtype, found.device.type, tuple(found.shape)) == (torch.float32, "cpu", (10, 2))


@pytest.mark.parametrize(("native", "large"), [(True, True), (True, False), (False, True)])
def test_training_is_in_bfloat16_only_for_large_networks_on_gpus_that_compute_it(monkeypatch, native, large):
    gpu(monkeypatch, bfloat16=native)
    monkeypatch.setattr("trainers.fit.LARGE", 64 * 2 + 2 if large else 64 * 2 + 3)
    with FakeTensorMode():
        model = Look()
        with autocast(torch.device("cuda"), model):
            model(torch.rand(4, 64, device="cuda"))
        assert model.seen == [("cuda", native and large)]
    with autocast(torch.device("cpu"), model):
        assert not torch.is_autocast_enabled("cpu")


def test_only_on_a_gpu_are_matrices_multiplied_in_tf32_and_what_was_set_comes_back():
    def allowed():
        products = torch.backends.cuda.matmul
        return products.fp32_precision if hasattr(products, "fp32_precision") else products.allow_tf32

    before, found = allowed(), {}
    for device in ("cuda", "cpu"):
        with tf32(torch.device(device)):
            found[device] = allowed()
    assert found["cuda"] in ("tf32", True)
    assert found["cpu"] == before
    with pytest.raises(KeyError), tf32(torch.device("cuda")):
        raise KeyError
    assert allowed() == before


def test_what_makes_training_fast_holds_for_its_steps_and_not_for_its_evaluation(monkeypatch):
    inside, seen = [], []
    monkeypatch.setattr("trainers.fit.tf32", lambda device: Noting("tf32", inside))
    monkeypatch.setattr("trainers.fit.autocast", lambda device, model: Noting("autocast", inside))
    model = network()
    model.register_forward_hook(lambda module, *_: seen.append((module.training, tuple(sorted(inside)))))
    data = Dataset("bars", ("across", "upright"), bars(32), bars(8, 1), bars(8, 2))
    task, config = tasks.create("substructure", data), TrainConfig(epochs=2, augmentation=NO_AUGMENTATION)
    for _ in fit(model, data.train, task, config, seed=0, val=data.val):
        assert inside == []
    assert {training: now for training, now in seen} == {True: ("autocast", "tf32"), False: ()}
    assert len(set(seen)) == 2


class Noting:
    """A context that notes where one is. It can be entered again, as torch's autocast can."""

    def __init__(self, name, inside):
        self.name, self.inside = name, inside

    def __enter__(self):
        self.inside.append(self.name)

    def __exit__(self, *error):
        self.inside.remove(self.name)


def split(n, device):
    return Split(torch.rand(n, 1, 8, 8, device=device), torch.zeros(n, dtype=torch.int64, device=device), {})


def test_images_of_joined_and_chosen_splits_are_gathered_on_a_gpu_without_waiting_for_it():
    """A mask would ask the GPU how many images it picks; fake tensors refuse that as data-dependent."""
    with FakeTensorMode():
        rows = torch.arange(3, device="cuda")
        both = joined(joined(split(5, "cuda").rows(rows), split(4, "cuda")), split(2, "cuda"))
        batch = both.images[torch.arange(9, device="cuda")]
        assert (batch.device.type, tuple(batch.shape)) == ("cuda", (9, 1, 8, 8))
        assert both.images[2:7].shape == (5, 1, 8, 8)


@pytest.mark.parametrize("scope", ["image", "global"])
@pytest.mark.parametrize("name", ["substructure", "axion_mass_sigma"])
def test_a_batch_is_prepared_and_judged_on_a_gpu_without_waiting_for_it(monkeypatch, name, scope):
    """Every number that the processor would have to read from the GPU is refused as data-dependent."""
    monkeypatch.setattr("torch._sample_dirichlet", torch.rand_like)  # which has no fake
    known = replace(bars(12), targets={"axion_mass": torch.rand(12, dtype=torch.float64)})
    data = Dataset("bars", ("across", "upright"), known, known, known)
    task, config = tasks.create(name, data), TrainConfig(normalisation="asinh", normalisation_scope=scope)
    how = resolve(config, data.train.images)
    with FakeTensorMode():
        x, y = torch.rand(6, 1, 16, 16, device="cuda"), torch.zeros(6, dtype=torch.int64, device="cuda")
        y = y if task.classifies else y.double()[:, None]
        x, aims = mix_batch(augment(normalise(x, how), ALL), y, torch.rand(6, device="cuda"), ALL)
        outputs = nn.Linear(256, task.num_outputs, device="cuda")(x.flatten(1))
        loss = sum(task.loss(outputs, aim, 0.1, weight) for aim, weight in aims)
        assert (loss.device.type, len(aims)) == ("cuda", 2)


@pytest.mark.parametrize("dtype", [torch.float32, torch.uint8, torch.int64])
def test_joined_images_are_those_of_concatenation(dtype):
    torch.manual_seed(0)
    parts = [Split((torch.rand(n, 2, 4, 4) * 200).to(dtype), torch.arange(n), {}) for n in (5, 1, 4)]
    both = joined(joined(parts[0], parts[1]), parts[2].rows(torch.tensor([3, 0, 0])))
    whole = torch.cat([parts[0].images, parts[1].images, parts[2].images[[3, 0, 0]]])
    assert torch.equal(both.images[:], whole)
    for _ in range(20):
        index = torch.randint(9, (6,))
        assert torch.equal(both.images[index], whole[index])
        assert both.images[index].dtype == dtype


def test_joining_an_empty_split_changes_nothing():
    some, none = split(3, "cpu"), split(3, "cpu").rows(torch.zeros(0, dtype=torch.int64))
    assert joined(some, none) is joined(none, some) is some


@pytest.mark.parametrize(
    ("source", "target", "expected"),
    [
        ("cpu", "cuda", ["pinned", ("cuda", True)]),  # from memory that is not pinned, non_blocking does nothing
        ("cuda", "cuda", [("cuda", False)]),  # resident images: pinning them would be an error
        ("cpu", "cpu", [("cpu", False)]),
    ],
)
def test_a_batch_goes_to_a_gpu_from_pinned_memory(source, target, expected):
    calls = []

    def to(device, non_blocking=False):
        calls.append((device.type, non_blocking))
        return "moved"

    def pin_memory():
        calls.append("pinned")
        return SimpleNamespace(to=to)

    batch = SimpleNamespace(device=torch.device(source), to=to, pin_memory=pin_memory)
    assert to_device(batch, torch.device(target)) == "moved"
    assert calls == expected


@pytest.mark.parametrize("stop", ["closed", "finished", "failed"])
def test_nothing_holds_a_training_that_has_stopped(stop):
    """Warm workers train one network after another: the memory of the last must be free."""
    data = Dataset("bars", ("across", "upright"), bars(96), bars(40, 1), bars(40, 2))
    task, model = tasks.create("substructure", data), network()
    config = TrainConfig(epochs=4, batch_size=32, ema=1.0, sparsity=0.5, augmentation=NO_AUGMENTATION)
    model.insert(5, nn.Linear(128, 128))
    training = fit(model, data.train, task, config, seed=0, val=data.val)
    for _ in range(3):
        epoch = next(training)
    held = [weakref.ref(model), *(weakref.ref(p) for p in model.parameters())]
    held += [weakref.ref(values["exp_avg"]) for values in epoch.state()["optimizer"]["state"].values()]
    held += [weakref.ref(mean) for mean in epoch.state()["mean"]["mean"].values()]
    assert len(held) > 10
    if stop == "closed":
        training.close()
    elif stop == "finished":
        list(training)
    else:
        with torch.no_grad():
            model[0].weight.fill_(float("nan"))  # between epochs this is the running mean, which is evaluated next
        with pytest.raises(FloatingPointError):
            next(training)
    del model, epoch
    gc.collect()
    assert [ref() for ref in held if ref() is not None] == []
