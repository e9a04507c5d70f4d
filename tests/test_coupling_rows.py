"""Rows through couplings in pieces, with gradients written out, are the rows through the plain formula."""

from functools import partial

import pytest
import torch
from torch import nn
from torch.autograd import forward_ad
from torch.func import functional_call, jvp, vmap

from gaussflow import MLP, AffineCoupling, SplineCoupling
from gaussflow.nets import _mlp_rows
from gaussflow.transforms import _coupling_rows

D, N = 6, 23
MASKS = {"halves": [0, 1, 2], "other half": [3, 4, 5], "third": [0, 1], "even": [0, 2, 4], "odd": [1, 3, 5],
         "irregular": [0, 3]}  # fmt: skip
KINDS = {"affine": AffineCoupling, "spline": SplineCoupling}
WAYS = {"kept": 10**6, "again": 0}


def coupling(kind="affine", mask="even", context_dim=0, dtype=torch.float64, activation=nn.SiLU):
    generator = torch.Generator().manual_seed(0)
    net = partial(MLP, hidden=(8, 7), activation=activation)
    layer = KINDS[kind](D, MASKS[mask], net, context_dim, dtype=dtype)
    with torch.no_grad():
        for parameter in layer.parameters():
            parameter.copy_(0.4 * torch.randn(parameter.shape, generator=generator, dtype=torch.float64))
    return layer


def rows(n=N, columns=D, seed=1, dtype=torch.float64):
    return torch.randn(n, columns, generator=torch.Generator().manual_seed(seed), dtype=torch.float64).to(dtype)


@pytest.fixture
def taken(monkeypatch):
    """Pieces of a few rows, taken from two rows on, and how often rows went through them."""
    monkeypatch.setattr(_coupling_rows, "FEWEST", 2)
    monkeypatch.setattr(_coupling_rows, "PIECE", 300)
    monkeypatch.setattr(_coupling_rows, "LARGE", 400)
    calls, values = [], _coupling_rows._values
    monkeypatch.setattr(_coupling_rows, "_values", lambda *a: (calls.append(1), values(*a))[1])
    return calls


@pytest.fixture(params=WAYS)
def quick(request, taken, monkeypatch):
    """The same, with hidden layers kept, or computed again."""
    monkeypatch.setattr(_coupling_rows, "KEPT", WAYS[request.param])
    monkeypatch.setattr(SplineCoupling, "keeps", True)
    return taken


def plainly(layer, back, x, context=None):
    return layer._plainly(back, x, context, layer.conditioner)


def gradients(values, leaves):
    z, ladj = values
    value = z.sin().sum() + (ladj * torch.arange(len(ladj))).cos().sum()
    return torch.autograd.grad(value, leaves, allow_unused=True)


@pytest.mark.parametrize("context_dim", [0, 2])
@pytest.mark.parametrize("back", [False, True])
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("mask", MASKS)
def test_values_and_gradients_are_those_of_the_plain_way(mask, kind, back, context_dim, quick):
    layer, x = coupling(kind, mask, context_dim), rows().requires_grad_()
    context = rows(N, context_dim, 2).requires_grad_() if context_dim else None
    leaves = [x, *layer.parameters(), *([context] if context_dim else [])]
    found, wanted = (layer.inverse if back else layer)(x, context), plainly(layer, back, x, context)
    with torch.no_grad():
        alone = (layer.inverse if back else layer)(x, context)
    assert len(quick) == 2
    for a, b, c in zip(found, wanted, alone, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-12, atol=1e-12)
        torch.testing.assert_close(c, b, rtol=1e-12, atol=1e-12)
    for a, b in zip(gradients(found, leaves), gradients(wanted, leaves), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-11, atol=1e-11)


@pytest.mark.parametrize("back", [False, True])
@pytest.mark.parametrize("kind", KINDS)
def test_gradients_of_gradients(kind, back, quick):
    layer, x = coupling(kind, context_dim=1), rows(4).requires_grad_()
    context = rows(4, 1, 2).requires_grad_()
    way = layer.inverse if back else layer

    def f(x, context, weight):
        names = dict(layer.named_parameters()) | {"conditioner.linear.0.weight": weight}
        return functional_call(layer, names, (x, context)) if not back else way(x, context)

    leaves = x, context, layer.conditioner.linear[0].weight
    assert torch.autograd.gradcheck(f, leaves[: 2 if back else 3] + leaves[2:] * back)
    assert torch.autograd.gradgradcheck(f, leaves[: 2 if back else 3] + leaves[2:] * back)
    assert quick


