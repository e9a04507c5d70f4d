"""Variational autoencoders: where the posterior is exact the bound is the likelihood; parts, labels, files, doors."""

import copy
import math

import pytest
import torch
from torch import Tensor, nn

from gaussflow import (
    MLP,
    VAE,
    ConditionalVAE,
    Flow,
    FreeBits,
    Gaussian,
    KLAnnealing,
    Standardize,
    active_units,
    aggregate_posterior,
    as_rows,
    one_hot,
)
from gaussflow.models import _variational
from gaussflow.ops import soft_bound
from vaes import C, L, conditional, conv, prior

D = 5


def linear(weight: Tensor, bias: Tensor) -> MLP:
    """The map x ↦ weight x + bias."""
    net = MLP(weight.shape[1], weight.shape[0], ()).double()
    with torch.no_grad():
        net.linear[0].weight.copy_(weight)
        net.linear[0].bias.copy_(bias)
    return net


class Exact:
    """A linear Gaussian model whose true posterior is known: x = W z + m + noise, z ~ N(a, diag(s²))."""

    def __init__(self, a: float = 0.0, s: float = 1.0) -> None:
        self.noise, g = 0.09, torch.Generator().manual_seed(3)
        basis = torch.linalg.qr(torch.randn(D, L, generator=g).double())[0]
        self.W, self.m = basis * torch.tensor([1.5, 0.4]).double(), torch.randn(D, generator=g).double()
        self.a, self.s = torch.full((L,), a).double(), torch.full((L,), s).double()
        self.decoder, self.likelihood = linear(self.W, self.m), Gaussian(self.noise)
        precision = self.W.square().sum(0) / self.noise + self.s**-2  # the columns of W are orthogonal
        gain = self.W.T / self.noise / precision[:, None]
        shift = self.a / self.s**2 / precision - gain @ self.m
        self.gain, self.shift, self.variance = gain, shift, 1 / precision

    def encoder(self, scale: float = 1.0, shift: float = 0.0) -> MLP:
        """The encoder of the true posterior, seen through z ↦ scale z + shift; log-variances pass a soft bound."""
        log_variance = (self.variance * scale**2).log()
        raw = 20 * torch.atanh(log_variance / 20)
        weight = torch.cat([scale * self.gain, torch.zeros(L, D).double()])
        return linear(weight, torch.cat([scale * self.shift + shift, raw]))

    def log_prob(self, x: Tensor) -> Tensor:
        cov = self.W @ torch.diag(self.s**2) @ self.W.T + self.noise * torch.eye(D).double()
        return torch.distributions.MultivariateNormal(self.m + self.W @ self.a, cov).log_prob(x)

    def standardize(self, scale: float, shift: float) -> Standardize:
        """The map z ↦ scale z + shift as a transform."""
        f = Standardize(L, dtype=torch.float64)
        points = torch.stack([torch.ones(L), -torch.ones(L)]).double()
        return f.fit(points / scale - shift / scale)


def points(n: int = 6, dim: int = D) -> Tensor:
    return torch.randn(n, dim, dtype=torch.float64)


def test_where_the_posterior_is_exact_importance_weights_are_the_likelihood() -> None:
    """Every weight p(x, z) / q(z | x) is then p(x), whatever z is drawn; the mean of the bound is p(x) too."""
    exact = Exact()
    vae = VAE((D,), L, exact.encoder(), exact.decoder, exact.likelihood)
    x = points()
    for samples in (1, 7):
        torch.testing.assert_close(vae.importance_bound(x, samples=samples), exact.log_prob(x))
    bounds = torch.stack([vae.elbo(x).elbo for _ in range(4000)])
    error = bounds.std(0) / math.sqrt(len(bounds))
    assert ((bounds.mean(0) - exact.log_prob(x)).abs() < 4.5 * error).all()


def test_a_flow_as_prior_keeps_the_bound_exact() -> None:
    exact = Exact(a=0.7, s=0.5)
    prior = Flow(exact.standardize(2.0, -1.4))  # z = 0.5 u + 0.7
    torch.testing.assert_close(prior.sample(20000).mean(0), exact.a, atol=0.02, rtol=0)
    vae = VAE((D,), L, exact.encoder(), exact.decoder, exact.likelihood, prior=prior)
    x = points()
    torch.testing.assert_close(vae.elbo(x).elbo, exact.log_prob(x))
    torch.testing.assert_close(vae.importance_bound(x, samples=3), exact.log_prob(x))
    worse = vae.set_prior(None).importance_bound(x, samples=200)
    assert (worse - exact.log_prob(x)).abs().min() > 1e-3


def test_a_flow_in_the_posterior_keeps_the_bound_exact() -> None:
    exact = Exact()
    encoder, bend = exact.encoder(3.0, 0.5), exact.standardize(1 / 3, -0.5 / 3)
    vae = VAE((D,), L, encoder, exact.decoder, exact.likelihood, posterior_flow=bend)
    x = points()
    torch.testing.assert_close(vae.elbo(x).elbo, exact.log_prob(x))
    torch.testing.assert_close(vae.importance_bound(x, samples=3), exact.log_prob(x))
    torch.testing.assert_close(vae.posterior(x).mean, x @ exact.gain.T + exact.shift)
    assert vae.posterior(x).rsample(4).shape == (4, 6, L)
    unbent = VAE((D,), L, encoder, exact.decoder, exact.likelihood)
    assert (unbent.elbo(x).elbo - exact.log_prob(x)).abs().min() > 1e-2


