"""The mixture map and its inverse as operators of torch, with their gradients."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.library import wrap_triton

from gaussflow.ops._kernels import REFERENCES
from gaussflow.ops._recompute import gradients_by_itself, is_transformed
from gaussflow.ops._triton._common import bucket, grid, grid_of_parts, new, operator, parts_of, promoted, strides
from gaussflow.ops._triton._mixture_kernels import mixture_gradient_kernel, mixture_kernel, root_kernel


def _fake(v: Tensor, weights: Tensor, means: Tensor, scales: Tensor, logistic: bool) -> tuple[Tensor, Tensor]:
    shape, dtype = tuple(v.shape), promoted(v, weights, means, scales)
    return new(v, shape, dtype), new(v, shape, dtype)


@operator("mixture_to_normal", _fake)
def mixture(v: Tensor, weights: Tensor, means: Tensor, scales: Tensor, logistic: bool) -> tuple[Tensor, Tensor]:
    """z and log-slopes of points v (..., D), under log-weights, means and log-scales (K, D)."""
    value, log_slope = _fake(v, weights, means, scales, logistic)
    if v.numel() == 0:
        return value, log_slope
    knots, columns = means.shape
    rows = v.numel() // columns
    flat = v.reshape(rows, columns)
    wrap_triton(mixture_kernel)[grid(rows, columns)](
        flat, weights.contiguous(), means.contiguous(), scales.contiguous(), value, log_slope, rows, columns,
        *strides(flat), torch.finfo(value.dtype).max, K=knots, BUCKET=bucket(columns), LOGISTIC=logistic,
    )  # fmt: skip
    return value, log_slope


@operator("normal_to_mixture", _fake)
def root(v: Tensor, weights: Tensor, means: Tensor, scales: Tensor, logistic: bool) -> tuple[Tensor, Tensor]:
    """The points whose z is v (..., D), and log dx/dz."""
    value, log_slope = _fake(v, weights, means, scales, logistic)
    if v.numel() == 0:
        return value, log_slope
    knots, columns = means.shape
    rows = v.numel() // columns
    flat = v.reshape(rows, columns)
    wrap_triton(root_kernel)[grid(rows, columns)](
        flat, weights.contiguous(), means.contiguous(), scales.contiguous(), value, log_slope, rows, columns,
        *strides(flat), torch.finfo(value.dtype).max, K=knots, BUCKET=bucket(columns), LOGISTIC=logistic,
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
    *tensors, ctx.logistic = inputs
    ctx.save_for_backward(*tensors)


def _setup_root(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, ...]) -> None:
    *tensors, ctx.logistic = inputs
    ctx.save_for_backward(*tensors, output[0])


def _backward(ctx: Any, a: Tensor, b: Tensor) -> tuple[Tensor | None, ...]:
    inputs, wanted = ctx.saved_tensors, ctx.needs_input_grad[:4]
    if torch.is_grad_enabled() or is_transformed((a, b)):  # gradients of the gradients are wanted, or many at once
        return *gradients_by_itself(_reference(ctx.logistic), inputs, wanted, (a, b)), None
    return _gradients(inputs, inputs[0], wanted, (a, b), ctx.logistic, inverse=False)


def _backward_root(ctx: Any, a: Tensor, b: Tensor) -> tuple[Tensor | None, ...]:
    *inputs, found = ctx.saved_tensors
    wanted = ctx.needs_input_grad[:4]
    if torch.is_grad_enabled() or is_transformed((a, b)):
        f, x = _reference(ctx.logistic), found.detach()

        def again(z: Tensor, *tables: Tensor) -> tuple[Tensor, Tensor]:
            return REFERENCES["root"](lambda u: f(u, *tables), z, x, x, x, 0)

        return *gradients_by_itself(again, tuple(inputs), wanted, (a, b)), None
    return _gradients(tuple(inputs), found, wanted, (a, b), ctx.logistic, inverse=True)


def _reference(logistic: bool) -> Any:
    return REFERENCES["mixture, logistic" if logistic else "mixture, normal"]


def _gradients(
    inputs: tuple[Tensor, ...], x: Tensor, wanted: tuple[bool, ...], grads: tuple[Tensor, ...], logistic: bool,
    *, inverse: bool,
) -> tuple[Tensor | None, ...]:  # fmt: skip
    _, *tables = inputs
    by_v, by_tables = mixture_gradients(x, *tables, *grads, logistic, inverse, any(wanted[1:]))
    by_v = by_v.to(inputs[0].dtype)
    if not any(wanted[1:]):
        return by_v, None, None, None, None
    return by_v, *(by.to(t.dtype) for by, t in zip(by_tables.unbind(0), tables, strict=True)), None


mixture.register_autograd(_backward, setup_context=_setup)
root.register_autograd(_backward_root, setup_context=_setup_root)
