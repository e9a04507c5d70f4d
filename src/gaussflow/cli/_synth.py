"""The word for synthetic tables: the law of a table of mixed columns fitted, and new rows of it written."""

from __future__ import annotations

import argparse
import math
import re
import sys
import time
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from itertools import combinations
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from tqdm import tqdm

from gaussflow.apps._optional import need
from gaussflow.apps.tabular import TableSynthesizer, suggest_constraints
from gaussflow.apps.tabular._arrays import Booleans, Floats
from gaussflow.apps.tabular.frames._cells import Spelling
from gaussflow.apps.tabular.frames._files import need_packages, read_frame, write_frame
from gaussflow.apps.tabular.frames._identifiers import declared_names
from gaussflow.apps.tabular.frames._large import Reading
from gaussflow.apps.tabular.frames._number_cells import Notation, notation
from gaussflow.apps.tabular.frames._schema import short
from gaussflow.apps.tabular.report._table_report import STEPS
from gaussflow.apps.tabular.rules._rule_files import read_rules, write_rules
from gaussflow.cli._common import Words, about, may_write, positive, say, word

if TYPE_CHECKING:
    import pandas as pd


STAGES = 4  # read, fit, draw, write; a report has its own
HELD_OUT = 0.2  # of the rows, kept from the fit for a report unless told otherwise
IDENTIFIERS = re.compile(r"identifiers=\['?(.*?)'?\]")
MOST_ROWS = 100_000  # of a larger table, so many are learnt from


def synth(args: argparse.Namespace) -> None:
    """`gaussflow synth`: a table in, new rows of its law out, and a report on them."""
    args.delimiter = {"tab": "\t", "\\t": "\t"}.get(args.delimiter, args.delimiter)
    _check(args)
    start = time.perf_counter()
    steps = STAGES + len(STEPS) * bool(args.report)
    shown = None if not args.quiet else True  # None: on a terminal only
    with tqdm(total=steps, desc="synth", unit="step", leave=False, disable=shown) as bar:
        with about(args.table), _own_words():
            reading = _step(bar, "reading", read_frame, args.table, args.delimiter, args.most, args.seed, args.decimal)
            spellings = reading.spellings
            table = _without(reading.frame, args.drop)
            _check_target(args.target, table)
            declared_names(args.identifier, list(table.columns), "--identifier:")
            fitted, held = _parted(reading.even, args)
            frame, weights = _rows(table, fitted), reading.weights(fitted, held.sum() / reading.even.sum())
            looked_at, held_out = _rows(table, fitted & reading.even), _rows(table, held)
        given = parse_given(args.given, frame, spellings)
        rules = read_rules(args.constraints) if args.constraints else None
        model = TableSynthesizer(constraints=rules, identifiers=args.identifier, random_state=args.seed)
        if args.suggest:
            _suggest(frame, args.suggest)
        with about(args.table), _own_words():
            _fit(bar, model, frame, weights)
            score = model.score(looked_at)
        with _own_words():
            wanted = len(looked_at) + len(held_out) if args.rows is None else args.rows
            drawn = _step(bar, f"drawing {wanted} rows", model.sample, wanted, given)
        _step(bar, "writing", write_frame, drawn, args.out, spellings, args.delimiter)
        if args.save:
            model.save(args.save)
        if args.report:
            _write_report(bar, model, looked_at, drawn, held_out, args)
    print(_done(args, drawn, reading, held_out, score, time.perf_counter() - start))


def _suggest(frame: pd.DataFrame, path: str) -> None:
    """Write the rules that hold in all rows, and say them."""
    found = suggest_constraints(frame)
    write_rules(path, found)
    with tqdm.external_write_mode(sys.stderr):
        for each in found:
            say(f"rule: {each}")
        then = f"; take out what is not meant, and say --constraints {path}" if found else ""
        say(f"{len(found)} rules written to {path}{then}")


