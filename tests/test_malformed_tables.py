"""Files and frames that are no tables: a sentence says what came and what to do, and the guide has it."""

from pathlib import Path

import numpy as np
import pytest

from tables import patients
from test_cli import fails

pd = pytest.importorskip("pandas")
pytest.importorskip("sklearn")

from gaussflow.apps.tabular import TableSynthesizer  # noqa: E402

GUIDE = Path(__file__).parent.parent / "docs" / "guides" / "tables.md"
ROWS = "a,b\n1,2\n3,4\n"

FILES = {
    "an empty file": (b"", "the file is empty"),
    "names and no rows": (b"a,b\n", "a first line with names, but no rows"),
    "no line of names": (
        b"1,2\n3,4\n5,6\n",
        "the first line holds numbers, '1', '2', where names of columns are wanted",
    ),
    "a name twice": (b"a,b,a\n1,2,3\n4,5,6\n", "'a' comes more than once"),
    "a column without a name": (b"a,,b\n1,2,3\n4,5,6\n", "column 2 has no name"),
    "a line too long": (b"a,b\n1,2\n1,2,3\n", "line 3 has 3 cells, the first line 2; mend the line, or quote text"),
    "a line too short": (b"a,b\n1,2\n1\n", "line 3 has 1 cells, the first line 2"),
    "a quote left open": (b'a,b\n1,"x\n2,y\n3,z\n', "a quote opened after line 1 is never closed; close it"),
    "a quote closed late": (b'a,b\n1,"x\n2,y"\n3,z,"\n,"\n', "a quote opened in line 4 is closed in line 5 only"),
    "semicolons": (b"a;b\n1;2\n3;4\n", "If semicolons part them, say --delimiter ';'"),
    "commas in numbers": (
        b'a,b\n"1,500",2\n"2,250",3\n',
        "with a comma before three digits, as '1,500', which may be decimals or thousands; say --decimal",
    ),
    "a line for Excel": (b"sep=;\na;b\n1;2\n", "the first line, 'sep=;', is for Excel alone; take it out"),
    "row numbers": (b",a\n0,1\n1,2\n", "column 1 has no name; give it one in the first line. Where it holds row"),
    "another encoding": ("a,b\nMüller,2\nx,3\n".encode("latin-1"), "not a table in UTF-8 text"),
    "UTF-16": ("a,b\n1,2\n3,4\n".encode("utf-16"), "text in UTF-16; save it as CSV in UTF-8"),
    "an Excel file": (b"PK\x03\x04rest of a workbook", "an Excel or zip file; open it and save the sheet as CSV"),
    "a damaged archive": (b"\x1f\x8b\x08\x00rest", "compressed by gzip, and damaged"),
    "Parquet named CSV": (b"PAR1rest", "a Parquet file; give its name the ending .parquet"),
    "an infinite number": (b"a,b\n1,2\ninf,3\n", "wants finite numbers or missing ones; got inf in row 1"),
    "one row": (b"a,b\n1,2\n", "wants at least 2 rows; got 1"),
}


@pytest.mark.parametrize("name", FILES)
def test_a_file_is_refused_in_a_sentence(name, tmp_path, monkeypatch, capsys):
    content, says = FILES[name]
    monkeypatch.chdir(tmp_path)
    Path("table.csv").write_bytes(content)
    said = fails(capsys, "synth", "table.csv", "--out", "new.csv")
    assert says in said
    assert said.startswith("gaussflow: table.csv: ")
    assert not Path("new.csv").exists()


def test_a_file_with_a_mark_at_its_start_is_read(tmp_path, monkeypatch):
    from gaussflow.apps.tabular.frames._files import read_frame

    (tmp_path / "t.csv").write_bytes(b"\xef\xbb\xbf" + ROWS.encode())
    assert list(read_frame(str(tmp_path / "t.csv")).frame.columns) == ["a", "b"]


def two(**columns):
    return pd.DataFrame({"a": [1, 2, 3], **columns})


FRAMES = {
    "no frame": (lambda: np.ones((3, 2)), "takes a pandas.DataFrame; got ndarray. Wrap it: pd.DataFrame(rows)"),
    "no columns": (lambda: pd.DataFrame(index=range(3)), "wants a frame with columns; got one without"),
    "a column twice": (lambda: pd.DataFrame([[1, 2], [3, 4]], columns=["a", "a"]), "got 'a' more than once"),
    "levels of names": (
        lambda: pd.DataFrame([[1, 2], [3, 4]], columns=pd.MultiIndex.from_tuples([("a", "b"), ("a", "c")])),
        "takes columns of one name each; got levels of names",
    ),
    "a name that is a number": (lambda: two().rename(columns={"a": 0.5}), "named by text or integers; got 0.5"),
    "lists in cells": (lambda: two(b=[[1], [2], [3]]), "got [1] of list among the objects of column 'b'"),
    "text among numbers": (lambda: two(b=["x", 1, "y"]), "got 1 of int among the objects of column 'b'"),
    "complex numbers": (lambda: two(b=[1j, 2j, 3j]), "got column 'b' of complex128. Convert it with df.astype"),
    "periods": (
        lambda: two(b=pd.period_range("2020", periods=3, freq="D")),
        "got column 'b' of period[D]. Convert it with .dt.to_timestamp(), or drop it",
    ),
    "an infinity": (lambda: two(b=[1.5, np.inf, 2.5]), "got inf in row 1 of column 'b'"),
    "categories that are tuples": (
        lambda: two(b=pd.Series([(1, 2), (3, 4), (1, 2)]).astype("category")),
        "takes categories that are text, numbers or booleans; got (1, 2)",
    ),
}


@pytest.mark.parametrize("name", FRAMES)
def test_a_frame_is_refused_in_a_sentence(name):
    make, says = FRAMES[name]
    with pytest.raises((TypeError, ValueError)) as found:
        TableSynthesizer().fit(make())
    assert says in str(found.value)
    assert str(found.value).startswith("TableSynthesizer.fit ")


LATER = {
    "a column less": (lambda df: df.drop(columns="area"), "lacks 'area', which the fit saw"),
    "a column more": (lambda df: df.assign(b=1), "got 'b', which the fit did not see"),
    "another dtype": (
        lambda df: df.astype({"area": float}),
        "wants column 'area' of int64, as in the fit; got float64",
    ),
    "an unknown category": (
        lambda df: df.assign(**{"class": pd.Series(["odd"] * len(df), dtype="category")}),
        "knows the categories 'benign', 'malignant' of column 'class'; got 'odd'",
    ),
}


@pytest.fixture(scope="module")
def model():
    return TableSynthesizer().fit(patients(n=60))


@pytest.mark.parametrize("name", LATER)
def test_a_frame_unlike_that_of_the_fit_is_refused(name, model):
    make, says = LATER[name]
    with pytest.raises((TypeError, ValueError)) as found:
        model.log_prob(make(patients(n=9)))
    assert says in str(found.value)


def test_the_guide_has_each_with_its_message():
    lines = GUIDE.read_text(encoding="utf-8").splitlines()
    for name, (_, says) in (FILES | FRAMES | LATER).items():
        line = next((line for line in lines if line.startswith(f"| {name} |")), "")
        assert says.strip().replace("<", "&lt;") in line, f"| {name} | `… {says} …` |"
