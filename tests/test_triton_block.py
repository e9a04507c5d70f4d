"""The kernels of a rotation and splines at once, as chains take them without gradients, on a GPU or interpreted."""

import pytest
import torch

from kernels import DEVICE, drawn, filler, points, relative, skip_unless_they_run

skip_unless_they_run()

from gaussflow import Chain, Flow, MarginalSpline, Rotation, Standardize, Whiten, haar  # noqa: E402
from gaussflow.ops import _block, _kernels  # noqa: E402
from gaussflow.ops._block import turned_spline  # noqa: E402
from gaussflow.ops._spline import rq_spline, rq_spline_inverse  # noqa: E402
from gaussflow.ops._triton import _block as module  # noqa: E402

pytestmark = pytest.mark.filterwarnings("ignore::RuntimeWarning")  # the interpreter's, of numbers outside of a tile
both = pytest.mark.parametrize("inverse", [False, True])
TURNS, LADJ = 3e-6, 1e-5  # a product of single precision has the rounding of its terms; the sum, that of all columns


@pytest.fixture(autouse=True)
def called(monkeypatch):
    monkeypatch.setattr(_kernels, "DEVICES", (DEVICE,))
    return filler(monkeypatch, module)


def parts(dim, knots=9):
    """A matrix, and loc, scale and tables of splines that stretch by e^±1."""
    matrix = haar(dim, torch.Generator().manual_seed(0)).float().to(DEVICE)
    xs, zs, slopes = ((0.3 * t).exp() for t in drawn(3, knots, dim))
    loc, scale = (0.3 * t for t in drawn(2, dim, seed=2))
    return matrix, (loc, scale.exp(), xs.cumsum(0) - knots / 2, zs.cumsum(0) - knots / 2, slopes)


def reference(x, matrix, tables, inverse):
    x, matrix, loc, scale, *knots = (t.double() for t in (x, matrix, *tables))
    if inverse:
        u, log_slope = rq_spline_inverse(x, *knots)
        return (u * scale + loc) @ matrix, (log_slope + scale.log()).sum(-1)
    z, log_slope = rq_spline((x @ matrix - loc) / scale, *knots)
    return z, (log_slope - scale.log()).sum(-1)


@both
@pytest.mark.parametrize(("dim", "knots"), [(1, 3), (5, 9), (16, 9), (33, 9), (64, 24), (130, 9)])
def test_values_and_log_determinants(dim, knots, inverse, called):
    """Columns that are less than a block, a whole one, and several; rows that are no multiple of a tile."""
    x, (matrix, tables) = points(133, dim, width=2.0), parts(dim, knots)
    x[::10] *= 10  # beyond the knots
    found = turned_spline(x, matrix, tables, inverse=inverse)
    if inverse and dim > _block.MOST_BACK:
        assert found is None
        return
    truth = reference(x, matrix, tables, inverse)
    assert relative(found[0], truth[0], truth[0].square().mean().sqrt()) < TURNS
    assert relative(found[1], truth[1], 1.0) < LADJ
    assert called == [(133, dim), (133, -(-dim // 64))]


@both
def test_layouts_and_half_precision(inverse):
    x, (matrix, tables) = points(40, 21), parts(21)
    plain = turned_spline(x, matrix, tables, inverse=inverse)
    turned = turned_spline(x.T.contiguous().T, matrix.T.contiguous().T, tables, inverse=inverse)
    for mine, theirs in zip(turned, plain, strict=True):
        torch.testing.assert_close(mine, theirs)
    assert turned_spline(x[:0], matrix, tables, inverse=inverse)[1].shape == (0,)
    for dtype in (torch.bfloat16, torch.float16):
        narrow = [t.to(dtype) for t in (x, matrix, *tables)]
        found = turned_spline(narrow[0], narrow[1], tuple(narrow[2:]), inverse=inverse)
        truth = reference(narrow[0], narrow[1], narrow[2:], inverse)
        for mine, exact in zip(found, truth, strict=True):
            assert mine.dtype == dtype
            assert relative(mine, exact, 1.0) < 1.01 * torch.finfo(dtype).eps


@both
def test_extreme_rows_stay_finite_and_a_nan_stays_in_its_row(inverse):
    x, (matrix, tables) = points(20, 5), parts(5)
    x[3], x[9, 2], x[15, 1], x[16, 4] = 1e30, torch.nan, -3.4e38, 3.4028e38
    x[17] = 3.4e38 * matrix[:, 0].sign()  # the product is beyond the largest number
    for value in turned_spline(x, matrix, tables, inverse=inverse):
        rows = value.isfinite() if value.dim() == 1 else value.isfinite().all(-1)
        assert rows.tolist() == [i != 9 for i in range(20)]


def chain(dim=5):
    """Three blocks, one of them in a chain, with a map between that no kernel has."""
    g = torch.Generator().manual_seed(0)
    turns = [Rotation(dim, haar(dim, g)) for _ in range(3)]
    splines = [MarginalSpline(dim, 9) for _ in range(4)]
    with torch.no_grad():
        for p in [p for s in splines for p in s.parameters()]:
            p += 0.2 * torch.randn(p.shape, generator=g)
    middle = Whiten(dim).fit(torch.randn(50, dim, generator=g) * 3 + 1)
    return Chain(
        splines[0], turns[0], splines[1], Chain(turns[1], splines[2]), middle, Standardize(dim), turns[2], splines[3]
    ).to(DEVICE)


@both
def test_chains_take_them_where_no_gradients_are_wanted(inverse, called):
    layers, x = chain(), points(133, 5)
    f = layers.inverse if inverse else layers
    truth = layers.double().inverse(x.double()) if inverse else layers.double()(x.double())
    layers.float()
    with torch.no_grad():
        found = f(x)
    assert called.count((133, 1)) == 3
    assert relative(found[0], truth[0].detach(), 1.0) < LADJ
    assert relative(found[1], truth[1].detach(), 1.0) < LADJ
    called.clear()
    f(x)
    with torch.no_grad():
        f(x[0])
        torch.func.vmap(f)(x)
        torch.compile(f, backend="eager")(x)
        layers.double()
        f(x.double())
    assert not called


def test_log_densities_keep_five_digits(called):
    """Of a flow in single precision, relative to 1 + their size, several seeds together."""
    flow = Flow(chain())
    for seed in range(5):
        x = points(200, 5, seed=seed)
        with torch.no_grad():
            mine = flow.log_prob(x)
        exact = flow.double().log_prob(x.double()).detach()
        flow.float()
        assert relative(mine, exact, 1.0) < 1e-5
    assert called


def test_wide_rows_go_by_a_product_and_the_spline(called, monkeypatch):
    monkeypatch.setattr(_block, "MOST_COLUMNS", 4)
    layers, x = chain(), points(9, 5)
    with torch.no_grad():
        z = layers(x)[0]
    assert not called
    assert relative(z, layers(x)[0].detach(), 1.0) < 1e-5


@torch.no_grad()
def test_a_hook_sees_its_rows(called):
    layers, seen = chain(), []
    for part in layers.modules():
        if isinstance(part, MarginalSpline):
            part.register_forward_hook(lambda part, given, out: seen.append(len(given[0])))
    layers(points(9, 5))
    assert seen == [9] * 4
    assert not called


def test_the_device_s_own_errors_name_the_part(called):
    layers = Chain(Rotation(5), MarginalSpline(5, 9).double()).to(DEVICE)
    with torch.no_grad(), pytest.raises(TypeError, match="MarginalSpline"):
        layers(points(9, 5))
