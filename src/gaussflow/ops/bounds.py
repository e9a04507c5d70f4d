"""Soft bounds: smooth maps of the line into an interval, for numbers that a network may send anywhere."""

from __future__ import annotations

import torch
from torch import Tensor

from gaussflow._check import check_tensor
from gaussflow.ops._eager import plain_eager


def soft_bound(x: Tensor, bound: float) -> Tensor:
    r"""Bound numbers smoothly, with slope 1 at zero: :math:`b \tanh(x / b)` lies in :math:`[-b, b]`.

    A hard clamp would stop the gradient at the bound and break the continuity of it; here every gradient is finite,
    and infinite numbers map to the bound.

    Parameters
    ----------
    x
        Any numbers (...).
    bound
        The bound :math:`b > 0`.

    Returns
    -------
    Tensor
        Bounded numbers (...).

    Raises
    ------
    TypeError, ValueError
        For what is no floating tensor, and for a bound that is not positive.

    Examples
    --------
    >>> import torch
    >>> from gaussflow.ops import soft_bound
    >>> soft_bound(torch.tensor([0.0, 1e4, -torch.inf]), 2.0)
    tensor([ 0.,  2., -2.])
    """
    _check("soft_bound", x, "bound", bound)
    if plain_eager():  # in place: every temporary of a large tensor is page-faulted
        return (x / bound).tanh_().mul_(bound)
    return bound * (x / bound).tanh()


def squash(x: Tensor, radius: float) -> Tensor:
    r"""Bring far numbers near, with slope 1 at zero: :math:`x / (1 + |x| / r)` lies in :math:`(-r, r)`.

    It is what a network sees of coordinates that may lie anywhere: beyond the data it then extrapolates to a constant.
    The alternatives: :math:`r \tanh(x / r)` is constant in floating point from :math:`9 r` on, so that the network
    can no longer tell far points apart; :math:`x / \sqrt{1 + x^2 / r^2}` overflows at the root of the largest float.
    This one does neither, and its derivative :math:`(1 + |x| / r)^{-2}` is continuous.

    Parameters
    ----------
    x
        Any finite numbers (...).
    radius
        The radius :math:`r > 0` at which a number is halved.

    Returns
    -------
    Tensor
        Squashed numbers (...).

    Raises
    ------
    TypeError, ValueError
        For what is no floating tensor, and for a radius that is not positive.

    Examples
    --------
    >>> import torch
    >>> from gaussflow.ops import squash
    >>> squash(torch.tensor([0.0, 6.0, -1e38]), 6.0)
    tensor([ 0.,  3., -6.])
    """
    _check("squash", x, "radius", radius)
    if plain_eager():
        divisor = x.abs().div_(radius).add_(1)
        return torch.div(x, divisor, out=divisor)
    return x / (1 + x.abs() / radius)


def _check(owner: str, x: Tensor, name: str, size: float) -> None:
    check_tensor(owner, x)
    if not size > 0:
        raise ValueError(f"{owner} wants a positive {name}; got {size}.")
