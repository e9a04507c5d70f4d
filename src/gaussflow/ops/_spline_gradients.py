r"""First derivatives of the spline of many rows, written out; higher ones are those of the spline itself.

With :math:`g_z` and :math:`g_l` the gradients of value and log-slope, those of a bin's numbers are sums over its points
of what :math:`t, e_0, e_1` get,

.. math:: a = g_z h V' + g_l L', \qquad V_t = T / D^2, \quad L_t = T_t / T - 2 D_t / D,

and no table has to be read again. The inverse needs no formulas of its own: at the point x that it finds,
:math:`x = f^{-1}(z)` moves by :math:`(dz - f_\theta d\theta) / f'`, so its gradients are those of the spline with
:math:`-(g_x - g_l L_x) / f'` and :math:`-g_l` in place of :math:`g_z` and :math:`g_l`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple, TypeAlias

import torch
from torch import Tensor
from typing_extensions import override

from gaussflow.ops._recompute import gradients_by_itself, is_traced
from gaussflow.ops._spline_bins import Bins

Spline: TypeAlias = Callable[[Tensor, Tensor, Tensor, Tensor], tuple[Tensor, Tensor]]


class Written(torch.autograd.Function):
    """The spline, or its inverse, with its gradients; ``f`` is the reference, whose derivatives are the higher ones."""

    @staticmethod
    @override
    def forward(
        ctx: Any, f: Spline, bins: Bins, inverse: bool, step: int, x: Tensor, *tables: Tensor
    ) -> tuple[Tensor, Tensor]:
        ctx.f, ctx.bins, ctx.inverse, ctx.step = f, bins, inverse, step
        ctx.save_for_backward(x, *tables)
        return bins.in_steps(inverse, step, x)

    @staticmethod
    @override
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        inputs, wanted = ctx.saved_tensors, ctx.needs_input_grad[4:]
        if torch.is_grad_enabled() or is_traced(grads):  # gradients of the gradients are wanted, or many at once
            return None, None, None, None, *gradients_by_itself(ctx.f, inputs, wanted, grads)
        x, _, _, slopes = inputs
        by_x, sums = torch.empty_like(x), Sums.zeros(ctx.bins)
        for part, out, *behind in zip(*(t.split(ctx.step) for t in (x, by_x, *grads)), strict=True):
            out.copy_(sums.add(ctx.bins, part, *behind, inverse=ctx.inverse))
        return None, None, None, None, by_x, *sums.by_tables(ctx.bins, slopes)


class Sums(NamedTuple):
    """Sums over the points of every bin, (7, B D): of a, a t, g_z, g_z V, what e0 and e1 get, and g_l.

    ``beyond`` (2, D) is what the slopes at the ends get from points beyond them.
    """

    bins: Tensor
    beyond: Tensor

    @classmethod
    def zeros(cls, bins: Bins) -> Sums:
        """Nothing summed yet."""
        return cls(bins.x0.new_zeros(7, len(bins.x0)), bins.x0.new_zeros(2, bins.dim))

    def add(self, bins: Bins, x: Tensor, gz: Tensor, gl: Tensor, *, inverse: bool) -> Tensor:
        """Add the points x (n, D), with gradients gz and gl by what became of them; returns the gradient by x."""
        inside, place, per_side, t, r = bins.locate_inverse(x) if inverse else bins.locate(x)
        e0, e1 = bins.read(bins.e0, place, x), bins.read(bins.e1, place, x)
        tr, tt, rr, both = t * r, t.square(), r.square(), e0 + e1
        per_d = (tt + rr).addcmul_(both, tr).reciprocal_()
        top = (e1 * tt).addcmul_(e0, rr).add_(tr, alpha=2)
        per_top, rise = top.reciprocal(), top.mul_(per_d).mul_(per_d)  # of V by t
        l_t = (e1 * t).addcmul_(e0, r, value=-1).add_(apart := r - t).mul_(per_top)
        l_t.addcmul_(apart.mul_(both.sub_(2)), per_d, value=-1)  # half of it
        outside, beyond = x - inside, not torch.equal(x, inside)
        if beyond:
            l_t.mul_(torch.eq(outside, 0, out=torch.empty_like(outside)))  # 0 or 1 each
        if inverse:
            s, per_h = bins.read(bins.s, place, x), per_side
            per_side = s * per_h  # 1 / w
            gz, gl = (l_t.mul(per_side).mul_(gl).mul_(2) - gz) / (rise * s), -gl
            outside = outside.clamp(min=0).div_(bins.tails[1]).add_(outside.clamp_(max=0).div_(bins.tails[0]))
            gv = gz / per_h
        else:
            gv = bins.read(bins.h, place, x).mul_(gz)
        a = rise.mul_(gv).addcmul_(gl, l_t, value=2)
        above, below = torch.addcmul(t, e0, r).mul_(t), torch.addcmul(r, e1, t).mul_(r)
        value, tr = above * per_d, tr.mul_(per_d)
        shared, both = gv.mul_(per_d).mul_(tr), tr.mul_(gl)
        per_top.mul_(gl)
        by_e0 = below.mul_(shared).addcmul_(per_top, rr).sub_(both, alpha=2)
        by_e1 = per_top.mul_(tt).addcmul_(above, shared, value=-1).sub_(both, alpha=2)
        place = place.long()
        for total, part in zip(self.bins, (a, a * t, gz, value.mul_(gz), by_e0, by_e1, gl), strict=True):
            total.scatter_add_(0, place, part.reshape(-1))
        if beyond:
            self.beyond[0] += (gz * outside.clamp(max=0)).sum(0)
            self.beyond[1] += (gz * outside.clamp(min=0)).sum(0)
        return -gz if inverse else a.mul_(per_side)

    def by_tables(self, bins: Bins, slopes: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """The gradients by knots, values and slopes, each (K, D)."""
        a, at, gz, gv, by_e0, by_e1, gl = self.bins
        slanted = by_e0 * bins.e0 + by_e1 * bins.e1  # by the log of the side w, and less that by the log of h
        by_w, by_h = (slanted - at - gl) / bins.w, gv + (gl - slanted) / bins.h
        by_xs = _at_ends(-a / bins.w - by_w, by_w, bins.dim)
        by_zs = _at_ends(gz - by_h, by_h, bins.dim)
        by_slopes = _at_ends(by_e0 / bins.s, by_e1 / bins.s, bins.dim)
        by_slopes[0] += self.beyond[0]
        by_slopes[-1] += self.beyond[1]
        return by_xs, by_zs, by_slopes


def _at_ends(left: Tensor, right: Tensor, dim: int) -> Tensor:
    """The sum (K, D) over the bins that a knot ends of what the bins (B D,) say of their left and right ends."""
    left, right = left.view(-1, dim), right.view(-1, dim)
    return torch.cat([left, torch.zeros_like(left[:1])]) + torch.cat([torch.zeros_like(left[:1]), right])
