"""The law of one coordinate given those before it, where all have a mixture of normal laws together."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from gaussflow.ops._eager import plain_eager
from gaussflow.ops._finite import saturate
from gaussflow.ops._root import inverse_slope, polished_root
from gaussflow.ops.mixture import normals_to_normal, tails_to_normal

NEWTON_STEPS = 18
LEAST = 1e-32  # smallest weight of a component given the coordinates before


def posterior(logits: Tensor) -> Tensor:
    """Weights of the components from logits, each (K, ...): continuous, and none between zero and `LEAST`.

    A component that a row is as good as excluded from would still take over where all others end, far out in the tails,
    and between it and them the map would be flat beyond what floating numbers resolve.
    """
    weights = (logits.softmax(0) - LEAST).clamp(min=0)
    return weights / weights.sum(0)


def mapped(u: Tensor, per_scale: Tensor, weights: Tensor) -> tuple[Tensor, Tensor]:
    """Latent and log-slopes (...) of standardised distances u (K, ...) in mixtures, the fast way where it is open."""
    if plain_eager():
        return normals_to_normal(u, per_scale, weights)
    there = weights > 0
    log_weights = torch.where(there, weights, 1.0).log().masked_fill(~there, -torch.inf)
    return tails_to_normal(u, per_scale, log_weights)


class Conditional(NamedTuple):
    """The law of one coordinate given those before it; ``offset + per_scale t`` are standardised distances (K, n)."""

    offset: Tensor
    per_scale: Tensor
    weights: Tensor
    low: Tensor
    high: Tensor

    def log_densities(self, t: Tensor) -> Tensor:
        """Of every component at t (n,), up to a constant common to all: (K, n)."""
        return self.per_scale.log() - 0.5 * (self.offset + self.per_scale * t).square()

    def map(self, t: Tensor) -> tuple[Tensor, Tensor]:
        """Latent and log-slope, (n,) each, at t (n,)."""
        inside = t.clamp(self.low, self.high)
        z, log_slope = mapped(self.offset + self.per_scale * inside, self.per_scale, self.weights)
        return saturate(z + (t - inside) * log_slope.exp()), log_slope

    def solve(self, z: Tensor) -> tuple[Tensor, Tensor]:
        """The t (n,) that `map` sends to z (n,), and the log-slope of this direction.

        At the t where every component has its own quantile of the level of z or a higher one, so has the mixture: the
        root lies between the least and the largest of these quantiles. Beyond the box it is known.
        """
        with torch.no_grad():
            quantiles, absent = (z - self.offset) / self.per_scale, self.weights == 0
            low = quantiles.masked_fill(absent, torch.inf).amin(0).clamp(self.low, self.high)
            high = quantiles.masked_fill(absent, -torch.inf).amax(0).clamp(self.low, self.high)
            start = (self.weights * quantiles).sum(0)
            for end, beyond in ((self.low, -1), (self.high, 1)):
                edge, log_slope = self.map(end.expand_as(z))
                there = saturate(end + (z - edge) * inverse_slope(log_slope))
                outside = beyond * (z - edge) > 0
                low, high, start = (torch.where(outside, there, t) for t in (low, high, start))
        return polished_root(self.map, z, start, low, high, NEWTON_STEPS)
