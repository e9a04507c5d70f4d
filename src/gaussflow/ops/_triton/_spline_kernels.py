"""The spline on the device; the formulas and the care for rounding are those of `gaussflow.ops._spline`.

A tile reads the tables (K, C) of its columns once for all of its rows. Where knots are few, each is compared with all
numbers of the tile and what a bin holds is chosen by selections, so that nothing is gathered; where they are many, by a
binary search. The gradients are those of `gaussflow.ops._spline_gradients`, in a form that takes any bin.
"""

from __future__ import annotations

import torch
import triton
import triton.language as tl

from gaussflow.ops._triton._common import configs, floored, part, read, tile, within

SIDE = tl.constexpr(torch.finfo(torch.float32).tiny ** 0.25)  # the least side of a bin, so that no secant overflows


@triton.jit
def knots_around(v, knots, xs, zs, slopes, xk, zk, dk, there, K: tl.constexpr, STEPS: tl.constexpr):
    """x, z and slope at both ends of the bin of v by the line ``knots``, xs or zs, and the bin's index."""
    zero = tl.zeros_like(v)
    index = zero.to(tl.int32)
    if STEPS == 0:
        x0, x1 = zero + read(xs, 0, there), zero + read(xs, xk, there)
        z0, z1 = zero + read(zs, 0, there), zero + read(zs, zk, there)
        d0, d1 = zero + read(slopes, 0, there), zero + read(slopes, dk, there)
        for k in range(1, K - 1):
            reached = v >= read(knots[0], k * knots[1], there)
            index = tl.where(reached, k, index)
            x0 = tl.where(reached, read(xs, k * xk, there), x0)
            x1 = tl.where(reached, read(xs, (k + 1) * xk, there), x1)
            z0 = tl.where(reached, read(zs, k * zk, there), z0)
            z1 = tl.where(reached, read(zs, (k + 1) * zk, there), z1)
            d0 = tl.where(reached, read(slopes, k * dk, there), d0)
            d1 = tl.where(reached, read(slopes, (k + 1) * dk, there), d1)
    else:
        for i in tl.static_range(STEPS):
            ahead = index + (1 << (STEPS - 1 - i))
            reached = (ahead <= K - 2) & (v >= read(knots[0], tl.minimum(ahead, K - 2) * knots[1], there))
            index = tl.where(reached, ahead, index)
        x0, x1 = read(xs, index * xk, there), read(xs, (index + 1) * xk, there)
        z0, z1 = read(zs, index * zk, there), read(zs, (index + 1) * zk, there)
        d0, d1 = read(slopes, index * dk, there), read(slopes, (index + 1) * dk, there)
    return x0, x1, z0, z1, d0, d1, index


@triton.jit
def scaled(x0, x1, z0, z1, d0, d1):
    """Sides w and h, and the largest of the secant and the slopes, and the three divided by it."""
    w, h = x1 - x0, z1 - z0
    w, h = tl.where(w < SIDE, SIDE, w), tl.where(h < SIDE, SIDE, h)
    s = h / w
    n = tl.maximum(s, tl.maximum(d0, d1))
    return w, h, n, s / n, d0 / n, d1 / n


@triton.jit
def one_root(b, root, s, eta):
    """Of the two forms of the root the one that adds."""
    q = tl.abs(b) + root
    top, bottom = tl.where(b >= 0, 2 * s * eta, q), tl.where(b >= 0, q, 2 * (s - b))
    return within(top / floored(bottom), 0.0, 1.0)


@triton.jit
def roots(eta, rest, s, d0, d1):
    """The local coordinate at relative height eta and one less it, as `gaussflow.ops._spline.stable_quadratic_root`."""
    b = d0 * rest + eta * (2 * s - d1)
    other = d1 * eta + rest * (2 * s - d0)
    c = tl.abs(b - s)
    across = tl.where(b >= s, rest, eta)
    root = tl.sqrt_rn(floored((c - s) * (c - s) + 4 * s * c * across))
    return one_root(b, root, s, eta), one_root(other, root, s, rest)


@triton.jit
def local(v, start, end, side):
    """How far v is from the start and from the end of a bin, in units of its side, as they sum to one."""
    return (v - start) / side, ((end - v) + (side - (end - start))) / side


