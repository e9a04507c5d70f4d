r"""Mixtures of normal laws for many rows: the map to a standard normal with its first derivatives written out.

With the density p of the mixture at x and the shares :math:`r_i` that its components have in it,

.. math::
    \frac{\partial z}{\partial \mu_i} = -r_i e^L, \quad \frac{\partial \log p}{\partial \mu_i} = r_i \frac{u_i}{s_i},
    \qquad L = \log p(x) - \log \varphi(z), \quad \frac{\partial L}{\partial z} = z,

so that with :math:`b = g_z + g_l z`, the gradient of all that z is in, and
:math:`v_i = r_i (g_l u_i / s_i - b e^L)` a mean gets v, the logarithm of a scale :math:`s_i u_i v_i - g_l r_i`, x
itself :math:`-\sum_i v_i`, and the logarithm of a weight :math:`g_l r_i` and, of b, the share of its component in the
smaller tail times the Mills ratio of z.
Points far out, where such shares need logarithms, are left to the reference, with all their derivatives.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, TypeAlias

import torch
from torch import Tensor
from typing_extensions import override

from gaussflow.ops._finite import side
from gaussflow.ops._recompute import gradients, gradients_by_itself, in_steps, is_traced
from gaussflow.ops._tails import mills_ratio

Rowwise: TypeAlias = Callable[[Tensor, Tensor, Tensor, Tensor], tuple[Tensor, Tensor]]
FAR = 4.5  # beyond this z a point is left to the reference
MANY = 0.25  # share of points left to it beyond which all are


class Written(torch.autograd.Function):
    """The map of x (N, D) under tables (K, D) of log-weights, means and log-scales.

    ``f`` is the reference, which works on columns of their own too, ``quick`` gives the values of some rows.
    """

    @staticmethod
    @override
    def forward(
        ctx: Any, f: Rowwise, quick: Callable[[Tensor], tuple[Tensor, Tensor]], step: int, x: Tensor, *tables: Tensor
    ) -> tuple[Tensor, Tensor]:
        ctx.f, ctx.step = f, step
        z, log_slope = in_steps(quick, step, x)
        ctx.save_for_backward(x, *tables, z)
        return z, log_slope

    @staticmethod
    @override
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        *inputs, z = ctx.saved_tensors
        if torch.is_grad_enabled() or is_traced(grads):  # gradients of the gradients are wanted, or many at once
            return None, None, None, *gradients_by_itself(ctx.f, tuple(inputs), ctx.needs_input_grad[3:], grads)
        x, *tables = inputs
        by_x, sums = torch.empty_like(x), [torch.zeros_like(t) for t in tables]
        for part, out, *behind in zip(*(t.split(ctx.step) for t in (x, by_x, z, *grads)), strict=True):
            out.copy_(_add(ctx.f, part, tables, sums, *behind))
        return None, None, None, by_x, *sums


def _add(f: Rowwise, x: Tensor, tables: list[Tensor], sums: list[Tensor], z: Tensor, gz: Tensor, gl: Tensor) -> Tensor:
    """Add what points x (n, D) say of the tables to the sums (K, D); returns the gradient by x."""
    far = z.abs() > FAR
    count = int(far.sum())
    if not count:
        return _near(x, tables, sums, z, gz, gl)
    if count > MANY * x.numel():
        by_x, *more = _by_reference(f, x, tables, (gz, gl))
        for total, part in zip(sums, more, strict=True):
            total += part
        return by_x
    by_x = _near(x, tables, sums, z, gz.masked_fill(far, 0), gl.masked_fill(far, 0))
    column = far.nonzero()[:, 1]
    by_far, *more = _by_reference(f, x[far][None], [t[:, column] for t in tables], (gz[far][None], gl[far][None]))
    by_x[far] = by_far[0]
    for total, part in zip(sums, more, strict=True):
        total.index_add_(1, column, part)
    return by_x


def _by_reference(f: Rowwise, x: Tensor, tables: list[Tensor], grads: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    with torch.enable_grad():
        leaves = tuple(t.detach().requires_grad_() for t in (x, *tables))
        values = f(*leaves)
    return gradients(values, leaves, (True,) * len(leaves), grads)  # type: ignore[return-value]


def _near(x: Tensor, tables: list[Tensor], sums: list[Tensor], z: Tensor, gz: Tensor, gl: Tensor) -> Tensor:
    """`_add` where no point is far."""
    log_weights, means, log_scales = (t[:, None] for t in tables)
    per_scale = (-log_scales).exp()
    u = (x - means).mul_(per_scale)
    share = u.square().mul_(-0.5).add_(log_weights - log_scales)
    top = share.amax(0)
    share.sub_(top).exp_()
    total = share.sum(0)
    slope = (total.log() + top + 0.5 * z.square()).exp_()
    b = gz + gl * z
    v = (u * per_scale).mul_(gl).sub_(b * slope).mul_(share.div_(total))
    by_density = share.mul_(gl).sum(1)
    by_x = v.sum(0).neg_()
    sums[1] += v.sum(1)
    sums[2] += v.mul_(u).sum(1) * tables[2].exp() - by_density
    tail = u.mul_(torch.copysign(z.new_full((), math.sqrt(0.5)), z)).erfc_().mul_(log_weights.exp())
    both = tail.sum(0).clamp_(min=torch.finfo(z.dtype).tiny)
    by_tail = tail.mul_((b * mills_ratio(z.abs())).div_(both).mul_(side(z))).sum(1)
    sums[0] += by_density - by_tail
    return by_x
