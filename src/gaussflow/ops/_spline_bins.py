r"""The rational-quadratic spline of many rows under tables that they share, in few passes over memory.

What a bin needs is made once for all rows: its ends, sides, secant s and the slopes at its ends over the secant,
:math:`e_i = d_i / s`. With :math:`t = (x - x_k) / w` and :math:`r = 1 - t`

.. math::
    z = z_k + h V, \quad V = \frac{t\,(t + e_0 r)}{D}, \quad \frac{dz}{dx} = \frac{s\,T}{D^2}, \qquad
    D = t^2 + (e_0 + e_1)\,t r + r^2, \quad T = e_1 t^2 + 2 t r + e_0 r^2,

sums of positive numbers as in `gaussflow.ops._spline`, whose words on rounding hold here too. Numbers are read from the
tables by flat places, and what can be written over is written over.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

STEEPEST, LARGEST = 1e12, 1e20  # of slopes over secants and of secants: within them no product over- or underflows


class Bins(NamedTuple):
    """Tables of all bins, each flat (B D,), B bins of D columns; ``steps`` is log2 of the length of a search.

    ``search`` has the inner knots of x and ``search_z`` those of z, filled up with NaN, which nothing reaches, and the
    ends of both lines are ``ends`` (4, D): least and greatest x, least and greatest z. ``tails`` (2, D) are the slopes
    there.
    """

    dim: int
    steps: int
    search: Tensor
    search_z: Tensor
    ends: Tensor
    tails: Tensor
    x0: Tensor
    x1: Tensor
    z0: Tensor
    z1: Tensor
    w: Tensor
    h: Tensor
    per_w: Tensor
    per_h: Tensor
    s: Tensor
    e0: Tensor
    e1: Tensor

    @classmethod
    def of(cls, xs: Tensor, zs: Tensor, slopes: Tensor) -> Bins | None:
        """Those of knots, values and slopes (K, D), or None where a bin is too narrow or too steep for them."""
        w, h = xs.diff(dim=0), zs.diff(dim=0)
        s = h / w
        e0, e1 = slopes[:-1] / s, slopes[1:] / s
        tiny = torch.finfo(xs.dtype).tiny ** 0.25
        least = torch.stack([part.amin() for part in (w / tiny, h / tiny, s * LARGEST, e0 * STEEPEST, e1 * STEEPEST)])
        most = torch.stack([s.amax() / LARGEST, e0.amax() / STEEPEST, e1.amax() / STEEPEST])
        if not bool((least.amin() >= 1) & (most.amax() <= 1)):  # a NaN fails, too
            return None
        steps = max(0, len(xs) - 2).bit_length()
        ends = torch.stack([xs[0], xs[-1], zs[0], zs[-1]])
        flat = [t.reshape(-1) for t in (xs[:-1], xs[1:], zs[:-1], zs[1:], w, h, 1 / w, 1 / h, s, e0, e1)]
        return cls(xs.shape[1], steps, _searchable(xs, steps), _searchable(zs, steps), ends, slopes[[0, -1]], *flat)

    def forward(
        self, x: Tensor, values: Tensor | None = None, log_slopes: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """Values and log-slopes of x (n, D), each (n, D), written there where tensors are given."""
        inside, place, per_w, t, r = self.locate(x)
        value, slope = _rational(t, r, self.read(self.e0, place, x), self.read(self.e1, place, x))
        h = self.read(self.h, place, x)
        z = self.read(self.z0, place, x).addcmul_(h, value)
        if not torch.equal(x, inside):
            outside = x - inside
            z.addcmul_(outside.clamp(min=0), self.tails[1]).addcmul_(outside.clamp_(max=0), self.tails[0])
        slope.mul_(h.mul_(per_w))
        return _finite(z, values), torch.log(slope, out=slope if log_slopes is None else log_slopes)

    def inverse(
        self, z: Tensor, values: Tensor | None = None, log_slopes: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """Points and log-slopes of the inverse of z (n, D), each (n, D), written there where tensors are given."""
        inside, place, per_h, t, r = self.locate_inverse(z)
        slope = _rational(t, r, self.read(self.e0, place, z), self.read(self.e1, place, z))[1]
        w = self.read(self.w, place, z)
        x = self.read(self.x0, place, z).addcmul_(w, t)
        if not torch.equal(z, inside):
            outside = z - inside
            x.addcdiv_(outside.clamp(min=0), self.tails[1]).addcdiv_(outside.clamp_(max=0), self.tails[0])
        log_slope = slope.div_(w.mul_(per_h)).log_()
        return _finite(x, values), torch.neg(log_slope, out=log_slope if log_slopes is None else log_slopes)

    def in_steps(self, inverse: bool, step: int, x: Tensor) -> tuple[Tensor, Tensor]:
        """Those of every number of x (N, D), ``step`` rows at a time."""
        found = torch.empty_like(x), torch.empty_like(x)
        f = self.inverse if inverse else self.forward
        for parts in zip(*(t.split(step) for t in (x, *found)), strict=True):
            f(*parts)
        return found

    def locate(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
        """x (n, D) between the end knots, the flat places of its bins, one over their sides, and t and r there."""
        inside, place = torch.clamp(x, self.ends[0], self.ends[1]), self._search(x, self.search)
        per_side = self.read(self.per_w, place, x)
        t = (inside - self.read(self.x0, place, x)).mul_(per_side)
        return inside, place, per_side, t, self.read(self.x1, place, x).sub_(inside).mul_(per_side)

    def locate_inverse(self, z: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
        """The same of z (n, D), t and r by the roots of `gaussflow.ops._spline.stable_quadratic_root`, with s = 1."""
        inside, place = torch.clamp(z, self.ends[2], self.ends[3]), self._search(z, self.search_z)
        per_side = self.read(self.per_h, place, z)
        eta = (inside - self.read(self.z0, place, z)).mul_(per_side)
        rest = self.read(self.z1, place, z).sub_(inside).mul_(per_side)
        e0, e1 = self.read(self.e0, place, z), self.read(self.e1, place, z)
        b, other = _middle(e0, e1, eta, rest), _middle(e1, e0, rest, eta)
        c = (b - 1).abs_()
        across = torch.lerp(eta, rest, torch.ge(b, 1, out=torch.empty_like(b)))
        root = (c - 1).square_().addcmul_(c, across, value=4).clamp_(min=torch.finfo(b.dtype).tiny).sqrt_()
        return inside, place, per_side, _root(b, root, eta), _root(other, root, rest)

    def read(self, table: Tensor, place: Tensor, like: Tensor) -> Tensor:
        """The numbers of a table at flat places (n D,), as (n, D)."""
        return table.index_select(0, place).view(like.shape)

    def _search(self, x: Tensor, table: Tensor) -> Tensor:
        """The flat place (n D,) of the bin of every x (n, D), half open on the right, tails in the end bins.

        Comparisons are written as 0 and 1 of the dtype of x: those that make truth values take five times as long.
        """
        columns = torch.arange(self.dim, dtype=torch.int32, device=x.device)
        if not self.steps:
            return columns.expand(x.shape).reshape(-1)
        jump = 2 ** (self.steps - 1) * self.dim
        past = torch.ge(x, table[jump - self.dim : jump], out=x.new_empty(x.shape))  # all meet the middle knot first
        place = torch.add(columns, past.to(torch.int32), alpha=jump)
        for power in reversed(range(self.steps - 1)):
            jump = 2**power * self.dim
            past = table[jump - self.dim :].index_select(0, place.view(-1)).view(x.shape).le_(x)
            place.add_(past.to(torch.int32), alpha=jump)
        return place.view(-1)


def _finite(x: Tensor, out: Tensor | None) -> Tensor:
    """`gaussflow.ops._finite.saturate`, written there."""
    largest = torch.finfo(x.dtype).max
    return torch.clamp(x, -largest, largest, out=x if out is None else out)


def _searchable(knots: Tensor, steps: int) -> Tensor:
    padding = knots.new_full((2**steps - 1 - (len(knots) - 2), knots.shape[1]), torch.nan)
    return torch.cat([knots[1:-1], padding]).reshape(-1)


def _rational(t: Tensor, r: Tensor, e0: Tensor, e1: Tensor) -> tuple[Tensor, Tensor]:
    """The relative height V, and the slope over the secant, T / D²."""
    tr, tt, rr = t * r, t.square(), r.square()
    bottom = (tt + rr).addcmul_(e0 + e1, tr)
    value = torch.addcmul(t, e0, r).mul_(t).div_(bottom)
    top = tr.mul_(2).addcmul_(e1, tt).addcmul_(e0, rr)
    return value, top.div_(bottom).div_(bottom)


def _middle(e0: Tensor, e1: Tensor, eta: Tensor, rest: Tensor) -> Tensor:
    """The coefficient b of the root."""
    return (e0 * rest).addcmul_(eta, 2 - e1)


def _root(b: Tensor, root: Tensor, eta: Tensor) -> Tensor:
    q, positive = b.abs().add_(root), torch.ge(b, 0, out=torch.empty_like(b))
    top, bottom = torch.lerp(q, 2 * eta, positive), torch.lerp(2 * (1 - b), q, positive)
    return top.div_(bottom.clamp_(min=torch.finfo(b.dtype).tiny)).clamp_(0, 1)
