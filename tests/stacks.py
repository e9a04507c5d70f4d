"""Stacks of eight layers of one kind, and how exactly they come back: shared by a test and a benchmark."""

from collections.abc import Iterator
from typing import NamedTuple

import torch
from torch import Tensor

from cases import CASES, make
from gaussflow import Chain, Permutation, Rotation, Standardize, Transform, haar
from states import move, table

LAYERS = 8
# Not stacked: what is made of others or moves no number.
ALONE = ("Chain", "Inverse", "Permutation")
STACKED = [name for name in CASES if not name.startswith(ALONE) and "context" not in name]


class Figures(NamedTuple):
    """Errors of one stack at one distance, largest and median; and what must never be seen."""

    worst: float
    median: float
    ladj: float
    broken: float
    gradients_finite: bool


class State(NamedTuple):
    """A stack and the normal law of its data: mean (D,) and a square root (D, D) of the covariance."""

    name: str
    chain: Chain
    mean: Tensor
    root: Tensor


def stack(name: str, dim: int, dtype: torch.dtype) -> Chain:
    """Eight layers of the case with mixing between: reversed coordinates for couplings, a rotation for others."""
    parts: list[Transform] = []
    for i in range(LAYERS):
        torch.manual_seed(i)
        parts.append(make(name, dtype, dim, seed=i))
        if "Coupling" in name:
            parts.append(Permutation(list(range(dim))[::-1]))
        elif "Rotation" not in name:
            parts.append(Rotation(dim, haar(dim, dtype=dtype), dtype=dtype))
    return Chain(*parts)


def states(name: str, dim: int, dtype: torch.dtype, steps: int) -> Iterator[State]:
    """The stack untrained on standard normal data, then standardised, fitted and trained by Adam on a table."""
    yield State("untrained", stack(name, dim, dtype), torch.zeros(dim).double(), torch.eye(dim).double())
    x, context = table(512, dim)
    trained = Chain(Standardize(dim, dtype=dtype), stack(name, dim, dtype)).fit(x.to(dtype), context.to(dtype))
    move(trained, x.to(dtype), context.to(dtype), steps, lr=2e-3, noise=0)
    yield State("trained", trained, x.mean(0), torch.linalg.cholesky(x.T.cov()))


def figures(state: State, sigma: float, n: int = 128) -> Figures:
    """Round trip of rows that lie ``sigma`` standard deviations of the data out.

    The error of a coordinate is relative to the larger of 1 and the largest coordinate of its row.
    """
    chain = state.chain
    dtype = next(chain._numbers(), state.mean).dtype
    normal = torch.randn(n, chain.dim, generator=torch.Generator().manual_seed(11), dtype=torch.float64)
    x = (state.mean + sigma * normal @ state.root.T).to(dtype).requires_grad_()
    z, ladj = chain(x)
    (z.square().sum(-1) / 2 - ladj).sum().backward()
    gradients = [x.grad, *(p.grad for p in chain.parameters())]
    chain.zero_grad()
    with torch.no_grad():
        back, ladj_back = chain.inverse(z)
    error = (back - x).detach().double().abs() / x.detach().double().abs().amax(-1, keepdim=True).clamp(min=1)
    finite = torch.stack([t.isfinite().reshape(n, -1).all(-1) for t in (z, ladj, back, ladj_back)]).all(0)
    return Figures(
        float(error.amax()),
        float(error.median()),
        float(((ladj_back + ladj).abs() / ladj.abs().clamp(min=1)).detach().amax()),
        1 - float(finite.double().mean()),
        all(bool(torch.isfinite(t).all()) for t in gradients if t is not None),
    )
