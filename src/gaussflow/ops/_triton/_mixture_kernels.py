"""Mixture CDFs on the device; the formulas are those of `gaussflow.ops.mixture`, the gradients of `_normals`.

A number goes over the K components of its column twice: once for the largest exponent, once for the sums relative to
it, so that no tail underflows. The tables (K, C) of a tile are read for all of its rows at once.
"""

from __future__ import annotations

import math

import triton
import triton.language as tl

from gaussflow.ops._triton._common import (
    LOG_SQRT_2PI,
    configs,
    excess,
    exponential,
    floored,
    mills,
    part,
    read,
    tail_quantile,
    tile,
    within,
)

FAR = tl.constexpr(100.0)  # scales outside of every component from which on the map is a line
UNIT = tl.constexpr(1 / math.sqrt(2 * math.pi))
STEPS = tl.constexpr(80)  # of the search at most: halving a bracket 80 times ends anywhere
NEAR, CLOSE = tl.constexpr(2.4e-7), tl.constexpr(3.5e-4)  # two last digits, and from where on Newton's steps are kept
ROUNDING = tl.constexpr(1e-5)  # what is left below it and does not halve is rounding
STEEPEST = tl.constexpr(44.0)  # of the exponent of an inverse slope: its square stays finite
SLACK = tl.constexpr(1e-5)  # by which the rounding of a bracket may be wrong


@triton.jit
def law(v, LOGISTIC: tl.constexpr):
    """Exponent, and the factors of tail and density, of a component v ≥ 0 scales away."""
    if LOGISTIC:
        tail = 1 / (1 + exponential(-v))
        exponent, density = -v, tail * tail
    else:
        tail, exponent, density = mills(v) * UNIT, -0.5 * v * v, tl.zeros_like(v) + UNIT
    return exponent, tail, density


@triton.jit
def hazard(v, LOGISTIC: tl.constexpr):
    """The hazard F' / F of a component at v ≥ 0 in its tail, and how much more it is than the slope of -log F'."""
    if LOGISTIC:
        found = 1 / (1 + exponential(-v))
        more = exponential(-v) * found
    else:
        found, more = 1 / mills(v), excess(v)
    return found, more


@triton.jit
def component(x, weights, means, scales, k, columns, there):
    """u of x under component k of its column, one over its scale, and the logarithm of its weight."""
    at = tl.cast(k, tl.int64) * columns
    per_scale = exponential(-read(scales, at, there))
    return (x - read(means, at, there)) * per_scale, per_scale, read(weights, at, there)


@triton.jit
def ends(means, scales, columns, there, K: tl.constexpr):
    """Where the mixture ends below and above and the lines begin, (1, C)."""
    low = read(means, 0, there) - exponential(read(scales, 0, there)) * FAR
    high = read(means, 0, there) + exponential(read(scales, 0, there)) * FAR
    for k in range(1, K):
        at = tl.cast(k, tl.int64) * columns
        mean, room = read(means, at, there), exponential(read(scales, at, there)) * FAR
        low, high = tl.minimum(low, mean - room), tl.maximum(high, mean + room)
    return low, high


@triton.jit
def evaluated(x, weights, means, scales, columns, there, K: tl.constexpr, LOGISTIC: tl.constexpr):
    """z and its log-slope, and what the gradients need: largest exponent, tails, density and whether x is outside."""
    top = tl.zeros_like(x) - float("inf")
    for k in range(0, K):
        u, per_scale, weight = component(x, weights, means, scales, k, columns, there)
        u = tl.abs(u)
        top = tl.maximum(top, (-u if LOGISTIC else -0.5 * u * u) + weight)
    zero = tl.zeros_like(x)
    both, extra, passed, ahead, density = zero, zero, zero, zero, zero
    most, base = zero, zero
    for k in range(0, K):
        u, per_scale, weight = component(x, weights, means, scales, k, columns, there)
        exponent, tail, factor = law(tl.abs(u), LOGISTIC)
        relative = exponential(exponent + weight - top)
        weight, tail = exponential(weight), tail * relative
        both += tail
        extra += tl.where(u >= 0, tail, -tail)
        passed += tl.where(u >= 0, weight, 0.0)
        ahead += tl.where(u >= 0, 0.0, weight)
        here = relative * factor * per_scale
        density += here
        base = tl.where(here > most, hazard(tl.abs(u), LOGISTIC)[0] * per_scale, base)
        most = tl.maximum(most, here)
    more = exponential(top) * extra
    p, q = passed - more, ahead + more
    single = passed * ahead == 0
    right = p >= q
    smaller = tl.where(right, q, p)
    log_part = tl.log(tl.where(single, both, smaller))
    scale = tl.where(single, top, 0.0)
    v = tail_quantile(log_part + scale)
    log_slope = tl.log(density) + (top - scale) - log_part + tl.log(mills(v))
    return tl.where(right, v, -v), log_slope, top, both, smaller, density, single, right, base


