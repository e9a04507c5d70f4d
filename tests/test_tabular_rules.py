"""Constraints: rows drawn obey them, the law under them sums to one, and what breaks them is refused by its numbers."""

import itertools
import json

import numpy as np
import pandas as pd
import pytest

from gaussflow.apps.tabular import (
    FixedCombinations,
    FunctionOf,
    Inequality,
    NotNullIf,
    NullIf,
    Range,
    Sum,
    TableSynthesizer,
)
from visits import RULES, broken, visits


@pytest.fixture(scope="module")
def fitted():
    df = visits()
    return df, TableSynthesizer(constraints=RULES).fit(df)


@pytest.mark.parametrize("seed", range(3))
def test_all_rows_drawn_obey_every_rule(seed):
    df = visits(300, seed)
    drawn = TableSynthesizer(constraints=RULES, random_state=seed).fit(df).sample(3000)
    assert drawn.shape == (3000, df.shape[1])
    assert drawn.dtypes.to_dict() == df.dtypes.to_dict()
    assert not any(broken(drawn).values())
    for name in ("age", "admitted", "discharged", "systolic", "drugs", "bill", "fahrenheit"):
        assert df[name].min() <= drawn[name].min()
        assert drawn[name].max() <= df[name].max()
    stay, real = ((d["discharged"] - d["admitted"]).dt.days.mean() for d in (drawn, df))
    assert stay == pytest.approx(real, rel=0.2)
    assert (drawn["status"] == "dead").mean() == pytest.approx((df["status"] == "dead").mean(), abs=0.06)


def test_without_rules_they_are_broken():
    drawn = TableSynthesizer().fit(visits()).sample(3000)
    assert sum(count > 0 for count in broken(drawn).values()) >= 5


def test_the_law_under_rules_says_more_of_fresh_rows(fitted):
    df, model = fitted
    fresh = visits(400, seed=9)
    assert model.score(fresh) > TableSynthesizer().fit(df).score(fresh) + 5


@pytest.mark.parametrize(
    "given",
    [
        {"bill": (900.0, 1000.0)},
        {"discharged": ("2021-01-01", "2021-01-31")},
        {"fahrenheit": (100.0, None)},
        {"group": "child"},
        {"cause": "cancer"},
        {"ward": "eyes", "age": (60, None)},
        {"status": "dead", "discharged": None},
        {"result": (10, 20), "systolic": (100, 120)},
        {"diastolic": (90, None), "systolic": (None, 125)},
    ],
)
def test_what_is_given_holds_under_rules(fitted, given):
    drawn = fitted[1].sample(150, given=given)
    assert len(drawn) == 150
    assert not any(broken(drawn).values())
    for name, wanted in given.items():
        if isinstance(wanted, tuple):
            low, high = (pd.Timestamp(end) if isinstance(end, str) else end for end in wanted)
            assert low is None or (drawn[name] >= low).all()
            assert high is None or (drawn[name] <= high).all()
        else:
            assert (drawn[name].isna() if wanted is None else drawn[name] == wanted).all()


def test_conditions_weigh_rules_as_rows_drawn_without_do(fitted):
    _, model = fitted
    free = model.sample(12_000)
    for given, held in [
        ({"bill": (500.0, 900.0)}, free["bill"].between(500, 900)),
        ({"systolic": (None, 120)}, free["systolic"] <= 120),
        ({"cause": "heart"}, free["cause"] == "heart"),
    ]:
        drawn = model.sample(2000, given=given)
        assert drawn["age"].mean() == pytest.approx(free.loc[held, "age"].mean(), abs=3.5)
        assert drawn["diastolic"].mean() == pytest.approx(free.loc[held, "diastolic"].mean(), abs=1.2)
        assert drawn["drugs"].mean() == pytest.approx(free.loc[held, "drugs"].mean(), rel=0.1)


@pytest.mark.parametrize(
    "given",
    [{"status": "alive", "cause": "heart"}, {"age": (20, 30), "group": "child"}, {"hospital": "east", "ward": "birth"}],
)
def test_what_rules_forbid_together_is_refused(fitted, given):
    with pytest.raises(
        ValueError, match=r"together: the law expects hardly any such row .* of rows have what was given"
    ):
        fitted[1].sample(10, given=given)


