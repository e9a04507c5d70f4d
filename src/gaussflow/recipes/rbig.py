"""Rotation-based iterative Gaussianization: a flow grown in closed form, and the rotations it may turn by."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

import torch

from gaussflow._check import check_int
from gaussflow.models.flow import Flow
from gaussflow.rows import Data, as_rows
from gaussflow.training._checkpoint import PathLike
from gaussflow.training._history import History
from gaussflow.training.grow import grow
from gaussflow.transforms.affine import Whiten
from gaussflow.transforms.axes import haar, ica, pca
from gaussflow.transforms.base import Chain, Transform
from gaussflow.transforms.hadamard import HadamardRotation
from gaussflow.transforms.marginal_spline import MarginalSpline
from gaussflow.transforms.rotation import Rotation

MakeRotation: TypeAlias = Callable[[int, torch.Generator], Transform]


def haar_rotation(dim: int, generator: torch.Generator) -> Transform:
    """A rotation by a Haar-random orthogonal matrix: sure to converge, slowly in high dimension.

    Parameters
    ----------
    dim
        Number of coordinates D.
    generator
        Source of its random numbers.

    Returns
    -------
    transform
        A `Rotation` of `haar`, to be fitted; maps x (..., D) to z (..., D).

    Examples
    --------
    >>> import torch
    >>> from gaussflow import haar_rotation
    >>> haar_rotation(3, torch.Generator()).fit(torch.randn(50, 3))(torch.randn(7, 3))[0].shape
    torch.Size([7, 3])
    """
    return Rotation(dim, haar(dim, generator))


def hadamard_rotation(dim: int, generator: torch.Generator) -> Transform:
    """A random rotation in O(D log D): signs, permutations and fast Walsh-Hadamard transforms.

    Parameters
    ----------
    dim
        Number of coordinates D.
    generator
        Source of its random numbers.

    Returns
    -------
    transform
        A `HadamardRotation`, to be fitted; maps x (..., D) to z (..., D).

    Examples
    --------
    >>> import torch
    >>> from gaussflow import hadamard_rotation
    >>> hadamard_rotation(3, torch.Generator()).fit(torch.randn(50, 3))(torch.randn(7, 3))[0].shape
    torch.Size([7, 3])
    """
    return HadamardRotation(dim, generator=generator)


def pca_rotation(dim: int, generator: torch.Generator) -> Transform:
    """A rotation to the principal axes of what is left: finds linear dependence at once.

    Parameters
    ----------
    dim
        Number of coordinates D.
    generator
        Unused: nothing is random here.

    Returns
    -------
    transform
        A `Rotation` by `pca`, to be fitted; maps x (..., D) to z (..., D).

    Examples
    --------
    >>> import torch
    >>> from gaussflow import pca_rotation
    >>> pca_rotation(3, torch.Generator()).fit(torch.randn(50, 3))(torch.randn(7, 3))[0].shape
    torch.Size([7, 3])
    """
    return Rotation(dim, pca)


def ica_rotation(dim: int, generator: torch.Generator) -> Transform:
    """Whitening, then a rotation to the independent axes: finds non-Gaussian directions, and on few rows invents some.

    Parameters
    ----------
    dim
        Number of coordinates D.
    generator
        Unused: nothing is random here.

    Returns
    -------
    transform
        `Whiten`, then a `Rotation` by `ica`, to be fitted; maps x (..., D) to z (..., D).

    Examples
    --------
    >>> import torch
    >>> from gaussflow import ica_rotation
    >>> ica_rotation(3, torch.Generator()).fit(torch.randn(50, 3))(torch.randn(7, 3))[0].shape
    torch.Size([7, 3])
    """
    return Chain(Whiten(dim), Rotation(dim, ica))


def whitening(dim: int, generator: torch.Generator) -> Transform:
    """Not a rotation: principal axes with unit variance each, the covariance shrunk as far as held-out rows ask.

    Parameters
    ----------
    dim
        Number of coordinates D.
    generator
        Unused: nothing is random here.

    Returns
    -------
    transform
        A `Whiten`, to be fitted; maps x (..., D) to z (..., D).

    Examples
    --------
    >>> import torch
    >>> from gaussflow import whitening
    >>> whitening(3, torch.Generator()).fit(torch.randn(50, 3))(torch.randn(7, 3))[0].shape
    torch.Size([7, 3])
    """
    return Whiten(dim)


def rbig(
    x: Data,
    *,
    valid: Data | None = None,
    rotation: MakeRotation = pca_rotation,
    knots: int = 48,
    max_blocks: int = 200,
    patience: int = 10,
    seed: int = 0,
    progress: bool = True,
    checkpoint: PathLike | None = None,
) -> tuple[Flow, History]:
    r"""Rotation-based iterative Gaussianization, grown in closed form and stopped on held-out rows.

    .. math:: f = g_L \circ Q_L \circ \dots \circ g_1 \circ Q_1 \circ g_0

    :math:`g_l` is a `MarginalSpline`, fitted as far as held-out rows confirm, and :math:`Q_l` a rotation. The first
    block has no rotation: it gives every column its own scale and takes heavy tails away before columns are mixed.

    Parameters
    ----------
    x
        Data: a tensor (N, D), a re-iterable of chunks, or a `Rows`. The flow has its dtype.
    valid
        Held-out rows; None holds out about a tenth of the rows, chosen by the seed.
    rotation
        Called as ``rotation(dim, generator)``; returns a new transform, which is then fitted. `haar_rotation`,
        `hadamard_rotation`, `pca_rotation`, `ica_rotation`, `whitening`, or your own.
    knots
        Knots of each spline, at least 8.
    max_blocks, patience, seed, progress, checkpoint
        See `grow`.

    Returns
    -------
    flow, history
        A `Flow` and the record of its blocks; see `grow`.

    Notes
    -----
    Source: Laparra, Camps-Valls & Malo (2011). Here the marginal transforms are smoothed by cross-validation and the
    number of blocks is decided on held-out rows.

    Examples
    --------
    >>> import torch
    >>> from gaussflow import rbig
    >>> x = torch.randn(500, 3).exp()
    >>> flow, history = rbig(x, max_blocks=3, progress=False)
    >>> flow.log_prob(x).shape, flow.sample(7).shape
    (torch.Size([500]), torch.Size([7, 3]))
    """
    check_int("rbig", "knots", knots, 8)
    rows = as_rows(x)

    def make_block(index: int, generator: torch.Generator) -> Transform:
        spline = MarginalSpline(rows.dim, knots)
        return spline if index == 0 else Chain(rotation(rows.dim, generator), spline)

    return grow(
        make_block,
        rows,
        valid=valid,
        max_blocks=max_blocks,
        patience=patience,
        seed=seed,
        progress=progress,
        checkpoint=checkpoint,
    )
