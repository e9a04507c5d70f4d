"""Kernel densities: against the mixture written out, their moments, and the width that left-out points ask for."""

import math

import pytest
import torch
from torch.distributions import MultivariateNormal

from gaussflow import KernelDensity, load, save


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def cloud(n=60, dim=3, seed=0, dtype=torch.float64):
    turn = torch.randn(dim, dim, generator=seeded(9), dtype=dtype)
    return torch.randn(n, dim, generator=seeded(seed), dtype=dtype) @ turn + 2


def ring(n, seed=0):
    angle = 2 * math.pi * torch.rand(n, generator=seeded(seed), dtype=torch.float64)
    return torch.stack([angle.cos(), angle.sin()], 1)


def fitted(x, points=None, **options):
    return KernelDensity(points or len(x), x.shape[1], dtype=x.dtype).fit(x, **options)


def test_log_prob_is_that_of_the_mixture_written_out():
    x, variance = cloud(), torch.tensor([0.1, 0.2, 0.3]).double()
    density, at = fitted(x, variance=variance), cloud(11, seed=1).reshape(11, 1, 3)
    law = MultivariateNormal(density.centres, density.root @ density.root.T)
    want = law.log_prob(at[..., None, :]).logsumexp(-1) - math.log(60)
    torch.testing.assert_close(density.log_prob(at), want, rtol=1e-10, atol=1e-10)
    torch.testing.assert_close(
        density.log_prob(at.float().double()[:, 0]).float(), density.float().log_prob(at.float())[:, 0]
    )


def test_mean_and_covariance_stay_whatever_the_width():
    x, variance = cloud(), torch.tensor([0.1, 0.2, 0.3]).double()
    for points in (60, 1):
        density = fitted(x, points, variance=variance)
        centres, kernel = density.centres, density.root @ density.root.T
        torch.testing.assert_close(centres.mean(0), x.mean(0))
        between = (centres - centres.mean(0)).T @ (centres - centres.mean(0)) / 60
        own = torch.cov(x.T)
        torch.testing.assert_close(between + kernel, own + variance.diag(), rtol=0.03, atol=0.01)
        drawn = density.sample(40000, generator=seeded())
        torch.testing.assert_close(torch.cov(drawn.T), between + kernel, rtol=0.05, atol=0.05)
        torch.testing.assert_close(drawn.mean(0), x.mean(0), rtol=0.02, atol=0.02)


def test_the_width_is_narrow_for_a_ring_and_wide_for_a_cloud():
    narrow, wide = fitted(ring(200)), fitted(cloud(200, 8))
    width = lambda d, x: float((d.root @ d.root.T).trace() / torch.cov(x.T).trace()) ** 0.5  # noqa: E731
    assert width(narrow, ring(200)) < 0.35
    assert width(wide, cloud(200, 8)) > 0.65
    test, gaussian = ring(2000, seed=1), fitted(ring(200), 1)
    assert narrow.log_prob(test).mean() > gaussian.log_prob(test).mean() + 0.3


def test_one_kernel_is_a_gaussian_and_stores_no_point():
    x = cloud()
    density = fitted(x, 1)
    law = MultivariateNormal(x.mean(0), torch.cov(x.T))
    torch.testing.assert_close(density.log_prob(x), law.log_prob(x), rtol=1e-6, atol=1e-6)
    assert density.centres.shape == (1, 3)


def test_fewer_kernels_than_points_are_set_at_random():
    x = ring(100)
    first, again, other = (fitted(x, 50, seed=s) for s in (0, 0, 1))
    assert torch.equal(first.centres, again.centres)
    assert not torch.equal(first.centres, other.centres)


def test_degenerate_points_give_finite_numbers():
    line = torch.stack([torch.arange(20.0), torch.zeros(20)], 1)
    for x in (line, torch.zeros(5, 2), torch.ones(1, 2), 1e6 * line):
        density = fitted(x)
        assert bool(torch.isfinite(density.log_prob(x)).all())
        assert bool(torch.isfinite(density.sample(5)).all())


def test_born_as_the_standard_normal():
    x = cloud(5, dtype=torch.float32)
    want = MultivariateNormal(torch.zeros(3), torch.eye(3)).log_prob(x)
    torch.testing.assert_close(KernelDensity(4, 3).log_prob(x), want)


def test_shapes_seeds_files_and_gradients(tmp_path):
    density = fitted(cloud(dtype=torch.float32))
    assert density.sample().shape == (3,)
    assert density.sample((0, 2)).shape == (0, 2, 3)
    assert density.log_prob(torch.zeros(0, 3)).shape == (0,)
    assert torch.equal(density.sample(4, generator=seeded()), density.sample(4, generator=seeded()))
    save(density, tmp_path / "m")
    x = cloud(7, seed=2, dtype=torch.float32)
    assert torch.equal(load(tmp_path / "m").log_prob(x), density.log_prob(x))
    at = x.clone().double().requires_grad_()
    assert torch.autograd.gradcheck(fitted(cloud(8)).log_prob, at)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: KernelDensity(0, 3), "points of at least 1"),
        (lambda: KernelDensity(5, 3).fit(torch.zeros(4, 3)), "at least 5 points"),
        (lambda: KernelDensity(2, 3).fit(torch.zeros(4, 2)), r"\(\.\.\., 3\)"),
        (lambda: KernelDensity(2, 1).fit(torch.tensor([[0.0], [math.nan]])), "finite numbers"),
        (lambda: KernelDensity(2, 3).log_prob(torch.zeros(4)), r"\(\.\.\., 3\)"),
    ],
)
def test_kernels_say_what_they_want(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_copies_are_left_out_with_their_original():
    """Copies that barely differ from their original must not make the kernels narrow."""
    x = cloud(100, 6)
    near = x + 1e-3 * torch.randn(100, 6, generator=seeded(5), dtype=torch.float64)
    alone, copied = fitted(x), fitted(torch.cat([x, near]), copies=2)
    torch.testing.assert_close(copied.root, alone.root)
    torch.testing.assert_close(copied.centres[:100], alone.centres[copied_order(alone, copied)])
    mistaken = fitted(torch.cat([x, near]))
    assert float(mistaken.root.trace()) < 0.7 * float(alone.root.trace())


def copied_order(alone, copied):
    """Kernels without copies are in random order: the place of each."""
    return torch.cdist(copied.centres[:100], alone.centres).argmin(1)


def test_copies_that_fill_in_make_kernels_narrower():
    turn = 0.3 * torch.randn(60, generator=seeded(3), dtype=torch.float64)
    x, test = ring(60), ring(2000, seed=1)
    turned = torch.stack([turn.cos() * x[:, 0] - turn.sin() * x[:, 1], turn.sin() * x[:, 0] + turn.cos() * x[:, 1]], 1)
    alone, copied = fitted(x), fitted(torch.cat([x, turned]), copies=2)
    assert float(copied.root.trace()) <= float(alone.root.trace())
    assert copied.log_prob(test).mean() > alone.log_prob(test).mean()
    with pytest.raises(ValueError, match="with 2 copies just as many"):
        KernelDensity(60, 2).fit(torch.cat([x, turned]), copies=2)
