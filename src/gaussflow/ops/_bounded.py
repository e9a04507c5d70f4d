"""The unnormalised mixture of normal CDFs, continued beyond its bounded range."""

from __future__ import annotations

import math

import torch
from torch import Tensor

EDGE = 1.5  # scales outside of the outermost component at which the continuation begins: further out f loses digits
GRID = (0.0, 0.3, 0.6, 0.9, 1.2, 1.5, 1.8, 2.1, 2.4, 2.7, 3.0)
AHEAD = (0.1, 0.3, 0.6, 1.0, 2.0, 4.0, 10.0, 100.0)  # scales beyond the edge: knots on the continuation


def bounded_mixture(x: Tensor, log_weights: Tensor, means: Tensor, log_scales: Tensor) -> tuple[Tensor, Tensor]:
    r"""The sum :math:`f(x) = \sum_i e^{w_i} (\Phi((x - \mu_i) / s_i) - \tfrac12)`, continued by hyperbolas.

    Parameters
    ----------
    x
        Points (..., D).
    log_weights, means, log_scales
        w, mu and log s, each (K, D).

    Returns
    -------
    z, log_slope
        Values and :math:`\log dz/dx`, each (..., D).
    """
    low, s_low, high, s_high = _edges(means, log_scales)
    _, log_ends = _sum(torch.stack([low, high]), log_weights, means, log_scales)
    inside = torch.clamp(x, low, high)
    z, log_slope = _sum(inside, log_weights, means, log_scales)
    above, slope_above = _regrow(torch.relu(x - high), log_ends[1].exp(), s_high)
    below, slope_below = _regrow(torch.relu(low - x), log_ends[0].exp(), s_low)
    log_slope = torch.where(x > high, slope_above, torch.where(x < low, slope_below, log_slope))
    return z + above - below, log_slope


def bounded_mixture_knots(log_weights: Tensor, means: Tensor, log_scales: Tensor) -> Tensor:
    """Ascending points (2 K G + 2 A, D) around every mean and on the continuation: where the inverse looks first."""
    low, s_low, high, s_high = _edges(means, log_scales)
    grid, ahead = means.new_tensor(GRID)[:, None], means.new_tensor(AHEAD)[:, None]
    offsets = torch.cat([-grid, grid])[:, None] * log_scales.exp()
    xs = torch.cat([(means + offsets).flatten(0, 1), low - ahead * s_low, high + ahead * s_high])
    return xs.sort(0).values


def _edges(means: Tensor, log_scales: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Where f ends below and above, and the scale of the component that ends there; each (D,)."""
    scales = log_scales.exp()
    found = []
    for sign in (-1, 1):
        reach = sign * means + EDGE * scales
        last = reach.argmax(0, keepdim=True)
        found += [sign * reach.gather(0, last)[0], scales.gather(0, last)[0]]
    return tuple(found)  # type: ignore[return-value]


def _sum(x: Tensor, log_weights: Tensor, means: Tensor, log_scales: Tensor) -> tuple[Tensor, Tensor]:
    shape = (-1, *[1] * (x.dim() - 1), x.shape[-1])
    w, m, t = (table.view(shape) for table in (log_weights, means, log_scales))
    u = (x - m) * (-t).exp()
    z = (w.exp() * 0.5 * torch.erf(u * math.sqrt(0.5))).sum(0)
    return z, (w - t - 0.5 * u.square()).logsumexp(0) - 0.5 * math.log(2 * math.pi)


def _regrow(d: Tensor, a: Tensor, c: Tensor) -> tuple[Tensor, Tensor]:
    r"""The hyperbola :math:`a d + (b - a)(\sqrt{d^2 + c^2} - c)`, b = 1/c, at distance d (..., D), and its log-slope.

    :math:`\sqrt{d^2 + c^2} - c = d \cdot r`, :math:`r = (d/c) / (1 + \sqrt{1 + (d/c)^2})`, which neither cancels nor
    overflows; the slope is :math:`a (1 - \rho) + b \rho` with :math:`\rho = (d/c) / \sqrt{1 + (d/c)^2} \in [0, 1)`.
    """
    t = d / c
    far = t > 1
    near_t, far_t = t.clamp(max=1), 1 / t.clamp(min=1)
    root = torch.where(far, (1 + far_t.square()).sqrt(), (1 + near_t.square()).sqrt())  # over t where t is large
    rho = torch.where(far, 1 / root, near_t / root)
    r = torch.where(far, 1 / (far_t + root), near_t / (1 + root))
    return a * d * (1 - r) + t * r, (a * (1 - rho) + rho / c).log()
