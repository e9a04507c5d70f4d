"""One monotone C1 rational-quadratic spline with linear tails per coordinate, by parameters that are always valid."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, Self

import torch
from torch import Tensor, nn
from typing_extensions import override

from gaussflow._check import check_int
from gaussflow.ops._finite import saturate, soft_unbound
from gaussflow.ops._spline import CHUNK, rq_spline, rq_spline_inverse
from gaussflow.ops._spline_bins import Bins
from gaussflow.ops.bounds import soft_bound
from gaussflow.transforms._steady import Map, Steady
from gaussflow.transforms._value_table import FEWEST_ROWS, ValueTable
from gaussflow.transforms.base import Transform

LOG_BOUND = (
    20.0  # widths, heights and slopes lie between e^-20 and e^20: any that a fit wants, and no product overflows
)
NOTHING = 32  # units of rounding that a column may be off the identity and count as left alone
MOST_MOVED = 0.75  # of the columns, for those to be gathered that are moved
REACH = 4.0  # the knots of a new spline spread over this many units to either side


class Splines(Transform):
    """The parameters of one spline per coordinate, and the map; how they are fitted is another matter."""

    loc: Tensor
    scale: Tensor

    def __init__(
        self, dim: int, knots: int = 32, *, dtype: torch.dtype | None = None, device: torch.device | str | None = None
    ) -> None:
        super().__init__(dim)
        self.knots = check_int(type(self).__name__, "knots", knots, 3)
        zeros = torch.zeros(knots, dim, dtype=dtype, device=device)
        self.register_buffer("loc", zeros[0].clone())
        self.register_buffer("scale", zeros[0] + 1)
        self.x_mid = nn.Parameter(zeros[0].clone())
        self.z_mid = nn.Parameter(zeros[0].clone())
        self.log_widths = nn.Parameter(zeros[1:].clone())
        self.log_heights = nn.Parameter(zeros[1:].clone())
        self.log_slopes = nn.Parameter(zeros.clone())
        line = torch.linspace(-REACH, REACH, knots, dtype=torch.float64)[:, None].expand(knots, dim)
        self.set_knots(line, line, torch.ones(knots, dim, dtype=torch.float64), loc_scale=(zeros[0], zeros[0] + 1))

    @override
    def forward(self, x: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        self._door(x, context)
        z, log_slope = rq_spline(saturate((x - self.loc) / self.scale), *self._tables())
        return z, log_slope.sum(-1) - self.scale.log().sum()

    @override
    def inverse(self, z: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        self._door(z, context, "z")
        u, log_slope = rq_spline_inverse(z, *self._tables())
        return saturate(u * self.scale + self.loc), log_slope.sum(-1) + self.scale.log().sum()

    @override
    @torch.no_grad()
    def _values(self, rows: int) -> Callable[[Tensor, Tensor | None], Tensor]:
        if rows >= FEWEST_ROWS and self.loc.dtype == torch.float32 and self.loc.device.type == "cpu":
            values = _values_by_table((self.loc, self.scale, *self._tables()))
            if values is not None:
                return partial(self._by_table, values)
        return super()._values(rows)

    @override
    def _steady(self, inverse: bool) -> Steady:
        numbers = (self.loc, self.scale, *self._tables())
        moved = moved_columns(*numbers) if self.loc.device.type == "cpu" else None
        if moved is None:
            return Steady(_ready(numbers, inverse), splines=numbers)
        some, none = tuple(t[..., moved] for t in numbers), self.loc.new_zeros(())
        if not len(moved):
            return Steady(lambda x: (saturate(x), none), splines=numbers)
        f = _ready(some, inverse)

        def through(x: Tensor) -> tuple[Tensor, Tensor]:
            part, ladj = f(x.index_select(1, moved))
            return saturate(x).index_copy_(1, moved, part), ladj

        return Steady(through, splines=numbers)

    def _by_table(self, values: Callable[[Tensor], Tensor], x: Tensor, context: Tensor | None) -> Tensor:
        self._door(x, context)
        return values(x)

    @torch.no_grad()
    def set_knots(
        self, xs: Tensor, zs: Tensor, slopes: Tensor, *, loc_scale: tuple[Tensor, Tensor] | None = None
    ) -> Self:
        """Write a given spline into the parameters, in place, up to rounding.

        Parameters
        ----------
        xs, zs, slopes
            Knots, their values and the slopes there, each (K, D) float64; ``xs`` and ``zs`` ascending.
        loc_scale
            The units loc (D,) and scale (D,), or None to take them from the knots.

        Raises
        ------
        ValueError
            For other shapes.
        """
        shape = (self.knots, self.dim)
        for name, table in (("xs", xs), ("zs", zs), ("slopes", slopes)):
            if tuple(table.shape) != shape:
                raise ValueError(f"{type(self).__name__} wants {name} of shape {shape}; got {tuple(table.shape)}.")
        xs, zs, slopes = (table.to(self.loc.device, torch.float64) for table in (xs, zs, slopes))
        loc, scale = loc_scale or _units(xs, zs)
        self.loc.copy_(loc)
        self.scale.copy_(scale)
        loc, scale = self.loc.double(), self.scale.double()
        middle, xs = self.knots // 2, (xs - loc) / scale
        self.x_mid.copy_(xs[middle])
        self.z_mid.copy_(zs[middle])
        self.log_widths.copy_(_log(xs.diff(dim=0)))
        self.log_heights.copy_(_log(zs.diff(dim=0)))
        self.log_slopes.copy_(_log(slopes * scale))
        return self

    @override
    def config(self) -> dict[str, Any]:
        return {"dim": self.dim, "knots": self.knots}

    def _tables(self) -> tuple[Tensor, Tensor, Tensor]:
        """Knots in units of scale, values, and slopes there: each (K, D)."""
        widths, heights, slopes = (
            soft_bound(t, LOG_BOUND).exp() for t in (self.log_widths, self.log_heights, self.log_slopes)
        )
        return outward_sum(self.x_mid, widths), outward_sum(self.z_mid, heights), slopes


def moved_columns(loc: Tensor, scale: Tensor, xs: Tensor, zs: Tensor, slopes: Tensor) -> Tensor | None:
    """The columns (m,) that splines in units of loc and scale (D,), with tables (K, D), move by more than rounding.

    None where these are most. A fit leaves most columns of late blocks alone, and they need no spline.
    """
    off = (loc + scale * xs - zs).abs() / (1 + zs.abs())
    steep = (slopes / scale - 1).abs()
    moved = torch.maximum(off, steep).amax(0) <= NOTHING * torch.finfo(xs.dtype).eps
    moved = moved.logical_not_().nonzero()[:, 0]  # those with a NaN, too
    return moved if len(moved) <= MOST_MOVED * len(loc) else None


def _ready(numbers: tuple[Tensor, ...], inverse: bool) -> Map:
    """The map of splines in units of loc and scale, forward or back, for pieces of rows (n, D)."""
    loc, scale, *tables = numbers
    f, ladj = rows_through_spline((tables[0], tables[1], tables[2]), inverse), scale.log().sum()

    def forward(x: Tensor) -> tuple[Tensor, Tensor]:
        z, log_slopes = f(saturate(torch.sub(x, loc).div_(scale)))
        return z, log_slopes.sub_(ladj)

    def back(z: Tensor) -> tuple[Tensor, Tensor]:
        u, log_slopes = f(z)
        return saturate(u.mul_(scale).add_(loc)), log_slopes.add_(ladj)

    return back if inverse else forward


def _values_by_table(numbers: tuple[Tensor, ...]) -> Callable[[Tensor], Tensor] | None:
    """Values (n, D) of rows (n, D) by splines in units of loc and scale; None where a table is off by too much."""
    moved = moved_columns(*numbers)
    if moved is not None and not len(moved):
        return saturate
    table = ValueTable.of(*(numbers if moved is None else (t[..., moved] for t in numbers)))
    if table is None or moved is None:
        return None if table is None else table.values
    values = table.values
    return lambda x: saturate(x).index_copy_(1, moved, values(x.index_select(1, moved)))


def rows_through_spline(tables: tuple[Tensor, Tensor, Tensor], inverse: bool) -> Map:
    """`rq_spline` or its inverse for pieces of rows (n, D), log-slopes summed (n,); tables of bins are made once."""
    plain = tables[0].device.type == "cpu" and tables[0].dtype in (torch.float32, torch.float64)
    bins = Bins.of(*tables) if plain else None
    if bins is None:
        return partial(_summed, rq_spline_inverse if inverse else rq_spline, tables)
    f = bins.inverse if inverse else bins.forward
    step = max(1, CHUNK // (tables[0].element_size() * tables[0].shape[1]))

    def through(x: Tensor) -> tuple[Tensor, Tensor]:
        if len(x) <= step:
            return _summed(f, (), x)
        values, sums = torch.empty_like(x), x.new_empty(len(x))
        for piece, target, total in zip(x.split(step), values.split(step), sums.split(step), strict=True):
            value, log_slope = f(piece)
            target.copy_(value)
            torch.sum(log_slope, -1, out=total)
        return values, sums

    return through


def _summed(f: Callable[..., tuple[Tensor, Tensor]], tables: tuple[Tensor, ...], x: Tensor) -> tuple[Tensor, Tensor]:
    value, log_slope = f(x, *tables)
    return value, log_slope.sum(-1)


def outward_sum(middle: Tensor, steps: Tensor) -> Tensor:
    """Ascending knots (K, D) from the middle one (D,) and the steps (K - 1, D), summed outwards from the middle."""
    half = (len(steps) + 1) // 2
    left, right = steps[:half].flip(0).cumsum(0).flip(0), steps[half:].cumsum(0)
    return torch.cat([middle - left, middle[None], middle + right])


def _units(xs: Tensor, zs: Tensor) -> tuple[Tensor, Tensor]:
    """Loc and scale of knots (K, D): the middle knot, and the inverse slope of the map over the middle half."""
    k = len(xs)
    low, high = k // 4, k - 1 - k // 4
    scale = (xs[high] - xs[low]) / (zs[high] - zs[low])
    whole = (xs[-1] - xs[0]) / (zs[-1] - zs[0])
    scale = torch.where(scale.isfinite() & (scale > whole * 1e-6), scale, whole)
    return xs[k // 2], torch.where(scale.isfinite() & (scale > 0), scale, torch.ones_like(scale))


def _log(x: Tensor) -> Tensor:
    """The parameter (...) whose soft bound is the logarithm of ``x`` (...)."""
    return soft_unbound(x.clamp(min=torch.finfo(x.dtype).tiny).log(), LOG_BOUND)
