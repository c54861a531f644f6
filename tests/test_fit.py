"""The training loop against a hand-written one, and its promises on seeds, resuming and failing."""

import io
import itertools
import json
import math
from dataclasses import replace

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from trainers import tasks
from trainers.batch.mixing import mix
from trainers.batch.normalise import Normalisation, normalise, resolve
from trainers.config import NO_AUGMENTATION, NORMALISATIONS, OPTIMISERS, SCOPES, Augmentation, TrainConfig
from trainers.data import Dataset, Split
from trainers.evaluate import evaluate
from trainers.fit import epoch_seed, fit
from trainers.optimise import RunningMean, learning_rate


def bars(count, seed=0, classes=2):
    """Images of one bright bar, across or upright: anything that looks can tell them apart."""
    generator = torch.Generator().manual_seed(seed)
    labels = torch.arange(count) % classes
    images = torch.rand(count, 1, 16, 16, generator=generator)
    for image, label in zip(images, labels, strict=True):
        where = int(torch.randint(16, (1,), generator=generator))
        image[0, where, :] += 2 * (label == 0)
        image[0, :, where] += 2 * (label == 1)
    return Split(images, labels, {})


@pytest.fixture
def data():
    return Dataset("bars", ("across", "upright"), bars(96), bars(40, 1), bars(40, 2))


def network(seed=0):
    torch.manual_seed(seed)
    layers = [nn.Conv2d(1, 8, 3, padding=1), nn.GELU(), nn.Dropout(0.1), nn.AdaptiveMaxPool2d(4), nn.Flatten()]
    return nn.Sequential(*layers, nn.Linear(128, 2))


def last(iterator):
    *_, end = iterator
    return end


def test_one_step_is_the_reference_step(data):
    """One batch of everything: the same numbers as AdamW, clipping and cross-entropy written out by hand."""
    config = TrainConfig(
        epochs=2, batch_size=96, learning_rate=3e-3, warmup_epochs=1, weight_decay=0.1, label_smoothing=0.1,
        clip_norm=0.05, normalisation="minmax", augmentation=NO_AUGMENTATION,
    )  # fmt: skip
    model, reference = network().eval(), network().eval()
    model[2], reference[2] = nn.Identity(), nn.Identity()  # the order of dropout's draws is no promise
    task = tasks.create("substructure", data)
    next(fit(model, data.train, task, config, seed=0))

    x = data.train.images
    low, high = x.amin((1, 2, 3), keepdim=True), x.amax((1, 2, 3), keepdim=True)
    log_p = reference((x - low) / (high - low)).log_softmax(-1)
    onehot = F.one_hot(data.train.labels, 2) * 0.9 + 0.05
    gradients = torch.autograd.grad(-(onehot * log_p).sum(-1).mean(), list(reference.parameters()))
    norm = math.sqrt(sum(float(g.square().sum()) for g in gradients))
    assert norm > config.clip_norm
    rate = 3e-3 * 0.5  # the middle of a warm-up that is one step long
    for p, g in zip(reference.parameters(), gradients, strict=True):
        g = g * config.clip_norm / (norm + 1e-6)
        decayed = p.data * (1 - rate * 0.1 * (p.ndim >= 2))
        expected = decayed - rate * g / (g.abs() + 1e-8)  # Adam's first step: m and v debiased are g and g^2
        p.data.copy_(expected)
    for ours, theirs in zip(model.parameters(), reference.parameters(), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=2e-6)


@pytest.mark.parametrize("weight_decay", [0.0, 0.3])
@pytest.mark.parametrize("optimiser", ["sgd", "lion"])
def test_sgd_and_lion_step_as_published(data, optimiser, weight_decay):
    """Three epochs of one batch each, against the papers' updates written out; only matrices and kernels decay."""
    rate, epochs = 1e-2, 3
    config = TrainConfig(
        epochs=epochs, batch_size=96, optimiser=optimiser, learning_rate=rate, momentum=0.8, warmup_epochs=0,
        weight_decay=weight_decay, schedule="constant", clip_norm=1e9, augmentation=NO_AUGMENTATION,
        normalisation="minmax",
    )  # fmt: skip
    model, reference = network(), network()
    model[2], reference[2] = nn.Identity(), nn.Identity()
    last(fit(model, data.train, tasks.create("substructure", data), config, seed=0))
    x, parameters = normalise(data.train.images, "minmax"), list(reference.parameters())
    momentum = [torch.zeros_like(p) for p in parameters]
    for _ in range(epochs):
        gradients = torch.autograd.grad(F.cross_entropy(reference(x), data.train.labels), parameters)
        for p, g, m in zip(parameters, gradients, momentum, strict=True):
            decay = weight_decay * (p.ndim >= 2)
            if optimiser == "sgd":  # Sutskever et al. 2013, as torch has it
                g = g + decay * p.data
                m.mul_(0.8).add_(g)
                p.data -= rate * (g + 0.8 * m)
            else:  # arXiv 2302.06675, algorithm 2
                p.data -= rate * ((0.9 * m + 0.1 * g).sign() + decay * p.data)
                m.mul_(0.99).add_(g, alpha=0.01)
    for ours, theirs in zip(model.parameters(), reference.parameters(), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-5)


