r"""Partial rows completed by their conditional law: all combinations of levels tried, and numbers drawn in a chain.

Columns are drawn in the order of the law, those given held at their values, and a candidate weighs the probability of
what is given. Every combination of the open levels has candidates, so that where no number is open before the last
column given, one choice by weight is exact. Otherwise each step of a chain chooses among fresh candidates and the one
kept, in the place of one of its combination, which leaves the conditional law as it is (iterated sampling importance
resampling: Andrieu, Lee and Vihola, 2018), and brings any start nearer to it by

.. math:: 1 - \frac{N - 1}{2 w + N - 2}

where w is the largest weight over the mean one. A row has steps until what is left of its start is below `LEFT`.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from gaussflow.apps.tabular._arrays import Booleans, Floats, Integers
from gaussflow.apps.tabular.drawing._combinations import combinations
from gaussflow.apps.tabular.drawing._draw import BARRED, draw_rows, rows_at_once, taken
from gaussflow.apps.tabular.frames._schema import Column, short
from gaussflow.apps.tabular.law._allowed import Allowed
from gaussflow.apps.tabular.law._joint import Coded, Joint
from gaussflow.apps.tabular.law._options import NEVER
from gaussflow.apps.tabular.rules._plan import Plan

if TYPE_CHECKING:
    import pandas as pd

OWNER = "TableSynthesizer.sample"
CANDIDATES = 32  # in each of the first steps
FEWEST, MOST = 3, 24  # steps
DOUBLED = 6  # steps, after which candidates are twice as many
LEFT = 0.05  # of the start, in total variation, after which a row is done
DOUBTFUL = 0.5  # of it, after all steps, from which on it is said


def complete(
    joint: Joint,
    plan: Plan,
    columns: Sequence[Column],
    df: pd.DataFrame,
    coded: Callable[[pd.DataFrame, int], Floats],
    missing_is_given: bool,
    random: np.random.Generator,
) -> Coded:
    """Rows with what they lack drawn by its probability given the rest; ``coded`` reads a column of the frame."""
    known = {j: coded(df, j) for j, column in enumerate(columns) if column.name in df.columns}
    _refuse_broken(plan, known, len(df), missing_is_given)
    rows = _lacking(known, len(columns), len(df), missing_is_given)
    given = {j: _given(x[rows], joint, plan, j, missing_is_given) for j, x in known.items()}
    chosen, left = _chained(joint, plan, given, rows, random)
    _say_doubtful(rows, left)
    return chosen if len(rows) == len(df) else _placed(_as_known(joint, plan, known), chosen, rows)


def _lacking(known: Mapping[int, Floats], d: int, n: int, missing_is_given: bool) -> Integers:
    """The rows that have something to be drawn."""
    if missing_is_given or len(known) < d:
        return np.arange(0 if len(known) == d else n)
    return np.flatnonzero(np.isnan(np.stack(list(known.values()))).any(0))


def _as_known(joint: Joint, plan: Plan, known: Mapping[int, Floats]) -> Coded:
    pairs = [plan.view(j, joint.skeletons[j]).states(known[j]) for j in range(len(joint.skeletons))]
    return Coded([state for state, _ in pairs], [x.copy() for _, x in pairs])


def _given(x: Floats, joint: Joint, plan: Plan, j: int, missing_is_given: bool) -> Allowed:
    """What the values (n,) of a column say: themselves, and where they are missing that something is there."""
    exact, gap = Allowed.exactly(x), np.isnan(x)
    never = not plan.view(j, joint.skeletons[j]).seen[1:].any()
    if missing_is_given or never:
        return exact
    return Allowed(np.zeros(len(x), np.bool_), np.where(gap, -np.inf, exact.low), np.where(gap, np.inf, exact.high))


def _chained(
    joint: Joint, plan: Plan, given: Mapping[int, Allowed], rows: Integers, random: np.random.Generator
) -> tuple[Coded, Floats]:
    """A row drawn for each of these rows (n,), and how much of the start is left in it (n,)."""
    n = len(rows)
    tried = combinations(joint, plan, given, n)
    each = np.where(tried.whole, 1, np.maximum(1, CANDIDATES // tried.counts))  # candidates of a combination
    chain = _Chain(n)
    for part in _bounded(tried.counts * each, rows_at_once(joint)):
        at, chain.sizes = part, []
        for step in range(1, MOST + 1):
            times = np.where(tried.whole[at], 1, each[at] << (step - 1) // DOUBLED)
            size = tried.counts[at] * times
            again, slot = np.repeat(at, size), _places(size)
            combination = slot // np.repeat(times, size)
            drawn, weights = draw_rows(joint, plan, len(again), tried.wanted(given, again, combination), random)
            chain.step(at, size, times, combination, drawn, weights, random)
            chain.left[at] = np.where(tried.whole[at] & (chain.weights[at] > BARRED), 0.0, chain.left[at])
            at = at[(chain.left[at] > LEFT) | ((step < FEWEST) & ~tried.whole[at])]
            if not len(at):
                break
    none = np.flatnonzero(chain.weights <= BARRED)
    if len(none):
        raise ValueError(
            f"{OWNER} found nothing that completes {len(none)} of the rows, as row {rows[none[0]]}, and obeys the "
            f"constraints, in {MOST} rounds of trials. Leave these rows out, or give less of them."
        )
    return chain.coded(len(joint.order)), chain.left


def _bounded(sizes: Integers, most: int) -> list[Integers]:
    """Rows (n,) in parts whose candidates number so many at most, or that have one row."""
    part = np.cumsum(sizes) // most
    return [np.flatnonzero(part == number) for number in np.unique(part)]


def _places(sizes: Integers) -> Integers:
    """0, 1, ... in each of the groups of these sizes, one after the other."""
    return np.arange(sizes.sum()) - np.repeat(np.cumsum(sizes) - sizes, sizes)


class _Chain:
    """What each of n rows has come to, its weight, and what is known of the weights met."""

    def __init__(self, n: int) -> None:
        self.kept: Coded | None = None
        self.weights, self.left, self.number = np.full(n, NEVER), np.ones(n), np.zeros(n, np.int64)
        self.top, self.summed, self.count = np.full(n, NEVER), np.zeros(n), np.zeros(n)
        self.sizes: list[Integers] = []

    def step(
        self,
        at: Integers,
        size: Integers,
        each: Integers,
        combination: Integers,
        drawn: Coded,
        weights: Floats,
        random: np.random.Generator,
    ) -> None:
        """Choose again in rows ``at`` among candidates in groups of this size and what is kept, in one's place."""
        start = np.cumsum(size) - size
        self._count(at, size, start, weights)
        held = start + self.number[at] * each  # the kept one stands in for one of its combination
        old = self.weights[at] > BARRED
        weights = weights.copy()
        weights[held[old]] = self.weights[at][old]
        scores = weights + random.gumbel(size=len(weights))
        best = start + _largest(scores, size)
        moved = ~old | (best != held)
        picked = taken(drawn, best[moved])
        if self.kept is None:
            n, d = len(self.weights), len(picked.states)
            self.kept = Coded([np.zeros(n, np.int64) for _ in range(d)], [np.zeros(n) for _ in range(d)])
        _placed(self.kept, picked, at[moved])
        self.weights[at], self.number[at] = weights[best], combination[best]

    def _count(self, at: Integers, size: Integers, start: Integers, weights: Floats) -> None:
        high = np.maximum(self.top[at], np.maximum.reduceat(weights, start))
        more = np.add.reduceat(np.exp(np.maximum(weights - np.repeat(high, size), -745)), start)
        self.summed[at] = self.summed[at] * np.exp(np.maximum(self.top[at] - high, -745)) + more
        self.top[at], self.count[at] = high, self.count[at] + size
        largest = self.count[at] / self.summed[at]  # over the mean
        candidates = np.zeros(len(self.left), np.int64)
        candidates[at] = size
        self.sizes.append(candidates)
        left = np.ones(len(at))
        for size in (before[at] for before in self.sizes):
            left *= 1 - np.maximum(size - 1, 0) / (2 * largest + np.maximum(size - 2, 0))
        self.left[at] = np.where(high > BARRED, left, 1.0)

    def coded(self, d: int) -> Coded:
        """The rows."""
        if self.kept is None:
            return Coded([np.zeros(0, np.int64)] * d, [np.zeros(0)] * d)
        return self.kept


