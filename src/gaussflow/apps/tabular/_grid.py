"""Rounded numbers: the cells of the line that round to each value, on one grid or on several that are nested."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from gaussflow.apps.tabular._arrays import Floats, Integers

LARGEST = 2.0**52  # beyond, neighbours on a grid of step 1 are one number
BINS = 8
SHRINK = 10.0  # rows that the whole column weighs in a bin


@dataclass(frozen=True)
class Grid:
    r"""How numbers on the line became values that are multiples of ``steps[-1]``.

    A number is rounded to the coarsest grid with a probability that hangs on its coarse cell; if not, to the next, and
    so on. The cells of a coarse grid are whole cells of the finer one. What a finer grid would round to a value of the
    coarser goes to its neighbours in the coarse cell, so each value is of one grid only.

    Attributes
    ----------
    steps
        From the coarsest to the finest, each a multiple of the next (L,).
    edges
        Of bins of the line (BINS - 1,).
    shares
        The probabilities of rounding, by grid but the last and bin, (L - 1, BINS).
    """

    steps: Floats
    edges: Floats
    shares: Floats

    def tidy(self, x: Floats) -> Floats:
        """The value of the finest grid (n,) in whose cell x (n,) lies."""
        tidied: Floats = np.clip(np.round(x / self.steps[-1]), -LARGEST, LARGEST) * self.steps[-1]
        return tidied

    def level(self, x: Floats) -> Integers:
        """The grid (n,) that values x (n,) are of: the coarsest that holds them."""
        held = np.stack([np.remainder(x, step) == 0 for step in self.steps])
        held[-1] = True
        coarsest: Integers = held.argmax(0)
        return coarsest

    def cell(self, x: Floats) -> tuple[Floats, Floats]:
        """The ends (n,) of the coarsest cells that hold x (n,): what is within rounds to values within."""
        return self._ends(self._indices(x)[0], 0)

    def pieces(self, x: Floats) -> list[tuple[Floats, Floats, Floats]]:
        """Ends (n,) of the intervals of the line that round to x (n,), and how likely they do: two intervals each."""
        level, indices = self.level(x), self._indices(x)
        own = [np.empty((3, len(x))) for _ in range(2)]
        for at in range(len(self.steps)):
            rows = level == at
            index = indices[at][rows]
            first = self._ends(index, at)
            own[0][:, rows] = (*first, self._likely(index, at))
            own[1][:, rows] = (first[0], first[0], np.zeros(rows.sum()))
            if at:
                own[1][:, rows] = self._given_up(index, at)
        return [(piece[0], piece[1], piece[2]) for piece in own]

    def round(self, x: Floats, random: np.random.Generator) -> Floats:
        """Values (n,) that numbers x (n,) are rounded to."""
        indices, done, value = self._indices(x), np.zeros(len(x), np.bool_), np.empty(len(x))
        for at, step in enumerate(self.steps):
            index = indices[at]
            share = self._share(index, at)
            now = ~done & (random.random(len(x)) < share)
            if at:
                ratio = round(self.steps[at - 1] / step)
                low, high = self._ends(index, at)
                way = np.where((x < (low + high) / 2) | (ratio == 2), -1, 1)
                index = np.where(np.remainder(index, ratio) == 0, index + way, index)
            value[now] = index[now] * step
            done |= now
        return value

    def spread(self, x: Floats) -> Floats:
        """Numbers (n,) spread evenly over what rounds to the values x (n,), equal ones in random order."""
        order = np.argsort(x, kind="stable")
        random = np.random.default_rng(0)
        counts = np.unique(x, return_counts=True)[1]
        within = np.concatenate([np.empty(0), *(random.permutation(count) + 0.5 for count in counts)])
        (low, high, _), (extra_low, extra_high, likely) = self.pieces(x[order])
        low = np.where(likely > 0, np.minimum(low, extra_low), low)
        high = np.where(likely > 0, np.maximum(high, extra_high), high)
        spread = np.empty(len(x))
        spread[order] = low + within / np.repeat(counts, counts) * (high - low)
        return spread

    def _indices(self, x: Floats) -> list[Floats]:
        """The index (n,) of the cell of each grid that holds x (n,), from the coarsest."""
        indices = [np.clip(np.round(x / self.steps[-1]), -LARGEST, LARGEST)]
        for finer, coarser in zip(self.steps[:0:-1], self.steps[-2::-1], strict=True):
            ratio = round(coarser / finer)
            indices.append(np.floor((indices[-1] + ratio // 2) / ratio))
        return indices[::-1]

    def _ends(self, index: Floats, at: int) -> tuple[Floats, Floats]:
        """The ends (n,) of cells (n,) of a grid."""
        low, high = index, index
        for coarser, finer in zip(self.steps[at:-1], self.steps[at + 1 :], strict=True):
            ratio = round(coarser / finer)
            low, high = low * ratio - ratio // 2, high * ratio - ratio // 2 + ratio - 1
        return (low - 0.5) * self.steps[-1], (high + 0.5) * self.steps[-1]

    def _share(self, index: Floats, at: int) -> Floats:
        """The probability (n,) that numbers in cells (n,) are rounded to this grid, if to no coarser one."""
        if at == len(self.steps) - 1:
            return np.ones(len(index))
        share: Floats = self.shares[at][np.searchsorted(self.edges, index * self.steps[at])]
        return share

    def _likely(self, index: Floats, at: int) -> Floats:
        """The probability (n,) that numbers in cells (n,) are rounded to this grid."""
        likely = self._share(index, at)
        for up in range(at - 1, -1, -1):
            index = np.floor(
                (index + round(self.steps[up] / self.steps[up + 1]) // 2) / round(self.steps[up] / self.steps[up + 1])
            )
            likely = likely * (1 - self._share(index, up))
        return likely

    def _given_up(self, index: Floats, at: int) -> tuple[Floats, Floats, Floats]:
        """What the cells (n,) of a grid have of a neighbour whose value is of the coarser grid."""
        ratio = round(self.steps[at - 1] / self.steps[at])
        place = np.remainder(index, ratio)
        after, before = place == ratio - 1, (place == 1) & (ratio > 2)
        neighbour = np.where(after, index + 1, index - 1)
        low, high = self._ends(neighbour, at)
        middle = (low + high) / 2
        likely = np.where(after | before, self._likely(neighbour, at), 0.0)
        whole = ratio == 2
        return np.where(before, middle, low), np.where(after & (not whole), middle, high), likely


def fit_grid(x: Floats, step: float) -> Grid:
    """Find the grids of values x (n,), multiples of step, and how often each was taken."""
    steps = np.array(_steps(x, step))
    if len(steps) == 1:
        return Grid(steps, np.zeros(BINS - 1), np.zeros((0, BINS)))
    edges = np.quantile(x, np.arange(1, BINS) / BINS)
    draft = Grid(steps, edges, np.full((len(steps) - 1, BINS), 0.5))
    level, indices = draft.level(x), draft._indices(x)
    shares = np.empty_like(draft.shares)
    for at in range(len(steps) - 1):
        left = level >= at
        bins = np.searchsorted(edges, indices[at][left] * steps[at])
        taken = level[left] == at
        mean = (taken.sum() + 0.5) / (left.sum() + 1)
        counts = np.bincount(bins, minlength=BINS)
        shares[at] = (np.bincount(bins, taken, BINS) + SHRINK * mean) / (counts + SHRINK)
    return Grid(steps, edges, shares)


def _steps(x: Floats, step: float) -> list[float]:
    """Steps, the coarsest first: a coarser grid is one when far more values lie on it than by chance."""
    finest = int(step)
    powers = [k * 10**m for m in range(len(str(finest)) + 2) for k in (1, 2, 5)]
    steps: list[float] = []
    left = x
    for coarse in sorted((p for p in powers if p > finest and p % finest == 0), reverse=True):
        finer = max(
            (p for p in [finest, *powers] if p < coarse and coarse % p == 0 and p % finest == 0), default=finest
        )
        on = np.remainder(left, coarse) == 0
        chance = (np.remainder(left, finer) == 0).sum() * finer / coarse
        nested = not steps or steps[-1] % coarse == 0
        if nested and on.sum() > max(20, 1.3 * chance, chance + 4 * np.sqrt(chance)) and np.ptp(x) > 4 * coarse:
            steps.append(float(coarse))
            left = left[~on]
    return [*steps, float(step)]
