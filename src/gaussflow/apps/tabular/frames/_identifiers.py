"""Columns that name rows, as record numbers and free text do: found, and given new values in place of those fitted."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from gaussflow.apps.tabular.frames._schema import Column, read_column, short

if TYPE_CHECKING:
    import pandas as pd

MADE = "synthetic"  # what new texts begin with
FEWEST = 20  # rows with a text, more than half of which have it alone, that make a column one of names
FEWEST_APART = 5  # rows that are enough where no two have the same
CHANCE = 14.0  # pairs of equal whole numbers that chance would have, where there are none
ROOM = 10  # new numbers for each row fitted
TEXTS = ("category", "object", "string", "str")


def read_columns(df: pd.DataFrame, identifiers: Any, owner: str, tell: bool = True) -> list[Column]:
    """What the columns of a frame are; those that name rows, as told or as found, keep nothing of their values."""
    declared = declared_names(identifiers, list(df.columns), owner)
    columns = []
    for name in df.columns:
        made = name in declared or names_rows(df[name])
        columns.append(made_column(df[name], owner) if made else read_column(df[name], owner))
        if tell and name not in declared:
            _tell(df[name], columns[-1])
    return columns


def declared_names(identifiers: Any, names: list[Any], owner: str) -> list[Any]:
    """The columns that are told to be identifiers; raises TypeError or ValueError for what are none."""
    if identifiers is None:
        return []
    if isinstance(identifiers, str) or not isinstance(identifiers, Sequence | set | frozenset):
        raise TypeError(f"{owner} takes identifiers as a list of columns, as ['id']; got {identifiers!r}.")
    if unknown := [name for name in identifiers if name not in names]:
        raise ValueError(f"{owner} was told that {short(unknown)} are identifiers; its columns are {short(names)}.")
    return list(identifiers)


def names_rows(series: pd.Series) -> bool:
    """Whether the texts or categories of a column (n,) are those of one row each, by and large."""
    if str(series.dtype) not in TEXTS:
        return False
    held = series[series.notna()].astype(object)
    if not len(held) or any(isinstance(value, bool | np.bool_) or not _plain(value) for value in held):
        return False
    alone = int((held.value_counts() == 1).sum())
    return (alone == len(held) >= FEWEST_APART) or (2 * alone > len(held) >= FEWEST)


def made_column(series: pd.Series, owner: str, known: pd.Series | None = None) -> Column:
    """A column of which only gaps are fitted: its values are numbered anew, from a level that no value is like.

    ``known`` are the values to be unlike; None for those of the series (n,).
    """
    name, dtype = series.name, str(series.dtype)
    held = series[series.notna()].astype(object) if known is None else known
    if dtype in ("bool", "boolean") or getattr(series.dtype, "kind", "O") not in "iufO":
        raise TypeError(
            f"{owner} makes new identifiers of text, categories and whole numbers; got column {name!r} of {dtype}."
        )
    whole = bool(len(held)) and all(_whole(value) for value in held)
    if dtype not in TEXTS and len(held) and not whole:
        raise TypeError(f"{owner} makes new identifiers of whole numbers; got others in column {name!r} of {dtype}.")
    if whole or dtype not in TEXTS:
        return Column(name, dtype, "category", [_first(held, dtype, name, len(series), owner)], made=True)
    texts, begin, number = [str(value) for value in held], f"{MADE}-", 1
    while any(text.startswith(begin) for text in texts):
        number += 1
        begin = f"{MADE}{number}-"
    return Column(name, dtype, "category", [begin], made=True)


def _first(held: pd.Series, dtype: str, name: Any, n: int, owner: str) -> int:
    """The power of ten above all numbers: what is counted from there on is none of them, and tells no more."""
    first = 10 ** len(str(max(0, int(held.max())))) if len(held) else 1
    if last_of(dtype) - first < ROOM * n:
        raise ValueError(
            f"{owner} finds no room for new identifiers of {dtype} beyond those of column {name!r}. Convert it to "
            "int64 or text."
        )
    return first


def last_of(dtype: str) -> int:
    """The largest whole number of a dtype that is told from its neighbours."""
    bare = dtype.lower()
    if bare.startswith(("int", "uint")):
        return int(np.iinfo(bare).max)
    return {"float16": 2**11, "float32": 2**24}.get(bare, 2**53)


def _plain(value: Any) -> bool:
    return isinstance(value, str | int | float | np.number)


def _whole(value: Any) -> bool:
    number = isinstance(value, int | float | np.number) and not isinstance(value, bool)
    return number and bool(np.isfinite(value)) and value == int(value)


def _tell(series: pd.Series, column: Column) -> None:
    """Warn of a column that was found to name rows, and of numbers that seem to."""
    if column.made:
        held = series[series.notna()]
        alone = int((held.astype(object).value_counts() == 1).sum())
        warnings.warn(
            f"column {column.name!r} is taken for an identifier or free text: {alone} of its {len(held)} values are of "
            f"one row each. New ones are drawn in their place ('{(column.levels or [''])[0]}1' and so on), none of the "
            f"fit. Say identifiers=[{column.name!r}] if that is meant; if not, join its rare values.",
            stacklevel=4,
        )
    elif column.kind == "number" and column.unit == 1 and column.step and never_repeats(series):
        warnings.warn(
            f"column {column.name!r} seems to be an identifier: its {int(series.notna().sum())} whole numbers never "
            "repeat, which chance would have them do. As numbers, those drawn will often be some of them. Say "
            f"identifiers=[{column.name!r}] for new ones, or drop the column.",
            stacklevel=4,
        )


def never_repeats(series: pd.Series) -> bool:
    """Whether whole numbers (n,) are all different although they lie so close that chance would repeat some."""
    held = np.unique(series.dropna().to_numpy(dtype=np.float64))
    n = int(series.notna().sum())
    if len(held) < max(n, FEWEST):
        return False
    reach = float(np.ptp(held)) / max(1.0, float(np.diff(held).min()))
    return n * (n - 1) / 2 > CHANCE * (reach + 1)