def _step(bar: Any, name: str, run: Callable[..., Any], *arguments: Any) -> Any:
    """Run a step, named in the bar while it runs."""
    bar.set_description(name)
    done = run(*arguments)
    bar.update()
    return done


def _check_target(target: str | None, table: pd.DataFrame) -> None:
    if target is not None and target not in table.columns:
        raise ValueError(f"there is no column {target!r} for --target; it has {short(list(table.columns))}.")


def _fit(bar: Any, model: TableSynthesizer, frame: pd.DataFrame, weights: Floats | None) -> None:
    """Fit column by column, each a step of the bar that is named in it."""
    bar.total += frame.shape[1] - 1

    def column(name: str) -> None:
        bar.set_description(f"fitting {name[:24]!r}")
        bar.update()

    model.fit(frame, sample_weight=weights, progress=column)


def _parted(even: Booleans, args: argparse.Namespace) -> tuple[Booleans, Booleans]:
    """Which rows (n,) to fit to, and which are kept from the fit for the report: a share of the even ones."""
    share = (HELD_OUT if args.report else 0.0) if args.held_out is None else args.held_out
    rows = np.flatnonzero(even)
    kept = round(share * len(rows))
    if share and (kept < 2 or len(rows) - kept < 2):
        raise ValueError(
            f"keeping {share:g} of {len(rows)} rows from the fit leaves {kept} for the report and {len(rows) - kept} "
            "for the fit, where two of each are wanted; say --held-out 0 to keep none."
        )
    held = np.zeros(len(even), np.bool_)
    held[rows[np.random.default_rng(args.seed).permutation(len(rows))[:kept]]] = True
    return ~held, held


def _rows(frame: pd.DataFrame, rows: Booleans) -> pd.DataFrame:
    return frame[rows].reset_index(drop=True)


def _write_report(
    bar: Any,
    model: TableSynthesizer,
    frame: pd.DataFrame,
    drawn: pd.DataFrame,
    held_out: pd.DataFrame,
    args: argparse.Namespace,
) -> None:
    if args.given:
        with tqdm.external_write_mode(sys.stderr):
            say("note: with --given the rows are not of the law of the table, and the report will show it.")

    def step(name: str) -> None:
        bar.set_description(f"report: {name}")
        bar.update()

    with _own_words():
        held = held_out if len(held_out) else None
        model.report(frame, drawn, held, target=args.target, progress=step).save(args.report)


def _done(
    args: argparse.Namespace,
    drawn: pd.DataFrame,
    reading: Reading,
    held_out: pd.DataFrame,
    score: float,
    seconds: float,
) -> str:
    """What was done, in a line, and more where not all rows were fitted."""
    even, rare = int(reading.even.sum()), int((~reading.even).sum())
    fitted = even - len(held_out)
    lines = [
        f"wrote {len(drawn)} rows of {drawn.shape[1]} columns to {args.out} in {seconds:.1f} s; "
        f"mean log-probability of the {fitted} rows of {args.table} {score:.4f} nats"
        + (f"; model saved as {args.save}" if args.save else "")
    ]
    if reading.count > even:
        beside = f", and {rare} more that hold what is rare, weighed for it," if rare else ""
        lines.append(f"{args.table} has {reading.count} rows; {even}, drawn evenly{beside} were looked at (--most)")
    if len(held_out):
        lines.append(f"fitted to {fitted + rare} rows; {len(held_out)} kept from the fit to judge by (--held-out)")
    if args.report:
        lines.append(f"report: {args.report}")
    return "\n".join(lines)