def test_mixed_targets_are_soft_targets(data):
    """The loss of two weighted targets is the cross-entropy to their mixture."""
    torch.manual_seed(0)
    outputs, first, second = torch.randn(9, 3), torch.randint(3, (9,)), torch.randint(3, (9,))
    weight = torch.rand(9)
    task = tasks.create("substructure", Dataset("x", ("a", "b", "c"), *[bars(9)] * 3))
    ours = task.loss(outputs, first, 0.1, weight) + task.loss(outputs, second, 0.1, 1 - weight)
    soft = weight[:, None] * F.one_hot(first, 3) + (1 - weight[:, None]) * F.one_hot(second, 3)
    torch.testing.assert_close(ours, F.cross_entropy(outputs, soft, label_smoothing=0.1))


def test_a_mixed_training_step_is_that_on_soft_targets(data):
    """`fit` gives each loss its own partner and weight, as shown by replaying the epoch's draws."""
    mixing = Augmentation(rotation=0, flip=False, mixup=0.5)
    config = TrainConfig(epochs=1, batch_size=96, warmup_epochs=0, normalisation="minmax", augmentation=mixing)
    model = network()
    model[2] = nn.Identity()
    initial = [p.detach().clone() for p in model.parameters()]
    task = tasks.create("substructure", data)
    said = last(fit(model, data.train, task, config, seed=4)).metrics["train_loss"]
    with torch.no_grad():
        for p, before in zip(model.parameters(), initial, strict=True):
            p.copy_(before)
        torch.manual_seed(epoch_seed(4, 0))
        order = torch.randperm(96)
        x, partner, weight = mix(normalise(data.train.images[order], "minmax"), mixing)
        onehot = F.one_hot(data.train.labels[order], 2).float()
        soft = weight[:, None] * onehot + (1 - weight[:, None]) * onehot[partner]
        assert said == pytest.approx(float(F.cross_entropy(model(x), soft)), rel=1e-5)


def test_the_running_mean_is_what_numpy_averages(data):
    """After every epoch the network is the mean of the weights of all steps, as numpy weighs a plain training's."""
    config = TrainConfig(epochs=5, batch_size=96, learning_rate=3e-2, augmentation=NO_AUGMENTATION)
    averaged = replace(config, ema=3.0)  # one step an epoch: about three steps
    task = tasks.create("substructure", data)

    def epochs(config):
        torch.manual_seed(0)
        model = nn.Sequential(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.GELU(), nn.Flatten(), nn.Linear(784, 2))
        for epoch in fit(model, data.train, task, config, seed=0, val=data.val):
            weights = {name: tensor.detach().numpy().astype("f8") for name, tensor in model.state_dict().items()}
            yield {name: value.copy() for name, value in weights.items()}, epoch.metrics

    plain, means = list(epochs(config)), list(epochs(averaged))
    expected = {}
    for step, ((weights, metrics), (found, mean_metrics)) in enumerate(zip(plain, means, strict=True)):
        decay = min(2 / 3, step / (step + 1))
        for name, value in weights.items():
            integer = name.endswith("num_batches_tracked")
            expected[name] = value if integer or not step else decay * expected[name] + (1 - decay) * value
            np.testing.assert_allclose(found[name], expected[name], rtol=1e-4, atol=1e-6)
        assert mean_metrics["train_loss"] == metrics["train_loss"], "the training itself is not touched"
        assert step == 0 or mean_metrics["loss"] != metrics["loss"], "the mean is what is validated"


