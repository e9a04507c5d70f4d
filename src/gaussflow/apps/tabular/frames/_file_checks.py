"""What is wrong with a file that is no table, in one sentence with what to do about it."""

from __future__ import annotations

import csv
import gzip
import os
import warnings
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from typing import IO, TYPE_CHECKING

from gaussflow.apps.tabular.frames._moment_cells import two_readings
from gaussflow.apps.tabular.frames._number_cells import NUMBER, unclear
from gaussflow.apps.tabular.frames._schema import short

if TYPE_CHECKING:
    import pandas as pd

DELIMITERS = {",": "commas", ";": "semicolons", "\t": "tabs", "|": "bars"}
BEGINNINGS = {
    b"PK\x03\x04": "an Excel or zip file; open it and save the sheet as CSV in UTF-8",
    b"\xd0\xcf\x11\xe0": "an old Excel file; open it and save the sheet as CSV in UTF-8",
    b"PAR1": "a Parquet file; give its name the ending .parquet",
    b"\xff\xfe": "text in UTF-16; save it as CSV in UTF-8",
    b"\xfe\xff": "text in UTF-16; save it as CSV in UTF-8",
    b"%PDF": "a PDF; save the table in it as CSV in UTF-8",
}
ZIPPED = b"\x1f\x8b"
MOST_NUMBERS = 0.8  # share of the cells of a text that are numbers, beyond which the others are taken for slips


@contextmanager
def text_of(path: str) -> Iterator[IO[str]]:
    """The text of a file in UTF-8, gzipped or not, with or without a mark at its start."""
    with open(path, "rb") as file:
        zipped = file.read(2) == ZIPPED
    opened = gzip.open if zipped else open
    with opened(path, "rt", encoding="utf-8-sig", newline="") as text:
        try:
            yield text
        except (gzip.BadGzipFile, EOFError, zlib.error) as error:
            raise ValueError(f"compressed by gzip, and damaged ({error}); compress or send it again.") from None


def check_kind(path: str) -> None:
    """Raise ValueError for a file that begins like another kind of file."""
    with open(path, "rb") as file:
        start = file.read(8)
    for beginning, what in BEGINNINGS.items():
        if start.startswith(beginning):
            raise ValueError(f"not a table in UTF-8 text: it is {what}.")
    if not os.path.getsize(path):
        raise ValueError("the file is empty.")


def check_lines(path: str, delimiter: str) -> int:
    """The number of rows; ValueError for text that is no table: what pandas would fill, rename or shift in silence."""
    count, last = 0, 0
    try:
        with text_of(path) as file:
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
    return count


def _check_names(names: list[str], delimiter: str) -> None:
    if twice := list(dict.fromkeys(name for name in names if names.count(name) > 1)):
        raise ValueError(f"each column wants a name of its own; {short(twice)} comes more than once.")
    if names[0].startswith("sep=") and len("".join(names)) <= len("sep=;"):
        raise ValueError(f"the first line, {delimiter.join(names)!r}, is for Excel alone; take it out.")
    if len(names) == 1 and (other := next((sign for sign in DELIMITERS if sign in names[0]), None)):
        raise ValueError(
            f"only {DELIMITERS.get(delimiter, repr(delimiter))} part cells; got one column named {names[0]!r}. If "
            f"{DELIMITERS[other]} part them, say --delimiter {'tab' if other == chr(9) else repr(other)}."
        )
    if "" in names:
        row = " Where it holds row numbers, write the table without them." if not names[0] else ""
        raise ValueError(f"column {names.index('') + 1} has no name; give it one in the first line.{row}")
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
    """Raise ValueError for commas that may be either; warn of dates that may, and of a few words among numbers."""
    held = [str(cell).strip() for cell in series.dropna().unique()]
    if not held:
        return
    if unclear(held):
        shown = next(cell for cell in held if "," in cell)
        raise ValueError(
            f"column {name!r} holds numbers with a comma before three digits, as {shown!r}, which may be decimals or "
            "thousands; say --decimal ',' or --decimal '.', the sign before the decimals."
        )
    if two_readings(held):
        warnings.warn(
            f"column {name!r} is taken as text: its dates, as {held[0]!r}, may begin with the day or with the month. "
            "Write them as YYYY-MM-DD.",
            stacklevel=2,
        )
    cells = [str(cell).strip() for cell in series.dropna()]
    odd = [cell for cell in cells if not NUMBER.fullmatch(cell)]
    if odd and len(cells) > 5 and len(odd) < (1 - MOST_NUMBERS) * len(cells):
        warnings.warn(
            f"column {name!r} is taken as text: {len(odd)} of its {len(cells)} cells are no numbers, as {odd[0]!r}. "
            "Leave such cells empty for a column of numbers.",
            stacklevel=2,
        )
