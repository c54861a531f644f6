"""The training loop against a hand-written one, and its promises on seeds, resuming and failing."""

import math

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from trainers import tasks
from trainers.augment import augment, warp
from trainers.config import NORMALISATIONS, Augmentation, TrainConfig
from trainers.data import Dataset, Split
from trainers.evaluate import evaluate
from trainers.fit import fit, learning_rate
from trainers.normalise import normalise

NO_AUGMENTATION = Augmentation(rotation=0, flip=False, shift=0, noise=0)


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
    task = tasks.load("substructure", data)
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


def test_an_easy_task_is_learnt(data):
    config = TrainConfig(epochs=12, batch_size=16, learning_rate=1e-2, augmentation=NO_AUGMENTATION)
    end = last(fit(network(), data.train, tasks.load("substructure", data), config, seed=0, val=data.val))
    assert end.metrics["auc"] > 0.95
    assert end.number == 12


@pytest.mark.parametrize("stop", [1, 2])
def test_a_resumed_training_is_the_uninterrupted_one_bit_for_bit(data, stop):
    config = TrainConfig(epochs=4, batch_size=32, learning_rate=1e-3, augmentation=Augmentation(shift=0.1, noise=0.2))
    task = tasks.load("substructure", data)
    whole = network()
    through = [e.metrics["auc"] for e in fit(whole, data.train, task, config, seed=3, val=data.val)]

    first = network()
    for epoch in fit(first, data.train, task, config, seed=3, val=data.val):
        if epoch.number == stop:
            state = {k: v for k, v in epoch.state().items()}
            break
    torch.rand(7)  # whatever else happened to the generator meanwhile
    second = network(seed=9)
    rest = [e.metrics["auc"] for e in fit(second, data.train, task, config, seed=3, val=data.val, state=state)]
    assert rest == through[stop:]
    for a, b in zip(whole.parameters(), second.parameters(), strict=True):
        assert torch.equal(a, b)


def test_seeds_differ_and_repeat(data):
    config = TrainConfig(epochs=2, batch_size=32)
    task = tasks.load("substructure", data)

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
        list(fit(model, data.train, tasks.load("substructure", data), config, seed=0))


def test_the_learning_rate_warms_up_then_falls_to_zero():
    config = TrainConfig(epochs=10, learning_rate=1e-3, warmup_epochs=2)
    rates = [learning_rate(p, config) for p in (0, 1, 2, 6, 10)]
    assert rates == pytest.approx([0, 5e-4, 1e-3, 5e-4, 0])


def test_metrics_are_those_of_probabilities(data):
    """AUC of logits differs from AUC of probabilities once there are three classes; scikit-learn's own is the judge."""
    from sklearn.metrics import log_loss, roc_auc_score

    torch.manual_seed(0)
    outputs, labels = 3 * torch.randn(200, 3), torch.arange(200) % 3
    task = tasks.load("substructure", Dataset("x", ("a", "b", "c"), *[bars(9)] * 3))
    ours = task.metrics(outputs, labels)
    p = outputs.double().softmax(-1).numpy()
    assert ours["auc"] == pytest.approx(roc_auc_score(labels, p, multi_class="ovr", average="macro"))
    assert ours["loss"] == pytest.approx(log_loss(labels, p))
    by_logits = sum(roc_auc_score(labels == k, outputs[:, k]) for k in range(3)) / 3
    assert ours["auc"] != pytest.approx(by_logits, abs=1e-4)


def test_evaluation_neither_augments_nor_trains(data):
    model = network().train()
    before = [p.clone() for p in model.parameters()]
    task = tasks.load("substructure", data)
    first, second = (evaluate(model, data.val, task, normalisation="zscore") for _ in range(2))
    assert first == second
    assert all(torch.equal(a, b) for a, b in zip(before, model.parameters(), strict=True))


@pytest.mark.parametrize("kind", NORMALISATIONS)
def test_normalisation_forgets_unit_and_offset_of_the_pixels(kind):
    images = torch.rand(4, 2, 8, 8, dtype=torch.float64) * 50
    torch.testing.assert_close(normalise(images * 7 + 3, kind), normalise(images, kind), rtol=1e-4, atol=1e-4)
    assert normalise(torch.full((1, 1, 8, 8), 5, dtype=torch.uint8), kind).abs().max() == 0
    x = normalise(images, kind)
    if kind == "minmax":
        assert x.amin((1, 2, 3)).tolist() == [0] * 4
        assert x.amax((1, 2, 3)).tolist() == [1] * 4
    else:
        torch.testing.assert_close(x.std((1, 2, 3)), torch.ones(4))


@pytest.mark.parametrize("degrees", [90, 180, 270])
def test_warping_by_a_right_angle_is_turning_the_image(degrees):
    image = torch.rand(1, 1, 9, 9)
    angle = math.radians(degrees)
    turn = torch.tensor([[[math.cos(angle), -math.sin(angle), 0], [math.sin(angle), math.cos(angle), 0]]])
    turned = warp(image, turn.float())
    candidates = [torch.rot90(image, k, (2, 3)) for k in (degrees // 90, -degrees // 90)]
    assert any(torch.allclose(turned, c, atol=1e-5) for c in candidates)


def test_augmentation_draws_for_every_image_by_itself_and_none_is_none():
    torch.manual_seed(0)
    same = torch.rand(1, 1, 16, 16).expand(8, -1, -1, -1)
    assert torch.equal(augment(same, NO_AUGMENTATION), same)
    for config in (
        Augmentation(rotation=180, flip=False), Augmentation(0, True), Augmentation(0, False, shift=0.2),
        Augmentation(0, False, noise=0.3),
    ):  # fmt: skip
        changed = augment(same, config)
        assert len({tuple(image.flatten().tolist()) for image in changed}) > 1, config
        assert changed.shape == same.shape


def test_noise_has_the_stated_strength():
    torch.manual_seed(0)
    images = normalise(torch.rand(4, 1, 64, 64), "zscore")
    added = augment(images, Augmentation(0, False, noise=0.3)) - images
    assert float(added.std()) == pytest.approx(0.3, rel=0.05)


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        ({"learning_rate": 0}, "learning rate 0"),
        ({"epochs": 3, "warmup_epochs": 3}, "warm-up of 3 epochs"),
        ({"normalisation": "whiten"}, "known: minmax"),
        ({"batch_size": 0}, "batch size 0"),
    ],
)
def test_a_training_that_cannot_be_is_refused(wrong, says):
    with pytest.raises(ValueError, match=says):
        TrainConfig(**wrong)


def test_a_stored_training_is_rebuilt_exactly():
    config = TrainConfig(epochs=7, augmentation=Augmentation(rotation=90, noise=0.25))
    assert TrainConfig.from_dict(config.to_dict()) == config
    with pytest.raises(ValueError, match="momentum"):
        TrainConfig.from_dict({"momentum": 0.9})