def test_the_terms_are_named_and_their_divergence_is_the_closed_form() -> None:
    exact, x = Exact(), points()
    vae = VAE((D,), L, exact.encoder(), exact.decoder, exact.likelihood)
    bound = vae.elbo(x, generator=torch.Generator().manual_seed(1))
    torch.testing.assert_close(bound.elbo, bound.reconstruction - bound.kl)
    mean = x @ exact.gain.T + exact.shift
    closed = 0.5 * (mean**2 + exact.variance - 1 - exact.variance.log()).sum(-1)
    torch.testing.assert_close(bound.kl, closed)
    again = vae.elbo(x, generator=torch.Generator().manual_seed(1))
    assert torch.equal(again.elbo, bound.elbo)
    estimated = VAE((D,), L, vae.encoder, vae.decoder, vae.likelihood, prior=Flow(Standardize(L).double()))
    kls = torch.stack([estimated.elbo(x).kl for _ in range(2000)])
    assert kls.std() > 0
    assert ((kls.mean(0) - closed).abs() < 4.5 * kls.std(0) / math.sqrt(len(kls))).all()


def test_codes_are_mean_plus_standard_deviation_times_noise() -> None:
    """The slip μ + σ² ε would give the variance σ⁴; here the encoder says log 0.04, which is bounded softly."""
    log_variance = torch.full((L,), math.log(0.04)).double()
    encoder = linear(torch.zeros(2 * L, D), torch.cat([torch.full((L,), 0.3).double(), log_variance]))
    vae = VAE((D,), L, encoder, linear(torch.zeros(D, L), torch.zeros(D)), Gaussian())
    z = aggregate_posterior(vae, torch.zeros(40000, D).double())
    torch.testing.assert_close(z.mean(0), torch.full((L,), 0.3).double(), atol=0.005, rtol=0)
    torch.testing.assert_close(z.var(0), soft_bound(log_variance, _variational.LOG_VARIANCE).exp(), rtol=0.03, atol=0)


def test_the_importance_bound_grows_with_samples_between_bound_and_likelihood() -> None:
    exact = Exact()
    encoder = linear(torch.cat([0.8 * exact.gain, torch.zeros(L, D)]), torch.tensor([0.2, 0.2, -1.0, -0.5]))
    vae, x = VAE((D,), L, encoder, exact.decoder, exact.likelihood), points(400)
    with torch.no_grad():
        draws = {k: torch.stack([vae.importance_bound(x, samples=k).mean() for _ in range(30)]) for k in (1, 4, 16, 64)}
        elbo = torch.stack([vae.elbo(x).elbo.mean() for _ in range(30)])
    means = [float(d.mean()) for d in draws.values()]
    assert means == sorted(means)
    assert means[1] - means[0] > 5 * float(draws[1].std())
    assert means[0] == pytest.approx(float(elbo.mean()), abs=6 * float(elbo.std()) / math.sqrt(15))
    assert means[-1] < float(exact.log_prob(x).mean()) + 3 * float(draws[64].std())


def test_the_importance_bound_is_the_same_in_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    exact = Exact(a=0.2)
    prior = Flow(exact.standardize(1.0, -0.2))
    vae, x = VAE((D,), L, exact.encoder(), exact.decoder, exact.likelihood, prior=prior), points()
    for elements in (1, 2 * D, 40):
        monkeypatch.setattr(_variational, "CHUNK_ELEMENTS", elements)
        bound = vae.importance_bound(x.view(2, 3, D), samples=5)
        torch.testing.assert_close(bound, exact.log_prob(x).view(2, 3))
        assert vae.sample((2, 5)).shape == (2, 5, D)


