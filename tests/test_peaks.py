"""Columns with narrow peaks: rounded and then blurred, half zero, two peaks; against the entropy of what they are."""

import math
from itertools import pairwise

import pytest
import torch
from torch import Tensor

from gaussflow import TensorRows
from gaussflow.ops._spline import rq_spline
from gaussflow.transforms._estimates import Quantiles, Sorted, normal_knots
from gaussflow.transforms._lattice import even_places, shrunk
from gaussflow.transforms._peak_map import BACKGROUND_GRID, _through, peaked
from gaussflow.transforms._peaks import _box, clump_width, separate
from gaussflow.transforms._smooth import smooth_gaussianization

BLUR = 0.01
D = 6
NORMAL = 0.5 * math.log(2 * math.pi * math.e)


def generator(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def blurred(x: Tensor, seed: int) -> Tensor:
    return x + BLUR * torch.randn(x.shape, generator=generator(seed), dtype=torch.float64)


def rounded(n: int, values_in_a_deviation: float, seed: int) -> Tensor:
    """Standard normal columns rounded to a lattice and blurred, (n, D)."""
    x = torch.randn(n, D, generator=generator(seed), dtype=torch.float64)
    return blurred((x * values_in_a_deviation).round() / values_in_a_deviation, seed + 100)


def entropy_of_rounded(values_in_a_deviation: float) -> float:
    k = torch.arange(-200, 201, dtype=torch.float64)
    p = torch.special.ndtr((k + 0.5) / values_in_a_deviation) - torch.special.ndtr((k - 0.5) / values_in_a_deviation)
    return float(torch.special.entr(p).sum()) + NORMAL + math.log(BLUR)


def nats(x: Tensor, tables: tuple[Tensor, Tensor, Tensor]) -> Tensor:
    z, log_slope = rq_spline(x, *tables)
    return 0.5 * z.square() + 0.5 * math.log(2 * math.pi) - log_slope


@pytest.mark.parametrize("seed", [0, 1])
@pytest.mark.parametrize(
    ("values", "n", "excess"), [(2, 1000, 0.03), (5, 1000, 0.05), (12, 1000, 0.09), (12, 8000, 0.03)]
)
def test_a_rounded_column_is_fitted_nearly_at_its_entropy(values: float, n: int, excess: float, seed: int) -> None:
    """The weights alone of m peaks cost m / 2n nats: 0.05 for a hundred peaks and a thousand rows."""
    tables = smooth_gaussianization(TensorRows(rounded(n, values, seed)), 400)
    assert nats(rounded(10_000, values, seed + 7), tables).mean() - entropy_of_rounded(values) < excess


@pytest.mark.parametrize("seed", [0, 1])
def test_zeros_beside_a_continuous_part_are_seen(seed: int) -> None:
    def draw(n: int, seed: int) -> Tensor:
        x = torch.randn(n, D, generator=generator(seed), dtype=torch.float64).exp()
        zero = torch.rand(n, D, generator=generator(seed + 50), dtype=torch.float64) < 0.6
        return blurred(torch.where(zero, 0.0, x), seed + 100)

    entropy = -0.6 * math.log(0.6) - 0.4 * math.log(0.4) + 0.6 * (NORMAL + math.log(BLUR)) + 0.4 * NORMAL
    tables = smooth_gaussianization(TensorRows(draw(2000, seed)), 128)
    assert nats(draw(20_000, seed + 7), tables).mean() - entropy < 0.05


def test_fewer_knots_than_peaks_still_help() -> None:
    x, fresh = rounded(4000, 6, 0), rounded(10_000, 6, 1)
    losses = [nats(fresh, smooth_gaussianization(TensorRows(x), k)).mean() for k in (12, 48, 128, 400)]
    assert all(after < before + 0.02 for before, after in pairwise(losses))
    assert losses[0] < NORMAL + 0.05


@pytest.mark.parametrize("scale", [1e-6, 1.0, 1e6])
@pytest.mark.parametrize("n", [500, 8000])
def test_the_width_of_peaks_is_found_at_any_scale(n: int, scale: float) -> None:
    x = scale * rounded(n, 4, 3).sort(0).values
    width = clump_width(x, x.std(0))
    assert (width > 0.7 * BLUR * scale).all()
    assert (width < 1.5 * BLUR * scale).all()


@pytest.mark.parametrize("n", [16, 100, 1000, 10_000])
def test_smooth_columns_have_no_peaks(n: int) -> None:
    x = torch.randn(n, 200, generator=generator(0), dtype=torch.float64).sort(0).values
    assert (clump_width(x, x.std(0)) == 0).all()


@pytest.mark.parametrize("n", [100, 3000])
def test_noise_stays_untouched_with_many_knots(n: int) -> None:
    """The expected loss of believing a fit of standard normal rows, over eight tables of 1 to 64 columns."""
    u = torch.special.ndtri((torch.arange(2000, dtype=torch.float64) + 0.5) / 2000)
    losses = []
    for seed, dim in enumerate([1, 1, 8, 8, 8, 64, 64, 64]):
        x = torch.randn(n, dim, generator=generator(seed), dtype=torch.float64)
        at = u[:, None].expand(-1, dim)
        excess = nats(at, smooth_gaussianization(TensorRows(x), 400)) - 0.5 * at.square() - 0.5 * math.log(2 * math.pi)
        losses.append(excess.mean())
    assert torch.stack(losses).mean() < 1e-3


def test_peaks_are_where_they_are() -> None:
    places = torch.tensor([-2.0, -0.3, 0.1, 1.7], dtype=torch.float64)
    index = torch.randint(0, 4, (4000, 2), generator=generator(1))
    x = blurred(places[index], 2).sort(0).values
    peaks = separate(x, torch.full((2,), 1.3 * BLUR, dtype=torch.float64), 20)
    found = [place[weight > 0].sort().values for place, weight in zip(peaks.place, peaks.weight, strict=True)]
    for place in found:
        torch.testing.assert_close(place, places, atol=5 * BLUR / 1000**0.5, rtol=0)
    torch.testing.assert_close(peaks.width, torch.full_like(peaks.width, BLUR), rtol=0.05, atol=0)
    assert (peaks.background.mean(0) < 0.005).all()


def test_even_places_and_their_period_are_found() -> None:
    x = (torch.randn(1500, 3, generator=generator(4), dtype=torch.float64) * 8).round() * 14.3 + 700.2
    x = (x + 3 * torch.randn(x.shape, generator=generator(5), dtype=torch.float64)).floor().long().clamp(0, 1399)
    count = torch.zeros(3, 1400, dtype=torch.float64).scatter_add_(1, x.T, torch.ones(3, 1500, dtype=torch.float64))
    places, rows = even_places(count, _box(count), 80)
    for place, there in zip(places, rows, strict=True):
        used = there > 0
        torch.testing.assert_close(place[used].diff(), torch.full_like(place[used][1:], 14.3), atol=0.03, rtol=0)
        off = (place[used & (there > 1)] - 700.2) / 14.3
        assert (off - off.round()).abs().max() * 14.3 < 1
    flat = torch.poisson(torch.full((5, 1400), 3.0, dtype=torch.float64), generator=generator(6))
    assert (even_places(flat, torch.full_like(flat, 3.0), 80)[1] == 0).all()


def test_weights_are_drawn_to_their_neighbours_as_far_as_chance_explains_them() -> None:
    mean = 200 * torch.exp(-torch.linspace(-2, 2, 60, dtype=torch.float64).square()) + 5
    noisy = torch.poisson(mean.expand(200, 60) / 20, generator=generator(0)) * 1.0
    used = torch.ones(200, 60, dtype=torch.bool)
    assert (shrunk(noisy, used) - mean / 20).square().mean() < 0.5 * (noisy - mean / 20).square().mean()
    uneven = torch.where(torch.arange(60) % 2 == 0, 100.0, 1.0).double().expand(200, 60)
    torch.testing.assert_close(shrunk(uneven, used), uneven, rtol=0.1, atol=1)


def test_no_row_falls_into_a_hole() -> None:
    """Between and beyond peaks the background keeps the density from vanishing, whichever peaks are sought."""
    x = rounded(1000, 3, 0).sort(0).values
    data = Sorted.of(x)
    grid = torch.linspace(-6, 6, 20_001, dtype=torch.float64)[:, None].expand(-1, D)
    for even in (False, True):
        tables = peaked(data, clump_width(x, data.deviation), 400, even=even)
        assert nats(grid, tables).max() < 45
        density = (-nats(grid, tables)).exp().sum(0) * (grid[1, 0] - grid[0, 0])
        torch.testing.assert_close(density, torch.ones(D, dtype=torch.float64), atol=5e-3, rtol=0)


def test_one_far_row_does_not_hide_the_peaks_nor_cost_much() -> None:
    x = rounded(1500, 4, 0)
    x[0] = 60.0
    tables = smooth_gaussianization(TensorRows(x), 400)
    assert nats(rounded(10_000, 4, 1), tables).mean() - entropy_of_rounded(4) < 0.05
    assert nats(x[:1], tables).max() < 30


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_peaks_that_nothing_supports_end(seed: int) -> None:
    """Of sixty modes of a smooth column a third of a peak is left, and a fiftieth of the rows; 0.6 where none has to
    lose a row at each step."""
    x = torch.randn(300, 200, generator=generator(seed), dtype=torch.float64).sort(0).values
    peaks = separate(x, torch.full((200,), 0.013, dtype=torch.float64), 60)
    assert (peaks.weight > 0).double().sum(1).mean() < 0.42
    assert peaks.background.mean() > 0.97


@pytest.mark.parametrize("width", [1e-3, 1e-5, 1e-9])
def test_a_peak_far_narrower_than_its_bin_leaves_density_in_it(width: float) -> None:
    """Half of the rows in a peak at the middle knot; with its slope not held, the bins beside it would be empty."""
    u = normal_knots(BACKGROUND_GRID)
    one, half = torch.ones(1, dtype=torch.float64), torch.full((1,), 0.5, dtype=torch.float64)
    x = torch.tensor([-4.0, -2, -1, 0, 1, 2, 4], dtype=torch.float64)[:, None]
    z, slope = _through(x, 0 * one[None], half[None], width * one, Quantiles(u, torch.ones_like(u)), half, 0 * one)
    grid = torch.linspace(-4, 4, 8001, dtype=torch.float64)[:, None]
    assert nats(grid, (x, z, slope)).max() < 11.5


@pytest.mark.parametrize("rows_there", [4, 12, 40])
@pytest.mark.parametrize("n", [2000, 16_000])
def test_a_value_beyond_the_outermost_peak_is_not_ruled_out(n: int, rows_there: int) -> None:
    """A few rows share a far value: the tail behind it is that of the column, not that of its peak."""
    x = rounded(n, 4, 0)
    x[:rows_there] = blurred(torch.full((rows_there, D), 10.0, dtype=torch.float64), 3)
    x = x.sort(0).values
    data = Sorted.of(x)
    for even in (False, True):
        tables = peaked(data, clump_width(x, data.deviation), 400, even=even)
        assert nats(torch.full((1, D), 11.0, dtype=torch.float64), tables).max() < 40
        assert nats(torch.full((1, D), 13.0, dtype=torch.float64), tables).max() < 60
