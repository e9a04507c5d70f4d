"""Axes worth following: directions in which the rows are farthest from normal, by two measures of that distance."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TypeAlias

import torch
from torch import Tensor

from gaussflow._check import check_int
from gaussflow.ops._sort import ascending_order
from gaussflow.ops.orthogonal import fix_signs, haar
from gaussflow.rows import Data, as_rows
from gaussflow.transforms._climb import Index, climbed, common_units, completed
from gaussflow.transforms._legendre import legendre

__all__ = ["projection_pursuit", "sliced_wasserstein"]

IndexOf: TypeAlias = Callable[[Tensor], Index]
SEARCH_ROWS = 8192  # rows that the search goes over: more of them move no direction by much
DIRECTIONS = 16  # searched for at once unless told otherwise
STARTS = 256  # directions tried, in whole Haar matrices, before the best are climbed from
TOGETHER = 16  # of these: all of them at once would need more memory than the rows


def sliced_wasserstein(rows: Data, *, directions: int | None = None, iterations: int = 50, seed: int = 0) -> Tensor:
    r"""Axes of the largest sliced Wasserstein distance: K orthonormal directions, the rest at random.

    The directions maximise the sum of the squared distances of transport of the projections from the standard normal,

    .. math:: \sum_k W_2^2\bigl(w_k^\top x, N(0, 1)\bigr), \qquad
        W_2^2 = \tfrac1n \sum_i (y_{(i)} - q_i)^2 + 1 - \tfrac1n \sum_i q_i^2,

    with :math:`y_{(i)}` the projections in order and :math:`q_i` the mean of the i-th of n equally likely parts of
    N(0, 1). The gradient is in closed form, :math:`\tfrac2n \sum_i (y_i - q_{r(i)}) x_i` with the rank r, and the climb
    starts from the best of 256 random directions, or of D. Rows are taken about their mean and in the one unit that
    makes their mean variance 1; at most 8192 of them. Directions of unlike variance count as much as those of odd
    shape. Where one odd direction hides among more than about twenty normal ones, `ica` finds it more surely.

    Parameters
    ----------
    rows
        Data: a tensor (N, D), chunks, or a `Rows`.
    directions
        K, searched for; the smaller of D and 16 when None. The other axes are Haar in what they leave.
    iterations
        The largest number of steps.
    seed
        Of the rows taken, of the start and of the completion.

    Returns
    -------
    axes
        Orthogonal matrix (D, D), one axis a row, float64: the K directions, farthest from normal first, then the rest.

    Raises
    ------
    ValueError
        For directions or iterations below 1.

    References
    ----------
    Dai & Seljak (2021), Sliced iterative normalizing flows.

    Examples
    --------
    >>> import torch
    >>> from gaussflow import sliced_wasserstein
    >>> sliced_wasserstein(torch.rand(100, 3)).shape
    torch.Size([3, 3])
    """
    return _axes("sliced_wasserstein", _wasserstein, rows, directions, iterations, seed)


def projection_pursuit(rows: Data, *, directions: int | None = None, iterations: int = 50, seed: int = 0) -> Tensor:
    r"""Axes farthest from normal by Friedman's index: K orthonormal directions, the rest at random.

    The directions maximise, over :math:`r = 2 \Phi(w_k^\top x) - 1`, which is uniform for a standard normal,

    .. math:: \sum_k \sum_{j=1}^{6} \Bigl(\tfrac1n \sum_i \sqrt{2 j + 1}\, P_j(r_{ik})\Bigr)^2,

    with :math:`P_j` the polynomials of Legendre: about twice the divergence of the projections from N(0, 1), hence
    twice what a marginal transform would gain, where that is small. Each term is a mean over rows of a bounded
    function, so that no far row decides. The rows, the start and the climb are those of `sliced_wasserstein`.

    Parameters
    ----------
    rows
        Data: a tensor (N, D), chunks, or a `Rows`.
    directions
        K, searched for; the smaller of D and 16 when None. The other axes are Haar in what they leave.
    iterations
        The largest number of steps.
    seed
        Of the rows taken, of the start and of the completion.

    Returns
    -------
    axes
        Orthogonal matrix (D, D), one axis a row, float64: the K directions, farthest from normal first, then the rest.

    Raises
    ------
    ValueError
        For directions or iterations below 1.

    References
    ----------
    Friedman (1987), Exploratory projection pursuit.

    Examples
    --------
    >>> import torch
    >>> from gaussflow import projection_pursuit
    >>> projection_pursuit(torch.rand(100, 3)).shape
    torch.Size([3, 3])
    """
    return _axes("projection_pursuit", _friedman, rows, directions, iterations, seed)


def _axes(owner: str, index_of: IndexOf, rows: Data, directions: int | None, iterations: int, seed: int) -> Tensor:
    """The climb from the best of random directions, completed at random; all axes random where nothing varies."""
    rows = as_rows(rows)
    k = rows.dim if directions is None else check_int(owner, "directions", directions, 1)
    check_int(owner, "iterations", iterations, 1)
    k = min(rows.dim, DIRECTIONS if directions is None else k)
    generator = torch.Generator().manual_seed(check_int(owner, "seed", seed, 0))
    x, scale = common_units(rows, SEARCH_ROWS, seed)
    if scale <= 0:
        return haar(rows.dim, generator, torch.float64, rows.device)
    index = index_of(x)
    tries = max(1, STARTS // rows.dim)
    starts = torch.cat([haar(rows.dim, generator, torch.float64, rows.device) for _ in range(tries)])
    heights = torch.cat([index(some)[0] for some in starts.split(TOGETHER)])
    best = starts[heights.argsort(descending=True)[:k]]
    found = climbed(fix_signs(*torch.linalg.qr(best.T)).T, index, iterations)
    order = index(found)[0].argsort(descending=True)
    return completed(found[order], generator)


def _wasserstein(x: Tensor) -> Index:
    """Squared distance of transport of the projections of x (n, D) from N(0, 1), and its gradient."""
    edges = torch.special.ndtri(torch.linspace(0, 1, len(x) + 1, dtype=x.dtype, device=x.device))
    quantiles = -len(x) * ((-0.5 * edges.square()).exp() / math.sqrt(2 * math.pi)).diff()
    rest = 1 - quantiles.square().mean()

    def index(w: Tensor) -> tuple[Tensor, Tensor]:
        y = w @ x.T
        off = y.scatter_add(1, ascending_order(y), -quantiles.expand_as(y))
        return off.square().mean(1) + rest, 2 / len(x) * off @ x

    return index


def _friedman(x: Tensor) -> Index:
    """Sum of the squared Legendre moments of the projections of x (n, D), and its gradient."""

    def index(w: Tensor) -> tuple[Tensor, Tensor]:
        h, slope = legendre(w @ x.T)
        mean = h.mean(-1)
        return mean.square().sum(0), 2 / len(x) * torch.einsum("jk,jkn->kn", mean, slope) @ x

    return index
