"""What a column tells those after it: a score, and marks of its states."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.special import ndtri

from gaussflow.apps.tabular._arrays import Floats, Integers
from gaussflow.apps.tabular.law._columns import Skeleton

MARKS = 12  # states of one column that are marked
LEAST_GAPS = 3.0  # rows with nothing, from which on that is marked
RARE = 0.02  # share of the rows below which a point among numbers is not marked
KNOTS = 65
COMMON = 3  # rows of a value, on the average, that give nothing of one row away


@dataclass(frozen=True)
class Encoding:
    """Features of one column.

    Attributes
    ----------
    marked
        States with a feature that is 1 there and 0 elsewhere.
    values, scores
        A table (K,) from the values to normal scores, straight between; empty where values have no order.
    """

    marked: Integers
    values: Floats
    scores: Floats

    def features(self, state: Integers, x: Floats) -> Floats:
        """The features (n, P) of states and values (n,)."""
        blocks = [(state[:, None] == self.marked).astype(float)]
        if len(self.values):
            blocks.append(np.where(state == 0, 0.0, self._score(np.where(state == 0, 0.0, x)))[:, None])
        return np.concatenate(blocks, 1).astype(np.float32).astype(np.float64)

    def _score(self, x: Floats) -> Floats:
        """Scores (n,) straight between those of the table, as a share of the step, which does not overflow."""
        if len(self.values) < 2:
            return np.full(len(x), self.scores[0])
        x = np.clip(x, self.values[0], self.values[-1])
        at = np.clip(np.searchsorted(self.values, x, side="right") - 1, 0, len(self.values) - 2)
        low, high = self.values[at], self.values[at + 1]
        score: Floats = self.scores[at] + (x - low) / (high - low) * (self.scores[at + 1] - self.scores[at])
        return score


def fit_encoding(skeleton: Skeleton, ordered: bool, state: Integers, x: Floats) -> Encoding:
    """Choose the features of a column from its states and values (n,)."""
    counts = np.bincount(state, minlength=len(skeleton.seen)).astype(float)
    if skeleton.numeric:
        counts[skeleton.rest] = 0
    common = np.argsort(-counts, kind="stable")[:MARKS]
    few = np.where(common == 0, LEAST_GAPS, max(3.0, RARE * len(state))) if ordered else 2.0
    marked = np.sort(common[counts[common] >= few])
    if len(marked) and counts[marked].sum() >= len(state):  # the last follows from the others
        marked = np.delete(marked, np.argmax(counts[marked]))
    if not ordered:
        return Encoding(marked, np.empty(0), np.empty(0))
    return Encoding(marked, *_scores(x[state > 0]))


def _scores(x: Floats) -> tuple[Floats, Floats]:
    """Values (K,) and the normal scores of their mean ranks."""
    values, counts = np.unique(x, return_counts=True)
    if not len(values):
        return np.zeros(1), np.zeros(1)
    scores = ndtri((np.cumsum(counts) - 0.5 * counts) / len(x))
    alone = len(x) < COMMON * len(values)  # most values are of one row each: none is kept as it is
    knots = min(KNOTS, max(2, len(values) // 3) if alone else KNOTS)
    if len(values) > knots:  # means of neighbours
        groups = np.array_split(np.arange(len(values)), knots)
        values, scores = (np.array([table[g].mean() for g in groups]) for table in (values, scores))
    return values, np.clip(scores, -4, 4)
