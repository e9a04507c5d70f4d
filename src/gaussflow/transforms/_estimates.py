r"""Estimates of smooth quantile functions Q of columns: :math:`x = Q(u)` with :math:`u \sim N(0, 1)`."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from gaussflow.ops._sort import sorted_columns
from gaussflow.ops.quantile import cell_counts, cell_means, local_linear, spread_ties

FLATTEST = 1e-3  # least slope of Q in units of the coordinate's scale, which bounds the density
REACH = 3.0  # beyond the outermost rows, asinh coordinates grow by at most this much in all


@dataclass(frozen=True)
class Quantiles:
    """A smooth quantile function at the knots u: values Q(u) and slopes Q'(u), each (K, D)."""

    value: Tensor
    slope: Tensor


@dataclass(frozen=True)
class Sorted:
    """Sorted rows x (n, D), ties spread, with mean, standard deviation, median and robust scale, each (D,).

    Or, where there is a number of ``rows``, the means of their cells (m, D).
    """

    x: Tensor
    mean: Tensor
    deviation: Tensor
    median: Tensor
    scale: Tensor
    rows: int | None = None
    _bent: dict[float, Tensor] = field(default_factory=dict, compare=False, repr=False)  # what several estimates need

    @classmethod
    def of(cls, x: Tensor) -> Sorted:
        """From sorted rows (n, D); a constant coordinate has deviation 1, so that it is only moved to zero."""
        (mean, deviation), last = _mean_and_deviation(x), len(x) - 1
        middle = (x[int(0.8 * last)] - x[int(0.2 * last)]) / 1.683  # the distance of those quantiles of N(0, 1)
        scale = torch.maximum(torch.minimum(middle, deviation), 1e-3 * deviation)
        return cls(spread_ties(x), mean, deviation, x[last // 2], scale)

    def bent(self, width: float) -> Tensor:
        r""":math:`\operatorname{asinh}((x - m) / (w s))` of the rows, m the median and s the scale: (n, D)."""
        if width not in self._bent:
            y = (self.x - self.median) / (width * self.scale)
            size = y.abs()
            square = y.square()
            size.add_(square.div_((square + 1).sqrt_().add_(1)))
            self._bent[width] = size.log1p_().copysign_(y)
        return self._bent[width]

    def columns(self, mine: Tensor) -> Sorted:
        """Those of some coordinates, a mask or index (D,)."""
        mean, deviation, median, scale = (t[mine] for t in (self.mean, self.deviation, self.median, self.scale))
        return Sorted(self.x.T[mine].T, mean, deviation, median, scale, self.rows)

    def in_units(self) -> Sorted:
        """The rows less the median, in units of the scale, in single precision: at most some 1e5 whatever they were."""
        x = ((self.x - self.median) / self.scale).float()
        ones = torch.ones_like(x[0])
        return Sorted(x, *_mean_and_deviation(x), 0 * ones, ones)

    def some(self, place: Tensor) -> Sorted:
        """As many rows of each coordinate, at ascending places (D, r) in the flattened columns (D, n), in cells.

        Median and scale are still those of all rows.
        """
        x = self.x.T.reshape(-1).index_select(0, place.reshape(-1)).view(place.shape).T
        x, count = cell_means(x), cell_counts(len(x)).to(x)[:, None]
        return Sorted(x, *_mean_and_deviation(x, count), self.median, self.scale, place.shape[1])

    def in_cells(self) -> Sorted:
        """The means of cells in place of the rows."""
        return Sorted(cell_means(self.x), self.mean, self.deviation, self.median, self.scale, len(self.x))

    def smoothed(self, bandwidth: float, width: float | None, at: tuple[float, ...]) -> Tensor:
        """`local_linear` of the rows, or after asinh with a width, at K points: (K, D)."""
        return local_linear(self.x if width is None else self.bent(width), bandwidth, at, self.rows)


def _mean_and_deviation(x: Tensor, count: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """Mean and standard deviation (D,) of rows (n, D), in a fifth of the time of torch's; 1 for a constant.

    Where there is a ``count`` (n, 1), each row counts so often.
    """
    share = 1 / len(x) if count is None else count / count.sum()
    mean = (x * share).sum(0)
    deviation = (x - mean).square_().mul_(share).sum(0).sqrt()
    return mean, torch.where(deviation <= 1e-12 * mean.abs(), 1.0, deviation)


def normal_knots(knots: int) -> Tensor:
    """Where the knots stand on the normal axis, (K, 1): even up to 3.6, from 8 knots on also at 4.6 and 6."""
    tail = torch.tensor([4.6, 6.0] if knots >= 8 else [], dtype=torch.float64)
    core = torch.linspace(-3.6, 3.6, knots - 2 * len(tail), dtype=torch.float64)
    return torch.cat([-tail.flip(0), core, tail])[:, None]


@dataclass(frozen=True)
class Estimate:
    """How a quantile function is estimated: the normal law of mean and standard deviation where there is no bandwidth.

    With one, sorted rows are smoothed over their normal scores; with a ``width``, after asinh, and so many scales from
    the median are where tails begin.
    """

    bandwidth: float | None = None
    width: float | None = None

    def __call__(self, data: Sorted, u: Tensor) -> Quantiles:
        """That of sorted rows (n, D) at the knots u (K, 1): values and slopes (K, D)."""
        found = estimated(data, (self,), u)
        return Quantiles(found.value[:, 0], found.slope[:, 0])


def smoothed_asinh(data: Sorted, u: Tensor, bandwidth: float, width: float) -> Quantiles:
    """Sorted rows smoothed over their normal scores after asinh."""
    return Estimate(bandwidth, width)(data, u)


def estimated(data: Sorted, estimates: Sequence[Estimate], u: Tensor) -> Quantiles:
    """Several estimates at once: values and slopes (K, estimates, D)."""
    u = u.to(data.x.dtype)
    at = tuple(u[:, 0].tolist())
    value = data.x.new_empty(len(u), len(estimates), data.x.shape[1])
    slope, flattest = torch.empty_like(value), torch.empty_like(value[0])
    for i, (bandwidth, width) in enumerate((e.bandwidth, e.width) for e in estimates):
        if bandwidth is None:
            value[:, i] = data.mean + data.deviation * u
            flattest[i] = 0
        else:
            value[:, i] = data.smoothed(bandwidth, width, at)
            flattest[i] = FLATTEST * data.scale if width is None else FLATTEST / width
    value, slope = _monotone(value, u, flattest)
    for i, (bandwidth, width) in enumerate((e.bandwidth, e.width) for e in estimates):
        if bandwidth is None:
            slope[:, i] = data.deviation
        elif width is not None:
            value[:, i], slope[:, i] = _unbent(data, value[:, i], slope[:, i], width)
    return Quantiles(value, slope)


def _unbent(data: Sorted, value: Tensor, slope: Tensor, width: float) -> tuple[Tensor, Tensor]:
    """Values and slopes (K, D) of a quantile function from those after asinh, its ends brought in."""
    s, y = width * data.scale, data.bent(width)
    beyond = value - value.clamp(y[0], y[-1])
    shrink = torch.where(beyond > 0, REACH / beyond[-1].clamp(min=REACH), 1.0)
    shrink = torch.where(beyond < 0, REACH / (-beyond[0]).clamp(min=REACH), shrink)
    value = value + (shrink - 1) * beyond
    return data.median + s * torch.sinh(value), s * slope * shrink * torch.cosh(value)


def _monotone(value: Tensor, u: Tensor, flattest: Tensor) -> tuple[Tensor, Tensor]:
    """Make quantile functions (K, E, D) ascend by at least ``flattest`` (E, D) per unit; their slopes are of secants.

    The slope at a knot is the geometric mean of the secants beside it, so that the inverse function has the inverse
    slopes, and a steep bin leaves its flat neighbour flat.
    """
    width = u.diff(dim=0)[..., None]
    falls = (value[1:] < value[:-1]).any(0)
    if bool(falls.any()):
        value[:, falls] = sorted_columns(value[:, falls]).T
    secant = torch.maximum(value.diff(dim=0).div_(width), flattest)
    climbed = torch.cat([torch.zeros_like(value[:1]), (secant * width).cumsum(0)])
    middle = len(u) // 2
    slope = torch.cat([secant[:1], secant]).mul_(torch.cat([secant, secant[-1:]])).sqrt_()
    return climbed.add_(value[middle] - climbed[middle]), slope


def normal_log_prob(z: Tensor) -> Tensor:
    """Log-density of the standard normal, element by element."""
    return -0.5 * z.square() - 0.5 * math.log(2 * math.pi)


ESTIMATES = (
    Estimate(),
    *(Estimate(h) for h in (0.03, 0.1, 0.3, 1.0)),
    *(Estimate(h, width=1.0) for h in (0.1, 0.3, 1.0)),
    *(Estimate(h, width=3.0) for h in (0.3, 1.0)),
)
