"""Synthetic tables whose density is known, so that held-out nats can be read as nats above the entropy."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import logsumexp

Array = NDArray[np.float64]
LOG_2PI = math.log(2 * math.pi)


@dataclass(frozen=True)
class Law:
    """A density that is known.

    Attributes
    ----------
    dim
        Number of coordinates D.
    draw
        ``draw(n, rng)`` returns n rows (n, D).
    nats
        ``nats(x)`` returns :math:`-\\log p(x)` (n,) of rows (n, D).
    entropy, error
        The entropy in nats, and its standard error: 0 where it is a closed form or a quadrature.
    """

    dim: int
    draw: Callable[[int, np.random.Generator], Array]
    nats: Callable[[Array], Array]
    entropy: float
    error: float = 0.0


def rotation(dim: int, rng: np.random.Generator) -> Array:
    """A Haar-distributed orthogonal matrix (D, D): QR with the signs of R's diagonal moved into Q (Mezzadri 2007)."""
    q, r = np.linalg.qr(rng.standard_normal((dim, dim)))
    return q * np.sign(np.diag(r))


def normal(eigenvalues: Array, seed: int = 0) -> Law:
    r"""The centred Gaussian with these eigenvalues (D,), scaled to trace D, and axes at random.

    Its entropy is :math:`\tfrac D2 \log(2 \pi e) + \tfrac12 \log\det\Sigma`.
    """
    dim = len(eigenvalues)
    axes, scale = rotation(dim, np.random.default_rng(seed)), np.sqrt(eigenvalues * (dim / eigenvalues.sum()))
    half_log_det = np.log(scale).sum()

    def nats(x: Array) -> Array:
        return 0.5 * ((x @ axes / scale) ** 2).sum(1) + dim / 2 * LOG_2PI + half_log_det

    return Law(
        dim,
        lambda n, rng: (rng.standard_normal((n, dim)) * scale) @ axes.T,
        nats,
        dim / 2 * (LOG_2PI + 1) + half_log_det,
    )


def gaussian(dim: int, decades: float = 2.0, seed: int = 0) -> Law:
    """A correlated Gaussian: trace D, axes at random, D distinct eigenvalues evenly in log over so many decades."""
    return normal(np.logspace(0, decades, dim), seed)


def noise(dim: int) -> Law:
    """The standard normal: there is nothing to find."""
    return gaussian(dim, decades=0.0)


def mixture(dim: int = 8, components: int = 5, scale: float = 0.8, spread: float = 3.0, seed: int = 0) -> Law:
    """A mixture of round Gaussians whose centres are normal with standard deviation ``spread``, in rotated axes."""
    rng = np.random.default_rng(seed)
    centres = spread * rng.standard_normal((components, dim)) @ rotation(dim, rng)

    def draw(n: int, rng: np.random.Generator) -> Array:
        return centres[rng.integers(components, size=n)] + scale * rng.standard_normal((n, dim))

    def nats(x: Array) -> Array:
        squares = np.stack([((x - centre) ** 2).sum(1) for centre in centres], 1) / scale**2  # never (n, K, D) at once
        return dim / 2 * LOG_2PI + dim * math.log(scale) + math.log(components) - logsumexp(-squares / 2, axis=1)

    return Law(dim, draw, nats, *_monte_carlo(draw, nats))


def moons(dim: int = 16, thickness: float = 0.1, seed: int = 0) -> Law:
    """Two half circles blurred by a Gaussian in the first two coordinates, standard normals in the others, rotated."""
    axes = rotation(dim, np.random.default_rng(seed))

    def draw(n: int, rng: np.random.Generator) -> Array:
        x = rng.standard_normal((n, dim))
        x[:, :2] = _arcs(rng.uniform(0, math.pi, n), rng.random(n) < 0.5) + thickness * x[:, :2]
        return x @ axes.T

    def nats(x: Array) -> Array:
        x = x @ axes
        return _moons_nats(x[:, :2], thickness) + 0.5 * (x[:, 2:] ** 2).sum(1) + (dim - 2) / 2 * LOG_2PI

    entropy = _moons_entropy(thickness) + (dim - 2) / 2 * (LOG_2PI + 1)
    return Law(dim, draw, nats, entropy)


def _arcs(angle: Array, upper: NDArray[np.bool_]) -> Array:
    first = np.stack([np.cos(angle), np.sin(angle)], 1)
    second = np.stack([1 - np.cos(angle), 0.5 - np.sin(angle)], 1)
    return np.where(upper[:, None], first, second)


def _moons_nats(x: Array, thickness: float, nodes: int = 128) -> Array:
    """Minus the log-density (n,) of rows (n, 2): the integral over the angle by Gauss and Legendre's rule."""
    t, w = np.polynomial.legendre.leggauss(nodes)
    angle = math.pi * (t + 1) / 2
    angles, upper = np.tile(angle, 2), np.repeat([True, False], nodes)
    log_weight = np.tile(np.log(w / 4), 2)  # the weights sum to two, and so do the moons
    out = np.empty(len(x))
    for i in range(0, len(x), 1000):
        squares = ((x[i : i + 1000, None] - _arcs(angles, upper)) ** 2).sum(2) / thickness**2
        out[i : i + 1000] = LOG_2PI + 2 * math.log(thickness) - logsumexp(log_weight - squares / 2, axis=1)
    return out


def _moons_entropy(thickness: float, step: float = 0.025) -> float:
    """The entropy of the two moons in the plane by the trapezium rule, exact to rounding on so smooth a density."""
    side = [np.arange(-1.8, 2.8, step), np.arange(-1.4, 1.9, step)]
    grid = np.stack(np.meshgrid(*side, indexing="ij"), -1).reshape(-1, 2)
    nats = _moons_nats(grid, thickness)
    return float((nats * np.exp(-nats)).sum() * step**2)


def _monte_carlo(
    draw: Callable[[int, np.random.Generator], Array], nats: Callable[[Array], Array], n: int = 200_000
) -> tuple[float, float]:
    values = nats(draw(n, np.random.default_rng(12345)))
    return float(values.mean()), float(values.std() / math.sqrt(n))
