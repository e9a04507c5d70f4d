"""Which rows are fitted to and which are held out."""

from __future__ import annotations

from gaussflow.rows import Data, Rows, as_rows

HELD_OUT = 0.1


def held_out_from(owner: str, rows: Rows, valid: Data | None, seed: int) -> tuple[Rows, Rows]:
    """The rows to fit and those held out: the valid ones, or about a tenth of the rows, chosen by the seed.

    Raises ValueError for valid rows of another dimension, and where there are too few rows to hold some out.
    """
    if valid is not None:
        held_out = as_rows(valid)
        if held_out.dim != rows.dim:
            raise ValueError(f"{owner} wants valid rows of dimension {rows.dim}, as the rows are; got {held_out.dim}.")
        return rows, held_out
    try:
        return rows.split(HELD_OUT, seed)
    except ValueError as error:
        raise ValueError(f"{owner} has too few rows to hold some out: {rows.n}. Pass valid=...") from error