@pytest.mark.filterwarnings("ignore:.* are so unlike what the law expects")  # the living are made dead here
def test_gaps_are_filled_and_rows_completed_by_the_rules(fitted):
    df, model = fitted
    gaps = df.head(60).copy()
    for k, name in enumerate(["bill", "fahrenheit", "group", "discharged", "ward", "drugs"]):
        gaps[name] = gaps[name].mask(np.arange(60) % 6 == k)
    keep = gaps[["cause", "result"]]
    filled = model.sample(given=gaps.drop(columns=["bill", "fahrenheit", "group", "ward", "drugs"]))
    assert not any(broken(filled).values())
    full = model.impute(gaps.assign(cause=df["cause"].fillna("other"), status="dead", tested=True))
    assert not full[["bill", "fahrenheit", "group", "ward", "drugs"]].isna().any().any()
    assert not any(broken(full).values())
    bill = np.arange(60) % 6 == 0
    assert (full.loc[bill, "bill"] - (df["drugs"] + df["care"])[:60][bill]).abs().max() < 1e-6
    assert keep.shape == (60, 2)


def test_partial_rows_that_break_a_rule_are_named(fitted):
    _, model = fitted
    part = pd.DataFrame({"diastolic": [80, 90], "systolic": [120, 70]})
    with pytest.raises(ValueError, match=r"1 rows that break a constraint, as rows 1;"):
        model.sample(given=part)
    part = pd.DataFrame({"drugs": [10.0, 10.0], "bill": [900.0, 5.0]})  # the care would cost less than nothing
    with pytest.raises(ValueError, match="found nothing that completes 1 of the rows, as row 1,"):
        model.sample(given=part)


def small(n=200, seed=0):
    random = np.random.default_rng(seed)
    a, more = random.integers(0, 4, n), random.integers(0, 3, n)
    x = random.integers(0, 25, n)
    return pd.DataFrame(
        {
            "a": pd.array(np.where(random.random(n) < 0.1, None, a), dtype="Int64"),
            "b": pd.array(np.where(random.random(n) < 0.1, None, a + more), dtype="Int64"),
            "x": x,
            "y": pd.array(np.where(random.random(n) < 0.2, None, x + random.poisson(2, n)), dtype="Int64"),
            "kind": np.where(x < 9, "low", "high"),
            "t": pd.array(x + a, dtype="Int64"),
            "k": np.array(["p", "q", "r"])[np.minimum(a, 2)],
        }
    )


SPANS = {
    "a": [*range(-30, 31), None],
    "b": [*range(-30, 31), None],
    "kind": ["low", "high", None],
    "k": ["p", "q", "r", None],
}


@pytest.mark.parametrize(
    ("columns", "rule"),
    [
        (["a", "b"], Inequality("a", "b")),
        (["a", "b"], Range("b", 0, 6)),
        (["a", "k"], FunctionOf("k", "a")),
        (["a", "k"], FixedCombinations(("a", "k"))),
        (["kind", "k", "a"], Range("a", 0, 3)),
    ],
)
def test_the_law_of_few_values_sums_to_one(columns, rule):
    df = small()[columns]
    model = TableSynthesizer(constraints=[rule]).fit(df)
    every = pd.DataFrame(list(itertools.product(*(SPANS[name] for name in columns))), columns=columns)
    every = every.astype(df.dtypes.to_dict())
    with np.errstate(divide="ignore"):
        assert np.exp(model.log_prob(every)).sum() == pytest.approx(1, abs=1e-6)


