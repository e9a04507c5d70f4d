"""The spline as an operator of torch, with its gradients; layouts are made into rows and columns here."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.library import wrap_triton

from gaussflow.ops._kernels import REFERENCES
from gaussflow.ops._recompute import gradients_by_itself, is_transformed
from gaussflow.ops._triton._common import bucket, grid, grid_of_parts, new, operator, parts_of, promoted, strides
from gaussflow.ops._triton._spline_kernels import gradient_kernel, map_kernel

FEW = 20  # knots up to which every knot is compared with


def layout(x: Tensor, table: Tensor) -> tuple[int, int]:
    """Rows and columns: columns share a table (K, *shape), rows do not change it; x of that shape is a single row."""
    columns = table.shape[1:].numel() if table.dim() > 1 else 1
    return (1, columns) if x.shape == table.shape[1:] else (x.numel() // max(1, columns), columns)


def steps_of(knots: int) -> int:
    return 0 if knots <= FEW else (knots - 2).bit_length()


def _flat(v: Tensor, tables: tuple[Tensor, ...], rows: int, columns: int) -> tuple[Tensor, tuple[Tensor, ...]]:
    return v.reshape(rows, columns), tuple(t.reshape(t.shape[0], columns) for t in tables)


def _fake(v: Tensor, xs: Tensor, zs: Tensor, slopes: Tensor, inverse: bool) -> tuple[Tensor, Tensor]:
    shape, dtype = tuple(v.shape), promoted(v, xs, zs, slopes)
    return new(v, shape, dtype), new(v, shape, dtype)


@operator("rq_spline", _fake)
def spline(v: Tensor, xs: Tensor, zs: Tensor, slopes: Tensor, inverse: bool) -> tuple[Tensor, Tensor]:
    """Values and log-slopes of v, forward or inverse."""
    value, log_slope = _fake(v, xs, zs, slopes, inverse)
    if v.numel() == 0:
        return value, log_slope
    rows, columns = layout(v, xs)
    flat, tables = _flat(v, (xs, zs, slopes), rows, columns)
    wrap_triton(map_kernel)[grid(rows, columns)](
        flat, *tables, value, log_slope, rows, columns, *strides(flat, *tables), torch.finfo(value.dtype).max,
        K=len(xs), STEPS=steps_of(len(xs)), BUCKET=bucket(columns), INVERSE=inverse,
    )  # fmt: skip
    return value, log_slope


def _fake_gradients(
    v: Tensor, xs: Tensor, zs: Tensor, slopes: Tensor, a: Tensor, b: Tensor, inverse: bool, with_tables: bool
) -> tuple[Tensor, Tensor]:
    shape = (3, *xs.shape) if with_tables else (0,)
    return new(v, tuple(v.shape), v.dtype), new(v, tuple(shape))


@operator("rq_spline_gradients", _fake_gradients)
def spline_gradients(
    v: Tensor, xs: Tensor, zs: Tensor, slopes: Tensor, a: Tensor, b: Tensor, inverse: bool, with_tables: bool
) -> tuple[Tensor, Tensor]:
    """Gradients by v and, where wanted, by the tables (3, K, ...), of what has gradients a and b by its values."""
    by_v, by_tables = _fake_gradients(v, xs, zs, slopes, a, b, inverse, with_tables)
    if v.numel() == 0:
        return by_v, by_tables.zero_()
    rows, columns = layout(v, xs)
    flat, tables = _flat(v, (xs, zs, slopes), rows, columns)
    a, b = a.reshape(rows, columns), b.reshape(rows, columns)
    parts, knots = parts_of(rows, columns), len(xs)
    sums = new(v, (parts, 3, knots, columns) if with_tables else (1,))
    wrap_triton(gradient_kernel)[grid_of_parts(parts, columns)](
        flat, *tables, a, b, by_v, sums, rows, columns, parts, *strides(flat, *tables, a, b),
        torch.finfo(promoted(v, xs, zs, slopes)).max, K=knots, PADDED=1 << (knots - 1).bit_length(),
        STEPS=steps_of(knots), BUCKET=bucket(columns), INVERSE=inverse, SINGLE=rows == 1, TABLES=with_tables,
    )  # fmt: skip
    if not with_tables:
        return by_v, by_tables
    return by_v, (sums.sum(0) if parts > 1 else sums[0]).view(by_tables.shape)


def _setup(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, ...]) -> None:
    *tensors, ctx.inverse = inputs
    ctx.save_for_backward(*tensors)


def _backward(ctx: Any, a: Tensor, b: Tensor) -> tuple[Tensor | None, ...]:
    inputs, wanted = ctx.saved_tensors, ctx.needs_input_grad[:4]
    if torch.is_grad_enabled() or is_transformed((a, b)):  # gradients of the gradients are wanted, or many at once
        reference = REFERENCES["spline inverse" if ctx.inverse else "spline"]
        return *gradients_by_itself(reference, inputs, wanted, (a, b)), None
    by_v, by_tables = spline_gradients(*inputs, a, b, ctx.inverse, any(wanted[1:]))
    if not any(wanted[1:]):
        return by_v, None, None, None, None
    return by_v, *(by.to(t.dtype) for by, t in zip(by_tables.unbind(0), inputs[1:], strict=True)), None


spline.register_autograd(_backward, setup_context=_setup)
