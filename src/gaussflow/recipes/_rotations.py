"""What the blocks of a grown flow may turn by: each makes a new transform, which is then fitted."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TypeAlias

import torch

from gaussflow.rows import Rows
from gaussflow.transforms._moments import correlation_is_confirmed
from gaussflow.transforms.affine import Whiten
from gaussflow.transforms.axes import haar, ica, pca
from gaussflow.transforms.base import Chain, Transform
from gaussflow.transforms.confirmed import confirmed
from gaussflow.transforms.hadamard import HadamardRotation
from gaussflow.transforms.pursuit import projection_pursuit, sliced_wasserstein
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
    """A rotation to the principal axes of what is left, where held-out rows confirm its correlation: it goes at once.

    The variances along the principal axes of the rows are farther apart than those of their law, and what comes behind
    believes them. So where four quarters of the rows, each under the other three, are not likelier by 5 nats in total
    with all the correlation than with none, the axes are random.

    Parameters
    ----------
    dim
        Number of coordinates D.
    generator
        Source of the axes that stand in for what is not confirmed.

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
    return Rotation(dim, partial(_principal, _seed(generator)))


def _principal(seed: int, rows: Rows) -> torch.Tensor:
    if correlation_is_confirmed(rows):
        return pca(rows)
    return haar(rows.dim, torch.Generator().manual_seed(seed), torch.float64, rows.device)


def ica_rotation(dim: int, generator: torch.Generator) -> Transform:
    """Whitening, then a rotation to the independent axes: non-Gaussian directions, as far as other rows confirm them.

    Parameters
    ----------
    dim
        Number of coordinates D.
    generator
        Source of the split of the rows, and of the axes that stand in for what is not confirmed.

    Returns
    -------
    transform
        `Whiten`, then a `Rotation` by `confirmed` `ica`, to be fitted; maps x (..., D) to z (..., D).

    Examples
    --------
    >>> import torch
    >>> from gaussflow import ica_rotation
    >>> ica_rotation(3, torch.Generator()).fit(torch.randn(50, 3))(torch.randn(7, 3))[0].shape
    torch.Size([7, 3])
    """
    return Chain(Whiten(dim), Rotation(dim, confirmed(ica, seed=_seed(generator))))


def pursuit_rotation(dim: int, generator: torch.Generator) -> Transform:
    """A rotation to the directions farthest from normal by `projection_pursuit`, as far as other rows confirm them.

    Parameters
    ----------
    dim
        Number of coordinates D.
    generator
        Source of the start, of the split of the rows, and of the axes that stand in for what is not confirmed.

    Returns
    -------
    transform
        A `Rotation` by `confirmed` axes, to be fitted; maps x (..., D) to z (..., D).

    Examples
    --------
    >>> import torch
    >>> from gaussflow import pursuit_rotation
    >>> pursuit_rotation(3, torch.Generator()).fit(torch.randn(50, 3))(torch.randn(7, 3))[0].shape
    torch.Size([7, 3])
    """
    return _searched(dim, projection_pursuit, generator)


def sliced_rotation(dim: int, generator: torch.Generator) -> Transform:
    """A rotation to the directions of most `sliced_wasserstein` distance, as far as other rows confirm them.

    Parameters
    ----------
    dim
        Number of coordinates D.
    generator
        Source of the start, of the split of the rows, and of the axes that stand in for what is not confirmed.

    Returns
    -------
    transform
        A `Rotation` by `confirmed` axes, to be fitted; maps x (..., D) to z (..., D).

    Examples
    --------
    >>> import torch
    >>> from gaussflow import sliced_rotation
    >>> sliced_rotation(3, torch.Generator()).fit(torch.randn(50, 3))(torch.randn(7, 3))[0].shape
    torch.Size([7, 3])
    """
    return _searched(dim, sliced_wasserstein, generator)


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


def _searched(dim: int, search: Callable[..., torch.Tensor], generator: torch.Generator) -> Transform:
    """A rotation by confirmed axes of a search that starts at random."""
    seed = _seed(generator)
    return Rotation(dim, confirmed(partial(search, seed=seed), seed=seed))


def _seed(generator: torch.Generator) -> int:
    return int(torch.randint(2**31, (1,), generator=generator, device=generator.device))
