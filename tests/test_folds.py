"""Folds part the images of training and validation, and the finals validate on one after the other."""

import pytest
import torch

from nas.workers.training import Problem, set_up
from trainers.data import Simulated, Split, load, source_to_dict
from trainers.data.dataset import Dataset
from trainers.data.folds import fold
from trainers.errors import TrainingError


def made(labels, objects, offset=0):
    images = torch.arange(len(labels)).view(-1, 1, 1, 1).expand(-1, 1, 8, 8) + offset
    return Split(images.contiguous(), torch.tensor(labels), {"mass": torch.arange(len(labels)) + offset}, objects)


@pytest.mark.parametrize("seed", [0, 1])
def test_folds_part_all_images_by_object_and_class_and_leave_the_test_alone(seed):
    train = made([0, 1, 2] * 50, torch.arange(150) // 3 * 3 + torch.arange(150) % 3)
    train.objects[30:36] = train.objects[:6]  # copies
    val = made([0, 1, 2] * 10, torch.arange(30) + 1000, offset=150)
    val.objects[:3] = train.objects[:3]
    data = Dataset("d", ("a", "b", "c"), train, val, made([0, 1], torch.tensor([7, 8])))
    seen = []
    for k in range(5):
        part = fold(data, k, 5, seed)
        assert part.test is data.test
        assert len(part.train) + len(part.val) == 180
        assert not set(part.train.objects.tolist()) & set(part.val.objects.tolist())
        per_class = part.val.labels.bincount()
        assert per_class.max() - per_class.min() <= 4, "the copies make a difference"
        assert torch.equal(part.val.targets["mass"], part.val.images[:][:, 0, 0, 0])
        seen += part.val.images[:][:, 0, 0, 0].tolist()
    assert sorted(seen) == list(range(180))


def test_more_folds_than_objects_of_a_class_are_refused():
    data = Dataset("d", ("a", "b"), made([0] * 9 + [1] * 3, None), made([0, 1], None), made([0, 1], None))
    with pytest.raises(TrainingError, match="folds is 5, but one class has only 4 objects"):
        fold(data, 0, 5)


def test_small_classes_do_not_all_fill_the_first_folds():
    classes = tuple("abcdefghij")
    data = Dataset("d", classes, made(list(range(10)) * 6, None), made([], None), made([0, 1], None))
    assert sorted(len(fold(data, k, 5).val) for k in range(5)) == [12] * 5


def test_a_configuration_with_a_fold_is_trained_on_the_others(tmp_path, monkeypatch):
    monkeypatch.setenv("NAS_CACHE", str(tmp_path))
    source = Simulated(images=60, image_size=16)
    config = {"architecture": {"kind": "toy", "name": "lenet"}, "training": {"epochs": 2}, "seed": 0}
    whole = load(source, progress=False)
    found = set_up({**config, "fold": [2, 3]}, Problem(source_to_dict(source), "substructure")).data
    expected = fold(whole, 2, 3)
    assert torch.equal(found.val.images[:], expected.val.images[:])
    assert torch.equal(found.train.labels, expected.train.labels)
    assert len(found.val) == pytest.approx((len(whole.train) + len(whole.val)) / 3, abs=2)


def test_a_measured_number_is_divided_whatever_the_classes():
    data = Dataset("d", ("a", "b"), made([0] * 9 + [1], None), made([0] * 5, None), made([0, 1], None))
    parts = [len(fold(data, k, 5, by_class=False).val) for k in range(5)]
    assert parts == [3] * 5
