"""Columns on one axis: how the codes of one are told in those of another, exactly, and functions between them."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
from scipy.optimize import linprog

from gaussflow.apps.tabular._arrays import Floats
from gaussflow.apps.tabular.frames._schema import Column, unit_of
from gaussflow.apps.tabular.rules._coded_rules import Linear

NANOSECONDS = {"s": 10**9, "ms": 10**6, "us": 10**3, "ns": 1}
MOST_PAIRS = 2000  # that a line is found from


def family(column: Column) -> tuple[object, ...]:
    """What a column can be compared with: columns of the same family."""
    if column.kind == "category":
        return ("categories", *(column.levels or [])) if column.ordered else ("categories without order",)
    if column.kind == "number":
        return ("numbers",)
    if column.dtype.startswith("timedelta"):
        return ("durations",)
    return ("times with a zone",) if "," in column.dtype else ("times",)


def affine(column: Column) -> tuple[Fraction, Fraction]:
    """Slope and offset of the values of a column by its codes; times in nanoseconds."""
    if column.kind == "category":
        return Fraction(1), Fraction(0)
    if column.kind == "time":
        size = NANOSECONDS[unit_of(column.dtype)]
        return Fraction(column.unit * size), Fraction(column.origin * size)
    if column.integers:
        return Fraction(column.unit), Fraction(column.origin)
    if column.lattice is not None:
        return Fraction(column.lattice.spacing), Fraction(column.lattice.start)
    return (Fraction(1, column.unit) if column.step else Fraction(column.scale)), Fraction(0)


def linear(parts: list[int], target: Column, columns: list[Column]) -> Linear:
    """The sum of columns in the codes of another, rounded to its step."""
    slope, origin = affine(target)
    sides = [affine(columns[j]) for j in parts]
    ratios = np.array([float(part / slope) for part, _ in sides])
    offset = (sum((start for _, start in sides), Fraction(0)) - origin) / slope
    return Linear(list(parts), ratios, float(offset), target.step if target.kind != "category" else 1.0)


def on_its_grid(parts: list[int], target: Column, columns: list[Column]) -> bool:
    """Whether sums of the columns are always multiples of the step of the target."""
    if not target.step:
        return target.kind == "number"
    slope, origin = affine(target)
    step, sides = Fraction(target.step), [affine(columns[j]) for j in parts]
    whole = all(
        columns[j].step and (side / slope * Fraction(columns[j].step) / step).denominator == 1
        for j, (side, _) in zip(parts, sides, strict=True)
    )
    offset = (sum((start for _, start in sides), Fraction(0)) - origin) / slope / step
    return whole and offset.denominator == 1


def line_through(x: Floats, y: Floats, step: float) -> tuple[float, float] | None:
    """Slope and offset of a line whose rounded values (n,) are y, at x (n,); None where there is none.

    The line with the least of the largest errors, by linear programming (Chebyshev), with the fewest digits that do.
    """
    pairs = np.unique(np.stack([x, y], 1), axis=0)
    if len(np.unique(pairs[:, 0])) < 3 or len(pairs) > 2 * len(np.unique(pairs[:, 0])):
        return None
    a, b = pairs.T
    first = np.polyfit(a, b, 1)
    if np.abs(np.polyval(first, a) - b).max() > (step or 1e-6 * float(np.ptp(b))):
        return None
    some = np.unique(np.linspace(0, len(a) - 1, MOST_PAIRS).round().astype(int))  # all are checked below
    one = np.ones(len(some))
    bounds = np.concatenate([np.stack([a[some], one, -one], 1), np.stack([-a[some], -one, -one], 1)])
    found = linprog(
        [0, 0, 1], A_ub=bounds, b_ub=np.r_[b[some], -b[some]], bounds=[(None, None), (None, None), (0, None)]
    )
    if found.status != 0:
        return None
    for digits in range(1, 17):
        slope = float(f"{found.x[0]:.{digits}g}")
        middle = float(np.median(b - slope * a))
        for offset in (float(f"{middle:.{digits}g}"), middle, float(found.x[1])):
            told = slope * a + offset
            told = np.round(told / step) * step if step else told
            if np.abs(told - b).max() <= 1e-9 * (step or float(np.abs(b).max())):
                return slope, offset
    return None


def steps_between(x: Floats, levels: Floats) -> tuple[Floats, Floats]:
    """Cuts (K - 1,) of the line and the level (K,) of each part, for levels (n,) at x (n,).

    A cut is the shortest number between the values on either side, so that it is a round one where there is one. One
    value with two levels has a cut at itself, which breaks the rule there.
    """
    order = np.lexsort((levels, x))
    x, levels = x[order], levels[order]
    turns = np.flatnonzero(levels[1:] != levels[:-1])
    cuts = np.array([_roundest(float(x[k]), float(x[k + 1])) for k in turns])
    return cuts, levels[np.r_[0, turns + 1]] if len(levels) else np.empty(0)


def _roundest(low: float, high: float) -> float:
    """A number from low up to high, not high itself, with the fewest digits."""
    for digits in range(1, 18):
        size = 10.0 ** (np.floor(np.log10(max(abs(low), abs(high), 1e-300))) + 1 - digits)
        cut = float(np.ceil(low / size) * size)
        if low <= cut < high:
            return cut
    return low
