"""How probable it is that a column is what it may be, and draws of it: exact, row by row."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.special import logsumexp, ndtr, ndtri

from gaussflow.apps.tabular._arrays import Booleans, Floats, Integers
from gaussflow.apps.tabular.law._allowed import Allowed
from gaussflow.apps.tabular.law._columns import Skeleton
from gaussflow.apps.tabular.law._curve import log_mass
from gaussflow.apps.tabular.law._joint import column_log_prob, mixed
from gaussflow.apps.tabular.law._law import Law
from gaussflow.apps.tabular.law._values import Place

LEAST_MASS = 1e-13  # of an interval, below which its ends are taken to be what is between them
NEVER = -1e300


@dataclass(frozen=True)
class Options:
    """What a column may become in each row: values (n, K), NaN for missing, infinite for a number between the ends.

    ``logs`` (n, K) are their log-masses; ``ends``, on the line, is the interval of numbers, two of (n,).
    """

    logs: Floats
    values: Floats
    ends: tuple[Floats, Floats]

    def total(self) -> Floats:
        """The logarithm (n,) of all that is possible; `NEVER` for nothing."""
        if not self.logs.size:
            return np.full(len(self.logs), NEVER)
        summed: Floats = np.maximum(logsumexp(np.maximum(self.logs, NEVER), axis=1), NEVER)
        return summed

    def draw(self, law: Law, skeleton: Skeleton, features: Floats, random: np.random.Generator) -> Floats:
        """Values (n,): of what is possible, by its mass; any in rows where nothing is."""
        top = np.maximum(self.logs.max(1), NEVER)
        chosen = draw_states(np.exp(np.maximum(self.logs - top[:, None], -745.0)), random)
        x: Floats = self.values[np.arange(len(chosen)), chosen]
        open_rows = np.isinf(x)
        if open_rows.any():
            low, high = (end[open_rows] for end in self.ends)
            x[open_rows] = draw_line(law, skeleton, features[open_rows], random, low, high)
        return x


def options(law: Law, skeleton: Skeleton, features: Floats, allowed: Allowed, seen: bool | Booleans) -> Options:
    """What is allowed and, in rows ``seen`` (n,), was seen in the fit, with features (n, P)."""
    n = len(features)
    allowed, seen = allowed.over(n), np.broadcast_to(seen, (n,))
    if allowed.among is not None:
        return _listed(law, skeleton, features, allowed, seen)
    masses = law.masses(features) * (skeleton.seen | ~seen[:, None])
    points = np.broadcast_to(skeleton.points, (n, len(skeleton.points)))
    inside = (points >= allowed.low[:, None]) & (points <= allowed.high[:, None])
    masses[:, 0] *= allowed.missing
    masses[:, 1 : 1 + points.shape[1]] *= inside
    values = np.concatenate([np.full((n, 1), np.nan), points], 1)
    nowhere = (np.zeros(n), np.zeros(n))
    if not skeleton.numeric:
        return Options(_log(masses), values, nowhere)
    low = np.where(seen, np.maximum(allowed.low, skeleton.low), allowed.low)
    high = np.where(seen, np.minimum(allowed.high, skeleton.high), allowed.high)
    rest, edges, ends = _between(law, skeleton, features, low, high)
    rest = rest + _log(masses[:, -1:])
    every = Options(np.concatenate([_log(masses[:, :-1]), rest], 1), np.concatenate([values, edges], 1), ends)
    single = allowed.low >= allowed.high
    if skeleton.grid is not None or not single.any():
        return every
    return _some_listed(every, _listed(law, skeleton, features, allowed, seen), single)


def _some_listed(every: Options, listed: Options, rows: Booleans) -> Options:
    """Options of an interval, those of a list in rows (n,) with one value, which has a density and no mass."""
    logs = [np.where(rows[:, None], -np.inf, every.logs), np.where(rows[:, None], listed.logs, -np.inf)]
    return Options(np.concatenate(logs, 1), np.concatenate([every.values, listed.values], 1), every.ends)


def _listed(law: Law, skeleton: Skeleton, features: Floats, allowed: Allowed, seen: Booleans) -> Options:
    """Options where the values are a list: of numbers on the line each by its density, if it is no point."""
    n = len(features)
    listed = allowed.values()
    if listed is None:
        listed = np.where(allowed.low == allowed.high, allowed.low, np.nan)[:, None]
    if not skeleton.numeric:
        masses = law.masses(features) * (skeleton.seen | ~seen[:, None])
        logs = _log(np.take_along_axis(masses, np.where(np.isnan(listed), 0, listed + 1).astype(np.int64), 1))
        first = _log(masses[:, :1])
    else:
        logs = np.empty(listed.shape)
        for k in range(listed.shape[1]):
            state, x = skeleton.states(np.where(np.isnan(listed[:, k]), 0.0, listed[:, k]))
            logs[:, k] = column_log_prob(law, skeleton, features, state, x)
            off = ~skeleton.seen[state] | ((state == skeleton.rest) & ((x < skeleton.low) | (x > skeleton.high)))
            logs[off & seen, k] = -np.inf
        first = _log(law.masses(features)[:, :1] * (skeleton.seen[0] | ~seen[:, None]))
    logs = np.where(np.isnan(listed), -np.inf, logs)
    first = np.where(allowed.missing[:, None], first, -np.inf)
    values = np.concatenate([np.full((n, 1), np.nan), listed], 1)
    return Options(np.concatenate([first, logs], 1), values, (np.zeros(n), np.zeros(n)))


def _between(
    law: Law, skeleton: Skeleton, features: Floats, low: Floats, high: Floats
) -> tuple[Floats, Floats, tuple[Floats, Floats]]:
    """Log-masses (n, K) of the numbers from low to high, their values, and the ends on the line.

    This is the mass between two points of the line: on a grid, the outer ends of the intervals of the outermost values.
    """
    n, grid = len(features), skeleton.grid
    some = low <= high
    if grid is not None:
        low, high = np.ceil(low / grid.step - 1e-9) * grid.step, np.floor(high / grid.step + 1e-9) * grid.step
        some = low <= high
    ends = (low, high) if grid is None else (grid.ends(low)[0], grid.ends(high)[1])
    logs = np.where(some, _line_mass(law, law.place(features), *ends), -np.inf)
    return logs[:, None], np.full((n, 1), np.inf), ends


def _line_mass(law: Law, at: Place, low: Floats, high: Floats) -> Floats:
    """The log-mass (n,) of the line from low to high; 0 or less where the ends are out of order."""
    a, b = law.normals(_finite(low), at), law.normals(_finite(np.maximum(low, high)), at)
    near, far = (
        np.where(_unbounded(low, high), 0.0, log_mass(below[0], above[0])) for below, above in zip(a, b, strict=True)
    )
    return mixed(law, near, far)


def _finite(x: Floats) -> Floats:
    return np.clip(x, -1e300, 1e300)


def _unbounded(low: Floats, high: Floats) -> Booleans:
    return np.isneginf(low) & np.isposinf(high)


def draw_line(
    law: Law, skeleton: Skeleton, features: Floats, random: np.random.Generator, low: Floats, high: Floats
) -> Floats:
    """Numbers (n,) of the law between low and high (n,) on the line, rounded as the column is."""
    at = law.place(features)
    limits = [(a[0], b[0]) for a, b in zip(law.normals(_finite(low), at), law.normals(_finite(high), at), strict=True)]
    near, far = (np.exp(log_mass(a, b)) if np.any(b > a) else np.zeros_like(a) for a, b in limits)
    stray = random.random(len(features)) * ((1 - law.stray) * near + law.stray * far) >= (1 - law.stray) * near
    a, b = (np.where(stray, by_curve, told) for told, by_curve in zip(*limits, strict=True))
    x = np.clip(law.inverse(_normals(a, b, random), at, stray), low, high)
    if skeleton.grid is None:
        return x
    inner = 1e-6 * skeleton.grid.step / max(1, skeleton.grid.period)
    return skeleton.grid.round(np.clip(x, low + inner, high - inner))  # the end itself is of the next interval


def _normals(a: Floats, b: Floats, random: np.random.Generator) -> Floats:
    """Draws (n,) of a normal law between a and b (n,)."""
    flip = a > 0  # in the lower tail small probabilities are told apart
    low, high = np.where(flip, -b, a), np.where(flip, -a, b)
    below, above = ndtr(low), ndtr(high)
    u = random.random(len(a))
    inside = np.clip(below + (above - below) * u, 1e-300, 1 - 1e-16)
    drawn = np.where(above - below > LEAST_MASS * np.maximum(above, 1e-280), ndtri(inside), low + (high - low) * u)
    return np.where(flip, -drawn, drawn)


def draw_states(masses: Floats, random: np.random.Generator) -> Integers:
    """A state (n,) of each row by its masses (n, S)."""
    summed = np.cumsum(masses, 1)
    u = random.random(len(masses)) * summed[:, -1]
    state: Integers = (u[:, None] >= summed[:, :-1]).sum(1)
    return state


def _log(masses: Floats) -> Floats:
    with np.errstate(divide="ignore"):
        logs: Floats = np.log(masses)
    return logs
