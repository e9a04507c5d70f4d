"""Rows in memory."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor
from typing_extensions import override

from gaussflow.rows._chunk import Push, check_chunk, cut, in_second, pushed
from gaussflow.rows.base import Chunk, Map, Rows, Sums

MEASURED = 2**20  # numbers that go through a transform at once and are measured: from 2**19 on, chains cut them further


class TensorRows(Rows):
    """Rows held in memory.

    Parameters
    ----------
    x
        Data, shape (N, D).
    context
        Context, shape (N, C), or None.

    Raises
    ------
    TypeError, ValueError
        For other shapes, integers, NaN or infinities.

    Examples
    --------
    >>> import torch
    >>> from gaussflow import TensorRows
    >>> TensorRows(torch.randn(10, 3)).range()[0].shape
    torch.Size([3])
    """

    def __init__(self, x: Tensor, context: Tensor | None = None) -> None:
        check_chunk(x, context)
        self._hold(x.detach(), None if context is None else context.detach())

    def _hold(self, x: Tensor, context: Tensor | None) -> TensorRows:
        self.x, self.context = x, context
        self.n, self.dim, self.dtype, self.device = len(x), x.shape[1], x.dtype, x.device
        self.context_dim = 0 if context is None else context.shape[1]
        return self

    @override
    def chunks(self) -> Iterator[Chunk]:
        return cut(self.x, self.context)

    @override
    def through(self, transform: Map) -> Rows:
        return self._through(transform, torch.empty_like(self.x))

    @override
    def _onward(self, transform: Map) -> Rows:
        return self._through(transform, self.x)

    def _through(self, transform: Map, z: Tensor) -> Rows:
        """The data after a transform, written into z (N, D)."""
        start, push = 0, [Push.by(transform, self.n)]
        for x, c in self.chunks():
            z[start : start + len(x)] = pushed(push, x, c)
            start += len(x)
        return TensorRows.__new__(TensorRows)._hold(z, self.context)

    @override
    @torch.no_grad()
    def _through_and_sum(self, transform: Map, f: Sums) -> tuple[Rows, tuple[Tensor, ...]]:
        z, start, ladj = torch.empty_like(self.x), 0, self.x.new_empty(0)
        totals = f(self.x[:0], z[:0], ladj)

        def values(x: Tensor, c: Tensor | None) -> Tensor:
            nonlocal ladj
            y, ladj = transform(x, c)
            return y

        push = [Push(values, type(transform).__name__)]
        for x, c in cut(self.x, self.context, MEASURED):
            y = z[start : start + len(x)].copy_(pushed(push, x, c))
            totals = tuple(total + part for total, part in zip(totals, f(x, y, ladj), strict=True))
            start += len(x)
        return TensorRows.__new__(TensorRows)._hold(z, self.context), totals

    @override
    def _part(self, offset: int, fraction: float, seed: int, second: bool) -> Rows:
        mask = (in_second(offset, self.n, fraction, seed) == second).to(self.device)
        return TensorRows.__new__(TensorRows)._hold(self.x[mask], None if self.context is None else self.context[mask])