def test_the_running_mean_is_what_a_finished_training_leaves(data):
    """A caller who asks to the end keeps the network that the last epoch's metrics are of."""
    config = TrainConfig(epochs=2, batch_size=32, learning_rate=1e-2, ema=1.0, augmentation=NO_AUGMENTATION)
    task, model = tasks.create("substructure", data), network()
    end = last(fit(model, data.train, task, config, seed=0, val=data.val))
    assert evaluate(model, data.val, task, normalisation="zscore")["loss"] == end.metrics["loss"]


def test_a_running_mean_keeps_what_layers_share():
    shared = nn.Linear(3, 3)
    model = nn.ModuleList([shared, shared])
    mean = RunningMean(model, steps=10)
    mean.update()
    with torch.no_grad():
        shared.weight.add_(1)
    raw = shared.weight.detach().clone()
    mean.update()
    mean.swap()
    torch.testing.assert_close(shared.weight, raw - 0.5)
    mean.swap()
    assert torch.equal(shared.weight, raw)


def test_an_easy_task_is_learnt(data):
    config = TrainConfig(epochs=12, batch_size=16, learning_rate=1e-2, augmentation=NO_AUGMENTATION)
    end = last(fit(network(), data.train, tasks.create("substructure", data), config, seed=0, val=data.val))
    assert end.metrics["auc"] > 0.95
    assert end.number == 12


ALL = Augmentation(90, True, 0.1, 0.2, True, 0.2, 1.0, 0.3, 0.3, 0.3, 0.4, 1.0)


@pytest.mark.parametrize("optimiser", OPTIMISERS)
@pytest.mark.parametrize("ema", [0.0, 1.5])
@pytest.mark.parametrize("stop", [1, 2])
def test_a_resumed_training_is_the_uninterrupted_one_bit_for_bit(data, stop, ema, optimiser):
    config = TrainConfig(
        epochs=4, batch_size=32, learning_rate=1e-3, optimiser=optimiser, ema=ema, augmentation=ALL,
        normalisation_scope="global",
    )  # fmt: skip
    task = tasks.create("substructure", data)
    whole = network()
    through = [e.metrics["auc"] for e in fit(whole, data.train, task, config, seed=3, val=data.val)]

    first = network()
    for epoch in fit(first, data.train, task, config, seed=3, val=data.val):
        if epoch.number == stop:
            kept = io.BytesIO()
            torch.save(epoch.state(), kept)
            break
    torch.rand(7)  # whatever else happened to the generator meanwhile
    second, state = network(seed=9), torch.load(io.BytesIO(kept.getvalue()), weights_only=True)
    rest = [e.metrics["auc"] for e in fit(second, data.train, task, config, seed=3, val=data.val, state=state)]
    assert rest == through[stop:]
    for a, b in zip(whole.parameters(), second.parameters(), strict=True):
        assert torch.equal(a, b)


def test_seeds_differ_and_repeat(data):
    config = TrainConfig(epochs=2, batch_size=32)
    task = tasks.create("substructure", data)

    def train_loss(seed):
        return last(fit(network(), data.train, task, config, seed=seed)).metrics["train_loss"]

    assert train_loss(1) == train_loss(1)
    assert train_loss(1) != train_loss(2)


def test_a_diverging_training_is_an_error_not_a_result(data):
    config = TrainConfig(epochs=3, batch_size=8, learning_rate=1e-3, augmentation=NO_AUGMENTATION)
    model = network()
    with torch.no_grad():
        model[0].weight.fill_(float("nan"))
    with pytest.raises(FloatingPointError, match="epoch 1"):
        list(fit(model, data.train, tasks.create("substructure", data), config, seed=0))


def test_the_learning_rate_warms_up_then_falls_to_zero():
    config = TrainConfig(epochs=10, learning_rate=1e-3, warmup_epochs=2)
    rates = [learning_rate(p, config) for p in (0, 1, 2, 6, 10)]
    assert rates == pytest.approx([0, 5e-4, 1e-3, 5e-4, 0])


