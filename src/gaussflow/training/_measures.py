"""What a growing flow is judged by on held-out rows: the nats that a block buys, and those that are left."""

from __future__ import annotations

import math

from torch import Tensor

from gaussflow.rows import Rows
from gaussflow.transforms.base import Transform


def nats_gained(transform: Transform, rows: Rows) -> float:
    r"""Mean gain in log-density by one more transform, :math:`E[\text{ladj} + (\|x\|^2 - \|z\|^2) / 2]`, nats a row."""
    return gain_and_error(transform, rows)[0]


def gain_and_error(transform: Transform, rows: Rows) -> tuple[float, float]:
    """The mean gain in log-density by one more transform, nats a row, and its standard error."""

    def gain(x: Tensor, c: Tensor | None) -> tuple[Tensor, Tensor]:
        z, ladj = transform(x.to(rows.dtype), None if c is None else c.to(rows.dtype))
        each = ladj.double() + 0.5 * (x.square() - z.double().square()).sum(-1)
        return each.sum(), each.square().sum()

    first, second = (float(total) / rows.n for total in rows.sum(gain))
    return first, math.sqrt(max(0.0, second - first * first) / rows.n)


def normal_nats(rows: Rows) -> float:
    """Mean negative log-density of the rows under the standard normal, nats per row."""
    (total,) = rows.sum(lambda x, c: (x.square().sum(),))
    return float(total) / rows.n / 2 + rows.dim / 2 * math.log(2 * math.pi)
