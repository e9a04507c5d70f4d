"""The harness of the benchmarks: end to end on few rows, resumed, and true to the densities that are known."""

import json

import numpy as np
import pytest
from benchmarks import data, synthetic
from benchmarks.__main__ import main
from benchmarks.measure import measure_apart, score
from benchmarks.registry import METHODS, missing
from benchmarks.report import append, read

LAWS = {
    "gaussian": lambda: synthetic.gaussian(16),
    "noise": lambda: synthetic.noise(8),
    "mixture": synthetic.mixture,
    "moons": synthetic.moons,
}


@pytest.mark.parametrize("name", LAWS)
def test_entropy_is_the_mean_nats_of_draws(name):
    law = LAWS[name]()
    nats = law.nats(law.draw(20_000, np.random.default_rng(7)))
    error = np.hypot(nats.std() / np.sqrt(len(nats)), law.error)
    assert abs(nats.mean() - law.entropy) < 4 * error
    assert error < 0.03


@pytest.mark.parametrize("name", LAWS)
def test_density_is_that_of_the_draws(name):
    """Moving all rows can only cost nats under the law they come from."""
    law, rng = LAWS[name](), np.random.default_rng(8)
    x = law.draw(5_000, rng)
    shift = 0.5 * np.eye(law.dim)[0]
    assert law.nats(x + shift).mean() > law.nats(x).mean()


def test_gaussian_spectrum_is_distinct_with_trace_dim():
    law = synthetic.gaussian(16)
    covariance = np.cov(law.draw(200_000, np.random.default_rng(0)).T)
    eigenvalues = np.linalg.eigvalsh(covariance)
    assert np.trace(covariance) == pytest.approx(16, rel=0.01)
    assert eigenvalues[-1] / eigenvalues[0] == pytest.approx(100, rel=0.05)
    assert (np.diff(np.log(eigenvalues)) > 0.2).all()
    assert law.entropy == pytest.approx(15.878, abs=1e-3)


def test_moons_density_integrates_to_one():
    grid = np.stack(np.meshgrid(np.arange(-2, 3, 0.05), np.arange(-1.5, 2, 0.05)), -1).reshape(-1, 2)
    assert np.exp(-synthetic._moons_nats(grid, 0.1)).sum() * 0.05**2 == pytest.approx(1, abs=1e-9)


def test_protocol_of_the_real_tables():
    table = data.load("breast_cancer")
    assert table.train.shape == (455, 30)
    assert table.valid.shape == table.test.shape == (57, 30)
    assert np.abs(table.train.mean(0)).max() < 0.01
    assert np.abs(table.train.std(0) - 1).max() < 0.01
    assert data.load("digits").dim == 61  # three columns are constant
    assert data.load("digits_uniform").dim == 64


def test_protocol_drops_what_is_missing_or_constant(tmp_path):
    x = np.random.default_rng(0).standard_normal((100, 5))
    x[0, 0] = np.nan
    x[:70, 1] = np.nan
    x[:, 2] = 3.0
    (tmp_path / "tables").mkdir()
    np.savez(tmp_path / "tables" / "wine_white.npz", X=x)
    table = data.load("wine_white", tmp_path)
    assert (table.dim, len(table.train) + len(table.valid) + len(table.test)) == (3, 99)
    with pytest.raises(FileNotFoundError, match="--data"):
        data.load("wine_white")


def test_score_of_rows_that_are_not_finite():
    table = data.known("g", synthetic.gaussian(2), rows=20)
    exact = -table.law.nats(table.test)
    assert score(exact, table)["excess"] == 0
    exact[:3] = [np.nan, np.inf, -np.inf]
    row = score(exact, table)
    assert row["nats"] is None
    assert row["nonfinite"] == pytest.approx(3 / len(exact))
    assert row["excess"] == pytest.approx(0)
    json.dumps(row, allow_nan=False)


def test_harness_end_to_end_and_resumed(tmp_path, capsys):
    out = tmp_path / "results" / "density.jsonl"
    words = ["density", "--tables", "gaussian_4", "--methods", "rbig_haar,gaussian", "--quick", "--out", str(out)]
    assert main(words) == 0
    printed = capsys.readouterr().out
    rows = read(out)
    assert [row["method"] for row in rows] == ["rbig_haar", "gaussian"]
    for row in rows:
        assert "failed" not in row
        assert row["nonfinite"] == 0
        assert row["excess"] > 0
        assert row["versions"]["torch"]
        assert row["seconds"] > 0
    assert "true density, same rows" in printed
    with out.open("a") as file:
        file.write('{"table": "gauss')  # a line cut short by a stop
    assert main(words) == 0
    assert read(out) == rows
    assert capsys.readouterr().out == printed


def test_lines_hold_none_where_json_knows_no_number(tmp_path):
    append(tmp_path / "lines.jsonl", {"nats": -np.inf, "note": {"valid": np.float64("nan"), "epochs": 3}})
    assert read(tmp_path / "lines.jsonl") == [{"nats": None, "note": {"valid": None, "epochs": 3}}]


def test_a_method_that_takes_too_long_costs_one_row():
    row = measure_apart("gaussian_4", "gaussian", quick=True, limit=0.01)
    assert row["failed"].startswith("ended")


def test_a_method_that_fails_costs_one_row(monkeypatch):
    from benchmarks import measure

    def broken(task):
        raise FloatingPointError("no density today")

    monkeypatch.setitem(METHODS, "broken", broken)
    row = measure.measure("gaussian_4", "broken", quick=True)
    assert row["failed"] == "FloatingPointError: no density today"


def test_absent_packages_are_named_and_left_out(monkeypatch, capsys):
    monkeypatch.setattr("benchmarks.registry.PACKAGES", {"sinflow": "no_such_package.at_all"})
    assert missing("sinflow") == "no_such_package.at_all"
    assert missing("gaussian") is None
    assert main(["density", "--tables", "gaussian_4", "--methods", "sinflow", "--quick"]) == 0
    assert "sinflow left out" in capsys.readouterr().err


@pytest.mark.parametrize("words", [["--tables", "atlantis"], ["--methods", "magic"]])
def test_unknown_names_are_refused(words, capsys):
    with pytest.raises(SystemExit):
        main(["density", *words])
    assert "There are:" in capsys.readouterr().err
