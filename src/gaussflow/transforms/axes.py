"""Axes for a `Rotation`: functions of the rows that return an orthogonal matrix, one axis a row."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from math import log
from typing import NamedTuple

import torch
from torch import Tensor

from gaussflow._check import check_int
from gaussflow.ops.orthogonal import cayley, eigenbasis, haar, point_up
from gaussflow.rows import Data, Rows, as_rows
from gaussflow.transforms._moments import VARIANCE_FLOOR, Frame, Moments
from gaussflow.transforms._subspaces import turned_to_subspaces

__all__ = ["haar", "ica", "independent_subspaces", "pca"]

LOG_COSH_OF_NORMAL = 0.37456720749143807  # E log cosh of a standard normal, by quadrature


def pca(rows: Data) -> Tensor:
    r"""Principal axes: the eigenvectors of the covariance, the largest variance first.

    Each axis has the sign that makes its largest entry positive. Axes of equal variance, which data cannot tell
    apart, are a fixed random basis of the space they share; so whitened data, constants and fewer rows than
    coordinates give the same axes however the sums were taken. Units matter: standardise first where columns have
    their own.

    Parameters
    ----------
    rows
        Data: a tensor (N, D), chunks, or a `Rows`.

    Returns
    -------
    axes
        Orthogonal matrix (D, D), one axis a row, float64.

    Examples
    --------
    >>> import torch
    >>> from gaussflow import pca
    >>> pca(torch.randn(100, 3)).shape
    torch.Size([3, 3])
    """
    return _principal(as_rows(rows))[1]


def ica(rows: Data, *, iterations: int = 100, seed: int = 0) -> Tensor:
    r"""Independent axes: those whose coordinates are farthest from Gaussian by the contrast log cosh.

    The data is whitened to :math:`y = \Lambda^{-1/2} V (x - \mu)` and turned by the orthogonal W that maximises

    .. math:: J(W) = \sum_i \bigl(E[G((W y)_i)] - E[G(\nu)]\bigr)^2, \quad G = \log\cosh, \quad \nu \sim N(0, 1),

    the objective of FastICA with symmetric decorrelation (Hyvärinen 1999). FastICA's fixed point is not taken: on
    nearly Gaussian data it never settles and blows up rounding errors, so that two orders of summation give unrelated
    axes. Here J is climbed from a Haar matrix of the seed by damped Newton steps with one curvature for each pair of
    axes (as Ablin et al. 2018 do for the likelihood), each trial one pass over the rows, until a step gains less than a
    hundredth over all rows or the iterations are used up.

    What is returned is :math:`W V`: the orthogonal polar factor of the unmixing :math:`W \Lambda^{-1/2} V`, hence the
    orthogonal matrix nearest to it. On white data, after `Whiten`, it is the unmixing itself. Axes of no variance keep
    those of `pca`. Gaussian data has no independent axes: what is found there is an accident of the sample.

    Parameters
    ----------
    rows
        Data: a tensor (N, D), chunks, or a `Rows`.
    iterations
        The largest number of steps.
    seed
        Of the start.

    Returns
    -------
    axes
        Orthogonal matrix (D, D), one axis a row, float64.

    Examples
    --------
    >>> import torch
    >>> from gaussflow import ica
    >>> ica(torch.rand(100, 3)).shape
    torch.Size([3, 3])
    """
    rows = as_rows(rows)
    variances, axes, mean, unit = _principal(rows)
    rank = int((variances > VARIANCE_FLOOR * variances[0]).sum())
    if rank < 2:
        return axes
    whiten = axes[:rank] / variances[:rank, None].sqrt()
    start = haar(rank, torch.Generator().manual_seed(seed), torch.float64, rows.device)
    turn = _climbed(start, lambda w: Contrast.of(rows, w, whiten, mean, unit), iterations, 0.01 / rows.n)
    return torch.cat([point_up(turn @ axes[:rank]), axes[rank:]])


def independent_subspaces(rows: Data, *, most: int = 4, seed: int = 0) -> tuple[Tensor, list[list[int]]]:
    r"""Orthonormal axes, and their groups: coordinates depend on others of their group alone.

    The axes Q and groups g maximise the likelihood of one normal mixture for each group,

    .. math:: \sum_i \sum_g \log p_g\bigl((Q x_i)_g\bigr), \qquad
        p_g(y) = \sum_k \pi_{gk}\, N(y;\, \mu_{gk}, \Sigma_{gk}).

    Independent axes (`ica`) are the start: where there are independent subspaces, they lie in these, turned within them
    (Cardoso 1998). Pairs of axes that tell most of one another are made groups. Then steps of expectation maximisation
    and turns :math:`Q \leftarrow \operatorname{cayley}(S)\, Q` take turns. With the slopes
    :math:`\varphi = -\nabla \log p_g` and :math:`G_{ij} = E[\varphi_i y_j]`, for axes of two groups,

    .. math:: S_{ij} = \frac{G_{ji} - G_{ij}}
        {E[\varphi_i^2] E[y_j^2] + E[\varphi_j^2] E[y_i^2] - 2},

    is the step of Newton for independent groups (Pham and Garat 1997; Ablin, Cardoso and Gramfort 2018). It ends where
    rows held out gain nothing. Last, groups that still tell of one another are joined, and it is done again.

    Parameters
    ----------
    rows
        Data: a tensor (N, D), chunks, or a `Rows`, best white (`Whiten`); at most 8192 of the rows are used.
    most
        The largest number of axes in a group.
    seed
        Of the rows taken, and of the starts.

    Returns
    -------
    axes
        Orthogonal matrix (D, D), one axis a row, float64.
    groups
        Lists of indices of axes, each axis in one of them.

    Raises
    ------
    ValueError
        For ``most`` below 1.

    Notes
    -----
    Source: Cardoso (1998), Hyvärinen and Hoyer (2000) for the model; a mixture as the law of a group, and the joining
    of groups, are of this library. Nothing tells independent subspaces of normal data: what is found there is an
    accident of the sample, harmless as a turn of the axes.

    Examples
    --------
    >>> import torch
    >>> from gaussflow import independent_subspaces
    >>> angle, radius = 6.3 * torch.rand(500, 2), 1 + 0.1 * torch.randn(500, 2)
    >>> rings = torch.cat([radius * angle.cos(), radius * angle.sin()], 1)
    >>> axes, groups = independent_subspaces(rings)
    >>> axes.shape, sorted(len(group) for group in groups)
    (torch.Size([4, 4]), [2, 2])
    """
    check_int("independent_subspaces", "most", most, 1)
    check_int("independent_subspaces", "seed", seed, 0)
    return turned_to_subspaces(partial(ica, seed=seed), as_rows(rows), most, seed)


def _principal(rows: Rows) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Variances (D,), axes (D, D) and mean (D,), in units () of the widest coordinate's half range."""
    frame = Frame.of(rows)
    moments = Moments.of(rows, frame)
    unit = frame.half.masked_fill(frame.constant, 0).amax()
    unit = torch.where(unit > 0, unit, torch.ones_like(unit))
    half = frame.half / unit
    covariance = moments.about(moments.mean) * torch.outer(half, half)
    covariance = covariance.masked_fill(frame.constant | frame.constant[:, None], 0)
    variances, axes = eigenbasis(covariance)
    return variances, axes, moments.mean * frame.half + frame.middle, unit


