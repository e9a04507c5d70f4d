"""The law of a table: it sums and integrates to one, its rows follow it, and conditions and gaps are drawn by it."""

import itertools

import numpy as np
import pandas as pd
import pytest
from scipy.stats import ks_2samp

from gaussflow.apps.tabular import TableSynthesizer
from gaussflow.apps.tabular.law._curve import Curve, log_mass
from gaussflow.apps.tabular.law._grid import fit_grid
from tables import mixed, patients


def test_a_table_of_states_and_integers_sums_to_one():
    random = np.random.default_rng(0)
    sick = random.random(200) < 0.4
    visits = np.where(
        random.random(200) < 0.2, 0, random.poisson(6 + 8 * sick) + (sick & (random.random(200) < 0.1)) * 10
    )
    df = pd.DataFrame({"sick": np.where(sick, "yes", "no"), "visits": pd.array(visits, dtype="Int64")})
    df.loc[random.random(200) < 0.1, "visits"] = pd.NA
    df.loc[random.random(200) < 0.1, "sick"] = None
    model = TableSynthesizer().fit(df)
    every = list(itertools.product(["yes", "no", None], [*range(-3000, 3001), None]))
    frame = pd.DataFrame({"sick": [a for a, _ in every], "visits": pd.array([b for _, b in every], dtype="Int64")})
    assert np.exp(model.log_prob(frame)).sum() == pytest.approx(1, abs=1e-6)


def test_rounded_digits_sum_to_one_and_come_back():
    random = np.random.default_rng(1)
    x = random.normal(130, 40, 1000).round()
    tens = random.random(1000) < 0.4
    fives = ~tens & (random.random(1000) < 0.3)
    x = np.where(tens, np.round(x / 10) * 10, np.where(fives, np.round(x / 5) * 5, x))
    df = pd.DataFrame({"pressure": x.astype("int64")})
    model = TableSynthesizer().fit(df)
    assert model.joint_.skeletons[0].grid.period % 10 == 0
    every = pd.DataFrame({"pressure": np.arange(-4000, 4001)})
    assert np.exp(model.log_prob(every)).sum() == pytest.approx(1, abs=1e-6)
    drawn = model.sample(20_000)["pressure"]
    for step in (10, 5):
        assert (drawn % step == 0).mean() == pytest.approx((x % step == 0).mean(), abs=0.03)


def test_means_of_few_readings_are_fractions():
    """Means of one to four readings: thirds and quarters are as frequent as they were, and even digits of their own."""
    random = np.random.default_rng(3)
    draw = lambda n: np.array([random.normal(140, 4, random.integers(1, 5)).round().mean() for _ in range(n)]).round(3)  # noqa: E731
    df = pd.DataFrame({"sodium": draw(1500)})
    model = TableSynthesizer().fit(df)
    assert model.columns_[0].lattice.spacing == pytest.approx(1 / 12, rel=1e-6)
    assert model.joint_.skeletons[0].grid.period == 12
    fresh, drawn = draw(6000), model.sample(6000)["sodium"].to_numpy()
    for part in (0.0, 0.333, 0.667, 0.5, 0.25, 0.75):
        shares = [np.isclose(values % 1, part, atol=2e-4).mean() for values in (fresh, drawn)]
        assert shares[1] == pytest.approx(shares[0], abs=0.025), part
    others = ~np.isin(np.round(drawn * 1000) % 1000, [0, 333, 667, 500, 250, 750])
    assert others.mean() < 0.02


def test_weekdays_are_a_period():
    random = np.random.default_rng(4)
    days = random.integers(0, 700, 3000)
    days = days[(days % 7 < 5) | (random.random(3000) < 0.1)]
    df = pd.DataFrame({"day": pd.Timestamp("2024-01-01") + pd.to_timedelta(days, unit="D")})
    model = TableSynthesizer().fit(df)
    drawn = model.sample(5000)["day"]
    assert (drawn.dt.weekday >= 5).mean() == pytest.approx((df["day"].dt.weekday >= 5).mean(), abs=0.015)


