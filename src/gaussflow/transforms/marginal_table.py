"""The marginal table: the plain empirical CDF of every coordinate, piecewise linear, to the normal law."""

from __future__ import annotations

from typing import Any, Self

import torch
from torch import Tensor
from typing_extensions import override

from gaussflow._check import check_int
from gaussflow.ops._finite import saturate
from gaussflow.ops._spline_search import bin_index, take
from gaussflow.rows import Data
from gaussflow.transforms._em import robust_units
from gaussflow.transforms.base import Transform

SAMPLE = 2**16  # rows that are sorted; the quantiles of more rows than that differ by less than a cell
RAMP = 1e-3  # units over which ties are spread
REACH = 4.0  # the knots of a new table spread over this many units to either side


class MarginalTable(Transform):
    r"""The empirical CDF of every coordinate as a table, :math:`z = \Phi^{-1}(\hat F(x))`: the marginal of RBIG.

    .. math:: z = z_k + (x - x_k) \frac{z_{k+1} - z_k}{x_{k+1} - x_k}, \qquad
        \text{ladj} = \sum_d \log \frac{z_{k+1} - z_k}{x_{k+1} - x_k}

    between knots that are quantiles of the rows, :math:`\hat F(x_k) = p_k` and :math:`z_k = \Phi^{-1}(p_k)`; beyond
    the end knots a straight line of the slope of the whole table, where the classic table ends and its density is zero.
    Ties are spread over a thousandth of the spread of the coordinate.

    Its density jumps from cell to cell (``smooth`` is False): it is for growing without gradients, holds buffers only
    and fits the noise of its rows. `MarginalSpline` is the smooth one that held-out rows prefer. A new table is the
    identity.

    Parameters
    ----------
    dim
        Number of coordinates D.
    cells
        Number of cells of the table per coordinate; a fit on N rows has cells of about N / cells rows.
    dtype, device
        Those of the numbers held.

    Attributes
    ----------
    loc, scale
        Buffers (D,): the units of the knots.
    xs, zs
        Buffers (cells + 1, D): knots and values.

    References
    ----------
    Laparra, Camps-Valls & Malo (2011), Iterative Gaussianization: from ICA to random rotations.

    Examples
    --------
    >>> import torch
    >>> from gaussflow import MarginalTable
    >>> table = MarginalTable(3).fit(torch.randn(200, 3).exp())
    >>> z, ladj = table(torch.randn(5, 3).exp())
    >>> z.shape, ladj.shape
    (torch.Size([5, 3]), torch.Size([5]))
    """

    smooth = False
    loc: Tensor
    scale: Tensor
    xs: Tensor
    zs: Tensor

    def __init__(
        self, dim: int, cells: int = 64, *, dtype: torch.dtype | None = None, device: torch.device | str | None = None
    ) -> None:
        super().__init__(dim)
        self.cells = check_int("MarginalTable", "cells", cells, 1)
        line = torch.linspace(-REACH, REACH, cells + 1, dtype=dtype, device=device)[:, None].repeat(1, dim)
        self.register_buffer("loc", torch.zeros_like(line[0]))
        self.register_buffer("scale", torch.ones_like(line[0]))
        self.register_buffer("xs", line)
        self.register_buffer("zs", line.clone())

    @override
    def forward(self, x: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        self._door(x, context)
        z, log_slope = _interpolate(saturate((x - self.loc) / self.scale), self.xs, self.zs)
        return z, log_slope.sum(-1) - self.scale.log().sum()

    @override
    def inverse(self, z: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        self._door(z, context, "z")
        u, log_slope = _interpolate(z, self.zs, self.xs)
        return saturate(u * self.scale + self.loc), log_slope.sum(-1) + self.scale.log().sum()

    @override
    @torch.no_grad()
    def fit(self, rows: Data, context: Tensor | None = None) -> Self:
        x = self._rows(rows, context).sample(SAMPLE)[0].double()
        loc, scale = robust_units(x)
        self.loc.copy_(loc)
        self.scale.copy_(scale)
        u = ((x - self.loc.double()) / self.scale.double()).sort(0).values
        step = torch.arange(self.cells + 1, dtype=torch.float64, device=x.device) / self.cells
        p = (step * (len(x) - 1) + 0.5) / len(x)  # from half a row to N minus half a row
        if len(x) == 1:
            p = 0.25 + 0.5 * step
        at = (p * len(x) - 0.5).clamp(0, len(x) - 1)
        xs = torch.lerp(u[at.floor().long()], u[at.ceil().long()], (at - at.floor())[:, None].expand(-1, self.dim))
        self.xs.copy_(xs + RAMP * (step - 0.5)[:, None])
        self.zs.copy_(torch.special.ndtri(p)[:, None].expand_as(self.zs))
        return self

    @override
    def config(self) -> dict[str, Any]:
        return {"dim": self.dim, "cells": self.cells}


def _interpolate(x: Tensor, xs: Tensor, ys: Tensor) -> tuple[Tensor, Tensor]:
    """The line through knots (K, D) at points x (..., D), and its log-slope; outside, that of the whole table."""
    index = bin_index(x, xs)
    x0, x1, y0, y1 = (take(end, index) for table in (xs, ys) for end in (table[:-1], table[1:]))
    tiny = torch.finfo(x.dtype).tiny
    slope = (y1 - y0).clamp(min=tiny) / (x1 - x0).clamp(min=tiny)
    outer = (ys[-1] - ys[0]) / (xs[-1] - xs[0])
    inside = torch.clamp(x, xs[0], xs[-1])
    y = y0 + (inside - x0) * slope + (x - inside) * outer
    return saturate(y), torch.where(x == inside, slope, outer + 0 * x).log()
