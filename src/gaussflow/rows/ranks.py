"""Rows larger than one machine: each rank holds its share."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
import torch.distributed as dist
from torch import Tensor
from typing_extensions import override

from gaussflow.rows._engine import Data, engine
from gaussflow.rows.base import Chunk, Map, Rows, Sums


class RankRows(Rows):
    """This rank's share of rows that are spread over the ranks of a `torch.distributed` group.

    Every rank calls the same methods in the same order; sums, ranges and samples are those over all ranks. The order
    of the rows is that of the ranks.

    Parameters
    ----------
    local
        The rows this rank holds: a tensor, chunks, or a `Rows`; a share of shape (0, D) is fine as long as another
        rank has rows.
    context
        Context that goes with a tensor of rows.

    Raises
    ------
    RuntimeError
        When `torch.distributed` is not initialised.
    TypeError, ValueError
        For what `as_rows` refuses, and for shares that differ in dimension, context dimension or dtype.

    Examples
    --------
    In a script started by ``torchrun --nproc-per-node 2 script.py``, on every rank:

    >>> import torch
    >>> import torch.distributed as dist
    >>> from gaussflow import RankRows, Standardize
    >>> def main():
    ...     dist.init_process_group("gloo")
    ...     share = torch.randn(1000, 3)
    ...     return Standardize(3).fit(RankRows(share))
    """

    def __init__(self, local: Data, context: Tensor | None = None) -> None:
        if not (dist.is_available() and dist.is_initialized()):
            raise RuntimeError(
                "RankRows wants torch.distributed initialised; start with torchrun and init_process_group."
            )
        self.local = engine(local, context)
        self.dim, self.context_dim = self.local.dim, self.local.context_dim
        self.dtype, self.device = self.local.dtype, self.local.device
        shapes = self._all_gather([self.local.n, self.dim, self.context_dim, self.dtype.itemsize])
        if len({tuple(shape) for _, *shape in shapes}) > 1:
            raise ValueError(
                "RankRows wants shares of one dimension, context dimension and dtype; "
                f"got (rows, dimension, context dimension, bytes) of {shapes} on the ranks."
            )
        counts = [shape[0] for shape in shapes]
        self.n, self._before = sum(counts), sum(counts[: dist.get_rank()])

    @override
    def chunks(self) -> Iterator[Chunk]:
        return self.local.chunks()

    @override
    def through(self, transform: Map) -> Rows:
        return RankRows(self.local.through(transform))

    @override
    def _onward(self, transform: Map) -> Rows:
        return RankRows(self.local._onward(transform))

    @override
    def _through_and_sum(self, transform: Map, f: Sums) -> tuple[Rows, tuple[Tensor, ...]]:
        rows, totals = self.local._through_and_sum(transform, f)
        return RankRows(rows), self._add_ranks(totals)

    @override
    def _part(self, offset: int, fraction: float, seed: int, second: bool) -> Rows:
        return RankRows(self.local._part(offset, fraction, seed, second))

    @override
    def _take(self, index: np.ndarray | None) -> Chunk:
        return self.local._take(index)

    @override
    def _offset(self) -> int:
        return self._before

    @override
    def _add_ranks(self, totals: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        totals = tuple(t.contiguous() for t in totals)
        for total in totals:
            dist.all_reduce(total, dist.ReduceOp.SUM)
        return totals

    @override
    def _max_ranks(self, total: Tensor) -> Tensor:
        dist.all_reduce(total, dist.ReduceOp.MAX)
        return total

    @override
    def _gather(self, chunk: Chunk) -> Chunk:
        """The samples of all ranks in rank order; they differ in length, so each rank broadcasts its own."""
        counts = [n for (n,) in self._all_gather([len(chunk[0])])]
        x, c = chunk
        return self._broadcast_all(x, counts), None if c is None else self._broadcast_all(c, counts)

    def _broadcast_all(self, part: Tensor, counts: list[int]) -> Tensor:
        me = dist.get_rank()
        parts = [part.contiguous() if r == me else part.new_empty(n, part.shape[1]) for r, n in enumerate(counts)]
        for rank, tensor in enumerate(parts):
            dist.broadcast(tensor, rank)
        return torch.cat(parts)

    def _all_gather(self, numbers: list[int]) -> list[list[int]]:
        """The numbers of every rank, in rank order."""
        mine = torch.tensor(numbers, device=self.device)
        parts = [torch.empty_like(mine) for _ in range(dist.get_world_size())]
        dist.all_gather(parts, mine)
        return [part.tolist() for part in parts]
