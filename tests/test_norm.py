"""Norms over fields of channels, against torch's own over places."""

import pytest
import torch
from torch import Tensor, nn

from search_space.parts.norm import FieldBatchNorm


def trained(norm: nn.Module, x: Tensor, grad: Tensor) -> list[Tensor]:
    given = x.clone().requires_grad_()
    out = norm(given)
    out.backward(grad.view(out.shape))
    return [out.detach().view(x.shape), given.grad, norm.weight.grad, norm.bias.grad]


@pytest.mark.parametrize("order", [2, 4, 8])
@pytest.mark.parametrize("shape", [(4, 5, 6, 16), (3, 32), (64, 8)])
def test_fields_are_normalised_as_torch_normalises_channels_over_places(shape, order):
    torch.manual_seed(0)
    fields = shape[-1] // order
    norm, reference = FieldBatchNorm(shape[-1], order).double(), nn.BatchNorm1d(fields).double()
    for parameter in norm.parameters():
        nn.init.uniform_(parameter, 0.5, 1.5)
    reference.load_state_dict(norm.state_dict())
    over_places = nn.Sequential(nn.Unflatten(-1, (fields, order)), nn.Flatten(0, -3), reference)
    over_places.weight, over_places.bias = reference.weight, reference.bias
    for step in range(3):
        x, grad = 3 * torch.randn(shape).double() + 10 * torch.rand(shape[-1]), torch.randn(shape).double()
        x[..., :order] *= 1e-3 if step else 0  # a field that is constant, then one that nearly is
        torch.testing.assert_close(trained(norm, x, grad), trained(over_places, x, grad))
        torch.testing.assert_close(dict(norm.named_buffers()), dict(reference.named_buffers()))
    norm.eval(), reference.eval()
    torch.testing.assert_close(norm(x), over_places(x).view(shape))


def test_the_gradient_is_that_of_finite_differences():
    torch.manual_seed(0)
    norm = FieldBatchNorm(6, 2).double()
    assert torch.autograd.gradcheck(norm, torch.randn(5, 6).double().requires_grad_())