def _check(args: argparse.Namespace) -> None:
    """What can be refused before any work."""
    outputs = {"--out": args.out, "--save": args.save, "--report": args.report, "--suggest": args.suggest}
    for path in filter(None, outputs.values()):
        may_write(path, args.force, args.table)
    named = [(option, Path(path).resolve()) for option, path in outputs.items() if path]
    for (_, first), (option, second) in combinations(named, 2):
        if first == second:
            raise ValueError(f"{second.name} cannot be both; choose another name for {option}.")
    if args.rows is not None:
        positive("--rows", args.rows)
    if args.most < 2:
        raise ValueError(f"--most wants a number of at least 2; got {args.most}.")
    if args.seed < 0:
        raise ValueError(f"--seed wants a number of at least 0; got {args.seed}.")
    if args.held_out is not None and not 0 <= args.held_out < 1:
        raise ValueError(f"--held-out wants a share of the rows, 0 or more and below 1; got {args.held_out:g}.")
    if args.target is not None and not args.report:
        raise ValueError("--target is for the report; say --report FILE too.")
    if len(args.delimiter) != 1 or args.delimiter in '"\r\n':
        raise ValueError(f"--delimiter wants one sign, or the word tab; got {args.delimiter!r}.")
    need_packages(args.table, args.out)
    if args.report:
        need("matplotlib", "a report")


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
            text = text.replace("TableSynthesizer.fit: ", "--constraints: ").replace("compare_tables ", "--report ")
            raise ValueError(IDENTIFIERS.sub(r"--identifier \1", text)) from error
    with tqdm.external_write_mode(sys.stderr):
        for text in dict.fromkeys(str(warning.message) for warning in caught):
            say("note: " + IDENTIFIERS.sub(r"--identifier \1", text))


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
        if spelling is not None and spelling.kind == "clock" and value.count(":") == 1:
            return f"{value}:00"
        return value  # the model reads durations, and names those that it cannot
    if str(series.dtype).startswith("datetime"):
        return _moment(text, value, spelling)
    if spelling is not None and notation([value]) != Notation():
        value = spelling.numbers.plain(value)
    try:
        number = float(value)
    except ValueError:
        number = math.nan
    if not math.isfinite(number):
        raise ValueError(f"--given {text!r}: the column holds numbers; {value!r} is none.")
    return int(value) if value.lstrip("+-").isdigit() else number


def _moment(text: str, value: str, spelling: Spelling | None) -> Any:
    """A date as the table writes it or in ISO form: others would be guessed at, day and month in either order."""
    if spelling is not None:
        with suppress(ValueError):
            return need("pandas", "a table").to_datetime(
                value.removesuffix(spelling.moment.zone), format=spelling.moment.format
            )
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
    parser.add_argument(
        "--identifier", action="append", default=[], metavar="NAME", help="make new values of this column; repeatable"
    )
    parser.add_argument(
        "--suggest", metavar="FILE", help="file for the rules between columns that hold in all rows, JSON"
    )
    parser.add_argument("--constraints", metavar="FILE", help="rules that all new rows obey, as --suggest writes them")
    parser.add_argument("--report", metavar="FILE", help="file for a page on how good and how private the rows are")
    parser.add_argument(
        "--held-out", type=float, metavar="SHARE", help="rows kept from the fit for the report [0.2 with --report]"
    )
    parser.add_argument("--target", metavar="COLUMN", help="column that the report tries to learn [one that seems fit]")
    parser.add_argument("--delimiter", default=",", metavar="SIGN", help="what parts cells, or the word tab [,]")
    parser.add_argument(
        "--decimal", choices=(".", ","), help="the sign before decimals, where numbers do not tell [what they tell]"
    )
    parser.add_argument(
        "--most", type=int, default=MOST_ROWS, metavar="N", help="rows of a larger table to learn from [100000]"
    )
    parser.add_argument("--quiet", action="store_true", help="no progress bar")
    parser.add_argument("--seed", type=int, default=0, help="the same seed gives the same rows [0]")
    parser.add_argument("--save", metavar="MODEL", help="file for the model, which TableSynthesizer.load reads")
    parser.add_argument("--force", action="store_true", help="overwrite the outputs where they exist")
