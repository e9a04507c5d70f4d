"""The normal law in its tails on the device, number by number; the formulas are those of `gaussflow.ops.normal`."""

from __future__ import annotations

import math

import triton
import triton.language as tl

from gaussflow.ops._triton._common import INTERPRETED, exponential, mills, polynomial, read, tail_quantile, within

UNIT = tl.constexpr(1 / math.sqrt(2 * math.pi))
TERMS = tl.constexpr(8)  # of the series of the logarithm near one: the next is 2e-9 of the first
SERIES = tl.constexpr(tuple(1 / (2 * i + 1) for i in range(8)))
BLOCKS = ((16_384, 4),) if INTERPRETED else ((512, 4), (1024, 4), (2048, 4))
CONFIGS = [triton.Config({"BLOCK": block}, num_warps=warps) for block, warps in BLOCKS]


@triton.jit
def span(count, BLOCK: tl.constexpr):
    """The places of this program's numbers, in 64 bits as offsets of large tensors need, and which of them exist."""
    place = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    return place, place < count


@triton.jit
def upper_tail(v):
    """The probability beyond v ≥ 0, and the density at v, as `gaussflow.ops._tails.exp_half_square`."""
    coarse = tl.floor(within(v, 0.0, 64.0) * 16.0 + 0.5) / 16.0  # its square is exact
    density = exponential(-0.5 * coarse * coarse) * exponential(0.5 * (coarse - v) * (coarse + v)) * UNIT
    return mills(v) * density, density


@triton.jit
def log_of_rest(y):
    """log(1 - y) for y in [0, 1/2] to the last digits, as -2 artanh(y / (2 - y))."""
    t = y / (2 - y)
    return -2 * t * polynomial(t * t, SERIES, TERMS)


@triton.autotune(CONFIGS, key=[])
@triton.jit
def log_cdf_kernel(z, value, count, BLOCK: tl.constexpr):
    """log Φ(z) of count numbers."""
    place, there = span(count, BLOCK)
    z = read(z, place, there)
    v = tl.abs(z)
    tail, _ = upper_tail(v)
    found = tl.where(z < 0, tl.log(mills(v) * UNIT) - 0.5 * v * v, log_of_rest(tail))
    tl.store(value + place, found, mask=there)


@triton.autotune(CONFIGS, key=[])
@triton.jit
def log_cdf_gradient_kernel(z, a, by_z, count, BLOCK: tl.constexpr):
    """a φ(z) / Φ(z)."""
    place, there = span(count, BLOCK)
    z, a = read(z, place, there), read(a, place, there)
    tail, density = upper_tail(tl.abs(z))
    tl.store(by_z + place, a * tl.where(z < 0, 1 / mills(tl.abs(z)), density / (1 - tail)), mask=there)


@triton.jit
def smaller(p, q):
    """The smaller of two; a NaN of either stays one, which a minimum need not promise."""
    return tl.where(p < q, p, tl.where(p == p, q, p))


@triton.autotune(CONFIGS, key=[])
@triton.jit
def quantile_kernel(p, q, value, count, BLOCK: tl.constexpr):
    """The z whose log-tails are p and q."""
    place, there = span(count, BLOCK)
    p, q = read(p, place, there), read(q, place, there)
    v = tail_quantile(smaller(p, q))
    tl.store(value + place, tl.where(p < q, -v, v), mask=there)


@triton.autotune(CONFIGS, key=[])
@triton.jit
def quantile_gradient_kernel(p, q, a, by_p, by_q, count, BLOCK: tl.constexpr):
    """Those of a z: the smaller log-tail has all, as dv / d log Φ(-v) = -m(v); where both are equal each has half."""
    place, there = span(count, BLOCK)
    p, q, a = read(p, place, there), read(q, place, there), read(a, place, there)
    found = a * mills(tail_quantile(smaller(p, q)))
    share = tl.where(p == q, 0.5, 1.0)
    tl.store(by_p + place, tl.where(p > q, 0.0, tl.where(p == q, -found, found) * share), mask=there)
    tl.store(by_q + place, tl.where(p < q, 0.0, -found * share), mask=there)