@pytest.mark.parametrize(
    ("schedule", "reference"),
    [
        ("cosine", lambda o: torch.optim.lr_scheduler.CosineAnnealingLR(o, 80)),
        ("linear", lambda o: torch.optim.lr_scheduler.LinearLR(o, 1.0, 0.0, 80)),
        ("constant", lambda o: torch.optim.lr_scheduler.ConstantLR(o, 1.0)),
    ],
)
def test_schedules_after_the_warm_up_are_torchs_own(schedule, reference):
    config = TrainConfig(epochs=10, learning_rate=1e-3, warmup_epochs=2, schedule=schedule)
    optimiser = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=1e-3)
    scheduler = reference(optimiser)
    for step in range(81):
        assert learning_rate(2 + step / 10, config) == pytest.approx(scheduler.get_last_lr()[0], abs=1e-9)
        optimiser.step()
        scheduler.step()


@pytest.mark.parametrize("objective", ["", "auc", "accuracy", "ap", "auc_d4_mean"])
def test_the_last_epoch_says_how_turned_images_are_told(data, objective):
    """Bars across and upright change places when turned: who tells them apart gets all of the turned ones wrong."""
    config = TrainConfig(epochs=8, batch_size=16, learning_rate=1e-2, augmentation=NO_AUGMENTATION)
    task = tasks.create("substructure", data)
    model = nn.Sequential(nn.Conv2d(1, 8, (1, 9)), nn.GELU(), nn.AdaptiveMaxPool2d(1), nn.Flatten(), nn.Linear(8, 2))
    epochs = list(fit(model, data.train, task, config, seed=0, val=data.val, objective=objective))
    assert not any("turned_auc" in epoch.metrics for epoch in epochs[:-1])
    assert any("d4_worst" in name for name in epochs[0].metrics) == ("d4" in objective)
    assert epochs[-1].metrics["auc"] > 0.9
    turned = Split(data.val.images.rot90(1, (2, 3)), data.val.labels, {})
    expected = evaluate(model, turned, task, normalisation="zscore")
    assert epochs[-1].metrics["turned_auc"] == pytest.approx(expected["auc"], abs=1e-6)
    assert epochs[-1].metrics["turned_auc"] < 0.1

    name = objective.removesuffix("_d4_mean") or "auc"
    each = []
    for mirrored, quarters in itertools.product((False, True), range(4)):
        moved = data.val.images.flip(2) if mirrored else data.val.images
        view = Split(moved.rot90(quarters, (2, 3)), data.val.labels, {})
        each.append(evaluate(model, view, task, normalisation="zscore", objective=name)[name])
    found = epochs[-1].metrics
    assert found[name] == pytest.approx(each[0], abs=1e-6)
    assert found[f"{name}_d4_worst"] == pytest.approx(min(each), abs=1e-6)
    assert found[f"{name}_d4_mean"] == pytest.approx(np.mean(each), abs=1e-6)


def test_evaluation_neither_augments_nor_trains(data):
    model = network().train()
    before = [p.clone() for p in model.parameters()]
    task = tasks.create("substructure", data)
    first, second = (evaluate(model, data.val, task, normalisation="zscore") for _ in range(2))
    assert first == second
    assert all(torch.equal(a, b) for a, b in zip(before, model.parameters(), strict=True))


@pytest.mark.parametrize("kind", NORMALISATIONS)
def test_normalisation_forgets_unit_and_offset_of_the_pixels(kind):
    images = torch.rand(4, 2, 8, 8, dtype=torch.float64) * 50
    torch.testing.assert_close(normalise(images * 7 + 3, kind), normalise(images, kind), rtol=1e-4, atol=1e-4)
    assert normalise(torch.full((1, 1, 8, 8), 5, dtype=torch.uint8), kind).abs().max() == 0
    x = normalise(images, kind)
    if kind in ("minmax", "percentile"):  # of 128 pixels, the percentiles 0.5 and 99.5 are the ends
        assert x.amin((1, 2, 3)).tolist() == [0] * 4
        assert x.amax((1, 2, 3)).tolist() == [1] * 4
    else:
        torch.testing.assert_close(x.std((1, 2, 3)), torch.ones(4))


@pytest.mark.parametrize("kind", NORMALISATIONS)
@pytest.mark.parametrize("scope", SCOPES)
@pytest.mark.parametrize("power", range(-30, 31, 5))
def test_normalised_pixels_do_not_depend_on_their_unit(kind, scope, power):
    noise = torch.randn(6, 2, 16, 16, generator=torch.Generator().manual_seed(0))
    images = torch.cat([noise, (2 * noise).exp() + 50])

    def prepared(x):
        how = resolve(TrainConfig(normalisation=kind, normalisation_scope=scope), x)
        return normalise(x, how)

    torch.testing.assert_close(prepared(images * 10.0**power), prepared(images), rtol=1e-3, atol=1e-4)
    if scope == "image":
        assert torch.equal(prepared(images * 2.0 ** (3 * power)), prepared(images)), "no digit changes"


