"""The noise of pixels about the mean images of a model, measured, so that drawn images look like those learned from."""

from __future__ import annotations

from typing import Any, Self

import torch
from torch import Tensor
from typing_extensions import override

from gaussflow._check import check_int
from gaussflow.models.base import Likelihood

LEAST = 100  # pixels that tell of a level; where fewer have it, those of the levels beside count too


class PixelNoise(Likelihood):
    r"""A likelihood, with the law of a pixel given the mean image beside it: a table of quantiles for levels of grey.

    The mean image of a decoder is smooth, and the images it learned from may not be. A Bernoulli likelihood of grey
    values says nothing of their noise; this measures it, each pixel for itself. Where the mean image misses a line by
    a little, whole lines of pixels are off together, which is no noise of single pixels: no level is given a wider
    spread than the level that most pixels have, the background. Images without noise are drawn without.

    Parameters
    ----------
    likelihood
        The likelihood that bounds, means and training are of.
    levels
        Levels of grey of the mean image in [0, 1].
    quantiles
        Equally probable values of a pixel for each level.

    Raises
    ------
    TypeError, ValueError
        For another thing than a likelihood, sizes below 1, and images that do not fit their means.

    Examples
    --------
    >>> import torch
    >>> from gaussflow import Bernoulli, PixelNoise
    >>> mean = torch.rand(100, 16)
    >>> noise = PixelNoise(Bernoulli()).fit(mean, (mean + 0.1 * torch.randn(100, 16)).clamp(0, 1))
    >>> noise.draw(mean).shape
    torch.Size([100, 16])
    """

    table: Tensor

    def __init__(self, likelihood: Likelihood, levels: int = 64, quantiles: int = 64) -> None:
        if not isinstance(likelihood, Likelihood):
            raise TypeError(f"PixelNoise wants a Likelihood; got {type(likelihood).__name__}. Bernoulli() is one.")
        super().__init__()
        self.likelihood, self.unit = likelihood, likelihood.unit
        self.levels = check_int("PixelNoise", "levels", levels, 1)
        self.quantiles = check_int("PixelNoise", "quantiles", quantiles, 1)
        middle = (torch.arange(levels) + 0.5) / levels
        self.register_buffer("table", middle[:, None].repeat(1, quantiles))  # born without noise, but for rounding

    @torch.no_grad()
    def fit(self, mean: Tensor, x: Tensor) -> Self:
        """Measure the pixels of x (N, D) at each level of their mean images (N, D), in place."""
        if mean.shape != x.shape or not x.numel():
            raise ValueError(f"PixelNoise wants images like their means; got {tuple(x.shape)}, {tuple(mean.shape)}.")
        grey, order = mean.flatten().sort()
        values = x.flatten()[order]
        edges = torch.linspace(0, 1, self.levels + 1, dtype=grey.dtype, device=grey.device)
        ends = torch.searchsorted(grey, edges)
        ends[0], ends[-1] = 0, len(grey)
        places = (torch.arange(self.quantiles) + 0.5) / self.quantiles
        rows = []
        for low, high in zip(ends[:-1].tolist(), ends[1:].tolist(), strict=True):
            wanting = max(0, LEAST - (high - low) + 1) // 2
            near = values[max(0, low - wanting) : max(1, high + wanting)].sort().values
            rows.append(near[(places * len(near)).long().to(near.device)])
        table = torch.stack(rows)
        middle, spread = table.mean(1, keepdim=True), table.std(1, correction=0, keepdim=True)
        usual = spread[int(ends.diff().argmax())]
        self.table.copy_(middle + (table - middle) * (usual / spread.clamp(min=1e-12)).clamp(max=1))
        return self

    @torch.no_grad()
    def draw(self, mean: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """Images (..., D) with noise about their means (..., D), each pixel for itself."""
        level = (mean * self.levels).long().clamp(0, self.levels - 1)
        which = torch.randint(self.quantiles, mean.shape, generator=generator, device=mean.device)
        return self.table[level, which].to(mean)

    @override
    def log_prob(self, output: Tensor, x: Tensor) -> Tensor:
        """That of the likelihood inside."""
        return self.likelihood.log_prob(output, x)

    @override
    def mean(self, output: Tensor) -> Tensor:
        """That of the likelihood inside: without noise."""
        return self.likelihood.mean(output)

    @override
    def config(self) -> dict[str, Any]:
        """The keyword arguments that build this object anew."""
        return {"likelihood": self.likelihood, "levels": self.levels, "quantiles": self.quantiles}
