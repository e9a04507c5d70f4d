"""Frames in files, CSV or Parquet: read with every problem named, written whole and as they were written."""

from __future__ import annotations

import gzip
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from gaussflow._files import whole
from gaussflow.apps._optional import need
from gaussflow.apps.tabular.frames._cells import Spelling, typed
from gaussflow.apps.tabular.frames._file_checks import check_kind, check_lines, check_text, text_of
from gaussflow.apps.tabular.frames._large import Parts, Reading, drawn_frame, whole_frame

if TYPE_CHECKING:
    import pandas as pd

CHUNK = 50_000  # rows read at once


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


def read_frame(
    path: str, delimiter: str = ",", most: int | None = None, seed: int = 0, decimal: str | None = None
) -> Reading:
    """The frame (n, D) of a file, how the columns of a CSV were written, and how many rows the file has.

    Of a file with more than ``most`` rows, so many are drawn, each with the same chance, while it is read chunk by
    chunk, and beside them rows that hold what is rare, up to as many again; they keep their order, and the chance of
    each is told. ``decimal`` is the sign before decimals, where a column cannot tell it. Raises ValueError for what is
    no table.
    """
    pandas = need("pandas", "a table")
    if is_parquet(path):
        with _parquet(path) as parquet:
            count = parquet.metadata.num_rows
        if not count:
            raise ValueError("the table has no rows.")
        return _kept(lambda: _parquet_parts(path), count, most, seed, decimal)
    check_kind(path)
    count = check_lines(path, delimiter)
    found = _kept(lambda: _csv_parts(path, delimiter), count, most, seed, decimal)
    cells = found.frame
    pairs = {name: typed(cells[name], decimal) for name in cells.columns}
    for name, (series, spelling) in pairs.items():
        if spelling.kind == "text":
            check_text(name, series)
    frame = pandas.DataFrame({name: series for name, (series, _) in pairs.items()})
    return replace(found, frame=frame, spellings={name: spelling for name, (_, spelling) in pairs.items()})


def _kept(parts: Parts, count: int, most: int | None, seed: int, decimal: str | None) -> Reading:
    return whole_frame(parts()) if most is None or count <= most else drawn_frame(parts, most, seed, decimal)


def _csv_parts(path: str, delimiter: str) -> Iterator[pd.DataFrame]:
    """The cells of a CSV, part by part."""
    options = {"dtype": str, "keep_default_na": False, "index_col": False, "sep": delimiter}
    with text_of(path) as file, need("pandas", "a table").read_csv(file, chunksize=CHUNK, **options) as parts:
        yield from parts


@contextmanager
def _parquet(path: str) -> Iterator[Any]:
    """A Parquet file, open."""
    with open(path, "rb") as file:
        try:
            yield need("pyarrow.parquet", "Parquet").ParquetFile(file)
        except Exception as error:  # whatever the reader of a damaged file says
            raise ValueError(f"not a Parquet file ({error}).") from error


def _parquet_parts(path: str) -> Iterator[pd.DataFrame]:
    """The rows of a Parquet file, part by part."""
    with _parquet(path) as parquet:
        for batch in parquet.iter_batches(batch_size=CHUNK):
            yield batch.to_pandas()


def write_frame(frame: pd.DataFrame, path: str, spellings: Mapping[str, Spelling], delimiter: str = ",") -> None:
    """Write a frame, whole or not at all; CSV as the columns were written where that is known."""
    if is_parquet(path):
        with whole(path, "wb") as file:
            frame.to_parquet(file, index=False, engine="pyarrow")
        return
    text: dict[Any, Any] = {
        name: spellings[name].cells(frame[name]) if name in spellings else frame[name] for name in frame.columns
    }
    if path.lower().endswith(".gz"):
        with whole(path, "wb") as packed, gzip.open(packed, "wt", encoding="utf-8", newline="") as file:
            need("pandas", "a table").DataFrame(text).to_csv(file, index=False, lineterminator="\n", sep=delimiter)
        return
    with whole(path) as file:
        need("pandas", "a table").DataFrame(text).to_csv(file, index=False, lineterminator="\n", sep=delimiter)
