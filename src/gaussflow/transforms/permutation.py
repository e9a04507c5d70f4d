"""`Permutation`: the coordinates in another order."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from typing_extensions import override

from gaussflow.transforms._steady import Steady
from gaussflow.transforms.base import Transform


class Permutation(Transform):
    r"""Permutation :math:`z_i = x_{\pi(i)}`, :math:`\log|\det| = 0`.

    Parameters
    ----------
    order
        :math:`\pi`: each of 0 to D - 1 once, a sequence of integers or a tensor (D,).
    device
        That of the order.

    Raises
    ------
    ValueError
        Where ``order`` is no permutation.

    Notes
    -----
    Shapes: ``x (..., D)``, ``z (..., D)``, ``ladj (...)``; buffer ``order (D,)``. Any floating dtype passes through.

    Examples
    --------
    >>> import torch
    >>> from gaussflow import Permutation
    >>> z, ladj = Permutation([2, 0, 1])(torch.randn(5, 3))
    >>> z.shape, ladj.shape
    (torch.Size([5, 3]), torch.Size([5]))
    """

    order: Tensor

    def __init__(self, order: Sequence[int] | Tensor, *, device: torch.device | str | None = None) -> None:
        values = order.tolist() if isinstance(order, Tensor) else list(order)
        if not values or sorted(values) != list(range(len(values))):
            raise ValueError(f"Permutation wants each of 0 to D - 1 once; got {values}.")
        super().__init__(len(values))
        self.register_buffer("order", torch.tensor(values, dtype=torch.int64, device=device))

    @override
    def forward(self, x: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        self._door(x, context)
        return x.index_select(-1, self.order), x.new_zeros(x.shape[:-1])

    @override
    def inverse(self, z: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        self._door(z, context, "z")
        return z.index_select(-1, self.order.argsort()), z.new_zeros(z.shape[:-1])

    @override
    def _steady(self, inverse: bool) -> Steady:
        return Steady(self.inverse if inverse else self.forward)

    @override
    def config(self) -> dict[str, Any]:
        return {"order": self.order.tolist()}
