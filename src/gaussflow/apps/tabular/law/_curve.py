"""A smooth monotone map of one coordinate to the normal axis: few knots of the quantiles, and straight tails."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from scipy.special import log_ndtr, ndtri

from gaussflow.apps.tabular._arrays import Floats
from gaussflow.ops._spline import rq_spline, rq_spline_inverse

FEWEST = 8  # rows below which a curve is a straight line
BEYOND = 3  # rows left beyond the outermost knots, so that no knot is a single row
FARTHEST = 1e100  # on the normal axis: its square is finite


@dataclass(frozen=True)
class Curve:
    """A spline from a coordinate to the normal axis: knots, their values and the slopes there, each (K,)."""

    xs: Floats
    zs: Floats
    slopes: Floats

    @classmethod
    def fit(cls, x: Floats, weights: Floats) -> Curve:
        """Fit to rows x (n,) with weights (n,): the quantile function, smoothed on the normal axis.

        Each knot is a mean of sorted rows by a normal kernel about its place on the normal axis, so that none but the
        ends stands at the value of a row, and a monotone spline (Fritsch and Carlson, 1980) joins them.
        """
        order = np.argsort(x, kind="stable")
        x, weights = x[order], weights[order]
        spread = _spread(x)
        if len(x) < FEWEST or x[-1] - x[0] <= 0:
            return cls.line(float(np.average(x, weights=weights)) if len(x) else 0.0, spread)
        shares = (np.cumsum(weights) - 0.5 * weights) / weights.sum()
        u = ndtri(shares)
        count = int(np.clip(round(2.2 * len(x) ** 0.4), 4, 40))
        low, high = u[min(BEYOND, len(u) // 3)], u[-1 - min(BEYOND, len(u) // 3)]
        zs = np.linspace(low, high, count)
        middle = float(x[len(x) // 2])
        bent = np.arcsinh((x - middle) / spread)  # far rows weigh by the logarithm of their distance
        xs = middle + spread * np.sinh(_smooth(u, bent, weights, zs, 0.5 * (zs[1] - zs[0])))
        xs, zs = _far_end(_ascending(xs, spread), zs, x[-1], u[-1])
        xs, zs = (-end[::-1] for end in _far_end(-xs[::-1], -zs[::-1], -x[0], -u[0]))
        return cls(xs, zs, _slopes(xs, zs))

    @classmethod
    def line(cls, loc: float, scale: float) -> Curve:
        """The straight line of a normal law."""
        zs = np.array([-1.0, 0.0, 1.0])
        return cls(loc + scale * zs, zs, np.full(3, 1 / scale))

    def forward(self, x: Floats) -> tuple[Floats, Floats]:
        """Values on the normal axis and the logarithms of the slopes there, each (n,)."""
        z, log_slope = rq_spline(torch.from_numpy(np.ascontiguousarray(x)), *self._tables())
        return np.clip(z.numpy(), -FARTHEST, FARTHEST), log_slope.numpy()

    def inverse(self, z: Floats) -> Floats:
        """The points (n,) with these values (n,)."""
        x: Floats = rq_spline_inverse(torch.from_numpy(np.ascontiguousarray(z)), *self._tables())[0].numpy()
        return x

    def _tables(self) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        return torch.from_numpy(self.xs), torch.from_numpy(self.zs), torch.from_numpy(self.slopes)


def log_mass(low: Floats, high: Floats) -> Floats:
    r"""The logarithm of :math:`\Phi(b) - \Phi(a)` for a < b, without cancellation in either tail: (n,)."""
    flip = low > 0
    a, b = np.where(flip, -high, low), np.where(flip, -low, high)
    lower, upper = log_ndtr(a), log_ndtr(b)
    gap = np.minimum(np.where(np.isfinite(lower), lower, -1e300) - upper, 0.0)
    thin = gap > -1e-12  # closer than rounding can tell: density times width
    wide = upper + np.log1p(-np.exp(np.where(thin, -1.0, gap)))
    narrow = -0.5 * np.square(np.clip(b, -FARTHEST, FARTHEST)) - 0.5 * np.log(2 * np.pi)
    mass: Floats = np.where(thin, narrow + np.log(np.maximum(b - a, 1e-300)), wide)
    return mass


def _smooth(u: Floats, x: Floats, weights: Floats, zs: Floats, width: float) -> Floats:
    """Kernel means (K,) of x about each knot, local lines so that the ends are not drawn inwards."""
    apart = u[None] - zs[:, None]
    kernel = np.exp(-0.5 * np.square(apart / width)) * weights + 1e-300
    total = kernel.sum(1)
    mean_u, mean_x = (kernel * apart).sum(1) / total, kernel @ x / total
    centred = apart - mean_u[:, None]
    slope = (kernel * centred * (x[None] - mean_x[:, None])).sum(1) / np.maximum(
        (kernel * np.square(centred)).sum(1), 1e-12 * total
    )
    value: Floats = mean_x - np.maximum(slope, 0) * mean_u
    return value


def _spread(x: Floats) -> float:
    """A scale that is never nothing: of the middle half of sorted values, or of all, or a part of their size."""
    if not len(x):
        return 1.0
    size = float(np.max(np.abs(x)))
    middle = (float(x[(3 * len(x)) // 4]) - float(x[len(x) // 4])) / 1.35
    if middle > 1e-14 * abs(float(x[len(x) // 2])):
        return middle
    scale = float(np.std(x))
    return scale if scale > 1e-9 * size and scale > 0 else max(1e-6 * size, 1.0)


def _far_end(xs: Floats, zs: Floats, x: float, z: float) -> tuple[Floats, Floats]:
    """Knots (K,), and one more at the farthest row where the tail is heavier than a straight line would have it."""
    slope = (zs[-1] - zs[-2]) / (xs[-1] - xs[-2])
    if x > xs[-1] and zs[-1] < z < zs[-1] + slope * (x - xs[-1]):
        return np.append(xs, x), np.append(zs, z)
    return xs, zs


def _ascending(xs: Floats, spread: float) -> Floats:
    """Knots at least a little apart."""
    least = max(1e-5 * spread, 1e-12 * abs(float(xs[len(xs) // 2])))
    steps = np.maximum(np.diff(np.maximum.accumulate(xs)), least)
    middle = len(xs) // 2
    summed = np.concatenate([[0.0], np.cumsum(steps)])
    ascending: Floats = xs[middle] + summed - summed[middle]
    return ascending


def _slopes(xs: Floats, zs: Floats) -> Floats:
    """Slopes at the knots that keep the spline smooth: harmonic means of the secants on either side."""
    widths, secants = np.diff(xs), np.diff(zs) / np.diff(xs)
    first, last = widths[:-1], widths[1:]
    share = first / (first + last)
    inner = 3 / ((2 - share) / secants[:-1] + (1 + share) / secants[1:])
    return np.concatenate([secants[:1], inner, secants[-1:]])
