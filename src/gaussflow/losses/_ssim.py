"""Structural similarity at every scale in ordinary operations: any device, any transform, any order of derivative."""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor

K1, K2 = 0.01, 0.03  # C1 = (K1 L)^2 and C2 = (K2 L)^2 of the paper


class Scales(NamedTuple):
    """What the index is computed with: the data range L, side and width of the window, and the number of scales."""

    data_range: float
    window: int
    sigma: float
    levels: int


class Frame(NamedTuple):
    """What every plane is divided by, and the constants in that unit, each (...): see `frame`."""

    unit: Tensor
    c1: Tensor
    c2: Tensor


def gaussian_taps(window: int, sigma: float) -> tuple[float, ...]:
    r"""The taps :math:`\propto \exp(-i^2 / 2 \sigma^2)` of an odd window, which sum to one."""
    bell = [math.exp(-0.5 * (i / sigma) ** 2) for i in range(-(window // 2), window // 2 + 1)]
    return tuple(tap / math.fsum(bell) for tap in bell)


def blur(z: Tensor, taps: tuple[float, ...], dims: tuple[int, int]) -> Tensor:
    r"""The weighted mean of every whole window; each of the two axes loses ``len(taps) - 1``.

    Along an axis it is :math:`z_0 + \sum_i w_i (z_i - z_0)` and not :math:`\sum_i w_i z_i`: a constant comes out as it
    is, so that variances as differences of moments are exactly zero where an image is flat, not rounding.
    """
    half = len(taps) // 2
    for dim in dims:
        size = z.shape[dim] - 2 * half
        middle = z.narrow(dim, half, size)
        total = middle
        for i in range(half):
            pair = (z.narrow(dim, i, size) - middle) + (z.narrow(dim, 2 * half - i, size) - middle)
            total = torch.add(total, pair, alpha=taps[i])
        z = total
    return z


def halve(z: Tensor) -> Tensor:
    """Means of 2 x 2 pixels of z (..., H, W); an odd side is extended by its own last pixel: (..., ⌈H/2⌉, ⌈W/2⌉)."""
    for dim in (-2, -1):
        if z.shape[dim] % 2:
            z = torch.cat([z, z.narrow(dim, z.shape[dim] - 1, 1)], dim)
    z = z[..., ::2, :] + z[..., 1::2, :]
    return (z[..., ::2] + z[..., 1::2]) / 4


def frame(x: Tensor, y: Tensor, data_range: float) -> Frame:
    """The unit of each pair of planes (..., H, W): the power of two below its largest number or the data range.

    Dividing images and data range by one number leaves the index as it is; a power of two divides exactly, and no
    square overflows or vanishes. The constants are kept above the rounding of squares, or a window without
    contrast would be divided by nothing where the data is 10^5 data ranges large.
    """
    x, y = x.detach(), y.detach()
    ends = torch.stack([x.amax((-2, -1)), -x.amin((-2, -1)), y.amax((-2, -1)), -y.amin((-2, -1))])
    unit = ends.amax(0).clamp(min=data_range).log2().floor().clamp(-120, 120).exp2()
    floor = (16 * torch.finfo(x.dtype).eps) ** 2
    ratio = (data_range / unit).square().clamp(min=floor)
    return Frame(unit, K1**2 * ratio, K2**2 * ratio)


def scale_means(x: Tensor, y: Tensor, scales: Scales) -> Tensor:
    r"""The mean of contrast-structure, at the coarsest scale times luminance (..., levels), of planes (..., H, W).

    With :math:`s = x + y` and :math:`d = x - y` the variances :math:`v` of a window give

    .. math:: \mathrm{cs} = \frac{2 \sigma_{xy} + C_2}{\sigma_x^2 + \sigma_y^2 + C_2}
              = \frac{v_s + 2 C_2 - v_d}{v_s + 2 C_2 + v_d}

    which is within [-1, 1] whatever the rounding, and one exactly where :math:`d = 0`. Variances are taken about the
    mean of the plane: about zero, those of a bright image are rounding.
    """
    unit, c1, c2 = (number[..., None, None] for number in frame(x, y, scales.data_range))
    x, y = x / unit, y / unit
    at_x, at_y = (z.detach().mean((-2, -1), keepdim=True) for z in (x, y))
    s, d = x + y - (at_x + at_y), x - y - (at_x - at_y)
    means, taps = [], gaussian_taps(scales.window, scales.sigma)
    for i in range(scales.levels):
        ms, md, qs, qd = (blur(z, taps, (-2, -1)) for z in (s, d, s * s, d * d))
        above, vd = _positive(qs - ms * ms) + 2 * c2, _positive(qd - md * md)
        cs = (above - vd) / (above + vd)
        if i == scales.levels - 1:
            cs = cs * luminance((ms + md) / 2 + at_x, (ms - md) / 2 + at_y, c1)
        means.append(cs.sum((-2, -1)) / (cs.shape[-2] * cs.shape[-1]))  # not mean: ones must give one everywhere
        s, d = (halve(s), halve(d)) if i < scales.levels - 1 else (s, d)
    return torch.stack(means, -1)


def luminance(mx: Tensor, my: Tensor, c1: Tensor) -> Tensor:
    r""":math:`(2 \mu_x \mu_y + C_1) / (\mu_x^2 + \mu_y^2 + C_1)`, written so that it is one exactly for equal means."""
    product = 2 * mx * my + c1
    return product / (product + (mx - my).square())


def _positive(v: Tensor) -> Tensor:
    """Variance without what rounding puts below zero; the slope goes through, since the true variance is not there."""
    return v + (v.clamp(min=0) - v).detach()
