"""The doors of frames: what is wrong with one, and its way to states and values and back."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from gaussflow.apps._optional import need
from gaussflow.apps.tabular._arrays import Booleans, Floats
from gaussflow.apps.tabular.frames._schema import Column, short
from gaussflow.apps.tabular.law._columns import Skeleton
from gaussflow.apps.tabular.law._joint import Coded

if TYPE_CHECKING:
    import pandas as pd

FEWEST_ROWS = 2


def check_frame(df: Any, owner: str) -> pd.DataFrame:
    """Return a frame whose columns have one name each; raise TypeError or ValueError otherwise."""
    pandas = need("pandas", "a table")
    if not isinstance(df, pandas.DataFrame):
        raise TypeError(f"{owner} takes a pandas.DataFrame; got {type(df).__name__}. Wrap it: pd.DataFrame(rows).")
    if isinstance(df.columns, pandas.MultiIndex):
        raise TypeError(f"{owner} takes columns of one name each; got levels of names. Join them to one.")
    if not df.shape[1]:
        raise ValueError(f"{owner} wants a frame with columns; got one without.")
    if df.columns.has_duplicates:
        twice = list(dict.fromkeys(df.columns[df.columns.duplicated()]))
        raise ValueError(f"{owner} wants each column once; got {short(twice)} more than once. Rename or drop them.")
    if odd := [name for name in df.columns if isinstance(name, bool) or not isinstance(name, str | int)]:
        raise TypeError(f"{owner} takes columns named by text or integers; got {odd[0]!r}. Rename it.")
    return df


def check_fit_frame(df: Any, owner: str) -> pd.DataFrame:
    """A frame to fit to: of two rows or more."""
    df = check_frame(df, owner)
    if len(df) < FEWEST_ROWS:
        raise ValueError(f"{owner} wants at least {FEWEST_ROWS} rows; got {len(df)}.")
    return df


def check_new_frame(df: Any, columns: Sequence[Column], owner: str, *, partial: bool = False) -> pd.DataFrame:
    """A frame with the columns of the fit, in any order, and of their dtypes; some of them only, when partial."""
    df = check_frame(df, owner)
    names = [column.name for column in columns]
    if extra := [name for name in df.columns if name not in names]:
        raise ValueError(
            f"{owner} got {short(extra)}, which the fit did not see. Leave them out: df.drop(columns=...)."
        )
    if not partial and (absent := [name for name in names if name not in df.columns]):
        raise ValueError(f"{owner} lacks {short(absent)}, which the fit saw; it wants {short(names)}.")
    for column in columns:
        if column.name in df.columns:
            _check_dtype(df[column.name], column, owner)
    return df


def _check_dtype(series: pd.Series, column: Column, owner: str) -> None:
    got = str(series.dtype)
    texts = (column.text or column.dtype == "category") and got in ("object", "str", "string", "category")
    nothing = bool(series.isna().all()) and got in ("object", "float64")
    if got != column.dtype and not texts and not nothing:
        raise TypeError(
            f"{owner} wants column {column.name!r} of {column.dtype}, as in the fit; got {got}. Convert it: "
            f"df.astype({{{column.name!r}: {column.dtype!r}}})."
        )


def coded_frame(df: pd.DataFrame, columns: Sequence[Column], skeletons: Sequence[Skeleton], owner: str) -> Coded:
    """States and values of a frame that has been checked."""
    pairs = []
    for column, skeleton in zip(columns, skeletons, strict=True):
        series = df[column.name]
        empty = bool(series.isna().all())
        pairs.append(skeleton.states(np.full(len(df), np.nan) if empty else column.codes(series, owner)))
    return Coded([state for state, _ in pairs], [x for _, x in pairs])


def frame_of(coded: Coded, columns: Sequence[Column]) -> pd.DataFrame:
    """The frame of states and values."""
    pandas = need("pandas", "a table")
    series = [column.values(x) for column, x in zip(columns, coded.values, strict=True)]
    frame: pd.DataFrame = pandas.concat(series, axis=1, keys=range(len(series)))
    frame.columns = pandas.Index([column.name for column in columns])
    return frame


def check_weights(weights: Any, n: int, owner: str) -> Floats:
    """Weights (n,) with mean 1; ones for None."""
    if weights is None:
        return np.ones(n)
    held = np.asarray(weights, dtype=np.float64)
    if held.shape != (n,) or not np.isfinite(held).all() or held.min() < 0 or (held > 0).sum() < FEWEST_ROWS:
        raise ValueError(
            f"{owner} wants one weight for each of the {n} rows, finite, not negative and two of them positive; "
            f"got {held.shape} from {held.min() if held.size else 'nothing'!s} on."
        )
    weights_of_rows: Floats = held / held.mean()
    return weights_of_rows


def filled_frame(df: pd.DataFrame, full: pd.DataFrame) -> pd.DataFrame:
    """A frame (n, D) with its gaps filled from the same cells of another, as a copy."""
    filled = df.copy()
    for name in df.columns:
        gaps = df[name].isna().to_numpy()
        if not gaps.any():
            continue
        new, held = full[name].set_axis(df.index), df[name]
        if str(held.dtype) == "category":
            extra = [value for value in new[gaps].dropna().unique() if value not in held.cat.categories]
            held = held.cat.add_categories(extra) if extra else held  # of identifiers, which are new
            new = new.astype(object).where(gaps, None)
        filled[name] = held.where(~gaps, new.astype(held.dtype))
    return filled


def with_given(drawn: pd.DataFrame, df: pd.DataFrame, names: Sequence[Any]) -> pd.DataFrame:
    """Rows drawn (n, D) with these columns as they were given, whose values no law has."""
    for name in names:
        drawn[name] = df[name].set_axis(drawn.index)
    return drawn


def rows_known(df: pd.DataFrame, columns: Sequence[Column]) -> Booleans | None:
    """Whether the fit saw the categories of each row (n,); None for a frame of other columns or dtypes."""
    known: Booleans = np.ones(len(df), np.bool_)
    if list(df.columns) != [c.name for c in columns] or any(str(df[c.name].dtype) != c.dtype for c in columns):
        return None
    for column in columns:
        if column.kind == "category" and not column.made:
            known &= (df[column.name].isna() | df[column.name].isin(column.levels or [])).to_numpy()
    return known