@triton.jit
def mapped(x, weights, means, scales, columns, there, K: tl.constexpr, LOGISTIC: tl.constexpr):
    """z and its log-slope alone."""
    state = evaluated(x, weights, means, scales, columns, there, K, LOGISTIC)
    return state[0], state[1]


@triton.jit
def bracket(z, weights, means, scales, columns, there, K: tl.constexpr, LOGISTIC: tl.constexpr):
    """Where every component alone would have its root: the least and the greatest hold that of the mixture."""
    if LOGISTIC:
        v = tl.abs(z)
        log_tail = -0.5 * v * v - LOG_SQRT_2PI + tl.log(mills(v))
        y = tl.log(1 - exponential(log_tail)) - log_tail
        y = tl.where(z < 0, -y, y)
    else:
        y = z
    zero = tl.zeros_like(z)
    low, high, middle = zero + float("inf"), zero - float("inf"), zero
    for k in range(0, K):
        at = tl.cast(k, tl.int64) * columns
        mean, scale = read(means, at, there), exponential(read(scales, at, there))
        root, slack = mean + scale * y, (tl.abs(mean) + scale * (1 + tl.abs(y))) * SLACK
        low, high = tl.minimum(low, root - slack), tl.maximum(high, root + slack)
        middle += exponential(read(weights, at, there)) * root
    return low, high, middle


@triton.jit
def rooted(target, first, last, left, weights, means, scales, columns, column, K: tl.constexpr, LOGISTIC: tl.constexpr):
    """The x whose z is the target, and log dx/dz: Newton's method inside a bracket, as `polished_root`.

    Numbers that are not ``left`` are not waited for.
    """
    z_first, steep_first = mapped(first, weights, means, scales, columns, column, K, LOGISTIC)
    z_last, steep_last = mapped(last, weights, means, scales, columns, column, K, LOGISTIC)
    within_ends = within(target, z_first, z_last)
    low, high, x = bracket(within_ends, weights, means, scales, columns, column, K, LOGISTIC)
    low, high = within(low, first, last), within(high, first, last)
    x = within(x, low, high)
    before = tl.zeros_like(x) + float("inf")
    left = left & (target == target)
    step = 0
    while (step < STEPS) & (tl.max(tl.max(left.to(tl.int32), 1), 0) > 0):
        z, steep = mapped(x, weights, means, scales, columns, column, K, LOGISTIC)
        error = z - within_ends
        low, high = tl.where(left & (error < 0), x, low), tl.where(left & (error > 0), x, high)
        newton, size = x - error * exponential(tl.minimum(-steep, STEEPEST)), tl.abs(error)
        unit = 1 + tl.abs(within_ends)
        kept = (newton >= low) & (newton <= high) & ((size < 0.5 * before) | (size < unit * CLOSE))
        following = tl.where(kept, newton, 0.5 * low + 0.5 * high)
        following = tl.where(size <= unit * NEAR, within(newton, low, high), following)
        idle = (size < unit * ROUNDING) & (size >= 0.5 * before)
        done = (size <= unit * NEAR) | (following == x) | idle
        x, before = tl.where(left, following, x), size
        left = left & (done == 0)
        step += 1
    _, steep = mapped(x, weights, means, scales, columns, column, K, LOGISTIC)
    beyond = target - within_ends
    edge = tl.where(beyond > 0, last, first)
    slope = tl.where(beyond > 0, steep_last, steep_first)
    line = edge + beyond * exponential(-slope)
    steep = tl.where(beyond == 0, steep, slope)
    x = tl.where(beyond == 0, x, line)  # a NaN goes this way, too
    return x, tl.where(target == target, -steep, target)


