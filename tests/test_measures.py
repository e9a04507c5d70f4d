"""What growing is judged by, against closed forms."""

import math

import pytest
import torch

from gaussflow import Standardize, TensorRows
from gaussflow.training._measures import dependence, marginal_loss, nats_gained, normal_nats


def correlated(correlation: float, n: int, dim: int, seed: int) -> TensorRows:
    generator = torch.Generator().manual_seed(seed)
    covariance = torch.full((dim, dim), correlation).double().fill_diagonal_(1.0)
    return TensorRows(
        torch.randn(n, dim, generator=generator, dtype=torch.float64) @ torch.linalg.cholesky(covariance).mT
    )


def test_the_gain_of_a_transform_is_the_fall_in_nats() -> None:
    rows = TensorRows(5 + 3 * torch.randn(1000, 4).double())
    part = Standardize(4, dtype=torch.float64).fit(rows)
    z, ladj = part(rows.x)
    want = normal_nats(rows) - float((0.5 * z.square().sum(-1) + 2 * math.log(2 * math.pi) - ladj).detach().mean())
    assert nats_gained(part, rows) == pytest.approx(want, rel=1e-12)


@pytest.mark.parametrize("scale", [0.5, 1.0, 2.0])
@pytest.mark.parametrize("n", [200, 8000])
def test_marginal_losses_of_normal_columns(scale: float, n: int) -> None:
    loss = marginal_loss(TensorRows(scale * torch.randn(n, 50).double())) / 50
    assert loss == pytest.approx(0.5 * (scale**2 - 1) - math.log(scale), abs=0.01)


def test_marginal_loss_of_a_uniform_column() -> None:
    loss = marginal_loss(TensorRows(torch.rand(8000, 20).double())) / 20
    assert loss == pytest.approx(1 / 6 + 0.5 * math.log(2 * math.pi), abs=0.02)


def test_marginal_loss_survives_ties_constants_and_few_rows() -> None:
    assert math.isfinite(marginal_loss(TensorRows(torch.randint(0, 2, (500, 3)).double())))
    assert marginal_loss(TensorRows(torch.zeros(500, 3))) == 0
    assert math.isnan(marginal_loss(TensorRows(torch.randn(2, 3))))


@pytest.mark.parametrize("correlation", [0.0, 0.1, 0.5])
@pytest.mark.parametrize("seed", range(3))
def test_dependence_of_normal_rows_is_the_closed_form_within_its_error(correlation: float, seed: int) -> None:
    dim = 6
    rows = correlated(correlation, 8000, dim, seed)
    truth = -0.5 * (math.log1p((dim - 1) * correlation) + (dim - 1) * math.log1p(-correlation))
    got = dependence(rows)
    assert abs(got.value - truth) < 4 * got.error
    assert got.error < 0.05


def test_dependence_of_a_normal_law_has_no_bias_against_its_own_error() -> None:
    root = torch.tensor([[1.0, 0, 0], [0.6, 0.8, 0], [0, 0.3, 0.91**0.5]], dtype=torch.float64)
    truth = -0.5 * float(torch.logdet(root @ root.T))
    for n in (200, 5000):
        errors = []
        for seed in range(20):
            x = torch.randn(n, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(seed)) @ root.T
            found = dependence(TensorRows(x))
            errors.append((found.value - truth) / found.error)
        assert abs(sum(errors) / 20) < 1
        assert sum(abs(e) < 2.5 for e in errors) >= 16


def test_independent_coordinates_show_no_dependence() -> None:
    values = [dependence(TensorRows(torch.randn(300, 10).double())).value for _ in range(20)]
    assert abs(sum(values) / 20) < 0.03


def test_dependence_without_correlation_is_seen() -> None:
    x = torch.randn(8000, 1).double()
    sign = torch.randint(0, 2, (8000, 1)) * 2 - 1
    got = dependence(TensorRows(torch.cat([x, sign * x], 1)))
    assert got.value > 10 * got.error > 0


def test_dependence_says_when_it_cannot_say() -> None:
    assert dependence(TensorRows(torch.randn(50, 1))) == (0.0, 0.0)
    assert math.isnan(dependence(TensorRows(torch.randn(20, 3))).value)
    assert math.isfinite(dependence(TensorRows(torch.zeros(100, 3))).value)
