"""Whole networks: they run, they learn, and the parts are what they say."""

import math

import pytest
import torch
import torch.nn.functional as F
from timm.layers import AttentionPoolLatent
from timm.models.vision_transformer import Block as TimmBlock

from search_space import ArchitectureError, Hybrid, Stage, Toy, build_model, mixers
from search_space.architecture import TOYS
from search_space.mixers import attention
from search_space.model import drop_path_rates
from search_space.parts.block import Block
from search_space.parts.head import AttentionPool
from search_space.parts.stem import Downsample, PatchStem

ALL = [(name, variant) for name in mixers.known() for variant in mixers.variants(name) or (None,)]


def options(variant):
    return {"variant": variant} if variant else {}


def bars(count, size=64, seed=0):
    """Bars at one of two orientations through random places, in noise: (count, 1, size, size), labels."""
    generator = torch.Generator().manual_seed(seed)
    labels = torch.arange(count) % 2
    angle = labels * math.pi / 2 + torch.randn(count, generator=generator) * 0.2
    centre = (torch.rand(count, 2, generator=generator) - 0.5) * size / 2
    y, x = torch.meshgrid(*[torch.arange(size) - size / 2] * 2, indexing="ij")
    y, x = y - centre[:, :1, None], x - centre[:, 1:, None]
    cosine, sine = angle.cos()[:, None, None], angle.sin()[:, None, None]
    along, across = x * cosine + y * sine, y * cosine - x * sine
    image = torch.exp(-0.5 * ((along / 16) ** 2 + (across / 2) ** 2))
    return (image + 0.1 * torch.randn(image.shape, generator=generator))[:, None], labels


@pytest.mark.parametrize("image_size", [64, 150])
@pytest.mark.parametrize("name", TOYS)
def test_toys_run_at_any_size(name, image_size):
    model = build_model(Toy(name), in_chans=2, image_size=image_size, num_outputs=4)
    assert model(torch.randn(2, 2, image_size, image_size)).shape == (2, 4)


@pytest.mark.parametrize(("name", "variant"), ALL)
def test_every_mixer_learns(name, variant):
    torch.manual_seed(0)
    stages = (Stage(name, 2, 32, 1.0, options=options(variant)),)
    model = build_model(Hybrid(stages, patch=8, position="learnable"), in_chans=1, image_size=64, num_outputs=2)
    optimiser = torch.optim.AdamW(model.parameters(), lr=3e-3)
    images, labels = bars(512)
    for step in range(64):
        batch = slice(32 * (step % 16), 32 * (step % 16) + 32)
        optimiser.zero_grad()
        F.cross_entropy(model(images[batch]), labels[batch]).backward()
        optimiser.step()
    model.eval()
    images, labels = bars(256, seed=1)
    with torch.no_grad():
        accuracy = (model(images).argmax(1) == labels).float().mean()
    assert accuracy > 0.85


@pytest.mark.parametrize("image_size", [64, 150])
@pytest.mark.parametrize("head", ["average", "class_token", "attention"])
@pytest.mark.parametrize("stem", ["patch", "conv"])
def test_mixers_and_widths_combine_in_any_order(stem, head, image_size):
    isotropic = head != "average"
    names = [*mixers.known(), "attention"]
    stages = tuple(
        Stage(name, 2 if name == "window" else 1, 32 + 16 * (i % 2), 1.0, downsample=i in (2, 5) and not isotropic)
        for i, name in enumerate(names)
    )
    network = Hybrid(stages, patch=8, stem=stem, head=head, position="fixed_2d", drop_path=0.2)
    model = build_model(network, in_chans=3, image_size=image_size, num_outputs=2)
    out = model(torch.randn(2, 3, image_size, image_size))
    assert out.shape == (2, 2)
    out.sum().backward()
    assert all(parameter.grad is not None for parameter in model.parameters())


def test_a_stage_that_begins_with_another_mixer_has_it_in_its_first_block_only():
    stage = Stage("window", 4, 32, options={"size": 4}, first="conv", first_options={"variant": "mbconv"})
    model = build_model(Hybrid((stage,), patch=8), in_chans=1, image_size=64, num_outputs=2)
    first, *rest = [block.mixer for block in model.stages[0].blocks]
    assert hasattr(first, "depthwise")
    assert [mixer.windows.shift for mixer in rest] == [(0, 0), (2, 2), (0, 0)]


def test_a_class_token_needs_a_mixer_that_takes_one():
    network = Hybrid((Stage("attention", 1, 32), Stage("fourier", 1, 32)), head="class_token")
    with pytest.raises(ArchitectureError, match="fourier"):
        build_model(network, in_chans=1, image_size=64, num_outputs=2)


def test_another_image_size_than_built_for_is_refused():
    model = build_model(Hybrid((Stage("conv", 1, 8),)), in_chans=1, image_size=64, num_outputs=2)
    with pytest.raises(ArchitectureError, match="65"):
        model(torch.randn(1, 1, 65, 65))


def test_one_seed_gives_one_network():
    networks = []
    for _ in range(2):
        torch.manual_seed(3)
        networks.append(build_model(Hybrid((Stage("window", 2, 32),)), in_chans=1, image_size=64, num_outputs=2))
    first, second = (network.state_dict() for network in networks)
    assert all(torch.equal(first[key], second[key]) for key in first)


