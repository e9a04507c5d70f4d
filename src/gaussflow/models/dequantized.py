"""The law of rounded columns, from a density of the columns with uniform noise of one rounding step."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from typing_extensions import override

from gaussflow._check import check_int
from gaussflow.models.base import Density

SEED = 0  # of the points at which a cell is looked at: the same at each call


class Dequantized(Density):
    r"""Rounded columns: the mass of a cell under a density of the rows with uniform noise of one step added.

    .. math:: \log P(x) = \log E_u\bigl[p(x + \delta \odot u)\bigr] + \sum_{\delta_i > 0} \log \delta_i,
        \qquad u \sim U[0, 1)^D

    The expectation is a mean over a few fixed points u, whose logarithm is below the truth on average, the less the
    more points there are. Columns of step 0 are continuous, so that P is a density in these and a mass in the others.
    Every whole step has some mass, those that no row has among them: a count that was never below zero is drawn as -1
    as often as `log_prob` says, and to cut it off would move mass to where `log_prob` has none.

    Parameters
    ----------
    density
        The density p of rows with noise, a `Flow` for example.
    steps
        The rounding step of each column (D,), in its units; 0 for a continuous one.
    origins
        A value that each column takes (D,), or None for zeros: samples lie whole steps from it.
    points
        Number of points u, at least 1.

    Attributes
    ----------
    dim, context_dim
        Those of the density.

    Raises
    ------
    TypeError, ValueError
        For another thing than a density, and for steps of another shape, negative or not finite.

    Notes
    -----
    Source: Theis, van den Oord and Bethge (2016) for the bound; Burda, Grosse and Salakhutdinov (2016) for its mean
    over several points.

    Examples
    --------
    >>> import torch
    >>> from gaussflow import Dequantized, Flow, Standardize
    >>> x = torch.randint(5, (200, 2)).float()
    >>> flow = Flow(Standardize(2).fit(x + torch.rand(200, 2)))
    >>> law = Dequantized(flow, torch.ones(2))
    >>> law.log_prob(x).shape, law.sample(7).shape
    (torch.Size([200]), torch.Size([7, 2]))
    """

    steps: Tensor
    origins: Tensor

    def __init__(
        self,
        density: Density,
        steps: Tensor | Sequence[float],
        origins: Tensor | Sequence[float] | None = None,
        points: int = 16,
    ) -> None:
        super().__init__()
        if not isinstance(density, Density):
            raise TypeError(f"Dequantized is made of a density such as a Flow; got {type(density).__name__}.")
        steps = torch.as_tensor(steps)
        origins = torch.zeros_like(steps) if origins is None else torch.as_tensor(origins).to(steps)
        if steps.shape != (density.dim,) or not bool(((steps >= 0) & steps.isfinite()).all()):
            raise ValueError(f"Dequantized wants {density.dim} steps, zero or positive; got {steps.tolist()}.")
        if origins.shape != steps.shape or not bool(origins.isfinite().all()):
            raise ValueError(f"Dequantized wants {density.dim} origins; got {origins.tolist()}.")
        self.density, self.dim, self.context_dim = density, density.dim, density.context_dim
        self.points = check_int("Dequantized", "points", points, 1)
        self.register_buffer("steps", steps.clone())
        self.register_buffer("origins", origins.clone())

    @override
    def log_prob(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        """Log-mass, times a density where columns are continuous, (...) of rows x (..., D), in nats."""
        generator = torch.Generator().manual_seed(SEED)
        within = torch.rand(self.points, self.dim, generator=generator).to(x)
        total = torch.stack([self.density.log_prob(x + u * self.steps, context) for u in within]).logsumexp(0)
        volume = torch.where(self.steps > 0, self.steps, 1.0).log().sum()
        return total - math.log(self.points) + volume

    @override
    def sample(
        self,
        shape: int | tuple[int, ...] = (),
        context: Tensor | None = None,
        generator: torch.Generator | None = None,
    ) -> Tensor:
        """Independent samples, ``shape`` + (...) + (D,), the rounded columns rounded."""
        x = self.density.sample(shape, context, generator)
        steps = torch.where(self.steps > 0, self.steps, 1.0)
        whole = ((x - self.origins) / steps).floor() * steps + self.origins
        return torch.where(self.steps > 0, whole, x)

    @override
    def config(self) -> dict[str, Any]:
        """The keyword arguments that build this object anew."""
        return {
            "density": self.density,
            "steps": self.steps.tolist(),
            "origins": self.origins.tolist(),
            "points": self.points,
        }
