"""The exponential beside its tangent: what divergences of nearly equal laws consist of."""

from __future__ import annotations

import math

import torch
from torch import Tensor

NEAR = 0.5  # below it expm1(x) - x cancels: there it is a tenth of x
TERMS = [1 / math.factorial(n) for n in range(2, 17)]  # at NEAR the next is below the rounding of float64


def exp_above_tangent(x: Tensor) -> Tensor:
    r"""How far the exponential lies above its tangent at zero: :math:`e^x - 1 - x \ge 0`, exact near zero.

    .. math:: e^x - 1 - x = \sum_{n \ge 2} x^n / n! \quad (|x| < \tfrac12), \qquad
        = \operatorname{expm1}(x) - x \quad \text{elsewhere}

    The difference cancels near zero, where the value is :math:`x^2 / 2`; the series has no difference in it. The
    derivative is :math:`e^x - 1` on both sides, to rounding.

    Parameters
    ----------
    x
        Any numbers, any shape.

    Returns
    -------
    Tensor
        Numbers of the same shape, never negative; infinity where the exponential overflows.

    Examples
    --------
    >>> import torch
    >>> exp_above_tangent(torch.tensor([-1e-10, 0.0, 1e-10, -torch.inf]))
    tensor([5.0000e-21, 0.0000e+00, 5.0000e-21,        inf])
    """
    near = x.abs() < NEAR
    u = torch.where(near, x, 0.0)
    series = torch.full_like(u, TERMS[-1])
    for term in reversed(TERMS[:-1]):
        series = series * u + term
    far = torch.where(near, 1.0, x)
    return torch.where(near, series * u.square(), far.expm1() - far)
