"""Tables of every kind of column, for the tests of `TableSynthesizer`."""

import numpy as np
import pandas as pd
from sklearn.datasets import load_breast_cancer


def mixed(n=300, seed=0):
    """Columns of all dtypes that hang on one normal coordinate, with missing values."""
    random = np.random.default_rng(seed)
    x = random.normal(size=n)
    day, hour = pd.to_timedelta((x * 100).round(), unit="D"), pd.to_timedelta((x * 100).round(), unit="h")
    return pd.DataFrame(
        {
            "int8": (x * 10).round().astype("int8"),
            "Int64": pd.array([None if v > 1 else round(v * 100) for v in x], dtype="Int64"),
            "uint64": (np.exp(x) * 1e17).astype("uint64"),
            "float32": (x + random.normal(size=n)).astype("float32"),
            "decimals": np.round(3 * x, 2),
            "Float64": pd.array([None if v < -1 else round(v, 1) for v in x], dtype="Float64"),
            "zeros": np.where(x < 0, 0, np.exp(x)),
            "heavy": np.exp(4 * x),
            "object": pd.Series([None if v < -1 else "a" if v < 0.3 else "b" for v in x], dtype=object),
            "string": pd.array([None if v > 0.5 else "u" for v in x], dtype="string"),
            "ordered": pd.Categorical(np.where(x > 0, "lo", "hi"), categories=["lo", "mid", "hi"], ordered=True),
            "numbers": pd.Categorical(random.integers(0, 3, n)),
            "bool": x > 0,
            "boolean": pd.array([None if v > 1 else v > 0 for v in x], dtype="boolean"),
            "date": pd.Timestamp("2020-01-01") + day,
            "zone": pd.Timestamp("2020-01-01", tz="Europe/Berlin") + hour,
            "span": hour,
            "constant": 3.5,
            "nothing": np.nan,
            7: pd.Series([None if v > 1 else bool(v > 0) for v in x], dtype=object),
        }
    )


def patients(n=400, seed=0):
    """Breast cancer made mixed: a class, sizes in rounded units, a count, values that were not measured, zeros."""
    data = load_breast_cancer(as_frame=True).frame.sample(n, random_state=seed, ignore_index=True)
    small = data["mean concavity"].lt(0.03)
    return pd.DataFrame(
        {
            "radius": data["mean radius"].round(1),
            "texture": data["mean texture"],
            "area": data["mean area"].round().astype("int64"),
            "concavity": data["mean concavity"].where(~small, 0.0),
            "symmetry": data["mean symmetry"].where(data["mean radius"] < 17),
            "class": data["target"].map({0: "malignant", 1: "benign"}).astype("category"),
            "grade": pd.cut(data["mean texture"], [0, 16, 20, 99], labels=["low", "middle", "high"]),
        }
    )
