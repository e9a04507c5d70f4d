"""One step of the Haar transform of an image: averages of blocks of four pixels, and what is left of them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from typing_extensions import override

from gaussflow._check import check_int
from gaussflow.transforms.base import Transform


class HaarStep(Transform):
    r"""Averages and differences of neighbouring pixels, an orthonormal map of an image.

    .. math:: (a, b) \mapsto \Big(\frac{a + b}{\sqrt 2}, \frac{a - b}{\sqrt 2}\Big)

    is applied to pairs of columns and then to pairs of rows. What comes out stands where the pixels stood: of each
    block of four the average, twice the mean, stands at the upper left, and the three differences at the others. So
    the averages are an image on a grid twice as coarse, which the step with twice the ``stride`` takes on. The last
    column or row of an odd number has no partner and stays.

    Parameters
    ----------
    shape
        Height and width of the image, D their product.
    stride
        The step sees only every so many pixels of every so many rows.

    Notes
    -----
    Shapes: ``x (..., D)``, ``z (..., D)``, ``ladj (...)``, zero. Nothing to fit.

    Source: Haar (1910); Mallat (1989).

    Examples
    --------
    >>> import torch
    >>> from gaussflow import HaarStep
    >>> z, ladj = HaarStep((4, 6))(torch.ones(5, 24))
    >>> z.shape, ladj.shape, z[0, :6].tolist()
    (torch.Size([5, 24]), torch.Size([5]), [2.0, 0.0, 2.0, 0.0, 2.0, 0.0])
    """

    def __init__(self, shape: Sequence[int], stride: int = 1) -> None:
        height, width = (check_int("HaarStep", "side", side, 1) for side in shape)
        super().__init__(height * width)
        self.shape, self.stride = (height, width), check_int("HaarStep", "stride", stride, 1)

    @override
    def forward(self, x: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        self._door(x, context)
        return self._both(x, (-1, -2)), x.new_zeros(x.shape[:-1])

    @override
    def inverse(self, z: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        self._door(z, context, "z")
        return self._both(z, (-2, -1)), z.new_zeros(z.shape[:-1])

    @override
    def config(self) -> dict[str, Any]:
        return {"shape": list(self.shape), "stride": self.stride}

    @override
    def _touched(self) -> frozenset[int]:
        height, width = self.shape
        return frozenset(i * width + j for i in range(0, height, self.stride) for j in range(0, width, self.stride))

    def _both(self, x: Tensor, axes: tuple[int, int]) -> Tensor:
        image: Tensor = x.unflatten(-1, self.shape)  # type: ignore[no-untyped-call]
        for axis in axes:
            image = self._one(image, axis, self.stride)
        return image.flatten(-2)

    def _one(self, image: Tensor, axis: int, stride: int) -> Tensor:
        """Averages and differences along one axis, on the grid; its own inverse."""
        along = torch.arange(0, image.shape[axis], stride, device=image.device)
        across_axis = -3 - axis
        across = torch.arange(0, image.shape[across_axis], stride, device=image.device)
        pairs = len(along) // 2
        first, second = along[: 2 * pairs : 2], along[1 : 2 * pairs : 2]
        lines = image.index_select(across_axis, across)
        a, b = (lines.index_select(axis, index) for index in (first, second))
        both = torch.cat([(a + b) / math.sqrt(2), (a - b) / math.sqrt(2)], axis)
        lines = lines.index_copy(axis, torch.cat([first, second]), both)
        return image.index_copy(across_axis, across, lines)
