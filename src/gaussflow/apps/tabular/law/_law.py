"""The law of one column given those before: which state, and what value within it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from gaussflow.apps.tabular._arrays import Booleans, Floats, Integers
from gaussflow.apps.tabular.law._curve import Curve
from gaussflow.apps.tabular.law._forest import Grown, Tree, grow
from gaussflow.apps.tabular.law._odds import WIDE, Odds, fit_odds, group_marks, grouped
from gaussflow.apps.tabular.law._ridge import Ridge, fit_ridge

LEAST_LEAF = 5
LEAVES = (5.0, 8.0, 16.0, 32.0, 64.0)  # rows on either side of a split, in the half of the rows that a tree has seen
SHRINK = (4.0, 16.0)  # rows that the node above weighs
SHRINK_STATES = (0.25, 1.0, *SHRINK)  # which can be sure
PAIRS, FEW, PAIRS_OF_FEW = 2, 1500, 3  # of trees; more for fewer rows, whose halves differ more
STRAY = 0.5  # rows that are taken to stray from what the features say, so that no row is impossible


@dataclass(frozen=True)
class Bag:
    """Trees and what each says at its nodes: arrays (M, Q), averaged over the trees."""

    trees: list[Tree]
    contents: list[Floats]

    def say(self, features: Floats) -> Floats:
        """The mean (n, Q) of what the trees say of features (n, P)."""
        said = [content[tree.leaves(features)] for tree, content in zip(self.trees, self.contents, strict=True)]
        mean: Floats = sum(said[1:], said[0]) / len(said)
        return mean


def fit_states(
    features: Floats, told: Floats, states: Integers, root: Floats, weights: Floats, seed: int
) -> tuple[Bag, Floats]:
    """Masses of the states (n,), told to trees as (n, Q), given features (n, P), shrunk to those of all rows (S,).

    And the masses (n,) that trees give to the states of rows that they have not seen.
    """
    size = len(root)
    if root.max() > 1 - 3 / (len(states) + 3) or not features.shape[1]:
        return Bag([_stump()], [root[None]]), root[states]
    grown = grow(features, told, weights, LEAST_LEAF, _pairs(len(states)), seed)

    def contents(one: Grown, rows: Floats, alpha: float) -> Floats:
        sums = one.tree.shares(one.leaves, states, weights * rows, size)
        shares = np.empty_like(sums)
        shares[0] = (sums[0] + 4 * root) / (sums[0].sum() + 4)
        for nodes in one.tree.levels[1:]:
            above = shares[one.tree.parents[nodes]]
            shares[nodes] = (sums[nodes] + alpha * above) / (sums[nodes].sum(1, keepdims=True) + alpha)
        return shares

    def own(content: Floats, nodes: Integers) -> Floats:
        return content[nodes, states][:, None]

    def gain(said: Floats) -> float:
        return float(weights @ np.log(said[:, 0]))

    bag, said = _chosen(grown, contents, own, gain, len(states), SHRINK_STATES)
    return bag, said[:, 0]


def fit_values(features: Floats, y: Floats, weights: Floats, seed: int) -> tuple[Bag, Floats]:
    """Loc and logarithm of the scale of values (n,) given features; and what trees say (n, 2) of rows not seen."""
    n = len(y)
    if n < 8 * LEAST_LEAF or not features.shape[1]:
        said = np.array([[np.average(y, weights=weights) if n else 0.0, 0.0]])
        return Bag([_stump()], [said]), np.repeat(said, n, 0)
    y = np.clip(y, -8, 8)
    size = np.abs(y - np.average(y, weights=weights))
    targets = np.stack([y / (y.std() + 1e-12), 0.7 * np.minimum(size, 4 * y.std()) / (y.std() + 1e-12)], 1)
    grown = grow(features, targets, weights, LEAST_LEAF, _pairs(n), seed)
    sums_of = np.stack([np.ones(n), y, np.square(y)], 1) * weights[:, None]
    floor = 1e-6 * float(y.var()) + 1e-12

    def contents(one: Grown, rows: Floats, alpha: float) -> Floats:
        count, first, second = one.tree.totals(one.leaves, sums_of * rows[:, None]).T
        loc, var = np.empty(len(count)), np.empty(len(count))
        loc[0] = first[0] / count[0]
        var[0] = second[0] / count[0] - loc[0] ** 2 + floor
        for nodes in one.tree.levels[1:]:
            up, many = one.tree.parents[nodes], count[nodes]
            loc[nodes] = (first[nodes] + alpha * loc[up]) / (many + alpha)
            within = second[nodes] - 2 * loc[nodes] * first[nodes] + many * np.square(loc[nodes])
            var[nodes] = (within + 2 * alpha * var[up]) / (many + 2 * alpha) + floor
        return np.stack([loc, 0.5 * np.log(var)], 1)

    def gain(said: Floats) -> float:
        return float(-weights @ (0.5 * np.square((y - said[:, 0]) * np.exp(-said[:, 1])) + said[:, 1]))

    return _chosen(grown, contents, lambda content, nodes: content[nodes], gain, n, SHRINK)


def _chosen(
    grown: list[Grown],
    contents: Callable[[Grown, Floats, float], Floats],
    of_rows: Callable[[Floats, Integers], Floats],
    gain: Callable[[Floats], float],
    n: int,
    shrink: Sequence[float],
) -> tuple[Bag, Floats]:
    """The bag whose leaves and shrinkage rows not seen confirm; and what it says (n, Q) of rows not seen."""
    best, chosen, confirmed = -np.inf, (np.inf, shrink[0]), np.empty((n, 0))
    counts = [one.tree.totals(one.leaves, one.inside[:, None].astype(float))[:, 0] for one in grown]
    outside = np.array([~one.inside for one in grown])
    kept = {
        least: [one.tree.kept(count, least) for one, count in zip(grown, counts, strict=True)]
        for least in (np.inf, *LEAVES)
    }
    nodes = {
        least: [one.tree.places(keep)[one.leaves] for one, keep in zip(grown, keeps, strict=True)]
        for least, keeps in kept.items()
    }
    for alpha in shrink:
        halves = [contents(one, one.inside.astype(float), alpha) for one in grown]
        for least, places in nodes.items():
            parts = [of_rows(half, at) * rows[:, None] for half, at, rows in zip(halves, places, outside, strict=True)]
            said = sum(parts[1:], parts[0]) / outside.sum(0)[:, None]
            if (now := gain(said)) > best:
                best, chosen, confirmed = now, (least, alpha), said
    least, alpha = chosen
    used = grown if np.isfinite(least) else grown[:1]
    trees = [one.tree.cut(keep) for one, keep in zip(used, kept[least], strict=False)]
    said_by = [contents(one, np.ones(n), alpha)[keep] for one, keep in zip(used, kept[least], strict=False)]
    return Bag(trees, said_by), confirmed


def _told(states: Integers, x: Floats, groups: Integers) -> Floats:
    """What rules and trees are told of states (n,) in groups (S,), (n, Q): a mark for each, and of many the rank."""
    marks = group_marks(states, groups)
    if marks.shape[1] < WIDE:
        return marks
    ranks = np.argsort(np.argsort(np.where(np.isnan(x), -np.inf, x), kind="stable"), kind="stable")
    return np.concatenate([marks, ranks[:, None] / len(x)], 1)


def _pairs(n: int) -> int:
    return PAIRS if n > FEW else PAIRS_OF_FEW


def _stump() -> Tree:
    return Tree(np.zeros(1, np.int64), np.zeros(1), np.full(1, -1), np.full(1, -1))


@dataclass(frozen=True)
class Law:
    """The law of a column given features (n, P) of those before.

    Attributes
    ----------
    state_rule, value_rule
        Linear rules, whose values are features of the trees too.
    state_bag, value_bag
        Masses of the S states; loc and logarithm of the scale.
    odds
        What the linear rule has for the states, in a pool with the trees.
    root, rest
        The curve of the values, and that of what the rule and the trees leave of them.
    stray
        The share of the values that follow the curve alone, whatever the features say.
    """

    state_rule: Ridge
    value_rule: Ridge
    state_bag: Bag
    value_bag: Bag
    odds: Odds
    root: Curve
    rest: Curve
    stray: float

    def masses(self, features: Floats) -> Floats:
        """The masses (n, S) of the states."""
        told = self.state_rule.predict(features)
        return self.odds.pooled(told, self.state_bag.say(_beside(features, told)))

    def place(self, features: Floats) -> tuple[Floats, Floats]:
        """Loc and scale (n,) of the values on the axis of their curve."""
        told = self.value_rule.predict(features)
        said = self.value_bag.say(_beside(features, told))
        return said[:, 0] + told[:, 0], np.exp(said[:, 1])

    def normals(self, x: Floats, loc: Floats, scale: Floats) -> list[tuple[Floats, Floats]]:
        """Values x (n,) on the normal axis, and the logarithms of the slopes: as the features say, and by the curve."""
        y, first = self.root.forward(x)
        z, second = self.rest.forward((y - loc) / scale)
        return [(z, first + second - np.log(scale)), (y, first)]

    def inverse(self, z: Floats, loc: Floats, scale: Floats, stray: Booleans) -> Floats:
        """The values (n,) at z (n,) on the normal axis: as the features say, or by the curve where they stray."""
        told = self.rest.inverse(np.where(stray, 0.0, z)) * scale + loc
        return self.root.inverse(np.where(stray, z, told))


def fit_law(features: Floats, states: Integers, x: Floats, rest: int, prior: Floats, weights: Floats, seed: int) -> Law:
    """Fit to features (n, P), states (n,), and values x (n,) of the rows whose state is ``rest``."""
    groups = grouped(states, len(prior))
    told = _told(states, x, groups)
    state_rule, heard = fit_ridge(features, told, weights, seed)
    shares = (np.bincount(states, weights, len(prior)) + prior) / (weights.sum() + prior.sum())
    state_bag, by_trees = fit_states(_beside(features, heard), told, states, shares, weights, seed)
    odds = fit_odds(heard, states, groups, shares, weights, by_trees)
    rows = states == rest
    held = weights[rows]
    root = Curve.fit(x[rows], held)
    y = np.clip(root.forward(x[rows])[0], -8, 8)
    value_rule, heard = fit_ridge(features[rows], y[:, None], held, seed)
    bag, said = fit_values(_beside(features[rows], heard), y - heard[:, 0], held, seed + 1)
    left = (y - heard[:, 0] - said[:, 0]) * np.exp(-said[:, 1])
    rest_curve = Curve.fit(left, held)
    return Law(state_rule, value_rule, state_bag, bag, odds, root, rest_curve, STRAY / (rows.sum() + 2 * STRAY))


def _beside(features: Floats, told: Floats) -> Floats:
    """Features with what the linear rule says, rounded as the trees saw them."""
    return np.concatenate([features, told], 1).astype(np.float32).astype(np.float64) if features.shape[1] else features
