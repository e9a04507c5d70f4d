"""The experiment on iterative and end-to-end training: its prefixes, its ratios, and one tiny case of each way."""

import json
import math

import numpy as np
import pytest
import torch
from benchmarks.lab import training, training_report
from benchmarks.lab.experiment import Line, Setting

from gaussflow import Chain, Flow, History, Standardize

QUICK = Setting(quick=True)
METHODS = (("trained", 1), ("trained", 4), ("same", 2), ("ica", 4))


@pytest.fixture(scope="module")
def lines() -> list[Line]:
    cases = [{"problem": "gaussian", "dim": 2, "method": m, "most": n, "seed": 0} for m, n in METHODS]
    return [{**case, **json.loads(json.dumps(training.measure(case, QUICK)))} for case in cases]


def run(method: str, dim: int, nats: list[float], seed: int = 0) -> Line:
    """A line of one trained flow, or of a run with marks at 1, 2, 4 ... blocks, a second each."""
    blocks = [2] if method == "trained" else [2**k for k in range(len(nats))]
    measured = {"nats": nats, "error": [0.01] * len(nats), "blocks": blocks, "cpu": [float(b) for b in blocks]}
    where = {"problem": "moons", "dim": dim, "method": method, "most": blocks[-1], "seed": seed}
    return {**where, **measured, "known": True, "start": 2.0}


def test_cases_are_all_different_and_each_ratio_has_its_trained_flow() -> None:
    for setting in (Setting(), QUICK):
        cases = training.cases(setting)
        assert len({json.dumps(c) for c in cases}) == len(cases)
        key = lambda c: (c["problem"], c["dim"], c["seed"])  # noqa: E731
        reference = {key(c) for c in cases if c["method"] == "trained" and c["most"] == training_report.REFERENCE}
        assert {key(c) for c in cases} == reference


def test_prefixes_are_the_flow_up_to_each_mark_of_blocks_tried() -> None:
    """The second block was dropped, and those before it and after it are the parts of the flow."""
    parts = [Standardize(1) for _ in range(3)]
    with torch.no_grad():
        for i, part in enumerate(parts):
            part.loc.fill_(10.0**i)
    history = History({"kept": kept, "seconds": 1.0} for kept in (True, False, True, True))
    marks = training._prefixes(Flow(Chain(*parts)), history, cpu=8.0)
    assert [(n, flow.encode(torch.zeros(1, 1)).item()) for n, flow, _ in marks] == [(1, -1.0), (2, -1.0), (4, -111.0)]
    assert [cpu for _, _, cpu in marks] == [2.0, 4.0, 8.0]


def test_a_normal_table_is_met_and_the_start_is_its_closed_form(lines: list[Line]) -> None:
    x = training._table({"problem": "gaussian", "dim": 2, "seed": 0}, Setting()).train
    dependence = -0.5 * math.log(1 - float(np.corrcoef(x.T)[0, 1]) ** 2)
    for line in lines:
        assert line["start"] == pytest.approx(dependence, abs=0.1)  # what coordinates on their own cannot say
    assert abs(lines[3]["nats"][-1]) < 0.05  # independent axes are the law's own
    assert lines[1]["nats"][0] < lines[0]["nats"][0] - 0.1  # four trained blocks turn, a single one does not
    assert [line["blocks"] for line in lines] == [[1], [4], [1, 2], [1, 2, 4]]
    assert all(line["cpu"] == sorted(line["cpu"]) and line["cpu"][0] > 0 for line in lines)


def test_a_case_is_the_same_each_time(lines: list[Line]) -> None:
    case = {key: lines[2][key] for key in ("problem", "dim", "method", "most", "seed")}
    assert training.measure(case, QUICK)["nats"] == lines[2]["nats"]


def test_blocks_needed_are_read_between_the_marks() -> None:
    line = run("haar", 2, [1.0, 0.8, 0.4])
    assert training_report.needed(line, 0.6) == pytest.approx((3.0, 3.0, True))
    assert training_report.needed(line, 0.4) == pytest.approx((4.0, 4.0, True))
    assert training_report.needed(line, 1.5) == (1, 1.0, True)
    assert training_report.needed(line, 0.3) == (4, 4.0, False)
    assert training_report.needed(run("haar", 2, [0.5, 0.5]), 0.5) == (1, 1.0, True)


def test_ratios_pair_runs_on_the_same_rows_only() -> None:
    lines = [run("trained", 2, [0.6]), run("haar", 2, [1.0, 0.8, 0.4]), run("haar", 2, [0.5], seed=1)]
    (found,) = training_report.ratios(lines)
    assert found == ("moons", 2, "haar", 1.5, 1.5, True)


@pytest.mark.parametrize(("power", "words"), [(1.0, "grows with D"), (-1.0, "falls as D grows"), (0.0, "no trend")])
def test_the_trend_is_computed_from_the_lines(power: float, words: str) -> None:
    lines = []
    for dim in (2, 4, 8):
        for seed in (0, 1):
            wanted = 8 * (1 + 0.1 * seed) * (dim / 4) ** power  # blocks at which the run meets the trained flow
            below = [float(2.0**k / wanted) for k in range(6)]
            lines += [run("trained", dim, [-1.0], seed), run("haar", dim, [-b for b in below], seed)]
    text = training_report.report(lines)
    assert words in text
    assert f"D^({power:.2f}" in text.replace("-0.00", "0.00")


def test_what_was_not_reached_is_said_to_be_a_bound() -> None:
    lines = [run("trained", 2, [0.1]), run("haar", 2, [1.0, 0.8])]
    assert "at least 1 times the blocks" in training_report.report(lines)
    many = [each for dim in (2, 4, 8, 16) for each in (run("trained", dim, [0.1]), run("haar", dim, [1.0, 0.8]))]
    assert "lead is hidden by the bounds" in training_report.report(many)


def test_who_ends_lower_is_read_from_the_least_nats() -> None:
    for least, words in ((0.3, "end to end: moons"), (0.9, "the iterative runs: moons"), (0.41, "neither")):
        text = training_report.report([run("trained", 2, [least]), run("haar", 2, [1.0, 0.4, 0.8])])
        assert f"(the nats of end to end first) {words}" in text


def test_any_lines_are_drawn_and_told(lines: list[Line]) -> None:
    from matplotlib import pyplot

    for some in ([], *([line] for line in lines), lines, [{**line, "known": False} for line in lines]):
        assert len(training_report.draw(some).axes) == 8
        assert isinstance(training_report.report(some), str)
        pyplot.close("all")
    assert "end to end 4" in training_report.report(lines)
