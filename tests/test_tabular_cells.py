"""Cells as tables of the world have them: read as what they are, written as they were, refused where either may be."""

import gzip
from pathlib import Path

import pytest

from test_cli import fails

pandas = pytest.importorskip("pandas")
pytest.importorskip("sklearn")

from gaussflow.apps.tabular.frames._cells import typed  # noqa: E402
from gaussflow.cli import main  # noqa: E402

CELLS = {
    "decimal commas": (["171,3", "1,0", "-0,5"], "number", [171.3, 1.0, -0.5]),
    "decimal commas, as few as it takes": (["171,3", "2", "0,25"], "number", [171.3, 2, 0.25]),
    "points between thousands": (["17.125,73", "1.000.000,00", "3,10"], "number", [17125.73, 1e6, 3.1]),
    "commas between thousands": (["17,125.5", "1,000.0", "3.5"], "number", [17125.5, 1000, 3.5]),
    "millions": (["1,000,000", "2,345,678"], "integer", [1000000, 2345678]),
    "thousands beside hundreds": (["1,234", "5", "17", "250", "3", "999"], "integer", [1234, 5, 17, 250, 3, 999]),
    "spaces between thousands": (["1 234 567", "12 000", "9"], "integer", [1234567, 12000, 9]),
    "percent": (["34.5%", "7.0%"], "number", [34.5, 7]),
    "percent apart": (["34,5 %", "7,0 %"], "number", [34.5, 7]),
    "money": (["$1,234.50", "$3.00"], "number", [1234.5, 3]),
    "euros": (["1.234,50 €", "3,00 €"], "number", [1234.5, 3]),
    "signs": (["+1.5", "-2.0", "+0.1"], "number", [1.5, -2, 0.1]),
    "gaps as a question mark": (["1.5", "?", "2.5"], "number", [1.5, None, 2.5]),
    "gaps as a point": ([".", "3", "4"], "integer", [None, 3, 4]),
    "gaps as an error": (["#DIV/0!", "3.5", "4.5"], "number", [None, 3.5, 4.5]),
    "day first": (["31/03/2020", "01/02/2020"], "moment", ["2020-03-31", "2020-02-01"]),
    "month first": (["03/31/2020", "01/02/2020"], "moment", ["2020-03-31", "2020-01-02"]),
    "points": (["31.03.2020", "01.02.2020"], "moment", ["2020-03-31", "2020-02-01"]),
    "no zeros": (["31/3/2020", "1/12/2020"], "moment", ["2020-03-31", "2020-12-01"]),
    "no zeros and hours": (["3/31/2020 08:05", "1/2/2020 23:00"], "moment", ["2020-03-31 08:05", "2020-01-02 23:00"]),
    "months by name": (["31-Mar-2020", "01-Feb-2020"], "moment", ["2020-03-31", "2020-02-01"]),
    "slashes": (["2020/03/31", "2020/02/01"], "moment", ["2020-03-31", "2020-02-01"]),
    "milliseconds": (["2020-03-31 08:00:00.250", "2020-02-01 09:00:01.500"], "moment", None),
    "a zone": (["2020-03-31T08:00:00Z", "2020-02-01T09:30:00Z"], "moment", ["2020-03-31 08:00", "2020-02-01 09:30"]),
    "an offset": (["2020-03-31T08:00:00+02:00", "2020-02-01T09:30:00+02:00"], "moment", None),
    "dates and question marks": (["31/03/2020", "?"], "moment", ["2020-03-31", None]),
    "either of one day": (["01/01/2020", "01/01/2020"], "moment", ["2020-01-01", "2020-01-01"]),
    "times of day": (["08:15", "23:59"], "clock", None),
    "times of day without zeros": (["8:15", "23:59", "0:01"], "clock", None),
    "seconds": (["08:15:00", "23:59:59"], "clock", None),
    "results": (["+", "-", "?"], "text", ["+", "-", "?"]),
    "codes": (["007", "12"], "text", ["007", "12"]),
    "either of day and month": (["01/02/2020", "03/04/2020"], "text", None),
    "either of decimals and thousands": (["1,234", "5,678"], "text", None),
    "two zones": (["2020-03-31T08:00:00+01:00", "2020-02-01T09:30:00+02:00"], "text", None),
    "names with numbers": (["P12", "P7"], "text", None),
    "hours beyond a day": (["08:15", "25:00"], "text", None),
    "words for nothing alone": (["?", "-"], "text", None),
}


@pytest.mark.parametrize("name", CELLS)
def test_cells_are_read_and_come_back(name):
    cells, kind, values = CELLS[name]
    column, spelling = typed(pandas.Series(cells, dtype=str))
    assert spelling.kind == kind
    assert spelling.cells(column) == cells
    if values is not None:
        wanted = pandas.Series(values, dtype="datetime64[s]" if kind == "moment" else None)
        assert [None if gap else value for value, gap in zip(column, column.isna(), strict=True)] == [
            None if gap else value for value, gap in zip(wanted, wanted.isna(), strict=True)
        ]


@pytest.mark.parametrize(("decimal", "values"), [(",", [1.234, 5.678]), (".", [1234, 5678])])
def test_the_sign_of_decimals_may_be_told(decimal, values):
    column, spelling = typed(pandas.Series(["1,234", "5,678"], dtype=str), decimal)
    assert list(column) == values
    assert spelling.cells(column) == ["1,234", "5,678"]


def test_digits_that_were_drawn_are_written_in_the_same_way():
    _, spelling = typed(pandas.Series(["1.234,50 €", "3,00 €"], dtype=str))
    assert spelling.cells(pandas.Series([1234567.5, -0.25])) == ["1.234.567,50 €", "-0,25 €"]
    _, spelling = typed(pandas.Series(["3/31/2020", "11/2/2020"], dtype=str))
    assert spelling.cells(pandas.Series(pandas.to_datetime(["2021-01-09"]))) == ["1/9/2021"]


def test_a_table_of_another_country_comes_back(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    lines = [f"{k % 28 + 1:02d}.{k % 12 + 1:02d}.2020;{40 + k % 30},{k % 10};{k % 7:02d}:30" for k in range(60)]
    text = "day;weight;hour\r\n" + "\r\n".join(lines) + "\r\n"
    Path("t.csv.gz").write_bytes(gzip.compress(b"\xef\xbb\xbf" + text.encode()))
    words = ["--given", "day=01.06.2020..", "--given", "weight=..65,5", "--given", "hour=01:30..05:30"]
    assert main(["synth", "t.csv.gz", "--out", "new.csv.gz", "--delimiter", ";", *words]) == 0
    assert capsys.readouterr().err == ""
    new = pandas.read_csv("new.csv.gz", sep=";", decimal=",")
    assert len(new) == 60
    assert pandas.to_datetime(new["day"], format="%d.%m.%Y").min() >= pandas.Timestamp("2020-06-01")
    assert new["weight"].max() <= 65.5
    assert new["hour"].between("01:30", "05:30").all()


def test_dates_with_two_readings_are_named(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    Path("t.csv").write_text("day,b\n" + "".join(f"0{k % 3 + 1}/0{k % 4 + 1}/2020,{k % 2}\n" for k in range(60)))
    assert main(["synth", "t.csv", "--out", "new.csv"]) == 0
    assert "'01/01/2020', may begin with the day or with the month" in capsys.readouterr().err
    Path("t.csv").write_text('a,b\n"1,500",2\n"2,250",3\n' * 1)
    assert "which may be decimals or thousands" in fails(capsys, "synth", "t.csv", "--out", "m")
    assert main(["synth", "t.csv", "--out", "m", "--decimal", ","]) == 0
