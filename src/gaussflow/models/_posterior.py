"""Approximate posteriors: a diagonal Gaussian, or one that flow layers bend."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from gaussflow.losses.kl import DiagonalGaussian
from gaussflow.models._precision import full_precision
from gaussflow.transforms.base import Transform


class FlowedGaussian(NamedTuple):
    r"""The law of :math:`z = f(u)` with u from a diagonal Gaussian: :math:`\log q(z) = \log q_0(u) - \log|\det f'(u)|`.

    The forward direction of the transform is the one taken, since it is the fast one; its density is known at its
    own samples, which is where a bound needs it.
    """

    gaussian: DiagonalGaussian
    transform: Transform
    context: Tensor | None

    @property
    def mean(self) -> Tensor:
        """Where the mean of the Gaussian goes (..., L)."""
        return self._bent(self.gaussian.mean)[0]

    def rsample(self, shape: int | tuple[int, ...] = (), generator: torch.Generator | None = None) -> Tensor:
        """Reparameterised samples, ``shape`` + (..., L)."""
        return self._bent(self.gaussian.rsample(shape, generator))[0]

    def _bent(self, u: Tensor) -> tuple[Tensor, Tensor]:
        context = self.context
        if context is not None:
            context = context.expand(*u.shape[:-1], context.shape[-1])
        with full_precision(u):
            z, ladj = self.transform(u, context)
        return z, ladj


Posterior = DiagonalGaussian | FlowedGaussian


def draw(
    posterior: Posterior, shape: int | tuple[int, ...] = (), generator: torch.Generator | None = None
) -> tuple[Tensor, Tensor]:
    """Reparameterised samples z, ``shape`` + (..., L), and their log-density under the posterior."""
    if isinstance(posterior, FlowedGaussian):
        u = posterior.gaussian.rsample(shape, generator)
        z, ladj = posterior._bent(u)
        return z, posterior.gaussian.log_prob(u) - ladj
    z = posterior.rsample(shape, generator)
    return z, posterior.log_prob(z)
