"""Numbers that are evenly spaced and no decimals: found, drawn as they were written, and not found by chance."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from gaussflow.apps.tabular import Inequality, TableSynthesizer
from gaussflow.apps.tabular.frames._lattice import read_lattice
from gaussflow.apps.tabular.frames._schema import read_column


def whole(n=400, seed=0, spread=60):
    return np.random.default_rng(seed).binomial(spread, 0.4, n).astype(float)


def scored(x):
    return (x - x.mean()) / x.std()


WAYS = {
    "z-scores": scored,
    "z-scores in single precision": lambda x: scored(x).astype(np.float32).astype(float),
    "less their mean": lambda x: x - x.mean(),
    "ninths with six digits": lambda x: np.array([float(f"{v / 9:.6g}") for v in x]),
    "thirds with four decimals": lambda x: np.round(x / 3, 4),
}


@pytest.mark.parametrize("way", WAYS, ids=str)
def test_it_is_found_and_values_come_back(way):
    x = WAYS[way](whole())
    column = read_column(pd.Series(x, name="x"), "it")
    assert column.lattice is not None
    places = column.codes(pd.Series(x), "it")
    assert np.ptp(places) == np.ptp(whole())
    np.testing.assert_allclose(column.values(places), x, rtol=1e-6, atol=1e-6)
    common = pd.Series(x).map(pd.Series(x).value_counts()) >= 3
    assert (column.values(places)[common] == x[common]).all()


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("kind", ["normal", "rounded", "lognormal", "single", "digits"])
def test_none_is_found_by_chance(kind, seed):
    random = np.random.default_rng(seed)
    x, decimals = random.lognormal(size=int(random.integers(14, 400))), None
    if kind == "normal":
        x = random.normal(size=len(x))
    elif kind == "rounded":
        x, decimals = np.round(x, 3), 3
    elif kind == "single":
        x = x.astype(np.float32).astype(float)
    elif kind == "digits":
        x = np.array([float(f"{v:.5g}") for v in x])
    found = read_lattice(x, 2.3e-16, decimals)
    assert found is None or found.spacing == pytest.approx(1e-3 if kind == "rounded" else 1e-5, rel=1e-3)


def test_decimals_stay_decimals():
    x = pd.Series(np.round(whole() * 0.25, 2))
    column = read_column(x, "it")
    assert column.lattice is None
    assert column.unit == 100
    assert column.step == 25


@pytest.mark.parametrize("x", [np.array([]), np.full(20, 0.1), np.array([1e-300, 1e300] * 8), np.arange(14) * 1e-310])
def test_odd_columns_have_none(x):
    assert read_lattice(x, 2.3e-16) is None


def test_rows_drawn_are_on_it(tmp_path):
    df = pd.DataFrame({"age": scored(whole()), "sex": np.random.default_rng(1).choice(["F", "M"], 400)})
    model = TableSynthesizer(random_state=0).fit(df)
    model.save(tmp_path / "model")
    drawn = TableSynthesizer.load(tmp_path / "model").sample(300)
    pd.testing.assert_frame_equal(drawn, model.sample(300))
    steps = (drawn["age"] - df["age"].iloc[0]) / np.diff(np.unique(df["age"])).min()
    np.testing.assert_allclose(steps, steps.round(), atol=1e-6)
    assert drawn["age"].isin(set(df["age"])).mean() > 0.95
    assert np.isfinite(model.log_prob(df)).all()
    one = df["age"].mode()[0]
    assert (model.sample(20, given={"age": one})["age"] == one).all()
    assert model.sample(50, given={"age": (-1.0, 1.0)})["age"].abs().max() <= 1
    with pytest.raises(ValueError, match="age"):
        model.sample(5, given={"age": one + 0.3 * np.diff(np.unique(df["age"])).min()})


def test_mass_sums_to_one():
    x = scored(whole(200, spread=20))
    model = TableSynthesizer(random_state=0).fit(pd.DataFrame({"x": x}))
    step = np.diff(np.unique(x)).min()
    around = np.append(x.min() + step * np.arange(-200, 250), np.nan)
    assert np.exp(model.log_prob(pd.DataFrame({"x": around}))).sum() == pytest.approx(1, abs=1e-3)


def test_rules_know_it():
    low, more = whole(300), whole(300, 1)
    df = pd.DataFrame({"low": low / 7 - 1 / 3, "high": (low + more) / 7 - 1 / 3})
    model = TableSynthesizer(constraints=[Inequality("low", "high")], random_state=0).fit(df)
    drawn = model.sample(500)
    assert (drawn["low"] <= drawn["high"] + 1e-9).all()
