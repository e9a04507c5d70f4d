"""The trainable skeleton of a Gaussianization flow: rotations and marginal transforms, fitted end to end."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

import torch

from gaussflow._check import check_int
from gaussflow.models.flow import Flow
from gaussflow.rows import Data
from gaussflow.transforms.affine import Standardize
from gaussflow.transforms.axes import haar
from gaussflow.transforms.base import Chain, Transform
from gaussflow.transforms.mixture_cdf import MixtureCDF
from gaussflow.transforms.rotation import Rotation

MakeMarginal: TypeAlias = Callable[[int], Transform]


def gaussianization_flow(
    dim: int,
    layers: int,
    *,
    marginal: MakeMarginal = MixtureCDF,
    rows: Data | None = None,
    seed: int = 0,
    dtype: torch.dtype | None = None,
) -> Flow:
    r"""A Gaussianization flow to be trained end to end by `train`.

    .. math:: f = Q_L \circ g_L \circ \dots \circ Q_1 \circ g_1 \circ s

    s is a `Standardize`, :math:`g_l` a marginal transform and :math:`Q_l` a trainable `Rotation` that starts
    Haar-random, none after the last :math:`g_L`.

    Parameters
    ----------
    dim
        Number of coordinates D.
    layers
        Number of marginal transforms L, at least 1.
    marginal
        Called as ``marginal(dim)``; returns a new marginal transform: `MixtureCDF`, `MarginalSpline` or your own.
    rows
        Data whose means and scales `Standardize` takes; None leaves it the identity.
    seed
        Decides the rotations.
    dtype
        That of the flow.

    Returns
    -------
    flow
        The flow, close to a random rotation of standardised data.

    Notes
    -----
    Source: Meng, Song, Song & Ermon (2020), Gaussianization flows.

    Examples
    --------
    >>> import torch
    >>> from gaussflow import gaussianization_flow, train
    >>> x = torch.randn(200, 3)
    >>> flow = gaussianization_flow(3, layers=2, rows=x)
    >>> history = train(flow, x, epochs=2, progress=False)
    >>> flow.log_prob(x).shape
    torch.Size([200])
    """
    check_int("gaussianization_flow", "layers", layers, 1)
    generator = torch.Generator().manual_seed(seed)
    dtype = dtype or torch.get_default_dtype()
    first = Standardize(dim, dtype=dtype)
    if rows is not None:
        first.fit(rows)
    parts: list[Transform] = [first, marginal(dim)]
    for _ in range(layers - 1):
        parts += [Rotation(dim, haar(dim, generator)), marginal(dim)]
    return Flow(Chain(*parts)).to(dtype)
