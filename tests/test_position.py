import math

import pytest
import torch
from timm.layers import RelPosBias

from search_space import ArchitectureError, Hybrid, Stage, build_model
from search_space.architecture import ABSOLUTE
from search_space.parts.position import build_position, fixed_1d, fixed_2d
from search_space.parts.relation import RelativeBias, Rotary


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


@pytest.mark.parametrize("kind", ["fixed_1d", "fixed_2d", "learnable", "learnable_2d"])
def test_every_embedding_tells_tokens_apart(kind):
    tokens = build_position(kind, (6, 7), 32)(torch.zeros(1, 6, 7, 32)).flatten(1, 2)[0]
    distance = torch.cdist(tokens, tokens) + torch.eye(42)
    assert distance.min() > 1e-3


def test_a_width_without_pairs_of_sines_and_cosines_is_refused():
    with pytest.raises(ArchitectureError, match="width 6"):
        fixed_2d((4, 4), 6)


def test_a_learnable_2d_embedding_is_a_row_plus_a_column():
    tokens = build_position("learnable_2d", (4, 5), 8)(torch.zeros(1, 4, 5, 8))[0]
    torch.testing.assert_close(tokens[1, 2] - tokens[1, 4], tokens[3, 2] - tokens[3, 4])


def test_a_conditional_embedding_knows_the_edges_and_moves_with_the_content_elsewhere():
    torch.manual_seed(0)
    position = build_position("conditional", (8, 8), 4)
    even = position(torch.ones(1, 8, 8, 4))
    assert not torch.allclose(even[:, 0], even[:, 4])
    x = torch.zeros(1, 8, 8, 4)
    x[:, 3, 3] = 1
    torch.testing.assert_close(
        position(x).roll((1, 1), (1, 2))[:, 2:7, 2:7], position(x.roll((1, 1), (1, 2)))[:, 2:7, 2:7]
    )


def test_the_relative_bias_is_timms():
    ours, theirs = RelativeBias((4, 4), 2), RelPosBias((4, 4), 2)
    theirs.relative_position_bias_table.data.copy_(ours.table.T)
    torch.testing.assert_close(ours()[None], theirs.get_bias())


def test_rotated_queries_and_keys_see_only_how_tokens_stand_to_each_other():
    torch.manual_seed(0)
    rotary = Rotary((6, 7), 16)
    q, k = (rotary(torch.randn(16).expand(1, 1, 42, 16))[0, 0].view(6, 7, 16) for _ in range(2))
    torch.testing.assert_close(q[0, 0] @ k[2, 3], q[3, 2] @ k[5, 5], rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(q[4, 4] @ k[1, 2], q[5, 6] @ k[2, 4], rtol=1e-4, atol=1e-5)
    assert not torch.isclose(q[0, 0] @ k[2, 3], q[0, 0] @ k[3, 2])
    torch.testing.assert_close(q.norm(dim=-1), q[0, 0].norm().expand(6, 7))


def test_rotation_leaves_the_class_token_alone():
    x = torch.randn(1, 2, 1 + 12, 8)
    rotary = Rotary((3, 4), 8)
    turned = rotary(x)
    assert torch.equal(turned[:, :, :1], x[:, :, :1])
    assert torch.equal(turned[:, :, 1:], rotary(x[:, :, 1:]))


def network(mixer="attention", depth=3, **position):
    return Hybrid((Stage(mixer, depth, 16, options={"heads": 2} if mixer == "attention" else {}),), patch=8, **position)


def tables(hybrid):
    model = build_model(hybrid, in_chans=1, image_size=32, num_outputs=2)
    names = ("position", "relative")
    return len(
        [
            name
            for name, _ in model.named_parameters()
            if any(part in name.split(".") for part in names) or name.split(".")[2:3] == ["positions"]
        ]
    )


@pytest.mark.parametrize(("kind", "each"), [("learnable", 1), ("learnable_2d", 2), ("conditional", 2)])
def test_an_embedding_stands_once_or_before_every_block_with_own_or_shared_weights(kind, each):
    assert tables(network(position=kind)) == each
    assert tables(network(position=kind, position_place="blocks")) == 3 * each
    assert tables(network(position=kind, position_place="blocks", position_shared=True)) == each


def test_a_relative_bias_has_own_or_shared_weights():
    assert tables(network(position="relative")) == 3
    assert tables(network(position="relative", position_shared=True)) == 1


def test_a_shared_table_is_stored_once_and_trains_through_every_block():
    model = build_model(network(position="relative", position_shared=True), in_chans=1, image_size=32, num_outputs=2)
    storages = [value.data_ptr() for value in model.state_dict().values()]
    assert len(storages) == len(set(storages))
    mixers_ = [block.mixer for block in model.stages[0].blocks]
    assert all(mixer.relative is mixers_[0].relative for mixer in mixers_)


@pytest.mark.parametrize("kind", ["relative", "rotary"])
def test_a_relational_position_without_attention_is_refused(kind):
    with pytest.raises(ArchitectureError, match=kind):
        build_model(network("conv", position=kind), in_chans=1, image_size=32, num_outputs=2)


@pytest.mark.parametrize("place", ["once", "blocks"])
@pytest.mark.parametrize("kind", [*ABSOLUTE, "relative", "rotary"])
def test_every_position_lets_attention_tell_a_shuffled_image_from_the_image(kind, place):
    torch.manual_seed(0)
    model = build_model(network(position=kind, position_place=place), in_chans=1, image_size=32, num_outputs=2)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "position" in name or "relative" in name:
                parameter.normal_()
    image = torch.randn(1, 1, 32, 32)
    shuffled = image.view(1, 1, 2, 16, 32).flip(2).reshape(image.shape)  # whole patches change places
    same = torch.allclose(model(image), model(shuffled), atol=1e-5)
    assert same == (kind == "none")
