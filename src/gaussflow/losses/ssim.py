"""Structural similarity of images, at one scale and at several, as an index and as a loss."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn
from typing_extensions import override

from gaussflow.losses._images import (
    check_numbers,
    check_pair,
    check_reduction,
    check_side,
    check_weights,
    reduced,
)
from gaussflow.losses._ssim import Scales, scale_means
from gaussflow.losses._ssim_compiled import compiled_means
from gaussflow.losses._ssim_planes import PlaneMeans, plane_means

__all__ = ["MSSSIMLoss", "ms_ssim", "ssim"]

WEIGHTS = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)
"""The exponents of the paper, finest scale first."""


def ssim(
    x: Tensor,
    y: Tensor,
    *,
    data_range: float,
    window: int = 11,
    sigma: float = 1.5,
    reduction: Callable[[Tensor], Tensor] | None = None,
) -> Tensor:
    r"""The structural similarity of pairs of images, between -1 and 1, and 1 for identical images only.

    .. math:: \mathrm{SSIM} = \operatorname{mean}\Bigl[ \frac{2 \mu_x \mu_y + C_1}{\mu_x^2 + \mu_y^2 + C_1} \cdot
        \frac{2 \sigma_{xy} + C_2}{\sigma_x^2 + \sigma_y^2 + C_2} \Bigr], \quad C_1 = (0.01 L)^2,\ C_2 = (0.03 L)^2

    over every window that lies whole in the image, with Gaussian weights inside a window, and over the channels.

    Parameters
    ----------
    x, y
        Images (N, C, H, W) of one shape and dtype, floating or uint8.
    data_range
        The width L of the range the data can take: 1 for [0, 1], 255 for uint8, 2 for [-1, 1]. It is never guessed.
    window, sigma
        Side of the window in pixels, odd, and the standard deviation of its weights in pixels.
    reduction
        What is done with the values of the images: `torch.mean`, `torch.sum`, a function of your own, or None.

    Returns
    -------
    ssim
        Shape (N,), one value per image, or what the reduction makes of it; float64 for float64, float32 for all else.

    Raises
    ------
    TypeError, ValueError
        For shapes and dtypes that differ or are none of these, and for images with a side shorter than the window.

    Notes
    -----
    Images are taken at the size they have, without the reduction to about 256 pixels that some programs do first.
    See `ms_ssim` about numbers and gradients.
    Source: Wang, Bovik, Sheikh & Simoncelli (2004).

    Examples
    --------
    >>> import torch
    >>> from gaussflow import ssim
    >>> x = torch.rand(4, 3, 28, 28)
    >>> ssim(x, x.roll(1, -1), data_range=1.0).shape
    torch.Size([4])
    >>> ssim(x, x, data_range=1.0, reduction=torch.mean)
    tensor(1.)
    """
    check_pair("ssim", x, y)
    check_numbers("ssim", data_range, window, sigma)
    check_side("ssim", x, window, 1, False)
    means = _means(x, y, Scales(data_range, window, sigma, 1))
    return reduced("ssim", means[..., 0].mean(-1), reduction)


def ms_ssim(
    x: Tensor,
    y: Tensor,
    *,
    data_range: float,
    window: int = 11,
    sigma: float = 1.5,
    weights: Sequence[float] = WEIGHTS,
    fewer_scales: bool = False,
    signed: bool = False,
    reduction: Callable[[Tensor], Tensor] | None = None,
) -> Tensor:
    r"""The multi-scale structural similarity of pairs of images, between 0 and 1, and 1 for identical images only.

    .. math:: \text{MS-SSIM} = \bigl( \overline{l \cdot \mathrm{cs}} \bigr)_M^{w_M} \prod_{j < M}
        \bigl( \overline{\mathrm{cs}} \bigr)_j^{w_j}, \quad
        l = \frac{2 \mu_x \mu_y + C_1}{\mu_x^2 + \mu_y^2 + C_1}, \quad
        \mathrm{cs} = \frac{2 \sigma_{xy} + C_2}{\sigma_x^2 + \sigma_y^2 + C_2}

    with the mean over the windows of scale j, each scale the 2 x 2 averages of the one before, C1 = (0.01 L)² and
    C2 = (0.03 L)². Channels are taken apart, and their indices averaged.

    Parameters
    ----------
    x, y
        Images (N, C, H, W) of one shape and dtype, floating or uint8.
    data_range
        The width L of the range the data can take: 1 for [0, 1], 255 for uint8, 2 for [-1, 1]. It is never guessed.
    window, sigma
        Side of the window in pixels, odd, and the standard deviation of its weights in pixels.
    weights
        The exponents, finest scale first; as many scales as weights. By default the five of the paper.
    fewer_scales
        Whether images too small for these scales take only as many of the finest as fit, their weights divided by
        their sum. Otherwise such images are an error. M scales need sides of :math:`(\text{window} - 1)\, 2^{M-1} + 1`
        pixels at least: 161 for the paper's, and 64 x 64 pixels take three scales, 28 x 28 two.
    signed
        Whether the value goes on below zero where a mean contrast does, as told in the notes.
    reduction
        What is done with the values of the images: `torch.mean`, `torch.sum`, a function of your own, or None.

    Returns
    -------
    ms_ssim
        Shape (N,), one value per image, or what the reduction makes of it; float64 for float64, float32 for all else.

    Raises
    ------
    TypeError, ValueError
        For shapes and dtypes that differ or are none of these, for images too small, and for weights not positive.

    Notes
    -----
    *Negative contrast.* Where structure is inverted the mean of cs is negative, and its fractional power is no real
    number. Choices met in practice:

    1. zero in its place: the index is 0, and so is its gradient, at which training stays;
    2. the power of the absolute value with the sign: an infinite slope at zero, and two negative scales look good;
    3. (1 + cs) / 2 in place of cs: smooth, but another index for every pair of images;
    4. the product :math:`P` with zero in its place, and :math:`\sum_j w_j \min(0, \overline{\mathrm{cs}}_j)` added:
       continuous, rising in every contrast, the paper's index wherever that exists, and negative elsewhere.

    The value is that of 1, which published figures use; its gradient is that of 4, so that no image but one identical
    to its target is without a gradient. With ``signed`` the value is that of 4 as well, and the gradient its exact
    derivative.

    *Odd sides* are extended by their last pixel before they are halved, as in the authors' own program.

    *Numbers.* Moments are taken of x + y and x - y about their means, which does not cancel; half precisions
    and uint8 are computed in float32. Finite images of any size give finite values and gradients; a NaN or an
    infinity makes the value of its image NaN and leaves the others alone.

    *Higher derivatives* and `torch.func` are served too, by ordinary operations, which are slower.
    Source: Wang, Simoncelli & Bovik (2003).

    Examples
    --------
    >>> import torch
    >>> from gaussflow import ms_ssim
    >>> x, y = torch.rand(2, 4, 3, 176, 161)
    >>> ms_ssim(x, y, data_range=1.0).shape
    torch.Size([4])
    >>> ms_ssim(x[..., :28, :28], y[..., :28, :28], data_range=1.0, fewer_scales=True).shape
    torch.Size([4])
    """
    check_pair("ms_ssim", x, y)
    check_numbers("ms_ssim", data_range, window, sigma)
    weights = check_weights("ms_ssim", weights)
    count = check_side("ms_ssim", x, window, len(weights), fewer_scales)
    if count < len(weights):
        weights = tuple(weight / sum(weights[:count]) for weight in weights[:count])
    means = _means(x, y, Scales(data_range, window, sigma, count))
    return reduced("ms_ssim", _product(means, weights, signed).mean(-1), reduction)


class MSSSIMLoss(nn.Module):
    r"""The loss :math:`1 - \text{MS-SSIM}(x, y)`, between 0 and 1, and 0 for identical images only.

    Parameters
    ----------
    data_range, window, sigma, weights, fewer_scales, signed
        As in `ms_ssim`, which says what they mean; with ``signed`` the loss goes up to 2.
    reduction
        What is done with the losses of the images (N,): by default their mean; None leaves them.

    Raises
    ------
    TypeError, ValueError
        For numbers out of range; on images, for what `ms_ssim` refuses.

    Notes
    -----
    Source: Wang, Simoncelli & Bovik (2003); Zhao, Gallo, Frosio & Kautz (2017) for its use as a loss.

    Examples
    --------
    >>> import torch
    >>> from gaussflow import MSSSIMLoss
    >>> loss = MSSSIMLoss(data_range=1.0, fewer_scales=True)
    >>> x = torch.rand(4, 3, 64, 64, requires_grad=True)
    >>> loss(x, torch.rand(4, 3, 64, 64)).backward()
    >>> x.grad.shape
    torch.Size([4, 3, 64, 64])
    """

    def __init__(
        self,
        *,
        data_range: float,
        window: int = 11,
        sigma: float = 1.5,
        weights: Sequence[float] = WEIGHTS,
        fewer_scales: bool = False,
        signed: bool = False,
        reduction: Callable[[Tensor], Tensor] | None = torch.mean,
    ) -> None:
        super().__init__()
        check_numbers("MSSSIMLoss", data_range, window, sigma)
        self.data_range, self.window, self.sigma = float(data_range), window, float(sigma)
        self.weights = check_weights("MSSSIMLoss", weights)
        self.fewer_scales, self.signed = bool(fewer_scales), bool(signed)
        check_reduction("MSSSIMLoss", reduction)
        self.reduction = reduction

    @override
    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        """The loss of images x against y, both (N, C, H, W): (N,) or what the reduction makes of it."""
        index = ms_ssim(
            x,
            y,
            data_range=self.data_range,
            window=self.window,
            sigma=self.sigma,
            weights=self.weights,
            fewer_scales=self.fewer_scales,
            signed=self.signed,
        )
        return reduced("MSSSIMLoss", 1 - index, self.reduction)

    @override
    def extra_repr(self) -> str:
        return f"data_range={self.data_range:g}, window={self.window}, sigma={self.sigma:g}, weights={self.weights}"


def _means(x: Tensor, y: Tensor, scales: Scales) -> Tensor:
    """The mean similarity of each image, channel and scale (N, C, levels), the fast way where there is one."""
    if x.dtype != torch.float64:
        x, y = x.float(), y.float()
    planes = x.flatten(0, 1), y.flatten(0, 1)
    means: Tensor
    if torch.compiler.is_compiling() and x.numel():
        means = compiled_means(*planes, scales)
    elif not x.numel() or torch._C._are_functorch_transforms_active():
        means = scale_means(*planes, scales)
    elif torch.is_grad_enabled() and (x.requires_grad or y.requires_grad):
        means = PlaneMeans.apply(*planes, scales)  # type: ignore[no-untyped-call]
    else:
        means = plane_means(*planes, scales)[0]
    return means.view(*x.shape[:2], scales.levels)


def _product(means: Tensor, weights: Sequence[float], signed: bool) -> Tensor:
    """The weighted product of the means (..., scales): (...), with a gradient where one of them is not positive.

    Means count as positive from the square of the rounding on: the slope of a power is finite there.
    """
    w = means.new_tensor(weights)
    positive = means > torch.finfo(means.dtype).eps ** 2
    powers = torch.where(positive, means, 1.0).pow(w)
    product = torch.where(positive.all(-1), powers.prod(-1), 0.0)
    whole = product + (w * torch.where(positive, 0.0, means)).sum(-1)
    return whole if signed else whole + (product - whole).detach()