def test_a_table_with_density_and_points_integrates_to_one():
    random = np.random.default_rng(2)
    group = random.random(300) < 0.5
    y = np.where(random.random(300) < 0.3, 0.0, random.normal(size=300) * (1 + group) + 3 * group)
    df = pd.DataFrame({"group": group, "y": np.where(random.random(300) < 0.1, np.nan, y)})
    model = TableSynthesizer().fit(df)
    total = 0.0
    for label in (True, False):
        points = pd.DataFrame({"group": [label] * 2, "y": [0.0, np.nan]})
        total += np.exp(model.log_prob(points)).sum()
        y = np.linspace(-40, 40, 160_002)  # no point at 0
        density = np.exp(model.log_prob(pd.DataFrame({"group": np.full(len(y), label), "y": y})))
        total += density.sum() * (y[1] - y[0])
    assert total == pytest.approx(1, abs=1e-4)


@pytest.mark.parametrize("steps", [(1,), (10, 1), (2, 1), (50, 10, 5, 1), (100, 5), (7, 1)])
def test_intervals_of_a_grid_share_out_the_line(steps):
    """Each value has an interval that ends where that of the next begins, and the numbers in it become the value."""
    x = np.concatenate([np.arange(60) * step for step in steps for _ in range(8)]).astype(float)
    grid = fit_grid(x, steps[-1])
    if len(steps) > 1:
        assert grid.period * steps[-1] % steps[0] == 0
    values = np.arange(-300, 301) * float(steps[-1])
    low, high = grid.ends(values)
    np.testing.assert_allclose(low[1:], high[:-1], atol=1e-9)
    assert (high > low).all()
    assert np.abs((low + high) / 2 - values).max() <= grid.period * steps[-1]
    at = np.random.default_rng(0).uniform(-200 * steps[-1], 200 * steps[-1], 2000)
    place = np.searchsorted(low, at, side="right") - 1
    np.testing.assert_array_equal(grid.round(at), values[place])
    for share in (1e-6, 0.5, 1 - 1e-6):
        np.testing.assert_array_equal(grid.round(low + share * (high - low)), values)
    np.testing.assert_array_equal(grid.round(grid.spread(x)), x)


def test_even_digits_have_no_period():
    """Among 40 tables of digits without a preference, a period is believed in two at most."""
    random = np.random.default_rng(0)
    found = [fit_grid(np.round(random.normal(100, 30, 400)), 1.0).period for _ in range(40)]
    assert sum(period > 1 for period in found) <= 2


def test_the_ends_of_open_intervals_stay_open():
    low, high = fit_grid(np.arange(100.0), 1.0).ends(np.array([-np.inf, 3.0, np.inf]))
    assert low.tolist() == [-np.inf, 2.5, np.inf]
    assert high.tolist() == [-np.inf, 3.5, np.inf]


@pytest.mark.parametrize("seed", range(3))
def test_rows_drawn_follow_the_log_probability(seed):
    """The mean log-probability of rows drawn is that of fresh rows of a known law, and of the law itself."""
    random = np.random.default_rng(seed)

    def rows(n):
        x = random.normal(size=n)
        return pd.DataFrame(
            {
                "x": x,
                "label": np.where(random.random(n) < 1 / (1 + np.exp(-3 * x)), "a", "b"),
                "y": x + 0.5 * random.normal(size=n),
            }
        )

    model = TableSynthesizer(random_state=seed).fit(rows(1500))
    fresh = rows(3000)
    share = 1 / (1 + np.exp(-3 * fresh["x"]))
    of_label = np.log(np.where(fresh["label"] == "a", share, 1 - share))
    truth = -0.5 * fresh["x"] ** 2 - 0.5 * ((fresh["y"] - fresh["x"]) / 0.5) ** 2 - np.log(2 * np.pi * 0.5) + of_label
    held = model.log_prob(fresh).mean()
    assert truth.mean() - 0.12 < held < truth.mean() + 0.03
    assert model.score(model.sample(6000)) == pytest.approx(held, abs=0.12)


