"""Which engine the data asks for."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TypeAlias

from torch import Tensor

from gaussflow.rows._chunks import ChunkRows
from gaussflow.rows._tensor import TensorRows
from gaussflow.rows.base import Chunk, Rows

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
    rows = engine(data, context)
    if not rows.n:
        raise ValueError("Rows wants at least one row; got none.")
    return rows


def engine(data: Data, context: Tensor | None = None) -> Rows:
    """What `as_rows` gives, no rows allowed: another rank may have some."""
    if isinstance(data, Tensor):
        return TensorRows(data, context)
    if not isinstance(data, Rows | Iterable):
        raise TypeError(f"Rows wants a tensor (N, D) or chunks of it; got {type(data).__name__}.")
    if context is not None:
        kind = type(data).__name__
        raise ValueError(f"Rows wants context beside a tensor only; got it beside {kind}, which brings its own.")
    return data if isinstance(data, Rows) else ChunkRows(data)
