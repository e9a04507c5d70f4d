r"""The closed-form fit of a marginal: a smooth map to the standard normal that is good on rows it has not seen.

A coordinate is :math:`x = Q(u)` with :math:`u \sim N(0, 1)`; the fit estimates :math:`Q`, and the map to the latent is
its inverse. Which estimate is believed is decided for each coordinate on its own, by cross-validated log-likelihood:

- the identity: the coordinate is standard normal already and is left alone;
- the normal law, :math:`Q(u) = \mu + \sigma u`;
- the sorted rows smoothed over their normal scores (`gaussflow.ops.quantile`) with one of several bandwidths;
- the same after :math:`\operatorname{asinh}((x - m) / s)`, which heavy tails need;
- narrow peaks over a smooth background (`_peaks`), anywhere or evenly spaced, where pairs of rows tell of peaks.

A richer estimate has to beat a simpler one by a standard error of the difference, and all coordinates together by more
than chance would give, which keeps noise out.
"""

from __future__ import annotations

import torch
from torch import Tensor

from gaussflow.ops._sort import sorted_columns
from gaussflow.ops.spline import rq_spline
from gaussflow.rows import Rows
from gaussflow.transforms._estimates import ESTIMATES, Sorted, normal_knots, normal_log_prob
from gaussflow.transforms._peak_map import peaked
from gaussflow.transforms._peaks import clump_width
from gaussflow.transforms._sorted_scores import SortedPoints

SELECT_ROWS = 8192  # rows among which estimates are compared
FIT_ROWS = 16384  # rows the chosen estimate is made from
FOLDS = 4
COLUMNS = 32  # looked at together: the estimates of all columns at once would need more memory than the rows
FIT_COLUMNS = 8  # fitted together, likewise
STANDARD_ERRORS = 1.0  # by so many a richer estimate has to win on a coordinate
SURE_ALONE = 4.0  # standard errors that need no support by other coordinates
MOST_OF_A_ROW = 10.0  # nats that one row may count in favour of an estimate: an outlier is one row among many
MOST_AGAINST = 100.0  # and so many against it: a far row that a fold has not seen decides nothing alone
WORST = -1e30  # a log-density
GRID = 161  # fine knots that the estimates are compared on; a fit keeps some of them
FEWEST_KNOTS = 16  # with fewer no peaks are sought
MIN_ROWS = 16  # fewer rows than this tell no shape


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
    chosen, width = choose(rows.sample(SELECT_ROWS)[0], normal_knots(GRID).to(rows.device), knots)
    ends, (x, _) = torch.stack(rows.range()), rows.sample(FIT_ROWS)
    columns = zip(*(t.split(FIT_COLUMNS, -1) for t in (x, chosen, width, ends)), strict=True)
    parts = [_fitted(some, mine, peaks, far, knots) for some, mine, peaks, far in columns]
    xs, zs, slopes = (torch.cat(tables, 1) for tables in zip(*parts, strict=True))
    return xs, zs, slopes


def _fitted(x: Tensor, chosen: Tensor, width: Tensor, ends: Tensor, knots: int) -> tuple[Tensor, Tensor, Tensor]:
    """Knots, values and slopes (K, D) of columns x (n, D) by the chosen estimates; ``ends`` (2, D) of all rows."""
    u, data = normal_knots(max(GRID, knots)).to(x.device), Sorted.of(sorted_columns(x).double().T)
    value, slope = u.repeat(1, x.shape[1]), torch.ones_like(u).repeat(1, x.shape[1])
    for i, estimate in enumerate(ESTIMATES):
        mine = chosen == i
        if bool(mine.any()):
            q = estimate(data.columns(mine), u)
            value[:, mine], slope[:, mine] = q.value, q.slope
    _reach_out(value, slope, u, *ends)
    index = kept_knots(torch.asinh((value - data.median) / data.scale), u, knots)
    xs, zs, slopes = value.gather(0, index), u.expand_as(value).gather(0, index), 1 / slope.gather(0, index)
    for i, even in enumerate((False, True), len(ESTIMATES)):
        mine = chosen == i
        if bool(mine.any()):
            xs[:, mine], zs[:, mine], slopes[:, mine] = peaked(data.columns(mine), width[mine], knots, even=even)
    return xs, zs, slopes


def _reach_out(value: Tensor, slope: Tensor, u: Tensor, low: Tensor, high: Tensor) -> None:
    """Let the outermost knots (G, D) reach the farthest rows (D,): on a straight line these would stay as far away.

    A row a million deviations away decides nothing about the estimate, and what comes behind, a covariance for example,
    would be about that row alone.
    """
    for end, before, row in ((0, 1, torch.minimum(value[0], low)), (-1, -2, torch.maximum(value[-1], high))):
        secant, farther = (row - value[before]) / (u[end] - u[before]), row != value[end]
        between = (slope[before] * secant).sqrt()  # or all that lies between would come to lie at the end
        slope[before] = torch.where(farther, torch.maximum(slope[before], between), slope[before])
        slope[end] = torch.where(farther, torch.maximum(slope[end], secant), slope[end])
        value[end] = row


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


