"""Rows larger than memory: chunks that can be gone through again."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable, Iterator
from typing import Any, Self

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, RandomSampler
from typing_extensions import override

from gaussflow.rows._chunk import Push, check_chunk, count_second, cut, in_second, pushed
from gaussflow.rows.base import Chunk, Map, Rows

KEEP_BYTES = 2**30  # transformed chunks are kept up to this size and recomputed beyond it


class ChunkRows(Rows):
    """Rows that come in chunks and can be gone through again, each x (n, D) or a pair (x, context (n, C)).

    The chunks are gone through once at the start, to count the rows and to see that all numbers are finite. They must
    come in the same order at every pass. What `through` gives is recomputed at each pass where it is too large to
    keep: one pass over the source, each chunk through all the transforms.

    Parameters
    ----------
    chunks
        A re-iterable of chunks: a list, a DataLoader, an object whose ``__iter__`` reads a file.

    Raises
    ------
    TypeError, ValueError
        For no chunks, chunks of other shapes than the first, integers, NaN or infinities, for iterators that can be
        gone through only once, and for a DataLoader that shuffles.

    Examples
    --------
    >>> import torch
    >>> from gaussflow import ChunkRows
    >>> ChunkRows([torch.randn(6, 3), torch.randn(4, 3)]).n
    10
    """

    def __init__(self, chunks: Iterable[Tensor | Chunk]) -> None:
        _check_source(chunks)
        self._source, self._transforms = chunks, tuple[Map, ...]()
        self.n, first = 0, None
        for chunk in chunks:
            x, c = _pair(chunk)
            check_chunk(x, c, self.n)
            shape = (x.shape[1], 0 if c is None else c.shape[1], x.dtype, x.device)
            first = first or shape
            if shape != first:
                raise ValueError(
                    "Rows wants chunks of one dimension, context dimension, dtype and device; "
                    f"got {first}, then {shape} from row {self.n} on."
                )
            self.n += len(x)
        if first is None:
            raise ValueError("Rows wants at least one chunk; got none.")
        self.dim, self.context_dim, self.dtype, self.device = first

    @override
    def chunks(self) -> Iterator[Chunk]:
        pushes = self._pushes()
        for x, c in self._read():
            yield pushed(pushes, x, c), c

    def _pushes(self) -> list[Push]:
        """Made anew for each pass: tables of all the transforms of a long chain are not to be held all the time."""
        with torch.no_grad():
            return [Push.by(transform, self.n) for transform in self._transforms]

    def _read(self) -> Iterator[Chunk]:
        """The chunks of the source, before the transforms, cut to pieces of bounded size."""
        count = 0
        for chunk in self._source:
            x, c = _pair(chunk)
            count += len(x)
            yield from cut(x.detach(), None if c is None else c.detach())
        if count != self.n:
            raise ValueError(
                f"Rows go through the chunks several times; got {self.n} rows in the first pass and {count} in a later "
                "one. Pass a list, a DataLoader, or an object whose __iter__ starts anew."
            )

    @override
    def through(self, transform: Map) -> Rows:
        return self._but(_transforms=(*self._transforms, transform))._kept()

    @override
    def _part(self, offset: int, fraction: float, seed: int, second: bool) -> Rows:
        def picked() -> Iterator[Chunk]:
            start = offset
            for x, c in self._read():
                mask = (in_second(start, len(x), fraction, seed) == second).to(x.device)
                start += len(x)
                yield x[mask], None if c is None else c[mask]

        count = count_second(offset, self.n, fraction, seed)
        return self._but(_source=_Again(picked), n=count if second else self.n - count)._kept()

    @override
    def _take(self, index: np.ndarray | None) -> Chunk:
        x, c = super(ChunkRows, self._but(_transforms=()))._take(index)  # the transforms see only the rows taken
        pushes = self._pushes()
        return torch.cat([x[:0], *(pushed(pushes, *piece) for piece in cut(x, c))]), c

    def _but(self, **changes: Any) -> Self:
        rows = copy.copy(self)
        rows.__dict__.update(changes)
        return rows

    def _kept(self) -> Self:
        """The transforms applied once for all and the outcome held, where it fits."""
        size = self.n * (self.dim + self.context_dim) * self.dtype.itemsize
        if not self._transforms or size > KEEP_BYTES:
            return self
        return self._but(_source=list(self.chunks()), _transforms=())


class _Again:
    """An iterable that starts anew at each pass."""

    def __init__(self, start: Callable[[], Iterator[Chunk]]) -> None:
        self._start = start

    def __iter__(self) -> Iterator[Chunk]:
        return self._start()


def _check_source(chunks: object) -> None:
    if isinstance(chunks, Iterator):
        raise TypeError(
            f"Rows go through the chunks several times; got {type(chunks).__name__}, which can be gone through once. "
            "Pass a list, a DataLoader, or an object whose __iter__ starts anew."
        )
    if isinstance(chunks, DataLoader) and isinstance(chunks.sampler, RandomSampler):
        raise ValueError(
            "Rows wants the same order at every pass; got a DataLoader that shuffles. Make it with shuffle=False."
        )


def _pair(chunk: Any) -> Chunk:
    """A chunk as (x, context or None); what they are is checked elsewhere."""
    if not isinstance(chunk, (tuple, list)):
        return chunk, None
    if len(chunk) not in (1, 2):
        raise TypeError(f"Rows wants chunks x or pairs (x, context); got a {type(chunk).__name__} of {len(chunk)}.")
    return chunk[0], chunk[1] if len(chunk) == 2 else None
