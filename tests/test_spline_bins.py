"""The spline of many rows under shared tables, in few passes: values and derivatives are those of the reference."""

import pytest
import torch

from gaussflow.ops import _spline as module
from gaussflow.ops._spline import rq_spline, rq_spline_inverse
from gaussflow.ops._spline_bins import Bins

D = 3
REFERENCE = {rq_spline: module._forward, rq_spline_inverse: module._backward}
both = pytest.mark.parametrize("f", REFERENCE)


def tables(knots, dtype=torch.float64, seed=0):
    g = torch.Generator().manual_seed(seed)
    xs, zs = ((torch.rand(knots, D, generator=g, dtype=torch.float64) + 0.05).cumsum(0) for _ in range(2))
    slopes = (2 * torch.randn(knots, D, generator=g, dtype=torch.float64)).exp()
    return [t.to(dtype) for t in (4 * xs / xs[-1] - 2, 4 * zs / zs[-1] - 2, slopes)]


def points(n, seed=1):
    return 2 * torch.randn(n, D, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def gradients(f, inputs):
    """Of a random sum of both values, by all inputs."""
    leaves = [t.detach().clone().requires_grad_() for t in inputs]
    g = torch.Generator().manual_seed(2)
    values = f(*leaves)
    weights = [torch.randn(v.shape, generator=g, dtype=torch.float64).to(v.dtype) for v in values]
    return torch.autograd.grad(sum((w * v).sum() for w, v in zip(weights, values, strict=True)), leaves)


def is_written(values):
    return "Written" in type(values[0].grad_fn).__name__


@both
@pytest.mark.parametrize("knots", [2, 3, 4, 9, 10, 48])
@pytest.mark.parametrize("chunk", [240, 2**18])
def test_values_and_gradients_are_those_of_the_reference(f, knots, chunk, monkeypatch):
    monkeypatch.setattr(module, "CHUNK", chunk)  # the first makes ten rows at a time, the last of them fewer
    inputs = [points(93), *tables(knots)]
    assert is_written(f(inputs[0], *(t.requires_grad_() for t in inputs[1:])))
    for mine, theirs in zip(gradients(f, inputs), gradients(REFERENCE[f], inputs), strict=True):
        torch.testing.assert_close(mine, theirs, rtol=1e-9, atol=1e-11)
    with torch.no_grad():
        for mine, theirs in zip(f(*inputs), REFERENCE[f](*inputs), strict=True):
            torch.testing.assert_close(mine, theirs, rtol=1e-12, atol=1e-13)


@both
def test_single_precision_is_as_near_to_double_as_that_of_the_reference(f):
    single = [points(4001).float(), *tables(9, torch.float32)]
    double = [t.double() for t in single]
    with torch.no_grad():
        mine, theirs, true = f(*single), REFERENCE[f](*single), REFERENCE[f](*double)
    mine, theirs, true = (
        [*values, *gradients(g, inputs)]
        for values, g, inputs in ((mine, f, single), (theirs, REFERENCE[f], single), (true, REFERENCE[f], double))
    )
    for m, t, exact in zip(mine, theirs, true, strict=True):
        assert m.dtype == torch.float32
        assert (m - exact).abs().max() <= 3 * (t - exact).abs().max() + 2e-6 * exact.abs().max()


@both
def test_beyond_the_end_knots_and_at_knots(f):
    xs, zs, slopes = tables(5)
    knots = xs if f is rq_spline else zs
    x = torch.cat([knots, knots[:1] - 1e3, knots[-1:] + 1e6, torch.full((1, D), 1e300, dtype=xs.dtype)])
    with torch.no_grad():
        for mine, theirs in zip(f(x, xs, zs, slopes), REFERENCE[f](x, xs, zs, slopes), strict=True):
            torch.testing.assert_close(mine, theirs, rtol=1e-12, atol=1e-12)
    for mine, theirs in zip(gradients(f, [x[5:-1], xs, zs, slopes]), gradients(REFERENCE[f], [x[5:-1], xs, zs, slopes]),
                            strict=True):  # fmt: skip
        torch.testing.assert_close(mine, theirs, rtol=1e-9, atol=1e-9)


@both
def test_far_points_and_steep_bins_stay_finite(f):
    """Also in single precision, at the ends of what is taken: steeper bins are left to the reference."""
    xs, zs, slopes = tables(6, torch.float32)
    slopes = torch.tensor([1e9, 1e-9, 1e8, 1e-8, 1.0, 2.0])[:, None].expand_as(xs).contiguous()
    assert Bins.of(xs, zs, slopes) is not None
    x = torch.cat(
        [points(200).float(), torch.full((2, D), 3e38), torch.full((2, D), -3e38), torch.full((2, D), torch.inf)]
    )
    with torch.no_grad():
        assert all(bool(v.isfinite().all()) for v in f(x, xs, zs, slopes))
    assert all(bool(g.isfinite().all()) for g in gradients(f, [x[:200], xs, zs, slopes]))


@both
@pytest.mark.parametrize("broken", ["no width", "no height", "steep", "flat", "steep at an end", "not a number"])
def test_bins_that_are_too_narrow_or_steep_are_left_to_the_reference(f, broken):
    xs, zs, slopes = tables(5)
    if broken == "no width":
        xs[2] = xs[1]
    elif broken == "no height":
        zs[2] = zs[1]
    elif broken == "steep at an end":
        slopes[0] = 1e13
    else:
        slopes[2] = {"steep": 1e13, "flat": 1e-13, "not a number": torch.nan}[broken]
    assert Bins.of(xs, zs, slopes) is None
    x = points(50)
    for mine, theirs in zip(f(x, xs, zs, slopes), REFERENCE[f](x, xs, zs, slopes), strict=True):
        torch.testing.assert_close(mine, theirs, rtol=1e-13, atol=1e-13, equal_nan=True)


@both
def test_layouts_and_sizes(f):
    """Transposed rows and tables, gradients that are expanded, no rows, and a row that is no number."""
    inputs = [points(60), *tables(6)]
    turned = [t.T.contiguous().T for t in inputs]
    for mine, theirs in zip(gradients(f, turned), gradients(f, inputs), strict=True):
        torch.testing.assert_close(mine, theirs, rtol=1e-12, atol=1e-12)
    leaves = [t.requires_grad_() for t in inputs]
    z, log_slope = f(*leaves)
    by_sum = torch.autograd.grad(z.sum() + log_slope.sum(-1).mean(), leaves)
    z, log_slope = REFERENCE[f](*leaves)
    for mine, theirs in zip(by_sum, torch.autograd.grad(z.sum() + log_slope.sum(-1).mean(), leaves), strict=True):
        torch.testing.assert_close(mine, theirs, rtol=1e-9, atol=1e-11)
    assert f(points(0), *tables(6))[0].shape == (0, D)
    bad = points(60)
    bad[7, 1] = torch.nan
    assert int(f(bad, *tables(6))[0].isnan().sum()) == 1


@both
def test_higher_and_many_derivatives_are_those_of_the_reference(f):
    inputs = [points(12), *tables(5)]
    leaves = [t.requires_grad_() for t in inputs]

    def second(f):
        first = torch.autograd.grad(sum(v.square().sum() for v in f(*leaves)), leaves, create_graph=True)
        return torch.autograd.grad(sum(g.square().sum() for g in first), leaves)

    for mine, theirs in zip(second(f), second(REFERENCE[f]), strict=True):
        torch.testing.assert_close(mine, theirs, rtol=1e-8, atol=1e-8)
    z = f(*leaves)[0]
    assert is_written((z,))
    directions = torch.eye(z.numel(), dtype=z.dtype).view(-1, *z.shape)
    (rows,) = torch.autograd.grad(z, leaves[0], directions, is_grads_batched=True)
    jacobian = torch.func.jacrev(lambda x: f(x, *inputs[1:])[0])(inputs[0])
    forward = torch.func.jacfwd(lambda x: f(x, *inputs[1:])[0])(inputs[0])
    torch.testing.assert_close(rows.view(jacobian.shape), jacobian)
    torch.testing.assert_close(forward, jacobian)


@both
def test_only_the_inputs_are_kept_for_the_backward_pass(f):
    inputs = [points(4000).requires_grad_(), *tables(9)]
    kept = []
    with torch.autograd.graph.saved_tensors_hooks(lambda t: kept.append(t.numel()) or t, lambda t: t):
        f(*inputs)
    assert sum(kept) == sum(t.numel() for t in inputs)
