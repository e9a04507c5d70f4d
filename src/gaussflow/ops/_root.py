"""The root of a monotone function, for many elements at once, differentiable in everything the function depends on."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor

from gaussflow.ops._finite import saturate
from gaussflow.ops._kernels import REFERENCES


def polished_root(
    f: Callable[[Tensor], tuple[Tensor, Tensor]], y: Tensor, start: Tensor, low: Tensor, high: Tensor, steps: int
) -> tuple[Tensor, Tensor]:
    r"""Solve :math:`f(x) = y` element by element for an increasing f, by Newton's method inside a bracket.

    A step that leaves the bracket is replaced by its middle, and so is one after a step that did not halve what is left
    of y: where f is steep, Newton's steps are short and would creep. The number of steps is fixed, so the function
    compiles and maps. These steps are not differentiated; two more Newton steps from the root found are,

    .. math:: x_{n+1} = x_n - (f(x_n) - y) / f'(x_n).

    The first gives x the implicit derivatives :math:`\partial x / \partial y = 1 / f'` and :math:`\partial x /
    \partial \theta = -\partial_\theta f / f'` exactly; the second, as each step doubles the order that is right, those
    of order two and three. Alternatives: differentiating through all steps costs their memory; a custom backward
    costs higher derivatives and forward mode.

    Parameters
    ----------
    f
        Takes x (...) and returns f(x) and :math:`\log f'(x)`, each (...).
    y
        Values (...).
    start, low, high
        Where to start, and numbers between which the root lies; each (...), not differentiated.
    steps
        Number of Newton steps before the two that are differentiated.

    Returns
    -------
    x, log_slope
        The root and :math:`\log dx/dy = -\log f'(x)`, each (...). A NaN in y gives NaN.

    Examples
    --------
    >>> import torch
    >>> from gaussflow.ops._root import polished_root
    >>> y = torch.tensor([-8.0, 0.5, 27.0])
    >>> x, _ = polished_root(lambda x: (x.sinh(), x.cosh().log()), y, y * 0, y * 0 - 9, y * 0 + 9, steps=12)
    >>> torch.allclose(x.sinh(), y)
    True
    """
    with torch.no_grad():
        x, target = torch.minimum(torch.maximum(start, low), high), y.detach()
        before, near = torch.full_like(target, torch.inf), torch.finfo(y.dtype).eps ** 0.5 * (1 + target.abs())
        for _ in range(steps):
            value, log_slope = f(x)
            low, high = torch.where(value < target, x, low), torch.where(value > target, x, high)
            newton, left = x - (value - target) * inverse_slope(log_slope), (value - target).abs()
            inside, pays = (newton >= low) & (newton <= high), (left < 0.5 * before) | (left < near)
            x, before = torch.where(inside & pays, newton, 0.5 * low + 0.5 * high), left
    for _ in range(2):
        value, log_slope = f(x)
        x = saturate(x - (value - y) * inverse_slope(log_slope))
    return x, -f(x)[1]


REFERENCES["root"] = polished_root


def inverse_slope(log_slope: Tensor) -> Tensor:
    """1 / f' from log f' (...), held below the square root of the largest number, so that products stay finite."""
    edge = 0.5 * math.log(torch.finfo(log_slope.dtype).max)
    return (-log_slope).clamp(max=edge).exp()