@triton.autotune(configs(), key=["K", "BUCKET", "LOGISTIC", "INVERSE"])
@triton.jit
def mixture_kernel(
    v, weights, means, scales, value, log_slope, rows, columns, vr, vc, largest, K: tl.constexpr,
    BUCKET: tl.constexpr, LOGISTIC: tl.constexpr, INVERSE: tl.constexpr, BLOCK_R: tl.constexpr, BLOCK_C: tl.constexpr,
):  # fmt: skip
    """z and log-slopes of v (rows, columns), or the x whose z is v, and log dx/dz."""
    r, c = tile(columns, BLOCK_R, BLOCK_C)
    column, there = c < columns, (r < rows) & (c < columns)
    weights, means, scales = weights + c, means + c, scales + c
    x = read(v, r * vr + c * vc, there)
    low, high = ends(means, scales, columns, column, K)
    if INVERSE:
        z, steep = rooted(x, low, high, there, weights, means, scales, columns, column, K, LOGISTIC)
    else:
        inside = within(x, low, high)
        z, steep = mapped(inside, weights, means, scales, columns, column, K, LOGISTIC)
        z += tl.where(x == inside, 0.0, (x - inside) * exponential(steep))
    place = r * columns + c
    tl.store(value + place, within(z, -largest, largest), mask=there)
    tl.store(log_slope + place, steep, mask=there)


@triton.jit
def shares(u, per_scale, weight, top, both, density, LOGISTIC: tl.constexpr):
    """A component's share in the density and, where all lie on one side, in the tail; its tail relative to the top.

    Divisions are exact, so that a component that is alone has all of both.
    """
    exponent, tail, factor = law(tl.abs(u), LOGISTIC)
    relative = exponential(exponent + weight - top)
    return tl.div_rn(relative * factor * per_scale, density), tl.div_rn(relative * tail, both), relative * tail


@triton.jit
def bends(inside, weights, means, scales, columns, there, state, K: tl.constexpr, LOGISTIC: tl.constexpr):
    r"""The slope dz/dx, how the log-slope moves with x, and two numbers that the same for the parameters needs.

    It moves by :math:`\sum_i r_i \psi_i / s_i + z\,dz/dx`, where :math:`\psi` is the slope of the log-density of a
    component: far out the difference of two large numbers. Where all components lie on one side, with their hazards h,
    that of the mixture, :math:`\lambda`, and :math:`\psi_i = e_i - h_i` it is the sum of
    :math:`r_i (e_i / s_i - (h_i / s_i - \lambda))` and of :math:`\lambda (v\,m(v) - 1) = -\lambda\,m(v)\,e(v)`. The
    hazards are counted from that of the component with the largest share, so that nothing cancels where it is alone.
    """
    z, steep, top, both, _, density, single, right, base = state
    zero = tl.zeros_like(inside)
    direct, rest, gap, offset = zero, zero, zero, zero
    for k in range(0, K):
        u, per_scale, weight = component(inside, weights, means, scales, k, columns, there)
        share, in_tail, _ = shares(u, per_scale, weight, top, both, density, LOGISTIC)
        found, more = hazard(tl.abs(u), LOGISTIC)
        direct += share * per_scale * (more - found) * tl.where(u >= 0, 1.0, -1.0)
        rest += share * per_scale * more
        gap += share * (found * per_scale - base)
        offset += in_tail * (found * per_scale - base)
    v, slope = tl.abs(z), exponential(steep)
    curved = -(base + offset) * mills(v) * excess(v)
    alone = rest + curved - (gap - offset)
    bend = tl.where(single, tl.where(right, alone, -alone), direct + z * slope)
    return slope, bend, offset, curved


@triton.jit
def component_gradients(
    inside, weights, means, scales, k, columns, there, state, slope, offset, curved, a, b, LOGISTIC: tl.constexpr
):
    """What component k gets of a times z plus b times the log-slope: by log-weight, mean and log-scale."""
    z, _, top, both, smaller, density, single, right, base = state
    u, per_scale, weight = component(inside, weights, means, scales, k, columns, there)
    share, in_tail, tail = shares(u, per_scale, weight, top, both, density, LOGISTIC)
    found, more = hazard(tl.abs(u), LOGISTIC)
    alone = more * per_scale + curved - ((found * per_scale - base) - offset)
    beside = (more - found) * per_scale
    rise = tl.where(single, tl.where(right, alone, -alone), tl.where(u >= 0, beside, -beside) + z * slope)
    by_mean = -share * (b * rise + a * slope)
    side, ratio = tl.where(right, 1.0, -1.0), mills(tl.abs(z))
    folded = ratio * excess(tl.abs(z))  # one less the size of z times the ratio
    alone = b * (share - in_tail + folded * in_tail) - side * a * ratio * in_tail
    tail = exponential(top) * tail
    tail = tl.where(right == (u >= 0), tail, exponential(weight) - tail) / floored(smaller)
    by_weight = tl.where(single, alone, b * share - side * (a + b * z) * ratio * tail)
    return by_weight, by_mean, by_mean * u / per_scale - b * share


