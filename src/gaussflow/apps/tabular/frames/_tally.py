"""What all rows of a file hold, column by column, counted while it is read, and which of its cells are rare."""

from __future__ import annotations

import re
from collections.abc import Callable, Hashable
from typing import TYPE_CHECKING, Any

import numpy as np

from gaussflow.apps._optional import need
from gaussflow.apps.tabular._arrays import Booleans, Floats
from gaussflow.apps.tabular.frames._cells import AMONG_NUMBERS, MARKS, Spelling, typed
from gaussflow.apps.tabular.frames._schema import MOST_DECIMALS, whole_numbers
from gaussflow.apps.tabular.law._columns import ABOUT, FEW, SPIKE

if TYPE_CHECKING:
    import pandas as pd

MOST_VALUES = 50_000  # different cells of a column up to which each is counted
MOST_SHAPES, EXAMPLES = 200, 3  # ways to write a cell that are told apart, and cells of each that are watched
LEAST = (30, 10, 3)  # rows to keep of a rare cell, as far as there is room
LEAST_SPIKE = 5  # rows of a number that stands out
TYPED = 1000  # different cells that say what a column is
DIGITS = str.maketrans("0123456789", "9" * 10)

Measure = Callable[["pd.Series"], Floats]


class Tally:
    """How often each cell of a column comes, and which are the least and the largest, of parts given one by one.

    Where there are too many different cells to count, those are watched alone that stand for gaps, are the ends of the
    range as yet, or are the first to be written in some way (as the only one with a decimal): these are counted from
    their first row on.
    """

    def __init__(self, decimal: str | None = None) -> None:
        self.decimal = decimal
        self.counts: dict[Any, int] = {}
        self.gaps, self.many = 0, False
        self.measure: Measure | None = None
        self._ends = (np.inf, -np.inf)
        self._shapes: dict[Any, int] = {}
        self._watched: set[Any] = {*MARKS, *AMONG_NUMBERS}

    def add(self, part: pd.Series) -> None:
        """Count the cells (n,) of a part."""
        part = part.astype(object) if str(part.dtype) == "category" else part
        if not all(isinstance(cell, Hashable) for cell in part[:1]):  # lists and the like, refused by name later
            return
        found = part.value_counts(sort=False)
        self.gaps += len(part) - int(found.sum())
        cells = found.index.to_series()
        if self.measure is None and not self.many:
            self.measure = measure_of(cells, self.decimal)
        names = cells.tolist()
        if self.measure is not None:
            self._watch_ends(names, self.measure(cells))
        self._watch_shapes(names, shapes_of(cells))
        held = found[found.index.isin(self._watched)] if self.many else found
        for cell, count in zip(held.index.tolist(), held.tolist(), strict=True):
            self.counts[cell] = self.counts.get(cell, 0) + count
        if len(self.counts) > MOST_VALUES:
            self.many = True
            self.counts = {cell: self.counts[cell] for cell in self.counts.keys() & self._watched}

    def _watch_ends(self, cells: list[Any], numbers: Floats) -> None:
        """Watch those of the cells that stand for numbers (n,) beyond all before."""
        if np.isnan(numbers).all():
            return
        least, largest = int(np.nanargmin(numbers)), int(np.nanargmax(numbers))
        low, high = self._ends
        self._watched |= {cells[least]} if numbers[least] < low else set()
        self._watched |= {cells[largest]} if numbers[largest] > high else set()
        self._ends = min(low, float(numbers[least])), max(high, float(numbers[largest]))

    def _watch_shapes(self, cells: list[Any], shapes: list[Any]) -> None:
        """Watch the first cells that are written in each way."""
        for cell, shape in zip(cells, shapes, strict=False):
            seen = self._shapes.get(shape, 0)
            if seen < EXAMPLES and (seen or len(self._shapes) < MOST_SHAPES):
                self._shapes[shape] = seen + 1
                self._watched.add(cell)

    def chances(self, even: float, room: float) -> dict[Any, float]:
        """The chance to be kept of cells rarer than others, whose rows are kept with the chance ``even``; None: gaps.

        Of each some tens of rows are kept, or all that there are; fewer where the rows kept beyond those of an even
        draw would be more than ``room``, and where too many cells are rare, as the names of rows, the watched alone.
        """
        names, every = list(self.counts), np.array(list(self.counts.values()), dtype=np.float64)
        watched = np.array([cell in self._watched for cell in names], dtype=np.bool_)
        for rare in (watched | self._rare(names), watched):
            cells = [names[k] for k in np.flatnonzero(rare)] + [None] * bool(self.gaps)
            counts = np.append(every[rare], [self.gaps] * bool(self.gaps))
            for least in LEAST:
                chance = np.minimum(1.0, least / np.maximum(counts, 1))
                more = np.maximum(chance - even, 0) * counts
                if more.sum() <= room:
                    return {cell: float(c) for cell, c, m in zip(cells, chance, more, strict=True) if m > 0}
        return {}

    def _rare(self, cells: list[Any]) -> Booleans:
        """Whether each of the cells (K,) counts as a level, as all do but numbers, or stands out among numbers."""
        if self.many or self.measure is None:
            return np.full(len(cells), not self.many)
        numbers = self.measure(need("pandas", "a table").Series(cells, index=cells))
        other: Booleans = np.isnan(numbers)
        values, at = np.unique(numbers[~other], return_inverse=True)
        if len(values) > FEW:
            counts = np.array(list(self.counts.values()), dtype=np.float64)[~other]
            other[~other] = standing_out(np.bincount(at, counts).astype(np.float64))[at]
        else:
            other[:] = True
        return other


