"""The interface of the rows: what every engine can do, written once over chunks."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from typing import TypeAlias

import numpy as np
import torch
from torch import Tensor

from gaussflow._check import check_int

Chunk: TypeAlias = tuple[Tensor, Tensor | None]
Map: TypeAlias = Callable[[Tensor, Tensor | None], tuple[Tensor, Tensor]]
Sums: TypeAlias = Callable[[Tensor, Tensor, Tensor], tuple[Tensor, ...]]

SUMMED = 2**16  # numbers summed over at once: what is computed of them in double precision stays in the second cache


class Rows(ABC):
    """N rows of D coordinates, each with C context coordinates or none, that can be summed over.

    Use `as_rows` to make one from a tensor or from chunks.

    Attributes
    ----------
    n
        Number of rows N, over all ranks.
    dim
        Number of coordinates D.
    context_dim
        Number of context coordinates C; 0 where there is no context.
    dtype, device
        Those of the data; sums are taken in float64 on the same device.

    Examples
    --------
    >>> import torch
    >>> from gaussflow import as_rows
    >>> rows = as_rows(torch.randn(100, 3), context=torch.randn(100, 2))
    >>> rows.n, rows.dim, rows.context_dim
    (100, 3, 2)
    >>> mean, covariance = rows.mean_and_covariance()
    >>> mean.shape, covariance.shape
    (torch.Size([3]), torch.Size([3, 3]))
    """

    n: int
    dim: int
    context_dim: int
    dtype: torch.dtype
    device: torch.device

    @abstractmethod
    def chunks(self) -> Iterator[Chunk]:
        """The rows held here, chunk by chunk: x (n, D) and context (n, C) or None, in the dtype of the data."""

    @abstractmethod
    def through(self, transform: Map) -> Rows:
        """The data after a transform: kept in memory where it fits, recomputed chunk by chunk where not."""

    def _onward(self, transform: Map) -> Rows:
        """`through`, written over these rows where they are in memory: for their only owner, who is done with them."""
        return self.through(transform)

    def _through_and_sum(self, transform: Map, f: Sums) -> tuple[Rows, tuple[Tensor, ...]]:
        """`through`, and sums over the rows of ``f(x, z, ladj)``: of x (n, D) before the transform, and what it gives.

        All three come in the dtype of the data. Rows in memory go through the transform once for both.
        """

        def summed(x: Tensor, c: Tensor | None) -> tuple[Tensor, ...]:
            x = x.to(self.dtype)
            return f(x, *transform(x, None if c is None else c.to(self.dtype)))

        return self.through(transform), self.sum(summed)

    @abstractmethod
    def _part(self, offset: int, fraction: float, seed: int, second: bool) -> Rows:
        """One side of `split`; ``offset`` is the number of rows before those held here."""

    def split(self, fraction: float, seed: int = 0) -> tuple[Rows, Rows]:
        """Two disjoint parts, the second with about ``fraction`` of the rows; the same rows for every engine.

        A row's side is a hash of its index and the seed, so nothing is stored. Raises ValueError when a side is empty.
        """
        if not 0 < fraction < 1:
            raise ValueError(f"Rows.split wants a fraction between 0 and 1; got {fraction}.")
        check_int("Rows.split", "seed", seed, 0)
        first, second = (self._part(self._offset(), fraction, seed, side) for side in (False, True))
        if not (first.n and second.n):
            raise ValueError(f"Rows.split wants rows on both sides; got {first.n} and {second.n} of {self.n} rows.")
        return first, second

    def sum(self, f: Callable[[Tensor, Tensor | None], tuple[Tensor, ...]]) -> tuple[Tensor, ...]:
        """Sum ``f(x, context)`` over chunks of rows.

        Parameters
        ----------
        f
            Takes x (n, D) and context (n, C) or None, both float64, of any n, 0 included; returns a tuple of
            tensors, each a sum over the n rows.

        Returns
        -------
        totals
            The tuple summed over all rows of all ranks.

        Examples
        --------
        >>> import torch
        >>> from gaussflow import as_rows
        >>> s1, s2 = as_rows(torch.ones(10, 3)).sum(lambda x, c: (x.sum(0), x.T @ x))
        >>> s1.shape, s2.shape
        (torch.Size([3]), torch.Size([3, 3]))
        """
        with torch.no_grad():
            totals = f(*self._empty())  # fixes the shapes, so that a rank without rows adds zeros
            for x, c in self._pieces(max(1, SUMMED // self.dim)):
                part = f(x.double(), None if c is None else c.double())
                totals = tuple(t + p for t, p in zip(totals, part, strict=True))
        return self._add_ranks(totals)

    def range(self) -> tuple[Tensor, Tensor]:
        """The smallest and the largest value of each coordinate, two float64 tensors (D,)."""
        ends = torch.full((2, self.dim), -torch.inf, dtype=torch.float64, device=self.device)  # −smallest, largest
        for x, _ in self.chunks():
            if len(x):
                low, high = x.amin(0), x.amax(0)  # a tenth of the time of aminmax
                ends = torch.maximum(ends, torch.stack([-low, high]).double())
        ends = self._max_ranks(ends)
        return -ends[0], ends[1]

    def mean_and_covariance(self) -> tuple[Tensor, Tensor]:
        """Mean (D,) and covariance (D, D) with divisor N, float64, by two passes: no cancellation at any offset."""
        mean = self.sum(lambda x, c: (x.sum(0),))[0] / self.n
        return mean, self.sum(lambda x, c: ((x - mean).T @ (x - mean),))[0] / self.n

    def sample(self, size: int, seed: int = 0) -> Chunk:
        """A uniform sample of at most ``size`` rows without replacement, the same rows for every engine.

        Returns x (min(size, N), D) and context or None, in the order of the rows and in the dtype of the data.
        """
        check_int("Rows.sample", "size", size, 1)
        if size >= self.n:
            return self._gather(self._take(None))
        chosen = np.random.default_rng(seed).choice(self.n, size, replace=False, shuffle=False)
        return self._gather(self._take(np.sort(chosen) - self._offset()))

    def _take(self, index: np.ndarray | None) -> Chunk:
        """The rows held here with the sorted indices ``index``, those of other ranks left out; all rows for None."""
        taken, start = [self._empty(self.dtype)], 0
        for x, c in self.chunks():
            if index is not None:
                low, high = np.searchsorted(index, [start, start + len(x)])
                here = torch.from_numpy(index[low:high] - start).to(self.device)
                start, x = start + len(x), x.index_select(0, here)
                c = None if c is None else c.index_select(0, here)
            taken.append((x, c))
        xs, cs = zip(*taken, strict=True)
        return torch.cat(xs), torch.cat(cs) if self.context_dim else None

    def _pieces(self, step: int) -> Iterator[Chunk]:
        """The chunks cut to so many rows."""
        for x, c in self.chunks():
            for i in range(0, len(x), step):
                yield x[i : i + step], None if c is None else c[i : i + step]

    def _empty(self, dtype: torch.dtype = torch.float64) -> Chunk:
        x = torch.empty(0, self.dim, dtype=dtype, device=self.device)
        return x, torch.empty(0, self.context_dim, dtype=dtype, device=self.device) if self.context_dim else None

    def _offset(self) -> int:
        """Number of rows that come before those held here."""
        return 0

    def _add_ranks(self, totals: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        return totals

    def _max_ranks(self, total: Tensor) -> Tensor:
        return total

    def _gather(self, chunk: Chunk) -> Chunk:
        return chunk