class Contrast(NamedTuple):
    """The contrast of m coordinates and what a small turn changes in it."""

    excess: Tensor  # (m,): E G(y_i) above that of a standard normal
    outer: Tensor  # (m, m): E g(y_i) y_j, with g = G'
    curve: Tensor  # (m, m): E g'(y_i) y_j^2

    @classmethod
    def of(cls, rows: Rows, turn: Tensor, whiten: Tensor, mean: Tensor, unit: Tensor) -> Contrast:
        """One pass over the rows turned by W (m, m)."""
        axes = (turn @ whiten).T / unit

        def f(x: Tensor, c: Tensor | None) -> tuple[Tensor, ...]:
            y = (x - mean) @ axes
            size = y.abs()
            small = (-2 * size).exp()  # one exponential gives log cosh, without overflow, and tanh
            g = y.sign() * (1 - small) / (1 + small)
            return (size + small.log1p() - log(2)).sum(0), g.T @ y, (1 - g.square()).T @ y.square()

        value, outer, curve = (total / rows.n for total in rows.sum(f))
        return cls(value - LOG_COSH_OF_NORMAL, outer, curve)

    @property
    def value(self) -> float:
        """J."""
        return float(self.excess.square().sum())

    def step(self) -> Tensor:
        """The skew-symmetric turn (m, m): for each pair of axes slope over size of curvature, at most 1/2."""
        slope = 2 * self.excess[:, None] * self.outer
        curve = 2 * self.outer.square() + 2 * self.excess[:, None] * (self.curve - self.outer.diagonal()[:, None])
        size = (curve + curve.T).abs()
        turn = ((slope - slope.T) / (size + 1e-3 * size.amax() + 1e-300)).clamp(-0.5, 0.5).triu(1)
        return turn - turn.T


def _climbed(turn: Tensor, contrast: Callable[[Tensor], Contrast], iterations: int, least: float) -> Tensor:
    """Climb from ``turn`` (m, m): a step is halved until it gains, and the climb ends where none does."""
    here, size = contrast(turn), 1.0
    for _ in range(iterations):
        there, tried = here, turn
        while there.value <= here.value and size > 1e-3:
            tried = cayley(size * here.step()) @ turn
            there = contrast(tried)
            size /= 2
        gain = there.value - here.value
        if gain <= 0:
            break
        here, turn, size = there, tried, min(1.0, 4 * size)
        if gain < least:
            break
    return turn
