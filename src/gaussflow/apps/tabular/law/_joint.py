"""The law of a whole table: one column after the other."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np

from gaussflow.apps.tabular._arrays import Floats, Integers
from gaussflow.apps.tabular.law._columns import Skeleton
from gaussflow.apps.tabular.law._curve import log_mass
from gaussflow.apps.tabular.law._features import Encoding, fit_encoding
from gaussflow.apps.tabular.law._law import Law, fit_law
from gaussflow.apps.tabular.law._values import Place

LOG_ROOT = 0.5 * np.log(2 * np.pi)
FEWEST_COMPARED, MOST_COMPARED = 500, 1200  # rows that two orders are compared by
PAIRS_COMPARED = 2  # of trees, which products of two numbers need
MOST_GAIN, SURE = 10.0, 2.0  # nats of a row that count; standard errors that the mean must be above 0
UNSEEN = 0.5  # rows that all states together weigh before any is seen


@dataclass(frozen=True)
class Coded:
    """A table as states and values, each a list of (n,) by column."""

    states: list[Integers]
    values: list[Floats]

    def take(self, rows: Integers) -> Coded:
        """Some of the rows."""
        return Coded([state[rows] for state in self.states], [x[rows] for x in self.values])


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
        value = np.log(masses[rows, skeleton.rest]) + value_log_prob(law, skeleton, x[rows], law.place(features[rows]))
        # a point on a grid may come up among the other values as well
        total[rows] = np.where(state[rows] == skeleton.rest, value, np.logaddexp(total[rows], value))
    return total


def value_log_prob(law: Law, skeleton: Skeleton, x: Floats, at: Place) -> Floats:
    """The log-mass of the values x (n,) of a grid, or their log-density on the line."""
    grid = skeleton.grid
    if grid is None:
        near, far = (slope - 0.5 * np.square(z) - LOG_ROOT for z, slope in law.normals(x, at))
        density: Floats = mixed(law, near, far) - np.log(skeleton.scale)
        return density
    ends = [law.normals(end, at) for end in grid.ends(x)]
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

    Before the law of a column is fitted, ``told`` is called with its number. Where columns with few states and numbers
    are both there, the states stand first, unless rows left out say that they are better told by the numbers.
    """
    orders = list(map(list, dict.fromkeys(tuple(arranged(order, edges)) for order in both_orders(skeletons, coded))))
    fit = partial(_fit_in, skeletons=skeletons, ordered=ordered, nullable=nullable, seed=seed)
    order = orders[0] if len(orders) == 1 else _confirmed(orders, fit, coded, weights, seed)
    return fit(order, coded=coded, weights=weights, told=told)


def _fit_in(
    order: list[int],
    skeletons: Sequence[Skeleton],
    ordered: Sequence[bool],
    nullable: Sequence[bool],
    coded: Coded,
    weights: Floats,
    seed: int,
    told: Callable[[int], object] = lambda column: None,
    pairs: int | None = None,
) -> Joint:
    """The laws of columns in an order."""
    d, n = len(skeletons), len(weights)
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
        laws[j] = fit_law(features, states, x, skeleton.rest, prior, weights, seed + 7919 * place, pairs)
        features = np.concatenate([features, encodings[j].features(coded.states[j], coded.values[j])], 1)
    return Joint(order, list(skeletons), encodings, [laws[j] for j in range(d)])


def _confirmed(
    orders: list[list[int]], fit: Callable[..., Joint], coded: Coded, weights: Floats, seed: int
) -> list[int]:
    """The first of two orders, or the second where, fitted to some rows, it is surely better on as many others."""
    if len(weights) < FEWEST_COMPARED:
        return orders[0]
    rows = np.random.default_rng(seed).permutation(len(weights))[:MOST_COMPARED]
    fitted, seen = rows[::2], rows[1::2]
    laws = [fit(order, coded=coded.take(fitted), weights=weights[fitted], pairs=PAIRS_COMPARED) for order in orders]
    first, second = (law.log_prob(coded.take(seen)) for law in laws)
    gain = np.clip(second - first, -MOST_GAIN, MOST_GAIN)
    return orders[int(gain.mean() > SURE * gain.std() / np.sqrt(len(gain)))]


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


def both_orders(skeletons: Sequence[Skeleton], coded: Coded) -> list[list[int]]:
    """Columns of states alone, those with few before those with many, and numbers as in the table; and these first."""
    every = range(len(skeletons))
    inside = [bool((coded.states[j] == skeletons[j].rest).any()) for j in every]
    states = sorted((j for j in every if not inside[j]), key=lambda j: int(skeletons[j].seen.sum()))
    numbers = [j for j in every if inside[j]]
    return [states + numbers, numbers + states]


def _on_the_line(x: Floats, state: Integers, skeleton: Skeleton) -> Floats:
    """Values (n,), those of the grid spread over what rounds to them."""
    rows = state == skeleton.rest
    if skeleton.grid is None or not rows.any():
        return x
    x = x.copy()
    x[rows] = skeleton.grid.spread(x[rows])
    return x
