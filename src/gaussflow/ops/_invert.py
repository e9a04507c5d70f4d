"""The inverse of a monotone map of every coordinate, by way of the map at a few knots."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from gaussflow.ops._finite import saturate
from gaussflow.ops._root import polished_root
from gaussflow.ops._spline import rounded_inverse
from gaussflow.ops._spline_search import bin_index, take


def invert(
    f: Callable[[Tensor], tuple[Tensor, Tensor]], z: Tensor, xs: Tensor, steps: int = 1
) -> tuple[Tensor, Tensor]:
    r"""Invert an increasing map of each coordinate, differentiably.

    The map is evaluated once at the knots. The rational-quadratic spline through these values and slopes gives the
    start, the two knots around it the bracket, and safeguarded Newton steps the root: one of them and the two of the
    polish do what from the middle of a wide bracket takes ten. Beyond the end knots the start is a straight line.

    Parameters
    ----------
    f
        Takes x (..., D) and returns z and log dz/dx, each (..., D).
    z
        Values (..., D).
    xs
        Knots (K, D), ascending; ties do no harm.
    steps
        Number of Newton steps that are not differentiated.

    Returns
    -------
    x, log_slope
        The root and log dx/dz, each (..., D).
    """
    with torch.no_grad():
        target, xs = z.detach(), xs.detach()
        zs, log_slopes = f(xs)
        start, _ = rounded_inverse(target, xs, zs, saturate(log_slopes.exp()))
        largest = torch.full_like(xs[:1], torch.finfo(xs.dtype).max)
        index = bin_index(target, torch.cat([zs[:1], zs, zs[-1:]]))  # both tails are bins of their own
        ends = torch.cat([-largest, xs, largest])
        low, high = take(ends[:-1], index), take(ends[1:], index)
    return polished_root(f, z, start, low, high, steps)
