"""The benchmark of the operations: no speed on a red check, least times in turns, verdicts from the figures."""

import json
import time

import pytest
import torch
from benchmarks.ops import __main__ as benchmark
from benchmarks.ops import case, checks, clock
from benchmarks.ops.targets import exactness, verdicts


@pytest.fixture(autouse=True)
def _few_checks(monkeypatch):
    monkeypatch.setattr(checks, "POINTS", 101)


def test_it_prints_tables_and_writes_lines(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(benchmark, "BATCH", 64)
    out = tmp_path / "ops.jsonl"
    assert benchmark.main(["--quick", "--only", "normal", "rotations", "--out", str(out)]) == 0
    printed = capsys.readouterr().out
    lines = [json.loads(line) for line in out.read_text().splitlines()]
    assert {line["operation"] for line in lines} >= {"log_ndtr", "ndtri", "cayley", "hadamard", "householder, k = 8"}
    assert all(line["ms"]["ours"] > 0 and line["floor_ms"] > 0 and line["commit"] for line in lines)
    assert "log_ndtr" in printed
    assert "× floor" in printed


def test_no_speed_on_a_red_check(capsys, monkeypatch):
    monkeypatch.setattr(checks, "VALUES", 1e-9)
    assert benchmark.main(["--quick", "--only", "normal"]) == 1
    printed = capsys.readouterr().out
    assert "log_ndtr: values" in printed
    assert "× floor" not in printed


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
@pytest.mark.parametrize(("device", "words"), [("cuda", "No GPU"), ("interpreter", "TRITON_INTERPRET=1")])
def test_without_a_gpu_it_says_what_to_do(device, words, capsys):
    assert benchmark.main(["--device", device]) == 2
    assert words in capsys.readouterr().out


def test_the_first_call_warms_up_and_slow_ones_are_called_once():
    called = {"fast": 0, "slow": 0}

    def call(name, seconds):
        called[name] += 1
        end = time.process_time() + seconds
        while time.process_time() < end:
            pass

    times = clock.interleaved({"fast": lambda: call("fast", 1e-3), "slow": lambda: call("slow", 0.05)}, 0.04)
    assert called["slow"] <= 2
    assert called["fast"] > 3
    assert times["slow"] > 0.05 > times["fast"] > 1e-3


def test_a_first_call_that_was_made_is_not_made_again():
    called = {"slow": 0, "slower": 0}

    def call(name):
        called[name] += 1

    calls = {name: lambda name=name: call(name) for name in called}
    times = clock.interleaved(calls, 0.04, first={"slow": 0.1, "slower": 50.0})
    assert called["slower"] == 0
    assert called["slow"] > 1  # one more tells that it is quick, and then it takes its turns
    assert times["slower"] == 50.0
    assert times["slow"] < 0.1
    assert clock.peak_and_seconds(lambda: sum(range(10**6)))[1] > 1e-3


def test_rivals_are_asked_as_far_as_they_fit(monkeypatch):
    monkeypatch.setattr(case, "find_spec", lambda name: name != "nowhere")
    assert case.absent("nflows", case.MOST_FOR_RIVALS) is None
    assert case.absent("nflows", case.MOST_FOR_RIVALS + 1) == "more than 9 GB"
    assert case.absent("zuko", case.MOST_FOR_RIVALS + 1, case.MOST_SHARED) is None
    assert case.absent("nowhere", 1) == "not installed"


def test_peak_memory_counts_what_is_alive_at_once():
    x = torch.zeros(2**18)

    def call():
        y = x + 1
        del y
        return x + 2

    assert clock.peak_bytes(call) == pytest.approx(2**20, rel=0.01)
    assert clock.peak_bytes(lambda: (x + 1, x + 2)) == pytest.approx(2**21, rel=0.01)


def test_verdicts_are_those_of_the_figures():
    row = {"operation": "spline", "way": "forward", "rows": 4096, "dim": 256, "floor_ms": 1.0}
    lines = verdicts([row | {"ms": {"ours": 10.0, "zuko": 31.0, "nflows": 200.0}}, row | {"rows": 100_000, "ms": {}}])
    assert [(line[3], line[-1]) for line in lines] == [("3.10", "met"), ("20.00", "missed"), ("", "not measured")]
    (line,) = verdicts([row | {"operation": "hadamard", "dim": 1024, "ms": {"ours": 1.2}}])
    assert line[3:] == ["1.20", "≤ 1", "missed"]


def test_the_worst_of_each_kind_of_check_is_beside_its_goal():
    found = [checks.Check(name, error, 1.0) for name, error in (
        ("a: values", 2e-7), ("b: values", 3e-6), ("a: gradients", 1e-7), ("a: round trip at 20", 2e-6))]  # fmt: skip
    lines = exactness(found)
    assert [(line[2], line[-1]) for line in lines] == [("b", "missed"), ("a", "met"), ("a", "met")]
    assert [line[3] for line in lines] == ["3.0e-06", "1.0e-07", "2.0e-06"]
