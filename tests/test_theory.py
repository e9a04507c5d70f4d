"""Bounds and rates against the numbers they are known for, and exact runs against theory and against samples."""

import math

import pytest
import torch

from gaussflow import Chain, Rotation, Standardize, as_rows, haar, theory

F64 = torch.float64


def spectrum(dim: int, low: float = 0.8, high: float = 1.2) -> torch.Tensor:
    """A diagonal covariance of distinct eigenvalues with trace D."""
    values = torch.linspace(low, high, dim, dtype=F64)
    return torch.diag(values * dim / values.sum())


def test_bounds_are_the_formulas() -> None:
    assert [theory.min_blocks(d) for d in (1, 2, 3, 64)] == [1, 2, 2, 33]
    assert theory.rate(2) == 0.5
    assert theory.loss_bound(3, 2, 8.0) == 1.0
    assert theory.blocks_needed(2, 0.125) == pytest.approx(3)
    assert theory.blocks_needed(1000, 0.1) == pytest.approx(1001 / 2 * math.log(10), rel=1e-3)
    assert theory.loss_bound(0, 5, 0.3) == 0.3
    assert theory.blocks_needed(7, 1.0) == 0


@pytest.mark.parametrize(
    "call",
    [
        lambda: theory.blocks_needed(5, 0.0),
        lambda: theory.blocks_needed(5, 1.5),
        lambda: theory.loss_bound(2, 5, math.nan),
        lambda: theory.loss_bound(-1, 5, 1.0),
        lambda: theory.rate(0),
        lambda: theory.gaussian_loss(torch.ones(3)),
        lambda: theory.gaussian_loss(torch.tensor([[1.0, 2.0], [0.0, 1.0]])),
        lambda: theory.gaussian_loss(torch.tensor([[1.0, 2.0], [2.0, 1.0]])),
        lambda: theory.gaussian_loss(torch.full((2, 2), torch.nan)),
        lambda: theory.gaussian_step(torch.eye(3), torch.eye(2)),
    ],
)
def test_what_makes_no_sense_is_refused(call: object) -> None:
    with pytest.raises(ValueError, match="wants"):
        call()  # type: ignore[operator]


def test_loss_is_the_kl_and_keeps_its_digits_near_zero() -> None:
    s = torch.tensor([[2.0, 0.6], [0.6, 0.5]], dtype=F64)
    wanted = 0.5 * (s.trace() - 2 - s.logdet())
    assert float(theory.gaussian_loss(s)) == pytest.approx(float(wanted), rel=1e-14)
    near = torch.diag(torch.tensor([1 + 2**-20, 1.0], dtype=F64))
    assert float(theory.gaussian_loss(near)) == pytest.approx(2.0**-42 * (1 - 2**-19 / 3), rel=1e-9)
    assert float(theory.gaussian_loss(torch.eye(5))) == 0


def test_principal_axes_need_one_block() -> None:
    q = haar(6, torch.Generator().manual_seed(0), F64)
    s = q @ spectrum(6, 0.1, 3.0) @ q.T
    losses = theory.gaussian_losses(s, lambda s: torch.linalg.eigh(s).eigenvectors.mT, 1)
    assert float(losses[0]) > 0.5
    assert float(losses[1]) < 1e-20


def test_two_blocks_leave_loss_where_theory_wants_more_and_steps_never_raise_it() -> None:
    generator = torch.Generator().manual_seed(1)
    losses = theory.gaussian_losses(spectrum(16, 0.2, 2.0), lambda s: haar(16, generator, F64), 40)
    assert bool((losses.diff() < 0).all())
    assert float(losses[theory.min_blocks(16)]) > 1e-6


def test_expected_loss_falls_at_the_rate_of_theorem_two_and_stays_below_the_bound() -> None:
    dim, runs, blocks = 16, 200, 25
    generator = torch.Generator().manual_seed(2)
    axes = lambda s: torch.stack([haar(dim, generator, F64) for _ in range(runs)])  # noqa: E731
    losses = theory.gaussian_losses(spectrum(dim).expand(runs, dim, dim), axes, blocks)
    ratio = losses[:, 1:].sum(0) / losses[:, :-1].sum(0)
    assert ratio[5:].mean().item() == pytest.approx(theory.rate(dim), rel=0.01)
    mean, error = losses.mean(0), losses.std(0) / runs**0.5
    bound = torch.tensor([theory.loss_bound(i, dim, float(losses[0, 0])) for i in range(blocks + 1)], dtype=F64)
    assert bool((mean <= bound + 3 * error + 1e-12).all())


def test_the_recursion_is_what_transforms_do_to_normal_rows() -> None:
    dim, n = 5, 200_000
    s = spectrum(dim, 0.3, 2.0)
    axes = haar(dim, torch.Generator().manual_seed(3), F64)
    x = torch.randn(n, dim, generator=torch.Generator().manual_seed(4), dtype=F64) @ torch.linalg.cholesky(s).T
    block = Chain(Rotation(dim, axes, dtype=F64), Standardize(dim, dtype=F64)).fit(as_rows(x))
    found = block(x)[0].T.cov()
    assert torch.allclose(found, theory.gaussian_step(s, axes), atol=5 / n**0.5)
