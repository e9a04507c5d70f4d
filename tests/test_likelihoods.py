"""Likelihoods: masses and densities sum to one, agree with closed forms, and are finite wherever they are asked."""

import math
from collections.abc import Callable

import mpmath
import numpy as np
import pytest
import torch
from torch import Tensor

from gaussflow import Bernoulli, ContinuousBernoulli, DiscretisedLogistic, Gaussian, Likelihood, MSSSIMEnergy
from gaussflow.losses.ssim import ms_ssim
from gaussflow.ops.sinhc import langevin, log_sinhc

OUTPUTS = [-300.0, -40.0, -3.0, -0.9999, -1e-3, -1e-9, 0.0, 1e-6, 0.3, 1.0001, 25.0, 300.0]
MAKERS: dict[str, Callable[[], Likelihood]] = {
    "Bernoulli": Bernoulli,
    "ContinuousBernoulli": ContinuousBernoulli,
    "Gaussian": Gaussian,
    "Gaussian, learned": lambda: Gaussian(0.1, learned=True, sigmoid=True),
    "DiscretisedLogistic": DiscretisedLogistic,
}
every_likelihood = pytest.mark.parametrize("make", MAKERS.values(), ids=MAKERS)


def double(*values: float) -> Tensor:
    return torch.tensor(values, dtype=torch.float64)


@pytest.mark.parametrize("a", [0.0, 1e-300, 1e-8, 0.1, 0.4999, 0.5, 0.5001, 1.0, 20.0, 1e3, 1e300])
@pytest.mark.parametrize("sign", [-1, 1])
def test_log_sinhc_and_langevin_against_fifty_digits(a: float, sign: int) -> None:
    t = double(sign * a).requires_grad_()
    with mpmath.workdps(50):
        m = mpmath.mpf(a)
        value = mpmath.log(mpmath.sinh(m) / m) if 0 < a < 1e5 else m - mpmath.log(2 * m) if a else 0
        slope = (mpmath.coth(m) - 1 / m if 1e-100 < a < 1e5 else m / 3 if a < 1 else mpmath.mpf(1)) * sign
    torch.testing.assert_close(log_sinhc(t), double(float(value)), rtol=4e-15, atol=0)
    torch.testing.assert_close(langevin(t), double(float(slope)), rtol=4e-15, atol=0)
    (grad,) = torch.autograd.grad(log_sinhc(t).sum(), t)
    torch.testing.assert_close(grad, double(float(slope)), rtol=1e-14, atol=0)
    small = torch.tensor(sign * min(a, 1e30))
    assert abs(float(langevin(small)) - float(slope)) < 1e-6


def test_bernoulli_sums_to_one_and_is_the_binary_cross_entropy() -> None:
    output = double(*OUTPUTS)[:, None]
    masses = torch.stack([Bernoulli().log_prob(output, torch.full_like(output, k)) for k in (0.0, 1.0)]).exp()
    torch.testing.assert_close(masses.sum(0), torch.ones(len(OUTPUTS)).double())
    output, x = torch.randn(5, 7), torch.rand(5, 7)
    loss = torch.nn.functional.binary_cross_entropy_with_logits(output, x, reduction="none").sum(-1)
    torch.testing.assert_close(Bernoulli().log_prob(output, x), -loss)


def quadrature(n: int = 400) -> tuple[Tensor, Tensor]:
    """Nodes and weights for integrals over [0, 1], dense at the ends."""
    nodes, weights = np.polynomial.legendre.leggauss(n)
    return torch.from_numpy(nodes / 2 + 0.5), torch.from_numpy(weights / 2)


@pytest.mark.parametrize("output", OUTPUTS)
def test_continuous_bernoulli_integrates_to_one_with_its_mean(output: float) -> None:
    nodes, weights = quadrature()
    eta = torch.full((len(nodes), 1), output, dtype=torch.float64)
    density = ContinuousBernoulli().log_prob(eta, nodes[:, None]).exp()
    assert float(density @ weights) == pytest.approx(1, abs=1e-11)
    assert float(ContinuousBernoulli().mean(eta)[0, 0]) == pytest.approx(float(density @ (weights * nodes)), abs=1e-11)


def test_continuous_bernoulli_near_a_half_in_float32() -> None:
    eta = torch.linspace(-0.01, 0.01, 101)[:, None].requires_grad_()
    x = torch.full_like(eta, 0.3)
    value = ContinuousBernoulli().log_prob(eta, x)
    (grad,) = torch.autograd.grad(value.sum(), eta)
    torch.testing.assert_close(grad, x - 0.5 - eta.detach() / 12, atol=1e-6, rtol=0)  # x − mean, to first order
    exact = ContinuousBernoulli().log_prob(eta.double(), x.double())
    torch.testing.assert_close(value.double(), exact, atol=1e-8, rtol=1e-5)


def test_gaussian_is_that_of_torch() -> None:
    output, x = torch.randn(5, 7).double(), torch.randn(5, 7).double()
    for likelihood in (Gaussian(0.3), Gaussian(0.3, learned=True).double()):
        expected = torch.distributions.Normal(output, math.sqrt(0.3)).log_prob(x).sum(-1)
        torch.testing.assert_close(likelihood.log_prob(output, x), expected, rtol=1e-7, atol=0)
    squashed = Gaussian(0.3, sigmoid=True)
    torch.testing.assert_close(squashed.log_prob(output, x), Gaussian(0.3).log_prob(output.sigmoid(), x))
    assert squashed.mean(output).max() < 1
    errors = (x - output).square().sum(-1)
    torch.testing.assert_close(Gaussian(0.5).log_prob(output, x) - Gaussian(0.5).log_prob(x, x), -errors)


