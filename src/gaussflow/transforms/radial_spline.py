"""`RadialSpline`: the distance from the origin made that of normal rows."""

from __future__ import annotations

import math
from typing import Any, Self

import torch
from scipy import stats
from torch import Tensor
from typing_extensions import override

from gaussflow.ops._finite import saturate
from gaussflow.rows import Data, Rows, as_rows
from gaussflow.transforms._smooth import smooth_gaussianization
from gaussflow.transforms._splines import Splines
from gaussflow.transforms.base import Transform

FIT_ROWS = 2**17
LEAST_GAIN = 5.0  # nats over all rows: what buys less on halves that it has not seen is left
NEAREST = -80.0  # of log distances: all that is nearer is moved as that


class LogRadius(Splines):
    """A spline of log distances: below its first knot its slope is one, so that the map of rows is linear there."""

    @override
    def _tables(self) -> tuple[Tensor, Tensor, Tensor]:
        xs, zs, slopes = super()._tables()
        return xs, zs, torch.cat([self.scale[None], slopes[1:]])


class RadialSpline(Transform):
    r"""The closed-form map of a spherical law: every row keeps its direction, and its distance is moved by a spline.

    .. math:: z = \frac{e^{s(\log r)}}{r}\, x, \qquad r = \|x\|, \qquad
        \text{ladj} = \log s'(\log r) + D\,\bigl(s(\log r) - \log r\bigr)

    with s a monotone spline of one coordinate. `fit` makes the distances those of D independent standard normals, of
    the law :math:`\chi_D`. A spherical law, like a uniform ball or a t distribution of white covariance, is then
    standard normal after one such map, whatever D; rotations alone need more blocks the larger D is. `Whiten` before it
    makes elliptical laws spherical. Rows that are standard normal are left alone: where each half of the rows gains
    nothing by the map fitted to the other, the map is the identity.

    Parameters
    ----------
    dim
        Number of coordinates D.
    knots
        Number of knots of the spline.
    dtype, device
        Those of the numbers held.

    Attributes
    ----------
    log_radius
        The spline s, whose parameters are those of a `MarginalSpline` of one coordinate.

    Notes
    -----
    Shapes: ``x (..., D)``, ``z (..., D)``, ``ladj (...)``. The slope of s is one below its first knot, whatever the
    parameters, so that the map is linear about the origin; beyond the last knot a fit makes it one at most.

    References
    ----------
    Lyu & Simoncelli (2009), Nonlinear extraction of independent components of natural images using radial
    Gaussianization.

    Examples
    --------
    >>> import torch
    >>> from gaussflow import RadialSpline
    >>> x = torch.randn(300, 4) / torch.rand(300, 1)
    >>> radial = RadialSpline(4).fit(x)
    >>> z, ladj = radial(x)
    >>> z.shape, ladj.shape, radial.inverse(z)[0].shape
    (torch.Size([300, 4]), torch.Size([300]), torch.Size([300, 4]))
    """

    def __init__(
        self, dim: int, knots: int = 48, *, dtype: torch.dtype | None = None, device: torch.device | str | None = None
    ) -> None:
        super().__init__(dim)
        self.log_radius = LogRadius(1, knots, dtype=dtype, device=device)

    @override
    def forward(self, x: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        self._door(x, context)
        return self._moved(x, self.log_radius.forward)

    @override
    def inverse(self, z: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        self._door(z, context, "z")
        return self._moved(z, self.log_radius.inverse)

    @override
    @torch.no_grad()
    def fit(self, rows: Data, context: Tensor | None = None) -> Self:
        x, _ = self._rows(rows, context).sample(FIT_ROWS)
        t = log_norm(x.double())[torch.randperm(len(x), generator=torch.Generator().manual_seed(0)).to(x.device)]
        first, second = t[::2], t[1::2]
        trial, gain = RadialSpline(self.dim, self.knots, dtype=torch.float64, device=t.device), 0.0
        if len(second):
            for fitted, other in ((first, second), (second, first)):
                trial._write(as_rows(fitted))
                gain += float(trial._gain(other).sum())
        born = LogRadius(1, self.knots, dtype=t.dtype).to(self.log_radius.loc)
        self.log_radius.load_state_dict(born.state_dict())
        if gain > LEAST_GAIN:
            self._write(as_rows(t))
        return self

    @override
    def config(self) -> dict[str, Any]:
        return {"dim": self.dim, "knots": self.knots}

    @property
    def knots(self) -> int:
        """Number of knots."""
        return self.log_radius.knots

    def _moved(self, x: Tensor, spline: Any) -> tuple[Tensor, Tensor]:
        t = log_norm(x)
        s, log_slope = spline(t)
        further = (s - t)[..., 0]
        return saturate(x * further.exp()[..., None]), log_slope + self.dim * further

    def _write(self, log_radii: Rows) -> None:
        """Write the spline of log distances (n, 1), by way of their normal scores."""
        xs, zs, slopes = smooth_gaussianization(log_radii, self.knots)
        z, law = zs.cpu(), stats.chi2(self.dim)
        square = torch.as_tensor(law.ppf(stats.norm.cdf(z))).where(z < 0, torch.as_tensor(law.isf(stats.norm.sf(z))))
        log_density = torch.as_tensor(law.logpdf(square)) + square.log() + math.log(2)  # of half the log of the square
        slopes = slopes * (torch.as_tensor(stats.norm.logpdf(z)) - log_density).exp().to(slopes)
        slopes[0], slopes[-1] = 1.0, slopes[-1].clamp(max=1.0)
        self.log_radius.set_knots(xs, square.log().to(xs) / 2, slopes)

    def _gain(self, t: Tensor) -> Tensor:
        """What the map buys (n,) for rows at log distances t (n, 1)."""
        s, log_slope = self.log_radius(t)
        gain: Tensor = log_slope + self.dim * (s - t)[:, 0] - 0.5 * ((2 * s).exp() - (2 * t).exp())[:, 0]
        return gain


def log_norm(x: Tensor) -> Tensor:
    """The log of the distance from the origin (..., 1) of rows (..., D); squares of large ones would overflow."""
    largest = x.detach().abs().amax(-1, keepdim=True).clamp(min=math.exp(NEAREST))
    return largest.log() + 0.5 * (x / largest).square().sum(-1, keepdim=True).clamp(min=1e-4).log()
