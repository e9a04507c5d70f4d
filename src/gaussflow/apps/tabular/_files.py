"""Frames in files, CSV or Parquet: read with every problem named, written whole and as they were written."""

from __future__ import annotations

import csv
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from gaussflow._files import whole
from gaussflow.apps._optional import need
from gaussflow.apps.tabular._cells import Spelling, typed
from gaussflow.apps.tabular._schema import short

if TYPE_CHECKING:
    import pandas as pd


def is_parquet(path: str) -> bool:
    """Whether a file of that name is Parquet; any other is CSV."""
    return path.lower().endswith(".parquet")


def need_packages(*paths: str) -> None:
    """ImportError that says what to install where these files cannot be read or written."""
    need("pandas", "a table")
    if any(is_parquet(path) for path in paths):
        try:
            need("pyarrow", "Parquet")
        except ImportError as error:
            raise ImportError(
                "Parquet needs pyarrow, which is not installed: pip install pyarrow, or use CSV."
            ) from error


def read_frame(path: str) -> tuple[pd.DataFrame, dict[str, Spelling]]:
    """The frame (N, D) of a file, and how the columns of a CSV were written; ValueError for what is no table."""
    pandas = need("pandas", "a table")
    if is_parquet(path):
        with open(path, "rb") as file:
            try:
                frame = pandas.read_parquet(file, engine="pyarrow")
            except Exception as error:  # whatever the reader of a damaged file says
                raise ValueError(f"not a Parquet file ({error}).") from error
        if not len(frame):
            raise ValueError("the table has no rows.")
        return frame.reset_index(drop=True), {}
    _check_lines(path)
    cells = pandas.read_csv(path, dtype=str, keep_default_na=False, encoding="utf-8-sig", index_col=False)
    pairs = {name: typed(cells[name]) for name in cells.columns}
    frame = pandas.DataFrame({name: series for name, (series, _) in pairs.items()})
    return frame, {name: spelling for name, (_, spelling) in pairs.items()}


def write_frame(frame: pd.DataFrame, path: str, spellings: Mapping[str, Spelling]) -> None:
    """Write a frame, whole or not at all; CSV as the columns were written where that is known."""
    if is_parquet(path):
        with whole(path, "wb") as file:
            frame.to_parquet(file, index=False, engine="pyarrow")
        return
    text: dict[Any, Any] = {
        name: spellings[name].cells(frame[name]) if name in spellings else frame[name] for name in frame.columns
    }
    with whole(path) as file:
        need("pandas", "a table").DataFrame(text).to_csv(file, index=False, lineterminator="\n")


def _check_lines(path: str) -> None:
    """Raise ValueError for text that is no table: what pandas would fill, rename or shift in silence."""
    try:
        with open(path, encoding="utf-8-sig", newline="") as file:
            lines = csv.reader(file)
            names = next((cells for cells in lines if cells), None)
            if names is None:
                raise ValueError("the file is empty.")
            if twice := list(dict.fromkeys(name for name in names if names.count(name) > 1)):
                raise ValueError(f"each column wants a name of its own; {short(twice)} comes more than once.")
            if "" in names:
                raise ValueError(f"column {names.index('') + 1} has no name; give it one in the first line.")
            if len(names) == 1 and any(sign in names[0] for sign in ";\t"):
                raise ValueError(f"only commas part cells; got one column named {names[0]!r}. Save it with commas.")
            count = 0
            for cells in lines:
                count += bool(cells)
                if cells and len(cells) != len(names):
                    raise ValueError(
                        f"line {lines.line_num} has {len(cells)} cells, the first line {len(names)}; mend the line, or "
                        "quote text that holds commas."
                    )
            if not count:
                raise ValueError("the table has a first line with names, but no rows.")
    except (UnicodeDecodeError, csv.Error) as error:
        raise ValueError(f"not a table in UTF-8 text ({error}); save it as CSV in UTF-8.") from None
