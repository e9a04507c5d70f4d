"""How like two tables are: each column, each pair of columns, and what a classifier tells apart."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import numpy as np
import torch

from gaussflow.apps._optional import need
from gaussflow.apps._roc import AnomalyReport
from gaussflow.apps.tabular._arrays import Booleans, Floats
from gaussflow.apps.tabular.report._beside import Kind, points

FOLDS = 3
FEWEST = 30  # rows of each table below which no classifier is asked
MOST_PAIRED = 60  # columns whose pairs are looked at
FEW_PAIRED = 20  # rows with both values below which a pair says nothing
TRIALS = 200
LEAST_GAPS = 0.02  # share of rows: a gap that is this frequent is looked at like a column of its own


@dataclass(frozen=True)
class ColumnCheck:
    """One column, real beside drawn.

    Attributes
    ----------
    name, kind
        As in the frame; "number", "time", "span" or "category".
    apart
        The share of rows that would have to change: of numbers the largest difference between the shares of rows below
        any value (Kolmogorov and Smirnov), of categories the total variation; None where either has no value.
    chance
        What two samples of so many rows of one law have 19 times of 20.
    missing, missing_drawn, missing_chance
        Shares of the rows without a value, and how far apart chance brings them.
    outside
        The share of the drawn values outside the range of the real ones, or of categories that these do not have.
    """

    name: Any
    kind: str
    apart: float | None
    chance: float
    missing: float
    missing_drawn: float
    missing_chance: float
    outside: float


@dataclass(frozen=True)
class PairCheck:
    """How strongly two columns hang together, from 0 to 1 (-1 to 1 for two numbers), and how far chance moves it."""

    first: str
    second: str
    real: float
    drawn: float
    chance: float

    @property
    def apart(self) -> float:
        """The absolute difference."""
        return abs(self.real - self.drawn)


@dataclass(frozen=True)
class Told:
    """How well a classifier tells drawn rows from real ones: the ROC area, its standard error, and by what columns.

    ``by`` has the columns that it loses most without, each with the ROC area that is lost.
    """

    area: float
    error: float
    by: list[tuple[Any, float]]


@dataclass(frozen=True)
class Learnt:
    """A classifier of one column, trained on real rows and on drawn ones, both judged by rows of neither.

    Attributes
    ----------
    target, question
        The column, and what is asked about it.
    suggested
        Whether the column was chosen for want of one given.
    real, drawn
        The ROC areas.
    gap_error
        The standard error of their difference.
    """

    target: Any
    question: str
    suggested: bool
    real: float
    drawn: float
    gap_error: float

    @property
    def gap(self) -> float:
        """What is lost by drawn rows."""
        return self.real - self.drawn


def check_column(kind: Kind, real: Floats, drawn: Floats, seed: int) -> ColumnCheck:
    """One column of real rows (N,) beside drawn ones (M,)."""
    a, b = real[~np.isnan(real)], drawn[~np.isnan(drawn)]
    gaps, gaps_drawn = 1 - len(a) / len(real), 1 - len(b) / len(drawn)
    pooled = (len(real) - len(a) + len(drawn) - len(b) + 1) / (len(real) + len(drawn) + 2)
    gap_chance = 2 * np.sqrt(pooled * (1 - pooled) * (1 / len(real) + 1 / len(drawn)))
    apart, chance, outside = None, 1.0, 0.0
    if len(a) and len(b):
        if kind.category:
            apart, chance = _categories(a, b, len(kind.levels), seed)
            outside = float((b >= kind.known).mean())
        else:
            apart = float(need("scipy.stats", "comparing").ks_2samp(a, b, method="asymp").statistic)
            chance = min(1.0, 1.358 * np.sqrt(1 / len(a) + 1 / len(b)))
            outside = float(((b < a.min()) | (b > a.max())).mean())
    return ColumnCheck(kind.name, kind.kind, apart, float(chance), gaps, gaps_drawn, float(gap_chance), outside)


def _categories(a: Floats, b: Floats, count: int, seed: int) -> tuple[float, float]:
    """The total variation of codes (n,) and (m,), and what chance has 19 times of 20."""
    first, second = (np.bincount(x.astype(int), minlength=count) for x in (a, b))
    apart = 0.5 * np.abs(first / len(a) - second / len(b)).sum()
    random, pooled = np.random.default_rng(seed), (first + second) / (len(a) + len(b))
    drawn = [random.multinomial(n, pooled, TRIALS) / n for n in (len(a), len(b))]
    return float(apart), float(np.quantile(0.5 * np.abs(drawn[0] - drawn[1]).sum(1), 0.95))


def check_pairs(kinds: Sequence[Kind], real: Floats, drawn: Floats) -> tuple[list[str], list[PairCheck]]:
    """The columns looked at, and their pairs; columns with gaps bring one more, of whether a value is missing."""
    names, sides = [], ([], [])  # type: tuple[list[str], tuple[list[Floats], list[Floats]]]
    for j, kind in enumerate(kinds):
        if len(names) < MOST_PAIRED and len(np.unique(real[~np.isnan(real[:, j]), j])) > 1:
            names.append(str(kind.name))
            for side, x in zip(sides, (real, drawn), strict=True):
                side.append(_told(x[:, j], kind, real[:, j]))
    for j, kind in enumerate(kinds):
        if len(names) < MOST_PAIRED and LEAST_GAPS < np.isnan(real[:, j]).mean() < 1 - LEAST_GAPS:
            names.append(f"{kind.name} missing")
            for side, x in zip(sides, (real, drawn), strict=True):
                side.append(np.isnan(x[:, j]).astype(float)[:, None])
    found = []
    for i, j in combinations(range(len(names)), 2):
        values = [_association(side[i], side[j]) for side in sides]
        if all(value is not None for value, _ in values):
            chance = 2 * np.sqrt(sum(1 / n for _, n in values))
            found.append(PairCheck(names[i], names[j], values[0][0] or 0.0, values[1][0] or 0.0, float(chance)))
    return names, found


def _told(x: Floats, kind: Kind, real: Floats) -> Floats:
    """What a column tells (n, Q): ranks among the real rows (n, 1), or marks of its common categories; NaN for gaps."""
    if kind.category:
        common = np.argsort(-np.bincount(real[~np.isnan(real)].astype(int)), kind="stable")[:12]
        marks = (x[:, None] == common[: max(1, len(common) - 1)]).astype(float)
        return np.where(np.isnan(x)[:, None], np.nan, marks)
    held = np.sort(real[~np.isnan(real)])
    ranks = (np.searchsorted(held, x, "left") + np.searchsorted(held, x, "right")) / (2 * len(held))
    return np.where(np.isnan(x), np.nan, ranks)[:, None]


def _association(a: Floats, b: Floats) -> tuple[float | None, int]:
    """The rank correlation of two numbers, else the root of the mean share explained; and of how many rows."""
    both = ~(np.isnan(a[:, 0]) | np.isnan(b[:, 0]))
    n = int(both.sum())
    if n < FEW_PAIRED:
        return None, n
    a, b = a[both] - a[both].mean(0), b[both] - b[both].mean(0)
    a, b = a[:, np.ptp(a, 0) > 0], b[:, np.ptp(b, 0) > 0]
    if not a.shape[1] or not b.shape[1]:
        return 0.0, n
    if a.shape[1] == b.shape[1] == 1:
        return float((a * b).sum() / np.sqrt((a * a).sum() * (b * b).sum())), n
    inner = [np.linalg.pinv(x.T @ x) for x in (a, b)]
    crossed = a.T @ b
    shared = np.trace(inner[0] @ crossed @ inner[1] @ crossed.T) / min(a.shape[1], b.shape[1])
    return float(np.sqrt(np.clip(shared, 0, 1))), n


def tell_apart(kinds: Sequence[Kind], real: Floats, drawn: Floats, seed: int, *, boosted: bool) -> Told | None:
    """Tell drawn rows from as many real ones, in three folds, by boosted trees or by logistic regression.

    None for fewer than 30 rows of either.
    """
    n = min(len(real), len(drawn))
    if n < FEWEST:
        return None
    random = np.random.default_rng(seed)
    a, b = (x[random.permutation(len(x))[:n]] for x in (real, drawn))
    if not boosted:
        b, a = points(b, a, kinds), points(a, a, kinds)
    x, y = np.concatenate([a, b]), np.repeat([0, 1], n)
    used = np.flatnonzero(varied(x))
    if not len(used):
        return Told(0.5, 0.0, [])
    x, scores, lost = x[:, used], np.empty(2 * n), np.zeros(len(used))
    folds = need("sklearn.model_selection", "telling apart").StratifiedKFold(FOLDS, shuffle=True, random_state=seed)
    for train, test in folds.split(x, y):
        model = _classifier(boosted, seed).fit(x[train], y[train])
        scores[test] = model.predict_proba(x[test])[:, 1]
        if boosted:
            lost += _lost(model, x[test], y[test], random) / FOLDS
    area = area_of(scores[y == 0], scores[y == 1])
    by = [(kinds[used[k]].name, float(lost[k])) for k in np.argsort(-lost, kind="stable")[:5] if lost[k] > 0.005]
    return Told(*area, by)


def varied(x: Floats) -> Booleans:
    """Whether a column (n, D) has more than one value, gaps left out: others tell nothing, and trees trip over them."""
    low, high = (end(np.where(np.isnan(x), fill, x), 0) for end, fill in ((np.min, np.inf), (np.max, -np.inf)))
    more: Booleans = high > low
    return more


def _lost(model: Any, x: Floats, y: Any, random: np.random.Generator) -> Floats:
    """The ROC area (D,) that is lost when a column is shuffled (Breiman, 2001)."""
    whole, lost = _score(model, x, y), np.empty(x.shape[1])
    for j in range(x.shape[1]):
        mixed = x.copy()
        mixed[:, j] = random.permutation(mixed[:, j])
        lost[j] = whole - _score(model, mixed, y)
    return lost


def _score(model: Any, x: Floats, y: Any) -> float:
    scores = model.predict_proba(x)[:, 1]
    return area_of(scores[y == 0], scores[y == 1])[0]


def _classifier(boosted: bool, seed: int) -> Any:
    if boosted:
        return need("sklearn.ensemble", "telling apart").HistGradientBoostingClassifier(random_state=seed)
    scaler = need("sklearn.preprocessing", "telling apart").StandardScaler()
    line = need("sklearn.linear_model", "telling apart").LogisticRegression(max_iter=500)
    return need("sklearn.pipeline", "telling apart").make_pipeline(scaler, line)


def area_of(low: Floats, high: Floats) -> tuple[float, float]:
    """The ROC area of scores (n,) and (m,), and its standard error."""
    area = AnomalyReport.of_scores(torch.from_numpy(low), torch.from_numpy(high), 0.0).area
    return float(area.value), float(area.error)


def suggest_target(kinds: Sequence[Kind], real: Floats) -> int:
    """The last column with two categories that are both common, or else the last with few, or else the last number."""
    last = {"two": -1, "few": -1, "any": -1}
    for j in range(len(kinds)):
        held = real[~np.isnan(real[:, j]), j]
        values, counts = np.unique(held, return_counts=True)
        if len(values) < 2 or len(held) < 0.5 * len(real):
            continue
        last["any"] = j
        if 2 <= len(values) <= 10 and counts.min() >= max(5, 0.03 * len(held)):
            last["few"] = j
            if len(values) == 2:
                last["two"] = j
    return next((j for j in last.values() if j >= 0), -1)


def asked(kind: Kind, real: Floats, x: Floats) -> tuple[str, Booleans]:
    """What is asked of a target, and its answers (n,): its commonest category, or above its median."""
    held = real[~np.isnan(real)]
    values, counts = np.unique(held, return_counts=True)
    if kind.category or len(values) < 3:
        common = values[np.argmax(counts)]
        return f"is {kind.name} “{kind.show(common)}”?", x == common
    middle = float(np.median(held))
    return f"is {kind.name} above {kind.show(middle)}?", x > middle


def learn(
    kinds: Sequence[Kind], train: Floats, drawn: Floats, test: Floats, target: int, left_out: Sequence[int] = ()
) -> tuple[str, Floats, Floats, Booleans] | None:
    """The question, the scores (K,) by real and by drawn rows, and the answers; None where either has one answer."""
    question, answers = asked(kinds[target], train[:, target], test[:, target])
    used = [j for j in range(len(kinds)) if j not in (target, *left_out)]
    if len(set(answers)) < 2 or not used:
        return None
    scores = []
    for rows in (train, drawn):
        known = asked(kinds[target], train[:, target], rows[:, target])[1]
        keep = np.array(used)[varied(rows[:, used])]
        if len(set(known)) < 2 or not len(keep):
            scores.append(np.zeros(len(test)))
            continue
        model = _classifier(True, 0).fit(rows[:, keep], known)
        scores.append(model.predict_proba(test[:, keep])[:, 1])
    return question, scores[0], scores[1], answers


def check_learning(
    kinds: Sequence[Kind], real: Floats, drawn: Floats, held_out: Floats | None, target: int, suggested: bool, seed: int
) -> Learnt | None:
    """Train on as many real and drawn rows, judge by rows held out, or for want of these by half of the real rows."""
    random = np.random.default_rng(seed)
    order = random.permutation(len(real))
    train, test = (real, held_out) if held_out is not None else (real[order[::2]], real[order[1::2]])
    n = min(len(train), len(drawn))
    if target < 0 or min(n, len(test)) < FEWEST:
        return None
    train, drawn = (x[random.permutation(len(x))[:n]] for x in (train, drawn))
    found = learn(kinds, train, drawn, test, target)
    if found is None:
        return None
    question, by_real, by_drawn, answers = found
    if min(answers.sum(), (~answers).sum()) < 5:
        return None
    own, other = (area_of(scores[~answers], scores[answers])[0] for scores in (by_real, by_drawn))
    gaps = []
    for _ in range(TRIALS):
        rows = random.integers(len(test), size=len(test))
        marks = answers[rows]
        if min(marks.sum(), (~marks).sum()) > 1:
            both = [area_of(scores[rows][~marks], scores[rows][marks])[0] for scores in (by_real, by_drawn)]
            gaps.append(both[0] - both[1])
    return Learnt(kinds[target].name, question, suggested, own, other, float(np.std(gaps)) if gaps else 1.0)
