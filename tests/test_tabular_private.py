"""Differential privacy: noise of the right size on all that is taken of the rows, its account, and what is left."""

import itertools

import numpy as np
import pandas as pd
import pytest
from scipy.stats import ks_2samp

from gaussflow.apps.tabular import FixedCombinations, Inequality, NotNullIf, NullIf, Range, TableSynthesizer
from gaussflow.apps.tabular.private import _noise
from gaussflow.apps.tabular.private._bounds import domains
from gaussflow.apps.tabular.private._private import _pair, _walk, fit_private
from gaussflow.apps.tabular.private._private_law import BEYOND, TableLaw
from tables import mixed, patients

BOUNDS = {
    "radius": (5, 30, 0.1),
    "texture": (5.0, 45.0),
    "area": (100, 2600),
    "concavity": (0, 0.5),
    "symmetry": (0.1, 0.35),
}


@pytest.fixture(autouse=True)
def seeded(monkeypatch):
    """Noise that is the same at every run of a test, which fits of users never have."""
    random = np.random.default_rng(0)
    monkeypatch.setattr(_noise, "random_bytes", random.bytes)


@pytest.mark.parametrize("epsilon", [0.2, 1.0, 3.0])
def test_laplace_noise_tells_counts_apart_by_epsilon_and_no_more(epsilon):
    n = 400_000
    first, second = (count + _noise.discrete_laplace(1 / epsilon, n) for count in (10, 11))
    values = np.arange(-40, 60)
    seen = [np.array([(drawn == value).sum() for value in values]) for drawn in (first, second)]
    often = (seen[0] >= 2000) & (seen[1] >= 2000)
    ratios = np.abs(np.log(seen[0][often] / seen[1][often]))
    np.testing.assert_allclose(ratios, epsilon, atol=0.13)  # four standard errors of the rarest
    decay = np.exp(-epsilon)
    assert np.var(first) == pytest.approx(2 * decay / (1 - decay) ** 2, rel=0.03)


@pytest.mark.parametrize("sigma", [0.7, 4.0])
def test_normal_noise_has_the_law_of_the_discrete_normal(sigma):
    drawn = _noise.discrete_normal(sigma, 200_000)
    values = np.arange(-30, 31)
    expected = np.exp(-np.square(values) / (2 * sigma**2))
    expected /= expected.sum()
    seen = np.array([(drawn == value).mean() for value in values])
    np.testing.assert_allclose(seen, expected, atol=0.004)


def test_choices_have_the_odds_of_the_exponential_mechanism():
    scores = np.array([0.0, 1.0, 3.0])
    chosen = np.array([_noise.exponential_choice(scores, 1.0) for _ in range(20_000)])
    odds = np.exp(0.5 * scores)
    np.testing.assert_allclose(np.bincount(chosen) / 20_000, odds / odds.sum(), atol=0.015)


@pytest.mark.parametrize(("epsilon", "delta"), [(1.0, 0.0), (3.0, 1e-6), (0.3, 1e-9)])
def test_what_is_spent_is_the_budget(monkeypatch, epsilon, delta):
    """Every noisy count and every choice of a fit is written down with what it costs, and the costs are added up."""
    spent = []
    laplace, normal, choice = _noise.discrete_laplace, _noise.discrete_normal, _noise.exponential_choice
    inner = []

    def of_laplace(scale, n):
        if not inner:
            spent.append((1 / scale, np.inf))
        return laplace(scale, n)

    def of_normal(sigma, n):
        spent.append((np.inf, 1 / (2 * sigma**2)))
        inner.append(1)
        drawn = normal(sigma, n)
        inner.pop()
        return drawn

    def of_choice(scores, each):
        spent.append((each, each**2 / 8))
        return choice(scores, each)

    monkeypatch.setattr(_noise, "discrete_laplace", of_laplace)
    monkeypatch.setattr(_noise, "discrete_normal", of_normal)
    monkeypatch.setattr(_noise, "exponential_choice", of_choice)
    TableSynthesizer(epsilon=epsilon, delta=delta, bounds=BOUNDS).fit(patients(200))
    assert len(spent) == 7 + 6 + 6
    if delta:
        rho = sum(cost for _, cost in spent)
        assert rho + 2 * np.sqrt(rho * np.log(1 / delta)) == pytest.approx(epsilon, rel=1e-9)
    else:
        assert sum(cost for cost, _ in spent) == pytest.approx(epsilon, rel=1e-9)


