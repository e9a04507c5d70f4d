"""A rotation and the splines behind it in one pass over memory, where a kernel has it."""

from __future__ import annotations

import torch
from torch import Tensor

from gaussflow.ops._kernels import take_kernel

MOST_COLUMNS, MOST_BACK = 512, 64  # more are bound by the product, which others do better; back, a program holds all


def turned_spline(
    x: Tensor, matrix: Tensor, tables: tuple[Tensor, ...], *, inverse: bool
) -> tuple[Tensor, Tensor] | None:
    r"""The splines :math:`S((x M - \text{loc}) / \text{scale})`, or where inverse the points they come from, times M.

    Without gradients, by a kernel; None where it does not take these tensors. ``x`` is (N, D), ``matrix`` (D, D), and
    ``tables`` are loc and scale (D,), and knots, their values and slopes, each (K, D), as `rq_spline` takes them.
    Returns points (N, D) and log-determinants (N,).
    """
    columns = x.shape[-1]
    if x.dim() != 2 or columns > (MOST_BACK if inverse else MOST_COLUMNS) or not take_kernel(x, matrix, *tables):
        return None
    from gaussflow.ops._triton._block import block

    with torch.no_grad():
        found: tuple[Tensor, Tensor] = block(x, matrix, tables, inverse)
    return found
