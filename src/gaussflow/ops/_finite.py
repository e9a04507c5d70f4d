"""Keeping numbers finite without touching those that are."""

from __future__ import annotations

import torch
from torch import Tensor


def saturate(x: Tensor) -> Tensor:
    """The nearest finite number: infinities become the largest finite number, a NaN stays a NaN; shape (...)."""
    largest = torch.finfo(x.dtype).max
    return x.clamp(-largest, largest)


def soft_unbound(x: Tensor, bound: float) -> Tensor:
    r"""The inverse :math:`b \operatorname{artanh}(x / b)` of `soft_bound` of `gaussflow.ops.bounds`, shape (...).

    It is kept finite at the bound.
    """
    edge = 1 - 8 * torch.finfo(x.dtype).eps
    return bound * torch.atanh((x / bound).clamp(-edge, edge))


def side(x: Tensor) -> Tensor:
    """1 where x is not negative, -1 where it is (...), to multiply with: `torch.where` costs ten multiplications."""
    return torch.copysign(torch.ones((), dtype=x.dtype, device=x.device), x.detach())
