"""What holds for every table: many random frames, and those that are wide, tall in levels, or hardly there at all."""

import time
import tracemalloc

import numpy as np
import pandas as pd
import pytest

from gaussflow.apps.tabular import Range, TableSynthesizer, suggest_constraints

WORDS = np.array(["a", "b", "long word", "ü", "c,d"])


def column(random, n):
    """One random column (n,) of any kind."""
    scale = 10.0 ** random.integers(-6, 9)
    x = random.normal(size=n) * scale
    kinds = {
        "float64": lambda: x,
        "float32": lambda: x.astype("float32"),
        "rounded": lambda: x.round(int(random.integers(0, 3))),
        "heavy": lambda: np.sign(x) * np.exp(np.abs(random.normal(size=n) * 8)),
        "zeros": lambda: np.where(random.random(n) < 0.7, 0.0, np.abs(x)),
        "int64": lambda: random.integers(-(10 ** int(random.integers(1, 12))), 10 ** int(random.integers(1, 12)), n),
        "uint8": lambda: random.integers(0, 256, n).astype("uint8"),
        "Int32": lambda: pd.array(random.integers(0, 50, n), dtype="Int32"),
        "bool": lambda: random.random(n) < random.random(),
        "boolean": lambda: pd.array(random.random(n) < 0.5, dtype="boolean"),
        "category": lambda: pd.Categorical(random.choice(WORDS, n), categories=WORDS[::-1]),
        "ordered": lambda: pd.Categorical(random.choice(WORDS, n), categories=WORDS, ordered=True),
        "numbers": lambda: pd.Categorical(random.integers(0, 4, n)),
        "text": lambda: pd.Series(random.choice(WORDS, n), dtype=object),
        "string": lambda: pd.array(random.choice(WORDS, n), dtype="string"),
        "day": lambda: pd.Timestamp("2021-05-05") + pd.to_timedelta(random.integers(0, 900, n), unit="D"),
        "second": lambda: (
            pd.Timestamp("1999-12-31", tz="UTC") + pd.to_timedelta(random.integers(0, 10**9, n), unit="s")
        ),
        "duration": lambda: pd.to_timedelta(random.integers(-500, 500, n), unit="min"),
        "constant": lambda: np.full(n, float(f"{random.integers(-5, 5) * scale:.3g}")),
        "nothing": lambda: np.full(n, np.nan),
    }
    held = pd.Series(kinds[random.choice(list(kinds))]())
    gaps = random.random(n) < random.choice([0, 0, 0.2, 0.9, 1])
    if gaps.any() and str(held.dtype) != "bool" and not str(held.dtype).startswith(("int", "uint")):
        held = held.mask(gaps)
    return held


def frame(seed):
    """A random frame of 2 to 60 rows and 1 to 8 columns, some of which hang on one another."""
    random = np.random.default_rng(seed)
    n, d = int(random.choice([2, 3, 7, 20, 60])), int(random.integers(1, 9))
    df = pd.concat([column(random, n) for _ in range(d)], axis=1, keys=[f"c{j}" for j in range(d)])
    order = random.permutation(n)
    for name in df.columns[::2]:  # columns sorted alike hang on one another
        if random.random() < 0.5:
            df[name] = df[name].sort_values(ignore_index=True).iloc[order].reset_index(drop=True)
    return df


def plain(df):
    """The same with None for all that is missing among objects."""
    return df.assign(**{name: df[name].where(df[name].notna(), None) for name in df if df[name].dtype == object})


@pytest.mark.parametrize("seed", range(28))
def test_every_frame_is_fitted_scored_and_drawn_as_it_is(seed, tmp_path):
    df = frame(seed)
    model = TableSynthesizer(random_state=seed).fit(df)
    drawn = model.sample(40)
    assert drawn.shape == (40, df.shape[1])
    assert drawn.dtypes.to_dict() == df.dtypes.to_dict()
    assert list(drawn.columns) == list(df.columns)
    assert np.isfinite(model.log_prob(df)).all()
    assert np.isfinite(model.log_prob(drawn)).all()
    for name in df:
        held, seen = drawn[name].dropna(), df[name].dropna()
        assert drawn[name].isna().any() <= df[name].isna().any()
        if isinstance(df[name].dtype, pd.CategoricalDtype):
            assert set(held) <= set(seen)
        elif len(seen) and len(held):
            assert seen.min() <= held.min() <= held.max() <= seen.max()
    pd.testing.assert_frame_equal(plain(model.sample(given=df)), plain(df))
    model.save(tmp_path / "law")
    pd.testing.assert_frame_equal(TableSynthesizer.load(tmp_path / "law").sample(5), model.sample(5))


@pytest.mark.parametrize("seed", range(40, 55))
def test_rules_suggested_of_any_frame_can_be_kept(seed):
    df = frame(seed)
    rules = [each.rule for each in suggest_constraints(df, chance=0.5)]
    rules += [Range(name, df[name].min(), None) for name in df.select_dtypes("number") if df[name].notna().any()]
    model = TableSynthesizer(constraints=rules, random_state=seed).fit(df)
    drawn = model.sample(30)
    assert drawn.dtypes.to_dict() == df.dtypes.to_dict()
    assert np.isfinite(model.log_prob(df)).all()
    assert np.isfinite(model.log_prob(drawn)).all()


def test_one_row_and_one_column():
    with pytest.raises(ValueError, match="wants at least 2 rows; got 1"):
        TableSynthesizer().fit(pd.DataFrame({"a": [1.5], "b": ["x"]}))
    for values in ([1.5, 1.5], [1, 2], ["x", "y"], [None, None], [True, False]):
        df = pd.DataFrame({"a": values})
        assert TableSynthesizer().fit(df).sample(9)["a"].dtype == df["a"].dtype


def test_a_column_of_two_thousand_levels_stays_small(tmp_path):
    """8,000 rows: about a second and 100 MB; rows are drawn and scored in parts."""
    random = np.random.default_rng(0)
    levels = [f"level {k}" for k in range(2000)]
    place = random.integers(0, 2000, 8000)
    df = pd.DataFrame({"code": pd.Categorical.from_codes(place, levels), "x": place % 7 + random.normal(size=8000)})
    tracemalloc.start()
    start = time.process_time()
    model = TableSynthesizer().fit(df)
    drawn = model.sample(8000)
    model.log_prob(df)
    seconds, most = time.process_time() - start, tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert seconds < 30
    assert most < 400e6
    assert drawn["code"].nunique() > 1700
    model.save(tmp_path / "law")
    assert (tmp_path / "law").stat().st_size < 2e6


def test_a_wide_table_is_fitted():
    """80 columns here, 6 of them text; 300 columns of 500 rows take 26 seconds and 60 MB."""
    random = np.random.default_rng(0)
    common = random.normal(size=(150, 5))
    df = pd.DataFrame((common @ random.normal(size=(5, 80)) + random.normal(size=(150, 80))).round(2))
    df.columns = [f"c{j}" for j in range(80)]
    for j in range(0, 80, 15):
        df[f"c{j}"] = np.where(df[f"c{j}"] > 0, "above", "below")
    start = time.process_time()
    model = TableSynthesizer().fit(df)
    drawn = model.sample(200)
    assert time.process_time() - start < 60
    assert drawn.shape == (200, 80)
    pair = drawn[["c1", "c2"]].corr().iloc[0, 1], df[["c1", "c2"]].corr().iloc[0, 1]
    assert abs(pair[0] - pair[1]) < 0.3
