"""What the variational models share: the bound and its terms, samples, and the importance-weighted bound."""

from __future__ import annotations

import math
from abc import ABC
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple, Self

import torch
from torch import Tensor, nn
from typing_extensions import override

from gaussflow._check import check_dtype, check_int, check_last, check_shape
from gaussflow.losses.kl import DiagonalGaussian, gaussian_kl
from gaussflow.models._posterior import FlowedGaussian, Posterior, draw
from gaussflow.models._precision import full_precision
from gaussflow.models.base import Density, Likelihood
from gaussflow.ops.bounds import soft_bound
from gaussflow.rows import CHUNK_ELEMENTS
from gaussflow.transforms.base import Transform

LOG_VARIANCE = 20.0  # bound of what an encoder says of log-variances: e^20 and e^-20 are still float32


class Bound(NamedTuple):
    """The evidence lower bound and its two terms, ``elbo = reconstruction - kl``, in nats per image, each (...).

    Attributes
    ----------
    elbo
        A lower bound of the log-likelihood.
    reconstruction
        The log-likelihood of the image given a code drawn from its posterior, summed over the pixels.
    kl
        The divergence of posterior from prior: exact between Gaussians, else an unbiased estimate from one code.

    Examples
    --------
    >>> import torch
    >>> from gaussflow import Bound
    >>> Bound(torch.tensor(-3.0), torch.tensor(-1.0), torch.tensor(2.0)).elbo.shape
    torch.Size([])
    """

    elbo: Tensor
    reconstruction: Tensor
    kl: Tensor


