"""What is handed out is chosen on validation images by what it is for, and combined as it was chosen."""

import dataclasses
import itertools
import math

import numpy as np
import pytest
import torch

from nas.retraining.ensembles import Group, Judge, greedy, of_trial, pooled, select
from nas.retraining.handing_out import error_correlation
from nas.retraining.job import NetworkResult, Retraining
from nas.retraining.retrained import Member
from trainers.batch.normalise import Normalisation
from trainers.regression import Regression
from trainers.tasks.substructure import Task

TASK = Task(classes=("a", "b"))


def mean(predictions):
    return torch.stack(list(predictions)).mean(0)


@pytest.mark.parametrize("seed", range(5))
def test_a_greedy_ensemble_is_the_best_multiset_of_its_predictions(seed):
    """Three noisy measurements of which one is worse: small enough to try every multiset of up to four."""
    rng = np.random.default_rng(seed)
    truth = torch.from_numpy(rng.standard_normal(400))
    predictions = [truth + scale * torch.from_numpy(rng.standard_normal(400)) for scale in (1.0, 1.2, 4.0)]

    def judge(predicted):
        return -float(((predicted - truth) ** 2).mean())

    times, value = greedy(predictions, judge, mean, rounds=4)
    every = {
        chosen: judge(mean(predictions[i] for i in chosen))
        for size in range(1, 5)
        for chosen in itertools.combinations_with_replacement(range(3), size)
    }
    best = max(every, key=every.__getitem__)
    assert times == [best.count(i) for i in range(3)]
    assert value == pytest.approx(every[best])
    assert times[0] >= times[1] > times[2]


def test_a_member_that_only_harms_is_left_out_and_equals_count_once():
    truth = torch.tensor([0.0, 1.0, 2.0, 3.0])
    predictions = [truth + 0.125, truth + 0.125, truth + 5]
    assert greedy(predictions, lambda p: -float((p - truth).abs().mean()), mean) == ([1, 0, 0], -0.125)
    assert greedy(predictions, lambda p: -math.inf, mean)[0] == [1, 0, 0], "the first if none can be judged"


def network(seed, probability):
    predictions = torch.full((8, 4, 2), 0.5).double()
    predictions[..., 0], predictions[..., 1] = probability, 1 - probability
    return NetworkResult(seed, {}, predictions, {}, 1.0, Normalisation("zscore"), TASK)


def group(trial, *probabilities, held_out=None):
    networks = tuple(network(seed, p) for seed, p in enumerate(probabilities))
    members = tuple(Member(trial, seed) for seed in range(len(networks)))
    predicted = networks[0].predictions if held_out is None else held_out
    return Group(members, networks, predicted, 1, (predicted,))


def test_a_configuration_of_more_held_out_networks_is_judged_by_as_many_as_the_others():
    rng = np.random.default_rng(0)
    truth = torch.from_numpy(rng.integers(0, 2, 60))

    def noisy():
        upright = torch.sigmoid(2.0 * truth - 1 + 2.0 * torch.from_numpy(rng.standard_normal(60)))
        return torch.stack([1 - upright, upright], -1).expand(8, -1, -1)

    good, others = noisy(), (noisy(), noisy(), noisy())
    several = Group((Member(1, 0),), (network(0, 0.5),), torch.stack(others).mean(0), 3, others)
    judge = Judge(TASK, truth, "auc")
    alone = Group((Member(1, 0),), (network(0, 0.5),), others[0], 1, others[:1])
    assert select([group(0, 0.5, held_out=good), several], judge) == select(
        [group(0, 0.5, held_out=good), alone], judge
    )


@pytest.mark.parametrize(
    ("failed", "together", "alone"),
    [
        ((), (3, [1, 2, 3]), [1, 2, 3]), (("held out 2",), (1, [1]), [1, 1, 3]), (("whole 2",), (2, [1, 3]), [1, 3]),
        (("whole 1", "held out 2"), (1, [1]), [1, 3]),
        (("held out 1", "held out 2", "held out 3"), (0, []), [None] * 3),
    ],
)  # fmt: skip
def test_a_network_is_calibrated_by_the_held_out_one_of_its_own_seed_or_another_stands_for_it(
    monkeypatch, failed, together, alone
):
    def held_out(job):
        lost = not job.held_out or f"held out {job.seed}" in failed
        return None if lost else torch.full((8, 4, 2), float(job.seed))

    monkeypatch.setattr("nas.retraining.ensembles.held_out_predictions", held_out)
    monkeypatch.setattr("nas.retraining.ensembles.result", lambda job: network(job.seed, 0.5))
    every = [Retraining(7, {"seed": seed}, None, "", "") for seed in (1, 2, 3)]
    whole = [job for job in every if f"whole {job.seed}" not in failed]
    first, *each = of_trial(7, whole, [dataclasses.replace(job, held_out=True) for job in every], TASK)
    assert (first.predicted_by, [float(p[0, 0, 0]) for p in first.each]) == together
    assert [None if g.held_out is None else float(g.held_out[0, 0, 0]) for g in each] == alone


