"""Rows under conditions and rows completed, or a refusal that says which conditions cannot be met together."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from gaussflow.apps.tabular._arrays import Booleans, Floats
from gaussflow.apps.tabular.drawing._draw import (
    BARRED,
    Found,
    draw_free,
    draw_rows,
    find_rows,
    joined,
    kept_rows,
    rows_at_once,
    taken,
)
from gaussflow.apps.tabular.frames._schema import Column, short
from gaussflow.apps.tabular.law._allowed import Allowed
from gaussflow.apps.tabular.law._joint import Coded, Joint
from gaussflow.apps.tabular.rules._plan import Plan

if TYPE_CHECKING:
    import pandas as pd

OWNER = "TableSynthesizer.sample"
IMPOSSIBLE = -60.0  # nats: conditions less likely than that are refused
PROBES = 4000  # rows by which it is seen how likely conditions are
EXPECTED = 3.0  # rows of the fit that would have what is given, if columns did not depend on one another
REFUSED, DOUBTED = (0.5, 0.05), (1.5, 0.1)  # rows that have it by the law, and their share of those expected
PARTICLES = 128  # candidates for each row of a partial frame
ROUNDS = 16  # times that candidates are drawn for rows without any


def sample_given(
    joint: Joint, plan: Plan, n: int, given: Mapping[int, Allowed], names: Sequence[Any], fitted: int,
    random: np.random.Generator,
) -> Coded:  # fmt: skip
    """Exactly n rows under conditions on columns with these names; ValueError for what hardly any row can have."""
    if not n:
        return draw_rows(joint, plan, 0, {}, random)[0]
    found = find_rows(joint, plan, n, given, random)
    law, expected = _rows_by_law(joint, plan, found, given, fitted)
    if found.weights.max() < IMPOSSIBLE or (law < REFUSED[0] and law < REFUSED[1] * expected):
        raise ValueError(_refusal(joint, plan, given, names, fitted, law))
    if law < DOUBTED[0] and law < DOUBTED[1] * expected:
        warnings.warn(
            f"hardly any row has what was given of {', '.join(map(repr, names))} together: {law:.2g} of the {fitted} "
            f"rows of the fit by the law, {expected:.2g} if the columns did not depend on one another. If none may, "
            "say so with constraints=; suggest_constraints lists the rules that hold.",
            stacklevel=4,
        )
    return kept_rows(found, n, random)


def _rows_by_law(
    joint: Joint, plan: Plan, found: Found, given: Mapping[int, Allowed], fitted: int
) -> tuple[float, float]:
    """Rows among those of the fit with what is given: by the law, and if columns did not depend on one another.

    Infinite and 0 where that cannot be said: of one column, of a density, and where too few would be expected anyway.
    """
    if len(given) < 2 or _has_density(joint, plan, given):
        return np.inf, 0.0
    law = fitted * float(np.exp(np.maximum(found.weights, -745.0)).mean())
    if law >= DOUBTED[0]:
        return law, 0.0
    free = draw_free(joint, plan, PROBES, np.random.default_rng(0))
    expected = fitted * float(np.prod([_share(free, {j: each}) for j, each in given.items()]))
    return (law, expected) if expected >= EXPECTED else (np.inf, 0.0)


def _refusal(
    joint: Joint, plan: Plan, given: Mapping[int, Allowed], names: Sequence[Any], fitted: int, law: float
) -> str:
    """What is said of conditions that no row has: which one stands in the way, and what would do."""
    free = draw_free(joint, plan, PROBES, np.random.default_rng(0))
    told = f"{OWNER} cannot draw rows with what was given of {', '.join(map(repr, names))} together: "
    told += f"the law expects hardly any such row ({min(law, REFUSED[0]):.1g} or less among {fitted} rows as fitted). "
    without = []
    for j, name in zip(given, names, strict=True):
        rest = {k: each for k, each in given.items() if k != j}
        if rest and (share := _share(free, rest)) >= 2 / PROBES:
            without.append((share, name))
    if without:
        share, name = max(without, key=lambda pair: pair[0])
        held = [other for other in names if other != name]
        told += f"{100 * share:.2g} % of rows have what was given of {', '.join(map(repr, held))}: leave {name!r} out, "
        return told + "or give it a wider interval or more values."
    return told + "Give less, or wider intervals."


def _share(free: Coded, given: Mapping[int, Allowed]) -> float:
    """The share of rows that have what is given."""
    held = np.ones(len(free.states[0]), np.bool_)
    for j, each in given.items():
        held &= each.holds(free.values[j])
    return float(held.mean())


def _has_density(joint: Joint, plan: Plan, given: Mapping[int, Allowed]) -> bool:
    """Whether a single number on the line is given, which has a density and no probability."""
    for j, each in given.items():
        skeleton = plan.view(j, joint.skeletons[j])
        single = each.among is not None or bool((each.low == each.high).any())
        if skeleton.numeric and skeleton.grid is None and single:
            return True
    return False


def complete(
    joint: Joint,
    plan: Plan,
    columns: Sequence[Column],
    df: pd.DataFrame,
    coded: Callable[[pd.DataFrame, int], Floats],
    missing_is_given: bool,
    random: np.random.Generator,
) -> Coded:
    """Rows with what they lack drawn by its probability given the rest, which weighs candidates; ``coded`` reads."""
    known = {j: coded(df, j) for j, column in enumerate(columns) if column.name in df.columns}
    _refuse_broken(plan, known, len(df), missing_is_given)
    parts = []
    size = max(1, rows_at_once(joint) // PARTICLES)
    for start in range(0, len(df), size):
        rows = {j: x[start : start + size] for j, x in known.items()}
        given = {j: _given(x, joint, plan, j, missing_is_given) for j, x in rows.items()}
        parts.append(_chosen(joint, plan, given, min(size, len(df) - start), start, random))
    return joined(parts) if parts else draw_rows(joint, plan, 0, {}, random)[0]


def _given(x: Floats, joint: Joint, plan: Plan, j: int, missing_is_given: bool) -> Allowed:
    """What the values (n,) of a column say: themselves, and where they are missing that something is there."""
    exact, gap = Allowed.exactly(x), np.isnan(x)
    never = not plan.view(j, joint.skeletons[j]).seen[1:].any()
    if missing_is_given or never:
        return exact
    return Allowed(np.zeros(len(x), np.bool_), np.where(gap, -np.inf, exact.low), np.where(gap, np.inf, exact.high))


def _chosen(
    joint: Joint, plan: Plan, given: Mapping[int, Allowed], n: int, start: int, random: np.random.Generator
) -> Coded:
    """One of the candidates for each of n rows, by its weight; rows without any get more, within bounds."""
    chosen: Coded | None = None
    left = np.arange(n)
    for _ in range(ROUNDS):
        again = np.repeat(left, PARTICLES)
        wanted = {j: each.rows(again) for j, each in given.items()}
        drawn, weights = draw_rows(joint, plan, len(again), wanted, random)
        by_row = weights.reshape(len(left), PARTICLES)
        best = (by_row + random.gumbel(size=by_row.shape)).argmax(1)
        picked = taken(drawn, best + np.arange(len(left)) * PARTICLES)
        good = by_row.max(1) > BARRED
        chosen = picked if chosen is None else _placed(chosen, picked, left)
        left = left[~good]
        if not len(left):
            return chosen
    raise ValueError(
        f"{OWNER} found nothing that completes {len(left)} of the rows, as row {start + left[0]}, and obeys the "
        f"constraints, in {ROUNDS * PARTICLES} trials each. Leave these rows out, or give less of them."
    )


def _placed(whole: Coded, part: Coded, rows: Any) -> Coded:
    for held, more in zip([*whole.states, *whole.values], [*part.states, *part.values], strict=True):
        held[rows] = more
    return whole


def _refuse_broken(plan: Plan, known: Mapping[int, Floats], n: int, missing_is_given: bool) -> None:
    """Raise ValueError for rows whose own values break a rule."""
    broken: Booleans = np.zeros(n, np.bool_)
    for rule in plan.rules:
        if all(j in known for j in rule.columns):
            certain: Booleans = np.ones(n, np.bool_)
            if not missing_is_given:
                certain = np.asarray(~np.isnan(np.stack([known[j] for j in rule.columns])).any(0))
            broken = np.asarray(broken | (rule.broken(known) & certain))
    if broken.any():
        raise ValueError(
            f"{OWNER} was given {int(broken.sum())} rows that break a constraint, as rows "
            f"{short(np.flatnonzero(broken).tolist())}; no row can be like them. Mend them, or leave them out."
        )


def balanced_sizes(n: int, shares: Iterable[float]) -> list[int]:
    """How many of n rows each level gets, by its share: whole numbers that sum to n."""
    summed = np.cumsum(list(shares))
    ends = np.round(summed / summed[-1] * n).astype(int)
    return [int(size) for size in np.diff(ends, prepend=0)]