def test_a_kept_accountant_agrees():
    accounting = pytest.importorskip("dp_accounting")
    rho, delta = _noise.rho_of(2.0, 1e-6), 1e-6
    accountant = accounting.rdp.RdpAccountant()
    for part in _noise.budget(2.0, delta, [0.25, 0.75], [8, 7]):
        accountant.compose(accounting.GaussianDpEvent(part.sigma), part.times)
    assert rho > 0
    assert 1.5 < accountant.get_epsilon(delta) <= 2.0


def test_neighbouring_tables_are_told_apart_by_epsilon_at_most():
    """Two tables that differ by a row, fitted many times: no event has odds beyond e^epsilon by three errors."""
    rows = pd.DataFrame({"a": [False] * 5 + [True], "b": [False] * 5 + [True]})
    fits, epsilon = 800, 1.0
    shares = []
    for df in (rows, rows.head(5)):
        held = []
        for _ in range(fits):
            _, joint, count, _, _ = fit_private(df, epsilon, 0.0, None, "fit")
            law = joint.laws[joint.order[1]]
            held.append([law.shares[-1, 2], joint.laws[joint.order[0]].shares[0, 2], count])
        shares.append(np.array(held))
    for k in range(3):
        for cut in np.quantile(np.concatenate(shares)[:, k], np.arange(0.05, 1, 0.05)):
            first, second = ((each[:, k] > cut).mean() for each in shares)
            for p, q in ((first, second), (1 - first, 1 - second), (second, first), (1 - second, 1 - first)):
                noise = 3 * np.sqrt((p + q + 0.01) / fits)
                assert p - noise <= np.exp(epsilon) * (q + noise)


def test_the_noisy_law_sums_to_one():
    random = np.random.default_rng(0)
    count = random.poisson(3, 300)
    df = pd.DataFrame(
        {
            "count": pd.array(np.where(random.random(300) < 0.1, None, count), dtype="Int64"),
            "flag": count > 3,
            "word": np.where(count > 2, "u", "v"),
            "few": np.minimum(count, 3) * 0.5,
        }
    )
    bounds = {"count": (0, 12), "word": ["u", "v", "w"], "few": [0.0, 0.5, 1.0, 1.5]}
    for epsilon in (0.5, 20.0):
        model = TableSynthesizer(epsilon=epsilon, bounds=bounds).fit(df)
        spans = [[*range(-150, 160), None], [False, True], ["u", "v", "w", None], [*np.arange(-20, 24) / 2, np.nan]]
        every = pd.DataFrame(list(itertools.product(*spans)), columns=list(df)).astype(df.dtypes.to_dict())
        assert np.exp(model.log_prob(every)).sum() == pytest.approx(1, abs=1e-4)


def test_the_noisy_density_integrates_to_one():
    x = np.random.default_rng(1).normal(size=400)
    df = pd.DataFrame({"x": x, "up": x > 0})
    model = TableSynthesizer(epsilon=5.0, bounds={"x": (-4.0, 4.0)}).fit(df)
    at = np.linspace(-400, 400, 400_000)  # the ends of the bounds, which have a mass, are none of these
    total = sum(
        np.exp(model.log_prob(pd.DataFrame({"x": at, "up": up}))).sum() * (at[1] - at[0]) for up in (False, True)
    )
    for point in (np.nan, -4.0, 4.0):
        total += np.exp(model.log_prob(pd.DataFrame({"x": [point] * 2, "up": [False, True]}))).sum()
    assert total == pytest.approx(1, abs=1e-3)


