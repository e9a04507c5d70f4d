r"""Mixtures of one-dimensional laws, exact in their tails: the map to a standard normal and its log-slope.

.. math:: z = \Phi^{-1}\Big(\sum_i \pi_i F(u_i)\Big), \qquad u_i = (x - \mu_i) / s_i

The kernels F of the components are in `gaussflow.ops._components`, with the map of one point.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from gaussflow._check import check_last, check_tables
from gaussflow.ops._bounded import bounded_mixture, bounded_mixture_knots
from gaussflow.ops._components import (
    Kernel,
    by_error_functions,
    logistic_kernel,
    normal_kernel,
    normals_to_normal,
    tails_to_normal,
)
from gaussflow.ops._finite import saturate, side
from gaussflow.ops._invert import invert
from gaussflow.ops._kernels import REFERENCES, fits_columns, take_kernel
from gaussflow.ops._normals import Written
from gaussflow.ops._normals_far import far_values
from gaussflow.ops._normals_quick import Quick
from gaussflow.ops._recompute import in_rows, is_traced

__all__ = [
    "Kernel",
    "Mixture",
    "bounded_mixture",
    "bounded_mixture_knots",
    "logistic_kernel",
    "mixture_knots",
    "mixture_to_normal",
    "normal_kernel",
    "normal_to_mixture",
    "normals_to_normal",
    "tails_to_normal",
]

REACH = 100.0  # beyond so many scales outside of every component the map goes on as a straight line
# In scales to both sides of a mean: knots for the inverse.
GRID = (*(0.3 * i for i in range(11)), 3.5, 4.0, 4.5, 5.0, 6.0, 8.0, 10.0, 15.0, 20.0, 30.0, 50.0, REACH)
CHUNK = 2**18  # elements of a temporary: it stays in the cache, and large allocations page-fault


class Mixture(NamedTuple):
    r"""K components of D mixtures, :math:`p(x) = \sum_i \pi_i\, F'((x - \mu_i) / s_i) / s_i`, prepared for all rows.

    Components lie on the leading axis: softmax and exponentials over it cost a thirtieth of those over a trailing axis.

    Parameters
    ----------
    log_weights
        :math:`\log \pi_i`, normalised over the components, (K, D); a ``log_softmax(0)`` makes them so.
    means, log_scales
        :math:`\mu_i` and :math:`\log s_i`, (K, D) each.
    kernel
        The law F of every component: `normal_kernel`, `logistic_kernel`, or one of your own.

    Examples
    --------
    >>> import torch
    >>> from gaussflow.ops import Mixture
    >>> mixture = Mixture(torch.randn(2, 3).log_softmax(0), torch.randn(2, 3), torch.zeros(2, 3))
    >>> low, high = mixture.reach()
    >>> low.shape, high.shape
    (torch.Size([3]), torch.Size([3]))
    """

    log_weights: Tensor
    means: Tensor
    log_scales: Tensor
    kernel: Kernel = normal_kernel

    def reach(self) -> tuple[Tensor, Tensor]:
        """The ends, (D,) each, of the interval on which the map is that of the mixture."""
        room = REACH * self.log_scales.exp()
        return (self.means - room).amin(0), (self.means + room).amax(0)


def mixture_to_normal(x: Tensor, mixture: Mixture) -> tuple[Tensor, Tensor]:
    r"""Map the mixture to the standard normal law.

    Beyond 100 scales outside of every component the map goes on as a straight line of equal slope: C1, never
    capped, finite for every finite point.

    Parameters
    ----------
    x
        Points (..., D).
    mixture
        The K components of each of the D mixtures.

    Returns
    -------
    z, log_slope
        Values and :math:`\log dz/dx`, each (..., D).

    Raises
    ------
    TypeError, ValueError
        For x that is no floating tensor (..., D), and for tables that are not (K, D) each.

    Examples
    --------
    >>> import torch
    >>> from gaussflow.ops import Mixture, mixture_to_normal
    >>> mixture = Mixture(torch.full((2, 3), 0.5).log(), torch.randn(2, 3), torch.zeros(2, 3))
    >>> z, log_slope = mixture_to_normal(torch.randn(5, 3), mixture)
    >>> z.shape, log_slope.shape
    (torch.Size([5, 3]), torch.Size([5, 3]))
    """
    _check("mixture_to_normal", mixture, x, "x")
    *tables, kernel = mixture
    if _takes_kernel(x, mixture):
        return _by_kernel(x, mixture, inverse=False)

    def whole(x: Tensor, w: Tensor, m: Tensor, s: Tensor) -> tuple[Tensor, Tensor]:
        return _to_normal(x, Mixture(w, m, s, kernel))

    if is_traced((x, *tables)) or x.dim() != 2:
        return _to_normal(x, mixture)
    step = max(1, CHUNK // max(1, mixture.means.numel()))
    alike = all(t.shape[1:] == x.shape[1:] and t.dtype == x.dtype for t in tables)
    if not (alike and kernel is normal_kernel and x.device.type == "cpu"):
        return in_rows(whole, step, x, *tables)
    with torch.no_grad():
        quick = _quick(mixture)
    if torch.is_grad_enabled() and any(t.requires_grad for t in (x, *tables)):
        found: tuple[Tensor, Tensor] = Written.apply(whole, quick, step, x, *tables)  # type: ignore[no-untyped-call]
        return found
    return quick(step, x)


def normal_to_mixture(z: Tensor, mixture: Mixture) -> tuple[Tensor, Tensor]:
    r"""Invert `mixture_to_normal` by Newton's method inside a bracket, for all numbers at once.

    Gradients are those of the implicit function, :math:`\partial x / \partial z = 1 / f'` and
    :math:`\partial x / \partial \theta = -\partial_\theta f / f'`: `polished_root`.

    Parameters
    ----------
    z
        Values (..., D).
    mixture
        As `mixture_to_normal` takes it.

    Returns
    -------
    x, log_slope
        Points and :math:`\log dx/dz` (that of this direction), each (..., D).

    Raises
    ------
    TypeError, ValueError
        As `mixture_to_normal` does.

    Examples
    --------
    >>> import torch
    >>> from gaussflow.ops import Mixture, mixture_to_normal, normal_to_mixture
    >>> mixture = Mixture(torch.full((2, 3), 0.5).log(), torch.tensor([[-3.0], [3.0]]).expand(2, 3), torch.zeros(2, 3))
    >>> z = torch.randn(5, 3)
    >>> x, log_slope = normal_to_mixture(z, mixture)
    >>> torch.allclose(mixture_to_normal(x, mixture)[0], z, atol=1e-5)
    True
    """
    _check("normal_to_mixture", mixture, z, "z")
    if _takes_kernel(z, mixture):
        return _by_kernel(z, mixture, inverse=True)
    return invert(lambda x: mixture_to_normal(x, mixture), z, mixture_knots(mixture))


def _check(owner: str, mixture: Mixture, x: Tensor, name: str) -> None:
    *tables, _ = mixture
    check_tables(owner, 1, **dict(zip(mixture._fields, tables, strict=False)))
    check_last(owner, x, mixture.means.shape[-1], name)


def _by_kernel(x: Tensor, mixture: Mixture, *, inverse: bool) -> tuple[Tensor, Tensor]:
    from gaussflow.ops._triton import _mixture

    found: tuple[Tensor, Tensor] = _mixture.mixture(x, *mixture[:3], mixture.kernel is logistic_kernel, inverse)
    return found


def _takes_kernel(x: Tensor, mixture: Mixture) -> bool:
    *tables, kernel = mixture
    known = kernel is normal_kernel or kernel is logistic_kernel
    return known and tables[0].dim() == 2 and take_kernel(x, *tables) and fits_columns(x, *tables)


def _normals(x: Tensor, log_weights: Tensor, means: Tensor, log_scales: Tensor) -> tuple[Tensor, Tensor]:
    return _to_normal(x, Mixture(log_weights, means, log_scales))


def _logistics(x: Tensor, log_weights: Tensor, means: Tensor, log_scales: Tensor) -> tuple[Tensor, Tensor]:
    return _to_normal(x, Mixture(log_weights, means, log_scales, logistic_kernel))


REFERENCES.update({"mixture, normal": _normals, "mixture, logistic": _logistics})


def _quick(mixture: Mixture) -> Quick:
    """The map of points x (n, D) by a mixture of normal laws: by error functions, and by logarithms far out."""
    low, high = mixture.reach()
    log_weights, means, log_scales = (t[:, None] for t in mixture[:3])
    per_scale, weights = (-log_scales).exp(), log_weights.exp()
    below = (torch.special.ndtr((mixture.means - means) * per_scale) * weights).sum(0)  # of each mean
    middle = mixture.means.gather(0, (below - 0.5).abs().argmin(0, keepdim=True))[0]

    def of_rows(x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        inside = torch.clamp(x, low, high)
        right = side(inside - middle)
        z, log_slope, lost = by_error_functions((inside - means).mul_(per_scale), per_scale, weights, right)
        return saturate(z.addcmul_(x - inside, log_slope.exp())), log_slope, lost

    def far(x: Tensor, columns: Tensor | None = None) -> tuple[Tensor, Tensor]:
        tables = (low, high, *mixture[:3])
        lows, highs, *others = tables if columns is None else (t[..., columns] for t in tables)
        return far_values(x, (lows, highs), tuple(others))

    return Quick(of_rows, far)


def mixture_knots(mixture: Mixture) -> Tensor:
    """Ascending points (2 K G, D) around every mean, out to where the line starts: where the inverse looks first."""
    ahead = mixture.means.new_tensor(GRID)
    offsets = torch.cat([-ahead, ahead])[:, None, None] * mixture.log_scales.exp()
    return (mixture.means + offsets).flatten(0, 1).sort(0).values


def _to_normal(x: Tensor, mixture: Mixture) -> tuple[Tensor, Tensor]:
    low, high = mixture.reach()
    inside = torch.clamp(x, low, high)
    z, log_slope = _tails_to_normal(inside, mixture)
    return saturate(z + (x - inside) * log_slope.exp()), log_slope


def _tails_to_normal(x: Tensor, mixture: Mixture) -> tuple[Tensor, Tensor]:
    shape = (-1, *[1] * (x.dim() - 1), x.shape[-1])
    log_weights, means, log_scales = (t.view(shape) for t in mixture[:3])
    per_scale = (-log_scales).exp()
    return tails_to_normal((x - means) * per_scale, per_scale, log_weights, mixture.kernel)
