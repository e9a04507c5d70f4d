"""What rules make of a table: columns measured from others, an order, and what is left for each column."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from gaussflow.apps.tabular._arrays import Booleans, Floats
from gaussflow.apps.tabular.law._allowed import Allowed
from gaussflow.apps.tabular.law._columns import Skeleton
from gaussflow.apps.tabular.rules._coded_rules import TOLERANCE, Known, Linear, Rule, Wanted


@dataclass(frozen=True)
class Shift:
    """A column whose law is that of its distance to a sum of others, each at its default (m,) where it is missing."""

    column: int
    base: Linear
    defaults: Floats

    def at(self, known: Known) -> Floats:
        """The sum (n,) of the others."""
        filled = {
            j: np.where(np.isnan(known[j]), default, known[j])
            for j, default in zip(self.base.columns, self.defaults, strict=True)
        }
        return self.base.at(filled)


@dataclass(frozen=True)
class Plan:
    """The rules of a table by codes, the columns measured from others, and of these the states that the frame has."""

    rules: list[Rule] = field(default_factory=list)
    shifts: list[Shift] = field(default_factory=list)
    views: list[Skeleton] = field(default_factory=list)

    @property
    def edges(self) -> list[tuple[int, int]]:
        """Pairs of columns of which the first is drawn before the second."""
        rules = [edge for rule in self.rules for edge in rule.edges]
        return [*rules, *((source, shift.column) for shift in self.shifts for source in shift.base.columns)]

    def view(self, j: int, skeleton: Skeleton) -> Skeleton:
        """The states of a column as the frame has it."""
        return next((view for shift, view in zip(self.shifts, self.views, strict=True) if shift.column == j), skeleton)

    def shift(self, j: int, known: Known, n: int) -> Floats | None:
        """What column j is measured from (n,)."""
        for shift in self.shifts:
            if shift.column == j:
                return np.broadcast_to(shift.at(known), (n,))
        return None

    def inward(self, j: int, x: Floats, shift: Floats) -> Floats:
        """Values (n,) measured from the shift (n,)."""
        step, inner = self._step(j), x - shift
        if step:
            return np.round(inner / step) * step
        tiny = np.abs(inner) <= TOLERANCE * np.maximum(np.abs(x), np.abs(shift))
        return np.where(tiny, 0.0, inner)

    def outward(self, j: int, x: Floats, shift: Floats) -> Floats:
        """Values (n,) as the frame has them."""
        step = self._step(j)
        return np.round((x + shift) / step) * step if step else x + shift

    def measured(self, codes: list[Floats]) -> list[Floats]:
        """The numbers (n,) of columns, those measured from others less these."""
        known, inner = dict(enumerate(codes)), list(codes)
        for shift in self.shifts:
            inner[shift.column] = self.inward(shift.column, codes[shift.column], shift.at(known))
        return inner

    def allowed(self, j: int, known: Known, wanted: Wanted, n: int) -> Allowed | None:
        """What the rules leave for column j, given those known and what others must be; None for everything."""
        left: Allowed | None = None
        for rule in self.rules:
            if j in rule.columns and (more := rule.allowed(j, known, wanted)) is not None:
                left = more if left is None else left.also(more)
        return left

    def seen(self, j: int, known: Known, n: int) -> Allowed | None:
        """What rows drawn may have: as `allowed`, and what is measured from others within the range that it had."""
        ranges = {
            shift.column: _range(view)
            for shift, view in zip(self.shifts, self.views, strict=True)
            if shift.column not in known
        }
        left = self.allowed(j, known, {k: each for k, each in ranges.items() if k != j}, n)
        own = ranges.get(j)
        return left if own is None else own.also(left)

    def broken(self, values: list[Floats]) -> Booleans:
        """Whether each row (n,) of the columns' values breaks a rule."""
        found = np.zeros(len(values[0]), np.bool_)
        known = dict(enumerate(values))
        for rule in self.rules:
            found |= rule.broken(known)
        return found

    def _step(self, j: int) -> float:
        return next(shift.base.step for shift in self.shifts if shift.column == j)


def _range(view: Skeleton) -> Allowed:
    """What a column was in the fit: its range, and whether it was missing."""
    points = view.points[view.seen[1 : 1 + len(view.points)]]
    ends = [*points, *([view.low, view.high] if view.numeric and view.seen[-1] else [])]
    low, high = (min(ends), max(ends)) if ends else (np.inf, -np.inf)
    return Allowed.of(bool(view.seen[0]), float(low), float(high))
