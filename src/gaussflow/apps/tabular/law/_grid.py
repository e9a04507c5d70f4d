"""Rounded numbers: the intervals of the line that round to each value, wider where more values are rounded to."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from gaussflow.apps.tabular._arrays import Floats, Integers

LARGEST = 2.0**52  # beyond, neighbours on a grid of step 1 are one number
PERIODS = (2, 5, 7, 10, 12, 20, 50, 60, 100, 200, 500, 1000)  # in steps: decimals, fractions, weeks, hours
PERIODS_HELD = 4  # that the values must reach over
GAIN = 8.0  # nats that a period must buy
STRENGTHS = (3.0, 10.0, 40.0, 160.0)  # rows that the like residues together weigh in each
EVEN = 20.0  # rows that a law of even residues weighs
LEAST = 3  # rows of a residue, below which it goes with those that are like it
NARROWEST = 1e-3  # of an even share
BINS = {20: 8, 100: 4, 1000: 2}  # of the line, by the longest period that has so many
SHRINK = (1.0, 4.0, 15.0, 60.0, 240.0)  # rows that the whole column weighs in a bin


@dataclass(frozen=True)
class Grid:
    r"""How numbers on the line became values that are multiples of a step.

    Values are not all as frequent as a smooth law has them: pressures end in 0 and 5, means of few readings are thirds
    and quarters, days of birth are no holidays. What repeats with a period P, as last digits do, is the share
    :math:`w_r` of each residue r. The line is cut into cells of P steps, and each cell into one interval for each of
    its values, in their order, of the width :math:`w_r P` steps; a number becomes the value in whose interval it lies.
    With even shares this is rounding to the nearest.

    Attributes
    ----------
    step
        Of what values are multiples.
    period
        The number of residues.
    edges
        Of bins of the line (B - 1,), each with shares of its own.
    shares
        Of the residues, from that half a period below 0 on, (B, P).
    """

    step: float
    period: int
    edges: Floats
    shares: Floats

    @cached_property
    def _sums(self) -> Floats:
        """Where in its cell each residue begins, and where the last ends (B, P + 1)."""
        sums = np.cumsum(np.concatenate([np.zeros((len(self.shares), 1)), self.shares], 1), 1)
        even = np.linspace(0.0, 1.0, self.period + 1)
        begins = np.where(np.ptp(self.shares, 1)[:, None] > 0, sums / sums[:, -1:], even)
        return begins.astype(np.float64)

    def tidy(self, x: Floats) -> Floats:
        """The multiple of the step (n,) that is nearest to x (n,)."""
        tidied: Floats = np.clip(np.round(x / self.step), -LARGEST, LARGEST) * self.step
        return tidied

    def ends(self, x: Floats) -> tuple[Floats, Floats]:
        """The ends (n,) of the intervals of the line that become the values x (n,); infinite ones stay so."""
        finite = np.isfinite(x)
        index = np.clip(np.round(np.where(finite, x, 0.0) / self.step), -LARGEST, LARGEST)
        start = self.period // 2
        cell = np.floor((index + start) / self.period)
        place = (index + start - cell * self.period).astype(np.int64)
        bins = self._bins(cell)
        low, high = (self._at(cell, self._sums[bins, place + k]) for k in (0, 1))
        return np.where(finite, low, x), np.where(finite, high, x)

    def round(self, x: Floats) -> Floats:
        """The values (n,) of numbers x (n,) on the line."""
        t = (np.clip(x / self.step, -LARGEST, LARGEST) + self.period // 2 + 0.5) / self.period
        cell = np.floor(t)
        bins, within = self._bins(cell), t - cell
        place = np.zeros(len(x), np.int64)
        for k, sums in enumerate(self._sums):
            rows = bins == k
            place[rows] = np.searchsorted(sums[1:-1], within[rows], side="right")
        value: Floats = (cell * self.period + (place - self.period // 2).astype(np.float64)) * self.step
        return value

    def spread(self, x: Floats) -> Floats:
        """Numbers (n,) spread evenly over what becomes the values x (n,), equal ones in random order."""
        order = np.argsort(x, kind="stable")
        random = np.random.default_rng(0)
        counts = np.unique(x, return_counts=True)[1]
        within = np.concatenate([np.empty(0), *(random.permutation(count) + 0.5 for count in counts)])
        low, high = self.ends(x[order])
        spread = np.empty(len(x))
        spread[order] = low + within / np.repeat(counts, counts) * (high - low)
        return spread

    def _bins(self, cell: Floats) -> Integers:
        bins: Integers = np.searchsorted(self.edges, cell * (self.period * self.step))
        return bins

    def _at(self, cell: Floats, within: Floats) -> Floats:
        return (cell * self.period - self.period // 2 - 0.5 + self.period * within) * self.step


def plain_grid(step: float) -> Grid:
    """Multiples of a step, none more frequent than a smooth law has them: rounding to the nearest."""
    return Grid(step, 1, np.empty(0), np.ones((1, 1)))


def fit_grid(x: Floats, step: float) -> Grid:
    """Find with what period the values x (n,), multiples of step, are more frequent and less, and the shares."""
    index = np.round(x / step)
    best, found = GAIN, plain_grid(step)
    for period in PERIODS:
        if not len(x) or np.ptp(index) <= PERIODS_HELD * period:
            continue
        place = np.remainder(index + period // 2, period).astype(np.int64)
        gain, shares = _shares(place, period)
        if gain > best:
            best, found = gain + GAIN, _in_bins(index, place, step, shares)
    return found


def _shares(place: Integers, period: int) -> tuple[float, Floats]:
    """The nats that shares (P,) of residues told by other rows gain over even ones, and the shares."""
    n = len(place)
    counts = np.bincount(place, minlength=period).astype(float)
    kind = np.gcd((np.arange(period) - period // 2) % period, period)  # residues that the same coarser grids hold
    size = np.bincount(kind, minlength=period + 1)[kind]
    alike = np.bincount(kind, counts, period + 1)[kind]
    even = EVEN / period
    prior = (alike + size * even) / (n + EVEN) / size
    unseen = (np.maximum(alike - 1, 0) + size * even) / (n - 1 + EVEN) / size
    safe, less = (np.where(held >= LEAST, held, 0.0) for held in (counts, counts - 1))
    gains = []
    for strength in STRENGTHS:
        rest = n - 1 - safe.sum() + safe - less
        told = (less + (strength + rest) * unseen) / (n - 1 + strength)
        gains.append(float(counts @ np.log(period * told)))
    strength = STRENGTHS[int(np.argmax(gains))]
    return max(gains), _wide(safe + (strength + n - safe.sum()) * prior)


def _wide(shares: Floats) -> Floats:
    """Shares (..., P) that sum to one, none too narrow for a number to fall into."""
    shares = shares / shares.sum(-1, keepdims=True)
    shares = np.maximum(shares, NARROWEST / shares.shape[-1])
    wide: Floats = shares / shares.sum(-1, keepdims=True)
    return wide


def _in_bins(index: Floats, place: Integers, step: float, shares: Floats) -> Grid:
    """The grid with shares of its own in each bin of the line, where rows left out say that these differ."""
    period = len(shares)
    count = next(bins for longest, bins in BINS.items() if period <= longest)
    cell = np.floor((index + period // 2) / period) * (period * step)
    edges = np.unique(np.quantile(cell, np.arange(1, count) / count)) + 0.5 * step
    bins = np.searchsorted(edges, cell)
    held = np.zeros((len(edges) + 1, period))
    np.add.at(held, (bins, place), 1.0)
    total = held.sum(1, keepdims=True)
    best, found = GAIN, Grid(step, period, np.empty(0), shares[None])
    for shrink in SHRINK:
        told = (np.maximum(held - 1, 0) + shrink * shares) / (np.maximum(total - 1, 0) + shrink)
        gain = float((held * np.log(told / shares)).sum())
        if gain > best:
            safe = np.where(held.sum(0) >= LEAST, held, 0.0)
            best, found = gain, Grid(step, period, edges, _wide((safe + shrink * shares) / (total + shrink)))
    return found
