"""Rows a few at a time: the values, gradients of any order and all transformations are those of the function itself."""

import pytest
import torch
from torch.autograd import forward_ad

from gaussflow.ops import _recompute
from gaussflow.ops import _spline as spline_module
from gaussflow.ops import mixture as mixture_module
from gaussflow.ops._eager import PIECE, plain_eager
from gaussflow.ops._recompute import in_rows
from gaussflow.ops._spline import rq_spline, rq_spline_inverse
from gaussflow.ops._spline_search import bin_index
from gaussflow.ops.bounds import soft_bound, squash
from gaussflow.ops.mixture import Mixture, logistic_kernel, mixture_to_normal, normal_kernel
from gaussflow.ops.normal import log_normal_cdf, normal_quantile
from gaussflow.transforms import _smooth

N, D, K = 23, 3, 5


def mixed(kernel):
    return lambda x, w, m, s: mixture_to_normal(x, Mixture(w.log_softmax(0), m, s, kernel))


FUNCTIONS = {
    "forward": rq_spline,
    "inverse": rq_spline_inverse,
    "normal": mixed(normal_kernel),
    "logistic": mixed(logistic_kernel),
}


def inputs(name):
    g = torch.Generator().manual_seed(0)
    x = 2 * torch.randn(N, D, generator=g, dtype=torch.float64)
    tables = [0.3 * torch.randn(K, D, generator=g, dtype=torch.float64) for _ in range(3)]
    if name in ("forward", "inverse"):
        tables = [tables[0].exp().cumsum(0) - 2, tables[1].exp().cumsum(0) - 2, tables[2].exp()]
    return [t.requires_grad_() for t in (x, *tables)]


KEPT = {"kept": 16, "computed again": 0}


@pytest.fixture(params=KEPT)
def cut(request, monkeypatch):
    """Called, it makes parts of two to ten rows."""

    def make():
        monkeypatch.setattr(_recompute, "KEPT", KEPT[request.param])
        monkeypatch.setattr(spline_module, "CHUNK", 240)
        monkeypatch.setattr(mixture_module, "CHUNK", 30)
        return request.param

    return make


def loss(f, tensors):
    z, log_slope = f(*tensors)
    return z.square().sum() - log_slope.sin().sum()


@pytest.mark.parametrize("name", FUNCTIONS)
def test_parts_have_the_values_and_gradients_of_the_whole(name, cut):
    f, tensors = FUNCTIONS[name], inputs(name)
    whole = f(*tensors)
    by_whole = torch.autograd.grad(loss(f, tensors), tensors)
    how = cut()
    parts = f(*tensors)
    if name == "logistic":
        assert ("Recomputed" if how == "computed again" else "Cat") in type(parts[0].grad_fn).__name__
    for a, b in zip([*parts, *torch.autograd.grad(loss(f, tensors), tensors)], [*whole, *by_whole], strict=True):
        assert torch.allclose(a, b, rtol=1e-10, atol=1e-11)
    with torch.no_grad():
        assert all(torch.equal(a, b) for a, b in zip(f(*tensors), parts, strict=True))


@pytest.mark.parametrize("name", FUNCTIONS)
def test_second_derivatives_of_parts(name, cut):
    f, tensors = FUNCTIONS[name], inputs(name)

    def second():
        first = torch.autograd.grad(loss(f, tensors), tensors, create_graph=True)
        return torch.autograd.grad(sum(g.square().sum() for g in first), tensors)

    whole = second()
    cut()
    for a, b in zip(second(), whole, strict=True):
        assert torch.allclose(a, b, rtol=1e-10, atol=1e-11)


def test_only_what_is_wanted_has_a_gradient_and_a_table_in_two_places_counts_in_both(cut):
    cut()
    x, xs, _, slopes = inputs("forward")
    x, slopes = x.detach(), slopes.detach()
    for create in (False, True):
        z, log_slope = rq_spline(x, xs, xs, slopes)
        (both,) = torch.autograd.grad((z.square() + log_slope).sum(), [xs], create_graph=create)
        twice = xs.detach().clone().requires_grad_(), xs.detach().clone().requires_grad_()
        z, log_slope = rq_spline(x, *twice, slopes)
        assert torch.allclose(both, sum(torch.autograd.grad((z.square() + log_slope).sum(), twice)))
    assert x.grad is None


def test_transformations_see_the_function_itself(cut):
    cut()
    f, tensors = FUNCTIONS["forward"], [t.detach() for t in inputs("forward")]
    x, tables = tensors[0], tensors[1:]
    slope = f(*tensors)[1].exp()
    jacobian = torch.func.jvp(lambda x: f(x, *tables)[0], (x,), (torch.ones_like(x),))[1]
    assert torch.allclose(jacobian, slope)
    assert torch.allclose(torch.func.grad(lambda x: f(x, *tables)[0].sum())(x), slope)
    assert torch.allclose(torch.func.vmap(lambda r: f(r[None], *tables)[0][0])(x), f(*tensors)[0])
    with torch.autograd.forward_ad.dual_level():
        dual = torch.autograd.forward_ad.make_dual(x, torch.ones_like(x))
        leaves = [t.clone().requires_grad_() for t in tables]  # with gradients asked for as well
        for behind in (tables, leaves):
            assert torch.allclose(torch.autograd.forward_ad.unpack_dual(f(dual, *behind)[0]).tangent, slope)
    leaf = x.clone().requires_grad_()
    compiled = torch.compile(f, fullgraph=True, backend="eager")
    (found,) = torch.autograd.grad(compiled(leaf, *tables)[0].sum(), leaf)
    assert torch.allclose(found, slope)


