import math

import pytest
import torch

from search_space import Hybrid, Stage, Toy, build_model, cost

IMAGE = {"in_chans": 1, "image_size": 64, "num_outputs": 3}


def net(mixer, **options):
    return Hybrid(stages=(Stage(mixer, 1, 32, 2.0, options=options),), patch=8)


N, C = 64, 32  # tokens and channels of `net`
REST = N * (8 * 8) * C + N * 2 * C * (2 * C) + C * 3  # patch stem, MLP, head


@pytest.mark.parametrize(
    ("architecture", "macs"),
    [
        (net("conv", variant="separable", kernel=5), N * C * 25 + N * C * C),
        (net("attention", heads=4), N * C * 4 * C + 2 * N * N * C),
        # six channels more per head for the bias, and a 2 x 2 product per head and token to make them
        (net("anisotropic", variant="gaussian", heads=4), N * C * 4 * C + 2 * N * N * (C + 6 * 4) + 4 * N * 4),
        (net("anisotropic", variant="axial", heads=4), N * C * 7 * C + 2 * 2 * N * 8 * C),
        (net("anisotropic", variant="cross", heads=4, stripe=2), N * C * (4 * C + 9) + 2 * N * 16 * C),
        (net("window", variant="v1", heads=2, size=4), N * C * 4 * C + 2 * N * 16 * C),
        (net("mlp", variant="mixer", ratio=0.5), 2 * C * N * 32),
        (net("mlp", variant="resmlp"), C * N * N),
        (net("conv", variant="residual"), 2 * N * C * C * 9 - N * 2 * C * 2 * C),  # and no MLP
        # keys by values, then queries by that: both D x D per token and head
        (net("linear_attention", heads=4), N * C * (4 * C + 25) + 2 * N * C * 8 + N * C),
        (net("conv", variant="gated", kernel=7, expand=2), N * C * (6 * C + 49) - N * 2 * C * 2 * C),  # and no MLP
        (net("fourier", variant="fnet2d"), round(5 * N * C * math.log2(N * C)) // 2),
    ],
    ids=lambda value: value.stages[0].mixer if isinstance(value, Hybrid) else "",
)
def test_the_count_is_the_hand_count(architecture, macs):
    assert cost(architecture, **IMAGE).macs == macs + REST


def test_a_real_transform_counts_half_of_a_complex_one():
    from search_space.cost import fft_flops

    assert fft_flops((4, 8), (1,)) == 5 * 4 * 8 * 3
    assert fft_flops((4, 8), (0, 1)) == 5 * 4 * 8 * (2 + 3)


def test_toys_are_counted_too():
    assert cost(Toy("mlp"), **IMAGE).macs == 64 * 64 * 128 + 128 * 64 + 64 * 3


@pytest.mark.parametrize("architecture", [net("attention"), net("window"), Toy("resnet2")], ids=lambda a: a.kind)
def test_parameters_are_those_of_the_built_network(architecture):
    built = build_model(architecture, **IMAGE)
    assert cost(architecture, **IMAGE).parameters == sum(p.numel() for p in built.parameters())


def test_counting_leaves_the_random_numbers_alone():
    torch.manual_seed(0)
    expected = torch.rand(1)
    torch.manual_seed(0)
    cost(net("window"), **IMAGE)
    assert torch.rand(1) == expected
