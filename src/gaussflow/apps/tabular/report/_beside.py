"""Tables beside each other as numbers: the kinds of their columns, codes, and points for distances."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from gaussflow.apps.tabular._arrays import Booleans, Floats
from gaussflow.apps.tabular.frames._frames import check_frame
from gaussflow.apps.tabular.frames._identifiers import declared_names, names_rows, never_repeats
from gaussflow.apps.tabular.frames._schema import short, unit_of, whole_numbers

if TYPE_CHECKING:
    import pandas as pd

FEWEST_ROWS = 2
PER_DAY = {"s": 86400.0, "ms": 86400e3, "us": 86400e6, "ns": 86400e9}
TEXTS = ("category", "bool", "boolean", "object", "string", "str")


@dataclass(frozen=True)
class Kind:
    """What a column is.

    Attributes
    ----------
    name
        As in the frames.
    kind
        "number", "time" (a date, in days since 1970), "span" (a duration, in days) or "category".
    levels
        The categories of the real rows, in their order, then those that only other rows have.
    known
        How many of the levels the real table has.
    """

    name: Any
    kind: str
    levels: list[Any]
    known: int = 0

    @property
    def category(self) -> bool:
        """Whether its values have no distance."""
        return self.kind == "category"

    def show(self, value: float) -> str:
        """A value in words: three digits of a number, a date, a duration in days."""
        if np.isnan(value):
            return "–"
        if self.category:
            return str(self.levels[int(value)])
        if self.kind == "time":
            return str(np.datetime64(round(value * 86400), "s"))[: 10 if value == round(value) else 16].replace(
                "T", " "
            )
        return f"{figure(value)} days" if self.kind == "span" else figure(value)


@dataclass(frozen=True)
class Shared:
    """A column that names rows: the share of its drawn values that a real row has, and whether it is compared too."""

    name: Any
    share: float
    compared: bool


@dataclass(frozen=True)
class Tables:
    """Real rows (N, D), drawn rows (M, D) and real rows that the fit did not see (K, D), as codes; NaN for missing."""

    kinds: list[Kind]
    real: Floats
    drawn: Floats
    held_out: Floats | None
    names: list[Shared] = field(default_factory=list)

    @property
    def every(self) -> Floats:
        """All real rows, those held out too: what columns and pairs are compared with."""
        return self.real if self.held_out is None else np.concatenate([self.real, self.held_out])


def figure(value: float) -> str:
    """A number with three digits, and no exponent where it needs none."""
    if value == 0 or 1e-4 <= abs(value) < 1e7:
        decimals = 0 if abs(value) >= 1000 else max(0, 2 - int(np.floor(np.log10(abs(value))))) if value else 0
        text = f"{value:,.{decimals}f}"
        return (text.rstrip("0").rstrip(".") if "." in text else text).replace("-", "−")
    return f"{value:.2e}".replace("-", "−")


def tables_of(real: Any, synthetic: Any, held_out: Any, owner: str, identifiers: Any = None) -> Tables:
    """Frames of the same columns as numbers, without what names rows; raises TypeError or ValueError for others."""
    frames = [check_frame(real, owner), check_frame(synthetic, owner)]
    if held_out is not None:
        frames.append(check_frame(held_out, owner))
    titles = ("real", "synthetic", "held_out")
    for title, frame in zip(titles, frames, strict=False):
        if len(frame) < FEWEST_ROWS:
            raise ValueError(f"{owner} wants at least {FEWEST_ROWS} rows of each; got {len(frame)} as {title}.")
        _check_columns(frame, frames[0], title, owner)
    declared = declared_names(identifiers, list(frames[0].columns), owner)
    names = [each for name in frames[0].columns if (each := _shared(name, frames, name in declared)) is not None]
    left_out = [each.name for each in names if not each.compared]
    kinds, codes = [], []
    for name in (name for name in frames[0].columns if name not in left_out):
        kind, columns = _coded([frame[name] for frame in frames], owner)
        kinds.append(kind)
        codes.append(columns)
    if not kinds:
        raise ValueError(f"{owner} wants a column that names no rows; got {short(left_out)} only.")
    arrays = [np.column_stack(each) for each in zip(*codes, strict=True)]
    return Tables(kinds, arrays[0], arrays[1], arrays[2] if held_out is not None else None, names)


def _shared(name: Any, frames: Sequence[pd.DataFrame], declared: bool) -> Shared | None:
    """What a column that names rows shares with the real ones; None for any other column."""
    real = frames[0][name]
    found = declared or names_rows(real)
    whole = getattr(real.dtype, "kind", "O") in "iu" and never_repeats(real)
    if not (found or whole):
        return None
    known = {value for frame in (frames[0], *frames[2:]) for value in frame[name].dropna().astype(object)}
    drawn = frames[1][name].dropna().astype(object)
    share = float(drawn.isin(known).mean()) if len(drawn) else 0.0
    return Shared(name, share, not found)


def _check_columns(frame: pd.DataFrame, real: pd.DataFrame, title: str, owner: str) -> None:
    if absent := [name for name in real.columns if name not in frame.columns]:
        raise ValueError(f"{owner} wants the same columns in each frame; {title} lacks {short(absent)}.")
    if extra := [name for name in frame.columns if name not in real.columns]:
        raise ValueError(
            f"{owner} wants the same columns in each frame; {title} has {short(extra)} too. Leave them out: "
            "df.drop(columns=...)."
        )


def _kind(series: pd.Series, owner: str) -> str:
    dtype, letter = str(series.dtype), getattr(series.dtype, "kind", "O")
    if dtype in TEXTS:
        return "nothing" if bool(series.isna().all()) else "category"
    if letter in "mM":
        return "time" if letter == "M" else "span"
    if letter not in "iuf":
        raise TypeError(
            f"{owner} takes integers, floats, booleans, text, categories, dates and durations; got column "
            f"{series.name!r} of {dtype}. Convert it with df.astype, or drop it."
        )
    return "nothing" if bool(series.isna().all()) else "number"


def _coded(parts: Sequence[pd.Series], owner: str) -> tuple[Kind, list[Floats]]:
    """The kind of a column, and its codes (n,) in each frame."""
    name = parts[0].name
    found = [_kind(part, owner) for part in parts]
    kinds = {kind for kind in found if kind != "nothing"}
    if len(kinds) > 1:
        got = ", ".join(str(part.dtype) for part in parts)
        raise TypeError(
            f"{owner} wants column {name!r} of one kind in each frame; got {got}. Read or convert them the same way."
        )
    kind = kinds.pop() if kinds else "number"
    if kind == "category":
        levels, known = _levels(parts)
        places = {level: place for place, level in enumerate(levels)}
        return Kind(name, kind, levels, known), [_places(part, places) for part in parts]
    return Kind(name, kind, []), [_numbers(part, kind, owner) for part in parts]


def _levels(parts: Sequence[pd.Series]) -> tuple[list[Any], int]:
    """The categories of the first part that occur, in their order, and those that only the others have."""
    real = parts[0]
    held = set(real[real.notna()].astype(object))
    ordered = list(real.cat.categories) if str(real.dtype) == "category" else sorted(held, key=lambda v: str(v))
    levels = [level for level in ordered if level in held]
    for part in parts[1:]:
        new = set(part[part.notna()].astype(object)) - set(levels)
        levels += sorted(new, key=str)
    return levels, len(held)


def _places(series: pd.Series, places: dict[Any, int]) -> Floats:
    values, missing = series.astype(object).to_numpy(), series.isna().to_numpy(dtype=bool)
    return np.array([np.nan if gap else float(places[v]) for v, gap in zip(values, missing, strict=True)])


def _numbers(series: pd.Series, kind: str, owner: str) -> Floats:
    if bool(series.isna().all()):
        return np.full(len(series), np.nan)
    if kind != "number":  # by whole units: dates far from now are beyond the range of nanoseconds
        missing = series.isna().to_numpy(dtype=bool)
        days = whole_numbers(series, missing) / PER_DAY[unit_of(str(series.dtype))]
        return np.where(missing, np.nan, days)
    values: Floats = series.to_numpy(dtype=np.float64, na_value=np.nan)
    if bool(np.isinf(values).any()):
        raise ValueError(
            f"{owner} wants finite numbers or missing ones; got {values[np.isinf(values)][0]} in column "
            f"{series.name!r}. Mend or drop such rows."
        )
    return values


def mean_and_spread(x: Floats, ddof: int = 0) -> tuple[float, float]:
    """Mean and standard deviation of numbers (n,), in units of the largest, whose squares cannot overflow."""
    unit = float(np.abs(x).max()) if len(x) else 0.0
    if not unit:
        return 0.0, 0.0
    scaled = x / unit
    return float(scaled.mean()) * unit, float(scaled.std(ddof=ddof)) * unit if len(x) > ddof else 0.0


def points(x: Floats, beside: Floats, kinds: Sequence[Kind]) -> Floats:
    """Points (n, P) of rows x (n, D): numbers standardised as the rows beside are, marks of categories and gaps."""
    parts: list[Floats] = []
    for j, kind in enumerate(kinds):
        column, scale = x[:, j], beside[:, j]
        held = scale[~np.isnan(scale)]
        if kind.category:
            parts.extend((column == level).astype(float) for level in range(len(kind.levels)))
        else:
            middle, spread = mean_and_spread(held, ddof=1)
            parts.append(np.nan_to_num((column - middle) / (spread if spread > 0 else 1.0)))
        if len(held) < len(scale):
            parts.append(np.isnan(column).astype(float))
    return np.column_stack(parts)


def alike(a: Floats, b: Floats) -> Booleans:
    """Whether each row of a (n, D) is equal to some row of b (m, D), gaps included."""
    held = {row.tobytes() for row in _plain(b)}
    return np.array([row.tobytes() in held for row in _plain(a)], dtype=np.bool_)


def _plain(x: Floats) -> Floats:
    plain: Floats = np.where(np.isnan(x), -1.2345e300, x) + 0.0  # one bit pattern for each value
    return np.ascontiguousarray(plain)
