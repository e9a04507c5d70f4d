"""What lines tell of states: dependence comes through as strong as it is, gaps together, and masses sum to one."""

import numpy as np
import pandas as pd
import pytest
from sklearn.linear_model import LogisticRegression

from gaussflow.apps.tabular import TableSynthesizer
from gaussflow.apps.tabular.law._odds import PRIOR, Odds, _fit_lines, fit_odds, grouped


def signs(n: int, seed: int) -> pd.DataFrame:
    """Twelve signs of one illness, each weak, and a result that all of them tell of."""
    random = np.random.default_rng(seed)
    ill = random.random(n) < 0.4
    columns = {f"sign{k}": random.random(n) < np.where(ill, 0.6, 0.4) for k in range(12)}
    told = sum(column * 1.0 for column in columns.values()) - 6
    columns["result"] = random.random(n) < 1 / (1 + np.exp(-1.3 * told))
    return pd.DataFrame(columns)


def test_states_that_go_together_do_so_in_few_rows():
    """A sign of one row in four, of forty: trees alone weaken its dependence, as they need more rows on either side."""

    def rows(n: int, seed: int) -> pd.DataFrame:
        random = np.random.default_rng(seed)
        sign = random.random(n) < 0.25
        noise = {f"noise{k}": random.random(n) < 0.5 for k in range(8)}
        return pd.DataFrame({"sign": sign, **noise, "other": sign ^ (random.random(n) < 0.1)})

    drawn = [TableSynthesizer(random_state=k).fit(rows(40, k)).sample(4000, random_state=k) for k in range(10)]
    kept = np.mean([np.corrcoef(frame["sign"], frame["other"])[0, 1] for frame in drawn])
    fresh = rows(100_000, 99)
    assert kept > 0.8 * np.corrcoef(fresh["sign"], fresh["other"])[0, 1]


def test_fresh_rows_are_nearly_as_probable_as_by_logistic_regression():
    losses = []
    for seed in range(6):
        train, fresh = signs(160, seed), signs(4000, 100 + seed)
        model = TableSynthesizer(random_state=seed).fit(train)
        whole, part = (frame.drop(columns=[] if k else ["result"]) for k, frame in ((1, fresh), (0, fresh)))
        ours = (
            model.log_prob(whole).mean()
            - TableSynthesizer(random_state=seed).fit(train.drop(columns="result")).log_prob(part).mean()
        )
        line = LogisticRegression().fit(train.drop(columns="result"), train["result"])
        odds = line.predict_proba(fresh.drop(columns="result"))
        rival = np.log(odds[np.arange(len(fresh)), fresh["result"].astype(int)]).mean()
        losses.append(rival - ours)
    assert np.mean(losses) < 0.06


def test_columns_that_are_missing_together_stay_together():
    """One row in eighty has no blood test at all: too few to be marked as a number that repeats is."""
    random = np.random.default_rng(0)
    blood = random.normal(size=(1500, 5)).round(2)
    blood[random.random(1500) < 0.0125] = np.nan
    drawn = TableSynthesizer(random_state=0).fit(pd.DataFrame(blood, columns=list("abcde"))).sample(5000)
    gaps = drawn.isna().sum(axis=1)
    assert (gaps == 5).mean() == pytest.approx(np.isnan(blood[:, 0]).mean(), abs=0.008)
    assert gaps.between(1, 4).mean() < 0.004


def test_masses_sum_to_one_with_rare_states_and_states_of_no_row():
    random = np.random.default_rng(1)
    states = np.minimum(random.geometric(0.2, 400) - 1, 19)  # twenty states, the last ones rare
    states[states == 3] = 4  # and one of no row
    groups = grouped(states, 20)
    assert groups[3] == -1
    assert groups.max() == 11
    root = (np.bincount(states, minlength=20) + 0.05) / 401
    marks = (groups[states][:, None] == np.arange(12)).astype(float)
    heard = 0.5 * marks + 0.1 * random.normal(size=marks.shape)
    odds = fit_odds(heard, states, groups, root, np.ones(400), root[states])
    assert odds.trust > 0.9  # the rule nearly tells
    masses = odds.pooled(heard, np.tile(root, (400, 1)))
    assert np.allclose(masses.sum(1), 1, atol=1e-12)
    assert (masses > 0).all()
    assert masses[0, 3] == pytest.approx(root[3])
    rare = groups == 11
    assert np.allclose(masses[:, rare] / masses[:, rare].sum(1, keepdims=True), root[rare] / root[rare].sum())


def test_lines_are_those_of_the_greatest_likelihood():
    random = np.random.default_rng(2)
    heard = random.normal(size=(500, 3))
    states = (heard + random.gumbel(size=(500, 3)) * 0.7).argmax(1)
    marks, weights = np.eye(3)[states], random.uniform(0.5, 2, 500)

    def likelihood(lines: np.ndarray) -> float:
        scores = lines[:, 0] + lines[:, 1] * heard
        own = scores[np.arange(500), states] - np.log(np.exp(scores).sum(1))
        return float(weights @ own - 0.5 * (PRIOR * lines**2).sum())

    lines = _fit_lines(heard, marks, weights)
    for _ in range(30):
        assert likelihood(lines) > likelihood(lines + 0.01 * random.normal(size=lines.shape))


def test_a_rule_that_says_nothing_is_not_trusted():
    random = np.random.default_rng(3)
    states = random.integers(0, 2, 300)
    root = np.bincount(states) / 300
    heard = 0.05 * random.normal(size=(300, 1))
    by_trees = np.where(random.random(300) < 0.9, 0.9, 0.1)  # trees that tell well
    odds = fit_odds(heard, states, grouped(states, 2), root, np.ones(300), by_trees)
    assert odds.trust < 0.1
    silent = fit_odds(0 * heard, states, grouped(states, 2), root, np.ones(300), by_trees)
    assert silent.trust == 0


def test_odds_from_a_file_are_checked():
    with pytest.raises(ValueError, match="a line for each group"):
        Odds(np.array([0, 5]), np.ones(2), np.zeros((2, 2)), 0.5)
