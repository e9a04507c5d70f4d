"""One column as states and values: missing, a category or a number that repeats, or a number among others."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from gaussflow.apps.tabular._arrays import Booleans, Floats, Integers
from gaussflow.apps.tabular.law._curve import Curve, log_mass
from gaussflow.apps.tabular.law._grid import Grid, fit_grid

FEW = 12  # different numbers up to which each is a state of its own
SPIKE = 3.0  # times as often as its neighbours
LEAST_HEAP = 6  # rows of a heap
TWICE = 2.0  # times as often as a smooth law would have it
MOST_HEAPS = 60
ABOUT = 6  # values to either side that are its neighbours


@dataclass(frozen=True)
class Skeleton:
    """The states of a column: 0 for missing, then its points, then, of numbers, all others.

    Attributes
    ----------
    points
        Values of the points (A,): codes of categories, or numbers that repeat.
    numeric
        Whether there are other values than these.
    grid
        What the other values were rounded to; None for values on the line.
    seen
        Whether each state was seen in the fit, (1 + A,) or (2 + A,).
    low, high
        The range of the other values seen.
    scale
        The unit of values on the line.
    chance
        The share of the rows at each point (A,) that are there as other values are.
    """

    points: Floats
    numeric: bool
    grid: Grid | None
    seen: Booleans
    low: float = 0.0
    high: float = 0.0
    scale: float = 1.0
    chance: Floats = field(default_factory=lambda: np.empty(0))

    @property
    def rest(self) -> int:
        """The number of the state of all other values."""
        return 1 + len(self.points) if self.numeric else -1

    def shared(self, state: Integers) -> Integers:
        """The states (n,) with that part of the rows at points which is there by chance given to the other values."""
        state, random = state.copy(), np.random.default_rng(0)
        for k in np.flatnonzero(self.chance > 0):
            rows = np.flatnonzero(state == k + 1)
            state[random.permutation(rows)[: round(float(self.chance[k]) * len(rows))]] = self.rest
        return state

    def states(self, x: Floats) -> tuple[Integers, Floats]:
        """The state (n,) of values x (n,), NaN for missing, and the values as the column has them."""
        state = np.where(np.isnan(x), 0, self.rest)
        if self.grid is not None:
            x = self.grid.tidy(x)
        if len(self.points):
            order = np.argsort(self.points)
            at = order[np.clip(np.searchsorted(self.points[order], x), 0, len(order) - 1)]
            state = np.where(self.points[at] == x, at + 1, state)
        return state, x


def number_skeleton(x: Floats, step: float, scale: float = 1.0) -> Skeleton:
    """Find the states of numbers x (n,), NaN for missing, that are multiples of step, or any for step 0."""
    held = x[~np.isnan(x)]
    values, counts = np.unique(held, return_counts=True)
    few = len(values) <= FEW and len(held) > 2 * len(values)
    points = values if few else _spikes(values, counts, step, len(held))
    rest = held[~np.isin(held, points)]
    grid, chance = fit_grid(rest, step) if step else None, np.zeros(len(points))
    if grid is not None and not few:
        heaps, chances = _heaps(rest, grid)
        points, chance = np.concatenate([points, heaps]), np.concatenate([np.zeros(len(points)), chances])
        rest = held[~np.isin(held, points)]
    seen = np.array([len(held) < len(x), *([True] * len(points)), len(rest) > 0])
    ends = (float(rest.min()), float(rest.max())) if len(rest) else (0.0, 0.0)
    return Skeleton(points, True, grid, seen, *ends, scale, chance)


def _heaps(x: Floats, grid: Grid) -> tuple[Floats, Floats]:
    """Values that come up far more often than a smooth law rounded to the grid has them; and the share that it has."""
    values, counts = np.unique(x, return_counts=True)
    if len(values) <= FEW:
        return np.empty(0), np.empty(0)
    curve = Curve.fit(grid.spread(x), np.ones(len(x)))
    low, high = grid.ends(values)
    expected = np.exp(log_mass(curve.forward(low)[0], curve.forward(high)[0])) * len(x)
    found = (counts >= LEAST_HEAP) & (counts > TWICE * expected + 4 * np.sqrt(expected))
    largest = np.flatnonzero(found)[np.argsort(-(counts - expected)[found], kind="stable")][:MOST_HEAPS]
    return values[largest], expected[largest] / counts[largest]


def _spikes(values: Floats, counts: Integers, step: float, n: int) -> Floats:
    """Values that come up far more often than those about them; on the line, any that come up three times."""
    if not step:
        return values[counts >= 3]
    found = []
    for i in np.flatnonzero(counts >= max(5, 0.01 * n)):
        near = np.r_[max(0, i - ABOUT) : i, i + 1 : min(len(values), i + 1 + ABOUT)]
        usual = np.sort(counts[near])[-3:].mean() if len(near) else 0.0  # the finest grid may leave gaps
        if counts[i] > SPIKE * usual + 4 * np.sqrt(usual + 1):
            found.append(values[i])
    return np.array(found)
