"""Noise for differential privacy: on whole numbers, from the operating system's random numbers, and its account."""

from __future__ import annotations

import math
import secrets
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from gaussflow.apps.tabular._arrays import Floats, Integers

Bytes = Callable[[int], bytes]
random_bytes: Bytes = secrets.token_bytes  # never from a seed: whoever knows it could take the noise away


def _uniforms(n: int) -> Floats:
    """Uniform numbers (n,) in (0, 1], of 53 bits."""
    whole = np.frombuffer(random_bytes(8 * n), np.uint64) >> np.uint64(11)
    uniforms: Floats = (whole.astype(np.float64) + 1) / 2.0**53
    return uniforms


def discrete_laplace(scale: float, n: int) -> Integers:
    r"""Whole numbers (n,) with :math:`p(k) \propto e^{-|k| / s}`: two geometric ones apart (Ghosh et al., 2009)."""
    first, second = (np.floor(-np.log(_uniforms(n)) * scale) for _ in range(2))
    difference: Integers = (first - second).astype(np.int64)
    return difference


def discrete_normal(sigma: float, n: int) -> Integers:
    r"""Whole numbers (n,) with :math:`p(k) \propto e^{-k^2 / 2 \sigma^2}`, by rejection (Canonne et al., 2020)."""
    width = math.floor(sigma) + 1
    drawn = np.empty(0, np.int64)
    while len(drawn) < n:
        candidates = discrete_laplace(width, 2 * (n - len(drawn)) + 8)
        apart = np.abs(candidates) - sigma**2 / width
        drawn = np.append(drawn, candidates[_uniforms(len(candidates)) <= np.exp(-np.square(apart) / (2 * sigma**2))])
    return drawn[:n]


def exponential_choice(scores: Floats, epsilon: float) -> int:
    """The place of a score (n,), by the exponential mechanism (McSherry and Talwar, 2007); one row moves each by 1."""
    gumbel = -np.log(-np.log(np.minimum(_uniforms(len(scores)), 1 - 2.0**-53)))
    return int(np.argmax(0.5 * epsilon * scores + gumbel))


@dataclass(frozen=True)
class Part:
    """A share of a budget: so many counts of which a row is in one each, or so many choices.

    ``epsilon`` is the part's share of the whole epsilon, or ``rho`` of the whole zero-concentrated budget.
    """

    times: int
    epsilon: float
    rho: float

    def noise(self, n: int) -> Integers:
        """Noise for n cells: Laplace for pure privacy, normal otherwise, on whole numbers."""
        if self.rho:
            return discrete_normal(self.sigma, n)
        return discrete_laplace(self.times / self.epsilon, n)

    @property
    def sigma(self) -> float:
        """The standard deviation of the noise."""
        if self.rho:
            return math.sqrt(self.times / (2 * self.rho))
        decay = math.exp(-self.epsilon / self.times)
        return math.sqrt(2 * decay) / (1 - decay)

    def choose(self, scores: Floats) -> int:
        """One choice among scores (n,)."""
        each = math.sqrt(8 * self.rho / self.times) if self.rho else self.epsilon / self.times
        return exponential_choice(scores, each)


def budget(epsilon: float, delta: float, shares: list[float], times: list[int]) -> list[Part]:
    r"""Parts whose composition is the whole: epsilons add, and so do the rhos of zero-concentrated privacy.

    With delta the whole is :math:`\rho` with :math:`\epsilon = \rho + 2 \sqrt{\rho \ln(1 / \delta)}` (Bun and Steinke,
    2016); noise of variance :math:`\sigma^2` on m counts costs :math:`m / 2 \sigma^2`, a choice :math:`\epsilon^2 / 8`.
    """
    rho = rho_of(epsilon, delta)
    return [Part(max(1, many), share * epsilon, share * rho) for share, many in zip(shares, times, strict=True)]


def rho_of(epsilon: float, delta: float) -> float:
    """The zero-concentrated budget that gives (epsilon, delta); 0 for pure privacy."""
    if not delta:
        return 0.0
    log = math.log(1 / delta)
    return (math.sqrt(log + epsilon) - math.sqrt(log)) ** 2
