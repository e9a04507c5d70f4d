"""The rational-quadratic spline and the root finder: exact, finite, differentiable."""

import pytest
import torch

from gaussflow.ops._root import polished_root
from gaussflow.ops._spline import rq_spline, rq_spline_inverse, stable_quadratic_root
from gaussflow.ops._spline_search import bin_index, take

K, D = 9, 3


def tables(dtype=torch.float64, shape=(D,), spread=1.0, seed=0):
    g = torch.Generator().manual_seed(seed)
    xs, zs = (torch.randn(K, *shape, generator=g, dtype=torch.float64).mul(spread).exp().cumsum(0) for _ in range(2))
    slopes = torch.randn(K, *shape, generator=g, dtype=torch.float64).mul(spread).exp()
    return tuple(t.to(dtype) for t in (xs - xs[K // 2], zs - zs[K // 2], slopes))


@pytest.mark.parametrize("sigma", [1, 5, 20, 100])
@pytest.mark.parametrize(("dtype", "bound"), [(torch.float32, 3e-6), (torch.float64, 1e-14)])
def test_round_trip(sigma, dtype, bound):
    x = sigma * torch.randn(2000, D, dtype=dtype, generator=torch.Generator().manual_seed(1))
    knots = tables(dtype, spread=0.7)
    z, log_slope = rq_spline(x, *knots)
    back, log_inverse = rq_spline_inverse(z, *knots)
    assert ((back - x).abs() / (1 + x.abs())).max() < bound
    assert (log_slope + log_inverse).abs().max() < 30 * bound


def test_knots_map_to_values_with_the_given_slopes():
    xs, zs, slopes = tables()
    z, log_slope = rq_spline(xs, xs, zs, slopes)
    assert torch.allclose(z, zs, atol=1e-14)
    assert torch.allclose(log_slope, slopes.log(), atol=1e-13)


def test_first_derivative_is_continuous_at_the_knots_and_the_tails_are_lines():
    xs, zs, slopes = tables()
    h = 1e-9
    left, right = rq_spline(xs - h, xs, zs, slopes)[1], rq_spline(xs + h, xs, zs, slopes)[1]
    assert (left - right).abs().max() < 1e-6
    far = xs[-1] + torch.tensor([[1.0], [1e3], [1e30]], dtype=torch.float64)
    z, log_slope = rq_spline(far, xs, zs, slopes)
    assert torch.allclose(z, zs[-1] + slopes[-1] * (far - xs[-1]))
    assert torch.allclose(log_slope, slopes[-1].log().expand_as(far), atol=1e-13)


@pytest.mark.parametrize("f", [rq_spline, rq_spline_inverse])
def test_gradcheck(f):
    x = torch.linspace(-8, 8, 6, dtype=torch.float64)[:, None].expand(6, D).clone().requires_grad_()
    knots = tuple(t.requires_grad_() for t in tables(spread=0.4))
    assert torch.autograd.gradcheck(f, (x, *knots))
    assert torch.autograd.gradgradcheck(f, (x, *knots))


@pytest.mark.parametrize("f", [rq_spline, rq_spline_inverse])
def test_slope_is_that_of_autograd_everywhere(f):
    knots = tables()
    x = torch.linspace(-30, 30, 301, dtype=torch.float64)[:, None].expand(301, D).clone().requires_grad_()
    z, log_slope = f(x, *knots)
    (slope,) = torch.autograd.grad(z.sum(), x)
    assert (slope.log() - log_slope).abs().max() < 1e-12
    forward = torch.func.jvp(lambda x: f(x, *knots)[0], (x.detach(),), (torch.ones_like(x),))[1]
    assert torch.allclose(forward, slope)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("f", [rq_spline, rq_spline_inverse])
def test_extreme_tables_and_points_stay_finite(f, dtype):
    """Widths, heights and slopes over e^±12 (e^±20 in float64), points to the largest number: all is finite."""
    g = torch.Generator().manual_seed(0)
    bound = 12 if dtype == torch.float32 else 20
    logs = [bound * (2 * torch.rand(K, 200, generator=g, dtype=dtype) - 1) for _ in range(3)]
    for seed, value in enumerate((0.0, 1e-30, -3.0, 1e8, 1e30, -1e30, torch.finfo(dtype).max)):
        x = torch.full((200,), value, dtype=dtype, requires_grad=True)
        leaves = [t.clone().requires_grad_() for t in logs]
        xs, zs, slopes = leaves[0].exp().cumsum(0) - 1, leaves[1].exp().cumsum(0) - 1, leaves[2].exp()
        z, log_slope = f(x, xs, zs, slopes)
        assert torch.isfinite(z).all(), (seed, value)
        assert torch.isfinite(log_slope).all()
        for gradient in torch.autograd.grad(log_slope.sum(), [x, *leaves]):
            assert torch.isfinite(gradient).all(), (seed, value)


def test_bins_of_no_width_do_no_harm():
    xs, zs, slopes = tables(shape=(1,))
    xs, zs, slopes = (torch.cat([t[:4], t[3:4], t[4:], t[-1:]]) for t in (xs, zs, slopes))
    x = torch.linspace(-9, 9, 200, dtype=torch.float64)[:, None]
    z, log_slope = rq_spline(x, xs, zs, slopes)
    assert torch.isfinite(z).all()
    assert torch.isfinite(log_slope).all()
    assert torch.allclose(rq_spline_inverse(z, xs, zs, slopes)[0], x)


def test_nan_stays_where_it_is():
    x = torch.zeros(4, D, dtype=torch.float64)
    x[1, 2] = torch.nan
    for f in (rq_spline, rq_spline_inverse):
        for out in f(x, *tables()):
            assert torch.equal(out.isnan(), x.isnan())


def test_root_adds_and_never_subtracts():
    """Steep ends, where the textbook root loses all digits: the error stays at rounding in float32."""
    eta = torch.linspace(0, 1, 1001)
    for s, d0, d1 in ((1.0, 1e-4, 1e4), (1.0, 1e4, 1e-4), (1.0, 1e-6, 1e-6), (1.0, 2.0, 2.0)):
        args = [torch.tensor(v) / max(s, d0, d1) for v in (s, d0, d1)]
        single, rest = stable_quadratic_root(eta, 1 - eta, *args)
        double, _ = stable_quadratic_root(eta.double(), 1 - eta.double(), *(a.double() for a in args))
        assert (single - double).abs().max() < 2e-6
        assert (single + rest - 1).abs().max() < 2e-6
        assert (single.diff() >= -1e-6).all()


def test_bin_index_of_short_and_long_tables():
    for count in (2, 3, 9, 200):
        knots = torch.linspace(-4, 4, count)[:, None].expand(count, 2)
        x = torch.tensor([[-9.0, -4.0], [0.1, 4.0], [9.0, torch.nan]])
        index = bin_index(x, knots)
        assert index.min() >= 0
        assert index.max() <= count - 2
        inside = index[1, 0]
        assert knots[inside, 0] <= 0.1 <= knots[inside + 1, 0]
        assert index[2, 1] == 0
        assert torch.equal(torch.func.vmap(lambda row, k=knots: bin_index(row, k))(x), index)


def test_take_of_shared_and_own_tables():
    table, index = torch.randn(K, D), torch.randint(0, K, (5, D))
    shared = take(table, index)
    own = take(table[:, None].expand(K, 5, D).contiguous(), index)
    assert torch.equal(shared, own)
    assert torch.equal(shared, table.gather(0, index))


@pytest.mark.parametrize("shape", [(D,), (2, 3, D), (0, D)])
def test_shapes_and_tools(shape):
    knots = tables()
    x = torch.randn(*shape, dtype=torch.float64)
    z, log_slope = rq_spline(x, *knots)
    assert z.shape == log_slope.shape == x.shape
    compiled = torch.compile(rq_spline, fullgraph=True, backend="eager")
    torch.testing.assert_close(compiled(x, *knots)[0], z, rtol=1e-12, atol=1e-12)
    own = tuple(t.view(K, *[1] * (x.dim() - 1), D).expand(K, *shape) for t in knots)
    assert torch.allclose(rq_spline(x, *own)[0], z)


def test_per_row_jacobian_and_batched_tables():
    knots = tables()
    x = torch.randn(4, D, dtype=torch.float64)
    jacobian = torch.func.vmap(torch.func.jacrev(lambda r: rq_spline(r, *knots)[0]))(x)
    assert torch.allclose(jacobian.diagonal(dim1=-2, dim2=-1).log(), rq_spline(x, *knots)[1])
    stacked = tuple(torch.stack([t, 2 * t]) for t in knots)
    both = torch.func.vmap(lambda r, *k: rq_spline(r, *k)[0], in_dims=(None, 0, 0, 0))(x, *stacked)
    assert torch.allclose(both[1], rq_spline(x, *(2 * t for t in knots))[0])


def test_root_has_derivatives_of_first_and_second_order():
    y = torch.linspace(-20, 20, 9, dtype=torch.float64).requires_grad_()
    a = torch.tensor(1.3, dtype=torch.float64, requires_grad=True)

    def root(y, a):
        bound = torch.full_like(y, 30.0)
        return polished_root(lambda x: ((a * x).sinh(), (a * x).cosh().log() + a.log()), y, y, -bound, bound, 40)

    x, log_slope = root(y, a)
    assert torch.allclose(x, (y / 1).asinh() / a, atol=1e-13)
    assert torch.allclose(log_slope, -(y.square() + 1).log() / 2 - a.log(), atol=1e-12)
    assert torch.autograd.gradcheck(root, (y, a))
    assert torch.autograd.gradgradcheck(lambda y, a: root(y, a)[0], (y, a))


def test_root_keeps_nan_and_its_neighbours():
    y = torch.tensor([1.0, torch.nan, 2.0])
    x, _ = polished_root(lambda x: (x.sinh(), x.cosh().log()), y, y * 0, y * 0 - 9, y * 0 + 9, 12)
    assert torch.equal(x.isnan(), y.isnan())


def test_root_compiles_whole():
    y = torch.linspace(-20, 20, 9)

    def root(y):
        return polished_root(lambda x: (x.sinh(), x.cosh().log()), y, y * 0, y * 0 - 9, y * 0 + 9, 12)

    with torch.no_grad():
        assert torch._dynamo.explain(root)(y).graph_break_count == 0
