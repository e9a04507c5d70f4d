r"""Components at one point: their kernels, and the map of their sum to a standard normal with its log-slope.

A kernel F is symmetric and given by its upper tail. It is a function of :math:`v = |u| \ge 0` that returns
:math:`a(v)`, :math:`m(v)` and :math:`g(v)` with :math:`F(-v) = e^{a(v)}\, m(v)` and
:math:`F'(v) = e^{a(v)}\, g(v)`: the exponent may leave the range of floating numbers, the two factors do not.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TypeAlias

import torch
from torch import Tensor

from gaussflow.ops._finite import side
from gaussflow.ops._normals_far import by_smaller_tail
from gaussflow.ops._normals_quick import MANY
from gaussflow.ops._tails import INVERSE_SQRT_2PI, mills_ratio, normal_tail_quantile, tail_ratio

Kernel: TypeAlias = Callable[[Tensor], tuple[Tensor, Tensor, Tensor]]


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
    z, log_slope, lost = by_error_functions(u, per_scale, weights, right)
    count = int(lost.sum())
    if count > MANY * lost.numel():
        return tails_to_normal(u, per_scale, weights.log())
    if count:
        here = lost.nonzero().unbind(1)
        u, per_scale, weights = (t.expand_as(u).movedim(0, -1)[here].T for t in (u, per_scale, weights))
        z[here], log_slope[here] = tails_to_normal(u, per_scale, weights.log())
    return z, log_slope


def by_error_functions(
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
