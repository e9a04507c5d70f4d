"""The normal and logistic laws and mixtures of them against 60 digits, over the whole domain and both precisions."""

import math

import mpmath as mp
import numpy as np
import pytest
import torch
from scipy import special

from gaussflow.ops.mixture import Mixture, logistic_kernel, mixture_to_normal, normal_kernel
from gaussflow.ops.normal import (
    log_logistic_cdf,
    log_normal_cdf,
    log_normal_tail,
    logistic_quantile,
    mills_ratio,
    normal_quantile,
    normal_tail_quantile,
)

DTYPES = [torch.float32, torch.float64]
WEIGHTS, MEANS, SCALES = (0.2, 0.5, 0.3), (-1.0, 0.5, 3.0), (0.5, 1.0, 0.75)
POINTS = [-30.0, -12.0, -6.5, -3.0, -1.0, -0.25, 0.0, 0.5, 1.25, 2.5, 3.0, 4.5, 9.0, 14.0, 31.0]


def mixture(kernel=normal_kernel, dtype=torch.float64, dim=1):
    tables = (torch.tensor(t, dtype=torch.float64)[:, None].expand(3, dim) for t in (WEIGHTS, MEANS, SCALES))
    weights, means, scales = tables
    return Mixture(weights.log().to(dtype), means.to(dtype), scales.log().to(dtype), kernel)


def reference(x, logistic):
    """z and log dz/dx of the mixture at x, in 60 digits."""
    with mp.workdps(60):
        u = [(mp.mpf(x) - mp.mpf(m)) / mp.mpf(s) for m, s in zip(MEANS, SCALES, strict=True)]
        cdf = (lambda v: 1 / (1 + mp.exp(-v))) if logistic else mp.ncdf
        pdf = (lambda v: mp.exp(-v) / (1 + mp.exp(-v)) ** 2) if logistic else mp.npdf
        p, q = (mp.fsum(w * cdf(sign * v) for w, v in zip(WEIGHTS, u, strict=True)) for sign in (1, -1))
        density = mp.fsum(w * pdf(v) / s for w, v, s in zip(WEIGHTS, u, SCALES, strict=True))
        log_tail = mp.log(min(p, q))
        guess = float(normal_tail_quantile(torch.tensor(float(log_tail), dtype=torch.float64)))
        v = mp.findroot(lambda v: mp.log(mp.ncdf(-v)) - log_tail, guess)
        return float(-v if p < q else v), float(mp.log(density) - mp.log(mp.npdf(v)))


@pytest.mark.parametrize("dtype", DTYPES)
def test_mills_ratio(dtype):
    v = np.concatenate([np.linspace(0, 10, 41), [30.0, 1e3, 1e8, 1e30]])
    ours = mills_ratio(torch.tensor(v, dtype=dtype)).double().numpy()
    truth = special.erfcx(torch.tensor(v, dtype=dtype).double().numpy() / math.sqrt(2)) * math.sqrt(math.pi / 2)
    assert np.abs(ours / truth - 1).max() < (3e-7 if dtype == torch.float32 else 2e-15)


@pytest.mark.parametrize("dtype", DTYPES)
def test_log_normal_cdf(dtype):
    z = torch.linspace(-40, 8, 481, dtype=dtype)
    truth = torch.from_numpy(special.log_ndtr(z.double().numpy()))
    error = ((log_normal_cdf(z).double() - truth) / truth).abs()
    assert error.max() < (1e-6 if dtype == torch.float32 else 1e-14)
    assert log_normal_cdf(torch.tensor(-40.0, dtype=dtype)).item() == pytest.approx(-804.608442, rel=1e-6)


@pytest.mark.parametrize("dtype", DTYPES)
def test_normal_quantile_is_exact_in_both_tails(dtype):
    z = torch.cat([torch.linspace(-40, 40, 1601, dtype=dtype), torch.tensor([-1e18, -1e4, 1e4, 1e18], dtype=dtype)])
    far = z.abs() > 1e3
    assert torch.allclose(normal_tail_quantile(log_normal_tail(z[far].abs())), z[far].abs(), rtol=1e-6)
    near = z[~far]
    error = (normal_quantile(log_normal_cdf(near), log_normal_cdf(-near)) - near).abs() / (1 + near.abs())
    assert error.max() < (4e-7 if dtype == torch.float32 else 1e-15)


@pytest.mark.parametrize("dtype", DTYPES)
def test_logistic_tails(dtype):
    z = torch.cat([torch.linspace(-20, 20, 401, dtype=dtype), torch.tensor([-1e4, 1e4], dtype=dtype)])
    truth = -torch.logaddexp(torch.zeros_like(z, dtype=torch.float64), -z.double())
    assert torch.allclose(log_logistic_cdf(z).double(), truth, rtol=1e-6 if dtype == torch.float32 else 1e-14)
    back = logistic_quantile(log_logistic_cdf(z), log_logistic_cdf(-z))
    assert torch.allclose(back, z, rtol=1e-6, atol=1e-6)


