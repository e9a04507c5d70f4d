"""The law of one column given those before: which state, and what value within it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from gaussflow.apps.tabular._arrays import Booleans, Floats, Integers
from gaussflow.apps.tabular.law._bag import LEAST_LEAF, Bag, Chosen, fit_shares, gathered
from gaussflow.apps.tabular.law._forest import Forest, Grown, grow
from gaussflow.apps.tabular.law._odds import WIDE, Odds, fit_odds, group_marks, grouped
from gaussflow.apps.tabular.law._ridge import Ridge, beside, fit_ridge
from gaussflow.apps.tabular.law._values import Place, Values, fit_values

PAIRS, FEW, PAIRS_OF_FEW = 2, 1500, 3  # of trees; more for fewer rows, whose halves differ more


@dataclass(frozen=True)
class Law:
    """The law of a column given features (n, P) of those before.

    Attributes
    ----------
    rule, forest
        A linear rule for the states, whose values are features of the trees too; and these.
    bag
        Masses of the S states by trees.
    odds
        What the linear rule has for the states, in a pool with the trees.
    values
        The law of values that are no states of their own.
    """

    rule: Ridge
    forest: Forest
    bag: Bag
    odds: Odds
    values: Values

    @property
    def stray(self) -> float:
        """The share of the second of the two laws that values are a pool of."""
        return self.values.stray

    def masses(self, features: Floats) -> Floats:
        """The masses (n, S) of the states."""
        told = self.rule.predict(features)
        return self.odds.pooled(told, self.bag.say(self.forest.leaves(beside(features, told)), len(told)))

    def place(self, features: Floats) -> Place:
        """What features (n, P) say of values."""
        return self.values.place(features)

    def normals(self, x: Floats, at: Place) -> list[tuple[Floats, Floats]]:
        """Values x (n,) on the normal axis, and the logarithms of the slopes: by the first law and by the second."""
        return self.values.normals(x, at)

    def inverse(self, z: Floats, at: Place, stray: Booleans) -> Floats:
        """The values (n,) at z (n,) on the normal axis, by the second law where they stray."""
        return self.values.inverse(z, at, stray)


def fit_law(
    features: Floats,
    states: Integers,
    x: Floats,
    rest: int,
    prior: Floats,
    weights: Floats,
    seed: int,
    pairs: int | None = None,
) -> Law:
    """Fit to features (n, P), states (n,), and values x (n,) of the rows whose state is ``rest``.

    With so many ``pairs`` of trees in place of as many as serve best.
    """
    groups = grouped(states, len(prior))
    told = _told(states, x, groups)
    rule, heard = fit_ridge(features, told, weights, seed)
    shares = (np.bincount(states, weights, len(prior)) + prior) / (weights.sum() + prior.sum())
    grown, chosen, by_trees = _fit_states(beside(features, heard), told, states, shares, weights, seed, pairs)
    forest, (bag,) = gathered(grown, [chosen])
    odds = fit_odds(heard, states, groups, shares, weights, by_trees)
    rows = states == rest
    values = fit_values(features[rows], x[rows], weights[rows], seed, x[states > 0] if rest > 0 else x[:0], pairs)
    return Law(rule, forest, bag, odds, values)


def _fit_states(
    features: Floats, told: Floats, states: Integers, root: Floats, weights: Floats, seed: int, pairs: int | None
) -> tuple[list[Grown], Chosen, Floats]:
    """Trees, what they say of states (n,) told to them as (n, Q); and the masses (n,) that rows not seen have."""
    if root.max() > 1 - 3 / (len(states) + 3) or not features.shape[1]:
        return [], Chosen([], [], root), root[states]
    usual = PAIRS if len(states) > FEW else PAIRS_OF_FEW
    grown = grow(features, told, weights, LEAST_LEAF, pairs or usual, seed)
    return grown, *fit_shares(grown, states, root, weights)


def _told(states: Integers, x: Floats, groups: Integers) -> Floats:
    """What rules and trees are told of states (n,) in groups (S,), (n, Q): a mark for each, and of many the rank."""
    marks = group_marks(states, groups)
    if marks.shape[1] < WIDE:
        return marks
    ranks = np.argsort(np.argsort(np.where(np.isnan(x), -np.inf, x), kind="stable"), kind="stable")
    return np.concatenate([marks, ranks[:, None] / len(x)], 1)
