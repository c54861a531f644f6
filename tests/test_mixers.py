"""Every mixer against its promises, and each against something independent."""

from functools import partial

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from timm.layers import Attention, LayerNormAct2d, Mlp, SqueezeExcite
from timm.models._efficientnet_blocks import InvertedResidual
from timm.models.convnext import ConvNeXtBlock
from timm.models.mambaout import GatedConvBlock
from timm.models.mlp_mixer import MixerBlock, ResBlock
from timm.models.swin_transformer import SwinTransformerBlock
from timm.models.swin_transformer_v2 import SwinTransformerV2Block
from torch import nn

from search_space import ArchitectureError, mixers
from search_space.parts.block import Block

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


def trait(name, variant, attribute):
    return mixers.trait(name, {"variant": variant} if variant else {}, attribute)


@pytest.mark.parametrize(("name", "variant"), [pair for pair in ALL if trait(*pair, "takes_token")])
def test_a_class_token_is_mixed_with_the_grid_where_the_mixer_says_so(name, variant):
    torch.manual_seed(0)
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
def test_every_mixer_works_in_half_precision(name, variant):
    torch.manual_seed(0)
    mixer = build(name, variant, index=1, grid=(9, 9))
    x = torch.randn(2, 9, 9, WIDTH, requires_grad=True)
    expected = mixer(x)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        out = mixer(x)
    out.float().square().mean().backward()
    assert (out - expected).abs().max() < 0.05 * expected.abs().max() + 1e-3
    assert all(tensor.grad.isfinite().all() for tensor in (x, *mixer.parameters()))


@pytest.mark.parametrize(("name", "variant"), ALL)
def test_every_mixer_refuses_an_option_it_does_not_know(name, variant):
    with pytest.raises(ArchitectureError, match="'colour'"):
        build(name, variant, colour=3)


def test_an_unknown_mixer_lists_the_known_ones():
    with pytest.raises(ArchitectureError, match="attention"):
        mixers.load("convolution")
    with pytest.raises(ArchitectureError, match="gaussian"):
        build("anisotropic", "round")


@pytest.mark.parametrize("name", ["attention", "linear_attention", "window", "anisotropic"])
def test_heads_that_do_not_divide_the_width_are_refused(name):
    with pytest.raises(ArchitectureError, match="heads=3"):
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


@pytest.mark.parametrize("index", [0, 1], ids=["plain", "shifted"])
@pytest.mark.parametrize(("grid", "size"), [((8, 8), 4), ((4, 4), 8), ((6, 6), 3)], ids=str)
def test_cosine_window_attention_is_timms_swin_v2(grid, size, index):
    torch.manual_seed(0)
    ours = randomise(build("window", "v2", heads=4, size=size, grid=grid, index=index))
    theirs = SwinTransformerV2Block(
        WIDTH, grid, num_heads=4, window_size=size, shift_size=size // 2 if index else 0, mlp_ratio=1.0
    )
    attention = theirs.attn
    attention.qkv.weight.data.copy_(ours.qkv.weight)
    attention.q_bias.data.copy_(ours.qkv.bias[:WIDTH])
    attention.v_bias.data.copy_(ours.qkv.bias[2 * WIDTH :])
    attention.logit_scale.data.copy_(ours.log_scale)
    attention.cpb_mlp.load_state_dict(ours.relative.mlp.state_dict())
    attention.proj.load_state_dict(ours.proj.state_dict())
    x = torch.randn(2, *grid, WIDTH)
    torch.testing.assert_close(ours(x), theirs._attn(x), rtol=1e-4, atol=1e-4)


def naive_attention(q, k, v, bias):
    """Rows of softmax(q k / sqrt(D) + bias) v, one query and one head at a time: (heads, N, D)."""
    out = np.zeros(v.shape)
    for head in range(len(q)):
        for i in range(q.shape[1]):
            logits = k[head] @ q[head, i] / np.sqrt(q.shape[2]) + bias[head, i]
            weights = np.exp(logits - logits.max())
            out[head, i] = weights / weights.sum() @ v[head]
    return out


