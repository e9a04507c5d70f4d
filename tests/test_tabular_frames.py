"""Frames in and frames out: dtypes, categories, decimals, ranges; and what is said of frames that are not taken."""

import warnings

import numpy as np
import pandas as pd
import pytest

from gaussflow.apps.tabular import TableSynthesizer
from tables import mixed, patients


@pytest.fixture(scope="module")
def fitted():
    df = mixed()
    return df, TableSynthesizer().fit(df)


def test_dtypes_names_and_order_come_back(fitted):
    df, model = fitted
    drawn = model.sample(500)
    assert drawn.shape == (500, df.shape[1])
    assert list(drawn.columns) == list(df.columns)
    assert drawn.dtypes.to_dict() == df.dtypes.to_dict()


def test_values_stay_within_what_was_seen(fitted):
    df, model = fitted
    drawn = model.sample(3000)
    for name in df:
        assert drawn[name].isna().any() <= df[name].isna().any(), name
        held, seen = drawn[name].dropna(), df[name].dropna()
        if isinstance(df[name].dtype, pd.CategoricalDtype):
            assert set(held) <= set(seen)
        elif len(seen):
            assert seen.min() <= held.min()
            assert held.max() <= seen.max()


def test_decimals_and_units_of_time_are_kept(fitted):
    _, model = fitted
    drawn = model.sample(1000)
    assert (drawn["decimals"] == drawn["decimals"].round(2)).all()
    assert (drawn["Float64"].dropna() == drawn["Float64"].dropna().round(1)).all()
    assert (drawn["date"] == drawn["date"].dt.normalize()).all()
    assert (drawn["zone"] == drawn["zone"].dt.floor("h")).all()


@pytest.mark.parametrize("rows", [0, 1, 3])
def test_few_rows_are_drawn_and_scored(fitted, rows):
    df, model = fitted
    drawn = model.sample(rows)
    assert drawn.dtypes.to_dict() == df.dtypes.to_dict()
    assert model.log_prob(drawn).shape == (rows,)


def test_every_row_of_the_fit_and_far_rows_have_finite_log_probability(fitted):
    df, model = fitted
    assert np.isfinite(model.log_prob(df)).all()
    far = df.head(3).assign(decimals=[1e300, -1e300, 0.123456], heavy=[-1e300, 1e300, 0.0], nothing=[1.0, -5.0, 1e200])
    assert np.isfinite(model.log_prob(far)).all()


def test_columns_of_a_scored_frame_may_come_in_any_order(fitted):
    df, model = fitted
    np.testing.assert_allclose(model.log_prob(df[list(df.columns)[::-1]]), model.log_prob(df), rtol=1e-12)


@pytest.mark.filterwarnings("ignore:.* are so unlike what the law expects")  # columns all but determine one another
def test_a_saved_model_is_the_model(fitted, tmp_path):
    df, model = fitted
    model.save(tmp_path / "table")
    again = TableSynthesizer.load(tmp_path / "table")
    np.testing.assert_array_equal(again.log_prob(df), model.log_prob(df))
    pd.testing.assert_frame_equal(again.sample(40), model.sample(40))
    pd.testing.assert_frame_equal(again.impute(df), model.impute(df))


def test_a_damaged_file_is_refused(fitted, tmp_path):
    _, model = fitted
    model.save(tmp_path / "table")
    data = bytearray((tmp_path / "table").read_bytes())
    data[-40] ^= 255
    (tmp_path / "table").write_bytes(bytes(data))
    with pytest.raises(ValueError, match="damaged"):
        TableSynthesizer.load(tmp_path / "table")


def test_a_file_that_is_made_up_is_refused(tmp_path):
    """Trees that go in circles, columns left out, other classes: none of them is run."""
    from gaussflow.training._checkpoint import read_checkpoint, write_checkpoint

    TableSynthesizer().fit(patients(200)).save(tmp_path / "good")
    for change in ("circle", "order", "class", "array"):
        tensors, meta = read_checkpoint(tmp_path / "good", kind="table")
        joint = meta["joint"]
        if change == "circle":
            forests = [forest for law in joint["laws"] for forest in (law["forest"], law["values"]["forest"])]
            trees = [tree for forest in forests for tree in forest["trees"] if tree["left"]["shape"][0] > 1]
            tensors["integers"][trees[0]["left"]["start"]] = 0
        elif change == "order":
            joint["order"][0] = joint["order"][1]
        elif change == "class":
            joint["laws"][0]["class"] = "Popen"
        else:
            joint["skeletons"][0]["points"]["start"] = 10**9
        write_checkpoint(tmp_path / change, tensors, meta, kind="table")
        with pytest.raises(ValueError, match="cannot be loaded"):
            TableSynthesizer.load(tmp_path / change)


def test_it_is_an_estimator_of_scikit_learn():
    from sklearn.base import clone
    from sklearn.model_selection import cross_val_score

    df = patients(120)
    model = clone(TableSynthesizer(random_state=3))
    assert model.get_params()["random_state"] == 3
    with pytest.raises(ValueError, match="no parameter 'depth'"):
        model.set_params(depth=3)
    assert np.isfinite(cross_val_score(model, df, cv=3)).all()