class Variational(nn.Module, ABC):
    """An encoder, a decoder, a likelihood and a prior; `VAE` and `ConditionalVAE` describe the arguments."""

    image_shape: tuple[int, ...]
    dim: int
    latent_dim: int
    context_dim: int = 0

    def _assemble(
        self,
        image_shape: Sequence[int],
        latent_dim: int,
        encoder: nn.Module,
        decoder: nn.Module,
        likelihood: Likelihood,
        prior: Density | None,
        posterior_flow: Transform | None,
        penalty: nn.Module | None,
    ) -> None:
        """Hold the parts, once they are seen to fit together."""
        owner = type(self).__name__
        if not isinstance(likelihood, Likelihood):
            raise TypeError(f"{owner} wants a Likelihood; got {type(likelihood).__name__}. Bernoulli() is one.")
        if posterior_flow is not None and not isinstance(posterior_flow, Transform):
            raise TypeError(f"{owner} wants a Transform for posterior_flow; got {type(posterior_flow).__name__}.")
        if penalty is not None and not isinstance(penalty, nn.Module):
            raise TypeError(f"{owner} wants a module for penalty; got {penalty!r}. KLAnnealing(steps) is one.")
        self.image_shape = tuple(check_int(owner, "every size of image_shape", size, 1) for size in image_shape)
        self.dim = math.prod(self.image_shape)
        self.latent_dim = check_int(owner, "latent_dim", latent_dim, 1)
        for name, part in (("encoder", encoder), ("decoder", decoder), ("posterior_flow", posterior_flow)):
            self._check_context(name, part)
        if posterior_flow is not None and posterior_flow.dim != self.latent_dim:
            raise ValueError(f"{owner} wants a posterior_flow of {latent_dim} dimensions; got {posterior_flow.dim}.")
        self.encoder, self.decoder, self.likelihood = encoder, decoder, likelihood
        self.posterior_flow, self.penalty = posterior_flow, penalty
        self.set_prior(prior)

    def set_prior(self, prior: Density | None) -> Self:
        """Change the prior: a `Density` of the latent, such as a `Flow`, or None for the standard normal.

        The bound stays a bound whatever the prior is; `aggregate_posterior` gives what a good one is fitted to. Returns
        the model itself.
        """
        owner = type(self).__name__
        if prior is not None and not isinstance(prior, Density):
            raise TypeError(f"{owner} wants a Density for a prior; got {type(prior).__name__}. Flow(f) is one.")
        if prior is not None and prior.dim != self.latent_dim:
            raise ValueError(f"{owner} wants a prior of {self.latent_dim} dimensions; got one of {prior.dim}.")
        self._check_context("prior", prior)
        self.prior = prior
        return self

    def posterior(self, x: Tensor, context: Tensor | None = None) -> Posterior:
        """The approximate posterior of the code of x (..., D): an object with ``mean`` (..., L) and ``rsample()``.

        A `DiagonalGaussian` with ``mean`` and ``log_variance``, or one bent by the flow layers of the model.
        """
        return self._posterior(*self._door(x, context))

    def decode(self, z: Tensor, context: Tensor | None = None) -> Tensor:
        """The mean image (..., D) of codes z (..., L)."""
        owner, context = type(self).__name__, self._context(context)
        check_last(owner, z, self.latent_dim, "z")
        if context is not None:
            _check_batch(owner, context.shape[:-1], z.shape[:-1])
        return self.likelihood.mean(self._output(z, context))

    def elbo(self, x: Tensor, context: Tensor | None = None, generator: torch.Generator | None = None) -> Bound:
        """The evidence lower bound and its terms, one code drawn for each image.

        Parameters
        ----------
        x
            Images as rows, shape (..., D).
        context
            Context, or None.
        generator
            Source of randomness on the device of the model, or None for torch's own.

        Returns
        -------
        bound
            A `Bound` of elbo, reconstruction and kl, each (...), in nats; without the penalty that training may use.
        """
        reconstruction, kl = self._terms(*self._door(x, context), generator)
        return Bound(reconstruction - kl.sum(-1), reconstruction, kl.sum(-1))

    @override
    def forward(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        """The bound (...) in nats per image; in training mode with the KL term as the penalty changes it."""
        reconstruction, kl = self._terms(*self._door(x, context))
        if self.training and self.penalty is not None:
            kl = self.penalty(kl)
        return reconstruction - kl.sum(-1)

    def importance_bound(
        self,
        x: Tensor,
        context: Tensor | None = None,
        samples: int = 64,
        generator: torch.Generator | None = None,
    ) -> Tensor:
        r"""The importance-weighted bound :math:`\log \frac1K \sum_k p(x, z_k) / q(z_k | x)` (...), in nats.

        In expectation it never falls with more samples K, and it tends to the log-likelihood. Under `torch.no_grad`
        its memory does not grow with images or samples.

        Parameters
        ----------
        x
            Images as rows, shape (..., D).
        context
            Context, or None.
        samples
            Number K of codes for each image.
        generator
            Source of randomness on the device of the model, or None for torch's own.

        Notes
        -----
        Source: Burda, Grosse and Salakhutdinov (2016).
        """
        check_int(type(self).__name__, "samples", samples, 1)
        return self._in_blocks(lambda x, c: self._weighted(x, c, samples, generator), *self._door(x, context))

    @torch.no_grad()
    def sample(
        self,
        shape: int | tuple[int, ...] = (),
        context: Tensor | None = None,
        generator: torch.Generator | None = None,
    ) -> Tensor:
        """Mean images of codes drawn from the prior, without gradients and in evaluation mode.

        Parameters
        ----------
        shape
            Images wanted for each context, an integer or a tuple of integers.
        context
            Context, or None.
        generator
            Source of randomness on the device of the model, or None for torch's own.

        Returns
        -------
        x
            Shape ``shape`` + (...) + (D,), where (...) is that of the contexts.
        """
        shape = check_shape(f"{type(self).__name__}.sample", shape)
        context = self._context(context)
        batch = (*shape, *(() if context is None else context.shape[:-1]))
        with evaluating(self):
            return self._in_blocks(self.decode, self._from_prior(batch, context, generator), context)

    def config(self) -> dict[str, Any]:
        """The keyword arguments that build this object anew."""
        return {
            "image_shape": list(self.image_shape),
            "latent_dim": self.latent_dim,
            "encoder": self.encoder,
            "decoder": self.decoder,
            "likelihood": self.likelihood,
            "prior": self.prior,
            "posterior_flow": self.posterior_flow,
            "penalty": self.penalty,
        }

    def _posterior(self, x: Tensor, context: Tensor | None) -> Posterior:
        numbers = self._call(self.encoder, x, context, 2 * self.latent_dim)
        mean, log_variance = numbers.chunk(2, -1)
        q = DiagonalGaussian(mean, soft_bound(log_variance, LOG_VARIANCE))
        if self.posterior_flow is None:
            return q
        return FlowedGaussian(q, self.posterior_flow, context if self.posterior_flow.context_dim else None)

    def _terms(
        self, x: Tensor, context: Tensor | None, generator: torch.Generator | None = None
    ) -> tuple[Tensor, Tensor]:
        """Reconstruction (...) and KL (..., L), exact for each coordinate, or (..., 1), an estimate for all."""
        self.likelihood.check(x)
        q = self._posterior(x, context)
        if self.prior is None and isinstance(q, DiagonalGaussian):
            z, kl = q.rsample((), generator), gaussian_kl(DiagonalGaussian(*(part[..., None] for part in q)))
        else:
            z, log_q = draw(q, (), generator)
            kl = (log_q - self._log_prior(z, context))[..., None]
        return self._log_likelihood(x, z, context), kl

    def _weighted(self, x: Tensor, context: Tensor | None, samples: int, generator: torch.Generator | None) -> Tensor:
        """The importance-weighted bound (n,) of a block of rows, in blocks of samples."""
        self.likelihood.check(x)
        q, total = self._posterior(x, context), x.new_full(x.shape[:-1], -torch.inf)
        step = max(1, CHUNK_ELEMENTS // max(1, x.numel()))
        for k in range(0, samples, step):
            z, log_q = draw(q, min(step, samples - k), generator)
            weights = self._log_likelihood(x, z, context) + self._log_prior(z, context) - log_q
            total = torch.logaddexp(total, weights.logsumexp(0))
        return total - math.log(samples)

    def _log_likelihood(self, x: Tensor, z: Tensor, context: Tensor | None) -> Tensor:
        output = self._output(z, context)
        with full_precision(x):
            return self.likelihood.log_prob(output, x)

    def _log_prior(self, z: Tensor, context: Tensor | None) -> Tensor:
        if self.prior is None:
            return DiagonalGaussian(torch.zeros_like(z), torch.zeros_like(z)).log_prob(z)
        given = context.expand(*z.shape[:-1], -1) if context is not None and self.prior.context_dim else None
        with full_precision(z):
            return self.prior.log_prob(z, given)

    def _from_prior(self, batch: tuple[int, ...], context: Tensor | None, generator: torch.Generator | None) -> Tensor:
        """Codes (*batch, L)."""
        if self.prior is None:
            like = self._like()
            return torch.randn(*batch, self.latent_dim, dtype=like.dtype, device=like.device, generator=generator)
        if context is None or not self.prior.context_dim:
            return self.prior.sample(batch, None, generator)
        return self.prior.sample(batch[: len(batch) - context.dim() + 1], context, generator)

    def _in_blocks(self, f: Callable[[Tensor, Tensor | None], Tensor], x: Tensor, context: Tensor | None) -> Tensor:
        """The function of x (..., n) and context, block by block of rows, so that its temporaries stay small."""
        batch, step = x.shape[:-1], max(1, CHUNK_ELEMENTS // self.dim)
        rows = x.reshape(math.prod(batch), x.shape[-1])
        given = None if context is None else context.expand(*batch, -1).reshape(len(rows), self.context_dim)
        blocks = [slice(i, i + step) for i in range(0, max(1, len(rows)), step)]
        values = torch.cat([f(rows[b], None if given is None else given[b]) for b in blocks])
        return values.reshape((*batch, *values.shape[1:]))

    def _output(self, z: Tensor, context: Tensor | None) -> Tensor:
        return self._call(self.decoder, z, context, self.dim)

    def _call(self, net: nn.Module, x: Tensor, context: Tensor | None, size: int) -> Tensor:
        """A network's numbers (..., size), in the dtype of what goes in, also under autocast."""
        if context is None or not getattr(net, "context_dim", 0):
            out: Tensor = net(x)
        else:
            out = net(x, context.expand(*x.shape[:-1], -1))
        if out.shape != (*x.shape[:-1], size):
            raise ValueError(
                f"{type(self).__name__} wants {size} numbers from {type(net).__name__}, shape "
                f"{(*x.shape[:-1], size)}; got {tuple(out.shape)}. An encoder gives mean and log-variance, "
                "2 * latent_dim numbers, a decoder one number for each pixel and channel."
            )
        return out.to(x.dtype)

    def _door(self, x: Tensor, context: Tensor | None) -> tuple[Tensor, Tensor | None]:
        owner = type(self).__name__
        check_last(owner, x, self.dim)
        check_dtype(owner, x, self._like().dtype)
        context = self._context(context)
        if context is not None:
            _check_batch(owner, context.shape[:-1], x.shape[:-1])
        return x, context

    def _context(self, context: Tensor | None) -> Tensor | None:
        """The context that the parts see; here they see none."""
        return None

    def _check_context(self, name: str, part: nn.Module | None) -> None:
        """Raise where a part wants another context than the model has."""
        wanted = getattr(part, "context_dim", 0)
        if wanted not in (0, self.context_dim):
            raise ValueError(
                f"{type(self).__name__} has context of {self.context_dim} coordinates; its {name} wants {wanted}."
            )

    def _like(self) -> Tensor:
        """A tensor with the dtype and device of the model."""
        return next((p for p in self.encoder.parameters()), torch.empty(0))


def _check_batch(owner: str, context: Sequence[int], rows: Sequence[int]) -> None:
    """Raise ValueError where a batch of contexts does not broadcast to a batch of rows."""
    pairs = zip(reversed(context), reversed(rows), strict=False)
    if len(context) > len(rows) or any(size not in (1, wanted) for size, wanted in pairs):
        raise ValueError(
            f"{owner} wants one context for each row; got a batch {tuple(context)} of contexts for a batch "
            f"{tuple(rows)} of rows. One that serves several rows has 1 on their axis."
        )


@contextmanager
def evaluating(model: nn.Module) -> Iterator[None]:
    """The model in evaluation mode, and afterwards every part in the mode it was in."""
    modes = [(part, part.training) for part in model.modules()]
    model.eval()
    try:
        yield
    finally:
        for part, mode in modes:
            part.training = mode
