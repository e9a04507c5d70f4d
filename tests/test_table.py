"""Tables in text files: what is read, what is refused, and what each refusal says."""

import math
import os
import re
from pathlib import Path

import pytest
import torch

from gaussflow._files import whole
from gaussflow.apps.table import check_columns, read_table, remarks, write_table

# name: text of the file, keyword arguments, what the message must say (the place, and the remedy)
BAD = {
    "empty file": ("", {}, ["is empty"]),
    "blank lines only": ("\n\n\n", {}, ["is empty"]),
    "no rows": ("a,b\n", {}, ["no rows below the header"]),
    "missing value": ("a,b\n1,2\n3,\n,\n", {}, ["2 of 3 rows", "line 3, column 'b'", "--drop-missing"]),
    "missing value, word": ("a,b\nNA,2\n3,4\n", {}, ["1 of 2 rows", "line 2, column 'a'", "--drop-missing"]),
    "missing everywhere": ("a,b\n1,\n,2\n", {"drop_missing": True}, ["every row has a missing value", "--drop NAME"]),
    "column without numbers": ("a,b\n1,\n2,\n", {}, ["column 'b' holds no numbers at all", "--drop b"]),
    "text column": ("a,kind\n1,cat\n2,dog\n", {}, ["column 'kind' holds text", "'cat' in line 2", "--drop kind"]),
    "text columns": (
        "a b,kind\nx,cat\n2,dog\n",
        {},
        ["columns 'a b', 'kind'", "'x' in line 2", "--drop 'a b' --drop kind"],
    ),
    "one text cell": ("a,b\n1,2\n1,2\n1,2x\n", {}, ["column 'b'", "'2x' in line 4"]),
    "date": ("a,day\n1,2026-01-01\n", {}, ["column 'day'", "'2026-01-01'"]),
    "two text columns": ("a,b,c\n1,x,y\n2,x,y\n", {}, ["columns 'b', 'c' hold text", "--drop b --drop c"]),
    "truth values": ("a,b\n1,True\n0,False\n", {}, ["column 'b' holds text", "'True'", "write it as numbers"]),
    "underscore is no number": ("a,id\n1,12_3\n", {}, ["column 'id'", "'12_3'"]),
    "thousands": ('a,b\n1,"1,234.5"\n', {}, ["column 'b'", "without separators of thousands"]),
    "thousands, decimal comma": (
        "a;b\n1;1.234\n",
        {"delimiter": ";", "decimal": ","},
        ["without separators of thousands"],
    ),
    "decimal comma": ("a;b\n1,5;2\n", {"delimiter": ";"}, ["'1,5' in line 2", "--decimal ,"]),
    "semicolons": ("a;b\n1;2\n3;4\n", {}, ["line 2 is one cell, '1;2'", "--delimiter ';'"]),
    "semicolons and decimal commas": ("a;b\n1,5;2,5\n", {}, ["line 2 has 3 cells", "--delimiter ';'"]),
    "tabs": ("a\tb\n1\t2\n", {}, ["line 2 is one cell", "--delimiter tab"]),
    "commas, semicolon asked for": ("a,b\n1,2\n", {"delimiter": ";"}, ["line 2 is one cell", "--delimiter ','"]),
    "bad delimiter": ("a,b\n1,2\n", {"delimiter": "::"}, ["one character"]),
    "delimiter is the decimal sign": ("a,b\n1,2\n", {"decimal": ","}, ["other than the decimal sign"]),
    "duplicate headers": ("a,b,a\n1,2,3\n", {}, ["'a' more than once", "columns 1, 3", "rename"]),
    "no header": ("1,3\n3,4\n", {}, ["first line, 1, 3, holds numbers", "--no-header"]),
    "nameless column": (",a\n0,1\n1,2\n", {}, ["column 1 has no name", "--drop ''"]),
    "cells too many": ("a,b\n1,2\n1,2,3\n", {}, ["line 3 has 3 cells where the first line has 2"]),
    "cells too few": ("a,b\n1,2\n1\n", {}, ["line 3 has 1 cells"]),
    "infinity": ("a,b\n1,2\n1,inf\n", {}, ["column 'b' holds an infinite number in line 3"]),
    "overflow": ("a,b\n1,2\n1,1e999\n", {}, ["column 'b' holds an infinite number in line 3"]),
    "unknown column to drop": ("a,b\n1,2\n", {"drop": ["c"]}, ["no column 'c' to drop", "columns 'a', 'b'"]),
    "all dropped": ("a,b\n1,2\n", {"drop": ["a", "b"]}, ["keep at least one"]),
    "open quote": ('a,b\n"1,2\n3,4\n', {}, ["line 3 has 1 cells"]),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_tables_say_where_and_what_to_do(name, tmp_path):
    text, options, wanted = BAD[name]
    path = tmp_path / "table.csv"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(ValueError, match=re.escape(wanted[0])) as caught:
        read_table(path, **options)
    message = str(caught.value)
    assert [part for part in wanted if part not in message] == [], message
    assert "\n" not in message


@pytest.mark.parametrize(
    "data", ["é,b\n1,2\n".encode("latin-1"), "a,b\n1,2\n".encode("utf-16"), b"PK\x03\x04\xff\xfe\x80"]
)
def test_other_encodings_and_binary_files_are_refused(data, tmp_path):
    path = tmp_path / "table.csv"
    path.write_bytes(data)
    with pytest.raises(ValueError, match="not a table in UTF-8 text"):
        read_table(path)


GOOD = {
    "plain": ("a,b\n1,2\n3,4\n", {}),
    "no newline at the end": ("a,b\n1,2\n3,4", {}),
    "windows lines": ("a,b\r\n1,2\r\n3,4\r\n", {}),
    "byte order mark": ("\ufeffa,b\n1,2\n3,4\n", {}),
    "quotes": ('"a","b"\n"1",2\n3,"4"\n', {}),
    "spaces": (" a , b\n 1, 2\n3 ,4 \n", {}),
    "blank lines": ("\na,b\n\n1,2\n\n3,4\n\n", {}),
    "exponents and signs": ("a,b\n+1e0,.2e1\n3.,4\n", {}),
    "tabs": ("a\tb\n1\t2\n3\t4\n", {"delimiter": "tab"}),
    "decimal comma": ("a;b\n1,0;2\n3,00;4\n", {"delimiter": ";", "decimal": ","}),
    "text dropped": ("a,kind,b\n1,cat,2\n3,dog,4\n", {"drop": ["kind"]}),
    "nameless dropped": (",a,b\n0,1,2\n1,3,4\n", {"drop": [""]}),
    "ignored where there": ("a,id,b\n1,x,2\n3,y,4\n", {"ignore": ["id", "elsewhere"]}),
    "missing dropped": ("a,b\n1,2\n,9\nNaN,9\n3,4\n9,?\n", {"drop_missing": True}),
}


@pytest.mark.parametrize("name", GOOD)
def test_good_tables_are_read(name, tmp_path):
    text, options = GOOD[name]
    path = tmp_path / "table.csv"
    path.write_bytes(text.encode())
    table = read_table(path, **options)
    assert table.names == ("a", "b")
    assert table.values.tolist() == [[1.0, 2.0], [3.0, 4.0]]
    assert table.values.dtype == torch.float64


def test_one_column_may_have_a_space_in_its_name(tmp_path):
    path = tmp_path / "table.csv"
    path.write_text("body mass\n1\n2\n")
    assert read_table(path).names == ("body mass",)


@pytest.mark.parametrize("header", ["0,1,2", "1,2,3"])
def test_numbered_columns_are_names(header, tmp_path):
    path = tmp_path / "table.csv"
    path.write_text(f"{header}\n5,6,7\n")
    table = read_table(path)
    assert list(table.names) == header.split(",")
    assert table.values.tolist() == [[5.0, 6.0, 7.0]]


def test_without_header_the_first_line_counts(tmp_path):
    path = tmp_path / "table.csv"
    path.write_text("1,2\n3,4\n")
    table = read_table(path, header=False)
    assert table.names == ("column1", "column2")
    assert table.values.shape == (2, 2)


def test_places_of_rows_survive_dropping(tmp_path):
    path = tmp_path / "table.csv"
    path.write_text("a,b\n1,2\n,9\n3,4\n")
    table = read_table(path, drop_missing=True)
    assert table.rows.tolist() == [0, 2]
    assert table.total == 3


def test_columns_are_found_by_name(tmp_path):
    path = tmp_path / "table.csv"
    path.write_text("a,b,c\n1,2,3\n")
    table = read_table(path)
    assert table.columns(["c", "a", "b"]).values.tolist() == [[3.0, 1.0, 2.0]]
    with pytest.raises(ValueError, match=r"lacks column 'd'.*'a', 'b', 'c'"):
        table.columns(["a", "b", "c", "d"])
    with pytest.raises(ValueError, match=r"column 'c', which the model was not fitted with.*--drop c"):
        table.columns(["a", "b"])


def _table(tmp_path, columns):
    path = tmp_path / "table.csv"
    write_table(path, list(columns), zip(*columns.values(), strict=True))
    return read_table(path)


def test_tables_without_a_density_are_refused(tmp_path):
    with pytest.raises(ValueError, match="many rows; the table has 1"):
        check_columns(_table(tmp_path, {"a": [1.0], "b": [2.0]}))
    with pytest.raises(ValueError, match=r"column 'b' never changes.*7.*--drop b"):
        check_columns(_table(tmp_path, {"a": [1.0, 2.0, 3.0], "b": [7.0, 7.0, 7.0]}))
    check_columns(_table(tmp_path, {"a": [1.0, 2.0], "b": [2.0, 3.0]}))


def test_remarks_name_ties_and_linear_rules(tmp_path):
    x = torch.randn(200, 3, generator=torch.Generator().manual_seed(0)).double()
    plain = {name: column.tolist() for name, column in zip("abc", x.T, strict=True)}
    assert remarks(_table(tmp_path, plain)) == []
    (tied,) = remarks(_table(tmp_path, plain | {"b": [float(v > 1) for v in plain["b"]]}))
    assert "'b' (" in tied
    assert "'a'" not in tied
    (linear,) = remarks(_table(tmp_path, plain | {"sum": (x[:, 0] * 1e3 + x[:, 2]).tolist()}))
    assert "'sum'" in linear
    assert "'b'" not in linear


def test_written_tables_come_back(tmp_path):
    path = tmp_path / "table.csv"
    x = torch.randn(5, 2, dtype=torch.float64) * 1e6
    write_table(path, ["a", 'b "quoted", c'], x.tolist())
    table = read_table(path)
    assert table.names == ("a", 'b "quoted", c')
    torch.testing.assert_close(table.values, x, rtol=1e-9, atol=0)


def test_a_failed_write_leaves_what_was_there(tmp_path):
    path = tmp_path / "table.csv"
    path.write_text("before")

    def rows():
        yield [1.0]
        raise RuntimeError("midway")

    with pytest.raises(RuntimeError, match="midway"):
        write_table(path, ["a"], rows())
    assert path.read_text() == "before"
    assert os.listdir(tmp_path) == ["table.csv"]
    with whole(path) as file:
        file.write("after")
        assert path.read_text() == "before"
    assert path.read_text() == "after"


def test_empty_cells_for_rows_without_a_score(tmp_path):
    path = tmp_path / "scores.csv"
    write_table(path, ["log_density"], [[""], ["1.5"], [math.pi]])
    assert Path(path).read_text() == 'log_density\n""\n1.5\n3.141592654\n'