@pytest.mark.parametrize(
    "rules",
    [[Inequality("x", "y")], [Inequality("x", "y", strict=False), Range("y", 0, 40)], [FunctionOf("kind", "x")]],
)
def test_the_law_of_integers_sums_to_one(rules):
    """By the measured difference and by what is left of the interval, with gaps in the larger one."""
    df = small(400)[["x", "y", "kind"]]
    model = TableSynthesizer(constraints=rules).fit(df)
    spans = [range(-60, 130), [*range(-60, 130), None], ["low", "high", None]]
    every = pd.DataFrame(list(itertools.product(*spans)), columns=["x", "y", "kind"]).astype(df.dtypes.to_dict())
    total = np.exp(model.log_prob(every)).sum()
    far = 2e-2  # what the law leaves to integers beyond those told
    assert 1 - far < total <= 1 + 1e-9
    near = every[every["x"].between(-20, 60)]
    plain = TableSynthesizer().fit(df)
    beyond = 1 - np.exp(plain.log_prob(every)).sum()
    assert total == pytest.approx(1, abs=5 * beyond + 1e-6)
    assert len(near) < len(every)


def test_nested_grids_are_cut_exactly():
    """Pressures read to tens by some: an end within a cell of ten leaves the part of it that is rounded below."""
    random = np.random.default_rng(1)
    x = random.normal(130, 40, 1000).round()
    tens, fives = random.random(1000) < 0.4, random.random(1000) < 0.2
    x = np.where(tens, np.round(x / 10) * 10, np.where(fives, np.round(x / 5) * 5, x)).clip(23, 247).astype("int64")
    df = pd.DataFrame({"pressure": x})
    model = TableSynthesizer(constraints=[Range("pressure", 23, 247)]).fit(df)
    assert model.joint_.skeletons[0].grid.period > 1
    inside = pd.DataFrame({"pressure": np.arange(23, 248)})
    assert np.exp(model.log_prob(inside)).sum() == pytest.approx(1, abs=1e-9)
    shares = np.exp(model.log_prob(inside))
    drawn = model.sample(40_000, given={"pressure": (112, 133)})["pressure"]
    held = (inside["pressure"] >= 112) & (inside["pressure"] <= 133)
    expected = shares[held] / shares[held].sum()
    seen = drawn.value_counts().reindex(inside["pressure"][held], fill_value=0).to_numpy() / len(drawn)
    np.testing.assert_allclose(seen, expected, atol=0.01)


@pytest.mark.parametrize("far", [0.0, 6.0])
def test_the_law_of_floats_integrates_to_one(far):
    """By the interval that is left (far), and by the difference in the column's place (near)."""
    random = np.random.default_rng(2)
    a = random.normal(size=300) * (1 + 5 * (far == 0))
    df = pd.DataFrame({"a": a, "b": a + random.gamma(2, 1 + far, 300)})
    model = TableSynthesizer(constraints=[Inequality("a", "b")]).fit(df)
    assert len(model.plan_.shifts) == (far == 0)
    at, width = np.linspace(-60, 90, 12_001), 150 / 12_000
    for value in (-1.0, 0.5, 2.0):
        of_a = np.exp(TableSynthesizer().fit(df[["a"]]).log_prob(pd.DataFrame({"a": [value]})))[0]
        density = np.exp(model.log_prob(pd.DataFrame({"a": np.full(len(at), value), "b": at})))
        assert density.sum() * width == pytest.approx(of_a, rel=0.02)
        assert (density[at < value] == 0).all()


def test_rows_drawn_have_the_frequencies_of_the_law():
    df = small(500)[["a", "b", "k"]]
    rules = [Inequality("a", "b"), FixedCombinations(("a", "k"))]
    model = TableSynthesizer(constraints=rules).fit(df)
    drawn = model.sample(40_000).astype(object)
    counts = drawn.where(drawn.notna(), None).value_counts(dropna=False, normalize=True)
    cells = pd.DataFrame([list(row) for row in counts.index], columns=["a", "b", "k"]).astype(df.dtypes.to_dict())
    np.testing.assert_allclose(np.exp(model.log_prob(cells)), counts.to_numpy(), atol=0.008)


def test_rows_that_break_a_rule_have_no_probability(fitted):
    df, model = fitted
    wrong = df.head(4).copy()
    wrong.loc[0, "bill"] += 1
    wrong.loc[1, "systolic"] = wrong.loc[1, "diastolic"]
    assert np.isneginf(model.log_prob(wrong)).tolist() == [True, True, False, False]
    assert np.isfinite(model.log_prob(df)).all()


