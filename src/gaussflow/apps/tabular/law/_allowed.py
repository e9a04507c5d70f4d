"""What a column may be in each row: missing or not, within an interval, one of some values."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from gaussflow.apps.tabular._arrays import Booleans, Floats, Integers


@dataclass(frozen=True)
class Allowed:
    """What a column may be in each of n rows, or in all alike where arrays have one row.

    Attributes
    ----------
    missing
        Whether it may be missing (n,).
    low, high
        The interval of its values with both ends (n,); no value where low is above high.
    among
        The values that it may have (n, m), NaN for fewer than m; None for all.
    """

    missing: Booleans
    low: Floats
    high: Floats
    among: Floats | None = None

    @classmethod
    def of(cls, missing: bool, low: float = -np.inf, high: float = np.inf, among: Floats | None = None) -> Allowed:
        """The same in all rows; among (m,)."""
        return cls(np.array([missing]), np.array([low]), np.array([high]), None if among is None else among[None])

    @classmethod
    def exactly(cls, x: Floats) -> Allowed:
        """The values x (n,), NaN for missing, and nothing else."""
        gap = np.isnan(x)
        return cls(gap, np.where(gap, np.inf, x), np.where(gap, -np.inf, x))

    @classmethod
    def where(cls, rows: Booleans, then: Allowed) -> Allowed:
        """What ``then``, without a list of values, allows in those rows (n,); everything in the others."""
        low, high = np.where(rows, then.low, -np.inf), np.where(rows, then.high, np.inf)
        return cls(np.where(rows, then.missing, True), low, high)

    def also(self, other: Allowed | None) -> Allowed:
        """What both allow."""
        if other is None:
            return self
        low, high = np.maximum(self.low, other.low), np.minimum(self.high, other.high)
        among = self.among if other.among is None else other.among
        if self.among is not None and other.among is not None:
            held = np.isclose(self.among[:, :, None], other.among[:, None, :], rtol=1e-12, atol=0).any(2)
            among = np.where(held, self.among, np.nan)
        return Allowed(self.missing & other.missing, low, high, among)

    def less(self, shift: Floats) -> Allowed:
        """The same of the values less a shift (n,)."""
        among = None if self.among is None else self.among - shift[:, None]
        return replace(self, low=self.low - shift, high=self.high - shift, among=among)

    def over(self, n: int) -> Allowed:
        """The same with n rows in every array."""
        among = None if self.among is None else np.broadcast_to(self.among, (n, self.among.shape[1]))
        low, high = np.broadcast_to(self.low, (n,)), np.broadcast_to(self.high, (n,))
        return Allowed(np.broadcast_to(self.missing, (n,)), low, high, among)

    def rows(self, rows: Booleans | Integers) -> Allowed:
        """What is allowed in some of the rows, of arrays that have n of them."""
        full = self
        return Allowed(full.missing[rows], full.low[rows], full.high[rows], _some(full.among, rows))

    def holds(self, x: Floats) -> Booleans:
        """Whether each of the values (n,), NaN for missing, is allowed."""
        gap = np.isnan(x)
        inside: Booleans = (x >= self.low) & (x <= self.high)
        if self.among is not None:
            inside = inside & (x[:, None] == self.among).any(1)
        return np.where(gap, self.missing, inside)

    @property
    def certain(self) -> Booleans:
        """Rows (n,) in which nothing is left to draw: they are missing, or have one value."""
        single = (self.low == self.high) & ~self.missing
        if self.among is not None:
            single = single & False
        return np.asarray(single | (self.missing & (self.low > self.high)))

    @property
    def one(self) -> Floats:
        """The value (n,) that is certain; NaN where there is a choice, or a gap."""
        return np.where(self.certain & ~self.missing, self.low, np.nan)

    def values(self) -> Floats | None:
        """The values that are allowed (n, m), NaN for none, where they are a list; None for an interval."""
        if self.among is None:
            return None
        inside = (self.among >= self.low[:, None]) & (self.among <= self.high[:, None])
        return np.where(inside, self.among, np.nan)

    def snapped(self, x: Floats) -> Floats:
        """Values (n,) brought to the nearest that is allowed: what was shifted back may be off by its last digit."""
        bounded = np.clip(x, self.low, np.maximum(self.low, self.high))
        listed = self.values()
        if listed is None or not listed.size:
            return np.where(np.isnan(x), x, bounded)
        apart = np.abs(np.where(np.isnan(listed), np.inf, listed) - np.where(np.isnan(x), 0, x)[:, None])
        nearest = np.take_along_axis(np.broadcast_to(listed, apart.shape), apart.argmin(1)[:, None], 1)[:, 0]
        return np.where(np.isnan(x) | np.isnan(nearest), x, nearest)


def _some(among: Floats | None, rows: Booleans | Integers) -> Floats | None:
    return None if among is None else among[rows]
