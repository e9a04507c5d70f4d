"""The mixture of all averages of an image: labels, parts with axes of their own, and what held-out rows like."""

import math

import pytest
import torch
from torch import Tensor

from gaussflow import MixtureTransport
from gaussflow.recipes import _joint
from gaussflow.recipes._joint import joint_transport
from gaussflow.recipes._patches import Patches

F64 = torch.float64
DIM, LONG = 24, 4


def generator(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def clusters(n: int, count: int, seed: int) -> tuple[Tensor, Tensor, Tensor]:
    """Rows (n, D) of normal laws with long axes of their own, their indices, and log-densities under the true law."""
    g = generator(seed)
    means = 3 * torch.randn(count, DIM, generator=g, dtype=F64)
    roots = torch.eye(DIM, dtype=F64) + 2 * torch.randn(count, DIM, LONG, generator=g, dtype=F64) @ torch.eye(
        LONG, DIM, dtype=F64
    )
    k = torch.randint(count, (n,), generator=g)
    x = means[k] + (roots[k] @ torch.randn(n, DIM, 1, generator=g, dtype=F64))[:, :, 0]
    law = torch.distributions.MixtureSameFamily(
        torch.distributions.Categorical(torch.ones(count, dtype=F64)),
        torch.distributions.MultivariateNormal(means, roots @ roots.mT),
    )
    return x, k, law.log_prob(x)


def log_density(transport: MixtureTransport, x: Tensor, context: Tensor | None = None) -> Tensor:
    with torch.no_grad():
        z, ladj = transport(x, context)
    return ladj - 0.5 * (z.square() + math.log(2 * math.pi)).sum(1)


@pytest.mark.parametrize("seed", range(3))
def test_many_rows_are_split_where_that_helps(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Rows that are new lose 0.2 nats, and 0.5 to 0.7 where all components share the leading axes."""
    x, _, truth = clusters(7000, 6, seed)
    monkeypatch.setattr(_joint, "PART_ROWS", 1000)
    monkeypatch.setattr(_joint, "PART_AXES", 16)
    transport, score = joint_transport(Patches(x[:5000], x[5000:6000], 0), 64, F64, generator(seed))
    ours = log_density(transport, x[6000:])
    assert abs(float(log_density(transport, x[5000:6000]).mean()) - score) < 1e-3
    lost = float((truth[6000:] - ours).mean())
    monkeypatch.setattr(_joint, "PART_ROWS", 10**9)
    whole, _ = joint_transport(Patches(x[:5000], x[5000:6000], 0), 64, F64, generator(seed))
    assert lost < 0.35
    assert float((truth[6000:] - log_density(whole, x[6000:])).mean()) > lost + 0.2


@pytest.mark.parametrize("seed", range(3))
def test_one_normal_law_is_not_cut(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    x, _, truth = clusters(5000, 1, seed)
    monkeypatch.setattr(_joint, "PART_ROWS", 1000)
    transport, _ = joint_transport(Patches(x[:3000], x[3000:4000], 0), 64, F64, generator(seed))
    assert transport.components == 1
    assert float((truth[4000:] - log_density(transport, x[4000:])).mean()) < 0.15


@pytest.mark.parametrize("unit", [1.0, 1e-4])
def test_a_label_is_known_by_any_numbers(unit: float) -> None:
    """Each has its own law, and knows nothing of the next one, however close the numbers."""
    x, k, _ = clusters(2500, 3, 0)
    labels = (7 + unit * k[:, None]).to(F64)
    both = torch.cat([labels, x], 1)
    transport, score = joint_transport(Patches(both[:1500], both[1500:2000], 1), 64, F64, generator(0))
    ours = log_density(transport, x[1500:2000], labels[1500:2000])
    assert abs(float(ours.mean()) - score) < 1e-3
    for label in range(3):
        law = torch.distributions.MultivariateNormal(x[k == label].mean(0), x[k == label].T.cov())
        here = (k == label) & (torch.arange(2500) >= 2000)
        lost = law.log_prob(x[here]) - log_density(transport, x[here], labels[here])
        assert float(lost.mean()) < 1  # 324 numbers from 500 rows: half of 0.65


@pytest.mark.parametrize("seed", range(3))
def test_a_context_that_is_no_label_is_followed(seed: int) -> None:
    """Its effect is affine here, so that the conditional law is known."""
    g = generator(seed)
    c = torch.rand(2500, 2, generator=g, dtype=F64)
    noise = torch.randn(2500, DIM, generator=g, dtype=F64)
    x = c @ (5 * torch.randn(2, DIM, generator=g, dtype=F64)) + noise
    both = torch.cat([c, x], 1)
    transport, score = joint_transport(Patches(both[:1500], both[1500:2000], 2), 16, F64, generator(seed))
    truth = -0.5 * (noise[2000:].square() + math.log(2 * math.pi)).sum(1)
    lost = float((truth - log_density(transport, x[2000:], c[2000:])).mean())
    assert lost < 0.2
    assert abs(float(log_density(transport, x[1500:2000], c[1500:2000]).mean()) - score) < 1e-2


def test_a_label_without_held_out_rows_has_a_law() -> None:
    x, k, _ = clusters(600, 3, 0)
    both = torch.cat([k[:, None].to(F64), x], 1)
    held_out = both[400:][k[400:] != 2]
    transport, _ = joint_transport(Patches(both[:400], held_out, 1), 64, F64, generator(0))
    assert bool(log_density(transport, x[k == 2], both[k == 2, :1]).isfinite().all())
