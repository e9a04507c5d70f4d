"""Dates and times of day as tables write them, read where there is one way to, and written so again."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import product
from typing import TYPE_CHECKING, Any

from gaussflow.apps._optional import need

if TYPE_CHECKING:
    import pandas as pd

DATES: tuple[str, ...] = (
    "%Y-%m-%d",
    "%Y/%m/%d",
    "%Y.%m.%d",
    "%d/%m/%Y",
    "%m/%d/%Y",
    "%d.%m.%Y",
    "%d-%m-%Y",
    "%m-%d-%Y",
    "%d-%b-%Y",
)
DATES += ("%d %b %Y", "%d %B %Y", "%b %d, %Y", "%B %d, %Y")
CLOCKS = ("", " %H:%M", "T%H:%M", " %H:%M:%S", "T%H:%M:%S", " %H:%M:%S.%f", "T%H:%M:%S.%f")
ZONE = re.compile(r":\d\d(\.\d+)?(?P<zone>Z|[+-]\d\d:?\d\d)$")
CLOCK = re.compile(r"([01]?\d|2[0-3]):[0-5]\d(:[0-5]\d)?")
LEADING = re.compile(r"(?<!\d)0(?=\d)")
TRIED = 50  # cells that rule out most formats


@dataclass(frozen=True)
class Moment:
    """How dates are written: a format, whether days and months below ten have a zero, digits left out, and a zone."""

    format: str
    padded: bool = True
    cut: int = 0
    zone: str = ""

    def cell(self, value: Any) -> str:
        """The cell of a date."""
        text = str(value.strftime(self.format))
        text = text[: len(text) - self.cut]
        if not self.padded:
            date, sign, clock = text.partition(" " if "%H" in self.format and "T" not in self.format else "T")
            text = LEADING.sub("", date) + sign + clock
        return text + self.zone


def read_moments(cells: pd.Series, held: Sequence[str]) -> tuple[pd.Series, Moment] | None:
    """The dates of cells (n,), missing ones None, and how they are written; None where they are none.

    Of formats that read all cells, none is taken where two give other dates: 01/02/2020 has two readings.
    """
    zones = {told["zone"] if (told := ZONE.search(cell)) else "" for cell in held}
    if len(zones) > 1:
        return None
    zone = zones.pop()
    bare, held = cells.str.removesuffix(zone), [cell.removesuffix(zone) for cell in held]
    found: list[tuple[pd.Series, Moment]] = []
    for form in (form for form in map("".join, product(DATES, CLOCKS)) if _reads(form, held[:TRIED])):
        times = need("pandas", "a table").to_datetime(bare, format=form, errors="coerce")
        if not bool((times.isna() == bare.isna()).all()):
            continue
        for padded, cut in product((True, False), (0, 3) if form.endswith("%f") else (0,)):
            moment = Moment(form, padded, cut)
            if all(moment.cell(time) == cell for time, cell in zip(times.dropna(), bare.dropna(), strict=True)):
                found.append((times, Moment(form, padded, cut, zone)))
                break
    if not all(times.equals(found[0][0]) for times, _ in found[1:]):
        return None
    return found[0] if found else None


def two_readings(held: Sequence[str]) -> bool:
    """Whether cells are dates of which nobody can say what is the day and what the month."""
    forms = [form for form in map("".join, product(DATES, CLOCKS)) if _reads(form, held)]
    return len(forms) > 1


def _reads(form: str, cells: Sequence[str]) -> bool:
    try:
        for cell in cells:
            datetime.strptime(cell, form)
    except ValueError:
        return False
    return bool(cells)


def read_clocks(cells: pd.Series, held: Sequence[str]) -> tuple[pd.Series, str] | None:
    """The times of day of cells (n,), as durations since midnight, and their format; None where they are none."""
    if not all(CLOCK.fullmatch(cell) for cell in held):
        return None
    parts = {cell.count(":") for cell in held}
    padded = all(len(cell) == len("00:00") + 3 * (cell.count(":") - 1) for cell in held)
    if len(parts) > 1 or (not padded and any(cell.startswith("0") and cell[1] != ":" for cell in held)):
        return None
    count = parts.pop()
    spans = need("pandas", "a table").to_timedelta(cells + ":00" * (2 - count))
    return spans, ("H" if padded else "h") + "ms"[:count]


def clock_cell(value: Any, form: str) -> str:
    """The cell of a time of day."""
    seconds = round(value.total_seconds())
    hour = f"{seconds // 3600:02d}" if form[0] == "H" else str(seconds // 3600)
    rest = [seconds // 60 % 60, seconds % 60][: len(form) - 1]
    return ":".join([hour, *(f"{part:02d}" for part in rest)])
