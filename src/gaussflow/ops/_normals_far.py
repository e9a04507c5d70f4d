r"""Mixtures of normal laws far from the middle and in gaps, where logarithms are taken and exponents need more digits.

Components that lie 10 of their scales away and are equally likely have exponents of 50, and :math:`z e^L` and the mean
of :math:`u_i / s_i` nearly cancel in the gradient by x of the log-slope L. In single precision that would cost a digit
of the promised 1e-6 and 1e-5. Few points of data lie there, so they are mapped with exponents, and differentiated
altogether, in double precision.
"""

from __future__ import annotations

import torch
from torch import Tensor

from gaussflow.ops._finite import saturate, side
from gaussflow.ops._tails import INVERSE_SQRT_2PI, LOG_SQRT_2PI, mills_ratio, normal_tail_quantile, tail_ratio


def far_values(x: Tensor, ends: tuple[Tensor, Tensor], tables: tuple[Tensor, ...]) -> tuple[Tensor, Tensor]:
    """z and its log-slope at x (..., D) by way of logarithms; tables (K, D) of log-weights, means and log-scales.

    ``ends`` (D,) each are those of the interval beyond which the map is a straight line.
    """
    shape = (-1, *[1] * (x.dim() - 1), x.shape[-1])
    log_weights, means, log_scales = (t.view(shape) for t in tables)
    inside, per_scale = torch.clamp(x, *ends), (-log_scales.double()).exp()
    u = (inside.double() - means.double()).mul_(per_scale)
    exponent, single = u.square().mul_(-0.5).add_(log_weights), u.to(x.dtype)
    top = exponent.amax(0)
    relative = exponent.sub_(top).to(x.dtype).exp_()
    sign = side(single)
    density = (relative * (INVERSE_SQRT_2PI * per_scale).to(x.dtype)).sum(0).log_()
    ratio = tail_ratio(single.mul_(sign), INVERSE_SQRT_2PI)
    z, log_slope = by_smaller_tail(relative, top.to(x.dtype), ratio, density, sign, log_weights.exp())
    return saturate(z.addcmul_(x - inside, log_slope.exp())), log_slope


def by_smaller_tail(
    relative: Tensor, top: Tensor, ratio: Tensor, density: Tensor, sign: Tensor, weights: Tensor
) -> tuple[Tensor, Tensor]:
    """z and its log-slope (...), as `gaussflow.ops.mixture.tails_to_normal` says.

    Tails (K, ...) are ``ratio`` times the exponentials ``relative`` to the largest, whose logarithm is ``top`` (...);
    ``density`` (...) is the logarithm of the density relative to it, and ``sign`` (K, ...) the side of each mean.
    """
    after = 0.5 + 0.5 * sign
    tail = relative * ratio
    both, excess = tail.sum(0), (tail * sign).sum(0)
    after = weights * after
    passed, ahead = after.sum(0), (weights - after).sum(0)
    unit = top.exp()
    p, q = passed - unit * excess, ahead + unit * excess
    one_sided = (passed * ahead == 0).to(top.dtype)
    right = side(p - q)
    smaller = torch.lerp(p, q, 0.5 + 0.5 * right)  # a minimum would halve the gradients of two equal tails, as in a gap
    log_part = (one_sided * both + (1 - one_sided) * smaller).log()
    scale = one_sided * top
    v = normal_tail_quantile(log_part + scale)
    return v * right, density + (top - scale) - log_part + mills_ratio(v).log()


def far_gradients(x: Tensor, tables: tuple[Tensor, ...], z: Tensor, gz: Tensor, gl: Tensor) -> tuple[Tensor, ...]:
    """The gradient by x (..., D) and what each point gives to the three tables, (K, ..., D) each, in double precision.

    z (..., D) is that of x, which lies where the map is that of the mixture; only its sign is used.
    The formulas are those of `gaussflow.ops._normals`, with shares and slopes from logarithms: the tail of a component
    on the side of z is :math:`e^{a} m`, a its exponent and m the Mills ratio, and one less that where its mean lies
    further out.
    """
    shape = (-1, *[1] * (x.dim() - 1), x.shape[-1])
    log_weights, means, log_scales = (t.double().view(shape) for t in tables)
    gz, gl, sign, per_scale = gz.double(), gl.double(), side(z).double(), (-log_scales).exp()
    u = (x.double() - means).mul_(per_scale)
    exponent = u.square().mul_(-0.5)
    outward = u * sign
    part = exponent.exp().mul_(tail_ratio(outward.abs(), INVERSE_SQRT_2PI))
    passed = tail_ratio(outward.clamp(min=0), INVERSE_SQRT_2PI).log_().add_(exponent)
    log_tail = torch.where(outward >= 0, passed, torch.log1p(-part)).add_(log_weights)
    log_density = exponent.add_(log_weights - log_scales)
    total, total_tail = log_density.logsumexp(0), log_tail.logsumexp(0)
    v = normal_tail_quantile(total_tail)
    mills = mills_ratio(v)
    slope = (total - total_tail - LOG_SQRT_2PI).exp_().mul_(mills)
    b = gz + gl * (v * sign)
    share = log_density.sub_(total).exp_()
    by_mean = (u * per_scale).mul_(gl).sub_(b * slope).mul_(share)
    by_scale = (by_mean * u).div_(per_scale).sub_(share.mul_(gl))
    by_weight = share - log_tail.sub_(total_tail).exp_().mul_(b * mills * sign)
    return -by_mean.sum(0), by_weight, by_mean, by_scale
