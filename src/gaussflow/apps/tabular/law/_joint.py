"""The law of a whole table: one column after the other."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from gaussflow.apps.tabular._arrays import Floats, Integers
from gaussflow.apps.tabular.law._columns import Skeleton
from gaussflow.apps.tabular.law._curve import log_mass
from gaussflow.apps.tabular.law._features import Encoding, fit_encoding
from gaussflow.apps.tabular.law._law import Law, fit_law

LOG_ROOT = 0.5 * np.log(2 * np.pi)
UNSEEN = 0.5  # rows that all states together weigh before any is seen


@dataclass(frozen=True)
class Coded:
    """A table as states and values, each a list of (n,) by column."""

    states: list[Integers]
    values: list[Floats]


@dataclass(frozen=True)
class Joint:
    """The law of a table: for each column in order its states, its law given those before, and what it tells."""

    order: list[int]
    skeletons: list[Skeleton]
    encodings: list[Encoding]
    laws: list[Law]

    def __post_init__(self) -> None:
        """Refuse a law that leaves a column out."""
        wanted = list(range(len(self.laws)))
        if sorted(self.order) != wanted or not len(self.skeletons) == len(self.encodings) == len(wanted):
            raise ValueError("a law of a table has each column once")

    def log_prob(self, coded: Coded) -> Floats:
        """The log-mass and log-density (n,) of rows."""
        n = len(coded.states[0])
        features, total = np.empty((n, 0)), np.zeros(n)
        for j in self.order:
            total += column_log_prob(self.laws[j], self.skeletons[j], features, coded.states[j], coded.values[j])
            features = np.concatenate([features, self.encodings[j].features(coded.states[j], coded.values[j])], 1)
        return total


def column_log_prob(law: Law, skeleton: Skeleton, features: Floats, state: Integers, x: Floats) -> Floats:
    """The log-mass or log-density (n,) of a column given the features (n, P) of those before."""
    masses = law.masses(features)
    total = np.log(masses[np.arange(len(state)), state])
    if not skeleton.numeric:
        return total
    on_grid = skeleton.grid is not None
    rows = state == skeleton.rest if not on_grid else state > 0
    if rows.any():
        loc, scale = law.place(features[rows])
        value = np.log(masses[rows, skeleton.rest]) + value_log_prob(law, skeleton, x[rows], loc, scale)
        # a point on a grid may come up among the other values as well
        total[rows] = np.where(state[rows] == skeleton.rest, value, np.logaddexp(total[rows], value))
    return total


def value_log_prob(law: Law, skeleton: Skeleton, x: Floats, loc: Floats, scale: Floats) -> Floats:
    """The log-mass of the values x (n,) of a grid, or their log-density on the line."""
    grid = skeleton.grid
    if grid is None:
        near, far = (slope - 0.5 * np.square(z) - LOG_ROOT for z, slope in law.normals(x, loc, scale))
        density: Floats = mixed(law, near, far) - np.log(skeleton.scale)
        return density
    ends = [law.normals(end, loc, scale) for end in grid.ends(x)]
    near, far = (log_mass(a[0], b[0]) for a, b in zip(*ends, strict=True))
    return mixed(law, near, far)


def mixed(law: Law, near: Floats, far: Floats) -> Floats:
    """The logarithm (n,) of the mixture of what the features say and of what strays, from those of either."""
    total: Floats = np.logaddexp(near + np.log1p(-law.stray), far + np.log(law.stray))
    return total


def fit_joint(
    skeletons: Sequence[Skeleton],
    ordered: Sequence[bool],
    nullable: Sequence[bool],
    coded: Coded,
    weights: Floats,
    seed: int,
    edges: Sequence[tuple[int, int]] = (),
    told: Callable[[int], object] = lambda column: None,
) -> Joint:
    """Fit a law to each column given those before it; of each pair of edges, the first stands before the second.

    Before the law of a column is fitted, ``told`` is called with its number.
    """
    d, n = len(skeletons), len(weights)
    order = arranged(choose_order(skeletons, coded), edges)
    encodings: list[Encoding] = []
    for j in range(d):
        encodings.append(fit_encoding(skeletons[j], ordered[j], coded.states[j], coded.values[j]))
    laws: dict[int, Law] = {}
    features = np.empty((n, 0))
    for place, j in enumerate(order):
        told(j)
        skeleton = skeletons[j]
        prior = np.full(len(skeleton.seen), UNSEEN / len(skeleton.seen))
        prior[0] *= nullable[j]
        states = skeleton.shared(coded.states[j])
        x = _on_the_line(coded.values[j], states, skeleton)
        laws[j] = fit_law(features, states, x, skeleton.rest, prior, weights, seed + 7919 * place)
        features = np.concatenate([features, encodings[j].features(coded.states[j], coded.values[j])], 1)
    return Joint(order, list(skeletons), encodings, [laws[j] for j in range(d)])


def arranged(order: list[int], edges: Sequence[tuple[int, int]]) -> list[int]:
    """The columns in this order as far as each comes after those it must; ValueError where they go round in circles."""
    left, done = list(order), list[int]()
    while left:
        free = [j for j in left if not any(after == j and before in left for before, after in edges)]
        if not free:
            raise ValueError("the columns go round in circles")
        done.append(free[0])
        left.remove(free[0])
    return done


def choose_order(skeletons: Sequence[Skeleton], coded: Coded) -> list[int]:
    """Discrete columns first, those with few states before those with many; then numbers, in the order of the table."""

    def key(j: int) -> tuple[int, int]:
        skeleton, state = skeletons[j], coded.states[j]
        inside = (state == skeleton.rest).any()
        return (1, 0) if inside else (0, int(skeleton.seen.sum()))

    return sorted(range(len(skeletons)), key=key)


def _on_the_line(x: Floats, state: Integers, skeleton: Skeleton) -> Floats:
    """Values (n,), those of the grid spread over what rounds to them."""
    rows = state == skeleton.rest
    if skeleton.grid is None or not rows.any():
        return x
    x = x.copy()
    x[rows] = skeleton.grid.spread(x[rows])
    return x
