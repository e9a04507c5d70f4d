"""The guard of every block: on standard normal rows, which have no structure, believing what it fits costs nothing.

A block is fitted to N standard normal rows and its loss is the divergence that this opens, measured on fresh rows. Its
expectation is to stay below a thousandth of a nat a coordinate. One sample in many looks like something, and a fit to
it loses more: so of few fits, one may be beyond the bound, and of many, the mean is held to it.
"""

import math
from collections.abc import Callable

import pytest
import torch

from gaussflow import (
    Chain,
    Flow,
    MarginalSpline,
    MixtureTransport,
    RadialSpline,
    Rotation,
    Transform,
    confirmed,
    haar_rotation,
    hadamard_rotation,
    hybrid,
    ica,
    ica_rotation,
    pca,
    pca_rotation,
    pursuit_rotation,
    rbig,
    sliced_rotation,
    sliced_wasserstein,
    whitening,
)

F64 = torch.float64
BOUND = 1e-3  # nats a coordinate
FRESH = 20_000

Make = Callable[[int, torch.Generator], Transform]


def turned(rotation: Make) -> Make:
    """A rotation and a spline for each coordinate."""
    return lambda dim, generator: Chain(rotation(dim, generator), MarginalSpline(dim, 48))


BLOCKS: dict[str, Make] = {
    "MarginalSpline": lambda dim, generator: MarginalSpline(dim, 48),
    "haar_rotation": turned(haar_rotation),
    "hadamard_rotation": turned(hadamard_rotation),
    "ica_rotation": turned(ica_rotation),
    "pca_rotation": turned(pca_rotation),
    "confirmed pca": turned(lambda dim, generator: Rotation(dim, confirmed(pca))),
    "pursuit_rotation": turned(pursuit_rotation),
    "sliced_rotation": turned(sliced_rotation),
    "whitening": turned(whitening),
    "RadialSpline": lambda dim, generator: RadialSpline(dim),
    "MixtureTransport": lambda dim, generator: MixtureTransport(dim, 16),
}


def normal(n: int, dim: int, seed: int) -> torch.Tensor:
    return torch.randn(n, dim, generator=torch.Generator().manual_seed(seed), dtype=F64)


@torch.no_grad()
def loss(make: Make, n: int, dim: int, seed: int) -> float:
    """What a block fitted to N standard normal rows loses on fresh ones, in nats a coordinate."""
    x, fresh = normal(n, dim, seed), normal(FRESH, dim, 10_000 + seed)
    # The block's seed is another than that of the rows, or Haar matrices would be made of the rows themselves.
    z, ladj = make(dim, torch.Generator().manual_seed(20_000 + seed)).double().fit(x)(fresh)
    gain = ladj + 0.5 * (fresh.square() - z.square()).sum(-1)
    return -float(gain.mean()) / dim


@pytest.mark.parametrize(("n", "dim"), [(n, d) for n in (50, 300, 3000) for d in (2, 16, 64)])
@pytest.mark.parametrize("name", BLOCKS)
def test_a_block_loses_nothing_on_standard_normal_rows(name: str, n: int, dim: int) -> None:
    seeds = 6 if dim < 64 else 3
    losses = sorted(loss(BLOCKS[name], n, dim, seed) for seed in range(seeds))
    assert losses[-2] < BOUND


@pytest.mark.statistical
@pytest.mark.parametrize(
    ("n", "dim", "seeds"),
    [(50, 2, 400), (50, 16, 200), (300, 2, 200), (300, 256, 4), (3000, 256, 2), (30_000, 16, 3), (100_000, 4, 3)],
)
@pytest.mark.parametrize("name", BLOCKS)
def test_a_block_loses_nothing_whatever_the_size(name: str, n: int, dim: int, seeds: int) -> None:
    losses = torch.tensor([loss(BLOCKS[name], n, dim, seed) for seed in range(seeds)])
    error = float(losses.std()) / math.sqrt(seeds)
    assert float(losses.mean()) < BOUND + 2 * error


@pytest.mark.parametrize("axes", [ica, pca])
def test_without_the_guard_the_bound_is_broken(axes: Callable[..., torch.Tensor]) -> None:
    """The same axes believed at once: what the guard is there for."""
    bare, guarded = (
        sum(loss(turned(lambda dim, generator, a=a: Rotation(dim, a)), 300, 16, s) for s in range(5)) / 5
        for a in (axes, confirmed(axes))
    )
    assert guarded < BOUND < 5 * BOUND < bare


# Figure 4 of Draxler and others (2023), with fewer rows: the direction of N rows that has two peaks by chance.


def bimodal(x: torch.Tensor) -> torch.Tensor:
    """The unit vector (D,) along which rows (N, D) are farthest from their middle, by climbing the mean size."""
    w = torch.ones(x.shape[1], dtype=x.dtype) / math.sqrt(x.shape[1])
    for _ in range(100):
        w = (x @ w).sign() @ x
        w = w / w.norm()
    return w


def kurtosis(y: torch.Tensor) -> float:
    """Excess kurtosis in units of its error for normal rows."""
    y = (y - y.mean()) / y.std(correction=0)
    return (float(y.pow(4).mean()) - 3) / math.sqrt(24 / len(y))


def two_blocks(rotation: Make) -> Callable[[torch.Tensor], Flow]:
    """Growing that turns by such rotations."""
    return lambda x: rbig(x, rotation=rotation, whiten=False, max_blocks=2, patience=2, progress=False)[0]


MODELS: dict[str, Callable[[torch.Tensor], Flow]] = {
    **{each.__name__: two_blocks(each) for each in (ica_rotation, pursuit_rotation, sliced_rotation, whitening)},
    "MixtureTransport": lambda x: Flow(MixtureTransport.of(x)),
    "hybrid": lambda x: hybrid(x, progress=False)[0],  # type: ignore[dict-item, return-value]
}


@pytest.mark.parametrize("name", MODELS)
def test_samples_are_normal_in_the_direction_that_the_rows_have_by_chance(name: str) -> None:
    x = normal(600, 256, 0)
    w = bimodal(x)
    assert kurtosis(x @ w) < -4  # what the figure shows
    drawn = MODELS[name](x).sample(20_000, generator=torch.Generator().manual_seed(1)).detach()
    assert abs(kurtosis(drawn @ w)) < 4


def test_a_model_that_believes_the_direction_draws_two_peaks() -> None:
    x = normal(600, 256, 0)
    w = bimodal(x)

    def first(rows: object) -> torch.Tensor:
        eye = torch.eye(256, dtype=F64)
        u = w - eye[0]
        return eye - 2 * torch.outer(u, u) / u.square().sum()

    def samples(axes: Callable[..., torch.Tensor]) -> float:
        flow = Flow(Chain(Rotation(256, axes), MarginalSpline(256, 48)).double().fit(x)).eval()
        return kurtosis(flow.sample(20_000, generator=torch.Generator().manual_seed(1)).detach() @ w)

    assert samples(first) < -10
    assert abs(samples(confirmed(lambda rows: sliced_wasserstein(rows, directions=1)))) < 4
