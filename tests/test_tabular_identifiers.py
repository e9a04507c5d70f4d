"""Columns that name rows: no value of a real row comes again, whatever their dtype, and it is said."""

import warnings

import numpy as np
import pandas as pd
import pytest

from gaussflow.apps.tabular import Inequality, NullIf, TableSynthesizer, compare_tables, suggest_constraints

N = 60


def table(**columns):
    random = np.random.default_rng(0)
    return pd.DataFrame({"x": random.normal(size=N).round(1), "kind": random.choice(["a", "b"], N), **columns})


def names(n=N):
    return [f"P{k:04d}" for k in np.random.default_rng(1).permutation(9999)[:n]]


NAMES = {
    "text": (pd.Series(names(), dtype=object), "synthetic-1"),
    "string": (pd.Series(names(), dtype="string"), "synthetic-1"),
    "category": (pd.Series(names()).astype("category"), "synthetic-1"),
    "category of numbers": (pd.Series(range(100, 100 + N)).astype("category"), 1000),
    "text with gaps": (pd.Series([None, *names(N - 1)], dtype=object), "synthetic-1"),
    "free text": (pd.Series([f"pain since {k % 50} days" for k in range(N)], dtype=object), "synthetic-1"),
    "names that look new": (pd.Series([f"synthetic-{k}" for k in range(N)], dtype=object), "synthetic2-1"),
}


@pytest.mark.parametrize("kind", NAMES)
def test_names_of_rows_are_new_ones(kind):
    series, first = NAMES[kind]
    df = table(id=series)
    with pytest.warns(UserWarning, match=r"'id' is taken for an identifier .* identifiers=\['id'\]"):
        model = TableSynthesizer().fit(df)
    drawn = model.sample(500)
    assert str(drawn["id"].dtype) == str(df["id"].dtype)
    held = drawn["id"].dropna()
    assert held.iloc[0] == first
    assert held.is_unique
    assert not set(held) & set(series.dropna())
    assert drawn["id"].isna().any() == series.isna().any()
    assert np.isfinite(model.log_prob(df)).all()
    assert np.isfinite(model.log_prob(drawn)).all()


@pytest.mark.parametrize("kind", NAMES)
def test_nothing_of_them_is_saved(kind, tmp_path):
    series, _ = NAMES[kind]
    model = TableSynthesizer(identifiers=["id"]).fit(table(id=series))
    model.save(tmp_path / "table")
    saved = (tmp_path / "table").read_bytes()
    assert not any(str(value).encode() in saved for value in series.dropna() if isinstance(value, str))
    again = TableSynthesizer.load(tmp_path / "table")
    assert again.get_params()["identifiers"] == ["id"]
    pd.testing.assert_frame_equal(again.sample(40), model.sample(40))


@pytest.mark.parametrize(
    ("series", "first"),
    [
        (pd.Series(range(1, N + 1)), 100),
        (pd.Series(range(-N, 0)), 10),
        (pd.Series(range(1, N + 1), dtype="Int16").mask(pd.Series(range(N)) < 9), 100),
        (pd.Series(range(1, N + 1), dtype="uint32"), 100),
        (pd.Series([float(k) for k in range(1, N + 1)]), 100.0),
        (pd.Series(range(10**15, 10**15 + N)), 10**16),
    ],
)
def test_numbers_of_rows_are_new_ones_when_they_are_told(series, first):
    df = table(id=series)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        model = TableSynthesizer(identifiers=["id"]).fit(df)
    drawn = model.sample(300)["id"]
    assert drawn.dtype == series.dtype
    assert drawn.dropna().iloc[0] == first
    assert not drawn.dropna().isin(series).any()
    assert drawn.dropna().is_unique


def test_numbers_that_never_repeat_are_warned_of():
    for start in (0, 5000):
        with pytest.warns(UserWarning, match="'id' seems to be an identifier: its 60 whole numbers never repeat"):
            TableSynthesizer().fit(table(id=np.random.default_rng(2).permutation(100)[:N] + start))


