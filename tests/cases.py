"""The named constructors on which the contract is tested: one line for each public transform and variant.

A constructor takes the dimension (default `D`) and gives a transform of the default dtype; what uses context takes `C`
context coordinates. The tests call them by `make`. Adding a transform is adding a line to `CASES`.
"""

from collections.abc import Callable

import torch

from gaussflow import MLP, AffineCoupling, Chain, Inverse, Transform

D, C = 5, 2

MARGINAL: list[str] = []  # the cases that move every coordinate on its own


def evens(dim: int) -> torch.Tensor:
    """The mask of every other coordinate."""
    return torch.arange(dim) % 2 == 0


CASES: dict[str, Callable[..., Transform]] = {
    "AffineCoupling": lambda dim=D: AffineCoupling(dim, evens(dim)),
    "AffineCoupling of a random net on one coordinate": lambda dim=D: AffineCoupling(dim, [dim - 1], MLP),
    "AffineCoupling with context": lambda dim=D: AffineCoupling(dim, evens(dim), MLP, context_dim=C),
    "Chain": lambda dim=D: Chain(AffineCoupling(dim, evens(dim), MLP), AffineCoupling(dim, ~evens(dim), MLP)),
    "Inverse": lambda dim=D: Inverse(AffineCoupling(dim, evens(dim), MLP)),
}


def make(name: str, dtype: torch.dtype = torch.float64, dim: int = D) -> Transform:
    """The case ``name``, born in ``dtype`` from a fixed seed."""
    before = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    try:
        with torch.random.fork_rng():
            torch.manual_seed(0)
            return CASES[name](dim)
    finally:
        torch.set_default_dtype(before)