def measure_of(cells: pd.Series, decimal: str | None) -> Measure | None:
    """What gives the numbers (n,) that cells (n,) like these stand for, NaN for others; None for text."""
    kind = getattr(cells.dtype, "kind", "O")
    if kind in "iufmM":
        return _numbers if kind in "iuf" else _times
    first = cells[~cells.isin([*MARKS, *AMONG_NUMBERS])][:TYPED] if len(cells) else cells
    if not len(first) or not all(isinstance(cell, str) for cell in first):
        return None
    spelling = typed(first, decimal)[1]
    if spelling.kind in ("integer", "number"):
        return lambda part: _spelt_numbers(part, spelling)
    return (lambda part: _spelt_times(part, spelling)) if spelling.kind == "moment" else None


def standing_out(counts: Floats) -> Booleans:
    """Which of sorted values come far more often than those about them, of their counts (K,)."""
    padded = np.concatenate([np.zeros(ABOUT), counts, np.zeros(ABOUT)])
    near = np.lib.stride_tricks.sliding_window_view(padded, 2 * ABOUT + 1).copy()
    near[:, ABOUT] = 0
    usual = np.sort(near, 1)[:, -3:].mean(1)  # the finest grid may leave gaps
    found: Booleans = (counts >= LEAST_SPIKE) & (counts > SPIKE * usual + 4 * np.sqrt(usual + 1))
    return found


def shapes_of(cells: pd.Series) -> list[Any]:
    """How cells (n,) are written: the decimals of numbers, text with digits as 9, the first run as one."""
    if getattr(cells.dtype, "kind", "O") == "O" or str(cells.dtype) in ("str", "string"):
        texts = [str(cell) for cell in cells.tolist()]
        shapes = "\0".join(texts).translate(DIGITS).split("\0")  # in one go, which is several times as fast
        if len(shapes) != len(texts):
            shapes = [text.translate(DIGITS) for text in texts]
        short = {shape: re.sub("9+", "9", shape, count=1) for shape in set(shapes)}
        return [short[shape] for shape in shapes]
    if cells.dtype.kind != "f":
        return []
    values = cells.to_numpy(dtype=np.float64, na_value=np.nan)
    decimals = np.full(len(values), MOST_DECIMALS + 1)
    with np.errstate(over="ignore", invalid="ignore"):
        for k in range(MOST_DECIMALS, -1, -1):
            decimals[np.abs(values - np.round(values, k)) <= 5e-16 * np.abs(values)] = k
    return decimals.tolist()


def _numbers(part: pd.Series) -> Floats:
    values: Floats = part.to_numpy(dtype=np.float64, na_value=np.nan)
    return np.where(np.isinf(values), np.nan, values)


def _times(part: pd.Series) -> Floats:
    missing = part.isna().to_numpy()
    return np.where(missing, np.nan, whole_numbers(part, missing).astype(np.float64))


def _spelt_numbers(part: pd.Series, spelling: Spelling) -> Floats:
    style = spelling.numbers
    if style.before or style.after or style.thousands or style.decimal != ".":
        part = part.str.strip().map(style.plain)
    return _numbers(need("pandas", "a table").to_numeric(part, errors="coerce"))


def _spelt_times(part: pd.Series, spelling: Spelling) -> Floats:
    bare, moment = part.str.strip().str.removesuffix(spelling.moment.zone), spelling.moment
    return _times(need("pandas", "a table").to_datetime(bare, format=moment.format, errors="coerce"))
