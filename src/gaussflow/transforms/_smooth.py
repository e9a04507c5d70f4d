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

from gaussflow.ops._spline import rq_spline
from gaussflow.rows import Rows
from gaussflow.transforms._estimates import ESTIMATES, Sorted, estimated, normal_knots, normal_log_prob
from gaussflow.transforms._folds import folds, sorted_rows
from gaussflow.transforms._peak_map import peaked
from gaussflow.transforms._peaks import clump_width
from gaussflow.transforms._sorted_scores import SortedPoints

FIT_ROWS = 16384  # rows that estimates are compared on, and the one believed is made from
COLUMNS = 64  # looked at together: more would need more memory than the rows, fewer more time for calls
FIT_COLUMNS = 16  # fitted together, likewise
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
    chosen, width, x = choose(rows.sample(FIT_ROWS)[0], normal_knots(GRID).to(rows.device), knots)
    ends = torch.stack(rows.range())
    columns = zip(*(t.split(FIT_COLUMNS, -1) for t in (x, chosen, width, ends)), strict=True)
    parts = [_fitted(some, mine, peaks, far, knots) for some, mine, peaks, far in columns]
    xs, zs, slopes = (torch.cat(tables, 1) for tables in zip(*parts, strict=True))
    return xs, zs, slopes


def _fitted(x: Tensor, chosen: Tensor, width: Tensor, ends: Tensor, knots: int) -> tuple[Tensor, Tensor, Tensor]:
    """Knots, values and slopes (K, D) of sorted columns x (n, D) by the chosen estimates; ``ends`` (2, D) of all rows.

    A column that is left alone has knots as it would in units of its own.
    """
    u = normal_knots(max(GRID, knots)).to(x.device)
    value, slope = u.repeat(1, x.shape[1]), torch.ones_like(u).repeat(1, x.shape[1])
    y, moved = value.clone(), chosen >= 0
    data = Sorted.of(x[:, moved].double())
    cells = data.in_cells()
    for i, estimate in enumerate(ESTIMATES):
        mine = chosen == i
        if bool(mine.any()):
            q = estimate(cells.columns(mine[moved]), u)
            value[:, mine], slope[:, mine] = q.value, q.slope
    _reach_out(value, slope, u, *ends)
    y[:, moved] = (value[:, moved] - data.median) / data.scale
    index = kept_knots(torch.asinh(y), u, knots)
    xs, zs, slopes = value.gather(0, index), u.expand_as(value).gather(0, index), 1 / slope.gather(0, index)
    for i, even in enumerate((False, True), len(ESTIMATES)):
        mine = chosen == i
        if bool(mine.any()):
            tables = peaked(data.columns(mine[moved]), width[mine], knots, even=even)
            xs[:, mine], zs[:, mine], slopes[:, mine] = tables
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


def choose(x: Tensor, u: Tensor, knots: int) -> tuple[Tensor, Tensor, Tensor]:
    """For each column of rows x (n, D), the index of the estimate to believe, -1 for the identity, and the width of its
    peaks, 0 without peaks, (D,) each; and the columns in ascending order (n, D), in the dtype of x.
    """
    n, dim = x.shape
    if n < MIN_ROWS:
        chosen = torch.full((dim,), 0 if n > 1 else -1, device=x.device)
        return chosen, x.new_zeros(dim, dtype=torch.float64), x.sort(0).values
    sums, width, ordered = (
        torch.cat(parts, -1) for parts in zip(*(_gains(part, u, knots) for part in x.split(COLUMNS, 1)), strict=True)
    )
    (gain, error), (more, more_error) = (_mean_and_error(s1 / n, s2 / n, n) for s1, s2 in sums)
    normal = _believed(gain[:1], error[:1], 0.0)
    took = normal == 0
    richer = _believed(torch.where(took, more, gain)[1:], torch.where(took, more_error, error)[1:], STANDARD_ERRORS)
    return torch.where(richer >= 0, richer + 1, normal), width, ordered


def _gains(x: Tensor, u: Tensor, knots: int) -> tuple[Tensor, Tensor, Tensor]:
    """What each estimate of columns x (n, D) gains over the identity and over the normal law on held-out rows.

    Sums and sums of squares over the rows, (2, 2, estimates, D), and the widths of peaks (D,); and the columns in
    ascending order (n, D).
    """
    dtype, (x, label) = x.dtype, sorted_rows(x)
    whole = Sorted.of(x.T)
    rows = whole.in_units()
    width = clump_width(rows.x, (whole.deviation / whole.scale).float()).double() * whole.scale
    sums = torch.zeros(2, 2, len(ESTIMATES) + 2, len(x), dtype=torch.float64, device=x.device)
    for train, test, weight in folds(label):
        held = _taken(x, test)
        identity = _single(normal_log_prob(held) + whole.scale.log()[:, None])
        peaks = _peak_scores(x, train, held, width, knots) + whole.scale.log().float()[:, None, None]
        held = ((held - whole.median[:, None]) / whole.scale[:, None]).float()
        scores = torch.cat([_scores(rows.some(train), held, u), peaks], 1)
        for gains, simpler in zip(sums, (identity[:, None], scores[:, :1]), strict=True):
            gain = (scores - simpler).clamp_(-MOST_AGAINST, MOST_OF_A_ROW)
            gains[0] += (gain @ weight).T
            gains[1] += (gain.square_() @ weight).T
    return sums, width, x.T.to(dtype)


def _taken(x: Tensor, place: Tensor) -> Tensor:
    return x.view(-1).index_select(0, place.reshape(-1)).view(place.shape)


def _scores(data: Sorted, test: Tensor, u: Tensor) -> Tensor:
    """Log-densities (D, E, m) of held-out rows (D, m), ascending, by every estimate but those of peaks."""
    q = estimated(data, ESTIMATES, u)
    return SortedPoints.of(test, data.median, data.scale).log_prob(q.value, q.slope, u)


def _peak_scores(x: Tensor, train: Tensor, test: Tensor, width: Tensor, knots: int) -> Tensor:
    """Log-densities (D, 2, m) of held-out rows (D, m) by the estimates of peaks anywhere and evenly spaced.

    Fitted to the rows at the places ``train`` (D, r) of sorted columns x (D, n); as bad as can be where there are no
    peaks.
    """
    scores = torch.full((len(test), 2, test.shape[1]), WORST, device=test.device)
    clumps = (width > 0) & (knots >= FEWEST_KNOTS)
    if bool(clumps.any()):
        data = Sorted.of(_taken(x, train[clumps]).T)
        for i, even in enumerate((False, True)):
            z, log_slope = rq_spline(test[clumps].T, *peaked(data, width[clumps], knots, even=even))
            scores[clumps, i] = _single((normal_log_prob(z) + log_slope).T)
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
