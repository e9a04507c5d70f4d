"""Rules that hold on all rows of a table are found, and none where chance has it so."""

import numpy as np
import pandas as pd
import pytest

from gaussflow.apps.tabular import Range, TableSynthesizer, suggest_constraints
from visits import RULES, broken, visits


@pytest.mark.parametrize("seed", range(3))
def test_rules_that_hold_are_found(seed):
    found = {str(each.rule) for each in suggest_constraints(visits(400, seed))}
    assert found >= {
        str(rule) for rule in RULES if not isinstance(rule, Range) and rule.__dict__.get("high") != "systolic"
    }
    assert len(found) <= len(RULES) + 2


@pytest.mark.parametrize("seed", range(20))
def test_chance_suggests_nothing(seed):
    """Columns that do not depend on one another, few and many rows, some of them apart from one another."""
    random = np.random.default_rng(seed)
    n = [8, 15, 40, 300][seed % 4]
    df = pd.DataFrame(
        {
            "low": random.random(n),
            "above": 3 + random.random(n),  # apart: that it is larger says nothing
            "mostly above": 0.9 + random.random(n),
            "count": random.integers(0, 6, n),
            "flag": random.random(n) < 0.5,
            "level": random.choice(["a", "b", "c"], n, p=[0.9, 0.05, 0.05]),
            "gaps": np.where(random.random(n) < 0.4, np.nan, random.normal(size=n).round(1)),
            "more gaps": np.where(random.random(n) < 0.7, np.nan, random.normal(size=n)),
        }
    )
    assert suggest_constraints(df) == []


def test_suggestions_are_taken_as_they_are():
    df = visits()
    found = suggest_constraints(df)
    assert all(each.rows >= 10 and each.log_chance < -20 for each in found)
    drawn = TableSynthesizer(constraints=found).fit(df).sample(500)
    assert not any(count for name, count in broken(drawn).items() if name not in ("pressures", "age"))
