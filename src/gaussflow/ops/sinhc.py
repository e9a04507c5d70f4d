r"""The logarithm of sinh(a)/a and its derivative, stable at zero, where both of their formulas divide zero by zero."""

from __future__ import annotations

import torch
from torch import Tensor

NEAR = 0.5  # below it the series, whose first term left out is then below 1e-16 of the sum
_LANGEVIN = (  # coefficients of a^1, a^3, ... in coth(a) − 1/a: 2^(2n) B_2n / (2n)!
    *(1 / 3, -1 / 45, 2 / 945, -1 / 4725, 2 / 93555, -1382 / 638512875, 4 / 18243225),
    *(-3617 / 162820783125, 87734 / 38979295480125, -349222 / 1531329465290625),
    *(310732 / 13447856940643125, -472728182 / 201919571963756521875),
)


def log_sinhc(a: Tensor) -> Tensor:
    r"""The logarithm :math:`\log (\sinh a / a)` (...), even in a and zero at zero, with a stable gradient.

    Far from zero :math:`\log (\sinh a / a) = |a| - \log |a| + \log (-\mathrm{expm1}(-2|a|)) - \log 2`; near zero the
    series :math:`a^2/6 - a^4/180 + \dots`, since there the gradient of the first form is a difference of two
    numbers of the size 1/a.

    Examples
    --------
    >>> import torch
    >>> from gaussflow.ops.sinhc import log_sinhc
    >>> log_sinhc(torch.tensor([0.0, 1.0, -1.0])).mul(1e4).round()
    tensor([   0., 1614., 1614.])
    """
    near = a.abs() < NEAR
    far = torch.where(near, 1.0, a.abs())
    outside = far + torch.log(-torch.expm1(-2 * far) / (2 * far))
    return torch.where(near, _even(torch.where(near, a, 0.0)), outside)


def langevin(a: Tensor) -> Tensor:
    r"""Langevin's function :math:`\coth a - 1/a` (...), the derivative of `log_sinhc`: odd, from -1 to 1.

    Examples
    --------
    >>> import torch
    >>> from gaussflow.ops.sinhc import langevin
    >>> langevin(torch.tensor([-1e9, 0.0, 1e9]))
    tensor([-1.,  0.,  1.])
    """
    near = a.abs() < NEAR
    far = torch.where(near, 1.0, a)
    inside = torch.where(near, a, 0.0)
    return torch.where(near, inside * _horner(inside.square(), _LANGEVIN), 1 / far.tanh() - 1 / far)


def _even(a: Tensor) -> Tensor:
    """The series of log(sinh(a)/a): that of its derivative, integrated term by term."""
    square = a.square()
    return square * _horner(square, [c / (2 * n + 2) for n, c in enumerate(_LANGEVIN)])


def _horner(x: Tensor, coefficients: tuple[float, ...] | list[float]) -> Tensor:
    total = torch.full_like(x, coefficients[-1])
    for c in reversed(coefficients[:-1]):
        total = total * x + c
    return total