@pytest.mark.parametrize("columns", [0, 100])
def test_products_of_any_width(columns, quick, monkeypatch):
    monkeypatch.setattr(_mlp_rows, "NARROW", columns)
    monkeypatch.setattr(_mlp_rows, "THIN", columns)
    layer, x = coupling(), rows().requires_grad_()
    leaves = [x, *layer.parameters()]
    for a, b in zip(gradients(layer(x), leaves), gradients(plainly(layer, False, x), leaves), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-11, atol=1e-11)


@pytest.mark.parametrize("activation", [nn.Tanh, nn.ReLU, nn.GELU])
def test_any_activation(activation, quick):
    layer, x = coupling(activation=activation), rows().requires_grad_()
    leaves = [x, *layer.parameters()]
    for a, b in zip(gradients(layer(x), leaves), gradients(plainly(layer, False, x), leaves), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-11, atol=1e-11)
    assert quick


@pytest.mark.parametrize("kind", KINDS)
def test_single_precision(kind, quick):
    layer, x = coupling(kind, dtype=torch.float32), rows(dtype=torch.float32).requires_grad_()
    leaves = [x, *layer.parameters()]
    exact = coupling(kind)
    found, wanted = layer(x), plainly(exact, False, x.double())
    assert found[0].dtype == found[1].dtype == torch.float32
    torch.testing.assert_close(found[0].double(), wanted[0], rtol=2e-6, atol=2e-6)
    wanted = gradients(wanted, [x, *exact.parameters()])
    for a, b in zip(gradients(found, leaves), wanted, strict=True):
        assert a.dtype == torch.float32
        assert (a - b).norm() < 1e-4 * b.norm()


@pytest.mark.parametrize("wanted", ["x", "weights", "one bias", "context", "nothing"])
def test_only_what_asks_for_gradients_gets_them(wanted, quick):
    layer, x, context = coupling(context_dim=2), rows(), rows(N, 2, 2)
    x.requires_grad_(wanted == "x")
    context.requires_grad_(wanted == "context")
    for name, parameter in layer.named_parameters():
        parameter.requires_grad_(wanted == "weights" or (wanted == "one bias" and name.endswith("1.bias")))
    leaves = [t for t in (x, context, *layer.parameters()) if t.requires_grad]
    found = layer(x, context)
    assert quick
    assert found[0].requires_grad == bool(leaves)
    if leaves:
        plain = gradients(plainly(layer, False, x, context), leaves)
        for a, b in zip(gradients(found, leaves), plain, strict=True):
            torch.testing.assert_close(a, b, rtol=1e-11, atol=1e-11)


def test_several_ways_back_through_one_graph(quick):
    layer, x = coupling(), rows().requires_grad_()
    z, ladj = layer(x)
    leaves = [x, *layer.parameters()]
    first, second = (torch.autograd.grad(z.sum(), leaves, retain_graph=True) for _ in range(2))
    for a, b in zip(first, second, strict=True):
        assert torch.equal(a, b)
    torch.autograd.grad(ladj.sum(), leaves)
    with pytest.raises(RuntimeError, match="backward through the graph a second time"):
        torch.autograd.grad(ladj.sum(), leaves)


@pytest.mark.parametrize("which", ["x", "weight"])
def test_what_changes_before_the_way_back_is_told(which, quick):
    layer, x = coupling(), rows()
    z, _ = layer(x)
    with torch.no_grad():
        (x if which == "x" else layer.conditioner.linear[1].weight).mul_(2)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        z.sum().backward()


def test_a_stack_trains_as_the_plain_one(quick):
    layers = [coupling(mask=mask) for mask in MASKS]
    x = rows().requires_grad_()
    leaves = [x, *(p for layer in layers for p in layer.parameters())]
    sides = []
    for way in (lambda layer, x: layer(x), lambda layer, x: plainly(layer, False, x)):
        z, total = x, 0
        for layer in layers:
            z, ladj = way(layer, z)
            total = total + ladj
        sides.append(gradients((z, total), leaves))
    for a, b in zip(*sides, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-10, atol=1e-10)


