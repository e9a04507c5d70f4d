"""The kernels of the spline against the reference in double precision, on a GPU or in Triton's interpreter."""

import pytest
import torch
from benchmarks.ops import checks

from kernels import (
    DEVICE,
    check_against,
    check_compiled,
    check_transformed,
    drawn,
    filler,
    points,
    relative,
    skip_unless_they_run,
    values_and_gradients,
)

skip_unless_they_run()

from gaussflow.ops import _kernels  # noqa: E402
from gaussflow.ops import _spline as module  # noqa: E402
from gaussflow.ops._spline import rq_spline, rq_spline_inverse  # noqa: E402
from gaussflow.ops._triton import _spline  # noqa: E402

pytestmark = pytest.mark.filterwarnings("ignore::RuntimeWarning")  # the interpreter's, of numbers outside of a tile
D = 5
REFERENCE = {rq_spline: module._forward, rq_spline_inverse: module._backward}
both = pytest.mark.parametrize("f", REFERENCE)


@pytest.fixture(autouse=True)
def called(monkeypatch):
    """Kernels are taken on the device of the tests, and what they write was not a number before; counts their calls."""
    monkeypatch.setattr(_kernels, "DEVICES", (DEVICE,))
    return filler(monkeypatch, _spline)


def wide(*shape):
    return points(*shape, width=8.0)


def tables(knots, shape=(D,)):
    xs, zs, slopes = (t.exp() for t in drawn(3, knots, *shape))
    return [xs.cumsum(0) - 0.8 * knots, zs.cumsum(0) - 0.8 * knots, slopes]


@both
@pytest.mark.parametrize("knots", [2, 3, 20, 21])
def test_values_and_gradients_of_shared_tables(f, knots, called):
    """More rows than a tile has, and no multiple of it; all of what is written was not a number before."""
    x = wide(133, D) * max(1, knots / 9)  # many of them beyond the knots
    check_against(f, REFERENCE[f], [x, *tables(knots)])
    assert len(called) >= 4


@both
@pytest.mark.parametrize("shape", [(D,), (17, D), (2, 3, D)])
@pytest.mark.parametrize("knots", [7, 22])
def test_values_and_gradients_of_tables_of_their_own(f, shape, knots, called):
    check_against(f, REFERENCE[f], [wide(*shape) * knots / 7, *tables(knots, shape)])
    assert len(called) >= 4


@both
@pytest.mark.parametrize("own", [False, True])
def test_single_precision_over_all_of_the_domain(f, own, monkeypatch):
    monkeypatch.setattr(checks, "SPREAD", 3)
    count = 31 if own else 121  # every number with tables of its own is a column, and so a program of its own
    knots = [t.to(DEVICE) for t in checks.spline_tables()]
    x = torch.linspace(-checks.REACH, checks.REACH, count, device=DEVICE)[:, None].expand(count, 3)
    knots = [t[:, None].expand(-1, count, 3).contiguous() for t in knots] if own else knots
    assert checks.values_error(f, (x, *knots)) < checks.VALUES
    assert checks.gradients_error(f, (x, *knots)) < checks.GRADIENTS
    if not own:
        far = checks.FAR * wide(121, 3) / 8
        assert checks.round_trip_error(rq_spline, rq_spline_inverse, (far, *knots)) < checks.ROUND_TRIP


@both
def test_layouts(f):
    """Rows and tables that are transposed or cut, gradients that are expanded, no rows, and one row."""
    inputs = [wide(40, D), *tables(6)]
    plain = values_and_gradients(f, inputs)
    for turned in ([t.T.contiguous().T for t in inputs], [torch.stack([t, -t], -1)[..., 0] for t in inputs]):
        assert not turned[0].is_contiguous()
        for mine, theirs in zip(values_and_gradients(f, turned), plain, strict=True):
            torch.testing.assert_close(mine, theirs)
    leaves = [t.requires_grad_() for t in inputs]
    z, log_slope = f(*leaves)
    found = torch.autograd.grad(z.sum() + log_slope.sum(-1).mean(), leaves)
    z, log_slope = REFERENCE[f](*leaves)
    for mine, theirs in zip(found, torch.autograd.grad(z.sum() + log_slope.sum(-1).mean(), leaves), strict=True):
        assert relative(mine, theirs) < 1e-5
    for rows in (0, 1):
        some = values_and_gradients(f, [wide(rows, D), *tables(6)])
        assert some[0].shape == (rows, D)
        assert all(bool(t.isfinite().all()) for t in some)


