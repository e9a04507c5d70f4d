"""Frames such as users bring: every door takes them, without a warning, and they come back as they were."""

import numpy as np
import pandas as pd
import pytest

from gaussflow.apps.tabular import TableSynthesizer

N = 80
RANDOM = np.random.default_rng(0)
GAPS = pd.Series(np.random.default_rng(1).random(N) < 0.2)
ENDS = {
    "int8": RANDOM.choice(np.array([-128, 127, 0, 5], dtype="int8"), N),
    "uint64": RANDOM.choice(np.array([0, 2**64 - 1, 2**63], dtype="uint64"), N),
    "int64": RANDOM.choice(np.array([-(2**63), 2**63 - 1, 0]), N),
    "any of uint64": RANDOM.integers(0, 2**64 - 1, N, dtype="uint64", endpoint=True),
    "any of int64": RANDOM.integers(-(2**63), 2**63 - 1, N, endpoint=True),
    "UInt64 with gaps": pd.Series(RANDOM.integers(2**63, 2**64 - 1, N, dtype="uint64"), dtype="UInt64").mask(GAPS),
}
LEVELS = {
    "not all used": pd.Categorical(RANDOM.choice(["a", "b"], N), categories=["z", "a", "q", "b"]),
    "ordered": pd.Categorical(RANDOM.choice(["a", "b"], N), categories=["z", "b", "a"], ordered=True),
    "of small integers": pd.Categorical(RANDOM.integers(0, 4, N).astype("int8")),
    "of halves": pd.Categorical(RANDOM.integers(0, 4, N) / 2),
    "of truth": pd.Categorical(RANDOM.random(N) < 0.5),
    "of string": pd.Series(RANDOM.choice(["a", "b"], N), dtype="string").astype("category"),
    "without a value": pd.Categorical([None] * N, categories=["a"]),
    "without a level": pd.Categorical([None] * N),
}
TEXTS = {
    "signs": RANDOM.choice(["007", "7", 'é,"x"', "line\nbreak", "", "  pad ", "日本", "a\x00b", "$x^2$", "<b>&"], N),
    "gaps of all kinds": pd.Series(RANDOM.choice(np.array(["a", None, np.nan, pd.NA, "b"], dtype=object), N)),
    "truth with gaps": pd.Series(RANDOM.choice(np.array([True, None, False], dtype=object), N)),
}
SECONDS = pd.to_timedelta(RANDOM.integers(0, 20000, N), unit="s")
TIMES = {
    "summer begins": pd.Timestamp("2020-03-28 22:30", tz="Europe/Berlin") + SECONDS,
    "with an offset": pd.to_datetime(["2020-01-01T00:00:00+02:00"] * N) + SECONDS,
    "by seconds": (pd.Timestamp("2020") + SECONDS).astype("datetime64[s]"),
    "of mixed resolution": pd.Timestamp("2020") + SECONDS + pd.to_timedelta(np.arange(N) % 3, unit="us"),
    "far from now": RANDOM.integers(-60_000_000_000, 10**11, N).astype("datetime64[s]"),
    "durations by seconds": pd.Series(SECONDS).astype("timedelta64[s]").mask(GAPS),
    "none": pd.Series([pd.NaT] * N, dtype="timedelta64[ns]"),
}
NUMBERS = {
    "tiny": RANDOM.normal(size=N) * 1e-300,
    "huge": RANDOM.normal(size=N) * 1e300,
    "no zero below": np.where(RANDOM.random(N) < 0.1, 5e-324, RANDOM.normal(size=N)),
    "signed zeros": np.where(RANDOM.random(N) < 0.5, -0.0, RANDOM.normal(size=N)),
    "halves": RANDOM.normal(size=N).astype("float16"),
    "Float32 with gaps": pd.Series(RANDOM.normal(size=N), dtype="Float32").mask(GAPS),
}
COLUMNS = {**ENDS, **LEVELS, **TEXTS, **TIMES, **NUMBERS}


def frame(column):
    return pd.DataFrame({"x": np.random.default_rng(2).normal(size=N).round(2), "a": column})


@pytest.mark.parametrize("name", COLUMNS)
def test_every_door_takes_the_column(name, tmp_path):
    df = frame(COLUMNS[name])
    model = TableSynthesizer().fit(df)
    drawn = model.sample(200)
    assert drawn.dtypes.to_dict() == df.dtypes.to_dict()
    assert np.isfinite(model.log_prob(df)).all()
    assert np.isfinite(model.log_prob(drawn)).all()
    filled = model.impute(df.assign(x=df["x"].where(df.index % 2 == 0)))
    assert filled["x"].notna().all()
    assert filled.dtypes.to_dict() == df.dtypes.to_dict()
    model.save(tmp_path / "law")
    pd.testing.assert_frame_equal(TableSynthesizer.load(tmp_path / "law").sample(50), model.sample(50))


@pytest.mark.parametrize("name", ["signs", "far from now", "summer begins", "tiny", "huge", "durations by seconds"])
def test_the_report_takes_the_column(name):
    df = frame(COLUMNS[name])
    report = TableSynthesizer().fit(df).report(df, df.sample(N, random_state=0, replace=True), df.head(40))
    assert report.html().count("data:image/svg") >= 2
    assert "\x00" not in report.html()
    assert all(column.outside == 0 for column in report.columns)


def test_integers_reach_the_ends_of_their_dtype_and_no_further():
    for name in ("uint64", "int64", "any of uint64", "any of int64"):
        df = frame(ENDS[name])
        drawn = TableSynthesizer().fit(df).sample(500)["a"]
        assert df["a"].min() <= drawn.min()
        assert drawn.max() <= df["a"].max()


@pytest.mark.parametrize("names", [np.array([1, 2]), ["", "a"], ["0", 0], ["a, b", "日\n本"]])
def test_names_of_columns_come_back(names, tmp_path):
    df = frame(RANDOM.choice(["a", "b"], N))
    df.columns = names
    model = TableSynthesizer().fit(df)
    model.save(tmp_path / "law")
    assert list(TableSynthesizer.load(tmp_path / "law").sample(3).columns) == list(df.columns)
    assert model.report(df, model.sample(N)).html()


@pytest.mark.parametrize(
    "index", [[0] * N, [f"p{k}" for k in range(N)], pd.MultiIndex.from_product([[1, 2], range(40)])]
)
def test_the_index_says_nothing(index):
    df = frame(pd.Series(RANDOM.choice(["a", "b"], N), dtype=object).mask(GAPS))
    other = df.set_index(pd.Index(index) if isinstance(index, list) else index)
    model = TableSynthesizer().fit(other)
    pd.testing.assert_frame_equal(model.sample(20), TableSynthesizer().fit(df).sample(20))
    filled = model.impute(other)
    assert filled.index.equals(other.index)
    assert filled["a"].notna().all()
