"""Combinations of the levels that a partial row leaves open, each tried, so that rare ones are not missed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from gaussflow.apps.tabular._arrays import Booleans, Floats, Integers
from gaussflow.apps.tabular.law._allowed import Allowed
from gaussflow.apps.tabular.law._columns import Skeleton
from gaussflow.apps.tabular.law._joint import Joint
from gaussflow.apps.tabular.rules._plan import Plan

MOST = 256  # combinations of one row of which nothing else is open
SOME = 16  # of others, whose numbers want many candidates


@dataclass(frozen=True)
class Combinations:
    """What is tried in each of n rows.

    Attributes
    ----------
    levels
        By column the values that it may have (L,), NaN for missing.
    tried
        By column whether all of them are tried in a row (n,).
    counts
        How many combinations a row has (n,).
    whole
        Whether nothing else is open before the last column that says something (n,): one trial of each is exact.
    """

    levels: dict[int, Floats]
    tried: dict[int, Booleans]
    counts: Integers
    whole: Booleans

    def wanted(self, given: Mapping[int, Allowed], rows: Integers, combination: Integers) -> dict[int, Allowed]:
        """What the columns are to be in candidates (m,) for rows (m,) with the combination of that number (m,)."""
        found = {j: each.rows(rows) for j, each in given.items()}
        rest = combination
        for j, levels in self.levels.items():
            tried = self.tried[j][rows]
            value = np.where(tried, levels[rest % len(levels)], 0.0)
            exact, before = Allowed.exactly(value), found.get(j, Allowed.of(True)).over(len(rows))
            found[j] = Allowed(
                np.where(tried, exact.missing, before.missing),
                np.where(tried, exact.low, before.low),
                np.where(tried, exact.high, before.high),
            )
            rest = np.where(tried, rest // len(levels), rest)
        return found


def combinations(joint: Joint, plan: Plan, given: Mapping[int, Allowed], n: int) -> Combinations:
    """What is to be tried in n rows of which columns are certain, or open."""
    place = {j: k for k, j in enumerate(joint.order)}
    certain = {j: np.broadcast_to(given[j].certain if j in given else np.array([False]), (n,)) for j in place}
    last = np.full(n, -1)
    for j, at in place.items():
        may_lack = bool(plan.view(j, joint.skeletons[j]).seen[0]) and j in given
        last = np.where(certain[j] | may_lack, np.maximum(last, at), last)
    shifted = {shift.column for shift in plan.shifts}
    listed = {j: _levels(joint.skeletons[j], j not in given) for j in place if j not in shifted}
    levels = {j: each for j, each in listed.items() if each is not None and 0 < len(each) <= MOST}
    may = {j: ~certain[j] & (place[j] < last) for j in place}
    tried = _tried(levels, may, np.full(n, MOST))
    whole = np.ones(n, np.bool_)
    for j in place:
        whole &= ~may[j] | tried.get(j, np.zeros(n, np.bool_))
    tried = _tried(levels, may, np.where(whole, MOST, SOME))
    counts = np.ones(n, np.int64)
    for j, rows in tried.items():
        counts = np.where(rows, counts * len(levels[j]), counts)
    return Combinations({j: levels[j] for j in tried}, tried, counts, whole)


def _tried(levels: Mapping[int, Floats], may: Mapping[int, Booleans], most: Integers) -> dict[int, Booleans]:
    """By column the rows (n,) in which all levels are tried: those with few levels first, up to so many together."""
    counts, tried = np.ones(len(most), np.int64), {}
    for j in sorted(levels, key=lambda j: len(levels[j])):
        fits = may[j] & (counts * len(levels[j]) <= most)
        if fits.any():
            tried[j] = fits
            counts = np.where(fits, counts * len(levels[j]), counts)
    return tried


def _levels(skeleton: Skeleton, may_lack: bool) -> Floats | None:
    """The values that a column was seen to have, NaN for missing where that may be; None for numbers on a line."""
    if skeleton.numeric and skeleton.seen[-1]:
        return None
    points = skeleton.points[skeleton.seen[1 : 1 + len(skeleton.points)]]
    return np.append(points, np.nan) if may_lack and skeleton.seen[0] else points
