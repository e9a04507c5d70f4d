"""From rules as users state them to rules on codes, checked against the rows of the fit."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from gaussflow.apps.tabular._arrays import Floats
from gaussflow.apps.tabular.frames._conditions import place
from gaussflow.apps.tabular.frames._schema import Column, short
from gaussflow.apps.tabular.law._columns import FEW, Skeleton, number_skeleton
from gaussflow.apps.tabular.law._joint import arranged
from gaussflow.apps.tabular.rules._axes import family, line_through, linear, on_its_grid, steps_between
from gaussflow.apps.tabular.rules._coded_rules import GAP, Between, Combined, Gaps, Linear, Order, Rule, Steps, Total
from gaussflow.apps.tabular.rules._plan import Plan, Shift
from gaussflow.apps.tabular.rules._rules import (
    KINDS,
    Constraint,
    FixedCombinations,
    FunctionOf,
    Inequality,
    Name,
    NotNullIf,
    NullIf,
    Range,
    Sum,
)

NARROW = 0.5  # a difference spread less than that share of the column's own spread is fitted in its place
MOST_STEPS = 100  # of a function along a line


class Table:
    """The columns of a fit with their codes, and what messages call the door."""

    def __init__(self, columns: Sequence[Column], codes: Sequence[Floats], owner: str) -> None:
        self.columns, self.owner = list(columns), owner
        self.codes = [
            np.round(x / column.step) * column.step if column.step and column.kind != "category" else x
            for column, x in zip(columns, codes, strict=True)
        ]

        pairs = zip(self.columns, self.codes, strict=True)
        self._few = [column.kind == "category" or _few(x) for column, x in pairs]

    def index(self, name: Name, rule: Constraint) -> int:
        """The place of a column that a rule names."""
        names = [column.name for column in self.columns]
        if name not in names:
            raise ValueError(
                f"{self.owner}: the rule '{rule}' names {name!r}, which is no column; it has {short(names)}."
            )
        return names.index(name)

    def few(self, j: int) -> bool:
        """Whether a column has levels, or so few numbers that each is a state of its own."""
        return self._few[j]


def check_rules(rules: object, owner: str) -> list[Constraint]:
    """The rules of a list; raises TypeError for what is none."""
    if rules is None:
        return []
    if isinstance(rules, KINDS) or not isinstance(rules, Sequence) or isinstance(rules, str):
        raise TypeError(f"{owner} takes a list of constraints, as [Inequality('a', 'b')]; got {rules!r}.")
    plain: list[Any] = [getattr(rule, "rule", rule) for rule in rules]  # a suggestion stands for its rule
    for rule in plain:
        if not isinstance(rule, KINDS):
            raise TypeError(
                f"{owner} takes constraints of {', '.join(kind.__name__ for kind in KINDS)}; got {rule!r} among them."
            )
    return plain


def make_plan(rules: Sequence[Constraint], columns: Sequence[Column], codes: Sequence[Floats], owner: str) -> Plan:
    """The plan of rules; raises ValueError for those that rows (n,) break, that cannot be, or that contradict."""
    table = Table(columns, codes, owner)
    coded: list[Rule] = []
    shifts: list[Shift] = []
    for rule in rules:
        made = coded_rule(rule, table)
        _refuse_broken(rule, made, table)
        coded.append(made)
        if (shift := _shift(made, table)) is not None and shift.column not in {held.column for held in shifts}:
            shifts.append(shift)
    shifts = _in_turn(shifts, coded, rules, table)
    views = [skeleton_of(table.columns[shift.column], table.codes[shift.column]) for shift in shifts]
    return Plan(coded, shifts, views)


def public_plan(rules: Sequence[Constraint], columns: Sequence[Column], owner: str) -> Plan:
    """The plan of rules that are known without the rows, which are not looked at; raises ValueError for others."""
    table = Table(columns, [np.empty(0) for _ in columns], owner)
    coded: list[Rule] = []
    for rule in rules:
        if not isinstance(rule, Inequality | Range | NullIf | NotNullIf):
            raise ValueError(
                f"{owner} with epsilon cannot keep the rule '{rule}': what it leaves is read off the rows, and would "
                "tell of them. Inequality, Range, NullIf and NotNullIf say all by themselves; leave others out."
            )
        coded.append(coded_rule(rule, table))
    _in_turn([], coded, rules, table)
    return Plan(coded)


def coded_rule(rule: Constraint, table: Table) -> Rule:
    """One rule by codes; raises TypeError or ValueError for columns that it cannot be about."""
    if not isinstance(rule, NullIf | NotNullIf):
        _refuse_made(rule, table)
    if isinstance(rule, Inequality):
        return _order(rule, table)
    if isinstance(rule, Range):
        return _between(rule, table)
    if isinstance(rule, FixedCombinations):
        return _combined(rule, table)
    if isinstance(rule, NullIf | NotNullIf):
        return _gaps(rule, table)
    if isinstance(rule, Sum):
        return _total(rule, table)
    return _function(rule, table)


def _refuse_made(rule: Constraint, table: Table) -> None:
    """Raise TypeError for a rule about the values of an identifier, which are new in every row."""
    for column in table.columns:
        named = any(
            value == column.name or (isinstance(value, tuple) and column.name in value) for value in vars(rule).values()
        )
        if column.made and named:
            raise TypeError(
                f"{table.owner}: the rule '{rule}' names {column.name!r}, an identifier, whose values are made anew. "
                "Only rules about its gaps can be kept."
            )


def _order(rule: Inequality, table: Table) -> Order:
    low, high = table.index(rule.low, rule), table.index(rule.high, rule)
    a, b = table.columns[low], table.columns[high]
    if low == high or family(a) != family(b) or family(a) == ("categories without order",):
        raise TypeError(
            f"{table.owner}: the rule '{rule}' wants two columns of numbers, of times or of durations, or of the same "
            f"ordered categories; got {a.dtype} and {b.dtype}."
        )
    step = 1.0 if b.kind == "category" else b.step
    bound = linear([low], b, table.columns)
    return Order(low, high, Linear(bound.columns, bound.ratios, bound.offset, 0.0), rule.strict, step)


def _between(rule: Range, table: Table) -> Between:
    j = table.index(rule.column, rule)
    low, high = _ends(rule.low, rule.high, table.columns[j], rule, table.owner)
    return Between(j, low, high)


def _ends(low: object, high: object, column: Column, rule: Constraint, owner: str) -> tuple[float, float]:
    if column.kind == "category" and not column.ordered:
        raise TypeError(f"{owner}: the rule '{rule}' wants an interval of {column.name!r}, which has no order.")
    ends = [-np.inf if low is None else place(column, low, exact=False, owner=owner)]
    ends.append(np.inf if high is None else place(column, high, exact=False, owner=owner))
    if column.step and column.kind != "category":
        step = column.step
        ends = [np.ceil(ends[0] / step - 1e-9) * step, np.floor(ends[1] / step + 1e-9) * step]
    if ends[0] > ends[1]:
        raise ValueError(f"{owner}: nothing obeys the rule '{rule}': the interval is empty.")
    return float(ends[0]), float(ends[1])


def _combined(rule: FixedCombinations, table: Table) -> Combined:
    places = [table.index(name, rule) for name in rule.columns]
    if len(set(places)) != len(places) or len(places) < 2:
        raise ValueError(f"{table.owner}: the rule '{rule}' wants two or more columns, each once.")
    if many := [name for name, j in zip(rule.columns, places, strict=True) if not table.few(j)]:
        raise TypeError(
            f"{table.owner}: the rule '{rule}' wants columns of categories, or of at most {FEW} numbers that repeat; "
            f"{short(many)} has more. Cut it into groups with pd.cut."
        )
    rows = np.stack([np.where(np.isnan(table.codes[j]), GAP, table.codes[j]) for j in places], 1)
    seen = np.unique(rows, axis=0)
    return Combined(places, np.where(seen == GAP, np.nan, seen))


def _gaps(rule: NullIf | NotNullIf, table: Table) -> Gaps:
    column, when = table.index(rule.column, rule), table.index(rule.when, rule)
    present = isinstance(rule, NotNullIf)
    if column == when:
        raise ValueError(f"{table.owner}: the rule '{rule}' wants two columns.")
    if not present and not table.columns[column].nullable:
        raise ValueError(
            f"{table.owner}: the rule '{rule}' wants gaps in {rule.column!r}, and its dtype "
            f"{table.columns[column].dtype} has none."
        )
    other = table.columns[when]
    levels = len(other.levels or []) if other.kind == "category" else 0
    if isinstance(rule.value, tuple):
        first, last = (*rule.value, None, None)[:2]
        low, high = _ends(first, last, other, rule, table.owner)
        return Gaps(column, when, present, np.empty(0), False, low, high, levels)
    values = rule.value if isinstance(rule.value, frozenset) else [rule.value]
    codes = np.array([place(other, value, owner=table.owner) for value in values])
    held = np.sort(codes[~np.isnan(codes)])
    ends = (-np.inf, np.inf) if len(held) else (np.inf, -np.inf)
    return Gaps(column, when, present, held, bool(np.isnan(codes).any()), *ends, levels)


def _total(rule: Sum, table: Table) -> Total:
    parts, total = [table.index(name, rule) for name in rule.parts], table.index(rule.total, rule)
    kinds = [family(table.columns[j]) for j in parts]
    wanted = family(table.columns[total])
    moving = wanted in (("times",), ("times with a zone",))
    steady = [kind for kind in kinds if kind != (("durations",) if moving else wanted)]
    fits = (steady == [wanted]) if moving else not steady and wanted in (("numbers",), ("durations",))
    if len(set(parts)) != len(parts) or total in parts or len(parts) < 2 or not fits:
        raise TypeError(
            f"{table.owner}: the rule '{rule}' wants two or more columns of numbers or of durations and their sum, or "
            f"a time, durations, and a time; got {', '.join(table.columns[j].dtype for j in [*parts, total])}."
        )
    return Total(total, linear(parts, table.columns[total], table.columns), parts)


def _function(rule: FunctionOf, table: Table) -> Steps | Total:
    j, source = table.index(rule.column, rule), table.index(rule.of, rule)
    if j == source:
        raise ValueError(f"{table.owner}: the rule '{rule}' wants two columns.")
    y, x = table.codes[j], table.codes[source]
    both = ~np.isnan(x) & ~np.isnan(y)
    if not both.any():
        raise ValueError(f"{table.owner}: no row has both columns of the rule '{rule}'.")
    target, other = table.columns[j], table.columns[source]
    if target.kind != "category" and other.kind != "category":
        step = target.step
        if (found := line_through(x[both], y[both], step)) is not None:
            return Total(j, Linear([source], np.array([found[0]]), found[1], step), [source])
    cuts, levels = steps_between(x[both], y[both])
    if other.kind != "category" and len(levels) > min(MOST_STEPS, max(2, int(both.sum()) // 5)):
        raise ValueError(
            f"{table.owner}: the rule '{rule}' holds by no line, and by no few steps along it ({len(levels)} in "
            f"{int(both.sum())} rows). Leave it out, or round the columns."
        )
    return Steps(j, source, cuts, levels)


def _refuse_broken(rule: Constraint, made: Rule, table: Table) -> None:
    broken = np.flatnonzero(made.broken(dict(enumerate(table.codes))))
    if len(broken):
        raise ValueError(
            f"{table.owner}: {len(broken)} of {len(table.codes[0])} rows break the rule '{rule}': "
            f"rows {short(broken.tolist())}. Mend or drop them, or take the rule away."
        )


def _shift(made: Rule, table: Table) -> Shift | None:
    """What a column is better measured from: the parts of its sum, or a smaller column that it lies close to."""
    if isinstance(made, Total):
        return Shift(made.column, made.total, _defaults(made.total.columns, table))
    if not isinstance(made, Order) or table.columns[made.high].kind == "category":
        return None
    if not on_its_grid([made.low], table.columns[made.high], table.columns):
        return None
    base = linear([made.low], table.columns[made.high], table.columns)
    x, y = table.codes[made.high], base.at({made.low: table.codes[made.low]})
    both = ~np.isnan(x) & ~np.isnan(y)
    if both.sum() < 2 or _spread((x - y)[both]) > NARROW * _spread(x[both]):
        return None
    return Shift(made.high, base, _defaults([made.low], table))


def _defaults(parts: list[int], table: Table) -> Floats:
    """What stands for a missing part: its mean, rounded to its step."""
    found = []
    for j in parts:
        x, step = table.codes[j], table.columns[j].step
        mean = float(np.nanmean(x)) if (~np.isnan(x)).any() else 0.0
        found.append(round(mean / step) * step if step else mean)
    return np.array(found)


def _spread(x: Floats) -> float:
    low, high = np.quantile(x, [0.05, 0.95])
    return float(high - low)


def _in_turn(shifts: list[Shift], coded: list[Rule], rules: Sequence[Constraint], table: Table) -> list[Shift]:
    """The shifts; raises ValueError where rules want columns drawn before one another."""
    every = list(range(len(table.columns)))
    for k in range(1, len(coded) + 1):
        try:
            arranged(every, Plan(coded[:k]).edges)
        except ValueError as error:
            raise ValueError(
                f"{table.owner}: the rule '{rules[k - 1]}' and those before it go round in circles. Leave one out."
            ) from error
    return shifts


def skeleton_of(column: Column, x: Floats) -> Skeleton:
    """The states of a column whose numbers are x (n,)."""
    if column.kind != "category":
        return number_skeleton(x, column.step, column.scale)
    points = np.arange(len(column.levels or []), dtype=np.float64)
    seen = np.array([bool(np.isnan(x).any()), *(bool((x == point).any()) for point in points)])
    return Skeleton(points, False, None, seen)


def _few(x: Floats) -> bool:
    held = x[~np.isnan(x)]
    return len(np.unique(held)) <= FEW and len(held) > 2 * len(np.unique(held))
