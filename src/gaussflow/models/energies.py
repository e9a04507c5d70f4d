"""Energies in the place of a likelihood: what the eye minds, without a normaliser."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from typing_extensions import override

from gaussflow._check import check_int
from gaussflow.losses.ssim import ms_ssim
from gaussflow.models.base import Likelihood


class MSSSIMEnergy(Likelihood):
    r"""The energy :math:`C\, (1 - \text{MS-SSIM}(x, \hat x))` in the place of minus a log-likelihood.

    The mean image :math:`\hat x` is the sigmoid of the output.

    No normalised law: its exponential does not integrate to one, so that a bound with it bounds no likelihood and is
    compared with nothing but itself, at one weight C. What it buys is pictures that the eye likes better than those of
    the squared error.

    Parameters
    ----------
    image_shape
        Channels, height and width (C, H, W); sides of at least 11 pixels.
    weight
        The weight C, above 0: how many nats a picture without any likeness costs.

    Raises
    ------
    TypeError, ValueError
        For other shapes and weights; in the call for images too small for a window of 11 pixels.

    Notes
    -----
    Images too small for all five scales take as many as fit. Where structure is inverted, the index goes on below zero,
    so that its gradient does not vanish (``signed`` of `ms_ssim`).
    Sources: Snell et al. (2015); Wang, Simoncelli and Bovik (2003).

    Examples
    --------
    >>> import torch
    >>> from gaussflow import MSSSIMEnergy
    >>> MSSSIMEnergy((1, 28, 28), 500.0).log_prob(torch.zeros(5, 784), torch.rand(5, 784)).shape
    torch.Size([5])
    """

    def __init__(self, image_shape: Sequence[int], weight: float) -> None:
        super().__init__()
        if len(image_shape) != 3:
            raise ValueError(f"MSSSIMEnergy wants an image_shape (channels, height, width); got {tuple(image_shape)}.")
        if not 0 < weight < math.inf:
            raise ValueError(f"MSSSIMEnergy wants a finite weight above 0; got {weight}.")
        self.image_shape = tuple(check_int("MSSSIMEnergy", "every size of image_shape", n, 1) for n in image_shape)
        self.weight = float(weight)

    @override
    def log_prob(self, output: Tensor, x: Tensor) -> Tensor:
        """Minus the energy of x (..., D): (...); no log-density."""
        mean, x = torch.broadcast_tensors(self.mean(output), x)
        pairs = (t.reshape(math.prod(t.shape[:-1]), *self.image_shape) for t in (mean, x))
        likeness = ms_ssim(*pairs, data_range=1.0, fewer_scales=True, signed=True)
        return -self.weight * (1 - likeness.reshape(x.shape[:-1]))

    @override
    def mean(self, output: Tensor) -> Tensor:
        return output.sigmoid()

    @override
    def config(self) -> dict[str, Any]:
        return {"image_shape": list(self.image_shape), "weight": self.weight}