@pytest.mark.parametrize("seed", range(3))
def test_marginals_dependence_and_gaps_are_kept(seed):
    df = patients(n=500, seed=seed)
    drawn = TableSynthesizer(random_state=seed).fit(df).sample(5000)
    for name in ("radius", "texture", "area", "concavity"):
        assert ks_2samp(df[name], drawn[name]).statistic < 0.075, name
    assert drawn["symmetry"].isna().mean() == pytest.approx(df["symmetry"].isna().mean(), abs=0.03)
    assert (drawn["concavity"] == 0).mean() == pytest.approx((df["concavity"] == 0).mean(), abs=0.05)
    assert (
        drawn.loc[drawn["symmetry"].isna(), "radius"].mean() > drawn["radius"].mean() + 2
    )  # sizes are not missing at random
    real, new = (d[["radius", "area", "texture"]].corr("spearman").to_numpy() for d in (df, drawn))
    np.testing.assert_allclose(new, real, atol=0.08)
    shares = [pd.crosstab(d["class"], d["grade"], normalize=True) for d in (df, drawn)]
    np.testing.assert_allclose(shares[1], shares[0], atol=0.05)


def test_rows_are_no_copies_of_those_fitted():
    df = patients(n=569)
    model = TableSynthesizer().fit(df.head(285))
    drawn, held = model.sample(4000), set(df["texture"].head(285))
    assert drawn.merge(df, how="inner").empty
    by_chance = np.mean([value in held for value in df["texture"].tail(284)])
    assert np.mean([value in held for value in drawn["texture"]]) == pytest.approx(by_chance, abs=0.06)


def test_equal_seeds_give_equal_rows_and_others_do_not():
    df = patients(150)
    first, second = (TableSynthesizer(random_state=5).fit(df) for _ in range(2))
    pd.testing.assert_frame_equal(first.sample(30), second.sample(30))
    assert not first.sample(30, random_state=6).equals(first.sample(30))
    assert first.sample(30, random_state=6).equals(second.sample(30, random_state=6))


def test_a_weight_is_worth_as_many_rows():
    random = np.random.default_rng(0)
    df = pd.DataFrame(
        {"group": np.repeat(["a", "b"], 200), "x": np.r_[random.normal(0, 1, 200), random.normal(4, 1, 200)]}
    )
    drawn = TableSynthesizer().fit(df, sample_weight=np.repeat([3.0, 1.0], 200)).sample(8000)
    assert (drawn["group"] == "a").mean() == pytest.approx(0.75, abs=0.02)
    assert drawn["x"].mean() == pytest.approx(1.0, abs=0.15)
    without = TableSynthesizer().fit(df, sample_weight=np.repeat([1.0, 0.0], 200))
    assert set(without.sample(200)["group"]) == {"a"}


@pytest.fixture(scope="module")
def known():
    df = patients(n=500)
    return df, TableSynthesizer().fit(df)


@pytest.mark.parametrize(
    ("given", "holds"),
    [
        ({"class": "benign"}, lambda d: d["class"].eq("benign")),
        ({"radius": (10, 12)}, lambda d: d["radius"].between(10, 12)),
        ({"radius": (None, 11.5), "class": {"benign"}}, lambda d: d["radius"].le(11.5) & d["class"].eq("benign")),
        ({"symmetry": None}, lambda d: d["symmetry"].isna()),
        ({"concavity": 0}, lambda d: d["concavity"].eq(0)),
        ({"grade": ("middle", None)}, lambda d: d["grade"].isin(["middle", "high"])),
        ({"area": {500, 600, 700}}, lambda d: d["area"].isin([500, 600, 700])),
        ({"area": [500], "grade": "low"}, lambda d: d["area"].eq(500) & d["grade"].eq("low")),
    ],
)
def test_what_is_given_holds_in_every_row(known, given, holds):
    _, model = known
    drawn = model.sample(300, given=given)
    assert len(drawn) == 300
    assert holds(drawn).all()


