"""Convolutional encoder and decoder of images that come as rows, with a label at each place where it can enter."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn
from typing_extensions import override

from gaussflow._check import check_int, check_last


class ConvEncoder(nn.Module):
    r"""Convolutions that halve the sides, then a linear layer: images as rows to ``out_dim`` numbers.

    Each layer is a convolution (3x3, stride 2, padding 1), batch normalisation and a leaky ReLU; a side :math:`s`
    becomes :math:`\lceil s / 2 \rceil`. With context, the first of the three label points: every context coordinate
    is one more channel of the image, constant over the pixels.

    Parameters
    ----------
    image_shape
        Channels, height and width (C, H, W).
    out_dim
        Numbers that come out; for a diagonal Gaussian posterior twice the size of the latent.
    widths
        Channels of each layer.
    context_dim
        Context coordinates that enter as channels; 0 for none.
    batch_norm
        Whether there is batch normalisation.
    dtype, device
        Of the weights.

    Raises
    ------
    TypeError, ValueError
        For sizes below 1, no layer, and in the call for input of another shape or for context that is missing.

    Notes
    -----
    Sources: Ioffe and Szegedy (2015) for batch normalisation; Maas, Hannun and Ng (2013) for the leaky ReLU.

    Examples
    --------
    >>> import torch
    >>> from gaussflow import ConvEncoder
    >>> encoder = ConvEncoder((1, 28, 28), 100, context_dim=6)
    >>> encoder(torch.rand(5, 784), torch.eye(6)[:5]).shape
    torch.Size([5, 100])
    """

    def __init__(
        self,
        image_shape: Sequence[int],
        out_dim: int,
        widths: Sequence[int] = (32, 64, 128),
        *,
        context_dim: int = 0,
        batch_norm: bool = True,
        dtype: torch.dtype | None = None,
        device: torch.device | str | None = None,
    ) -> None:
        super().__init__()
        self.image_shape, self.widths = _shapes("ConvEncoder", image_shape, widths)
        self.out_dim = check_int("ConvEncoder", "out_dim", out_dim, 1)
        self.context_dim = check_int("ConvEncoder", "context_dim", context_dim, 0)
        self.batch_norm = bool(batch_norm)
        channels, *sides = self.image_shape
        layers: list[nn.Module] = []
        for m, n in pairwise((channels + context_dim, *self.widths)):
            layers += [nn.Conv2d(m, n, 3, stride=2, padding=1), *_after(n, batch_norm)]
        self.body = nn.Sequential(*layers)
        self.head = nn.Linear(self.widths[-1] * math.prod(_halved(sides, len(self.widths))), out_dim)
        self.to(dtype=dtype, device=device)

    @override
    def forward(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        """Map images x (..., C*H*W), with context (..., context_dim), to (..., out_dim)."""
        check_last("ConvEncoder", x, math.prod(self.image_shape))
        batch = x.shape[:-1]
        images = x.reshape(math.prod(batch), *self.image_shape)
        if self.context_dim:
            given = _context("ConvEncoder", context, self.context_dim, batch).to(x.dtype)
            images = torch.cat([images, given[:, :, None, None].expand(-1, -1, *self.image_shape[1:])], 1)
        result: Tensor = self.head(self.body(images).flatten(1))
        return result.reshape(*batch, self.out_dim)

    def config(self) -> dict[str, Any]:
        """The keyword arguments that build a network of this shape anew, as plain JSON values."""
        return {
            "image_shape": list(self.image_shape),
            "out_dim": self.out_dim,
            "widths": list(self.widths),
            "context_dim": self.context_dim,
            "batch_norm": self.batch_norm,
        }


class ConvDecoder(nn.Module):
    r"""A linear layer, then transposed convolutions that double the sides: ``in_dim`` numbers to images as rows.

    The mirror of `ConvEncoder`: from the side where that one ends, each transposed convolution (3x3, stride 2) doubles
    it, with batch normalisation and a leaky ReLU, until the picture is as large as the image or larger; it is cropped
    to the image in the middle, and a last convolution gives one number for each pixel and channel.

    With context, the other two label points. ``label_code``: the context is concatenated with the latent code.
    ``label_output``: a linear map of the context gives pictures of the size of the image, ``planes`` of them, which are
    concatenated with the last feature maps, and a convolution to ``2 * planes`` maps merges both before the last one.

    Parameters
    ----------
    in_dim
        Size of the latent.
    image_shape
        Channels, height and width (C, H, W).
    widths
        Channels that go into each layer.
    last_width
        Channels that come out of the last layer, at the size of the image; None for those that go into it.
    context_dim
        Context coordinates; 0 for none.
    label_code, label_output
        Where the context enters.
    planes
        Pictures that a context makes for the merging.
    batch_norm
        Whether there is batch normalisation.
    dtype, device
        Of the weights.

    Raises
    ------
    TypeError, ValueError
        For sizes below 1, no layer, context that enters nowhere, and in the call for input of another shape or for
        context that is missing.

    Examples
    --------
    >>> import torch
    >>> from gaussflow import ConvDecoder
    >>> decoder = ConvDecoder(50, (1, 28, 28), context_dim=6)
    >>> decoder(torch.randn(5, 50), torch.eye(6)[:5]).shape
    torch.Size([5, 784])
    """

    def __init__(
        self,
        in_dim: int,
        image_shape: Sequence[int],
        widths: Sequence[int] = (128, 64, 32),
        *,
        last_width: int | None = None,
        context_dim: int = 0,
        label_code: bool = True,
        label_output: bool = True,
        planes: int = 4,
        batch_norm: bool = True,
        dtype: torch.dtype | None = None,
        device: torch.device | str | None = None,
    ) -> None:
        super().__init__()
        self.image_shape, self.widths = _shapes("ConvDecoder", image_shape, widths)
        self.in_dim = check_int("ConvDecoder", "in_dim", in_dim, 1)
        self.context_dim = check_int("ConvDecoder", "context_dim", context_dim, 0)
        self.planes = check_int("ConvDecoder", "planes", planes, 1)
        self.label_code, self.label_output, self.batch_norm = bool(label_code), bool(label_output), bool(batch_norm)
        if context_dim and not (label_code or label_output):
            raise ValueError("ConvDecoder wants label_code or label_output with context; for none set context_dim=0.")
        channels, *sides = self.image_shape
        last = self.widths[-1] if last_width is None else check_int("ConvDecoder", "last_width", last_width, 1)
        self.last_width = last
        self.start = (self.widths[0], *_halved(sides, len(self.widths)))
        self.head = nn.Linear(in_dim + context_dim * self.label_code, math.prod(self.start))
        layers: list[nn.Module] = []
        for m, n in pairwise((*self.widths, last)):
            layers += [nn.ConvTranspose2d(m, n, 3, stride=2, padding=1, output_padding=1), *_after(n, batch_norm)]
        self.body = nn.Sequential(*layers)
        self.label_images: nn.Linear | None = None
        if context_dim and label_output:
            self.label_images = nn.Linear(context_dim, planes * math.prod(sides), bias=False)
            merged = 2 * planes  # few maps, since at full size each is dear
            self.merge = nn.Sequential(nn.Conv2d(last + planes, merged, 3, padding=1), *_after(merged, batch_norm))
            last = merged
        self.last = nn.Conv2d(last, channels, 3, padding=1)
        self.to(dtype=dtype, device=device)

    @override
    def forward(self, z: Tensor, context: Tensor | None = None) -> Tensor:
        """Map codes z (..., in_dim), with context (..., context_dim), to (..., C*H*W)."""
        check_last("ConvDecoder", z, self.in_dim, "z")
        batch, sides = z.shape[:-1], self.image_shape[1:]
        code = z.reshape(math.prod(batch), self.in_dim)
        given = code[:, :0]
        if self.context_dim:
            given = _context("ConvDecoder", context, self.context_dim, batch).to(z.dtype)
        maps = self.head(torch.cat([code, given], 1) if self.label_code else code)
        maps = _crop(self.body(maps.unflatten(1, self.start)), sides)
        if self.label_images is not None:
            pictures = self.label_images(given).unflatten(1, (self.planes, *sides))
            maps = self.merge(torch.cat([maps, pictures], 1))
        result: Tensor = self.last(maps)
        return result.reshape(*batch, math.prod(self.image_shape))

    def config(self) -> dict[str, Any]:
        """The keyword arguments that build a network of this shape anew, as plain JSON values."""
        return {
            "in_dim": self.in_dim,
            "image_shape": list(self.image_shape),
            "widths": list(self.widths),
            "last_width": self.last_width,
            "context_dim": self.context_dim,
            "label_code": self.label_code,
            "label_output": self.label_output,
            "planes": self.planes,
            "batch_norm": self.batch_norm,
        }


def _shapes(owner: str, image_shape: Sequence[int], widths: Sequence[int]) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Image shape and widths, checked."""
    if len(image_shape) != 3:
        raise ValueError(f"{owner} wants an image_shape (channels, height, width); got {tuple(image_shape)}.")
    if not widths:
        raise ValueError(f"{owner} wants at least one layer; got no widths.")
    shape = tuple(check_int(owner, "every size of image_shape", size, 1) for size in image_shape)
    return shape, tuple(check_int(owner, "every width", width, 1) for width in widths)


def _halved(sides: Sequence[int], times: int) -> tuple[int, ...]:
    """The sides after so many halvings, each rounded up."""
    return tuple(-(-side // 2**times) for side in sides)


def _after(width: int, batch_norm: bool) -> list[nn.Module]:
    return [nn.BatchNorm2d(width), nn.LeakyReLU()] if batch_norm else [nn.LeakyReLU()]


def _crop(maps: Tensor, sides: Sequence[int]) -> Tensor:
    """The middle of the maps (..., H', W'), of the sides (H, W)."""
    (h, w), (top, left) = sides, ((have - want) // 2 for have, want in zip(maps.shape[-2:], sides, strict=True))
    return maps[..., top : top + h, left : left + w]


def _context(owner: str, context: Tensor | None, dim: int, batch: Sequence[int]) -> Tensor:
    """The context as rows, one for each of the batch."""
    if context is None:
        raise ValueError(f"{owner} needs context of shape (..., {dim}); got none. Pass context=...")
    return check_last(owner, context, dim, "context").expand(*batch, dim).reshape(math.prod(batch), dim)