def heads_of(linear, x, heads):
    """q, k, v as (heads, N, D) arrays of the first image."""
    projected = linear(x)[0].flatten(0, 1).detach().numpy()
    return projected.reshape(len(projected), 3, heads, -1).transpose(1, 2, 0, 3)


def joined(out, mixer, x):
    """(heads, N, D) -> (1, H, W, C) through the mixer's output map."""
    tokens = torch.from_numpy(out.transpose(1, 0, 2).reshape(1, out.shape[1], -1))
    return mixer.proj(tokens.to(x.dtype)).view(1, *x.shape[1:3], -1)


def naive_gaussian(mixer, head, here, there, basis):
    """-1/2 (d - mu)^T L L^T (d - mu) with d in components along the rows of `basis`."""
    (a, c), b = mixer.log_diagonal[head].tolist(), 0 if mixer.shear is None else mixer.shear[head].item()
    lower = np.array([[np.exp(a), 0], [b, np.exp(c)]])
    mu = mixer.centre[head].tolist() if mixer.centre.ndim == 2 else [mixer.centre[head].item(), 0.0]
    d = basis @ (there - here) - np.array(mu)
    return -0.5 * d @ lower @ lower.T @ d


@pytest.mark.parametrize("variant", ["gaussian", "polar"])
def test_gaussian_and_polar_attention_are_their_formula(variant):
    torch.manual_seed(0)
    height, width, heads = 4, 6, 2
    mixer = randomise(build("anisotropic", variant, heads=heads, grid=(height, width))).double()
    x = torch.randn(1, height, width, WIDTH, dtype=torch.float64)
    places = [np.array([j - 2.5, i - 1.5]) / 3 for i in range(height) for j in range(width)]
    bias = np.zeros((heads, len(places), len(places)))
    for head in range(heads):
        for i, here in enumerate(places):
            r = here / np.hypot(*here)
            basis = np.eye(2) if variant == "gaussian" else np.array([r, [-r[1], r[0]]])
            for j, there in enumerate(places):
                bias[head, i, j] = naive_gaussian(mixer, head, here, there, basis)
    np.testing.assert_allclose(mixer.bias().detach().numpy(), bias, rtol=1e-5, atol=1e-5)
    expected = joined(naive_attention(*heads_of(mixer.qkv, x, heads), bias), mixer, x)
    torch.testing.assert_close(mixer(x), expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("variant", ["gaussian", "polar"])
def test_a_class_token_has_no_gaussian_bias(variant):
    torch.manual_seed(0)
    mixer = randomise(build("anisotropic", variant, heads=2, grid=(3, 3)))
    x, token = torch.randn(1, 3, 3, WIDTH), torch.randn(1, 1, WIDTH)
    tokens = torch.cat([token, x.flatten(1, 2)], dim=1)[:, None]
    bias = F.pad(mixer.bias(), (1, 0, 1, 0)).detach().numpy()
    expected = joined(naive_attention(*heads_of(mixer.qkv, tokens, 2), bias), mixer, tokens)[0]
    out, token_out = mixer(x, token)
    torch.testing.assert_close(torch.cat([token_out, out.flatten(1, 2)], dim=1), expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("variant", ["gaussian", "polar"])
def test_gaussian_and_polar_attention_start_isotropic_and_wide(variant):
    mixer = build("anisotropic", variant, grid=(8, 8))
    weight = mixer.bias().exp().view(-1, 8, 8, 8, 8)
    torch.testing.assert_close(weight[:, 4, 4, 4, 7], weight[:, 4, 4, 7, 4])
    torch.testing.assert_close(weight[:, 4, 4, 4, 7], weight[:, 4, 4, 4, 1])
    assert weight[:, 0, 0, 0, 4].min() > 0.5
    ellipticity, _ = mixer.ellipse()
    torch.testing.assert_close(ellipticity, torch.zeros(4), atol=1e-5, rtol=0)


@pytest.mark.parametrize("side", [6, 7])
@pytest.mark.parametrize("mirrored", [False, True])
@pytest.mark.parametrize("quarters", range(4))
def test_polar_attention_turns_and_mirrors_with_the_image_and_gaussian_does_not(side, mirrored, quarters):
    def moved(x):
        return (x.flip(2) if mirrored else x).rot90(quarters, (1, 2))

    torch.manual_seed(0)
    x = torch.randn(2, side, side, WIDTH, dtype=torch.float64)
    for variant, follows in (("polar", True), ("gaussian", (mirrored, quarters) == (False, 0))):
        mixer = randomise(build("anisotropic", variant, grid=(side, side))).double()
        # The geometry was computed in single precision.
        assert torch.allclose(mixer(moved(x)), moved(mixer(x)), rtol=1e-5, atol=1e-5) == follows


def test_polar_attention_mirrors_with_the_image_on_an_oblong_grid():
    torch.manual_seed(0)
    x = torch.randn(2, 4, 7, WIDTH)
    mixer = randomise(build("anisotropic", "polar", grid=(4, 7)))
    for axes in (1,), (2,), (1, 2):
        torch.testing.assert_close(mixer(x.flip(axes)), mixer(x).flip(axes), rtol=1e-4, atol=1e-5)


def test_the_ellipse_of_a_head_can_be_read_out():
    mixer = build("anisotropic", "gaussian", heads=2)
    angle, ratio = 0.7, 0.25
    axes = torch.tensor([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    precision = axes @ torch.diag(torch.tensor([1.0, 1 / ratio**2]).double()) @ axes.T  # major axis of length 1
    lower = torch.linalg.cholesky(precision)
    with torch.no_grad():
        mixer.log_diagonal[0] = lower.diagonal().log()
        mixer.shear[0] = lower[1, 0]
    ellipticity, read = mixer.ellipse()
    assert ellipticity[0].item() == pytest.approx((1 - ratio) / (1 + ratio), abs=1e-4)
    assert read[0].item() == pytest.approx(angle, abs=1e-4)


def test_narrow_gaussians_stay_sharp_under_autocast():
    torch.manual_seed(0)
    mixer = build("anisotropic", "gaussian", grid=(16, 16))
    with torch.no_grad():
        mixer.log_diagonal.fill_(np.log(8.0))  # a width of one token
    x = torch.randn(1, 16, 16, WIDTH)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        half = mixer(x)
    assert (half - mixer(x)).abs().max() < 0.03 * mixer(x).abs().max()


def test_axial_attention_is_full_attention_masked_to_the_row_plus_to_the_column():
    torch.manual_seed(0)
    grid, heads = (3, 5), 2
    mixer = randomise(build("anisotropic", "axial", heads=heads, grid=grid))
    x = torch.randn(1, *grid, WIDTH)
    row, column = np.divmod(np.arange(15), 5)
    along, across = (np.where(line[:, None] == line, 0.0, -np.inf)[None].repeat(heads, 0) for line in (row, column))
    out = naive_attention(*heads_of(mixer.rows, x, heads), along)
    out += naive_attention(*heads_of(mixer.columns, x, heads), across)
    torch.testing.assert_close(mixer(x), joined(out, mixer, x), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("stripe", [1, 2, 3])
def test_cross_attention_is_full_attention_masked_to_stripes_plus_a_convolution_of_the_values(stripe):
    torch.manual_seed(0)
    grid, heads = (4, 5), 2
    mixer = randomise(build("anisotropic", "cross", heads=heads, stripe=stripe, grid=grid))
    x = torch.randn(1, *grid, WIDTH)
    row, column = np.divmod(np.arange(20), 5)
    outs, values = [], []
    for linear, line in ((mixer.horizontal, row), (mixer.vertical, column)):
        stripes = line // stripe
        mask = np.where(stripes[:, None] == stripes, 0.0, -np.inf)[None].repeat(heads, 0)
        q, k, v = heads_of(linear, x, heads)
        outs.append(naive_attention(q, k, v, mask))
        values.append(v)
    values = torch.from_numpy(np.concatenate(values)).permute(0, 2, 1).reshape(1, WIDTH, *grid)
    outs = np.concatenate(outs) + mixer.position(values).detach().view(2 * heads, -1, 20).permute(0, 2, 1).numpy()
    torch.testing.assert_close(mixer(x), joined(outs, mixer, x), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("kernel", [3, 5])
def test_local_attention_is_gatv2_on_the_neighbourhood(kernel):
    torch.manual_seed(0)
    height, width, heads, radius = 4, 3, 2, kernel // 2
    mixer = randomise(build("anisotropic", "local", heads=heads, kernel=kernel, grid=(height, width)))
    x = torch.randn(1, height, width, WIDTH)
    source, target = (linear(x)[0].detach().numpy() for linear in (mixer.source, mixer.target))
    edges, a = mixer.edge.weight.detach().numpy(), mixer.a.detach().numpy()
    out = np.zeros((heads, height * width, WIDTH // heads))
    for i, j in np.ndindex(height, width):
        logits, values = [], []
        for m, n in np.ndindex(height, width):
            dy, dx = m - i, n - j
            if max(abs(dy), abs(dx)) > radius:
                continue
            length = np.hypot(dx, dy)
            phi = np.array([dx / length, dy / length, length / radius]) if length else np.zeros(3)
            e = source[i, j] + target[m, n] + edges @ phi
            e = np.where(e > 0, e, 0.2 * e).reshape(heads, -1)
            logits.append((e * a).sum(-1))
            values.append(target[m, n].reshape(heads, -1))
        weights = np.exp(logits) / np.exp(logits).sum(0)
        out[:, i * width + j] = (weights[..., None] * np.array(values)).sum(0)
    torch.testing.assert_close(mixer(x), joined(out, mixer, x), rtol=1e-4, atol=1e-4)


def test_stripes_do_not_see_their_padding(monkeypatch):
    torch.manual_seed(0)
    mixer = randomise(build("anisotropic", "cross", stripe=2, grid=(5, 7)))
    x = torch.randn(1, 5, 7, WIDTH)
    expected = mixer(x)
    pad = F.pad
    monkeypatch.setattr(F, "pad", lambda tensor, widths: pad(tensor, widths, value=1e3))
    torch.testing.assert_close(mixer(x), expected)


def test_linear_attention_is_a_sum_over_tokens_weighted_by_the_kernel():
    torch.manual_seed(0)
    height, width, heads = 4, 6, 2
    mixer = randomise(build("linear_attention", heads=heads, grid=(height, width)))
    x = torch.randn(1, height, width, WIDTH)
    q, k, v = heads_of(mixer.qkv, x, heads)

    def phi(vector):
        r = np.where(vector > 0, vector, np.expm1(vector)) + 1
        return np.linalg.norm(r) * r**3 / np.linalg.norm(r**3)

    out = np.zeros(v.shape)
    for head, i in np.ndindex(v.shape[:2]):
        weights = np.array([phi(q[head, i]) @ phi(key) for key in k[head]])
        out[head, i] = weights / weights.sum() @ v[head]
    filters = mixer.depthwise.weight.detach().numpy()[:, 0].reshape(heads, -1, 5, 5)
    bias = mixer.depthwise.bias.detach().numpy().reshape(heads, -1)
    for head, i in np.ndindex(v.shape[:2]):
        out[head, i] += bias[head]
        for j in range(v.shape[1]):
            (dy, dx) = np.array(divmod(j, width)) - divmod(i, width)
            if max(abs(dy), abs(dx)) <= 2:
                out[head, i] += filters[head, :, dy + 2, dx + 2] * v[head, j]
    torch.testing.assert_close(mixer(x), joined(out, mixer, x), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("channels", [True, False])
def test_fnet_is_numpys_transform(channels):
    x = np.random.default_rng(0).normal(size=(2, 6, 5, 8)).astype("float32")
    options = {"dim": 8, "grid": (6, 5), "channels": channels}
    ours = build("fourier", "fnet2d", **options)(torch.from_numpy(x)).numpy()
    expected = np.fft.fftn(x, axes=(1, 2, 3) if channels else (1, 2), norm="ortho").real
    np.testing.assert_allclose(ours, expected, rtol=1e-4, atol=1e-5)
    ours = build("fourier", "fnet1d", **options)(torch.from_numpy(x)).numpy()
    expected = np.fft.fftn(x.reshape(2, 30, 8), axes=(1, 2) if channels else (1,), norm="ortho").real
    np.testing.assert_allclose(ours, expected.reshape(x.shape), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("grid", [(6, 6), (5, 7)], ids=str)
def test_a_global_filter_is_numpys_and_a_circular_convolution(grid):
    torch.manual_seed(0)
    mixer = randomise(build("fourier", "gfnet", dim=4, grid=grid))
    x = torch.randn(1, *grid, 4)
    out = mixer(x).detach().numpy()[0]
    response = torch.view_as_complex(mixer.filter.detach()).numpy()
    kernel = np.fft.irfft2(response, s=grid, axes=(0, 1))
    expected = np.zeros(out.shape)
    for i, j in np.ndindex(grid):
        for m, n in np.ndindex(grid):
            expected[i, j] += kernel[(i - m) % grid[0], (j - n) % grid[1]] * x[0, m, n].numpy()
    np.testing.assert_allclose(out, expected, rtol=1e-3, atol=1e-4)


def block(name, variant, *, grid=(4, 5), mlp_ratio=4.0, layer_scale=0.0, **options):
    mixer = build(name, variant, grid=grid, **options)
    return randomise(Block(WIDTH, mixer, mlp_ratio=mlp_ratio, layer_scale=layer_scale))


def loaded(theirs, ours, names):
    """`theirs` with the weights of `ours`, whose prefixes `names` translates, reshaped where axes of one differ."""
    target = theirs.state_dict()
    for key, value in ours.state_dict().items():
        prefix = next(name for name in names if key.startswith(name))
        name = names[prefix] + key[len(prefix) :]
        target[name] = value.reshape(target[name].shape)
    theirs.load_state_dict(target)
    return theirs


def test_a_mixer_block_is_timms():
    torch.manual_seed(0)
    ours = block("mlp", "mixer", ratio=0.5)
    theirs = MixerBlock(WIDTH, 20, mlp_ratio=(10 / WIDTH, 4.0))
    names = {"norm1": "norm1", "norm2": "norm2", "mixer.up": "mlp_tokens.fc1", "mixer.down": "mlp_tokens.fc2"}
    theirs = loaded(theirs, ours, names | {"mlp.0": "mlp_channels.fc1", "mlp.2": "mlp_channels.fc2"})
    theirs.norm1.eps = theirs.norm2.eps = 1e-5
    x = torch.randn(2, 4, 5, WIDTH)
    torch.testing.assert_close(ours(x)[0].flatten(1, 2), theirs(x.flatten(1, 2)), rtol=1e-3, atol=1e-4)


def test_a_resmlp_block_is_timms():
    torch.manual_seed(0)
    ours = block("mlp", "resmlp", layer_scale=0.1)
    names = {"norm1": "norm1", "norm2": "norm2", "mixer.across": "linear_tokens", "scale1.gamma": "ls1"}
    names |= {"scale2.gamma": "ls2", "mlp.0": "mlp_channels.fc1", "mlp.2": "mlp_channels.fc2"}
    theirs = loaded(ResBlock(WIDTH, 20), ours, names)
    x = torch.randn(2, 4, 5, WIDTH)
    torch.testing.assert_close(ours(x)[0].flatten(1, 2), theirs(x.flatten(1, 2)), rtol=1e-3, atol=1e-4)


def test_the_convnext_branch_is_timms():
    torch.manual_seed(0)
    ours = randomise(build("conv", "convnext", kernel=7, expand=4))
    theirs = ConvNeXtBlock(WIDTH, ls_init_value=None)
    names = {"depthwise": "conv_dw", "norm": "norm", "mlp.0": "mlp.fc1", "mlp.2": "mlp.fc2"}
    theirs = loaded(theirs, ours, names)
    theirs.norm.eps = 1e-5
    x = torch.randn(2, 8, 8, WIDTH)
    expected = theirs(x.permute(0, 3, 1, 2)).permute(0, 2, 3, 1) - x
    torch.testing.assert_close(ours(x), expected, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("expand", [1, 2])
def test_the_gated_branch_is_timms(expand):
    torch.manual_seed(0)
    ours = randomise(build("conv", "gated", kernel=7, expand=expand))
    theirs = GatedConvBlock(WIDTH, expansion_ratio=expand)
    theirs.norm = nn.Identity()
    theirs = loaded(theirs, ours, {"up": "fc1", "depthwise": "conv", "down": "fc2"})
    x = torch.randn(2, 8, 8, WIDTH)
    torch.testing.assert_close(ours(x), theirs(x) - x, rtol=1e-3, atol=1e-4)


def test_the_mbconv_branch_is_timms():
    torch.manual_seed(0)
    ours = randomise(build("conv", "mbconv", kernel=5, expand=4))
    squeeze = partial(SqueezeExcite, rd_channels=WIDTH // 4, act_layer=nn.SiLU)
    theirs = InvertedResidual(
        WIDTH, WIDTH, dw_kernel_size=5, exp_ratio=4, act_layer=nn.SiLU, norm_layer=LayerNormAct2d, se_layer=squeeze
    )
    theirs.bn3 = nn.Identity()  # the projection has a bias for it
    theirs.conv_pwl = nn.Conv2d(4 * WIDTH, WIDTH, 1)
    names = {"expand": "conv_pw", "norm1": "bn1", "depthwise": "conv_dw", "norm2": "bn2", "squeeze": "se.fc1"}
    theirs = loaded(theirs, ours, names | {"excite": "se.fc2", "project": "conv_pwl"})
    x = torch.randn(2, 8, 8, WIDTH)
    expected = theirs(x.permute(0, 3, 1, 2)).permute(0, 2, 3, 1) - x
    torch.testing.assert_close(ours(x), expected, rtol=1e-3, atol=1e-3)


def test_the_residual_branch_is_two_convolutions_and_a_norm():
    torch.manual_seed(0)
    ours = randomise(build("conv", "residual"))
    x = torch.randn(2, 6, 6, WIDTH)
    inner = F.conv2d(x.permute(0, 3, 1, 2), ours.conv1.weight, ours.conv1.bias, padding=1)
    inner = F.gelu(F.layer_norm(inner.permute(0, 2, 3, 1), (WIDTH,), ours.norm.weight, ours.norm.bias))
    expected = F.conv2d(inner.permute(0, 3, 1, 2), ours.conv2.weight, ours.conv2.bias, padding=1).permute(0, 2, 3, 1)
    torch.testing.assert_close(ours(x), expected, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("variant", ["residual", "convnext", "mbconv", "gated"])
def test_a_mixer_of_channels_and_tokens_needs_no_mlp(variant):
    assert not any(name.startswith(("mlp", "norm2")) for name, _ in block("conv", variant).named_parameters())


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
    with pytest.raises(ArchitectureError, match=f"kernel={kernel}"):
        build("conv", kernel=kernel)
