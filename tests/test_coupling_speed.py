"""The quick ways of couplings, rows in pieces and gradients that are written out, give what the plain way gives."""

from functools import partial

import pytest
import torch

from gaussflow import MLP, AffineCoupling, SplineCoupling
from gaussflow.transforms import _coupling, _coupling_gradients, _coupling_rows
from gaussflow.transforms._coupling_gradients import Affine, Squash
from gaussflow.transforms.coupling import _back, _forth

D = 6
MASKS = {"halves": [0, 1, 2], "other half": [3, 4, 5], "even": [0, 2, 4], "odd": [1, 3, 5], "irregular": [0, 3]}


def coupling(kind, mask, context_dim=0, dtype=torch.float64):
    generator = torch.Generator().manual_seed(0)
    net = partial(MLP, hidden=(8,))
    layer = (AffineCoupling, SplineCoupling)[kind == "spline"](D, MASKS[mask], net, context_dim, dtype=dtype)
    with torch.no_grad():
        for parameter in layer.parameters():
            parameter.copy_(0.4 * torch.randn(parameter.shape, generator=generator, dtype=torch.float64))
    return layer


def rows(n, columns=D, seed=1):
    return torch.randn(n, columns, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def test_a_conditioner_that_mixes_rows_sees_all_of_them(monkeypatch):
    class Mean(torch.nn.Module):
        def forward(self, x):
            return x.mean(0).repeat(1, 2).expand(len(x), -1)

    layer, x = AffineCoupling(D, MASKS["even"], Mean(), dtype=torch.float64), rows(50)
    with torch.no_grad():
        whole = layer(x)
        monkeypatch.setattr(_coupling_rows, "PIECE", 10 * D)
        monkeypatch.setattr(_coupling_rows, "FEWEST", 1)
        for a, b in zip(whole, layer(x), strict=True):
            assert torch.equal(a, b)


@pytest.mark.parametrize("back", [False, True])
@pytest.mark.parametrize("mask", MASKS)
def test_gradients_are_those_of_the_plain_functions(mask, back, monkeypatch):
    layer, x = coupling("affine", mask), rows(9)
    leaves = [x.requires_grad_(), *layer.parameters()]

    def gradients():
        z, ladj = layer.inverse(x) if back else layer(x)
        value = z.sin().sum() + (ladj * torch.arange(9)).cos().sum()
        first = torch.autograd.grad(value, leaves, create_graph=True)
        return [*first, *torch.autograd.grad(sum(g.square().sum() for g in first), leaves)]

    quick = gradients()
    for module in (_coupling, _coupling_gradients, __import__("gaussflow.transforms.coupling").transforms.coupling):
        monkeypatch.setattr(module, "plain_training", lambda *tensors: False)
    for a, b in zip(quick, gradients(), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-9, atol=1e-10)


@pytest.mark.parametrize("plain", [_forth, _back])
def test_written_gradients_pass_gradcheck(plain):
    x, u, t = (rows(3, 2, seed).requires_grad_() for seed in range(3))
    step = partial(Affine.apply, plain, 2.0, plain is _back)
    assert torch.autograd.gradcheck(step, (x, u, t))
    assert torch.autograd.gradgradcheck(step, (x, u, t))
    squash = partial(lambda x: Squash.apply(x, 6.0))
    assert torch.autograd.gradcheck(squash, (x,))
    assert torch.autograd.gradgradcheck(squash, (x,))


def test_many_gradients_at_once():
    layer, x = coupling("affine", "even"), rows(2).requires_grad_()
    z = layer(x)[0]
    many = torch.eye(z.numel(), dtype=z.dtype).view(-1, *z.shape)
    (found,) = torch.autograd.grad(z, x, many, is_grads_batched=True, retain_graph=True)
    for direction, row in zip(many, found, strict=True):
        torch.testing.assert_close(torch.autograd.grad(z, x, direction, retain_graph=True)[0], row)
