"""Which bin of a spline holds a number, and what the tables say there."""

from __future__ import annotations

import torch
from torch import Tensor

LOOP_KNOTS = 20  # up to here comparing with one knot after the other is faster than a binary search


def ends_of_bin(x: Tensor, knots: Tensor, xs: Tensor, zs: Tensor, slopes: Tensor) -> tuple[Tensor, ...]:
    """What the tables say at both ends of the bin of ``knots`` that holds x (...): x0, x1, z0, z1, d0, d1."""
    ends = [end for table in (xs, zs, slopes) for end in (table[:-1], table[1:])]
    if not all(is_shared(end, x) and end.shape == ends[0].shape for end in ends):
        index = bin_index(x, knots)
        return tuple(take(end, index) for end in ends)
    long = len(knots) - 2 > LOOP_KNOTS
    place = _shared_bins(x, knots).reshape(-1) if long else _flat(bin_index(x, knots), ends[0].shape[1:])
    return tuple(end.reshape(-1).index_select(0, place).view(x.shape) for end in ends)


def bin_index(x: Tensor, knots: Tensor) -> Tensor:
    """The index k, 0 to K - 2, of the bin that holds ``x``: int64 (...), half open on the right, tails in the end bins.

    ``x`` is (...), ``knots`` (K, ...) ascending on the leading axis. A NaN falls into the first bin.
    """
    inner = knots[1:-1]
    if len(inner) > LOOP_KNOTS:
        if is_shared(knots, x):
            return _shared_bins(x, knots) // knots[0].numel()
        return _binary_search(x, inner)
    index = (x >= knots[0]).to(torch.int8) * 0
    for knot in inner.unbind(0):
        index = index + (x >= knot)
    return index.long()


def _binary_search(x: Tensor, inner: Tensor) -> Tensor:
    """How many of ``inner`` (K, ...) are at most x (...): plain operations, since searchsorted warns in vmap."""
    found = (x >= inner[0]).long() * 0
    for power in reversed(range(len(inner).bit_length())):
        ahead = found + 2**power
        reached = (ahead <= len(inner)) & (x >= take(inner, (ahead - 1).clamp(max=len(inner) - 1)))
        found = torch.where(reached, ahead, found)
    return found


def _shared_bins(x: Tensor, knots: Tensor) -> Tensor:
    """`bin_index` of x (..., *shape) where all share the knots (K, *shape): as places in a flattened (K - 1, *shape).

    A binary search whose steps are a reading, a comparison and an addition: the inner knots are filled up with
    infinity to one less than a power of two, so that no step needs to look where it ends.
    """
    inner, shape = knots.detach()[1:-1], knots.shape[1:]
    columns, steps = shape.numel(), (len(knots) - 2).bit_length()
    padding = inner.new_full((2**steps - 1 - len(inner), *shape), torch.inf)
    table = torch.cat([inner, padding]).reshape(-1)
    place = torch.arange(columns, device=x.device).view(shape).expand(x.shape)
    for power in reversed(range(steps)):
        probed = table[(2**power - 1) * columns :].index_select(0, place.reshape(-1)).view(x.shape)
        place = torch.add(place, x >= probed, alpha=2**power * columns)
    last = (len(knots) - 2) * columns + torch.arange(columns, device=x.device).view(shape)
    return torch.minimum(place, last)  # where an infinite x has passed the padding too


def take(table: Tensor, index: Tensor) -> Tensor:
    """``table[index]`` along the leading axis, element by element: table (K, ...) broadcast against index (...).

    A table that is shared by rows is read through a flat index, whose backward adds into the table itself and not into
    an expanded copy of it.
    """
    if is_shared(table, index):
        return table.reshape(-1).index_select(0, _flat(index, table.shape[1:])).view(index.shape)
    return table.expand(-1, *index.shape).gather(0, index[None]).squeeze(0)


def is_shared(table: Tensor, index: Tensor) -> bool:
    """Whether the table (K, ...) is the same for all leading axes of the index."""
    shape = table.shape[1:]
    return len(shape) < index.dim() and shape == index.shape[index.dim() - len(shape) :]


def _flat(index: Tensor, shape: torch.Size) -> Tensor:
    """The place (n,) in a flattened table (K, *shape) of every element of an index (..., *shape)."""
    column = torch.arange(shape.numel(), device=index.device).view(shape)
    return (index * shape.numel() + column).reshape(-1)
