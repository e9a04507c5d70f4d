"""The named constructors on which the contract is tested: one line for each public transform and variant.

A constructor takes the dimension (default `D`) and gives a transform of the default dtype; what uses context takes `C`
context coordinates. The tests call them by `make`. Adding a transform is adding a line to `CASES`.
"""

from collections.abc import Callable

import torch

from gaussflow import (
    MLP,
    AffineCoupling,
    Chain,
    Given,
    HaarStep,
    HadamardRotation,
    HouseholderRotation,
    Inverse,
    MarginalSpline,
    MarginalTable,
    MixtureCDF,
    MixtureFlow,
    MixtureTransport,
    Permutation,
    RadialSpline,
    Rotation,
    SplineCoupling,
    Standardize,
    Transform,
    Whiten,
    confirmed,
    haar,
    ica,
    pca,
    projection_pursuit,
    sliced_wasserstein,
)
from gaussflow.ops.mixture import logistic_kernel

D, C = 5, 2


def evens(dim: int) -> torch.Tensor:
    """The mask of every other coordinate."""
    return torch.arange(dim) % 2 == 0


CASES: dict[str, Callable[..., Transform]] = {
    "AffineCoupling": lambda dim=D: AffineCoupling(dim, evens(dim)),
    "AffineCoupling of one coordinate": lambda dim=D: AffineCoupling(dim, [dim - 1], MLP),
    "AffineCoupling with context": lambda dim=D: AffineCoupling(dim, evens(dim), MLP, context_dim=C),
    "Chain": lambda dim=D: Chain(Standardize(dim), Rotation(dim, pca), AffineCoupling(dim, evens(dim), MLP)),
    "Chain of a Chain with context": lambda dim=D: Chain(
        Chain(Standardize(dim), SplineCoupling(dim, evens(dim), MLP, context_dim=C)), Inverse(Whiten(dim))
    ),
    "Given": lambda dim=D: Given(AffineCoupling(2, [0], MLP, context_dim=C), dim, [[0, 1], [4, 2]], [[3, -1], [1, 3]]),
    "Given with context": lambda dim=D: Given(MixtureTransport(1, 2, context_dim=1 + C), dim, [[0], [3]], [[1], [0]]),
    "HaarStep": lambda dim=D: HaarStep((1, dim)),
    "HadamardRotation": lambda dim=D: HadamardRotation(dim),
    "HadamardRotation of one round": lambda dim=D: HadamardRotation(dim, 1),
    "HouseholderRotation": lambda dim=D: HouseholderRotation(dim, dim),
    "HouseholderRotation of two": lambda dim=D: HouseholderRotation(dim, 2),
    "Inverse of a coupling": lambda dim=D: Inverse(AffineCoupling(dim, evens(dim), MLP)),
    "Inverse of Whiten": lambda dim=D: Inverse(Whiten(dim)),
    "MarginalSpline": lambda dim=D: MarginalSpline(dim, 8),
    "MarginalSpline of 32 knots": lambda dim=D: MarginalSpline(dim),
    "MarginalTable": lambda dim=D: MarginalTable(dim),
    "MarginalTable of 10 cells": lambda dim=D: MarginalTable(dim, 10),
    "MixtureCDF": lambda dim=D: MixtureCDF(dim),
    "MixtureCDF of 3 logistic": lambda dim=D: MixtureCDF(dim, 3, kernel=logistic_kernel),
    "MixtureFlow": lambda dim=D: MixtureFlow(dim),
    "MixtureTransport": lambda dim=D: MixtureTransport(dim, 8),
    "MixtureTransport with context": lambda dim=D: MixtureTransport(dim, 3, context_dim=C),
    "Permutation": lambda dim=D: Permutation([*range(2, dim), 1, 0]),
    "RadialSpline": lambda dim=D: RadialSpline(dim, 8),
    "Rotation": lambda dim=D: Rotation(dim),
    "Rotation of haar axes": lambda dim=D: Rotation(dim, haar(dim)),
    "Rotation of pca axes": lambda dim=D: Rotation(dim, pca),
    "Rotation of confirmed axes": lambda dim=D: Rotation(dim, confirmed(projection_pursuit)),
    "Rotation of sliced axes": lambda dim=D: Rotation(dim, sliced_wasserstein),
    "Rotation of ica axes": lambda dim=D: Rotation(dim, ica),
    "SplineCoupling": lambda dim=D: SplineCoupling(dim, evens(dim)),
    "SplineCoupling of one coordinate": lambda dim=D: SplineCoupling(dim, [dim - 1], MLP),
    "SplineCoupling with context": lambda dim=D: SplineCoupling(dim, evens(dim), MLP, context_dim=C),
    "Standardize": lambda dim=D: Standardize(dim),
    "Whiten": lambda dim=D: Whiten(dim),
}


# The cases that move every coordinate on its own.
MARGINAL = ["Standardize", *(name for name in CASES if name.startswith(("Marginal", "MixtureCDF", "MixtureFlow")))]


def make(name: str, dtype: torch.dtype = torch.float64, dim: int = D, seed: int = 0) -> Transform:
    """The case ``name``, born in ``dtype`` from a seed of its own."""
    before = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    try:
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            return CASES[name](dim)
    finally:
        torch.set_default_dtype(before)