def test_the_law_of_bins_goes_to_the_normal_axis_and_back():
    random = np.random.default_rng(0)
    heights = random.dirichlet(np.ones(7), 3) * (1 - 2 * BEYOND)
    law = TableLaw(0, np.ones((3, 2)) / 2, np.sort(random.normal(size=8)), heights)
    x, group = random.uniform(law.edges[0], law.edges[-1], 400), random.integers(0, 3, 400).astype(float)
    at = law.place(group[:, None])
    (z, log_slope), _ = law.normals(x, at)
    np.testing.assert_allclose(law.inverse(z, at, np.zeros(400, bool)), x, atol=1e-6)
    step = 1e-6
    (above, _), _ = law.normals(x + step, at)
    smooth = np.searchsorted(law.edges, x) == np.searchsorted(law.edges, x + step)
    np.testing.assert_allclose(((above - z) / step)[smooth], np.exp(log_slope)[smooth], rtol=1e-3)
    far = np.array([-1e6, law.edges[0] - 1e-9, law.edges[-1] + 1e-9, 1e6])
    (z, log_slope), _ = law.normals(far, law.place(np.zeros((4, 1))))
    assert (np.diff(z) >= 0).all()
    assert np.isfinite(log_slope).all()


def test_counts_of_pairs_have_the_counts_of_their_columns():
    random = np.random.default_rng(0)
    first, second = random.integers(0, 4, 500), random.integers(0, 3, 500)
    a, b = np.array([100.0, 200, 150, 50]), np.array([300.0, 120, 80])
    table = _pair(first, second, a, b, 500.0, _noise.Part(3, 1.0, 0.0))
    np.testing.assert_allclose(table.sum(1), a, rtol=1e-3)
    np.testing.assert_allclose(table.sum(0), b, rtol=1e-3)


def test_what_lies_beyond_bounds_is_at_them():
    df = pd.DataFrame({"x": np.repeat([-7.5, 0.4, 99.0], 40), "y": pd.Series(np.repeat([-9, 150, 10**7], 40))})
    drawn = TableSynthesizer(epsilon=200.0, bounds={"x": (0.0, 1.0), "y": (0, 400)}).fit(df).sample(3000)
    for name, low, high in (("x", 0, 1), ("y", 0, 400)):
        assert (drawn[name] == low).mean() == pytest.approx(1 / 3, abs=0.04)
        assert (drawn[name] == high).mean() == pytest.approx(1 / 3, abs=0.04)


def test_dtypes_bounds_and_gaps_are_kept():
    df = mixed().drop(columns=["uint64", "nothing"])
    bounds = {
        "int8": (-40, 40),
        "Int64": (-400, 400, 1),
        "float32": (-6, 6),
        "decimals": (-12, 12, 0.01),
        "Float64": (-5, 5, 0.1),
        "zeros": (0, 20),
        "heavy": (0, 1e5),
        "object": ["a", "b", "c"],
        "string": ["u"],
        "numbers": None,
        "date": ("2018-01-01", "2022-01-01"),
        "zone": ("2019-12-01", "2020-02-01", "1h"),
        "span": ("-20D", "20D", "1h"),
        "constant": (0, 10),
        7: ["True", "False"],
    }
    df[7] = df[7].astype("string")
    model = TableSynthesizer(epsilon=2.0, bounds={k: v for k, v in bounds.items() if v is not None}).fit(df)
    drawn = model.sample(500)
    assert drawn.dtypes.to_dict() == df.dtypes.to_dict()
    assert list(drawn.columns) == list(df.columns)
    assert drawn["decimals"].dropna().between(-12, 12).all()
    assert (drawn["decimals"] == drawn["decimals"].round(2))[drawn["decimals"].notna()].all()
    assert drawn["date"].dropna().between("2018-01-01", "2022-01-01").all()
    assert (drawn["zone"].dropna() == drawn["zone"].dropna().dt.floor("h")).all()
    assert set(drawn["object"].dropna()) <= {"a", "b", "c"}
    assert np.isfinite(model.log_prob(df)).all()


@pytest.mark.parametrize("delta", [0.0, 1e-6])
def test_much_epsilon_is_near_the_counts_themselves(delta):
    df = patients(569)
    model = TableSynthesizer(epsilon=1000.0, delta=delta, bounds=BOUNDS).fit(df)
    drawn = model.sample(6000)
    assert model.rows_ == pytest.approx(569, abs=2)
    for name in ("radius", "texture", "area", "concavity"):
        assert ks_2samp(df[name], drawn[name]).statistic < 0.06, name
    assert drawn["symmetry"].isna().mean() == pytest.approx(df["symmetry"].isna().mean(), abs=0.02)
    assert (drawn["class"] == "benign").mean() == pytest.approx((df["class"] == "benign").mean(), abs=0.02)
    assert drawn["radius"].corr(drawn["area"]) > 0.85
    words = df[["class", "grade"]]
    near = TableSynthesizer(epsilon=1000.0, delta=delta).fit(words)
    assert near.score(words) == pytest.approx(TableSynthesizer().fit(words).score(words), abs=0.03)


