"""Sixteen one-sided couplings in float32, far from the data: every point comes back, every gradient is finite."""

import pytest
import torch
from torch import nn

from gaussflow import MLP, AffineCoupling, Chain, SplineCoupling

KINDS = [AffineCoupling, SplineCoupling]
LONG = pytest.mark.statistical


def stack(kind, dim):
    """Layers with random conditioners, the last layer of them too: an identity stack would prove nothing."""
    return Chain(*(kind(dim, range(i % 2, dim, 2), MLP) for i in range(16)))


def bent(n, dim, seed):
    """Correlated non-Gaussian rows (n, dim) of unit scale: each source bent by its neighbour's square, then mixed."""
    u = torch.randn(n, dim, generator=torch.Generator().manual_seed(seed))
    u = u + (u.roll(1, -1).square() - 1) / 2 + 0.3 * u.roll(2, -1)
    mixing = torch.linalg.qr(torch.randn(dim, dim, generator=torch.Generator().manual_seed(7)))[0]
    x = u @ (torch.eye(dim) + mixing / 2)
    return (x - x.mean(0)) / x.std(0)


def nats(chain, x):
    z, ladj = chain(x)
    return (z.square().sum(-1) / 2 - ladj).mean()


def train(chain, dim, steps, rate):
    x, optimiser = bent(10_000, dim, 1), torch.optim.Adam(chain.parameters(), rate)
    before = nats(chain, bent(1_000, dim, 2)).item()
    for _ in range(steps):
        optimiser.zero_grad()
        nats(chain, x[torch.randint(len(x), (256,))]).backward()
        nn.utils.clip_grad_norm_(chain.parameters(), 5.0)
        optimiser.step()
    return before - nats(chain, bent(1_000, dim, 2)).item()


def round_trip(chain, x):
    """Largest and median error relative to max(1, |x|), after the promises that hold without a tolerance."""
    x = x.clone().requires_grad_()
    z, ladj = chain(x)
    (z.square().sum(-1) / 2 - ladj).mean().backward()
    back, minus = chain.inverse(z)
    for values in (z, ladj, back, minus, x.grad, *(p.grad for p in chain.parameters())):
        assert values.dtype == torch.float32
        assert values.isfinite().all()
    error = ((back - x).abs() / x.abs().clamp_min(1)).detach()
    return error.max(), error.median()


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("dim", [64, 256])
def test_untrained_stacks_come_back(kind, dim):
    chain = stack(kind, dim)
    for sigma, bound in ((1, 2e-5), (5, 5e-5), (20, 1e-3)):
        worst, median = round_trip(chain, sigma * torch.randn(256, dim))
        assert worst < bound
        assert median < 2e-6


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    ("dim", "steps"), [(16, 40), pytest.param(64, 300, marks=LONG), pytest.param(256, 300, marks=LONG)]
)
def test_trained_stacks_come_back(kind, dim, steps):
    chain = stack(kind, dim)
    assert train(chain, dim, steps, 3e-3) > 1.0
    for rows in (bent(512, dim, 3), torch.randn(512, dim)):
        for sigma, bound in ((1, 1e-3), (5, 1e-2), (20, 5e-2)):
            worst, median = round_trip(chain, sigma * rows)
            assert worst < bound
            assert median < 1e-5


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("far", [100.0, 1e6])
def test_no_distance_breaks_a_stack(kind, far):
    worst, median = round_trip(stack(kind, 16), far * torch.randn(256, 16))
    assert worst < 0.1
    assert median < 2e-6