def test_a_configuration_counts_as_chosen_however_many_seeds_it_has():
    """Twice trial 0 with three seeds, once trial 1 with two, never trial 2."""
    groups = [group(0, 0.1, 0.2, 0.6), group(1, 0.5, 0.9), group(2, 0.0)]
    together = pooled(groups, [2, 1, 0], TASK)
    assert {m.trial for m in together.members} == {0, 1}
    weights = [m.times for m in together.members]
    assert weights == [4, 4, 4, 3, 3]
    each = [n.predictions for m, n in zip(together.members, together.networks, strict=True) for _ in range(m.times)]
    assert float(TASK.combine(each)[0, 0, 0]) == pytest.approx((2 * 0.3 + 0.7) / 3)
    assert together.held_out.shape == (8, 4, 2)
    assert float(together.held_out[0, 0, 0]) == pytest.approx((2 * 0.1 + 0.5) / 3)
    assert together.predicted_by == 2


def views_of(upright, others):
    """Held-out probabilities of class a for four images: of the first view, and of the seven others."""
    a = torch.tensor([upright] + [others] * 7).double()
    return torch.stack([a, 1 - a], -1)


@pytest.mark.parametrize(
    ("upright", "others", "views"),
    [
        ([0.4, 0.6, 0.5, 0.3], [0.9, 0.8, 0.2, 0.1], 8),
        ([0.9, 0.8, 0.2, 0.1], [0.1, 0.2, 0.8, 0.9], 1),
        ([0.9, 0.8, 0.2, 0.1], [0.91, 0.8, 0.2, 0.1], 8),
        ([0.9, 0.8, 0.2, 0.1], [0.9, 0.8, 0.2, 0.1], 1),
    ],
)
def test_eight_views_are_taken_unless_one_is_better_on_validation_images_or_all_are_the_same(upright, others, views):
    judge = Judge(TASK, torch.tensor([0, 0, 1, 1]), "auc_d4_worst")
    held_out = views_of(upright, others)
    assert judge.best_views(held_out) == views
    assert select([group(0, 0.5, held_out=held_out)], judge) == ([1], views)


def test_a_judge_follows_the_direction_of_the_objective():
    truth = torch.tensor([0, 1])
    good, bad = (torch.tensor([[p, 1 - p], [1 - p, p]]).double() for p in (0.9, 0.6))
    for objective in ("loss_d4_mean", "ece", "loss_d4_views"):
        judge = Judge(TASK, truth, objective)
        assert judge(good) > judge(bad)
    one_class = Judge(TASK, torch.tensor([0, 0]), "auc")
    assert one_class(good) == -math.inf, "an AUC of one class is no reason for anything"


def test_the_correlation_of_errors_is_the_mean_over_pairs_of_networks():
    rng = np.random.default_rng(0)
    classes, truth = Task(classes=("a", "b", "c")), torch.from_numpy(rng.integers(3, size=40))
    predictions = [torch.from_numpy(rng.dirichlet(np.ones(3), 40)) for _ in range(3)]
    errors = [[1 - p[i, k].item() for i, k in enumerate(truth.tolist())] for p in predictions]
    pairs = [np.corrcoef(errors[i], errors[j])[0, 1] for i, j in ((0, 1), (0, 2), (1, 2))]
    assert error_correlation(predictions, truth, classes) == pytest.approx(np.mean(pairs))
    assert error_correlation([predictions[0]] * 2, truth, classes) == pytest.approx(1)
    assert error_correlation(predictions[:1], truth, classes) is None
    assert error_correlation([torch.full((40, 3), 1 / 3)] * 2, truth, classes) is None, "nothing varies"

    numbers = Regression(("x", "y"), with_sigma=True, mean=(0, 0), sd=(1, 1))
    values = torch.from_numpy(rng.random((40, 2)))
    measured = [torch.from_numpy(rng.random((40, 4))) for _ in range(2)]
    of_targets = [np.corrcoef(*[(m[:, k] - values[:, k]).numpy() for m in measured])[0, 1] for k in range(2)]
    assert error_correlation(measured, values, numbers) == pytest.approx(np.mean(of_targets))
