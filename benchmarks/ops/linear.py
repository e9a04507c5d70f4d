"""Cases of what mixes columns: rotations, a whole block, a stack of couplings."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn

from benchmarks.ops.case import MOST_PRODUCTS, MOST_SHARED, Case, Cases, Way, absent, directions, leaves_of, quiet
from benchmarks.ops.pointwise import BINS, parameters, stirred
from gaussflow import Chain, MarginalSpline, Rotation
from gaussflow.ops import cayley, haar, householder, walsh_hadamard

REFLECTIONS = 8
LAYERS = 8
WIDTH = 64  # of the two hidden layers of a conditioner
MOST_REFLECTIONS_APART = 64  # one after the other they take minutes at the larger sizes


def rotations(rows: int, dim: int) -> Cases:
    """Rotations made anew at every call, beside one product of the rows with a matrix that is there."""
    x = torch.randn(rows, dim)
    skew = 0.3 * torch.randn(dim, dim) / dim**0.5
    for operation, (ours, others) in _rotations(x, skew).items():
        left_out = {name: why for name, make in others.items() if (why := absent(name, x.numel(), MOST_PRODUCTS))}
        calls = {"ours": ours} | {name: make() for name, make in others.items() if name not in left_out}
        yield Case(operation, "forward", rows, dim, calls, 0, 2 * rows * dim * dim, None, left_out)


def _rotations(x: Tensor, skew: Tensor) -> dict[str, tuple[Any, dict[str, Any]]]:
    dim = x.shape[1]
    few, many = torch.randn(REFLECTIONS, dim), torch.randn(dim, dim)
    theirs: dict[str, Any] = {"nflows": lambda: _nflows_reflections(x), "pyro": lambda: _pyro_reflections(x)}
    found: dict[str, tuple[Any, dict[str, Any]]] = {
        "householder, k = 8": (quiet(householder, x, few), theirs),
        "householder, k = D": (quiet(householder, x, many), {}),
        "cayley": (quiet(lambda: x @ cayley(skew - skew.mT).mT), {"torch": lambda: _torch_cayley(x)}),
        "hadamard": (quiet(walsh_hadamard, x), {}),
    }
    if dim <= MOST_REFLECTIONS_APART:
        found["householder, k = D"][1]["nflows"] = lambda: _nflows_reflections(x, dim)
    return found


def _nflows_reflections(x: Tensor, count: int = REFLECTIONS) -> Any:
    from nflows.transforms import HouseholderSequence

    return quiet(HouseholderSequence(x.shape[1], count), x)


def _pyro_reflections(x: Tensor) -> Any:
    from pyro.distributions.transforms import Householder

    layer = Householder(x.shape[1], REFLECTIONS)
    return quiet(lambda: layer(x.clone()))


def _torch_cayley(x: Tensor) -> Any:
    layer = nn.Linear(x.shape[1], x.shape[1], bias=False)
    return quiet(nn.utils.parametrizations.orthogonal(layer, orthogonal_map="cayley"), x)


def block(rows: int, dim: int) -> Cases:
    """A whole block of a fitted flow: a rotation, a spline for every column, the log-determinant."""
    x = torch.randn(rows, dim)
    layer = Chain(Rotation(dim, haar(dim)), stirred(MarginalSpline(dim, BINS + 1)))
    both: dict[str, tuple[Way, Way | None, list[Tensor]]] = {"ours": (layer, layer.inverse, leaves_of(layer))}
    left_out = {}
    if why := absent("zuko", x.numel(), MOST_SHARED):
        left_out["zuko"] = why
    else:
        both["zuko"] = _zuko_block(dim)
    yield from directions("block", x, both, {"flops": 2 * rows * dim * dim, "left_out": left_out})


def _zuko_block(dim: int) -> tuple[Way, Way, list[Tensor]]:
    from zuko.transforms import ComposedTransform, DependentTransform, MonotonicRQSTransform, RotationTransform

    leaves = [(0.1 * torch.randn(dim, dim)).requires_grad_(), *parameters(dim, BINS, BINS, BINS - 1)]

    def transform() -> Any:
        matrix, *tables = leaves
        return ComposedTransform(RotationTransform(matrix), DependentTransform(MonotonicRQSTransform(*tables), 1))

    return lambda x: transform().call_and_ladj(x), lambda z: transform().inv.call_and_ladj(z), leaves


def couplings(rows: int, dim: int) -> Cases:
    """Eight affine couplings with two hidden layers of 64; the floor is their products, and each reads and writes."""
    from benchmarks.layers import LAYERS as MAKERS
    from benchmarks.layers import Stack

    x = torch.randn(rows, dim)
    both: dict[str, tuple[Way, Way | None, list[Tensor]]] = {}
    left_out = {}
    for package in ("ours", "zuko", "nflows", "normflows", "FrEIA", "pyro"):
        if package != "ours" and (why := absent(package, x.numel(), MOST_SHARED)):
            left_out[package] = why
            continue
        stack = Stack([MAKERS["affine", package](dim, i) for i in range(LAYERS)])
        both[package] = (stack, stack.inverse, leaves_of(stack))
    extra = {"flops": LAYERS * 2 * rows * (dim // 2 * WIDTH + WIDTH * WIDTH + WIDTH * dim), "passes": LAYERS}
    yield from directions("couplings", x, both, extra | {"left_out": left_out, "product": _thin_products(rows, dim)})


def _thin_products(rows: int, dim: int) -> Any:
    """What the conditioners of the stack multiply, written in place."""
    sides = (dim // 2, WIDTH, WIDTH, dim)
    inputs = [torch.randn(rows, side) for side in sides]
    weights = [torch.randn(a, b) for a, b in pairwise(sides)]

    def call() -> None:
        for _ in range(LAYERS):
            for x, w, out in zip(inputs, weights, inputs[1:], strict=False):
                torch.mm(x, w, out=out)

    return call