@both
def test_extreme_tables_and_points_stay_finite(f):
    """Widths, heights and slopes over e^±12, points to the largest number and beyond, bins of no width."""
    g = torch.Generator().manual_seed(0)
    logs = [12 * (2 * torch.rand(9, 40, generator=g) - 1).to(DEVICE) for _ in range(3)]
    for value in (0.0, 1e-30, -3.0, 1e8, 1e30, -1e30, 3.4e38, torch.inf, -torch.inf):
        x = torch.full((40,), value, device=DEVICE, requires_grad=True)
        leaves = [t.clone().requires_grad_() for t in logs]
        xs, zs, slopes = leaves[0].exp().cumsum(0) - 1, leaves[1].exp().cumsum(0) - 1, leaves[2].exp()
        z, log_slope = f(x, xs, zs, slopes)
        assert bool((z.isfinite() & log_slope.isfinite()).all()), value
        for gradient in torch.autograd.grad(log_slope.sum(), [x, *leaves]):
            assert bool(gradient.isfinite().all()), value
    xs, zs, slopes = (torch.cat([t[:3], t[2:3], t[3:], t[-1:]]) for t in tables(6))
    assert all(bool(t.isfinite().all()) for t in values_and_gradients(f, [wide(60, D), xs, zs, slopes]))


@both
def test_what_is_no_number_stays_where_it_is(f):
    x = wide(9, D)
    x[4, 2] = torch.nan
    for value in f(x, *tables(5)):
        assert torch.equal(value.isnan(), x.isnan())


@both
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_is_computed_in_single(f, dtype, called):
    x, knots = wide(60, D).to(dtype), tables(6)
    narrow = [t.to(dtype) for t in knots]
    z, log_slope = f(x, *narrow)
    exact = REFERENCE[f](*(t.double() for t in (x, *narrow)))
    assert z.dtype == log_slope.dtype == dtype
    assert relative(z, exact[0], 1.0) < torch.finfo(dtype).eps
    assert relative(log_slope, exact[1], 1.0) < torch.finfo(dtype).eps
    mixed = f(x, *knots)
    assert mixed[0].dtype == torch.float32
    assert relative(mixed[0], REFERENCE[f](*(t.double() for t in (x, *knots)))[0], 1.0) < 1e-6
    leaves = [t.requires_grad_() for t in (x, *knots)]
    gradients = torch.autograd.grad(sum(v.sum() for v in f(*leaves)), leaves)
    assert [t.dtype for t in gradients] == [t.dtype for t in leaves]
    assert called


@both
def test_only_what_is_wanted_has_a_gradient(f, called):
    x, knots = wide(30, D), tables(6)
    z, log_slope = f(x.requires_grad_(), *knots)
    called.clear()
    (mine,) = torch.autograd.grad((z * log_slope).sum(), x)
    assert (0,) in called  # no sums are made for the tables
    z, log_slope = REFERENCE[f](x, *knots)
    assert relative(mine, torch.autograd.grad((z * log_slope).sum(), x)[0]) < 1e-5


@both
def test_higher_derivatives_and_transformations_are_those_of_the_reference(f):
    inputs = [wide(6, D), *tables(5)]
    z = f(*(t.clone().requires_grad_() for t in inputs))[0]
    assert "gaussflow_rq_spline" in type(z.grad_fn).__name__
    check_transformed(f, REFERENCE[f], inputs)


@both
def test_it_compiles_whole(f, called):
    check_compiled(f, [wide(7, D), *tables(5)])
    assert called


@pytest.mark.parametrize("inverse", [False, True])
@pytest.mark.parametrize("own", [False, True])
def test_operators_are_well_behaved(inverse, own):
    inputs = [wide(4, D), *tables(4, (4, D) if own else (D,))]
    leaves = [t.requires_grad_() for t in inputs]
    torch.library.opcheck(_spline.spline, (*leaves, inverse))
    plain = [t.detach() for t in inputs]
    torch.library.opcheck(_spline.spline_gradients, (*plain, plain[0], plain[0], inverse, True))


def test_other_layouts_and_double_precision_go_by_the_reference(called):
    x, knots = wide(4, 3, D), tables(5, (4, 3, 1))
    z = rq_spline(x, *knots)[0]
    assert not called
    assert torch.equal(z, module._forward(x, *knots)[0])
    rq_spline(x.double(), *(t.double() for t in tables(5)))
    assert not called
