"""What the columns of a table may hold, told without a look at its rows."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from gaussflow.apps._optional import need
from gaussflow.apps.tabular._arrays import Floats
from gaussflow.apps.tabular.frames._identifiers import declared_names, made_column
from gaussflow.apps.tabular.frames._schema import Column, short, unit_of
from gaussflow.apps.tabular.law._columns import FEW, Skeleton
from gaussflow.apps.tabular.law._grid import plain_grid

if TYPE_CHECKING:
    import pandas as pd

OWNER = "TableSynthesizer.fit"
FINE = 64  # bins of a line at most


@dataclass(frozen=True)
class Domain:
    """A column by its bounds: its cells are missing, then its levels (A,), then bins between edges (B + 1,)."""

    column: Column
    skeleton: Skeleton
    edges: Floats

    @property
    def size(self) -> int:
        """How many cells there are."""
        return 1 + len(self.skeleton.points) + max(0, len(self.edges) - 1)

    def cells(self, series: pd.Series) -> np.ndarray:
        """The cell (n,) of each value: those beyond the ends are taken to them, levels not told count as missing."""
        x = self._codes(series)
        state, x = self.skeleton.states(x)
        listed = len(self.skeleton.points)
        if len(self.edges) < 2:
            return np.where((state > listed) | (state < 0), 0, state)
        bins = np.clip(np.searchsorted(self.edges, x, side="right") - 1, 0, len(self.edges) - 2)
        return np.where(state == self.skeleton.rest, 1 + listed + bins, state)

    def _codes(self, series: pd.Series) -> Floats:
        if self.column.made:
            return self.column.codes(series, OWNER)
        if self.column.kind != "category":
            if len(self.edges) < 2:
                return self.column.codes(series, OWNER)
            values = series if self.column.kind == "time" else series.replace([np.inf, -np.inf], [1e300, -1e300])
            codes: Floats = self.column.codes(values, OWNER)
            ends = [*self.skeleton.points, self.skeleton.low, self.skeleton.high]
            return np.clip(codes, min(ends), max(ends))
        told = series.astype(object).where(series.isin(self.column.levels or []).to_numpy(dtype=bool), None)
        return self.column.codes(told, OWNER)


def domains(df: pd.DataFrame, bounds: Mapping[Any, Any] | None, owner: str, identifiers: Any = None) -> list[Domain]:
    """The domain of each column, by its dtype and what is told of it; raises ValueError where that does not do."""
    bounds = dict(bounds or {})
    if extra := [name for name in bounds if name not in df.columns]:
        raise ValueError(f"{owner} was given bounds of {short(extra)}, which are no columns.")
    found, lacking = [], []
    declared = declared_names(identifiers, list(df.columns), owner)
    for name in df.columns:
        of_kind = _of_names if name in declared else _domain
        domain = of_kind(df[name], bounds.get(name), owner)
        found.append(domain)
        if domain is None:
            lacking.append(name)
    if lacking:
        raise ValueError(
            f"{owner} with epsilon takes nothing from the rows but noisy counts, so that it must be told what columns "
            f"may hold: bounds={{column: (low, high)}} or (low, high, step) for numbers and times, a list of levels "
            f"for text. It lacks {short(lacking)}. Ends taken from the rows themselves would give these away."
        )
    return [domain for domain in found if domain is not None]


def _of_names(series: pd.Series, told: Any, owner: str) -> Domain | None:
    """An identifier, of which only gaps are counted; whole numbers start above the bounds, not above those seen."""
    if getattr(series.dtype, "kind", "O") in "iuf" and told is None:
        return None
    if told is not None and not (isinstance(told, tuple) and len(told) == 2 and isinstance(told[1], int)):
        raise ValueError(
            f"{owner} wants (low, high) of whole numbers for the identifier {series.name!r}; got {told!r}."
        )
    known = series.iloc[:0].astype(object) if told is None else need("pandas", "a table").Series([told[1]])
    column = made_column(series.iloc[:0].rename(series.name), owner, known)
    return _of_levels(column)


def _domain(series: pd.Series, told: Any, owner: str) -> Domain | None:
    dtype, kind = str(series.dtype), getattr(series.dtype, "kind", "O")
    if dtype == "category" and told is None:
        levels = [each.item() if isinstance(each, np.generic) else each for each in series.cat.categories]
        held_as = str(series.cat.categories.dtype)
        return _of_levels(Column(series.name, dtype, "category", levels, bool(series.cat.ordered), held_as=held_as))
    if dtype in ("bool", "boolean") and told is None:
        return _of_levels(Column(series.name, dtype, "category", [False, True], True))
    if dtype in ("object", "str", "string"):
        if told is None:
            return None
        if isinstance(told, tuple) or not all(isinstance(each, str) for each in told):
            raise ValueError(f"{owner} wants a list of levels that are text for column {series.name!r}; got {told!r}.")
        return _of_levels(Column(series.name, dtype, "category", sorted(set(told))))
    if kind not in "iufmM" or "pyarrow" in dtype or "category" in dtype:
        raise TypeError(f"{owner} takes no bounds for column {series.name!r} of {dtype}.")
    if told is None:
        return None
    if isinstance(told, list | set | frozenset):
        return _of_numbers(series, sorted(told), owner)
    return _between(series, told, owner)


def _of_levels(column: Column) -> Domain:
    points = np.arange(len(column.levels or []), dtype=np.float64)
    seen = np.array([column.nullable, *([True] * len(points))])
    return Domain(column, Skeleton(points, False, None, seen), np.empty(0))


def _of_numbers(series: pd.Series, levels: list[Any], owner: str) -> Domain:
    if getattr(series.dtype, "kind", "O") not in "iuf" or not np.isfinite(levels).all() or not levels:
        raise ValueError(f"{owner} wants finite numbers as levels of column {series.name!r}; got {levels!r}.")
    column = _number(series, min(_decimal_step(float(each)) for each in levels))
    points = np.round(np.array(levels, dtype=np.float64) * column.unit)
    seen = np.array([column.nullable, *([True] * len(points)), False])
    grid = plain_grid(1.0)
    column = Column(column.name, column.dtype, "number", unit=column.unit, step=1.0)
    low, high = float(points.min()), float(points.max()) + 1
    return Domain(column, Skeleton(points, True, grid, seen, low, high), np.empty(0))


def _between(series: pd.Series, told: Any, owner: str) -> Domain:
    name = series.name
    if not isinstance(told, tuple) or len(told) not in (2, 3):
        raise ValueError(f"{owner} wants (low, high) or (low, high, step) for column {name!r}; got {told!r}.")
    column, low, high = _of_time(series, told) if series.dtype.kind in "mM" else _of_number(series, told, owner)
    if not np.isfinite([low, high]).all() or not low < high:
        raise ValueError(f"{owner} wants finite bounds of column {name!r}, the lower first; got {told!r}.")
    step, points = column.step, np.array([low, high])  # cells of their own: what lies beyond is at them
    if not step:
        seen = np.array([column.nullable, True, True, True])
        return Domain(column, Skeleton(points, True, None, seen, low, high), np.linspace(low, high, FINE + 1))
    grid = plain_grid(step)
    if round((high - low) / step) < FEW:
        points = np.empty(0)
    else:
        low, high = low + step, high - step
    count = round((high - low) / step) + 1
    seen = np.array([column.nullable, *([True] * len(points)), True])
    firsts = np.unique(np.round(np.linspace(0, count, min(FINE, count) + 1)))
    return Domain(column, Skeleton(points, True, grid, seen, low, high), low + (firsts - 0.5) * step)


def _of_number(series: pd.Series, told: tuple[Any, ...], owner: str) -> tuple[Column, float, float]:
    whole = series.dtype.kind in "iu"
    step = float(told[2]) if len(told) == 3 else float(whole)
    if step < 0 or not np.isfinite(step) or (whole and step != round(step)):
        raise ValueError(f"{owner} wants a step of column {series.name!r} that it has, and above 0; got {step!r}.")
    column = _number(series, step)
    ends = [float(told[0]) * (column.unit if step else 1), float(told[1]) * (column.unit if step else 1)]
    if step:
        ends = [float(np.round(end / column.step) * column.step) for end in ends]
    return column, ends[0], ends[1]


def _number(series: pd.Series, step: float) -> Column:
    """A column of numbers that are multiples of a step, or any for step 0."""
    unit = 1
    while step and series.dtype.kind not in "iu" and abs(step * unit - round(step * unit)) > 1e-9 and unit < 10**12:
        unit *= 10
    return Column(series.name, str(series.dtype), "number", unit=unit, step=float(round(step * unit)))


def _decimal_step(value: float) -> float:
    """The unit of the last decimal of a number."""
    decimals = 0
    while decimals < 12 and abs(value * 10**decimals - round(value * 10**decimals)) > 1e-9:
        decimals += 1
    return 10.0**-decimals


def _of_time(series: pd.Series, told: tuple[Any, ...]) -> tuple[Column, float, float]:
    """A column of times, whole steps after the lower end; a day where no step is told."""
    pandas = need("pandas", "a table")
    dtype = str(series.dtype)
    step = pandas.Timedelta(told[2] if len(told) == 3 else "1D")
    if dtype.startswith("datetime"):
        zone = series.dt.tz
        ends = [pandas.Timestamp(each) for each in told[:2]]
        if zone is not None:
            ends = [end.tz_localize(zone) if end.tzinfo is None else end.tz_convert(zone) for end in ends]
            ends = [end.tz_convert("UTC").tz_localize(None) for end in ends]
    else:
        ends = [pandas.Timedelta(each) for each in told[:2]]
    unit = unit_of(dtype)
    kind = "datetime64" if dtype.startswith("datetime") else "timedelta64"
    first, last = (int(end.to_numpy().astype(f"{kind}[{unit}]").astype(np.int64)) for end in ends)
    size = int(step.to_numpy().astype(f"timedelta64[{unit}]").astype(np.int64))
    if size < 1:
        raise ValueError(f"{OWNER} wants a step of column {series.name!r} of one {unit} at least; got {step}.")
    return Column(series.name, dtype, "time", origin=first, unit=size, step=1.0), 0.0, float((last - first) // size)
