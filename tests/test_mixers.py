"""Every mixer against its promises, and each against something independent."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from timm.layers import Attention, Mlp
from timm.models.swin_transformer import SwinTransformerBlock

from search_space import mixers

WIDTH = 32
ALL = [(name, variant) for name in mixers.known() for variant in mixers.variants(name) or (None,)]


def build(name, variant=None, *, dim=WIDTH, grid=(8, 8), index=0, **options):
    if variant is not None:
        options["variant"] = variant
    return mixers.build(name, dim, grid, index=index, options=options)


def randomise(module):
    """Gives every parameter a value that matters, also those that start at zero."""
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.copy_(torch.randn_like(parameter) * 0.3)
    return module


@pytest.mark.parametrize("grid", [(16, 16), (38, 38), (19, 19), (5, 7), (2, 2)], ids=str)
@pytest.mark.parametrize("index", [0, 1])
@pytest.mark.parametrize(("name", "variant"), ALL)
def test_every_mixer_keeps_the_shape_and_reaches_every_parameter(name, variant, index, grid):
    torch.manual_seed(0)
    mixer = build(name, variant, grid=grid, index=index)
    x = torch.randn(2, *grid, WIDTH, requires_grad=True)
    out = mixer(x)
    assert out.shape == x.shape
    assert out.isfinite().all()
    out.square().sum().backward()
    assert x.grad is not None
    assert x.grad.isfinite().all()
    for key, parameter in mixer.named_parameters():
        assert parameter.grad is not None, key
        assert parameter.grad.isfinite().all(), key
        assert parameter.grad.abs().sum() > 0, key


@pytest.mark.parametrize(("name", "variant"), ALL)
def test_every_mixer_mixes_tokens(name, variant):
    torch.manual_seed(0)
    mixer = randomise(build(name, variant)).double()
    x = torch.randn(1, 8, 8, WIDTH, dtype=torch.float64)
    if name == "fourier":
        mixer = mixer.float()
        x = x.float()
    changed = x.clone()
    changed[0, 3, 3] += 1.0
    difference = (mixer(changed) - mixer(x)).abs().sum(-1)[0]
    assert (difference > 1e-7).sum() > 1


@pytest.mark.parametrize(("name", "variant"), ALL)
def test_no_mixer_looks_at_other_images_of_the_batch(name, variant):
    torch.manual_seed(0)
    mixer = randomise(build(name, variant, index=1)).eval()
    x = torch.randn(3, 8, 8, WIDTH)
    torch.testing.assert_close(mixer(x)[1:2], mixer(x[1:2]), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(("name", "variant"), ALL)
def test_a_class_token_is_mixed_with_the_grid_where_the_mixer_says_so(name, variant):
    torch.manual_seed(0)
    if not mixers.takes_token(name, {"variant": variant} if variant else {}):
        pytest.skip("takes no token")
    mixer = randomise(build(name, variant))
    x, token = torch.randn(2, 8, 8, WIDTH), torch.randn(2, 1, WIDTH)
    out, token_out = mixer(x, token)
    assert out.shape == x.shape
    assert token_out.shape == token.shape
    moved, _ = mixer(x, token + 1)
    assert not torch.allclose(moved, out)
    changed = x.clone()
    changed[:, 3, 4] += 1
    assert not torch.allclose(mixer(changed, token)[1], token_out)


@pytest.mark.parametrize(("name", "variant"), ALL)
def test_every_mixer_refuses_an_option_it_does_not_know(name, variant):
    with pytest.raises(ValueError, match="'colour'"):
        build(name, variant, colour=3)


def test_an_unknown_mixer_lists_the_known_ones():
    with pytest.raises(ValueError, match="attention"):
        mixers.load("convolution")
    with pytest.raises(ValueError, match="gaussian"):
        build("anisotropic", "round")


@pytest.mark.parametrize("name", ["attention", "window", "anisotropic"])
def test_heads_that_do_not_divide_the_width_are_refused(name):
    with pytest.raises(ValueError, match="heads=3"):
        build(name, heads=3)


def test_attention_is_timms():
    torch.manual_seed(0)
    ours = randomise(build("attention", heads=4, grid=(5, 6)))
    theirs = Attention(WIDTH, num_heads=4, qkv_bias=True)
    theirs.load_state_dict(ours.state_dict())
    x = torch.randn(2, 5, 6, WIDTH)
    torch.testing.assert_close(ours(x).flatten(1, 2), theirs(x.flatten(1, 2)))
    token = torch.randn(2, 1, WIDTH)
    out, token_out = ours(x, token)
    expected = theirs(torch.cat([token, x.flatten(1, 2)], dim=1))
    torch.testing.assert_close(torch.cat([token_out, out.flatten(1, 2)], dim=1), expected)


@pytest.mark.parametrize("index", [0, 1], ids=["plain", "shifted"])
@pytest.mark.parametrize(("grid", "size"), [((8, 8), 4), ((12, 8), 4), ((4, 4), 8), ((6, 6), 3)], ids=str)
def test_window_attention_is_timms_swin(grid, size, index):
    torch.manual_seed(0)
    ours = randomise(build("window", "v1", heads=4, size=size, grid=grid, index=index))
    theirs = SwinTransformerBlock(
        WIDTH, grid, num_heads=4, window_size=size, shift_size=size // 2 if index else 0, mlp_ratio=1.0
    )
    theirs.attn.qkv.load_state_dict(ours.qkv.state_dict())
    theirs.attn.proj.load_state_dict(ours.proj.state_dict())
    theirs.attn.relative_position_bias_table.data.copy_(ours.relative.table.T)
    x = torch.randn(2, *grid, WIDTH)
    torch.testing.assert_close(ours(x), theirs._attn(x), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("index", [0, 1], ids=["plain", "shifted"])
@pytest.mark.parametrize("grid", [(10, 10), (5, 7), (19, 19)], ids=str)
@pytest.mark.parametrize("variant", mixers.variants("window"))
def test_windows_do_not_see_their_padding(monkeypatch, variant, grid, index):
    torch.manual_seed(0)
    mixer = randomise(build("window", variant, size=4, grid=grid, index=index))
    x = torch.randn(1, *grid, WIDTH)
    expected = mixer(x)
    pad, padded = F.pad, []

    def filled(tensor, widths, *rest):
        padded.append(widths)
        return pad(tensor, widths, value=1e3)

    monkeypatch.setattr(F, "pad", filled)
    torch.testing.assert_close(mixer(x), expected)
    assert padded


@pytest.mark.parametrize("grid", [(9, 9), (10, 7)], ids=str)
@pytest.mark.parametrize("variant", mixers.variants("window"))
def test_shifted_windows_do_not_join_opposite_sides_of_the_image(variant, grid):
    torch.manual_seed(0)
    mixer = randomise(build("window", variant, size=4, grid=grid, index=1))
    x = torch.randn(1, *grid, WIDTH)
    changed = x.clone()
    changed[:, 0, 0] += 1
    moved = (mixer(changed) - mixer(x)).abs().amax(dim=(0, 3))
    assert moved[0, 0] > 1e-4
    assert (moved[4:] == 0).all()
    assert (moved[:, 4:] == 0).all()


def test_gaussian_attention_is_the_formula():
    torch.manual_seed(0)
    height, width, heads = 3, 4, 2
    mixer = randomise(build("anisotropic", "gaussian", heads=heads, grid=(height, width))).double()
    x = torch.randn(1, height, width, WIDTH, dtype=torch.float64)
    q, k, v = mixer.qkv(x.flatten(1, 2))[0].view(-1, 3, heads, WIDTH // heads).permute(1, 2, 0, 3)
    places = [np.array([i, j]) / (max(height, width) / 2) for i in range(height) for j in range(width)]
    out = torch.zeros(heads, height * width, WIDTH // heads, dtype=torch.float64)
    for head in range(heads):
        a, c = mixer.log_diagonal[:, head].tolist()
        b = mixer.shear[head].item()
        lower = np.array([[np.exp(a), 0], [b, np.exp(c)]])
        mu = mixer.centre[:, head].tolist()
        for i, here in enumerate(places):
            logits = []
            for j, there in enumerate(places):
                d = there - here - mu
                content = (q[head, i] @ k[head, j]).item() / np.sqrt(WIDTH // heads)
                logits.append(content - 0.5 * d @ lower @ lower.T @ d)
            weights = np.exp(logits) / np.exp(logits).sum()
            out[head, i] = sum(w * v[head, j] for j, w in enumerate(weights))
    expected = mixer.proj(out.permute(1, 0, 2).reshape(1, height, width, WIDTH))
    torch.testing.assert_close(mixer(x), expected, rtol=1e-6, atol=1e-6)


def test_gaussian_attention_starts_isotropic_and_wide():
    mixer = build("anisotropic", "gaussian", grid=(8, 8))
    bias = mixer.bias().view(-1, 8, 8, 8, 8)
    torch.testing.assert_close(bias, bias.permute(0, 2, 1, 4, 3))
    torch.testing.assert_close(bias[:, 2, 2, 2, 5], bias[:, 2, 2, 5, 2])
    assert bias[:, 0, 0, 0, 4].exp().min() > 0.5


def test_fnet_is_numpys_transform():
    x = np.random.default_rng(0).normal(size=(2, 6, 5, 8)).astype("float32")
    ours = build("fourier", "fnet2d", dim=8, grid=(6, 5))(torch.from_numpy(x)).numpy()
    np.testing.assert_allclose(ours, np.fft.fftn(x, axes=(1, 2, 3), norm="ortho").real, rtol=1e-4, atol=1e-5)


def test_token_mixing_is_timms_mlp_across_patches():
    torch.manual_seed(0)
    ours = randomise(build("mlp", "mixer", grid=(4, 5), ratio=0.5))
    theirs = Mlp(20, 10)
    theirs.fc1.load_state_dict(ours.up.state_dict())
    theirs.fc2.load_state_dict(ours.down.state_dict())
    x = torch.randn(2, 4, 5, WIDTH)
    expected = theirs(x.flatten(1, 2).transpose(1, 2)).transpose(1, 2)
    torch.testing.assert_close(ours(x).flatten(1, 2), expected, rtol=1e-4, atol=1e-5)


def test_separable_convolution_is_a_filter_per_channel_then_a_linear_map():
    torch.manual_seed(0)
    mixer = randomise(build("conv", "separable", kernel=3, dim=4, grid=(5, 5)))
    x = torch.randn(1, 5, 5, 4)
    padded = np.pad(x[0].numpy(), ((1, 1), (1, 1), (0, 0)))
    filters = mixer.depthwise.weight.detach().numpy()[:, 0]
    filtered = np.zeros((5, 5, 4))
    for i in range(5):
        for j in range(5):
            for channel in range(4):
                filtered[i, j, channel] = (padded[i : i + 3, j : j + 3, channel] * filters[channel]).sum()
    filtered += mixer.depthwise.bias.detach().numpy()
    expected = filtered @ mixer.pointwise.weight.detach().numpy().T + mixer.pointwise.bias.detach().numpy()
    np.testing.assert_allclose(mixer(x).detach().numpy()[0], expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("kernel", [0, 4])
def test_a_kernel_without_a_centre_is_refused(kernel):
    with pytest.raises(ValueError, match=f"kernel={kernel}"):
        build("conv", kernel=kernel)
