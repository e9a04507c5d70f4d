"""What the transforms with a trainable orthogonal matrix share."""

from __future__ import annotations

from abc import ABC
from collections.abc import Callable
from typing import Any, Self

import torch
from torch import Tensor, nn
from typing_extensions import override

from gaussflow.ops._eager import plain_eager
from gaussflow.ops.orthogonal import cayley, orthonormalise
from gaussflow.transforms.base import Transform


class Orthogonal(Transform, ABC):
    r"""A transform that holds an orthogonal matrix :math:`Q = B \operatorname{cayley}(A - A^\top)`.

    A fit writes the buffer B and sets the parameter A to zero; gradients and weight decay move A alone, and Q is
    orthogonal for every A. Q is computed anew at each call: a stored Q would be stale after a step.
    """

    base: Tensor

    def __init__(self, dim: int, *, dtype: torch.dtype | None, device: torch.device | str | None) -> None:
        super().__init__(dim)
        self.register_buffer("base", torch.eye(dim, dtype=dtype, device=device))
        self.A = nn.Parameter(torch.zeros(dim, dim, dtype=dtype, device=device))

    def matrix(self) -> Tensor:
        """The orthogonal matrix Q, shape (D, D): B itself where A is zero, as it is after a fit."""
        if plain_eager() and self.A.device.type == "cpu" and not bool(self.A.any()):
            return self.base.clone()
        return cayley(self.A - self.A.mT, self.base)

    @torch.no_grad()
    def _rebase(self, base: Tensor) -> None:
        self.base.copy_(base)
        self.A.zero_()

    @override
    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Self:
        """Cast and move; a base cast to a wider dtype keeps the narrow one's rounding, which is repaired here."""
        narrow = torch.finfo(self.base.dtype).eps
        super()._apply(fn, recurse)  # type: ignore[no-untyped-call]
        if torch.finfo(self.base.dtype).eps < narrow:
            self.base = orthonormalise(self.base)
        return self

    @override
    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, *args: Any) -> None:
        """Load; a base that comes in a narrower dtype than the one held is repaired as in a cast."""
        super()._load_from_state_dict(state_dict, prefix, *args)
        given = state_dict.get(prefix + "base")
        if not (isinstance(given, Tensor) and given.is_floating_point() and given.shape == self.base.shape):
            return
        if torch.finfo(given.dtype).eps > torch.finfo(self.base.dtype).eps:
            self.base.copy_(orthonormalise(self.base))
