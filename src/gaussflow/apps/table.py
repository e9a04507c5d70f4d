"""Numeric tables in text files: read with every problem named, written whole or not at all.

Nothing beyond the standard library is used, so that a plain install scores a table. Remedies are named as the command
line names them; the keyword arguments of `read_table` bear the same names.
"""

from __future__ import annotations

import csv
import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from gaussflow._files import whole
from gaussflow.apps._cells import Cells, header_names, kept_columns, leave_out, listed, short

TIES = 0.05  # a value that holds this share of the rows can be seen by a marginal of a few dozen knots


@dataclass(frozen=True)
class Table:
    """A table of numbers.

    Attributes
    ----------
    names
        The D names of the columns.
    values
        The numbers, float64, shape (N, D).
    rows
        Where each row stood in the file, counted from 0 below the header, shape (N,).
    total
        Number of rows of the file, those left out included.

    Examples
    --------
    >>> import torch
    >>> from gaussflow.apps.table import Table
    >>> table = Table(("a", "b"), torch.randn(5, 2), torch.arange(5), total=5)
    >>> table.columns(["b", "a"]).values.shape
    torch.Size([5, 2])
    """

    names: tuple[str, ...]
    values: Tensor
    rows: Tensor
    total: int

    def columns(self, names: Sequence[str]) -> Table:
        """The table with these columns in this order.

        Raises
        ------
        ValueError
            When it lacks one of them or has another beside them.
        """
        if absent := [name for name in names if name not in self.names]:
            raise ValueError(
                f"it lacks {listed(absent)}, which the model was fitted with; it has {listed(self.names)}."
            )
        if extra := [name for name in self.names if name not in names]:
            raise ValueError(f"it has {listed(extra)}, which the model was not fitted with; {leave_out(extra)}.")
        index = [self.names.index(name) for name in names]
        return Table(tuple(names), self.values[:, index], self.rows, self.total)


def read_table(
    path: str | os.PathLike[str],
    *,
    delimiter: str = ",",
    decimal: str = ".",
    header: bool = True,
    drop: Sequence[str] = (),
    ignore: Sequence[str] = (),
    drop_missing: bool = False,
) -> Table:
    """Read a table of numbers from a text file (UTF-8, one row a line, quotes as CSV has them).

    Parameters
    ----------
    path
        The file.
    delimiter
        The character between two cells; ``"tab"`` is understood.
    decimal
        The decimal sign of its numbers, ``"."`` or ``","``.
    header
        Whether the first line holds the names; without, the columns are called column1, column2, ...
    drop
        Names of columns to leave out; each must be there.
    ignore
        Names of columns to leave out where they are there.
    drop_missing
        Leave out rows with a missing value instead of refusing them.

    Raises
    ------
    ValueError
        For whatever keeps the file from being a table of numbers; the message names line and column and a remedy.
    OSError
        When the file cannot be read.

    Examples
    --------
    >>> from pathlib import Path
    >>> from tempfile import TemporaryDirectory
    >>> with TemporaryDirectory() as folder:
    ...     path = Path(folder, "a.csv")
    ...     _ = path.write_text("height,weight\\n1.8,75\\n1.7,60\\n")
    ...     table = read_table(path)
    >>> table.names, table.values.shape
    (('height', 'weight'), torch.Size([2, 2]))
    """
    delimiter = {"tab": "\t", "\\t": "\t"}.get(delimiter, delimiter)
    if len(delimiter) != 1 or decimal not in (".", ",") or decimal == delimiter:
        raise ValueError(
            f"a delimiter is one character (or tab) other than the decimal sign; got {delimiter!r}, {decimal!r}."
        )
    try:
        with open(path, encoding="utf-8-sig", newline="") as file:
            lines = csv.reader(file, delimiter=delimiter)
            first = next((cells for cells in lines if cells), None)
            if first is None:
                raise ValueError("the file is empty.")
            names = header_names(first, header)
            cells = Cells(names, kept_columns(names, drop, ignore), decimal)
            if not header:
                cells.add(first, lines.line_num)
            for line in lines:
                if line:
                    cells.add(line, lines.line_num)
    except (UnicodeDecodeError, csv.Error) as error:
        raise ValueError(
            f"not a table in UTF-8 text ({error}); save it as CSV. Spreadsheets and Parquet are not read."
        ) from None
    kept, values, rows = cells.table(drop_missing)
    return Table(tuple(kept), values, rows, cells.total)


