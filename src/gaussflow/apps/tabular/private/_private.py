"""A law of noisy counts: each column given one other, by a tree of columns chosen under differential privacy."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from itertools import combinations
from typing import TYPE_CHECKING, Any

import numpy as np

from gaussflow.apps.tabular._arrays import Floats, Integers
from gaussflow.apps.tabular.frames._schema import Column
from gaussflow.apps.tabular.law._columns import Skeleton
from gaussflow.apps.tabular.law._joint import Joint, arranged
from gaussflow.apps.tabular.private._bounds import Domain, domains
from gaussflow.apps.tabular.private._noise import Part, budget
from gaussflow.apps.tabular.private._private_law import BEYOND, Groups, TableLaw
from gaussflow.apps.tabular.rules._compile import public_plan
from gaussflow.apps.tabular.rules._plan import Plan
from gaussflow.apps.tabular.rules._rules import Constraint

if TYPE_CHECKING:
    import pandas as pd

SHARES = [0.25, 0.15, 0.6]  # of the budget: counts of columns, choices of pairs, counts of pairs
GROUPS = 16  # of one column in a pair, at most; fewer, where the counts of pairs would be mostly noise
CERTAIN = 3.0  # standard deviations of the noise that a group of cells holds at least
SURE = 2.0  # standard deviations of the noise by which two halves of a line differ
FLOOR = 1e-7  # of the probability, for what no noisy count speaks for
ROUNDS = 30  # of fitting a pair to its margins


@dataclass(frozen=True)
class Statement:
    """What differential privacy a fit has, and what it does not cover.

    Attributes
    ----------
    epsilon, delta
        The guarantee, for tables that differ by one row added or taken away.
    noise_of_columns, noise_of_pairs
        Standard deviations of the noise on each count.
    columns
        How many columns.
    """

    epsilon: float
    delta: float
    noise_of_columns: float
    noise_of_pairs: float
    columns: int

    def __str__(self) -> str:
        return (
            f"({self.epsilon:g}, {self.delta:g})-differential privacy for one row added or taken away. Spent on the "
            f"counts of {self.columns} columns (noise of {self.noise_of_columns:.3g} rows each), on the choice of "
            f"{max(0, self.columns - 1)} pairs, and on their counts (noise of {self.noise_of_pairs:.3g} rows). Covered "
            "is all that the model holds of the rows, their number included. Not covered: the names, dtypes and "
            "categories of the columns, the bounds, the constraints and epsilon, which are taken as known; a person "
            "with several rows, who has the guarantee once for each; other fits to the same rows, whose epsilons add; "
            "and whatever is computed from the rows beside, such as a report."
        )


def fit_private(
    df: pd.DataFrame,
    epsilon: Any,
    delta: Any,
    bounds: Mapping[Any, Any] | None,
    owner: str,
    identifiers: Any = None,
    rules: Sequence[Constraint] = (),
) -> tuple[list[Column], Joint, int, Statement, Plan]:
    """Columns, law and noisy number of rows, and what is guaranteed; of the rows nothing but noisy counts is used."""
    _check_budget(epsilon, delta, owner)
    found = domains(df, bounds, owner, identifiers)
    plan = public_plan(rules, [domain.column for domain in found], owner)
    cells = [domain.cells(df[domain.column.name]) for domain in found]
    d = len(found)
    single, choice, pair = budget(epsilon, delta, SHARES if d > 1 else [1.0, 0.0, 0.0], [d, d - 1, d - 1])
    counts = [_counted(cell, domain.size, single) for cell, domain in zip(cells, found, strict=True)]
    sizes = np.array([domain.size for domain in found])  # the fewer cells, the less noise in their sum
    rows = max(1.0, float(np.average([count.sum() for count in counts], weights=1 / sizes)))
    margins = [
        _settled(_smoothed(count, domain, single.sigma), rows, _open(domain))
        for count, domain in zip(counts, found, strict=True)
    ]
    most = int(np.clip(np.sqrt(rows / max(pair.sigma, 1e-9)), 2, GROUPS)) if d > 1 else GROUPS
    groups = [_groups(margin, domain, single.sigma, most) for margin, domain in zip(margins, found, strict=True)]
    grouped = [group[cell] for group, cell in zip(groups, cells, strict=True)]
    coarse = [np.bincount(group, margin).astype(np.float64) for group, margin in zip(groups, margins, strict=True)]
    edges = _tree(grouped, coarse, rows, choice, pair.sigma) if d > 1 else []
    order, parents = _walk(d, edges, plan.edges)
    laws: list[Any] = [None] * d
    for j in order:
        up = parents[j]
        table = coarse[j][None] if up < 0 else _pair(grouped[up], grouped[j], coarse[up], coarse[j], rows, pair)
        laws[j] = _law(table, margins[j], groups[j], found[j], order.index(up) if up >= 0 else -1)
    encodings: list[Any] = [_encoding(group, domain) for group, domain in zip(groups, found, strict=True)]
    skeletons = [_seen(domain, margin) for domain, margin in zip(found, margins, strict=True)]
    joint = Joint(order, skeletons, encodings, laws)
    statement = Statement(epsilon, delta, single.sigma, pair.sigma if d > 1 else 0.0, d)
    return [domain.column for domain in found], joint, round(rows), statement, plan


def _check_budget(epsilon: Any, delta: Any, owner: str) -> None:
    numbers = all(isinstance(each, int | float) and not isinstance(each, bool) for each in (epsilon, delta))
    if not numbers or not (0 < epsilon <= 1000 and 0 <= delta < 0.1):
        raise ValueError(
            f"{owner} takes an epsilon above 0 and at most 1000, and a delta from 0 to below 0.1, far less than "
            f"one over the number of rows; got {epsilon!r} and {delta!r}."
        )


def _counted(cells: Integers, size: int, part: Part) -> Floats:
    """Noisy counts (size,) of cells (n,)."""
    counts: Floats = (np.bincount(cells, minlength=size) + part.noise(size)).astype(np.float64)
    return counts


def _open(domain: Domain) -> np.ndarray:
    """The cells that rows may be in: a column whose dtype has no gaps has none."""
    opened = np.ones(domain.size, np.bool_)
    opened[0] = domain.column.nullable
    return opened


def _smoothed(counts: Floats, domain: Domain, sigma: float) -> Floats:
    """Noisy counts (size,), those along a line even where halves of it do not differ by more than noise would.

    Halves of halves, from the whole line down (Haar, 1910; thresholds as of Donoho and Johnstone, 1994).
    """
    first = 1 + len(domain.skeleton.points)
    smoothed, line = counts.copy(), counts[first:]
    summed = np.append(0.0, np.cumsum(line))
    width = np.diff(domain.edges) if len(line) else np.empty(0)
    open_parts = [(0, len(line), float(summed[-1]))] if len(line) else []
    while open_parts:
        start, end, total = open_parts.pop()
        if end - start == 1:
            smoothed[first + start] = total
            continue
        middle = (start + end) // 2
        share = width[start:middle].sum() / width[start:end].sum()
        left = summed[middle] - summed[start]
        more = left - share * (summed[end] - summed[start])
        noise = sigma * np.sqrt((1 - share) ** 2 * (middle - start) + share**2 * (end - middle))
        own = share * total + (more if abs(more) > SURE * noise else 0.0)
        open_parts += [(start, middle, own), (middle, end, total - own)]
    return smoothed


def _settled(counts: Floats, rows: float, opened: np.ndarray) -> Floats:
    """The nearest counts that are not negative and sum to so many rows, none where no row can be."""
    held = np.where(opened, counts, -np.inf)
    ordered = np.sort(held[opened])[::-1]
    excess = (np.cumsum(ordered) - rows) / np.arange(1, len(ordered) + 1)
    most = int(np.flatnonzero(ordered > excess)[-1])
    settled: Floats = np.maximum(held - excess[most], 0)
    return settled


def _groups(margin: Floats, domain: Domain, sigma: float, most: int) -> Integers:
    """The group (size,) of each cell for pairs: missing, common levels, the others together, and pieces of the line.

    Chosen by noisy counts alone: a group holds its share of the rows, if there are to be ``most``, and three deviations
    of the noise, where it can.
    """
    listed = len(domain.skeleton.points)
    least = max(CERTAIN * sigma, margin.sum() / most)
    group = np.zeros(domain.size, np.int64)
    following = 1 if domain.column.nullable else 0
    common = np.flatnonzero(margin[1 : 1 + listed] >= min(least, CERTAIN * sigma + 1))
    common = common[np.argsort(-margin[1 + common], kind="stable")][: 2 * GROUPS]
    group[1 : 1 + listed] = following + len(common)
    group[1 + common] = following + np.arange(len(common))
    following += len(common) + int(listed > len(common))
    held = 0.0
    for cell in range(1 + listed, domain.size):
        group[cell] = following
        held += float(margin[cell])
        if held >= least and margin[cell + 1 :].sum() >= least:
            following, held = following + 1, 0.0
    return group


def _tree(
    grouped: list[Integers], coarse: list[Floats], rows: float, part: Part, sigma: float
) -> list[tuple[int, int]]:
    """Pairs that join all columns, each chosen for its distance from independence, by the exponential mechanism.

    One row more moves one count of a pair by one, so that the distance, the sum of all differences, moves by one at
    most. What the noise on so many counts will cost is taken off (McKenna, Mullins, Sheldon and Miklau, 2022).
    """
    d = len(grouped)
    scores = {}
    for i, j in combinations(range(d), 2):
        table = _table(grouped[i], grouped[j], len(coarse[i]), len(coarse[j]))
        apart = np.abs(table - np.outer(coarse[i], coarse[j]) / rows).sum()
        scores[i, j] = float(apart) - np.sqrt(2 / np.pi) * sigma * table.size
    island, edges = list(range(d)), []
    for _ in range(d - 1):
        free = [pair for pair in scores if island[pair[0]] != island[pair[1]]]
        i, j = free[part.choose(np.array([scores[pair] for pair in free]))]
        edges.append((i, j))
        old, new = island[j], island[i]
        island = [new if each == old else each for each in island]
    return edges


def _table(first: Integers, second: Integers, a: int, b: int) -> Floats:
    return np.bincount(first * b + second, minlength=a * b).reshape(a, b).astype(np.float64)


def _walk(d: int, edges: list[tuple[int, int]], before: Sequence[tuple[int, int]] = ()) -> tuple[list[int], list[int]]:
    """An order of the columns and the parent of each, -1 for the first: one with as many neighbours as may be.

    The law of a tree is the same from whichever column on, so that it may begin where the first of each of the pairs
    ``before`` comes before the second.
    """
    near: dict[int, list[int]] = {j: [] for j in range(d)}
    for i, j in edges:
        near[i].append(j)
        near[j].append(i)
    for root in sorted(near, key=lambda j: -len(near[j])):
        order, parents = [root], [-1] * d
        for j in order:
            for k in near[j]:
                if k not in order:
                    order.append(k)
                    parents[k] = j
        with suppress(ValueError):  # of circles
            return arranged(order, [*before, *((up, j) for j, up in enumerate(parents) if up >= 0)]), parents
    raise ValueError(
        "TableSynthesizer.fit with epsilon finds no order of the columns in which all constraints can be kept with the "
        "pairs of columns that noisy counts have chosen. Leave a constraint out, or fit again."
    )


def _pair(first: Integers, second: Integers, a: Floats, b: Floats, rows: float, part: Part) -> Floats:
    """Counts (A, B) of a pair: noisy, drawn towards independence as far as noise may be all, and with its margins."""
    size = len(a) * len(b)
    noisy = _counted(first * len(b) + second, size, part).reshape(len(a), len(b))
    alone = np.outer(a, b) / rows
    table = _settled(noisy.ravel(), rows, (alone > 0).ravel()).reshape(alone.shape) if (alone > 0).any() else alone
    apart = float(np.square(noisy - alone).sum())
    signal = max(0.0, 1 - size * part.sigma**2 / max(apart, 1e-9))
    table = signal * table + (1 - signal) * alone + 1e-9
    for _ in range(ROUNDS):
        table = table * (a / np.maximum(table.sum(1), 1e-12))[:, None]
        table = table * (b / np.maximum(table.sum(0), 1e-12))
    return table


def _law(table: Floats, margin: Floats, groups: Integers, domain: Domain, parent: int) -> TableLaw:
    """The law of a column by the counts (G, K) of its groups: a group is shared out as the column's own counts are."""
    listed = len(domain.skeleton.points)
    shares = (table + 1e-9) / (table + 1e-9).sum(1, keepdims=True)
    whole = np.bincount(groups, margin, table.shape[1])
    cells = np.bincount(groups, minlength=table.shape[1])
    within = np.where(whole[groups] > 0, margin / np.maximum(whole[groups], 1e-12), 1 / cells[groups])
    each = shares[:, groups] * within * _open(domain)
    each = each / each.sum(1, keepdims=True)
    states = each[:, : 1 + listed]
    if domain.skeleton.numeric:
        states = np.concatenate([states, each[:, 1 + listed :].sum(1, keepdims=True)], 1)
    floor = FLOOR * np.ones(states.shape[1])
    floor[0] *= domain.column.nullable
    states = (1 - floor.sum()) * states + floor
    edges = domain.edges
    if not domain.skeleton.numeric:
        return TableLaw(parent, states, np.array([0.0, 1.0]), np.full((len(states), 1), 1 - 2 * BEYOND))
    if len(edges) < 2:
        edges = np.array([domain.skeleton.low - 0.5, domain.skeleton.high + 0.5])
        return TableLaw(parent, states, edges, np.full((len(states), 1), 1 - 2 * BEYOND))
    bins = each[:, 1 + listed :]
    total = bins.sum(1, keepdims=True)
    bins = np.where(total > 0, bins / np.maximum(total, 1e-300), 1 / bins.shape[1])
    bins = (1 - FLOOR) * bins + FLOOR / bins.shape[1]
    return TableLaw(parent, states, edges, bins * (1 - 2 * BEYOND))


def _encoding(group: Integers, domain: Domain) -> Groups:
    listed = len(domain.skeleton.points)
    of_states = group[: 1 + listed]
    if not domain.skeleton.numeric:
        return Groups(of_states, np.empty(0), np.empty(0, np.int64))
    if len(domain.edges) < 2:
        return Groups(np.append(of_states, of_states[-1]), np.empty(0), np.empty(0, np.int64))
    return Groups(np.append(of_states, -1), domain.edges, group[1 + listed :])


def _seen(domain: Domain, margin: Floats) -> Skeleton:
    """The states that rows drawn may have: those with a noisy count above nothing."""
    listed = len(domain.skeleton.points)
    seen = margin[: 1 + listed] > 0
    if domain.skeleton.numeric:
        seen = np.append(seen, len(domain.edges) > 1 and margin[1 + listed :].sum() > 0)
    if not seen.any():
        seen = domain.skeleton.seen
    return replace(domain.skeleton, seen=seen)
