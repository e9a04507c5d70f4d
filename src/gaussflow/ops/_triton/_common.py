"""What all kernels share: tiles of rows and columns, numbers that stay finite, the normal law, blocks, operators."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor

from gaussflow.ops import _tails

INTERPRETED = bool(triton.knobs.runtime.interpret)  # on the CPU, step by step, in numpy: for tests
MILLS_TOP, MILLS_BOTTOM = (tl.constexpr(c) for c in _tails._MILLS_SINGLE)
QUANTILE_TOP, QUANTILE_BOTTOM = (tl.constexpr(c) for c in _tails._QUANTILE_SINGLE)
MILLS_TERMS, QUANTILE_TERMS = (tl.constexpr(len(c[0])) for c in (_tails._MILLS_SINGLE, _tails._QUANTILE_SINGLE))
# (1 + v) times 1 / m(v) - v, m the Mills ratio, over t = 1 / (2 + v) in [0, 1/2]: relative error 4e-8 (least squares)
EXCESS_TOP = tl.constexpr((1.0000000349843192, 0.0966857154873767, 10.966032434407627, 5.7954664508370906,
                           16.389486245738205, -34.408670055659165))  # fmt: skip
EXCESS_BOTTOM = tl.constexpr((1.0, -0.9032937775132186, 11.86735578420001, 0.00020092229933525406, 27.67838593480133,
                              11.163884833706028))  # fmt: skip
LOG_SQRT_2PI = tl.constexpr(_tails.LOG_SQRT_2PI)
TINY = tl.constexpr(torch.finfo(torch.float32).tiny)
LOG_2_HIGH, LOG_2_LOW = tl.constexpr(0.693359375), tl.constexpr(-2.12194440e-4)  # the first has nine binary digits

PROGRAMS, PART_C, PART_R = 512, 64, 64  # backward: so many programs, each of so many columns and at least so many rows
# Rows, columns and warps of a tile: two or four numbers a thread, so that what a number needs stays in registers.
BLOCKS = ((1, 256, 4), (1, 512, 4), (4, 64, 4), (8, 64, 4), (16, 32, 4), (32, 16, 4), (64, 8, 4))


def configs() -> list[triton.Config]:
    """The blocks that autotuning chooses from; one large one in the interpreter, where every program costs."""
    blocks = ((64, 32, 4),) if INTERPRETED else BLOCKS
    return [triton.Config({"BLOCK_R": r, "BLOCK_C": c}, num_warps=warps) for r, c, warps in blocks]


def grid(rows: int, columns: int) -> Callable[[dict[str, int]], tuple[int]]:
    """One program for each tile, along one axis, as the others end at 65,535."""
    return lambda block: (triton.cdiv(rows, block["BLOCK_R"]) * triton.cdiv(columns, block["BLOCK_C"]),)


def grid_of_parts(parts: int, columns: int) -> Callable[[dict[str, int]], tuple[int]]:
    """One program for each part of the rows and block of columns."""
    return lambda block: (parts * triton.cdiv(columns, block["BLOCK_C"]),)


def parts_of(rows: int, columns: int) -> int:
    """Into how many parts the rows go when sums over them are made; the sums of the parts are added afterwards."""
    return max(1, min(-(-rows // PART_R), PROGRAMS // -(-columns // PART_C)))


def bucket(columns: int) -> int:
    """What autotuning goes by: about how many columns, so that a new batch size does not tune anew."""
    return min(columns.bit_length(), 11) if isinstance(columns, int) else 11


def operator(name: str, fake: Callable[..., Any]) -> Callable[[Callable[..., Any]], Any]:
    """A torch operator ``gaussflow::name``: one that compilers see through, and in the interpreter an opaque one."""

    def make(f: Callable[..., Any]) -> Any:
        made = torch.library.custom_op if INTERPRETED else torch.library.triton_op
        found: Any = made(f"gaussflow::{name}", f, mutates_args=())
        if INTERPRETED:
            found.register_fake(fake)
        return found

    return make


def new(like: Tensor, shape: tuple[int, ...], dtype: torch.dtype = torch.float32) -> Tensor:
    """A tensor that a kernel fills."""
    return torch.empty(shape, dtype=dtype, device=like.device)


def strides(*tensors: Tensor) -> tuple[int, ...]:
    """Those of all axes of all tensors."""
    return tuple(step for t in tensors for step in t.stride())


def promoted(*tensors: Tensor) -> torch.dtype:
    """What they are promoted to together."""
    found = tensors[0].dtype
    for t in tensors[1:]:
        found = torch.promote_types(found, t.dtype)
    return found


@triton.jit
def tile(columns, BLOCK_R: tl.constexpr, BLOCK_C: tl.constexpr):
    """Rows (R, 1) and columns (1, C) of this program's tile, in 64 bits as offsets of large tensors need."""
    across = tl.cdiv(columns, BLOCK_C).to(tl.int64)
    place = tl.program_id(0).to(tl.int64)
    r = (place // across) * BLOCK_R + tl.arange(0, BLOCK_R)
    c = (place % across) * BLOCK_C + tl.arange(0, BLOCK_C)
    return r[:, None], c[None, :]


@triton.jit
def part(columns, BLOCK_C: tl.constexpr):
    """Which part of the rows this program has, and its columns (1, C)."""
    across = tl.cdiv(columns, BLOCK_C).to(tl.int64)
    place = tl.program_id(0).to(tl.int64)
    c = (place % across) * BLOCK_C + tl.arange(0, BLOCK_C)
    return place // across, c[None, :]


@triton.jit
def read(pointer, offset, there):
    """Numbers in single precision, zero where there are none."""
    return tl.load(pointer + offset, mask=there, other=0.0).to(tl.float32)


@triton.jit
def within(x, low, high):
    """x clamped; a NaN stays one, which a minimum need not promise."""
    return tl.where(x < low, low, tl.where(x > high, high, x))


@triton.jit
def floored(x):
    """At least the smallest normal number: a divisor, or the argument of a root."""
    return tl.where(x < TINY, TINY, x)


@triton.jit
def exponential(x):
    """exp to the last digits: the device's own loses one more at every doubling of x."""
    x = within(x, -104.0, 89.0)
    n = tl.floor(x * 1.4426950408889634 + 0.5)
    rest = (x - n * LOG_2_HIGH) - n * LOG_2_LOW
    half = tl.floor(n * 0.5)  # in two steps, as 2^n alone may leave the range where the product does not
    return tl.exp(rest) * tl.exp2(half) * tl.exp2(n - half)


@triton.jit
def polynomial(t, c: tl.constexpr, terms: tl.constexpr):
    """Horner's rule; coefficients by ascending power."""
    value = t * 0.0 + c[terms - 1]
    for i in tl.static_range(2, terms + 1):
        value = value * t + c[terms - i]
    return value


@triton.jit
def mills(v):
    """The Mills ratio of v ≥ 0, as `gaussflow.ops._tails.mills_ratio`."""
    t = 1 / (2 + v)
    return polynomial(t, MILLS_TOP, MILLS_TERMS) / polynomial(t, MILLS_BOTTOM, MILLS_TERMS - 1) / (1 + v)


@triton.jit
def excess(v):
    """By how much the hazard 1 / m(v) of the normal law is more than v ≥ 0: about 1 / v, without the cancellation."""
    t = 1 / (2 + v)
    return polynomial(t, EXCESS_TOP, 6) / polynomial(t, EXCESS_BOTTOM, 6) / (1 + v)


@triton.jit
def tail_quantile(log_tail):
    """The v ≥ 0 of a log-tail, as `gaussflow.ops._tails.normal_tail_quantile`."""
    x = tl.sqrt_rn(floored(-2 * log_tail))
    t = 1 / x
    ratio = polynomial(t, QUANTILE_TOP, QUANTILE_TERMS) / polynomial(t, QUANTILE_BOTTOM, QUANTILE_TERMS)
    return x - tl.log(x) * t - ratio
