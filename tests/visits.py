"""A table of visits to a hospital that obeys rules of every kind, for the tests of constraints."""

import numpy as np
import pandas as pd

from gaussflow.apps.tabular import FixedCombinations, FunctionOf, Inequality, NotNullIf, NullIf, Range, Sum

WARDS = {"north": ["surgery", "birth"], "south": ["surgery", "eyes"], "east": ["heart"]}


def visits(n=400, seed=0):
    """Dates, bills, pressures, wards and outcomes, with gaps."""
    random = np.random.default_rng(seed)
    age = np.r_[[17, 18, 64, 65], random.integers(0, 95, n - 4)]  # where the groups change is seen
    stay = np.minimum(random.poisson(np.where(age > 60, 6, 2)), 30)
    admitted = pd.Timestamp("2020-01-01") + pd.to_timedelta(random.integers(0, 1500, n), unit="D")
    house = random.choice(list(WARDS), n, p=[0.5, 0.3, 0.2])
    ward = [random.choice(WARDS[h]) for h in house]
    diastolic = random.normal(80, 10, n).round()
    dead = random.random(n) < 0.05 + 0.004 * age
    drugs, care = random.gamma(2, 60, n).round(2), (300.0 * stay + random.gamma(3, 100, n)).round(2)
    tested = random.random(n) < 0.6
    celsius = random.normal(37, 0.7, n).round(1)
    return pd.DataFrame(
        {
            "age": age,
            "group": pd.Categorical(np.where(age < 18, "child", np.where(age < 65, "adult", "old"))),
            "admitted": admitted,
            "discharged": pd.Series(admitted + pd.to_timedelta(stay, unit="D")).mask(random.random(n) < 0.1),
            "hospital": house,
            "ward": ward,
            "diastolic": diastolic.astype("int64"),
            "systolic": (diastolic + 10 + random.gamma(4, 9, n)).round().astype("int64"),
            "celsius": celsius,
            "fahrenheit": (celsius * 1.8 + 32).round(1),
            "drugs": drugs,
            "care": care,
            "bill": (drugs + care).round(2),
            "status": np.where(dead, "dead", "alive"),
            "cause": pd.Series(np.where(dead, random.choice(["heart", "cancer", "other"], n), None), dtype=object),
            "tested": tested,
            "result": np.where(tested, random.normal(5, 2, n) ** 2, np.nan),
        }
    )


RULES = [
    Inequality("admitted", "discharged"),
    Inequality("diastolic", "systolic", strict=True),
    Range("age", 0, 100),
    FixedCombinations(("hospital", "ward")),
    FunctionOf("group", "age"),
    FunctionOf("fahrenheit", "celsius"),
    Sum(("drugs", "care"), "bill"),
    NullIf("cause", "status", "alive"),
    NotNullIf("cause", "status", "dead"),
    NullIf("result", "tested", False),
]


def broken(df):
    """How many rows break each rule, seen without the library."""
    pairs = {(h, w) for h in WARDS for w in WARDS[h]}
    return {
        "dates": int((df["admitted"] > df["discharged"]).sum()),
        "pressures": int((df["diastolic"] >= df["systolic"]).sum()),
        "age": int((~df["age"].between(0, 100)).sum()),
        "wards": sum(pair not in pairs for pair in zip(df["hospital"], df["ward"], strict=True)),
        "groups": int(
            (df["group"] != np.where(df["age"] < 18, "child", np.where(df["age"] < 65, "adult", "old"))).sum()
        ),
        "warmth": int(((df["celsius"] * 1.8 + 32 - df["fahrenheit"]).abs() > 0.0501).sum()),
        "bills": int(((df["drugs"] + df["care"] - df["bill"]).abs() > 1e-6).sum()),
        "causes": int((df["cause"].notna() != (df["status"] == "dead")).sum()),
        "results": int((df["result"].notna() & ~df["tested"]).sum()),
    }