def test_drop_path_grows_to_its_rate_at_the_last_block():
    stages = (Stage("conv", 2, 8), Stage("conv", 1, 8))
    assert drop_path_rates(Hybrid(stages, drop_path=0.2)) == pytest.approx([0.0, 0.1, 0.2])
    assert drop_path_rates(Hybrid(stages[1:], drop_path=0.2)) == [0.2]


def test_drop_path_drops_an_image_and_its_class_token_together():
    torch.manual_seed(0)
    block = Block(8, attention.Mixer(8, (2, 2), heads=1), mlp_ratio=1.0, drop_path=0.5)
    torch.nn.init.zeros_(block.mlp[2].weight), torch.nn.init.zeros_(block.mlp[2].bias)
    x, token = torch.randn(64, 2, 2, 8), torch.randn(64, 1, 8)
    out, token_out = block(x, token)
    kept, token_kept = (out != x).flatten(1).any(1), (token_out != token).flatten(1).any(1)
    assert torch.equal(kept, token_kept)
    assert 10 < kept.sum() < 54


def test_the_patch_stem_is_a_strided_convolution_of_the_padded_image():
    torch.manual_seed(0)
    stem = PatchStem(2, 10, 4, 8)
    image = torch.randn(1, 2, 10, 10)
    kernel = stem.proj.weight.view(8, 4, 4, 2).permute(0, 3, 1, 2)
    expected = F.conv2d(F.pad(image, (1, 1, 1, 1)), kernel, stem.proj.bias, stride=4)
    torch.testing.assert_close(stem(image), stem.norm(expected.permute(0, 2, 3, 1)), rtol=1e-4, atol=1e-5)


def test_downsampling_is_a_strided_convolution():
    torch.manual_seed(0)
    down = Downsample((5, 6), 4, 8)
    x = torch.randn(1, 5, 6, 4)
    kernel = down.proj.weight.view(8, 2, 2, 4).permute(0, 3, 1, 2)
    normed = F.pad(down.norm(x).permute(0, 3, 1, 2), (0, 0, 0, 1))
    expected = F.conv2d(normed, kernel, down.proj.bias, stride=2).permute(0, 2, 3, 1)
    torch.testing.assert_close(down(x), expected, rtol=1e-4, atol=1e-5)


def test_attention_pooling_is_timms_without_its_mlp():
    torch.manual_seed(0)
    ours, theirs = AttentionPool(64), AttentionPoolLatent(64, num_heads=2, norm_layer=None)
    for name in ("q", "kv", "proj"):
        getattr(theirs, name).load_state_dict(getattr(ours, name).state_dict())
    theirs.latent.data.copy_(ours.query)
    torch.nn.init.zeros_(theirs.mlp.fc2.weight), torch.nn.init.zeros_(theirs.mlp.fc2.bias)
    x = torch.randn(2, 3, 4, 64)
    torch.testing.assert_close(ours(x), theirs(x.flatten(1, 2)), rtol=1e-4, atol=1e-5)


def attention_block(**options):
    torch.manual_seed(0)
    return Block(32, attention.Mixer(32, (3, 4), heads=4), mlp_ratio=2.0, **options)


@pytest.mark.parametrize("layer_scale", [0.0, 0.1])
def test_a_pre_norm_attention_block_is_timms_vit_block(layer_scale):
    ours = attention_block(layer_scale=layer_scale)
    theirs = TimmBlock(32, 4, mlp_ratio=2.0, qkv_bias=True, init_values=layer_scale or None)
    names = {"mixer": "attn", "scale1": "ls1", "scale2": "ls2", "mlp.0": "mlp.fc1", "mlp.2": "mlp.fc2"}
    state = {}
    for key, value in ours.state_dict().items():
        prefix = next((name for name in names if key.startswith(name + ".")), None)
        state[names[prefix] + key[len(prefix) :] if prefix else key] = value
    theirs.load_state_dict(state)
    theirs.norm1.eps = theirs.norm2.eps = 1e-5
    x = torch.randn(2, 3, 4, 32)
    torch.testing.assert_close(ours(x)[0].flatten(1, 2), theirs(x.flatten(1, 2)), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("norm", ["pre", "post", "res_post"])
def test_the_norm_stands_where_its_name_says(norm):
    block = attention_block(norm=norm, layer_scale=0.5)
    x = torch.randn(2, 3, 4, 32)
    mix, mlp, norm1, norm2 = (lambda x: block.mixer(x)), block.mlp, block.norm1, block.norm2
    if norm == "pre":
        y = x + 0.5 * mix(norm1(x))
        expected = y + 0.5 * mlp(norm2(y))
    elif norm == "post":
        y = norm1(x + 0.5 * mix(x))
        expected = norm2(y + 0.5 * mlp(y))
    else:
        y = x + 0.5 * norm1(mix(x))
        expected = y + 0.5 * norm2(mlp(y))
    torch.testing.assert_close(block(x)[0], expected)
    # A class token goes the same way: it is one more token of the same network.
    out, token = block(x, x[:, :1, 0])
    assert out.shape == x.shape
    assert token.shape == (2, 1, 32)
