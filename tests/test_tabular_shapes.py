"""The shapes of the law of values: parts that features tell, two laws in a pool, and the order of columns."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from scipy.stats import norm

from gaussflow.apps.tabular import TableSynthesizer
from gaussflow.apps.tabular.law._curve import Curve
from gaussflow.apps.tabular.law._shape import tilted, untilted
from gaussflow.apps.tabular.law._values import fit_values


def shares(n, parts, seed=0):
    return np.random.default_rng(seed).dirichlet(np.ones(parts), n)


def short(rows, seed):
    """By how many nats the law of 2,000 rows falls short of the truth, on 4,000 others."""
    features, x, _ = rows(2000)
    law = fit_values(features, x, np.ones(2000), seed, x)
    features, x, truth = rows(4000)
    near, far = (slope - 0.5 * z**2 - 0.5 * np.log(2 * np.pi) for z, slope in law.normals(x, law.place(features)))
    said = np.logaddexp(near + np.log1p(-law.stray), far + np.log(law.stray))
    return (truth - said).mean()


@pytest.mark.parametrize("parts", [1, 2, 5, 24])
def test_a_tilt_goes_there_and_back(parts):
    z = np.linspace(-9, 9, 901)
    told = shares(len(z), parts)
    there, log_slope = tilted(z, told)
    np.testing.assert_allclose(untilted(there, told), z, rtol=1e-6, atol=1e-9)
    above, below = (tilted(z + h, told)[0] for h in (1e-6, -1e-6))
    inside = np.abs(np.modf(norm.cdf(z) * parts)[0] - 0.5) < 0.499  # both sides in one part
    np.testing.assert_allclose(np.log((above - below) / 2e-6)[inside], log_slope[inside], atol=1e-4)


def test_a_part_has_its_share():
    told = np.array([[0.7, 0.1, 0.2]])
    ends = norm.ppf([1 / 3, 2 / 3])
    there = tilted(ends, np.repeat(told, 2, 0))[0]
    np.testing.assert_allclose(norm.cdf(there), [0.7, 0.8], atol=1e-12)


def test_a_tilt_is_finite_and_rises_in_the_far_tails():
    z = np.concatenate([-(10.0 ** np.arange(100, 0, -3)), [0.0], 10.0 ** np.arange(1, 101, 3)])
    there, log_slope = tilted(z, np.repeat(shares(1, 8), len(z), 0))
    assert np.isfinite(there).all()
    assert np.isfinite(log_slope).all()
    assert (np.diff(there) > 0).all()
    back = untilted(there, np.repeat(shares(1, 8), len(z), 0))
    np.testing.assert_allclose(back, z, rtol=1e-6)


@pytest.mark.parametrize("seed", range(3))
def test_two_humps_for_one_group_and_one_for_the_other(seed):
    """The law of each group comes within 0.1 nats of the truth, where a place and a scale alone leave 0.5."""
    random = np.random.default_rng(seed)

    def rows(n):
        group = random.integers(0, 2, n)
        x = np.where(group, random.choice([-3.0, 3.0], n), 0.0) + 0.5 * random.normal(size=n)
        truth = np.where(
            group,
            np.logaddexp(norm.logpdf(x, -3, 0.5), norm.logpdf(x, 3, 0.5)) - np.log(2),
            norm.logpdf(x, 0, 0.5),
        )
        return group[:, None].astype(float), x, truth

    assert short(rows, seed) < 0.11


@pytest.mark.parametrize("seed", range(3))
def test_humps_stand_still_while_their_shares_change(seed):
    """Which of two humps is the likelier goes by a number: the place that trees tell moves, the humps do not."""
    random = np.random.default_rng(seed)

    def rows(n):
        u = random.uniform(size=n)
        x = np.where(random.uniform(size=n) < u, 3.0, -3.0) + 0.3 * random.normal(size=n)
        return u[:, None], x, np.log(u * norm.pdf(x, 3, 0.3) + (1 - u) * norm.pdf(x, -3, 0.3))

    assert short(rows, seed) < 0.11


@pytest.mark.parametrize("seed", range(3))
def test_what_is_drawn_has_the_shape(seed):
    random = np.random.default_rng(seed)
    group = random.choice(["one", "two"], 1500)
    x = np.where(group == "two", random.choice([-3.0, 3.0], 1500), 0.0) + 0.5 * random.normal(size=1500)
    drawn = TableSynthesizer(random_state=seed).fit(pd.DataFrame({"group": group, "x": x})).sample(4000)
    between = drawn.loc[drawn["group"] == "two", "x"].abs() < 1.5
    assert between.mean() < 0.04
    assert (drawn.loc[drawn["group"] == "one", "x"].abs() < 1.5).mean() > 0.96


def test_values_without_features_are_of_one_curve():
    x = np.random.default_rng(0).gamma(2, size=500)
    law = fit_values(np.empty((500, 0)), x, np.ones(500), 0, x)
    assert not law.forest.trees
    assert law.near.constant
    assert law.far.constant


def test_numbers_that_no_row_has_are_told_of_by_those_that_some_have():
    """A law of values without a row has the place and the spread of the states, so that none is impossibly far."""
    states = np.repeat([0.0, 1e5, 2e5], 100)
    law = fit_values(np.empty((0, 0)), np.empty(0), np.empty(0), 0, states)
    (z, _), _ = law.normals(np.array([0.0, 3e5]), law.place(np.empty((2, 0))))
    assert (np.abs(z) < 4).all()
    assert isinstance(law.root, Curve)


@pytest.mark.parametrize("seed", range(2))
def test_states_stand_where_they_are_better_told(seed):
    """A flag that two numbers tell stands after them, whose law is simple; a group that makes two humps before."""
    random = np.random.default_rng(seed)
    a, b = random.normal(size=(2, 1500))
    flag = np.where(a * b > 0, "yes", "no")
    model = TableSynthesizer(random_state=seed).fit(pd.DataFrame({"flag": flag, "a": a, "b": b}))
    assert model.joint_.order == [1, 2, 0]
    group = random.choice(["one", "two"], 1500)
    x, y = random.normal(size=(2, 1500)) + np.where(group == "one", 0.7, -0.7)
    model = TableSynthesizer(random_state=seed).fit(pd.DataFrame({"x": x, "y": y, "group": group}))
    assert model.joint_.order == [2, 0, 1]
