"""The coupling whose other coordinates move through rational-quadratic splines."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from typing_extensions import override

from gaussflow._check import check_int
from gaussflow.ops._spline import rq_spline, rq_spline_inverse
from gaussflow.ops.bounds import soft_bound
from gaussflow.transforms._coupling import Conditioner, Coupling, IndexSet

BOX = 4.0
"""At rest the knots lie evenly from -4 to 4: latents are standard, and beyond the knots the map is linear."""

LOG_SLOPE = 2.0
"""Bound of the log-slope of every bin, and of the log-widths before they are normalised."""

LOG_BEND = 1.0
"""Bound of the log-slope at a knot against the mean of its two bins: tied to them, it bends less. With free slopes at
the knots stacks of 16 trained to the same likelihood lost half a digit more on the way back."""


class SplineCoupling(Coupling):
    r"""Some coordinates stay and say through which rational-quadratic splines the others move.

    .. math:: z_\Omega = x_\Omega, \qquad z_j = g(x_j; \theta_j(x_\Omega)) \quad (j \notin \Omega),
        \qquad \log|\det \partial z / \partial x| = \sum_{j \notin \Omega} \log g'(x_j; \theta_j(x_\Omega)),

    where :math:`g` is C1, increasing, and linear beyond its first and last knot with the slope that it has there. So
    the coupling is also an affine one far from the data, and points there come back exactly. The conditioner gives
    3 K − 1 free numbers for each coordinate that moves: K − 1 for the widths w of the bins, K − 1 for their mean slopes
    :math:`e^a`, K for the slopes d at the knots, and a shift :math:`t`. All but the shift are bounded softly:

    .. math:: w = 8\,\mathrm{softmax}(2 \tanh(u/2)), \qquad a = 2 \tanh(v/2), \qquad
        \log d_k = (a_{k-1} + a_k)/2 + \tanh r_k,

    at the ends :math:`a_0` and :math:`a_{K-2}` alone. The knots are the running sums of :math:`w` and of the heights
    :math:`w e^a`, each centred at zero, and :math:`t` is added to the result.
    Zeros are the identity, and no number of the conditioner, however large, makes a bin vanish or a slope infinite.

    Parameters
    ----------
    dim
        Number of coordinates D, at least 2.
    mask
        The set :math:`\Omega` of the coordinates that stay: a bool mask (D,), or their indices from 0, in any order.
    conditioner
        A `torch.nn.Module` that maps (..., n + C) to (..., (3 K − 1) (D − n)), coordinates innermost, where n is the
        size of the set; or a callable ``(in_dim, out_dim) -> Module`` that makes one. Default: an `MLP` whose last
        layer is zero, so that the coupling is born as the identity.
    context_dim
        Number of context coordinates C that the conditioner sees.
    knots
        Number of knots K of each spline, at least 2.
    dtype, device
        Of the parameters; a conditioner that is given is moved there too.

    Raises
    ------
    TypeError, ValueError
        For dim or knots below 2, an empty or full index set, indices that are out of range or repeated, and, in the
        call, for a conditioner that answers in another shape.

    Notes
    -----
    Durkan et al. fix the ends of the box, where the slope is one, so that a layer is the identity beyond it and cannot
    scale or shift the tails. Here the end slopes and the shift are free, so that the affine coupling is a special case.

    References
    ----------
    Durkan, Bekasov, Murray and Papamakarios (2019), Neural spline flows.

    Examples
    --------
    >>> import torch
    >>> from gaussflow import SplineCoupling
    >>> coupling = SplineCoupling(5, mask=range(0, 5, 2), knots=6)
    >>> z, ladj = coupling(torch.randn(7, 5))
    >>> z.shape, ladj.shape
    (torch.Size([7, 5]), torch.Size([7]))
    >>> x, ladj = coupling.inverse(z)
    >>> x.shape, ladj.shape
    (torch.Size([7, 5]), torch.Size([7]))
    """

    def __init__(
        self,
        dim: int,
        mask: IndexSet,
        conditioner: Conditioner | None = None,
        context_dim: int = 0,
        knots: int = 8,
        *,
        dtype: torch.dtype | None = None,
        device: torch.device | str | None = None,
    ) -> None:
        check_int("SplineCoupling", "knots", knots, 2)
        super().__init__(dim, mask, conditioner, context_dim, 3 * knots - 1, dtype, device)
        self.knots = knots

    @override
    def _move(self, x: Tensor, numbers: Tensor) -> tuple[Tensor, Tensor]:
        z, log_slope = rq_spline(x, *self._knots(numbers))
        return z + numbers[-1], log_slope

    @override
    def _move_back(self, z: Tensor, numbers: Tensor) -> tuple[Tensor, Tensor]:
        # The shift stays outside the spline: added to the knots, a large one would round their distances away.
        return rq_spline_inverse(z - numbers[-1], *self._knots(numbers))

    def _knots(self, numbers: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Knots xs, zs and slopes, each (K, ..., M), from free numbers (3 K − 1, ..., M)."""
        bins = self.knots - 1
        widths = 2 * BOX * soft_bound(numbers[:bins], LOG_SLOPE).softmax(0)
        means = soft_bound(numbers[bins : 2 * bins], LOG_SLOPE)
        between = (torch.cat([means[:1], means]) + torch.cat([means, means[-1:]])) / 2
        slopes = (between + soft_bound(numbers[2 * bins : -1], LOG_BEND)).exp()
        return _centred(widths), _centred(widths * means.exp()), slopes

    @override
    def config(self) -> dict[str, Any]:
        return {**super().config(), "knots": self.knots}


def _centred(steps: Tensor) -> Tensor:
    """The running sums of steps (K − 1, ...) from a first knot on (K, ...), with the middle of the ends at zero."""
    sums = torch.cat([torch.zeros_like(steps[:1]), steps.cumsum(0)])
    return sums - sums[-1:] / 2
