"""The Walsh-Hadamard transform as an operator of torch; being orthogonal, its gradient is its inverse."""

from __future__ import annotations

from typing import Any

import torch
import triton
from torch import Tensor
from torch.library import wrap_triton

from gaussflow.ops._kernels import REFERENCES
from gaussflow.ops._recompute import is_transformed
from gaussflow.ops._triton._common import new, operator
from gaussflow.ops._triton._hadamard_kernels import TILE, hadamard_kernel


def _fake(x: Tensor, inverse: bool) -> Tensor:
    return new(x, tuple(x.shape), x.dtype)


@operator("walsh_hadamard", _fake)
def hadamard(x: Tensor, inverse: bool) -> Tensor:
    """The transform of the last axis of x (..., D), in single precision between the two steps of a D that has two."""
    if x.numel() == 0:
        return _fake(x, inverse)
    columns = x.shape[-1]
    bits = columns.bit_length() - 1
    size = 1 << bits
    starts = [0] if size == columns else [columns - size, 0] if inverse else [0, columns - size]
    found, height = x, max(1, TILE // size)
    for start in starts:
        flat = found.reshape(-1, columns)
        found = new(x, tuple(x.shape), x.dtype if start == starts[-1] else torch.float32)
        wrap_triton(hadamard_kernel)[(triton.cdiv(len(flat), height),)](
            flat, found, len(flat), columns, start, *flat.stride(), size**-0.5, P=size, BITS=bits, ROWS=height
        )
    return found


def _setup(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    ctx.inverse = inputs[1]


def _backward(ctx: Any, a: Tensor) -> tuple[Tensor, None]:
    if is_transformed((a,)):
        return REFERENCES["walsh_hadamard"](a, not ctx.inverse)[0], None
    return hadamard(a, not ctx.inverse), None


hadamard.register_autograd(_backward, setup_context=_setup)
