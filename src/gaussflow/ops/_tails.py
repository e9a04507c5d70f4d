"""The two rational functions behind the normal law in its tails: the Mills ratio, and the quantile of a log-tail."""

from __future__ import annotations

import math

import torch
from torch import Tensor

LOG_SQRT_2PI = 0.5 * math.log(2 * math.pi)

# (1 + v) times the Mills ratio over t = 2 / (2 + v) in [0, 1]: relative error 2e-8 and 2e-16
_MILLS_SINGLE = (
    (1.0000000186727878, -0.4112403235934425, 1.9232642419371941, -0.25820155120779287, 0.3965676410923941,
     -0.38544869923511793),
    (1.0, -0.9112355689522078, 2.1286831168000333, -0.966559329244828, 0.6464436940608546, -0.09017017075534425),
)  # fmt: skip
_MILLS_DOUBLE = (
    (0.9999999999999998, 2.821444067374316, 11.488570931615177, 22.184031504141284, 41.944908820713756,
     52.664617771187544, 54.157412086896755, 36.264126847369084, 11.419249148859821, -6.98529495328414,
     -9.805844425298428),
    (1.0, 2.3214440673740406, 10.077848897988034, 16.689746033180494, 31.8082543178416, 35.26966075720755,
     35.899618465219376, 23.85571932292429, 12.13563396843418, 3.6597867374554425, 0.5454904348562197),
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
    table = _MILLS_DOUBLE if v.dtype == torch.float64 else _MILLS_SINGLE
    return _ratio(2 / (2 + v), *table) / (1 + v)


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
    """Horner's rule; coefficients by ascending power."""
    *rest, last = coefficients
    value = last * t + rest.pop()
    for c in reversed(rest):
        value = value * t + c
    return value
