"""Gaussianization of normal data, exactly: a recursion on the covariance, without samples."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

import torch
from torch import Tensor

from gaussflow._check import check_int, check_tensor
from gaussflow.ops.exponential import exp_above_tangent

MakeAxes: TypeAlias = Callable[[Tensor], Tensor]


def gaussian_loss(covariance: Tensor) -> Tensor:
    r"""The loss of centred normal data, :math:`KL(N(0, \Sigma) \| N(0, I)) = \tfrac12 (\operatorname{tr} \Sigma - D -
    \log\det \Sigma)`.

    Summed over the eigenvalues as :math:`\tfrac12 \sum_i (\lambda_i - 1 - \log \lambda_i)`, each term of which is kept
    exact near one, so that a loss of 1e-12 is not lost in rounding.

    Parameters
    ----------
    covariance
        Symmetric, positive definite (..., D, D).

    Returns
    -------
    loss
        In nats, (...), never negative.

    Raises
    ------
    TypeError, ValueError
        For what is no covariance matrix.

    Examples
    --------
    >>> import torch
    >>> from gaussflow import theory
    >>> theory.gaussian_loss(torch.diag(torch.tensor([2.0, 0.5]))).shape
    torch.Size([])
    """
    values = torch.linalg.eigvalsh(_check_covariance("gaussian_loss", covariance))
    if not bool((values > 0).all()):
        raise ValueError(
            f"gaussian_loss wants a positive definite covariance; got an eigenvalue of {float(values.min()):.3g}."
        )
    loss: Tensor = 0.5 * exp_above_tangent(torch.log1p(values - 1)).sum(-1)
    return loss


def gaussian_step(covariance: Tensor, axes: Tensor) -> Tensor:
    r"""The covariance after one ideal block, :math:`S^{-1/2} Q \Sigma Q^\top S^{-1/2}`, :math:`S = \operatorname{diag}
    (Q \Sigma Q^\top)`.

    On normal data the ideal marginal transform divides each turned coordinate by its standard deviation.

    Parameters
    ----------
    covariance
        Sigma (..., D, D).
    axes
        The orthogonal matrix Q (..., D, D) of the block, one axis a row.

    Returns
    -------
    covariance
        With ones on its diagonal, (..., D, D).

    Raises
    ------
    TypeError, ValueError
        For what is no covariance matrix, and for axes of another dimension.

    Examples
    --------
    >>> import torch
    >>> from gaussflow import haar, theory
    >>> theory.gaussian_step(torch.diag(torch.tensor([2.0, 0.5])), haar(2)).shape
    torch.Size([2, 2])
    """
    covariance = _check_covariance("gaussian_step", covariance)
    if axes.shape[-2:] != covariance.shape[-2:]:
        raise ValueError(
            f"gaussian_step wants axes of shape {tuple(covariance.shape[-2:])}, as the covariance; "
            f"got {tuple(axes.shape)}."
        )
    turned = axes @ covariance @ axes.mT
    scale = turned.diagonal(dim1=-2, dim2=-1).rsqrt()
    step = turned * scale[..., :, None] * scale[..., None, :]
    step = (step + step.mT) / 2  # rounding would grow over many blocks
    step.diagonal(dim1=-2, dim2=-1).fill_(1.0)
    return step


def gaussian_losses(covariance: Tensor, make_axes: MakeAxes, blocks: int) -> Tensor:
    r"""The losses along a whole run of Gaussianization on normal data, in closed form.

    With one covariance for each of several runs the result has their shape in front, so that an expectation over
    random rotations is a mean over it.

    Parameters
    ----------
    covariance
        That of the data, (..., D, D); as in the theorems, scale it to trace D.
    make_axes
        Called with the covariance (..., D, D) that enters a block; returns its orthogonal axes, (D, D) or
        (..., D, D). ``lambda s: haar(D)`` for random rotations, ``lambda s: torch.linalg.eigh(s).eigenvectors.mT`` for
        principal axes.
    blocks
        Number of blocks L.

    Returns
    -------
    losses
        In nats, (..., L + 1): before the first block and after each.

    Raises
    ------
    TypeError, ValueError
        For what is no covariance matrix, and for axes of another dimension.

    Notes
    -----
    Exact for normal data with known covariance and ideal marginal transforms; a fit to N rows adds what it invents.

    Examples
    --------
    >>> import torch
    >>> from gaussflow import haar, theory
    >>> covariance = torch.diag(torch.linspace(0.5, 1.5, 8, dtype=torch.float64))
    >>> theory.gaussian_losses(covariance, lambda s: haar(8, dtype=s.dtype), blocks=5).shape
    torch.Size([6])
    """
    check_int("gaussian_losses", "blocks", blocks, 0)
    losses = [gaussian_loss(covariance)]
    for _ in range(blocks):
        covariance = gaussian_step(covariance, make_axes(covariance))
        losses.append(gaussian_loss(covariance))
    return torch.stack(losses, -1)


def _check_covariance(owner: str, covariance: Tensor) -> Tensor:
    check_tensor(owner, covariance, "covariance")
    if covariance.dim() < 2 or covariance.shape[-1] != covariance.shape[-2] or not covariance.shape[-1]:
        raise ValueError(f"{owner} wants a covariance of shape (..., D, D); got {tuple(covariance.shape)}.")
    size = covariance.abs().amax()
    if not bool(torch.isfinite(size)) or bool((covariance - covariance.mT).abs().amax() > 1e-5 * size):
        raise ValueError(f"{owner} wants a symmetric covariance of finite numbers; symmetrise it as (S + S.mT) / 2.")
    return covariance
