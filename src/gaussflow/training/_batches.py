"""Batches of rows in random order, and the mean of a model over rows."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor, nn

from gaussflow.rows import CHUNK_ELEMENTS, Chunk, RankRows, Rows, TensorRows

BUFFER_ELEMENTS = 16 * CHUNK_ELEMENTS  # rows of chunks are shuffled within a buffer of this size


def batches(rows: Rows, size: int, seed: int) -> Iterator[Chunk]:
    """All rows once, in random order, in batches of nearly one size of about ``size`` rows; no tiny last batch.

    In memory the order is uniform; chunks keep their order, and rows are shuffled within buffers of several chunks.
    Ranks take steps together: every rank gives the same number of batches, some perhaps without rows.
    """
    generator = torch.Generator().manual_seed(seed)
    if isinstance(rows, RankRows):
        count = max(1, round(rows.n / size))
        yield from _shuffled(*rows.local.sample(max(1, rows.local.n)), count, generator)
        return
    for x, context in [(rows.x, rows.context)] if isinstance(rows, TensorRows) else _buffers(rows, size):
        yield from _shuffled(x, context, max(1, round(len(x) / size)), generator)


def mean_over(model: nn.Module, rows: Rows) -> float:
    """The mean of ``model(x, context)`` over rows, in evaluation mode, without gradients, summed in float64."""
    device, dtype = device_of(model), rows.dtype

    def total(x: Tensor, c: Tensor | None) -> tuple[Tensor]:
        values = model(*to_device((x.to(dtype), None if c is None else c.to(dtype)), device))
        return (values.double().sum().to(rows.device),)

    model.eval()
    return float(rows.sum(total)[0]) / rows.n


def device_of(model: nn.Module) -> torch.device:
    """The device of the first parameter."""
    return next(model.parameters()).device


def to_device(chunk: Chunk, device: torch.device) -> Chunk:
    """The chunk on a device."""
    x, context = chunk
    return x.to(device), None if context is None else context.to(device)


def _shuffled(x: Tensor, context: Tensor | None, count: int, generator: torch.Generator) -> Iterator[Chunk]:
    for index in torch.randperm(len(x), generator=generator).to(x.device).tensor_split(count):
        yield x[index], None if context is None else context[index]


def _buffers(rows: Rows, size: int) -> Iterator[Chunk]:
    """Chunks put together to buffers; a last buffer of less than a batch goes with the one before it."""
    most = max(2 * size, BUFFER_ELEMENTS // rows.dim)
    held: list[Chunk] = []
    ready: Chunk | None = None
    for chunk in rows.chunks():
        held.append(chunk)
        if sum(len(x) for x, _ in held) >= most:
            if ready is not None:
                yield ready
            ready, held = _together(held), []
    if ready is not None and sum(len(x) for x, _ in held) >= size:
        yield ready
        ready = None
    rest = [*([ready] if ready is not None else []), *held]
    if rest:
        yield _together(rest)


def _together(chunks: list[Chunk]) -> Chunk:
    xs = [x for x, _ in chunks]
    contexts = [c for _, c in chunks if c is not None]
    return torch.cat(xs), torch.cat(contexts) if contexts else None