BASE = pd.DataFrame({"a": [1.5, 2.25, np.nan, 4.0] * 5, "b": list("xyxy") * 5, "c": [1, 2, 3, 4] * 5})
BAD_FITS = {
    "array": (BASE.to_numpy(), TypeError, "takes a pandas.DataFrame; got ndarray"),
    "no rows": (BASE.head(0), ValueError, "at least 2 rows; got 0"),
    "one row": (BASE.head(1), ValueError, "at least 2 rows; got 1"),
    "no columns": (BASE[[]], ValueError, "wants a frame with columns"),
    "twice": (pd.concat([BASE, BASE["a"]], axis=1), ValueError, "each column once; got 'a'"),
    "levels of names": (pd.concat({"u": BASE}, axis=1), TypeError, "one name each"),
    "odd name": (BASE.rename(columns={"a": 1.5}), TypeError, r"text or integers; got 1\.5"),
    "infinity": (BASE.assign(a=np.inf), ValueError, "got inf in row 0 of column 'a'"),
    "complex": (BASE.assign(a=1j), TypeError, "column 'a' of complex128"),
    "lists": (BASE.assign(b=[[1]] * 20), TypeError, r"got \[1\] of list among the objects of column 'b'"),
    "mixed objects": (BASE.assign(b=pd.Series(["x", 1] * 10, dtype=object)), TypeError, "got 1 of int among"),
    "periods": (BASE.assign(a=pd.period_range("2020", periods=20, freq="D")), TypeError, "column 'a' of period"),
    "odd levels": (BASE.assign(b=pd.cut(BASE["c"], 2)), TypeError, "categories that are text, numbers"),
}


@pytest.mark.parametrize("name", BAD_FITS)
def test_what_cannot_be_fitted_is_named(name):
    frame, kind, said = BAD_FITS[name]
    with pytest.raises(kind, match=said):
        TableSynthesizer().fit(frame)


BAD_SCORES = {
    "absent": (BASE.drop(columns="c"), ValueError, "lacks 'c', which the fit saw"),
    "extra": (BASE.assign(z=1), ValueError, "got 'z', which the fit did not see"),
    "text for numbers": (BASE.assign(c="1"), TypeError, "column 'c' of int64, as in the fit; got"),
    "floats for integers": (BASE.assign(c=1.5), TypeError, r"df.astype\(\{'c': 'int64'\}\)"),
    "unseen category": (BASE.assign(b=["x"] * 19 + ["w"]), ValueError, "knows the categories 'x', 'y' .*'w' in row 19"),
    "infinity": (BASE.assign(a=-np.inf), ValueError, "got -inf in row 0"),
    "twice": (pd.concat([BASE, BASE["a"]], axis=1), ValueError, "each column once"),
    "none": (None, TypeError, "got NoneType"),
}


@pytest.mark.parametrize("name", BAD_SCORES)
@pytest.mark.parametrize("method", ["log_prob", "impute"])
def test_what_cannot_be_scored_or_filled_is_named(name, method):
    frame, kind, said = BAD_SCORES[name]
    model = TableSynthesizer().fit(BASE)
    with pytest.raises(kind, match=said):
        getattr(model, method)(frame)


def test_before_the_fit_nothing_goes():
    for method, arguments in {"sample": (3,), "log_prob": (BASE,), "impute": (BASE,), "save": ("x",)}.items():
        with pytest.raises(ValueError, match="before it is fitted"):
            getattr(TableSynthesizer(), method)(*arguments)


@pytest.mark.parametrize("weights", [[1.0], [-1.0] * 20, [np.nan] * 20, [0.0] * 19 + [1.0]])
def test_weights_that_are_none_are_named(weights):
    with pytest.raises(ValueError, match="one weight for each of the 20 rows"):
        TableSynthesizer().fit(BASE, sample_weight=weights)


def test_a_missing_package_names_the_extra(monkeypatch):
    from gaussflow.apps import _optional

    def gone(module):
        raise ModuleNotFoundError(module)

    monkeypatch.setattr(_optional, "import_module", gone)
    with pytest.raises(ImportError, match=r"gaussflow\[tabular\]"):
        TableSynthesizer().fit(BASE)


@pytest.mark.parametrize("seed", range(12))
def test_any_small_table_comes_back_with_its_dtypes(seed):
    """A few columns and rows at random of the table of all kinds, where columns become constant or all missing."""
    random = np.random.default_rng(seed)
    df = mixed(n=int(random.integers(2, 40)), seed=seed)
    df = df[[df.columns[k] for k in random.choice(df.shape[1], 6, replace=False)]]
    df = df.iloc[random.integers(0, len(df), len(df))].reset_index(drop=True)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        model = TableSynthesizer().fit(df)
        drawn = model.sample(50)
        assert drawn.dtypes.to_dict() == df.dtypes.to_dict()
        assert np.isfinite(model.log_prob(df)).all()
        assert np.isfinite(model.log_prob(drawn)).all()
        pd.testing.assert_frame_equal(drawn, TableSynthesizer().fit(df).sample(50))


def test_a_fit_tells_of_each_column_once():
    frame, said = patients(150), []
    TableSynthesizer().fit(frame, progress=said.append)
    assert sorted(said) == sorted(map(str, frame.columns))
