r"""Places of peaks that are evenly spaced, as rounding leaves them: the period of a column and its even places.

All rows together tell the period: :math:`|\sum_i e^{2 \pi i f x_i}|^2` stands out at :math:`f = 1 / d` long before any
single peak does (Schuster 1898).
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

PADDING = 4  # the spectrum is taken at frequencies so many times closer than the range of the rows tells apart
SHORTEST = 7.5  # bins of the shortest period, 2.5 widths of a peak: with less the peaks have run together
SURE = 30.0  # times the power of as many rows at random
NEIGHBOURS = 4  # places to either side whose mean weight a weight is drawn to


def even_places(count: Tensor, smooth: Tensor, most: int) -> tuple[Tensor, Tensor]:
    """Evenly spaced places in bins, and the rows at them, each (D, most), of counts (D, G); 0 rows where none."""
    dim, bins = count.shape
    size = 2 ** math.ceil(math.log2(PADDING * bins))
    waves = torch.fft.rfft(count - smooth, size)
    power = waves.abs().square()
    top = min(int(size / SHORTEST), (power.shape[1] - 1) // 3)
    index = torch.arange(top, device=count.device)
    comb = power[:, index] + power[:, 2 * index] + power[:, 3 * index]
    comb[:, : 2 * PADDING * size // (PADDING * bins)] = 0  # a period has to fit twice
    best = comb.argmax(1)
    strong = power.gather(1, best[:, None])[:, 0] > SURE * count.sum(1)
    period = size / best.clamp(min=1).to(count.dtype)
    phase = -waves.gather(1, best[:, None])[:, 0].angle() / (2 * math.pi) * period
    place = torch.arange(bins, dtype=count.dtype, device=count.device).expand(dim, bins)
    for _ in range(3):
        step = ((place - phase[:, None]) / period[:, None]).round()
        off = place - phase[:, None] - step * period[:, None]
        w = count * (off.abs() < 3.0)
        n = w.sum(1).clamp(min=1)
        mean_step, mean_off = (w * step).sum(1) / n, (w * off).sum(1) / n
        lean = (w * (step - mean_step[:, None]) * off).sum(1) / (w * (step - mean_step[:, None]).square()).sum(1).clamp(
            min=1
        )
        phase, period = phase + mean_off - lean * mean_step, period + lean
    site = ((place - phase[:, None]) / period[:, None]).round().long()
    site = site - site[:, :1]
    rows = torch.zeros(dim, int(site.max()) + most + 1, dtype=count.dtype, device=count.device)
    rows.scatter_add_(1, site, count)
    total = torch.nn.functional.pad(rows.cumsum(1), (1, 0))
    first = (total[:, most:] - total[:, :-most]).argmax(1, keepdim=True)  # the stretch of sites with the most rows
    number = first + torch.arange(most, device=count.device)
    begin = ((place[:, :1] - phase[:, None]) / period[:, None]).round()
    places = phase[:, None] + (begin + number) * period[:, None]
    used = (strong & (period > SHORTEST))[:, None] & (places < bins - 1) & (places > 0)
    rows = rows.gather(1, number)
    return torch.where(used, places + 0.5, bins / 2), torch.where(used, 0.9 * rows + 0.1, 0.0)


def shrunk(mass: Tensor, used: Tensor) -> Tensor:
    r"""Rows at each place (D, K) drawn to the mean of the places beside, by as much as chance explains them.

    With counts of mean :math:`\mu` and variance :math:`\mu + \varphi \mu^2`, the estimate is
    :math:`\mu (m + 1/\varphi) / (\mu + 1/\varphi)` (Clayton & Kaldor 1987).
    """
    kernel = torch.ones(1, 1, 2 * NEIGHBOURS + 1, dtype=mass.dtype, device=mass.device)
    kernel[0, 0, NEIGHBOURS] = 0
    around, there = (
        torch.nn.functional.conv1d(t[:, None], kernel, padding=NEIGHBOURS)[:, 0] for t in (mass, used.to(mass.dtype))
    )
    mean = around / there.clamp(min=1)
    more = ((mass - mean).square() - mass - mean / there.clamp(min=1)) * used
    excess = (more.sum(1) / (mean.square() * used).sum(1).clamp(min=1e-9)).clamp(1e-3, 1e6)[:, None]
    pull = 1 / excess
    return torch.where(used, mean * (mass + pull) / (mean + pull).clamp(min=1e-9), 0.0)
