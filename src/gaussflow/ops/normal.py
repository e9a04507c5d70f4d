r"""The normal law in its tails: logarithms of probabilities and quantiles from them, exact where probabilities fail.

A float32 probability cannot say how far beyond 13 standard deviations a point lies, nor how close to one it is; its
logarithm can. Everything here is therefore a function of the smaller tail, in log space, and the larger tail follows
by symmetry, so that nothing cancels. The forms are rational functions (least squares in 50 digits), a few multiply-adds
per element: `torch.special.log_ndtr` and `torch.special.ndtri` cost twice as much and end where probabilities do.
"""

from __future__ import annotations

import torch
from torch import Tensor

from gaussflow._check import check_tensor
from gaussflow.ops._eager import in_pieces
from gaussflow.ops._finite import side
from gaussflow.ops._kernels import REFERENCES, take_kernel
from gaussflow.ops._tails import (
    INVERSE_SQRT_2PI,
    LOG_SQRT_2PI,
    exp_half_square,
    mills_ratio,
    normal_tail_quantile,
    tail_ratio,
)


def log_normal_cdf(z: Tensor) -> Tensor:
    r"""The logarithm :math:`\log \Phi(z)` (...), exact in both tails: :math:`\log \Phi(-40) = -804.6`.

    Parameters
    ----------
    z
        Numbers of the normal axis (...).

    Returns
    -------
    Tensor
        Their logarithms (...): relative error 1e-6 in float32.

    Raises
    ------
    TypeError
        For what is no floating tensor.

    Examples
    --------
    >>> import torch
    >>> from gaussflow.ops import log_normal_cdf
    >>> log_normal_cdf(torch.randn(5, 3)).shape
    torch.Size([5, 3])
    """
    check_tensor("log_normal_cdf", z, "z")
    if take_kernel(z):
        from gaussflow.ops._triton._normal import log_cdf

        found: Tensor = log_cdf(z)
        return found
    return in_pieces(_log_normal_cdf, z)


def _log_normal_cdf(z: Tensor) -> Tensor:
    r"""One logarithm for both sides, as all else costs a tenth of it.

    With :math:`t = m / \sqrt{2 \pi}` it is :math:`\log(1 + (t - 1)) - z^2/2` left of zero and
    :math:`\log(1 - t e^{-z^2/2})` right of it.
    """
    sign = side(z)
    right = 0.5 + 0.5 * sign
    v = z * sign
    t = tail_ratio(v, INVERSE_SQRT_2PI)
    below_one = torch.lerp(t - 1, -t * exp_half_square(v), right)
    least = torch.finfo(z.dtype).eps - 1  # where t is less, it is nothing beside the square
    return torch.log1p(below_one.clamp(min=least)) - 0.5 * torch.relu(-z).square()


def log_normal_tail(v: Tensor) -> Tensor:
    r""":math:`\log \Phi(-v)` for :math:`v \ge 0` (...)."""
    return mills_ratio(v).log() - 0.5 * v.square() - LOG_SQRT_2PI


def normal_quantile(log_p: Tensor, log_q: Tensor) -> Tensor:
    r"""The z with :math:`\log \Phi(z)` equal to ``log_p`` and :math:`\log \Phi(-z)` equal to ``log_q``.

    Both logarithms are given, so that the smaller tail is at hand on either side: z is exact from -1e18 to 1e18 in
    float32, where a probability would end at -13 and +5.

    Parameters
    ----------
    log_p, log_q
        Logarithms of p and of 1 - p, each (...).

    Returns
    -------
    Tensor
        The quantile z (...).

    Raises
    ------
    TypeError
        For what are no floating tensors.

    Examples
    --------
    >>> import torch
    >>> from gaussflow.ops import log_normal_cdf, normal_quantile
    >>> z = torch.tensor([-30.0, 0.5, 30.0])
    >>> normal_quantile(log_normal_cdf(z), log_normal_cdf(-z))
    tensor([-30.0000,   0.5000,  30.0000])
    """
    for name, part in (("log_p", log_p), ("log_q", log_q)):
        check_tensor("normal_quantile", part, name)
    if take_kernel(log_p, log_q) and log_p.shape == log_q.shape:
        from gaussflow.ops._triton._normal import quantile

        found: Tensor = quantile(log_p, log_q)
        return found
    return in_pieces(_normal_quantile, log_p, log_q)


def _normal_quantile(log_p: Tensor, log_q: Tensor) -> Tensor:
    return normal_tail_quantile(torch.minimum(log_p, log_q)) * side(log_p - log_q)


def log_logistic_cdf(z: Tensor) -> Tensor:
    r"""The logarithm :math:`\log \sigma(z) = -\log(1 + e^{-z})` of the logistic law (...), exact in both tails."""
    return torch.nn.functional.logsigmoid(z)


def logistic_quantile(log_p: Tensor, log_q: Tensor) -> Tensor:
    r"""The logistic quantile :math:`\log p - \log(1 - p)` (...), from the logarithms of both tails."""
    return log_p - log_q


REFERENCES["log_normal_cdf"] = lambda z: (_log_normal_cdf(z),)
REFERENCES["normal_quantile"] = lambda p, q: (_normal_quantile(p, q),)
