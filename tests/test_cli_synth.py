"""`gaussflow synth`: a table comes back as it was written, conditions hold, and each mistake gets one line."""

import re
import sys

import numpy as np
import pytest

from gaussflow.cli import main
from test_cli import fails

pandas = pytest.importorskip("pandas")
pytest.importorskip("sklearn")

from gaussflow.apps.tabular import TableSynthesizer  # noqa: E402

NAMES = "age,visits,sick,day,ward,code,weight,seen,empty"


def lines(count=240, seed=0):
    """Integers, integers with gaps, text, dates, text with commas, codes, decimals, booleans with gaps, nothing."""
    random = np.random.default_rng(seed)
    for _ in range(count):
        age = random.integers(20, 90)
        yield ",".join(
            [
                str(age),
                "NA" if random.random() < 0.2 else str(random.poisson(age / 20)),
                "yes" if age > 60 else "no",
                str(np.datetime64("2020-01-01") + random.integers(0, 300)),
                random.choice(['"A, east"', "B"]),
                random.choice(["007", "012"]),
                f"{60 + 9 * random.normal():.2f}",
                "" if random.random() < 0.2 else random.choice(["TRUE", "FALSE"]),
                "",
            ]
        )


@pytest.fixture
def at(tmp_path, monkeypatch):
    """Work in a folder with a table."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "table.csv").write_text("\n".join([NAMES, *lines()]) + "\n")
    return tmp_path


def read(path):
    return pandas.read_csv(path, dtype=str, keep_default_na=False)


def test_cells_come_back_as_they_were_written(at, capsys):
    assert main(["synth", "table.csv", "--out", "new.csv", "--rows", "300"]) == 0
    table, new = read("table.csv"), read("new.csv")
    assert list(new.columns) == NAMES.split(",")
    assert len(new) == 300
    shapes = {"age": r"\d\d", "visits": r"NA|\d+", "day": r"2020-\d\d-\d\d", "weight": r"\d+\.\d\d", "empty": ""}
    for name, shape in shapes.items():
        assert all(re.fullmatch(shape, cell) for cell in new[name]), name
    for name in ("sick", "ward", "code", "seen"):
        assert set(new[name]) == set(table[name]), name
    for name in ("age", "day"):
        assert new[name].min() >= table[name].min()
        assert new[name].max() <= table[name].max()
    assert abs((new["visits"] == "NA").mean() - 0.2) < 0.12
    assert (new["age"].astype(int) > 60).eq(new["sick"] == "yes").mean() > 0.75  # columns on their own: 0.5
    said = capsys.readouterr().out
    found = re.fullmatch(
        r"wrote 300 rows of 9 columns to new.csv in \d+\.\d s; "
        r"mean log-probability of the 240 rows of table.csv (-\d+\.\d{4}) nats\n",
        said,
    )
    assert found
    assert -60 < float(found.group(1)) < 0


def test_rows_are_as_many_as_the_table_has_and_follow_the_seed(at):
    for name, seed in (("one", "1"), ("again", "1"), ("two", "2")):
        assert main(["synth", "table.csv", "--out", f"{name}.csv", "--seed", seed]) == 0
    one, again, two = ((at / f"{name}.csv").read_bytes() for name in ("one", "again", "two"))
    assert one == again != two
    assert len(read("one.csv")) == 240
    assert one != (at / "table.csv").read_bytes()


def test_what_is_given_holds(at):
    given = [
        "age=65..70",
        "sick=yes",
        "day=2020-03-01..2020-06-30",
        "ward=A, east",
        "visits=",
        "seen=TRUE",
        "weight=..62",
    ]
    words = [word for text in given for word in ("--given", text)]
    assert main(["synth", "table.csv", "--out", "new.csv", "--rows", "50", *words]) == 0
    new = read("new.csv")
    assert len(new) == 50
    assert new["age"].astype(int).between(65, 70).all()
    assert new["day"].between("2020-03-01", "2020-06-30").all()
    assert (new["weight"].astype(float) <= 62).all()
    for name, value in {"sick": "yes", "ward": "A, east", "visits": "NA", "seen": "TRUE"}.items():
        assert set(new[name]) == {value}, name


def test_the_model_saved_draws_the_same_rows(at):
    assert main(["synth", "table.csv", "--out", "new.csv", "--save", "law", "--seed", "3", "--drop", "empty"]) == 0
    drawn, new = TableSynthesizer.load("law").sample(240), read("new.csv")
    assert "empty" not in new
    assert drawn["age"].astype(str).tolist() == new["age"].tolist()
    assert [f"{value:.2f}" for value in drawn["weight"]] == new["weight"].tolist()


@pytest.mark.parametrize(
    "cells",
    [
        ["true", "false", "true"],
        ["1", "2.5", "-3"],
        ["1.0", "2.25", "-3.5"],
        ["0.10", "2.25", ".50"],
        ["-12", "NULL", "999999999999999999"],
        ["2020-02-29 10:30", "", "1999-12-31 23:59"],
        ["2020-02-29T10:30:05", "2021-01-01T00:00:00"],
        ["2020-02-30", "2020-01-01"],
        ["0012", "7"],
        ["99999999999999999999", "1"],
        ["nan", "nan"],
        [" a", "a ", ""],
        ["1e-7", "2e5"],
    ],
)
def test_any_spelling_comes_back(cells):
    from gaussflow.apps.tabular.frames._cells import typed

    column, spelling = typed(pandas.Series(cells, dtype=str))
    back = spelling.cells(column)
    if "e" in cells[0] and spelling.kind == "number":
        assert list(map(float, back)) == list(map(float, cells))
    else:
        assert back == [cell.replace("-.", "-0.") if cell[:1] != "." else f"0{cell}" for cell in cells]


def test_kinds_are_those_of_the_cells():
    from gaussflow.apps.tabular.frames._cells import typed

    kinds = {
        "boolean": ["true", "false"],
        "integer": ["1", "NA"],
        "number": ["1", "2.5"],
        "moment": ["2020-02-29", "2021-01-01"],
        "text": ["007", "12"],
    }
    for kind, cells in kinds.items():
        assert typed(pandas.Series(cells, dtype=str))[1].kind == kind


def test_names_and_record_numbers_are_made_anew(at, capsys):
    (at / "names.csv").write_text("name,nr,b\n" + "".join(f"n{i},{i},{i % 4}\n" for i in range(40)))
    assert main(["synth", "names.csv", "--out", "new.csv"]) == 0
    said = capsys.readouterr().err
    assert "note: column 'name' is taken for an identifier or free text: 40 of its 40 values" in said
    assert "column 'nr' seems to be an identifier" in said
    assert "Say --identifier nr for new ones" in said
    assert main(["synth", "names.csv", "--out", "b.csv", "--identifier", "name", "--identifier", "nr"]) == 0
    assert capsys.readouterr().err == ""
    new = read("b.csv")
    assert list(new["name"]) == [f"synthetic-{i}" for i in range(1, 41)]
    assert list(new["nr"]) == [str(i) for i in range(100, 140)]


def test_inputs_stay_and_outputs_are_not_overwritten_unasked(at, capsys):
    before = (at / "table.csv").read_bytes()
    (at / "kept").write_text("kept")
    assert "is an input" in fails(capsys, "synth", "table.csv", "--out", "./table.csv", "--force")
    assert "is an input" in fails(capsys, "synth", "table.csv", "--out", "m", "--save", "table.csv", "--force")
    assert "kept exists" in fails(capsys, "synth", "table.csv", "--out", "kept")
    assert "kept exists" in fails(capsys, "synth", "table.csv", "--out", "m", "--save", "kept")
    assert "both" in fails(capsys, "synth", "table.csv", "--out", "m", "--save", "./m")
    assert ((at / "table.csv").read_bytes(), (at / "kept").read_text()) == (before, "kept")
    assert main(["synth", "table.csv", "--out", "kept", "--rows", "3", "--force"]) == 0
    assert len(read("kept")) == 3


def test_nothing_is_left_of_a_write_that_fails(at, capsys, monkeypatch):
    def full(*args, **kwargs):
        args[1].write("age")
        raise OSError(28, "No space left on device", "m")

    monkeypatch.setattr(pandas.DataFrame, "to_csv", full)
    assert "No space left" in fails(capsys, "synth", "table.csv", "--out", "m")
    assert sorted(path.name for path in at.iterdir()) == ["table.csv"]


MISTAKES = {
    "no such file": (["absent.csv"], "absent.csv: No such file"),
    "empty": (["empty.csv"], "empty.csv: the file is empty"),
    "no rows": (["none.csv"], "none.csv: the table has a first line with names, but no rows"),
    "one row": (["one.csv"], "one.csv: synth wants at least 2 rows; got 1"),
    "twice": (["twice.csv"], "'a' comes more than once"),
    "no name": (["unnamed.csv"], "column 2 has no name"),
    "too many cells": (["long.csv"], "long.csv: line 3 has 3 cells, the first line 2"),
    "too few cells": (["short.csv"], "short.csv: line 3 has 1 cells, the first line 2"),
    "semicolons": (["semicolons.csv"], "only commas part cells"),
    "no text": (["bytes.csv"], "not a table in UTF-8 text"),
    "identifier unknown": (["table.csv", "--identifier", "size"], "told that 'size' are identifiers; its columns are"),
    "infinite": (["infinite.csv"], "synth wants finite numbers"),
    "drop unknown": (["table.csv", "--drop", "size"], "no column 'size' to drop"),
    "no rows wanted": (["table.csv", "--rows", "0"], "--rows wants a number of at least 1; got 0"),
    "negative seed": (["table.csv", "--seed", "-1"], "--seed wants a number of at least 0"),
    "given without sign": (
        ["table.csv", "--given", "age"],
        "--given wants COLUMN=VALUE or COLUMN=LOW..HIGH; got 'age'",
    ),
    "given unknown": (["table.csv", "--given", "size=3"], "there is no column 'size'; the table has 'age'"),
    "given text": (["table.csv", "--given", "age=old"], "the column holds numbers; 'old' is none"),
    "given twice": (["table.csv", "--given", "age=30", "--given", "age=31"], "names column 'age' twice"),
    "given no ends": (["table.csv", "--given", "age=.."], "wants one end at least"),
    "given backwards": (["table.csv", "--given", "age=50..40"], "the interval is empty"),
    "given no boolean": (["table.csv", "--given", "seen=maybe"], "the column holds FALSE and TRUE; got 'maybe'"),
    "given no category": (["table.csv", "--given", "sick=maybe"], "knows the categories 'no', 'yes' of column 'sick'"),
    "given no date": (["table.csv", "--given", "day=May"], "the column holds dates; write 'May' as YYYY-MM-DD"),
    "given never missing": (["table.csv", "--given", "age="], "cannot leave column 'age' missing"),
    "given beyond": (["table.csv", "--given", "age=300"], "synth cannot draw rows with 'age' of 300: the fit saw"),
    "given between": (["table.csv", "--given", "age=300..400"], "'age' from 300 to 400: the fit saw"),
}


@pytest.mark.parametrize("name", MISTAKES)
def test_mistakes_get_one_line(at, name, capsys):
    words, wanted = MISTAKES[name]
    tables = {
        "empty": "",
        "none": "a,b\n",
        "one": "a,b\n1,2\n",
        "twice": "a,b,a\n1,2,3\n",
        "unnamed": "a,,b\n1,2,3\n",
        "long": "a,b\n1,2\n1,2,3\n",
        "short": "a,b\n1,2\n1\n",
        "semicolons": "a;b\n1;2\n",
        "infinite": "a,b\n1,2\ninf,3\n",
    }
    for stem, text in tables.items():
        (at / f"{stem}.csv").write_text(text)
    (at / "bytes.csv").write_bytes(b"a,b\n\xff\xfe,2\n")
    assert wanted in fails(capsys, "synth", *words, "--out", "m")
    assert not (at / "m").exists()


def test_a_missing_package_is_named(at, capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    assert "pip install pyarrow" in fails(capsys, "synth", "table.csv", "--out", "m.parquet")
    assert "pip install pyarrow" in fails(capsys, "synth", "m.parquet", "--out", "m")
    monkeypatch.setitem(sys.modules, "pandas", None)
    assert "pip install 'gaussflow[tabular]'" in fails(capsys, "synth", "table.csv", "--out", "m")


def test_parquet_keeps_the_types(at):
    pytest.importorskip("pyarrow")
    assert main(["synth", "table.csv", "--out", "new.parquet", "--drop", "empty"]) == 0
    first = pandas.read_parquet("new.parquet")
    assert str(first["visits"].dtype) == "Int64"
    assert main(["synth", "new.parquet", "--out", "more.parquet", "--rows", "20", "--given", "sick=yes"]) == 0
    more = pandas.read_parquet("more.parquet")
    assert (more.dtypes == first.dtypes).all()
    assert set(more["sick"]) == {"yes"}
