"""What users give of a row, in the words of the frame, as what its columns may be."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from gaussflow.apps._optional import need
from gaussflow.apps.tabular.frames._schema import Column, short
from gaussflow.apps.tabular.law._allowed import Allowed
from gaussflow.apps.tabular.law._columns import Skeleton

OWNER = "TableSynthesizer.sample"


def conditions(given: Mapping[Any, Any], columns: list[Column], skeletons: list[Skeleton]) -> dict[int, Allowed]:
    """The condition of each column named; raises TypeError or ValueError for those that cannot be met."""
    names = [column.name for column in columns]
    found: dict[int, Allowed] = {}
    for name, wanted in given.items():
        if name not in names:
            raise ValueError(f"{OWNER} was given {name!r}, which is no column; it has {short(names)}.")
        j = names.index(name)
        found[j] = _condition(columns[j], skeletons[j], wanted)
    return found


def level_shares(balance: Any, columns: list[Column], skeletons: list[Skeleton]) -> tuple[Any, dict[Any, float]]:
    """The column of a balance and the share of each of its levels; raises ValueError for what is none."""
    name, shares = (
        next(iter(balance.items())) if isinstance(balance, Mapping) and len(balance) == 1 else (balance, None)
    )
    if isinstance(balance, Mapping) and not (isinstance(shares, Mapping) and shares):
        raise ValueError(f"{OWNER} takes balance as a column or as {{column: {{level: share}}}}; got {balance!r}.")
    names = [column.name for column in columns]
    if name not in names:
        raise ValueError(f"{OWNER} is to balance {name!r}, which is no column; it has {short(names)}.")
    column, skeleton = columns[names.index(name)], skeletons[names.index(name)]
    if shares is not None:
        parts = [float(share) for share in shares.values()]
        if not np.isfinite(parts).all() or min(parts) < 0 or not sum(parts):
            raise ValueError(f"{OWNER} takes shares of at least 0 that are not all 0; got {shares!r}.")
        return name, dict(zip(shares, parts, strict=True))
    points = skeleton.points[skeleton.seen[1 : 1 + len(skeleton.points)]]
    if (skeleton.numeric and skeleton.seen[-1]) or not len(points):
        raise ValueError(
            f"{OWNER} balances columns of categories or of few numbers; {name!r} has more. Cut it with pd.cut, or draw "
            "its parts with given=."
        )
    return name, dict.fromkeys(column.values(points).tolist(), 1.0)


def _condition(column: Column, skeleton: Skeleton, wanted: Any) -> Allowed:
    if isinstance(wanted, tuple):
        return _interval(column, skeleton, wanted)
    many = list(wanted) if isinstance(wanted, set | frozenset | list) else [wanted]
    if not many:
        raise ValueError(f"{OWNER} was given no value to choose from for column {column.name!r}.")
    x = np.array([place(column, value) for value in many])
    states, x = skeleton.states(x)
    _check_possible(column, skeleton, many, states, x)
    values = np.unique(x[~np.isnan(x)])
    gap = bool(np.isnan(x).any())
    if len(values) < 2:
        end = (values[0], values[0]) if len(values) else (np.inf, -np.inf)
        return Allowed.of(gap, end[0], end[1])
    return Allowed.of(gap, among=values)


def _check_possible(column: Column, skeleton: Skeleton, many: list[Any], states: Any, x: Any) -> None:
    for value, state, at in zip(many, states, x, strict=True):
        if state == 0 and not skeleton.seen[0]:
            raise ValueError(f"{OWNER} cannot leave column {column.name!r} missing: it never was in the fit.")
        beyond = state == skeleton.rest and not (skeleton.seen[state] and skeleton.low <= at <= skeleton.high)
        if beyond or (not skeleton.seen[state] and state != skeleton.rest):
            raise ValueError(
                f"{OWNER} cannot draw rows with {column.name!r} of {value!r}: the fit saw {seen(column, skeleton)}."
            )


def _interval(column: Column, skeleton: Skeleton, wanted: tuple[Any, ...]) -> Allowed:
    if len(wanted) != 2:
        raise ValueError(
            f"{OWNER} takes (low, high) for an interval and a set for some values; got {wanted!r} for {column.name!r}."
        )
    if column.kind == "category" and not column.ordered:
        raise TypeError(
            f"{OWNER} was given an interval for column {column.name!r}, whose categories have no order; give a set."
        )
    ends = [
        end if value is None else place(column, value, exact=False)
        for value, end in zip(wanted, (-np.inf, np.inf), strict=True)
    ]
    points = (skeleton.points >= ends[0]) & (skeleton.points <= ends[1]) & skeleton.seen[1 : 1 + len(skeleton.points)]
    low, high = max(ends[0], skeleton.low), min(ends[1], skeleton.high)
    if skeleton.grid is not None:
        step = skeleton.grid.step
        low, high = np.ceil(low / step - 1e-9) * step, np.floor(high / step + 1e-9) * step
    some = skeleton.numeric and skeleton.seen[-1] and low <= high
    if not some and not points.any():
        raise ValueError(
            f"{OWNER} cannot draw rows with {column.name!r} from {wanted[0]!r} to {wanted[1]!r}: the fit saw "
            f"{seen(column, skeleton)}."
        )
    return Allowed.of(False, ends[0], ends[1])


def place(column: Column, value: Any, exact: bool = True, owner: str = OWNER) -> float:
    """The number x of a value; NaN for None and other marks of what is missing."""
    pandas = need("pandas", "a table")
    if np.ndim(value) == 0 and not isinstance(value, str) and pandas.isna(value):
        return float("nan")
    if column.made:
        raise ValueError(
            f"{owner} makes new identifiers for column {column.name!r}, of which None, for missing, can be given; got "
            f"{value!r}."
        )
    if column.kind == "category":
        if value not in (column.levels or []):
            raise ValueError(
                f"{owner} knows the categories {short(column.levels)} of column {column.name!r}; got {value!r}."
            )
        return float((column.levels or []).index(value))
    if column.kind == "time":
        return _time(column, value, owner)
    if isinstance(value, bool) or not isinstance(value, int | float | np.number):
        raise TypeError(f"{owner} takes numbers for column {column.name!r}; got {value!r}.")
    if not np.isfinite(value):
        raise ValueError(
            f"{owner} takes finite numbers for column {column.name!r}, and None for an open end; got {value!r}."
        )
    if column.integers and column.origin:
        return float(int(value) - column.origin) / column.unit
    scaled = float(column.axis(np.array(float(value)))) if column.step else float(value) / column.scale
    if exact and column.step and abs(scaled - round(scaled)) > 1e-6 * max(1.0, abs(scaled)):
        raise ValueError(f"{owner} cannot draw {column.name!r} of {value!r}: the values of the fit have fewer digits.")
    return float(round(scaled)) if exact and column.step else scaled


def _time(column: Column, value: Any, owner: str) -> float:
    pandas = need("pandas", "a table")
    try:
        zone = pandas.Series([], dtype=column.dtype).dt.tz if column.dtype.startswith("datetime") else None
        moment = pandas.Timestamp(value) if column.dtype.startswith("datetime") else pandas.Timedelta(value)
        if zone is not None:
            moment = moment.tz_localize(zone) if moment.tzinfo is None else moment.tz_convert(zone)
        return float(column.codes(pandas.Series([moment]).astype(column.dtype), owner)[0])
    except (TypeError, ValueError) as error:
        raise ValueError(
            f"{owner} takes times of {column.dtype} for column {column.name!r}; got {value!r} [{error}]."
        ) from error


def seen(column: Column, skeleton: Skeleton) -> str:
    """What values the fit saw, for a sentence."""
    points = skeleton.points[skeleton.seen[1 : 1 + len(skeleton.points)]]
    if column.kind == "category":
        return short([(column.levels or [])[int(point)] for point in points])
    ends = [*points, *([skeleton.low, skeleton.high] if skeleton.numeric and skeleton.seen[-1] else [])]
    if not ends:
        return "no value"
    low, high = column.values(np.array([min(ends), max(ends)]))
    return f"{low} to {high}"
