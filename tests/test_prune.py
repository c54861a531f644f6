"""Lottery tickets: which weights go, that they stay away, and that a training with them keeps all promises of `fit`."""

import contextlib
import copy
import io
from dataclasses import replace

import pytest
import torch
from test_fit import ALL, bars, last
from torch import nn
from torch.nn.utils import prune as reference
from torch.optim.optimizer import register_optimizer_step_post_hook, register_optimizer_step_pre_hook

from search_space import Hybrid, Stage, Toy, build_model
from trainers import prune, tasks
from trainers.config import NO_AUGMENTATION, OPTIMISERS, TrainConfig
from trainers.data import Dataset
from trainers.fit import fit
from trainers.optimise import learning_rate

DATA = Dataset("bars", ("across", "upright"), bars(96), bars(40, 1), bars(40, 2))
TASK = tasks.create("substructure", DATA)
CONFIG = TrainConfig(
    epochs=4, batch_size=32, learning_rate=1e-2, augmentation=NO_AUGMENTATION, sparsity=0.6, rewind=1
)  # fmt: skip


def network(seed=0):
    torch.manual_seed(seed)
    layers = [nn.Conv2d(1, 8, 3), nn.BatchNorm2d(8), nn.GELU(), nn.Conv2d(8, 8, 3), nn.AdaptiveMaxPool2d(4)]
    return nn.Sequential(*layers, nn.Flatten(), nn.Linear(128, 16), nn.GELU(), nn.Dropout(0.1), nn.Linear(16, 2))


PRUNED = ("3.weight", "6.weight")


def hybrid():
    """With all that lies outside of blocks: a deep stem, a convolution of positions, downsampling, a pooling head."""
    first = Stage("conv", depth=1, width=16, options={"variant": "mbconv"})
    stages = (first, Stage("attention", depth=2, width=32, downsample=True))
    architecture = Hybrid(stages, patch=4, stem="conv", position="conditional", head="attention")
    torch.manual_seed(0)
    return build_model(architecture, in_chans=1, image_size=32, num_outputs=2)


def parameters(model):
    return {name: tensor.detach().clone() for name, tensor in model.named_parameters()}


def test_in_a_hybrid_only_mixers_and_mlps_are_pruned():
    model = hybrid()
    inside = [layer for stage in model.stages for block in stage.blocks for layer in block.modules()]
    expected = {id(layer.weight) for layer in inside if isinstance(layer, nn.Linear | nn.Conv2d)}
    found = prune.prunable(model)
    assert {id(weight) for weight in found.values()} == expected
    assert all(weight.ndim >= 2 for weight in found.values())
    assert {name.split(".")[4] for name in found} == {"mixer", "mlp"}


def test_without_blocks_it_is_all_layers_but_the_first_and_the_last():
    assert tuple(prune.prunable(network())) == PRUNED
    lenet = build_model(Toy("lenet"), in_chans=1, image_size=32, num_outputs=2)
    assert list(prune.prunable(lenet)) == ["3.weight", "7.weight", "9.weight"]


def test_a_weight_that_layers_share_counts_once():
    model = network()
    model.insert(7, nn.Linear(16, 16))
    model.insert(8, nn.Linear(16, 16))
    model[8].weight = model[7].weight
    assert list(prune.prunable(model)) == [*PRUNED, "7.weight"]


@pytest.mark.parametrize("sparsity", [0.0, 0.1, 0.5, 0.8, 0.977])
@pytest.mark.parametrize("build", [network, hybrid])
def test_masks_are_those_of_torchs_global_pruning(build, sparsity):
    model = build()
    with torch.no_grad():  # layers of unequal scale: by layer it would come out otherwise
        for i, weight in enumerate(prune.prunable(model).values()):
            weight.mul_(1 + i)
    masks, twin = prune.masks(model, sparsity), copy.deepcopy(model)
    layers = {name: twin.get_submodule(name.removesuffix(".weight")) for name in masks}
    pairs = [(layer, "weight") for layer in layers.values()]
    reference.global_unstructured(pairs, pruning_method=reference.L1Unstructured, amount=sparsity)
    prune.apply(model, masks)
    for name, layer in layers.items():
        assert torch.equal(masks[name], layer.weight_mask.bool())
        assert torch.equal(model.get_parameter(name), layer.weight)
    total = sum(mask.numel() for mask in masks.values())
    assert abs(prune.sparsity(model) - sparsity) * total <= 1


