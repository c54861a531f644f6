import math

import pytest
import torch

from search_space.position import build_position, fixed_1d, fixed_2d


def wave(position, channel, dim):
    """Element `channel` of the sine-cosine embedding, from the formula."""
    half = dim // 2
    angle = position / 10000 ** (2 * (channel % half) / dim)
    return math.sin(angle) if channel < half else math.cos(angle)


def test_fixed_1d_is_the_formula():
    table = fixed_1d((3, 4), 8)
    for i in range(3):
        for j in range(4):
            for channel in range(8):
                assert table[i, j, channel].item() == pytest.approx(wave(4 * i + j, channel, 8), abs=1e-6)


def test_fixed_2d_is_the_formula_for_rows_and_for_columns():
    table = fixed_2d((3, 4), 8)
    for i in range(3):
        for j in range(4):
            for channel in range(4):
                assert table[i, j, channel].item() == pytest.approx(wave(i, channel, 4), abs=1e-6)
                assert table[i, j, 4 + channel].item() == pytest.approx(wave(j, channel, 4), abs=1e-6)


@pytest.mark.parametrize("kind", ["fixed_1d", "fixed_2d", "learnable"])
def test_every_embedding_tells_tokens_apart(kind):
    tokens = build_position(kind, (6, 7), 32)(torch.zeros(1, 6, 7, 32)).flatten(1, 2)[0]
    distance = torch.cdist(tokens, tokens) + torch.eye(42)
    assert distance.min() > 1e-3


def test_a_width_without_pairs_of_sines_and_cosines_is_refused():
    with pytest.raises(ValueError, match="width 6"):
        fixed_2d((4, 4), 6)
