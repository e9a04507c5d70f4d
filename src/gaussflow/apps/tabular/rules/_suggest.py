"""Rules that hold on all rows of a table, with how many rows speak for each and how likely chance alone has it so."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import combinations
from typing import TYPE_CHECKING, Any

import numpy as np

from gaussflow.apps._optional import need
from gaussflow.apps.tabular._arrays import Booleans, Floats
from gaussflow.apps.tabular.frames._frames import check_fit_frame
from gaussflow.apps.tabular.frames._identifiers import read_columns
from gaussflow.apps.tabular.rules._axes import affine, family, linear
from gaussflow.apps.tabular.rules._compile import Table, coded_rule
from gaussflow.apps.tabular.rules._rules import (
    Constraint,
    FixedCombinations,
    FunctionOf,
    Inequality,
    NotNullIf,
    NullIf,
    Sum,
)

if TYPE_CHECKING:
    import pandas as pd

LEAST_ROWS = 10  # that speak for a rule
FIRST = 16  # rows that most sums fail on already
SCREEN = 200  # rows that most pairs of columns fail on already
MOST_LEVELS = 50  # of columns that combinations or gaps are looked for in
MOST_PARTS = 3  # of a sum
FEW_COLUMNS = 25  # up to which sums of three parts are looked for


@dataclass(frozen=True)
class Suggestion:
    """A rule that holds on all rows.

    Attributes
    ----------
    rule
        The constraint, as `TableSynthesizer` takes it.
    rows
        How many rows speak for it: those that could break it.
    log_chance
        The logarithm of the probability that so many rows obey it where the columns do not depend on one another.

    Examples
    --------
    >>> from gaussflow.apps.tabular import Inequality, Suggestion
    >>> print(Suggestion(Inequality("a", "b"), 120, -83.2))
    a is at most b: holds in all 120 rows that could break it; by chance with a probability of 7e-37
    """

    rule: Constraint
    rows: int
    log_chance: float

    def __str__(self) -> str:
        power = self.log_chance / np.log(10)
        chance = f"{10**power:.0e}" if power > -300 else "less than 1e-300"
        start = f"{self.rule}: holds in all {self.rows} rows that could break it; by chance with a probability of "
        return start + chance.replace("e-0", "e-")


def suggest_constraints(df: pd.DataFrame, *, chance: float = 1e-6) -> list[Suggestion]:
    """List the rules that hold on all rows of a table, the most certain first; which are meant is for you to say.

    Looked for are inequalities, sums of two or three columns, columns that follow from another, gaps that go with a
    value or a gap of another column, and combinations of levels. Ranges are not listed: `TableSynthesizer.sample` keeps
    them anyway.

    A rule is left out where it says nothing (one column ends below where the other begins, or a rule listed has it),
    where fewer than 10 rows could break it, and where chance might have it so: where columns that do not depend on one
    another would obey it with more than a probability of ``chance``, over all the rules looked at. Columns that depend
    on one another may still obey a rule that nobody meant: read each.

    Parameters
    ----------
    df
        A frame (N, D).
    chance
        The probability that one rule at least is listed by chance, where columns do not depend on one another.

    Returns
    -------
    suggestions
        What was found; hand it, or some of it, to ``TableSynthesizer(constraints=...)``.

    Raises
    ------
    TypeError, ValueError
        For frames that `TableSynthesizer.fit` would not take.

    Examples
    --------
    >>> import numpy as np, pandas as pd
    >>> from gaussflow.apps.tabular import suggest_constraints
    >>> day = np.random.default_rng(0).integers(0, 300, 100)
    >>> found = suggest_constraints(pd.DataFrame({"in": day, "stay": day % 9, "out": day + day % 9}))
    >>> print(found[0].rule, found[0].rows)
    in + stay = out 88
    """
    owner = "suggest_constraints"
    df = check_fit_frame(df, owner)
    if not 0 < chance < 1:
        raise ValueError(f"{owner} takes a chance between 0 and 1; got {chance!r}.")
    columns = read_columns(df, None, owner, tell=False)
    table = Table(columns, [column.codes(df[column.name], owner) for column in columns], owner)
    tests = max(1, len(columns) ** 2) * 10
    limit = float(np.log(chance) - np.log(tests))
    found = [*_sums(table), *_functions(table)]
    found = [each for each in found if each.log_chance <= limit]
    parts = {_pair(part, each.rule.total) for each in found if isinstance(each.rule, Sum) for part in each.rule.parts}
    settled = parts | {_pair(each.rule.column, each.rule.of) for each in found if isinstance(each.rule, FunctionOf)}
    orders = [each for each in _orders(table) if each.log_chance <= limit]
    more = [*_irreducible(orders, table), *_gaps(table, limit), *_combined(table)]
    found += [each for each in more if each.log_chance <= limit and _of_two(each.rule) not in settled]
    return sorted(found, key=lambda each: each.log_chance)


def _pair(a: Any, b: Any) -> frozenset[Any]:
    return frozenset((a, b))


def _of_two(rule: Constraint) -> frozenset[Any] | None:
    """The two columns of an inequality or of combinations, which a function between them says more of."""
    if isinstance(rule, Inequality):
        return _pair(rule.low, rule.high)
    return frozenset(rule.columns) if isinstance(rule, FixedCombinations) else None


def _orders(table: Table) -> Iterator[Suggestion]:
    """Inequalities between columns whose ranges overlap."""
    names = [column.name for column in table.columns]
    values = np.stack([_values(table, j) for j in range(len(names))])
    slack = 1e-9 * np.nanmax(np.abs(np.nan_to_num(values)), axis=1)
    for a, b in ((a, b) for a in range(len(names)) for b in range(len(names)) if a != b):
        kinds = family(table.columns[a]), family(table.columns[b])
        if kinds[0] != kinds[1] or kinds[0] == ("categories without order",):
            continue
        if (values[a, :SCREEN] > values[b, :SCREEN] + slack[b]).any():
            continue
        base, y = linear([a], table.columns[b], table.columns), table.codes[b]
        x = base.offset + base.ratios[0] * table.codes[a]
        if (x > y).any():
            continue
        both = ~np.isnan(x) & ~np.isnan(y)
        x, y = x[both], y[both]
        if len(x) < LEAST_ROWS:
            continue
        obeyed, tied = _shuffled(x, y)
        strict = not (x == y).any() and len(x) * np.log1p(-min(tied, 1 - 1e-12)) < np.log(1e-3)
        rule = Inequality(names[a], names[b], strict)
        yield Suggestion(rule, len(x), float(len(x) * np.log(obeyed)))


def _shuffled(x: Floats, y: Floats) -> tuple[float, float]:
    """The shares of all pairs of one value of each (n,), (m,) in which the first is at most the other, and equal."""
    y = np.sort(y)
    above, at = np.searchsorted(y, x, side="left"), np.searchsorted(y, x, side="right")
    return float(1 - above.mean() / len(y)), float((at - above).mean() / len(y))


def _irreducible(orders: list[Suggestion], table: Table) -> list[Suggestion]:
    """The inequalities that do not follow from two others through a column that is never missing."""
    whole = {column.name for column, x in zip(table.columns, table.codes, strict=True) if not np.isnan(x).any()}
    pairs = {(each.rule.low, each.rule.high) for each in orders if isinstance(each.rule, Inequality)}

    def follows(low: Any, high: Any) -> bool:
        middle = [b for a, b in pairs if a == low and b != high and b in whole]
        return any((b, high) in pairs and (b, low) not in pairs and (high, b) not in pairs for b in middle)

    return [each for each in orders if isinstance(each.rule, Inequality) and not follows(each.rule.low, each.rule.high)]


def _sums(table: Table) -> Iterator[Suggestion]:
    """Columns that are the sum of two or three others; by chance, a row is right once in as many sums as there are."""
    names = [column.name for column in table.columns]
    numbers = [j for j, column in enumerate(table.columns) if column.kind == "number" and _varies(table.codes[j])]
    sizes = range(2, 1 + (MOST_PARTS if len(numbers) <= FEW_COLUMNS else 2))
    done: set[int] = set()
    for parts, total in _candidates(table, numbers, sizes):
        rows = _speaking([table.codes[j] for j in parts], table.codes[total])
        rule = Sum(tuple(names[j] for j in parts), names[total])
        if total in done or rows.sum() < LEAST_ROWS or _breaks(rule, table):
            continue
        done.add(total)
        others = len(np.unique(table.codes[total][rows]))
        yield Suggestion(rule, int(rows.sum()), -float(rows.sum() * np.log(max(others, 1.0))))


def _candidates(table: Table, numbers: list[int], sizes: range) -> Iterator[tuple[tuple[int, ...], int]]:
    """Parts and totals that agree in the first rows."""
    values = {j: _values(table, j)[:FIRST] for j in numbers}
    for size in sizes:
        several = list(combinations(numbers, size))
        if not several:
            continue
        sums = np.zeros((len(several), len(values[numbers[0]])))
        for k in range(size):
            sums += np.stack([values[parts[k]] for parts in several])
        for total in numbers:
            size_of = np.nanmax(np.abs(values[total]), initial=0.0)
            apart = np.nanmax(np.abs(sums - values[total]), axis=1, initial=0.0)
            step = table.columns[total].step * float(affine(table.columns[total])[0])
            for at in np.flatnonzero(apart <= max(1e-9 * size_of, 0.51 * step)):
                if total not in several[at]:
                    yield several[at], total


def _breaks(rule: Constraint, table: Table) -> bool:
    """Whether some row breaks a rule."""
    return bool(coded_rule(rule, table).broken(dict(enumerate(table.codes))).any())


def _values(table: Table, j: int) -> Floats:
    """The values (n,) of a column; times in nanoseconds, as exact as floats are."""
    slope, start = affine(table.columns[j])
    values: Floats = table.codes[j] * float(slope) + float(start)
    return values


def _varies(x: Floats) -> bool:
    held = x[~np.isnan(x)]
    return len(held) > 0 and float(held.min()) < float(held.max())


def _speaking(parts: list[Floats], total: Floats) -> Booleans:
    """Rows (n,) in which no part is missing or zero."""
    every = np.stack([*parts, total])
    return np.asarray(~np.isnan(every).any(0) & (every[:-1] != 0).all(0))


def _functions(table: Table) -> Iterator[Suggestion]:
    """Columns that follow from another; of two that follow from one another, the second from the first."""
    names = [column.name for column in table.columns]
    done: set[frozenset[Any]] = set()
    for source, j in ((a, b) for a in range(len(names)) for b in range(len(names)) if a != b):
        x, y = table.codes[source], table.codes[j]
        both = ~np.isnan(x) & ~np.isnan(y)
        if both.sum() < 2 * LEAST_ROWS or _pair(source, j) in done or not (_varies(x[both]) and _varies(y[both])):
            continue
        if (log_chance := _follows(table, source, j, x[both], y[both])) is None:
            continue
        rule = FunctionOf(names[j], names[source])
        try:
            broken = _breaks(rule, table)
        except ValueError:  # no line, and no few steps
            continue
        if not broken:
            done.add(_pair(source, j))
            yield Suggestion(rule, int(both.sum()), log_chance)


def _follows(table: Table, source: int, j: int, x: Floats, y: Floats) -> float | None:
    """The log-probability that y (n,) follows from x (n,) by chance, were y in any order; None where it does not."""
    levels = table.columns[j].kind == "category"
    if not levels and table.columns[source].kind != "category":
        lined = (
            abs(np.corrcoef(x[:SCREEN], y[:SCREEN])[0, 1]) > 0.99 if _varies(x[:SCREEN]) and _varies(y[:SCREEN]) else 0
        )
        return -float(len(x) * np.log(len(np.unique(y)))) if lined else None
    if not table.few(j):
        return None
    order = np.argsort(x, kind="stable")
    value, place = np.unique(x[order], return_inverse=True)
    low, high = np.full(len(value), np.inf), np.full(len(value), -np.inf)
    np.minimum.at(low, place, y[order])
    np.maximum.at(high, place, y[order])
    if (low < high).any():
        return None
    shares = np.unique(y, return_counts=True)[1] / len(y)
    agree = float(np.log(np.square(shares).sum()))  # of two rows
    if table.columns[source].kind == "category" or len(value) <= len(x) // 4:
        return (len(x) - len(value)) * agree
    turns = int((low[1:] != low[:-1]).sum())
    return (len(x) - 1 - turns) * agree if turns + 1 <= len(shares) else None


def _gaps(table: Table, limit: float) -> Iterator[Suggestion]:
    """Values of a column, or its gaps, that always go with gaps, or never, in another."""
    pandas = need("pandas", "a table")
    names = [column.name for column in table.columns]
    for j, x in enumerate(table.codes):
        gap = np.isnan(x)
        share = float(gap.mean())
        if not LEAST_ROWS <= gap.sum() <= len(x) - LEAST_ROWS:
            continue
        for when, y in enumerate(table.codes):
            if when == j or not (table.few(when) or np.isnan(y).any()):
                continue
            groups = _levels(y, table.few(when))
            for present, log in ((False, np.log(share)), (True, np.log1p(-share))):
                held = [(code, rows) for code, rows in groups if (gap[rows] != present).all()]
                certain = [(code, rows) for code, rows in held if len(rows) * log <= limit and code != np.inf]
                if not certain or len(held) == len(groups):
                    continue
                count = sum(len(rows) for _, rows in certain)
                codes = np.array([code for code, _ in certain])
                told = table.columns[when].values(codes).tolist() if len(codes) else []
                values = frozenset(None if pandas.isna(value) else value for value in told)
                value = next(iter(values)) if len(values) == 1 else values
                kind = NotNullIf if present else NullIf
                yield Suggestion(kind(names[j], names[when], value), count, float(count * log))


def _levels(y: Floats, few: bool) -> list[tuple[float, Any]]:
    """Codes of a column (n,) and their rows: its levels, where it has few, and its gaps."""
    groups = [(np.nan, np.flatnonzero(np.isnan(y)))] if np.isnan(y).any() else []
    codes = np.unique(y[~np.isnan(y)])
    if few and len(codes) <= MOST_LEVELS:
        return [*groups, *((float(code), np.flatnonzero(y == code)) for code in codes)]
    return [*groups, (np.inf, np.flatnonzero(~np.isnan(y)))] if groups else []


def _combined(table: Table) -> Iterator[Suggestion]:
    """Pairs of columns of which at most half of the combinations of levels come up, of which each has some rows."""
    names = [column.name for column in table.columns]
    few = [j for j in range(len(names)) if table.few(j) and 2 <= len(np.unique(table.codes[j])) <= MOST_LEVELS]
    for a, b in combinations(few, 2):
        both = ~np.isnan(table.codes[a]) & ~np.isnan(table.codes[b])  # gaps have rules of their own
        if both.sum() < LEAST_ROWS:
            continue
        x, y = (np.unique(table.codes[j][both], return_inverse=True)[1].ravel() for j in (a, b))
        counts = np.zeros((x.max() + 1, y.max() + 1))
        np.add.at(counts, (x, y), 1)
        seen = counts > 0
        if seen.mean() > 0.5 or len(x) < 5 * seen.sum():
            continue
        expected = np.outer(counts.sum(1), counts.sum(0)) / len(x) ** 2
        log_chance = len(x) * np.log1p(-float(np.minimum(expected[~seen].sum(), 1 - 1e-12)))
        yield Suggestion(FixedCombinations((names[a], names[b])), len(x), float(log_chance))
