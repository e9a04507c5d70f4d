"""The dependence that pairs of coordinates show: their correlation, and what is not normal about them."""

from __future__ import annotations

import math
from itertools import pairwise
from typing import NamedTuple

import torch
from torch import Tensor

from gaussflow.losses._spacings import standardised

GROUPS = 10  # of the jackknife
LEAST_ROWS = 4 * GROUPS
SAME = 1e-10  # share of its second moment that a variance must be to be told from rounding


class Pairs(NamedTuple):
    """What pairs of coordinates show, in nats, and the same with each group of rows left out, up to one constant.

    Attributes
    ----------
    linear, linear_left_out
        What the correlation matrix R makes, :math:`-\\tfrac12 \\log\\det R`, () and (10,).
    other, other_left_out
        What the second Hermite polynomials add, () and (10,).
    """

    linear: Tensor
    linear_left_out: Tensor
    other: Tensor
    other_left_out: Tensor

    @property
    def total(self) -> Tensor:
        """The dependence ()."""
        return self.linear + self.other

    @property
    def left_out(self) -> Tensor:
        """The dependence with each group left out (10,), up to one constant."""
        return self.linear_left_out + self.other_left_out


def pairs(z: Tensor) -> Pairs:
    r"""The dependence of rows (N, D) in two parts that add up.

    .. math:: \mathcal D \approx -\tfrac12 \log\det R
        + \tfrac12 \sum_{i < j} \sum_{(a, b) \ne (1, 1)} \bigl(E[h_a(z_i)\,h_b(z_j)] - \delta_{a b} R_{i j}^2\bigr)^2,
        \qquad a, b \in \{1, 2\},

    with R the correlation matrix, whose normal law has :math:`E[h_2 h_2] = R_{i j}^2`. What chance gives is taken off:
    of the first part by Wishart's law, which for normal rows is exact whatever R; of the second by the jackknife, to
    first order for any law. Too few rows give NaN: fewer than 40, and for the first part those that do not span all
    coordinates once a group is left out.
    """
    n, dim = z.shape
    if n < LEAST_ROWS or dim == 1:
        nothing = z.new_tensor(0.0 if dim == 1 else math.nan)
        return Pairs(nothing, nothing.expand(GROUPS), nothing, nothing.expand(GROUPS))
    z = standardised(z)
    ends = torch.searchsorted(groups(z), torch.arange(GROUPS + 1, device=z.device)).tolist()
    parts = torch.stack([_moments(z[a:b]) for a, b in pairwise(ends)])
    whole = parts.sum(0)
    linear, other = _of_moments(whole)
    left_out = [_of_moments(whole - part) for part in parts]
    linear_left_out, other_left_out = (torch.stack(values) for values in zip(*left_out, strict=True))
    if n - math.ceil(n / GROUPS) < dim + 2:
        linear, linear_left_out = linear * math.nan, linear_left_out * math.nan
    return Pairs(
        linear - _log_det_by_chance(n, dim),
        linear_left_out,
        GROUPS * other - (GROUPS - 1) * other_left_out.mean(),
        other_left_out,
    )


def groups(z: Tensor) -> Tensor:
    """The group of each row (N,): ten runs of rows, so that rows that follow one another count as one."""
    return torch.arange(len(z), device=z.device) * GROUPS // len(z)


def jackknife(left_out: Tensor) -> Tensor:
    """The standard error (...) of an estimate from its values with each group left out (10, ...)."""
    return ((GROUPS - 1) * (left_out - left_out.mean(0)).square().mean(0)).sqrt()


def _moments(z: Tensor) -> Tensor:
    """Sums over rows (n, D) of all products of 1, z and z² (1 + 2D, 1 + 2D)."""
    powers = torch.cat([torch.ones_like(z[:, :1]), z, z.square()], 1)
    return powers.T @ powers


def _of_moments(sums: Tensor) -> tuple[Tensor, Tensor]:
    """Both parts from the sums over rows of all products of 1, z and z² (1 + 2D, 1 + 2D)."""
    h = _correlations(sums / sums[0, 0])
    dim = len(h) // 2
    r = h[:dim, :dim].clone()
    squares = torch.triu(h[dim:, dim:] - r.square(), 1)  # a normal law of correlation r has r² there already
    r.diagonal().fill_(1.0)
    mixed = h[:dim, dim:].clone()
    mixed.diagonal().zero_()
    eigenvalues = torch.linalg.eigvalsh(r).clamp(min=1e-12)
    return -0.5 * eigenvalues.log().sum(), 0.5 * (mixed.square().sum() + squares.square().sum())


def _correlations(moments: Tensor) -> Tensor:
    """Correlations (2D, 2D) of z and (z - E z)² from the moments of 1, z and z² (1 + 2D, 1 + 2D), 0 for constants."""
    dim = len(moments) // 2
    mean = moments[0, 1 : dim + 1, None]
    z, q = moments[1 : dim + 1], moments[dim + 1 :] - 2 * mean * moments[1 : dim + 1]
    centred = torch.cat([z, q])
    centred = (centred - centred[:, :1] * moments[:1]).T  # rows: 1, z, z²; columns: z and q, centred
    centred = torch.cat([centred[1 : dim + 1], centred[dim + 1 :] - 2 * mean * centred[1 : dim + 1]])
    variance = centred.diagonal()
    real = variance > SAME * moments.diagonal()[1:].abs().clamp(min=SAME)
    scale = torch.where(real, variance, torch.inf).rsqrt()
    return centred * scale[:, None] * scale


def _log_det_by_chance(n: int, dim: int) -> float:
    """Minus half of E log det of the correlations of n rows of independent normals (Wishart)."""
    ranks = torch.arange(min(dim, n - 1), dtype=torch.float64)
    log_det = torch.digamma((n - 1 - ranks) / 2).sum()
    return float(0.5 * (dim * torch.digamma(torch.tensor((n - 1) / 2.0).double()) - log_det))
