"""Rows: the data as a thing that can be summed over, behind one interface and three engines.

Every closed-form fit is a few sums over the rows, so one fit code serves data in memory (`TensorRows`), larger than
memory (`ChunkRows`) and larger than one machine (`RankRows`): the same numbers come out up to rounding.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, TypeAlias

import numpy as np
import torch
import torch.distributed as dist
from torch import Tensor
from typing_extensions import override

from gaussflow._check import check_finite, check_int, check_tensor

if TYPE_CHECKING:
    from gaussflow.transforms.base import Transform

Chunk: TypeAlias = tuple[Tensor, Tensor | None]
CHUNK_ELEMENTS = 2**20  # 8 MiB of float64: larger temporaries page-fault, smaller ones pay call overhead
KEEP_BYTES = 2**30  # transformed chunks are kept up to this size and recomputed beyond it


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
    def through(self, transform: Transform) -> Rows:
        """The data after a transform: kept in memory where it fits, recomputed chunk by chunk where not."""

    @abstractmethod
    def _part(self, offset: int, fraction: float, seed: int, second: bool) -> Rows:
        """One side of `split`; ``offset`` is the number of rows before those held here."""

    def split(self, fraction: float, seed: int = 0) -> tuple[Rows, Rows]:
        """Two disjoint parts, the second with about ``fraction`` of the rows; the same rows for every engine.

        A row's side is a hash of its index and the seed, so nothing is stored. Raises ValueError when a side is empty.
        """
        if not 0 < fraction < 1:
            raise ValueError(f"Rows.split wants a fraction between 0 and 1; got {fraction}.")
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
            for x, c in self.chunks():
                part = f(x.double(), None if c is None else c.double())
                totals = tuple(t + p for t, p in zip(totals, part, strict=True))
        return self._over_ranks(totals, dist.ReduceOp.SUM)

    def range(self) -> tuple[Tensor, Tensor]:
        """The smallest and the largest value of each coordinate, two float64 tensors (D,)."""
        high = torch.full((2, self.dim), -torch.inf, dtype=torch.float64, device=self.device)
        for x, _ in self.chunks():
            if len(x):
                high = torch.maximum(high, torch.stack([(-x).amax(0), x.amax(0)]).double())
        (high,) = self._over_ranks((high,), dist.ReduceOp.MAX)
        return -high[0], high[1]

    def mean_and_covariance(self) -> tuple[Tensor, Tensor]:
        """Mean (D,) and covariance (D, D) with divisor N, float64, by two passes: no cancellation at any offset."""
        mean = self.sum(lambda x, c: (x.sum(0),))[0] / self.n
        return mean, self.sum(lambda x, c: ((x - mean).T @ (x - mean),))[0] / self.n

    def sample(self, size: int, seed: int = 0) -> Chunk:
        """A uniform sample of at most ``size`` rows without replacement, the same rows for every engine.

        Returns x (min(size, N), D) and context or None, in the order of the rows and in the dtype of the data.
        """
        check_int("Rows.sample", "size", size, 1)
        chosen = np.arange(self.n)
        if size < self.n:
            chosen = np.sort(np.random.default_rng(seed).choice(self.n, size, replace=False, shuffle=False))
        xs, cs, start = [], [], self._offset()
        for x, c in self.chunks():
            low, high = np.searchsorted(chosen, [start, start + len(x)])
            index = torch.from_numpy(chosen[low:high] - start).to(x.device)
            xs.append(x[index])
            cs.append(None if c is None else c[index])
            start += len(x)
        return self._gather(_concatenate([*zip(xs, cs, strict=True)] or [self._empty(self.dtype)]))

    def _empty(self, dtype: torch.dtype = torch.float64) -> Chunk:
        x = torch.empty(0, self.dim, dtype=dtype, device=self.device)
        return x, torch.empty(0, self.context_dim, dtype=dtype, device=self.device) if self.context_dim else None

    def _offset(self) -> int:
        """Number of rows that come before those held here."""
        return 0

    def _over_ranks(self, totals: tuple[Tensor, ...], op: dist.ReduceOp.RedOpType) -> tuple[Tensor, ...]:
        return totals

    def _gather(self, chunk: Chunk) -> Chunk:
        return chunk


class TensorRows(Rows):
    """Rows held in memory: x (N, D) and context (N, C) or None."""

    def __init__(self, x: Tensor, context: Tensor | None = None) -> None:
        _check_chunk(x, context)
        self.x, self.context = x.detach(), None if context is None else context.detach()
        self.n, self.dim, self.dtype, self.device = len(x), x.shape[1], x.dtype, x.device
        self.context_dim = 0 if context is None else context.shape[1]

    @override
    def chunks(self) -> Iterator[Chunk]:
        step = max(1, CHUNK_ELEMENTS // self.dim)
        for i in range(0, self.n, step):
            yield self.x[i : i + step], None if self.context is None else self.context[i : i + step]

    @override
    def through(self, transform: Transform) -> Rows:
        return TensorRows(torch.cat([self.x[:0], *(x for x, _ in _mapped(self, transform))]), self.context)

    @override
    def _part(self, offset: int, fraction: float, seed: int, second: bool) -> Rows:
        mask = (_in_second(offset, self.n, fraction, seed) == second).to(self.device)
        return TensorRows(self.x[mask], None if self.context is None else self.context[mask])


class ChunkRows(Rows):
    """Rows that come in chunks and can be gone through again, each x (n, D) or a pair (x, context (n, C)).

    The chunks are gone through once at the start, to count the rows and to see that all numbers are finite.

    Parameters
    ----------
    chunks
        A re-iterable of chunks: a list, a DataLoader, an object whose ``__iter__`` reads a file.
    """

    def __init__(self, chunks: Iterable[Tensor | Chunk]) -> None:
        if isinstance(chunks, Iterator):
            raise TypeError(
                f"Rows go through the chunks several times; got {type(chunks).__name__}, which can be gone through once. "
                "Pass a list, a DataLoader, or an object whose __iter__ starts anew."
            )
        self._source, self.n, first = chunks, 0, None
        for x, c in self.chunks():
            _check_chunk(x, c, self.n)
            shape = (x.shape[1], 0 if c is None else c.shape[1], x.dtype, x.device)
            first = first or shape
            if shape != first:
                raise ValueError(
                    f"Rows wants chunks of one dimension, context, dtype and device; got {first}, then {shape}."
                )
            self.n += len(x)
        if first is None:
            raise ValueError("Rows wants at least one chunk; got none.")
        self.dim, self.context_dim, self.dtype, self.device = first

    @override
    def chunks(self) -> Iterator[Chunk]:
        for chunk in self._source:
            yield (chunk, None) if isinstance(chunk, Tensor) else (chunk[0], chunk[1] if len(chunk) > 1 else None)

    @override
    def through(self, transform: Transform) -> Rows:
        mapped = ChunkRows(_Again(lambda: _mapped(self, transform)))
        size = self.n * (self.dim + self.context_dim) * self.dtype.itemsize
        return ChunkRows(list(mapped.chunks())) if size <= KEEP_BYTES else mapped

    @override
    def _part(self, offset: int, fraction: float, seed: int, second: bool) -> Rows:
        def picked() -> Iterator[Chunk]:
            start = offset
            for x, c in self.chunks():
                mask = (_in_second(start, len(x), fraction, seed) == second).to(x.device)
                yield x[mask], None if c is None else c[mask]
                start += len(x)

        return ChunkRows(_Again(picked))


class RankRows(Rows):
    """This rank's share of rows that are spread over the ranks of a `torch.distributed` group.

    Every rank calls the same methods in the same order; sums, ranges and samples are those over all ranks.

    Parameters
    ----------
    local
        The rows this rank holds: a tensor, chunks, or a `Rows`; no rows is fine as long as another rank has some.
    context
        Context that goes with a tensor of rows.
    """

    def __init__(self, local: Data, context: Tensor | None = None) -> None:
        if not (dist.is_available() and dist.is_initialized()):
            raise RuntimeError(
                "RankRows wants torch.distributed initialised; start with torchrun and init_process_group."
            )
        self.local = local if isinstance(local, Rows) else _engine(local, context)
        self.dim, self.context_dim = self.local.dim, self.local.context_dim
        self.dtype, self.device = self.local.dtype, self.local.device
        counts = self._all_gather(torch.tensor([self.local.n], device=self.device))
        self.n = sum(int(count) for count in counts)
        self._before = sum(int(count) for count in counts[: dist.get_rank()])

    @override
    def chunks(self) -> Iterator[Chunk]:
        return self.local.chunks()

    @override
    def through(self, transform: Transform) -> Rows:
        return RankRows(self.local.through(transform))

    @override
    def _part(self, offset: int, fraction: float, seed: int, second: bool) -> Rows:
        return RankRows(self.local._part(offset, fraction, seed, second))

    @override
    def _offset(self) -> int:
        return self._before

    @override
    def _over_ranks(self, totals: tuple[Tensor, ...], op: dist.ReduceOp.RedOpType) -> tuple[Tensor, ...]:
        totals = tuple(t.contiguous() for t in totals)
        for total in totals:
            dist.all_reduce(total, op)
        return totals

    @override
    def _gather(self, chunk: Chunk) -> Chunk:
        """The samples of all ranks in rank order; they differ in length, so each rank broadcasts its own."""
        counts = [int(n) for n in self._all_gather(torch.tensor([len(chunk[0])], device=self.device))]
        return self._broadcast_all(chunk[0], counts), None if chunk[1] is None else self._broadcast_all(
            chunk[1], counts
        )

    @staticmethod
    def _broadcast_all(part: Tensor, counts: list[int]) -> Tensor:
        parts = [
            part.contiguous() if r == dist.get_rank() else part.new_empty(n, part.shape[1])
            for r, n in enumerate(counts)
        ]
        for rank, tensor in enumerate(parts):
            dist.broadcast(tensor, rank)
        return torch.cat(parts)

    @staticmethod
    def _all_gather(tensor: Tensor) -> list[Tensor]:
        parts = [torch.empty_like(tensor) for _ in range(dist.get_world_size())]
        dist.all_gather(parts, tensor)
        return parts


Data: TypeAlias = Tensor | Iterable[Tensor | Chunk] | Rows


def as_rows(data: Data, context: Tensor | None = None) -> Rows:
    """Rows from a tensor, from re-iterable chunks, or as they are.

    Parameters
    ----------
    data
        A tensor (N, D); a re-iterable of chunks (n, D) or of pairs (x, context); or a `Rows`.
    context
        Context (N, C) that goes with a tensor; chunks bring their own.

    Raises
    ------
    TypeError, ValueError
        For no rows, other shapes, integers, NaN or infinities, and for iterators that can be gone through only once.

    Examples
    --------
    >>> import torch
    >>> from gaussflow import as_rows
    >>> as_rows([torch.randn(6, 3), torch.randn(4, 3)]).n
    10
    """
    if isinstance(data, Rows):
        if context is not None:
            raise ValueError("A Rows brings its own context; got another one beside it. Pass context to as_rows.")
        return data
    rows = _engine(data, context)
    if not rows.n:
        raise ValueError("Rows wants at least one row; got none.")
    return rows


def _engine(data: Tensor | Iterable[Tensor | Chunk], context: Tensor | None) -> Rows:
    if isinstance(data, Tensor):
        return TensorRows(data, context)
    if not isinstance(data, Iterable):
        raise TypeError(f"Rows wants a tensor (N, D) or chunks of it; got {type(data).__name__}.")
    if context is not None:
        raise ValueError("Chunks bring their own context as pairs (x, context); got context beside them.")
    return ChunkRows(data)


class _Again:
    """An iterable that starts anew at each pass."""

    def __init__(self, start: Callable[[], Iterator[Chunk]]) -> None:
        self._start = start

    def __iter__(self) -> Iterator[Chunk]:
        return self._start()


def _mapped(rows: Rows, transform: Transform) -> Iterator[Chunk]:
    for x, c in rows.chunks():
        with torch.no_grad():
            yield transform(x, c)[0], c


def _concatenate(chunks: list[Chunk]) -> Chunk:
    xs, cs = zip(*chunks, strict=True)
    return torch.cat(xs), None if cs[0] is None else torch.cat(cs)


def _check_chunk(x: object, context: object, offset: int = 0) -> None:
    x = check_tensor("Rows", x)
    if x.dim() != 2:
        raise ValueError(f"Rows wants x of shape (N, D); got {tuple(x.shape)}. Flatten images to one row each.")
    check_finite("Rows", x, offset=offset)
    if context is not None:
        context = check_tensor("Rows", context, "context")
        if context.dim() != 2 or len(context) != len(x):
            raise ValueError(
                f"Rows wants one context row for each row: ({len(x)}, C); got context of shape {tuple(context.shape)}."
            )
        check_finite("Rows", context, "context", offset)


def _in_second(start: int, count: int, fraction: float, seed: int) -> Tensor:
    """Whether each row of the run [start, start + count) is on the second side: a hash of index and seed (splitmix64)."""
    with np.errstate(over="ignore"):
        h = np.arange(start, start + count, dtype=np.uint64) + np.uint64(seed + 1) * np.uint64(0x9E3779B97F4A7C15)
        for shift, factor in ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB)):
            h = (h ^ (h >> np.uint64(shift))) * np.uint64(factor)
        h ^= h >> np.uint64(31)
    return torch.from_numpy(h.astype(np.float64) < fraction * 2.0**64)
