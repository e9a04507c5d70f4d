"""The law of a column given one other, by tables of noisy counts: masses of levels, and straight pieces of a line."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.special import log_ndtr, ndtr, ndtri

from gaussflow.apps.tabular._arrays import Booleans, Floats, Integers
from gaussflow.apps.tabular.law._values import Place

LOG_ROOT = 0.5 * np.log(2 * np.pi)
BEYOND = 1e-9  # of the probability on either side of the bounds, which rows to be scored may lie beyond


@dataclass(frozen=True)
class Groups:
    """One feature: the group that a value is in, by its state (S,), or among numbers by its bin (B,).

    Attributes
    ----------
    of_states
        The group of each state; that of the others is found by their bin.
    edges, of_bins
        Edges of bins, and the group of each.
    """

    of_states: Integers
    edges: Floats
    of_bins: Integers

    def features(self, state: Integers, x: Floats) -> Floats:
        """The group (n, 1) of states and values (n,)."""
        group = self.of_states[state]
        if len(self.of_bins):
            at = np.clip(np.searchsorted(self.edges, x, side="right") - 1, 0, len(self.of_bins) - 1)
            group = np.where(group < 0, self.of_bins[at], group)
        return group[:, None].astype(np.float64)


@dataclass(frozen=True)
class TableLaw:
    """The law of a column given the group of another.

    Attributes
    ----------
    parent
        The place of the other among the features; -1 for none.
    shares
        Masses of the states by group (G, S).
    edges, heights
        Edges (B + 1,) of bins, and their probabilities (G, B) among the numbers.
    """

    parent: int
    shares: Floats
    edges: Floats
    heights: Floats

    @property
    def stray(self) -> float:
        """The share of numbers that stray: none do, and either half of the mixture is the same."""
        return 0.5

    def masses(self, features: Floats) -> Floats:
        """The masses (n, S) of the states."""
        return self.shares[self._group(features)]

    def place(self, features: Floats) -> Place:
        """The group (n,) that numbers are placed by."""
        group = self._group(features).astype(np.float64)
        ones = np.ones((len(group), 1))
        return Place(group, ones[:, 0], ones, ones)

    def normals(self, x: Floats, at: Place) -> list[tuple[Floats, Floats]]:
        """Values x (n,) on the normal axis, and the logarithms of the slopes there; twice."""
        group = at.loc.astype(np.int64)
        low, high = self.edges[0], self.edges[-1]
        part = np.clip(np.searchsorted(self.edges, x, side="right") - 1, 0, len(self.edges) - 2)
        width = self.edges[part + 1] - self.edges[part]
        within = np.clip((x - self.edges[part]) / width, 0, 1)
        height = self.heights[group, part]
        below = self._below()[group, part] + within * height
        inside = (x >= low) & (x <= high)
        reach = high - low
        outside = np.log(BEYOND) - np.clip(np.maximum(low - x, x - high) / reach, 0, 600)
        log_density = np.where(inside, np.log(height) - np.log(width), outside - np.log(reach))
        tail = _normal_of(np.minimum(outside, -1.0))
        z = np.where(x < low, tail, np.where(x > high, -tail, ndtri(np.clip(below, BEYOND, 1 - BEYOND))))
        told = z, log_density + 0.5 * np.square(z) + LOG_ROOT
        return [told, told]

    def inverse(self, z: Floats, at: Place, stray: Booleans) -> Floats:
        """The values (n,) at z (n,) on the normal axis, within the bounds."""
        share, tables = ndtr(z), self._below()
        x = np.empty(len(z))
        for group in np.unique(at.loc):
            rows = at.loc == group
            x[rows] = np.interp(share[rows], tables[int(group)], self.edges)
        return x

    def _below(self) -> Floats:
        """The probability (G, B + 1) below each edge."""
        summed = np.cumsum(self.heights, 1)
        return BEYOND + np.concatenate([np.zeros((len(summed), 1)), summed], 1)

    def _group(self, features: Floats) -> Integers:
        if self.parent < 0:
            return np.zeros(len(features), np.int64)
        return np.clip(features[:, self.parent], 0, len(self.shares) - 1).astype(np.int64)


def _normal_of(log_share: Floats) -> Floats:
    """The normal quantile (n,) of small probabilities, by their logarithms: Newton's steps from the tail's form."""
    z = -np.sqrt(np.maximum(-2 * log_share - np.log(np.maximum(-2 * log_share, 1)) - np.log(2 * np.pi), 0.01))
    for _ in range(3):
        log_slope = -0.5 * np.square(z) - LOG_ROOT - log_ndtr(z)
        z = z - (log_ndtr(z) - log_share) * np.exp(-log_slope)
    return np.asarray(z)
