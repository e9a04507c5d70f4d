r"""Smoothing of the quantile function: from sorted rows to a smooth map between a normal law and the data.

A coordinate is :math:`x = Q(u)` of a standard normal :math:`u`. The sorted rows :math:`x_{(1)} \le \dots \le x_{(n)}`
stand at the normal scores :math:`u_i`, the same for every coordinate, so smoothing all coordinates at once is one
matrix product with weights that depend on n alone.
"""

from __future__ import annotations

from functools import lru_cache

import torch
from torch import Tensor

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
    n = len(x)
    index = torch.arange(n, device=x.device)[:, None].expand_as(x)
    step = x[1:] != x[:-1]
    edge = torch.ones_like(x[:1], dtype=torch.bool)
    start = torch.where(torch.cat([edge, step]), index, 0).cummax(0).values
    end = torch.where(torch.cat([step, edge]), index, n - 1).flip(0).cummin(0).values.flip(0)
    left = (x - x.gather(0, (start - 1).clamp(min=0))) / 2
    right = (x.gather(0, (end + 1).clamp(max=n - 1)) - x) / 2
    left, right = torch.where(start == 0, right, left), torch.where(end == n - 1, left, right)
    share = (index - start + 0.5) / (end - start + 1)
    return torch.where(end > start, x - left + share * (left + right), x)


@lru_cache(maxsize=8)
def local_linear_weights(n: int, bandwidth: float, at: tuple[float, ...]) -> Tensor:
    r"""Weights of the local linear regression of sorted rows on their normal scores (Fan & Gijbels 1996).

    At each point :math:`u` the line :math:`a + b (u_i - u)` is fitted to the rows with weights
    :math:`\exp(-(u_i - u)^2 / 2 h^2)`; the value is :math:`a`. As :math:`h \to \infty` the result is linear in
    :math:`u`: the normal law. In the tails :math:`h` grows until it spans several rows; beyond the outermost rows the
    last line goes on.

    Parameters
    ----------
    n
        Number of sorted rows, at least 2.
    bandwidth
        :math:`h`, in units of the normal axis.
    at
        The points u, K of them.

    Returns
    -------
    weights
        (K, n) float64: ``weights @ x`` smooths sorted rows x (n, D).
    """
    scores, u = normal_scores(n), torch.tensor(at, dtype=torch.float64)[:, None]
    inside = u.clamp(scores[0], scores[-1])
    density = torch.exp(-inside.square() / 2) / (2 * torch.pi) ** 0.5
    h = torch.clamp(NEIGHBOURS / (n * density), min=bandwidth, max=max(3.0, bandwidth))
    away = scores - inside
    w = torch.exp(-(away / h).square() / 2)
    s0, s1, s2 = (w.sum(1, keepdim=True), (w * away).sum(1, keepdim=True), (w * away.square()).sum(1, keepdim=True))
    spread = s0 * s2 - s1.square()
    slope = w * (s0 * away - s1) / spread
    return w * (s2 - s1 * away) / spread + slope * (u - inside)