def test_conditions_weigh_the_columns_before_them():
    """Large sizes make the class malignant: the share under a condition is that among rows drawn without."""
    df = patients(n=500)
    model = TableSynthesizer().fit(df)
    free = model.sample(30_000)
    for given, holds in [
        ({"radius": (15, 18)}, free["radius"].between(15, 18)),
        ({"symmetry": None}, free["symmetry"].isna()),
        ({"area": (None, 500)}, free["area"].le(500)),
    ]:
        drawn = model.sample(4000, given=given)
        expected = free[holds]
        assert (drawn["class"] == "malignant").mean() == pytest.approx(
            (expected["class"] == "malignant").mean(), abs=0.035
        )
        assert drawn["texture"].mean() == pytest.approx(expected["texture"].mean(), abs=0.35)
        assert drawn["area"].mean() == pytest.approx(expected["area"].mean(), abs=25)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"radius": (200, 300)}, r"'radius' from 200 to 300: the fit saw"),
        ({"radius": (12, 11)}, "'radius' from 12 to 11"),
        ({"class": "unknown"}, "knows the categories .* of column 'class'; got 'unknown'"),
        ({"height": 3}, "'height', which is no column"),
        ({"radius": None}, "cannot leave column 'radius' missing"),
        ({"area": 10**7}, "'area' of 10000000: the fit saw"),
        ({"area": 500.5}, "fewer digits"),
        ({"class": set()}, "no value to choose from"),
        ({"radius": (1, 2, 3)}, r"takes \(low, high\)"),
        ({"radius": float("inf")}, "finite numbers"),
    ],
)
def test_what_no_row_can_have_is_named(known, given, said):
    with pytest.raises(ValueError, match=said):
        known[1].sample(10, given=given)


@pytest.mark.parametrize(
    ("given", "said"),
    [({"class": ("benign", "malignant")}, "have no order"), ({"radius": "large"}, "takes numbers for column 'radius'")],
)
def test_conditions_of_another_kind_are_named(known, given, said):
    with pytest.raises(TypeError, match=said):
        known[1].sample(10, given=given)


def test_rare_rows_are_told_of_and_never_fewer(known):
    df, model = known
    large = int(df["area"].quantile(0.99, "nearest"))
    with pytest.warns(UserWarning, match="rows with what was given are rare"):
        drawn = model.sample(1500, given={"area": large})
    assert len(drawn) == 1500
    assert (drawn["area"] == large).all()


def test_a_frame_of_partial_rows_is_completed(known):
    df, model = known
    part = df.loc[:199, ["class", "area"]].iloc[::-1]
    drawn = model.sample(given=part)
    pd.testing.assert_frame_equal(drawn[["class", "area"]], part.reset_index(drop=True))
    assert np.corrcoef(drawn["radius"], part["area"])[0, 1] > 0.95
    with pytest.raises(ValueError, match="completes each of the 200 rows"):
        model.sample(3, given=part)


def test_gaps_are_filled_by_the_rest_of_the_row():
    df = patients(n=500)
    gaps = df.copy()
    gaps.loc[::3, "area"] = 0
    gaps["area"] = gaps["area"].mask(gaps.index % 3 == 0).astype("float64")
    twin = TableSynthesizer().fit(df.assign(area=df["area"].astype("float64")))
    filled = twin.impute(gaps)
    assert not filled.isna().any().any()
    kept = gaps["area"].notna()
    pd.testing.assert_series_equal(filled.loc[kept, "area"], gaps.loc[kept, "area"])
    assert np.corrcoef(filled.loc[~kept, "area"], df.loc[~kept, "area"])[0, 1] > 0.97
    pd.testing.assert_frame_equal(
        twin.impute(df.assign(area=df["area"].astype(float)))["texture"].to_frame(), df[["texture"]]
    )


