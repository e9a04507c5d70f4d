"""What a coupling does to every number, with gradients that are written out: for plain training, and no other mode.

Each temporary of a large tensor costs as much as a product with a thin matrix. Second derivatives, `torch.func` and
``torch.compile`` take the plain functions, which these are equal to up to rounding.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from typing_extensions import override

from gaussflow.ops._recompute import gradients_by_itself, is_traced

LOG2_E = math.log2(math.e)


def plain_training(*tensors: Tensor) -> bool:
    """Whether gradients of tensors on the CPU are taken, once and of one value."""
    return torch.is_grad_enabled() and plain_numbers(*tensors)


def plain_numbers(*tensors: Tensor) -> bool:
    """Whether numbers on the CPU are mapped, or differentiated, by nothing but torch itself: no trace, no transform."""
    if is_traced(tensors):
        return False
    return all(t.device.type == "cpu" and t.dtype in (torch.float32, torch.float64) for t in tensors)


def scale_of(s: Tensor) -> Tensor:
    r"""The scale :math:`e^s = 2^{s \log_2 e}` (...) of a log-scale of a few units, to 2e-7 in single precision.

    Plain torch takes a third of the time for a power of two.
    """
    return (s * LOG2_E).exp2_()  # in place: each temporary of a large tensor is page-faulted


def interleaved(a: Tensor, b: Tensor) -> Tensor:
    """Every second column from a and from b, (..., M) each: (..., 2 M).

    Written as complex numbers, in an eighth of the time of a stack.
    """
    return torch.view_as_real(torch.complex(a, b)).flatten(-2)


class Unweave(torch.autograd.Function):
    """The even and the odd columns of x (..., 2 M)."""

    @staticmethod
    @override
    def forward(ctx: Any, x: Tensor, even: Tensor, odd: Tensor) -> tuple[Tensor, Tensor]:
        return x.index_select(-1, even), x.index_select(-1, odd)

    @staticmethod
    @override
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None, None]:
        if torch.is_grad_enabled() or is_traced(grads):
            return torch.stack(grads, -1).reshape(*grads[0].shape[:-1], -1), None, None
        return interleaved(*grads), None, None


class Weave(torch.autograd.Function):
    """Every second column from a and from b."""

    @staticmethod
    @override
    def forward(ctx: Any, a: Tensor, b: Tensor) -> Tensor:
        return interleaved(a, b)

    @staticmethod
    @override
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, ...]:
        return grads[0][..., ::2], grads[0][..., 1::2]


class Squash(torch.autograd.Function):
    """`gaussflow.ops.bounds.squash`, whose slope is one over the square of the divisor."""

    @staticmethod
    @override
    def forward(ctx: Any, x: Tensor, radius: float) -> Tensor:
        divisor = x.abs().div_(radius).add_(1)
        ctx.radius = radius
        ctx.save_for_backward(x, divisor)
        return x / divisor

    @staticmethod
    @override
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, None]:
        x, divisor = ctx.saved_tensors
        if torch.is_grad_enabled() or is_traced(grads):
            return grads[0] / (1 + x.abs() / ctx.radius).square(), None
        return (grads[0] / divisor).div_(divisor), None


class Affine(torch.autograd.Function):
    r""":math:`z = e^s x + t` or back, with :math:`s = b\,(2 \sigma(u) - 1)`: values and log-slopes.

    ``plain`` is the same by plain functions. Forward :math:`\partial z / \partial s = e^s x`, back :math:`-x`, and
    :math:`\partial s / \partial u = (b^2 - s^2) / 2 b`.
    """

    @staticmethod
    @override
    def forward(
        ctx: Any, plain: Callable[..., tuple[Tensor, Tensor]], bound: float, back: bool, x: Tensor, u: Tensor, t: Tensor
    ) -> tuple[Tensor, Tensor]:
        s = torch.sigmoid(u).mul_(2 * bound).sub_(bound)
        slopes = s.neg() if back else s
        scale = slopes.exp()
        value = torch.mul(x - t, scale) if back else torch.addcmul(t, scale, x)
        ctx.plain, ctx.bound, ctx.back = plain, bound, back
        ctx.save_for_backward(x, u, t, slopes, scale, value)
        return value, slopes.view_as(slopes)

    @staticmethod
    @override
    def backward(ctx: Any, *grads: Tensor) -> tuple[Any, ...]:
        x, u, t, slopes, scale, value = ctx.saved_tensors
        if torch.is_grad_enabled() or is_traced(grads):
            return None, None, None, *gradients_by_itself(ctx.plain, (x, u, t), ctx.needs_input_grad[3:], grads)
        by_value, by_slopes = grads
        by_x = by_value * scale
        by_s = torch.addcmul(by_slopes, by_value, value) if ctx.back else torch.addcmul(by_slopes, by_x, x)
        by_u = by_s.mul_((ctx.bound**2 - slopes.square()).mul_((-0.5 if ctx.back else 0.5) / ctx.bound))
        return None, None, None, by_x, by_u, -by_x if ctx.back else by_value
