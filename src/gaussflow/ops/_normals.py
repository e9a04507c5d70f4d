r"""Mixtures of normal laws for many rows: the map to a standard normal with its first derivatives written out.

With the density p of the mixture at x and the shares :math:`r_i` that its components have in it,

.. math::
    \frac{\partial z}{\partial \mu_i} = -r_i e^L, \quad \frac{\partial \log p}{\partial \mu_i} = r_i \frac{u_i}{s_i},
    \qquad L = \log p(x) - \log \varphi(z), \quad \frac{\partial L}{\partial z} = z,

so that with :math:`b = g_z + g_l z`, the gradient of all that z is in, and
:math:`v_i = r_i (g_l u_i / s_i - b e^L)` a mean gets v, the logarithm of a scale :math:`s_i u_i v_i - g_l r_i`, x
itself :math:`-\sum_i v_i`, and the logarithm of a weight :math:`g_l r_i` and, of b, the share of its component in the
smaller tail times the Mills ratio of z.
Points far out, where such shares need logarithms, go another way, and those beyond all components, where the map is a
straight line that depends on where they end, are left to the reference.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, TypeAlias

import torch
from torch import Tensor
from typing_extensions import override

from gaussflow.ops._finite import side
from gaussflow.ops._normals_far import far_gradients
from gaussflow.ops._recompute import gradients, gradients_by_itself, is_traced
from gaussflow.ops._tails import mills_ratio

Rowwise: TypeAlias = Callable[[Tensor, Tensor, Tensor, Tensor], tuple[Tensor, Tensor]]
FAR = 4.5  # beyond this z shares need logarithms and double precision
MANY = 0.25  # share of such points beyond which all are
REACH = 100.0  # as in `gaussflow.ops.mixture`: so many scales outside of every component a straight line begins


class Written(torch.autograd.Function):
    """The map of x (N, D) under tables (K, D) of log-weights, means and log-scales.

    ``f`` is the reference, which works on columns of their own too, ``quick`` gives the values of some rows.
    """

    @staticmethod
    @override
    def forward(
        ctx: Any, f: Rowwise, quick: Callable[[int, Tensor], tuple[Tensor, Tensor]], step: int, x: Tensor,
        *tables: Tensor,
    ) -> tuple[Tensor, Tensor]:  # fmt: skip
        ctx.f, ctx.step = f, step
        z, log_slope = quick(step, x)
        ctx.save_for_backward(x, *tables, z, log_slope)
        return z, log_slope

    @staticmethod
    @override
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        *inputs, z, log_slope = ctx.saved_tensors
        if torch.is_grad_enabled() or is_traced(grads):  # gradients of the gradients are wanted, or many at once
            return None, None, None, *gradients_by_itself(ctx.f, tuple(inputs), ctx.needs_input_grad[3:], grads)
        x, *tables = inputs
        by_x, sums = torch.empty_like(x), [torch.zeros_like(t) for t in tables]
        for part, out, *behind in zip(*(t.split(ctx.step) for t in (x, by_x, z, log_slope, *grads)), strict=True):
            out.copy_(_add(ctx.f, part, tables, sums, tuple(behind)))
        return None, None, None, by_x, *sums


def _add(f: Rowwise, x: Tensor, tables: list[Tensor], sums: list[Tensor], behind: tuple[Tensor, ...]) -> Tensor:
    """Add what points x (n, D) say of the tables to the sums (K, D); returns the gradient by x.

    ``behind`` are what became of them, z and the log-slope, and the gradients by these.
    """
    z, log_slope, gz, gl = behind
    far = z.abs() > FAR
    count = int(far.sum())
    if not count:
        return _near(x, tables, sums, behind)
    if count > MANY * x.numel():
        by_x, *more = _far(f, x, tables, (z, gz, gl))
        for total, part in zip(sums, more, strict=True):
            total += part.sum(1)
        return by_x.to(x.dtype)
    by_x = _near(x, tables, sums, (z, log_slope, gz.masked_fill(far, 0), gl.masked_fill(far, 0)))
    column = far.nonzero()[:, 1]
    own = [t[:, column] for t in tables]
    by_far, *more = _far(f, x[far][None], own, (z[far][None], gz[far][None], gl[far][None]))
    by_x[far] = by_far[0].to(x.dtype)
    for total, part in zip(sums, more, strict=True):
        total += torch.zeros_like(total, dtype=part.dtype).index_add_(1, column, part[:, 0])
    return by_x


def _far(f: Rowwise, x: Tensor, tables: list[Tensor], behind: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    """Gradients by x (n, D) and what each row adds to those of the tables, (K, n, D) each, in double precision."""
    means, room = tables[1], REACH * tables[2].exp()
    outside = (x < (means - room).amin(0)) | (x > (means + room).amax(0))
    if not bool(outside.any()):
        return far_gradients(x, tuple(tables), *behind)
    own = (t[:, None].expand(-1, *x.shape).reshape(len(t), -1) for t in tables)  # every point as a column of its own
    with torch.enable_grad():
        leaves = tuple(t.detach().double().requires_grad_() for t in (x.reshape(1, -1), *own))
        values = f(*leaves)
    found = gradients(values, leaves, (True,) * 4, tuple(g.double().reshape(1, -1) for g in behind[1:]))
    by_x, *more = (g.reshape(-1, *x.shape) for g in found if g is not None)
    return by_x[0], *more


def _near(x: Tensor, tables: list[Tensor], sums: list[Tensor], behind: tuple[Tensor, ...]) -> Tensor:
    """`_add` where no point is far."""
    z, log_slope, gz, gl = behind
    log_weights, means, log_scales = (t[:, None] for t in tables)
    per_scale = (-log_scales).exp()
    u = (x - means).mul_(per_scale)
    share = u.square().mul_(-0.5).add_(log_weights - log_scales)
    share.sub_(share.amax(0)).exp_()
    b = gz + gl * z
    # The slope is that found forward: by the density and z it would have the rounding of z², which is then not that of
    # the shares, and in the gradient by x nearly all of both is cancelled.
    v = (u * per_scale).mul_(gl).sub_(b * log_slope.exp()).mul_(share.div_(share.sum(0)))
    by_density = share.mul_(gl).sum(1)
    by_x = v.sum(0).neg_()
    sums[1] += v.sum(1)
    sums[2] += v.mul_(u).sum(1) * tables[2].exp() - by_density
    tail = u.mul_(torch.copysign(z.new_full((), math.sqrt(0.5)), z)).erfc_().mul_(log_weights.exp())
    both = tail.sum(0).clamp_(min=torch.finfo(z.dtype).tiny)
    by_tail = tail.mul_((b * mills_ratio(z.abs())).div_(both).mul_(side(z))).sum(1)
    sums[0] += by_density - by_tail
    return by_x