@triton.jit
def mapped(v, xs, zs, slopes, xk, zk, dk, there, K: tl.constexpr, STEPS: tl.constexpr, INVERSE: tl.constexpr):
    """Value and log-slope of v, forward or inverse, under tables at pointers to columns that are ``there``."""
    knots = (zs, zk) if INVERSE else (xs, xk)
    x0, x1, z0, z1, d0, d1, _ = knots_around(v, knots, xs, zs, slopes, xk, zk, dk, there, K, STEPS)
    w, h, n, s, p, q = scaled(x0, x1, z0, z1, d0, d1)
    inside = within(v, read(knots[0], 0, there), read(knots[0], (K - 1) * knots[1], there))
    beyond = v - inside
    if INVERSE:
        eta, rest = local(inside, z0, z1, h)
        xi, rest = roots(eta, rest, s, p, q)
    else:
        xi, rest = local(inside, x0, x1, w)
    both = xi * rest
    shrink = s / (s * (xi * xi + rest * rest) + (p + q) * both)
    if INVERSE:
        found = x0 + w * xi + tl.where(beyond > 0, beyond / d1, beyond / d0)
    else:
        found = z0 + h * (xi * (xi + p * rest / s) * shrink) + tl.where(beyond > 0, beyond * d1, beyond * d0)
    steep = tl.log(n * (q * xi * xi + 2 * s * both + p * rest * rest) * shrink) + tl.log(shrink)
    return found, (-steep if INVERSE else steep)


@triton.autotune(configs(), key=["K", "BUCKET", "INVERSE"])
@triton.jit
def map_kernel(
    v, xs, zs, slopes, value, log_slope, rows, columns, vr, vc, xk, xc, zk, zc, dk, dc, largest,
    K: tl.constexpr, STEPS: tl.constexpr, BUCKET: tl.constexpr, INVERSE: tl.constexpr,
    BLOCK_R: tl.constexpr, BLOCK_C: tl.constexpr,
):  # fmt: skip
    """Values and log-slopes of v (rows, columns), forward or inverse."""
    r, c = tile(columns, BLOCK_R, BLOCK_C)
    column, there = c < columns, (r < rows) & (c < columns)
    v = read(v, r * vr + c * vc, there)
    xs, zs, slopes = xs + c * xc, zs + c * zc, slopes + c * dc
    xk, zk, dk = tl.cast(xk, tl.int64), tl.cast(zk, tl.int64), tl.cast(dk, tl.int64)
    found, steep = mapped(v, xs, zs, slopes, xk, zk, dk, column, K, STEPS, INVERSE)
    place = r * columns + c
    tl.store(value + place, within(found, -largest, largest), mask=there)
    tl.store(log_slope + place, steep, mask=there)


@triton.jit
def slopes_of(xi, rest, s, p, q):
    """The relative height V; derivatives by xi, log s, d0 and d1 of V and of the log-slope, over their scale."""
    both, xx, rr = xi * rest, xi * xi, rest * rest
    bottom, top = s * (xx + rr) + (p + q) * both, q * xx + 2 * s * both + p * rr
    height, left = xi * (s * xi + p * rest) / bottom, rest * (s * rest + q * xi) / bottom
    rise = (top / bottom) * (s / bottom)
    bend = 2 * (q * xi - p * rest + s * (rest - xi)) / top - 2 * (xi - rest) * (2 * s - p - q) / bottom
    share = both / bottom
    height_p, height_q = share * left, -share * height
    bend_p, bend_q = rr / top - 2 * share, xx / top - 2 * share
    height_s = -(p * height_p + q * height_q)
    bend_s = 2 * s * both / top + 2 * (p + q) * share
    return height, rise, bend, height_p, height_q, height_s, bend_p, bend_q, bend_s


@triton.jit
def gradients_of(v, x0, x1, z0, z1, d0, d1, low, high, a, b, largest, INVERSE: tl.constexpr):
    """Gradients by v and by the six numbers of its bin, of a times the value plus b times the log-slope."""
    w, h, n, s, p, q = scaled(x0, x1, z0, z1, d0, d1)
    inside = within(v, low, high)
    beyond = within(v - inside, -largest, largest)  # finite, as it is multiplied by zeros
    if INVERSE:
        eta, rest = local(inside, z0, z1, h)
        xi, rest = roots(eta, rest, s, p, q)
    else:
        xi, rest = local(inside, x0, x1, w)
    height, rise, bend, height_p, height_q, height_s, bend_p, bend_q, bend_s = slopes_of(xi, rest, s, p, q)
    bend = tl.where(beyond == 0, bend, 0.0)
    steep = tl.where(beyond > 0, d1, d0)
    if INVERSE:  # at the point found these are the gradients of the spline with others in place of a and b
        a = tl.where(tl.abs(beyond / steep) > largest, 0.0, a)
        beyond = within(beyond / steep, -largest, largest)
        by_v = (a - b * bend / w) * (w / h) / floored(rise)
        along = tl.where(beyond == 0, -a, 0.0)
        a, b = -by_v, -b
    else:
        a = tl.where(tl.abs(beyond * steep) > largest, 0.0, a)
        along = tl.where(beyond == 0, (a * h * rise + b * bend) / w, 0.0)
        by_v = tl.where(beyond == 0, along, a * steep)
    over, under = tl.where(beyond > 0, a, 0.0), tl.where(beyond < 0, a, 0.0)
    wide, high = x1 - x0 >= SIDE, z1 - z0 >= SIDE
    by_log_s = a * h * height_s + b * bend_s
    by_w, by_h = tl.where(wide, -by_log_s / w, 0.0), tl.where(high, by_log_s / h + a * height, 0.0)
    by_x0 = -along * rest - by_w - under * d0
    by_x1 = -along * xi + by_w - over * d1
    by_d0 = (a * h * height_p + b * bend_p) / n + under * beyond
    by_d1 = (a * h * height_q + b * bend_q) / n + over * beyond
    return by_v, by_x0, by_x1, a - by_h, by_h, by_d0, by_d1


