"""`HouseholderRotation`: a product of k reflections, trainable, at O(kD) a row."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from typing_extensions import override

from gaussflow._check import check_int
from gaussflow.ops.orthogonal import householder
from gaussflow.transforms.base import Transform


class HouseholderRotation(Transform):
    r"""Product of k reflections, :math:`z = H_k \cdots H_1 x` with :math:`H_i = I - 2 v_i v_i^\top / \|v_i\|^2`.

    Any vectors give an orthogonal map, and :math:`\log|\det| = 0`; k = D reaches every orthogonal matrix of
    determinant :math:`(-1)^k`, fewer reach a part of it for less: O(kD) a row against O(D^2) (Tomczak & Welling 2016;
    compact WY form, see `gaussflow.ops.householder`).

    An even number is born as the identity: the vectors come in equal pairs, whose reflections undo each other, in
    random directions, so that every vector gets a gradient. An odd number cannot be: its last reflection then flips the
    sign of the last coordinate. Only directions matter: weight decay shortens the vectors and changes nothing,
    and a vector of zeros reflects nothing.

    Parameters
    ----------
    dim
        Number of coordinates D.
    reflections
        Number of reflections k.
    generator
        Source of the directions at birth; the global one when None.
    dtype, device
        Those of the vectors.

    Notes
    -----
    Shapes: ``x (..., D)``, ``z (..., D)``, ``ladj (...)``; ``vectors (k, D)``. There is nothing to fit.

    Examples
    --------
    >>> import torch
    >>> from gaussflow import HouseholderRotation
    >>> z, ladj = HouseholderRotation(5, reflections=4)(torch.randn(7, 5))
    >>> z.shape, ladj.shape
    (torch.Size([7, 5]), torch.Size([7]))
    """

    def __init__(
        self,
        dim: int,
        reflections: int,
        *,
        generator: torch.Generator | None = None,
        dtype: torch.dtype | None = None,
        device: torch.device | str | None = None,
    ) -> None:
        super().__init__(dim)
        self.reflections = check_int("HouseholderRotation", "reflections", reflections, 1)
        source = torch.device("cpu") if generator is None else generator.device
        pairs = torch.randn(reflections // 2, dim, generator=generator, dtype=torch.float64, device=source)
        last = torch.eye(dim, dtype=torch.float64, device=source)[dim - 1 :].expand(reflections % 2, dim)
        vectors = torch.cat([pairs.repeat_interleave(2, 0), last])
        self.vectors = nn.Parameter(vectors.to(dtype=dtype or torch.get_default_dtype(), device=device))

    @override
    def forward(self, x: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        self._door(x, context)
        return householder(x, self.vectors), x.new_zeros(x.shape[:-1])

    @override
    def inverse(self, z: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        self._door(z, context, "z")
        return householder(z, self.vectors, inverse=True), z.new_zeros(z.shape[:-1])

    @override
    def config(self) -> dict[str, Any]:
        return {"dim": self.dim, "reflections": self.reflections}
