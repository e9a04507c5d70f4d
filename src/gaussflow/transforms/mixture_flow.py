"""The mixture flow: every coordinate through an unnormalised sum of normal CDFs, trained to a normal base."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from typing_extensions import override

from gaussflow._check import check_int
from gaussflow.ops._finite import saturate
from gaussflow.ops._invert import invert
from gaussflow.ops.bounds import soft_bound
from gaussflow.ops.mixture import bounded_mixture, bounded_mixture_knots
from gaussflow.transforms.base import Transform

LOG_BOUND = 12.0  # logarithms of weights and scales lie between -12 and 12
SPREAD = 3.0  # the means of a new flow lie between -3 and 3


class MixtureFlow(Transform):
    r"""The unnormalised mixture-CDF map :math:`f(x) = \sum_i e^{w_i} (\Phi_{\mu_i, \exp \tau_i}(x) - \tfrac12)`.

    .. math:: \text{ladj} = \sum_d \log \sum_i e^{w_i - \tau_i} \varphi\big((x - \mu_i) / e^{\tau_i}\big)

    The weights need not sum to one, as the base is unbounded. But f is bounded: its range is the open interval
    :math:`\pm \tfrac12 \sum_i e^{w_i}`, so that f alone is no map onto the line; its inverse does not exist outside of
    that range and cannot be found in floating point near its ends. Here f is the map up to one and a half scales
    outside of the outermost component, :math:`h = \max_i (\mu_i + \tfrac32 e^{\tau_i})` reached by component j, and
    from there on

    .. math:: z = f(h) + a\,d + (b - a)\big(\sqrt{d^2 + c^2} - c\big), \qquad
        d = x - h,\ a = f'(h),\ c = 1/b = e^{\tau_j},

    a hyperbola whose slope recovers from a to that of a normal tail within one scale (and likewise at the lower end).
    The whole is a C1 bijection of the line, so the density integrates to one, and a base sample beyond the range of f
    comes back within a few scales of the outermost component. The alternatives: an error or a NaN outside of the
    range, which a sampler meets by chance; the end of a bracket, which is no inverse; a straight line of slope a, which
    sends such a sample a thousand scales away.

    A new flow has equal components spread evenly, whose sum is nearly the identity between the outermost means.

    Parameters
    ----------
    dim
        Number of coordinates D.
    components
        Number of components K per coordinate.
    dtype, device
        Those of the numbers held.

    Attributes
    ----------
    log_weights, means, log_scales
        Parameters w, mu and tau (K, D), components on the leading axis; w and tau are softly bounded by 12.

    References
    ----------
    A one-dimensional flow with the mixture CDF of Chen & Gopinath (2000), without its normalisation.

    Examples
    --------
    >>> import torch
    >>> from gaussflow import MixtureFlow
    >>> flow = MixtureFlow(3)
    >>> z, ladj = flow(torch.randn(5, 3))
    >>> z.shape, ladj.shape, flow.inverse(z)[0].shape
    (torch.Size([5, 3]), torch.Size([5]), torch.Size([5, 3]))
    """

    def __init__(
        self,
        dim: int,
        components: int = 5,
        *,
        dtype: torch.dtype | None = None,
        device: torch.device | str | None = None,
    ) -> None:
        super().__init__(dim)
        self.components = check_int("MixtureFlow", "components", components, 1)
        gap = 2 * SPREAD / max(components - 1, 1)
        zeros = torch.zeros(components, dim, dtype=dtype, device=device)
        log_gap = torch.full_like(zeros, gap).log()
        line = torch.linspace(-SPREAD, SPREAD, components, dtype=dtype, device=device)
        self.log_weights = nn.Parameter(log_gap)
        self.means = nn.Parameter(zeros + (line[:, None] if components > 1 else 0))
        self.log_scales = nn.Parameter(log_gap.clone())

    @override
    def forward(self, x: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        self._door(x, context)
        z, log_slope = bounded_mixture(x, *self._tables())
        return saturate(z), log_slope.sum(-1)

    @override
    def inverse(self, z: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        self._door(z, context, "z")
        tables = self._tables()
        x, log_slope = invert(lambda x: bounded_mixture(x, *tables), z, bounded_mixture_knots(*tables))
        return saturate(x), log_slope.sum(-1)

    @override
    def config(self) -> dict[str, Any]:
        return {"dim": self.dim, "components": self.components}

    def _tables(self) -> tuple[Tensor, Tensor, Tensor]:
        return soft_bound(self.log_weights, LOG_BOUND), self.means, soft_bound(self.log_scales, LOG_BOUND)
