"""The two reference models: a convolutional autoencoder of 64x64 pictures, and a conditional one of 28x28 signs."""

from __future__ import annotations

from typing import NamedTuple

from torch import nn

from gaussflow._check import check_int
from gaussflow.models.base import Density, Likelihood
from gaussflow.models.likelihoods import Bernoulli, Gaussian
from gaussflow.models.vae import VAE, ConditionalVAE
from gaussflow.nets.conv import ConvDecoder, ConvEncoder


class LabelPoints(NamedTuple):
    """The three places where a label can enter a conditional autoencoder, each to be switched.

    Parameters
    ----------
    image
        As extra channels of the encoder's image.
    code
        Concatenated with the latent code.
    output
        Merged into the decoder's visual output.

    Examples
    --------
    >>> from gaussflow import LabelPoints
    >>> LabelPoints(output=False)
    LabelPoints(image=True, code=True, output=False)
    """

    image: bool = True
    code: bool = True
    output: bool = True


def conv_vae_64(
    *,
    likelihood: Likelihood | None = None,
    prior: Density | None = None,
    penalty: nn.Module | None = None,
) -> VAE:
    """The convolutional variational autoencoder of 64x64 colour pictures, with 3,937,635 parameters.

    Encoder widths 32, 64, 128, 256, 512, each halving the side; a latent of 128; the mirror of it as decoder, then
    one more convolution to the three colours.

    Parameters
    ----------
    likelihood
        A `Likelihood`; None for `Gaussian` of variance 1/2 with a sigmoid mean, the squared error summed over pixels.
    prior, penalty
        As for `VAE`.

    Returns
    -------
    vae
        A `VAE` of image shape (3, 64, 64).

    Examples
    --------
    >>> from gaussflow import conv_vae_64
    >>> sum(p.numel() for p in conv_vae_64().parameters())
    3937635
    """
    shape, latent, widths = (3, 64, 64), 128, (32, 64, 128, 256, 512)
    encoder, decoder = ConvEncoder(shape, 2 * latent, widths), ConvDecoder(latent, shape, widths[::-1])
    likelihood = likelihood or Gaussian(0.5, sigmoid=True)
    return VAE(shape, latent, encoder, decoder, likelihood, prior=prior, penalty=penalty)


def conditional_vae_28(
    classes: int,
    *,
    latent_dim: int = 50,
    widths: tuple[int, ...] = (32, 64, 128),
    label_points: LabelPoints = LabelPoints(),  # noqa: B008 (a tuple, and so immutable)
    likelihood: Likelihood | None = None,
    prior: Density | None = None,
    penalty: nn.Module | None = None,
) -> ConditionalVAE:
    """The conditional variational autoencoder of 28x28 grey signs: the label enters in three places.

    Three convolutions down to 4x4, transposed convolutions up to 32x32, cropped to 28x28 inside the decoder.

    Parameters
    ----------
    classes
        Number of classes, or of context coordinates.
    latent_dim
        Size of the code.
    widths
        Channels of the encoder's layers, and in reverse of the decoder's; half the first at full size.
    label_points
        Where the label enters; without the output some classes come out alike.
    likelihood
        A `Likelihood`; None for `Bernoulli`, minus the binary cross-entropy.
    prior, penalty
        As for `ConditionalVAE`.

    Returns
    -------
    vae
        A `ConditionalVAE` of image shape (1, 28, 28).

    Examples
    --------
    >>> import torch
    >>> from gaussflow import conditional_vae_28
    >>> vae = conditional_vae_28(6)
    >>> vae.sample(2, torch.arange(6)).shape
    torch.Size([2, 6, 784])
    """
    check_int("conditional_vae_28", "classes", classes, 1)
    shape, points = (1, 28, 28), LabelPoints(*label_points)
    encoder = ConvEncoder(shape, 2 * latent_dim, widths, context_dim=classes if points.image else 0)
    decoder = ConvDecoder(
        latent_dim,
        shape,
        widths[::-1],
        last_width=max(1, widths[0] // 2),  # at full size each channel is dear
        context_dim=classes if points.code or points.output else 0,
        label_code=points.code,
        label_output=points.output,
    )
    likelihood = likelihood or Bernoulli()
    return ConditionalVAE(shape, latent_dim, classes, encoder, decoder, likelihood, prior=prior, penalty=penalty)