@triton.autotune(configs(), key=["K", "BUCKET", "LOGISTIC", "INVERSE", "TABLES"])
@triton.jit
def mixture_gradient_kernel(
    v, weights, means, scales, a, b, by_v, by_tables, rows, columns, parts, vr, vc, ar, ac, br, bc, largest,
    K: tl.constexpr, PADDED: tl.constexpr, BUCKET: tl.constexpr, LOGISTIC: tl.constexpr, INVERSE: tl.constexpr,
    TABLES: tl.constexpr, BLOCK_R: tl.constexpr, BLOCK_C: tl.constexpr,
):  # fmt: skip
    """Gradients of the map at points v, or of its inverse that found v; the sums (3, K, columns) of each part."""
    which, c = part(columns, BLOCK_C)
    column, ks = c < columns, tl.arange(0, PADDED)[:, None]
    weights, means, scales = weights + c, means + c, scales + c
    low, high = ends(means, scales, columns, column, K)
    size = K * tl.cast(columns, tl.int64)
    by_weights = tl.zeros((PADDED, BLOCK_C), tl.float32)
    by_means, by_scales = tl.zeros_like(by_weights), tl.zeros_like(by_weights)
    at_low, at_high = tl.zeros_like(low), tl.zeros_like(low)
    for start in range(which * BLOCK_R, rows, parts * BLOCK_R):
        r = start + tl.arange(0, BLOCK_R)[:, None]
        there = (r < rows) & column
        x = read(v, r * vr + c * vc, there)
        ga, gb = read(a, r * ar + c * ac, there), read(b, r * br + c * bc, there)
        inside = within(x, low, high)
        beyond = within(x - inside, -largest, largest)
        state = evaluated(inside, weights, means, scales, columns, column, K, LOGISTIC)
        steep = state[1]
        slope, bend, offset, curved = bends(inside, weights, means, scales, columns, column, state, K, LOGISTIC)
        near = beyond == 0
        if INVERSE:
            found = (ga - tl.where(near, gb * bend, 0.0)) * exponential(tl.minimum(-steep, STEEPEST))
            tl.store(by_v + r * columns + c, found, mask=there)
            ga, gb = -found, -gb
        else:
            ga = tl.where(tl.abs(beyond * slope) > largest, 0.0, ga)
            tl.store(by_v + r * columns + c, ga * slope + tl.where(near, gb * bend, 0.0), mask=there)
        if TABLES:
            gb += ga * beyond * slope
            at_low += tl.sum(tl.where(beyond < 0, gb * bend, 0.0), 0)[None, :]
            at_high += tl.sum(tl.where(beyond > 0, gb * bend, 0.0), 0)[None, :]
            for k in range(0, K):
                by_weight, by_mean, by_scale = component_gradients(
                    inside, weights, means, scales, k, columns, column, state, slope, offset, curved, ga, gb, LOGISTIC
                )
                by_weights += tl.where(ks == k, tl.sum(by_weight, 0)[None, :], 0.0)
                by_means += tl.where(ks == k, tl.sum(by_mean, 0)[None, :], 0.0)
                by_scales += tl.where(ks == k, tl.sum(by_scale, 0)[None, :], 0.0)
    if TABLES:
        there = (ks < K) & column
        at = ks * tl.cast(columns, tl.int64)
        mean, room = read(means, at, there), exponential(read(scales, at, there)) * FAR
        lowest, highest = (mean - room == low) & there, (mean + room == high) & there
        to_low = tl.where(lowest, at_low / tl.maximum(tl.sum(lowest.to(tl.float32), 0)[None, :], 1.0), 0.0)
        to_high = tl.where(highest, at_high / tl.maximum(tl.sum(highest.to(tl.float32), 0)[None, :], 1.0), 0.0)
        by_tables += which * (3 * size) + c
        tl.store(by_tables + at, by_weights, mask=there)
        tl.store(by_tables + size + at, by_means + to_low + to_high, mask=there)
        tl.store(by_tables + 2 * size + at, by_scales + room * (to_high - to_low), mask=there)
