"""What is given together: refused where no row has it, drawn where rows do; levels in shares; weights as rows again."""

import time

import numpy as np
import pandas as pd
import pytest

from gaussflow.apps.tabular import TableSynthesizer
from tables import patients
from visits import visits


@pytest.fixture(scope="module")
def fitted():
    df = visits()
    return df, TableSynthesizer().fit(df)


@pytest.mark.parametrize(
    ("given", "stands_in_the_way"),
    [
        ({"status": "alive", "cause": "heart"}, "% of rows have what was given of 'status': leave 'cause' out"),
        ({"celsius": (38, None), "fahrenheit": (None, 97)}, "leave"),
    ],
)
def test_what_never_goes_together_is_refused_in_bounded_time(fitted, given, stands_in_the_way):
    start = time.process_time()
    with pytest.raises(
        ValueError, match=rf"cannot draw rows with what was given of .* together: .*{stands_in_the_way}"
    ):
        fitted[1].sample(1000, given=given)
    assert time.process_time() - start < 20


def test_what_hardly_goes_together_is_told_of(fitted):
    with pytest.warns(UserWarning, match=r"hardly any row has what was given of 'hospital', 'ward' together"):
        drawn = fitted[1].sample(30, given={"hospital": "south", "ward": "birth"})
    assert len(drawn) == 30


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.filterwarnings("ignore:rows with what was given are rare")
def test_what_a_row_has_is_never_refused(seed):
    """Two or three things that a fresh row of the same law has together, numbers within a fifth of their spread."""
    df, fresh = visits(300, seed), visits(15, seed + 50)
    model = TableSynthesizer(random_state=seed).fit(df)
    random = np.random.default_rng(seed)
    for _, row in fresh.iterrows():
        given = {}
        for name in random.choice(
            ["age", "status", "hospital", "systolic", "celsius", "bill", "tested"], 3, replace=False
        ):
            if isinstance(row[name], str | bool | np.bool_):
                given[name] = row[name]
            else:
                low, high, far = df[name].min(), df[name].max(), 0.2 * df[name].std()
                given[name] = (float(np.clip(row[name] - far, low, high)), float(np.clip(row[name] + far, low, high)))
        drawn = model.sample(20, given=given)
        assert len(drawn) == 20
        for name, wanted in given.items():
            held = drawn[name].between(*wanted) if isinstance(wanted, tuple) else drawn[name] == wanted
            assert held.all(), name


def test_sets_gaps_and_intervals_go_together(fitted):
    drawn = fitted[1].sample(
        200, given={"ward": {"eyes", "heart"}, "discharged": None, "age": (40, 80), "tested": True}
    )
    assert set(drawn["ward"]) == {"eyes", "heart"}
    assert drawn["discharged"].isna().all()
    assert drawn["age"].between(40, 80).all()
    either = fitted[1].sample(300, given={"cause": {"heart", None}})
    assert set(either["cause"].fillna("-")) == {"heart", "-"}


def test_a_frame_of_partial_rows_keeps_gaps_and_values_beyond_the_range(fitted):
    df, model = fitted
    part = pd.DataFrame({"age": [30, 140], "cause": pd.Series([None, "heart"], dtype=object), "bill": [np.nan, 1e6]})
    drawn = model.sample(given=part)
    pd.testing.assert_frame_equal(drawn[["age", "cause", "bill"]], part)
    assert drawn.dtypes.to_dict() == df.dtypes.to_dict()


def test_levels_come_equally_often_or_in_shares(fitted):
    model = fitted[1]
    drawn = model.sample(1000, balance="hospital")
    assert drawn["hospital"].value_counts().tolist() == [334, 333, 333]
    assert drawn.head(200)["hospital"].nunique() == 3
    drawn = model.sample(1000, balance={"cause": {"heart": 3, None: 1}}, given={"age": (60, None)})
    assert (drawn["cause"] == "heart").sum() == 750
    assert drawn["cause"].isna().sum() == 250
    assert (drawn["age"] >= 60).all()
    assert model.sample(2, balance="hospital").shape == (2, len(fitted[0].columns))


def test_balanced_rows_have_the_law_of_their_level(fitted):
    model = fitted[1]
    drawn, free = (
        d.groupby("status")["age"].mean() for d in (model.sample(6000, balance="status"), model.sample(20_000))
    )
    assert drawn["dead"] > drawn["alive"] + 5
    pd.testing.assert_series_equal(drawn, free, atol=2, rtol=0)


@pytest.mark.parametrize(
    ("balance", "said"),
    [
        ("height", "'height', which is no column"),
        ("bill", "balances columns of categories or of few numbers; 'bill' has more"),
        ({"status": {}}, "takes balance as a column"),
        ({"status": {"dead": -1}}, "shares of at least 0"),
        ({"status": {"gone": 1}}, "knows the categories"),
    ],
)
def test_balances_that_cannot_be_are_refused(fitted, balance, said):
    with pytest.raises(ValueError, match=said):
        fitted[1].sample(10, balance=balance)
    with pytest.raises(ValueError, match="given 'status' twice"):
        fitted[1].sample(10, balance="status", given={"status": "dead"})


@pytest.mark.parametrize("seed", range(3))
def test_a_weight_of_four_is_a_row_four_times(seed):
    """The law under weights is that of rows that come as often, but for the halves of the rows that trees see."""
    df, fresh = patients(400, seed), patients(569, seed + 9)
    times = np.where(df["class"] == "malignant", 4, 1)
    weighed = TableSynthesizer(random_state=seed).fit(df, sample_weight=times)
    again = TableSynthesizer(random_state=seed).fit(df.loc[df.index.repeat(times)].reset_index(drop=True))
    drawn, other = (model.sample(8000) for model in (weighed, again))
    assert (other["class"] == "malignant").mean() > 0.6  # 0.37 without weights
    assert (drawn["class"] == "malignant").mean() == pytest.approx((other["class"] == "malignant").mean(), abs=0.03)
    for column in ("radius", "area", "concavity"):
        assert drawn[column].mean() == pytest.approx(other[column].mean(), rel=0.08)
    assert weighed.score(fresh) == pytest.approx(again.score(fresh), abs=1.5)
