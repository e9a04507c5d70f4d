"""The closed-form fit of a marginal: good on rows it has not seen, and quiet on noise."""

import math

import pytest
import scipy.stats
import torch
from torch import Tensor

from gaussflow import Flow, MarginalSpline, Rows, TensorRows
from gaussflow.ops._spline import rq_spline
from gaussflow.transforms._smooth import smooth_gaussianization

LAWS = {
    "normal": scipy.stats.norm(3, 2),
    "uniform": scipy.stats.uniform(),
    "exponential": scipy.stats.expon(),
    "lognormal": scipy.stats.lognorm(1.5),
    "Student t with 2 degrees": scipy.stats.t(2),
    "Cauchy": scipy.stats.cauchy(),
    "beta of two peaks": scipy.stats.beta(0.5, 0.5),
    "Laplace": scipy.stats.laplace(),
}
LOSS = {"uniform": 0.07, "beta of two peaks": 0.15, "exponential": 0.05}  # jumps and poles are hard for smooth maps


def nats(x: Tensor, fitted: tuple[Tensor, Tensor, Tensor]) -> Tensor:
    z, log_slope = rq_spline(x, *fitted)
    return 0.5 * z.square() + 0.5 * math.log(2 * math.pi) - log_slope


@pytest.mark.parametrize("name", LAWS)
def test_held_out_nats_are_close_to_the_entropy(name: str) -> None:
    law = LAWS[name]
    x, fresh = (torch.from_numpy(law.rvs((n, 4), random_state=seed)) for n, seed in ((4000, 1), (50_000, 2)))
    truth = -torch.from_numpy(law.logpdf(fresh.numpy()))
    excess = nats(fresh, smooth_gaussianization(TensorRows(x), 48)) - truth
    assert excess.mean() < LOSS.get(name, 0.02)


def test_two_narrow_peaks_are_seen() -> None:
    side = torch.randint(0, 2, (4000, 1)) * 2.0 - 1
    x = (side + 0.02 * torch.randn(4000, 1)).double()
    entropy = math.log(2) + 0.5 * math.log(2 * math.pi * math.e * 0.02**2)
    assert (
        nats(x, smooth_gaussianization(TensorRows(x), 48)).mean() < entropy + 0.3
    )  # the bin that bridges the gap is as wide as the knots are apart


@pytest.mark.parametrize("n", [100, 1000, 10_000])
def test_noise_costs_less_than_a_thousandth_of_a_nat_per_coordinate(n: int) -> None:
    x, fresh = torch.randn(n, 200).double(), torch.randn(20_000, 200).double()
    excess = nats(fresh, smooth_gaussianization(TensorRows(x), 48)) - 0.5 * fresh.square() - 0.5 * math.log(2 * math.pi)
    assert excess.mean() < 1e-3


def test_a_discrete_column_has_the_density_of_its_masses() -> None:
    x = (torch.rand(20_000, 1) < 0.3).double()
    loss = nats(x, smooth_gaussianization(TensorRows(x), 48)).mean()
    assert abs(loss - (-0.3 * math.log(0.3) - 0.7 * math.log(0.7))) < 0.25


@pytest.mark.parametrize("knots", [3, 7, 8, 48, 100])
def test_any_number_of_knots_gives_an_ascending_map(knots: int) -> None:
    xs, zs, slopes = smooth_gaussianization(TensorRows(torch.randn(300, 2).exp()), knots)
    assert xs.shape == zs.shape == slopes.shape == (knots, 2)
    assert bool((xs.diff(dim=0) > 0).all())
    assert bool((zs.diff(dim=0) > 0).all())
    assert bool((slopes > 0).all())


@pytest.mark.parametrize("rows", [torch.zeros(50, 2), torch.ones(1, 2), torch.tensor([[1e8, 0.0], [1e8 + 1, 1e-8]])])
def test_what_tells_nothing_gives_a_finite_map(rows: Tensor) -> None:
    for part in smooth_gaussianization(TensorRows(rows.double()), 48):
        assert bool(part.isfinite().all())


def test_a_row_far_outside_costs_little_where_tails_are_heavy() -> None:
    x = torch.from_numpy(scipy.stats.cauchy().rvs((4000, 1), random_state=0))
    flow = Flow(MarginalSpline(1, 48, dtype=torch.float64).fit(x))
    far = x.abs().max() * torch.tensor([[10.0], [100.0]])
    near, hundredfold = flow.log_prob(far.double()).tolist()
    assert near > -60
    assert hundredfold > -600  # a normal tail would cost 1e9


def test_no_more_rows_are_drawn_than_said(monkeypatch: pytest.MonkeyPatch) -> None:
    drawn: list[int] = []
    sample = Rows.sample
    monkeypatch.setattr(Rows, "sample", lambda self, size, seed=0: (drawn.append(size), sample(self, size, seed))[1])
    smooth_gaussianization(TensorRows(torch.randn(40_000, 1)), 16)
    assert max(drawn) <= 16_384


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("scale", [1.0, 5.0])
@pytest.mark.parametrize("n", [1000, 40_000])
def test_a_far_row_is_brought_near_and_costs_the_others_nothing(n: int, scale: float, dtype: torch.dtype) -> None:
    """Left on a straight line it would decide every covariance behind; and what lies between stays told apart."""
    x = scale * torch.randn(n, 2, generator=torch.Generator().manual_seed(n), dtype=torch.float64).to(dtype)
    fresh = scale * torch.randn(20_000, 2, generator=torch.Generator().manual_seed(1), dtype=torch.float64).to(dtype)
    far = x.clone()
    far[7, 1], far[8, 0] = -1e6, 1e5
    clean, spline = (MarginalSpline(2, 48, dtype=dtype).fit(rows) for rows in (x, far))
    with torch.no_grad():
        assert spline(far)[0].abs().max() < 6.1
        assert float((Flow(clean).log_prob(fresh) - Flow(spline).log_prob(fresh)).mean()) < 0.02
        between = -torch.logspace(2, 6, 9, dtype=dtype)[:, None].expand(-1, 2) * torch.tensor([-0.1, 1], dtype=dtype)
        torch.testing.assert_close(spline.inverse(spline(between)[0])[0], between, rtol=0.02, atol=0)
