r"""Smoothing of the quantile function: from sorted rows to a smooth map between a normal law and the data.

A coordinate is :math:`x = Q(u)` of a standard normal :math:`u`. The sorted rows :math:`x_{(1)} \le \dots \le x_{(n)}`
stand at the normal scores :math:`u_i`, the same for every coordinate, so smoothing all coordinates at once is one
matrix product with weights that depend on n alone.
"""

from __future__ import annotations

from functools import lru_cache

import torch
from torch import Tensor

from gaussflow.ops._sort import places_of, run_sums

CELLS = 6.0  # cells of averaged rows in one bandwidth
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


def local_linear(x: Tensor, bandwidth: float, at: tuple[float, ...]) -> Tensor:
    r"""Local linear regression of sorted rows on their normal scores (Fan & Gijbels 1996).

    At each point :math:`u` the line :math:`a + b (u_i - u)` is fitted to the rows with weights
    :math:`\exp(-(u_i - u)^2 / 2 h^2)`; the value is :math:`a`. As :math:`h \to \infty` the result is linear in
    :math:`u`: the normal law. In the tails :math:`h` grows until it spans several rows; beyond the outermost rows a
    last line goes on. Rows whose scores lie within a sixth of :math:`h` are averaged first: a line stays that line.

    Parameters
    ----------
    x
        Sorted rows (n, D), n at least 2.
    bandwidth
        :math:`h`, in units of the normal axis.
    at
        The points u, K of them.

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
    count, weights = _cells_and_weights(len(x), bandwidth, at, x.dtype)
    weights = weights.to(x.device)
    if len(count) == len(x):
        return weights @ x
    middle = x[len(x) // 2]
    means = run_sums((x - middle).T.contiguous(), count) / count.to(x.device)
    return middle + weights @ means.T


@lru_cache(maxsize=16)
def _cells_and_weights(n: int, bandwidth: float, at: tuple[float, ...], dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    """The rows of each cell (m,), and the weights (K, m) of the means of the cells."""
    scores, u = normal_scores(n), torch.tensor(at, dtype=torch.float64)[:, None]
    _, cell, count = torch.unique_consecutive(
        (scores * (CELLS / bandwidth)).floor(), return_inverse=True, return_counts=True
    )
    centre = torch.zeros(len(count), dtype=torch.float64).index_add_(0, cell, scores) / count
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
