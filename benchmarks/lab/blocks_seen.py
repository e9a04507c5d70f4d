"""What the lines of the blocks experiment show, in numbers: counts, rates, the bound, samples beside exact runs."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

from benchmarks.lab.counts import RATIOS, Group, group_by
from benchmarks.lab.experiment import Line
from benchmarks.lab.intervals import Interval, mean_of, student
from benchmarks.lab.rules import RULES
from benchmarks.lab.spectra import Cost, haar_share, rows_cost
from gaussflow import theory


class Key(NamedTuple):
    """What the runs of one group have in common."""

    spectrum: str
    method: str
    rows: int
    dim: int


Groups = dict[Key, Group]


def grouped(lines: Sequence[Line]) -> Groups:
    """The runs of all seeds by what they have in common."""
    return group_by(lines, Key)


def complete(groups: Groups, spectrum: str, method: str, rows: int, name: str) -> dict[int, list[int]]:
    """Blocks of each run by D, where every run got there."""
    chosen = {key.dim: group[name] for key, group in groups.items() if key[:3] == (spectrum, method, rows)}
    return {dim: counts for dim, counts in chosen.items() if counts and None not in counts}


def reached(groups: Groups, spectrum: str, method: str, rows: int, name: str) -> dict[int, list[int]]:
    """Blocks of each run by D, from the sample's losses where there are rows."""
    prefix = "sampled_" if rows else ""
    if name in RATIOS:
        return complete(groups, spectrum, method, rows, prefix + name)
    if RULES[method].at_once:
        return {}
    first, last = (complete(groups, spectrum, method, rows, prefix + each) for each in RATIOS)
    return {d: [b - a for a, b in zip(first[d], last[d], strict=True)] for d in first.keys() & last.keys()}


def tail_rate(losses: Sequence[float], every: int) -> float:
    """The mean factor of a block, in the logarithm, from where a tenth of the loss is left to the end of the run."""
    start = next((i for i, loss in enumerate(losses) if loss <= losses[0] / 10), len(losses) - 1)
    blocks = every * (len(losses) - 1 - start)
    return (losses[-1] / losses[start]) ** (1 / blocks) if blocks else math.nan


def rate_of(group: dict[str, list[Any]]) -> Interval:
    """The tail's rate over the runs, with its interval."""
    rates = [tail_rate(losses, group["every"][0]) for losses in group["exact"]]
    return mean_of([rate for rate in rates if math.isfinite(rate)])


class Above(NamedTuple):
    """Where the mean loss stands highest over the bound of theorem 2, counted in standard errors."""

    block: int
    errors: float
    critical: float


def highest_above_bound(group: dict[str, list[Any]], dim: int) -> Above | None:
    """The largest excess of the mean over the bound, and what chance alone gives the largest of so many once in twenty.

    Blocks after the end of the shortest run are left out; None for fewer than two runs.
    """
    runs, every = group["exact"], group["every"][0]
    length = min(map(len, runs))
    if len(runs) < 2 or length < 2:
        return None
    scores = []
    for index in range(1, length):
        mean = mean_of([losses[index] for losses in runs])
        start = sum(losses[0] for losses in runs) / len(runs)
        scores.append((mean.value - theory.loss_bound(index * every, dim, start)) / max(mean.error, 1e-9 * mean.value))
    critical = student(len(runs), 1 - 0.1 / len(scores))  # one side, so twice a twentieth
    return Above(every * (1 + scores.index(max(scores))), max(scores), critical)


class Agreement(NamedTuple):
    """A sampled run beside the exact one with the same rotations."""

    block: int
    exact: float
    gap: Interval
    cost: float
    error: float  # of the gap and of the cost together
    runs: int

    @property
    def score(self) -> float:
        """How many errors the gap is from the cost."""
        return (self.gap.value - self.cost) / self.error if self.error > 0 else math.inf

    def agrees(self, level: float) -> bool:
        """Whether the gap is the cost within the interval of that level."""
        return abs(self.score) <= student(self.runs, level)


def agreements(key: Key, group: dict[str, list[Any]]) -> list[Agreement]:
    """At the block where a tenth of the exact loss is left, on average, and at the last of the shortest run."""
    every, length = group["every"][0], min(map(len, group["exact"]))
    if len(group["exact"]) < 2 or length < 2:
        return []
    tenth = [c for c in group["tenfold"] if c is not None]
    first = min(length - 1, max(1, round(sum(tenth) / len(tenth) / every))) if tenth else length - 1
    return [_agreement(key, group, index) for index in dict.fromkeys((first, length - 1))]


def _agreement(key: Key, group: dict[str, list[Any]], index: int) -> Agreement:
    block = index * group["every"][0]
    start, exact = (mean_of([losses[i] for losses in group["exact"]]) for i in (0, index))
    gap = mean_of([s[index] - e[index] for s, e in zip(group["sampled"], group["exact"], strict=True)])
    cost = cost_of(key, block, exact.value / start.value)
    return Agreement(block, exact.value, gap, cost.value, math.hypot(gap.error, cost.error), len(group["exact"]))


def cost_of(key: Key, block: int, left: float) -> Cost:
    """What N rows cost in so many blocks, where the share ``left`` of the exact loss is left.

    Near the identity the blocks leave theorem 2's share, of the rows' sampling error as of the loss. Far from it they
    leave more, and the share of the loss itself stands for it; half of what the two differ by is counted as error.
    """
    if RULES[key.method].at_once:
        return rows_cost(key.dim, key.rows, 0.0)
    near = rows_cost(key.dim, key.rows, haar_share(key.dim) ** block)
    if key.spectrum == "near_identity":
        return near
    seen = rows_cost(key.dim, key.rows, min(1.0, left))
    return Cost(seen.value, math.hypot(seen.error, (near.value - seen.value) / 2))
