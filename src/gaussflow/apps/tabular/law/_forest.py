"""Small trees on the columns before: what is needed of each is its splits, as plain arrays."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from gaussflow.apps._optional import need
from gaussflow.apps.tabular._arrays import Booleans, Floats, Integers

DEEPEST = 10
MOST_LEAVES = 128
CHUNK = 4096  # rows that come down a tree at once, whose features stay in the cache


@dataclass(frozen=True)
class Tree:
    """A binary tree: of each node the feature and threshold of its split and its two children, -1 at a leaf; (M,)."""

    feature: Integers
    threshold: Floats
    left: Integers
    right: Integers

    def __post_init__(self) -> None:
        """Refuse a tree that a row would never come down: one read from a file may be anything."""
        at, size = np.arange(len(self.left)), len(self.left)
        inner = self.left >= 0
        for child in (self.left, self.right):
            if not size or child.shape != at.shape or bool(((child <= at) | (child >= size))[inner].any()):
                raise ValueError("a tree whose children do not stand after their parents is none")

    def leaves(self, features: Floats) -> Integers:
        """The leaf (n,) of each row of features (n, P)."""
        flat, count = features.ravel(), features.shape[1]
        leaf = np.empty(len(features), np.int64)
        for start in range(0, len(features), CHUNK):
            rows = np.arange(start, min(start + CHUNK, len(features))) * count
            node = np.zeros(len(rows), np.int64)
            for _ in self.levels[1:]:
                above = flat.take(rows + self.feature.take(node)) > self._bounds.take(node)
                node = self._children.take(2 * node + above)
            leaf[start : start + CHUNK] = node
        return leaf

    @cached_property
    def _bounds(self) -> Floats:
        """The thresholds (M,), which nothing passes at a leaf."""
        return np.where(self.left < 0, np.inf, self.threshold)

    @cached_property
    def _children(self) -> Integers:
        """Both children of each node by turns (2 M,), of a leaf itself: so rows stay where they have come down to."""
        own = np.arange(len(self.left))
        return np.stack([np.where(child < 0, own, child) for child in (self.left, self.right)], 1).ravel()

    @cached_property
    def ranks(self) -> Integers:
        """The place (M,) of each leaf among the leaves."""
        return np.cumsum(self.left < 0) - 1

    @cached_property
    def parents(self) -> Integers:
        """The parent (M,) of each node, which stands before it; -1 for the root."""
        parent = np.full(len(self.left), -1, np.int64)
        inner = np.flatnonzero(self.left >= 0)
        parent[self.left[inner]] = inner
        parent[self.right[inner]] = inner
        return parent

    @cached_property
    def levels(self) -> list[Integers]:
        """The nodes of each depth, from the root down."""
        levels = [np.zeros(1, np.int64)]
        while len(inner := levels[-1][self.left[levels[-1]] >= 0]):
            levels.append(np.concatenate([self.left[inner], self.right[inner]]))
        return levels

    def totals(self, leaves: Integers, values: Floats) -> Floats:
        """Sums (M, Q) over the rows at or below each node of values (n, Q), whose rows are at leaves (n,)."""
        sums = np.zeros((len(self.left), values.shape[1]))
        for q, column in enumerate(values.T):
            sums[:, q] = np.bincount(leaves, column, len(self.left))
        return self.summed(sums)

    def shares(self, leaves: Integers, states: Integers, weights: Floats, count: int) -> Floats:
        """Sums (M, S) over the rows at or below each node of weights (n,) by state (n,) of so many."""
        cells: Floats = np.bincount(leaves * count + states, weights, len(self.left) * count).astype(np.float64)
        return self.summed(cells.reshape(len(self.left), count))

    def summed(self, sums: Floats) -> Floats:
        """Sums (M, Q) of the rows at each node, with those of all nodes below."""
        sums = sums.copy()
        for nodes in reversed(self.levels[1:]):
            np.add.at(sums, self.parents[nodes], sums[nodes])
        return sums

    def kept(self, counts: Floats, least: float) -> Booleans:
        """Whether each node (M,) stays when a split must leave so many of the counts (M,) on either side."""
        keep = np.ones(len(self.left), np.bool_)
        for nodes in self.levels[1:]:
            up = self.parents[nodes]
            both = np.minimum(counts[self.left[up]], counts[self.right[up]])
            keep[nodes] = keep[up] & (both >= least)
        return keep

    def places(self, keep: Booleans) -> Integers:
        """The lowest node kept (M,) at or above each node."""
        place = np.arange(len(self.left))
        for nodes in self.levels[1:]:
            place[nodes] = np.where(keep[nodes], nodes, place[self.parents[nodes]])
        return place

    def cut(self, keep: Booleans) -> Tree:
        """The tree of the nodes (M,) kept, which go by pairs and with all that stands above them."""
        new = np.cumsum(keep) - 1
        inner = (self.left >= 0) & keep[self.left]
        left, right = (np.where(inner, new[children], -1)[keep] for children in (self.left, self.right))
        return Tree(self.feature[keep], self.threshold[keep], left, right)


@dataclass(frozen=True)
class Forest:
    """Trees that rows come down together; what is said at their leaves is in bags."""

    trees: list[Tree]

    def leaves(self, features: Floats) -> list[Integers]:
        """By tree the place (n,) among its leaves where each row of features (n, P) ends."""
        return [tree.ranks[tree.leaves(features)] for tree in self.trees]


@dataclass(frozen=True)
class Grown:
    """A tree, the leaf (n,) of every row, and which rows (n,) its splits were chosen by."""

    tree: Tree
    leaves: Integers
    inside: Booleans


def grow(features: Floats, targets: Floats, weights: Floats, least: int, pairs: int, seed: int) -> list[Grown]:
    """Trees that tell targets (n, Q) by features (n, P), two by two on either half of the rows."""
    random = np.random.default_rng(seed)
    grown, single = [], np.ascontiguousarray(features, np.float32)
    with need("sklearn", "fitting a table").config_context(assume_finite=True, skip_parameter_validation=True):
        for _ in range(pairs):
            first = np.zeros(len(features), np.bool_)
            first[random.permutation(len(features))[: len(features) // 2]] = True
            for inside in (first, ~first):
                tree = _one(single[inside], targets[inside], weights[inside], least, int(random.integers(2**31)))
                grown.append(Grown(tree, tree.leaves(features), inside))
    return grown


def _one(features: NDArray[np.float32], targets: Floats, weights: Floats, least: int, seed: int) -> Tree:
    """One tree; every leaf holds at least so many rows."""
    leaves = int(np.clip(len(features) // (2 * least), 2, MOST_LEAVES))
    make = need("sklearn.tree", "fitting a table").DecisionTreeRegressor
    tree = make(max_depth=DEEPEST, min_samples_leaf=least, max_leaf_nodes=leaves, random_state=seed)
    held = tree.fit(features, targets, weights, check_input=False).tree_
    left, right = held.children_left.astype(np.int64), held.children_right.astype(np.int64)
    feature, threshold = np.where(left >= 0, held.feature, 0), np.where(left >= 0, held.threshold, 0.0)
    return Tree(feature.astype(np.int64), threshold.astype(np.float64), left, right)
