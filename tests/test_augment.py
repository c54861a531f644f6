"""Each augmentation against numpy or scipy, by its stated strength, drawn for every image by itself."""

import math
from dataclasses import fields

import numpy as np
import pytest
import scipy.ndimage
import scipy.stats
import torch

from trainers.batch.augment import augment, blurred, boxes, warp
from trainers.batch.mixing import mix
from trainers.batch.normalise import normalise
from trainers.config import NO_AUGMENTATION, Augmentation


def only(**strengths):
    return Augmentation(**{"rotation": 0, "flip": False, **strengths})


STRENGTHS = {
    "rotation": 180, "flip": True, "shift": 0.2, "noise": 0.3, "d4": True, "zoom": 0.3, "blur": 2.0,
    "brightness": 0.5, "contrast": 0.5, "cutout": 0.4, "mixup": 0.5, "cutmix": 1.0,
}  # fmt: skip


def test_every_augmentation_is_tested_here():
    assert set(STRENGTHS) == {f.name for f in fields(Augmentation)}


def test_none_is_none():
    images = torch.rand(8, 1, 16, 16)
    assert augment(images, NO_AUGMENTATION) is images
    assert only() == NO_AUGMENTATION


@pytest.mark.parametrize("name", STRENGTHS)
def test_each_draws_for_every_image_by_itself_and_repeats_with_its_seed(name):
    same = torch.rand(1, 2, 16, 16).expand(16, -1, -1, -1)
    config = only(**{name: STRENGTHS[name]})

    def changed():
        torch.manual_seed(0)
        if config.mixes:  # what is mixed must differ
            return mix(same + torch.arange(16)[:, None, None, None], config)[0]
        return augment(same, config)

    first = changed()
    assert len({tuple(image.flatten().tolist()) for image in first}) > 1
    assert first.shape == same.shape
    assert first.dtype == same.dtype
    assert torch.equal(first, changed())


@pytest.mark.parametrize("name", sorted(set(STRENGTHS) - {"flip", "d4"}))
def test_more_strength_changes_more(name):
    torch.manual_seed(0)
    images = normalise(torch.rand(64, 1, 24, 24).cumsum(-1) + 9 * torch.rand(64, 1, 1, 1), "log")

    def change(share):
        config = only(**{name: STRENGTHS[name] * share})
        torch.manual_seed(1)
        after = mix(images, config)[0] if config.mixes else augment(images, config)
        return float((after - images).abs().mean())

    assert 0 < change(0.1) < change(1.0)