def test_samples_come_from_the_prior_and_are_means() -> None:
    exact = Exact(a=0.7, s=0.5)
    vae = VAE((D,), L, exact.encoder(), exact.decoder, exact.likelihood, prior=Flow(exact.standardize(2.0, -1.4)))
    x = vae.sample(20000, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(x.mean(0), exact.m + exact.W @ exact.a, atol=0.03, rtol=0)
    torch.testing.assert_close(x.T.cov(), 0.25 * exact.W @ exact.W.T, atol=0.03, rtol=0)
    assert torch.equal(x, vae.sample(20000, generator=torch.Generator().manual_seed(0)))
    assert not x.requires_grad


def test_labels_are_indices_or_any_context() -> None:
    vae, x, labels = conditional().eval(), torch.rand(5, 42), torch.tensor([0, 2, 1, 1, 0])
    seed = lambda: torch.Generator().manual_seed(0)  # noqa: E731
    one, other = (vae.elbo(x, context, seed()).elbo for context in (labels, one_hot(labels, C)))
    assert torch.equal(one, other)
    assert not torch.allclose(one, vae.elbo(x, (labels + 1) % C, seed()).elbo)
    assert torch.equal(vae.sample(3, labels, seed()), vae.sample(3, one_hot(labels, C), seed()))
    assert vae.sample((2, 4), labels).shape == (2, 4, 5, 42)
    assert vae.sample(4, torch.tensor(1)).shape == (4, 42)
    z = torch.zeros(7, 5, L)
    assert vae.decode(z, labels).shape == (7, 5, 42)
    torch.testing.assert_close(vae.decode(z, labels)[3], vae.decode(z[0], labels))
    assert vae.importance_bound(x, labels, samples=3).shape == (5,)
    assert vae.importance_bound(x.view(1, 5, 42), labels, samples=3).shape == (1, 5)
    double = conditional().double()
    assert double(x.double(), one_hot(labels, C)).dtype == torch.float64


def test_samples_keep_to_their_context() -> None:
    """A decoder that writes the class into the image: each sample shows the class it was asked for."""

    class Show(nn.Module):
        context_dim = C

        def forward(self, z: Tensor, context: Tensor) -> Tensor:
            return context * 100 + 0 * z[..., :1]

    vae = ConditionalVAE((C,), L, C, MLP(C, 2 * L), Show(), Gaussian(), prior=prior(C))
    labels = torch.tensor([[2, 0], [1, 1]])
    x = vae.sample((3, 4), labels)
    assert x.shape == (3, 4, 2, 2, C)
    assert torch.equal(x.argmax(-1), labels.expand(3, 4, 2, 2))


def test_the_prior_sees_the_context() -> None:
    vae = conditional(prior=prior(C))
    with torch.no_grad():
        for p in vae.prior.parameters():
            p.add_(0.3 * torch.randn_like(p))
    vae.eval()
    x, labels = torch.rand(3, 42), torch.arange(3)
    torch.manual_seed(1)
    kl = vae.elbo(x, labels).kl
    torch.manual_seed(1)
    q = vae.posterior(x, labels)
    z = q.rsample()
    torch.testing.assert_close(kl, q.log_prob(z) - vae.prior.log_prob(z, one_hot(labels, C)))


def test_annealing_counts_training_steps_only() -> None:
    vae, x = conv(penalty=KLAnnealing(4, start=0.2)), torch.rand(5, 42)
    vae.encoder.body[1].momentum = 0.0
    for step in range(6):
        weight = min(0.2 + 0.8 * step / 4, 1)
        torch.manual_seed(0)
        value = vae(x)
        torch.manual_seed(0)
        bound = vae.elbo(x)
        torch.testing.assert_close(value, bound.reconstruction - weight * bound.kl)
        vae.eval()
        torch.manual_seed(0)
        value = vae(x)
        torch.manual_seed(0)
        assert torch.equal(value, vae.elbo(x).elbo)
        vae.train()
    assert int(vae.penalty.count) == 6
    vae.penalty.eval()(torch.ones(2))
    assert int(vae.penalty.count) == 6


def test_free_bits_pay_for_the_mean_over_the_batch() -> None:
    kl = torch.tensor([[0.1, 1.0], [0.5, 0.0]], requires_grad=True)
    raised = FreeBits(0.4)(kl)
    assert torch.equal(raised, torch.tensor([[0.4, 1.0], [0.4, 0.0]]))
    raised.sum().backward()
    assert torch.equal(kl.grad, torch.tensor([[0.0, 1.0], [0.0, 1.0]]))
    assert FreeBits(0.4)(kl[:0]).shape == (0, 2)
    both = nn.Sequential(FreeBits(0.4), KLAnnealing(2, start=0.5))
    torch.testing.assert_close(both(kl), 0.5 * raised)


def test_active_units_and_the_aggregate_posterior() -> None:
    weight = torch.zeros(2 * L, D).double()
    weight[0, 0], weight[1, 0] = 1.0, 0.09
    vae = VAE((D,), L, linear(weight, torch.full((2 * L,), -20.0).double()), MLP(L, D).double(), Gaussian())
    x = points(3000)
    assert active_units(vae, x).tolist() == [True, False]
    assert active_units(vae, x, 0.005).tolist() == [True, True]
    assert active_units(vae, [x[:700], x[700:]]).tolist() == [True, False]
    z = aggregate_posterior(vae, [x[:700], x[700:]])
    torch.testing.assert_close(z, torch.stack([x[:, 0], 0.09 * x[:, 0]], 1) - 20, atol=0.01, rtol=0)
    labelled = conditional().train()
    rows = as_rows(torch.rand(9, 42), one_hot(torch.arange(9) % C, C))
    before = copy.deepcopy(labelled.state_dict())
    assert aggregate_posterior(labelled, rows).shape == (9, L)
    assert active_units(labelled, rows).shape == (L,)
    labelled.sample(4, torch.arange(C))
    assert labelled.training
    assert all(torch.equal(v, before[k]) for k, v in labelled.state_dict().items())  # no statistic was moved
