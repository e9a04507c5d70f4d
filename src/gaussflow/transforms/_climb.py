"""Climbing a projection index over orthonormal directions, and completing a few directions to a whole basis."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from gaussflow.ops.orthogonal import fix_signs
from gaussflow.rows import Rows

WIDEST_TURN = 0.5  # radians that a direction may move in one step: farther, the slope says nothing
LEAST_TURN = 1e-6
LEAST_GAIN = 1e-3  # of the height reached: a climb that gains less in each of two steps has arrived

Index = Callable[[Tensor], tuple[Tensor, Tensor]]  # directions (k, D) to heights (k,) and their gradients (k, D)


def common_units(rows: Rows, size: int, seed: int) -> tuple[Tensor, Tensor]:
    """A sample (n, D) about its mean, in the one unit that makes its mean variance 1, and that unit () or 0.

    Centred and scaled by the widest half range first, so that no offset cancels and no square overflows.
    """
    x = rows.sample(size, seed)[0].double()
    low, high = x.aminmax(dim=0)
    unit = (high / 2 - low / 2).amax()
    x = (x - (low / 2 + high / 2)) / torch.where(unit > 0, unit, 1.0)
    x = x - x.mean(0)
    scale = x.square().mean().sqrt()
    return x / torch.where(scale > 0, scale, 1.0), scale


def completed(directions: Tensor, generator: torch.Generator) -> Tensor:
    """An orthogonal matrix (D, D) that starts with orthonormal directions (k, D); the rest is Haar in what they leave.

    A Gaussian matrix without its part along the directions has the same law in every basis of their complement.
    """
    k, dim = directions.shape
    gaussian = torch.randn(dim, dim - k, generator=generator, dtype=torch.float64).to(directions.device)
    for _ in range(2):  # twice is enough to be orthogonal to rounding
        gaussian = gaussian - directions.T @ (directions @ gaussian)
    return torch.cat([directions, fix_signs(*torch.linalg.qr(gaussian)).T])


def climbed(directions: Tensor, index: Index, steps: int) -> Tensor:
    r"""Climb the sum of an index over orthonormal directions (k, D) by Riemannian gradients.

    The gradient G is made tangent, :math:`G - W G^\top W`, and a step is brought back by the sign-fixed Q of a QR
    factorisation. Its size is that of Barzilai & Borwein (1988), cut to a quarter until it gains.
    """
    w = directions
    here, slope = _at(w, index)
    size, slow = _longest(slope), 0
    for _ in range(steps):
        tried, there, after = _tried(w, slope, size, index)
        while there <= here:
            size = size / 4
            if float(size / _longest(slope)) * WIDEST_TURN < LEAST_TURN:
                return w
            tried, there, after = _tried(w, slope, size, index)
        slow = slow + 1 if there - here < LEAST_GAIN * there.abs() else 0
        move, bend = tried - w, after - slope
        size = torch.minimum(move.square().sum() / (move * bend).sum().abs().clamp(min=1e-300), _longest(after))
        w, here, slope = tried, there, after
        if slow == 2:
            break
    return w


def _at(w: Tensor, index: Index) -> tuple[Tensor, Tensor]:
    """The sum of the index and its tangent gradient (k, D)."""
    heights, gradient = index(w)
    return heights.sum(), gradient - w @ gradient.T @ w


def _tried(w: Tensor, slope: Tensor, size: Tensor, index: Index) -> tuple[Tensor, Tensor, Tensor]:
    turned = fix_signs(*torch.linalg.qr((w + size * slope).T)).T
    return turned, *_at(turned, index)


def _longest(slope: Tensor) -> Tensor:
    """The size of step that turns the fastest direction by the widest turn."""
    fastest: Tensor = slope.norm(dim=1).amax()
    return WIDEST_TURN / fastest.clamp(min=1e-300)