def test_a_saved_model_keeps_its_rules(fitted, tmp_path):
    df, model = fitted
    model.save(tmp_path / "law")
    again = TableSynthesizer.load(tmp_path / "law")
    assert again.constraints == RULES
    pd.testing.assert_frame_equal(again.sample(50), model.sample(50))
    np.testing.assert_array_equal(again.log_prob(df), model.log_prob(df))
    header = (tmp_path / "law").read_bytes()
    json.loads(header[8 : 8 + int.from_bytes(header[:8], "little")])


@pytest.mark.parametrize(
    ("rule", "kind", "said"),
    [
        (Inequality("systolic", "diastolic"), ValueError, r"400 of 400 rows break the rule 'systolic is at most dias"),
        (Range("age", 10, 60), ValueError, "rows break the rule 'age is from 10 to 60': rows"),
        (Range("age", 60, 10), ValueError, "the interval is empty"),
        (Sum(("drugs", "bill"), "care"), ValueError, r"400 of 400 rows break the rule 'drugs \+ bill = care'"),
        (Sum(("drugs", "ward"), "care"), TypeError, "columns of numbers or of durations and their sum"),
        (Inequality("hospital", "ward"), TypeError, "wants two columns of numbers"),
        (Inequality("age", "admitted"), TypeError, "wants two columns of numbers"),
        (Inequality("age", "height"), ValueError, "names 'height', which is no column"),
        (FixedCombinations(("hospital", "bill")), TypeError, "pd.cut"),
        (FixedCombinations(("hospital",)), ValueError, "two or more columns"),
        (NullIf("age", "status", "dead"), ValueError, "wants gaps in 'age', and its dtype int64 has none"),
        (NullIf("cause", "status", "gone"), ValueError, r"knows the categories 'alive', 'dead' of column 'status'"),
        (NotNullIf("cause", "status", "alive"), ValueError, "rows break the rule 'cause is present where status is"),
        (FunctionOf("bill", "age"), ValueError, "holds by no line, and by no few steps"),
        (FunctionOf("ward", "hospital"), ValueError, "rows break the rule 'ward follows from hospital'"),
    ],
)
def test_rules_that_cannot_be_are_refused(rule, kind, said):
    with pytest.raises(kind, match=said):
        TableSynthesizer(constraints=[rule]).fit(visits())


def test_rules_in_circles_and_things_that_are_no_rules_are_refused():
    df = pd.DataFrame({"a": np.arange(30) % 7, "b": np.arange(30) % 7})
    with pytest.raises(ValueError, match="'b is at most a' and those before it go round in circles"):
        TableSynthesizer(constraints=[Inequality("a", "b"), Inequality("b", "a")]).fit(df)
    with pytest.raises(TypeError, match="takes constraints of Inequality, Range"):
        TableSynthesizer(constraints=["a <= b"]).fit(df)
    with pytest.raises(TypeError, match="takes a list of constraints"):
        TableSynthesizer(constraints=Inequality("a", "b")).fit(df)


def test_rules_that_leave_hardly_anything_end_in_an_error():
    """Sums beyond what a total ever was, of parts that are never so large together."""
    random = np.random.default_rng(0)
    a = random.permutation(np.repeat([0, 1000], 100))
    df = pd.DataFrame({"a": a, "b": 1000 - a, "t": 1000})
    drawn = TableSynthesizer(constraints=[Sum(("a", "b"), "t")]).fit(df).sample(500)
    assert (drawn["a"] + drawn["b"] == 1000).all()


def test_texts_of_numpy_are_texts():
    held = list(np.array(["u", "v"] * 20))
    assert type(held[0]) is np.str_
    drawn = TableSynthesizer().fit(pd.DataFrame({"a": pd.Series(held, dtype=object)})).sample(30)
    assert {type(value) for value in drawn["a"]} == {str}