def test_times_are_given_as_text_or_as_times():
    df = mixed()
    model = TableSynthesizer().fit(df)
    for start in ("2020-01-10", pd.Timestamp("2020-01-10")):
        assert model.sample(50, given={"date": (start, None)})["date"].min() >= pd.Timestamp("2020-01-10")
    assert (model.sample(20, given={"span": (pd.Timedelta(0), None)})["span"] >= pd.Timedelta(0)).all()
    with pytest.raises(ValueError, match="takes times of"):
        model.sample(5, given={"date": ("soon", None)})


@pytest.mark.parametrize("seed", range(3))
def test_the_curve_of_a_column_is_monotone_and_has_its_law(seed):
    random = np.random.default_rng(seed)
    for x in (
        random.normal(size=600),
        random.exponential(size=600),
        random.standard_t(2, size=600),
        1e8 + random.random(600),
    ):
        curve = Curve.fit(x, np.ones(600))
        z, log_slope = curve.forward(np.sort(x))
        assert (np.diff(z) >= 0).all()
        assert np.isfinite(log_slope).all()
        assert abs(z.mean()) < 0.1
        assert z.std() == pytest.approx(1, abs=0.1)
        np.testing.assert_allclose(curve.inverse(z), np.sort(x), rtol=1e-6, atol=1e-6)


def test_the_mass_between_two_points_is_right_in_the_tails():
    low, high = np.array([-1.0, 30.0, -40.0, 5.0, 1e8, -3.0]), np.array([1.0, 31.0, -39.0, 5.0 + 1e-9, 1e8 + 1, 1e100])
    mass = log_mass(low, high)
    assert np.isfinite(mass).all()
    assert mass[0] == pytest.approx(np.log(0.6826894921370859))
    assert mass[1] == pytest.approx(-454.3212439955, rel=1e-9)
    assert mass[3] == pytest.approx(-12.5 - 0.9189385332046727 + np.log(1e-9), rel=1e-6)


@pytest.mark.parametrize("seed", range(3))
def test_trees_see_what_lines_cannot(seed):
    """A number that hangs on a pattern of two others, with a threshold of its own on either side."""
    random = np.random.default_rng(seed)

    def rows(n):
        a, b = random.random((2, n))
        up = np.where(a > 0.4, b > 0.7, b < 0.3)
        return pd.DataFrame({"a": a, "b": b, "c": np.where(up, 3.0, -3.0) + random.normal(size=n)})

    model = TableSynthesizer(random_state=seed).fit(rows(1500))
    entropy = 0.5 * np.log(2 * np.pi * np.e)
    assert model.score(rows(1000)) > -entropy - 0.25  # 1.33 nats less without the trees


def test_completed_rows_vary_as_the_law_has_it():
    df = patients(n=500)[["radius", "texture", "class"]]
    model = TableSynthesizer().fit(df)
    one = model.sample(given=pd.DataFrame({"texture": [20.0] * 400}))
    free = model.sample(4000, given={"texture": (19.5, 20.5)})
    assert one["radius"].mean() == pytest.approx(free["radius"].mean(), abs=0.6)
    assert one["radius"].std() == pytest.approx(free["radius"].std(), rel=0.15)
    assert (one["class"] == "benign").mean() == pytest.approx((free["class"] == "benign").mean(), abs=0.09)


def test_numbers_of_single_rows_are_not_kept():
    """Of a small table of floats the model holds no value but the ends of the range."""
    x = np.random.default_rng(0).normal(size=(40, 2))
    model = TableSynthesizer().fit(pd.DataFrame(x, columns=["a", "b"]))
    for j in range(2):
        skeleton, encoding, law = model.joint_.skeletons[j], model.joint_.encodings[j], model.joint_.laws[j]
        held = np.concatenate([skeleton.points, encoding.values, law.values.root.xs])
        assert set(held) & set(x[:, j]) <= {x[:, j].min(), x[:, j].max()}