@contextlib.contextmanager
def every_step(model):
    """A list that fills with the network's parameters before each step of any optimiser and after it."""
    steps = []
    before = register_optimizer_step_pre_hook(lambda *_: steps.append([parameters(model)]))
    after = register_optimizer_step_post_hook(lambda *_: steps[-1].append(parameters(model)))
    try:
        yield steps
    finally:
        before.remove()
        after.remove()


@pytest.mark.parametrize("rewind", [0, 1, 2])
def test_the_survivors_go_back_to_their_early_values_and_the_smallest_at_half_time_are_gone(rewind):
    """By the steps of two trainings of four epochs of three batches: dense, and pruned after the second epoch."""
    dense, sparse = network(), network()
    with every_step(dense) as plain:
        last(fit(dense, DATA.train, TASK, replace(CONFIG, sparsity=0.0), seed=0))
    with every_step(sparse) as steps:
        last(fit(sparse, DATA.train, TASK, replace(CONFIG, rewind=rewind), seed=0))
    half = network()
    half.load_state_dict(plain[6][0], strict=False)
    masks = prune.masks(half, 0.6)
    for name, early in plain[3 * rewind][0].items():
        assert torch.equal(steps[6][0][name], early * masks[name] if name in masks else early), name
        assert not torch.equal(steps[6][1][name], steps[6][0][name]), "it trains on"
    assert len(steps) == len(plain) == 12


@pytest.mark.parametrize("optimiser", OPTIMISERS)
@pytest.mark.parametrize("ema", [0.0, 1.5])
def test_what_is_removed_is_exactly_zero_after_every_step_and_in_the_running_mean(optimiser, ema):
    config = replace(CONFIG, optimiser=optimiser, ema=ema, weight_decay=0.3, learning_rate=0.03)
    model = network()
    with every_step(model) as steps:
        for epoch in fit(model, DATA.train, TASK, config, seed=0, val=DATA.val):
            if epoch.number <= config.prune_after:
                assert "sparsity" not in epoch.metrics
                assert prune.sparsity(model) == 0
                continue
            masks = epoch.state()["masks"]
            total = sum(mask.numel() for mask in masks.values())
            assert abs(epoch.metrics["sparsity"] - 0.6) * total <= 1
            raw_and_mean = [parameters(model), *([epoch.state()["mean"]["mean"]] if ema else [])]
            for weights in raw_and_mean:
                assert all(torch.equal(weights[name] != 0, mask) for name, mask in masks.items())
    for _, weights in steps[6:]:
        assert all(torch.equal(weights[name] != 0, mask) for name, mask in masks.items())


