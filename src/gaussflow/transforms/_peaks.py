r"""The law of a column with narrow peaks: normal peaks of one width over a smooth background, fitted by EM.

Rounded columns, counts and columns with many zeros are, after a little noise, peaks far narrower than the column:

.. math:: f(x) = \pi_0 f_0(x) + \sum_k \pi_k N(x; v_k, s^2).

One width for all peaks leaves few numbers to estimate, so that a thousand rows fit a hundred peaks near the entropy
bound. The rows are counted in bins a third of a width wide, and every step is a few sums over bins, for all columns at
once. A peak stays while it buys more log-likelihood than the two numbers it costs (Schwarz 1978); the weights lose a
row at each step, which ends the peaks that nothing supports (Figueiredo & Jain 2002).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from gaussflow.transforms._lattice import even_places, shrunk

PAIR_ROWS, MOST_PAIRS = 1024, 2**22  # rows whose neighbours are counted, fewer where these times all rows are more
RUNGS = 28  # distances compared, a factor sqrt(2) apart
PER_WIDTH = 3  # bins in one width of a peak
MOST_BINS = 8192  # rows beyond so many bins around the median are background
STEPS = 16  # of expectation-maximisation
BOX = 60  # bins to either side over which the background is even while peaks are sought
REACH = 14  # bins to either side of a peak that it touches
TRACE = 1e-6  # rows of background in every bin at least
GAP = 1e-5  # most that a gap counts beside the highest peak when knots are placed
PRUNED = 8  # after so many steps, peaks that do not pay end
WIDTHS = (0.4, 1.7)  # the width is between so many of the first guess
PRICE = 2.0  # nats of log-likelihood, one for each number of a peak (Akaike 1973)
CLUMPED = 0.85  # doubling a distance must multiply the neighbours by less than 2 to this power; 2 where nothing clumps


@dataclass(frozen=True)
class Peaks:
    """Peaks v (D, K) of weights w (D, K), in rows, and common width s (D,).

    ``background`` (n, D) is each row's share in no peak. ``density`` (D, G) has the rows in each bin by the law, gaps
    counted for little; ``edge`` (D,) is the left edge of the first bin and ``bin`` (D,) the width of one.
    """

    place: Tensor
    weight: Tensor
    width: Tensor
    background: Tensor
    density: Tensor
    edge: Tensor
    bin: Tensor


def clump_width(x: Tensor, scale: Tensor) -> Tensor:
    r"""The width of the narrow peaks of sorted rows x (n, D), 0 where there are none: (D,).

    The number of pairs no farther apart than r grows like r where the density is smooth; between the width of the
    peaks and their distance it stands still (Grassberger & Procaccia 1983). Normal peaks of width s hold 0.9 of their
    pairs within 2.3 s, and half of them within s.
    """
    n = len(x)
    start = torch.arange(0, n, max(1, n // PAIR_ROWS, n * n // MOST_PAIRS), dtype=torch.int32, device=x.device)
    r = 0.5 * scale * 2 ** (-0.5 * torch.arange(RUNGS, dtype=x.dtype, device=x.device))[:, None]  # (R, D), falling
    pairs = _pairs(x, start, r)
    wide, near = pairs[:, :-2], pairs[:, 2:]
    growth = torch.log2(wide.clamp(min=1) / near.clamp(min=1))
    sure = (near - 0.5 * wide > 5 * wide.clamp(min=1).sqrt()) & (growth < CLUMPED)
    least, rung = torch.where(sure, growth, torch.inf).min(1)
    held = near.gather(1, rung[:, None])
    inner = (pairs >= 0.5 * held).sum(1, keepdim=True) - 1  # the nearest rung that holds half of a peak's pairs
    return torch.where(least.isfinite(), r.T.gather(1, inner)[:, 0] / 1.1, 0.0)


def _pairs(x: Tensor, start: Tensor, r: Tensor) -> Tensor:
    """How many of sorted rows x (n, D) follow those at ``start`` (S,) within falling distances r (R, D): (D, R).

    No row has more neighbours than the most of any row within the distance before, which bounds each binary search.
    """
    n, dim = x.shape
    table = torch.nn.functional.pad(x.T, (0, 1), value=torch.inf).reshape(-1)
    column = torch.arange(0, dim * (n + 1), n + 1, dtype=torch.int32, device=x.device)[:, None]
    first, end = column + start, column + n
    value, most, counts = table.index_select(0, first.view(-1)).view_as(first), n - 1, []
    for distance in r:
        place, within = first.clone(), value + distance[:, None]
        for power in reversed(range(most.bit_length())):
            probed = torch.minimum(place + 2**power, end).view(-1)
            reached = table.index_select(0, probed).view_as(within) <= within
            place.add_(reached, alpha=2**power)
        found = place - first
        most = int(found.max())
        counts.append(found.sum(1))
    return torch.stack(counts, 1).double()


def separate(x: Tensor, width: Tensor, most: int, even: bool = False) -> Peaks:
    """Tell at most ``most`` peaks of about the given width (D,) from the background of sorted rows x (n, D).

    ``even`` seeks evenly spaced peaks, which stay where they are and draw their weights to those of their neighbours.
    """
    middle, step = x[len(x) // 2], width / PER_WIDTH
    cell, count = _counted((x - middle) / step)
    edge = middle - (count.shape[1] // 2) * step
    place, weight = even_places(count, _box(count), most) if even else _modes(count, most)
    used, s2, ground = weight > 0, torch.full_like(width, float(PER_WIDTH**2)), _box(0.3 * count)
    for i in range(STEPS):
        if i % PRUNED == 0 and not even:  # what has ended is left out
            weight, order = weight.sort(1, descending=True)
            most = max(1, int((weight > 0).sum(1).max()))
            weight, place = weight[:, :most], place.gather(1, order)[:, :most]
        bins, bell = _bells(place, s2, count.shape[1])
        part = weight[..., None] * bell
        peaks = torch.zeros_like(count).scatter_add_(1, bins.flatten(1), part.flatten(1))
        total = peaks + ground
        held = part * (count / total).gather(1, bins.flatten(1)).view_as(part)
        if i % PRUNED == PRUNED - 1 and not even:
            held = held * (_bought(part, count, total, bins, weight, s2) > PRICE)[..., None]
        mass = held.sum(-1)
        spread = (held * (bins + 0.5 - place[..., None]).square()).sum((1, 2)) / mass.sum(1).clamp(min=1e-9) - 1 / 12
        s2 = torch.where(mass.sum(1) > 2, spread.clamp(*((w * PER_WIDTH) ** 2 for w in WIDTHS)), s2)
        weight = shrunk(mass, used) if even else (mass - 1).clamp(min=0)
        if not even:
            place = torch.where(weight > 0, (held * (bins + 0.5)).sum(-1) / mass.clamp(min=1e-9), place)
        ground = _box(count * ground / total)
    share = ground / (peaks + ground)
    share[:, 0] = share[:, -1] = 1.0
    weight = weight if even else mass * (weight > 0)
    shown = peaks + torch.minimum(ground - TRACE, GAP * peaks.amax(1, keepdim=True))
    place = edge[:, None] + place * step[:, None]
    return Peaks(place, weight, s2.sqrt() * step, share.gather(1, cell.T).T, shown, edge, step)


def _counted(x: Tensor) -> tuple[Tensor, Tensor]:
    """The bin of each row x (n, D), in bins from the median, and the rows in each bin (D, G).

    The first and the last bin stand for all that lies beyond and count as empty.
    """
    half = int(min(MOST_BINS // 2, float(x.abs().max()) + 2 * REACH))
    cell = x.floor().clamp(-half - 1, half).long() + half + 1
    count = torch.zeros(x.shape[1], 2 * half + 2, dtype=x.dtype, device=x.device)
    count.scatter_add_(1, cell.T, torch.ones_like(count[:, :1]).expand(-1, len(x)))
    count[:, 0] = count[:, -1] = 0
    return cell, count


def _bought(part: Tensor, count: Tensor, total: Tensor, bins: Tensor, weight: Tensor, s2: Tensor) -> Tensor:
    """The log-likelihood (D, K) that each peak buys against its mass spread evenly over three widths to either side."""
    rows, all_ = (t.gather(1, bins.flatten(1)).view_as(part) for t in (count, total))
    offset = torch.arange(-REACH, REACH + 1, device=part.device).square()
    inside = offset <= 9 * s2[:, None, None]
    even = torch.where(inside, weight[..., None] / inside.sum(-1, keepdim=True), 0.0)
    return -(rows * torch.log((1 + (even - part) / all_).clamp(min=1e-12))).sum(-1)


def _modes(count: Tensor, most: int) -> tuple[Tensor, Tensor]:
    """The highest modes of smoothed counts (D, G): places in bins and weights in rows, each (D, K)."""
    offset = torch.arange(-3 * PER_WIDTH, 3 * PER_WIDTH + 1, dtype=count.dtype, device=count.device)
    kernel = torch.exp(-0.5 * (offset / PER_WIDTH).square())
    smooth = functional.conv1d(count[:, None], (kernel / kernel.sum())[None, None], padding=3 * PER_WIDTH)
    top = functional.max_pool1d(smooth, 2 * PER_WIDTH + 1, 1, PER_WIDTH)
    height = torch.where((smooth == top) & (smooth > 0), smooth, 0.0)[:, 0]
    height, place = height.topk(min(most, height.shape[1]), 1)
    return place + 0.5, height * (0.7 * 2.5 * 1.4 * PER_WIDTH)


def _bells(place: Tensor, s2: Tensor, bins: int) -> tuple[Tensor, Tensor]:
    """The bins that each peak touches and its probability there, each (D, K, T)."""
    offset = torch.arange(-REACH, REACH + 1, device=place.device)
    index = (place.floor().long()[..., None] + offset).clamp(0, bins - 1)
    away = (index + 0.5 - place[..., None]).square() / s2[:, None, None]
    return index, torch.exp(-0.5 * away) / (2 * math.pi * s2[:, None, None]).sqrt()


def _box(count: Tensor) -> Tensor:
    """Counts (D, G) averaged over a box around each bin, with a trace everywhere."""
    total = functional.pad(count.cumsum(1), (BOX + 1, BOX), value=0.0)
    total[:, -BOX:] = total[:, -BOX - 1 : -BOX]
    return (total[:, 2 * BOX + 1 :] - total[:, : -2 * BOX - 1]) / (2 * BOX + 1) + TRACE
