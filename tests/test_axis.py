"""The search for a preferred axis: found where images share one, not found where they do not."""

from pathlib import Path

import pytest
import torch

from trainers.data import Folder, Simulated, Split, load
from trainers.data.axis import Axis, preferred_axis

LENSES = Path(__file__).resolve().parents[2] / "shared/data/lenses"


def split(images, labels=None):
    labels = torch.zeros(len(images), dtype=torch.long) if labels is None else labels
    return Split(images, labels, {})


def blobs(angles, size=16, offset=0.0):
    """Elongated blobs at these position angles in noise, (N, 1, size, size), moved along them by `offset`."""
    generator = torch.Generator().manual_seed(0)
    y, x = torch.meshgrid(*[torch.arange(size) - (size - 1) / 2] * 2, indexing="ij")
    cos, sin = angles.cos()[:, None, None], angles.sin()[:, None, None]
    along, across = x * cos + y * sin - offset, y * cos - x * sin
    light = torch.exp(-0.5 * ((along / 4) ** 2 + (across / 3) ** 2))
    return (light + 0.1 * torch.randn(light.shape, generator=generator))[:, None]


def random_angles(n):
    return 2 * torch.pi * torch.rand(n, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize(("preset", "found"), [("fair", False), ("varied", False), ("deeplense-1", True)])
def test_simulated_lenses_have_an_axis_only_if_their_population_is_upright(preset, found, tmp_path):
    data = load(Simulated(preset, images=300, image_size=32), progress=False, cache=tmp_path)
    assert preferred_axis(data.train).found == found


@pytest.mark.skipif(not LENSES.is_dir(), reason="needs ../shared/data/lenses")
def test_the_lenses_of_deeplense_have_an_axis(tmp_path):
    assert preferred_axis(load(Folder(str(LENSES), image_size=32), progress=False, cache=tmp_path).train).share > 0.8


@pytest.mark.parametrize("angle", [0.0, 0.3, torch.pi / 4, 2.0])
def test_an_axis_at_any_angle_is_found_and_random_angles_are_none(angle):
    assert preferred_axis(split(blobs(torch.full((400,), angle)))).share > 0.9
    assert not preferred_axis(split(blobs(random_angles(400)))).found


def test_a_direction_along_an_axis_is_found_too():
    """Lights above and below the middle, more above: half a turn shows it, and the elongation is at random angles."""
    up = torch.full((400,), torch.pi / 2)
    assert preferred_axis(split(blobs(random_angles(400)) + blobs(up, offset=5.0))).found


def test_perpendicular_axes_of_two_classes_do_not_cancel():
    labels = torch.arange(400) % 2
    images = blobs(labels * torch.pi / 2)
    assert preferred_axis(split(images, labels)).found
    assert not preferred_axis(split(images[torch.randperm(400, generator=torch.Generator().manual_seed(2))])).found


@pytest.mark.parametrize("quarters", [1, 2, 3])
def test_turning_all_images_changes_nothing(quarters):
    images = blobs(0.5 + 0.3 * torch.randn(300, generator=torch.Generator().manual_seed(3)))
    turned = images.rot90(quarters, (2, 3))
    assert preferred_axis(split(turned)).share == pytest.approx(preferred_axis(split(images)).share, abs=0.01)


def test_noise_is_not_taken_for_an_axis():
    generator = torch.Generator().manual_seed(0)
    found = [preferred_axis(split(torch.randn(n, 3, 16, 16, generator=generator))) for n in [20, 100, 400] * 30]
    assert not any(axis.found for axis in found)
    assert sum(axis.share * axis.images for axis in found) / sum(axis.images for axis in found) < 0.54


@pytest.mark.parametrize("count", [1, 2, 7])
def test_few_or_empty_images_have_no_axis(count):
    for images in (torch.zeros(count, 1, 8, 8), torch.ones(count, 2, 9, 9, dtype=torch.uint8)):
        assert not preferred_axis(split(images)).found


def test_of_many_images_some_are_looked_at_whatever_the_order_of_their_classes():
    labels = torch.arange(9000) % 3
    images = torch.randn(9000, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    images[labels == 2, :, 3:5] += 3
    found = preferred_axis(split(images, labels))
    assert found.images < 9000
    assert found.share == pytest.approx(2 / 3, abs=0.05), "all of one class, half of the two others"


def test_a_small_or_an_uncertain_share_is_no_finding():
    assert not Axis(0.59, 10_000).found
    assert not Axis(0.75, 30).found
    assert Axis(0.61, 10_000).found
