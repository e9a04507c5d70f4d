r"""The closed-form fit of a marginal: a smooth map to the standard normal that is good on rows it has not seen.

A coordinate is :math:`x = Q(u)` with :math:`u \sim N(0, 1)`; the fit estimates :math:`Q`, and the map to the latent is
its inverse. Which estimate is believed is decided for each coordinate on its own, by cross-validated log-likelihood:

- the identity: the coordinate is standard normal already and is left alone;
- the normal law, :math:`Q(u) = \mu + \sigma u`;
- the sorted rows smoothed over their normal scores (`gaussflow.ops.quantile`) with one of several bandwidths;
- the same after :math:`\operatorname{asinh}((x - m) / s)`, which heavy tails and narrow peaks need.

A richer estimate has to beat a simpler one by a standard error of the difference, and all coordinates together by more
than chance would give, which keeps noise out.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor

from gaussflow.ops.quantile import local_linear_weights, spread_ties
from gaussflow.ops.spline import rq_spline
from gaussflow.rows import Rows

SELECT_ROWS = 8192  # rows among which estimates are compared
FIT_ROWS = 16384  # rows the chosen estimate is made from
FOLDS = 4
STANDARD_ERRORS = 1.0  # by so many a richer estimate has to win on a coordinate
SURE_ALONE = 4.0  # standard errors that need no support by other coordinates
MOST_OF_A_ROW = 10.0  # nats that one row may count in favour of an estimate: an outlier is one row among many
GRID = 161  # fine knots that the estimates are compared on; a fit keeps some of them
MIN_ROWS = 16  # fewer rows than this tell no shape
FLATTEST = 1e-3  # least slope of Q in units of the coordinate's scale, which bounds the density
REACH = 3.0  # beyond the outermost rows, asinh coordinates grow by at most this much in all


@dataclass(frozen=True)
class Quantiles:
    """A smooth quantile function at the knots u: values Q(u) and slopes Q'(u), each (K, D)."""

    value: Tensor
    slope: Tensor

    def log_prob(self, x: Tensor, u: Tensor) -> Tensor:
        """Log-density (n, D) of points x (n, D); u (K, 1) are the knots."""
        z, log_slope = rq_spline(x, self.value, u.expand_as(self.value), 1 / self.slope)
        return normal_log_prob(z) + log_slope


