"""Frames in files, CSV or Parquet: read with every problem named, written whole and as they were written."""

from __future__ import annotations

import gzip
from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from gaussflow._files import whole
from gaussflow.apps._optional import need
from gaussflow.apps.tabular._arrays import Floats
from gaussflow.apps.tabular.frames._cells import Spelling, typed
from gaussflow.apps.tabular.frames._file_checks import check_kind, check_lines, check_text, text_of

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
) -> tuple[pd.DataFrame, dict[str, Spelling], int]:
    """The frame (N, D) of a file, how the columns of a CSV were written, and how many rows the file has.

    Of a file with more than ``most`` rows, so many are drawn, each with the same chance, while it is read chunk by
    chunk; they keep their order. ``decimal`` is the sign before decimals, where a column cannot tell it. Raises
    ValueError for what is no table.
    """
    pandas = need("pandas", "a table")
    if is_parquet(path):
        frame, count = sampled(_parquet_parts(path), most, seed)
        if not count:
            raise ValueError("the table has no rows.")
        return frame, {}, count
    check_kind(path)
    check_lines(path, delimiter)
    options = {"dtype": str, "keep_default_na": False, "index_col": False, "sep": delimiter}
    with text_of(path) as file, pandas.read_csv(file, chunksize=CHUNK, **options) as parts:
        cells, count = sampled(parts, most, seed)
    pairs = {name: typed(cells[name], decimal) for name in cells.columns}
    for name, (series, spelling) in pairs.items():
        if spelling.kind == "text":
            check_text(name, series)
    frame = pandas.DataFrame({name: series for name, (series, _) in pairs.items()})
    return frame, {name: spelling for name, (_, spelling) in pairs.items()}, count


def sampled(parts: Iterable[pd.DataFrame], most: int | None, seed: int) -> tuple[pd.DataFrame, int]:
    """At most so many rows of parts of a table, each with the same chance, in order; and how many there were.

    Each row has a random number, and those with the least numbers stay (Vitter, 1985, has the history of reservoirs).
    """
    pandas, random = need("pandas", "a table"), np.random.default_rng(seed)
    kept: list[pd.DataFrame] = []
    keys, count, held = np.empty(0), 0, 0
    for part in parts:
        count, held = count + len(part), held + len(part)
        kept.append(part)
        keys = np.append(keys, random.random(len(part)))
        if most is not None and held > most + CHUNK:
            kept, keys = _least(pandas.concat(kept, ignore_index=True), keys, most)
            held = most
    frame = pandas.concat(kept, ignore_index=True) if kept else pandas.DataFrame()
    if most is not None and held > most:
        frame = _least(frame, keys, most)[0][0]
    return frame, count


def _least(frame: pd.DataFrame, keys: Floats, most: int) -> tuple[list[pd.DataFrame], Floats]:
    rows = np.sort(np.argpartition(keys, most - 1)[:most])
    return [frame.iloc[rows].reset_index(drop=True)], keys[rows]


def _parquet_parts(path: str) -> Iterator[pd.DataFrame]:
    """The rows of a Parquet file, part by part."""
    with open(path, "rb") as file:
        try:
            parquet = need("pyarrow.parquet", "Parquet").ParquetFile(file)
            for batch in parquet.iter_batches(batch_size=CHUNK):
                yield batch.to_pandas()
        except Exception as error:  # whatever the reader of a damaged file says
            raise ValueError(f"not a Parquet file ({error}).") from error


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