def test_less_epsilon_costs_more():
    df, fresh = patients(400, 0), patients(569, 1)
    scores = [
        np.mean([TableSynthesizer(epsilon=epsilon, bounds=BOUNDS).fit(df).score(fresh) for _ in range(4)])
        for epsilon in (0.3, 3.0, 100.0)
    ]
    assert scores[0] < scores[1] - 2 < scores[2] - 3


def test_the_law_is_drawn_from_completed_and_saved(tmp_path):
    df = patients(400)
    model = TableSynthesizer(epsilon=5.0, bounds=BOUNDS).fit(df)
    given = model.sample(100, given={"class": "benign", "radius": (10, 12)}, balance="grade")
    assert (given["class"] == "benign").all()
    assert given["radius"].between(10, 12).all()
    assert not model.impute(df.head(20)).isna().any().any()
    model.save(tmp_path / "law")
    again = TableSynthesizer.load(tmp_path / "law")
    pd.testing.assert_frame_equal(again.sample(30), model.sample(30))
    assert str(again.privacy_) == str(model.privacy_)
    assert again.epsilon == 5.0
    assert "(5, 0)-differential privacy for one row" in str(model.privacy_)


def test_nothing_but_noisy_counts_is_taken_of_the_rows():
    """Columns, bounds and bins of two rows are those of four hundred; values far out change nothing."""
    df = patients(400)
    far = df.head(2).assign(area=[10**9, -5], texture=[1e300, np.nan])
    for one, other in zip(domains(df, BOUNDS, "fit"), domains(far, BOUNDS, "fit"), strict=True):
        assert one.column == other.column
        np.testing.assert_array_equal(one.edges, other.edges)
        np.testing.assert_array_equal(one.skeleton.points, other.skeleton.points)
    model = TableSynthesizer(epsilon=1.0, bounds=BOUNDS).fit(far)
    assert model.sample(50)["area"].between(100, 2600).all()
    odd = pd.DataFrame({"word": ["u", "never told", "v"] * 20})
    assert set(TableSynthesizer(epsilon=50.0, bounds={"word": ["u", "v"]}).fit(odd).sample(90)["word"].fillna("-")) == {
        "u", "v", "-",
    }  # fmt: skip


def test_the_seed_does_not_fix_the_noise():
    df = patients(200)
    first, second = (TableSynthesizer(epsilon=1.0, bounds=BOUNDS, random_state=3).fit(df) for _ in range(2))
    assert not np.array_equal(first.joint_.laws[0].shares, second.joint_.laws[0].shares) or (
        first.joint_.order != second.joint_.order
    )


@pytest.mark.parametrize(
    ("parameters", "said"),
    [
        ({"epsilon": 1.0}, "must be told what columns may hold: .* It lacks 'radius', 'texture', 'area'"),
        ({"epsilon": 0.0, "bounds": BOUNDS}, "takes an epsilon above 0"),
        ({"epsilon": -1, "bounds": BOUNDS}, "takes an epsilon above 0"),
        ({"epsilon": 1.0, "delta": 0.5, "bounds": BOUNDS}, "a delta from 0 to below 0.1"),
        ({"epsilon": "1", "bounds": BOUNDS}, "takes an epsilon above 0"),
        ({"epsilon": 1.0, "bounds": BOUNDS | {"height": (1, 2)}}, "bounds of 'height', which are no columns"),
        ({"epsilon": 1.0, "bounds": BOUNDS | {"area": (5, 5)}}, "finite bounds of column 'area', the lower first"),
        ({"epsilon": 1.0, "bounds": BOUNDS | {"area": (1, 5, 0.5)}}, "a step of column 'area'"),
        ({"epsilon": 1.0, "bounds": BOUNDS | {"area": 7}}, r"wants \(low, high\) or \(low, high, step\)"),
        (
            {"epsilon": 1.0, "bounds": BOUNDS, "constraints": [FixedCombinations(["class", "grade"])]},
            "cannot keep the rule 'class and grade only in combinations .* is read off the rows",
        ),
    ],
)
def test_what_would_give_rows_away_is_refused(parameters, said):
    with pytest.raises(ValueError, match=said):
        TableSynthesizer(**parameters).fit(patients(60))


