r"""The spline in a form that a compiler makes one loop of: no index, few numbers to read, few divisions.

What the tables say at both ends of a bin is chosen by comparing with knots, which a processor does for sixteen numbers
at a time, where reading by an index goes one by one. The formulas are those of
`gaussflow.ops._spline`; with :math:`q = s / D` the slope is :math:`q^2 (d_1 \xi^2 + 2 s\,\xi(1-\xi) + d_0 (1-\xi)^2)`:
one logarithm for both. A slope below the smallest normal number has the logarithm of that.
"""

from __future__ import annotations

import torch
from torch import Tensor

from gaussflow.ops._finite import saturate

MOST_KNOTS = 34  # inner ones and the two at the ends: beyond, reading by an index is level, and compiles sooner

ROOT_HALF_BITS, MANTISSA = 0x3F3504F3, 23  # those of the root of a half, and how many a significand has
LOG_2_HIGH, LOG_2_LOW = 0.693359375, -2.12194440e-4  # the first has few digits: its multiples are exact
LOG_SERIES = (0.33333331, -0.25000808, 0.20001267, -0.16623801, 0.14201383, -0.13156042, 0.12761833, -0.07644505)


def forward(x: Tensor, xs: Tensor, zs: Tensor, slopes: Tensor) -> tuple[Tensor, Tensor]:
    """Values and log-slopes (...) of x (...) under tables (K, ...), as `gaussflow.ops._spline.rq_spline` has them."""
    x0, x1, z0, z1, d0, d1 = _ends(x, xs, zs, slopes)
    inside = torch.clamp(x, xs[0], xs[-1])
    per_w, xi, rest = _local(inside, x0, x1)
    h = _side(z1 - z0)
    relative, slope = _rational(xi, rest, h * per_w, d0, d1)
    outside = x - inside
    return saturate(z0 + h * relative + outside * torch.where(outside > 0, d1, d0)), _log(slope)


def inverse(z: Tensor, xs: Tensor, zs: Tensor, slopes: Tensor) -> tuple[Tensor, Tensor]:
    """Points and log-slopes of the inverse (...), as `gaussflow.ops._spline.rq_spline_inverse` has them."""
    z0, z1, x0, x1, d0, d1 = _ends(z, zs, xs, slopes)
    inside = torch.clamp(z, zs[0], zs[-1])
    _, eta, rest = _local(inside, z0, z1)
    w = _side(x1 - x0)
    s = _side(z1 - z0) / w
    largest = torch.maximum(s, torch.maximum(d0, d1))  # divided out, so that no square overflows
    per_n = 1 / largest
    a, b0, b1 = s * per_n, d0 * per_n, d1 * per_n
    xi, rest = _roots(eta, rest, a, b0, b1)
    _, slope = _rational(xi, rest, a, b0, b1)
    outside = z - inside
    return saturate(x0 + w * xi + outside / torch.where(outside > 0, d1, d0)), -_log(largest * slope)


def _ends(x: Tensor, *tables: Tensor) -> list[Tensor]:
    """What each of the tables (K, ...) says at both ends of the bin of the first that holds x (...).

    All bins are halved until one is left: three comparisons for eight bins, and ten choices for each table.
    """
    found = [list(table.unbind(0)) for table in tables]
    while (last := len(found[0]) - 1) > 1:
        middle = (last + 1) // 2
        past = x >= found[0][middle]
        halves = ((table[: middle + 1], table[last - middle :]) for table in found)
        found = [[torch.where(past, high, low) for low, high in zip(*both, strict=True)] for both in halves]
    return [end for table in found for end in table]


def _local(x: Tensor, start: Tensor, end: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """One over the side of a bin, and how far x is from its start and its end in units of the side, one together."""
    width = end - start
    side = _side(width)
    per_side = 1 / side
    return per_side, (x - start) * per_side, (end - x + (side - width)) * per_side


def _rational(xi: Tensor, rest: Tensor, s: Tensor, d0: Tensor, d1: Tensor) -> tuple[Tensor, Tensor]:
    """Relative height in [0, 1] and slope."""
    both, start, end = xi * rest, rest * rest, xi * xi
    per_d = 1 / (s * (end + start) + (d0 + d1) * both)
    q = s * per_d
    return xi * (s * xi + d0 * rest) * per_d, q * (d1 * end + 2 * s * both + d0 * start) * q


def _roots(eta: Tensor, rest: Tensor, s: Tensor, d0: Tensor, d1: Tensor) -> tuple[Tensor, Tensor]:
    """`gaussflow.ops._spline.stable_quadratic_root`, by choices instead of products with masks."""
    b, other = d0 * rest + eta * (2 * s - d1), d1 * eta + rest * (2 * s - d0)
    c = (b - s).abs()
    root = _floored((c - s) * (c - s) + 4 * s * c * torch.where(b >= s, rest, eta)).sqrt()
    return _root(b, root, s, eta), _root(other, root, s, rest)


def _root(b: Tensor, root: Tensor, s: Tensor, eta: Tensor) -> Tensor:
    q = b.abs() + root
    top, bottom = torch.where(b >= 0, 2 * s * eta, q), torch.where(b >= 0, q, 2 * (s - b))
    return (top / _floored(bottom)).clamp(0, 1)


def _log(slope: Tensor) -> Tensor:
    r"""The logarithm of a slope (...), to 1e-7 in single precision: that of a power of two and a short series.

    With :math:`x = 2^e (1 + f)` and :math:`\sqrt{1/2} \le 1 + f < \sqrt 2`, e and f are read off the bits of x, and
    :math:`\log x = e \log 2 + f - f^2 / 2 + f^3 p(f)`, where p is a polynomial of least relative error.
    """
    slope = _floored(slope)
    if slope.dtype != torch.float32:
        return slope.log()
    bits = slope.view(torch.int32)
    exponent = (bits - ROOT_HALF_BITS) >> MANTISSA
    f = (bits - (exponent << MANTISSA)).view(torch.float32) - 1
    series = torch.full_like(f, LOG_SERIES[-1])
    for coefficient in LOG_SERIES[-2::-1]:
        series = series * f + coefficient
    small = f + f * f * (f * series - 0.5)
    found = exponent * LOG_2_HIGH + (small + exponent * LOG_2_LOW)
    return torch.where(slope < torch.inf, found, slope)


def _floored(x: Tensor) -> Tensor:
    return x.clamp(min=torch.finfo(x.dtype).tiny)


def _side(x: Tensor) -> Tensor:
    """At least the fourth root of the smallest normal number, as in `gaussflow.ops._spline`."""
    return x.clamp(min=torch.finfo(x.dtype).tiny ** 0.25)