def test_derivatives_of_the_normal_law():
    z = torch.tensor([-8.0, -1.0, 0.3, 2.0, 7.0], dtype=torch.float64, requires_grad=True)
    v = torch.tensor([0.2, 1.0, 3.0, 20.0], dtype=torch.float64, requires_grad=True)
    tail = log_normal_tail(v).detach().requires_grad_()
    for f, x in ((log_normal_cdf, z), (mills_ratio, v), (normal_tail_quantile, tail)):
        assert torch.autograd.gradcheck(f, x)
        assert torch.autograd.gradgradcheck(f, x, atol=1e-4)


@pytest.mark.parametrize("dtype", DTYPES)
def test_gradients_are_finite_at_the_edges(dtype):
    z = torch.tensor([-1e15, -40.0, -1e-30, 0.0, 8.0, 40.0, 1e15], dtype=dtype, requires_grad=True)
    (slope,) = torch.autograd.grad(log_normal_cdf(z).sum(), z)
    assert torch.isfinite(slope).all()
    tail = torch.tensor([-1e30, -800.0, -1.0, -math.log(2)], dtype=dtype, requires_grad=True)
    (slope,) = torch.autograd.grad(normal_tail_quantile(tail).sum(), tail)
    assert torch.isfinite(slope).all()


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("kernel", [normal_kernel, logistic_kernel])
def test_mixture_against_sixty_digits(kernel, dtype):
    x = torch.tensor(POINTS, dtype=dtype)[:, None]
    z, log_slope = mixture_to_normal(x, mixture(kernel, dtype))
    truth = torch.tensor([reference(p, kernel is logistic_kernel) for p in POINTS], dtype=torch.float64)
    single = dtype == torch.float32
    error = (z[:, 0].double() - truth[:, 0]).abs() / (1 + truth[:, 0].abs())
    assert error.max() < (5e-7 if single else 2e-15)
    assert (log_slope[:, 0].double() - truth[:, 1]).abs().max() < (2e-6 if single else 1e-14)


def test_mixture_of_one_normal_is_the_line():
    one = Mixture(torch.zeros(1, 2), torch.tensor([[1.0, -2.0]]), torch.tensor([[0.0, 1.0]]))
    x = torch.linspace(-90, 90, 300)[:, None].expand(300, 2)
    z, log_slope = mixture_to_normal(x, one)
    truth = (x - one.means) * (-one.log_scales).exp()
    assert ((z - truth).abs() / (1 + truth.abs())).max() < 1e-6
    assert torch.allclose(log_slope, torch.tensor([0.0, -1.0]).expand_as(x), atol=2e-6)


def test_a_point_on_a_mean_has_the_gradient_of_its_neighbours():
    """The tail of a component is folded at its mean: there the two halves must meet."""
    tables = mixture()
    x = torch.tensor(MEANS, dtype=torch.float64)[:, None].requires_grad_()
    z, log_slope = mixture_to_normal(x, tables)
    (slope,) = torch.autograd.grad(z.sum(), x, retain_graph=True)
    assert torch.allclose(slope.log(), log_slope, atol=1e-13)
    (curvature,) = torch.autograd.grad(log_slope.sum(), x)
    h = 1e-6
    numeric = (mixture_to_normal(x + h, tables)[1] - mixture_to_normal(x - h, tables)[1]) / (2 * h)
    assert torch.allclose(curvature, numeric, atol=1e-7)


def test_mixture_passes_gradcheck_in_points_and_tables():
    x = torch.linspace(-9, 12, 8, dtype=torch.float64)[:, None].requires_grad_()
    w, m, s = (t.clone().requires_grad_() for t in mixture()[:3])
    for kernel in (normal_kernel, logistic_kernel):

        def f(x, w, m, s, kernel=kernel):
            return mixture_to_normal(x, Mixture(w.log_softmax(0), m, s, kernel))

        assert torch.autograd.gradcheck(f, (x, w, m, s))
        assert torch.autograd.gradgradcheck(f, (x, w, m, s))


def test_chunks_of_rows_change_nothing():
    x = torch.randn(30_000, 2, dtype=torch.float64)
    tables = mixture(dim=2)
    whole, slopes = mixture_to_normal(x, tables)
    rows = torch.func.vmap(lambda r: mixture_to_normal(r, tables)[0])(x)
    torch.testing.assert_close(whole, rows, rtol=1e-11, atol=1e-11)  # on many rows a tail is a sum and not a logarithm
    assert slopes.shape == x.shape