def test_weights_are_refused():
    with pytest.raises(ValueError, match="no sample_weight"):
        TableSynthesizer(epsilon=1.0, bounds=BOUNDS).fit(patients(60), sample_weight=np.ones(60))


def test_names_of_rows_are_no_part_of_a_private_fit():
    """Of an identifier the gaps are counted alone; where new numbers begin is told, and not taken of the rows."""
    n = 300
    random = np.random.default_rng(0)
    df = pd.DataFrame({"kind": random.choice([False, True], n), "id": range(n), "name": [f"n{k}" for k in range(n)]})
    df["name"] = df["name"].astype("string").mask(df["kind"])
    model = TableSynthesizer(epsilon=20.0, bounds={"id": (0, 99999)}, identifiers=["id", "name"]).fit(df)
    drawn = model.sample(200)
    assert (drawn.dtypes == df.dtypes).all()
    assert list(drawn["id"].head(2)) == [100000, 100001]
    assert set(drawn["name"].dropna()) == {f"synthetic-{k}" for k in range(1, 1 + drawn["name"].notna().sum())}
    assert drawn["name"].isna()[drawn["kind"]].mean() > 0.8
    assert np.isfinite(model.log_prob(df)).all()
    with pytest.raises(ValueError, match="lacks 'id'"):
        TableSynthesizer(epsilon=1.0, identifiers=["id", "name"]).fit(df)
    with pytest.raises(ValueError, match="of whole numbers for the identifier 'id'; got"):
        TableSynthesizer(epsilon=1.0, identifiers=["id", "name"], bounds={"id": [1, 2]}).fit(df)


RULES = [
    Inequality("low", "high"),
    NullIf("cause", "dead", False),
    NotNullIf("cause", "dead", True),
    Range("low", 1, 5),
]


def stays(n=400, seed=0):
    random = np.random.default_rng(seed)
    low, dead = random.integers(0, 6, n), random.random(n) < 0.4
    cause = pd.Series(random.choice(["heart", "other"], n), dtype=object).where(dead, None)
    return pd.DataFrame({"low": low, "high": random.integers(0, 8, n), "dead": dead, "cause": cause})


@pytest.mark.parametrize("seed", range(3))
def test_rules_that_say_all_by_themselves_hold_in_private_fits(seed, tmp_path):
    """Every row drawn obeys them, the law of all rows still sums to one, and rows that break them are not told of."""
    bounds = {"low": (0, 6), "high": (0, 8), "cause": ["heart", "other"]}
    model = TableSynthesizer(epsilon=5.0, bounds=bounds, constraints=RULES, random_state=seed).fit(stays(seed=seed))
    model.save(tmp_path / "law")
    for fitted in (model, TableSynthesizer.load(tmp_path / "law")):
        drawn = fitted.sample(800)
        assert (drawn["low"] <= drawn["high"]).all()
        assert drawn["low"].between(1, 5).all()
        assert (drawn["cause"].notna() == drawn["dead"]).all()
    every = itertools.product(range(-1, 9), range(-1, 11), [False, True], ["heart", "other", None])
    rows = pd.DataFrame(every, columns=["low", "high", "dead", "cause"]).astype({"cause": object})
    scores = model.log_prob(rows)
    assert np.exp(scores).sum() == pytest.approx(1, abs=1e-3)
    broken = (rows["low"] > rows["high"]) | (rows["cause"].notna() != rows["dead"]) | ~rows["low"].between(1, 5)
    assert np.isneginf(scores[broken]).all()


def test_rules_may_turn_the_tree_of_a_private_fit_but_not_tear_it():
    near = [(0, 1), (1, 2), (2, 3)]
    assert _walk(4, near)[0][0] in (1, 2)
    order, parents = _walk(4, near, [(3, 0)])
    assert order.index(3) < order.index(0)
    assert all(up < 0 or order.index(up) < order.index(j) for j, up in enumerate(parents))
    with pytest.raises(ValueError, match="finds no order of the columns"):
        _walk(4, near, [(0, 1), (3, 2)])
