"""The three states in which the contract holds, the tables they are fitted on, and how two transforms are compared."""

import copy
import inspect
import math
from collections.abc import Callable
from functools import cache

import pytest
import torch
from torch import Tensor

from cases import CASES, C, D, make
from gaussflow import Chain, Transform

F64, F32 = torch.float64, torch.float32
STATES = ("born", "fitted", "moved")
every_case = pytest.mark.parametrize("name", CASES)
every_state = pytest.mark.parametrize("state", STATES)


def table(n: int = 300, dim: int = D, dtype: torch.dtype = torch.float64, seed: int = 1) -> tuple[Tensor, Tensor]:
    """Correlated rows, one coordinate skewed, one bimodal, one heavy-tailed: x (n, dim), and context (n, C) in them."""
    g = torch.Generator().manual_seed(seed)
    u = torch.randn(n, dim, generator=g, dtype=torch.float64)
    context = torch.randn(n, C, generator=g, dtype=torch.float64)
    u[:, 0] = u[:, 0].exp()
    u[:, 1 % dim] = u[:, 1 % dim] / 3 + torch.randn(n, generator=g, dtype=torch.float64).sign() + context[:, 0]
    u[:, 2 % dim] = u[:, 2 % dim] / u[:, 2 % dim].abs().clamp(min=0.2).sqrt() * (1 + u[:, 2 % dim].abs())
    mixing = torch.eye(dim, dtype=torch.float64) + torch.randn(dim, dim, generator=g, dtype=torch.float64) / dim**0.5
    return (u @ mixing.T + torch.linspace(-2, 2, dim, dtype=torch.float64)).to(dtype), context.to(dtype)


def log_density(transform: Transform, x: Tensor, context: Tensor | None = None) -> Tensor:
    """The log-density (...) of the flow onto the standard normal."""
    z, ladj = transform(x, context)
    return ladj - z.square().sum(-1) / 2 - z.shape[-1] / 2 * math.log(2 * math.pi)


def unlike_loss(transform: Transform, x: Tensor, context: Tensor | None = None) -> Tensor:
    """Minus the log-density (...) up to a constant onto a normal of unequal variances: rotations are seen, too."""
    z, ladj = transform(x, context)
    return (z.square() * torch.linspace(0.25, 1, z.shape[-1], dtype=z.dtype)).sum(-1) - ladj


def move(
    transform: Transform, x: Tensor, context: Tensor, steps: int = 4, *, lr: float = 0.02, noise: float = 0.02
) -> Transform:
    """Move every parameter by a few steps of Adam on the likelihood, with noise, in place."""
    parameters = [p for p in transform.parameters() if p.requires_grad]
    if parameters:
        adam = torch.optim.Adam(parameters, lr=lr)
        g = torch.Generator().manual_seed(2)
        for _ in range(steps):
            adam.zero_grad()
            unlike_loss(transform, x, context).mean().backward()
            adam.step()
            with torch.no_grad():
                for p in parameters:
                    p += noise * torch.randn(p.shape, generator=g, dtype=torch.float64).to(p.dtype)
        transform.zero_grad(set_to_none=True)
    return transform


def in_state(name: str, state: str, dtype: torch.dtype = torch.float64) -> Transform:
    """The case ``name`` in one of `STATES`; a copy, so that a test may spoil it."""
    return copy.deepcopy(_in_state(name, state, dtype))


@cache
def _in_state(name: str, state: str, dtype: torch.dtype) -> Transform:
    if state == "born":
        return make(name, dtype)
    if state == "fitted":
        return make(name, dtype).fit(*table(dtype=dtype))
    return move(in_state(name, "fitted", dtype), *table(dtype=dtype))


def rebuilt(transform: Transform) -> Transform:
    """A new object from ``config()``, its numbers those of birth."""
    before = torch.get_default_dtype()
    torch.set_default_dtype(next((t.dtype for t in transform._numbers()), before))
    try:
        return _rebuilt(transform)
    finally:
        torch.set_default_dtype(before)


def _rebuilt(module: torch.nn.Module) -> Transform:
    kind, config = type(module), {key: _value(value) for key, value in module.config().items()}
    return kind(*config["parts"]) if issubclass(kind, Chain) else kind(**config)


def _value(value: object) -> object:
    if isinstance(value, list):
        return [_value(v) for v in value]
    return _rebuilt(value) if isinstance(value, torch.nn.Module) and hasattr(value, "config") else value


def public_transforms() -> set[type[Transform]]:
    """The concrete transforms that `gaussflow` exports."""
    import gaussflow

    exported = (getattr(gaussflow, name) for name in gaussflow.__all__)
    return {k for k in exported if inspect.isclass(k) and issubclass(k, Transform) and not inspect.isabstract(k)}


def modules_of_cases() -> set[type]:
    """The kinds of the cases themselves; a part inside a Chain does not count."""
    return {type(make(name)) for name in CASES}


def largest_jump(f: Callable[[Tensor], Tensor], low: float, high: float, points: int = 2049) -> float:
    """The largest jump of f found by zooming four times at the eight largest steps: nearly 0 where f is continuous.

    f maps t (n,) to (n,).
    """
    t = torch.linspace(low, high, points, dtype=torch.float64)
    ends = torch.stack([t[:-1], t[1:]], -1)
    steps = f(t).diff().abs()
    fractions = torch.linspace(0, 1, 65, dtype=torch.float64)
    for _ in range(4):
        ends = ends[steps.topk(8).indices]
        t = ends[:, :1] + (ends[:, 1:] - ends[:, :1]) * fractions
        steps = f(t.flatten()).reshape(t.shape).diff(dim=1).abs().flatten()
        ends = torch.stack([t[:, :-1], t[:, 1:]], -1).reshape(-1, 2)
    return float(steps.max())


def points(sigma: float = 1.0, n: int = 7, dtype: torch.dtype = F64) -> tuple[Tensor, Tensor]:
    """Rows like the table's, ``sigma`` times as far from its mean."""
    x, context = table(n, seed=3)
    mean = table()[0].mean(0)
    return (mean + sigma * (x - mean)).to(dtype), context.to(dtype)


def close(actual: Tensor, wanted: Tensor, tolerance: float) -> None:
    """Equal up to ``tolerance`` of the larger of 1 and the largest number of the row."""
    scale = wanted.abs().amax(-1, keepdim=True).clamp(min=1) if wanted.numel() else 1.0
    assert actual.shape == wanted.shape
    assert actual.dtype == wanted.dtype
    torch.testing.assert_close(actual / scale, wanted / scale, atol=tolerance, rtol=0)


def same(one: Transform, other: Transform) -> None:
    """Two transforms give identical outputs."""
    x, context = points()
    for method in ("forward", "inverse"):
        for a, b in zip(getattr(one, method)(x, context), getattr(other, method)(x, context), strict=True):
            torch.testing.assert_close(a, b, atol=0, rtol=0)