@pytest.mark.parametrize("degrees", [90, 180, 270])
def test_warping_by_a_right_angle_is_turning_the_image(degrees):
    image = torch.rand(1, 1, 9, 9)
    angle = math.radians(degrees)
    turn = torch.tensor([[[math.cos(angle), -math.sin(angle), 0], [math.sin(angle), math.cos(angle), 0]]])
    turned = warp(image, turn.float())
    candidates = [torch.rot90(image, k, (2, 3)) for k in (degrees // 90, -degrees // 90)]
    assert any(torch.allclose(turned, c, atol=1e-5) for c in candidates)


def test_the_symmetries_of_the_square_are_all_eight_and_equally_likely():
    torch.manual_seed(0)
    image = torch.rand(1, 1, 5, 5)
    turns = [np.rot90(image[0, 0].numpy(), k) for k in range(4)]
    eight = {matrix.tobytes() for turn in turns for matrix in (turn, turn[:, ::-1])}
    drawn = [out[0].numpy().tobytes() for out in augment(image.expand(1600, -1, -1, -1), only(d4=True))]
    assert set(drawn) == eight
    counts = np.array([drawn.count(each) for each in eight])
    assert counts.sum() == 1600
    assert np.abs(counts - 200).max() < 5 * math.sqrt(200)


@pytest.mark.parametrize("chans", [1, 3])
def test_a_blur_is_scipys_gaussian_of_each_images_own_width(chans):
    images, sigma = torch.rand(4, chans, 20, 20), torch.tensor([0.0, 0.4, 1.1, 2.0])
    ours = blurred(images, sigma, radius=6)
    for image, width, out in zip(images, sigma, ours, strict=True):
        for plane, found in zip(image, out, strict=True):
            expected = scipy.ndimage.gaussian_filter(
                plane.double().numpy(), max(float(width), 1e-3), radius=6, mode="mirror"
            )
            np.testing.assert_allclose(found, expected, atol=1e-5)


def test_zoom_magnifies_by_what_it_says_both_ways():
    """The width of a spot in the middle, measured by its second moment."""
    torch.manual_seed(0)
    x = torch.arange(65.0) - 32
    spot = torch.exp(-0.5 * (x[:, None] ** 2 + x**2) / 4**2)[None, None]
    out = augment(spot.expand(400, -1, -1, -1), only(zoom=0.5))[:, 0]
    widths = ((out * x**2).sum((1, 2)) / out.sum((1, 2))).sqrt() / 4
    assert 1 / 1.5 - 0.02 < widths.min() < 0.7
    assert 1.4 < widths.max() < 1.5 + 0.02
    assert widths.log().mean().abs() < 0.05


def test_brightness_and_contrast_are_a_line_within_the_stated_bounds():
    torch.manual_seed(0)
    images = 5 + 2 * torch.randn(200, 1, 16, 16)
    out = augment(images, only(brightness=0.4, contrast=1.0))
    slopes, offsets = [], []
    for before, after in zip(images.flatten(1).numpy(), out.flatten(1).numpy(), strict=True):
        slope, intercept = np.polyfit(before, after, 1)
        np.testing.assert_allclose(after, slope * before + intercept, atol=1e-4)
        slopes.append(slope)
        offsets.append((after.mean() - before.mean()) / before.std(ddof=1))
    assert 0.5 < min(slopes) < 0.55
    assert 1.8 < max(slopes) < 2.0
    assert 0.35 < np.abs(offsets).max() <= 0.4 + 1e-4


def test_noise_has_the_stated_strength():
    torch.manual_seed(0)
    images = normalise(torch.rand(4, 1, 64, 64), "zscore")
    added = augment(images, only(noise=0.3)) - images
    assert float(added.std()) == pytest.approx(0.3, rel=0.05)


def test_cutout_hides_one_square_behind_the_mean():
    torch.manual_seed(0)
    images = torch.rand(100, 2, 20, 20)
    out = augment(images, only(cutout=0.5))
    for before, after in zip(images, out, strict=True):
        hidden = (before != after).any(0).numpy()
        rows, columns = np.flatnonzero(hidden.any(1)), np.flatnonzero(hidden.any(0))
        assert len(rows) <= 10
        assert len(columns) <= 10
        assert hidden[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1].all(), "a rectangle without holes"
        for plane, covered in zip(before, after, strict=True):
            np.testing.assert_allclose(covered[hidden], plane.mean(), rtol=1e-5)


def test_boxes_have_the_stated_side_where_they_lie_inside():
    torch.manual_seed(0)
    areas = boxes(torch.full((500,), 0.5), 20).sum((1, 2, 3))
    assert areas.max() == 100
    assert areas.min() < 60, "some stick out"


@pytest.mark.parametrize(
    ("strengths", "share"), [({"mixup": 0.4}, 0.0), ({"cutmix": 1.0}, 1.0), ({"mixup": 0.4, "cutmix": 1.0}, 0.5)]
)
def test_what_is_mixed_is_mixed_in_the_stated_shares(strengths, share):
    """`share` of the images have a square pasted in, the rest are blended."""
    torch.manual_seed(0)
    images = torch.rand(600, 2, 20, 20)
    out, partner, weight = (t.numpy() for t in mix(images, only(**strengths)))
    images, cut = images.numpy(), []
    assert sorted(partner) == list(range(600))
    for i in np.flatnonzero(partner != np.arange(600)):
        own, other = images[i], images[partner[i]]
        kept, pasted = (out[i] == own).all(0), (out[i] == other).all(0)
        cut.append((kept | pasted).all())
        if cut[-1]:
            assert weight[i] == pytest.approx(kept.mean(), abs=1e-5)
        else:
            np.testing.assert_allclose(out[i], weight[i] * own + (1 - weight[i]) * other, atol=1e-5)
    assert np.mean(cut) == pytest.approx(share, abs=0.1)


def test_the_weights_of_mixup_follow_their_beta_distribution():
    torch.manual_seed(0)
    weight = mix(torch.rand(2000, 1, 2, 2), only(mixup=0.4))[2].numpy()
    assert scipy.stats.kstest(weight, scipy.stats.beta(0.4, 0.4).cdf).pvalue > 1e-3


@pytest.mark.parametrize(("name", "value"), [("rotation", 181), ("zoom", -0.1), ("cutout", 1.5), ("mixup", 11)])
def test_a_strength_that_cannot_be_is_refused(name, value):
    with pytest.raises(ValueError, match=f"augmentation {name} is {value}"):
        only(**{name: value})