def test_the_gradients_norm_is_that_of_what_is_left():
    """Clipping must not count what cannot move."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Flatten(), nn.Linear(256, 4), nn.Linear(4, 4), nn.Linear(4, 2))
    torch.nn.functional.cross_entropy(model(DATA.train.images), DATA.train.labels).backward()
    masks = prune.masks(model, 0.5)
    gradients = [p.grad.clone() for p in model.parameters()]
    gradients[2] = gradients[2][masks["2.weight"]]
    prune.apply_to_gradients(model, masks)
    expected = torch.cat([g.flatten() for g in gradients]).norm()
    torch.testing.assert_close(nn.utils.clip_grad_norm_(model.parameters(), 1e9), expected)


def test_until_it_is_pruned_a_training_is_the_dense_one():
    """So that trials of any sparsity are compared fairly at a rung below."""

    def losses(sparsity):
        config = replace(CONFIG, sparsity=sparsity)
        return [e.metrics["train_loss"] for e in fit(network(), DATA.train, TASK, config, seed=0)]

    sparse, dense = losses(0.6), losses(0.0)
    assert sparse[:2] == dense[:2]
    assert sparse[2] != dense[2]


@pytest.mark.parametrize("optimiser", OPTIMISERS)
@pytest.mark.parametrize("rewind", [0, 1, 2])
@pytest.mark.parametrize("ema", [0.0, 1.5])
def test_a_pruned_training_resumed_anywhere_is_the_uninterrupted_one_bit_for_bit(optimiser, rewind, ema):
    config = replace(CONFIG, epochs=5, optimiser=optimiser, rewind=rewind, ema=ema, augmentation=ALL)
    whole, states, through = network(), {}, []
    for epoch in fit(whole, DATA.train, TASK, config, seed=3, val=DATA.val):
        through.append({**epoch.metrics, "seconds": 0})
        torch.save(epoch.state(), states.setdefault(epoch.number, io.BytesIO()))
    for stop in range(1, 5):
        torch.rand(7)
        model, state = network(seed=9), torch.load(io.BytesIO(states[stop].getvalue()), weights_only=True)
        rest = fit(model, DATA.train, TASK, config, seed=3, val=DATA.val, state=state)
        assert [{**e.metrics, "seconds": 0} for e in rest] == through[stop:], stop
        assert all(torch.equal(a, b) for a, b in zip(whole.parameters(), model.parameters(), strict=True))


def test_the_learning_rate_goes_back_with_the_weights_and_ends_with_the_training():
    config = TrainConfig(epochs=12, learning_rate=1.0, warmup_epochs=2, sparsity=0.5, rewind=1)
    dense = replace(config, sparsity=0.0)
    for progress in (0, 1.3, 5.9):
        assert learning_rate(progress, config) == learning_rate(progress, dense)
    assert learning_rate(6, config) == learning_rate(1, dense)
    assert learning_rate(9, config) == pytest.approx(learning_rate(6.5, dense))
    assert learning_rate(12, config) == pytest.approx(0)
    for progress in (0, 6, 7.7, 12):
        assert learning_rate(progress, replace(config, rewind=6)) == pytest.approx(learning_rate(progress, dense))


def test_a_ticket_still_learns():
    config = replace(CONFIG, epochs=16, sparsity=0.8)
    end = last(fit(network(), DATA.train, TASK, config, seed=0, val=DATA.val))
    assert end.metrics["auc"] > 0.95
    assert end.metrics["sparsity"] == pytest.approx(0.8, abs=1e-3)


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        ({"sparsity": 1.0}, "sparsity is 1.0; expected"),
        ({"sparsity": -0.1}, "sparsity is -0.1; expected"),
        ({"sparsity": float("nan")}, "sparsity is nan; expected"),
        ({"rewind": -1}, "rewind is -1; expected"),
        ({"rewind": 1.5}, "rewind is 1.5; expected"),
        ({"sparsity": 0.5, "rewind": 7}, r"half of 12 epochs .*\(rewind 7\): expected at least 14 epochs"),
        ({"sparsity": 0.5, "rewind": 0, "epochs": 1, "warmup_epochs": 0}, "at least 2 epochs"),
    ],
)
def test_a_pruning_that_cannot_be_is_refused(wrong, says):
    with pytest.raises(ValueError, match=says):
        TrainConfig(**wrong)


def test_a_network_with_nothing_to_prune_is_refused_before_it_is_trained():
    model = nn.Sequential(nn.Conv2d(1, 4, 3), nn.Flatten(), nn.Linear(784, 2))
    before = parameters(model)
    with pytest.raises(ValueError, match="no layer between its first and its last to prune"):
        next(fit(model, DATA.train, TASK, CONFIG, seed=0))
    assert all(torch.equal(before[name], value) for name, value in parameters(model).items())


def test_a_training_stored_before_there_was_pruning_is_dense():
    stored = replace(CONFIG, sparsity=0.0).to_dict()
    del stored["sparsity"], stored["rewind"]
    assert TrainConfig.from_dict(stored) == replace(CONFIG, sparsity=0.0)
