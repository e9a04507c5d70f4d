"""Cases of what is done to every number on its own: splines, mixture CDFs, the normal law."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from benchmarks.ops.case import (
    FLOAT,
    MOST_FOR_RIVALS,
    MOST_SHARED,
    Case,
    Cases,
    Way,
    absent,
    directions,
    leaves_of,
    quiet,
)
from gaussflow import MarginalSpline, MixtureCDF, Transform
from gaussflow.ops.mixture import logistic_kernel
from gaussflow.ops.normal import log_normal_cdf, normal_quantile

SHARING = ("zuko", "pyro")  # tables among the rows
BINS = 8
COMPONENTS = 8
BOUND = 4.0  # where the splines of others end: ours, born, end there too


def spline(rows: int, dim: int) -> Cases:
    """The rational-quadratic spline of eight bins, one for every column, from its parameters on."""
    x = torch.randn(rows, dim)
    layer = stirred(MarginalSpline(dim, BINS + 1))
    both: dict[str, tuple[Way, Way | None, list[Tensor]]] = {"ours": (layer, layer.inverse, leaves_of(layer))}
    left_out = _others(both, x, {"zuko": _zuko_spline, "nflows": _nflows_spline, "normflows": _normflows_spline,
                                 "pyro": _pyro_spline})  # fmt: skip
    yield from directions("spline", x, both, {"left_out": left_out})


def mixture(rows: int, dim: int) -> Cases:
    """The mixture CDF of eight components with either kernel; that of others, normal, gives up in the tails."""
    x = torch.randn(rows, dim)
    for name, kernel in (("mixture, normal", {}), ("mixture, logistic", {"kernel": logistic_kernel})):
        layer = stirred(MixtureCDF(dim, COMPONENTS, **kernel))
        both: dict[str, tuple[Way, Way | None, list[Tensor]]] = {"ours": (layer, layer.inverse, leaves_of(layer))}
        left_out = {} if kernel else _others(both, x, {"zuko": _zuko_mixture})
        yield from directions(name, x, both, {"left_out": left_out})


def normal(rows: int, dim: int) -> Cases:
    """The logarithm of the normal CDF, and the quantile of a logarithm of the smaller tail."""
    z = 3 * torch.randn(rows, dim)
    p = torch.rand(rows, dim).clamp(1e-6, 1 - 1e-6)
    log_p, log_q = p.log(), (-p).log1p()
    for way, x, f, inputs, theirs in (
        ("log_ndtr", z, log_normal_cdf, (z,), quiet(torch.special.log_ndtr, z)),
        ("ndtri", p, normal_quantile, (log_p, log_q), quiet(torch.special.ndtri, p)),
    ):
        calls = {"ours": quiet(f, *inputs), "torch": theirs}
        yield Case(way, "forward", rows, dim, calls, (len(inputs) + 1) * FLOAT * x.numel())


def stirred(layer: Transform) -> Transform:
    """The layer with its parameters moved a little from where a new one has them: an identity proves nothing."""
    with torch.no_grad():
        for parameter in layer.parameters():
            parameter.add_(0.3 * torch.randn_like(parameter))
    return layer


def _others(both: dict[str, tuple[Way, Way | None, list[Tensor]]], x: Tensor, makers: dict[str, Any]) -> dict[str, str]:
    """Add the layers of other packages; returns why some are left out."""
    left_out = {}
    for name, make in makers.items():
        if why := absent(name, x.numel(), MOST_SHARED if name in SHARING else MOST_FOR_RIVALS):
            left_out[name] = why
        else:
            both[name] = make(x)
    return left_out


def parameters(dim: int, *sizes: int) -> list[Tensor]:
    """Parameters (D, size) of a layer of another package."""
    return [(0.3 * torch.randn(dim, size)).requires_grad_() for size in sizes]


def zuko_layer(leaves: list[Tensor], make: Way) -> tuple[Way, Way, list[Tensor]]:
    """Their transforms are made from the parameters at every call, as their lazy layers do."""

    def forward(x: Tensor) -> tuple[Tensor, Tensor]:
        z, ladj = make(*leaves).call_and_ladj(x)
        return z, ladj.sum(-1)

    def inverse(z: Tensor) -> tuple[Tensor, Tensor]:
        x, ladj = make(*leaves).inv.call_and_ladj(z)
        return x, ladj.sum(-1)

    return forward, inverse, leaves


def _zuko_spline(x: Tensor) -> tuple[Way, Way, list[Tensor]]:
    from zuko.transforms import MonotonicRQSTransform

    leaves = parameters(x.shape[1], BINS, BINS, BINS - 1)
    return zuko_layer(leaves, lambda *leaves: MonotonicRQSTransform(*leaves, bound=BOUND))


def _zuko_mixture(x: Tensor) -> tuple[Way, Way, list[Tensor]]:
    from zuko.transforms import GaussianizationTransform

    return zuko_layer(parameters(x.shape[1], COMPONENTS, COMPONENTS), GaussianizationTransform)


def _per_row(x: Tensor, f: Way) -> tuple[Way, Way, list[Tensor]]:
    """A function that wants the parameters of a bin for every number."""
    leaves = parameters(x.shape[1], BINS, BINS, BINS - 1)

    def either(x: Tensor, inverse: bool) -> tuple[Tensor, Tensor]:
        tables = (leaf.expand(len(x), *leaf.shape) for leaf in leaves)
        z, ladj = f(x, *tables, inverse=inverse, tails="linear", tail_bound=BOUND)
        return z, ladj.sum(-1)

    return lambda x: either(x, False), lambda x: either(x, True), leaves


def _nflows_spline(x: Tensor) -> tuple[Way, Way, list[Tensor]]:
    from nflows.transforms.splines import unconstrained_rational_quadratic_spline

    return _per_row(x, unconstrained_rational_quadratic_spline)


def _normflows_spline(x: Tensor) -> tuple[Way, Way, list[Tensor]]:
    from normflows.utils.splines import unconstrained_rational_quadratic_spline

    return _per_row(x, unconstrained_rational_quadratic_spline)


def _pyro_spline(x: Tensor) -> tuple[Way, Way, list[Tensor]]:
    """Its transforms remember the last pair: a copy of the points makes them compute."""
    from pyro.distributions.transforms import Spline

    layer = Spline(x.shape[1], BINS, BOUND, order="quadratic")

    def forward(x: Tensor) -> tuple[Tensor, Tensor]:
        x = x.clone()
        z = layer(x)
        return z, layer.log_abs_det_jacobian(x, z).sum(-1)

    def inverse(z: Tensor) -> tuple[Tensor, Tensor]:
        z = z.clone()
        x = layer.inv(z)
        return x, -layer.log_abs_det_jacobian(x, z).sum(-1)

    return forward, inverse, leaves_of(layer)
