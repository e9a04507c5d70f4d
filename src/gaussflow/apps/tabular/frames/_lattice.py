"""Numbers that are evenly spaced and no decimals: thirds, z-scores of whole numbers, values less their mean."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from gaussflow.apps.tabular._arrays import Floats

FEWEST = 13  # different values; fewer are states of their own
APART = 32.0  # errors of a value that the spacing is at least: chance places so few values well
LONGEST = 2e5  # places
GAPS = 60  # the smallest, that the spacing is found from
LEAST = 1e-100  # of the largest value
SINGLE = 1.2e-7  # the error of single precision, in which numbers may have been before
DIGITS = (3, 4, 5, 6, 7)  # significant ones that numbers may have been written with
HELD = 3  # rows of a number that is written as it was
FIRST = 8.0  # places, beyond which values count once the spacing is known better


@dataclass(frozen=True)
class Lattice:
    """Numbers ``start + place * spacing``, written as in the fit where several rows had them.

    Attributes
    ----------
    start, spacing
        Of the numbers.
    held, places
        Numbers of the fit (m,) that come up more than twice, and their places, ascending.
    digits, decimals
        Significant ones, and decimals, that other numbers are rounded to; -1 for all that they have.
    """

    start: float
    spacing: float
    held: Floats
    places: Floats
    digits: int = -1
    decimals: int = -1

    def axis(self, values: Floats) -> Floats:
        """Values (n,) in units of the spacing; places where they are on the lattice."""
        return (values - self.start) / self.spacing

    def values(self, places: Floats) -> Floats:
        """The numbers (n,) at places (n,)."""
        values = self.start + places * self.spacing
        values = _rounded(values, self.digits) if self.digits >= 0 else values
        values = np.round(values, self.decimals) if self.decimals >= 0 else values
        if not len(self.places):
            return values
        at = np.clip(np.searchsorted(self.places, places), 0, len(self.places) - 1)
        return np.where(self.places[at] == places, self.held[at], values)


def read_lattice(values: Floats, eps: float, decimals: int | None = None) -> Lattice | None:
    """The lattice that values (n,), with so many decimals if any, are on as far as floats and digits tell; or None."""
    values, counts = np.unique(values, return_counts=True)
    largest = float(np.abs(values).max(initial=0.0))
    if len(values) < FEWEST or not LEAST < largest < 1 / LEAST:
        return None
    digits = _digits(values, eps)
    errors = [2 * kind * largest for kind in (eps, SINGLE) if kind >= eps]
    errors += [] if decimals is None else [0.51 * 10.0**-decimals]
    errors += [] if digits < 0 else [0.51 * 10.0 ** (np.floor(np.log10(largest)) + 1 - digits)]
    found = [lattice for error in sorted(errors) if (lattice := _find(values, error)) is not None]
    if not found:
        return None
    start, spacing = max(found, key=lambda lattice: lattice[1])  # decimals are on a finer one too
    several = counts >= HELD
    order = np.argsort(-counts[several], kind="stable")  # of two ways to write a number, the more frequent
    held = values[several][order]
    places, first = np.unique(np.round((held - start) / spacing), return_index=True)
    way = _written(values, start, spacing, [(-1, -1), (digits, -1), (-1, -1 if decimals is None else decimals)])
    return Lattice(start, spacing, held[first], places, *way)


def _written(values: Floats, start: float, spacing: float, ways: list[tuple[int, int]]) -> tuple[int, int]:
    """The digits and decimals that most of the values (n,) of a lattice are rounded to, of some ways."""
    places, none = np.round((values - start) / spacing), np.empty(0)
    alike = [(Lattice(start, spacing, none, none, *way).values(places) == values).sum() for way in ways]
    return ways[int(np.argmax(alike))]


def _digits(values: Floats, eps: float) -> int:
    """Significant digits that all values (n,) have, or -1."""
    for digits in DIGITS:
        if bool(np.all(np.abs(values - _rounded(values, digits)) <= 2 * eps * np.abs(values))):
            return digits
    return -1


def _find(held: Floats, error: float) -> tuple[float, float] | None:
    """Start and spacing of a lattice that holds different values (m,), ascending, each to within an error.

    The spacing is the greatest common divisor of the smallest gaps, by Euclid's algorithm with an error, and then by
    least squares over values farther and farther away.
    """
    gaps = np.diff(held)
    gaps = np.sort(gaps[gaps > 4 * error])
    if len(gaps) < FEWEST - 1:
        return None
    spacing = float(gaps[0])
    for gap in gaps[1:GAPS]:
        spacing = _divisor(float(gap), spacing, APART / 2 * error)
    found = _fitted(held, spacing) if spacing >= APART * error else None
    if found is None or found[1] < max(APART * error, np.ptp(held) / LONGEST):
        return None
    start, spacing = found
    start -= spacing * round(start / spacing)
    start = start if abs(start) > 2 * error else 0.0
    apart = held - start - np.round((held - start) / spacing) * spacing
    return (start, spacing) if np.abs(apart).max() <= 2 * error else None


def _rounded(values: Floats, digits: int) -> Floats:
    """Values (n,) rounded to so many significant digits."""
    return np.array([float(f"{value:.{digits}g}") for value in values.tolist()])


def _divisor(a: float, b: float, least: float) -> float:
    """The greatest common divisor of two numbers, of which remainders below the least are errors."""
    while b > least:
        a, b = b, abs(a - round(a / b) * b)
    return a


def _fitted(held: Floats, spacing: float) -> tuple[float, float] | None:
    """Start and spacing by least squares, from the middle value outwards; None where values are off the lattice."""
    middle = float(held[len(held) // 2])
    start, reach, far = middle, FIRST * spacing, np.abs(held - middle)
    while True:
        near = held[far <= reach]
        if len(near) > 2:
            places = np.round((near - start) / spacing)
            if np.abs(near - start - places * spacing).max() > 0.25 * spacing:
                return None
            spread = places - places.mean()
            total = float(spread @ spread)
            if total:
                spacing = float(spread @ near) / total
                start = float(near.mean()) - spacing * float(places.mean())
        if reach >= far.max():
            return start, spacing
        reach *= 4
