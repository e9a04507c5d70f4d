"""What is timed: an operation in one direction at one size, those of others beside it, and what cannot be avoided."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from importlib.util import find_spec
from typing import Any

import torch
from torch import Tensor, nn

Call = Callable[[], Any]
Way = Callable[..., Any]
FLOAT = 4  # bytes
# Numbers of points up to which other packages are asked; beyond, one of them would hold more than 9 GB.
MOST_FOR_RIVALS = 2**23  # whoever keeps the parameters of a bin for every number
MOST_SHARED = 2**25  # whoever shares them, and couplings
MOST_PRODUCTS = 2**27  # rotations


@dataclass(frozen=True)
class Case:
    """``calls`` by name, ours first under ``ours``; ``moved`` bytes and ``flops`` are the floor.

    ``product``, where it is not the product of the rows with a square matrix, is what has so many flops forward;
    ``left_out`` says of others why they are not there.
    """

    operation: str
    way: str
    rows: int
    dim: int
    calls: dict[str, Call]
    moved: int
    flops: int = 0
    product: Call | None = None
    left_out: dict[str, str] = field(default_factory=dict)


Cases = Iterator[Case]


def quiet(f: Way, *inputs: Any) -> Call:
    """``f(*inputs)`` without gradients."""

    def call() -> Any:
        with torch.no_grad():
            return f(*inputs)

    return call


def training(f: Way, x: Tensor, leaves: list[Tensor]) -> Call:
    """One step of training: values and log-slopes forward, and gradients of the points and of all leaves backward."""
    point = x.clone().requires_grad_()
    every = [point, *leaves]

    def call() -> Any:
        z, ladj = f(point)
        return torch.autograd.grad(0.5 * z.square().sum() - ladj.sum(), every, allow_unused=True)

    return call


def directions(
    operation: str, x: Tensor, both: dict[str, tuple[Way, Way | None, list[Tensor]]], extra: dict[str, Any]
) -> Cases:
    """Cases forward, inverse and training of layers: by name the two ways, and the leaves that are trained.

    The floor of the first two is one reading of x and one writing of z and the log-slopes; training adds those of the
    gradients. ``extra`` holds flops forward, why others are left out, and what else a case has.
    """
    rows, dim = x.shape
    flops, left_out = extra.get("flops", 0), extra.get("left_out", {})
    once = extra.get("passes", 1) * FLOAT * x.numel()
    ways: dict[str, dict[str, Call]] = {"forward": {}, "inverse": {}, "training": {}}
    for name, (forward, inverse, leaves) in both.items():
        ways["forward"][name] = quiet(forward, x)
        if inverse is not None:
            ways["inverse"][name] = quiet(inverse, x)
        ways["training"][name] = training(forward, x, leaves)
    for way, calls in ways.items():
        if calls:
            factor = 3 if way == "training" else 1
            out = left_out if way != "inverse" else left_out | {n: "no inverse" for n in both if n not in calls}
            yield Case(operation, way, rows, dim, calls, factor * 2 * once, factor * flops, extra.get("product"), out)


def absent(package: str, numbers: int, most: int = MOST_FOR_RIVALS) -> str | None:
    """Why a package cannot be timed on so many numbers, of which it is known to hold ``most``, or None."""
    if not find_spec(package):
        return "not installed"
    return "more than 9 GB" if numbers > most else None


def leaves_of(module: nn.Module) -> list[Tensor]:
    """The parameters of a module."""
    return list(module.parameters())
