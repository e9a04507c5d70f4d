"""Covariances of trace D to start from, and what a fit to N rows must lose on them, in closed form."""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor

from gaussflow.ops import haar

F64 = torch.float64
NEAR_LOSS = 0.01  # nats: small, as theorem 2 wants it, and the same at every dimension
DECADES = 2.0


def near_identity(dim: int) -> Tensor:
    r"""Eigenvalues :math:`1 + \epsilon u_i`, u evenly in [-1, 1]: distinct, of sum D, with a loss of 0.01 nats.

    To second order the loss is :math:`\tfrac14 \sum_i (\lambda_i - 1)^2`, which gives :math:`\epsilon`.
    """
    u = torch.linspace(-1, 1, dim, dtype=F64)
    size: Tensor = (4 * NEAR_LOSS / u.square().sum()).sqrt()
    return 1 + size * u


def log_spaced(dim: int) -> Tensor:
    """Eigenvalues evenly in log over two decades, of sum D: far from the identity, 0.38 nats for each dimension."""
    values = torch.logspace(0, DECADES, dim, dtype=F64)
    return values * dim / values.sum()


SPECTRA = {"near_identity": near_identity, "log_spaced": log_spaced}


def generator_of(*numbers: int) -> torch.Generator:
    """A generator for these numbers, each below ten thousand but for the first."""
    seed = 0
    for number in numbers:
        seed = 10_000 * seed + number
    return torch.Generator().manual_seed(seed)


def covariance(spectrum: str, dim: int, seed: int) -> Tensor:
    """The covariance (D, D) of that spectrum in axes drawn from the Haar law."""
    axes = haar(dim, generator_of(seed, dim, 0), F64)
    turned = axes.mT * SPECTRA[spectrum](dim) @ axes
    return (turned + turned.mT) / 2


def rows_of(sigma: Tensor, count: int, generator: torch.Generator) -> Tensor:
    """Rows (count, D) of the centred normal law with that covariance."""
    factor: Tensor = torch.linalg.cholesky(sigma)
    return torch.randn(count, len(sigma), generator=generator, dtype=F64) @ factor.mT


def haar_share(dim: int) -> float:
    """Share of the traceless part that a block with Haar axes leaves, on average: theorem 2's rate."""
    return 1 - 2 / (dim + 2)


def coupling_share(dim: int) -> float:
    r"""Share of the traceless part that a coupling block with Haar axes leaves, on average: at large D a half.

    With k of D coordinates kept, a block takes away the k (D - k) numbers across and the D on the diagonal, the trace
    among them. Of the :math:`m = (D + 2)(D - 1) / 2` traceless directions, isotropic after a Haar turn, it so leaves
    :math:`1 - (k (D - k) + D - 1) / m`: nothing at D = 2, two ninths at D = 4, a half in the limit.
    """
    kept = dim // 2
    return 1 - (kept * (dim - kept) + dim - 1) / ((dim + 2) * (dim - 1) / 2)


def whole_cost(dim: int, rows: int) -> float:
    r"""Expected loss of the normal law fitted to N rows, mean and whole covariance S (divisor N), exactly.

    .. math:: \tfrac12 E\bigl[(1 + \tfrac1N) \operatorname{tr} (S^{-1} \Sigma) - D + \log\det (S \Sigma^{-1})\bigr],
        \quad E \operatorname{tr} (S^{-1} \Sigma) = \frac{N D}{N - D - 2}, \quad
        E \log\det (S \Sigma^{-1}) = \sum_{i=1}^{D} \psi\bigl(\tfrac{N - i}2\bigr) + D \log \tfrac2N,

    about D (D + 3) / (4 N): N S is a Wishart matrix of N - 1 degrees of freedom, independent of the mean.
    """
    halves = (rows - torch.arange(1, dim + 1, dtype=F64)) / 2
    log_det = float(torch.digamma(halves).sum()) + dim * math.log(2 / rows)
    return 0.5 * ((1 + 1 / rows) * rows * dim / (rows - dim - 2) - dim + log_det)


class Cost(NamedTuple):
    """An expected loss in nats, and how far the formula may be off."""

    value: float
    error: float


def rows_cost(dim: int, rows: int, left: float) -> Cost:
    r"""What fitting blocks to N rows costs on the true law, on average, when they leave a share of what there was.

    Near the identity a block takes an orthogonal projection off the covariance, and fitted to N rows it takes as much
    off their sampling error, which is isotropic there. Every block fits D + 1 numbers whole, means and trace; of the
    :math:`m = (D + 2)(D - 1) / 2` of the traceless part, L blocks leave the share :math:`\rho^L` on average. They have
    so met :math:`D + 1 + m s` numbers, :math:`s = 1 - \rho^L`, and each costs 1 / (2 N) nats to first order: 2 D
    numbers for one block with :math:`\rho = 1 - 2 / (D + 2)`, and D (D + 3) / 2 in the end.

    The end is known exactly, by `whole_cost`; what it has above the first order, about a share D / N of it, comes from
    pairs of numbers that were met, and is counted with :math:`s^2`. How it comes in between is not known exactly: the
    error is what it differs by between :math:`s` and :math:`s^2`.
    """
    met = 1 - left
    first = (dim + 1 + (dim + 2) * (dim - 1) / 2 * met) / (2 * rows)
    more = whole_cost(dim, rows) - dim * (dim + 3) / (4 * rows)
    return Cost(first + more * met**2, more * met * (1 - met))
