"""The benchmark of the kernels, `python -m benchmarks.ops --device`, as far as it goes without a GPU."""

import json

import pytest
from benchmarks.ops import __main__ as benchmark
from benchmarks.ops import checks, device

from kernels import INTERPRETED, skip_unless_they_run

skip_unless_they_run()
pytestmark = pytest.mark.filterwarnings("ignore::RuntimeWarning")
PICKED = {("spline", "forward"), ("flow of 4 splines", "scoring")}
run = pytest.mark.skipif(not INTERPRETED, reason="a run on a GPU takes minutes")


@pytest.fixture(autouse=True)
def few(monkeypatch):
    """A case of an operation and one of a flow, and few points of one operation to check at."""
    every, operations = device.cases, checks.operations
    first = "spline forward"
    monkeypatch.setattr(checks, "operations", lambda: (found for found in operations() if found[0] == first))
    monkeypatch.setattr(device, "cases", lambda *given: [c for c in every(*given) if (c.operation, c.way) in PICKED])
    for name, value in (("POINTS", 3), ("SPREAD", 1)):
        monkeypatch.setattr(checks, name, value)


@run
def test_it_checks_measures_and_writes_lines(tmp_path, capsys):
    out = tmp_path / "lines.jsonl"
    assert benchmark.main(["--device", "interpreter", "--out", str(out)]) == 0
    lines = [json.loads(line) for line in out.read_text().splitlines()]
    assert [line["way"] for line in lines] == ["forward", "scoring"]
    assert all(set(line["ms"]) == {"plain torch", "kernels"} and line["commit"] for line in lines)
    assert 0 < lines[0]["bandwidth"] < 1
    assert "of the bandwidth" in capsys.readouterr().out


@run
def test_no_speed_on_a_red_check(monkeypatch, capsys):
    monkeypatch.setattr(device, "red", lambda where: [checks.Check("spline forward: values", 1.0, checks.VALUES)])
    assert benchmark.main(["--device", "interpreter"]) == 1
    printed = capsys.readouterr().out
    assert "spline forward: values" in printed
    assert "rows/s" not in printed


@run
def test_the_checks_see_a_kernel_that_is_wrong(monkeypatch):
    from gaussflow.ops._triton import _spline

    right = _spline.spline
    assert all(check.kept for check in device.red("cpu"))
    monkeypatch.setattr(_spline, "spline", lambda *given: tuple(1.00001 * v for v in right(*given)))
    assert not next(device.red("cpu")).kept
