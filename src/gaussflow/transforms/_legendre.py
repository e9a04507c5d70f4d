r"""Legendre moments of coordinates brought to :math:`r = 2 \Phi(y) - 1`: how far a law is from standard normal."""

from __future__ import annotations

import math

import torch
from torch import Tensor

DEGREES = 6  # the shapes told apart: shift, scale, skew, tails or two peaks, and two finer ones


def legendre(y: Tensor) -> tuple[Tensor, Tensor]:
    r"""The functions :math:`h_j(y) = \sqrt{2 j + 1}\, P_j(2 \Phi(y) - 1)`, j = 1 ... 6, and their slopes.

    For a standard normal y the functions are bounded, of mean zero, of variance one and uncorrelated. With p the
    density of r, :math:`\sum_j (E\, h_j)^2` is the part of :math:`\int (2 p - 1)^2 dr / 2` in these degrees: about
    twice the divergence of y from the standard normal, where that is small.

    Parameters
    ----------
    y
        Any shape (...).

    Returns
    -------
    h, slope
        (6, ...) each; the slope is that in y.
    """
    r = torch.erf(y / math.sqrt(2))
    p = _polynomials(r)
    d = [torch.zeros_like(r), torch.ones_like(r)]
    for j in range(1, DEGREES):
        d.append(d[j - 1] + (2 * j + 1) * p[j])
    bell = math.sqrt(2 / math.pi) * (-0.5 * y.square()).exp()
    return _roots(y) * torch.stack(p[1:]), _roots(y) * bell * torch.stack(d[1:])


def legendre_values(y: Tensor) -> Tensor:
    """The functions of `legendre` alone, (6, ...): slopes take twice as long as they."""
    return _roots(y) * torch.stack(_polynomials(torch.erf(y / math.sqrt(2)))[1:])


def _polynomials(r: Tensor) -> list[Tensor]:
    """Those of Legendre, degrees 0 to 6, at r (...)."""
    p = [torch.ones_like(r), r]
    for j in range(1, DEGREES):
        p.append(torch.addcmul(p[j - 1] * (-j / (j + 1)), r, p[j], value=(2 * j + 1) / (j + 1)))
    return p


def _roots(y: Tensor) -> Tensor:
    """The root of 2 j + 1 of each degree, to multiply functions of y (...) with."""
    root = y.new_tensor([math.sqrt(2 * j + 1) for j in range(1, DEGREES + 1)])
    return root.reshape(-1, *[1] * y.dim())
