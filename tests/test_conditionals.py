"""The comparison of regressors of conditional laws: found where they are known, bounded, and run end to end."""

import numpy as np
import pytest
from benchmarks import conditionals
from benchmarks.data import Table
from benchmarks.report import read
from benchmarks.synthetic import LOG_2PI


def pair(n, seed, bend=1.0, spread=0.0):
    """Two columns: a normal one, and one with a bent mean and a scale that depends on the first."""
    x = np.random.default_rng(seed).standard_normal((n, 2))
    return np.stack([x[:, 0], bend * np.sin(2 * x[:, 0]) + 0.3 * np.exp(spread * x[:, 0]) * x[:, 1]], 1)


@pytest.mark.parametrize("regress", [conditionals.waves, conditionals.bends, conditionals.trees])
def test_a_bent_mean_is_found(regress):
    """The mean square error against the mean that is known, over fresh rows."""
    train, valid, fresh = (pair(n, seed) for seed, n in enumerate((3000, 500, 1000)))
    curve = regress(train[:, :1], train[:, 1], valid[:, :1], valid[:, 1])
    straight = conditionals.linear(train[:, :1], train[:, 1], valid[:, :1], valid[:, 1])
    truth = np.sin(2 * fresh[:, 0])
    assert np.mean((curve(fresh[:, :1]) - truth) ** 2) < 0.01  # the noise has 0.09
    assert np.mean((straight(fresh[:, :1]) - truth) ** 2) > 0.2


@pytest.mark.parametrize("regress", [conditionals.waves, conditionals.bends, conditionals.trees])
def test_a_scale_that_depends_is_found(regress):
    train, valid, fresh = (pair(n, seed, spread=0.8) for seed, n in enumerate((3000, 500, 1000)))
    law = conditionals.moved(regress, regress, train, valid)
    z, log_slope = law(fresh[:, :1], fresh[:, 1])
    assert np.abs(-log_slope - np.log(0.3) - 0.8 * fresh[:, 0]).mean() < 0.2
    assert z.std() == pytest.approx(1, abs=0.15)


def test_noise_stays_linear():
    """A regressor that learns its rows by heart is not believed."""

    def by_heart(x, y, held_x, held_y):
        return lambda rows: np.random.default_rng(len(rows)).standard_normal(len(rows))

    train, valid = (np.random.default_rng(seed).standard_normal((300, 3)) for seed in (0, 1))
    law = conditionals.moved(by_heart, by_heart, train, valid)
    straight = conditionals.moved(conditionals.linear, conditionals.constant, train, valid)
    fresh = np.random.default_rng(2).standard_normal((50, 3))
    assert (law(fresh[:, :2], fresh[:, 2])[0] == straight(fresh[:, :2], fresh[:, 2])[0]).all()


def test_no_row_is_extrapolated():
    train, valid = pair(1000, 0, spread=0.8), pair(200, 1, spread=0.8)
    law = conditionals.moved(conditionals.waves, conditionals.waves, train, valid)
    far = np.array([[1e6], [-1e6]])
    z, log_slope = law(far, np.zeros(2))
    reach = np.abs(train[:, 1]).max()
    assert np.ptp(log_slope) <= 2 * np.log(conditionals.SPREAD)
    assert (np.abs(z) <= reach * np.exp(log_slope)).all()


@pytest.mark.parametrize("method", conditionals.METHODS)
def test_log_determinants_are_those_of_the_map(method):
    rows = conditionals.Rows(*(np.exp(pair(n, seed, spread=0.5)) for n, seed in ((400, 0), (200, 1))))  # skewed
    transform, u, step = conditionals.METHODS[method](rows), np.exp(pair(40, 2)), 1e-6
    ladj, slopes = transform(u)[1], []
    for i in range(2):
        shift = step * np.eye(2)[i]
        slopes.append((transform(u + shift)[0] - transform(u - shift)[0])[:, i] / (2 * step))
    assert np.log(np.prod(slopes, 0)) == pytest.approx(ladj, abs=1e-3)


def test_nats_of_a_known_law_are_near_its_entropy():
    """The methods that can follow the law, on two seeds."""
    entropy = LOG_2PI + 1 + np.log(0.3)
    for seed in (0, 10):
        table = Table("pair", *(pair(n, seed + i) for i, n in enumerate((1500, 400, 2000))))
        found = {row["method"]: row["nats"] for row in conditionals.measured(table, list(conditionals.METHODS))}
        assert found["linear"] > entropy + 0.5
        for method in ("waves", "bends", "trees", "mixture"):
            assert found[method] == pytest.approx(entropy, abs=0.25), (seed, found)


def test_command_end_to_end(tmp_path, capsys):
    out = tmp_path / "lines.jsonl"
    words = ["--tables", "gaussian_4", "--methods", "linear", "mixture", "--quick", "--out", str(out)]
    assert conditionals.main(words) == 0
    rows = read(out)
    assert [row["method"] for row in rows] == ["linear", "mixture"]
    assert all(row["nonfinite"] == 0 and row["excess"] > -0.1 and row["seconds"] > 0 for row in rows)
    assert "held-out worst" in capsys.readouterr().out
