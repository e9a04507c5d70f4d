"""The smoothing of quantile functions, against what it must do exactly."""

import pytest
import scipy.stats
import torch

from gaussflow.ops.quantile import cell_counts, cell_means, local_linear, normal_scores, spread_ties


def test_scores_are_those_of_blom() -> None:
    want = scipy.stats.norm.ppf((torch.arange(1, 101).numpy() - 0.375) / 100.25)
    torch.testing.assert_close(normal_scores(100), torch.from_numpy(want), rtol=1e-13, atol=1e-14)


@pytest.mark.parametrize("bandwidth", [0.05, 0.3, 1.0, 10.0])
@pytest.mark.parametrize("n", [10, 1000])
def test_lines_come_out_as_they_are_inside_and_beyond_the_rows(n: int, bandwidth: float) -> None:
    at = (-6.0, -2.0, 0.1, 3.0, 6.0)
    line = 3.0 + 2.0 * normal_scores(n)
    want = 3.0 + 2.0 * torch.tensor(at, dtype=torch.float64)
    torch.testing.assert_close(local_linear(line[:, None], bandwidth, at)[:, 0], want, rtol=0, atol=1e-9)


def test_a_wide_band_is_least_squares_and_a_narrow_one_follows_the_rows() -> None:
    u, x = normal_scores(500), normal_scores(500).exp()
    wide = local_linear(x[:, None], 1e4, (0.0,))[:, 0]
    torch.testing.assert_close(wide, x.mean().reshape(1), rtol=1e-6, atol=0)
    narrow = local_linear(x[:, None], 0.02, (0.5,))[:, 0]
    torch.testing.assert_close(narrow, torch.tensor([0.5]).double().exp(), rtol=1e-3, atol=0)
    assert abs(u).max() < 4


def test_ties_are_spread_over_their_cells_and_keep_their_mean() -> None:
    x = torch.tensor([0.0, 0, 0, 0, 1, 1, 5, 7, 7]).double()[:, None]
    spread = spread_ties(x)[:, 0]
    assert bool((spread.diff() > 0).all())
    torch.testing.assert_close(spread[:4], torch.tensor([-0.375, -0.125, 0.125, 0.375]).double())
    torch.testing.assert_close(spread[4:6], torch.tensor([0.5 + 0.25 * 2.5, 0.5 + 0.75 * 2.5]).double())
    assert spread[6] == 5


def test_rows_without_ties_and_constants_are_left_alone() -> None:
    x = torch.randn(50, 3).sort(0).values
    assert torch.equal(spread_ties(x), x)
    assert torch.equal(spread_ties(torch.full((9, 2), 3.0)), torch.full((9, 2), 3.0))


def test_beyond_the_outermost_rows_the_last_line_goes_on() -> None:
    ends = local_linear(normal_scores(100).exp()[:, None], 0.3, (3.0, 4.0, 5.0))[:, 0]
    torch.testing.assert_close(ends[2] - ends[1], ends[1] - ends[0], rtol=1e-9, atol=0)


@pytest.mark.parametrize("bandwidth", [0.03, 0.1, 0.3, 1.0, 3.0])
@pytest.mark.parametrize("n", [2, 50, 3000, 16384])
def test_means_of_cells_stand_for_the_rows(n: int, bandwidth: float) -> None:
    x = 1e3 + torch.randn(n, 3, generator=torch.Generator().manual_seed(n), dtype=torch.float64).sort(0).values.exp()
    at = (-4.0, -1.0, 0.0, 0.3, 2.5)
    means = cell_means(x)
    assert len(means) == len(cell_counts(n)) <= min(n, 1600)
    assert cell_counts(n).sum() == n
    torch.testing.assert_close(
        local_linear(means, bandwidth, at, n), local_linear(x, bandwidth, at), rtol=1e-12, atol=1e-10
    )


def test_averages_lose_nothing_that_a_band_sees() -> None:
    """Weights of all rows, one by one, against those of cells."""
    n, h, x = 3000, 0.1, torch.linspace(-3, 3, 3000, dtype=torch.float64)[:, None].sin()
    u, scores = torch.tensor([-1.0, 0.0, 0.7], dtype=torch.float64)[:, None], normal_scores(3000)
    w = torch.exp(-((scores - u) / h).square() / 2)
    line = torch.stack([torch.ones_like(w), scores - u], -1)
    normal = line.mT @ (w[..., None] * line)
    want = torch.linalg.solve(normal, line.mT @ (w[..., None] * x))[:, 0]
    torch.testing.assert_close(local_linear(cell_means(x), h, tuple(u[:, 0].tolist()), n), want, atol=2e-4, rtol=0)
