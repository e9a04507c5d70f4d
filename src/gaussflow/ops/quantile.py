r"""Smoothing of the quantile function: from sorted rows to a smooth map between a normal law and the data.

A coordinate is :math:`x = Q(u)` of a standard normal :math:`u`. The sorted rows :math:`x_{(1)} \le \dots \le x_{(n)}`
stand at the normal scores :math:`u_i`, the same for every coordinate, so smoothing all coordinates at once is one
matrix product with weights that depend on n alone.
"""

from __future__ import annotations

import math
from functools import lru_cache

import torch
from torch import Tensor

from gaussflow.ops._sort import places_of, run_sums

FINEST, NESTED = 180.0, 3.0  # cells of averaged rows in one unit of the normal axis, and how many make one coarser cell
CELLS = 5.4  # in one bandwidth at least
NEIGHBOURS = 5.0  # in the tails the bandwidth grows until it spans about so many rows


def normal_scores(n: int) -> Tensor:
    r"""Where the n sorted rows stand on the normal axis, :math:`\Phi^{-1}((i - 3/8) / (n + 1/4))` (Blom 1958): (n,)."""
    scores: Tensor = torch.special.ndtri((torch.arange(1, n + 1, dtype=torch.float64) - 0.375) / (n + 0.25))
    return scores


def spread_ties(x: Tensor) -> Tensor:
    """Spread runs of equal values evenly over their cell, half-way to the next smaller and larger value.

    A run stands for a law on its cell, as rounding would make it, so the density of a discrete column is that of its
    masses over their cells and not infinite. A column of one value is left as it is.

    Parameters
    ----------
    x
        Sorted rows (n, D).

    Returns
    -------
    x
        Sorted rows (n, D); values that stand alone are unchanged.

    Examples
    --------
    >>> import torch
    >>> from gaussflow.ops.quantile import spread_ties
    >>> spread_ties(torch.tensor([[0.0], [0.0], [1.0], [1.0]])).flatten()
    tensor([-0.2500,  0.2500,  0.7500,  1.2500])
    """
    columns = x.T
    same = columns[:, 1:] == columns[:, :-1]
    if not bool(same.any()):
        return x
    n, no = len(x), same.new_zeros(len(columns), 1)
    before, after = torch.cat([no, same], 1), torch.cat([same, no], 1)
    tied = places_of(before | after)  # the values in runs, which are few in most columns
    column, place = tied // n, tied % n
    first, last = ~before[column, place], ~after[column, place]
    run = first.cumsum(0) - 1
    start, end = place[first][run], place[last][run]
    value = columns[column, place]
    left = (value - columns[column, (start - 1).clamp(min=0)]) / 2
    right = (columns[column, (end + 1).clamp(max=n - 1)] - value) / 2
    left, right = torch.where(start == 0, right, left), torch.where(end == n - 1, left, right)
    share = ((place - start).to(x.dtype) + 0.5) / (end - start + 1)
    spread = x.clone()
    spread[place, column] = value - left + share * (left + right)
    return spread


