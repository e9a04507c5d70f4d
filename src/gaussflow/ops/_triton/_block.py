"""A rotation and splines in one kernel: layouts are made into what it takes here. It has no gradients."""

from __future__ import annotations

import torch
import triton
from torch import Tensor

from gaussflow.ops._triton._block_kernels import block_inverse_kernel, block_kernel
from gaussflow.ops._triton._common import bucket, new, promoted
from gaussflow.ops._triton._spline import steps_of

LEAST, MOST = 16, 64  # columns of a block: tensor cores take no less; more leave no registers for the spline


def block(x: Tensor, matrix: Tensor, tables: tuple[Tensor, ...], inverse: bool) -> tuple[Tensor, Tensor]:
    """z (rows, columns) and log-determinants (rows,); tables are loc, scale (columns,), knots, values and slopes."""
    rows, columns = x.shape
    value = new(x, (rows, columns), promoted(x, matrix, *tables))
    width = min(MOST, max(LEAST, 1 << (columns - 1).bit_length()))
    sums = new(x, (rows, -(-columns // width)))
    if rows == 0:
        return value, sums.sum(1).to(value.dtype)
    kernel, knots = block_inverse_kernel if inverse else block_kernel, len(tables[2])
    with torch.cuda.device_of(x):
        kernel[lambda at: (triton.cdiv(rows, at["BLOCK_R"]) * sums.shape[1],)](
            x, matrix, *(t.contiguous() for t in tables), value, sums, rows, columns, *x.stride(), *matrix.stride(),
            torch.finfo(value.dtype).max, K=knots, STEPS=steps_of(knots), BUCKET=bucket(columns), BLOCK_C=width,
        )  # fmt: skip
    return value, sums.sum(1).to(value.dtype)
