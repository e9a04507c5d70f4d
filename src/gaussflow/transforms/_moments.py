"""Moments of the rows that neither cancel nor overflow, and the shrinkage of a correlation matrix."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from gaussflow.rows import Rows

VARIANCE_FLOOR = 1e-10  # smallest eigenvalue of a correlation matrix that is told from zero: an axis 1e-5 long
FEWEST_ROWS = 16  # fewer rows cannot be cut in four
IDENTITY_PRICE = 5.0  # nats over all rows that any normal law must buy over the standard one: chance seldom gives them
SHRINKAGE_PRICE = 1.0  # nats over all rows that a shrinkage must buy: less is the noise of choosing it


class Frame(NamedTuple):
    """Middle and half range of each coordinate, (D,) each: in these units the data lies in [-1, 1].

    Powers then neither cancel at a large offset nor overflow in a heavy tail. The half range of a constant is 1.
    """

    middle: Tensor
    half: Tensor
    constant: Tensor
    size: Tensor

    @classmethod
    def of(cls, rows: Rows) -> Frame:
        """The frame of the rows; ``size`` is the largest absolute value of each coordinate."""
        low, high = rows.range()
        half = high / 2 - low / 2
        constant = half <= 0
        return cls(low / 2 + high / 2, half.masked_fill(constant, 1), constant, torch.maximum(-low, high))


class Moments(NamedTuple):
    """Count (), first moment (D,) and second moment (D, D) of the rows in the units of a frame."""

    n: Tensor
    s1: Tensor
    s2: Tensor

    @classmethod
    def of(cls, rows: Rows, frame: Frame) -> Moments:
        """One pass over the rows."""

        def f(x: Tensor, c: Tensor | None) -> tuple[Tensor, ...]:
            y = (x - frame.middle) / frame.half
            return torch.tensor(float(len(y)), dtype=y.dtype, device=y.device), y.sum(0), y.T @ y

        return cls(*rows.sum(f))

    def but(self, other: Moments) -> Moments:
        """The moments without some of the rows."""
        return Moments(self.n - other.n, self.s1 - other.s1, self.s2 - other.s2)

    @property
    def mean(self) -> Tensor:
        """Mean (D,)."""
        return self.s1 / self.n

    def about(self, point: Tensor) -> Tensor:
        """Second moment (D, D) about a point (D,), divisor n."""
        cross = torch.outer(self.mean, point)
        return self.s2 / self.n - cross - cross.T + torch.outer(point, point)


def correlation(covariance: Tensor) -> tuple[Tensor, Tensor]:
    """Standard deviations (D,) and correlation matrix (D, D), with 0 and a unit vector where nothing varies."""
    scale = covariance.diagonal().clamp(min=0).sqrt()
    divisor = scale.masked_fill(scale == 0, 1)
    matrix = covariance / torch.outer(divisor, divisor)
    matrix[scale == 0] = 0
    matrix[:, scale == 0] = 0
    return scale, matrix.fill_diagonal_(1)


def moments_and_shrinkage(rows: Rows, frame: Frame) -> tuple[Moments, float]:
    r"""Moments of all rows, and the shrinkage :math:`\lambda` of their correlation that held-out rows ask for.

    Shrunk is :math:`R_\lambda = (1 - \lambda) R + \lambda I`, with :math:`\lambda = \nu / (\nu + N)`: as if :math:`\nu`
    rows without correlation had been seen. The rows are cut in four; each part is scored under the Gaussian of the
    other three, in closed form for all :math:`\nu` at once, from one eigenbasis: both terms of the log-likelihood are
    sums over its axes. The :math:`\nu` with the best total is used with all N rows; zero, if none buys a nat in total.
    With fewer than 16 rows :math:`\lambda = 1`.
    """
    return moments_and_belief(rows, frame)[:2]


def correlation_is_confirmed(rows: Rows) -> bool:
    """Whether held-out rows want all the correlation that the others have: 5 nats in total over none of it, and over
    the standard normal law. With fewer than 16 rows they are not asked, and do not.
    """
    parts = _quarters_there(rows)
    if not parts:
        return False
    frame = Frame.of(rows)
    held = [Moments.of(part, frame) for part in parts]
    whole = Moments(sum(h.n for h in held), sum(h.s1 for h in held), sum(h.s2 for h in held))  # type: ignore[arg-type]
    grid = torch.tensor([0.0, 1.0]).to(whole.s1)
    full, none = torch.stack([_score(whole.but(h), h, grid, whole.n) for h in held]).sum(0)
    return bool(full > torch.maximum(none, _standard_score(whole, held, frame)) + IDENTITY_PRICE)


def moments_and_belief(rows: Rows, frame: Frame) -> tuple[Moments, float, bool]:
    """Those moments and that shrinkage, and whether held-out rows want them rather than the standard normal law.

    They do where the best shrinkage buys 5 nats in total. With fewer than 16 rows, none of which are held out, they do.
    """
    parts = _quarters_there(rows)
    if not parts:
        return Moments.of(rows, frame), 1.0, True
    held = [Moments.of(part, frame) for part in parts]
    whole = Moments(sum(h.n for h in held), sum(h.s1 for h in held), sum(h.s2 for h in held))  # type: ignore[arg-type]
    grid = torch.cat([torch.zeros(1), torch.logspace(-6, 0, 61)]).to(whole.s1)
    scores = torch.stack([_score(whole.but(h), h, grid, whole.n) for h in held]).sum(0)
    wanted = not bool(scores.max() - _standard_score(whole, held, frame) <= IDENTITY_PRICE)  # NaN of huge rows: wanted
    scores[0] += SHRINKAGE_PRICE
    good = scores >= scores.max() - 1e-9 * scores.max().abs()
    return whole, float(grid[good].max()), wanted  # among equals the most cautious


def _quarters_there(rows: Rows) -> list[Rows]:
    """Four disjoint parts of about equal size, the same for every engine; none where there are too few rows."""
    if rows.n < FEWEST_ROWS:
        return []
    try:
        return [quarter for half in rows.split(0.5, seed=0) for quarter in half.split(0.5, seed=1)]
    except ValueError:  # a quarter without rows
        return []


def _standard_score(whole: Moments, held: list[Moments], frame: Frame) -> Tensor:
    """Log-likelihood () of all rows under N(0, I), with the constant that `_score` leaves out."""
    squares = whole.n * whole.about(-frame.middle / frame.half).diagonal() * frame.half.square()
    constant = torch.zeros_like(whole.n)
    for h in held:
        train = whole.but(h)
        scale = correlation(train.about(train.mean))[0]
        constant += h.n * (scale.masked_fill(scale == 0, 1) * frame.half).log().sum()
    return constant - squares.sum() / 2


def _score(train: Moments, held: Moments, grid: Tensor, n: Tensor) -> Tensor:
    """Log-likelihood (G,) of held-out rows under the Gaussian of the others, up to a constant, per shrinkage."""
    scale, matrix = correlation(train.about(train.mean))
    scale = scale.masked_fill(scale == 0, 1)
    values, vectors = torch.linalg.eigh(matrix)
    seen = vectors.T @ (held.about(train.mean) / torch.outer(scale, scale)) @ vectors
    shrinkage = (grid * n / (grid * n + (1 - grid) * train.n))[:, None]
    variances = ((1 - shrinkage) * values + shrinkage).clamp(min=VARIANCE_FLOOR)
    score: Tensor = -held.n / 2 * (variances.log() + seen.diagonal() / variances).sum(1)
    return score