def cell_means(x: Tensor) -> Tensor:
    """Sorted rows (n, D) averaged in the finest cells, (m, D), which `local_linear` takes in place of the rows.

    In the tails a cell holds one row; of many rows those in the middle become a hundred times fewer.
    """
    count = _counts(len(x), FINEST)
    if len(count) == len(x):
        return x
    middle = x[len(x) // 2]
    sums = run_sums((x - middle).T.contiguous(), count)
    return middle + sums.div_(count.to(x)).T


def cell_counts(n: int) -> Tensor:
    """How many of n sorted rows each of the finest cells holds, (m,)."""
    return _counts(n, FINEST)


def local_linear(x: Tensor, bandwidth: float, at: tuple[float, ...], rows: int | None = None) -> Tensor:
    r"""Local linear regression of sorted rows on their normal scores (Fan & Gijbels 1996).

    At each point :math:`u` the line :math:`a + b (u_i - u)` is fitted to the rows with weights
    :math:`\exp(-(u_i - u)^2 / 2 h^2)`; the value is :math:`a`. As :math:`h \to \infty` the result is linear in
    :math:`u`: the normal law. In the tails :math:`h` grows until it spans several rows; beyond the outermost rows a
    last line goes on. Rows whose scores lie within a fifth of :math:`h` are averaged first: a line stays that line.

    Parameters
    ----------
    x
        Sorted rows (n, D), n at least 2; or what `cell_means` made of them.
    bandwidth
        :math:`h`, in units of the normal axis.
    at
        The points u, K of them.
    rows
        n, where x are means of cells, for bandwidths of at least 0.03.

    Returns
    -------
    value
        (K, D) in the dtype of x.

    Examples
    --------
    >>> import torch
    >>> from gaussflow.ops.quantile import local_linear
    >>> local_linear(torch.randn(100, 3).double().sort(0).values, 0.3, (-1.0, 0.0, 1.0)).shape
    torch.Size([3, 3])
    """
    count, weights = _cells_and_weights(len(x) if rows is None else rows, bandwidth, at, x.dtype)
    weights = weights.to(x.device)
    if len(count) == len(x):
        return weights @ x
    middle, runs = x[len(x) // 2], count
    away = x - middle
    if rows is not None:
        runs = _runs(rows, _rate(bandwidth))
        away.mul_(_counts(rows, FINEST).to(away)[:, None])
    means = run_sums(away.T.contiguous(), runs).div_(count.to(away))
    return middle + weights @ means.T


def _rate(bandwidth: float) -> float:
    """Cells in one unit for a bandwidth: the finest ones, or such as several of them make; its own if it is narrow."""
    if bandwidth * FINEST < CELLS * (1 - 1e-9):
        return CELLS / bandwidth
    return FINEST / NESTED ** int(math.log(bandwidth * FINEST / CELLS, NESTED) + 1e-9)


@lru_cache(maxsize=32)
def _counts(n: int, rate: float) -> Tensor:
    """How many of n rows the cells hold, (m,), so many cells in one unit of the normal axis."""
    count: Tensor = torch.unique_consecutive((normal_scores(n) * rate).floor(), return_counts=True)[1]
    return count


@lru_cache(maxsize=32)
def _runs(n: int, rate: float) -> Tensor:
    """How many of the finest cells each of the coarser ones holds, (m,)."""
    ends = torch.searchsorted(_counts(n, FINEST).cumsum(0), _counts(n, rate).cumsum(0)) + 1
    return ends.diff(prepend=ends.new_zeros(1))


@lru_cache(maxsize=16)
def _cells_and_weights(n: int, bandwidth: float, at: tuple[float, ...], dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    """The rows of each cell (m,), and the weights (K, m) of the means of the cells."""
    scores, u = normal_scores(n), torch.tensor(at, dtype=torch.float64)[:, None]
    count = _counts(n, _rate(bandwidth))
    centre = run_sums(scores[None], count)[0] / count
    inside = u.clamp(scores[0], scores[-1])
    inward = torch.special.ndtri((torch.special.ndtr(-inside.abs()) + NEIGHBOURS / n).clamp(max=0.999))
    h = torch.clamp(inside.abs() + inward, min=bandwidth, max=max(3.0, bandwidth))
    value, slope = _line(centre - inside, h, count)
    return count, (value + slope * (u - inside)).to(dtype)


def _line(away: Tensor, h: Tensor, count: Tensor) -> tuple[Tensor, Tensor]:
    """Weights (K, m) of the value and of the slope, at 0, of lines fitted to points at ``away`` (K, m)."""
    w = torch.exp(-(away / h).square() / 2) * count
    s0, s1, s2 = (w.sum(1, keepdim=True), (w * away).sum(1, keepdim=True), (w * away.square()).sum(1, keepdim=True))
    spread = s0 * s2 - s1.square()
    return w * (s2 - s1 * away) / spread, w * (s0 * away - s1) / spread
