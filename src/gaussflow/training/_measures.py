"""What a growing flow is judged by on held-out rows: the nats that a block buys, and those that are left."""

from __future__ import annotations

import math

from torch import Tensor

from gaussflow.rows import Rows
from gaussflow.transforms.base import Transform


def gained_and_through(transform: Transform, rows: Rows) -> tuple[float, Rows]:
    """The mean gain in log-density by one more transform, nats a row, and the rows that went through it."""
    through, (total,) = rows._through_and_sum(transform, lambda x, z, ladj: (_gains(x, z, ladj).sum(),))
    return float(total) / rows.n, through


def gain_and_error(transform: Transform, rows: Rows) -> tuple[float, float]:
    """The mean gain in log-density by one more transform, nats a row, and its standard error."""

    def gain(x: Tensor, c: Tensor | None) -> tuple[Tensor, Tensor]:
        z, ladj = transform(x.to(rows.dtype), None if c is None else c.to(rows.dtype))
        each = _gains(x, z, ladj)
        return each.sum(), each.square().sum()

    first, second = (float(total) / rows.n for total in rows.sum(gain))
    return first, math.sqrt(max(0.0, second - first * first) / rows.n)


def normal_nats(rows: Rows) -> float:
    """Mean negative log-density of the rows under the standard normal, nats per row."""
    (total,) = rows.sum(lambda x, c: (x.square().sum(),))
    return float(total) / rows.n / 2 + rows.dim / 2 * math.log(2 * math.pi)


def _gains(x: Tensor, z: Tensor, ladj: Tensor) -> Tensor:
    r"""What each row gains, :math:`\text{ladj} + (\|x\|^2 - \|z\|^2) / 2` nats: (n,) of x and z (n, D)."""
    return ladj.double() + 0.5 * (x.double().square() - z.double().square()).sum(-1)
