"""`RadialSpline`: spherical laws made normal, normal rows left alone, and the ends of the floating numbers."""

import math

import pytest
import torch

from gaussflow import Chain, RadialSpline, Whiten, as_rows
from gaussflow.recipes import _kinds

F64 = torch.float64


def normal(n, dim, seed=0):
    return torch.randn(n, dim, generator=torch.Generator().manual_seed(seed), dtype=F64)


def ball(n, dim, seed=0):
    """Rows uniform in the unit ball."""
    x = normal(n, dim, seed)
    radius = torch.rand(n, 1, generator=torch.Generator().manual_seed(seed + 1), dtype=F64) ** (1 / dim)
    return x / x.norm(dim=1, keepdim=True) * radius


def student(n, dim, freedom, seed=0):
    scale = normal(n, freedom, seed + 1).square().mean(1, keepdim=True).sqrt()
    return normal(n, dim, seed) / scale


@torch.no_grad()
def nats(transform, x):
    z, ladj = transform(x)
    return float((0.5 * z.square().sum(1) - ladj).mean()) + x.shape[1] / 2 * math.log(2 * math.pi)


@pytest.mark.parametrize("dim", [1, 2, 16, 64])
def test_a_ball_is_made_normal_at_every_dimension(dim):
    radial = RadialSpline(dim).double().fit(ball(4000, dim))
    volume = dim / 2 * math.log(math.pi) - math.lgamma(dim / 2 + 1)
    assert nats(radial, 0.999 * ball(4000, dim, 5)) - volume < 0.03


@pytest.mark.parametrize("dim", [2, 20])
def test_a_t_distribution_is_made_normal(dim):
    freedom = 3
    fresh = student(5000, dim, freedom, 7)
    half = (freedom + dim) / 2
    constant = math.lgamma(half) - math.lgamma(freedom / 2) - dim / 2 * math.log(freedom * math.pi)
    truth = -float((constant - half * (fresh.square().sum(1) / freedom).log1p()).mean())
    assert nats(RadialSpline(dim).double().fit(student(5000, dim, freedom)), fresh) - truth < 0.03


def test_the_density_integrates_to_one():
    radial = RadialSpline(2).double().fit(student(1000, 2, 2))
    line = torch.linspace(-40, 40, 1601, dtype=F64)
    grid = torch.cartesian_prod(line, line)
    z, ladj = radial(grid)
    mass = (ladj - 0.5 * z.square().sum(1)).exp().sum() / (2 * math.pi) * (line[1] - line[0]) ** 2
    tail = (student(100_000, 2, 2, 3).abs().amax(1) > 40).double().mean()
    assert float(mass.detach() + tail) == pytest.approx(1, abs=0.01)


@pytest.mark.parametrize(("n", "dim"), [(20, 3), (200, 2), (200, 50), (5000, 8)])
def test_normal_rows_are_left_alone(n, dim):
    moved = 0
    for seed in range(10):
        x = normal(n, dim, seed)
        moved += bool((RadialSpline(dim).double().fit(x)(x)[0] - x).abs().max() > 1e-9)
    assert moved == 0


def test_a_fit_starts_anew():
    radial = RadialSpline(3).double().fit(ball(1000, 3))
    x = normal(1000, 3)
    torch.testing.assert_close(radial.fit(x)(x)[0], x)


def test_it_is_linear_about_the_origin_and_beyond_the_largest_not_faster():
    x = ball(2000, 4)
    radial = RadialSpline(4).double().fit(x)
    axis = torch.tensor([1.0, 0, 0, 0], dtype=F64)
    near = radial(torch.tensor([1e-200, 1e-30, 1e-9, 1e-6], dtype=F64)[:, None] * axis)[0][:, 0]
    torch.testing.assert_close(near / near[-1], torch.tensor([1e-194, 1e-24, 1e-3, 1.0], dtype=F64), rtol=1e-9, atol=0)
    far = radial(torch.tensor([1e3, 1e6], dtype=F64)[:, None] * axis)[0][:, 0]
    assert far[0] < far[1] <= 1001 * far[0]


@pytest.mark.parametrize("dtype", [torch.float32, F64])
def test_no_finite_row_overflows(dtype):
    radial = RadialSpline(3, dtype=dtype).fit(student(500, 3, 1).to(dtype))
    large = torch.finfo(dtype).max
    x = torch.tensor([[0, 0, 0], [large, -large, large], [1e-38, 0, 0], [large, 1, 0]], dtype=dtype, requires_grad=True)
    z, ladj = radial(x)
    assert torch.cat([z.flatten(), ladj]).isfinite().all()
    assert torch.equal(z[0], torch.zeros(3, dtype=dtype))
    (z[2:].sum() + ladj.sum()).backward()
    assert x.grad.isfinite().all()


def test_constant_and_few_rows_are_left():
    for x in (torch.zeros(50, 2), torch.ones(50, 2), normal(1, 2), normal(2, 2)):
        z, ladj = RadialSpline(2).double().fit(x.double())(x.double())
        assert torch.cat([z.flatten(), ladj]).isfinite().all()


def test_the_hybrid_begins_with_it_on_a_ball():
    assert list(_kinds.first(as_rows(3 * ball(3000, 6)), 0)) == ["radial"]
    block = _kinds.radial(as_rows(ball(3000, 6) @ torch.diag(torch.arange(1.0, 7).double())), 0)
    assert isinstance(block, Chain)
    assert [type(part) for part in block] == [Whiten, RadialSpline]
