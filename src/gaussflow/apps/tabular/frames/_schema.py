"""What a column of a frame is, and its way to numbers and back: types, categories, decimals, units of time."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from gaussflow.apps._optional import need
from gaussflow.apps.tabular._arrays import Floats
from gaussflow.apps.tabular.frames._lattice import Lattice, read_lattice

if TYPE_CHECKING:
    import pandas as pd

MOST_DECIMALS = 12
EXTREME, FARTHEST = 1e100, 1e140  # of numbers on the line
LARGEST_EXACT = 2.0**50
ROUNDED = {4: 2e5, 8: 1e9, 2: 1e3}  # bytes of a float -> multiples of a decimal that are no accident below it
EPS = {4: 1.2e-7, 8: 2.3e-16, 2: 1e-3}
WAYS = {"period": ".dt.to_timestamp()", "Sparse": ".sparse.to_dense()", "interval": "astype(str)"}
TAKEN = "integers, floats, booleans, text, categories, dates and durations"


@dataclass(frozen=True)
class Column:
    """A column of the frame that was fitted.

    Attributes
    ----------
    name, dtype
        As in the frame; the dtype as pandas writes it.
    kind
        "number", "time" or "category".
    levels
        The categories, in their order; the codes are their places.
    ordered
        Whether the categories are.
    origin, unit
        A number is ``origin + x * unit`` for integers and times, ``x / unit`` for decimals.
    step
        Of what x is a multiple; 0 for numbers on the line.
    scale
        The numbers on the line are ``x * scale``: a power of two, other than 1 only where squares would overflow.
    held_as
        The dtype of the categories.
    made
        Whether the values name rows, and are made anew from the one level on: a number, or the beginning of a text.
    lattice
        Of floats that are evenly spaced and no decimals: x is their place.
    """

    name: Any
    dtype: str
    kind: str
    levels: list[Any] | None = None
    ordered: bool = False
    origin: int = 0
    unit: int = 1
    step: float = 0.0
    scale: float = 1.0
    held_as: str = "object"
    made: bool = False
    lattice: Lattice | None = None

    @property
    def text(self) -> bool:
        """Whether the categories are those of the rows, and of a family of dtypes."""
        return self.dtype in ("object", "str", "string")

    def codes(self, series: pd.Series, owner: str) -> Floats:
        """The numbers x (n,) of a column, NaN for missing."""
        missing = series.isna().to_numpy(dtype=bool)
        if self.made:
            return np.where(missing, np.nan, 0.0)
        if self.kind == "category":
            return self._levels_of(series, owner)
        if self.kind == "time" or series.dtype.kind in "iu":
            whole = whole_numbers(series, missing)
            x = _minus(whole, self.origin) / float(self.unit)
        else:
            values = _floats(series, owner)
            x = np.round(self.axis(values)) if self.step else self.scaled(values)
        return np.where(missing, np.nan, x)

    def axis(self, values: Floats) -> Floats:
        """Floats (n,) in steps of the column, not rounded."""
        return self.lattice.axis(values) if self.lattice else values * self.unit

    def scaled(self, values: Floats) -> Floats:
        """Numbers on the line (n,) in units of the scale, far ones brought to where their squares are finite."""
        if self.scale == 1:
            return values
        with np.errstate(over="ignore"):
            return np.clip(values / self.scale, -FARTHEST, FARTHEST)

    def values(self, x: Floats) -> pd.Series:
        """The column (n,) of numbers x (n,)."""
        pandas = need("pandas", "a table")
        missing = np.isnan(x)
        if self.made:
            return self._made(missing)
        if self.kind == "category":
            return self._of_levels(x, missing)
        if self.kind == "time" or self.integers:
            ends = np.iinfo(self.dtype.lower() if self.integers else "int64")  # floats may round beyond them
            steps = np.where(missing, 0, np.round(x))
            whole = np.array(
                [min(max(self.origin + int(v) * self.unit, int(ends.min)), int(ends.max)) for v in steps], dtype=object
            )
            if self.kind == "time":
                times = pandas.Series(whole.astype(np.int64))
                return self._times(times).mask(missing)
            filled = (
                pandas.Series(whole, dtype=object).mask(missing, pandas.NA) if missing.any() else pandas.Series(whole)
            )
            return filled.astype(self.dtype)
        values = self._on_axis(np.round(x)) if self.step else x * self.scale
        if self.dtype[0] == "F":
            return pandas.Series(
                pandas.array([None if gap else v for gap, v in zip(missing, values, strict=True)], dtype=self.dtype)
            )
        return pandas.Series(values).astype(self.dtype)

    @property
    def nullable(self) -> bool:
        """Whether the dtype has a mark for what is missing."""
        return self.dtype != "bool" and not self.dtype.startswith(("int", "uint"))

    @property
    def integers(self) -> bool:
        """Whether the frame held integers."""
        return self.dtype.lower().startswith(("int", "uint"))

    def _on_axis(self, x: Floats) -> Floats:
        return self.lattice.values(x) if self.lattice else x / self.unit

    def _times(self, whole: pd.Series) -> pd.Series:
        if self.dtype.startswith("timedelta"):
            return whole.astype(self.dtype)
        unit, zone = unit_of(self.dtype), self.dtype.partition(", ")[2].rstrip("]")
        times = whole.astype(f"datetime64[{unit}]")
        return times.dt.tz_localize("UTC").dt.tz_convert(zone) if zone else times

    def _levels_of(self, series: pd.Series, owner: str) -> Floats:
        places = {level: place for place, level in enumerate(self.levels or [])}
        missing = series.isna().to_numpy(dtype=bool)
        codes = np.full(len(series), np.nan)
        values = series.astype(object).to_numpy()
        for row in np.flatnonzero(~missing):
            place = places.get(values[row])
            if place is None:
                raise ValueError(
                    f"{owner} knows the categories {short(self.levels)} of column {self.name!r}; got {values[row]!r} "
                    f"in row {row}. Leave such rows out, or fit with rows of that category."
                )
            codes[row] = place
        return codes

    def _made(self, missing: np.ndarray) -> pd.Series:
        """New identifiers (n,), counted from the level on."""
        pandas, first = need("pandas", "a table"), (self.levels or [0])[0]
        places = np.cumsum(~missing)
        cells: list[Any]
        if isinstance(first, int):
            cells = [None if gap else first + int(k) - 1 for gap, k in zip(missing, places, strict=True)]
        else:
            cells = [None if gap else f"{first}{k}" for gap, k in zip(missing, places, strict=True)]
        try:
            return pandas.Series(cells, dtype=self.dtype)
        except OverflowError as error:
            raise ValueError(
                f"there is no room for {len(missing)} new identifiers of {self.dtype} in column {self.name!r}. Draw "
                "fewer rows, or convert it to int64 for the fit."
            ) from error

    def _of_levels(self, x: Floats, missing: np.ndarray) -> pd.Series:
        pandas = need("pandas", "a table")
        place = np.where(missing, -1, x).astype(np.int64)
        if self.dtype == "category":
            levels = pandas.Index(self.levels, dtype=self.held_as)
            return pandas.Series(pandas.Categorical.from_codes(place, levels, ordered=self.ordered))
        if self.dtype == "bool":
            return pandas.Series(np.array([*(self.levels or []), False], dtype=bool)[place])
        table = np.empty(len(self.levels or []) + 1, dtype=object)
        table[:-1], table[-1] = self.levels, None
        return pandas.Series(table[place], dtype=self.dtype)


def read_column(series: pd.Series, owner: str) -> Column:
    """What a column is; raises TypeError or ValueError for one that is not of the kinds taken."""
    name, dtype = series.name, str(series.dtype)
    kind = getattr(series.dtype, "kind", "O")
    if dtype == "category" or dtype in ("bool", "boolean", "object", "string", "str"):
        return _category(series, owner)
    if kind in "mM":
        return _time(series, owner)
    if "pyarrow" in dtype or kind not in "iuf" or dtype.startswith(("Sparse", "period", "interval")):
        way = next((way for begin, way in WAYS.items() if dtype.startswith(begin)), "df.astype")
        raise TypeError(f"{owner} takes {TAKEN}; got column {name!r} of {dtype}. Convert it with {way}, or drop it.")
    held = series[series.notna()]
    if kind in "iu":
        whole = whole_numbers(held, np.zeros(len(held), np.bool_))
        return _on_grid(name, dtype, "number", whole)
    values = _floats(held, owner)
    bits = {"float16": 2, "float32": 4, "Float32": 4}.get(dtype, 8)
    decimals, step = _decimals(values, bits), 0
    if decimals is not None:
        multiples = np.unique(np.round(values * 10**decimals)).astype(np.int64)
        step = int(np.gcd.reduce(np.abs(multiples))) if len(multiples) else 0
    lattice = read_lattice(values, EPS[bits], decimals) if decimals != 0 else None
    if lattice is not None and lattice.spacing > 1.5 * step / 10.0 ** (decimals or 0):
        return Column(name, dtype, "number", step=1.0, lattice=lattice)
    if decimals is not None:
        return Column(name, dtype, "number", unit=10**decimals, step=float(step or 1))
    largest = float(np.abs(values).max())
    usual = 1 / EXTREME < largest < EXTREME
    return Column(name, dtype, "number", scale=1.0 if usual else 2.0 ** int(np.log2(largest)))


def unit_of(dtype: str) -> str:
    """The unit that a dtype of times or durations counts: s, ms, us or ns."""
    return dtype[dtype.index("[") + 1 :].rstrip("]").partition(",")[0]


def _category(series: pd.Series, owner: str) -> Column:
    name, dtype = series.name, str(series.dtype)
    if dtype == "category":
        levels = list(series.cat.categories)
        levels = [level.item() if isinstance(level, np.generic) else level for level in levels]
        if odd := [level for level in levels if not isinstance(level, str | int | float | bool)]:
            raise TypeError(
                f"{owner} takes categories that are text, numbers or booleans; got {odd[0]!r} in column {name!r}. "
                "Rename them with .cat.rename_categories(str)."
            )
        held_as = str(series.cat.categories.dtype)
        return Column(name, dtype, "category", levels, bool(series.cat.ordered), held_as=held_as)
    if dtype in ("bool", "boolean"):
        return Column(name, dtype, "category", [False, True], True)
    held = list(series[series.notna()])
    kinds = {type(value) for value in held}
    if kinds <= {bool, np.bool_}:
        return Column(name, dtype, "category", [False, True], True)
    if not all(issubclass(kind, str) for kind in kinds):  # of numpy's own texts too
        odd = next(value for value in held if not isinstance(value, str))
        raise TypeError(
            f"{owner} takes {TAKEN}; got {odd!r} of {type(odd).__name__} among the objects of column {name!r}. "
            "Convert the column with astype(str), pd.to_numeric or pd.to_datetime."
        )
    levels = sorted({str(value) for value in held})
    return Column(name, dtype, "category", levels)


def _time(series: pd.Series, owner: str) -> Column:
    held = series[series.notna()]
    return _on_grid(series.name, str(series.dtype), "time", whole_numbers(held, np.zeros(len(held), np.bool_)))


def _on_grid(name: Any, dtype: str, kind: str, whole: np.ndarray) -> Column:
    """A column of integers (n,): small ones as they are, others from the first on, in units of their common divisor."""
    if not len(whole):
        return Column(name, dtype, kind, step=1.0)
    low, high = int(whole.min()), int(whole.max())
    if kind == "number" and max(-low, high) < LARGEST_EXACT:
        step = int(np.gcd.reduce(np.abs(whole.astype(np.int64))))
        return Column(name, dtype, kind, step=float(step or 1))
    unit = int(np.gcd.reduce((whole.astype(object) - low).astype(np.uint64))) or 1
    while (high - low) / unit > LARGEST_EXACT:
        unit *= 2  # finer than floats can tell: the last digits are lost
    return Column(name, dtype, kind, origin=low, unit=unit, step=1.0)


def _decimals(values: Floats, size: int) -> int | None:
    """Decimals that all values have, or None where they are on no such grid."""
    eps = EPS[size]
    largest = float(np.abs(values).max()) if len(values) else 0.0
    for decimals in range(MOST_DECIMALS + 1):
        if largest * 10.0**decimals > ROUNDED[size]:
            return None
        if bool(np.all(np.abs(values - np.round(values, decimals)) <= 2 * eps * np.abs(values))):
            return decimals
    return None


def whole_numbers(series: pd.Series, missing: np.ndarray) -> np.ndarray:
    """The whole numbers (n,) of integers or times, 0 for missing."""
    if getattr(series.dtype, "kind", "O") in "mM":
        if getattr(series.dtype, "tz", None) is not None:
            series = series.dt.tz_convert("UTC").dt.tz_localize(None)
        whole = series.to_numpy().view(np.int64)
        return np.where(missing, 0, whole) if missing.any() else whole
    dtype = np.uint64 if series.dtype.kind == "u" else np.int64
    filled: np.ndarray = series.fillna(0).to_numpy(dtype=dtype) if missing.any() else series.to_numpy(dtype=dtype)
    return filled


def _minus(whole: np.ndarray, origin: int) -> Floats:
    """The differences (n,) to an integer, exact as far as floats are."""
    if not origin:
        return whole.astype(np.float64)
    return (whole.astype(object) - origin).astype(np.float64)


def _floats(series: pd.Series, owner: str) -> Floats:
    values: Floats = series.to_numpy(dtype=np.float64, na_value=np.nan)
    if bool(np.isinf(values).any()):
        row = int(np.flatnonzero(np.isinf(values))[0])
        raise ValueError(
            f"{owner} wants finite numbers or missing ones; got {values[row]} in row {row} of column {series.name!r}. "
            "Mend or drop such rows."
        )
    return values


def short(values: Any, most: int = 8) -> str:
    """A list in a sentence, its end left out when it is long."""
    shown = [repr(value) for value in list(values)[:most]]
    return ", ".join(shown) + (f" and {len(values) - most} more" if len(values) > most else "")
