"""Ridge regression whose strength is chosen by leaving one row out, in closed form."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from gaussflow.apps.tabular._arrays import Floats

STRENGTHS = np.array([0.3, 3.0, 30.0, 300.0, 3000.0])  # in rows: what so many rows without dependence would weigh
FOLDS = 5
FEWEST = 20  # rows below which the mean alone is told
LEAST_GAIN = 0.01  # of the variance; below, the mean alone is kept


@dataclass(frozen=True)
class Ridge:
    """A linear rule: targets are ``offset (Q,) + features (n, P) @ slopes (P, Q)``."""

    offset: Floats
    slopes: Floats

    def predict(self, features: Floats) -> Floats:
        """The targets (n, Q)."""
        told: Floats = features @ self.slopes + self.offset
        return told


def fit_ridge(features: Floats, targets: Floats, weights: Floats, seed: int = 0) -> tuple[Ridge, Floats]:
    r"""Fit to features (n, P) and targets (n, Q); the rule, and what it says (n, Q) of each row without having seen it.

    The strength of each target is that with the least error of rows left out, which is their residual over
    :math:`1 - H_{ii}` with the hat matrix H (Allen, 1974). What is said of rows comes from the other folds, about the
    mean of all, so that a row's own target is not in it.
    """
    if not features.shape[1] or len(features) < FEWEST:
        mean = weights @ targets / max(weights.sum(), 1e-300)
        return Ridge(mean, np.zeros((features.shape[1], targets.shape[1]))), np.tile(mean, (len(targets), 1))
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
    return Ridge(mean - middle @ slopes, slopes), said


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
