"""Rows under conditions, or a refusal that says which conditions cannot be met together."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from gaussflow.apps.tabular.drawing._draw import (
    Found,
    draw_free,
    draw_rows,
    find_rows,
    kept_rows,
)
from gaussflow.apps.tabular.law._allowed import Allowed
from gaussflow.apps.tabular.law._joint import Coded, Joint
from gaussflow.apps.tabular.rules._plan import Plan

if TYPE_CHECKING:
    pass

OWNER = "TableSynthesizer.sample"
IMPOSSIBLE = -60.0  # nats: conditions less likely than that are refused
PROBES = 4000  # rows by which it is seen how likely conditions are
EXPECTED = 3.0  # rows of the fit that would have what is given, if columns did not depend on one another
REFUSED, DOUBTED = (0.5, 0.05), (1.5, 0.1)  # rows that have it by the law, and their share of those expected


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


def balanced_sizes(n: int, shares: Iterable[float]) -> list[int]:
    """How many of n rows each level gets, by its share: whole numbers that sum to n."""
    summed = np.cumsum(list(shares))
    ends = np.round(summed / summed[-1] * n).astype(int)
    return [int(size) for size in np.diff(ends, prepend=0)]
