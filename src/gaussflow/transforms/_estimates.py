r"""Estimates of smooth quantile functions Q of columns: :math:`x = Q(u)` with :math:`u \sim N(0, 1)`."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial

import torch
from torch import Tensor

from gaussflow.ops.quantile import local_linear, spread_ties

FLATTEST = 1e-3  # least slope of Q in units of the coordinate's scale, which bounds the density
REACH = 3.0  # beyond the outermost rows, asinh coordinates grow by at most this much in all


@dataclass(frozen=True)
class Quantiles:
    """A smooth quantile function at the knots u: values Q(u) and slopes Q'(u), each (K, D)."""

    value: Tensor
    slope: Tensor


@dataclass(frozen=True)
class Sorted:
    """Sorted rows x (n, D), ties spread, with mean, standard deviation, median and robust scale, each (D,)."""

    x: Tensor
    mean: Tensor
    deviation: Tensor
    median: Tensor
    scale: Tensor
    _bent: dict[float, Tensor] = field(default_factory=dict, compare=False, repr=False)  # what several estimates need

    @classmethod
    def of(cls, x: Tensor) -> Sorted:
        """From sorted rows (n, D); a constant coordinate has deviation 1, so that it is only moved to zero."""
        mean, deviation, last = x.mean(0), x.std(0, correction=0), len(x) - 1
        constant = deviation <= 1e-12 * mean.abs()
        deviation = torch.where(constant, 1.0, deviation)
        middle = (x[int(0.8 * last)] - x[int(0.2 * last)]) / 1.683  # the distance of those quantiles of N(0, 1)
        scale = torch.maximum(torch.minimum(middle, deviation), 1e-3 * deviation)
        return cls(spread_ties(x), mean, deviation, x[last // 2], scale)

    def bent(self, width: float) -> Tensor:
        r""":math:`\operatorname{asinh}((x - m) / (w s))` of the rows, m the median and s the scale: (n, D)."""
        if width not in self._bent:
            y = (self.x - self.median) / (width * self.scale)
            size = y.abs()
            self._bent[width] = torch.log1p(size + size.square() / (1 + (size.square() + 1).sqrt())).copysign(y)
        return self._bent[width]

    def columns(self, mine: Tensor) -> Sorted:
        """Those of some coordinates, a mask or index (D,)."""
        return Sorted(self.x[:, mine], self.mean[mine], self.deviation[mine], self.median[mine], self.scale[mine])


def normal_knots(knots: int) -> Tensor:
    """Where the knots stand on the normal axis, (K, 1): even up to 3.6, from 8 knots on also at 4.6 and 6."""
    tail = torch.tensor([4.6, 6.0] if knots >= 8 else [], dtype=torch.float64)
    core = torch.linspace(-3.6, 3.6, knots - 2 * len(tail), dtype=torch.float64)
    return torch.cat([-tail.flip(0), core, tail])[:, None]


def normal_law(data: Sorted, u: Tensor) -> Quantiles:
    """The quantile function of the normal law with the mean and standard deviation of the rows."""
    return Quantiles(data.mean + data.deviation * u, data.deviation.expand(len(u), -1))


def smoothed(data: Sorted, u: Tensor, bandwidth: float) -> Quantiles:
    """Sorted rows smoothed over their normal scores."""
    return _monotone(_regress(data.x, u, bandwidth), u, FLATTEST * data.scale)


def smoothed_asinh(data: Sorted, u: Tensor, bandwidth: float, width: float) -> Quantiles:
    """Sorted rows smoothed over their normal scores after asinh; ``width`` times the scale is where tails begin."""
    s = width * data.scale
    y = data.bent(width)
    q = _monotone(_regress(y, u, bandwidth), u, torch.full_like(s, FLATTEST / width))
    beyond = q.value - q.value.clamp(y[0], y[-1])
    shrink = torch.where(beyond > 0, REACH / beyond[-1].clamp(min=REACH), 1.0)
    shrink = torch.where(beyond < 0, REACH / (-beyond[0]).clamp(min=REACH), shrink)
    value, slope = q.value + (shrink - 1) * beyond, q.slope * shrink
    return Quantiles(data.median + s * torch.sinh(value), s * slope * torch.cosh(value))


def _regress(x: Tensor, u: Tensor, bandwidth: float) -> Tensor:
    return local_linear(x, bandwidth, tuple(u[:, 0].tolist()))


def _monotone(value: Tensor, u: Tensor, flattest: Tensor) -> Quantiles:
    """Make a smoothed quantile function ascend by at least ``flattest`` per unit; its slopes are those of its secants.

    The slope at a knot is the geometric mean of the secants beside it, so that the inverse function has the inverse
    slopes, and a steep bin leaves its flat neighbour flat.
    """
    width = u.diff(dim=0)
    if bool((value[1:] < value[:-1]).any()):
        value = value.sort(0).values
    secant = torch.maximum(value.diff(dim=0) / width, flattest)
    climbed = torch.cat([torch.zeros_like(value[:1]), (secant * width).cumsum(0)])
    middle = len(u) // 2
    slope = (torch.cat([secant[:1], secant]) * torch.cat([secant, secant[-1:]])).sqrt()
    return Quantiles(value[middle] + climbed - climbed[middle], slope)


def normal_log_prob(z: Tensor) -> Tensor:
    """Log-density of the standard normal, element by element."""
    return -0.5 * z.square() - 0.5 * math.log(2 * math.pi)


Estimate = Callable[[Sorted, Tensor], Quantiles]
ESTIMATES: tuple[Estimate, ...] = (
    normal_law,
    *(partial(smoothed, bandwidth=h) for h in (0.03, 0.1, 0.3, 1.0)),
    *(partial(smoothed_asinh, bandwidth=h, width=1.0) for h in (0.1, 0.3, 1.0)),
    *(partial(smoothed_asinh, bandwidth=h, width=3.0) for h in (0.3, 1.0)),
)
