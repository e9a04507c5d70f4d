"""Partial rows: what is drawn has the conditional law, which small tables let us list, and where not it is said."""

import itertools
import warnings

import numpy as np
import pandas as pd
import pytest

from gaussflow.apps.tabular import Inequality, TableSynthesizer
from gaussflow.apps.tabular.drawing import _completion
from tables import patients

ROWS = 6000


def sick(n=3000, seed=0):
    """A rare disease, a common sign of it that others hardly have, and a ward: the sign comes last in the law."""
    random = np.random.default_rng(seed)
    ill = random.random(n) < 0.02
    ward = np.where(random.random(n) < 0.3 + 0.5 * ill, "a", "b")
    sign = np.where(random.random(n) < np.where(ill, 0.9, 0.01), random.integers(1, 3, n), 0)
    return pd.DataFrame({"ill": np.where(ill, "yes", "no"), "ward": ward, "sign": sign.astype(str)})


def listed(model, given):
    """The conditional law of all rows of the table, by their probabilities."""
    levels = [[given[c]] if c in given else ls for c, ls in LEVELS.items()]
    rows = pd.DataFrame(list(itertools.product(*levels)), columns=list(LEVELS))
    shares = np.exp(model.log_prob(rows))
    return rows, shares / shares.sum()


LEVELS = {"ill": ["no", "yes"], "ward": ["a", "b"], "sign": ["0", "1", "2"]}
GIVEN = [{"sign": "1"}, {"sign": "2", "ward": "b"}, {"ward": "a"}, {"ill": "yes"}, {"sign": "0"}]


@pytest.fixture(scope="module")
def model():
    return TableSynthesizer().fit(sick())


def far(drawn, rows, shares):
    """The largest distance of a share of the rows drawn to what it should be, in standard deviations."""
    held = np.array([(drawn == row).all(axis=1).mean() for _, row in rows.iterrows()])
    return np.abs(held - shares).max() / np.sqrt(0.25 / len(drawn)), held


@pytest.mark.parametrize("given", GIVEN, ids=str)
@pytest.mark.parametrize("seed", [0, 1])
def test_rows_are_drawn_as_the_conditional_law_has_them(model, given, seed):
    rows, shares = listed(model, given)
    drawn = model.sample(given=pd.DataFrame([given] * ROWS), random_state=seed)
    apart, held = far(drawn, rows, shares)
    assert held.sum() == pytest.approx(1)
    assert apart < 4  # of six shares at most; a fixed number of candidates is 10 off


@pytest.mark.parametrize("given", GIVEN[:2], ids=str)
def test_gaps_are_filled_as_the_conditional_law_has_them(model, given):
    rows, shares = listed(model, given)
    gaps = pd.DataFrame([given] * ROWS).reindex(columns=list(LEVELS)).astype(object)
    filled = model.impute(gaps, random_state=3)
    assert far(filled, rows, shares)[0] < 4


def test_numbers_drawn_vary_as_in_rows_that_are_kept_or_thrown_away():
    model = TableSynthesizer().fit(patients(n=500)[["radius", "texture", "class"]])
    for texture in (12.0, 20.0, 30.0):
        one = model.sample(given=pd.DataFrame({"texture": [texture] * 1500}), random_state=1)
        free = model.sample(1500, given={"texture": texture}, random_state=2)
        error = one["radius"].std() * np.sqrt(2 / 1500)
        assert abs(one["radius"].mean() - free["radius"].mean()) < 4 * error
        assert abs((one["class"] == "benign").mean() - (free["class"] == "benign").mean()) < 4 * np.sqrt(0.5 / 1500)


def test_rows_without_gaps_stay_and_cost_nothing(model, monkeypatch):
    def never(*arguments):
        assert not arguments[2]
        return draw(*arguments)

    draw = _completion.draw_rows
    monkeypatch.setattr(_completion, "draw_rows", never)
    df = sick(50)
    pd.testing.assert_frame_equal(model.impute(df), df)
    pd.testing.assert_frame_equal(model.sample(given=df), df)


def test_rows_that_hardly_any_candidate_fits_are_named(monkeypatch):
    random = np.random.default_rng(0)
    x = random.normal(size=400)
    df = pd.DataFrame({"x": x, "y": x + 0.002 * random.normal(size=400), "z": x + 0.002 * random.normal(size=400)})
    model = TableSynthesizer().fit(df)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        model.impute(df.assign(z=np.nan).astype(float).head(5))
    monkeypatch.setattr(_completion, "MOST", 1)
    with pytest.warns(UserWarning, match="1 of 1 rows, as row 2, are so unlike what the law expects that few of"):
        model.impute(df.assign(x=df["x"].mask(df.index == 2)).head(5))


def test_what_nothing_completes_is_refused():
    df = pd.DataFrame({"a": [1, 2, 3, 4] * 10, "b": [2, 3, 4, 5] * 10, "c": list("uv") * 20})
    model = TableSynthesizer(constraints=[Inequality("a", "b", strict=True)]).fit(df)
    with pytest.raises(ValueError, match="found nothing that completes 2 of the rows, as row 0"):
        model.sample(given=pd.DataFrame({"b": [1, 1]}))


def test_the_chain_keeps_a_candidate_that_is_far_better_than_fresh_ones():
    """Of a row whose kept candidate weighs e^50 times any other, no step takes it away."""
    chain, random = _completion._Chain(2), np.random.default_rng(0)
    at, size, each, number = np.arange(2), np.array([3, 4]), np.array([3, 2]), np.array([0, 0, 0, 0, 0, 1, 1])
    for step in range(20):
        weights = np.full(7, -50.0)
        if not step:
            weights[[1, 6]] = 0.0
        drawn = _completion.Coded([np.arange(7) + 7 * step], [np.arange(7.0) + 7 * step])
        chain.step(at, size, each, number, drawn, weights, random)
    assert chain.kept.values[0].tolist() == [1, 6]
    assert chain.number.tolist() == [0, 1]
    assert (chain.left < 1).all()
