"""Likelihoods: laws of an image given the numbers of a decoder, summed over the D pixels of an image."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import logsigmoid, softplus
from typing_extensions import override

from gaussflow._check import check_int
from gaussflow.models.base import Likelihood
from gaussflow.ops.sinhc import langevin, log_sinhc


class Bernoulli(Likelihood):
    r"""Minus the binary cross-entropy: :math:`x \log p + (1 - x) \log (1 - p)`, p the sigmoid of the output.

    A law for pixels that are 0 or 1. For values between it is no density, its integral over [0, 1] is less than
    one, and it is `ContinuousBernoulli` that makes it one; to take grey for a probability is usual all the same.

    Examples
    --------
    >>> import torch
    >>> from gaussflow import Bernoulli
    >>> Bernoulli().log_prob(torch.zeros(5, 784), torch.rand(5, 784).round()).shape
    torch.Size([5])
    """

    @override
    def log_prob(self, output: Tensor, x: Tensor) -> Tensor:
        return (x * output - softplus(output)).sum(-1)

    @override
    def mean(self, output: Tensor) -> Tensor:
        return output.sigmoid()

    @override
    def config(self) -> dict[str, Any]:
        return {}


class ContinuousBernoulli(Likelihood):
    r"""The density :math:`p(x) = C(\lambda) \lambda^x (1 - \lambda)^{1 - x}` on [0, 1], with its normaliser.

    With the output :math:`\eta = \log \lambda / (1 - \lambda)` it is :math:`\log p(x) = x \eta - \log
    \int_0^1 e^{t \eta} dt`, and the integral :math:`(e^\eta - 1) / \eta` is taken as :math:`e^{\eta / 2}
    \sinh(\eta / 2) / (\eta / 2)`, with a series near :math:`\lambda = 1/2`, where the usual form divides zero by zero.

    Notes
    -----
    Source: Loaiza-Ganem and Cunningham (2019).

    Examples
    --------
    >>> import torch
    >>> from gaussflow import ContinuousBernoulli
    >>> ContinuousBernoulli().log_prob(torch.zeros(5, 784), torch.rand(5, 784)).shape
    torch.Size([5])
    """

    @override
    def log_prob(self, output: Tensor, x: Tensor) -> Tensor:
        return ((x - 0.5) * output - log_sinhc(0.5 * output)).sum(-1)

    @override
    def mean(self, output: Tensor) -> Tensor:
        return 0.5 + 0.5 * langevin(0.5 * output)

    @override
    def config(self) -> dict[str, Any]:
        return {}


class Gaussian(Likelihood):
    r"""The density :math:`N(x; m, \sigma^2 I)`, m the output or its sigmoid.

    With a fixed variance it is minus the squared error, over :math:`2 \sigma^2`, and a constant: the variance says
    how much a squared error counts beside the KL term. A learned variance finds that balance by itself.

    Parameters
    ----------
    variance
        The variance, or where it starts, above 0.
    learned
        Whether the variance, one number for all pixels, is a parameter.
    sigmoid
        Whether the mean is the sigmoid of the output, for images.

    Notes
    -----
    Source: Rybkin, Daniilidis and Levine (2021) for the learned variance.

    Examples
    --------
    >>> import torch
    >>> from gaussflow import Gaussian
    >>> Gaussian(0.1, learned=True).log_prob(torch.zeros(5, 3), torch.randn(5, 3)).shape
    torch.Size([5])
    """

    unit = False

    def __init__(self, variance: float = 1.0, *, learned: bool = False, sigmoid: bool = False) -> None:
        super().__init__()
        _check_positive("Gaussian", "variance", variance)
        self.variance, self.learned, self.sigmoid = float(variance), bool(learned), bool(sigmoid)
        self.log_variance = nn.Parameter(torch.tensor(math.log(variance))) if learned else None

    @override
    def log_prob(self, output: Tensor, x: Tensor) -> Tensor:
        known = output.new_tensor(math.log(self.variance)) if self.log_variance is None else self.log_variance
        squares = (x - self.mean(output)).square() * (-known).exp()
        return -0.5 * (squares + known + math.log(2 * math.pi)).sum(-1)

    @override
    def mean(self, output: Tensor) -> Tensor:
        return output.sigmoid() if self.sigmoid else output

    @override
    def config(self) -> dict[str, Any]:
        return {"variance": self.variance, "learned": self.learned, "sigmoid": self.sigmoid}


class DiscretisedLogistic(Likelihood):
    r"""The exact mass that a logistic law with learned scale s gives to each of 256 grey levels.

    .. math:: P(x) = F\big((x + \tfrac \delta 2 - m) / s\big) - F\big((x - \tfrac \delta 2 - m) / s\big),
              \qquad \delta = 1/255

    with F the logistic function, m the output, and the outermost levels open to their sides, so that the masses sum
    to one. Pixels in [0, 1] are rounded to their level.

    Parameters
    ----------
    scale
        Where the scale s, one number for all pixels, starts, above 0.
    levels
        Number of levels from 0 to 1, ends included.

    Notes
    -----
    Nothing is subtracted: :math:`\sigma(b) - \sigma(a) = \sigma(b) \sigma(-a) (1 - e^{a - b})`, and b - a is the same
    everywhere. Source: Kingma, Salimans et al. (2016).

    Examples
    --------
    >>> import torch
    >>> from gaussflow import DiscretisedLogistic
    >>> DiscretisedLogistic().log_prob(torch.zeros(5, 784), torch.rand(5, 784)).shape
    torch.Size([5])
    """

    def __init__(self, scale: float = 0.1, levels: int = 256) -> None:
        super().__init__()
        _check_positive("DiscretisedLogistic", "scale", scale)
        self.scale, self.levels = float(scale), check_int("DiscretisedLogistic", "levels", levels, 2)
        self.log_scale = nn.Parameter(torch.tensor(math.log(scale)))

    @override
    def log_prob(self, output: Tensor, x: Tensor) -> Tensor:
        step, inverse = 1 / (self.levels - 1), (-self.log_scale).exp()
        level = (x / step).round() * step
        below = logsigmoid((level + 0.5 * step - output) * inverse)  # the levels up to this one
        above = logsigmoid((output - level + 0.5 * step) * inverse)  # this one and those from it on
        inner = below + above + torch.log(-torch.expm1(-step * inverse))
        low, high = level < 0.5 * step, level > 1 - 0.5 * step
        return torch.where(low, below, torch.where(high, above, inner)).sum(-1)

    @override
    def mean(self, output: Tensor) -> Tensor:
        """The location m, kept in [0, 1]: the mean image (..., D) but for what the open ends move."""
        return output.clamp(0, 1)

    @override
    def config(self) -> dict[str, Any]:
        return {"scale": self.scale, "levels": self.levels}


def _check_positive(owner: str, name: str, value: float) -> None:
    if not 0 < value < math.inf:
        raise ValueError(f"{owner} wants a finite {name} above 0; got {value}.")
