r"""The log-density of sorted points under a spline: what candidates for a marginal are compared by.

That points are sorted saves the search. Where the knots fall among the points says how many points each bin holds,
and what a bin's points need of its tables is that bin's numbers so many times over. Single precision does, in units of
the column, as scores are compared to a thousandth of a nat.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from gaussflow.ops._sort import count_up_to

FARTHEST = 1e12  # units at which points stop: the squares of what follows stay finite
_ONE = torch.ones(())
LEAST = 1e-7  # of a slope, in units of the bin's secant


@dataclass(frozen=True)
class SortedPoints:
    """Ascending points x (D, n) in single precision, in units (D, 1) from an origin (D, 1)."""

    x: Tensor
    origin: Tensor
    unit: Tensor

    @classmethod
    def of(cls, x: Tensor, origin: Tensor, unit: Tensor) -> SortedPoints:
        """From sorted points (D, n) and units of each column, (D,)."""
        origin, unit = origin[:, None], unit[:, None]
        return cls(((x - origin) / unit).clamp_(-FARTHEST, FARTHEST).float(), origin, unit)

    def log_prob(self, value: Tensor, slope: Tensor, u: Tensor) -> Tensor:
        r"""Log-densities (D, E, n) of laws whose quantile functions have these values and slopes (K, E, D) at u (K, 1).

        As `gaussflow.ops._spline`, with :math:`e_i = d_i / s - 1` of a bin, so that the line of a tail is a bin like
        others: :math:`e_i = 0`, and nothing in it cancels, however far the point.
        """
        knots, slopes = (t.permute(2, 1, 0) for t in (value, slope))
        origin, unit = self.origin[..., None], self.unit[..., None]
        knots, slopes = ((knots - origin) / unit).float().contiguous(), (slopes / unit).float()
        place, tables = self._bins(knots), _tables(knots, slopes, u[:, 0].float())
        shape = (*knots.shape[:2], self.x.shape[1])
        start, per_width, z0, h, e0, e1, log_secant = (table.index_select(0, place).view(shape) for table in tables)
        t = torch.sub(self.x[:, None], start, out=start).mul_(per_width)
        r = torch.sub(1, t, out=per_width)
        tr = t * r
        inside = torch.addcmul(_ONE.to(t), e0 + e1, tr)  # the denominator D over s
        z = z0.addcmul_(h, torch.addcmul(t, e0, tr, out=tr).div_(inside))
        top = torch.addcmul(_ONE.to(t), e1, t.square_(), out=t).addcmul_(e0, r.square_()).clamp_(min=LEAST)
        log_slope = top.div_(inside.square_()).log_().add_(log_secant)
        return log_slope.add_(z.square_(), alpha=-0.5).sub_((unit.log() + 0.5 * math.log(2 * math.pi)).float())

    def _bins(self, knots: Tensor) -> Tensor:
        """The bin, the tails among them, of every point, as a place in flattened tables (D, E, K + 1)."""
        below = count_up_to(self.x, knots.flatten(1)).view(knots.shape)
        ends = torch.nn.functional.pad(below, (1, 0)), torch.nn.functional.pad(below, (0, 1), value=self.x.shape[1])
        return torch.repeat_interleave((ends[1] - ends[0]).flatten())


def _tables(x: Tensor, slope: Tensor, u: Tensor) -> list[Tensor]:
    """What a bin says, flat (D E (K + 1),): start, 1 / width, z there, height, both slopes less 1, log of its secant.

    Knots x and slopes of the quantile functions are (D, E, K), their values u (K,). In a tail a width is that of one
    unit of z.
    """
    first, last = slope[..., :1], slope[..., -1:]
    ones = torch.ones_like(first)
    width = torch.cat([first, x.diff(), last], -1).clamp(min=torch.finfo(x.dtype).tiny ** 0.25)
    h = torch.cat([ones, u.diff().expand(*x.shape[:2], -1), ones], -1)
    secant, ends = width / h, torch.cat([first, slope, last], -1)
    flatness = [secant / end - 1 for end in (ends[..., :-1], ends[..., 1:])]
    start = torch.cat([x[..., :1], x], -1)
    z0 = torch.cat([u[:1], u]).expand_as(start)
    return [table.reshape(-1) for table in (start, 1 / width, z0, h, *flatness, -secant.log())]
