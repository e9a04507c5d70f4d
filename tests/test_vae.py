"""Variational autoencoders: where the posterior is exact the bound is the likelihood; parts, labels, files, doors."""

import copy
import math
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from gaussflow import (
    MLP,
    VAE,
    AffineCoupling,
    Bernoulli,
    Chain,
    ConditionalVAE,
    ContinuousBernoulli,
    ConvDecoder,
    ConvEncoder,
    DiscretisedLogistic,
    Flow,
    FreeBits,
    Gaussian,
    KLAnnealing,
    MarginalSpline,
    Standardize,
    active_units,
    aggregate_posterior,
    as_rows,
    conditional_vae_28,
    load,
    one_hot,
    rbig,
    save,
)
from gaussflow.models import _variational

D, L, C = 5, 2, 3


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
    """The slip μ + σ² ε would give the variance σ⁴; here σ² is 0.04, and the encoder says log σ²."""
    log_variance = torch.full((L,), math.log(0.04)).double()
    encoder = linear(torch.zeros(2 * L, D), torch.cat([torch.full((L,), 0.3).double(), log_variance]))
    vae = VAE((D,), L, encoder, linear(torch.zeros(D, L), torch.zeros(D)), Gaussian())
    z = aggregate_posterior(vae, torch.zeros(40000, D).double())
    torch.testing.assert_close(z.mean(0), torch.full((L,), 0.3).double(), atol=0.005, rtol=0)
    torch.testing.assert_close(z.var(0), torch.full((L,), 0.04).double(), rtol=0.03, atol=0)


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


LIKELIHOODS = [Bernoulli(), ContinuousBernoulli(), Gaussian(0.1, learned=True, sigmoid=True), DiscretisedLogistic()]


def conv(likelihood: nn.Module | None = None, **parts: Any) -> VAE:
    shape = (1, 6, 7)
    encoder, decoder = ConvEncoder(shape, 2 * L, (4, 4)), ConvDecoder(L, shape, (4, 4))
    return VAE(shape, L, encoder, decoder, likelihood or Bernoulli(), **parts)


def conditional(**parts: Any) -> ConditionalVAE:
    shape = (1, 6, 7)
    encoder, decoder = ConvEncoder(shape, 2 * L, (4,), context_dim=C), ConvDecoder(L, shape, (4,), context_dim=C)
    return ConditionalVAE(shape, L, C, encoder, decoder, Bernoulli(), **parts)


def prior(context_dim: int = 0) -> Flow:
    return Flow(Chain(AffineCoupling(L, [0], MLP, context_dim=context_dim), Standardize(L)))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("likelihood", LIKELIHOODS, ids=lambda x: type(x).__name__)
def test_shapes_dtypes_and_gradients(likelihood: nn.Module, dtype: torch.dtype) -> None:
    vae = conv(copy.deepcopy(likelihood), prior=prior(), posterior_flow=AffineCoupling(L, [1])).to(dtype)
    for batch in [(), (0,), (4,), (2, 3)]:
        x = torch.rand(*batch, 42, dtype=dtype)
        bound = vae.elbo(x)
        assert all(term.shape == batch and term.dtype == dtype for term in bound)
        assert vae.importance_bound(x, samples=2).shape == batch
        assert vae.decode(vae.posterior(x).mean).shape == x.shape
        assert vae.sample(batch).shape == x.shape
        assert vae.sample(batch).dtype == dtype
    vae(torch.rand(8, 42, dtype=dtype)).mean().backward()
    missing = [name for name, p in vae.named_parameters() if p.grad is None]
    assert not missing


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


def fitted_prior() -> VAE:
    torch.manual_seed(0)  # the rows decide the number of blocks
    vae = conv()
    return vae.set_prior(rbig(aggregate_posterior(vae, torch.rand(200, 42)), max_blocks=2, progress=False)[0])


FILES: dict[str, Callable[[], nn.Module]] = {
    "rbig prior": fitted_prior,
    "penalties": lambda: conv(penalty=nn.Sequential(FreeBits(0.1), KLAnnealing(5, end=0.5))),
    "posterior flow": lambda: conv(posterior_flow=Chain(AffineCoupling(L, [0]), MarginalSpline(L)), prior=prior()),
    "conditional": lambda: conditional(prior=prior(C)),
    "28": lambda: conditional_vae_28(4, widths=(4, 4, 4)),
    **{type(x).__name__: lambda x=x: conv(copy.deepcopy(x)) for x in LIKELIHOODS},
}


@pytest.mark.parametrize("name", FILES)
def test_files_copies_and_pickles(name: str, tmp_path: Path) -> None:
    vae = FILES[name]().train()
    x, context = torch.rand(4, vae.dim), (torch.arange(4) % vae.context_dim) if vae.context_dim else None
    vae(x, context).mean().backward()  # batch statistics and counts are moved
    save(vae.eval(), tmp_path / "m")
    fresh = FILES[name]()
    fresh.load_state_dict(vae.state_dict(), strict=True)
    for again in (load(tmp_path / "m"), copy.deepcopy(vae), pickle.loads(pickle.dumps(vae)), fresh.eval()):
        torch.manual_seed(0)
        value = again(x, context)
        torch.manual_seed(0)
        assert torch.equal(value, vae(x, context))
    assert load(tmp_path / "m").config().keys() == vae.config().keys()


