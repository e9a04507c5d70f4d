"""What keeps latent rows from the standard normal: dependence among coordinates, and the shape of each of them."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from gaussflow._check import check_int
from gaussflow.losses._estimate import Estimate
from gaussflow.losses._pairs import GROUPS, LEAST_ROWS, Pairs, groups, jackknife, pairs
from gaussflow.losses._spacings import marginal_losses, marginal_negentropies
from gaussflow.rows import Data, Rows, as_rows

MEASURE_ROWS = 8192
RESOLUTION = 0.1  # nats
ROWS_A_COORDINATE = 40  # leave nearly normal latents a smaller error than that, whatever the dimension


class FewRowsWarning(UserWarning):
    """The rows are too few to say whether anything is left: the error is large, and the estimate within it.

    Examples
    --------
    >>> import warnings
    >>> from gaussflow import FewRowsWarning
    >>> warnings.simplefilter("ignore", FewRowsWarning)
    """


class Decomposition(NamedTuple):
    r"""The loss of latent rows and the two things it consists of, in nats; see `decompose_loss`.

    Parameters
    ----------
    loss
        The sum :math:`\mathcal D + \sum_i \mathcal J_i`.
    dependence
        The dependence :math:`\mathcal D` of the coordinates.
    marginals
        The marginal loss :math:`\mathcal J_i` of each coordinate, shape (D,).

    Examples
    --------
    >>> import torch
    >>> from gaussflow import Decomposition, decompose_loss
    >>> isinstance(decompose_loss(torch.randn(100, 3)), Decomposition)
    True
    """

    loss: Estimate
    dependence: Estimate
    marginals: Estimate


def decompose_loss(rows: Data, *, max_rows: int = MEASURE_ROWS) -> Decomposition:
    r"""Split the divergence of latent rows from the standard normal into dependence and marginal losses.

    .. math:: KL(q(z) \,\|\, N(0, I)) = \mathcal D + \sum_i \mathcal J_i, \qquad
        \mathcal D = KL\bigl(q(z) \,\|\, \textstyle\prod_i q(z_i)\bigr), \quad
        \mathcal J_i = KL(q(z_i) \,\|\, N(0, 1))

    A rotation leaves the sum as it is and moves loss between the two; marginal transforms take :math:`\mathcal J_i`
    away. So :math:`\mathcal J_i` is what one more block can gain, and :math:`\mathcal D`, the total correlation, what a
    rotation must first make visible. What a fitted flow leaves is told by rows that it has not seen:
    ``decompose_loss(flow.encode(x_new))``.

    Parameters
    ----------
    rows
        Latent rows: a tensor (N, D), a re-iterable of chunks, or a `Rows`.
    max_rows
        Of more rows than this a sample of that many is measured.

    Returns
    -------
    loss, dependence, marginals
        Each an `Estimate` of value and standard error, in nats and float64; the marginals (D,). A constant coordinate
        has an infinite loss. Where the truth is nearly zero an estimate may be negative, by about its error. Dependence
        and loss are NaN where nine tenths of the rows do not span all coordinates, which leaves nothing to say.

    Warns
    -----
    FewRowsWarning
        When the loss is NaN, or its error above 0.1 nats and its value within two errors of zero.

    Raises
    ------
    TypeError, ValueError
        For what `as_rows` refuses, and for fewer than 40 rows.

    Notes
    -----
    Marginal losses come from m-spacings. The dependence is what pairs of coordinates show in their first two Hermite
    polynomials: exact for normal latents, to second order for latents that are nearly so, and blind to dependence
    among three or more coordinates and to finer dependence of pairs. It is a floor, and so is the loss.
    Errors are those of a jackknife over ten groups of rows; where there is hardly a loss, or where there are fewer than
    ten rows for each coordinate, they are up to twice too wide rather than too narrow. About 40 rows for each
    coordinate tell a nearly normal latent to 0.1 nats.
    Sources: Chen & Gopinath (2000); Vasicek (1976) for the spacings; Comon (1994) for the expansion.

    Examples
    --------
    >>> import torch
    >>> from gaussflow import decompose_loss
    >>> loss, dependence, marginals = decompose_loss(torch.randn(1000, 3) * 2)
    >>> loss.value.shape, marginals.value.shape
    (torch.Size([]), torch.Size([3]))
    >>> bool(marginals.value.sum() > 10 * dependence.value.abs())
    True
    """
    z = _checked("decompose_loss", rows, max_rows)
    d = pairs(z)
    j = marginal_losses(z)
    j_left = _left_out(marginal_losses, z)
    loss = Estimate(d.total + j.sum(), jackknife(d.left_out + j_left.sum(1)))
    _warn_if_few("decompose_loss", loss, z)
    return Decomposition(loss, _dependence(d), Estimate(j, jackknife(j_left)))


def total_correlation(rows: Data, *, max_rows: int = MEASURE_ROWS) -> Estimate:
    r"""The dependence of latent coordinates, :math:`\mathcal D = KL(q(z) \,\|\, \prod_i q(z_i))`, in nats.

    The same as ``decompose_loss(rows).dependence``, and quicker. It does not change when coordinates are transformed
    one by one; a rotation changes it. For a normal law it is :math:`-\tfrac12 \log\det R`, with R the correlation
    matrix.

    Parameters
    ----------
    rows
        Latent rows (N, D); as for `decompose_loss`.
    max_rows
        Rows measured at most.

    Returns
    -------
    estimate
        An `Estimate` of value () and standard error (), float64; a floor, see `decompose_loss`.

    Warns
    -----
    FewRowsWarning
        When the estimate is NaN, or its error above 0.1 nats and its value within two errors of zero.

    Raises
    ------
    TypeError, ValueError
        For what `as_rows` refuses, and for fewer than 40 rows.

    Notes
    -----
    Source: Watanabe (1960) for the name.

    Examples
    --------
    >>> import torch
    >>> from gaussflow import total_correlation
    >>> x = torch.randn(1000, 1) + torch.randn(1000, 2)  # a correlation of a half: 0.144 nats
    >>> value, error = total_correlation(x)
    >>> bool(abs(value - 0.144) < 4 * error)
    True
    """
    z = _checked("total_correlation", rows, max_rows)
    found = _dependence(pairs(z))
    _warn_if_few("total_correlation", found, z)
    return found


def negentropy(rows: Data, *, max_rows: int = MEASURE_ROWS) -> Estimate:
    r"""How far latent rows are from the normal law of their own mean and covariance, in nats.

    .. math:: J(z) = KL\bigl(q(z) \,\|\, N(m, C)\bigr)
        = \mathcal D + \tfrac12 \log\det R + \sum_i J(z_i), \qquad
        KL(q(z) \,\|\, N(0, I)) = J(z) + KL\bigl(N(m, C) \,\|\, N(0, I)\bigr)

    with m, C and R mean, covariance and correlation of z. The loss of `decompose_loss` is thus the negentropy and what
    an affine map such as `Whiten` can take away. The truth is the same whatever affine map the rows go through; the
    estimate sees what the coordinates and their pairs show of it, a floor.

    Parameters
    ----------
    rows
        Latent rows (N, D); as for `decompose_loss`.
    max_rows
        Rows measured at most.

    Returns
    -------
    estimate
        An `Estimate` of value () and standard error (), float64; infinite where a coordinate is constant. No
        determinant is in it, so that fewer rows than coordinates give a value, too, if a rough one, and too low.

    Warns
    -----
    FewRowsWarning
        When its error is above 0.1 nats and its value within two errors of zero.

    Raises
    ------
    TypeError, ValueError
        For what `as_rows` refuses, and for fewer than 40 rows.

    Notes
    -----
    Source: Comon (1994).

    Examples
    --------
    >>> import torch
    >>> from gaussflow import negentropy
    >>> normal, uniform = torch.randn(1000, 2) @ torch.randn(2, 2), torch.rand(1000, 2)
    >>> bool(negentropy(normal).value.abs() < 0.1 < negentropy(uniform).value)
    True
    """
    z = _checked("negentropy", rows, max_rows)
    d = pairs(z)
    left_out = d.other_left_out + _left_out(marginal_negentropies, z).sum(1)
    found = Estimate(d.other + marginal_negentropies(z).sum(), jackknife(left_out))
    _warn_if_few("negentropy", found, z)
    return found


def marginals_and_dependence(rows: Rows) -> tuple[float, Estimate]:
    """Both as in `decompose_loss`, in nats: the marginal losses of coordinates that are not constant, summed, and the
    dependence. NaN for too few rows to tell.
    """
    z = rows.sample(MEASURE_ROWS)[0]
    losses = marginal_losses(z)
    return float(losses[losses != torch.inf].sum()), _dependence(pairs(z.double()))


def _dependence(found: Pairs) -> Estimate:
    return Estimate(found.total, jackknife(found.left_out))


def _sample(rows: Rows, size: int) -> Tensor:
    return rows.sample(size)[0].double()


def _checked(owner: str, rows: Data, max_rows: int) -> Tensor:
    check_int(owner, "max_rows", max_rows, LEAST_ROWS)
    rows = as_rows(rows)
    if rows.n < LEAST_ROWS:
        raise ValueError(f"{owner} wants at least {LEAST_ROWS} rows; got {rows.n}.")
    return _sample(rows, max_rows)


def _left_out(measure: Callable[[Tensor], Tensor], z: Tensor) -> Tensor:
    """The measure (D,) of rows (N, D) with each group left out (10, D)."""
    group = groups(z)
    return torch.stack([measure(z[group != g]) for g in range(GROUPS)])


def _warn_if_few(owner: str, found: Estimate, z: Tensor) -> None:
    """Warn when the rows can tell neither that something is left nor that next to nothing is."""
    value, error = float(found.value), float(found.error)
    if math.isinf(value) or error <= RESOLUTION or value > 2 * error:
        return
    n, dim = z.shape
    enough = ROWS_A_COORDINATE * dim
    if n >= enough:  # heavy tails, whose error falls with the root of the rows
        enough = math.ceil(n * (error / RESOLUTION) ** 2)
    seen = "nothing can be said" if math.isnan(value) else f"{value:.3g} ± {error:.2g} nats"
    more = f", with max_rows={enough}" if enough > MEASURE_ROWS else ""
    warnings.warn(
        f"{owner} has too few rows to tell what is left: N = {n:,} for D = {dim:,}, {seen}. "
        f"About {enough:,} rows would do{more}.",
        FewRowsWarning,
        stacklevel=3,
    )
