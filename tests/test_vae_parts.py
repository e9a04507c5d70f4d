"""Variational models with every part: shapes, files, copies, compiling, precision, doors."""

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
    Flow,
    FreeBits,
    Gaussian,
    KLAnnealing,
    MarginalSpline,
    MSSSIMEnergy,
    Standardize,
    active_units,
    aggregate_posterior,
    conditional_vae_28,
    load,
    one_hot,
    rbig,
    save,
)
from vaes import LIKELIHOODS, C, L, conditional, conv, prior

D = 5


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


def fitted_prior() -> VAE:
    torch.manual_seed(0)  # the rows decide the number of blocks
    vae = conv()
    return vae.set_prior(rbig(aggregate_posterior(vae, torch.rand(200, 42)), max_blocks=2, progress=False)[0])


FILES: dict[str, Callable[[], nn.Module]] = {
    "rbig prior": fitted_prior,
    "penalties": lambda: conv(penalty=nn.Sequential(FreeBits(0.1), KLAnnealing(5, end=0.5))),
    "posterior flow": lambda: conv(posterior_flow=Chain(AffineCoupling(L, [0]), MarginalSpline(L)), prior=prior()),
    "conditional": lambda: conditional(prior=prior(C)),
    "energy": lambda: VAE((1, 12, 12), L, MLP(144, 2 * L), MLP(L, 144), MSSSIMEnergy((1, 12, 12), 50.0)),
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
@pytest.mark.parametrize("name", ["rbig prior", "penalties", "posterior flow", "conditional", "energy"])
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
        (
            lambda: conditional()(torch.rand(2, 42), torch.arange(3)),
            ValueError,
            r"batch \(3,\) of contexts for .* \(2,\)",
        ),
        (lambda: conditional().decode(torch.rand(L), torch.arange(3)), ValueError, r"a batch \(\) of rows"),
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
