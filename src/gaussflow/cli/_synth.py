"""The word for synthetic tables: the law of a table of mixed columns fitted, and new rows of it written."""

from __future__ import annotations

import argparse
import math
import time
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gaussflow.apps._optional import need
from gaussflow.apps.tabular import TableSynthesizer
from gaussflow.apps.tabular._cells import Spelling
from gaussflow.apps.tabular._files import need_packages, read_frame, write_frame
from gaussflow.apps.tabular._schema import short
from gaussflow.cli._common import Words, about, may_write, positive, say, word

if TYPE_CHECKING:
    import pandas as pd


def synth(args: argparse.Namespace) -> None:
    """`gaussflow synth`: a table in, new rows of its law out."""
    _check(args)
    start = time.perf_counter()
    with about(args.table):
        frame, spellings = read_frame(args.table)
        frame = _without(frame, args.drop)
    given = parse_given(args.given, frame, spellings)
    model = TableSynthesizer(random_state=args.seed)
    with about(args.table), _own_words():
        model.fit(frame)
        score = model.score(frame)
    with _own_words():
        drawn = model.sample(len(frame) if args.rows is None else args.rows, given=given)
    write_frame(drawn, args.out, spellings)
    if args.save:
        model.save(args.save)
    print(
        f"wrote {len(drawn)} rows of {drawn.shape[1]} columns to {args.out} in {time.perf_counter() - start:.1f} s; "
        f"mean log-probability of the {len(frame)} rows of {args.table} {score:.4f} nats"
        + (f"; model saved as {args.save}" if args.save else "")
    )


def _check(args: argparse.Namespace) -> None:
    """What can be refused before any work."""
    for path in filter(None, (args.out, args.save)):
        may_write(path, args.force, args.table)
    if args.save and Path(args.save).resolve() == Path(args.out).resolve():
        raise ValueError(f"{args.out} cannot be both the rows and the model; choose another name for --save.")
    if args.rows is not None:
        positive("--rows", args.rows)
    if args.seed < 0:
        raise ValueError(f"--seed wants a number of at least 0; got {args.seed}.")
    need_packages(args.table, args.out)


def _without(frame: pd.DataFrame, drop: Sequence[str]) -> pd.DataFrame:
    if unknown := [name for name in drop if name not in frame.columns]:
        raise ValueError(f"there is no column {unknown[0]!r} to drop; it has {short(list(frame.columns))}.")
    frame = frame.drop(columns=list(drop))
    if not frame.shape[1]:
        raise ValueError("no column is left; drop fewer.")
    return frame


@contextmanager
def _own_words() -> Iterator[None]:
    """Errors and warnings of the model in the words of the command line."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            yield
        except (ValueError, TypeError) as error:
            text = str(error).replace("TableSynthesizer.fit ", "synth ").replace("TableSynthesizer.sample ", "synth ")
            raise ValueError(text.replace("Drop the column.", "Leave it out with --drop.")) from error
    for text in dict.fromkeys(str(warning.message) for warning in caught):
        say(f"note: {text}")


def parse_given(
    texts: Sequence[str], frame: pd.DataFrame, spellings: Mapping[str, Spelling] | None = None
) -> dict[Any, Any]:
    """Conditions of the model by column, from texts COLUMN=VALUE or COLUMN=LOW..HIGH; ValueError for others."""
    found: dict[Any, Any] = {}
    for text in texts:
        if "=" not in text:
            raise ValueError(f"--given wants COLUMN=VALUE or COLUMN=LOW..HIGH; got {text!r}.")
        names = [name for name in frame.columns if text.startswith(f"{name}=")]
        if not names:
            raise ValueError(
                f"--given {text!r}: there is no column {text.partition('=')[0]!r}; the table has "
                f"{short(list(frame.columns))}."
            )
        name = max(names, key=lambda name: len(str(name)))
        if name in found:
            raise ValueError(f"--given names column {name!r} twice; give one value or one interval LOW..HIGH.")
        spelling = (spellings or {}).get(name)
        found[name] = _wanted(text, text[len(str(name)) + 1 :], frame[name], spelling)
    return found


def _wanted(text: str, value: str, series: pd.Series, spelling: Spelling | None) -> Any:
    """A value, None for missing, or an interval."""
    levels = {str(level): level for level in series.dropna().unique()} if _has_levels(series) else {}
    if value == "" or (spelling is not None and value == spelling.mark):
        return None
    if value in levels:
        return levels[value]
    low, dots, high = value.partition("..")
    if not dots or (levels and not _ordered(series)):
        return _one(text, value, series, spelling, levels)
    if low == high == "":
        raise ValueError(f"--given {text!r}: an interval LOW..HIGH wants one end at least.")
    ends = [_one(text, end, series, spelling, levels) if end else None for end in (low, high)]
    numbers = [end for end in ends if isinstance(end, int | float)]
    if len(numbers) == 2 and numbers[0] > numbers[1]:
        raise ValueError(f"--given {text!r}: the interval is empty; its lower end comes first.")
    return tuple(ends)


def _one(text: str, value: str, series: pd.Series, spelling: Spelling | None, levels: dict[str, Any]) -> Any:
    """One value in the type of its column."""
    dtype = str(series.dtype)
    if dtype in ("bool", "boolean"):
        words = spelling.booleans if spelling else ("False", "True")
        if value.lower() not in ("false", "true"):
            raise ValueError(f"--given {text!r}: the column holds {words[0]} and {words[1]}; got {value!r}.")
        return value.lower() == "true"
    if _has_levels(series):
        return levels.get(value, value)
    if str(series.dtype).startswith("timedelta"):
        return value  # the model reads durations, and names those that it cannot
    if str(series.dtype).startswith("datetime"):
        return _moment(text, value)
    try:
        number = float(value)
    except ValueError:
        number = math.nan
    if not math.isfinite(number):
        raise ValueError(f"--given {text!r}: the column holds numbers; {value!r} is none.")
    return int(value) if value.lstrip("+-").isdigit() else number


def _moment(text: str, value: str) -> Any:
    """A date in ISO form: other forms would be guessed at, day and month in either order."""
    try:
        return need("pandas", "a table").to_datetime(value, format="ISO8601")
    except ValueError as error:
        raise ValueError(f"--given {text!r}: the column holds dates; write {value!r} as YYYY-MM-DD.") from error


def _has_levels(series: pd.Series) -> bool:
    return str(series.dtype) in ("category", "object", "string", "str")


def _ordered(series: pd.Series) -> bool:
    return str(series.dtype) == "category" and bool(series.cat.ordered)


def add_words(words: Words) -> None:
    """The word synth."""
    parser = word(words, "synth", synth, "draw a synthetic table with the law of a table of mixed columns")
    parser.add_argument("table", help="CSV with a header in UTF-8, or .parquet: numbers, text, booleans, ISO dates")
    parser.add_argument("--out", required=True, metavar="TABLE", help="file for the new rows, CSV or .parquet")
    parser.add_argument("--rows", type=int, metavar="N", help="number of new rows [as many as the table has]")
    parser.add_argument(
        "--given",
        action="append",
        default=[],
        metavar="COLUMN=VALUE",
        help="only rows with this value, none for missing, or with COLUMN=LOW..HIGH; may be repeated",
    )
    parser.add_argument("--drop", action="append", default=[], metavar="NAME", help="leave out this column; repeatable")
    parser.add_argument("--seed", type=int, default=0, help="the same seed gives the same rows [0]")
    parser.add_argument("--save", metavar="MODEL", help="file for the model, which TableSynthesizer.load reads")
    parser.add_argument("--force", action="store_true", help="overwrite the outputs where they exist")
