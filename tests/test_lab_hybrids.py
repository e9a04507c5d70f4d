"""The experiment on the hybrid: what follows fitted blocks, what the report concludes, and a tiny case of each rule."""

import json
import math
from itertools import islice
from typing import cast

import numpy as np
import pytest
import torch
from benchmarks.lab import hybrids
from benchmarks.lab.experiment import Setting
from benchmarks.lab.growth import follow
from benchmarks.lab.hybrids_report import blocks_of, compared, growth_of, share_of
from benchmarks.lab.problems import PROBLEMS

from gaussflow import Chain, Flow, Whiten, theory
from gaussflow.rows import TensorRows

QUICK = Setting(quick=True)
CURVES = {  # what is left where there were ten nats: the hybrid in a block or never, the others more slowly with D
    "hybrid": {"gaussian_log": lambda d: [10, 0.01], "rings": lambda d: [10, 0.5] if d < 16 else [10, 6, 5.5]},
    "rbig": {
        "gaussian_log": lambda d: [10, 0.01],
        "rings": lambda d: [10 * 0.1 ** (i / d) for i in range(d + 1)],
    },
}


def line(problem, dim, rule, left):
    kinds = ["mixture"] * (len(left) - 1) if rule == "hybrid" else []
    held = {"problem": problem, "dim": dim, "rule": rule, "rows": 100, "seed": 0, "ended": "itself", "seconds": 1.0}
    return held | {"left": left, "left_error": [0.01] * len(left), "kinds": kinds}


@pytest.fixture(scope="module")
def lines():
    return [
        line(law, dim, rule, curve(dim)) for rule, laws in CURVES.items() for law, curve in laws.items()
        for dim in (2, 4, 8, 16)
    ]  # fmt: skip


def test_rotations_alone_follow_theory_on_normal_rows():
    """Haar rotations leave what theorem 2 says, within a quarter; whitening leaves nothing after one block."""
    law, rng = PROBLEMS["gaussian_near"](8), np.random.default_rng(1)
    train, test = TensorRows(torch.as_tensor(law.draw(3000, rng))), law.draw(3000, rng)
    shares = []
    for seed in range(2):
        growth = follow(islice(hybrids.rotated("haar", train, seed), 5), test, law.nats(test), share=0.0)
        shares.append(growth.left[-1] / growth.left[0])
    assert np.mean(shares) == pytest.approx(theory.rate(8) ** 4, rel=0.25)
    whitened = follow(islice(hybrids.rotated("rbig", train, 0), 3), test, law.nats(test), share=0.15)
    assert (whitened.ended, len(whitened.left)) == ("reached", 2)
    second = next(islice(hybrids.rotated("rbig", train, 0), 1, None))
    assert isinstance(next(iter(cast(Chain, second))), Whiten)


def test_what_was_reached_and_what_was_left():
    runs = [line("rings", 2, "haar", left) for left in ([4.0, 2.0, 0.2], [4.0, 1.0], [4.0, -0.1])]
    assert [blocks_of(run) for run in runs] == [pytest.approx(1 + math.log(5) / math.log(10)), None, 1.0]
    assert [blocks_of(run, 0.5) for run in runs] == [1.0, 1.0, 1.0]
    assert [share_of(run) for run in runs] == [0.05, 0.25, 0.0]


def test_growth_is_of_the_runs_that_got_there():
    found = {d: line("rings", d, "haar", [10 * 0.1 ** (i / d) for i in range(d + 1)]) for d in (2, 4, 8)}
    assert growth_of(found, 0.1).value == pytest.approx(1)
    assert growth_of(found | {64: line("rings", 64, "haar", [10, 9])}, 0.1).value == pytest.approx(1)
    assert math.isnan(growth_of({2: found[2], 64: line("rings", 64, "haar", [10, 9])}, 0.1).value)


@pytest.mark.parametrize(
    ("ours", "theirs", "said"),
    [
        (1.0, 2.0, "fewer blocks"),
        (2.0, 1.0, "more blocks"),
        (1.0, 1.04, "as many blocks"),
        (None, 1.0, "reached by the other alone"),
        (1.0, None, "reached by the hybrid alone"),
        (None, None, "reached by neither"),
    ],
)
def test_two_counts_compared(ours, theirs, said):
    assert compared(ours, theirs) == said


def test_the_report_says_what_the_lines_say(lines):
    text = hybrids.report(lines)
    tenth = next(part for part in text.split("\n\n") if part.startswith("**The hybrid beside rbig, to a tenth"))
    assert "Of 8 pairs of runs: as many blocks in 4, fewer blocks in 3, reached by the other alone in 1" in tenth
    assert "flatter on rings" in tenth
    assert "steeper on none" in tenth
    assert "not in 2 (55% left)" in text
    assert "10 → 5.5 ± 0.01 (MM)" in text
    worse = [x | {"rule": {"hybrid": "rbig", "rbig": "hybrid"}[x["rule"]]} for x in lines]
    assert "steeper on rings" in hybrids.report(worse)


@pytest.mark.parametrize("pick", [slice(0, 1), slice(0, 4), slice(4, 8), slice(8, 16), slice(0, 16, 3)])
def test_any_lines_are_drawn_and_told(lines, pick):
    from matplotlib import pyplot

    figure = hybrids.draw(lines[pick])
    figure.canvas.draw()
    pyplot.close(figure)
    assert hybrids.report(lines[pick])


def test_runs_that_ended_before_are_hollow(lines):
    from matplotlib import pyplot

    figure = hybrids.draw(lines)
    rings = next(axes for axes in figure.axes if axes.get_title() == "rings")
    hollow = [handle for handle in rings.lines if handle.get_markerfacecolor() == "white"]
    assert [list(handle.get_ydata()) for handle in hollow] == [[2]]
    assert [text.get_text() for text in rings.texts] == ["55%"]
    pyplot.close(figure)


def test_a_hybrid_that_begins_without_marginals_is_measured_by_them(monkeypatch):
    """Its one block is the second of what is left, whatever it is."""
    flow, record = Flow(Chain(Whiten(2).double())), {"kind": "mixture", "kept": True}
    monkeypatch.setattr(hybrids, "hybrid", lambda x, **_: (flow, [record]))
    found = hybrids.measure({"problem": "banana", "dim": 2, "rule": "hybrid", "rows": 400, "seed": 0}, QUICK)
    assert found["kinds"] == ["mixture"]
    marginals = {"problem": "banana", "dim": 2, "rule": "haar", "rows": 400, "seed": 0, "blocks": 0}
    assert found["left"][:1] == hybrids.measure(marginals, QUICK)["left"]
    assert len(found["left"]) == 2


@pytest.mark.parametrize("rule", ["hybrid", *hybrids.RULES])
def test_tiny_cases_are_measured(rule):
    case = {"problem": "gaussian_log", "dim": 2, "rule": rule, "rows": 400, "seed": 0, "blocks": 3}
    found = hybrids.measure(case, QUICK)
    assert json.loads(json.dumps(found)) == found
    assert len(found["left"]) == len(found["left_error"]) > 1
    assert found["left"][0] > 0.5
    assert len(found["kinds"]) == (len(found["left"]) - 1 if rule == "hybrid" else 0)
    if rule != "haar":
        assert blocks_of(found) == 1.0
    assert hybrids.measure(case, QUICK)["left"] == found["left"]
    hybrids.draw([case | found]).canvas.draw()