@pytest.mark.parametrize(
    "series",
    [
        pd.Series(np.random.default_rng(0).permutation(10**6)[:N]),  # so far apart that none repeats by chance
        pd.Series(np.arange(N) // 2),
        pd.Series(np.random.default_rng(0).normal(size=N)),
        pd.Series(np.arange(N) * 10000 + np.random.default_rng(0).integers(0, 9000, N)),
        pd.Series([f"c{k // 3}" for k in range(N)]),
        pd.Series([f"c{k}" for k in range(4)] * 15),
        pd.date_range("2020", periods=N).to_series(index=range(N)),
        pd.Series([True, False] * 30),
        pd.Series([None] * (N - 4) + list("abcd"), dtype=object),
    ],
)
def test_other_columns_are_left_as_they_are(series):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        model = TableSynthesizer().fit(table(id=series))
    assert not any(column.made for column in model.columns_)


def test_what_is_missing_of_names_hangs_on_the_rest():
    df = table()
    df["id"] = pd.Series(names(), dtype=object).mask(df["kind"] == "a")
    drawn = TableSynthesizer(identifiers=["id"]).fit(df).sample(400)
    assert drawn["id"].isna()[drawn["kind"] == "a"].mean() > 0.9
    assert drawn["id"].isna()[drawn["kind"] == "b"].mean() < 0.1


def test_names_that_are_given_stay():
    df = table(id=pd.Series(names(), dtype="string"), place=pd.Series(names()).astype("category"))
    model = TableSynthesizer(identifiers=["id", "place"]).fit(df)
    drawn = model.sample(given=df[["id", "place"]].head(5))
    assert list(drawn["id"]) == list(df["id"].head(5))
    assert list(drawn["place"]) == list(df["place"].head(5))
    gaps = df.assign(id=df["id"].mask(df.index < 2), place=df["place"].mask(df.index < 3))
    filled = model.impute(gaps)
    assert list(filled["id"].head(3)) == ["synthetic-1", "synthetic-2", df["id"][2]]
    assert filled["place"].notna().all()
    assert list(filled["place"].tail(5)) == list(df["place"].tail(5))


REFUSED = {
    "text": ({"identifiers": "id"}, TypeError, r"identifiers as a list of columns, as \['id'\]; got 'id'"),
    "unknown": ({"identifiers": ["who"]}, ValueError, "told that 'who' are identifiers; its columns are 'x', 'kind'"),
    "decimals": ({"identifiers": ["x"]}, TypeError, "of whole numbers; got others in column 'x' of float64"),
    "truth": ({"identifiers": ["b"]}, TypeError, "got column 'b' of bool"),
    "no room": ({"identifiers": ["small"]}, ValueError, "no room for new identifiers of int8 .* Convert it to int64"),
    "a rule": ({"identifiers": ["id"], "constraints": [Inequality("id", "x")]}, TypeError, "names 'id', an identifier"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_cannot_be_made_anew_is_refused(case):
    settings, kind, said = REFUSED[case]
    df = table(id=range(N), b=[True, False] * 30, small=np.arange(N, dtype="int8") // 2)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with pytest.raises(kind, match=said):
            TableSynthesizer(**settings).fit(df)


def test_names_are_not_given_and_rules_about_their_gaps_hold():
    df = table()
    df["id"] = pd.Series(names(), dtype=object).mask(df["kind"] == "a")
    model = TableSynthesizer(identifiers=["id"], constraints=[NullIf("id", "kind", "a")]).fit(df)
    drawn = model.sample(200)
    assert drawn["id"].isna()[drawn["kind"] == "a"].all()
    assert model.sample(20, given={"id": None})["id"].isna().all()
    with pytest.raises(ValueError, match="makes new identifiers for column 'id', of which None"):
        model.sample(20, given={"id": "P0001"})
    assert any(each.rule == NullIf("id", "kind", "a") for each in suggest_constraints(df))


def test_a_report_says_whether_names_come_again():
    df = table(id=pd.Series(names(), dtype=object))
    model = TableSynthesizer(identifiers=["id"]).fit(df)
    report = model.report(df, model.sample(N))
    assert [(each.name, each.share) for each in report.names] == [("id", 0.0)]
    assert [column.name for column in report.columns] == ["x", "kind"]
    assert "id names rows. None of its synthetic values is that of a real row" in str(report)
    copied = compare_tables(df, df.head(30))
    assert copied.names[0].share == 1
    assert "a concern: id seems to name rows, and 100 % of its synthetic values are those of real rows" in str(copied)
    numbered = compare_tables(table(id=range(N)), table(id=np.arange(N) + 45))
    assert [column.name for column in numbered.columns] == ["x", "kind", "id"]
    assert numbered.names[0].share == pytest.approx(0.25)
    with pytest.raises(ValueError, match="wants a column that names no rows; got 'id' only"):
        compare_tables(df[["id"]], df[["id"]])
