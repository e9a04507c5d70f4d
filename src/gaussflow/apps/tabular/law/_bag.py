"""Bags of trees whose leaves and shrinkage are those that rows not seen confirm."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from gaussflow.apps.tabular._arrays import Booleans, Floats, Integers
from gaussflow.apps.tabular.law._forest import Forest, Grown

LEAST_LEAF = 5
LEAVES = (5.0, 8.0, 16.0, 32.0, 64.0)  # rows on either side of a split, in the half of the rows that a tree has seen
LARGE_LEAVES = (256.0, 1024.0, 4096.0)  # for what is rare in many rows goes by few splits
LEAVES_HELD = 8  # of the large ones, that the rows must fill
SHRINK = (4.0, 16.0)  # rows that the node above weighs
SHRINK_STATES = (0.25, 1.0, *SHRINK)  # which can be sure
ROOT = 4.0  # rows that the shares of all weigh at the root


@dataclass(frozen=True)
class Bag:
    """What the trees of a forest say, averaged over them: by tree, of each leaf (L, Q); or (1, Q) of all rows."""

    contents: list[Floats]

    @property
    def constant(self) -> bool:
        """Whether the same is said of all rows."""
        return len(self.contents) == 1 and len(self.contents[0]) == 1

    def say(self, leaves: list[Integers], n: int) -> Floats:
        """The mean (n, Q) of what is said at the leaves (n,) of each tree."""
        if self.constant:
            return np.repeat(self.contents[0], n, 0)
        said = self.contents[0][leaves[0]]
        for content, leaf in zip(self.contents[1:], leaves[1:], strict=True):
            said += content[leaf]
        said /= len(leaves)
        return said


@dataclass(frozen=True)
class Chosen:
    """Of a bag, by tree the nodes kept (M,) and what they say (M, Q); none where the same is said (Q,) of all."""

    kept: list[Booleans]
    contents: list[Floats]
    everywhere: Floats


def same(said: Floats) -> Bag:
    """A bag that says the same (Q,) of all rows."""
    return Bag([said[None]])


def gathered(grown: Sequence[Grown], chosen: Sequence[Chosen]) -> tuple[Forest, list[Bag]]:
    """The forest of all nodes that one of the bags keeps, and the bags."""
    used = [each.kept for each in chosen if each.kept]
    if not used:
        return Forest([]), [same(each.everywhere) for each in chosen]
    kept = [np.any(masks, axis=0) for masks in zip(*used, strict=True)]
    trees = [one.tree.cut(keep) for one, keep in zip(grown, kept, strict=True)]
    bags = []
    for each in chosen:
        contents = []
        for one, tree, keep, own, content in zip(grown, trees, kept, each.kept, each.contents, strict=False):
            contents.append(content[one.tree.places(own)[keep][tree.left < 0]])
        bags.append(Bag(contents) if contents else same(each.everywhere))
    return Forest(trees), bags


def fit_shares(grown: Sequence[Grown], states: Integers, root: Floats, weights: Floats) -> tuple[Chosen, Floats]:
    """Masses of the states (n,) by trees, shrunk to those of all rows (S,).

    And the masses (n,) that trees give to the states of rows that they have not seen.
    """

    def contents(one: Grown, rows: Floats, alpha: float) -> Floats:
        sums = one.tree.shares(one.leaves, states, weights * rows, len(root))
        shares = np.empty_like(sums)
        shares[0] = (sums[0] + ROOT * root) / (sums[0].sum() + ROOT)
        for nodes in one.tree.levels[1:]:
            above = shares[one.tree.parents[nodes]]
            shares[nodes] = (sums[nodes] + alpha * above) / (sums[nodes].sum(1, keepdims=True) + alpha)
        return shares

    def own(content: Floats, nodes: Integers) -> Floats:
        return content[nodes, states][:, None]

    def gain(said: Floats) -> float:
        return float(weights @ np.log(said[:, 0]))

    chosen, said = _chosen(grown, contents, own, gain, len(states), SHRINK_STATES)
    return chosen, said[:, 0]


def fit_places(grown: Sequence[Grown], y: Floats, weights: Floats) -> tuple[Chosen, Floats]:
    """Loc and logarithm of the scale of values (n,) by trees; and what these say (n, 2) of rows not seen."""
    sums_of = np.stack([np.ones(len(y)), y, np.square(y)], 1) * weights[:, None]
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

    return _chosen(grown, contents, lambda content, nodes: content[nodes], gain, len(y), SHRINK)


def _chosen(
    grown: Sequence[Grown],
    contents: Callable[[Grown, Floats, float], Floats],
    of_rows: Callable[[Floats, Integers], Floats],
    gain: Callable[[Floats], float],
    n: int,
    shrink: Sequence[float],
) -> tuple[Chosen, Floats]:
    """The bag whose leaves and shrinkage rows not seen confirm; and what it says (n, Q) of rows not seen."""
    best, chosen, confirmed = -np.inf, (np.inf, shrink[0]), np.empty((n, 0))
    counts = [one.tree.totals(one.leaves, one.inside[:, None].astype(float))[:, 0] for one in grown]
    outside = np.array([~one.inside for one in grown])
    large = [least for least in LARGE_LEAVES if LEAVES_HELD * least <= n]
    kept = {
        least: [one.tree.kept(count, least) for one, count in zip(grown, counts, strict=True)]
        for least in (np.inf, *LEAVES, *large)
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
    if np.isinf(least):
        return Chosen([], [], contents(grown[0], np.ones(n), alpha)[0]), confirmed
    return Chosen(kept[least], [contents(one, np.ones(n), alpha) for one in grown], np.empty(0)), confirmed
