"""Runs of affine blocks on normal data: on the covariance, on that of a sample, and by the library's own fits."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

import torch
from torch import Tensor

from gaussflow import Standardize, Transform, as_rows
from gaussflow.rows import Rows
from gaussflow.theory import gaussian_loss

F64 = torch.float64
MakeMap = Callable[[Tensor, Tensor], Tensor]  # the covariance that is seen and axes (D, D) -> the block's matrix


def scaling(seen: Tensor, axes: Tensor) -> Tensor:
    """The matrix of a turn, then the division by the standard deviations: the ideal marginal step on normal data."""
    return ((axes @ seen) * axes).sum(-1).rsqrt()[:, None] * axes


def coupling(seen: Tensor, axes: Tensor) -> Tensor:
    r"""The matrix of a turn, then an affine coupling with a linear conditioner in closed form, then a scaling.

    The first half :math:`\Omega` of the turned coordinates stays, the other half loses its regression on it:
    :math:`z = x_{\Omega^c} - \Sigma_{ba} \Sigma_{aa}^{-1} x_\Omega`. On rows this is least squares.
    """
    dim, turned = len(seen), axes @ seen @ axes.mT
    kept = dim // 2
    shear = torch.eye(dim, dtype=seen.dtype)
    shear[kept:, :kept] = -torch.linalg.solve(turned[:kept, :kept], turned[:kept, kept:]).mT
    return scaling(turned, shear) @ axes


def pushed(sigma: Tensor, matrix: Tensor) -> Tensor:
    """The covariance after a linear map, symmetric to the bit."""
    after = matrix @ sigma @ matrix.mT
    return (after + after.mT) / 2


def law_loss(sigma: Tensor, mean: Tensor) -> float:
    r"""The loss of a normal law, :math:`KL(N(\mu, \Sigma) \| N(0, I))`, in nats."""
    return float(gaussian_loss(sigma) + 0.5 * mean.square().sum())


def population_run(sigma: Tensor, make_map: MakeMap, axes: Iterable[Tensor]) -> Iterator[Tensor]:
    """The covariance before the first block and after each; every block knows the true covariance."""
    yield sigma
    for turn in axes:
        sigma = pushed(sigma, make_map(sigma, turn))
        yield sigma


def sample_run(
    sigma: Tensor, sample: tuple[Tensor, Tensor], make_map: MakeMap, axes: Iterable[Tensor]
) -> Iterator[tuple[Tensor, Tensor]]:
    """Covariance and mean of the true law along a run that is fitted to a sample's mean (D,) and covariance (D, D).

    All maps are affine, so the sample's two moments are all of it that the fits see: least squares and scalings of the
    rows are those of the moments, and the true law's moments go through the same maps. The sample's mean is taken off
    by the first block and stays zero.
    """
    yield sigma, torch.zeros(len(sigma), dtype=F64)
    mean, seen = -sample[0], sample[1]
    for turn in axes:
        matrix = make_map(seen, turn)
        seen, sigma, mean = pushed(seen, matrix), pushed(sigma, matrix), matrix @ mean
        yield sigma, mean


def rows_run(sigma: Tensor, x: Tensor, turns: Iterable[Transform]) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
    """As `sample_run`, by affine transforms of the library that are fitted to the rows (N, D), each then scaled.

    The third of what comes is the matrix of the turn that was fitted.
    """
    rows: Rows = as_rows(x)
    mean, matrix = torch.zeros(len(sigma), dtype=F64), torch.eye(len(sigma), dtype=F64)
    yield sigma, mean, matrix
    for turn in turns:
        turn.to(F64).fit(rows)
        rows = rows.through(turn)
        scale = Standardize(rows.dim, dtype=F64).fit(rows)
        rows = rows.through(scale)
        (matrix, shift), (sizes, middle) = affine(turn, rows.dim), affine(scale, rows.dim)
        sigma, mean = pushed(sigma, sizes @ matrix), sizes @ (matrix @ mean + shift) + middle
        yield sigma, mean, matrix


@torch.no_grad()
def affine(transform: Transform, dim: int) -> tuple[Tensor, Tensor]:
    """The matrix (D, D) and the shift (D,) of an affine transform."""
    shift = transform(torch.zeros(1, dim, dtype=F64))[0][0]
    return (transform(torch.eye(dim, dtype=F64))[0] - shift).mT, shift