@pytest.mark.parametrize("seed", range(3))
def test_what_is_given_has_the_law_under_rules(seed):
    """Few rows, so that rules cut away much of what the law would have: the shares are those of `log_prob`."""
    random = np.random.default_rng(seed)
    a, b = np.sort(random.integers(0, 6, (2, 40)), axis=0)
    df = pd.DataFrame({"b": b, "a": a, "k": np.where(random.random(40) < 0.5, "u", "v")})
    model = TableSynthesizer(constraints=[Inequality("a", "b"), FixedCombinations(("a", "k"))]).fit(df)
    every = pd.DataFrame(list(itertools.product(range(6), range(6), ["u", "v"])), columns=["b", "a", "k"])
    every = every.astype(df.dtypes.to_dict())
    shares = np.exp(model.log_prob(every)) * every["b"].between(1, 3)
    drawn = model.sample(20_000, given={"b": (1, 3)}).value_counts(normalize=True)
    seen = drawn.reindex(pd.MultiIndex.from_frame(every), fill_value=0).to_numpy()
    np.testing.assert_allclose(seen, shares / shares.sum(), atol=0.012)


def test_less_is_not_equal():
    random = np.random.default_rng(0)
    a = random.integers(0, 9, 200)
    df = pd.DataFrame({"a": a, "b": a + random.integers(1, 3, 200), "x": random.normal(size=200)})
    df["y"] = df["x"] + random.gamma(1, 0.01, 200)
    model = TableSynthesizer(constraints=[Inequality("a", "b", strict=True), Inequality("x", "y", strict=True)]).fit(df)
    drawn = model.sample(4000)
    assert (drawn["a"] < drawn["b"]).all()
    assert (drawn["x"] < drawn["y"]).all()
    assert np.isneginf(model.log_prob(df.head(3).assign(b=df["a"]))).all()
    equal = df.assign(b=df["b"].mask(df.index == 7, df["a"]))
    with pytest.raises(ValueError, match="1 of 200 rows break the rule 'a is less than b': rows 7"):
        TableSynthesizer(constraints=[Inequality("a", "b", strict=True)]).fit(equal)
    TableSynthesizer(constraints=[Inequality("a", "b")]).fit(equal)


def test_a_small_end_is_looked_ahead_to():
    """Of a thousand starts few come before an early end: these are drawn, not waited for, with no word of rare rows."""
    random = np.random.default_rng(0)
    start = random.integers(0, 1000, 500)
    df = pd.DataFrame({"start": start, "end": start + random.integers(0, 20, 500)})
    model = TableSynthesizer(constraints=[Inequality("start", "end")]).fit(df)
    drawn = model.sample(2000, given={"end": (None, 8)})
    assert (drawn["start"] <= drawn["end"]).all()
    assert drawn["end"].max() <= 8


@pytest.mark.parametrize("numbers", [False, True])
def test_gaps_that_are_drawn_before_what_they_go_with(numbers):
    """The column with fewer states comes first, and what it goes with is drawn from what is left."""
    random = np.random.default_rng(0)
    level = random.integers(0, 5, 60)
    gap = (level < 2) | ((level > 2) & (random.random(60) < 0.5))
    told = level if numbers else np.array(list("abcde"))[level]
    df = pd.DataFrame({"level": told, "flag": pd.Series(np.where(gap, None, "yes"), dtype=object)})
    low, middle = (frozenset({0, 1}), 2) if numbers else (frozenset({"a", "b"}), "c")
    model = TableSynthesizer(constraints=[NullIf("flag", "level", low), NotNullIf("flag", "level", middle)]).fit(df)
    assert numbers or model.joint_.order == [1, 0]
    drawn = model.sample(3000)
    assert drawn.loc[drawn["level"].isin(low), "flag"].isna().all()
    assert drawn.loc[drawn["level"] == middle, "flag"].notna().all()
    levels = [*range(-2000, 2000)] if numbers else [*"abcde", None]
    every = pd.DataFrame(list(itertools.product(levels, ["yes", None])), columns=["level", "flag"])
    assert np.exp(model.log_prob(every.astype(df.dtypes.to_dict()))).sum() == pytest.approx(1, abs=1e-6)
