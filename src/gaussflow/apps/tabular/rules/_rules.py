"""Rules between the columns of a table, as users state them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

Name: TypeAlias = str | int


@dataclass(frozen=True)
class Inequality:
    """Where both columns are present, ``low`` is at most ``high``; less than it, where ``strict``.

    Parameters
    ----------
    low, high
        Columns of numbers, of times, of durations, or of categories with the same order.
    strict
        Whether they may not be equal.

    Examples
    --------
    >>> from gaussflow.apps.tabular import Inequality
    >>> print(Inequality("admitted", "discharged"))
    admitted is at most discharged
    """

    low: Name
    high: Name
    strict: bool = False

    def __str__(self) -> str:
        return f"{self.low} is {'less than' if self.strict else 'at most'} {self.high}"


@dataclass(frozen=True)
class Range:
    """A column, where present, lies between two values, both of which it may have.

    Parameters
    ----------
    column
        A column of numbers, times, durations, or ordered categories.
    low, high
        The ends; None for none. Times may be written as text.

    Examples
    --------
    >>> from gaussflow.apps.tabular import Range
    >>> print(Range("age", 18, None))
    age is at least 18
    """

    column: Name
    low: Any = None
    high: Any = None

    def __str__(self) -> str:
        if self.low is None or self.high is None:
            return f"{self.column} is at {'most' if self.low is None else 'least'} {_one(self.low, self.high)}"
        return f"{self.column} is from {self.low} to {self.high}"


@dataclass(frozen=True)
class FixedCombinations:
    """Some columns take together only values that they took together in the rows of the fit; missing counts as one.

    Parameters
    ----------
    columns
        Two or more columns of categories, or of numbers that take few values.

    Examples
    --------
    >>> from gaussflow.apps.tabular import FixedCombinations
    >>> print(FixedCombinations(("city", "country")))
    city and country only in combinations that were seen
    """

    columns: tuple[Name, ...]

    def __post_init__(self) -> None:
        """Take any sequence of names."""
        object.__setattr__(self, "columns", _names(self.columns))

    def __str__(self) -> str:
        return f"{_listed(self.columns)} only in combinations that were seen"


@dataclass(frozen=True)
class _Where:
    """What a column is in the rows in which another has some value."""

    column: Name
    when: Name
    value: Any

    def __post_init__(self) -> None:
        """Take any set of values."""
        object.__setattr__(self, "value", _values(self.value))


@dataclass(frozen=True)
class NullIf(_Where):
    """A column is missing in the rows in which another has some value.

    Parameters
    ----------
    column
        The column that is missing there.
    when
        The other.
    value
        What the other has: a value, None for missing, a set or list of values, or an interval ``(low, high)``.

    Examples
    --------
    >>> from gaussflow.apps.tabular import NullIf
    >>> print(NullIf("cause of death", "status", "alive"))
    cause of death is missing where status is alive
    """

    def __str__(self) -> str:
        return f"{self.column} is missing where {self.when} is {_told(self.value)}"


@dataclass(frozen=True)
class NotNullIf(_Where):
    """A column is present in the rows in which another has some value.

    Parameters
    ----------
    column
        The column that is present there.
    when
        The other.
    value
        What the other has: a value, None for missing, a set or list of values, or an interval ``(low, high)``.

    Examples
    --------
    >>> from gaussflow.apps.tabular import NotNullIf
    >>> print(NotNullIf("cause of death", "status", "dead"))
    cause of death is present where status is dead
    """

    def __str__(self) -> str:
        return f"{self.column} is present where {self.when} is {_told(self.value)}"


@dataclass(frozen=True)
class Sum:
    """Where all are present, a column is the sum of others, rounded to its decimals.

    Parameters
    ----------
    parts
        Columns of numbers or durations; one of them may be a time where ``total`` is one.
    total
        The sum.

    Examples
    --------
    >>> from gaussflow.apps.tabular import Sum
    >>> print(Sum(("direct", "indirect"), "bilirubin"))
    direct + indirect = bilirubin
    """

    parts: tuple[Name, ...]
    total: Name

    def __post_init__(self) -> None:
        """Take any sequence of names."""
        object.__setattr__(self, "parts", _names(self.parts))

    def __str__(self) -> str:
        return f"{' + '.join(map(str, self.parts))} = {self.total}"


@dataclass(frozen=True)
class FunctionOf:
    """Where both are present, a column follows from another: a table of levels, steps along a line, or a line itself.

    Which of these it is is found in the rows of the fit, and refused where it is none: a level for each category, as a
    name for each code; a level for each part of a line, as groups of age; or a line rounded to the column's decimals,
    as another unit.

    Parameters
    ----------
    column
        The column that follows.
    of
        The column that it follows from.

    Examples
    --------
    >>> from gaussflow.apps.tabular import FunctionOf
    >>> print(FunctionOf("age group", "age"))
    age group follows from age
    """

    column: Name
    of: Name

    def __str__(self) -> str:
        return f"{self.column} follows from {self.of}"


Constraint: TypeAlias = Inequality | Range | FixedCombinations | NullIf | NotNullIf | Sum | FunctionOf
KINDS = (Inequality, Range, FixedCombinations, NullIf, NotNullIf, Sum, FunctionOf)


def _names(names: Any) -> tuple[Name, ...]:
    return (names,) if isinstance(names, str | int) else tuple(names)


def _values(value: Any) -> Any:
    """A set as a sorted tuple within a frozenset's words: one order, so that equal rules are written alike."""
    return frozenset(value) if isinstance(value, set | frozenset | list) else value


def _one(low: Any, high: Any) -> Any:
    return high if low is None else low


def _told(value: Any) -> str:
    if value is None:
        return "missing"
    if isinstance(value, tuple):
        low, high = (*value, None, None)[:2]
        return (
            f"from {low} to {high}"
            if None not in (low, high)
            else f"{'up to' if low is None else 'from'} " + (f"{_one(low, high)}{'' if low is None else ' on'}")
        )
    if isinstance(value, frozenset):
        return " or ".join(sorted("missing" if each is None else str(each) for each in value))
    return str(value)


def _listed(names: Sequence[Name]) -> str:
    *first, last = map(str, names)
    return f"{', '.join(first)} and {last}" if first else last


def to_json(rule: Constraint) -> dict[str, Any]:
    """A rule as JSON; raises TypeError for values that JSON does not have."""
    parts = {name: _plain(value) for name, value in vars(rule).items()}
    return {"rule": type(rule).__name__, **parts}


def from_json(told: dict[str, Any]) -> Constraint:
    """The rule that `to_json` wrote; raises ValueError for what it did not write."""
    kinds = {kind.__name__: kind for kind in KINDS}
    kind = kinds.get(told.get("rule", ""))
    if kind is None:
        raise ValueError(f"{told.get('rule')!r} is no rule between columns; known are {', '.join(kinds)}")
    parts = {name: _back(value) for name, value in told.items() if name != "rule"}
    made: Constraint = kind(**parts)
    return made


def _plain(value: Any) -> Any:
    if isinstance(value, frozenset):
        return {"set": sorted((_plain(each) for each in value), key=str)}
    if isinstance(value, tuple):
        return {"tuple": [_plain(each) for each in value]}
    if value is None or isinstance(value, str | bool | int | float):
        return value
    return value.item() if hasattr(value, "item") else str(value)


def _back(value: Any) -> Any:
    if isinstance(value, dict):
        return frozenset(value["set"]) if "set" in value else tuple(_back(each) for each in value["tuple"])
    return value