@dataclass(frozen=True)
class Sorted:
    """Sorted rows x (n, D), ties spread, with mean, standard deviation, median and robust scale, each (D,)."""

    x: Tensor
    mean: Tensor
    deviation: Tensor
    median: Tensor
    scale: Tensor

    @classmethod
    def of(cls, x: Tensor) -> Sorted:
        """From sorted rows (n, D); a constant coordinate has deviation 1, so that it is only moved to zero."""
        mean, deviation, last = x.mean(0), x.std(0, correction=0), len(x) - 1
        constant = deviation <= 1e-12 * mean.abs()
        deviation = torch.where(constant, 1.0, deviation)
        middle = (x[int(0.8 * last)] - x[int(0.2 * last)]) / 1.683  # the distance of those quantiles of N(0, 1)
        scale = torch.maximum(torch.minimum(middle, deviation), 1e-3 * deviation)
        return cls(spread_ties(x), mean, deviation, x[last // 2], scale)


def smooth_gaussianization(rows: Rows, knots: int) -> tuple[Tensor, Tensor, Tensor]:
    """Fit the map of every coordinate to the standard normal.

    Parameters
    ----------
    rows
        The data, N rows of D coordinates.
    knots
        Number of knots K, at least 2; which of a finer grid they are depends on the coordinate.

    Returns
    -------
    xs, zs, slopes
        Knots, values and slopes of the map from x to z, each (K, D) float64, ascending or positive, and finite.
    """
    u = normal_knots(max(GRID, knots)).to(rows.device)
    chosen = choose(rows.sample(SELECT_ROWS)[0].double(), u)
    data = Sorted.of(rows.sample(FIT_ROWS)[0].double().sort(0).values)
    value, slope = u.repeat(1, rows.dim), torch.ones_like(u).repeat(1, rows.dim)
    for i, estimate in enumerate(ESTIMATES):
        mine = chosen == i
        if bool(mine.any()):
            q = estimate(_columns(data, mine), u)
            value[:, mine], slope[:, mine] = q.value, q.slope
    index = kept_knots(torch.asinh((value - data.median) / data.scale), u, knots)
    return value.gather(0, index), u.expand_as(value).gather(0, index), 1 / slope.gather(0, index)


def kept_knots(y: Tensor, u: Tensor, knots: int) -> Tensor:
    """Which of the fine knots to keep, (knots, D): evenly spaced, half by u (G, 1) and half by their places y (G, D).

    So a gap between two peaks, which is narrow in u, has knots on both its sides.
    """
    even = (u - u[0]) / (u[-1] - u[0]) + (y - y[0]) / (y[-1] - y[0])
    at = torch.linspace(0, 2, knots, dtype=y.dtype, device=y.device).expand(y.shape[1], knots).contiguous()
    index = torch.searchsorted(even.T.contiguous(), at).T.clamp(max=len(u) - 1)
    steps = torch.arange(knots, device=y.device)[:, None]
    index = (index - steps).cummax(0).values + steps  # each knot once,
    return torch.minimum(index, len(u) - knots + steps)  # and room for those after it


def normal_knots(knots: int) -> Tensor:
    """Where the knots stand on the normal axis, (K, 1): even up to 3.6, from 8 knots on also at 4.6 and 6."""
    tail = torch.tensor([4.6, 6.0] if knots >= 8 else [], dtype=torch.float64)
    core = torch.linspace(-3.6, 3.6, knots - 2 * len(tail), dtype=torch.float64)
    return torch.cat([-tail.flip(0), core, tail])[:, None]


def choose(x: Tensor, u: Tensor) -> Tensor:
    """For each coordinate of x (n, D), the index of the estimate to believe, -1 for the identity: (D,)."""
    n, dim = x.shape
    if n < MIN_ROWS:
        return torch.full((dim,), 0 if n > 1 else -1, device=x.device)
    values, order = x.sort(0)
    sums = torch.zeros(2, 2, len(ESTIMATES), dim, dtype=torch.float64, device=x.device)
    for fold in range(FOLDS):
        held_out = (order % FOLDS == fold).T
        train, test = (values.T[mask].view(dim, -1).T for mask in (~held_out, held_out))
        data, identity = Sorted.of(train), normal_log_prob(test)
        normal = ESTIMATES[0](data, u).log_prob(test, u)
        for i, estimate in enumerate(ESTIMATES):
            score = estimate(data, u).log_prob(test, u) if i else normal
            for gains, simpler in zip(sums, (identity, normal), strict=True):
                gain = (score - simpler).clamp(max=MOST_OF_A_ROW)
                gains[:, i] += torch.stack([gain.sum(0), gain.square().sum(0)])
    (gain, error), (more, more_error) = (_mean_and_error(s1 / n, s2 / n, n) for s1, s2 in sums)
    normal = _believed(gain[:1], error[:1], 0.0)
    took = normal == 0
    richer = _believed(torch.where(took, more, gain)[1:], torch.where(took, more_error, error)[1:], STANDARD_ERRORS)
    return torch.where(richer >= 0, richer + 1, normal)


def _mean_and_error(mean: Tensor, square: Tensor, n: int) -> tuple[Tensor, Tensor]:
    return mean, ((square - mean.square()).clamp(min=0) / n).sqrt()


def _believed(gain: Tensor, error: Tensor, errors: float) -> Tensor:
    """For each coordinate, the index of the estimate with the surest gain, -1 where none is to be believed: (D,).

    ``gain`` and ``error`` are (c, D). A coordinate has to gain by so many standard errors, and the ratios of gain to
    error of all that do so have to sum to what chance hardly gives: about 0.05 a coordinate, give or take 0.3. A
    coordinate that is sure on its own is believed whatever the others do.
    """
    sure, index = (gain - errors * error).max(0)
    gain, error = (part.gather(0, index[None])[0] for part in (gain, error))
    ratio = torch.where(sure > 0, gain / error.clamp(min=1e-300), 0.0)
    dim = len(ratio)
    together = ratio.sum() > 2 + 0.5 * dim**0.5 + 0.05 * dim
    return torch.where((sure > 0) & (together | (ratio > SURE_ALONE)), index, -1)


def normal_law(data: Sorted, u: Tensor) -> Quantiles:
    """The quantile function of the normal law with the mean and standard deviation of the rows."""
    return Quantiles(data.mean + data.deviation * u, data.deviation.expand(len(u), -1))


def smoothed(data: Sorted, u: Tensor, bandwidth: float) -> Quantiles:
    """Sorted rows smoothed over their normal scores."""
    return _monotone(_regress(data.x, u, bandwidth), u, FLATTEST * data.scale)


def smoothed_asinh(data: Sorted, u: Tensor, bandwidth: float, width: float) -> Quantiles:
    """Sorted rows smoothed over their normal scores after asinh; ``width`` times the scale is where tails begin."""
    s = width * data.scale
    y = torch.asinh((data.x - data.median) / s)
    q = _monotone(_regress(y, u, bandwidth), u, torch.full_like(s, FLATTEST / width))
    beyond = q.value - q.value.clamp(y[0], y[-1])
    shrink = torch.where(beyond > 0, REACH / beyond[-1].clamp(min=REACH), 1.0)
    shrink = torch.where(beyond < 0, REACH / (-beyond[0]).clamp(min=REACH), shrink)
    value, slope = q.value + (shrink - 1) * beyond, q.slope * shrink
    return Quantiles(data.median + s * torch.sinh(value), s * slope * torch.cosh(value))


def _regress(x: Tensor, u: Tensor, bandwidth: float) -> Tensor:
    return local_linear_weights(len(x), bandwidth, tuple(u[:, 0].tolist())).to(x.device) @ x


def _monotone(value: Tensor, u: Tensor, flattest: Tensor) -> Quantiles:
    """Make a smoothed quantile function ascend by at least ``flattest`` per unit; its slopes are those of its secants.

    The slope at a knot is the geometric mean of the secants beside it, so that the inverse function has the inverse
    slopes, and a steep bin leaves its flat neighbour flat.
    """
    width = u.diff(dim=0)
    secant = torch.maximum(value.diff(dim=0) / width, flattest)
    climbed = torch.cat([torch.zeros_like(value[:1]), (secant * width).cumsum(0)])
    middle = len(u) // 2
    slope = (torch.cat([secant[:1], secant]) * torch.cat([secant, secant[-1:]])).sqrt()
    return Quantiles(value[middle] + climbed - climbed[middle], slope)


def normal_log_prob(z: Tensor) -> Tensor:
    """Log-density of the standard normal, element by element."""
    return -0.5 * z.square() - 0.5 * math.log(2 * math.pi)


def _columns(data: Sorted, mine: Tensor) -> Sorted:
    return Sorted(data.x[:, mine], data.mean[mine], data.deviation[mine], data.median[mine], data.scale[mine])


Estimate = Callable[[Sorted, Tensor], Quantiles]
ESTIMATES: tuple[Estimate, ...] = (
    normal_law,
    *(partial(smoothed, bandwidth=h) for h in (0.03, 0.1, 0.3, 1.0)),
    *(partial(smoothed_asinh, bandwidth=h, width=1.0) for h in (0.1, 0.3, 1.0)),
    *(partial(smoothed_asinh, bandwidth=h, width=3.0) for h in (0.3, 1.0)),
)
