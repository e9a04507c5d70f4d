"""Columns that are rounded or discrete: found, refused, or blurred by as much as they were rounded."""

from __future__ import annotations

import zlib

import torch
from torch import Tensor

from gaussflow.rows import Rows

LOOKED_AT = 2**16  # rows
FEW = 1 / 16  # a column with fewer distinct values than this share of its rows is discrete,
TIES = 0.05  # and so is one in which a value holds this share of the rows
FEWEST_ROWS = 20


def check_continuous(owner: str, rows: Rows) -> None:
    """Raise ValueError where a column has no density: few distinct values, or one that many rows share."""
    steps, _ = rounding_steps(rows)
    if found := steps.nonzero()[:, 0].tolist():
        column = rows.sample(LOOKED_AT)[0][:, found[0]]
        values, counts = column.unique(return_counts=True)
        shown = ", ".join(str(i) for i in found[:10]) + (", ..." if len(found) > 10 else "")
        most, share = values[counts.argmax()], float(counts.max()) / len(column)
        raise ValueError(
            f"{owner} wants continuous columns; got discrete or rounded ones, counted from 0: {shown}. "
            f"Column {found[0]} has {len(values)} distinct values in {len(column)} rows, and {most:g} in {share:.0%} "
            "of them: it has no density. Pass dequantize=True to blur such columns by the step that they are rounded "
            "to, or leave them out."
        )


def rounding_steps(rows: Rows) -> tuple[Tensor, Tensor]:
    """The step (D,) that each column is rounded to, 0 for a continuous or constant one; and a value of each (D,)."""
    x = rows.sample(LOOKED_AT)[0]
    steps = torch.zeros(x.shape[1], dtype=x.dtype, device=x.device)
    if len(x) < FEWEST_ROWS:
        return steps, steps
    for i, column in enumerate(x.T):
        values, counts = column.unique(return_counts=True)
        if len(values) > 1 and (len(values) < FEW * len(x) or int(counts.max()) >= TIES * len(x)):
            gaps = values.diff()
            least = 8 * torch.finfo(x.dtype).eps * column.abs().max()  # closer values are one value, rounded twice
            steps[i] = gaps[gaps > least].min() if bool((gaps > least).any()) else 0
    return steps, x[0].clone()


class UniformNoise:
    """Adds uniform noise of one step to each column; the same rows get the same noise at each pass."""

    def __init__(self, steps: Tensor, seed: int) -> None:
        self.steps, self.seed = steps, seed

    def __call__(self, x: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """The rows x (n, D) with noise, and a log-determinant of zero."""
        seed = zlib.crc32(x[:1].double().cpu().numpy().tobytes(), self.seed)
        noise = torch.rand(x.shape, dtype=x.dtype, generator=torch.Generator().manual_seed(seed)).to(x.device)
        return x + noise * self.steps, x.new_zeros(len(x))
