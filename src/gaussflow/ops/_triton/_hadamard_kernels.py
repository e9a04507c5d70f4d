"""The Walsh-Hadamard transform on the device: a tile of rows is mixed whole between one reading and one writing."""

from __future__ import annotations

import triton
import triton.language as tl

from gaussflow.ops._triton._common import INTERPRETED, read

TILE = 2**16 if INTERPRETED else 2**12  # numbers of a program: 32 a thread with four warps
CONFIGS = [triton.Config({}, num_warps=warps) for warps in ((4,) if INTERPRETED else (4, 8, 16))]


@triton.jit
def butterflies(x, P: tl.constexpr, BITS: tl.constexpr, ROWS: tl.constexpr):
    """Sums and differences of x (ROWS, P) by one binary digit of the column after the other.

    The other number of a pair is the sum of both less this one, in integers that may wrap around: exact, and the
    compiler adds within a thread, a warp or across them as the pair lies, so that most steps need no shared memory.
    """
    for i in tl.static_range(BITS):
        x = tl.reshape(x, (ROWS * (P >> (i + 1)), 2, 1 << i))
        number = x.to(tl.int32, bitcast=True)
        other = (tl.sum(number, 1, keep_dims=True) - number).to(tl.float32, bitcast=True)
        second = tl.arange(0, 2)[None, :, None] == 1
        x = other + tl.where(second, -x, x)
    return tl.reshape(x, (ROWS, P))


@triton.autotune(CONFIGS, key=["P"])
@triton.jit
def hadamard_kernel(
    v, value, rows, columns, start, vr, vc, factor, P: tl.constexpr, BITS: tl.constexpr, ROWS: tl.constexpr
):
    """The P columns of v (rows, columns) from ``start`` on mixed, P at least half of them, the others as they are."""
    r = tl.program_id(0).to(tl.int64) * ROWS + tl.arange(0, ROWS)[:, None]
    c = tl.arange(0, P)[None, :].to(tl.int64)
    there = r < rows
    mixed = butterflies(read(v, r * vr + (start + c) * vc, there) * factor, P, BITS, ROWS)
    tl.store(value + r * columns + (start + c), mixed, mask=there)
    if columns > P:
        rest = tl.where(c < start, c, c + P)
        left = there & (rest < columns)
        tl.store(value + r * columns + rest, read(v, r * vr + rest * vc, left), mask=left)
