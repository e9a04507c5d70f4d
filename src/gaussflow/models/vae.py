"""Variational autoencoders: images from codes, with a bound on their likelihood."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from typing_extensions import override

from gaussflow._check import check_int, check_last
from gaussflow.models._variational import Variational
from gaussflow.models.base import Density, Likelihood
from gaussflow.transforms.base import Transform

_INTEGERS = (torch.int64, torch.int32, torch.int16, torch.int8, torch.uint8)


class VAE(Variational):
    r"""A variational autoencoder: codes z from a prior, images from a likelihood, and an approximate posterior.

    .. math:: \log p(x) \ge E_{q(z|x)} \log p(x | z) - \mathrm{KL}(q(z | x) \| p(z)),
              \qquad z = \mu(x) + \sigma(x) \varepsilon

    Calling the model gives this bound, so that `train` maximises it: in nats per image, the log-likelihood summed
    over pixels. Images are rows of D = C H W numbers, and every part can be changed for another.

    Parameters
    ----------
    image_shape
        Channels, height and width (C, H, W), or (D,) for rows that are no images.
    latent_dim
        Size L of the code.
    encoder
        Takes x (..., D), gives (..., 2 L): mean and log-variance, :math:`\sigma = \exp(\tfrac12 \log \sigma^2)`.
        `ConvEncoder`, `MLP` or your own. Log-variances are bounded softly at 20.
    decoder
        Takes z (..., L), gives (..., D): what the likelihood makes images of.
    likelihood
        A `Likelihood`: `Bernoulli`, `ContinuousBernoulli`, `Gaussian`, `DiscretisedLogistic`, `MSSSIMEnergy`.
    prior
        A `Density` of dimension L, a `Flow` for instance, or None for the standard normal; see `set_prior`.
    posterior_flow
        A `Transform` that the Gaussian posterior is followed by, its log-determinant accounted for; None for none.
    penalty
        What training makes of the KL term: `KLAnnealing`, `FreeBits`, or `nn.Sequential` of both. In evaluation
        mode it plays no part, so that held-out images are judged by the true bound.

    Attributes
    ----------
    image_shape, dim, latent_dim, context_dim
        (C, H, W), D, L and 0.

    Raises
    ------
    TypeError, ValueError
        For parts that do not fit together; in a call for another shape or dtype, and for pixels that the likelihood
        has no law for.

    Notes
    -----
    The KL term is exact where posterior and prior are Gaussian, and estimated from the one code drawn elsewhere.
    Sources: Kingma and Welling (2014); Rezende and Mohamed (2015) for flows in the posterior.

    Examples
    --------
    >>> import torch
    >>> from gaussflow import MLP, VAE, Bernoulli
    >>> vae = VAE((1, 8, 8), 2, MLP(64, 4), MLP(2, 64), Bernoulli())
    >>> x = torch.rand(5, 64)
    >>> vae(x).shape, vae.elbo(x).kl.shape, vae.sample(7).shape
    (torch.Size([5]), torch.Size([5]), torch.Size([7, 64]))
    """

    def __init__(
        self,
        image_shape: Sequence[int],
        latent_dim: int,
        encoder: nn.Module,
        decoder: nn.Module,
        likelihood: Likelihood,
        *,
        prior: Density | None = None,
        posterior_flow: Transform | None = None,
        penalty: nn.Module | None = None,
    ) -> None:
        super().__init__()
        self._assemble(image_shape, latent_dim, encoder, decoder, likelihood, prior, posterior_flow, penalty)


class ConditionalVAE(Variational):
    r"""A variational autoencoder whose parts see a context c, class labels for instance.

    .. math:: \log p(x | c) \ge E_{q(z|x, c)} \log p(x | z, c) - \mathrm{KL}(q(z | x, c) \| p(z | c))

    Each part that has a ``context_dim`` above 0 is called with the context: encoder, decoder, prior and posterior
    flow. Context is (..., C); a tensor of integers (...) is taken for class labels and made one-hot.

    Parameters
    ----------
    image_shape, latent_dim
        As for `VAE`.
    context_dim
        Context coordinates C, or number of classes.
    encoder, decoder, likelihood, prior, posterior_flow, penalty
        As for `VAE`; those with a ``context_dim`` are called as ``part(x, context)``.

    Attributes
    ----------
    image_shape, dim, latent_dim, context_dim
        (C, H, W), D, L and C.

    Raises
    ------
    TypeError, ValueError
        As for `VAE`, for parts of another context, for context that is missing and labels that are no class.

    Notes
    -----
    Source: Sohn, Lee and Yan (2015).

    Examples
    --------
    >>> import torch
    >>> from gaussflow import Bernoulli, ConditionalVAE, ConvDecoder, ConvEncoder
    >>> shape = (1, 8, 8)
    >>> encoder, decoder = ConvEncoder(shape, 4, (8,), context_dim=3), ConvDecoder(2, shape, (8,), context_dim=3)
    >>> vae = ConditionalVAE(shape, 2, 3, encoder, decoder, Bernoulli())
    >>> labels = torch.tensor([0, 1, 2, 0, 1])
    >>> vae(torch.rand(5, 64), labels).shape, vae.sample(7, labels).shape
    (torch.Size([5]), torch.Size([7, 5, 64]))
    """

    def __init__(
        self,
        image_shape: Sequence[int],
        latent_dim: int,
        context_dim: int,
        encoder: nn.Module,
        decoder: nn.Module,
        likelihood: Likelihood,
        *,
        prior: Density | None = None,
        posterior_flow: Transform | None = None,
        penalty: nn.Module | None = None,
    ) -> None:
        super().__init__()
        self.context_dim = check_int("ConditionalVAE", "context_dim", context_dim, 1)
        self._assemble(image_shape, latent_dim, encoder, decoder, likelihood, prior, posterior_flow, penalty)

    @override
    def config(self) -> dict[str, Any]:
        return super().config() | {"context_dim": self.context_dim}

    @override
    def _context(self, context: Tensor | None) -> Tensor:
        if context is None:
            raise ValueError(
                f"ConditionalVAE needs context of shape (..., {self.context_dim}) or class labels (...); got none. "
                "Pass context=..."
            )
        if not context.is_floating_point():
            context = one_hot(context, self.context_dim).to(self._like().device)
        return check_last("ConditionalVAE", context, self.context_dim, "context").to(self._like().dtype)


def one_hot(labels: Tensor, classes: int) -> Tensor:
    """Class labels as context: one where the class is, zero elsewhere.

    Parameters
    ----------
    labels
        Integers from 0 to ``classes`` - 1, shape (...).
    classes
        Number of classes.

    Returns
    -------
    context
        Shape (..., classes), in the default dtype.

    Raises
    ------
    TypeError, ValueError
        For labels that are no integers or no class; values are not looked at inside a compiled function.

    Examples
    --------
    >>> import torch
    >>> from gaussflow import one_hot
    >>> one_hot(torch.tensor([2, 0]), 3)
    tensor([[0., 0., 1.],
            [1., 0., 0.]])
    """
    check_int("one_hot", "classes", classes, 1)
    if (
        not isinstance(labels, Tensor)
        or labels.is_floating_point()
        or labels.is_complex()
        or labels.dtype == torch.bool
    ):
        raise TypeError(f"one_hot wants a tensor of integers; got {getattr(labels, 'dtype', type(labels).__name__)}.")
    if labels.numel() and not torch.compiler.is_compiling():
        low, high = (int(end) for end in labels.aminmax())
        if low < 0 or high >= classes:
            raise ValueError(f"one_hot wants labels from 0 to {classes - 1}; got {low} to {high}. Count from 0.")
    return (labels[..., None] == torch.arange(classes, device=labels.device)).to(torch.get_default_dtype())
