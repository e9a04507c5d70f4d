"""The values of splines from tables of even cells: what pushes many rows through a fitted map, without log-slopes."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from gaussflow.ops._finite import saturate
from gaussflow.ops._spline import rq_spline

CELLS = (512, 2048)  # per column: fewer where they do, since the tables then stay in the cache
ERROR = 2e-4  # most that a table may be off, in units of 1 + |z|; 1e-6 is usual where no peak is narrow
COLUMNS = 8  # made at a time: what a spline is evaluated with needs more memory than the tables
FEWEST_ROWS = 16_384  # for fewer rows the making of tables does not pay


class ValueTable(NamedTuple):
    r"""A parabola for every even cell of every column: :math:`z = c_0 + t (c_1 + t c_2)`, t the place in the cell.

    Its first and last cell lie beyond the knots, where a spline is a straight line that goes on for every t; so no
    point is outside. ``scale`` and ``start`` (D,) make cells of points less ``loc`` (D,); ``column`` (D,) is where the
    flat tables ``c0``, ``c1``, ``c2`` (D cells,) begin.
    """

    cells: int
    loc: Tensor
    scale: Tensor
    start: Tensor
    column: Tensor
    c0: Tensor
    c1: Tensor
    c2: Tensor

    @classmethod
    def of(cls, loc: Tensor, scale: Tensor, xs: Tensor, zs: Tensor, slopes: Tensor) -> ValueTable | None:
        """That of splines in units of loc and scale (D,), with tables (K, D); None where it would be off by too much.

        Parabolas go through the ends and the middle of each cell, and are compared with the spline half-way between.
        """
        tables = [t.double() for t in (xs, zs, slopes)]
        fine = next((found for cells in CELLS if (found := _parabolas(tables, cells))), None)
        if fine is None:
            return None
        cell, cells = (tables[0][-1] - tables[0][0]) / (len(fine[0]) - 2), len(fine[0])
        units = (1 / (scale.double() * cell)).to(xs.dtype), (1 - tables[0][0] / cell).to(xs.dtype)
        if not bool(torch.stack(units).isfinite().all()):
            return None
        column = torch.arange(0, cells * xs.shape[1], cells, dtype=torch.int32, device=xs.device)
        return cls(cells, loc, *units, column, *(c.T.to(xs.dtype).reshape(-1) for c in fine))

    def values(self, x: Tensor) -> Tensor:
        """Values (N, D) of points x (N, D)."""
        t = saturate(torch.addcmul(self.start, x - self.loc, self.scale))
        cell = t.clamp(0, self.cells - 1).int()
        t.sub_(cell)
        place = cell.add_(self.column).view(-1)
        c0, c1, c2 = (c.index_select(0, place).view(x.shape) for c in (self.c0, self.c1, self.c2))
        return saturate(c0.addcmul_(t, c1.addcmul_(t, c2)))


def _parabolas(tables: list[Tensor], cells: int) -> list[Tensor] | None:
    """The coefficients (cells, D) of parabolas, or None where one is off by too much."""
    parts = []
    for some in zip(*(t.split(COLUMNS, 1) for t in tables), strict=True):
        part = _of_columns(some, cells)
        if part is None:
            return None
        parts.append(part)
    return [torch.cat(coefficients, 1) for coefficients in zip(*parts, strict=True)]


def _of_columns(tables: tuple[Tensor, ...], cells: int) -> tuple[Tensor, ...] | None:
    low, high = tables[0][0], tables[0][-1]
    quarters = torch.arange(-4, 4 * cells - 3, dtype=torch.float64, device=low.device)[:, None] / 4
    z = rq_spline(low + quarters * ((high - low) / (cells - 2)), *tables)[0]
    left, middle, right = z[:-4:4], z[2::4], z[4::4]
    c1, c2 = 4 * middle - 3 * left - right, 2 * (left + right) - 4 * middle
    c1[[0, -1]], c2[[0, -1]] = (right - left)[[0, -1]], 0.0  # lines to the last digit: a place there may be far
    for quarter, true in ((0.25, z[1::4]), (0.75, z[3::4])):
        off = (left + quarter * (c1 + quarter * c2) - true).abs() / (1 + true.abs())
        if not bool(off.amax() <= ERROR):
            return None
    return left, c1, c2