def watched(layer):
    layer.conditioner.linear[0].register_forward_hook(lambda *a: None)


def watched_whole(layer):
    layer.conditioner.register_forward_pre_hook(lambda *a: None)


def parametrised(layer):
    nn.utils.parametrizations.weight_norm(layer.conditioner.linear[0])


def replaced(layer):
    layer.conditioner.act.forward = lambda x: x.tanh()


def derived(layer):
    class Other(MLP):
        def forward(self, x):
            return 2 * super().forward(x)

    layer.conditioner.__class__ = Other


@pytest.mark.parametrize("change", [watched, watched_whole, parametrised, replaced, derived])
def test_a_conditioner_that_does_more_than_an_mlp_is_called(change, quick):
    layer, x = coupling(), rows()
    change(layer)
    for a, b in zip(layer(x), plainly(layer, False, x), strict=True):
        assert torch.equal(a, b)
    assert not quick


def test_whatever_is_not_plain_goes_the_plain_way(quick):
    layer, x = coupling(context_dim=2), rows()
    context = rows(N, 2, 2)
    tangent = torch.ones_like(x)
    vmap(lambda x: layer(x, context)[0])(x.expand(3, N, D))
    jvp(lambda x: layer(x, context)[0], (x,), (tangent,))
    with forward_ad.dual_level():
        layer(forward_ad.make_dual(x, tangent), context)
    layer(x, context[0])
    layer(x, context.float())
    layer(x[None], context[None])
    with torch.autocast("cpu", dtype=torch.bfloat16):
        layer(x, context)
    assert not quick
    for bad in ({"x": x.float(), "context": context}, {"x": x[:, 1:], "context": context}, {"x": x}):
        with pytest.raises((ValueError, TypeError), match="AffineCoupling"):
            layer(**bad)


def test_many_gradients_at_once(quick):
    layer, x = coupling(), rows(3).requires_grad_()
    z = layer(x)[0]
    many = torch.eye(z.numel(), dtype=z.dtype).view(-1, *z.shape)
    (found,) = torch.autograd.grad(z, x, many, is_grads_batched=True, retain_graph=True)
    for direction, row in zip(many, found, strict=True):
        torch.testing.assert_close(torch.autograd.grad(z, x, direction, retain_graph=True)[0], row)
    assert quick


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("mask", MASKS)
def test_rows_that_lie_in_memory_as_columns(mask, kind, quick):
    layer, x = coupling(kind, mask), rows()
    turned = x.mT.contiguous().mT
    with torch.no_grad():
        for a, b in zip(layer(turned), layer(x), strict=True):
            torch.testing.assert_close(a, b, rtol=1e-13, atol=1e-13)
    (found,), (wanted,) = (gradients(layer(t.requires_grad_()), [t]) for t in (turned, x))
    torch.testing.assert_close(found, wanted, rtol=1e-12, atol=1e-12)
    assert len(quick) == 4


def test_far_points_stay_finite(quick):
    layer = coupling(dtype=torch.float32)
    x = torch.tensor([1e30, -1e30, 1e38, -1e-30, 0.0, 5.0]).expand(N, D).clone().requires_grad_()
    z, ladj = layer(x)
    found = torch.autograd.grad(ladj.sum() + (z / 1e3).tanh().sum(), [x, *layer.parameters()])
    assert all(t.isfinite().all() for t in (z, ladj, *found))


def test_a_row_with_a_nan_stays_alone(quick):
    layer, x = coupling(), rows()
    x[4, 1] = torch.nan
    with torch.no_grad():
        z, _ = layer(x)
    bad = z.isnan().any(-1)
    assert bad.tolist() == [i == 4 for i in range(N)]


@pytest.mark.parametrize("kept", WAYS)
def test_few_rows_of_a_spline_are_left_to_autograd(kept, taken, monkeypatch):
    monkeypatch.setattr(_coupling_rows, "KEPT", WAYS[kept])
    coupling("spline")(rows().requires_grad_())
    assert len(taken) == (kept == "again")
