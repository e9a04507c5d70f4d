"""The map of columns with narrow peaks to the standard normal: knots of a spline through the law of `_peaks`."""

from __future__ import annotations

import torch
from torch import Tensor

from gaussflow.ops._spline import rq_spline
from gaussflow.ops.quantile import normal_scores
from gaussflow.transforms._estimates import Quantiles, Sorted, normal_knots, normal_log_prob, smoothed_asinh
from gaussflow.transforms._peaks import Peaks, separate

KNOTS_PER_PEAK = (4, 14)  # least, most
BACKGROUND_KNOTS = 0.25  # share of the knots that is the background's in any case
BACKGROUND_GRID = 161
UNSEEN = 2.0  # rows of the whole column that the background counts besides its own, for values not seen before
BACKGROUND_ROWS = 512
BANDWIDTHS = ((64.0, 1.0), (1024.0, 0.3), (float("inf"), 0.1))  # of a background of up to so many rows
STEEPEST = 1e4  # most of a slope in units of the secants beside it: more would leave a wide bin without density
COLUMNS = 32  # as many at a time


def peaked(data: Sorted, width: Tensor, knots: int, even: bool = False) -> tuple[Tensor, Tensor, Tensor]:
    """Knots, values and slopes, each (K, D), of the map of sorted rows with peaks of about the given width (D,)."""
    peaks = separate(data.x, width, knots // (KNOTS_PER_PEAK[0] - even), even)
    ground = _background(data, peaks)
    mass = peaks.weight.sum(1, keepdim=True)
    share = (peaks.background.sum(0) + UNSEEN) / (len(data.x) + UNSEEN)
    share = torch.where(mass[:, 0] > 0, share, 1.0)
    weight = peaks.weight * ((1 - share)[:, None] / mass.clamp(min=1e-300))
    x = _places(peaks, ground, share, knots)
    parts = [
        _through(x[:, i], peaks.place[i], weight[i], peaks.width[i], ground_of, share[i], data.median[i])
        for i, ground_of in _split(ground, x.shape[1])
    ]
    zs, slopes = (torch.cat(t, 1) for t in zip(*parts, strict=True))
    return x, zs, slopes


def _split(ground: Quantiles, dim: int) -> list[tuple[slice, Quantiles]]:
    cuts = [slice(i, min(dim, i + COLUMNS)) for i in range(0, dim, COLUMNS)]
    return [(cut, Quantiles(ground.value[:, cut], ground.slope[:, cut])) for cut in cuts]


def _background(data: Sorted, peaks: Peaks) -> Quantiles:
    """The smooth law of the rows in no peak, each counted by its share, and of a trace of all rows."""
    n, dim = data.x.shape
    mass = (peaks.background + UNSEEN / n).cumsum(0)
    levels = torch.special.ndtr(normal_scores(BACKGROUND_ROWS)).to(mass.device)[:, None] * mass[-1]
    after = torch.searchsorted(mass.T.contiguous(), levels.T.contiguous()).T.clamp(1, n - 1)
    m0, m1, x0, x1 = (t.gather(0, i) for t in (mass, data.x) for i in (after - 1, after))
    part = ((levels - m0) / (m1 - m0)).clamp(0, 1)
    rows = x0 + part * (x1 - x0)
    rows = Sorted.of(rows)
    u = normal_knots(BACKGROUND_GRID).to(mass.device)
    value, slope = u.repeat(1, dim), torch.ones_like(u).repeat(1, dim)
    size, low = peaks.background.sum(0), -1.0
    for high, bandwidth in BANDWIDTHS:
        mine = (size > low) & (size <= high)
        low = high
        if bool(mine.any()):
            q = smoothed_asinh(rows.columns(mine), u, bandwidth, 1.0)
            value[:, mine], slope[:, mine] = q.value, q.slope
    for end, before, sign in ((-1, -2, 1.0), (0, 1, -1.0)):  # few rows tell little of the tails,
        far = torch.maximum(sign * data.median + u[-1] * data.deviation, sign * data.x[end] + data.deviation)
        value[end] = torch.maximum(sign * value[end], far) * sign  # and a tail as steep as a peak would end all beyond
        secant = (value[end] - value[before]) / (u[end] - u[before])
        slope[end] = torch.maximum(torch.maximum(slope[end], secant), data.deviation)
    return Quantiles(value, slope)


def _places(peaks: Peaks, ground: Quantiles, share: Tensor, knots: int) -> Tensor:
    """Where the knots stand (K, D): across the peaks, the heavy ones closer, and evenly over the background."""
    number = (peaks.weight > 0).sum(1) * KNOTS_PER_PEAK[1]
    number = number.clamp(max=knots - max(8, int(BACKGROUND_KNOTS * knots)))[:, None]  # (D, 1)
    i = torch.arange(knots, device=number.device)
    want = peaks.density.clamp(min=1e-300).pow(0.2).cumsum(1)
    want = torch.nn.functional.pad(want, (1, 0))
    level = (i + 0.5) / number.clamp(min=1) * want[:, -1:]
    after = torch.searchsorted(want, level.clamp(max=want[:, -1:])).clamp(1, want.shape[1] - 1)
    w0, w1 = want.gather(1, after - 1), want.gather(1, after)
    across = peaks.edge[:, None] + peaks.bin[:, None] * (after - 1 + ((level - w0) / (w1 - w0)).clamp(0, 1))
    rest = knots - number
    j = i - number
    u = (3.6 * (2 * (j - 2) / (rest - 5) - 1)).to(want.dtype)
    for k, tail in ((0, -6.0), (1, -4.6)):
        u = torch.where(j == k, tail, torch.where(j == rest - 1 - k, -tail, u))
    grid = normal_knots(BACKGROUND_GRID).to(u.device).expand_as(ground.value)
    even, _ = rq_spline(u.T, grid, ground.value, ground.slope)
    x = torch.where(j.T >= 0, even, across.T).sort(0).values
    least = 1e-3 * peaks.bin * i[:, None]
    return (x - least).cummax(0).values + least


def _through(
    x: Tensor, place: Tensor, weight: Tensor, width: Tensor, ground: Quantiles, share: Tensor, median: Tensor
) -> tuple[Tensor, Tensor]:
    """Values and slopes, each (K, D), at the knots x (K, D), from the tail that is the smaller one."""
    u = normal_knots(BACKGROUND_GRID).to(x.device)
    z0, log_slope = rq_spline(x, ground.value, u.expand_as(ground.value), 1 / ground.slope)
    side = torch.where(x < median, 1.0, -1.0)
    t = (x[..., None] - place) / width[:, None]
    tail = share * torch.special.ndtr(side * z0) + (weight * torch.special.ndtr(side[..., None] * t)).sum(-1)
    density = share * (normal_log_prob(z0) + log_slope).exp() + (weight * normal_log_prob(t).exp()).sum(-1) / width
    z = side * torch.special.ndtri(tail.clamp(1e-300, 1 - 1e-15))
    slope = (density.clamp(min=1e-300).log() - normal_log_prob(z)).exp()
    least = 1e-9 * torch.arange(len(z), device=z.device)[:, None]
    z = (z - least).cummax(0).values + least
    secant = z.diff(dim=0) / x.diff(dim=0)
    beside = torch.minimum(torch.cat([secant[:1], secant]), torch.cat([secant, secant[-1:]]))
    return z, torch.minimum(slope, STEEPEST * beside)
