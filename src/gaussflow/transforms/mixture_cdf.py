"""The mixture CDF: every coordinate through the CDF of a mixture and the normal quantile, exact in the tails."""

from __future__ import annotations

from typing import Any, Self

import numpy as np
import torch
from torch import Tensor, nn
from typing_extensions import override

from gaussflow._check import check_int
from gaussflow.ops._finite import saturate, soft_unbound
from gaussflow.ops.bounds import soft_bound
from gaussflow.ops.mixture import Kernel, Mixture, mixture_to_normal, normal_kernel, normal_to_mixture
from gaussflow.rows import Data
from gaussflow.transforms._em import fit_mixture
from gaussflow.transforms.base import Transform

LOG_BOUND = 14.0  # scales lie between e^-14 and e^14 units: their squared ratios stay in the range of float32
LOGIT_BOUND = 20.0  # no weight falls below e^-40
BORN_SCALE = 0.7  # of the components of a new map: narrow enough to be told apart, wide enough for a normal sum


class MixtureCDF(Transform):
    r"""The normalised mixture CDF of every coordinate, :math:`z = \Phi^{-1}\big(\sum_i \pi_i F((x - \mu_i)/s_i)\big)`.

    .. math:: \text{ladj} = \sum_d \log \sum_i \tfrac{\pi_i}{s_i} F'((x - \mu_i)/s_i) - \log \varphi(z)

    Both are computed from logarithms of the smaller tail, so z is not capped and nothing cancels. From 100 scales
    outside of the outermost component on, the map goes on as a straight line.

    A map whose components are all equal could not be trained, as they would stay equal. A new one therefore has
    components of scale 0.7 with the means and weights of a Gauss-Hermite quadrature: 2 K - 1 moments of their sum are
    those of the standard normal law, so that with the normal kernel it is the identity to 1e-3 over the bulk.

    `fit` is expectation maximisation under a weak prior that keeps a component from shrinking onto a few rows.

    Parameters
    ----------
    dim
        Number of coordinates D.
    components
        Number of components K per coordinate.
    kernel
        The law F: `normal_kernel`, `logistic_kernel`, or another function of the same form.
    dtype, device
        Those of the numbers held.

    Attributes
    ----------
    loc, scale
        Buffers (D,): the units of the parameters.
    logits, means, log_scales
        Parameters (K, D), components on the leading axis, each softly bounded but the means.

    References
    ----------
    Chen & Gopinath (2000); Meng, Song, Song & Ermon (2020), Gaussianization flows.

    Examples
    --------
    >>> import torch
    >>> from gaussflow import MixtureCDF
    >>> mixture = MixtureCDF(3, components=4).fit(torch.randn(200, 3).exp())
    >>> z, ladj = mixture(torch.randn(5, 3).exp())
    >>> z.shape, ladj.shape, mixture.inverse(z)[0].shape
    (torch.Size([5, 3]), torch.Size([5]), torch.Size([5, 3]))
    """

    loc: Tensor
    scale: Tensor

    def __init__(
        self,
        dim: int,
        components: int = 8,
        kernel: Kernel = normal_kernel,
        *,
        dtype: torch.dtype | None = None,
        device: torch.device | str | None = None,
    ) -> None:
        super().__init__(dim)
        self.components = check_int("MixtureCDF", "components", components, 1)
        if not callable(kernel):
            raise TypeError(f"MixtureCDF wants a kernel such as normal_kernel; got {kernel!r}.")
        self.kernel = kernel
        zeros = torch.zeros(components, dim, dtype=dtype, device=device)
        self.register_buffer("loc", zeros[0].clone())
        self.register_buffer("scale", zeros[0] + 1)
        self.logits, self.means, self.log_scales = (nn.Parameter(zeros.clone()) for _ in range(3))
        self._write(*(torch.from_numpy(t)[:, None].expand(components, dim) for t in _born(components)))

    @override
    def forward(self, x: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        self._door(x, context)
        z, log_slope = mixture_to_normal(saturate((x - self.loc) / self.scale), self._mixture())
        return z, log_slope.sum(-1) - self.scale.log().sum()

    @override
    def inverse(self, z: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        self._door(z, context, "z")
        u, log_slope = normal_to_mixture(z, self._mixture())
        return saturate(u * self.scale + self.loc), log_slope.sum(-1) + self.scale.log().sum()

    @override
    @torch.no_grad()
    def fit(self, rows: Data, context: Tensor | None = None) -> Self:
        loc, scale, *mixture = fit_mixture(self._rows(rows, context), self.components, self.kernel)
        self.loc.copy_(loc)
        self.scale.copy_(scale)
        self._write(*mixture)
        return self

    @override
    def config(self) -> dict[str, Any]:
        return {"dim": self.dim, "components": self.components, "kernel": self.kernel}

    @torch.no_grad()
    def _write(self, weights: Tensor, means: Tensor, scales: Tensor) -> None:
        """Write weights, means and scales, each (K, D) float64 in units of loc and scale, into the parameters."""
        logits = weights.clamp(min=1e-300).log()
        self.logits.copy_(soft_unbound(logits - logits.mean(0), LOGIT_BOUND))
        self.means.copy_(means)
        self.log_scales.copy_(soft_unbound(scales.log(), LOG_BOUND))

    def _mixture(self) -> Mixture:
        weights = soft_bound(self.logits, LOGIT_BOUND).log_softmax(0)
        return Mixture(weights, self.means, soft_bound(self.log_scales, LOG_BOUND), self.kernel)


def _born(components: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Weights, means and scales (K,) of a nearly standard normal mixture: Gauss-Hermite quadrature plus noise."""
    if components == 1:
        return np.ones(1), np.zeros(1), np.ones(1)
    nodes, weights = np.polynomial.hermite_e.hermegauss(components)
    return weights / weights.sum(), nodes * np.sqrt(1 - BORN_SCALE**2), np.full(components, BORN_SCALE)
