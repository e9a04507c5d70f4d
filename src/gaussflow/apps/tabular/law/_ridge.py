"""Ridge regression whose strength is chosen by leaving one row out, in closed form."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from gaussflow.apps.tabular._arrays import Floats, Integers

STRENGTHS = np.array([0.3, 3.0, 30.0, 300.0, 3000.0])  # in rows: what so many rows without dependence would weigh
FOLDS = 5
FEWEST = 20  # rows below which the mean alone is told
MOST_CROSSED, CROSSED_GAIN = 6, 0.15
NEARLY_TOLD = 0.2  # of the variance: products serve what is nearly a function of others; trees do better elsewhere
ROWS_CROSSED = 4  # rows for each square of the features crossed
LEAST_GAIN = 0.01  # of the variance; below, the mean alone is kept


@dataclass(frozen=True)
class Ridge:
    """A linear rule: targets are ``offset (Q,) + features (n, P) @ slopes (P, Q)``.

    Features that are ``crossed`` (K,) are followed by the products of all two of them, squares too.
    """

    offset: Floats
    slopes: Floats
    crossed: Integers

    def predict(self, features: Floats) -> Floats:
        """The targets (n, Q)."""
        told: Floats = with_products(features, self.crossed) @ self.slopes + self.offset
        return told


def with_products(features: Floats, crossed: Integers) -> Floats:
    """Features (n, P) and the products of all two of those that are crossed (K,)."""
    if not len(crossed):
        return features
    first, second = np.triu_indices(len(crossed))
    held = features[:, crossed]
    return np.concatenate([features, held[:, first] * held[:, second]], 1)


def fit_ridge(features: Floats, targets: Floats, weights: Floats, seed: int = 0) -> tuple[Ridge, Floats]:
    r"""Fit to features (n, P) and targets (n, Q); the rule, and what it says (n, Q) of each row without having seen it.

    The strength of each target is that with the least error of rows left out, which is their residual over
    :math:`1 - H_{ii}` with the hat matrix H (Allen, 1974). What is said of rows comes from the other folds, about the
    mean of all, so that a row's own target is not in it. The features that tell most are crossed where rows left out
    say that the targets are then nearly told.
    """
    nothing = np.empty(0, np.int64)
    if not features.shape[1] or len(features) < FEWEST:
        mean = weights @ targets / max(weights.sum(), 1e-300)
        rule = Ridge(mean, np.zeros((features.shape[1], targets.shape[1])), nothing)
        return rule, np.tile(mean, (len(targets), 1))
    rule, said, error = _fit(features, targets, weights, seed, nothing)
    spread = features.std(0)
    told = np.abs(rule.slopes * spread[:, None]).sum(1)
    numbers = np.flatnonzero((told > 0) & (np.abs(features) > 1).any(0))
    crossed = np.sort(numbers[np.argsort(-told[numbers], kind="stable")][:MOST_CROSSED])
    if len(crossed) and len(features) > ROWS_CROSSED * len(crossed) ** 2:
        bent, heard, less = _fit(features, targets, weights, seed, crossed)
        whole = float((weights @ np.square(targets - weights @ targets / weights.sum())).sum())
        if less < min((1 - CROSSED_GAIN) * error, NEARLY_TOLD * whole):
            return bent, heard
    return rule, said


def beside(features: Floats, told: Floats) -> Floats:
    """Features (n, P) with what a rule tells (n, Q), rounded as trees see them."""
    return np.concatenate([features, told], 1).astype(np.float32).astype(np.float64) if features.shape[1] else features


def _fit(
    features: Floats, targets: Floats, weights: Floats, seed: int, crossed: Integers
) -> tuple[Ridge, Floats, float]:
    """The rule, what it says of rows not seen, and the sum of the squares that these miss."""
    features = with_products(features, crossed)
    total = weights.sum()
    middle, mean = weights @ features / total, weights @ targets / total
    spread = np.sqrt(weights @ np.square(features - middle) / total)
    scale = np.where(spread > 1e-9, spread, np.inf)
    roots = np.sqrt(weights)[:, None]
    x, y = (features - middle) / scale * roots, (targets - mean) * roots
    chosen = _strengths(x, y, weights / total)
    slopes = _solve(x.T @ x, x.T @ y, chosen)
    said = np.tile(mean, (len(y), 1))
    fold = np.random.default_rng(seed).permutation(len(y)) % FOLDS
    if np.isfinite(chosen).any():
        gram, seen = x.T @ x, x.T @ y
        for k in range(FOLDS):
            out = fold == k
            said[out] += x[out] / roots[out] @ _solve(gram - x[out].T @ x[out], seen - x[out].T @ y[out], chosen)
    slopes = slopes / scale[:, None]
    error = float((weights @ np.square(targets - said)).sum())
    return Ridge(mean - middle @ slopes, slopes, crossed), said, error


def _strengths(x: Floats, y: Floats, shares: Floats) -> Floats:
    """The strength (Q,) for each target, infinite where the mean alone does as well."""
    values, vectors = np.linalg.eigh(x.T @ x)
    turned = x @ vectors
    seen, squares = turned.T @ y, np.square(turned)
    best = np.square(y / (1 - shares)[:, None]).sum(0) * (1 - LEAST_GAIN)
    chosen = np.full(y.shape[1], np.inf)
    for strength in STRENGTHS:
        shrunk = 1 / (np.maximum(values, 0) + strength)
        hat = np.minimum(squares @ shrunk + shares, 0.999)
        error = np.square((y - turned @ (shrunk[:, None] * seen)) / (1 - hat)[:, None]).sum(0)
        chosen = np.where(error < best, strength, chosen)
        best = np.minimum(error, best)
    return chosen


def _solve(gram: Floats, seen: Floats, strengths: Floats) -> Floats:
    """Slopes (P, Q) by the normal equations; none for an infinite strength."""
    slopes = np.zeros_like(seen)
    for strength in np.unique(strengths[np.isfinite(strengths)]):
        here = strengths == strength
        slopes[:, here] = np.linalg.solve(gram + strength * np.eye(len(gram)), seen[:, here])
    return slopes
