"""Text cells of a file as typed columns, and back as they were written: numbers, booleans, dates, times, text."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from gaussflow.apps._optional import need
from gaussflow.apps.tabular.frames._moment_cells import Moment, clock_cell, read_clocks, read_moments
from gaussflow.apps.tabular.frames._number_cells import INTEGER, Notation, notation

if TYPE_CHECKING:
    import pandas as pd

MARKS = ["", "NA", "N/A", "n/a", "NaN", "nan", "NULL", "null", "<NA>", "#N/A"]  # cells that stand for nothing
AMONG_NUMBERS = ["?", ".", "..", "-", "--", "*", "None", "none", "n.a.", "N.A.", "missing", "unknown", "NaT"]
AMONG_NUMBERS += ["#DIV/0!", "#VALUE!", "#REF!", "#NAME?", "#NUM!", "#NULL!"]  # for nothing, but in text they are words
BOOLEANS = [("False", "True"), ("FALSE", "TRUE"), ("false", "true")]
DECIMALS = re.compile(r"[+-]?\d*\.(\d+)")
MOST_DIGITS = 18  # of integers that 64 bits hold; longer ones are names


@dataclass(frozen=True)
class Spelling:
    """How a column was written.

    Attributes
    ----------
    kind
        "boolean", "integer", "number", "moment", "clock" or "text".
    mark
        What stands for missing.
    booleans
        The words for false and true.
    decimals
        Of numbers that all have so many; None where they differ.
    point
        Whether whole numbers have a point too.
    numbers
        The signs of numbers.
    moment
        How dates are written.
    clock
        How times of day are.
    """

    kind: str
    mark: str = ""
    booleans: tuple[str, str] = BOOLEANS[0]
    decimals: int | None = None
    point: bool = False
    numbers: Notation = field(default_factory=Notation)
    moment: Moment = field(default_factory=lambda: Moment("%Y-%m-%d"))
    clock: str = ""

    def cells(self, series: pd.Series) -> list[str]:
        """The cells (n,) of a column (n,)."""
        missing = series.isna()
        return [self.mark if gap else self._cell(value) for value, gap in zip(series, missing, strict=True)]

    def _cell(self, value: Any) -> str:
        if self.kind == "boolean":
            return self.booleans[int(value)]
        if self.kind == "integer":
            return self.numbers.cell(int(value), None, False)
        if self.kind == "moment":
            return self.moment.cell(value)
        if self.kind == "clock":
            return clock_cell(value, self.clock)
        if self.kind == "number":
            return self.numbers.cell(float(value), self.decimals, self.point)
        return str(value)


def typed(cells: pd.Series, decimal: str | None = None) -> tuple[pd.Series, Spelling]:
    """The column that cells (n,) of text stand for, and how it was written; the sign of decimals may be told."""
    pandas = need("pandas", "a table")
    bare = cells.str.strip()
    missing = bare.isin(MARKS)
    held = [str(cell) for cell in bare[~missing].unique()]
    if not held:
        return pandas.Series(np.full(len(cells), np.nan), index=cells.index), Spelling("text", _mark(bare[missing]))
    for words in BOOLEANS:
        if set(held) <= set(words):
            values = bare.map({words[0]: False, words[1]: True})
            spelling = Spelling("boolean", _mark(bare[missing]), booleans=words)
            return values.astype("boolean" if missing.any() else "bool"), spelling
    for gaps in (missing, bare.isin([*MARKS, *AMONG_NUMBERS])):
        if (found := _measured(bare.mask(gaps), _mark(bare[gaps]), decimal)) is not None:
            return found
    return cells.astype(object).mask(missing, None), Spelling("text", _mark(bare[missing]))


def _mark(gaps: pd.Series) -> str:
    counts = gaps.value_counts()
    return str(counts.index[0]) if len(counts) else ""


def _measured(bare: pd.Series, mark: str, decimal: str | None) -> tuple[pd.Series, Spelling] | None:
    """A column of numbers, dates or times of day by cells (n,), None for missing; None for any other."""
    held = [str(cell) for cell in bare.dropna().unique()]
    if not held:
        return None
    if (numbers := notation(held, decimal)) is not None:
        return _numbers(bare, mark, numbers, [numbers.plain(cell) for cell in held])
    if (times := read_moments(bare, held)) is not None:
        return times[0], Spelling("moment", mark, moment=times[1])
    if (clocks := read_clocks(bare, held)) is not None:
        return clocks[0], Spelling("clock", mark, clock=clocks[1])
    return None


def _numbers(bare: pd.Series, mark: str, numbers: Notation, held: list[str]) -> tuple[pd.Series, Spelling] | None:
    pandas = need("pandas", "a table")
    missing = bare.isna()
    plain = bare.map(numbers.plain, na_action="ignore")
    if all(INTEGER.fullmatch(cell) for cell in held):
        if max(len(cell.lstrip("+-")) for cell in held) > MOST_DIGITS:
            return None
        values = [None if gap else int(cell) for cell, gap in zip(plain, missing, strict=True)]
        whole = pandas.Series(pandas.array(values, dtype="Int64"), index=bare.index)
        return whole if missing.any() else whole.astype("int64"), Spelling("integer", mark, numbers=numbers)
    floats = pandas.to_numeric(plain).astype("float64")
    fractions = [DECIMALS.fullmatch(cell) for cell in held]
    lengths = {len(found.group(1)) if found else 0 for found in fractions}
    if all(fractions) and len(lengths) == 1:
        return floats, Spelling("number", mark, decimals=lengths.pop(), numbers=numbers)
    point = not any(INTEGER.fullmatch(cell) for cell in held)
    return floats, Spelling("number", mark, point=point, numbers=numbers)
