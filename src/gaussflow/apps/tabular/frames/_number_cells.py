"""Numbers as tables write them: decimal commas, signs between thousands, signs of percent and money."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

INTEGER = re.compile(r"[+-]?(0|[1-9]\d*)")  # a leading zero makes a code, as of a district
NUMBER = re.compile(r"[+-]?(inf(inity)?|((0|[1-9]\d*)(\.\d*)?|\.\d+)(e[+-]?\d+)?)", re.IGNORECASE)
BEFORE = ("US$", "$", "€", "£", "¥")
AFTER = (" %", "\u00a0%", "%", " ‰", "‰", " €", "\u00a0€", "€", " £", " $")
BETWEEN = (",", ".", " ", "'", "\u00a0", "\u202f", "’")  # thousands
CERTAIN = 5  # numbers below a thousand beside which 1,234 is one with a sign between thousands


@dataclass(frozen=True)
class Notation:
    """How numbers are written.

    Attributes
    ----------
    before, after
        What stands about each number.
    decimal, thousands
        The sign before the decimals, and between thousands.
    plus
        Whether those above zero have a sign.
    """

    before: str = ""
    after: str = ""
    decimal: str = "."
    thousands: str = ""
    plus: bool = False

    def plain(self, cell: str) -> str:
        """A cell as programs write it."""
        body = cell.removeprefix(self.before).removesuffix(self.after)
        return (body.replace(self.thousands, "") if self.thousands else body).replace(self.decimal, ".")

    def cell(self, value: float, decimals: int | None, point: bool) -> str:
        """The cell of a number, with so many decimals or as few as it needs, with a point at whole ones or without."""
        value += 0.0 if isinstance(value, float) else 0  # no negative zero
        group = "," if self.thousands else ""
        if decimals is not None:
            text = f"{value:{group}.{decimals}f}"
        elif not point and abs(value) < 1e15 and value == int(value):
            text = f"{int(value):{group}d}"
        else:
            text = f"{value:{group}}" if group else repr(value)
        signs = {",": self.thousands, ".": self.decimal}
        text = "".join(signs.get(sign, sign) for sign in text)
        return f"{self.before}{'+' * (self.plus and value > 0)}{text}{self.after}"


def notation(cells: Sequence[str], decimal: str | None = None) -> Notation | None:
    """How different cells of numbers are written; None where they are none, or where 1,234 may be either.

    ``decimal`` is the sign before decimals where it is told.
    """
    before = next((sign for sign in BEFORE if all(cell.startswith(sign) for cell in cells)), "")
    after = next((sign for sign in AFTER if all(cell.endswith(sign) for cell in cells)), "")
    bodies = [cell.removeprefix(before).removesuffix(after) for cell in cells]
    plus = any(body.startswith("+") for body in bodies) and all(body[:1] in "+-0" for body in bodies)
    if decimal != "," and all(NUMBER.fullmatch(body) for body in bodies):
        return Notation(before, after, plus=plus)
    found = [style for style in _styles(decimal) if _written(bodies, *style)]
    if (",", "") in found and (".", ",") in found and unclear(bodies):
        return None
    if (",", "") in found and (".", ",") in found:
        found = [(".", ",")] if _thousands(bodies) else [(",", "")]
    return Notation(before, after, *found[0], plus) if found else None


def unclear(cells: Sequence[str]) -> bool:
    """Whether commas may stand before decimals as well as between thousands: 1,234 and the like, and no other."""
    bodies = [cell.strip() for cell in cells]
    either = all(re.fullmatch(r"[+-]?\d{1,3}(,\d{3})?", body) for body in bodies) and any("," in b for b in bodies)
    return either and not _thousands(bodies)


def _thousands(bodies: Sequence[str]) -> bool:
    """Whether some numbers have no comma, as those below a thousand, and all others three digits after it."""
    return (
        sum("," not in body for body in bodies) >= CERTAIN
        and all(re.fullmatch(r"[+-]?[1-9]\d{0,2}(,\d{3})+(\.\d+)?|[+-]?\d{1,3}(\.\d+)?", body) for body in bodies)
    ) or any(body.count(",") > 1 or re.search(r",\d{3}\.", body) for body in bodies)


def _styles(decimal: str | None) -> list[tuple[str, str]]:
    signs = [decimal] if decimal else [",", "."]
    return [(sign, between) for sign in signs for between in ("", *BETWEEN) if between != sign]


def _written(bodies: Sequence[str], decimal: str, between: str) -> bool:
    whole = rf"[1-9]\d{{0,2}}({re.escape(between)}\d{{3}})+|[1-9]\d{{0,2}}|0" if between else r"0|[1-9]\d*"
    shape = re.compile(rf"[+-]?({whole})({re.escape(decimal)}\d+)?")
    return all(shape.fullmatch(body) for body in bodies) and (not between or any(between in body for body in bodies))