def check_columns(table: Table) -> None:
    """Raise ValueError for a table without a density: no two rows, or a constant column.

    Examples
    --------
    >>> import torch
    >>> from gaussflow.apps.table import Table, check_columns
    >>> check_columns(Table(("a",), torch.ones(5, 1), torch.arange(5), total=5))
    Traceback (most recent call last):
    ...
    ValueError: a constant has no density: column 'a' never changes (first value 1); leave it out with --drop a.
    """
    if len(table.values) < 2:
        raise ValueError(f"a density wants many rows; the table has {len(table.values)}.")
    constant = (table.values == table.values[0]).all(0)
    if bad := [name for name, same in zip(table.names, constant.tolist(), strict=True) if same]:
        value = table.values[0, table.names.index(bad[0])].item()
        raise ValueError(
            f"a constant has no density: {listed(bad)} never changes (first value {value:g}); {leave_out(bad)}."
        )


def remarks(table: Table) -> list[str]:
    """What to know about a table before trusting its density: values that repeat, columns that follow from others.

    Examples
    --------
    >>> import torch
    >>> from gaussflow.apps.table import Table, remarks
    >>> x = torch.randn(50, 1, dtype=torch.float64)
    >>> for remark in remarks(Table(("length", "double"), torch.cat([x, 2 * x], 1), torch.arange(50), total=50)):
    ...     print(remark)
    'length', 'double' follow from one another by a linear rule ...
    """
    said = []
    tied = []
    for name, column in zip(table.names, table.values.T, strict=True):
        _, counts = column.unique(return_counts=True)
        if (share := counts.max().item() / len(column)) > max(TIES, 2 / len(column)):
            tied.append(f"'{name}' ({share:.0%})")
    if tied:
        said.append(
            f"one value repeats often in {short(tied)}: the density of a discrete or rounded column rests "
            "on its rounding, so compare scores only between models of the same table."
        )
    centred = table.values - table.values.mean(0)
    values, vectors = torch.linalg.eigh(torch.corrcoef(centred.T).reshape(len(table.names), -1))
    if len(table.names) > 1 and values[0] < 1e-9:
        heavy = (vectors[:, 0].abs() > 0.1).tolist()
        held = [f"'{name}'" for name, h in zip(table.names, heavy, strict=True) if h]
        said.append(
            f"{short(held)} follow from one another by a linear rule (or there are fewer rows than columns), "
            "so the density is degenerate and its scores have no upper bound; drop one of them."
        )
    return said


def write_table(path: str | os.PathLike[str], names: Sequence[str], rows: Iterable[Sequence[float | str]]) -> None:
    """Write a table with a header, ten significant digits each, whole or not at all.

    Parameters
    ----------
    path
        The file; it is there after the last row, or not at all.
    names
        The D names of the header.
    rows
        The rows, D cells each: numbers or text.

    Examples
    --------
    >>> import os, tempfile
    >>> from gaussflow.apps.table import read_table, write_table
    >>> path = os.path.join(tempfile.mkdtemp(), "table.csv")
    >>> write_table(path, ["a", "b"], [[1, 2.5], [3, 4.5]])
    >>> read_table(path).values.shape
    torch.Size([2, 2])
    """
    with whole(path) as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(names)
        writer.writerows([cell if isinstance(cell, str) else f"{cell:.10g}" for cell in row] for row in rows)