def test_training_keeps_nothing_but_the_inputs(monkeypatch):
    """What torch saves for the backward pass of 4000 rows is the rows and the tables."""
    monkeypatch.setattr(spline_module, "CHUNK", 2400)
    _, *tables = inputs("forward")
    x = torch.randn(4000, D, dtype=torch.float64)
    kept = []
    with torch.autograd.graph.saved_tensors_hooks(lambda t: kept.append(t.numel()) or t, lambda t: t):
        rq_spline(x, *tables)
    assert sum(kept) == x.numel() + 3 * K * D


def test_values_of_a_function_that_sees_rows_alone():
    x, t = torch.randn(10, 2), torch.randn(2)
    a, b = in_rows(lambda x, t: (x * t, x + t), 3, x, t)
    assert torch.equal(a, x * t)
    assert torch.equal(b, x + t)


def test_pieces_of_large_tensors_are_the_function_itself():
    """Value by value, also where the last piece is short, and the way is another where tensors are not contiguous."""
    z = 9 * torch.randn(3 * PIECE + 5, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        whole = torch.cat([log_normal_cdf(part) for part in z.split(PIECE // 2)])
        assert torch.equal(log_normal_cdf(z), whole)
        turned = z[: 2 * PIECE + 100].view(-1, 4).T
        assert torch.equal(log_normal_cdf(turned), log_normal_cdf(turned.contiguous()))
        log_q = log_normal_cdf(-z)
        pairs = zip(whole.split(PIECE // 2), log_q.split(PIECE // 2), strict=True)
        assert torch.equal(normal_quantile(whole, log_q), torch.cat([normal_quantile(p, q) for p, q in pairs]))


def test_tensors_without_gradients_are_plain_where_others_have_them():
    z = torch.linspace(-9, 9, 2 * PIECE + 100, dtype=torch.float64)
    assert plain_eager(z)
    assert not plain_eager()
    assert not plain_eager(z, torch.ones(1, requires_grad=True))
    with torch.no_grad():
        assert torch.equal(log_normal_cdf(z), log_normal_cdf(z.requires_grad_()))
    slopes = torch.autograd.grad(log_normal_cdf(z).sum(), z)[0]
    with forward_ad.dual_level():
        found = log_normal_cdf(forward_ad.make_dual(z.detach(), torch.ones_like(z)))
        torch.testing.assert_close(forward_ad.unpack_dual(found).tangent, slopes)


def test_bounds_in_place_are_those_that_are_not():
    x = torch.tensor([-torch.inf, -1e38, -3.0, 0.0, 0.5, 1e4, torch.inf])
    kept = x.clone()
    with torch.no_grad():
        assert torch.equal(soft_bound(x, 2.0), 2 * (x / 2).tanh())
        assert torch.equal(squash(x[1:-1], 6.0), x[1:-1] / (1 + x[1:-1].abs() / 6))
    assert torch.equal(x, kept)


@pytest.mark.parametrize("count", [24, 33, 34, 35, 161])
def test_the_bin_among_many_knots(count):
    knots = torch.rand(count, D, generator=torch.Generator().manual_seed(0)).cumsum(0)
    between = 0.5 * (knots[1:] + knots[:-1])
    x = torch.cat([knots, between, knots[:1] - 1, torch.full((1, D), 1e30), torch.full((1, D), torch.inf)])
    expected = (x[:, None] >= knots[None, 1:-1]).sum(1)
    assert torch.equal(bin_index(x, knots), expected)
    assert bin_index(torch.full((1, D), torch.nan), knots).sum() == 0
    rows = torch.func.vmap(lambda r: bin_index(r[None], knots)[0])(x)
    assert torch.equal(rows, expected)


@pytest.mark.parametrize("columns", [1, 5])
def test_estimates_are_chosen_for_a_few_columns_at_a_time(columns, monkeypatch):
    g = torch.Generator().manual_seed(0)
    x = torch.randn(400, 12, generator=g, dtype=torch.float64)
    x[:, :4], x[:, 4:6] = x[:, :4].exp(), (4 * x[:, 4:6]).round()
    u = _smooth.normal_knots(_smooth.GRID)
    monkeypatch.setattr(_smooth, "COLUMNS", 100)
    whole = _smooth.choose(x, u, 48)
    monkeypatch.setattr(_smooth, "COLUMNS", columns)
    chosen, width, _ = _smooth.choose(x, u, 48)
    assert torch.equal(chosen, whole[0])
    assert torch.allclose(width, whole[1], rtol=1e-12)
    assert len(whole[0].unique()) > 1


def test_many_gradients_at_once(cut):
    cut()
    x, *tables = inputs("normal")
    z, tables = FUNCTIONS["normal"](x, *tables)[0], [t.detach() for t in tables]
    directions = torch.eye(z.numel(), dtype=z.dtype).view(-1, *z.shape)
    (rows,) = torch.autograd.grad(z, x, directions, is_grads_batched=True)
    jacobian = torch.func.jacrev(lambda x: FUNCTIONS["normal"](x, *tables)[0])(x.detach())
    assert torch.allclose(rows.view(jacobian.shape), jacobian)
