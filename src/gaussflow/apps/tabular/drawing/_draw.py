"""Drawing rows column by column, under rules and conditions: weights of what is given, and rows kept by them."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from gaussflow.apps.tabular._arrays import Booleans, Floats, Integers
from gaussflow.apps.tabular.law._allowed import Allowed
from gaussflow.apps.tabular.law._columns import Skeleton
from gaussflow.apps.tabular.law._joint import Coded, Joint, column_log_prob
from gaussflow.apps.tabular.law._law import Law
from gaussflow.apps.tabular.law._options import NEVER, draw_line, draw_states, options
from gaussflow.apps.tabular.rules._plan import Plan

CHUNK = 20_000  # rows drawn or scored at once
MOST_CELLS = 4_000_000  # masses of states held at once
MOST_BARRED = 8  # times the rows wanted that are drawn without one that can be
MOST_DRAWN = 64  # times the rows wanted that are drawn before those found must do
BARRED = NEVER / 2  # weights below are those of rows that cannot be


def draw_rows(
    joint: Joint, plan: Plan, n: int, given: Mapping[int, Allowed], random: np.random.Generator
) -> tuple[Coded, Floats]:
    """States and values of rows as the frame has them, and the logarithm (n,) of what each weighs."""
    d = len(joint.order)
    states, values = [np.zeros(n, np.int64)] * d, [np.zeros(n)] * d
    features, weights = np.empty((n, 0)), np.zeros(n)
    known: dict[int, Floats] = {}
    for j in joint.order:
        law, skeleton = joint.laws[j], joint.skeletons[j]
        shift, ruled, wanted = plan.shift(j, known, n), plan.seen(j, known, n), plan.allowed(j, known, given, n)
        fixed = given[j].certain if j in given else np.array([False])
        if j in given:
            wanted = given[j].also(wanted)
        if ruled is not None:  # what is given may be beyond what the fit saw; what is drawn may not
            wanted = Allowed.where(~fixed, ruled).also(wanted)
        if shift is None and wanted is None:
            state, x = _free(law, skeleton, features, random)
            known[j] = x
        else:
            state, x, known[j], weight = _under(
                joint, plan, j, features, (shift, ruled, wanted or Allowed.of(True)), fixed, random
            )
            weights = np.maximum(weights + weight, NEVER)
        features = np.concatenate([features, joint.encodings[j].features(state, x)], 1)
        states[j], values[j] = state, known[j]
    return Coded(states, values), weights


def _free(law: Law, skeleton: Skeleton, features: Floats, random: np.random.Generator) -> tuple[Integers, Floats]:
    """A state that was seen, and a value between the least and the largest seen."""
    state = draw_states(law.masses(features) * skeleton.seen, random)
    x = np.append(np.append(np.nan, skeleton.points), np.nan)[state]
    rows = state == skeleton.rest
    if rows.any():
        n = int(rows.sum())
        low, high = np.full(n, skeleton.low), np.full(n, skeleton.high)
        ends = (skeleton.grid.ends(low)[0], skeleton.grid.ends(high)[1]) if skeleton.grid else (low, high)
        x[rows] = draw_line(law, skeleton, features[rows], random, *ends)
        state, x = skeleton.states(x)
    return state, x


def _under(
    joint: Joint,
    plan: Plan,
    j: int,
    features: Floats,
    under: tuple[Floats | None, Allowed | None, Allowed],
    fixed: Booleans,
    random: np.random.Generator,
) -> tuple[Integers, Floats, Floats, Floats]:
    """States and values (n,) under a shift, rules and all that is wanted; the values of the frame; and what rows weigh.

    The weight is the log-probability of what is wanted among what the rules allow; rows ``fixed`` are given.
    """
    law, skeleton, n = joint.laws[j], joint.skeletons[j], len(features)
    shift, ruled, wanted = under
    inner = wanted if shift is None else wanted.less(shift)
    chosen = options(law, skeleton, features, inner, ~fixed)
    state, x = skeleton.states(chosen.draw(law, skeleton, features, random))
    weight = chosen.total()
    outer = x if shift is None else plan.outward(j, x, shift)
    if shift is not None:
        outer = wanted.over(n).snapped(outer)
    if ruled is not None:
        inner = ruled if shift is None else ruled.less(shift)
        everything = options(law, skeleton, features, inner, True).total()
        weight = np.where(everything <= BARRED, NEVER, weight - everything)
    return state, x, outer, weight


def log_prob_rows(joint: Joint, plan: Plan, values: list[Floats]) -> Floats:
    """The log-probability (n,) of rows by the values (n,) of each column as the frame has them."""
    n = len(values[0])
    features, total = np.empty((n, 0)), np.zeros(n)
    known: dict[int, Floats] = {}
    for j in joint.order:
        law, skeleton = joint.laws[j], joint.skeletons[j]
        shift = plan.shift(j, known, n)
        state, x = skeleton.states(values[j] if shift is None else plan.inward(j, values[j], shift))
        total += column_log_prob(law, skeleton, features, state, x)
        ruled = plan.allowed(j, known, {}, n)
        if ruled is not None:
            inner = ruled if shift is None else ruled.less(shift)
            total -= options(law, skeleton, features, inner, False).total()
        known[j] = values[j]
        features = np.concatenate([features, joint.encodings[j].features(state, x)], 1)
    return np.where(plan.broken(values), -np.inf, total)


@dataclass(frozen=True)
class Found:
    """Rows (m,) drawn under conditions, what each weighs, and how many of them were drawn."""

    pool: Coded
    weights: Floats

    @property
    def possible(self) -> Booleans:
        """Whether each row (m,) can be."""
        return self.weights > BARRED


def draw_free(joint: Joint, plan: Plan, n: int, random: np.random.Generator) -> Coded:
    """Rows by the rules alone: those that come to where no value is left are drawn again."""
    parts: list[Coded] = []
    left, tried = n, 0
    while left or not parts:
        size = min(rows_at_once(joint), left)
        drawn, weights = draw_rows(joint, plan, size, {}, random)
        good = weights > BARRED
        parts.append(drawn if good.all() else taken(drawn, good))
        left -= int(good.sum())
        tried += size
        if left and tried > MOST_DRAWN * max(n, 1000):
            raise ValueError(
                f"TableSynthesizer.sample found {n - left} of {n} rows that obey all constraints in {tried} draws: "
                "together they leave hardly anything. Take one away, or widen it."
            )
    return joined(parts)


def find_rows(joint: Joint, plan: Plan, n: int, given: Mapping[int, Allowed], random: np.random.Generator) -> Found:
    """Rows under conditions, until they are worth n or far more than that have been drawn."""
    parts: list[Coded] = []
    weights = np.empty(0)
    while len(weights) < max(1000, n) * MOST_DRAWN:
        size = min(rows_at_once(joint), max(1000, n))
        drawn, more = draw_rows(joint, plan, size, given, random)
        parts, weights = [*parts, drawn], np.append(weights, more)
        if weights.max() > BARRED and np.exp(weights - weights.max()).sum() >= 1.1 * n + 20:
            break
        if weights.max() <= BARRED and len(weights) >= max(1000, n) * MOST_BARRED:
            break
    return Found(joined(parts), weights)


def kept_rows(found: Found, n: int, random: np.random.Generator) -> Coded:
    """Exactly n of the rows: each is kept with its probability over the largest met, which makes them exact."""
    shares = np.exp(np.maximum(found.weights - found.weights.max(), -745.0)) * found.possible
    kept = np.flatnonzero(random.random(len(shares)) < shares)
    if len(kept) >= n:
        return taken(found.pool, random.permutation(kept)[:n])
    warnings.warn(
        f"rows with what was given are rare: {n} rows are drawn from the {len(kept)} or so that {len(shares)} trials "
        "are worth, some of them again and again in the columns before the last one given.",
        stacklevel=4,
    )
    return taken(found.pool, random.choice(len(shares), n, p=shares / shares.sum()))


def rows_at_once(joint: Joint) -> int:
    """Rows whose masses of states fit into a bounded memory."""
    widest = max(len(skeleton.seen) for skeleton in joint.skeletons)
    return int(np.clip(MOST_CELLS // max(widest, len(joint.order)), 100, CHUNK))


def taken(coded: Coded, rows: Integers | Booleans) -> Coded:
    """Some of the rows."""
    return Coded([state[rows] for state in coded.states], [x[rows] for x in coded.values])


def joined(parts: list[Coded]) -> Coded:
    """The rows of several tables, one after the other."""
    if len(parts) == 1:
        return parts[0]
    states = [np.concatenate(each) for each in zip(*(part.states for part in parts), strict=True)]
    return Coded(states, [np.concatenate(each) for each in zip(*(part.values for part in parts), strict=True)])
