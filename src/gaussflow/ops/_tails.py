"""The two rational functions behind the normal law in its tails: the Mills ratio, and the quantile of a log-tail."""

from __future__ import annotations

import math

import torch
from torch import Tensor

LOG_SQRT_2PI = 0.5 * math.log(2 * math.pi)
INVERSE_SQRT_2PI = math.exp(-LOG_SQRT_2PI)

# (1 + v) times the Mills ratio over t = 1 / (2 + v) in [0, 1/2]: relative error 6e-8 and 2e-16
_MILLS_SINGLE = (
    (1.0000000587950697, 0.204287999336692, 6.751796539087845, 2.934965349453312, 5.100560838295483,
     -15.945254183185758),
    (1.0, -0.7956849815427623, 6.545449869751527, -1.7567506964654194, 5.707886666213364),
)  # fmt: skip
_MILLS_DOUBLE = (
    (0.9999999999999998, 5.642888134748632, 45.95428372646071, 177.47225203313027, 671.1185411314201,
     1685.2677686780014, 3466.0743735613923, 4641.808236463243, 2923.327782108114, -3576.47101608148,
     -10041.18469150559),
    (1.0, 4.642888134748081, 40.311395591952135, 133.51796826544395, 508.9320690854656, 1128.6291442306415,
     2297.57558177404, 3053.532073334309, 3106.72229591915, 1873.8108095771865, 558.582205292769),
)  # fmt: skip
# x - log(x)/x - z over 1/x, where x = sqrt(-2 log Phi(-z)): error 4e-8 and 1e-10 of max(1, x)
_QUANTILE_SINGLE = (
    (1.6557620683142833e-05, 0.9165352675590589, 9.016843526218059, 38.03269277721661, 19.51390603963587),
    (1.0, 9.617987657286337, 36.97937125843721, 5.430422696532338, 0.09421454115871973),
)
_QUANTILE_DOUBLE = (
    (2.55199816906535e-07, 0.9187854098811467, 40.98740874251791, 368.86150175384034, 1055.94312074046,
     1910.3305327172415, 993.1246744047337),
    (1.0, 44.548639918230734, 389.947975342483, 968.6473710201142, 1702.9096828280865, 340.6051709904066,
     -7.363448231178138),
)  # fmt: skip


def mills_ratio(v: Tensor) -> Tensor:
    r"""The Mills ratio :math:`m(v) = \Phi(-v) / \varphi(v)` of the normal law for :math:`v \ge 0` (...).

    It falls from :math:`\sqrt{\pi/2}` like :math:`1/v` and never underflows: :math:`\log \Phi(-v) = \log \varphi(v) +
    \log m(v)` is exact in every tail. Source: Mills (1926); coefficients of this library.
    """
    return tail_ratio(v, 1.0)


def tail_ratio(v: Tensor, unit: float) -> Tensor:
    """The Mills ratio times ``unit``, which costs nothing as it goes into the coefficients."""
    top, bottom = _MILLS_DOUBLE if v.dtype == torch.float64 else _MILLS_SINGLE
    table = tuple(c * unit for c in top), bottom
    return _ratio((2 + v).reciprocal(), *table) / (1 + v)


def exp_half_square(v: Tensor) -> Tensor:
    r"""The factor :math:`e^{-v^2/2}` for :math:`v \ge 0` (...), to the rounding of an exponential.

    With c the multiple of 1/16 next to v it is :math:`e^{-c^2/2} e^{(c - v)(c + v)/2}`: the square of c is exact and
    the second exponent small. The rounding of :math:`v^2/2`, all in one exponent, would cost a hundred last digits.
    """
    coarse = (v.detach().clamp(max=64) * 16).round() / 16
    return (-0.5 * coarse.square()).exp() * (0.5 * (coarse - v) * (coarse + v)).exp()


def normal_tail_quantile(log_tail: Tensor) -> Tensor:
    r"""The :math:`v \ge 0` with :math:`\log \Phi(-v)` equal to ``log_tail`` (...), at most :math:`\log \tfrac12`.

    With :math:`x = \sqrt{-2 \log \Phi(-v)}`, :math:`v = x - \log(x)/x - R(1/x)`, R rational: the form of Cephes
    (Moshier 1989) with coefficients of this library. In float64 one Newton step on :math:`\log \Phi` follows, which
    squares the error of 1e-10; as it is a plain step, derivatives of any order pass through it.
    """
    x = (-2 * log_tail).clamp(min=torch.finfo(log_tail.dtype).tiny).sqrt()
    double = log_tail.dtype == torch.float64
    v = x - x.log() / x - _ratio(1 / x, *(_QUANTILE_DOUBLE if double else _QUANTILE_SINGLE))
    if double:
        m = mills_ratio(v)
        v = v + (m.log() - 0.5 * v.square() - LOG_SQRT_2PI - log_tail) * m
    return v


def _ratio(t: Tensor, top: tuple[float, ...], bottom: tuple[float, ...]) -> Tensor:
    return _polynomial(t, top) / _polynomial(t, bottom)


def _polynomial(t: Tensor, coefficients: tuple[float, ...]) -> Tensor:
    """Horner's rule, one fused operation a step; coefficients by ascending power."""
    *rest, second, last = coefficients
    value = last * t + second
    for c in reversed(rest):
        value = torch.addcmul(t.new_full((), c), value, t)
    return value
