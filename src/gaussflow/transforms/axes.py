"""Axes for a `Rotation`: functions of the rows that return an orthogonal matrix, one axis a row."""

from __future__ import annotations

import torch
from torch import Tensor

from gaussflow.ops.orthogonal import eigenbasis, haar, point_up
from gaussflow.rows import Data, Rows, as_rows
from gaussflow.transforms._moments import VARIANCE_FLOOR, Frame, Moments

__all__ = ["haar", "ica", "pca"]


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


def ica(rows: Data, *, iterations: int = 200, tolerance: float = 1e-6, seed: int = 0) -> Tensor:
    r"""Independent axes by FastICA with symmetric decorrelation and the contrast log cosh (Hyvärinen 1999).

    The data is whitened to :math:`y = \Lambda^{-1/2} V (x - \mu)`, and each iteration is one pass over the rows,

    .. math:: W \leftarrow \operatorname{polar}\bigl(E[g(W y)\, y^\top] - \operatorname{diag} E[g'(W y)]\, W\bigr),
              \quad g = \tanh,

    from a Haar matrix of the seed, until no axis turns by more than the tolerance or the iterations are used up.
    What is returned is :math:`W V`: the orthogonal polar factor of the unmixing :math:`W \Lambda^{-1/2} V`, hence the
    orthogonal matrix nearest to it. On white data, after `Whiten`, it is the unmixing itself. Axes of no variance keep
    those of `pca`. Gaussian data has no independent axes to find; what is found there is an accident of the sample.

    Parameters
    ----------
    rows
        Data: a tensor (N, D), chunks, or a `Rows`.
    iterations
        The largest number of iterations.
    tolerance
        An iteration that turns no axis by more, as 1 minus the cosine, is the last.
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
    turn = haar(rank, torch.Generator().manual_seed(seed), torch.float64, rows.device)
    for _ in range(iterations):
        before, turn = turn, _turned(rows, turn, whiten, mean, unit)
        if float((1 - (turn * before).sum(1).abs()).max()) < tolerance:
            break
    return torch.cat([point_up(turn @ axes[:rank]), axes[rank:]])


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


def _turned(rows: Rows, turn: Tensor, whiten: Tensor, mean: Tensor, unit: Tensor) -> Tensor:
    """One iteration of FastICA on whitened data: W (m, m) to W (m, m)."""

    def f(x: Tensor, c: Tensor | None) -> tuple[Tensor, ...]:
        y = ((x - mean) / unit) @ whiten.T
        g = (y @ turn.T).tanh()
        return g.T @ y, (1 - g.square()).sum(0)

    outer, slope = rows.sum(f)
    left, _, right = torch.linalg.svd(outer / rows.n - (slope / rows.n)[:, None] * turn)
    product: Tensor = left @ right
    return product
