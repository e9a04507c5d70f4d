"""`gaussflow synth --report`: rows kept from the fit, tables too large to hold, other signs between cells, notes."""

import re

import numpy as np
import pytest

from gaussflow.cli import main
from test_cli import fails
from test_cli_synth import at, read  # noqa: F401

pandas = pytest.importorskip("pandas")
pytest.importorskip("sklearn")

from gaussflow.apps.tabular.frames._files import read_frame  # noqa: E402
from gaussflow.apps.tabular.frames._large import drawn_frame, whole_frame  # noqa: E402


def test_a_report_keeps_rows_from_the_fit(at, capsys):  # noqa: F811
    words = ["synth", "table.csv", "--out", "new.csv", "--report", "report.html", "--target", "sick", "--drop", "empty"]
    assert main(words) == 0
    said = capsys.readouterr().out.splitlines()
    assert said[0].startswith("wrote 240 rows of 8 columns to new.csv")
    assert "rows of table.csv" in said[0]
    assert "192 rows" in said[0]
    assert said[1:] == ["fitted to 192 rows; 48 kept from the fit to judge by (--held-out)", "report: report.html"]
    page = (at / "report.html").read_text(encoding="utf-8")
    assert "240 synthetic rows of 8 columns, beside 192 real rows" in page
    assert "48 real rows that the fit did not see" in page
    assert "is sick “no”?" in page
    assert main([*words, "--held-out", "0", "--force"]) == 0
    assert "No real rows were kept from the fit" in (at / "report.html").read_text(encoding="utf-8")
    assert "kept from the fit" not in capsys.readouterr().out


def test_rows_held_out_are_a_share_of_all_and_follow_the_seed(at, capsys):  # noqa: F811
    for name, seed in (("one", "1"), ("again", "1"), ("two", "2")):
        assert main(["synth", "table.csv", "--out", f"{name}.csv", "--seed", seed, "--held-out", "0.5"]) == 0
        assert "fitted to 120 rows; 120 kept" in capsys.readouterr().out
    one, again, two = ((at / f"{name}.csv").read_bytes() for name in ("one", "again", "two"))
    assert one == again != two


def test_a_table_too_large_is_learnt_from_some_rows(at, capsys):  # noqa: F811
    assert main(["synth", "table.csv", "--out", "new.csv", "--most", "100", "--drop", "empty"]) == 0
    said = capsys.readouterr().out
    assert "table.csv has 240 rows; 100, drawn evenly, and 17 more that hold what is rare, weighed for it," in said
    assert "the 100 rows of" in said
    assert len(read("new.csv")) == 100


def test_a_reservoir_is_even_and_keeps_the_order():
    """Of 30 rows in parts of 7, each of 12 that stay has the same chance, whichever part it is in."""
    whole = pandas.DataFrame({"x": np.arange(30)})
    parts = lambda: (whole[k : k + 7] for k in range(0, 30, 7))  # noqa: E731
    stayed = np.zeros(30)
    for seed in range(600):
        reading = drawn_frame(parts, 12, seed)
        frame = reading.frame[reading.even]
        assert reading.count == 30
        assert len(frame) == 12
        assert frame["x"].is_monotonic_increasing
        stayed[frame["x"]] += 1
    expected = 600 * 12 / 30
    chi2 = np.square(stayed - expected).sum() / (expected * 18 / 30)
    assert 10 < chi2 < 58  # 29 degrees of freedom, beyond 0.1 % on either side
    assert whole_frame(parts()).frame["x"].tolist() == list(range(30))
    assert drawn_frame(parts, 30, 0).frame["x"].tolist() == list(range(30))
    assert drawn_frame(lambda: iter([]), 5, 0).count == 0


def test_chunks_hold_what_the_whole_has(tmp_path, monkeypatch):
    monkeypatch.setattr("gaussflow.apps.tabular.frames._files.CHUNK", 3)
    (tmp_path / "t.csv").write_text("a,b\n" + "".join(f"{k},{k / 4}\n" for k in range(10)))
    reading = read_frame(str(tmp_path / "t.csv"))
    assert reading.count == 10
    assert reading.frame["a"].tolist() == list(range(10))
    assert reading.spellings["b"].kind == "number"
    assert read_frame(str(tmp_path / "t.csv"), most=4).even.sum() == 4


@pytest.mark.parametrize(("word", "sign"), [(";", ";"), ("tab", "\t"), ("|", "|")])
def test_other_signs_part_cells(at, capsys, word, sign):  # noqa: F811
    table = pandas.read_csv("table.csv", dtype=str, keep_default_na=False)
    table.to_csv("other.csv", sep=sign, index=False)
    assert main(["synth", "other.csv", "--out", "new.csv", "--delimiter", word, "--rows", "20"]) == 0
    new = pandas.read_csv("new.csv", dtype=str, keep_default_na=False, sep=sign)
    assert list(new.columns) == list(table.columns)
    assert set(new["ward"]) <= {"A, east", "B"}
    capsys.readouterr()
    assert f"--delimiter {word if word == 'tab' else repr(word)}" in fails(capsys, "synth", "other.csv", "--out", "m")


def test_numbers_with_a_few_words_are_noted(at, capsys):  # noqa: F811
    cells = [str(v) for v in np.random.default_rng(0).integers(1, 9, 60)]
    (at / "words.csv").write_text("crp\n" + "\n".join([*cells, "<0.5"]) + "\n")
    assert main(["synth", "words.csv", "--out", "new.csv"]) == 0
    assert "note: column 'crp' is taken as text" in capsys.readouterr().err


def test_parquet_in_and_a_report(at):  # noqa: F811
    pytest.importorskip("pyarrow")
    frame = pandas.DataFrame({"a": np.arange(60) % 7, "b": np.random.default_rng(0).normal(size=60)})
    frame.to_parquet("t.parquet")
    assert main(["synth", "t.parquet", "--out", "new.csv", "--report", "r.html", "--most", "40"]) == 0
    assert re.search("beside 32 real rows", (at / "r.html").read_text(encoding="utf-8"))


MISTAKES = {
    "share": (["--held-out", "1.5"], "--held-out wants a share of the rows, 0 or more and below 1; got 1.5"),
    "share of few": (["--held-out", "0.001"], "leaves 0 for the report and 240 for the fit, where two of each"),
    "target alone": (["--target", "sick"], "--target is for the report; say --report FILE too"),
    "no target": (
        ["--target", "size", "--report", "r.html"],
        "there is no column 'size' for --target; it has 'age'",
    ),
    "delimiter": (["--delimiter", "::"], "--delimiter wants one sign, or the word tab; got '::'"),
    "most": (["--most", "1"], "--most wants a number of at least 2; got 1"),
    "same file": (["--report", "m"], "m cannot be both; choose another name for --report"),
}


@pytest.mark.parametrize("name", MISTAKES)
def test_mistakes_get_one_line(at, capsys, name):  # noqa: F811
    words, wanted = MISTAKES[name]
    assert wanted in fails(capsys, "synth", "table.csv", "--out", "m", *words)
