"""Rules between the codes of columns: which rows break them, and what they leave a column given others."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np

from gaussflow.apps.tabular._arrays import Booleans, Floats
from gaussflow.apps.tabular.law._allowed import Allowed

Known: TypeAlias = Mapping[int, Floats]  # by column the values (n,) of rows, NaN for missing
Wanted: TypeAlias = Mapping[int, Allowed]  # by column what it will have to be
GAP = -1e18  # stands for missing in tables of codes, which are never so far out
TOLERANCE = 1e-9  # of a step, or of the size of a number on the line


@dataclass(frozen=True)
class Linear:
    """A sum of columns on the scale of another: ``offset + sum of ratios (m,) * columns (m,)``, rounded to its step."""

    columns: list[int]
    ratios: Floats
    offset: float
    step: float

    def at(self, known: Known) -> Floats:
        """The sum (n,); NaN where one of the columns is missing."""
        total = np.asarray(sum(ratio * known[j] for ratio, j in zip(self.ratios, self.columns, strict=True)))
        total = total + self.offset
        rounded: Floats = np.round(total / self.step) * self.step if self.step else total
        return rounded


@dataclass(frozen=True)
class Order:
    """Where both are present, column ``high`` is at least the bound that column ``low`` sets, or above it."""

    low: int
    high: int
    bound: Linear
    strict: bool
    step: float

    @property
    def columns(self) -> list[int]:
        """The columns that the rule is about."""
        return [self.low, self.high]

    @property
    def edges(self) -> list[tuple[int, int]]:
        """Pairs of columns of which the first is drawn before the second."""
        return [(self.low, self.high)]

    def least(self, x: Floats) -> Floats:
        """The least that column ``high`` may be (n,) for values (n,) of ``low``."""
        bound = self.bound.at({self.low: x})
        if not self.step:
            return np.nextafter(bound, np.inf) if self.strict else bound
        steps = bound / self.step
        count = np.floor(steps + TOLERANCE) + 1 if self.strict else np.ceil(steps - TOLERANCE)
        least: Floats = count * self.step
        return least

    def broken(self, known: Known) -> Booleans:
        """Whether each row (n,) breaks the rule."""
        with np.errstate(invalid="ignore"):
            return np.asarray(known[self.high] < self.least(known[self.low]))

    def allowed(self, j: int, known: Known, wanted: Wanted) -> Allowed | None:
        """What is left for column j, given those known and what others must be; None for everything."""
        if j == self.high and self.low in known:
            least = self.least(known[self.low])
            return Allowed(np.array([True]), np.where(np.isnan(least), -np.inf, least), np.array([np.inf]))
        if j == self.low and self.high in wanted:
            after = wanted[self.high]
            most = (after.high - self.bound.offset) / self.bound.ratios[0]
            free = after.missing | np.isposinf(most)
            most = np.where(free, 0.0, most)
            return Allowed(np.array([True]), np.array([-np.inf]), np.where(free, np.inf, most + TOLERANCE * abs(most)))
        return None


@dataclass(frozen=True)
class Between:
    """A column, where present, lies from low to high."""

    column: int
    low: float
    high: float

    @property
    def columns(self) -> list[int]:
        """The columns that the rule is about."""
        return [self.column]

    @property
    def edges(self) -> list[tuple[int, int]]:
        """Pairs of columns of which the first is drawn before the second."""
        return []

    def broken(self, known: Known) -> Booleans:
        """Whether each row (n,) breaks the rule."""
        x = known[self.column]
        return np.asarray((x < self.low) | (x > self.high))

    def allowed(self, j: int, known: Known, wanted: Wanted) -> Allowed | None:
        """What is left for column j, given those known and what others must be; None for everything."""
        return Allowed.of(True, self.low, self.high) if j == self.column else None


@dataclass(frozen=True)
class Gaps:
    """In the rows in which ``when`` is hit, ``column`` is missing, or present: by codes, an interval, or a gap."""

    column: int
    when: int
    present: bool
    codes: Floats
    gap: bool
    low: float
    high: float
    levels: int

    @property
    def columns(self) -> list[int]:
        """The columns that the rule is about."""
        return [self.column, self.when]

    @property
    def edges(self) -> list[tuple[int, int]]:
        """Pairs of columns of which the first is drawn before the second: none where either can be."""
        return [(self.when, self.column)] if not self.levels and self.low <= self.high else []

    def hit(self, x: Floats) -> Booleans:
        """The rows (n,) that the rule speaks of, by the values (n,) of ``when``."""
        found = (x >= self.low) & (x <= self.high)
        if len(self.codes):
            found = found & np.isin(x, self.codes)
        return np.asarray(found | (np.isnan(x) & self.gap))

    def broken(self, known: Known) -> Booleans:
        """Whether each row (n,) breaks the rule."""
        return np.asarray(self.hit(known[self.when]) & (np.isnan(known[self.column]) == self.present))

    def allowed(self, j: int, known: Known, wanted: Wanted) -> Allowed | None:
        """What is left for column j, given those known and what others must be; None for everything."""
        nothing = Allowed.of(True, np.inf, -np.inf)
        if j == self.column:
            hit = self._certain(known, wanted)
            return None if hit is None else Allowed.where(hit, Allowed.of(False) if self.present else nothing)
        if j != self.when:
            return None
        if self.column in known:
            off = np.isnan(known[self.column]) == self.present
        elif self.column in wanted:
            after = wanted[self.column]
            off = (after.low > after.high) if self.present else ~after.missing
        else:
            return None
        return self._not_hit(off)

    def _certain(self, known: Known, wanted: Wanted) -> Booleans | None:
        """Rows in which ``when`` is hit, as far as it is known."""
        if self.when in known:
            return self.hit(known[self.when])
        if self.when not in wanted:
            return None
        after = wanted[self.when]
        return np.asarray(after.certain & np.where(after.missing, self.gap, self.hit(after.low)))

    def _not_hit(self, off: Booleans) -> Allowed | None:
        """In the rows ``off`` the column ``when`` is none of what the rule speaks of."""
        kept = Allowed.where(off, Allowed.of(not self.gap))
        if self.low > self.high:
            return kept
        if not self.levels:
            return None  # numbers are drawn before
        every = np.arange(self.levels, dtype=np.float64)
        left = np.where(self.hit(every), np.nan, every)
        return Allowed(kept.missing, kept.low, kept.high, np.where(off[:, None], left, every))


@dataclass(frozen=True)
class Combined:
    """Columns take together only values that are rows of a table (M, k), NaN for missing."""

    columns: list[int]
    table: Floats

    @property
    def edges(self) -> list[tuple[int, int]]:
        """Pairs of columns of which the first is drawn before the second."""
        return []

    def broken(self, known: Known) -> Booleans:
        """Whether each row (n,) breaks the rule."""
        held = {row.tobytes() for row in np.ascontiguousarray(_marked(self.table))}
        rows = np.ascontiguousarray(_marked(np.stack([known[j] for j in self.columns], 1)))
        return np.array([row.tobytes() not in held for row in rows], dtype=np.bool_)

    def allowed(self, j: int, known: Known, wanted: Wanted) -> Allowed | None:
        """What is left for column j, given those known and what others must be; None for everything."""
        if j not in self.columns:
            return None
        table = _marked(self.table)
        own, others = self.columns.index(j), [k for k, i in enumerate(self.columns) if i in known]
        heard = [k for k, i in enumerate(self.columns) if i in wanted and i not in known and i != j]
        parts = [_marked(known[self.columns[k]]) for k in others]
        parts += [_certain(wanted[self.columns[k]]) for k in heard]
        if not parts:
            return _list_of([np.unique(table[:, own])], np.zeros(1, np.int64))
        keys, place = np.unique(np.stack(np.broadcast_arrays(*parts), 1), axis=0, return_inverse=True)
        at = table[:, [*others, *heard]]
        fits = [((at == key) | np.isposinf(key)).all(1) for key in keys]
        return _list_of([np.unique(table[fit, own]) for fit in fits], place.ravel())


@dataclass(frozen=True)
class Total:
    """Where all are present, a column is a sum of others, or a line of another, rounded as the column is."""

    column: int
    total: Linear
    order: list[int]

    @property
    def columns(self) -> list[int]:
        """The columns that the rule is about."""
        return [self.column, *self.total.columns]

    @property
    def edges(self) -> list[tuple[int, int]]:
        """Pairs of columns of which the first is drawn before the second."""
        return [(part, self.column) for part in self.total.columns]

    def broken(self, known: Known) -> Booleans:
        """Whether each row (n,) breaks the rule."""
        wanted, x = self.total.at(known), known[self.column]
        size = self.total.step or np.maximum(np.abs(x), np.abs(wanted))
        with np.errstate(invalid="ignore"):
            return np.asarray(np.abs(x - wanted) > TOLERANCE * np.maximum(size, 1e-300))

    def allowed(self, j: int, known: Known, wanted: Wanted) -> Allowed | None:
        """What is left for column j, given those known and what others must be; None for everything."""
        parts = self.total.columns
        if j == self.column and all(part in known for part in parts):
            sums = self.total.at(known)
            free = np.isnan(sums)
            return Allowed(np.array([True]), np.where(free, -np.inf, sums), np.where(free, np.inf, sums))
        others = [part for part in parts if part != j]
        if j not in parts or self.column not in wanted or not all(part in known or part in wanted for part in others):
            return None
        after = wanted[self.column]
        known = {part: known[part] if part in known else wanted[part].one for part in others}
        ratio = dict(zip(parts, self.total.ratios, strict=True))
        left = -self.total.offset - sum((ratio[part] * known[part] for part in others), np.zeros(1))
        free = after.missing | np.isnan(left)
        slack = 0.5 * self.total.step + TOLERANCE * np.abs(left)  # the sum is rounded to the step of its column
        ends = sorted([0, 1], reverse=bool(ratio[j] < 0))
        bounds = [(end + left) / ratio[j] for end in (after.low - slack, after.high + slack)]
        low, high = (bounds[end] for end in ends)
        return Allowed(np.array([True]), np.where(free, -np.inf, low), np.where(free, np.inf, high))


@dataclass(frozen=True)
class Steps:
    """Where both are present, a column has the level (K,) of the part of the line that ``source`` lies in."""

    column: int
    source: int
    cuts: Floats
    levels: Floats

    @property
    def columns(self) -> list[int]:
        """The columns that the rule is about."""
        return [self.column, self.source]

    @property
    def edges(self) -> list[tuple[int, int]]:
        """Pairs of columns of which the first is drawn before the second."""
        return [(self.source, self.column)]

    def at(self, x: Floats) -> Floats:
        """The levels (n,) for values (n,) of the source, NaN for missing."""
        return np.where(np.isnan(x), np.nan, self.levels[np.searchsorted(self.cuts, x)])

    def broken(self, known: Known) -> Booleans:
        """Whether each row (n,) breaks the rule."""
        level, x = self.at(known[self.source]), known[self.column]
        return np.asarray(~np.isnan(level) & ~np.isnan(x) & (level != x))

    def allowed(self, j: int, known: Known, wanted: Wanted) -> Allowed | None:
        """What is left for column j, given those known and what others must be; None for everything."""
        if j == self.column and self.source in known:
            level = self.at(known[self.source])
            free = np.isnan(level)
            return Allowed(np.array([True]), np.where(free, -np.inf, level), np.where(free, np.inf, level))
        if j != self.source or self.column not in wanted:
            return None
        after = wanted[self.column]
        return self._sources(after) if len(after.missing) == 1 and not after.missing[0] else None

    def _sources(self, after: Allowed) -> Allowed | None:
        """The parts of the line from the first to the last whose level is allowed."""
        parts = np.flatnonzero([after.holds(np.array([level]))[0] for level in self.levels])
        if not len(parts):
            return Allowed.of(True, np.inf, -np.inf)
        edges = np.concatenate([[-np.inf], self.cuts, [np.inf]])
        return Allowed.of(True, float(edges[parts[0]]), float(edges[parts[-1] + 1]))


Rule: TypeAlias = Order | Between | Gaps | Combined | Total | Steps


def _marked(x: Floats) -> Floats:
    """Codes with `GAP` for missing, which equals itself; no negative zero."""
    return np.where(np.isnan(x), GAP, x) + 0.0


def _certain(after: Allowed) -> Floats:
    """The one value that a column must have, `GAP` for missing, in each row; infinite where it has a choice."""
    return np.where(after.certain, np.where(after.missing, GAP, after.low + 0.0), np.inf)


def _list_of(choices: list[Floats], place: np.ndarray) -> Allowed:
    """What is allowed in rows (n,) that each have one of several lists of marked codes."""
    most = max(1, max(len(choice) for choice in choices))
    table, gap = np.full((len(choices), most), np.nan), np.zeros(len(choices), np.bool_)
    for k, choice in enumerate(choices):
        held = choice[choice > GAP]
        table[k, : len(held)], gap[k] = held, len(held) < len(choice)
    n = len(place)
    return Allowed(gap[place], np.full(n, -np.inf), np.full(n, np.inf), table[place])
