"""`HadamardRotation`: a random rotation by signs, permutations and fast Walsh-Hadamard transforms."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from typing_extensions import override

from gaussflow._check import check_int
from gaussflow.ops.hadamard import walsh_hadamard
from gaussflow.transforms._steady import Steady
from gaussflow.transforms.base import Transform


class HadamardRotation(Transform):
    r"""Random rotation :math:`z = \prod_r (W S_r P_r)\, x` at O(D log D) a row, :math:`\log|\det| = 0`.

    :math:`S_r` are random signs, :math:`P_r` random permutations, and :math:`W` is the orthonormal Walsh-Hadamard
    transform, for a D that is not a power of two as two overlapping blocks (see `gaussflow.ops.walsh_hadamard`). Three
    rounds mix about as well as a Haar rotation (Yu et al. 2016, Orthogonal random features). It has nothing to fit and
    nothing to train, and it is not the identity at birth.

    Parameters
    ----------
    dim
        Number of coordinates D.
    rounds
        Number of rounds r.
    generator
        Source of signs and permutations; the global one when None.
    dtype, device
        Those of the signs.

    Notes
    -----
    Shapes: ``x (..., D)``, ``z (..., D)``, ``ladj (...)``; buffers ``signs (r, D)`` and ``order (r, D)``.

    Examples
    --------
    >>> import torch
    >>> from gaussflow import HadamardRotation
    >>> z, ladj = HadamardRotation(100)(torch.randn(7, 100))
    >>> z.shape, ladj.shape
    (torch.Size([7, 100]), torch.Size([7]))
    """

    signs: Tensor
    order: Tensor

    def __init__(
        self,
        dim: int,
        rounds: int = 3,
        *,
        generator: torch.Generator | None = None,
        dtype: torch.dtype | None = None,
        device: torch.device | str | None = None,
    ) -> None:
        super().__init__(dim)
        self.rounds = check_int("HadamardRotation", "rounds", rounds, 1)
        source = torch.device("cpu") if generator is None else generator.device
        signs = torch.randint(2, (rounds, dim), generator=generator, device=source) * 2 - 1
        order = torch.rand(rounds, dim, generator=generator, dtype=torch.float64, device=source).argsort(1)
        self.register_buffer("signs", signs.to(dtype=dtype or torch.get_default_dtype(), device=device))
        self.register_buffer("order", order.to(device))

    @override
    def forward(self, x: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        self._door(x, context)
        ladj = x.new_zeros(x.shape[:-1])
        for signs, order in zip(self.signs, self.order, strict=True):
            x = walsh_hadamard(x.index_select(-1, order) * signs)
        return x, ladj

    @override
    def inverse(self, z: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        self._door(z, context, "z")
        ladj = z.new_zeros(z.shape[:-1])
        for signs, order in zip(self.signs.flip(0), self.order.flip(0), strict=True):
            z = (walsh_hadamard(z, inverse=True) * signs).index_select(-1, order.argsort())
        return z, ladj

    @override
    def _steady(self, inverse: bool) -> Steady:
        return Steady(self.inverse if inverse else self.forward)

    @override
    def config(self) -> dict[str, Any]:
        return {"dim": self.dim, "rounds": self.rounds}
