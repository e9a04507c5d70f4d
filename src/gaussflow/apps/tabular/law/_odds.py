"""The masses of the states of a column by the odds that a linear rule gives them, pooled with those of trees."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from gaussflow.apps.tabular._arrays import Floats, Integers

WIDE = 12  # states told one by one; the rarer ones go together
FEWEST_OTHERS = 3  # rows beside the commonest state, below which there is nothing to tell
STEPS, POOLINGS = 30, 60
PRIOR = np.array([0.01, 0.01])  # precision of the offset and slope of a line
LEAST_TRUST = 0.02  # of the pool
FOR_TREES = 1.0  # rows that are taken to be as trees have it, which leave no state impossible


@dataclass(frozen=True)
class Odds:
    r"""Masses of states by a linear rule, in a pool with those of trees.

    With what the rule says :math:`h_g` of each group of states (Platt, 1999, for several groups),

    .. math:: q_g \propto \exp(a_g + b_g h_g), \qquad m = \lambda\, q + (1 - \lambda)\, m_\text{trees}.

    Attributes
    ----------
    groups
        The group (S,) of each state; -1 for states that no row has.
    shares
        The share (S,) of each state within its group, of what states of no row leave; of these their own mass.
    lines
        Offsets and slopes (G, 2).
    trust
        The weight :math:`\lambda` of the rule in the pool.
    """

    groups: Integers
    shares: Floats
    lines: Floats
    trust: float

    def __post_init__(self) -> None:
        """Refuse groups without a line: those read from a file may be anything."""
        if (
            not 0 <= self.trust <= 1
            or self.groups.shape != self.shares.shape
            or self.groups.max(initial=-1) >= len(self.lines)
        ):
            raise ValueError("the odds of states need a line for each group and a trust from 0 to 1")

    def pooled(self, told: Floats, masses: Floats) -> Floats:
        """The masses (n, S) of the pool, of what the rule says (n, Q) and the masses (n, S) by trees."""
        if not self.trust:
            return masses
        own = _softmax(_lines(_heard(told, len(self.lines)), self.lines))
        spread: Floats = np.where(self.groups < 0, 1.0, own[:, self.groups]) * self.shares
        return self.trust * spread + (1 - self.trust) * masses


def grouped(states: Integers, count: int) -> Integers:
    """The group (S,) of each of so many states of rows (n,): the common ones each, the rarer together, -1 for none."""
    held = np.bincount(states, minlength=count)
    order = np.argsort(-held, kind="stable")
    groups = np.full(count, -1)
    groups[order] = np.minimum(np.arange(count), WIDE - 1)
    groups[held == 0] = -1
    return groups


def group_marks(states: Integers, groups: Integers) -> Floats:
    """What a rule is told (n, Q) of states (n,): a mark for each group, of two for the second alone."""
    marks = _marks(states, groups)
    return marks[:, 1:] if marks.shape[1] == 2 else marks


def no_odds() -> Odds:
    """A pool of trees alone."""
    return Odds(np.empty(0, np.int64), np.empty(0), np.empty((0, 2)), 0.0)


def fit_odds(
    heard: Floats, states: Integers, groups: Integers, root: Floats, weights: Floats, by_trees: Floats
) -> Odds:
    """Fit to states (n,) in groups (S,), by what a rule (n, Q) and trees (n,) say of rows that they have not seen.

    The lines are those of the greatest likelihood, by Newton's method; the trust as well, by expectation and
    maximisation (Dempster, Laird and Rubin, 1977). ``root`` are the masses (S,) of the states in the whole table, and
    ``by_trees`` is the mass that trees give to the state of the row.
    """
    marks, count = _marks(states, groups), int(groups.max()) + 1
    if count < 2 or len(states) - marks.sum(0).max() < FEWEST_OTHERS or np.ptp(heard, axis=0).max() <= 0:
        return no_odds()
    lines = _fit_lines(_heard(heard, count), marks, weights)
    rule = Odds(groups, _within(groups, root), lines, 1.0)
    by_rule = rule.pooled(heard, np.zeros((len(states), len(groups))))[np.arange(len(states)), states]
    trust = 0.5
    for _ in range(POOLINGS):
        own = trust * by_rule / (trust * by_rule + (1 - trust) * by_trees)
        trust = float(weights @ own / (weights.sum() + FOR_TREES))
    return Odds(groups, rule.shares, lines, trust) if trust > LEAST_TRUST else no_odds()


def _fit_lines(heard: Floats, marks: Floats, weights: Floats) -> Floats:
    """Offsets and slopes (G, 2) of what is heard (n, G) of the groups marked (n, G)."""
    count = marks.shape[1]
    lines = np.stack([np.log(np.maximum(weights @ marks, 0.5) / weights.sum()), np.zeros(count)], 1)
    x = np.stack([np.ones_like(heard), heard], 2)
    for _ in range(STEPS):
        masses = _softmax(_lines(heard, lines))
        slope = np.einsum("ng,ngi->gi", weights[:, None] * (marks - masses), x) - PRIOR * lines
        felt = (masses[:, :, None] * x).reshape(len(x), -1)
        bend = np.diag(np.tile(PRIOR, count)) - (weights[:, None] * felt).T @ felt
        for g in range(count):
            own = slice(2 * g, 2 * g + 2)
            bend[own, own] += (weights[:, None] * felt[:, own]).T @ x[:, g]
        step = np.linalg.solve(bend, slope.ravel()).reshape(count, 2)
        lines = lines + np.clip(step, -5, 5)
        if np.abs(step).max() < 1e-8:
            break
    return lines


def _within(groups: Integers, root: Floats) -> Floats:
    """The share (S,) of each state in its group, of what states without a group leave; of these their own mass."""
    shares = root.copy()
    left = 1 - root[groups < 0].sum()
    for g in range(int(groups.max()) + 1):
        shares[groups == g] *= left / root[groups == g].sum()
    return shares


def _heard(told: Floats, count: int) -> Floats:
    """What a rule says (n, G) of each of so many groups; of two it speaks of the second alone."""
    return np.stack([np.zeros(len(told)), told[:, 0]], 1) if count == 2 else told[:, :count]


def _marks(states: Integers, groups: Integers) -> Floats:
    """Marks (n, G) of the groups that states (n,) are in."""
    marks: Floats = (groups[states][:, None] == np.arange(int(groups.max()) + 1)).astype(np.float64)
    return marks


def _lines(heard: Floats, lines: Floats) -> Floats:
    scores: Floats = lines[:, 0] + lines[:, 1] * heard
    return scores


def _softmax(scores: Floats) -> Floats:
    odds = np.exp(scores - scores.max(1, keepdims=True))
    masses: Floats = odds / odds.sum(1, keepdims=True)
    return masses
