"""What is wrong with a file that is no table, in one sentence with what to do about it."""

from __future__ import annotations

import csv
import os
import re
import warnings
from typing import TYPE_CHECKING

from gaussflow.apps.tabular.frames._cells import NUMBER
from gaussflow.apps.tabular.frames._schema import short

if TYPE_CHECKING:
    import pandas as pd

DELIMITERS = {",": "commas", ";": "semicolons", "\t": "tabs", "|": "bars"}
BEGINNINGS = {
    b"PK\x03\x04": "an Excel or zip file; open it and save the sheet as CSV in UTF-8",
    b"\xd0\xcf\x11\xe0": "an old Excel file; open it and save the sheet as CSV in UTF-8",
    b"\x1f\x8b": "compressed by gzip; unpack it first",
    b"PAR1": "a Parquet file; give its name the ending .parquet",
    b"\xff\xfe": "text in UTF-16; save it as CSV in UTF-8",
    b"\xfe\xff": "text in UTF-16; save it as CSV in UTF-8",
    b"%PDF": "a PDF; save the table in it as CSV in UTF-8",
}
COMMA_NUMBER = re.compile(r"[+-]?\d+(,\d+)?")
MOST_NUMBERS = 0.8  # share of the cells of a text that are numbers, beyond which the others are taken for slips


def check_kind(path: str) -> None:
    """Raise ValueError for a file that begins like another kind of file."""
    with open(path, "rb") as file:
        start = file.read(8)
    for beginning, what in BEGINNINGS.items():
        if start.startswith(beginning):
            raise ValueError(f"not a table in UTF-8 text: it is {what}.")
    if not os.path.getsize(path):
        raise ValueError("the file is empty.")


def check_lines(path: str, delimiter: str) -> None:
    """Raise ValueError for text that is no table: what pandas would fill, rename or shift in silence."""
    count, last = 0, 0
    try:
        with open(path, encoding="utf-8-sig", newline="") as file:
            lines = csv.reader(file, delimiter=delimiter, strict=True)
            names = next((cells for cells in lines if cells), None)
            if names is None:
                raise ValueError("the file is empty.")
            _check_names(names, delimiter)
            last = lines.line_num
            for cells in lines:
                count += bool(cells)
                if cells and len(cells) != len(names):
                    _wrong_line(cells, names, last + 1, lines.line_num)
                last = lines.line_num
    except UnicodeDecodeError as error:
        raise ValueError(f"not a table in UTF-8 text ({error}); save it as CSV in UTF-8.") from None
    except csv.Error as error:
        if "end of data" in str(error):
            raise ValueError(f"a quote opened after line {last} is never closed; close it, or double it.") from None
        raise ValueError(f"not a table in UTF-8 text: after line {last}, {error}; mend the line.") from None
    if not count:
        raise ValueError("the table has a first line with names, but no rows.")


def _check_names(names: list[str], delimiter: str) -> None:
    if twice := list(dict.fromkeys(name for name in names if names.count(name) > 1)):
        raise ValueError(f"each column wants a name of its own; {short(twice)} comes more than once.")
    if len(names) == 1 and (other := next((sign for sign in DELIMITERS if sign in names[0]), None)):
        raise ValueError(
            f"only {DELIMITERS.get(delimiter, repr(delimiter))} part cells; got one column named {names[0]!r}. If "
            f"{DELIMITERS[other]} part them, say --delimiter {'tab' if other == chr(9) else repr(other)}."
        )
    if "" in names:
        raise ValueError(f"column {names.index('') + 1} has no name; give it one in the first line.")
    if all(NUMBER.fullmatch(name.strip()) for name in names):
        raise ValueError(
            f"the first line holds numbers, {short(names, 3)}, where names of columns are wanted; put a line of names "
            "before it."
        )


def _wrong_line(cells: list[str], names: list[str], first: int, last: int) -> None:
    if last > first:
        raise ValueError(
            f"a quote opened in line {first} is closed in line {last} only, and leaves {len(cells)} cells where the "
            f"first line has {len(names)}; close it, or double it where it belongs to the text."
        )
    raise ValueError(
        f"line {last} has {len(cells)} cells, the first line {len(names)}; mend the line, or quote text that holds the "
        "sign between cells."
    )


def check_text(name: str, series: pd.Series) -> None:
    """Raise ValueError for numbers with a decimal comma; warn of a few words among numbers, which make it all text."""
    held = [str(cell).strip() for cell in series.dropna()]
    if any("," in cell for cell in held) and all(COMMA_NUMBER.fullmatch(cell) for cell in held):
        shown = next(cell for cell in held if "," in cell)
        raise ValueError(
            f"column {name!r} holds numbers with a decimal comma, as {shown!r}; write them with a point "
            f"({shown.replace(',', '.')})."
        )
    odd = [cell for cell in held if not NUMBER.fullmatch(cell)]
    if odd and len(held) > 5 and len(odd) < (1 - MOST_NUMBERS) * len(held):
        warnings.warn(
            f"column {name!r} is taken as text, each of its values as a category: {len(odd)} of its {len(held)} cells "
            f"are no numbers, as {odd[0]!r}. Leave such cells empty for a column of numbers.",
            stacklevel=2,
        )