def choose(x: Tensor, u: Tensor, knots: int) -> tuple[Tensor, Tensor]:
    """For each coordinate of x (n, D), the index of the estimate to believe, -1 for the identity, and the width of
    its peaks, 0 without peaks: two tensors (D,).
    """
    n, dim = x.shape
    if n < MIN_ROWS:
        return torch.full((dim,), 0 if n > 1 else -1, device=x.device), x.new_zeros(dim, dtype=torch.float64)
    sums, width = (
        torch.cat(parts, -1) for parts in zip(*(_gains(c, u, knots) for c in x.split(COLUMNS, 1)), strict=True)
    )
    (gain, error), (more, more_error) = (_mean_and_error(s1 / n, s2 / n, n) for s1, s2 in sums)
    normal = _believed(gain[:1], error[:1], 0.0)
    took = normal == 0
    richer = _believed(torch.where(took, more, gain)[1:], torch.where(took, more_error, error)[1:], STANDARD_ERRORS)
    return torch.where(richer >= 0, richer + 1, normal), width


def _gains(x: Tensor, u: Tensor, knots: int) -> tuple[Tensor, Tensor]:
    """What each estimate of the columns x (n, D) gains over the identity and over the normal law on held-out rows.

    Sums and sums of squares over the rows, (2, 2, estimates, D), and the widths of peaks (D,).
    """
    whole = Sorted.of(sorted_columns(x).double().T)
    width = clump_width(whole.x, whole.deviation)
    fold = torch.arange(len(x), device=x.device) % FOLDS
    sums = torch.zeros(2, 2, len(ESTIMATES) + 2, x.shape[1], dtype=torch.float64, device=x.device)
    for i in range(FOLDS):
        train, test = (sorted_columns(x[part]).double() for part in (fold != i, fold == i))
        identity = _single(normal_log_prob(test))
        scores = _scores(Sorted.of(train.T.contiguous()), test, u, width, knots)
        for j, score in enumerate(scores):
            for gains, simpler in zip(sums, (identity, scores[0]), strict=True):
                gain = (score - simpler).clamp_(-MOST_AGAINST, MOST_OF_A_ROW)
                gains[0, j] += gain.sum(1)
                gains[1, j] += gain.square_().sum(1)
    return sums, width


def _scores(data: Sorted, test: Tensor, u: Tensor, width: Tensor, knots: int) -> list[Tensor]:
    """Log-density of held-out rows (D, m), ascending, by every estimate, in single precision.

    Those of peaks are last, as bad as can be without peaks.
    """
    points = SortedPoints.of(test, data.median, data.scale)
    scores = [points.log_prob(q.value, q.slope, u) for q in (estimate(data, u) for estimate in ESTIMATES)]
    clumped = (width > 0) & (knots >= FEWEST_KNOTS)
    for even in (False, True):
        score = torch.full_like(points.x, WORST)
        if bool(clumped.any()):
            tables = peaked(data.columns(clumped), width[clumped], knots, even=even)
            z, log_slope = rq_spline(test[clumped].T, *tables)
            score[clumped] = _single((normal_log_prob(z) + log_slope).T)
        scores.append(score)
    return scores


def _single(log_prob: Tensor) -> Tensor:
    """In single precision, and finite: two of them are subtracted."""
    return log_prob.clamp(min=WORST).float()


def _mean_and_error(mean: Tensor, square: Tensor, n: int) -> tuple[Tensor, Tensor]:
    return mean, ((square - mean.square()).clamp(min=0) / n).sqrt()


def _believed(gain: Tensor, error: Tensor, errors: float) -> Tensor:
    """For each coordinate, the index of the estimate with the surest gain, -1 where none is to be believed: (D,).

    ``gain`` and ``error`` are (c, D). A coordinate has to gain by so many standard errors, and the ratios of gain to
    error of all that do so have to sum to what chance hardly gives: at most 0.08 a coordinate, give or take 0.25. A
    coordinate that is sure on its own is believed whatever the others do.
    """
    sure, index = (gain - errors * error).max(0)
    gain, error = (part.gather(0, index[None])[0] for part in (gain, error))
    ratio = torch.where(sure > 0, gain / error.clamp(min=1e-300), 0.0)
    dim = len(ratio)
    together = ratio.sum() > 2 + 0.5 * dim**0.5 + 0.1 * dim
    return torch.where((sure > 0) & (together | (ratio > SURE_ALONE)), index, -1)
