r"""The monotone C1 rational-quadratic spline with linear tails, forward and inverse.

Every term of the formulas of `rq_spline` is a sum of positive numbers, so nothing cancels. Three choices keep it finite
everywhere: :math:`s, d_0, d_1` are divided by the largest of the three, so that no product overflows; the argument is
clamped to the knots and the linear tails are added, so that no branch sees a number that it cannot take (a
`torch.where` over a branch with a NaN gives NaN gradients); and bins of no width are allowed, since divisors have a
floor.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from gaussflow._check import check_tables, check_tensor
from gaussflow.ops import _spline_traced
from gaussflow.ops._finite import saturate, side
from gaussflow.ops._kernels import REFERENCES, fits_columns, take_kernel
from gaussflow.ops._recompute import in_rows, is_traced, is_transformed
from gaussflow.ops._spline_bins import Bins
from gaussflow.ops._spline_gradients import Written
from gaussflow.ops._spline_search import LOOP_KNOTS, ends_of_bin, is_shared

CHUNK = 2**18  # bytes of a temporary: a dozen stay in the caches, and large allocations page-fault


def rq_spline(x: Tensor, xs: Tensor, zs: Tensor, slopes: Tensor) -> tuple[Tensor, Tensor]:
    r"""Evaluate the monotone C1 rational-quadratic spline with linear tails.

    On the bin :math:`[x_k, x_{k+1}]` with width :math:`w`, height :math:`h`, secant :math:`s = h / w`, end slopes
    :math:`d_0, d_1` and the local coordinate :math:`\xi = (x - x_k) / w`

    .. math::
        z = z_k + h\,\xi\,\frac{s\,\xi + d_0 (1 - \xi)}{D}, \qquad
        D = s\,(\xi^2 + (1-\xi)^2) + (d_0 + d_1)\,\xi(1-\xi),

    .. math:: \frac{dz}{dx} = s^2\,\frac{d_1 \xi^2 + 2 s\,\xi(1-\xi) + d_0 (1-\xi)^2}{D^2}.

    Parameters
    ----------
    x
        Points (...).
    xs, zs, slopes
        Knots, their values and the slopes there, each (K, ...) with K of at least 2, knots on the leading axis, the
        others broadcast against ``x``; ``xs`` and ``zs`` ascending, ``slopes`` positive.

    Returns
    -------
    z, log_slope
        Values and :math:`\log dz/dx`, each (...).

    Raises
    ------
    TypeError, ValueError
        For tensors that are not floating, and tables of different shapes or fewer than two knots. Where rows (N, D) on
        a CPU share their tables (K, D), knots that do not ascend and slopes below zero are refused too; elsewhere that
        would take another pass over the tables, or a copy to the host.

    References
    ----------
    Gregory and Delbourgo (1982); Durkan, Bekasov, Murray and Papamakarios (2019), Neural spline flows.

    Examples
    --------
    >>> import torch
    >>> from gaussflow.ops import rq_spline
    >>> knots = torch.linspace(-4, 4, 9)[:, None].expand(9, 3)
    >>> z, log_slope = rq_spline(torch.randn(5, 3), knots, knots, torch.ones(9, 3))
    >>> z.shape, log_slope.shape
    (torch.Size([5, 3]), torch.Size([5, 3]))
    """
    check_tensor("rq_spline", x)
    check_tables("rq_spline", 2, xs=xs, zs=zs, slopes=slopes)
    return _chosen(_forward, x, xs, zs, slopes)


def rq_spline_inverse(z: Tensor, xs: Tensor, zs: Tensor, slopes: Tensor) -> tuple[Tensor, Tensor]:
    r"""Invert `rq_spline` in closed form.

    Parameters
    ----------
    z
        Values (...).
    xs, zs, slopes
        As `rq_spline` takes them.

    Returns
    -------
    x, log_slope
        Points and :math:`\log dx/dz` (that of this direction), each (...).

    Raises
    ------
    TypeError, ValueError
        As `rq_spline` does.

    Examples
    --------
    >>> import torch
    >>> from gaussflow.ops import rq_spline, rq_spline_inverse
    >>> xs, zs = torch.linspace(-4, 4, 9)[:, None].expand(9, 3), torch.rand(9, 3).cumsum(0)
    >>> x, _ = rq_spline_inverse(rq_spline(torch.ones(5, 3), xs, zs, torch.ones(9, 3))[0], xs, zs, torch.ones(9, 3))
    >>> torch.allclose(x, torch.ones(5, 3), atol=1e-4)
    True
    """
    check_tensor("rq_spline_inverse", z, "z")
    check_tables("rq_spline_inverse", 2, xs=xs, zs=zs, slopes=slopes)
    return _chosen(_backward, z, xs, zs, slopes)


def rounded_inverse(z: Tensor, xs: Tensor, zs: Tensor, slopes: Tensor) -> tuple[Tensor, Tensor]:
    """`rq_spline_inverse` of knots and what a map makes of them, which rounding may have put in any disorder."""
    return _chosen(_backward, z, xs, zs, slopes, rounded=True)


def _forward(x: Tensor, xs: Tensor, zs: Tensor, slopes: Tensor) -> tuple[Tensor, Tensor]:
    x0, x1, z0, z1, d0, d1 = ends_of_bin(x, xs, xs, zs, slopes)
    inside = torch.clamp(x, xs[0], xs[-1])
    w, xi, rest = _local(inside, x0, x1)
    h = _side(z1 - z0)
    value, log_slope = _rational_quadratic(xi, rest, *_normalised(h / w, d0, d1))
    outside = x - inside
    above = torch.relu(outside)
    return saturate(z0 + h * value + (above * d1 + (outside - above) * d0)), log_slope


def _backward(z: Tensor, xs: Tensor, zs: Tensor, slopes: Tensor) -> tuple[Tensor, Tensor]:
    x0, x1, z0, z1, d0, d1 = ends_of_bin(z, zs, xs, zs, slopes)
    inside = torch.clamp(z, zs[0], zs[-1])
    h, eta, rest = _local(inside, z0, z1)
    w = _side(x1 - x0)
    n, *scaled = _normalised(h / w, d0, d1)
    xi, rest = stable_quadratic_root(eta, rest, *scaled)
    _, log_slope = _rational_quadratic(xi, rest, n, *scaled)
    outside = z - inside
    above = torch.relu(outside)
    return saturate(x0 + w * xi + (above / d1 + (outside - above) / d0)), -log_slope


def _chosen(
    f: Callable[..., tuple[Tensor, Tensor]], x: Tensor, xs: Tensor, zs: Tensor, slopes: Tensor, *, rounded: bool = False
) -> tuple[Tensor, Tensor]:
    """``f``, or for rows x (N, D) under shared tables (K, D) what is quickest: as many at a time as stay in the cache.

    On a GPU the kernels of `gaussflow.ops._triton` are, in single precision and below, also under a trace.
    A compiler for a CPU is given values in the form of `_spline_traced`.
    On a CPU rows are mapped and differentiated by formulas for all their numbers at once, `Bins`, unless a bin is
    narrower or steeper than these take.
    """
    tables = (xs, zs, slopes)
    if take_kernel(x, *tables) and fits_columns(x, *tables):
        return _by_kernel(x, *tables, inverse=f is _backward)
    if _for_compiler(x, *tables):
        return (_spline_traced.inverse if f is _backward else _spline_traced.forward)(x, *tables)
    if is_traced((x, *tables)) or x.dim() != 2:  # a trace must not look at shapes
        return f(x, *tables)
    if not all(t.shape[1:] == x.shape[1:] and t.dtype == x.dtype for t in tables):
        return f(x, *tables)
    step = max(1, CHUNK // (x.element_size() * max(1, x.shape[-1])))
    plain = x.device.type == "cpu" and x.dtype in (torch.float32, torch.float64)
    if not plain or len(x) < len(xs) or not x.shape[1]:  # making the tables of all bins is work for as many rows
        return in_rows(f, step, x, *tables)
    with torch.no_grad():
        bins = Bins.of(*tables)
    if bins is None:
        if not rounded:
            _refuse_disorder(*tables)
        return in_rows(f, step, x, *tables)
    if torch.is_grad_enabled() and any(t.requires_grad for t in (x, *tables)):
        found: tuple[Tensor, Tensor] = Written.apply(f, bins, f is _backward, step, x, *tables)  # type: ignore[no-untyped-call]
        return found
    return bins.in_steps(f is _backward, step, x)


def _refuse_disorder(xs: Tensor, zs: Tensor, slopes: Tensor) -> None:
    """Raise for knots that do not ascend, beyond what rounding does to values of a map, and for slopes below zero."""
    small = torch.finfo(xs.dtype).eps ** 0.5
    for name, wanted, steps, room in (
        ("xs", "ascending", xs.diff(dim=0), small * (xs.amax(0) - xs.amin(0))),
        ("zs", "ascending", zs.diff(dim=0), small * (zs.amax(0) - zs.amin(0))),
        ("slopes", "positive", slopes, torch.zeros_like(slopes[0])),
    ):
        wrong = (steps < -room).any(0)
        if bool(wrong.any()):
            column = int(wrong.nonzero()[0])
            raise ValueError(
                f"A spline wants {wanted} {name}; got others in column {column}. Build them from sums of softplus."
            )


def _for_compiler(x: Tensor, xs: Tensor, zs: Tensor, slopes: Tensor) -> bool:
    """Whether values alone are traced for a CPU, with few knots. Backward, choices are slower than an index."""
    tables = (xs, zs, slopes)
    if not torch.compiler.is_compiling() or is_transformed((x, *tables)) or x.device.type != "cpu":
        return False
    if x.dtype not in (torch.float32, torch.float64) or any(t.dtype != x.dtype for t in tables):
        return False
    most = _spline_traced.MOST_KNOTS if is_shared(xs, x) else LOOP_KNOTS
    return len(xs) <= most and not (torch.is_grad_enabled() and any(t.requires_grad for t in (x, *tables)))


def _by_kernel(x: Tensor, xs: Tensor, zs: Tensor, slopes: Tensor, *, inverse: bool) -> tuple[Tensor, Tensor]:
    from gaussflow.ops._triton._spline import spline

    found: tuple[Tensor, Tensor] = spline(x, xs, zs, slopes, inverse)
    return found


REFERENCES.update({"spline": _forward, "spline inverse": _backward})


def _local(x: Tensor, start: Tensor, end: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """The side of a bin, and how far x is from its start and from its end in units of it, each exact near zero.

    They sum to one also in a bin of no width, where the side is that of the floor.
    """
    width = end - start
    side_ = _side(width)
    return side_, (x - start) / side_, (end - x + (side_ - width)) / side_


def stable_quadratic_root(eta: Tensor, rest: Tensor, s: Tensor, d0: Tensor, d1: Tensor) -> tuple[Tensor, Tensor]:
    r"""The root :math:`\xi \in [0, 1]` of the spline equation at relative height :math:`\eta`, and :math:`1 - \xi`.

    :math:`(s - b)\,\xi^2 + b\,\xi - s\,\eta = 0` with :math:`b = d_0 (1-\eta) + \eta\,(2 s - d_1)`. The discriminant is
    written as a sum of positive terms, :math:`(c - s)^2 + 4 s c\,\eta` with :math:`c = |b - s|` for :math:`b < s` and
    the same with :math:`1 - \eta` in place of :math:`\eta` otherwise; of the two forms of the root the one that adds is
    taken, :math:`2 s \eta / (b + \sqrt{\cdot})` for :math:`b \ge 0` and
    :math:`(|b| + \sqrt{\cdot}) / 2(s - b)` for :math:`b < 0`.
    From the other end the equation is the same with the slopes exchanged; its b is :math:`2 s` less this one and its
    discriminant equal. So ``rest``, :math:`1 - \eta` with its own digits, gives :math:`1 - \xi` with its own: the
    log-slope may change by far more than :math:`\xi` does, at either end.
    The discriminant is positive in exact arithmetic; its floor keeps the gradient finite where the square underflows.
    All are (...); s and the slopes are divided by the largest of the three.
    """
    b = d0 * rest + eta * (2 * s - d1)
    other = d1 * eta + rest * (2 * s - d0)
    c = (b - s).abs()
    across = torch.lerp(eta, rest, 0.5 + 0.5 * side(b - s))
    root = _floored((c - s).square() + 4 * s * c * across).sqrt()
    return _root(b, root, s, eta), _root(other, root, s, rest)


def _root(b: Tensor, root: Tensor, s: Tensor, eta: Tensor) -> Tensor:
    q, positive = b.abs() + root, 0.5 + 0.5 * side(b)
    top, bottom = torch.lerp(q, 2 * s * eta, positive), torch.lerp(2 * (s - b), q, positive)
    return (top / _floored(bottom)).clamp(0, 1)


def _normalised(s: Tensor, d0: Tensor, d1: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """The largest of the secant and the slopes of a bin, and the three divided by it."""
    n = torch.maximum(s, torch.maximum(d0, d1))
    return n, s / n, d0 / n, d1 / n


def _rational_quadratic(
    xi: Tensor, rest: Tensor, n: Tensor, a: Tensor, d0: Tensor, d1: Tensor
) -> tuple[Tensor, Tensor]:
    """Relative height in [0, 1] and log-slope at the local coordinate ``xi``, one less ``rest``, of a bin."""
    both = xi * rest
    squares = xi.square(), rest.square()
    shrink = a / (a * (squares[0] + squares[1]) + (d0 + d1) * both)
    value = xi * (xi + d0 * rest / a) * shrink
    top = d1 * squares[0] + 2 * a * both + d0 * squares[1]
    return value, (n * top * shrink).log() + shrink.log()


def _floored(x: Tensor) -> Tensor:
    """At least the smallest normal number: a divisor, or an argument of the square root."""
    return x.clamp(min=torch.finfo(x.dtype).tiny)


def _side(x: Tensor) -> Tensor:
    """The side of a bin, at least the fourth root of the smallest normal number, so that no secant overflows."""
    return x.clamp(min=torch.finfo(x.dtype).tiny ** 0.25)
