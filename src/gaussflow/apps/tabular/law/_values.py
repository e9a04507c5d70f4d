"""The law of the values of a column given those before: where they are and how they spread, and of what shape."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.special import ndtr

from gaussflow.apps.tabular._arrays import Booleans, Floats
from gaussflow.apps.tabular.law._bag import LEAST_LEAF, Bag, Chosen, fit_places, fit_shares, gathered, same
from gaussflow.apps.tabular.law._curve import Curve
from gaussflow.apps.tabular.law._forest import Forest, Grown, grow
from gaussflow.apps.tabular.law._ridge import Ridge, beside, fit_ridge
from gaussflow.apps.tabular.law._shape import tilted, untilted

STRAY = 0.5  # rows that are taken to stray from what the features say, so that no row is impossible
FARTHEST = 8.0  # on the normal axis, to where values tell trees
FEWEST_TOLD = 40  # rows below which all that is told is a linear rule
FEWEST_SHAPED = 100  # rows below which shapes are not looked for
PAIRS, FEW, PAIRS_OF_FEW = 3, 500, 2  # of trees that look at where values are, and as many that look at their shape
WAVES, HEIGHT = 6, 0.5  # cosines that trees are told of a shape, and their size
PARTS_NEAR, PARTS_FAR, MOST_PARTS = 0.35, 0.7, 40  # of a law, for each square root of a row
GAIN = 5.0  # nats of all rows that a pool of two laws must buy
ROUNDS = 60
EVEN = Chosen([], [], np.ones(1))  # of one part, which has all


@dataclass(frozen=True)
class Place:
    """What features say of values: loc and scale (n,), and the shares (n, B) of parts of equal mass, near and far."""

    loc: Floats
    scale: Floats
    near: Floats
    far: Floats


@dataclass(frozen=True)
class Values:
    r"""The law of values given features (n, P), a pool of two.

    On the axis y of the curve of all values, the first is that of :math:`(y - m) / s` with the loc m and the scale s
    that a linear rule and trees tell by the features, on a curve of its own; the second is the law of all values. Of
    each, parts of equal mass have shares that trees tell.

    Attributes
    ----------
    rule, forest
        The linear rule, whose value is a feature of the trees too; and these.
    spot
        Loc and logarithm of the scale by trees.
    root, rest
        The curve of the values, and that of what the rule and the trees leave of them.
    near, far
        Shares of the parts of the first law and the second.
    stray
        The share of the second in the pool.
    """

    rule: Ridge
    forest: Forest
    spot: Bag
    root: Curve
    rest: Curve
    near: Bag
    far: Bag
    stray: float

    def place(self, features: Floats) -> Place:
        """What features (n, P) say of values."""
        told = self.rule.predict(features)
        leaves = self.forest.leaves(beside(features, told))
        spot, near, far = (bag.say(leaves, len(told)) for bag in (self.spot, self.near, self.far))
        return Place(spot[:, 0] + told[:, 0], np.exp(spot[:, 1]), near, far)

    def normals(self, x: Floats, at: Place) -> list[tuple[Floats, Floats]]:
        """Values x (n,) on the normal axis, and the logarithms of the slopes: by the first law and by the second."""
        y, first = self.root.forward(x)
        z, second = self.rest.forward((y - at.loc) / at.scale)
        (near, third), (far, fourth) = tilted(z, at.near), tilted(y, at.far)
        return [(near, first + second - np.log(at.scale) + third), (far, first + fourth)]

    def inverse(self, z: Floats, at: Place, stray: Booleans) -> Floats:
        """The values (n,) at z (n,) on the normal axis, by the second law where they stray."""
        near = untilted(np.where(stray, 0.0, z), at.near)
        told = self.rest.inverse(near) * at.scale + at.loc
        return self.root.inverse(np.where(stray, untilted(z, at.far), told))


def fit_values(
    features: Floats, x: Floats, weights: Floats, seed: int, every: Floats, pairs: int | None = None
) -> Values:
    """Fit to features (n, P) and values x (n,); where there are none, the curve is a line through ``every`` number."""
    n, even = len(x), same(np.ones(1))
    root = Curve.fit(x, weights) if n or not len(every) else Curve.line(float(every.mean()), float(every.std()) + 1.0)
    y = np.clip(root.forward(x)[0], -FARTHEST, FARTHEST)
    rule, heard = fit_ridge(features, y[:, None], weights, seed)
    left, stray = y - heard[:, 0], STRAY / (n + 2 * STRAY)
    if n < FEWEST_TOLD or not features.shape[1]:
        spot = same(np.array([np.average(left, weights=weights) if n else 0.0, 0.0]))
        return Values(
            rule, Forest([]), spot, root, Curve.fit(left - spot.contents[0][0, 0], weights), even, even, stray
        )
    grown = _grown(beside(features, heard), np.clip(left, -FARTHEST, FARTHEST), y, weights, seed + 1, pairs)
    spot_chosen, said = fit_places(grown, np.clip(left, -FARTHEST, FARTHEST), weights)
    left = (left - said[:, 0]) * np.exp(-said[:, 1])
    rest = Curve.fit(left, weights)
    near_chosen, far_chosen, stray = _shapes(grown, rest, left, said[:, 1], y, weights, stray)
    forest, (spot, near, far) = gathered(grown, [spot_chosen, near_chosen, far_chosen])
    return Values(rule, forest, spot, root, rest, near, far, stray)


def _grown(features: Floats, left: Floats, y: Floats, weights: Floats, seed: int, pairs: int | None) -> list[Grown]:
    """Trees that are told of what the rule leaves and its size, and trees that are told of values by waves as well."""
    spread = left.std() + 1e-12
    size = np.minimum(np.abs(left - np.average(left, weights=weights)), 4 * spread)
    of_place = np.stack([left, 0.7 * size], 1) / spread
    pairs = pairs or (PAIRS if len(y) > FEW else PAIRS_OF_FEW)
    grown = grow(features, of_place, weights, LEAST_LEAF, pairs, seed)
    if len(y) < FEWEST_SHAPED:
        return grown
    waves = HEIGHT * np.sqrt(2) * np.cos(np.pi * ndtr(y)[:, None] * np.arange(1, WAVES + 1))
    return [*grown, *grow(features, np.concatenate([of_place, waves], 1), weights, LEAST_LEAF, pairs, seed + 1)]


def _shapes(
    grown: list[Grown], rest: Curve, left: Floats, log_scale: Floats, y: Floats, weights: Floats, stray: float
) -> tuple[Chosen, Chosen, float]:
    """Shares of the parts of both laws, and the share of the second, as rows not seen confirm them."""
    if len(y) < FEWEST_SHAPED:
        return EVEN, EVEN, stray
    z, slope = rest.forward(left)
    near, by_near = _fit_shape(grown, z, PARTS_NEAR, weights)
    far, by_far = _fit_shape(grown, y, PARTS_FAR, weights)
    first = slope - log_scale - 0.5 * np.square(z) + by_near
    odds = np.exp(np.clip(by_far - 0.5 * np.square(y) - first, -500, 500))
    trust = _trust(odds, weights)
    if weights @ np.log1p(trust * (odds - 1)) < GAIN:
        return near, EVEN, stray
    return near, far, max(trust, stray)


def _fit_shape(grown: list[Grown], z: Floats, parts: float, weights: Floats) -> tuple[Chosen, Floats]:
    """Shares of parts of the normal law at z (n,) by trees; and what these gain in nats (n,) for rows not seen."""
    count = int(np.clip(parts * len(z) ** 0.5, 4, MOST_PARTS))
    part = np.minimum((ndtr(z) * count).astype(np.int64), count - 1)
    chosen, said = fit_shares(grown, part, np.full(count, 1 / count), weights)
    if not chosen.kept:
        return EVEN, np.zeros(len(z))
    return chosen, np.log(said * count)


def _trust(odds: Floats, weights: Floats) -> float:
    """The share of the second law in a pool, from its density over that of the first (n,) at rows not seen."""
    trust = 0.5
    for _ in range(ROUNDS):
        trust = float(weights @ (trust * odds / (trust * odds + 1 - trust)) / (weights.sum() + 1))
    return trust
