"""The guard of fitted axes: a direction found on some of the rows is believed as far as the others confirm it."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor

from gaussflow._check import check_int
from gaussflow.ops.orthogonal import check_orthogonal
from gaussflow.rows import Data, Rows, as_rows
from gaussflow.transforms._climb import completed
from gaussflow.transforms._legendre import DEGREES, legendre_values

__all__ = ["confirmed"]

FALSE_ALARMS = 0.05  # the share of fits to standard normal rows that keep a direction, and of false among the kept
FAR = 1e100  # beyond it, every row is as far


def confirmed(axes: Callable[[Rows], Tensor], *, fraction: float = 0.5, seed: int = 0) -> Callable[[Data], Tensor]:
    r"""Axes found on one part of the rows, kept as far as the other part confirms them; the rest is random.

    Along a direction that was chosen without them, standard normal rows are standard normal. So with n rows in the
    other part and :math:`h_j = \sqrt{2 j + 1}\, P_j(2 \Phi(\cdot) - 1)`, the polynomials of Legendre, the statistic

    .. math:: T_k = n \sum_{j=1}^{6} \Bigl(\tfrac1n \sum_i h_j(w_k^\top x_i)\Bigr)^2

    (Neyman 1937) then has a chi-square law with 6 degrees of freedom, whatever search found :math:`w_k`, and orthogonal
    directions have independent ones. The directions with the least chances :math:`P(\chi^2_6 > T_k)` are kept, as many
    as the rule of Benjamini & Hochberg (1995) gives: the most k whose chances are all below 0.05 k / D. So on standard
    normal rows, whatever D, about one fit in twenty keeps a direction (one in twelve where N is below a hundred, for
    which the chi-square law is short in the tail); and where many directions are real, no more than
    a twentieth of those kept is expected to be false. The rest of the basis is Haar in the complement of what is kept:
    on noise the rotation is random, and a direction that only the sample has (Draxler et al. 2023, figure 4) is not
    followed.

    Parameters
    ----------
    axes
        A function of the rows that returns an orthogonal matrix (D, D), like `ica`, `pca` or `sliced_wasserstein`.
    fraction
        The share of the rows that confirms, between 0 and 1; the others are searched.
    seed
        Of the split and of the random axes.

    Returns
    -------
    axes
        A function of the rows (N, D) that returns an orthogonal matrix (D, D), float64: what was kept, in the order in
        which it was found, then the random axes. With too few rows to cut, all of them are random.

    Raises
    ------
    TypeError, ValueError
        For axes that cannot be called, or a fraction not between 0 and 1.

    Examples
    --------
    >>> import torch
    >>> from gaussflow import Rotation, confirmed, ica
    >>> Rotation(3, confirmed(ica)).fit(torch.rand(100, 3))(torch.rand(7, 3))[0].shape
    torch.Size([7, 3])
    """
    if not callable(axes):
        raise TypeError(f"confirmed wants a function of the rows, like ica; got {type(axes).__name__}.")
    if not 0 < fraction < 1:
        raise ValueError(f"confirmed wants a fraction between 0 and 1; got {fraction}.")
    return partial(_confirmed, axes, fraction, check_int("confirmed", "seed", seed, 0))


def _confirmed(axes: Callable[[Rows], Tensor], fraction: float, seed: int, rows: Data) -> Tensor:
    rows, generator = as_rows(rows), torch.Generator().manual_seed(seed)
    try:
        searched, others = rows.split(fraction, seed)
    except ValueError:  # a part without rows
        return completed(torch.empty(0, rows.dim, dtype=torch.float64, device=rows.device), generator)
    found = check_orthogonal("confirmed", axes(searched), rows.dim).double()
    return completed(found[_kept(_chances(others, found))], generator)


def _kept(chances: Tensor) -> Tensor:
    """Which of D directions to keep by their chances (D,): the rule of Benjamini & Hochberg."""
    least = chances.sort().values
    allowed = FALSE_ALARMS / len(chances) * torch.arange(1, len(chances) + 1, device=chances.device)
    most = least[least <= allowed].max() if bool((least <= allowed).any()) else -1.0
    return chances <= most


def _chances(rows: Rows, directions: Tensor) -> Tensor:
    """How often standard normal rows would be as far from normal along each of the directions (k, D): (k,)."""

    def f(x: Tensor, c: Tensor | None) -> tuple[Tensor]:
        return (legendre_values(x.clamp(-FAR, FAR) @ directions.T).sum(1),)

    statistic = rows.sum(f)[0].square().sum(0) / rows.n
    degrees = torch.full_like(statistic, DEGREES / 2)
    chances: Tensor = torch.special.gammaincc(degrees, statistic / 2)
    return chances
