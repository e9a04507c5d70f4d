"""The cells of a text table on their way to numbers, and the sentence for each thing that can be wrong with them."""

from __future__ import annotations

import math
import re
from array import array
from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

MISSING = frozenset({"", "na", "n/a", "nan", "null", "none", "?", "-", ".", "#n/a"})
DELIMITERS = {";": "';'", "\t": "tab", "|": "'|'", ",": "','", " ": "' '"}


@dataclass
class Cells:
    """The cells of a file, taken line by line, with the problems met on the way."""

    names: list[str]
    kept: list[int]
    decimal: str
    values: array[float] = field(default_factory=lambda: array("d"))
    text: dict[int, tuple[str, int]] = field(default_factory=dict)  # column -> its first text and the line of that
    missing: dict[int, list[int]] = field(default_factory=dict)  # column -> number of missing cells, line of the first
    infinite: tuple[int, int] | None = None  # column and line
    total: int = 0

    def add(self, cells: list[str], line: int) -> None:
        """Take one line."""
        if len(cells) != len(self.names):
            raise ValueError(
                f"line {line} has {len(cells)} cells where the first line has {len(self.names)}; mend that line"
                f"{self._other_delimiter(self.names[0])}."
            )
        self.total += 1
        try:
            if self.decimal == "," or any("_" in cell for cell in cells):  # see _number
                raise ValueError
            row = [float(cells[column]) for column in self.kept]
        except ValueError:
            row = [math.nan]
        if not math.isfinite(sum(row)):  # rare, so that the common line is one pass
            row = [self._number(cells[column].strip(), column, line) for column in self.kept]
        self.values.extend(row)

    def _number(self, cell: str, column: int, line: int) -> float:
        """The number in a cell, or a NaN and a note of what stands there instead."""
        if cell.lower() in MISSING:
            self.missing.setdefault(column, [0, line])[0] += 1
            return math.nan
        shown = cell.replace(".", "_").replace(",", ".") if self.decimal == "," else cell  # one sign, one meaning
        if not is_number(shown):
            self.text.setdefault(column, (cell, line))
            return math.nan
        if math.isinf(float(shown)):
            self.infinite = self.infinite or (column, line)
        return float(shown)

    def _other_delimiter(self, cell: str) -> str:
        """The end of a sentence about a table of one column: which delimiter it seems to have, if any."""
        found = [shown for other, shown in DELIMITERS.items() if other in cell and other != self.decimal]
        return (
            f"; if {found[0]} stands between the cells, say --delimiter {found[0]}"
            if found and len(self.names) == 1
            else ""
        )

    def table(self, drop_missing: bool) -> tuple[list[str], Tensor, Tensor]:
        """Names, values (N, D) and places (N,) of the rows; or the ValueError that says what is wrong."""
        if not self.total:
            raise ValueError("there are no rows below the header.")
        if self.text:
            raise ValueError(self._about_text())
        if self.infinite:
            column, line = self.infinite
            raise ValueError(
                f"column '{self.names[column]}' holds an infinite number in line {line}; mend or remove that line."
            )
        values = torch.tensor(self.values, dtype=torch.float64).reshape(self.total, len(self.kept))
        whole = ~values.isnan().any(1)
        self._check_missing(int(whole.sum()), drop_missing)
        return [self.names[i] for i in self.kept], values[whole], whole.nonzero()[:, 0]

    def _check_missing(self, complete: int, drop_missing: bool) -> None:
        empty = [self.names[i] for i, (count, _) in self.missing.items() if count == self.total]
        if empty:
            raise ValueError(f"{listed(empty)} holds no numbers at all; {leave_out(empty)}.")
        if self.missing and not drop_missing:
            column, (_, line) = min(self.missing.items(), key=lambda item: item[1][1])
            raise ValueError(
                f"{self.total - complete} of {self.total} rows have missing values, the first in line {line}, column "
                f"'{self.names[column]}'; leave those rows out with --drop-missing, or fill them."
            )
        if not complete:
            raise ValueError(
                "every row has a missing value; leave out the columns that have most of them with --drop NAME."
            )

    def _about_text(self) -> str:
        cell, line = next(iter(self.text.values()))
        if other := self._other_delimiter(cell):
            return f"line {line} is one cell, {cell[:40]!r}{other}."
        names = [self.names[i] for i in self.text]
        holds = "holds" if len(names) == 1 else "hold"
        where = f"{listed(names)} {holds} text where numbers are wanted, the first {cell[:40]!r} in line {line}"
        if re.fullmatch(r"[-+]?\d*,\d+", cell) and self.decimal == ".":
            return f"{where}; that looks like a decimal comma: --decimal ,"
        if re.fullmatch(r"[-+]?\d{1,3}([,.]\d{3})+([.,]\d*)?", cell):
            return f"{where}; write numbers without separators of thousands."
        return f"{where}; write it as numbers, or {leave_out(names)}."


def header_names(first: list[str], header: bool) -> list[str]:
    """The names of the columns from the first line, or those of a table without a header."""
    names = [cell.strip() for cell in first]
    if not header:
        return [f"column{i + 1}" for i in range(len(names))]
    numbered = [[str(i + start) for i in range(len(names))] for start in (0, 1)]  # as data frames without names write
    if len(names) > 1 and names in numbered:
        return names
    if all(is_number(name.replace(",", ".")) for name in names):
        raise ValueError(
            f"the first line, {', '.join(names)[:60]}, holds numbers where names are wanted; "
            "add them, or say --no-header."
        )
    if twice := sorted({name for name in names if names.count(name) > 1}):
        places = [i + 1 for i, name in enumerate(names) if name == twice[0]]
        raise ValueError(
            f"the header names {listed(twice)} more than once (columns {', '.join(map(str, places))}); rename them."
        )
    return names


def kept_columns(names: list[str], drop: Sequence[str], ignore: Sequence[str] = ()) -> list[int]:
    """The places of the columns that are not dropped."""
    if unknown := [name for name in drop if name not in names]:
        raise ValueError(f"there is no {listed(unknown)} to drop; the table has {listed(names)}.")
    kept = [i for i, name in enumerate(names) if name not in drop and name not in ignore]
    if nameless := [i + 1 for i in kept if not names[i]]:
        raise ValueError(f"column {nameless[0]} has no name in the header; name it, or leave it out with --drop ''.")
    if not kept:
        raise ValueError("all columns are dropped; keep at least one.")
    return kept


def is_number(cell: str) -> bool:
    """Whether a table means a number by this; Python also reads 1_000, a table does not mean it."""
    try:
        float(cell)
    except ValueError:
        return False
    return "_" not in cell


def short(items: Sequence[str]) -> str:
    """The first few items in a sentence."""
    return ", ".join(items) if len(items) <= 6 else f"{', '.join(items[:5])} and {len(items) - 5} more"


def listed(names: Sequence[str]) -> str:
    """Names of columns in a sentence."""
    return ("column " if len(names) == 1 else "columns ") + short([f"'{name}'" for name in names])


def leave_out(names: Sequence[str]) -> str:
    """The remedy that leaves columns out."""
    options = " ".join("--drop " + (name if re.fullmatch(r"[\w.-]+", name) else f"'{name}'") for name in names[:6])
    return f"leave {'it' if len(names) == 1 else 'them'} out with {options}{' ...' if len(names) > 6 else ''}"
