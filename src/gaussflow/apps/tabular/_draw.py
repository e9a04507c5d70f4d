"""Drawing rows column by column, under conditions: weights of what is given, and rows kept by them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from scipy.special import ndtr, ndtri

from gaussflow.apps.tabular._arrays import Booleans, Floats, Integers
from gaussflow.apps.tabular._columns import Skeleton
from gaussflow.apps.tabular._curve import log_mass
from gaussflow.apps.tabular._joint import Coded, Joint, column_log_prob
from gaussflow.apps.tabular._law import Law

LEAST_MASS = 1e-13  # of an interval, below which its ends are taken to be what is between them
NEVER = -1e300


class Condition(Protocol):
    """What is given of one column."""

    def draw(
        self, law: Law, skeleton: Skeleton, features: Floats, random: np.random.Generator
    ) -> tuple[Integers, Floats, Floats]:
        """States and values (n,) under the condition, and the logarithm (n,) of its probability given the features."""


@dataclass(frozen=True)
class Free:
    """Nothing is given: a state that was seen, and a value between the least and the largest seen."""

    def draw(
        self, law: Law, skeleton: Skeleton, features: Floats, random: np.random.Generator
    ) -> tuple[Integers, Floats, Floats]:
        state = draw_states(law.masses(features) * skeleton.seen, random)
        x = np.append(np.append(np.nan, skeleton.points), np.nan)[state]
        rows = state == skeleton.rest
        if rows.any():
            x[rows] = draw_rest(law, skeleton, features[rows], random, skeleton.low, skeleton.high)[0]
            state, x = skeleton.states(x)
        return state, x, np.zeros(len(state))


@dataclass(frozen=True)
class Present:
    """Where ``known`` (n,), the states and values are given; elsewhere all that is given is that something is there."""

    known: Booleans
    states: Integers
    values: Floats

    def draw(
        self, law: Law, skeleton: Skeleton, features: Floats, random: np.random.Generator
    ) -> tuple[Integers, Floats, Floats]:
        state, x, weight = self.states.copy(), self.values.copy(), np.zeros(len(self.states))
        known, open_rows = self.known, ~self.known
        if known.any():
            weight[known] = column_log_prob(law, skeleton, features[known], state[known], x[known])
        if open_rows.any():
            inside = Within(skeleton.low, skeleton.high, skeleton.seen[1 : 1 + len(skeleton.points)])
            state[open_rows], x[open_rows], weight[open_rows] = inside.draw(law, skeleton, features[open_rows], random)
        return state, x, weight


@dataclass(frozen=True)
class Within:
    """Points that are marked (A,), and other values from low to high; nothing of these for low above high."""

    low: float
    high: float
    points: Booleans

    def draw(
        self, law: Law, skeleton: Skeleton, features: Floats, random: np.random.Generator
    ) -> tuple[Integers, Floats, Floats]:
        masses = law.masses(features)
        masses[:, 0] = 0
        masses[:, 1 : 1 + len(self.points)] *= self.points
        x = np.full(len(masses), np.nan)
        if skeleton.numeric:
            if skeleton.seen[-1] and self.low <= self.high:
                x, inside = draw_rest(law, skeleton, features, random, self.low, self.high)
                masses[:, -1] *= inside
            else:
                masses[:, -1] = 0
        total = masses.sum(1)
        state = draw_states(np.where(total[:, None] > 0, masses, 1.0 * (np.arange(masses.shape[1]) == 1)), random)
        points = np.append(np.append(np.nan, skeleton.points), np.nan)
        x = np.where(state == skeleton.rest, x, points[state])
        state, x = skeleton.states(x)
        return state, x, np.log(np.maximum(total, 1e-300))


@dataclass(frozen=True)
class OneOf:
    """One of some states and values, each (m,)."""

    states: Integers
    values: Floats

    def draw(
        self, law: Law, skeleton: Skeleton, features: Floats, random: np.random.Generator
    ) -> tuple[Integers, Floats, Floats]:
        n = len(features)
        each = [
            column_log_prob(law, skeleton, features, np.full(n, state), np.full(n, x))
            for state, x in zip(self.states, self.values, strict=True)
        ]
        logs = np.stack(each, 1)
        top = logs.max(1)
        masses = np.exp(logs - top[:, None])
        chosen = draw_states(masses, random)
        return self.states[chosen], self.values[chosen], top + np.log(masses.sum(1))


def draw_rows(
    joint: Joint, n: int, given: Mapping[int, Condition], random: np.random.Generator
) -> tuple[Coded, Floats]:
    """Rows under conditions on some columns, and the logarithm (n,) of what each weighs."""
    d = len(joint.order)
    states, values = [np.zeros(n, np.int64)] * d, [np.zeros(n)] * d
    features, weights = np.empty((n, 0)), np.zeros(n)
    for j in joint.order:
        law, skeleton = joint.laws[j], joint.skeletons[j]
        states[j], values[j], weight = given.get(j, Free()).draw(law, skeleton, features, random)
        features = np.concatenate([features, joint.encodings[j].features(states[j], values[j])], 1)
        weights = np.maximum(weights + weight, NEVER)
    return Coded(states, values), weights


def draw_rest(
    law: Law, skeleton: Skeleton, features: Floats, random: np.random.Generator, low: float, high: float
) -> tuple[Floats, Floats]:
    """Values (n,) from low to high of the state of all others, and the probability (n,) of these ends."""
    loc, scale = law.place(features)
    low, high = max(low, skeleton.low), min(high, skeleton.high)
    grid = skeleton.grid
    half = 0.5 * float(grid.steps[-1]) if grid else 0.0
    ends = [law.normals(np.full_like(loc, end), loc, scale) for end in (low - half, high + half)]
    limits = [(a[0], b[0]) for a, b in zip(*ends, strict=True)]
    near, far = (np.exp(log_mass(a, b)) if high > low or half else np.zeros_like(a) for a, b in limits)
    mass = (1 - law.stray) * near + law.stray * far
    stray = random.random(len(loc)) * mass >= (1 - law.stray) * near
    a, b = (np.where(stray, by_curve, told) for told, by_curve in zip(*limits, strict=True))
    z = _between(a, b, random)
    told = law.rest.inverse(np.where(stray, 0.0, z)) * scale + loc
    x = np.clip(law.root.inverse(np.where(stray, z, told)), low - half, high + half)
    if grid is None:
        return np.clip(x, low, high), mass
    rounded = grid.round(x, random)
    off = (rounded < low) | (rounded > high)  # a coarser grid may round beyond the ends; the finest does not
    return np.clip(np.where(off, grid.tidy(x), rounded), low, high), mass


def _between(a: Floats, b: Floats, random: np.random.Generator) -> Floats:
    """Draws (n,) of a normal law between a and b (n,)."""
    below, above = ndtr(a), ndtr(b)
    u = random.random(len(a))
    inside = np.clip(below + (above - below) * u, 1e-300, 1 - 1e-16)
    drawn: Floats = np.where(above - below > LEAST_MASS, ndtri(inside), a + (b - a) * u)
    return drawn


def draw_states(masses: Floats, random: np.random.Generator) -> Integers:
    """A state (n,) of each row by its masses (n, S)."""
    summed = np.cumsum(masses, 1)
    u = random.random(len(masses)) * summed[:, -1]
    state: Integers = (u[:, None] >= summed[:, :-1]).sum(1)
    return state
