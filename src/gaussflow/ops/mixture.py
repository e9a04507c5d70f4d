r"""Mixtures of one-dimensional laws, exact in their tails: the map to a standard normal and its log-slope.

.. math:: z = \Phi^{-1}\Big(\sum_i \pi_i F(u_i)\Big), \qquad u_i = (x - \mu_i) / s_i

A kernel F is symmetric and given by its upper tail. It is a function of :math:`v = |u| \ge 0` that returns
:math:`a(v)`, :math:`m(v)` and :math:`g(v)` with :math:`F(-v) = e^{a(v)}\, m(v)` and
:math:`F'(v) = e^{a(v)}\, g(v)`: the exponent may leave the range of floating numbers, the two factors do not.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple, TypeAlias

import torch
from torch import Tensor

from gaussflow.ops._bounded import bounded_mixture, bounded_mixture_knots
from gaussflow.ops._finite import saturate, side
from gaussflow.ops._kernels import REFERENCES, fits_columns, take_kernel
from gaussflow.ops._normals import Written
from gaussflow.ops._normals_far import by_smaller_tail, far_values
from gaussflow.ops._normals_quick import MANY, Quick
from gaussflow.ops._recompute import in_rows, is_traced
from gaussflow.ops._tails import LOG_SQRT_2PI, mills_ratio, normal_tail_quantile, tail_ratio

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

Kernel: TypeAlias = Callable[[Tensor], tuple[Tensor, Tensor, Tensor]]
REACH = 100.0  # beyond so many scales outside of every component the map goes on as a straight line
GRID = (  # in scales to both sides of a mean: knots for the inverse
    *(
        0.0,
        0.3,
        0.6,
        0.9,
        1.2,
        1.5,
        1.8,
        2.1,
        2.4,
        2.7,
        3.0,
        3.5,
        4.0,
        4.5,
        5.0,
        6.0,
        8.0,
        10.0,
        15.0,
        20.0,
        30.0,
        50.0,
    ),
    REACH,
)
INVERSE_SQRT_2PI = math.exp(-LOG_SQRT_2PI)
CHUNK = 2**18  # elements of a temporary: it stays in the cache, and large allocations page-fault


def normal_kernel(v: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    r"""The normal law: exponent :math:`-v^2/2`, Mills ratio over :math:`\sqrt{2\pi}`, density factor that constant.

    Tail and density are the exponential of the exponent times their factor; so a kernel keeps its digits far out.

    Examples
    --------
    >>> import torch
    >>> from gaussflow.transforms import normal_kernel
    >>> exponent, tail, density = normal_kernel(torch.linspace(0, 5, 7))
    >>> exponent.shape, tail.shape, density.shape
    (torch.Size([7]), torch.Size([7]), torch.Size([]))
    """
    return -0.5 * v.square(), tail_ratio(v, INVERSE_SQRT_2PI), v.new_full((), INVERSE_SQRT_2PI)


def logistic_kernel(v: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    r"""The logistic law: exponent :math:`-v`, tail factor :math:`\sigma(v)`, density factor :math:`\sigma(v)^2`.

    Examples
    --------
    >>> import torch
    >>> from gaussflow.transforms import logistic_kernel
    >>> exponent, tail, density = logistic_kernel(torch.linspace(0, 5, 7))
    >>> exponent.shape, tail.shape, density.shape
    (torch.Size([7]), torch.Size([7]), torch.Size([7]))
    """
    tail = torch.sigmoid(v)
    return -v, tail, tail.square()


class Mixture(NamedTuple):
    """K components of D mixtures, prepared once for all rows.

    ``log_weights`` (normalised over the components), ``means`` and ``log_scales`` are each (K, D), components on the
    leading axis: softmax and exponentials over it cost a thirtieth of those over a trailing axis.
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

    Beyond `REACH` scales outside of every component the map goes on as a straight line of equal slope: C1, never
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

    Examples
    --------
    >>> import torch
    >>> from gaussflow.ops.mixture import Mixture, mixture_to_normal
    >>> mixture = Mixture(torch.full((2, 3), 0.5).log(), torch.randn(2, 3), torch.zeros(2, 3))
    >>> z, log_slope = mixture_to_normal(torch.randn(5, 3), mixture)
    >>> z.shape, log_slope.shape
    (torch.Size([5, 3]), torch.Size([5, 3]))
    """
    *tables, kernel = mixture
    if _takes_kernel(x, mixture):
        from gaussflow.ops._triton import _mixture

        by_kernel: tuple[Tensor, Tensor] = _mixture.mixture(x, *tables, kernel is logistic_kernel, False)
        return by_kernel

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


def normal_to_mixture(z: Tensor, mixture: Mixture) -> tuple[Tensor, Tensor] | None:
    """The inverse of `mixture_to_normal`: points and log dx/dz, each (..., D), where a kernel has it; else None."""
    if not _takes_kernel(z, mixture):
        return None
    from gaussflow.ops._triton import _mixture

    found: tuple[Tensor, Tensor] = _mixture.mixture(z, *mixture[:3], mixture.kernel is logistic_kernel, True)
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
        z, log_slope, lost = _by_error_functions((inside - means).mul_(per_scale), per_scale, weights, right)
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


def tails_to_normal(
    u: Tensor, per_scale: Tensor, log_weights: Tensor, kernel: Kernel = normal_kernel
) -> tuple[Tensor, Tensor]:
    r"""The map and its log-slope by way of the smaller tail.

    A component whose mean lies left of x adds :math:`1 - t` to the lower and t to the upper tail,
    :math:`t = e^{a} m \le \tfrac12`; one whose mean lies right of x the other way round. If all lie on one side, the
    tail on that side is a sum of t alone and is taken relative to the largest exponent, so that it cannot underflow; if
    not, the smaller tail is at least half a weight, and the difference of the sums of t does not hurt it. The log-slope
    is the difference of two log-hazards, that of the mixture and that of the normal law: their exponents, large and
    nearly equal, never meet.

    Parameters
    ----------
    u
        Standardised distances :math:`u_i = (x - \mu_i) / s_i` (K, ...), components on the leading axis.
    per_scale
        :math:`1 / s_i`, of a shape that broadcasts to that of u.
    log_weights
        Normalised over the components; of a shape that broadcasts to that of u.
    kernel
        The law of every component.

    Returns
    -------
    z, log_slope
        Values and :math:`\log dz/dx`, each (...).

    Examples
    --------
    >>> import torch
    >>> from gaussflow.ops.mixture import tails_to_normal
    >>> log_weights = torch.randn(4, 5).log_softmax(0)
    >>> z, log_slope = tails_to_normal(torch.randn(4, 5), torch.ones(4, 1), log_weights)
    >>> z.shape, log_slope.shape
    (torch.Size([5]), torch.Size([5]))
    """
    sign = side(u)
    exponent, ratio, factor = kernel(u * sign)
    exponent = exponent + log_weights
    top = exponent.detach().amax(0)
    relative = (exponent - top).exp()
    density = (relative * (factor * per_scale)).sum(0).log()
    return by_smaller_tail(relative, top, ratio, density, sign, log_weights.exp())


def normals_to_normal(
    u: Tensor, per_scale: Tensor, weights: Tensor, right: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    r"""`tails_to_normal` with the normal kernel, several times faster, where no gradients and no tracing are wanted.

    One tail is a sum of :math:`\tfrac12 \operatorname{erfc}(u / \sqrt 2)`, and the other what it leaves, which costs
    digits where that is little. So it helps to know on which side of the middle a point lies. Elements where digits
    would be lost, and those whose density would underflow, in gaps, are mapped again by way of logarithms.

    Parameters
    ----------
    u, per_scale
        As `tails_to_normal` takes them.
    weights
        Normalised over the components; of a shape that broadcasts to that of u.
    right
        1 for points that lie right of about the middle of their mixture and -1 for the others (...); None for 1.

    Returns
    -------
    z, log_slope
        Values and :math:`\log dz/dx`, each (...).

    Examples
    --------
    >>> import torch
    >>> from gaussflow.ops.mixture import normals_to_normal
    >>> with torch.no_grad():
    ...     z, log_slope = normals_to_normal(torch.randn(4, 5), torch.ones(4, 1), torch.full((4, 1), 0.25))
    >>> z.shape, log_slope.shape
    (torch.Size([5]), torch.Size([5]))
    """
    z, log_slope, lost = _by_error_functions(u, per_scale, weights, right)
    count = int(lost.sum())
    if count > MANY * lost.numel():
        return tails_to_normal(u, per_scale, weights.log())
    if count:
        here = lost.nonzero().unbind(1)
        u, per_scale, weights = (t.expand_as(u).movedim(0, -1)[here].T for t in (u, per_scale, weights))
        z[here], log_slope[here] = tails_to_normal(u, per_scale, weights.log())
    return z, log_slope


def _by_error_functions(
    u: Tensor, per_scale: Tensor, weights: Tensor, right: Tensor | None
) -> tuple[Tensor, Tensor, Tensor]:
    """`normals_to_normal`, and where digits are lost."""
    edge = u * math.sqrt(0.5) if right is None else u * (right * math.sqrt(0.5))
    beyond = torch.erfc(edge).mul_(weights).sum(0).div_(2)
    density = edge.square_().neg_().exp_().mul_(weights * per_scale).sum(0).mul_(INVERSE_SQRT_2PI)
    rest = 1 - beyond
    tail = torch.minimum(beyond, rest)
    v = normal_tail_quantile(tail.log())
    z, log_slope = v * side(rest - beyond), density.log() - tail.log() + mills_ratio(v).log()
    z = z if right is None else z * right
    info = torch.finfo(u.dtype)
    far, little = (1e-20, 1e-4) if u.dtype == torch.float64 else (1e-4, 5e-2)
    return z, log_slope, (beyond < far) | (rest < little) | (density < info.tiny / info.eps)
