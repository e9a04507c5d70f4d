"""Means and slopes with their intervals, from independent runs."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

LEVEL = 0.95


class Interval(NamedTuple):
    """A number, its standard error, and half the width of its interval; NaN where one run cannot tell."""

    value: float
    error: float
    half: float

    @property
    def text(self) -> str:
        """The number and its 95 % interval, or the number alone."""
        return f"{self.value:.4g} ± {self.half:.2g}" if math.isfinite(self.half) else f"{self.value:.4g} (one run)"


def mean_of(values: Sequence[float], level: float = LEVEL) -> Interval:
    """The mean of independent values with Student's interval at that level."""
    x = np.asarray(values, dtype=float)
    if len(x) < 2:
        return Interval(float(x.mean()) if len(x) else math.nan, math.nan, math.nan)
    error = float(x.std(ddof=1)) / math.sqrt(len(x))
    return Interval(float(x.mean()), error, student(len(x), level) * error)


def student(count: int, level: float = LEVEL) -> float:
    """How many standard errors the two-sided interval of a mean of so many values reaches."""
    from scipy.stats import t

    return float(t.ppf((1 + level) / 2, count - 1))


def slope_of(values: Mapping[int, Sequence[float]]) -> Interval:
    """The slope of values against D by least squares, with its interval.

    ``values[D]`` has one number for each run, in one order. The runs of one place in that order make one line over all
    D; these lines are independent, so that their slopes give an interval that asks nothing of how the spread grows
    with D. Wants three dimensions.
    """
    runs = min((len(each) for each in values.values()), default=0)
    if len(values) < 3 or not runs:
        return Interval(math.nan, math.nan, math.nan)
    dims = np.array(sorted(values), dtype=float)
    table = np.array([list(values[int(d)])[:runs] for d in dims])
    centred = dims - dims.mean()
    return mean_of(list(centred @ (table - table[0]) / (centred @ centred)))  # exactly 0 where nothing changes


def rounded(values: Sequence[float], digits: int = 6) -> list[float]:
    """Values with so many significant digits: files stay small, and the same on every machine but for the last."""
    return [float(f"{value:.{digits}g}") for value in values]