@triton.jit
def summed(index, k, left, right):
    """The sum (C,) over rows of what the bins left and right of knot k give it."""
    return tl.sum(tl.where(index == k - 1, right, 0.0) + tl.where(index == k, left, 0.0), 0)


@triton.autotune(configs(), key=["K", "BUCKET", "INVERSE", "SINGLE", "TABLES"])
@triton.jit
def gradient_kernel(
    v, xs, zs, slopes, a, b, by_v, by_tables, rows, columns, parts, vr, vc, xk, xc, zk, zc, dk, dc, ar, ac, br, bc,
    largest, K: tl.constexpr, PADDED: tl.constexpr, STEPS: tl.constexpr, BUCKET: tl.constexpr, INVERSE: tl.constexpr,
    SINGLE: tl.constexpr, TABLES: tl.constexpr, BLOCK_R: tl.constexpr, BLOCK_C: tl.constexpr,
):  # fmt: skip
    """Gradients by v (rows, columns), and of each part of the rows the sums (3, K, columns) for the tables.

    ``SINGLE`` where there is one row only, as where every number has tables of its own.
    """
    which, c = part(columns, BLOCK_C)
    column, ks = c < columns, tl.arange(0, PADDED)[:, None]
    xs, zs, slopes = xs + c * xc, zs + c * zc, slopes + c * dc
    xk, zk, dk = tl.cast(xk, tl.int64), tl.cast(zk, tl.int64), tl.cast(dk, tl.int64)
    knots = (zs, zk) if INVERSE else (xs, xk)
    low, high = read(knots[0], 0, column), read(knots[0], (K - 1) * knots[1], column)
    by_tables += which * (3 * K * columns) + c
    block = K * tl.cast(columns, tl.int64)
    by_xs = tl.zeros((PADDED, BLOCK_C), tl.float32)
    by_zs, by_slopes = tl.zeros_like(by_xs), tl.zeros_like(by_xs)
    for start in range(which * BLOCK_R, rows, parts * BLOCK_R):
        r = start + tl.arange(0, BLOCK_R)[:, None]
        there = (r < rows) & column
        point = read(v, r * vr + c * vc, there)
        x0, x1, z0, z1, d0, d1, index = knots_around(point, knots, xs, zs, slopes, xk, zk, dk, column, K, STEPS)
        ga, gb = read(a, r * ar + c * ac, there), read(b, r * br + c * bc, there)
        found, x0, x1, z0, z1, d0, d1 = gradients_of(point, x0, x1, z0, z1, d0, d1, low, high, ga, gb, largest, INVERSE)
        tl.store(by_v + r * columns + c, found, mask=there)
        if TABLES:
            for k in range(0, K):
                at = tl.cast(k, tl.int64) * columns
                by_x, by_z, by_d = summed(index, k, x0, x1), summed(index, k, z0, z1), summed(index, k, d0, d1)
                if SINGLE:
                    tl.store(by_tables + at, by_x[None, :], mask=column)
                    tl.store(by_tables + block + at, by_z[None, :], mask=column)
                    tl.store(by_tables + 2 * block + at, by_d[None, :], mask=column)
                else:
                    by_xs += tl.where(ks == k, by_x[None, :], 0.0)
                    by_zs += tl.where(ks == k, by_z[None, :], 0.0)
                    by_slopes += tl.where(ks == k, by_d[None, :], 0.0)
    if TABLES and not SINGLE:
        at, there = ks * tl.cast(columns, tl.int64), (ks < K) & column
        tl.store(by_tables + at, by_xs, mask=there)
        tl.store(by_tables + block + at, by_zs, mask=there)
        tl.store(by_tables + 2 * block + at, by_slopes, mask=there)
