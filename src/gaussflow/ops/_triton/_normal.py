"""The logarithm of the normal CDF and the quantile of log-tails as operators of torch, with their gradients."""

from __future__ import annotations

from typing import Any

import torch
import triton
from torch import Tensor
from torch.library import wrap_triton

from gaussflow.ops._kernels import REFERENCES
from gaussflow.ops._recompute import gradients_by_itself, is_transformed
from gaussflow.ops._triton._common import new, operator, promoted
from gaussflow.ops._triton._normal_kernels import (
    log_cdf_gradient_kernel,
    log_cdf_kernel,
    quantile_gradient_kernel,
    quantile_kernel,
)


def _run(kernel: Any, inputs: tuple[Tensor, ...], *outputs: Tensor) -> None:
    """Fill the outputs, number by number of the inputs, all of one shape."""
    count = inputs[0].numel()
    if count:
        whole = (t.contiguous() for t in inputs)
        wrap_triton(kernel)[lambda block: (triton.cdiv(count, block["BLOCK"]),)](*whole, *outputs, count)


def _like(t: Tensor, dtype: torch.dtype) -> Tensor:
    return new(t, tuple(t.shape), dtype)


def _fake(z: Tensor) -> Tensor:
    return _like(z, z.dtype)


@operator("log_normal_cdf", _fake)
def log_cdf(z: Tensor) -> Tensor:
    """log Φ(z) (...)."""
    value = _fake(z)
    _run(log_cdf_kernel, (z,), value)
    return value


def _fake_gradient(z: Tensor, a: Tensor) -> Tensor:
    return _like(z, z.dtype)


@operator("log_normal_cdf_gradient", _fake_gradient)
def log_cdf_gradient(z: Tensor, a: Tensor) -> Tensor:
    """The gradient by z of what has gradient a by log Φ(z)."""
    by_z = _fake_gradient(z, a)
    _run(log_cdf_gradient_kernel, (z, a), by_z)
    return by_z


def _fake_quantile(p: Tensor, q: Tensor) -> Tensor:
    return _like(p, promoted(p, q))


@operator("normal_quantile", _fake_quantile)
def quantile(p: Tensor, q: Tensor) -> Tensor:
    """The z (...) whose log-tails are p and q."""
    value = _fake_quantile(p, q)
    _run(quantile_kernel, (p, q), value)
    return value


def _fake_quantile_gradients(p: Tensor, q: Tensor, a: Tensor) -> tuple[Tensor, Tensor]:
    return _like(p, p.dtype), _like(q, q.dtype)


@operator("normal_quantile_gradients", _fake_quantile_gradients)
def quantile_gradients(p: Tensor, q: Tensor, a: Tensor) -> tuple[Tensor, Tensor]:
    """The gradients by both log-tails of what has gradient a by z."""
    found = _fake_quantile_gradients(p, q, a)
    _run(quantile_gradient_kernel, (p, q, a), *found)
    return found


def _setup(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    ctx.save_for_backward(*inputs)


def _backward(ctx: Any, a: Tensor) -> Any:
    (z,) = ctx.saved_tensors
    if torch.is_grad_enabled() or is_transformed((a,)):  # gradients of the gradients are wanted, or many at once
        return gradients_by_itself(REFERENCES["log_normal_cdf"], (z,), ctx.needs_input_grad, (a,))[0]
    return log_cdf_gradient(z, a)


def _quantile_backward(ctx: Any, a: Tensor) -> Any:
    tails = ctx.saved_tensors
    if torch.is_grad_enabled() or is_transformed((a,)):
        return gradients_by_itself(REFERENCES["normal_quantile"], tails, ctx.needs_input_grad, (a,))
    return quantile_gradients(*tails, a)


log_cdf.register_autograd(_backward, setup_context=_setup)
quantile.register_autograd(_quantile_backward, setup_context=_setup)
