"""Theorems on the number of blocks that Gaussianization needs (Draxler and others, ICML 2023)."""

from __future__ import annotations

import math

from gaussflow._check import check_int


def min_blocks(dim: int) -> int:
    r"""Fewest blocks with random rotations that represent a normal law exactly, :math:`\lceil (D + 1) / 2 \rceil`.

    A covariance has :math:`D (D + 1) / 2` free numbers and a block of marginal transforms scales D coordinates, so
    fewer blocks do not have the freedom, whatever the scales: almost surely over the rotations.

    Parameters
    ----------
    dim
        Number of coordinates D.

    Returns
    -------
    blocks
        The least number of blocks L.

    Raises
    ------
    TypeError, ValueError
        For a dimension that is no integer of at least 1.

    Notes
    -----
    Assumes normal data whose covariance has distinct eigenvalues, and rotations that are random and not chosen by the
    data: principal axes need one block. Source: Draxler et al. (2023), theorem 1.

    Examples
    --------
    >>> from gaussflow import theory
    >>> theory.min_blocks(2), theory.min_blocks(64)
    (2, 33)
    """
    return math.ceil((check_int("min_blocks", "dim", dim, 1) + 1) / 2)


def rate(dim: int) -> float:
    r"""Factor of the expected loss by one block with a Haar-random rotation, :math:`1 - 2 / (D + 2)`.

    Parameters
    ----------
    dim
        Number of coordinates D.

    Returns
    -------
    rate
        Between 0 and 1.

    Raises
    ------
    TypeError, ValueError
        For a dimension that is no integer of at least 1.

    Notes
    -----
    Assumes normal data with :math:`\operatorname{tr} \Sigma = D`, Haar-random rotations, ideal marginal steps, and a
    small loss :math:`\mathcal L \ll 1`: to first order. Source: Draxler et al. (2023), theorem 2.

    Examples
    --------
    >>> from gaussflow import theory
    >>> f"{theory.rate(64):.4f}"
    '0.9697'
    """
    return 1 - 2 / (check_int("rate", "dim", dim, 1) + 2)


def loss_bound(blocks: int, dim: int, loss: float) -> float:
    r"""Bound on the expected loss after L blocks, :math:`E[\mathcal L_L] \le (1 - 2 / (D + 2))^L \mathcal L_0`.

    Parameters
    ----------
    blocks
        Number of blocks L.
    dim
        Number of coordinates D.
    loss
        Loss :math:`\mathcal L_0` before them, in nats.

    Returns
    -------
    bound
        In nats.

    Raises
    ------
    TypeError, ValueError
        For numbers of blocks or dimensions that are none, and for a loss that is negative or not finite.

    Notes
    -----
    The assumptions are those of `rate`. Source: Draxler et al. (2023), theorem 2.

    Examples
    --------
    >>> from gaussflow import theory
    >>> f"{theory.loss_bound(100, 64, 0.5):.3f} nats"
    '0.023 nats'
    """
    check_int("loss_bound", "blocks", blocks, 0)
    if not 0 <= loss < math.inf:
        raise ValueError(f"loss_bound wants a loss of at least 0 nats, and finite; got {loss}.")
    return loss * float(rate(dim) ** blocks)


def blocks_needed(dim: int, ratio: float) -> float:
    r"""Blocks after which the bound has fallen to a share of the loss, :math:`\log r / \log (1 - 2 / (D + 2))`.

    About :math:`\tfrac{D + 1}{2} \log (1 / r)`: linear in the dimension.

    Parameters
    ----------
    dim
        Number of coordinates D.
    ratio
        The share r that is left, above 0 and at most 1; 0.1 for a tenth.

    Returns
    -------
    blocks
        Not rounded.

    Raises
    ------
    TypeError, ValueError
        For a dimension that is none, and for a ratio outside of (0, 1].

    Notes
    -----
    The assumptions are those of `rate`. Source: Draxler et al. (2023), theorem 2.

    Examples
    --------
    >>> from gaussflow import theory
    >>> f"{theory.blocks_needed(64, 0.1):.1f}"
    '74.8'
    """
    if not 0 < ratio <= 1:
        raise ValueError(f"blocks_needed wants a ratio above 0 and at most 1, the share of the loss left; got {ratio}.")
    return math.log(ratio) / math.log(rate(dim))
