"""The mixture map and its inverse as operators of torch, with their gradients."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.library import wrap_triton

from gaussflow.ops._kernels import REFERENCES, Reference
from gaussflow.ops._recompute import gradients_by_itself, is_transformed
from gaussflow.ops._triton._common import bucket, grid, grid_of_parts, new, operator, parts_of, promoted, strides
from gaussflow.ops._triton._mixture_kernels import mixture_gradient_kernel, mixture_kernel


def _fake(
    v: Tensor, weights: Tensor, means: Tensor, scales: Tensor, logistic: bool, inverse: bool
) -> tuple[Tensor, Tensor]:
    shape, dtype = tuple(v.shape), promoted(v, weights, means, scales)
    return new(v, shape, dtype), new(v, shape, dtype)


@operator("mixture_to_normal", _fake)
def mixture(
    v: Tensor, weights: Tensor, means: Tensor, scales: Tensor, logistic: bool, inverse: bool
) -> tuple[Tensor, Tensor]:
    """z and log-slopes of points v (..., D), or points and log dx/dz of z; under log-weights, means and log-scales."""
    value, log_slope = _fake(v, weights, means, scales, logistic, inverse)
    if v.numel() == 0:
        return value, log_slope
    knots, columns = means.shape
    rows = v.numel() // columns
    flat = v.reshape(rows, columns)
    wrap_triton(mixture_kernel)[grid(rows, columns)](
        flat, weights.contiguous(), means.contiguous(), scales.contiguous(), value, log_slope, rows, columns,
        *strides(flat), torch.finfo(value.dtype).max, K=knots, BUCKET=bucket(columns), LOGISTIC=logistic,
        INVERSE=inverse,
    )  # fmt: skip
    return value, log_slope


def _fake_gradients(
    v: Tensor, weights: Tensor, means: Tensor, scales: Tensor, a: Tensor, b: Tensor, logistic: bool, inverse: bool,
    with_tables: bool,
) -> tuple[Tensor, Tensor]:  # fmt: skip
    shape = (3, *means.shape) if with_tables else (0,)
    return new(v, tuple(v.shape), v.dtype), new(v, tuple(shape))


@operator("mixture_gradients", _fake_gradients)
def mixture_gradients(
    v: Tensor, weights: Tensor, means: Tensor, scales: Tensor, a: Tensor, b: Tensor, logistic: bool, inverse: bool,
    with_tables: bool,
) -> tuple[Tensor, Tensor]:  # fmt: skip
    """Gradients by points v, or by the z that led to them, and where wanted by the three tables (3, K, D)."""
    by_v, by_tables = _fake_gradients(v, weights, means, scales, a, b, logistic, inverse, with_tables)
    if v.numel() == 0:
        return by_v, by_tables.zero_()
    knots, columns = means.shape
    rows = v.numel() // columns
    flat, a, b = v.reshape(rows, columns), a.reshape(rows, columns), b.reshape(rows, columns)
    parts = parts_of(rows, columns)
    sums = new(v, (parts, 3, knots, columns) if with_tables else (1,))
    wrap_triton(mixture_gradient_kernel)[grid_of_parts(parts, columns)](
        flat, weights.contiguous(), means.contiguous(), scales.contiguous(), a, b, by_v, sums, rows, columns, parts,
        *strides(flat, a, b), torch.finfo(promoted(v, weights, means, scales)).max, K=knots,
        PADDED=1 << (knots - 1).bit_length(), BUCKET=bucket(columns), LOGISTIC=logistic, INVERSE=inverse,
        TABLES=with_tables,
    )  # fmt: skip
    if not with_tables:
        return by_v, by_tables
    return by_v, sums.sum(0) if parts > 1 else sums[0]


def _setup(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, ...]) -> None:
    *tensors, ctx.logistic, ctx.inverse = inputs
    ctx.save_for_backward(*tensors, *output[: int(ctx.inverse)])


def _backward(ctx: Any, a: Tensor, b: Tensor) -> tuple[Tensor | None, ...]:
    v, *tables = ctx.saved_tensors[:4]
    wanted, point = ctx.needs_input_grad[:4], ctx.saved_tensors[-1] if ctx.inverse else v
    if torch.is_grad_enabled() or is_transformed((a, b)):  # gradients of the gradients are wanted, or many at once
        f = REFERENCES["mixture, logistic" if ctx.logistic else "mixture, normal"]
        f = _from(f, point.detach()) if ctx.inverse else f
        return *gradients_by_itself(f, (v, *tables), wanted, (a, b)), None, None
    by_v, by_tables = mixture_gradients(point, *tables, a, b, ctx.logistic, ctx.inverse, any(wanted[1:]))
    by_v = by_v.to(v.dtype)
    if not any(wanted[1:]):
        return by_v, None, None, None, None, None
    return by_v, *(by.to(t.dtype) for by, t in zip(by_tables.unbind(0), tables, strict=True)), None, None


def _from(f: Reference, x: Tensor) -> Reference:
    """The inverse of f by plain torch, from the points found, so that nothing is searched again."""
    return lambda z, *tables: REFERENCES["root"](lambda u: f(u, *tables), z, x, x, x, 0)


mixture.register_autograd(_backward, setup_context=_setup)