def test_percentiles_are_those_of_the_sorted_pixels_and_forget_hot_ones():
    images = torch.rand(3, 2, 20, 20, generator=torch.Generator().manual_seed(0))
    low, high = np.sort(images.flatten(1))[:, [3, -4]].T[:, :, None, None, None]  # 0.5% of 800 pixels are 4
    expected = ((images.numpy() - low) / (high - low)).clip(0, 1)
    np.testing.assert_allclose(normalise(images, "percentile"), expected, atol=1e-6)
    hot = images.clone()
    hot[:, 0, 5, 5:7] = 1e6
    x = normalise(hot, "percentile")
    assert x.max() == 1
    torch.testing.assert_close(x[:, 1], torch.from_numpy(expected[:, 1]), rtol=0, atol=0.02)
    faint = torch.zeros(1, 1, 20, 20)
    faint[0, 0, 3, 3] = 5.0  # fewer pixels than a percentile leaves out are still seen
    assert normalise(faint, "percentile").max() == 1


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        ({"learning_rate": 0}, "learning_rate is 0"),
        ({"epochs": 3, "warmup_epochs": 3}, "warm-up of 3 epochs"),
        ({"normalisation": "whiten"}, "known: minmax"),
        ({"batch_size": 0}, "batch_size is 0"),
        ({"optimiser": "adam"}, "unknown optimiser 'adam'; known: adamw"),
        ({"schedule": "step"}, "known: cosine"),
        ({"normalisation_scope": "local"}, "known: image, global"),
        ({"momentum": 1.0}, "momentum is 1.0"),
        ({"ema": -1}, "ema is -1"),
    ],
)
def test_a_training_that_cannot_be_is_refused(wrong, says):
    with pytest.raises(ValueError, match=says):
        TrainConfig(**wrong)


@pytest.mark.parametrize("kind", NORMALISATIONS)
def test_global_statistics_are_numpys_and_keep_the_images_differences(kind):
    images = (torch.rand(30, 2, 8, 8, dtype=torch.float64) + torch.arange(30)[:, None, None, None] / 30) * 50 + 3
    how = resolve(TrainConfig(normalisation=kind, normalisation_scope="global"), images)
    x = images.numpy()
    if kind == "minmax":
        expected = (x - x.min()) / (x.max() - x.min())
    elif kind == "percentile":
        low, high = np.sort(x, None)[[18, -19]]  # 0.5% of 3,840 pixels are 19
        expected = ((x - low) / (high - low)).clip(0, 1)
    else:
        u = (x - x.min()) / x.std(ddof=1)
        u = {"zscore": u, "log": np.log1p(u), "asinh": np.arcsinh(u)}[kind]
        expected = (u - u.mean()) / u.std(ddof=1)
    np.testing.assert_allclose(normalise(images, how), expected, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(normalise(images[3:4], how), normalise(images, how)[3:4])
    assert normalise(images - 10, how).isfinite().all(), "darker than anything in training"
    again = Normalisation.from_json(json.loads(json.dumps(how.to_json())))
    assert torch.equal(normalise(images, again), normalise(images, how))


def test_a_training_with_global_statistics_does_not_look_at_the_validation_images(data):
    config = TrainConfig(epochs=1, warmup_epochs=0, normalisation="minmax", normalisation_scope="global")
    task = tasks.create("substructure", data)

    def loss(val):
        return last(fit(network(), data.train, task, config, seed=0, val=val)).metrics

    brighter = Split(data.val.images * 9, data.val.labels, {})
    assert loss(brighter)["train_loss"] == loss(data.val)["train_loss"]
    assert loss(brighter)["loss"] != loss(data.val)["loss"]


def test_a_stored_training_is_rebuilt_exactly():
    config = TrainConfig(epochs=7, augmentation=Augmentation(rotation=90, noise=0.25))
    assert TrainConfig.from_dict(config.to_dict()) == config
    with pytest.raises(ValueError, match="temperature"):
        TrainConfig.from_dict({"temperature": 0.9})
