"""The laboratory's runner: what was measured stays measured, what fails costs one case, the report is made of lines."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from benchmarks.__main__ import main
from benchmarks.lab import style, suite
from benchmarks.lab.experiment import Experiment, Setting
from benchmarks.lab.report import write_report
from benchmarks.lab.suite import Run, failures_of, label, lines_of, measure_all
from benchmarks.report import read

SLEEP = 0.0


def cases(setting):
    return [{"kind": kind, "n": n} for kind in ("fine", "raises", "dies") for n in ([1, 2] if kind == "fine" else [1])]


def measure(case, setting):
    if case["kind"] == "raises":
        raise ArithmeticError("no number today")
    if case["kind"] == "dies":
        os._exit(3)
    return {"square": case["n"] ** 2, "values": [float("nan"), 1.0], "quick_seen": setting.quick}


def draw(lines):
    figure, (axes,) = style.panels()
    axes.plot([line["n"] for line in lines], [line["square"] for line in lines], **style.look(0))
    return figure


def tell(lines):
    return f"The squares sum to {sum(line['square'] for line in lines)}."


TOY = Experiment("toy", "Do squares grow?", cases, measure, draw, tell)


@pytest.fixture
def run(tmp_path):
    return Run(tmp_path / "out", Setting(quick=True), jobs=2, limit=60)


def test_a_run_is_measured_drawn_and_told_and_resumed(run, monkeypatch, capsys):
    monkeypatch.setattr(suite, "EXPERIMENTS", [TOY])
    words = ["--quick", "--out", str(run.folder), "--jobs", "2"]
    assert main(words) == 1  # two of four cases fail
    told = capsys.readouterr().out
    lines = lines_of(run.folder, "toy")
    assert [(line["n"], line["square"]) for line in lines] == [(1, 1), (2, 4)]
    for line in lines:
        assert line["values"] == [None, 1.0]
        assert line["quick_seen"] is line["quick"] is True
        assert line["threads"] == 1
        assert line["seconds"] >= 0
        assert line["wall"] > 0
        assert line["peak_mb"] >= 0
        assert line["versions"]["torch"]
        assert line["machine"]
    assert {line["kind"]: line["failed"] for line in failures_of(run.folder, "toy")} == {
        "raises": "ArithmeticError: no number today",
        "dies": "the process ended without a result",
    }
    assert "The squares sum to 5." in told
    assert "no number today" in told
    assert (run.folder / "toy.png").read_bytes().startswith(b"\x89PNG")
    assert (run.folder / "report.md").read_text() + "\n" == told

    main(words)  # those that failed are tried again, the others are not
    tries = [line["case"] for line in read(run.folder / "toy.jsonl")]
    assert sorted(tries) == sorted(
        ["kind=fine n=1", "kind=fine n=2", "kind=raises n=1", "kind=dies n=1", "kind=raises n=1", "kind=dies n=1"]
    )
    (run.folder / "toy.png").unlink()
    capsys.readouterr()
    assert main(["report", str(run.folder)]) == 0
    assert capsys.readouterr().out == told
    assert (run.folder / "toy.png").exists()


def test_a_case_that_failed_and_then_worked_is_no_failure(run):
    file = run.folder / "toy.jsonl"
    file.parent.mkdir(parents=True)
    bad, good = {"case": "n=1", "failed": "x"}, {"case": "n=1", "square": 1}
    file.write_text("\n".join(map(json.dumps, [bad, good])) + '\n{"case": "n=')  # cut short
    assert lines_of(run.folder, "toy") == [good]
    assert failures_of(run.folder, "toy") == []


def test_lines_are_in_the_order_of_the_cases(run):
    run.folder.mkdir()
    lines = [{"case": f"n={i}", "order": i} for i in (2, 0, 1)]
    (run.folder / "toy.jsonl").write_text("\n".join(map(json.dumps, lines)))
    assert [line["order"] for line in lines_of(run.folder, "toy")] == [0, 1, 2]


def test_a_case_without_end_is_given_up(run, monkeypatch):
    slow = Experiment("slow", "?", one_case, wait, draw, tell)
    start = time.monotonic()
    assert measure_all([slow], Run(run.folder, run.setting, limit=1)) == 1
    assert time.monotonic() - start < 20
    assert failures_of(run.folder, "slow")[0]["failed"] == "ended after 1 s"


def one_case(setting):
    return [{"n": 1}]


def wait(case, setting):
    time.sleep(60)


def test_quick_and_full_lines_are_not_mixed(run):
    run.folder.mkdir()
    (run.folder / "toy.jsonl").write_text('{"case": "n=1", "quick": false}\n')
    with pytest.raises(SystemExit, match="full run"):
        measure_all([TOY], run)


def test_a_picture_that_cannot_be_drawn_costs_the_others_nothing(run):
    def broken(lines):
        raise KeyError("colour")

    run.folder.mkdir()
    line = {"case": "n=1", "n": 1, "square": 1, "seconds": 1.0, "peak_mb": 1.0, "machine": "m", "versions": {}}
    for name in ("a", "b"):
        (run.folder / f"{name}.jsonl").write_text(json.dumps(line | {"threads": 1}) + "\n")
    bad, good = Experiment("a", "?", cases, measure, broken, tell), Experiment("b", "!", cases, measure, draw, tell)
    text = write_report([bad, good], run.folder)
    assert "KeyError: 'colour'" in text
    assert text.count("The squares sum to 1.") == 2
    assert "![!](b.png)" in text


def test_ctrl_c_keeps_what_was_measured(tmp_path):
    """A whole session, stopped once its first line is written, and started again."""
    code = (
        "import signal; signal.signal(signal.SIGINT, signal.default_int_handler)\n"  # a background job ignores it
        "import sys; sys.path[:0] = sys.argv[1:3]\n"
        "from benchmarks.lab import suite; import test_lab\n"
        "suite.EXPERIMENTS[:] = [test_lab.Experiment('slow', '?', test_lab.two_cases, test_lab.then_wait, "
        "test_lab.draw, test_lab.tell)]\n"
        "from benchmarks.__main__ import main\n"
        "sys.exit(main(['--out', sys.argv[3]]))\n"
    )
    here = Path(__file__).parent
    words = [sys.executable, "-c", code, str(here.parent), str(here), str(tmp_path)]
    with subprocess.Popen(words, stderr=subprocess.PIPE, text=True, cwd=here.parent) as process:
        try:
            end = time.monotonic() + 60
            while not (tmp_path / "slow.jsonl").exists() and time.monotonic() < end:
                time.sleep(0.1)
            process.send_signal(signal.SIGINT)
            _, errors = process.communicate(timeout=30)
        finally:
            process.kill()
    assert process.returncode == 130
    assert "goes on from there" in errors
    assert "Traceback" not in errors
    assert [line["n"] for line in lines_of(tmp_path, "slow")] == [1]


def two_cases(setting):
    return [{"n": 1}, {"n": 2}]


def then_wait(case, setting):
    if case["n"] == 2:
        time.sleep(60)
    return {"square": case["n"] ** 2}


def test_a_label_tells_cases_apart():
    assert label({"a": "x", "b": 1, "c": 1.5, "d": None}) == "a=x b=1 c=1.5 d=null"


@pytest.mark.parametrize("name", [each.name for each in suite.EXPERIMENTS])
@pytest.mark.parametrize("quick", [True, False])
def test_no_two_cases_are_equal(name, quick):
    (experiment,) = (each for each in suite.EXPERIMENTS if each.name == name)
    labels = [label(case) for case in experiment.cases(Setting(quick=quick))]
    assert labels
    assert len(set(labels)) == len(labels)


def test_names_of_experiments_are_their_own():
    names = [each.name for each in suite.EXPERIMENTS]
    assert len(set(names)) == len(names)


def test_unknown_experiments_are_refused(tmp_path):
    with pytest.raises(SystemExit, match="There are"):
        main(["--only", "magic", "--out", str(tmp_path)])
