"""A rotation and the splines behind it, or the splines and the rotation back, between one reading and one writing.

A tile of rows is multiplied by a block of columns of the matrix, mapped where it lies, and its log-slopes are added;
nothing is added by several programs in one place, so results repeat. Products are of single precision: three of the
tensor cores' own make up one.
"""

from __future__ import annotations

import triton
import triton.language as tl

from gaussflow.ops._triton._common import INTERPRETED, read, tile, within
from gaussflow.ops._triton._spline_kernels import mapped

DEEP = tl.constexpr(32)  # columns of x multiplied at a time
HIGHEST = tl.constexpr(3.4e38)  # what the tensor cores round to a finite number
# Rows and warps: eight numbers a thread of up to 64 columns, as the spline holds a dozen numbers for each.
BLOCKS = ((64, 4),) if INTERPRETED else ((16, 4), (32, 8), (64, 16))
CONFIGS = [triton.Config({"BLOCK_R": rows}, num_warps=warps) for rows, warps in BLOCKS]


@triton.autotune(CONFIGS, key=["K", "BUCKET"])
@triton.jit
def block_kernel(
    x, matrix, loc, scale, xs, zs, slopes, value, sums, rows, columns, vr, vc, mr, mc, largest,
    K: tl.constexpr, STEPS: tl.constexpr, BUCKET: tl.constexpr, BLOCK_C: tl.constexpr, BLOCK_R: tl.constexpr,
):  # fmt: skip
    """The spline of x (rows, columns) times the matrix; for each block of columns the sum of the log-slopes."""
    r, c = tile(columns, BLOCK_R, BLOCK_C)
    column, there = c < columns, (r < rows) & (c < columns)
    turned = tl.zeros((BLOCK_R, BLOCK_C), tl.float32)
    for start in range(0, columns, DEEP):
        k = start + tl.arange(0, DEEP).to(tl.int64)
        across, down = k[None, :], k[:, None]
        left = within(read(x, r * vr + across * vc, (r < rows) & (across < columns)), -HIGHEST, HIGHEST)
        right = read(matrix, down * mr + c * mc, (down < columns) & column)
        turned = tl.dot(left, right, turned, input_precision="tf32x3")
    unit = tl.load(scale + c, mask=column, other=1.0).to(tl.float32)
    u = within((turned - read(loc, c, column)) / unit, -HIGHEST, HIGHEST)
    step = tl.cast(columns, tl.int64)
    z, steep = mapped(u, xs + c, zs + c, slopes + c, step, step, step, column, K, STEPS, False)
    tl.store(value + r * columns + c, within(z, -largest, largest), mask=there)
    total = tl.sum(tl.where(there, steep - tl.log(unit), 0.0), 1)[:, None]
    blocks = tl.cdiv(columns, BLOCK_C)
    first = (tl.program_id(0) % blocks).to(tl.int64)
    tl.store(sums + r * blocks + first, total, mask=r < rows)


@triton.autotune(CONFIGS, key=["K", "BUCKET"])
@triton.jit
def block_inverse_kernel(
    z, matrix, loc, scale, xs, zs, slopes, value, sums, rows, columns, vr, vc, mr, mc, largest,
    K: tl.constexpr, STEPS: tl.constexpr, BUCKET: tl.constexpr, BLOCK_C: tl.constexpr, BLOCK_R: tl.constexpr,
):  # fmt: skip
    """The inverse of the spline of z (rows, columns), all of whose columns are one block, times the matrix."""
    r, c = tile(columns, BLOCK_R, BLOCK_C)
    found = tl.zeros((BLOCK_R, BLOCK_C), tl.float32)
    total = tl.zeros((BLOCK_R, 1), tl.float32)
    step = tl.cast(columns, tl.int64)
    for start in range(0, columns, DEEP):
        k = start + tl.arange(0, DEEP).to(tl.int64)
        across, down = k[None, :], k[:, None]
        column, there = across < columns, (r < rows) & (across < columns)
        v = read(z, r * vr + across * vc, there)
        u, steep = mapped(v, xs + across, zs + across, slopes + across, step, step, step, column, K, STEPS, True)
        unit = tl.load(scale + across, mask=column, other=1.0).to(tl.float32)
        u = within(u, -HIGHEST, HIGHEST) * unit + read(loc, across, column)
        left = tl.where(there, within(u, -HIGHEST, HIGHEST), 0.0)
        total += tl.sum(tl.where(there, steep + tl.log(unit), 0.0), 1)[:, None]
        right = read(matrix, down * mr + c * mc, (down < columns) & (c < columns))
        found = tl.dot(left, right, found, input_precision="tf32x3")
    tl.store(value + r * columns + c, within(found, -largest, largest), mask=(r < rows) & (c < columns))
    tl.store(sums + r, total, mask=r < rows)
