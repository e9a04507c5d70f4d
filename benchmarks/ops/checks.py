"""How near the operations are in single precision to themselves in double precision, over all their domain."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import NamedTuple

import torch
from torch import Tensor

from gaussflow.ops import cayley, householder, walsh_hadamard
from gaussflow.ops._invert import invert
from gaussflow.ops._spline import rq_spline, rq_spline_inverse
from gaussflow.ops.mixture import Kernel, Mixture, logistic_kernel, mixture_knots, mixture_to_normal, normal_kernel
from gaussflow.ops.normal import log_normal_cdf, normal_quantile

VALUES, GRADIENTS, ROUND_TRIP = 1e-6, 1e-5, 1e-5  # what is promised
REACH, FAR = 30.0, 20.0  # points to so many standard deviations; those of the round trip
NEAR = 2.0
NEVER_ZERO = ("log_ndtr",)  # errors are relative to the value and the gradient themselves, however small
POINTS = 4001
SPREAD = 7  # tables at a time

# Kernels for a GPU compute in single precision throughout: where components that are 7 to 15 of their scales away are
# equally likely, the weight of each has the rounding of its distance 50 to 100 times.
LOOSE = (
    "mixture normal forward",
    f"mixture normal forward, |x| < {NEAR:g}",
    f"mixture normal forward, |x| < {2 * NEAR:g}",
)

TINY = 1e-30  # below it single precision has fewer digits
Operation = Callable[..., tuple[Tensor, ...]]


class Check(NamedTuple):
    """One promise: the largest error found and what is allowed."""

    name: str
    error: float
    allowed: float

    @property
    def kept(self) -> bool:
        """Whether the promise is kept; a NaN keeps none."""
        return self.error < self.allowed


def checks() -> Iterator[Check]:
    """All promises, one after the other."""
    for name, operation, inputs in operations():
        strict = name in NEVER_ZERO
        yield Check(f"{name}: values", values_error(operation, inputs, strict), VALUES)
        yield Check(f"{name}: gradients", gradients_error(operation, inputs, strict), GRADIENTS)
    for name, there, back, inputs in round_trips():
        yield Check(f"{name}: round trip at 20 standard deviations", round_trip_error(there, back, inputs), ROUND_TRIP)
    for name, operation, inputs in products():
        yield Check(f"{name}: values", length_error(operation, inputs), 1e-5)


def operations() -> Iterator[tuple[str, Operation, tuple[Tensor, ...]]]:
    """Name, function and single precision inputs, the points first, of what is done to every number on its own.

    Every point has tables of its own, equal to those of the others: so gradients of tables are those of single points,
    and not sums that chance rounds.
    """
    z = torch.linspace(-REACH, REACH, POINTS)[:, None].expand(POINTS, SPREAD).contiguous()
    yield "log_ndtr", lambda z: (log_normal_cdf(z),), (z,)
    log_p, log_q = (log_normal_cdf(side.double()).float() for side in (z, -z))
    yield "ndtri", lambda p, q: (normal_quantile(p, q),), (log_p, log_q)
    knots = spline_tables()
    own = tuple(t[:, None].expand(-1, *z.shape).contiguous() for t in knots)
    yield "spline forward", rq_spline, (z, *own)
    yield "spline inverse", rq_spline_inverse, (z, *own)
    for name, kernel in (("normal", normal_kernel), ("logistic", logistic_kernel)):
        yield f"mixture {name} forward", mixture_map(kernel), (z, *mixture_tables())
    # Where most points are far all go the way of the far ones: that of data is another, with few far points or none.
    for reach in (NEAR, 2 * NEAR):
        near = reach / REACH * z
        yield f"mixture normal forward, |x| < {reach:g}", mixture_map(normal_kernel), (near, *mixture_tables())


def mixture_map(kernel: Kernel) -> Operation:
    """The mixture map as a function of points and tables."""
    return lambda x, w, m, s: mixture_to_normal(x, Mixture(w.log_softmax(0), m, s, kernel))


def mixture_back(kernel: Kernel) -> Operation:
    """Its inverse."""

    def back(z: Tensor, w: Tensor, m: Tensor, s: Tensor) -> tuple[Tensor, Tensor]:
        mixture = Mixture(w.log_softmax(0), m, s, kernel)
        return invert(lambda x: mixture_to_normal(x, mixture), z, mixture_knots(mixture))

    return back


def round_trips() -> Iterator[tuple[str, Operation, Operation, tuple[Tensor, ...]]]:
    """Name, map, its inverse, and inputs of points 20 standard deviations wide."""
    generator = torch.Generator().manual_seed(0)
    x = FAR * torch.randn(POINTS, SPREAD, generator=generator)
    yield "ndtri of log_ndtr", lambda z: (log_normal_cdf(z), log_normal_cdf(-z)), _quantile, (x,)
    yield "spline", rq_spline, rq_spline_inverse, (x, *spline_tables())
    for name, kernel in (("normal", normal_kernel), ("logistic", logistic_kernel)):
        yield f"mixture {name}", mixture_map(kernel), mixture_back(kernel), (x, *mixture_tables())


def _quantile(log_p: Tensor, log_q: Tensor) -> tuple[Tensor]:
    return (normal_quantile(log_p, log_q),)


def products() -> Iterator[tuple[str, Operation, tuple[Tensor, ...]]]:
    """What mixes columns: name, function, inputs."""
    generator = torch.Generator().manual_seed(0)
    for dim in (16, 100, 256):
        x, v, a = (torch.randn(*shape, generator=generator) for shape in ((50, dim), (dim, dim), (dim, dim)))
        yield f"householder, k = 8, D = {dim}", lambda x, v: (householder(x, v),), (x, v[:8])
        yield f"householder, k = D = {dim}", lambda x, v: (householder(x, v),), (x, v)
        yield f"cayley, D = {dim}", lambda x, a: (x @ cayley(a - a.mT),), (x, 0.3 * a / dim**0.5)
        yield f"hadamard, D = {dim}", lambda x: (walsh_hadamard(x),), (x,)


def spline_tables() -> tuple[Tensor, Tensor, Tensor]:
    """Knots, values and slopes (9, 7) of splines as fits make them, widths apart by a factor of e."""
    generator = torch.Generator().manual_seed(1)
    xs, zs, slopes = (torch.randn(9, SPREAD, generator=generator).mul(0.5).exp() for _ in range(3))
    return xs.cumsum(0) - 4, zs.cumsum(0) - 4, slopes


def mixture_tables() -> tuple[Tensor, Tensor, Tensor]:
    """Logits, means and log-scales (8, 7)."""
    generator = torch.Generator().manual_seed(2)
    w, m, s = (torch.randn(8, SPREAD, generator=generator) for _ in range(3))
    return w, 2 * m, 0.5 * s - 0.5


def values_error(operation: Operation, inputs: tuple[Tensor, ...], strict: bool = False) -> float:
    """The largest relative error of the values; relative to 1 + size where a value crosses zero."""
    with torch.no_grad():
        single, double = operation(*inputs), operation(*(t.double() for t in inputs))
    return max(_relative(a, b, TINY if strict else 1.0) for a, b in zip(single, double, strict=True))


def gradients_error(operation: Operation, inputs: tuple[Tensor, ...], strict: bool = False) -> float:
    """The largest error of the gradients of each value by each input, relative to their size plus that typical."""
    count = len(_values(operation, inputs, torch.float32)[0])
    worst = 0.0
    for which in range(count):
        single, double = (_gradients(operation, inputs, which, dtype) for dtype in (torch.float32, torch.float64))
        for a, b in zip(single, double, strict=True):
            worst = max(worst, _relative(a, b, TINY if strict else float(b.square().mean().sqrt())))
    return worst


def _values(
    operation: Operation, inputs: tuple[Tensor, ...], dtype: torch.dtype
) -> tuple[tuple[Tensor, ...], list[Tensor]]:
    leaves = [t.detach().to(dtype).requires_grad_() for t in inputs]
    return operation(*leaves), leaves


def _gradients(operation: Operation, inputs: tuple[Tensor, ...], which: int, dtype: torch.dtype) -> list[Tensor]:
    values, leaves = _values(operation, inputs, dtype)
    found = torch.autograd.grad(values[which].sum(), leaves, allow_unused=True)
    return [torch.zeros_like(leaf) if g is None else g for g, leaf in zip(found, leaves, strict=True)]


def round_trip_error(there: Operation, back: Operation, inputs: tuple[Tensor, ...]) -> float:
    """The largest error of the points after the map and its inverse, relative to 1 + size."""
    x, *tables = inputs
    with torch.no_grad():
        there_ = there(x, *tables)
        again = back(*(there_ if len(there_) > 1 and not tables else there_[:1]), *tables)[0]
    return _relative(again, x.double(), 1.0)


def length_error(operation: Operation, inputs: tuple[Tensor, ...]) -> float:
    """The largest error of a row, relative to its length."""
    with torch.no_grad():
        (single,), (double,) = operation(*inputs), operation(*(t.double() for t in inputs))
    return float(((single.double() - double).norm(dim=-1) / double.norm(dim=-1)).max().nan_to_num(torch.inf))


def _relative(a: Tensor, b: Tensor, floor: float) -> float:
    return float(((a.double() - b).abs() / (floor + b.abs())).max().nan_to_num(torch.inf))
