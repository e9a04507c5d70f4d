r"""Places of peaks that are evenly spaced, as rounding leaves them: the period of a column and its even places.

All rows together tell the period: :math:`|\sum_i e^{2 \pi i f x_i}|^2` stands out at :math:`f = 1 / d` long before any
single peak does (Schuster 1898).
"""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional

PADDING = 4  # the spectrum is taken at frequencies so many times closer than the range of the rows tells apart
SHORTEST = 7.5  # bins of the shortest period, 2.5 widths of a peak: with less the peaks have run together
WIDTH = 3.0  # bins of the width of a peak
SURE = 30.0  # times the power of as many rows at random
LEAST_SQUARES = 6  # rounds that make phase and period exact
NEIGHBOURS = 4  # places to either side whose mean weight a weight is drawn to


def even_places(count: Tensor, smooth: Tensor, most: int) -> tuple[Tensor, Tensor]:
    """Evenly spaced places in bins, and the rows at them, each (D, at most ``most``); 0 rows where there are none.

    ``count`` (D, G) are the rows in each bin and ``smooth`` the same smoothed, which says nothing of a period.
    """
    dim, bins = count.shape
    phase, period, clear = _period(count, smooth)
    at = torch.arange(bins, dtype=count.dtype, device=count.device).expand(dim, bins)
    site = ((at - phase) / period).round()
    begin = site[:, :1]
    rows = torch.zeros(dim, int((site - begin).max()) + most + 1, dtype=count.dtype, device=count.device)
    rows.scatter_add_(1, (site - begin).long(), count)
    total = functional.pad(rows.cumsum(1), (1, 0))
    first = (total[:, most:] - total[:, :-most]).argmax(1, keepdim=True)  # the stretch of sites with the most rows
    number = first + torch.arange(most, device=count.device)
    places = phase + (begin + number) * period
    used = clear & (places < bins - 1)
    most = max(1, int(used.sum(1).max()))  # those in use come first
    places, rows, used = places[:, :most], rows.gather(1, number)[:, :most], used[:, :most]
    return torch.where(used, places + 0.5, bins / 2), torch.where(used, 0.9 * rows + 0.1, 0.0)


def _period(count: Tensor, smooth: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Phase and period in bins, and whether they are clear, each (D, 1): from the spectrum, then by least squares."""
    bins = count.shape[1]
    size = 2 ** math.ceil(math.log2(PADDING * bins))
    waves = torch.fft.rfft(count - smooth, size)
    power = waves.abs().square()
    f = torch.arange(min(int(size / SHORTEST), (power.shape[1] - 1) // 3), device=count.device)
    comb = power[:, f] + power[:, 2 * f] / 2 + power[:, 3 * f] / 4  # falling, so that f wins over f / 2 and f / 3
    comb[:, : 2 * size // bins] = 0  # a period has to fit twice
    best = comb.argmax(1, keepdim=True)
    clear = power.gather(1, best) > SURE * count.sum(1, keepdim=True)
    period = size / best.clamp(min=1).to(count.dtype)
    phase = -waves.gather(1, best).angle() / (2 * math.pi) * period
    at = torch.arange(bins, dtype=count.dtype, device=count.device)
    for _ in range(LEAST_SQUARES):
        step = ((at - phase) / period).round()
        off = at - phase - step * period
        near = count * (off.abs() < (period / 3).clamp(max=3 * WIDTH))
        n = near.sum(1, keepdim=True).clamp(min=1)
        mean_step, mean_off = ((near * t).sum(1, keepdim=True) / n for t in (step, off))
        away = near * (step - mean_step)
        lean = (away * off).sum(1, keepdim=True) / (away * (step - mean_step)).sum(1, keepdim=True).clamp(min=1)
        phase, period = phase + mean_off - lean * mean_step, period + lean
    clear &= period > SHORTEST
    return torch.where(clear, phase, 0.0), torch.where(clear, period, float(bins)), clear


def shrunk(mass: Tensor, used: Tensor) -> Tensor:
    r"""Rows at each place (D, K) drawn to the mean of the places beside, by as much as chance explains them.

    With counts of mean :math:`\mu` and variance :math:`\mu + \varphi \mu^2`, the estimate is
    :math:`\mu (m + 1/\varphi) / (\mu + 1/\varphi)` (Clayton & Kaldor 1987).
    """
    around, there = (_beside(t) for t in (mass, used.to(mass.dtype)))
    mean = around / there.clamp(min=1)
    more = ((mass - mean).square() - mass - mean / there.clamp(min=1)) * used
    excess = (more.sum(1) / (mean.square() * used).sum(1).clamp(min=1e-9)).clamp(1e-3, 1e6)[:, None]
    pull = 1 / excess
    return torch.where(used, mean * (mass + pull) / (mean + pull).clamp(min=1e-9), 0.0)


def _beside(t: Tensor) -> Tensor:
    """Sums (D, K) over the places to either side, without the place itself."""
    total = functional.pad(t, (NEIGHBOURS + 1, NEIGHBOURS)).cumsum(1)
    return total[:, 2 * NEIGHBOURS + 1 :] - total[:, : -2 * NEIGHBOURS - 1] - t
