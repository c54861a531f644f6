"""What calibration promises: the factor that fits held-out images best, and no certainty from a few of them."""

import dataclasses

import numpy as np
import pytest
import torch

from trainers import calibrate
from trainers.regression import Regression
from trainers.tasks.substructure import Task

TASK = Task(classes=("axion", "cdm", "no_sub"))


def drawn(n, temperature, seed=0):
    """Probabilities, and labels that follow them at this temperature."""
    rng = np.random.default_rng(seed)
    logits = 2 * rng.standard_normal((n, 3))
    true = np.exp(logits / temperature)
    labels = [rng.choice(3, p=p / p.sum()) for p in true]
    return torch.from_numpy(logits).softmax(-1), torch.tensor(labels)


@pytest.mark.parametrize("temperature", [0.4, 1.0, 2.5])
def test_the_temperature_by_which_labels_were_drawn_is_found(temperature):
    assert calibrate.temperature(*drawn(20_000, temperature)) == pytest.approx(temperature, rel=0.03)


def test_the_temperature_has_the_smallest_loss_of_a_fine_grid():
    probabilities, labels = drawn(60, 0.5)
    target = np.array([[60 / 61 if j == k else 1 / 61 / 2 for j in range(3)] for k in labels])  # one mistake more

    def loss(temperature):
        powers = probabilities.numpy() ** (1 / temperature)
        return -(target * np.log(powers / powers.sum(1, keepdims=True))).sum(1).mean()

    grid = np.geomspace(0.1, 10, 4001)
    found = calibrate.temperature(probabilities, labels)
    assert found == pytest.approx(grid[np.argmin([loss(t) for t in grid])], rel=2e-3)


def test_a_network_without_a_mistake_in_few_images_is_not_made_certain():
    labels = torch.arange(3).repeat(20)
    probabilities = torch.nn.functional.one_hot(labels, 3).double() * 0.7 + 0.1
    confidence = calibrate.apply(calibrate.fit(probabilities, labels, TASK), probabilities, TASK).max(-1).values
    assert float(confidence.min()) > 0.9
    assert float(confidence.max()) <= 60 / 61 + 1e-6


def test_a_good_network_that_is_calibrated_stays_as_it_is():
    """Of 600 images it gets about twelve wrong, and knows it."""
    found = []
    for seed in range(20):
        rng = np.random.default_rng(seed)
        logits = 6 * np.eye(3)[rng.integers(0, 3, 600)] + 1.5 * rng.standard_normal((600, 3))
        probabilities = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
        labels = [rng.choice(3, p=p) for p in probabilities]
        found.append(calibrate.temperature(torch.from_numpy(probabilities), torch.tensor(labels)))
    assert np.exp(np.mean(np.log(found))) == pytest.approx(1, abs=0.12)


def test_calibrated_probabilities_sum_to_one_and_keep_their_order_and_a_temperature_of_one_changes_nothing():
    probabilities, _ = drawn(50, 1.0)
    assert torch.allclose(calibrate.apply(1.0, probabilities, TASK), probabilities, rtol=0, atol=1e-12)
    softer = calibrate.apply(3.0, probabilities.expand(8, -1, -1), TASK)
    assert torch.allclose(softer.sum(-1), torch.ones(8, 50).double())
    assert torch.equal(softer[5].argsort(-1), probabilities.argsort(-1))
    assert (softer[0].max(-1).values < probabilities.max(-1).values).all()
    assert calibrate.apply(2.0, torch.tensor([[1.0, 0.0, 0.0]]).double(), TASK).isfinite().all()


def test_standard_deviations_get_unit_errors_and_bare_numbers_nothing():
    rng = np.random.default_rng(0)
    task = Regression(("radius", "mass"), with_sigma=True, mean=(0.0, 0.0), sd=(1.0, 1.0))
    truth = torch.from_numpy(rng.standard_normal((500, 2)))
    errors = torch.tensor([3.0, 0.2]) * torch.from_numpy(rng.standard_normal((500, 2)))
    predicted = torch.cat([truth + errors, torch.ones(500, 2).double()], 1)
    scaled = calibrate.apply(calibrate.fit(predicted, truth, task), predicted, task)
    for_each = (((scaled[:, :2] - truth) / scaled[:, 2:]) ** 2).mean(0)
    assert for_each.tolist() == pytest.approx([1, 1]), "each number has a factor of its own"
    assert torch.equal(calibrate.apply(2.0, predicted, task)[:, 2:], 2 * predicted[:, 2:]), "as earlier versions had"
    assert torch.equal(scaled[:, :2], predicted[:, :2])
    bare = dataclasses.replace(task, with_sigma=False)
    assert calibrate.fit(predicted[:, :2], truth, bare) is None
    assert calibrate.apply(None, predicted, bare) is predicted
