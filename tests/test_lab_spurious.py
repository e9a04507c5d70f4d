"""The experiment on spurious directions: the search, the shapes it is judged by, and one tiny case of each kind."""

import json
import math

import pytest
import torch
from benchmarks.lab import spurious, spurious_report
from benchmarks.lab.experiment import Setting

from gaussflow import as_rows

TINY = (
    {"kind": "fade", "dim": 8, "rows": 100, "seed": 0},
    {"kind": "fade", "dim": 8, "rows": 1600, "seed": 0},
    {"kind": "rule", "rule": "pca", "dim": 16, "rows": 200, "seed": 0},
    {"kind": "rule", "rule": "search", "dim": 4, "rows": 200, "seed": 1},
    {"kind": "figure", "dim": 200, "rows": 4000, "seed": 0},
)


@pytest.fixture(scope="module")
def lines() -> list[dict]:  # type: ignore[type-arg]
    return [{**case, **json.loads(json.dumps(spurious.measure(case, Setting())))} for case in TINY]


def rows(n: int, dim: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(n, dim, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def test_every_step_of_the_search_climbs_and_none_passes_the_bound() -> None:
    x = rows(2000, 100)
    heights = [float((x @ spurious.spurious(x, steps=k)).abs().mean()) for k in range(20)]
    assert heights == sorted(heights)
    assert heights[0] + 0.1 < heights[-1] < math.sqrt(2 / math.pi) + math.sqrt(100 / 2000)
    assert spurious.spurious(x).norm() == pytest.approx(1)


def test_the_search_finds_a_direction_that_is_there() -> None:
    x = rows(2000, 20)
    x[:, 3] = 2 * x[:, 3].sign()
    assert spurious.spurious(x)[3].abs() > 0.99


def test_the_first_axis_is_the_one_wanted() -> None:
    w = rows(1, 7)[0]
    for unit in (w / w.norm(), torch.eye(7).double()[0], -torch.eye(7).double()[0]):
        axes = spurious.first_axis(unit)
        torch.testing.assert_close(axes[0], unit)
        torch.testing.assert_close(axes @ axes.T, torch.eye(7).double())


def test_the_rotation_is_fitted_to_the_rows_it_gets() -> None:
    x = rows(500, 6)
    z = spurious.spurious_rotation(6, torch.Generator()).double().fit(as_rows(x))(x)[0]
    torch.testing.assert_close(z[:, 0], x @ spurious.spurious(x))


@pytest.mark.parametrize(("shift", "word"), [(0.0, "no sign of two modes"), (2.0, "bimodal")])
def test_shapes_tell_two_modes_from_one(shift: float, word: str) -> None:
    y = rows(20_000, 1)[:, 0]
    law = spurious._shape(0.5 * y + 0.3 * shift * torch.where(torch.arange(len(y)) % 2 == 0, 1, -1))
    assert spurious_report._modes(law) == word
    if not shift:
        law = spurious._shape(y)
        assert law["dip"] == pytest.approx(spurious_report.NORMAL_DIP, abs=4 * law["dip_error"])
        assert abs(law["kurtosis"]) < 4 * law["kurtosis_error"]
    else:
        assert law["kurtosis"] < -0.5


def test_cases_are_all_different_and_end_with_the_figure() -> None:
    for quick in (True, False):
        cases = spurious.cases(Setting(quick=quick))
        assert len({json.dumps(c) for c in cases}) == len(cases)
        assert cases[-1]["kind"] == "figure"
        assert {c["rule"] for c in cases if c["kind"] == "rule"} == set(spurious.RULES)
    assert (cases[-1]["rows"], cases[-1]["dim"]) == (60_000, 3072)


def test_the_figure_is_bimodal_on_its_own_rows_only_and_the_guard_refuses_it(lines: list[dict]) -> None:  # type: ignore[type-arg]
    found = lines[-1]
    assert spurious_report._modes(found["own"]) == spurious_report._modes(found["samples"]) == "bimodal"
    assert spurious_report._modes(found["random"]) != "bimodal"
    assert found["gain_own"][0] > 0.02 > -0.02 > found["gain_fresh"][0]
    assert not found["kept"]
    assert sum(found["own"]["histogram"]) * 0.16 == pytest.approx(1, abs=1e-2)


def test_the_effect_fades_with_rows_and_fresh_rows_are_normal(lines: list[dict]) -> None:  # type: ignore[type-arg]
    few, many = lines[:2]
    assert few["own"]["absolute"] > many["own"]["absolute"] + 0.05
    for line in (few, many):
        assert line["fresh"]["absolute"] == pytest.approx(math.sqrt(2 / math.pi), abs=0.03)


def test_believing_buys_on_own_rows_and_loses_on_fresh_ones(lines: list[dict]) -> None:  # type: ignore[type-arg]
    pca = lines[2]
    assert pca["believed_own"][0] > 0
    assert pca["believed_fresh"][0] < 0
    assert pca["believed_fresh"][0] <= pca["guarded_fresh"][0]
    again = spurious.measure(TINY[2], Setting())
    assert json.loads(json.dumps(again)).items() <= pca.items()


def test_any_lines_are_drawn_and_told(lines: list[dict]) -> None:  # type: ignore[type-arg]
    from matplotlib import pyplot

    for some in ([], *([line] for line in lines), lines):
        assert len(spurious_report.draw(some).axes) == 6
        assert isinstance(spurious_report.report(some), str)
        pyplot.close("all")
    text = spurious_report.report(lines)
    assert "refused" in text
    assert "search for w" in text
    turned = {**lines[-1], "kept": True, "own": lines[-1]["random"]}
    assert "the guard fails" in spurious_report.report([turned])
