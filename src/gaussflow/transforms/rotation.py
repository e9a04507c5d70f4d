"""`Rotation`: an orthogonal matrix, fitted by axes of one's choice and trainable."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Self, TypeAlias

import torch
from torch import Tensor
from typing_extensions import override

from gaussflow.ops.orthogonal import check_orthogonal, orthonormalise
from gaussflow.rows import Data, Rows
from gaussflow.transforms._orthogonal import Orthogonal
from gaussflow.transforms._steady import Steady

Axes: TypeAlias = Tensor | Callable[[Rows], Tensor]


class Rotation(Orthogonal):
    r"""Rotation :math:`z = Q x` with :math:`Q = B \operatorname{cayley}(A - A^\top)`, :math:`\log|\det Q| = 0`.

    B is a buffer that the axes give; A is a parameter, zero at birth and after a fit. Q is orthogonal at every moment
    of fitting and training; every matrix of :math:`O(D)` with the determinant of B is in reach, those where
    :math:`B^\top Q` has an eigenvalue of -1 in the limit. The inverse is :math:`Q^\top`. Q costs one solve, no product
    (see `gaussflow.ops.cayley`). In float32 the entries of :math:`Q Q^\top - I` are about 1e-6 at D = 512.

    Parameters
    ----------
    dim
        Number of coordinates D.
    axes
        What B is. None: the identity, which a fit leaves. An orthogonal tensor (D, D): itself, which a fit leaves;
        for example ``haar(D)``. A function of the rows that returns such a tensor, like `pca` or `ica`: the identity
        at birth, and what it returns after a fit. The rows of B are the new axes.
    dtype, device
        Those of the matrices.

    Raises
    ------
    ValueError
        For axes of another shape or not orthogonal.

    Notes
    -----
    Shapes: ``x (..., D)``, ``z (..., D)``, ``ladj (...)``; ``base (D, D)``, ``A (D, D)``. `config` leaves the axes
    out: a rebuilt rotation holds the same B in its state, and a fit leaves it.

    Examples
    --------
    >>> import torch
    >>> from gaussflow import Rotation, pca
    >>> rotation = Rotation(3, axes=pca).fit(torch.randn(100, 3))
    >>> z, ladj = rotation(torch.randn(5, 3))
    >>> z.shape, ladj.shape
    (torch.Size([5, 3]), torch.Size([5]))
    """

    def __init__(
        self,
        dim: int,
        axes: Axes | None = None,
        *,
        dtype: torch.dtype | None = None,
        device: torch.device | str | None = None,
    ) -> None:
        super().__init__(dim, dtype=dtype, device=device)
        self.axes: Callable[[Rows], Tensor] | None = None
        if isinstance(axes, Tensor):
            self._rebase(orthonormalise(check_orthogonal("Rotation", axes, dim).double()))
        elif axes is None or callable(axes):
            self.axes = axes
        else:
            raise TypeError(
                f"Rotation wants axes as a tensor, a function of the rows or None; got {type(axes).__name__}. "
                "Pass haar(dim) for a random rotation, pca or ica for a fitted one."
            )

    @override
    def forward(self, x: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        self._door(x, context)
        return x @ self.matrix().mT, x.new_zeros(x.shape[:-1])

    @override
    def inverse(self, z: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        self._door(z, context, "z")
        return z @ self.matrix(), z.new_zeros(z.shape[:-1])

    @override
    @torch.no_grad()
    def _values(self, rows: int) -> Callable[[Tensor, Tensor | None], Tensor]:
        turned = self.matrix().mT

        def values(x: Tensor, context: Tensor | None) -> Tensor:
            self._door(x, context)
            return x @ turned

        return values

    @override
    def _steady(self, inverse: bool) -> Steady:
        matrix = self.matrix() if inverse else self.matrix().mT
        none = matrix.new_zeros(())
        return Steady(lambda x: (x @ matrix, none), matrix=matrix)

    @override
    def fit(self, rows: Data, context: Tensor | None = None) -> Self:
        rows = self._rows(rows, context)
        if self.axes is not None:
            axes = self.axes(rows)
            self._rebase(orthonormalise(check_orthogonal("Rotation", axes, self.dim).double()))
        return self

    @override
    def config(self) -> dict[str, Any]:
        return {"dim": self.dim}
