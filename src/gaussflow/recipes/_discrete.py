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
OFF, MOST_OFF = 0.05, 0.2  # parts of a step, without and with what floating numbers add,
LATTICE = 0.9  # that such a share of the gaps of rounded values are off whole steps; by chance 0.1 to 0.4 are
FINE = 1e-3  # step of columns that are not, in units of their spread


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
            f"Column {found[0]} has {len(values)} distinct value(s) in {len(column)} rows, and {most:g} in {share:.0%} "
            "of them: it has no density. Pass dequantize=True to blur such columns by the step that they are rounded "
            "to, or leave them out."
        )


def rounding_steps(rows: Rows) -> tuple[Tensor, Tensor]:
    """The step (D,) of each column, 0 for a continuous one; and the commonest value (D,) of the others.

    A step is the least distance of two values. But where many rows share a value and the others are not rounded, as of
    amounts that are often zero, that distance is an accident: there it is a thousandth of the spread of the others, and
    of a constant a thousandth of itself.
    """
    x = rows.sample(LOOKED_AT)[0]
    steps, origins = torch.zeros(2, x.shape[1], dtype=x.dtype, device=x.device)
    if len(x) < FEWEST_ROWS:
        return steps, origins
    for i, column in enumerate(x.T):
        values, counts = column.unique(return_counts=True)
        few, tied = len(values) < FEW * len(x), int(counts.max()) >= TIES * len(x)
        if few or tied:
            steps[i], origins[i] = _step(values, few), values[counts.argmax()]
    return steps, origins


def _step(values: Tensor, few: bool) -> Tensor:
    """The step () of ascending values, positive."""
    least = 8 * torch.finfo(values.dtype).eps * values.abs().max()  # closer values are one value, or all that there is
    gaps = values.diff()
    if bool((gaps > least).any()):
        gaps = gaps[gaps > least]
    elif not len(gaps) or values[-1] - values[0] < 4 * least:  # a constant, or one rounded in more than one way
        size = values.abs().max()
        return torch.where(size > 0, FINE * size, 1.0)
    step = gaps.min()
    whole = gaps / step
    off = (OFF + 2 * least / step).clamp(max=MOST_OFF)
    if few or bool(((whole - whole.round()).abs() < off).double().mean() > LATTICE):
        return step
    spread = values[len(values) * 3 // 4] - values[len(values) // 4]
    return torch.maximum(FINE * spread, step)


class UniformNoise:
    """Adds uniform noise of one step to each column; the same rows get the same noise at each pass."""

    def __init__(self, steps: Tensor, seed: int) -> None:
        self.steps, self.seed = steps, seed

    def __call__(self, x: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """The rows x (n, D) with noise, and a log-determinant of zero."""
        seed = zlib.crc32(x[:1].double().cpu().numpy().tobytes(), self.seed)
        noise = torch.rand(x.shape, dtype=x.dtype, generator=torch.Generator().manual_seed(seed)).to(x.device)
        return x + noise * self.steps, x.new_zeros(len(x))
