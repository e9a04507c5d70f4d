"""Small variational models that several tests use."""

from typing import Any

from torch import nn

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
    Gaussian,
    Standardize,
)

L, C = 2, 3
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