def test_a_learned_variance_goes_to_the_mean_squared_error() -> None:
    x, likelihood = 0.2 * torch.randn(1000, 4), Gaussian(learned=True)
    optimizer = torch.optim.LBFGS(likelihood.parameters(), max_iter=50)

    def loss() -> Tensor:
        optimizer.zero_grad()
        value = -likelihood.log_prob(torch.zeros_like(x), x).mean()
        value.backward()
        return value

    optimizer.step(loss)
    assert float(likelihood.log_variance.detach().exp()) == pytest.approx(float(x.square().mean()), rel=1e-3)


@pytest.mark.parametrize("levels", [2, 256])
@pytest.mark.parametrize("scale", [1e-4, 0.01, 0.3, 50.0])
@pytest.mark.parametrize("output", [-2.0, 0.0, 0.5001, 1.0, 7.0])
def test_masses_of_the_levels_sum_to_one(output: float, scale: float, levels: int) -> None:
    likelihood = DiscretisedLogistic(scale, levels).double()
    x = torch.linspace(0, 1, levels, dtype=torch.float64)[:, None]
    masses = likelihood.log_prob(torch.full_like(x, output), x).exp().detach()
    assert float(masses.sum()) == pytest.approx(1, abs=1e-12)


def test_masses_are_differences_of_the_logistic_function() -> None:
    likelihood = DiscretisedLogistic(0.05).double()
    x = torch.linspace(0, 1, 256, dtype=torch.float64)[:, None]
    ends = [((x + side / 510 - 0.4) / float(likelihood.log_scale.detach().exp())).sigmoid() for side in (1, -1)]
    masses = likelihood.log_prob(torch.full_like(x, 0.4), x).exp()
    torch.testing.assert_close(masses[1:-1], (ends[0] - ends[1])[1:-1, 0], rtol=1e-9, atol=0)
    torch.testing.assert_close(masses[[0, -1]], torch.stack([ends[0][0, 0], 1 - ends[1][-1, 0]]))
    assert torch.equal(likelihood.log_prob(x, x + 0.4 / 255), likelihood.log_prob(x, x))


@every_likelihood
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_finite_with_finite_gradients_far_out(make: Callable[[], Likelihood], dtype: torch.dtype) -> None:
    likelihood = make().to(dtype)
    output = torch.tensor([-1e6, -50.0, 0.0, 1e-20, 50.0, 1e6], dtype=dtype)[:, None].requires_grad_()
    for pixel in (0.0, 0.5, 1.0):
        value = likelihood.log_prob(output, torch.full_like(output, pixel))
        assert bool(value.isfinite().all())
        assert value.dtype == dtype
        assert value.shape == (6,)
        grads = torch.autograd.grad(value.sum(), [output, *likelihood.parameters()])
        assert all(bool(g.isfinite().all()) for g in grads)
    mean = likelihood.mean(output)
    assert bool(mean.isfinite().all())


@every_likelihood
def test_pixels_are_summed_and_nan_stays(make: Callable[[], Likelihood]) -> None:
    likelihood, output, x = make(), torch.randn(2, 3, 5), torch.rand(2, 3, 5)
    parts = sum(likelihood.log_prob(output[..., [i]], x[..., [i]]) for i in range(5))
    torch.testing.assert_close(likelihood.log_prob(output, x), parts)
    output[0, 0, 0] = math.nan
    assert likelihood.log_prob(output, x).isnan().sum() == 1


@every_likelihood
def test_pixels_outside_are_refused(make: Callable[[], Likelihood]) -> None:
    likelihood = make()
    likelihood.check(torch.tensor([[0.0, 1.0]]))
    likelihood.check(torch.empty(0, 3))
    for bad in (-0.001, 1.001, 255.0, math.nan):
        if likelihood.unit:
            with pytest.raises(ValueError, match=rf"{type(likelihood).__name__} wants pixels in \[0, 1\]"):
                likelihood.check(torch.tensor([[0.5, bad]]))
        else:
            likelihood.check(torch.tensor([[0.5, bad]]))


def test_doors() -> None:
    for bad in (0.0, -1.0, math.inf, math.nan):
        with pytest.raises(ValueError, match="variance above 0"):
            Gaussian(bad)
        with pytest.raises(ValueError, match="scale above 0"):
            DiscretisedLogistic(bad)
    with pytest.raises(ValueError, match="levels of at least 2"):
        DiscretisedLogistic(levels=1)


def test_the_energy_is_the_weighted_distance_of_the_mean_image() -> None:
    energy = MSSSIMEnergy((2, 28, 30), 300.0).double()
    output, x = torch.randn(4, 3, 1680).double(), torch.rand(3, 1680).double()
    value = energy.log_prob(output.requires_grad_(), x)
    assert value.shape == (4, 3)
    one = ms_ssim(
        output[2, 1].sigmoid().view(1, 2, 28, 30),
        x[1].view(1, 2, 28, 30),
        data_range=1.0,
        fewer_scales=True,
        signed=True,
    )
    torch.testing.assert_close(value[2, 1], -300 * (1 - one[0]))
    same = energy.log_prob(torch.logit(x), x)
    torch.testing.assert_close(same, torch.zeros_like(same), atol=1e-9, rtol=0)
    inverted = energy.log_prob(torch.logit(1 - x).requires_grad_(), x)
    assert inverted.max() < value.max() < 0
    (grad,) = torch.autograd.grad(value.sum(), output)
    assert bool(grad.isfinite().all())
    assert grad.abs().amax(-1).min() > 0
    assert energy.log_prob(output[:, :0], x[:0]).shape == (4, 0)
    with pytest.raises(ValueError, match="weight above 0"):
        MSSSIMEnergy((1, 28, 28), 0.0)
    with pytest.raises(ValueError, match=r"image_shape \(channels"):
        MSSSIMEnergy((28, 28), 1.0)
