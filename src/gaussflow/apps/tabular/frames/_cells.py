"""Text cells of a file as typed columns, and back as they were written: numbers, booleans, ISO dates, text."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from gaussflow.apps._optional import need

if TYPE_CHECKING:
    import pandas as pd

MARKS = ["", "NA", "N/A", "n/a", "NaN", "nan", "NULL", "null", "<NA>", "#N/A"]  # cells that stand for nothing
BOOLEANS = [("False", "True"), ("FALSE", "TRUE"), ("false", "true")]
INTEGER = re.compile(r"[+-]?(0|[1-9]\d*)")  # a leading zero makes a code, as of a district
NUMBER = re.compile(r"[+-]?(inf(inity)?|((0|[1-9]\d*)(\.\d*)?|\.\d+)(e[+-]?\d+)?)", re.IGNORECASE)
DECIMALS = re.compile(r"[+-]?\d*\.(\d+)")
MOMENTS = ["%Y-%m-%d", "%Y-%m-%d %H:%M", "%Y-%m-%dT%H:%M", "%Y-%m-%d %H:%M:%S", "%Y-%m-%dT%H:%M:%S"]
MOST_DIGITS = 18  # of integers that 64 bits hold; longer ones are names


@dataclass(frozen=True)
class Spelling:
    """How a column was written.

    Attributes
    ----------
    kind
        "boolean", "integer", "number", "moment" or "text".
    mark
        What stands for missing.
    booleans
        The words for false and true.
    decimals
        Of numbers that all have so many; None where they differ.
    point
        Whether whole numbers have a point too.
    moment
        The format of dates.
    """

    kind: str
    mark: str = ""
    booleans: tuple[str, str] = BOOLEANS[0]
    decimals: int | None = None
    point: bool = False
    moment: str = ""

    def cells(self, series: pd.Series) -> list[str]:
        """The cells (n,) of a column (n,)."""
        missing = series.isna()
        return [self.mark if gap else self._cell(value) for value, gap in zip(series, missing, strict=True)]

    def _cell(self, value: Any) -> str:
        if self.kind == "boolean":
            return self.booleans[int(value)]
        if self.kind == "integer":
            return str(int(value))
        if self.kind == "moment":
            return str(value.strftime(self.moment))
        if self.kind == "number":
            value += 0.0  # no negative zero
            if self.decimals is not None:
                return f"{value:.{self.decimals}f}"
            return str(int(value)) if not self.point and abs(value) < 1e15 and value == int(value) else repr(value)
        return str(value)


def typed(cells: pd.Series) -> tuple[pd.Series, Spelling]:
    """The column that cells (n,) of text stand for, and how it was written."""
    pandas = need("pandas", "a table")
    bare = cells.str.strip()
    missing = bare.isin(MARKS)
    marks = bare[missing].value_counts()
    mark = str(marks.index[0]) if len(marks) else ""
    held = [str(cell) for cell in bare[~missing].unique()]
    if not held:
        return pandas.Series(np.full(len(cells), np.nan), index=cells.index), Spelling("text", mark)
    for words in BOOLEANS:
        if set(held) <= set(words):
            values = bare.map({words[0]: False, words[1]: True})
            return values.astype("boolean" if missing.any() else "bool"), Spelling("boolean", mark, booleans=words)
    if all(INTEGER.fullmatch(cell) for cell in held):
        if max(len(cell.lstrip("+-")) for cell in held) > MOST_DIGITS:
            return cells.astype(object).mask(missing, None), Spelling("text", mark)
        whole = pandas.Series(pandas.array([None if cell in MARKS else int(cell) for cell in bare], dtype="Int64"))
        return whole if missing.any() else whole.astype("int64"), Spelling("integer", mark)
    if all(NUMBER.fullmatch(cell) for cell in held):
        floats = pandas.to_numeric(bare.mask(missing)).astype("float64")
        return floats, _number(held, mark)
    for moment in MOMENTS:
        times = pandas.to_datetime(bare.mask(missing), format=moment, errors="coerce")
        if times.notna().equals(~missing) and bool((times.dt.strftime(moment) == bare)[~missing].all()):
            return times, Spelling("moment", mark, moment=moment)
    return cells.astype(object).mask(missing, None), Spelling("text", mark)


def _number(held: list[str], mark: str) -> Spelling:
    fractions = [DECIMALS.fullmatch(cell) for cell in held]
    lengths = {len(found.group(1)) if found else 0 for found in fractions}
    if all(fractions) and len(lengths) == 1:
        return Spelling("number", mark, decimals=lengths.pop())
    return Spelling("number", mark, point=not any(INTEGER.fullmatch(cell) for cell in held))
