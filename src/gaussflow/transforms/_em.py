"""Expectation maximisation for one mixture per coordinate, in sums over the rows."""

from __future__ import annotations

import torch
from torch import Tensor

from gaussflow.ops.mixture import Kernel
from gaussflow.rows import Rows, as_rows

SAMPLE = 2**13  # rows on which the steps are taken first; all rows then take the last few
STEPS, LAST_STEPS = 60, 4
PRIOR_ROWS = 4.0  # rows that the prior of a scale is worth
PRIOR_WEIGHT = 1.0  # rows that the prior of a weight is worth
NARROWEST = 1e-2  # smallest scale in units of the coordinate, so that ties cannot make a component collapse


def fit_mixture(rows: Rows, components: int, kernel: Kernel) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    r"""Fit a mixture to every coordinate.

    The rows enter as sums of responsibilities r and of the weights :math:`w = -(\log F')'(v) / v` that make the
    M-step of any scale mixture of normal laws a weighted mean (w is 1 for the normal law). A component that starts at
    a quantile of the rows has a scale that starts at the spacing of the quantiles around it and is held near it by an
    inverse gamma prior worth a few rows, so that it neither collapses onto ties nor follows single rows.

    Returns
    -------
    loc, scale, weights, means, scales
        Units (D,), (D,), and the mixture in these units, (K, D) each; all float64.
    """
    sample = rows.sample(SAMPLE)[0].double()
    loc, scale = robust_units(sample)
    level = (torch.arange(components, dtype=torch.float64, device=sample.device) + 0.5) / components
    means = (_quantile(sample, level) - loc) / scale
    around = torch.cat([level - 0.5 / components, level + 0.5 / components]).clamp(0, 1)
    low, high = ((_quantile(sample, around) - loc) / scale).chunk(2)
    prior = ((high - low) / 2).clamp(min=max(NARROWEST, 0.5 / components))
    state: tuple[Tensor, ...] = (torch.full_like(means, 1 / components), means, prior)
    small = as_rows(sample)
    for _ in range(STEPS):
        state = _step(small, loc, scale, state, prior, kernel)
    if rows.n > SAMPLE:
        for _ in range(LAST_STEPS):
            state = _step(rows, loc, scale, state, prior, kernel)
    weights, means, scales = state
    return loc, scale, weights, means, scales


def robust_units(x: Tensor) -> tuple[Tensor, Tensor]:
    """Median and interquartile range / 1.349 of rows x (N, D); where that is 0 a wider spread, or 1 for a constant."""
    ends = _quantile(x, x.new_tensor([0.25, 0.75, 0.05, 0.95, 0.0, 1.0]))
    loc, scale = _quantile(x, x.new_tensor([0.5]))[0], x.new_zeros(x.shape[1])
    for low, high, width in zip(ends[::2], ends[1::2], (1.349, 3.29, 6.0), strict=True):
        least = 8 * torch.finfo(torch.float64).eps * loc.abs()
        scale = torch.where((scale > least), scale, (high - low) / width)
    return loc, torch.where(scale > least, scale, 1.0)


def _quantile(x: Tensor, level: Tensor) -> Tensor:
    """Quantiles (Q, D) of rows x (N, D) at levels (Q,), linear between the order statistics."""
    ordered = x.sort(0).values
    at = level * (len(x) - 1)
    low = at.floor().long()
    return torch.lerp(ordered[low], ordered[at.ceil().long()], (at - low)[:, None].expand(-1, x.shape[1]))


def _step(
    rows: Rows, loc: Tensor, scale: Tensor, state: tuple[Tensor, ...], prior: Tensor, kernel: Kernel
) -> tuple[Tensor, ...]:
    """One step of expectation maximisation on (weights, means, scales), each (K, D)."""
    weights, means, scales = state

    def sums(x: Tensor, context: Tensor | None) -> tuple[Tensor, ...]:
        totals = [torch.zeros_like(means) for _ in range(4)]
        for part in x.split(max(1, 2**17 // means.numel())):
            d = (part - loc) / scale - means[:, None]
            log_density, pull = _score(d / scales[:, None], kernel)
            r = (log_density + (weights / scales).log()[:, None]).softmax(0)
            rw = r * pull
            for total, term in zip(totals, (r, rw, rw * d, rw * d.square()), strict=True):
                total += term.sum(1)
        return tuple(totals)

    n, mass, first, second = rows.sum(sums)
    shift = first / (mass + 1e-2)
    square = second - 2 * shift * first + shift.square() * mass
    variance = (square + PRIOR_ROWS * prior.square()) / (n + PRIOR_ROWS)
    new = (n + PRIOR_WEIGHT) / (rows.n + PRIOR_WEIGHT * len(n))
    return new, means + shift, variance.sqrt().clamp(min=NARROWEST)


def _score(u: Tensor, kernel: Kernel) -> tuple[Tensor, Tensor]:
    r"""The log-density of the kernel at u (...) and :math:`-(\log F')'(v)/v`, by automatic differentiation."""
    with torch.enable_grad():
        v = u.abs().clamp(min=1e-6).requires_grad_()
        exponent, _, factor = kernel(v)
        log_density = exponent + factor.log()
        (slope,) = torch.autograd.grad(log_density.sum(), v)
    return log_density.detach(), -slope / v.detach()
