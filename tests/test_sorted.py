"""What is done to columns once they are sorted, each against the plain way of doing it."""

import pytest
import torch

from gaussflow.ops._sort import ascending_order, count_up_to, sorted_columns
from gaussflow.ops._spline import rq_spline
from gaussflow.ops.quantile import spread_ties
from gaussflow.transforms._estimates import ESTIMATES, Sorted, normal_knots, normal_log_prob
from gaussflow.transforms._smooth import choose
from gaussflow.transforms._sorted_scores import SortedPoints


def rows(kind: str, n: int = 700, seed: int = 0) -> torch.Tensor:
    x = torch.randn(n, 4, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    laws = {
        "normal": x,
        "offset": 1e8 + x,
        "heavy": 1e3 * (2 * x).exp(),
        "discrete": (3 * x).round(),
        "peaks": (x > 0) + 1e-3 * x,
    }
    return laws[kind]


def scores(points, q, u):
    return points.log_prob(q.value[:, None], q.slope[:, None], u)[:, 0]


@pytest.mark.parametrize("n", [1, 2, 700, 8192, 8193])
def test_places_are_those_of_the_values_in_order(n):
    y = torch.randn(3, n, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    y[1] *= 1e-2
    y[2, : n // 2] = torch.tensor([1e30, -1e12])[torch.arange(n // 2) % 2]
    order = ascending_order(y)
    assert torch.equal(order.sort(1).values, torch.arange(n).expand(3, n))
    found, want = y.gather(1, order), y.sort(1).values
    assert float(((found - want).abs() / (1 + want.abs()).square()).max()) < 1e-4
    far = want.abs() > 100
    torch.testing.assert_close(found[far].sign(), want[far].sign(), rtol=0, atol=0)


@pytest.mark.parametrize("dtype", [torch.float16, torch.float32, torch.float64])
@pytest.mark.parametrize("columns", [1, 3])
def test_columns_are_sorted_and_the_rows_left_alone(dtype, columns):
    x = torch.randn(50, columns, generator=torch.Generator().manual_seed(0)).to(dtype)
    kept = x.clone()
    found = sorted_columns(x)
    assert torch.equal(found, x.T.sort(1).values)
    assert found.dtype == dtype
    assert found.is_contiguous()
    assert torch.equal(x, kept)


@pytest.mark.parametrize("n", [1, 2, 3, 31, 32, 33, 700])
def test_values_up_to_a_point_are_counted(n):
    g = torch.Generator().manual_seed(n)
    columns = (5 * torch.randn(3, n, generator=g)).round().sort(1).values
    x = torch.cat([columns, columns + 0.5, torch.full((3, 1), -99.0), torch.full((3, 1), torch.inf)], 1)
    assert torch.equal(count_up_to(columns, x).long(), torch.searchsorted(columns, x, right=True))


def test_ties_of_some_values_are_spread_as_one_by_one():
    x = torch.cat([rows("discrete"), rows("normal"), torch.zeros(700, 1).double()], 1).sort(0).values
    x[100:103, 5], x[:2, 6], x[-3:, 7] = x[100, 5], x[0, 6], x[-1, 7]
    expected = x.clone()
    for column, out in zip(x.unbind(1), expected.unbind(1), strict=True):
        values, counts = column.unique(return_counts=True)
        half = values.diff() / 2
        for k in range(len(values) if len(values) > 1 else 0):
            left, right = half[k - 1] if k else half[0], half[k] if k < len(half) else half[-1]
            share = (torch.arange(int(counts[k])).double() + 0.5) / counts[k]
            if counts[k] > 1:
                out[column == values[k]] = values[k] - left + share * (left + right)
    torch.testing.assert_close(spread_ties(x), expected, rtol=1e-13, atol=1e-13)
    assert torch.equal(spread_ties(x)[:, 8], x[:, 8])


@pytest.mark.parametrize("kind", ["normal", "offset", "heavy", "discrete", "peaks"])
def test_scores_of_sorted_points_are_those_of_the_spline(kind):
    """To a hundredth of a nat where rows are, a thousandth of it in the mean, for every estimate, tails included."""
    u = normal_knots(161)
    train, test = Sorted.of(rows(kind).sort(0).values), rows(kind, 400, seed=1).sort(0).values
    test = torch.cat([test[:1] - 100 * train.scale, test, test[-1:] + 1e9 * train.scale])
    points = SortedPoints.of(test.T.contiguous(), train.median, train.scale)
    for estimate in ESTIMATES:
        q = estimate(train, u)
        z, log_slope = rq_spline(test, q.value, u.expand_as(q.value), 1 / q.slope)
        want, found = (normal_log_prob(z) + log_slope).T, scores(points, q, u)
        assert found.dtype == torch.float32
        torch.testing.assert_close(found.double(), want, rtol=1e-4, atol=1e-2)
        assert (found - want)[:, 1:-1].abs().mean() < 1e-3


def test_a_point_beyond_all_numbers_has_a_finite_score():
    train = Sorted.of(rows("normal").sort(0).values)
    far = torch.tensor([[-1e300], [0.0], [1e300]]).double().expand(3, 4)
    points = SortedPoints.of(far.T.contiguous(), train.median, train.scale)
    u = normal_knots(161)
    for estimate in ESTIMATES:
        q = estimate(train, u)
        score = scores(points, q, u)
        assert bool(score.isfinite().all())
        assert bool((score[:, [0, 2]] < -100).all())


def test_a_row_beyond_single_precision_is_one_row_among_many():
    x = 50 * rows("normal")
    x[3, 1], x[5, 2] = 1e20, -1e20  # whose squares are infinite there
    chosen, _, _ = choose(x, normal_knots(161), 12)  # knots too few for peaks
    assert bool((chosen >= 0).all())
    assert bool((chosen < len(ESTIMATES)).all())