def _largest(scores: Floats, size: Integers) -> Integers:
    """The place of the largest score in each group of these sizes."""
    group = np.repeat(np.arange(len(size)), size)
    order = np.lexsort((scores, group))
    return order[np.cumsum(size) - 1] - (np.cumsum(size) - size)


def _say_doubtful(rows: Integers, left: Floats) -> None:
    doubtful = np.flatnonzero(left > DOUBTFUL)
    if len(doubtful):
        warnings.warn(
            f"{len(doubtful)} of {len(rows)} rows, as row {rows[doubtful[0]]}, are so unlike what the law expects that "
            "few of many candidates go with them: what is drawn there is near their conditional law, and not "
            "of it. See whether they are right.",
            stacklevel=5,
        )


def _placed(whole: Coded, part: Coded, rows: Any) -> Coded:
    for held, more in zip([*whole.states, *whole.values], [*part.states, *part.values], strict=True):
        held[rows] = more
    return whole


def _refuse_broken(plan: Plan, known: Mapping[int, Floats], n: int, missing_is_given: bool) -> None:
    """Raise ValueError for rows whose own values break a rule."""
    broken: Booleans = np.zeros(n, np.bool_)
    for rule in plan.rules:
        if all(j in known for j in rule.columns):
            certain: Booleans = np.ones(n, np.bool_)
            if not missing_is_given:
                certain = np.asarray(~np.isnan(np.stack([known[j] for j in rule.columns])).any(0))
            broken = np.asarray(broken | (rule.broken(known) & certain))
    if broken.any():
        raise ValueError(
            f"{OWNER} was given {int(broken.sum())} rows that break a constraint, as rows "
            f"{short(np.flatnonzero(broken).tolist())}; no row can be like them. Mend them, or leave them out."
        )