@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("name", ["rbig prior", "penalties", "posterior flow", "conditional"])
@pytest.mark.filterwarnings("ignore")
def test_compiles_whole(name: str, training: bool) -> None:
    torch._dynamo.reset()
    vae = FILES[name]().train(training)
    x, context = torch.rand(4, vae.dim), one_hot(torch.arange(4) % C, C) if vae.context_dim else None
    state = copy.deepcopy(vae.state_dict())
    torch.manual_seed(0)
    value = vae(x, context)
    vae.load_state_dict(state)
    torch.manual_seed(0)
    compiled = torch.compile(vae, fullgraph=True, backend="eager")(x, context)
    torch.testing.assert_close(compiled, value, atol=1e-4, rtol=1e-5)


def test_mixed_precision_keeps_transforms_whole() -> None:
    seen: list[torch.dtype] = []

    class Watch(Standardize):
        def forward(self, x: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
            seen.append((torch.eye(L) @ x.mT).dtype)
            return super().forward(x, context)

    vae = conv(prior=Flow(Watch(L)), posterior_flow=Watch(L)).eval()
    x = torch.rand(6, 42)
    torch.manual_seed(0)
    whole = vae.elbo(x)
    torch.manual_seed(0)
    with torch.autocast("cpu", torch.bfloat16):
        mixed = vae.elbo(x)
    assert seen == [torch.float32] * 4
    assert mixed.elbo.dtype == torch.float32
    assert not torch.equal(mixed.reconstruction, whole.reconstruction)
    torch.testing.assert_close(mixed.elbo, whole.elbo, atol=0.1, rtol=0.02)


def test_one_hot() -> None:
    labels = torch.tensor([[2, 0], [1, 1]], dtype=torch.uint8)
    assert torch.equal(one_hot(labels, 3).argmax(-1), labels.long())
    assert one_hot(labels[:0], 3).shape == (0, 2, 3)
    for bad, error, message in [
        (torch.tensor([0, 3]), ValueError, "labels from 0 to 2; got 0 to 3"),
        (torch.tensor([-1]), ValueError, "got -1"),
        (torch.tensor([1.0]), TypeError, "tensor of integers; got torch.float32"),
        (torch.tensor([True]), TypeError, "tensor of integers"),
        ([0, 1], TypeError, "got list"),
    ]:
        with pytest.raises(error, match=message):
            one_hot(bad, 3)


def test_doors() -> None:
    nets = MLP(D, 2 * L), MLP(L, D)
    wrong: list[tuple[Callable[[], Any], type[Exception], str]] = [
        (lambda: VAE((D,), L, *nets, nn.Identity()), TypeError, "wants a Likelihood"),
        (lambda: VAE((D,), 0, *nets, Gaussian()), ValueError, "latent_dim of at least 1"),
        (lambda: VAE((D, 0), L, *nets, Gaussian()), ValueError, "size of image_shape of at least 1"),
        (lambda: VAE((D,), L, *nets, Gaussian(), prior=Standardize(L)), TypeError, "wants a Density for a prior"),
        (lambda: VAE((D,), L, *nets, Gaussian(), prior=Flow(Standardize(3))), ValueError, "2 dimensions; got one of 3"),
        (lambda: VAE((D,), L, *nets, Gaussian(), prior=prior(C)), ValueError, "its prior wants 3"),
        (lambda: VAE((D,), L, *nets, Gaussian(), posterior_flow=prior()), TypeError, "Transform for posterior_flow"),
        (lambda: VAE((D,), L, *nets, Gaussian(), posterior_flow=Standardize(1)), ValueError, "posterior_flow of 2"),
        (lambda: VAE((D,), L, *nets, Gaussian(), penalty=0.5), TypeError, "penalty"),  # type: ignore[arg-type]
        (lambda: VAE((D,), 3, *nets, Gaussian())(torch.zeros(1, D)), ValueError, r"wants 6 numbers from MLP"),
        (lambda: VAE((D,), L, nets[0], MLP(L, 4), Gaussian())(torch.zeros(1, D)), ValueError, "wants 5 numbers"),
        (lambda: VAE((D,), L, *nets, Gaussian())(torch.zeros(1, 4)), ValueError, r"works on \(\.\.\., 5\)"),
        (lambda: VAE((D,), L, *nets, Gaussian())(torch.zeros(1, D).double()), TypeError, "holds torch.float32"),
        (lambda: VAE((D,), L, *nets, Gaussian()).sample(-1), ValueError, "shape of at least 0"),
        (lambda: VAE((D,), L, *nets, Gaussian()).importance_bound(torch.zeros(D), samples=0), ValueError, "samples"),
        (lambda: VAE((D,), L, *nets, Bernoulli())(torch.full((1, D), 2.0)), ValueError, r"pixels in \[0, 1\]"),
        (lambda: conditional()(torch.rand(2, 42)), ValueError, "needs context .* or class labels"),
        (lambda: conditional()(torch.rand(2, 42), torch.tensor([0, 3])), ValueError, "labels from 0 to 2"),
        (lambda: conditional()(torch.rand(2, 42), torch.rand(2, 4)), ValueError, r"works on \(\.\.\., 3\)"),
        (lambda: active_units(nets[0], torch.rand(2, D)), TypeError, "a VAE or a ConditionalVAE; got MLP"),
        (lambda: KLAnnealing(0), ValueError, "steps of at least 1"),
        (lambda: KLAnnealing(5, end=math.nan), ValueError, "end of at least 0"),
        (lambda: FreeBits(-1), ValueError, "nats of at least 0"),
    ]
    for call, error, message in wrong:
        with pytest.raises(error, match=message):
            call()
