"""Files of more rows than are learnt from: which rows are kept, with what chance, and what each then weighs."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from gaussflow.apps._optional import need
from gaussflow.apps.tabular._arrays import Booleans, Floats
from gaussflow.apps.tabular.frames._cells import Spelling
from gaussflow.apps.tabular.frames._tally import Tally

if TYPE_CHECKING:
    import pandas as pd

Parts = Callable[[], Iterable["pd.DataFrame"]]


@dataclass(frozen=True)
class Reading:
    """What was read of a file.

    Attributes
    ----------
    frame
        The rows kept (n, D), in their order.
    count
        How many rows the file has.
    even
        Which of the rows kept (n,) are those of an even draw; the others hold what is rare.
    chance
        The chance (n,) that each had to be kept.
    spellings
        How the columns of a CSV were written.
    """

    frame: pd.DataFrame
    count: int
    even: Booleans
    chance: Floats
    spellings: dict[str, Spelling] = field(default_factory=dict)

    def weights(self, rows: Booleans, held_out: float) -> Floats | None:
        r"""What the rows (n,) that are fitted weigh, where a share of the even ones was held out; None for the same.

        A row weighs :math:`1 / \pi` with :math:`\pi` its chance to be among those fitted, so that weighted sums have
        the sums over all rows of the file for their mean (Horvitz and Thompson, 1952).
        """
        if self.count == len(self.even):
            return None
        least = float(self.chance.min())
        fitted: Floats = 1 / (self.chance[rows] - held_out * least)
        return fitted


def whole_frame(parts: Iterable[pd.DataFrame]) -> Reading:
    """All rows of a table in parts."""
    held = list(parts)
    frame = need("pandas", "a table").concat(held, ignore_index=True) if held else need("pandas", "a table").DataFrame()
    return Reading(frame, len(frame), np.ones(len(frame), np.bool_), np.ones(len(frame)))


def drawn_frame(parts: Parts, most: int, seed: int, decimal: str | None = None) -> Reading:
    """At most so many rows of a table, each with the same chance, and beside them those that hold what is rare.

    The table is gone through twice: first its cells are counted, then rows are kept. Each row has a random number, and
    those with the least numbers make the even draw; a row with a rare cell is kept up to a larger number. All rows are
    kept where there are no more than ``most``.
    """
    tallies, count, cut = tallied(parts(), most, seed, decimal)
    if count <= most:
        return whole_frame(parts())
    even = most / count
    rare = {name: tally.chances(even, most / max(len(tallies), 1)) for name, tally in tallies.items()}
    random = _numbers(seed)
    frames, marks, chances = [], [], []
    for part in parts():
        number, chance = random.random(len(part)), np.full(len(part), even)
        for name, told in rare.items():
            if told:
                chance = np.maximum(chance, _chance(part[name], told))
        stay = np.flatnonzero((number <= cut) | ((number < chance) & (chance > even)))
        frames.append(part.iloc[stay])
        marks.append(number[stay] <= cut)
        chances.append(chance[stay])
    frame = need("pandas", "a table").concat(frames, ignore_index=True)
    return Reading(frame, count, np.concatenate(marks), np.concatenate(chances))


def tallied(
    parts: Iterable[pd.DataFrame], most: int, seed: int, decimal: str | None
) -> tuple[dict[Any, Tally], int, float]:
    """What the columns hold, how many rows there are, and the number up to which a row is one of the ``most``.

    Each row has a random number; those with the least stay (Vitter, 1985, has the history of reservoirs).
    """
    random, tallies, count = _numbers(seed), dict[Any, Tally](), 0
    least = np.empty(0)
    for part in parts:
        count += len(part)
        least = np.append(least, random.random(len(part)))
        if len(least) > most:
            least = np.partition(least, most - 1)[:most]
        for name in part.columns:
            tallies.setdefault(name, Tally(decimal)).add(part[name])
    return tallies, count, float(least.max()) if len(least) else 0.0


def _numbers(seed: int) -> np.random.Generator:
    """Random numbers of the rows, the same at every reading; not those that made a table by the same seed."""
    return np.random.default_rng([seed, 1952])


def _chance(part: pd.Series, told: dict[Any, float]) -> Floats:
    """The chance (n,) to be kept that the cells of a part say; 0 for what is not rare."""
    found: Floats = part.map(told).to_numpy(dtype=np.float64, na_value=0.0)
    found = np.nan_to_num(found)
    return np.where(part.isna().to_numpy(), told[None], found) if None in told else found
