"""Values of fitted splines from even cells: near the map itself wherever they are given, and not given elsewhere."""

import pytest
import torch

from gaussflow import Chain, MarginalSpline, Rotation, as_rows, haar
from gaussflow.transforms._splines import moved_columns
from gaussflow.transforms._value_table import ERROR, FEWEST_ROWS, ValueTable

D = 5


def rows(n, seed=0, dtype=torch.float32):
    return torch.randn(n, D, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def fitted(seed=0, offset=0.0):
    """A spline of skewed columns, and points of its law."""
    x = rows(3000, seed).mul(0.25).exp() + offset
    return MarginalSpline(D, 48).fit(x), rows(4000, seed + 1).mul(0.25).exp() + offset


def table_of(spline):
    with torch.no_grad():
        return ValueTable.of(spline.loc, spline.scale, *spline._tables())


@pytest.mark.parametrize("offset", [0.0, 1e4])
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_values_are_those_of_the_spline(seed, offset):
    spline, x = fitted(seed, offset)
    with torch.no_grad():
        z = spline(x)[0]
    off = (table_of(spline).values(x) - z).abs() / (1 + z.abs())
    assert off.max() < ERROR
    assert off.mean() < ERROR / 50


def test_points_far_beyond_the_knots_are_on_the_line_of_the_tail():
    spline, _ = fitted()
    far = torch.tensor([-1e30, -1e20, -1e6, 1e4, 1e9, 1e30])[:, None].expand(6, D)
    with torch.no_grad():
        torch.testing.assert_close(table_of(spline).values(far), spline(far)[0], rtol=1e-4, atol=0)
        assert bool(table_of(spline).values(1e8 * far).isfinite().all())


def test_a_map_with_narrow_peaks_has_no_table():
    x = rows(4000).sign() + 1e-4 * rows(4000, 1)
    assert table_of(MarginalSpline(D, 48).fit(x)) is None


@pytest.mark.parametrize("n", [FEWEST_ROWS - 1, FEWEST_ROWS])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_rows_go_through_a_block_as_by_itself_and_in_chunks(n, dtype):
    x = rows(n, dtype=dtype).exp()
    block = Chain(Rotation(D, haar(D, torch.Generator().manual_seed(0))), MarginalSpline(D)).to(dtype).fit(x[:2000])
    with torch.no_grad():
        z = block(x)[0]
    whole, parts = as_rows(x).through(block), as_rows([x[:7000], x[7000:]]).through(block)
    found = torch.cat([chunk for chunk, _ in whole.chunks()])
    assert ((found - z).abs() / (1 + z.abs())).max() < (ERROR if n >= FEWEST_ROWS else 1e-6)
    torch.testing.assert_close(torch.cat([chunk for chunk, _ in parts.chunks()]), found, rtol=1e-5, atol=1e-5)
    if dtype == torch.float64:
        torch.testing.assert_close(found, z, rtol=1e-12, atol=1e-12)


def test_a_block_of_another_dtype_is_refused_as_by_itself():
    spline = MarginalSpline(D).double()
    for dtype, n in ((torch.float32, 10), (torch.float32, FEWEST_ROWS)):
        with pytest.raises(TypeError, match="float64"):
            as_rows(rows(n, dtype=dtype)).through(spline)
    with pytest.raises(TypeError, match="float32"):
        as_rows(rows(FEWEST_ROWS, dtype=torch.float64)).through(MarginalSpline(D))


def partly_left_alone(moved, n=FEWEST_ROWS):
    """A spline that leaves all columns but so many exactly where they are, fitted; and points, some of them far."""
    spline, line = MarginalSpline(D, 16), torch.linspace(-5, 5, 16, dtype=torch.float64)[:, None].repeat(1, D)
    bent = line.clone()
    bent[:, :moved] += 0.3 * line[:, :moved].sin()
    slope = 1 + 0.3 * (bent != line) * line.cos()
    x = rows(n)
    x[:4] = torch.tensor([1e30, -1e9, torch.inf, torch.nan])[:, None]
    return spline.set_knots(line, bent, slope), x


@torch.no_grad()
@pytest.mark.parametrize("moved", [0, 2, 4])
def test_columns_that_are_left_alone_stay_as_they_are(moved):
    spline, x = partly_left_alone(moved)
    kept = x.clone()
    want, ladj = spline(x)
    ready, back = spline._steady(False).f, spline._steady(True).f
    z, found = ready(x)
    near = {"rtol": 1e-5, "atol": 1e-5, "equal_nan": True}
    torch.testing.assert_close(z, want, **near)
    torch.testing.assert_close(found.expand(len(x))[4:], ladj[4:], **near)
    torch.testing.assert_close(spline._values(len(x))(x[4:], None), want[4:], rtol=ERROR, atol=ERROR)  # of finite rows
    torch.testing.assert_close(back(z)[0], spline.inverse(want)[0], rtol=1e-4, atol=1e-5, equal_nan=True)
    assert torch.equal(x.nan_to_num(0), kept.nan_to_num(0))
    if moved == 2:
        assert torch.equal(z[4:, moved:], x[4:, moved:])  # not gathered, not computed
    assert bool(z[2].isfinite().all())
    assert bool(z[3].isnan().all())


def test_a_column_that_moves_by_a_little_is_moved():
    line = torch.linspace(-5, 5, 16, dtype=torch.float64)[:, None].repeat(1, D)
    column, slopes = torch.arange(D), torch.ones(16, D)
    slopes[5, 1] += 1e-4
    spline = MarginalSpline(D, 16).set_knots(line, line + 1e-4 * (column == 3), slopes)
    with torch.no_grad():
        assert moved_columns(spline.loc, spline.scale, *spline._tables()).tolist() == [1, 3]
