"""What drawn rows give away of the rows that were fitted: nearness, membership, copies, rare combinations."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np

from gaussflow.apps._optional import need
from gaussflow.apps.tabular._arrays import Floats, Integers
from gaussflow.apps.tabular.report._beside import Kind, alike, points
from gaussflow.apps.tabular.report._likeness import area_of

BINS = 20  # of numbers, in combinations of values
MOST_COMBINED = 300  # pairs and as many triples of columns
FEWEST = 20  # rows below which nothing is said


@dataclass(frozen=True)
class Share:
    """A share and its standard error."""

    value: float
    error: float


@dataclass(frozen=True)
class Exposure:
    """What drawn rows give away of rows fitted; shares that need rows held out are None without them.

    Attributes
    ----------
    nearer
        The share of the drawn rows that lie nearer to a row fitted than to any of as many rows held out: 0.5 where
        nothing is given away.
    member
        The ROC area of telling rows fitted from rows held out by their distance to the nearest row drawn.
    crowded
        The share of the drawn rows nearer to a row fitted than half of the rows fitted lie to another such row:
        the comparison for want of rows held out, 0.5 where rows drawn keep the distance that real rows keep.
    copies
        The share of the drawn rows that are equal to a row fitted.
    copies_by_chance
        The share of the rows held out that are; without these, of rows fitted that come more than once.
    alone
        The share of the rows fitted that are alone with some combination of two or three values.
    again
        The share of these combinations that come up among the drawn rows.
    again_by_chance
        The share that come up among as many rows held out.
    again_excess
        The mean difference of the two by row.
    """

    nearer: Share | None
    member: Share | None
    crowded: Share | None
    copies: Share
    copies_by_chance: Share
    alone: float
    again: float
    again_by_chance: float | None
    again_excess: Share | None


def nearest(a: Floats, b: Floats, other: bool = False) -> tuple[Floats, Integers]:
    """The distance (n,) of each point of a (n, P) to the nearest of b (m, P), or to the nearest other, and which."""
    neighbours = need("sklearn.neighbors", "distances").NearestNeighbors(n_neighbors=1 + other).fit(b)
    far, which = neighbours.kneighbors(a)
    return far[:, -1].astype(np.float64), which[:, -1].astype(np.int64)


def nearer_share(drawn: Floats, fitted: Floats, held_out: Floats) -> Share:
    r"""The share of points drawn (M, P) nearer to one fitted than to any of as many held out, ties counting half.

    Its error is that of handing out the two names by chance to equal numbers of real rows: one that is the nearest of
    c drawn rows moves the share by c/M at once, so the variance is :math:`\sum (c - \bar c)^2 / 4 M^2`, but for the
    last of the real rows, whose name follows from the others.
    """
    n = min(len(fitted), len(held_out))
    (near, first), (far, second) = (nearest(drawn, part[:n]) for part in (fitted, held_out))
    share = np.mean((near < far) + 0.5 * (near == far))
    clear = near != far
    owner = np.where(near < far, first, n + second)[clear]
    counts = np.bincount(owner, minlength=2 * n)
    variance = counts.var() * 2 * n * (2 * n) / (2 * n - 1)
    return Share(float(share), float(np.sqrt(max(1.0, variance)) / (2 * len(drawn))))


def member_area(drawn: Floats, fitted: Floats, held_out: Floats) -> Share:
    """The ROC area of telling points fitted from points held out by the distance to the nearest drawn."""
    near, far = (nearest(part, drawn)[0] for part in (fitted, held_out))
    return Share(*area_of(-far, -near))


def check_exposure(kinds: Sequence[Kind], real: Floats, drawn: Floats, held_out: Floats | None, seed: int) -> Exposure:
    """All measures, of rows as codes."""
    fitted, new = points(real, real, kinds), points(drawn, real, kinds)
    nearer = member = crowded = None
    if held_out is not None and min(len(held_out), len(real), len(drawn)) >= FEWEST:
        unseen = points(held_out, real, kinds)
        nearer, member = nearer_share(new, fitted, unseen), member_area(new, fitted, unseen)
    elif held_out is None and min(len(real), len(drawn)) >= FEWEST:
        usual = np.median(nearest(fitted, fitted, other=True)[0])
        crowded = _share((nearest(new, fitted)[0] < usual).astype(float))
    copies = _share(alike(drawn, real).astype(float))
    chance = _share(alike(held_out, real).astype(float) if held_out is not None else _twice(real))
    alone, again, by_chance, excess = _combinations(kinds, real, drawn, held_out, seed)
    return Exposure(nearer, member, crowded, copies, chance, alone, again, by_chance, excess)


def _share(marks: Floats) -> Share:
    guess = (marks.sum() + 1) / (len(marks) + 2)
    return Share(float(marks.mean()), float(np.sqrt(guess * (1 - guess) / len(marks))))


def _twice(x: Floats) -> Floats:
    _, place, counts = np.unique(np.nan_to_num(x, nan=-1.2345e300), axis=0, return_inverse=True, return_counts=True)
    return (counts[place.ravel()] > 1).astype(float)


def _combinations(
    kinds: Sequence[Kind], real: Floats, drawn: Floats, held_out: Floats | None, seed: int
) -> tuple[float, float, float | None, Share | None]:
    """Combinations of two or three values that one row fitted alone has, and how many come again."""
    random = np.random.default_rng(seed)
    n = min(len(drawn), len(held_out)) if held_out is not None else len(drawn)
    others = [drawn[random.permutation(len(drawn))[:n]]]
    if held_out is not None:
        others.append(held_out[random.permutation(len(held_out))[:n]])
    coarse = [_coarse(kinds, x, real) for x in (real, *others)]
    alone, again = np.zeros(len(real)), np.zeros((len(others), len(real)))
    for chosen in _chosen(len(kinds), random):
        codes = [(x[:, chosen] * 1000 ** np.arange(len(chosen))).sum(1) for x in coarse]
        _, place, counts = np.unique(codes[0], return_inverse=True, return_counts=True)
        rows = np.flatnonzero(counts[place] == 1)
        alone[rows] += 1
        for k, other in enumerate(codes[1:]):
            again[k, rows] += np.isin(codes[0][rows], other)
    some = alone > 0
    if not some.any():
        return 0.0, 0.0, None if held_out is None else 0.0, None
    shares = [float(part.sum() / alone.sum()) for part in again]
    if held_out is None:
        return float(some.mean()), shares[0], None, None
    excess = (again[0] - again[1])[some] / alone[some]
    error = float(excess.std() / np.sqrt(len(excess))) + 1 / len(excess)
    return float(some.mean()), shares[0], shares[1], Share(float(excess.mean()), error)


def _coarse(kinds: Sequence[Kind], x: Floats, real: Floats) -> Integers:
    """Codes (n, D) below 1000: categories, and numbers in twenty bins of the real rows; 0 for missing."""
    columns = []
    for j, kind in enumerate(kinds):
        column, held = x[:, j], real[~np.isnan(real[:, j]), j]
        if kind.category:
            code = 1 + np.minimum(np.nan_to_num(column), 990)
        else:
            edges = np.unique(np.quantile(held, np.arange(1, BINS) / BINS)) if len(held) else np.empty(0)
            code = 1.0 + np.searchsorted(edges, np.nan_to_num(column), side="right")
        columns.append(np.where(np.isnan(column), 0, code).astype(np.int64))
    return np.column_stack(columns)


def _chosen(count: int, random: np.random.Generator) -> list[list[int]]:
    """Pairs and triples of columns, some of them where they are many."""
    found = []
    for size in (2, 3):
        if count**size <= 10 * MOST_COMBINED:
            every = [list(each) for each in combinations(range(count), size)]
        else:
            every = [sorted(random.choice(count, size, replace=False).tolist()) for _ in range(2 * MOST_COMBINED)]
        found += [every[k] for k in random.permutation(len(every))[:MOST_COMBINED]]
    return found or [[0]]
